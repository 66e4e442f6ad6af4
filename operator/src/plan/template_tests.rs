//! The promise that everything rests on: ordinary endpoints never change the pod template.

use std::sync::Arc;

use crds::names::labels;
use k8s_openapi::api::core::v1::Service as KubeService;
use proptest::prelude::*;

use super::*;
use crate::{
    discovery::{Watched, discover},
    watch::StoreApiService,
};

fn query(version: &str) -> ThanosQuery {
    query_in_mode(version, "File")
}

fn query_in_mode(version: &str, mode: &str) -> ThanosQuery {
    serde_saphyr::from_str(&format!(
        "{{apiVersion: monitoring.thanos.io/v1alpha1, kind: ThanosQuery, metadata: {{name: global, namespace: demo, uid: u-1}}, \
         spec: {{version: {version}, replicas: 2, serviceDiscovery: {{mode: {mode}}}}}}}"
    ))
    .expect("a ThanosQuery")
}

fn planned(query: &ThanosQuery, services: &[Arc<StoreApiService>], known: &Known<'_>) -> Plan {
    let watched = Watched { services: services.to_vec(), ..Watched::default() };
    let discovery = discover(query, &watched).expect("readable");
    plan(query, &discovery, known, &Config::of_tests(), Timestamp::UNIX_EPOCH).expect("a plan")
}

const STORE_API: &str = "operator.thanos.io/store-api: 'true', app.kubernetes.io/part-of: thanos";

#[derive(Clone, Debug)]
struct Ordinary {
    name: u16,
    port: u16,
    headless: bool,
    labelled: bool,
}

impl Ordinary {
    fn service(&self) -> Arc<StoreApiService> {
        let label = if self.labelled { ", tenant: red" } else { "" };
        self.with_labels(label)
    }

    fn with_labels(&self, label: &str) -> Arc<StoreApiService> {
        let Self { name, port, headless, labelled: _ } = self;
        let ip = if *headless { "None" } else { "10.0.0.1" };
        let yaml = format!(
            "{{metadata: {{name: s{name}, namespace: demo, labels: {{{STORE_API}{label}}}}}, spec: {{clusterIP: {ip}, ports: [{{name: grpc, port: {port}}}]}}}}"
        );
        Arc::new(serde_saphyr::from_str::<KubeService>(&yaml).expect("a Service").into())
    }
}

const TYPE_LABELS: [Option<&str>; 4] =
    [None, Some(labels::ENDPOINT_STRICT), Some(labels::ENDPOINT_GROUP), Some(labels::ENDPOINT_GROUP_STRICT)];

fn ordinary() -> impl Strategy<Value = Vec<Ordinary>> {
    let one = (0..50u16, 1..u16::MAX, any::<bool>(), any::<bool>())
        .prop_map(|(name, port, headless, labelled)| Ordinary { name, port, headless, labelled });
    proptest::collection::vec(one, 0..12)
}

fn flagged() -> Arc<StoreApiService> {
    let yaml = "{metadata: {name: strict, namespace: demo, labels: {operator.thanos.io/store-api: 'true', app.kubernetes.io/part-of: thanos, operator.thanos.io/endpoint-strict: 'true'}}, spec: {clusterIP: 10.0.0.9, ports: [{name: grpc, port: 80}]}}";
    Arc::new(serde_saphyr::from_str::<KubeService>(yaml).expect("a Service").into())
}

proptest! {
    #[test]
    fn ordinary_endpoints_never_change_the_pod_template(
        before in ordinary(),
        after in ordinary(),
        version in prop::sample::select(vec!["v0.35.1", "v0.37.2", "v0.38.0", "v0.42.4", "mine"]),
    ) {
        let query = query(version);
        let services = |all: &[Ordinary]| -> Vec<_> {
            all.iter().map(Ordinary::service).chain([flagged()]).collect()
        };
        let (before, after) = (services(&before), services(&after));
        let unique = |services: &[Arc<StoreApiService>]| -> Vec<Arc<StoreApiService>> {
            let by_name: std::collections::BTreeMap<_, _> =
                services.iter().map(|service| (service.name.clone(), Arc::clone(service))).collect();
            by_name.into_values().collect()
        };
        let before = planned(&query, &unique(&before), &Known::default());
        let after = planned(&query, &unique(&after), &Known::default());
        prop_assert_eq!(before.queriers.deployment, after.queriers.deployment);
        prop_assert_eq!(before.role, after.role);
        prop_assert_eq!(before.queriers.service, after.queriers.service);
    }

    #[test]
    fn in_mode_file_all_no_endpoint_of_any_type_changes_the_pod_template(
        all in ordinary(),
        types in proptest::collection::vec(0..4usize, 12),
        version in prop::sample::select(vec!["v0.38.0", "v0.40.1", "v0.42.4"]),
    ) {
        let labels = TYPE_LABELS.map(|label| label.map_or_else(String::new, |label| format!(", {label}: 'true'")));
        let by_name: std::collections::BTreeMap<_, _> =
            all.iter().zip(types).map(|(one, of)| (one.name, one.with_labels(&labels[of]))).collect();
        let services: Vec<_> = by_name.into_values().collect();
        let query = query_in_mode(version, "FileAll");
        let none = planned(&query, &[], &Known::default());
        let some = planned(&query, &services, &Known::default());
        prop_assert_eq!(none.queriers.deployment, some.queriers.deployment);
        prop_assert_eq!(none.queriers.service, some.queriers.service);
    }

    #[test]
    fn the_order_in_which_services_are_seen_does_not_matter(services in ordinary(), turn in 0..12usize) {
        let by_name: std::collections::BTreeMap<_, _> =
            services.iter().map(|service| (service.name, service.service())).collect();
        let mut services: Vec<_> = by_name.into_values().collect();
        let first = planned(&query("v0.42.4"), &services, &Known::default());
        let turn = turn.min(services.len());
        services.rotate_left(turn);
        let second = planned(&query("v0.42.4"), &services, &Known::default());
        prop_assert_eq!(first.config_maps, second.config_maps);
        prop_assert_eq!(first.queriers.deployment, second.queriers.deployment);
    }
}

