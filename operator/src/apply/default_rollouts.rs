//! Pure: nothing that runs changes because the operator was upgraded.
//!
//! A pod template is made of what users and endpoints say (the inputs) and of the operator's own defaults: probes, the
//! agent's image, the way arguments are written. A Deployment carries the hash of both, so a template that changed
//! while its inputs did not has changed for the defaults, and that can wait.

use std::collections::BTreeMap;

use crds::names::annotations;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use sd_agent::payload::sha256_hex;
use serde_json::{Map, Value, json};

/// As long as a hash in an annotation is.
const HASH_LENGTH: usize = 16;

/// Why a pod template is another than the one that was applied last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemplateChange {
    /// It is the same.
    None,
    /// Somebody wants it: the object is new, it is taken over, or its inputs changed.
    Wanted,
    /// Only the operator has other defaults now.
    DefaultsOnly,
}

/// When templates that changed for the operator's defaults are rolled out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum DefaultRollouts {
    /// By themselves, one ThanosQuery at a time.
    #[default]
    Paced,
    /// Each when a person says so.
    Manual,
}

// === impl TemplateChange ===

impl TemplateChange {
    /// Of a Deployment whose template has the hash `template` and comes from inputs with the hash `inputs`; `live` is
    /// the metadata of what is there.
    pub fn of(template: &str, inputs: &str, live: Option<&ObjectMeta>) -> Self {
        let noted = |name| live.and_then(|live| live.annotations.as_ref()).and_then(|all| all.get(name));
        match (noted(annotations::TEMPLATE_HASH), noted(annotations::TEMPLATE_INPUTS)) {
            (Some(applied), _) if applied == template => Self::None,
            (Some(_), Some(applied)) if applied == inputs => Self::DefaultsOnly,
            _ => Self::Wanted,
        }
    }
}

// === impl DefaultRollouts ===

impl DefaultRollouts {
    /// Whether a template that changed for defaults only may be rolled out now. `accepted` is the value of
    /// [`annotations::ACCEPT_DEFAULTS`]: a person who has looked at this very template need not wait for a turn.
    pub fn allows(self, template: &str, accepted: Option<&str>, has_turn: impl FnOnce() -> bool) -> bool {
        accepted == Some(template) || self == Self::Paced && has_turn()
    }
}

/// Hash of a pod template, or of anything else that is JSON. It does not depend on the order of fields.
pub fn template_hash(template: &Value) -> String {
    hash(template)
}

/// Hash of the inputs of a pod template: of `spec` without the fields `excluded`, and of `extra` (endpoints, labels),
/// whose order counts.
///
/// Whatever is as in `defaults` (a spec of which nothing is written) is left out, at every depth: a newer operator
/// knows more fields, and their defaults must not change this hash. Below an object that is not in `defaults`, only
/// what is null goes; so `defaults` should hold every optional object whose fields have defaults of their own, and
/// `extra` tell whether the object is written when that matters. Items of lists are taken as they are.
pub fn inputs_hash(mut spec: Value, defaults: &Value, excluded: &[&str], extra: &[String]) -> String {
    if let Some(fields) = spec.as_object_mut() {
        fields.retain(|field, _| !excluded.contains(&field.as_str()));
    }
    hash(&json!({"spec": written(spec, defaults), "extra": extra}))
}

/// `value` without what is as in `defaults`.
fn written(value: Value, defaults: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let default_of = |field: &str| defaults.get(field).unwrap_or(&Value::Null);
            let kept =
                fields.into_iter().filter(|(field, value)| !value.is_null() && value != default_of(field));
            Value::Object(
                kept.map(|(field, value)| {
                    let value = written(value, default_of(&field));
                    (field, value)
                })
                .collect::<Map<_, _>>(),
            )
        }
        Value::Array(items) => {
            Value::Array(items.into_iter().map(|item| written(item, &Value::Null)).collect())
        }
        value => value,
    }
}

fn hash(value: &Value) -> String {
    let mut text = String::new();
    write_sorted(value, &mut text);
    let mut hash = sha256_hex(text.as_bytes());
    hash.truncate(HASH_LENGTH);
    hash
}

