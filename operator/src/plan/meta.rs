//! Names, labels, annotations and owner of every object. The immutable selector has a function of its own, so
//! that no other label can leak into it.

use std::collections::BTreeMap;

use crds::{
    ThanosQuery,
    common_fields::CommonFields,
    names::{
        annotations::OWN_DOMAIN,
        labels::{self, TOOL_DOMAINS},
        objects::{FRONTEND_PREFIX, QUERIER_PREFIX},
    },
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
    /// Deployment, Service, ServiceAccount, Role, RoleBinding, PodDisruptionBudget and ServiceMonitor of the queriers:
    /// `thanos-query-<name>`.
    pub querier: String,
    /// The queriers' second Service, with one address: `thanos-query-<name>-balanced`.
    pub balanced: String,
    /// The objects of the query frontend: `thanos-query-frontend-<name>`.
    pub frontend: String,
    /// The ConfigMap.
    pub config_map: String,
}

/// The ThanosQuery cannot have objects under its name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "metadata.name: {name:?} makes the Service name {service:?}, which has to be at most 63 characters of a-z, 0-9 and -; use a name of at most {longest} such characters"
)]
pub struct NameError {
    name: String,
    service: String,
    longest: usize,
}

/// One of the two workloads of a ThanosQuery, with what is said about it.
#[derive(Clone, Copy, Debug)]
pub struct Workload<'a> {
    /// The ThanosQuery.
    pub query: &'a ThanosQuery,
    /// Names of its objects.
    pub names: &'a Names,
    /// Which one.
    pub layer: Layer,
    /// What `spec` or `spec.queryFrontend` says about it.
    pub common: &'a CommonFields,
}

/// The workloads of a ThanosQuery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// The queriers.
    Querier,
    /// The query frontend.
    Frontend,
}

const BALANCED: &str = "-balanced";
/// Longest name of a Service.
const LONGEST: usize = 63;
/// Longest name of a ThanosQuery.
pub const LONGEST_NAME: usize = LONGEST - QUERIER_PREFIX.len();

// === impl Names ===

impl Names {
    /// Derives all names.
    ///
    /// # Errors
    /// When the name makes no valid Service name for the queriers. That of the frontend is longer, see
    /// [`Self::check_long`].
    pub fn of(query: &ThanosQuery) -> Result<Self, NameError> {
        let name = query.metadata.name.clone().unwrap_or_default();
        let querier = format!("{QUERIER_PREFIX}{name}");
        let is_label =
            name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if querier.len() > LONGEST || name.is_empty() || name.ends_with('-') || !is_label {
            return Err(NameError { name, service: querier, longest: LONGEST_NAME });
        }
        let chosen = query.spec.service_discovery.config_map.name.clone();
        Ok(Self {
            config_map: chosen.unwrap_or_else(|| format!("{querier}-endpoints")),
            namespace: query.metadata.namespace.clone().unwrap_or_default(),
            balanced: format!("{querier}{BALANCED}"),
            frontend: format!("{FRONTEND_PREFIX}{name}"),
            querier,
            query: name,
        })
    }

    /// The Service of the queriers of another ThanosQuery, called `shard`.
    pub fn of_shard(shard: &str) -> String {
        format!("{QUERIER_PREFIX}{shard}")
    }

    /// Whether the longer names, of the frontend and of the second query Service, are valid too.
    ///
    /// # Errors
    /// When they are too long.
    pub fn check_long(&self) -> Result<(), NameError> {
        let longest = LONGEST - FRONTEND_PREFIX.len().max(QUERIER_PREFIX.len() + BALANCED.len());
        if self.query.len() <= longest {
            return Ok(());
        }
        Err(NameError { name: self.query.clone(), service: self.frontend.clone(), longest })
    }
}

// === impl Layer ===

impl Layer {
    /// The field of the ThanosQuery that is about it.
    pub fn field(self) -> &'static str {
        match self {
            Self::Querier => "spec",
            Self::Frontend => "spec.queryFrontend",
        }
    }
}

// === impl Workload ===

impl<'a> Workload<'a> {
    /// The queriers of `query`.
    pub fn queriers(query: &'a ThanosQuery, names: &'a Names) -> Self {
        Self { query, names, layer: Layer::Querier, common: &query.spec.common }
    }