#[test]
fn a_strict_endpoint_changes_the_template_and_is_told_to_the_agent() {
    let query = query("v0.42.4");
    let plan = planned(&query, &[flagged()], &Known::default());
    let pod = plan.queriers.deployment.expect("pods").spec.expect("spec").template.spec.expect("pod");
    let args = pod.containers[0].args.clone().expect("args");
    assert!(args.contains(&"--endpoint-strict=strict.demo.svc.cluster.local:80".to_owned()), "{args:?}");
    let agent = pod.init_containers.expect("agent")[0].args.clone().expect("args");
    assert!(agent.contains(&"--flagged=strict.demo.svc.cluster.local:80".to_owned()), "{agent:?}");
}

/// What the plan after `plan` knows.
fn after(plan: &Plan) -> Known<'_> {
    let config_map = plan.config_maps.wanted.as_ref();
    Known { config_map, remembered: Some(&plan.remembered), ..Known::default() }
}

#[test]
fn in_mode_file_all_what_was_written_before_tells_how_an_address_is_spelt_now() {
    let query = query_in_mode("v0.42.4", "FileAll");
    let one = Ordinary { name: 1, port: 80, headless: false, labelled: false };
    let first = planned(&query, &[flagged(), one.service()], &Known::default());
    assert!(first.remembered.says_more);
    let again = planned(&query, &[flagged(), one.service()], &after(&first));
    assert_eq!(again.config_maps, first.config_maps, "the same again is the same, byte for byte");
    let plain = planned(&query, &[one.service()], &after(&first));
    assert!(!plain.remembered.says_more);
    let more = planned(&query, &[one.service(), Ordinary { name: 2, ..one }.service()], &after(&plain));
    assert_eq!(more.summary.endpoints.document.endpoints().len(), 2);
}

#[test]
fn file_all_on_a_release_that_does_not_know_types_in_a_file_is_mode_file_and_says_so() {
    let (old, file) = (query_in_mode("v0.37.2", "FileAll"), query_in_mode("v0.37.2", "File"));
    let args = |query: &ThanosQuery| {
        let plan = planned(query, &[flagged()], &Known::default());
        let pod = plan.queriers.deployment.expect("pods").spec.expect("spec").template.spec.expect("pod");
        (pod.containers[0].args.clone(), plan.summary.unsupported)
    };
    let ((old, told), (file, nothing)) = (args(&old), args(&file));
    assert_eq!(old, file);
    assert!(told[0].starts_with("spec.serviceDiscovery.mode: FileAll needs Thanos v0.38"), "{told:?}");
    assert_eq!(nothing, [""; 0]);
}

#[test]
fn the_config_map_stays_byte_for_byte_while_the_endpoints_do() {
    let query = query("v0.42.4");
    let store = Ordinary { name: 1, port: 80, headless: false, labelled: false }.service();
    let first = planned(&query, &[Arc::clone(&store)], &Known { generation: Some(6), ..Known::default() });
    let live = first.config_maps.wanted.clone().expect("a ConfigMap");
    assert_eq!(first.summary.document.as_ref().expect("document").generation, 7);
    let known = Known { config_map: Some(&live), generation: Some(7), ..Known::default() };
    assert_eq!(planned(&query, &[store], &known).config_maps.wanted.expect("a ConfigMap"), live);
    let changed = planned(&query, &[], &known);
    assert_eq!(changed.summary.document.expect("document").generation, 8);
}

#[test]
fn a_query_without_any_store_has_an_empty_document_that_is_meant() {
    let plan = planned(&query("v0.42.4"), &[], &Known::default());
    let (meta, document) =
        payload_of(&plan.config_maps.wanted.expect("a ConfigMap")).unpack().expect("valid");
    assert!(meta.empty_ok && document.endpoints().is_empty());
}