/// JSON with sorted fields: a map keeps the order of insertion when some crate in the build asks for it.
fn write_sorted(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => {
            text.push('{');
            for (field, value) in fields.iter().collect::<BTreeMap<_, _>>() {
                text.push_str(&Value::String(field.clone()).to_string());
                text.push(':');
                write_sorted(value, text);
                text.push(',');
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for item in items {
                write_sorted(item, text);
                text.push(',');
            }
            text.push(']');
        }
        value => text.push_str(&value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(template: &str, inputs: &str) -> ObjectMeta {
        let all = [(annotations::TEMPLATE_HASH, template), (annotations::TEMPLATE_INPUTS, inputs)];
        let all = all.into_iter().filter(|(_, value)| !value.is_empty());
        ObjectMeta {
            annotations: Some(all.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn a_template_that_changed_while_its_inputs_did_not_has_changed_for_the_defaults() {
        let change = |live: Option<&ObjectMeta>| TemplateChange::of("t2", "i1", live);
        assert_eq!(change(Some(&noted("t2", "i1"))), TemplateChange::None);
        assert_eq!(change(Some(&noted("t2", "i0"))), TemplateChange::None);
        assert_eq!(change(Some(&noted("t1", "i1"))), TemplateChange::DefaultsOnly);
        assert_eq!(change(Some(&noted("t1", "i0"))), TemplateChange::Wanted);
    }

    #[test]
    fn new_objects_and_those_of_another_operator_do_not_wait() {
        let change = |live: Option<&ObjectMeta>| TemplateChange::of("t2", "i1", live);
        assert_eq!(change(None), TemplateChange::Wanted);
        assert_eq!(change(Some(&ObjectMeta::default())), TemplateChange::Wanted);
        assert_eq!(change(Some(&noted("t1", ""))), TemplateChange::Wanted);
        assert_eq!(change(Some(&noted("", "i1"))), TemplateChange::Wanted);
    }

    #[test]
    fn defaults_wait_for_their_turn_or_for_a_person() {
        assert!(DefaultRollouts::Paced.allows("t", None, || true));
        assert!(!DefaultRollouts::Paced.allows("t", None, || false));
        assert!(!DefaultRollouts::Manual.allows("t", None, || true));
        for mode in [DefaultRollouts::Paced, DefaultRollouts::Manual] {
            assert!(mode.allows("t", Some("t"), || false));
            assert!(!mode.allows("t", Some("older"), || false));
        }
    }

    #[test]
    fn a_new_field_with_a_default_does_not_change_the_hash() {
        let old = inputs_hash(
            json!({"replicas": 2, "store": {"timeout": "5s"}}),
            &json!({"replicas": 1, "store": {"timeout": "1s"}}),
            &[],
            &[],
        );
        let new = inputs_hash(
            json!({"new": true, "none": null, "object": {"a": [1]}, "replicas": 2, "store": {"more": 0, "timeout": "5s"}}),
            &json!({"new": true, "object": {"a": [1]}, "replicas": 1, "store": {"more": 0, "timeout": "1s"}}),
            &[],
            &[],
        );
        assert_eq!(old, new);
        assert_eq!(old.len(), HASH_LENGTH);
    }

    #[test]
    fn what_users_and_endpoints_say_changes_the_hash() {
        let defaults = json!({"a": 1, "paused": false, "object": null});
        let of = |spec: Value, extra: &[String]| inputs_hash(spec, &defaults, &["paused"], extra);
        let bare = of(json!({"a": 1}), &[]);
        assert_eq!(of(json!({"a": 1, "paused": true}), &[]), bare, "excluded");
        let [x, y] = ["x".to_owned(), "y".to_owned()];
        let all = [
            bare,
            of(json!({"a": 2}), &[]),
            of(json!({"a": 1, "object": {}}), &[]),
            of(json!({"a": 1, "object": {"b": 0}}), &[]),
            of(json!({"a": 1, "list": ["x"]}), &[]),
            of(json!({"a": 1, "list": ["x", "y"]}), &[]),
            of(json!({"a": 1, "list": ["y", "x"]}), &[]),
            of(json!({"a": 1}), std::slice::from_ref(&x)),
            of(json!({"a": 1}), &[x.clone(), y.clone()]),
            of(json!({"a": 1}), &[y, x]),
        ];
        let unique: std::collections::BTreeSet<&String> = all.iter().collect();
        assert_eq!(unique.len(), all.len());
    }

    #[test]
    fn a_hash_does_not_depend_on_the_order_of_fields() {
        assert_eq!(
            template_hash(&json!({"a": {"b": 1, "c": 2}})),
            template_hash(&json!({"a": {"c": 2, "b": 1}}))
        );
        assert_ne!(template_hash(&json!({"a": "1"})), template_hash(&json!({"a": 1})));
        // It is in annotations of live objects: another way to write it would look like new defaults everywhere.
        assert_eq!(template_hash(&json!({"b": [null, "x"], "a": 1})), "30b19f8851f7ff74");
    }
}
