//! What users and endpoints say about a pod template, as a hash. While it stays and the template changes, the change is
//! the operator's own: a new default, a new agent. Those wait for their turn (design section 7).

use crds::{ThanosQuerySpec, query_frontend::QueryFrontendSpec};
use sd_agent::payload::sha256_hex;
use serde_json::{Value, json};

use super::{Layer, Workload};

/// Fields that no pod template has anything of.
const NOT_OF_PODS: [&str; 10] = [
    "additionalServicePorts",
    "annotations",
    "customStoreLabelSelector",
    "paused",
    "podDisruptionBudgetConfig",
    "queryFrontend",
    "queryLabelSelector",
    "replicas",
    "service",
    "serviceMonitor",
];

/// The hash of what is said about the pods of `workload`, `more` included: images, flags.
pub fn hash(workload: &Workload<'_>, more: &[String]) -> String {
    let spec = &workload.query.spec;
    let (section, default) = match workload.layer {
        Layer::Querier => (json!(spec), json!(serde_json::from_value::<ThanosQuerySpec>(json!({})).ok())),
        Layer::Frontend => {
            (json!(spec.query_frontend), json!(serde_json::from_value::<QueryFrontendSpec>(json!({})).ok()))
        }
    };
    let mut said = said(section, &default);
    if let Some(said) = said.as_object_mut() {
        NOT_OF_PODS.iter().for_each(|field| drop(said.remove(*field)));
    }
    let all = json!([said, workload.pod_labels(), more]);
    sha256_hex(all.to_string().as_bytes())[..16].to_owned()
}

/// `value` without everything that is as in `default`: a field that a later operator adds, or whose default it changes,
/// says nothing until a user sets it.
fn said(value: Value, default: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let differs = |(name, value): (String, Value)| {
                let default = default.get(&name).unwrap_or(&Value::Null);
                let value = said(value, default);
                let is_nothing = value == *default || value.is_null() || value == json!({});
                (!is_nothing).then_some((name, value))
            };
            Value::Object(fields.into_iter().filter_map(differs).collect())
        }
        value => value,
    }
}

#[cfg(test)]
mod tests {
    use crds::ThanosQuery;

    use super::*;
    use crate::plan::Names;

    fn hash_of(spec: &str, more: &[&str]) -> String {
        let yaml = format!(
            "{{apiVersion: monitoring.thanos.io/v1alpha1, kind: ThanosQuery, metadata: {{name: global, namespace: demo}}, spec: {{{spec}}}}}"
        );
        let query: ThanosQuery = serde_saphyr::from_str(&yaml).expect("a ThanosQuery");
        let names = Names::of(&query).expect("valid");
        let more: Vec<String> = more.iter().map(|&text| text.to_owned()).collect();
        hash(&Workload::queriers(&query, &names), &more)
    }

    #[test]
    fn what_says_nothing_about_pods_or_is_the_default_does_not_count() {
        let plain = hash_of("", &[]);
        for spec in [
            "replicas: 3",
            "paused: true",
            "serviceDiscovery: {refreshInterval: 5s}",
            "serviceDiscovery: {agent: {source: Auto}}",
            "imagePullPolicy: IfNotPresent",
            "queryFrontend: {}",
            "service: {type: NodePort}",
        ] {
            assert_eq!(hash_of(spec, &[]), plain, "{spec}");
        }
    }

    #[test]
    fn what_a_user_or_an_endpoint_says_about_pods_counts() {
        let plain = hash_of("", &[]);
        for spec in ["logLevel: debug", "serviceDiscovery: {refreshInterval: 6s}", "labels: {a: b}", "podAnnotations: {a: b}"] {
            assert_ne!(hash_of(spec, &[]), plain, "{spec}");
        }
        assert_ne!(hash_of("", &["--endpoint-strict=a:1"]), plain);
    }

    #[test]
    fn a_field_that_a_later_release_adds_with_its_default_changes_nothing() {
        let old = said(json!({"a": 1, "deep": {"b": 2}}), &json!({"a": 0, "deep": {"b": 2}}));
        let new = said(json!({"a": 1, "deep": {"b": 2, "c": 3}, "d": 4}), &json!({"a": 0, "deep": {"b": 2, "c": 3}, "d": 4}));
        assert_eq!((old, new), (json!({"a": 1}), json!({"a": 1})));
    }
}
