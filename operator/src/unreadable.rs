//! Pure: which fields make a ThanosQuery unreadable. The parser stops at the first problem and does not say where.

use crds::ThanosQuerySpec;
use serde_json::{Map, Value, json};

/// Every field of `spec` that cannot be read, each with what is wrong; none when the trouble is elsewhere.
pub fn unreadable_fields(object: &Value) -> Option<String> {
    let Value::Object(spec) = object.get("spec")? else {
        return Some("spec: is no object".to_owned());
    };
    // Every field has a default, so each can be tried alone.
    let problems: Vec<String> = spec
        .iter()
        .filter_map(|(name, value)| {
            let alone = Map::from_iter([(name.clone(), value.clone())]);
            let error = serde_json::from_value::<ThanosQuerySpec>(Value::Object(alone)).err()?;
            Some(format!("spec.{}: {error}", deepest(name, value)))
        })
        .collect();
    (!problems.is_empty()).then(|| problems.join("; "))
}

// `serviceDiscovery.agent.enabled` says more than `serviceDiscovery`.
fn deepest(path: &str, value: &Value) -> String {
    let Value::Object(fields) = value else { return path.to_owned() };
    let culprit = fields.iter().find(|(name, value)| {
        let inner =
            path.rsplit('.').fold(json!({(*name).as_str(): value}), |inner, part| json!({part: inner}));
        serde_json::from_value::<ThanosQuerySpec>(inner).is_err()
    });
    culprit.map_or_else(|| path.to_owned(), |(name, value)| deepest(&format!("{path}.{name}"), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_that_cannot_be_read_is_named() {
        let told = unreadable_fields(&json!({"spec": {"replicas": "two", "version": "v0.42.4"}}))
            .expect("a problem");
        assert!(told.starts_with("spec.replicas: ") && told.contains("two"), "{told}");
    }

    #[test]
    fn every_such_field_is_named_as_deep_as_it_lies() {
        let spec = json!({"spec": {"logLevel": 7, "serviceDiscovery": {"mode": "File", "agent": {"enabled": "yes"}}}});
        let told = unreadable_fields(&spec).expect("problems");
        assert!(
            told.contains("spec.logLevel: ") && told.contains("spec.serviceDiscovery.agent.enabled: "),
            "{told}"
        );
    }

    #[test]
    fn an_object_that_can_be_read_has_no_such_field() {
        assert_eq!(unreadable_fields(&json!({"spec": {"replicas": 2}})), None);
        assert_eq!(unreadable_fields(&json!({})), None);
        assert!(unreadable_fields(&json!({"spec": []})).is_some());
    }
}
