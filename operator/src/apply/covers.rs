//! Pure: is what we want there already? A no-op server-side apply still counts as a write, so nothing is applied
//! that is there.

use serde_json::Value;

/// Whether everything in `desired` is in `live`. The API server adds defaults and other managers add fields, so
/// `live` may hold more; quantities count by their value, not by their spelling.
pub fn covers(live: &Value, desired: &Value) -> bool {
    covers_at(live, desired, Place::Plain)
}

/// What a value is, as far as comparing goes.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Plain,
    /// A map of quantities: `requests`, `limits`.
    Quantities,
    /// One quantity.
    Quantity,
}

fn covers_at(live: &Value, desired: &Value, place: Place) -> bool {
    match (live, desired) {
        (Value::Object(live), Value::Object(desired)) => desired.iter().all(|(key, wanted)| {
            // One value to the API server, although a map: one more label in it selects other pods.
            if key == "selector" {
                return live.get(key) == Some(wanted);
            }
            let place = match (place, key.as_str()) {
                (Place::Quantities, _) | (Place::Plain, "sizeLimit") => Place::Quantity,
                (Place::Plain, "requests" | "limits") => Place::Quantities,
                _ => Place::Plain,
            };
            match live.get(key) {
                Some(have) => covers_at(have, wanted, place),
                None => is_nothing(wanted),
            }
        }),
        (Value::Array(live), Value::Array(desired)) => covers_list(live, desired),
        (Value::String(live), Value::String(desired)) if place == Place::Quantity => {
            live == desired || quantity(live).is_some_and(|value| quantity(desired) == Some(value))
        }
        _ => live == desired,
    }
}

// Lists of named things are merged by name, so another manager may have added some; all others are one value.
fn covers_list(live: &[Value], desired: &[Value]) -> bool {
    let key = ["name", "mountPath", "containerPort", "uid", "ip"]
        .into_iter()
        .find(|key| !desired.is_empty() && desired.iter().all(|item| item.get(key).is_some()));
    match key {
        Some(key) => desired.iter().all(|wanted| {
            live.iter().any(|have| have.get(key) == wanted.get(key) && covers_at(have, wanted, Place::Plain))
        }),
        None => {
            live.len() == desired.len()
                && live.iter().zip(desired).all(|(have, wanted)| covers_at(have, wanted, Place::Plain))
        }
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

/// A quantity in thousandths of its unit; none when it is not one.
fn quantity(text: &str) -> Option<i128> {
    let end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let thousandths: i128 = match suffix {
        "m" => 1,
        "" => 1000,
        "k" => 1_000_000,
        "M" => 1_000_000_000,
        "G" => 1_000_000_000_000,
        "T" => 1_000_000_000_000_000,
        "Ki" => 1000 << 10,
        "Mi" => 1000 << 20,
        "Gi" => 1000 << 30,
        "Ti" => 1000 << 40,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let scale = 10_i128.pow(u32::try_from(fraction.len()).ok()?);
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    Some(digits * thousandths / scale)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_that_the_api_server_adds_do_not_matter() {
        let live = json!({"spec": {"replicas": 2, "revisionHistoryLimit": 10, "template": {"containers": [
            {"name": "a", "image": "x", "terminationMessagePath": "/dev/termination-log"}, {"name": "injected"}]}}});
        let desired =
            json!({"spec": {"replicas": 2, "template": {"containers": [{"name": "a", "image": "x"}]}}});
        assert!(covers(&live, &desired));
    }

    #[test]
    fn every_changed_or_missing_field_matters() {
        let live = json!({"a": 1, "list": ["x", "y"], "named": [{"name": "n", "v": 1}], "gone": "x"});
        for desired in [
            json!({"a": 2}),
            json!({"b": 1}),
            json!({"list": ["x"]}),
            json!({"list": ["y", "x"]}),
            json!({"named": [{"name": "n", "v": 2}]}),
            json!({"named": [{"name": "m"}]}),
        ] {
            assert!(!covers(&live, &desired), "{desired}");
        }
        assert!(covers(&live, &json!({"empty": {}, "none": null, "list": ["x", "y"]})));
    }

    #[test]
    fn quantities_count_by_value() {
        let with =
            |cpu: &str, memory: &str| json!({"resources": {"requests": {"cpu": cpu, "memory": memory}}});
        assert!(covers(&with("1", "1Gi"), &with("1000m", "1024Mi")));
        assert!(covers(&with("500m", "64Mi"), &with("0.5", "65536Ki")));
        assert!(!covers(&with("500m", "64Mi"), &with("0.51", "64Mi")));
        assert!(!covers(&with("1", "odd"), &with("1", "odder")));
        assert!(!covers(&json!({"name": "1"}), &json!({"name": "1000m"})));
        assert!(covers(&json!({"sizeLimit": "48Mi"}), &json!({"sizeLimit": "49152Ki"})));
    }
}
