//! Names, labels, annotations and owner of every object. The immutable selector has a function of its own, so
//! that no other label can leak into it.

use std::collections::BTreeMap;

use crds::{
    ThanosQuery,
    names::{labels, labels::TOOL_DOMAINS, objects::QUERIER_PREFIX},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;

/// The names of all objects of one ThanosQuery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The ThanosQuery.
    pub query: String,
    /// Its namespace.
    pub namespace: String,
    /// Deployment, Service, ServiceAccount, Role, RoleBinding and PodDisruptionBudget: `thanos-query-<name>`.
    pub querier: String,
    /// The ConfigMap.
    pub config_map: String,
}

/// The ThanosQuery cannot have objects under its name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "metadata.name: {name:?} makes the Service name {service:?}, which has to be at most 63 characters of a-z, 0-9 and -; use a name of at most {} such characters",
    63 - QUERIER_PREFIX.len()
)]
pub struct NameError {
    name: String,
    service: String,
}

// === impl Names ===

impl Names {
    /// Derives all names.
    ///
    /// # Errors
    /// When the name makes no valid Service name.
    pub fn of(query: &ThanosQuery) -> Result<Self, NameError> {
        let name = query.metadata.name.clone().unwrap_or_default();
        let querier = format!("{QUERIER_PREFIX}{name}");
        let is_label = querier.len() <= 63
            && !name.is_empty()
            && !querier.ends_with('-')
            && querier.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if !is_label {
            return Err(NameError { name, service: querier });
        }
        let chosen = query.spec.service_discovery.config_map.name.clone();
        Ok(Self {
            config_map: chosen.unwrap_or_else(|| format!("{querier}-endpoints")),
            namespace: query.metadata.namespace.clone().unwrap_or_default(),
            querier,
            query: name,
        })
    }
}

/// The labels that select the pods; they can never change.
pub fn selector(names: &Names) -> BTreeMap<String, String> {
    [
        (labels::NAME, labels::QUERY),
        (labels::COMPONENT, labels::QUERY_LAYER),
        (labels::PART_OF, labels::THANOS),
        (labels::MANAGED_BY, labels::OPERATOR),
        (labels::INSTANCE, &names.querier),
        (labels::OWNER, &names.query),
        (labels::QUERY_API, labels::TRUE),
    ]
    .into_iter()
    .map(|(label, value)| (label.to_owned(), value.to_owned()))
    .collect()
}

/// The labels of every object and pod: the ThanosQuery's own, then `spec.labels`, then the selector.
pub fn all_labels(query: &ThanosQuery, names: &Names) -> BTreeMap<String, String> {
    let own = query.metadata.labels.iter().flatten().filter(|(label, _)| !is_of_a_tool(label));
    let spec = query.spec.common.labels.iter().flatten();
    let mut all: BTreeMap<String, String> = own.chain(spec).map(|(k, v)| (k.clone(), v.clone())).collect();
    all.extend(selector(names));
    all
}

/// Metadata of an object called `name`.
pub fn object_meta(query: &ThanosQuery, names: &Names, name: &str) -> ObjectMeta {
    let own = query.metadata.annotations.iter().flatten().filter(|(name, _)| !is_of_a_tool(name));
    let spec = query.spec.common.annotations.iter().flatten();
    let annotations: BTreeMap<String, String> =
        own.chain(spec).map(|(k, v)| (k.clone(), v.clone())).collect();
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(names.namespace.clone()),
        labels: Some(all_labels(query, names)),
        annotations: (!annotations.is_empty()).then_some(annotations),
        owner_references: Some(owner(query).into_iter().collect()),
        ..ObjectMeta::default()
    }
}

fn owner(query: &ThanosQuery) -> Option<OwnerReference> {
    query.controller_owner_ref(&())
}

fn is_of_a_tool(name: &str) -> bool {
    let Some((domain, _)) = name.split_once('/') else { return false };
    TOOL_DOMAINS
        .iter()
        .any(|tool| domain.strip_suffix(tool).is_some_and(|sub| sub.is_empty() || sub.ends_with('.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(metadata: &str, spec: &str) -> ThanosQuery {
        serde_saphyr::from_str(&format!(
            "{{apiVersion: monitoring.thanos.io/v1alpha1, kind: ThanosQuery, metadata: {{{metadata}}}, spec: {{{spec}}}}}"
        ))
        .expect("a ThanosQuery")
    }

    #[test]
    fn names_are_upstreams() {
        let names = Names::of(&query("name: global, namespace: demo", "")).expect("valid");
        assert_eq!(names.querier, "thanos-query-global");
        assert_eq!(names.config_map, "thanos-query-global-endpoints");
        let chosen = query("name: global", "serviceDiscovery: {configMap: {name: mine}}");
        assert_eq!(Names::of(&chosen).expect("valid").config_map, "mine");
    }

    #[test]
    fn a_name_that_makes_no_service_is_refused_with_the_remedy() {
        for name in ["a.b", "x".repeat(51).as_str()] {
            let error = Names::of(&query(&format!("name: {name}"), "")).expect_err("refused").to_string();
            assert!(error.contains("metadata.name") && error.contains("at most 50"), "{error}");
        }
        assert!(Names::of(&query(&format!("name: {}", "x".repeat(50)), "")).is_ok());
    }

    #[test]
    fn labels_of_tools_reach_no_object_and_ours_win() {
        let query = query(
            "name: global, namespace: demo, labels: {team: a, helm.sh/chart: x, app.kubernetes.io/instance: release}, \
             annotations: {note: n, kubectl.kubernetes.io/last-applied-configuration: '{}'}",
            "labels: {team: b, operator.thanos.io/owner: forged}, annotations: {more: m}",
        );
        let names = Names::of(&query).expect("valid");
        let meta = object_meta(&query, &names, "thanos-query-global");
        let labels = meta.labels.expect("labels");
        assert_eq!(labels["team"], "b");
        assert_eq!(labels["operator.thanos.io/owner"], "global");
        assert_eq!(labels["app.kubernetes.io/instance"], "thanos-query-global");
        assert!(!labels.contains_key("helm.sh/chart"));
        let annotations: Vec<String> = meta.annotations.expect("annotations").into_keys().collect();
        assert_eq!(annotations, ["more", "note"]);
    }
}
