//! What machines are told. Label sets are small and fixed; series of a ThanosQuery go with it.

use std::collections::BTreeMap;

use crds::{ThanosQuery, names::labels};
use jiff::Timestamp;
use kube::ResourceExt;
use parking_lot::Mutex;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use sd_agent::EndpointType;

use crate::{
    discovery::{Discovery, Reason},
    plan::Endpoints,
    watch::QueryRef,
};

/// All metrics of the operator.
pub struct Metrics {
    registry: Mutex<Registry>,
    endpoints: Family<EndpointLabels, Gauge>,
    rejected: Family<RejectedLabels, Gauge>,
    held: Family<QueryLabels, Gauge>,
    last_change: Family<QueryLabels, Gauge>,
    writes: Family<KindLabels, Counter>,
    failures: Family<StepLabels, Counter>,
    rollouts: Counter,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct EndpointLabels {
    r#type: &'static str,
    resource: String,
    namespace: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct QueryLabels {
    resource: String,
    namespace: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RejectedLabels {
    reason: &'static str,
    resource: String,
    namespace: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StepLabels {
    step: &'static str,
}

// The label keys that upstream's metric has as values of `type`.
const TYPES: [(EndpointType, &str); 4] = [
    (EndpointType::Regular, "operator.thanos.io/endpoint"),
    (EndpointType::Strict, labels::ENDPOINT_STRICT),
    (EndpointType::Group, labels::ENDPOINT_GROUP),
    (EndpointType::GroupStrict, labels::ENDPOINT_GROUP_STRICT),
];

// === impl Metrics ===

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("thanos_operator");
        let endpoints = Family::default();
        let rejected = Family::default();
        let held = Family::default();
        let last_change = Family::default();
        let writes = Family::default();
        let failures = Family::default();
        let rollouts = Counter::default();
        registry.register(
            "query_endpoints_configured",
            "Endpoints of a ThanosQuery by type",
            endpoints.clone(),
        );
        registry.register(
            "query_services_rejected",
            "Services that a ThanosQuery leaves out, by reason",
            rejected.clone(),
        );
        registry.register(
            "query_removal_held",
            "Services of a ThanosQuery that are gone and whose endpoints are held",
            held.clone(),
        );
        registry.register(
            "query_endpoints_last_change_timestamp_seconds",
            "When the endpoints of a ThanosQuery changed last",
            last_change.clone(),
        );
        registry.register("writes", "Writes to the API by kind of object", writes.clone());
        registry.register("reconcile_failures", "Reconciles that failed, by step", failures.clone());
        registry.register("query_rollouts", "Changes of a pod template", rollouts.clone());
        Self {
            registry: Mutex::new(registry),
            endpoints,
            rejected,
            held,
            last_change,
            writes,
            failures,
            rollouts,
        }
    }
}

impl Metrics {
    /// In the Prometheus text format.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing into a String does not fail.
        let _ = encode(&mut text, &self.registry.lock());
        text
    }

    /// A write was made.
    pub fn wrote(&self, kind: &'static str) {
        self.writes.get_or_create(&KindLabels { kind }).inc();
    }

    /// A reconcile failed.
    pub fn failed(&self, step: &'static str) {
        self.failures.get_or_create(&StepLabels { step }).inc();
    }

    /// A pod template changed.
    pub fn rolled_out(&self) {
        self.rollouts.inc();
    }

    /// The endpoints of `query`, and when they changed last, if that is known.
    pub fn endpoints_of(
        &self,
        query: &ThanosQuery,
        discovery: &Discovery,
        endpoints: &Endpoints,
        changed: Option<Timestamp>,
    ) {
        let (resource, namespace) = (query.name_any(), query.namespace().unwrap_or_default());
        for (endpoint_type, r#type) in TYPES {
            let labels = EndpointLabels { r#type, resource: resource.clone(), namespace: namespace.clone() };
            self.endpoints.get_or_create(&labels).set(number(endpoints.count(endpoint_type)));
        }
        let mut by_reason: BTreeMap<&'static str, usize> =
            Reason::TOLD.iter().map(|&reason| (reason, 0)).collect();
        for rejected in discovery.rejected.iter().chain(&endpoints.rejected) {
            *by_reason.entry(rejected.reason.word()).or_default() += 1;
        }
        for (reason, count) in by_reason {
            let labels = RejectedLabels { reason, resource: resource.clone(), namespace: namespace.clone() };
            match count {
                // A series for each reason and ThanosQuery would be many that say nothing.
                0 => drop(self.rejected.remove(&labels)),
                count => drop(self.rejected.get_or_create(&labels).set(number(count))),
            }
        }
        if let Some(changed) = changed {
            self.last_change.get_or_create(&QueryLabels { resource, namespace }).set(changed.as_second());
        }
    }

    /// So many Services of `query` are gone and held.
    pub fn held_of(&self, query: &ThanosQuery, services: usize) {
        let (resource, namespace) = (query.name_any(), query.namespace().unwrap_or_default());
        self.held.get_or_create(&QueryLabels { resource, namespace }).set(number(services));
    }

    /// `query` was deleted.
    pub fn forget(&self, query: &QueryRef) {
        let (resource, namespace) = (query.name.clone(), query.namespace.clone().unwrap_or_default());
        for (_, r#type) in TYPES {
            self.endpoints.remove(&EndpointLabels {
                r#type,
                resource: resource.clone(),
                namespace: namespace.clone(),
            });
        }
        for &reason in Reason::TOLD {
            self.rejected.remove(&RejectedLabels {
                reason,
                resource: resource.clone(),
                namespace: namespace.clone(),
            });
        }
        let labels = QueryLabels { resource, namespace };
        self.held.remove(&labels);
        self.last_change.remove(&labels);
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use kube::runtime::reflector::ObjectRef;

    use super::*;
    use crate::discovery::Rejected;

    fn query(name: &str) -> ThanosQuery {
        serde_saphyr::from_str(&format!(
            "{{apiVersion: monitoring.thanos.io/v1alpha1, kind: ThanosQuery, metadata: {{name: {name}, namespace: demo}}, spec: {{}}}}"
        ))
        .expect("a ThanosQuery")
    }

    #[test]
    fn the_series_of_a_query_go_with_it_and_those_of_others_stay() {
        let metrics = Metrics::default();
        for name in ["a", "b"] {
            let bad =
                Rejected { namespace: "demo".into(), service: "s".into(), reason: Reason::NoExternalName };
            let discovery = Discovery { rejected: vec![bad], ..Discovery::default() };
            let now = Some(Timestamp::UNIX_EPOCH);
            metrics.endpoints_of(&query(name), &discovery, &Endpoints::default(), now);
            metrics.held_of(&query(name), 1);
        }
        assert!(
            metrics.encode().contains("reason=\"NoExternalName\",resource=\"a\""),
            "{}",
            metrics.encode()
        );
        metrics.forget(&ObjectRef::new("a").within("demo"));
        let text = metrics.encode();
        assert!(!text.contains("resource=\"a\"") && text.contains("resource=\"b\""), "{text}");
    }

    #[test]
    fn a_reason_for_which_nothing_is_left_out_any_more_has_no_series() {
        let metrics = Metrics::default();
        let bad = Rejected { namespace: "demo".into(), service: "s".into(), reason: Reason::NoExternalName };
        let discovery = Discovery { rejected: vec![bad], ..Discovery::default() };
        metrics.endpoints_of(&query("a"), &discovery, &Endpoints::default(), None);
        metrics.endpoints_of(&query("a"), &Discovery::default(), &Endpoints::default(), None);
        assert!(!metrics.encode().contains("NoExternalName"));
    }

    #[test]
    fn a_type_that_no_endpoint_has_any_more_is_told_as_zero() {
        let metrics = Metrics::default();
        let labels = EndpointLabels {
            r#type: labels::ENDPOINT_STRICT,
            resource: "a".into(),
            namespace: "demo".into(),
        };
        metrics.endpoints.get_or_create(&labels).set(3);
        metrics.endpoints_of(&query("a"), &Discovery::default(), &Endpoints::default(), None);
        assert_eq!(metrics.endpoints.get_or_create(&labels).get(), 0);
    }
}
