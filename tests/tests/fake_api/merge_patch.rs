//! JSON Merge Patch (RFC 7396): objects are merged, `null` takes away, everything else is one value.

use serde_json::{Map, Value};

/// Merges `patch` into `object`.
pub fn patch(object: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    let Some(into) = object.as_object_mut() else { return };
    for (name, value) in fields {
        match value {
            Value::Null => drop(into.remove(name)),
            value => self::patch(into.entry(name.clone()).or_insert(Value::Null), value),
        }
    }
}