    /// Name of its Deployment, Service and so on.
    pub fn name(&self) -> &'a str {
        match self.layer {
            Layer::Querier => &self.names.querier,
            Layer::Frontend => &self.names.frontend,
        }
    }

    /// The labels that select its pods; they can never change.
    pub fn selector(&self) -> BTreeMap<String, String> {
        let (name, component) = match self.layer {
            Layer::Querier => (labels::QUERY, labels::QUERY_LAYER),
            Layer::Frontend => (labels::QUERY_FRONTEND, labels::QUERY_FRONTEND_LAYER),
        };
        let mut selector: BTreeMap<String, String> = [
            (labels::NAME, name),
            (labels::COMPONENT, component),
            (labels::PART_OF, labels::THANOS),
            (labels::MANAGED_BY, labels::OPERATOR),
            (labels::INSTANCE, self.name()),
            (labels::OWNER, &self.names.query),
        ]
        .map(|(label, value)| (label.to_owned(), value.to_owned()))
        .into();
        if self.layer == Layer::Querier {
            selector.insert(labels::QUERY_API.to_owned(), labels::TRUE.to_owned());
        }
        selector
    }

    /// The labels of its objects: the ThanosQuery's own, then those of its section, then the selector.
    pub fn labels(&self) -> BTreeMap<String, String> {
        let own = self.query.metadata.labels.iter().flatten().filter(|(label, _)| !is_of_a_tool(label));
        let section = self.common.labels.iter().flatten();
        let mut all: BTreeMap<String, String> =
            own.chain(section).map(|(label, value)| (label.clone(), value.clone())).collect();
        if self.layer == Layer::Frontend {
            // It has no StoreAPI, whatever the ThanosQuery says of its queriers.
            labels::ENDPOINT_LABELS.iter().for_each(|label| drop(all.remove(*label)));
        }
        all.extend(self.selector());
        all
    }

    /// The labels of its pods.
    pub fn pod_labels(&self) -> BTreeMap<String, String> {
        let mut all = self.labels();
        all.extend(self.common.pod_labels.clone().unwrap_or_default());
        all.extend(self.selector());
        all
    }

    /// Metadata of its object called `name`.
    pub fn object_meta(&self, name: &str) -> ObjectMeta {
        let is_for_objects =
            |name: &str| !is_of_a_tool(name) && domain(name).is_none_or(|domain| domain != OWN_DOMAIN);
        let own = self.query.metadata.annotations.iter().flatten().filter(|(name, _)| is_for_objects(name));
        let section = self.common.annotations.iter().flatten();
        let annotations: BTreeMap<String, String> =
            own.chain(section).map(|(name, value)| (name.clone(), value.clone())).collect();
        ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(self.names.namespace.clone()),
            labels: Some(self.labels()),
            annotations: (!annotations.is_empty()).then_some(annotations),
            owner_references: Some(owner(self.query).into_iter().collect()),
            ..ObjectMeta::default()
        }
    }
}

fn owner(query: &ThanosQuery) -> Option<OwnerReference> {
    query.controller_owner_ref(&())
}

fn domain(name: &str) -> Option<&str> {
    name.split_once('/').map(|(domain, _)| domain)
}

/// Whether a tool marks its objects with a label or annotation of this name.
pub fn is_of_a_tool(name: &str) -> bool {
    let is_of = |domain: &str, tool: &str| {
        domain.strip_suffix(tool).is_some_and(|sub| sub.is_empty() || sub.ends_with('.'))
    };
    domain(name).is_some_and(|domain| TOOL_DOMAINS.iter().any(|tool| is_of(domain, tool)))
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
        assert_eq!(names.frontend, "thanos-query-frontend-global");
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
    fn a_name_that_is_too_long_for_the_frontend_only_is_told_apart() {
        let names = |length: usize| {
            Names::of(&query(&format!("name: {}", "x".repeat(length)), "")).expect("valid for the queriers")
        };
        assert!(names(41).check_long().is_ok());
        assert!(names(41).frontend.len() <= 63 && names(41).balanced.len() <= 63);
        let error = names(42).check_long().expect_err("too long").to_string();
        assert!(error.contains("at most 41"), "{error}");
    }

    #[test]
    fn labels_of_tools_reach_no_object_and_ours_win() {
        let query = query(
            "name: global, namespace: demo, labels: {team: a, helm.sh/chart: x, app.kubernetes.io/instance: release, \
             operator.thanos.io/store-api: 'true'}, annotations: {note: n, kubectl.kubernetes.io/last-applied-configuration: '{}', \
             reconcile.fluxcd.io/requestedAt: x, operator.thanos.io/take-over: 'true'}",
            "labels: {team: b, operator.thanos.io/owner: forged}, annotations: {more: m}",
        );
        let names = Names::of(&query).expect("valid");
        let queriers = Workload::queriers(&query, &names);
        let meta = queriers.object_meta("thanos-query-global");
        let labels = meta.labels.expect("labels");
        assert_eq!(labels["team"], "b");
        assert_eq!(labels["operator.thanos.io/owner"], "global");
        assert_eq!(labels["app.kubernetes.io/instance"], "thanos-query-global");
        assert_eq!(labels["operator.thanos.io/store-api"], "true");
        assert!(!labels.contains_key("helm.sh/chart"));
        let annotations: Vec<String> = meta.annotations.expect("annotations").into_keys().collect();
        assert_eq!(annotations, ["more", "note"]);
        let frontend = Workload { layer: Layer::Frontend, ..queriers };
        assert!(!frontend.labels().contains_key("operator.thanos.io/store-api"));
        assert!(!frontend.selector().contains_key("operator.thanos.io/query-api"));
    }

    #[test]
    fn a_domain_counts_with_its_subdomains_and_not_with_what_only_ends_alike() {
        assert!(is_of_a_tool("argocd.argoproj.io/instance") && is_of_a_tool("helm.sh/chart"));
        assert!(
            !is_of_a_tool("myhelm.sh/x") && !is_of_a_tool("chart") && !is_of_a_tool("example.com/helm.sh")
        );
    }
}
