//! What holds of discovery and of the document whatever Services, slices, labels and ThanosQuery objects there are.

use std::collections::BTreeSet;

use k8s_openapi::api::{
    core::v1::{Namespace, Service},
    discovery::v1::EndpointSlice,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    config::Config,
    plan::{Known, Plan, plan},
};

const NAMESPACES: [&str; 3] = ["demo", "other", "third"];

fn service() -> impl Strategy<Value = Value> {
    let labels = (
        prop::option::weighted(0.9, Just("true")),
        prop::sample::select(vec!["", "endpoint-strict", "endpoint-group", "endpoint-group-strict"]),
        prop::option::of(prop::sample::select(vec!["red", "blue"])),
        prop::option::weighted(0.1, Just("global")),
    );
    let form = prop::sample::select(vec!["10.0.0.1", "None", "", "external", "external-without"]);
    let port = prop::sample::select(vec!["grpc", "web", "store"]);
    let place = (prop::sample::select(NAMESPACES.to_vec()), 0..8u8);
    let extra = (any::<bool>(), any::<bool>(), 1..3u16, prop::option::weighted(0.3, Just("demo")));
    (place, labels, form, port, extra).prop_map(|(place, labels, form, port, extra)| {
        let ((namespace, number), (store_api, endpoint_type, tenant, owner)) = (place, labels);
        let (deleting, annotated, target, consent) = extra;
        let mut metadata = json!({"namespace": namespace, "name": format!("s{number}"),
            "labels": {"app.kubernetes.io/part-of": "thanos"}, "annotations": {}});
        let set = |metadata: &mut Value, kind: &str, name: &str, value: &str| {
            metadata[kind][name] = json!(value);
        };
        if let Some(value) = store_api {
            set(&mut metadata, "labels", labels::STORE_API, value);
        }
        if !endpoint_type.is_empty() {
            set(&mut metadata, "labels", &format!("operator.thanos.io/{endpoint_type}"), "true");
        }
        if let Some(tenant) = tenant {
            set(&mut metadata, "labels", "tenant", tenant);
        }
        if let Some(owner) = owner {
            set(&mut metadata, "labels", labels::OWNER, owner);
            set(&mut metadata, "labels", labels::MANAGED_BY, labels::OPERATOR);
        }
        if annotated {
            set(&mut metadata, "annotations", "operator.thanos.io/port", "store");
        }
        if let Some(from) = consent {
            set(&mut metadata, "annotations", "operator.thanos.io/allow-discovery-from", from);
        }
        if deleting && number == 7 {
            metadata["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        let ports = json!([{"name": port, "port": 80, "targetPort": 10900 + target}]);
        let spec = match form {
            "external" => json!({"type": "ExternalName", "externalName": "t.example", "ports": ports}),
            "external-without" => json!({"type": "ExternalName", "ports": ports}),
            ip => json!({"clusterIP": ip, "ports": ports}),
        };
        json!({"metadata": metadata, "spec": spec})
    })
}

fn slice() -> impl Strategy<Value = Value> {
    let endpoint = (1..6u8, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(address, ready, terminating, named)| {
            let mut endpoint = json!({"addresses": [format!("10.1.0.{address}")],
                "conditions": {"ready": ready, "terminating": terminating}});
            if named {
                endpoint["hostname"] = json!(format!("pod-{address}"));
            }
            endpoint
        },
    );
    let place = (prop::sample::select(NAMESPACES.to_vec()), 0..8u8, 0..3u8);
    (place, prop::collection::vec(endpoint, 0..4)).prop_map(|((namespace, service, part), endpoints)| {
        json!({"metadata": {"namespace": namespace, "name": format!("s{service}-{part}"),
                "labels": {"kubernetes.io/service-name": format!("s{service}")}},
            "addressType": "IPv4", "ports": [{"name": "grpc", "port": 10901}], "endpoints": endpoints})
    })
}

fn spec() -> impl Strategy<Value = Value> {
    let version = prop::sample::select(vec!["v0.35.1", "v0.36.1", "v0.37.2", "v0.38.0", "v0.42.4", "mine"]);
    let selector = prop::sample::select(vec![
        json!({}),
        json!({"matchLabels": {"tenant": "red"}}),
        json!({"matchExpressions": [{"key": "tenant", "operator": "DoesNotExist"}]}),
    ]);
    let namespaces = prop::sample::select(vec![
        json!({}),
        json!({"any": true}),
        json!({"matchNames": ["demo", "other"]}),
        json!({"matchLabels": {"open": "yes"}}),
    ]);
    let resolve = prop::sample::select(vec!["DNS", "EndpointSlice"]);
    let mode = prop::sample::select(vec!["File", "Flags"]);
    let additional = prop::sample::select(vec![
        json!([]),
        json!([{"address": "t.example:80"}, {"address": "dns+t.example:80", "type": "Group"}]),
        json!([{"address": "thanos-query-global.demo.svc:10901"}, {"address": "10.1.0.1:10901", "type": "Strict"}]),
        json!([{"address": "dnssrv+_grpc._tcp.s1.demo.svc.cluster.local"}, {"address": "bad"}]),
    ]);
    (version, selector, namespaces, resolve, mode, additional).prop_map(
        |(version, selector, namespaces, resolve, mode, additional)| {
            json!({"version": version, "customStoreLabelSelector": selector, "serviceDiscovery": {
                "mode": mode, "resolve": resolve, "namespaceSelector": namespaces, "additionalEndpoints": additional}})
        },
    )
}

/// One object of each name.
fn unique(objects: Vec<Value>) -> Vec<Value> {
    let mut seen = BTreeSet::new();
    let name = |object: &Value| format!("{}/{}", object["metadata"]["namespace"], object["metadata"]["name"]);
    objects.into_iter().filter(|object| seen.insert(name(object))).collect()
}

fn read<T: serde::de::DeserializeOwned>(object: &Value) -> T {
    serde_json::from_value(object.clone()).expect("an object")
}

fn watched(services: &[Value], slices: &[Value]) -> Watched {
    let namespace = |name: &str| {
        let yes = if name == "third" { "yes" } else { "no" };
        let namespace: Namespace = read(&json!({"metadata": {"name": name, "labels": {"open": yes}}}));
        Arc::new(WatchedNamespace::from(namespace))
    };
    Watched {
        services: services.iter().map(|own| Arc::new(read::<Service>(own).into())).collect(),
        slices: slices.iter().map(|own| Arc::new(read::<EndpointSlice>(own).into())).collect(),
        namespaces: NAMESPACES.iter().map(|name| namespace(name)).collect(),
        ..Watched::default()
    }
}

fn query(spec: &Value) -> ThanosQuery {
    read(&json!({"apiVersion": "monitoring.thanos.io/v1alpha1", "kind": "ThanosQuery",
        "metadata": {"name": "global", "namespace": "demo", "uid": "u-1"}, "spec": spec}))
}

fn planned(query: &ThanosQuery, watched: &Watched) -> (Discovery, Plan) {
    let discovery = discover(query, watched).expect("readable");
    let now = jiff::Timestamp::UNIX_EPOCH;
    let plan = plan(query, &discovery, &Known::default(), &Config::of_tests(), now).expect("a plan");
    (discovery, plan)
}

proptest! {
    #[test]
    fn every_service_is_in_or_left_out_for_a_reason_that_says_what_to_do(
        services in prop::collection::vec(service(), 0..12).prop_map(unique),
        slices in prop::collection::vec(slice(), 0..6).prop_map(unique),
        spec in spec(),
    ) {
        let (query, watched) = (query(&spec), watched(&services, &slices));
        let (discovery, plan) = planned(&query, &watched);
        let facts = Facts::of(&watched);
        let rules = Rules::of(&query, &facts).expect("readable");
        for service in &watched.services {
            let is_this = |own: &Rejected| own.namespace == service.namespace && own.service == service.name;
            let in_store = discovery.stores.iter()
                .any(|own| own.namespace == service.namespace && own.service == service.name);
            let told = discovery.rejected.iter().any(is_this);
            match rules.judge(service) {
                Ok(_) => prop_assert!(in_store && !told),
                Err(reason) => {
                    prop_assert!(!in_store && told != reason.is_meant());
                    prop_assert!(!reason.message().is_empty());
                    prop_assert_eq!(reason.is_meant(), !Reason::TOLD.contains(&reason.word()));
                }
            }
        }
        // What is in and cannot be written is told by the plan.
        let unwritten = plan.summary.endpoints.rejected.iter();
        prop_assert!(unwritten.clone().all(|own| Reason::TOLD.contains(&own.reason.word())));
    }

    #[test]
    fn no_place_is_named_twice_and_none_is_the_query_itself(
        services in prop::collection::vec(service(), 0..12).prop_map(unique),
        slices in prop::collection::vec(slice(), 0..6).prop_map(unique),
        spec in spec(),
    ) {
        let (_, plan) = planned(&query(&spec), &watched(&services, &slices));
        let mut places = BTreeSet::new();
        for endpoint in plan.summary.endpoints.document.endpoints() {
            let place = match endpoint.file.port() {
                Some(port) => format!("{}:{port}", endpoint.file.target()),
                None => endpoint.file.to_string(),
            };
            prop_assert!(places.insert(place.clone()), "{} twice", place);
            prop_assert!(!place.starts_with("thanos-query-global"), "{}", place);
        }
        let own = plan.summary.endpoints.document.endpoints().iter()
            .any(|endpoint| endpoint.file.to_string().contains("thanos-query-global.demo"));
        prop_assert!(!own);
    }

    #[test]
    fn the_order_in_which_things_are_seen_does_not_matter(
        services in prop::collection::vec(service(), 0..12).prop_map(unique),
        slices in prop::collection::vec(slice(), 0..6).prop_map(unique),
        spec in spec(),
        turn in 0..12usize,
    ) {
        let query = query(&spec);
        let (first, first_plan) = planned(&query, &watched(&services, &slices));
        let turned = |mut all: Vec<Value>| {
            let turn = turn.min(all.len());
            all.rotate_left(turn);
            all.reverse();
            all
        };
        let (second, second_plan) = planned(&query, &watched(&turned(services), &turned(slices)));
        prop_assert_eq!(first, second);
        prop_assert_eq!(first_plan.summary.endpoints, second_plan.summary.endpoints);
        prop_assert_eq!(first_plan.config_maps, second_plan.config_maps);
    }

    #[test]
    fn ordinary_services_and_the_addresses_behind_them_never_change_the_pod_template(
        before in (prop::collection::vec(service(), 0..8), prop::collection::vec(slice(), 0..6)),
        after in (prop::collection::vec(service(), 0..8), prop::collection::vec(slice(), 0..6)),
        spec in spec(),
    ) {
        let mut spec = spec;
        spec["serviceDiscovery"]["mode"] = json!("File");
        let ordinary = |services: Vec<Value>| {
            let mut services = unique(services);
            for service in &mut services {
                let labels = service["metadata"]["labels"].as_object_mut().expect("labels");
                labels.retain(|label, _| !label.contains("/endpoint-"));
            }
            services
        };
        let query = query(&spec);
        let deployment = |(services, slices): (Vec<Value>, Vec<Value>)| {
            planned(&query, &watched(&ordinary(services), &unique(slices))).1.queriers.deployment
        };
        prop_assert_eq!(deployment(before), deployment(after));
    }
}
