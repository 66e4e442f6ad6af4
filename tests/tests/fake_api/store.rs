//! The objects, their versions, and the history that watches replay.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    defaults::add_defaults,
    managed::{Writer, applied, note_update},
    merge_patch::patch,
};

/// Plural, namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Such as `services`.
    pub plural: String,
    /// Where it lives.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// One change.
#[derive(Clone, Debug)]
pub struct Change {
    /// When, in the store's own count.
    pub version: u64,
    /// What.
    pub key: Key,
    /// None when it was created.
    pub before: Option<Value>,
    /// None when it was deleted.
    pub after: Option<Value>,
}

/// Why a request is refused: an HTTP code and a text.
#[derive(Clone, Debug)]
pub struct Refusal(pub u16, pub String);

/// All objects.
#[derive(Default)]
pub struct Store {
    /// What is there.
    pub objects: BTreeMap<Key, Value>,
    /// Everything that happened.
    pub history: Vec<Change>,
    /// The last version.
    pub version: u64,
    /// A watch from before this version is told 410 Gone.
    pub floor: u64,
}

// === impl Key ===

impl Key {
    /// Reads `namespace/plural/name`.
    pub fn of(path: &str) -> Self {
        let parts: Vec<&str> = path.split('/').collect();
        assert!(parts.len() == 3, "{path:?} is not namespace/plural/name");
        let [namespace, plural, name] = [0, 1, 2].map(|at| parts[at].to_owned());
        Self { plural, namespace, name }
    }
}

// === impl Store ===

impl Store {
    /// Server-side apply; `writer` may mean a subresource only.
    pub fn apply(
        &mut self,
        key: &Key,
        wanted: &Value,
        writer: &Writer<'_>,
        force: bool,
    ) -> Result<Value, Refusal> {
        let live = self.objects.get(key).cloned();
        let conflict = |what: &str| Err(Refusal(409, format!("{} {}: {what}", key.plural, key.name)));
        let metadata = &wanted["metadata"];
        match &live {
            Some(live) => {
                for field in ["resourceVersion", "uid"] {
                    if metadata[field].is_string() && metadata[field] != live["metadata"][field] {
                        return conflict("the object has been modified");
                    }
                }
            }
            None if writer.subresource.is_some() => {
                return Err(Refusal(404, format!("{} not found", key.name)));
            }
            None if metadata["resourceVersion"].is_string() || metadata["uid"].is_string() => {
                return conflict("the object has been deleted");
            }
            None => {}
        }
        let mut wanted = wanted.clone();
        match writer.subresource {
            Some(part) => {
                wanted =
                    json!({"apiVersion": wanted["apiVersion"], "kind": wanted["kind"], part: wanted[part]})
            }
            None => wanted.as_object_mut().into_iter().for_each(|wanted| drop(wanted.remove("status"))),
        }
        if let Some(metadata) = wanted.get_mut("metadata").and_then(Value::as_object_mut) {
            for field in ["resourceVersion", "uid", "managedFields", "generation", "creationTimestamp"] {
                metadata.remove(field);
            }
        }
        let live = live.unwrap_or_else(|| json!({}));
        let object = applied(&live, &wanted, writer, force, &self.time())?;
        Ok(self.put(key, object))
    }

    /// Creates or updates an object as a whole.
    pub fn update(&mut self, key: &Key, mut object: Value, writer: &Writer<'_>) -> Value {
        add_defaults(&key.plural, &mut object);
        let before = self.objects.get(key).cloned().unwrap_or_else(|| json!({}));
        note_update(&mut object, &before, writer, &self.time());
        self.put(key, object)
    }

    /// JSON Merge Patch. Another version or UID in it is refused with 409.
    pub fn merge_patch(&mut self, key: &Key, merged: &Value, writer: &Writer<'_>) -> Result<Value, Refusal> {
        let live = self.objects.get(key).cloned();
        let live = live.ok_or_else(|| Refusal(404, format!("{} not found", key.name)))?;
        let mut object = live.clone();
        patch(&mut object, merged);
        for field in ["resourceVersion", "uid"] {
            let wanted = &object["metadata"][field];
            if wanted.is_string() && *wanted != live["metadata"][field] {
                return Err(Refusal(
                    409,
                    format!("{} {}: the object has been modified", key.plural, key.name),
                ));
            }
        }
        for field in ["name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp"] {
            object["metadata"][field] = live["metadata"][field].clone();
        }
        // A subresource writes only itself, and the object everything but its status.
        let (mut into, from, part) = match writer.subresource {
            Some(part) => (live, object, part),
            None => (object, live, "status"),
        };
        match from.get(part) {
            Some(value) => into[part] = value.clone(),
            None => into.as_object_mut().into_iter().for_each(|into| drop(into.remove(part))),
        }
        Ok(self.update(key, into, writer))
    }

    /// Stores `object`; one that is as before makes no new version and no event.
    pub fn put(&mut self, key: &Key, mut object: Value) -> Value {
        add_defaults(&key.plural, &mut object);
        let before = self.objects.get(key).cloned();
        if before.as_ref() == Some(&object) {
            return object;
        }
        self.version += 1;
        let metadata = &mut object["metadata"];
        match &before {
            None => {
                metadata["name"] = json!(key.name);
                metadata["namespace"] = json!(key.namespace);
                metadata["uid"] = json!(format!("uid-{}", self.version));
                metadata["creationTimestamp"] = json!(Timestamp::now().to_string());
                metadata["generation"] = json!(1);
            }
            Some(before) if before["spec"] != object["spec"] => {
                let generation = before["metadata"]["generation"].as_i64().unwrap_or_default();
                object["metadata"]["generation"] = json!(generation + 1);
            }
            Some(_) => {}
        }
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.objects.insert(key.clone(), object.clone());
        self.history.push(Change {
            version: self.version,
            key: key.clone(),
            before,
            after: Some(object.clone()),
        });
        object
    }

    /// When the next change is made: a second each, so that the times of managed fields tell which was later.
    fn time(&self) -> String {
        let second = i64::try_from(self.version).expect("few changes");
        Timestamp::from_second(1_800_000_000 + second).expect("a time").to_string()
    }

    /// Deletes an object, if it still has `uid`.
    pub fn delete(&mut self, key: &Key, uid: Option<&str>) -> Result<(), Refusal> {
        let Some(mut object) = self.objects.get(key).cloned() else {
            return Err(Refusal(404, format!("{} not found", key.name)));
        };
        if uid.is_some_and(|uid| object["metadata"]["uid"] != uid) {
            return Err(Refusal(409, format!("{} has another uid", key.name)));
        }
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.objects.remove(key);
        self.history.push(Change {
            version: self.version,
            key: key.clone(),
            before: Some(object),
            after: None,
        });
        Ok(())
    }
}
