//! Sets of fields as `metadata.managedFields` writes them (FieldsV1), and what they are of.
//!
//! `f:` is a field, `k:` an item of a list by its key, `.` the item itself; an empty set is one value.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// A set of fields.
pub type Fields = Map<String, Value>;

/// What the API server writes itself, or what only tells which object this is.
const NO_FIELDS: [&str; 8] = [
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "managedFields",
    "selfLink",
];

/// Every field of an object.
pub fn of_object(object: &Value) -> Fields {
    inside("", &own(object))
}

/// The fields that are new in `after` or have another value there.
pub fn changed(before: &Value, after: &Value) -> Fields {
    difference("", Some(&own(before)), &own(after), true).unwrap_or_default()
}

/// The fields that are in `before` and not in `after`.
pub fn gone(before: &Value, after: &Value) -> Fields {
    difference("", Some(&own(after)), &own(before), false).unwrap_or_default()
}

/// Adds `more`.
pub fn unite(fields: &mut Fields, more: &Fields) {
    for (key, more) in more {
        let have = fields.entry(key.clone()).or_insert_with(|| json!({}));
        if let (Value::Object(have), Value::Object(more)) = (have, more) {
            unite(have, more);
        }
    }
}

/// Takes `less` away, and what holds nothing else.
pub fn subtract(fields: &mut Fields, less: &Fields) {
    for (key, less) in less {
        let Some(have) = fields.get_mut(key).and_then(Value::as_object_mut) else { continue };
        let less = less.as_object().expect("a set");
        if less.is_empty() {
            fields.remove(key);
        } else if !have.is_empty() {
            subtract(have, less);
            if have.is_empty() {
                fields.remove(key);
            }
        }
    }
}

/// Deletes from `object` what is in `last`, and neither in `new` nor in `others`.
pub fn prune(object: &mut Value, last: &Fields, new: &Fields, others: &Fields) {
    let nothing = Fields::new();
    for (key, last) in last {
        if key == "." {
            continue;
        }
        let set = |of: &Fields| of.get(key).and_then(Value::as_object).cloned();
        let (new, others) = (set(new), set(others));
        if new.is_none() && others.is_none() {
            delete(object, key);
        } else if let Some(child) = child(object, key) {
            let (new, others) = (new.as_ref().unwrap_or(&nothing), others.as_ref().unwrap_or(&nothing));
            prune(child, last.as_object().expect("a set"), new, others);
        }
    }
}

/// By what the items of a list are told apart; empty where the list is one value.
pub fn list_keys(field: &str, items: &[Value]) -> &'static [&'static str] {
    let keys: &[&str] = match field {
        "containers" | "initContainers" | "volumes" | "env" | "imagePullSecrets" => &["name"],
        "volumeMounts" => &["mountPath"],
        "ports" if items.iter().any(|item| item.get("containerPort").is_some()) => {
            &["containerPort", "protocol"]
        }
        "ports" => &["port", "protocol"],
        "hostAliases" => &["ip"],
        "topologySpreadConstraints" => &["topologyKey", "whenUnsatisfiable"],
        "ownerReferences" => &["uid"],
        "conditions" => &["type"],
        _ => return &[],
    };
    if items.iter().all(|item| item.get(keys[0]).is_some()) { keys } else { &[] }
}

/// The key of an item, such as `k:{"name":"a"}`.
pub fn item_key(item: &Value, keys: &[&str]) -> String {
    let part = |key: &&str| {
        let default = if *key == "protocol" { json!("TCP") } else { Value::Null };
        ((*key).to_owned(), item.get(*key).cloned().unwrap_or(default))
    };
    format!("k:{}", Value::Object(keys.iter().map(part).collect()))
}

/// Maps that are one value.
pub fn is_atomic(field: &str) -> bool {
    ["selector", "labelSelector", "namespaceSelector", "nodeSelector"].contains(&field)
}

fn own(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("apiVersion");
        fields.remove("kind");
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        NO_FIELDS.iter().for_each(|field| drop(metadata.remove(*field)));
        if metadata.is_empty() {
            object.as_object_mut().expect("it has metadata").remove("metadata");
        }
    }
    object
}

/// The fields inside the value of `field`; empty when it is one value.
fn inside(field: &str, value: &Value) -> Fields {
    match value {
        Value::Object(fields) if !is_atomic(field) => {
            let set =
                |(key, value): (&String, &Value)| (format!("f:{key}"), Value::Object(inside(key, value)));
            fields.iter().filter(|(_, value)| !value.is_null()).map(set).collect()
        }
        Value::Array(items) => {
            let keys = list_keys(field, items);
            let of_item = |item: &Value| {
                let mut set = inside("", item);
                set.insert(".".to_owned(), json!({}));
                (item_key(item, keys), Value::Object(set))
            };
            if keys.is_empty() { Fields::new() } else { items.iter().map(of_item).collect() }
        }
        _ => Fields::new(),
    }
}

/// The fields of `new` that are not in `old`; with `values` also those whose value is another.
fn difference(field: &str, old: Option<&Value>, new: &Value, values: bool) -> Option<Fields> {
    let Some(old) = old else { return Some(inside(field, new)) };
    if old == new {
        return None;
    }
    let (Some(old_parts), Some(new_parts)) = (parts(field, old), parts(field, new)) else {
        return (values && old != new).then(Fields::new);
    };
    let mut fields = Fields::new();
    for (key, (field, value)) in new_parts {
        let before = old_parts.get(&key).map(|(_, value)| *value);
        let Some(mut set) = difference(field, before, value, values) else { continue };
        if before.is_none() && key.starts_with("k:") {
            set.insert(".".to_owned(), json!({}));
        }
        fields.insert(key, Value::Object(set));
    }
    Some(fields).filter(|fields| !fields.is_empty())
}

/// What `value` consists of, by the keys of a set: each with the name of its field; none when it is one value.
fn parts<'a>(field: &str, value: &'a Value) -> Option<BTreeMap<String, (&'a str, &'a Value)>> {
    match value {
        Value::Object(fields) if !is_atomic(field) => {
            Some(fields.iter().map(|(key, value)| (format!("f:{key}"), (key.as_str(), value))).collect())
        }
        Value::Array(items) => {
            let keys = Some(list_keys(field, items)).filter(|keys| !keys.is_empty())?;
            Some(items.iter().map(|item| (item_key(item, keys), ("", item))).collect())
        }
        _ => None,
    }
}

fn child<'a>(value: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    match value {
        Value::Object(fields) => fields.get_mut(key.strip_prefix("f:")?),
        Value::Array(items) => {
            let at = place(items, key)?;
            items.get_mut(at)
        }
        _ => None,
    }
}

fn delete(value: &mut Value, key: &str) {
    match value {
        Value::Object(fields) => drop(key.strip_prefix("f:").and_then(|key| fields.remove(key))),
        Value::Array(items) => drop(place(items, key).map(|at| items.remove(at))),
        _ => {}
    }
}

fn place(items: &[Value], key: &str) -> Option<usize> {
    let parts: Fields = serde_json::from_str(key.strip_prefix("k:")?).expect("a key");
    let keys: Vec<&str> = parts.keys().map(String::as_str).collect();
    items.iter().position(|item| item_key(item, &keys) == key)
}
