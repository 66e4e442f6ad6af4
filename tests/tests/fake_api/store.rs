//! The objects, their versions, and the history that watches replay.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{defaults::add_defaults, merge::merge};

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
    /// What each manager applied last.
    applied: HashMap<(Key, String), Value>,
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
    /// Server-side apply by `manager`, which always wins; `part` is `status` for the subresource.
    pub fn apply(
        &mut self,
        key: &Key,
        wanted: &Value,
        manager: &str,
        part: Option<&str>,
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
            None if part.is_some() => return Err(Refusal(404, format!("{} not found", key.name))),
            None if metadata["resourceVersion"].is_string() || metadata["uid"].is_string() => {
                return conflict("the object has been deleted");
            }
            None => {}
        }
        let mut wanted = wanted.clone();
        match part {
            Some(part) => wanted = json!({part: wanted[part]}),
            None => wanted.as_object_mut().into_iter().for_each(|wanted| drop(wanted.remove("status"))),
        }
        if let Some(metadata) = wanted.get_mut("metadata").and_then(Value::as_object_mut) {
            for field in ["resourceVersion", "uid", "managedFields", "generation", "creationTimestamp"] {
                metadata.remove(field);
            }
        }
        let mut object = live.unwrap_or_else(|| json!({}));
        let by = (key.clone(), format!("{manager}/{}", part.unwrap_or_default()));
        merge(&mut object, self.applied.get(&by).unwrap_or(&Value::Null), &wanted);
        self.applied.insert(by, wanted);
        Ok(self.put(key, object))
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
        self.applied.retain(|(of, _), _| of != key);
        self.history.push(Change {
            version: self.version,
            key: key.clone(),
            before: Some(object),
            after: None,
        });
        Ok(())
    }
}
