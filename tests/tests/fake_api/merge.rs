//! The part of server-side apply that adds: items of lists go by their keys, atomic values are replaced.

use serde_json::{Map, Value};

use super::fields::{is_atomic, item_key, list_keys};

/// Brings everything in `new` into `live`.
pub fn merge(live: &mut Value, new: &Value) {
    merge_at("", live, new);
}

fn merge_at(field: &str, live: &mut Value, new: &Value) {
    match (live, new) {
        (live, new) if is_atomic(field) => *live = new.clone(),
        (Value::Object(live), Value::Object(new)) => {
            for (key, new) in new.iter().filter(|(_, new)| !new.is_null()) {
                let empty = if new.is_object() { Value::Object(Map::new()) } else { Value::Null };
                merge_at(key, live.entry(key.clone()).or_insert(empty), new);
            }
        }
        (Value::Array(live), Value::Array(new)) if !list_keys(field, new).is_empty() => {
            let keys = list_keys(field, new);
            for new in new {
                let own = item_key(new, keys);
                match live.iter_mut().find(|have| item_key(have, keys) == own) {
                    Some(have) => merge_at("", have, new),
                    None => live.push(new.clone()),
                }
            }
        }
        (live, new) => *live = new.clone(),
    }
}
