//! What users say about a pod template, as a hash. While it stays and the template changes, the change is that of
//! endpoints, which are told by their flags in the template, or the operator's own: a new default, a new agent. Those
//! wait for their turn (design section 7).

use std::{collections::BTreeMap, sync::LazyLock};

use crds::{ThanosQuerySpec, query_frontend::QueryFrontendSpec};
use sd_agent::payload::sha256_hex;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use super::{Layer, Workload};

/// Fields that no pod template has anything of.
const NOT_OF_PODS: [&str; 11] = [
    "additionalServicePorts",
    "annotations",
    "customStoreLabelSelector",
    "distributed",
    "paused",
    "podDisruptionBudgetConfig",
    "queryFrontend",
    "queryLabelSelector",
    "replicas",
    "service",
    "serviceMonitor",
];

/// Fields of `serviceDiscovery` of which no pod template has anything as it stands: what is found is told by the flags,
/// and what a template has of TLS is among the other inputs.
const NOT_OF_PODS_IN_DISCOVERY: [&str; 7] = [
    "additionalEndpoints",
    "namespaceSelector",
    "ownerSelector",
    "removalGuard",
    "resolve",
    "tls",
    "tlsProfiles",
];

/// As long as a hash in an annotation is.
const HASH_LENGTH: usize = 16;

/// What a section is of which nothing is written. Made once: every change of an endpoint asks for it.
static QUERIER_DEFAULTS: LazyLock<Value> = LazyLock::new(nothing_written::<ThanosQuerySpec>);
static FRONTEND_DEFAULTS: LazyLock<Value> = LazyLock::new(nothing_written::<QueryFrontendSpec>);

fn nothing_written<T: DeserializeOwned + Serialize>() -> Value {
    without_what_is_not_of_pods(json!(serde_json::from_value::<T>(json!({})).ok()))
}

fn without_what_is_not_of_pods(mut section: Value) -> Value {
    if let Some(discovery) = section.get_mut("serviceDiscovery").and_then(Value::as_object_mut) {
        discovery.retain(|field, _| !NOT_OF_PODS_IN_DISCOVERY.contains(&field.as_str()));
    }
    section
}

/// The hash of what is said about the pods of `workload`, `more` included: images, addresses.
pub fn hash_of(workload: &Workload<'_>, more: &[String]) -> String {
    let spec = &workload.query.spec;
    let (section, defaults) = match workload.layer {
        Layer::Querier => (json!(spec), &*QUERIER_DEFAULTS),
        Layer::Frontend => (json!(spec.query_frontend), &*FRONTEND_DEFAULTS),
    };
    let section = without_what_is_not_of_pods(section);
    let mut extra = more.to_vec();
    extra.extend(workload.pod_labels().into_iter().map(|(label, value)| format!("{label}={value}")));
    inputs_hash(section, defaults, &NOT_OF_PODS, &extra)
}

/// Hash of a pod template, or of anything else that is JSON. It does not depend on the order of fields.
pub fn template_hash(template: &Value) -> String {
    hash(template)
}

/// Hash of the inputs of a pod template: of `spec` without the fields `excluded`, and of `extra` (images, labels),
/// whose order counts.
///
/// Whatever is as in `defaults` (a spec of which nothing is written) is left out, at every depth: a newer operator
/// knows more fields, and their defaults must not change this hash. Below an object that is not in `defaults`, only
/// what is null goes; so `defaults` should hold every optional object whose fields have defaults of their own, and
/// `extra` tell whether the object is written when that matters. Items of lists are taken as they are.
fn inputs_hash(mut spec: Value, defaults: &Value, excluded: &[&str], extra: &[String]) -> String {
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
    use crds::ThanosQuery;

    use super::*;
    use crate::plan::Names;

    fn said(spec: &str, more: &[&str]) -> String {
        let yaml = format!(
            "{{apiVersion: monitoring.thanos.io/v1alpha1, kind: ThanosQuery, metadata: {{name: global, namespace: demo}}, spec: {{{spec}}}}}"
        );
        let query: ThanosQuery = serde_saphyr::from_str(&yaml).expect("a ThanosQuery");
        let names = Names::of(&query).expect("valid");
        let more: Vec<String> = more.iter().map(|&text| text.to_owned()).collect();
        hash_of(&Workload::queriers(&query, &names), &more)
    }

    #[test]
    fn what_says_nothing_about_pods_or_is_the_default_does_not_count() {
        let plain = said("", &[]);
        for spec in [
            "replicas: 3",
            "paused: true",
            "serviceDiscovery: {refreshInterval: 5s}",
            "serviceDiscovery: {removalGuard: {holdFor: 1m}, resolve: EndpointSlice}",
            "serviceDiscovery: {namespaceSelector: {any: true}, additionalEndpoints: [{address: 'a:1'}]}",
            "serviceDiscovery: {agent: {source: Auto}}",
            "imagePullPolicy: IfNotPresent",
            "queryFrontend: {}",
            "service: {type: NodePort}",
        ] {
            assert_eq!(said(spec, &[]), plain, "{spec}");
        }
    }

    #[test]
    fn what_a_user_says_about_pods_counts() {
        let plain = said("", &[]);
        for spec in [
            "logLevel: debug",
            "serviceDiscovery: {refreshInterval: 6s}",
            "labels: {a: b}",
            "podAnnotations: {a: b}",
        ] {
            assert_ne!(said(spec, &[]), plain, "{spec}");
        }
        assert_ne!(said("", &["thanos:v0.42.4"]), plain);
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
    fn what_users_say_changes_the_hash() {
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
