//! Server-side apply, small: what this manager applied last and leaves out now goes, all else is merged.

use serde_json::{Map, Value};

/// Brings `live` from `last` (what the manager applied before) to `new`.
pub fn merge(live: &mut Value, last: &Value, new: &Value) {
    merge_at("", live, last, new);
}

fn merge_at(field: &str, live: &mut Value, last: &Value, new: &Value) {
    match (live, new) {
        // One value, although a map.
        (live, new) if field == "selector" => *live = new.clone(),
        (Value::Object(live), Value::Object(new)) => {
            for (key, last) in last.as_object().into_iter().flatten() {
                if !new.contains_key(key) {
                    take_back(key, live, last);
                }
            }
            for (key, new) in new.iter().filter(|(_, new)| !new.is_null()) {
                let last = last.get(key).unwrap_or(&Value::Null);
                let empty = if new.is_object() { Value::Object(Map::new()) } else { Value::Null };
                merge_at(key, live.entry(key.clone()).or_insert(empty), last, new);
            }
        }
        (Value::Array(live), Value::Array(new)) if list_key(field, new).is_some() => {
            let key = list_key(field, new).expect("looked at above");
            let same = |a: &Value, b: &Value| a.get(key) == b.get(key);
            let last = last.as_array().map_or(&[][..], Vec::as_slice);
            live.retain(|have| {
                !last.iter().any(|last| same(last, have)) || new.iter().any(|new| same(new, have))
            });
            for new in new {
                let before = last.iter().find(|last| same(last, new)).unwrap_or(&Value::Null);
                match live.iter_mut().find(|have| same(have, new)) {
                    Some(have) => merge_at("", have, before, new),
                    None => live.push(new.clone()),
                }
            }
        }
        (live, new) => *live = new.clone(),
    }
}

// Fields of others inside stay.
fn take_back(key: &str, live: &mut Map<String, Value>, last: &Value) {
    let Some(have) = live.get_mut(key) else { return };
    let is_empty = match (&mut *have, last) {
        (Value::Object(_), Value::Object(_)) => {
            merge_at(key, have, last, &Value::Object(Map::new()));
            have.as_object().is_some_and(Map::is_empty)
        }
        _ => true,
    };
    if is_empty {
        live.remove(key);
    }
}

/// By what the items of a list are told apart; none where the list is one value.
fn list_key(field: &str, items: &[Value]) -> Option<&'static str> {
    let key = match field {
        "containers" | "initContainers" | "volumes" | "env" => "name",
        "volumeMounts" => "mountPath",
        "ports" if items.iter().any(|item| item.get("containerPort").is_some()) => "containerPort",
        "ports" => "port",
        "ownerReferences" => "uid",
        _ => return None,
    };
    items.iter().all(|item| item.get(key).is_some()).then_some(key)
}
