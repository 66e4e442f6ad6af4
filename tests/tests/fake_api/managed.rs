//! `metadata.managedFields`: who wrote what, and what follows for the others.

use serde_json::{Value, json};

use super::{
    fields::{Fields, changed, gone, of_object, prune, subtract, unite},
    merge::merge,
    store::Refusal,
};

/// Who writes, and how.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    /// Its name.
    pub manager: &'a str,
    /// `Apply` or `Update`.
    pub operation: &'static str,
    /// Such as `scale`, when it is not the object itself that is written.
    pub subresource: Option<&'a str>,
}

// === impl Writer ===

impl<'a> Writer<'a> {
    /// Server-side apply.
    pub fn apply(manager: &'a str, subresource: Option<&'a str>) -> Self {
        Self { manager, operation: "Apply", subresource }
    }

    /// Any other way to write.
    pub fn update(manager: &'a str, subresource: Option<&'a str>) -> Self {
        Self { manager, operation: "Update", subresource }
    }

    fn is_of(&self, entry: &Value) -> bool {
        entry["manager"] == self.manager
            && entry["operation"] == self.operation
            && entry["subresource"].as_str() == self.subresource
    }
}

/// Who owns what.
struct Entries(Vec<Value>);

// === impl Entries ===

impl Entries {
    fn of(object: &Value) -> Self {
        // One empty entry is how a user asks to forget all of them.
        let entries = object["metadata"]["managedFields"].as_array().into_iter().flatten();
        Self(entries.filter(|entry| entry["manager"].is_string()).cloned().collect())
    }

    fn fields(&self, writer: &Writer<'_>) -> Fields {
        let own = self.0.iter().find(|entry| writer.is_of(entry));
        own.and_then(|entry| entry["fieldsV1"].as_object()).cloned().unwrap_or_default()
    }

    fn of_others(&self, writer: &Writer<'_>) -> Fields {
        let mut all = Fields::new();
        for entry in self.0.iter().filter(|entry| !writer.is_of(entry)) {
            unite(&mut all, entry["fieldsV1"].as_object().expect("a set"));
        }
        all
    }

    /// Takes `fields` from all but `writer`, and returns who lost something.
    fn take(&mut self, writer: &Writer<'_>, fields: &Fields) -> Vec<String> {
        let mut losers = vec![];
        for entry in self.0.iter_mut().filter(|entry| !writer.is_of(entry)) {
            let before = entry["fieldsV1"].clone();
            subtract(entry["fieldsV1"].as_object_mut().expect("a set"), fields);
            if entry["fieldsV1"] != before {
                losers.push(entry["manager"].as_str().unwrap_or_default().to_owned());
            }
        }
        losers
    }

    /// Notes that `writer` owns `fields`; the time is that of the last change.
    fn note(&mut self, writer: &Writer<'_>, fields: Fields, has_written: bool, version: &Value, time: &str) {
        let fields = Value::Object(fields);
        match self.0.iter_mut().find(|entry| writer.is_of(entry)) {
            Some(entry) if !has_written && entry["fieldsV1"] == fields => {}
            Some(entry) => {
                entry["fieldsV1"] = fields;
                entry["time"] = json!(time);
            }
            None => {
                let mut entry = json!({"manager": writer.manager, "operation": writer.operation, "apiVersion": version,
                    "fieldsType": "FieldsV1", "fieldsV1": fields, "time": time});
                if let Some(subresource) = writer.subresource {
                    entry["subresource"] = json!(subresource);
                }
                self.0.push(entry);
            }
        }
    }

    fn store_in(mut self, object: &mut Value) {
        self.0.retain(|entry| entry["fieldsV1"].as_object().is_some_and(|fields| !fields.is_empty()));
        if self.0.is_empty() {
            object["metadata"].as_object_mut().into_iter().for_each(|own| drop(own.remove("managedFields")));
        } else {
            object["metadata"]["managedFields"] = Value::Array(self.0);
        }
    }
}

/// `live` after `writer` applied `wanted`: what it applied before and leaves out now goes, unless somebody else owns
/// it; what it changes is taken from others, or refused without `force`.
pub fn applied(
    live: &Value,
    wanted: &Value,
    writer: &Writer<'_>,
    force: bool,
    time: &str,
) -> Result<Value, Refusal> {
    let mut entries = Entries::of(live);
    let mut object = live.clone();
    merge(&mut object, wanted);
    let (last, new) = (entries.fields(writer), of_object(wanted));
    let written = changed(live, &object);
    let losers = entries.take(writer, &written);
    if !force && !losers.is_empty() {
        return Err(Refusal(409, format!("Apply failed with conflicts with {}", losers.join(", "))));
    }
    prune(&mut object, &last, &new, &entries.of_others(writer));
    entries.note(writer, new, !written.is_empty(), &wanted["apiVersion"], time);
    entries.store_in(&mut object);
    Ok(object)
}

/// Notes in `object` what `writer` changed since `before`. Managed fields that it wrote itself count.
pub fn note_update(object: &mut Value, before: &Value, writer: &Writer<'_>, time: &str) {
    let mut entries = Entries::of(object);
    let (written, deleted) = (changed(before, object), gone(before, object));
    entries.take(writer, &written);
    entries.take(writer, &deleted);
    let mut own = entries.fields(writer);
    subtract(&mut own, &deleted);
    unite(&mut own, &written);
    entries.note(writer, own, !written.is_empty(), &object["apiVersion"].clone(), time);
    entries.store_in(object);
}
