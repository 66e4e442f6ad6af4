use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};

use super::*;

fn query(spec: &str) -> ThanosQuery {
    serde_saphyr::from_str(&format!(
        "{{apiVersion: monitoring.thanos.io/v1alpha1, kind: ThanosQuery, metadata: {{name: global, namespace: demo}}, spec: {{{spec}}}}}"
    ))
    .expect("a ThanosQuery")
}

fn service(name: &str, labels: &str, spec: &str) -> Arc<StoreApiService> {
    service_in("demo", name, labels, spec)
}

/// With the labels that every StoreAPI Service has.
fn service_in(namespace: &str, name: &str, labels: &str, spec: &str) -> Arc<StoreApiService> {
    let store_api = "operator.thanos.io/store-api: 'true', app.kubernetes.io/part-of: thanos";
    let yaml = format!(
        "{{metadata: {{name: {name}, namespace: {namespace}, labels: {{{store_api}, {labels}}}}}, spec: {{{spec}}}}}"
    );
    Arc::new(serde_saphyr::from_str::<Service>(&yaml).expect("a Service").into())
}

const GRPC: &str = "clusterIP: 10.0.0.1, ports: [{name: grpc, port: 80, targetPort: 10901}]";
const HEADLESS: &str = "clusterIP: None, ports: [{name: grpc, port: 80, targetPort: 10901}]";

fn found(spec: &str, services: Vec<Arc<StoreApiService>>) -> Discovery {
    discover(&query(spec), &Watched { services, ..Watched::default() }).expect("readable selector")
}

fn names(discovery: &Discovery) -> Vec<&str> {
    discovery.stores.iter().map(|store| store.service.as_str()).collect()
}

#[test]
fn an_empty_selector_takes_every_labelled_service_of_the_namespace() {
    for spec in ["", "customStoreLabelSelector: {}", "customStoreLabelSelector: {matchExpressions: []}"] {
        assert_eq!(names(&found(spec, vec![service("b", "", GRPC), service("a", "", GRPC)])), ["a", "b"]);
    }
}

#[test]
fn every_operator_of_a_selector_works_without_match_labels() {
    let stores = || {
        vec![service("a", "tenant: red", GRPC), service("b", "tenant: blue", GRPC), service("c", "", GRPC)]
    };
    let with = |expression: &str| {
        let spec = format!("customStoreLabelSelector: {{matchExpressions: [{{key: tenant, {expression}}}]}}");
        names(&found(&spec, stores())).join(" ")
    };
    assert_eq!(with("operator: In, values: [red]"), "a");
    assert_eq!(with("operator: NotIn, values: [red]"), "b c");
    assert_eq!(with("operator: Exists"), "a b");
    assert_eq!(with("operator: DoesNotExist"), "c");
    assert_eq!(names(&found("customStoreLabelSelector: {matchLabels: {tenant: blue}}", stores())), ["b"]);
}

#[test]
fn an_unknown_operator_is_an_error_that_names_the_field() {
    let spec = "customStoreLabelSelector: {matchExpressions: [{key: a, operator: Exists}, {key: a, operator: Like}]}";
    let error = discover(&query(spec), &Watched::default()).expect_err("refused").to_string();
    assert!(error.contains("matchExpressions[1]") && error.contains("Like"), "{error}");
}

#[test]
fn one_bad_service_is_rejected_by_name_and_the_others_count() {
    let discovery =
        found("", vec![service("bad", "", "ports: [{name: web, port: 80}]"), service("good", "", GRPC)]);
    assert_eq!(names(&discovery), ["good"]);
    assert_eq!(discovery.rejected.len(), 1);
    assert_eq!(discovery.rejected[0].service, "bad");
    let message = discovery.rejected[0].reason.message();
    assert!(message.contains("\"grpc\"") && message.contains("web"), "{message}");
}

#[test]
fn services_of_other_namespaces_and_its_own_are_not_taken() {
    let mut elsewhere = (*service("a", "", GRPC)).clone();
    elsewhere.namespace = "other".into();
    let own = "app.kubernetes.io/managed-by: thanos-operator, operator.thanos.io/owner: global";
    let stacked = "app.kubernetes.io/managed-by: thanos-operator, operator.thanos.io/owner: leaf";
    let discovery = found(
        "",
        vec![Arc::new(elsewhere), service("own", own, HEADLESS), service("leaf", stacked, HEADLESS)],
    );
    assert_eq!(names(&discovery), ["leaf"]);
}

#[test]
fn a_service_being_deleted_does_not_count() {
    let mut going = (*service("a", "", GRPC)).clone();
    going.deleting = true;
    assert_eq!(found("", vec![Arc::new(going)]), Discovery::default(), "and nobody is told");
}

#[test]
fn a_headless_service_takes_port_and_host_names_from_its_slices() {
    let slice = "{metadata: {name: s-1, namespace: demo, labels: {kubernetes.io/service-name: s}}, addressType: IPv4, \
                 ports: [{name: grpc, port: 19090}], endpoints: [{addresses: [10.0.0.2], hostname: s-1}, {addresses: [10.0.0.1], hostname: s-0}]}";
    let slice: StoreApiSlice = serde_saphyr::from_str::<EndpointSlice>(slice).expect("a slice").into();
    let watched = Watched {
        services: vec![service("s", "", HEADLESS)],
        slices: vec![Arc::new(slice)],
        ..Watched::default()
    };
    let discovery = discover(&query(""), &watched).expect("readable");
    assert_eq!(
        discovery.stores[0].reach,
        Reach::Headless {
            port_name: "grpc".into(),
            pod_port: 19090,
            hostnames: vec!["s-0".into(), "s-1".into()],
            ready: vec![("10.0.0.1".into(), 19090), ("10.0.0.2".into(), 19090)],
        }
    );
    assert_eq!(
        found("", vec![service("s", "", HEADLESS)]).stores[0].reach,
        Reach::Headless { port_name: "grpc".into(), pod_port: 10901, hostnames: vec![], ready: vec![] }
    );
}

#[test]
fn an_external_name_is_reached_by_its_name_and_needs_one() {
    let external = |name: &str| {
        service(
            "e",
            "",
            &format!("type: ExternalName, externalName: '{name}', ports: [{{name: grpc, port: 443}}]"),
        )
    };
    assert_eq!(
        found("", vec![external("thanos.example.")]).stores[0].reach,
        Reach::External { host: "thanos.example".into(), port: 443 }
    );
    assert_eq!(found("", vec![external("")]).rejected[0].reason, Reason::NoExternalName);
}

#[test]
fn conflicting_type_labels_count_as_the_strongest_and_are_remarked() {
    let both = "operator.thanos.io/endpoint-strict: 'true', operator.thanos.io/endpoint-group: 'true'";
    let discovery = found("", vec![service("a", both, GRPC)]);
    assert_eq!(discovery.stores[0].endpoint_type, EndpointType::Strict);
    assert!(discovery.remarks[0].reason.message().contains("endpoint-group has no effect"));
}

fn slice(service: &str, spec: &str) -> Arc<StoreApiSlice> {
    let yaml = format!(
        "{{metadata: {{name: {service}-{}, namespace: demo, labels: {{kubernetes.io/service-name: {service}}}}}, {spec}}}",
        spec.len()
    );
    Arc::new(serde_saphyr::from_str::<EndpointSlice>(&yaml).expect("a slice").into())
}

/// The addresses that `resolve: EndpointSlice` finds behind one Service.
fn addresses(service_spec: &str, slices: &[&str]) -> Vec<String> {
    let watched = Watched {
        services: vec![service("s", "", service_spec)],
        slices: slices.iter().map(|spec| slice("s", spec)).collect(),
        ..Watched::default()
    };
    let discovery =
        discover(&query("serviceDiscovery: {resolve: EndpointSlice}"), &watched).expect("readable");
    match &discovery.stores[0].reach {
        Reach::Addresses(addresses) => {
            addresses.iter().map(|(host, port)| format!("{host}:{port}")).collect()
        }
        other => vec![format!("{other:?}")],
    }
}

const PODS: &str = "addressType: IPv4, ports: [{name: grpc, port: 10901}], endpoints: [{addresses: [10.0.0.1]}, \
                    {addresses: [10.0.0.2], conditions: {ready: false}}, \
                    {addresses: [10.0.0.3], conditions: {ready: true, terminating: true}}]";

#[test]
fn only_ready_addresses_are_written_and_those_that_end_are_dropped() {
    assert_eq!(addresses(GRPC, &[PODS]), ["10.0.0.1:10901"]);
    assert_eq!(addresses(HEADLESS, &[PODS]), ["10.0.0.1:10901"]);
    let unready = format!("publishNotReadyAddresses: true, {HEADLESS}");
    assert_eq!(addresses(&unready, &[PODS]), ["10.0.0.1:10901", "10.0.0.2:10901"]);
    assert_eq!(addresses(GRPC, &[]), [""; 0], "it counts, with nothing ready behind it");
}

#[test]
fn a_service_of_two_families_is_reached_by_its_first_one() {
    let six = "addressType: IPv6, ports: [{name: grpc, port: 1}], endpoints: [{addresses: ['fd00::1']}]";
    let two = format!("ipFamilies: [IPv6, IPv4], {GRPC}");
    assert_eq!(addresses(&two, &[PODS, six]), ["[fd00::1]:1"]);
    assert_eq!(addresses(GRPC, &[PODS, six]), ["10.0.0.1:10901"]);
    assert_eq!(addresses(&two, &[PODS]), ["10.0.0.1:10901"], "what is there");
}

#[test]
fn a_slice_made_by_hand_may_leave_the_name_of_its_only_port_out() {
    let by_hand = "addressType: IPv4, ports: [{port: 19090}], endpoints: [{addresses: [192.0.2.7]}]";
    assert_eq!(addresses("ports: [{name: grpc, port: 80}]", &[by_hand]), ["192.0.2.7:19090"]);
    let other = "addressType: IPv4, ports: [{name: web, port: 1}], endpoints: [{addresses: [192.0.2.8]}]";
    assert_eq!(addresses(GRPC, &[other]), [""; 0], "another port is not the StoreAPI");
    let named = "addressType: FQDN, ports: [{name: grpc, port: 1}], endpoints: [{addresses: [t.example]}]";
    assert_eq!(addresses(GRPC, &[named]), ["t.example:1"]);
}

#[test]
fn strict_and_group_endpoints_are_names_whatever_is_asked_for() {
    let watched = Watched {
        services: vec![service("s", "operator.thanos.io/endpoint-group: 'true'", GRPC)],
        slices: vec![slice("s", PODS)],
        ..Watched::default()
    };
    let discovery =
        discover(&query("serviceDiscovery: {resolve: EndpointSlice}"), &watched).expect("readable");
    assert_eq!(discovery.stores[0].reach, Reach::ClusterIp { port: 80 });
    assert_eq!(discovery.stores[0].addresses, 1);
}

#[test]
fn an_owner_selector_leaves_only_what_belongs_to_those_objects() {
    let owned = |name: &str, kind: &str, owner: &str| {
        let mut row = (*service(name, "", GRPC)).clone();
        row.owners = vec![crate::watch::Owner { kind: kind.into(), name: owner.into() }];
        Arc::new(row)
    };
    let stores =
        || vec![owned("a", "Prometheus", "k8s"), owned("b", "ThanosRuler", "k8s"), service("c", "", GRPC)];
    let with = |selector: &str| {
        let spec = format!("serviceDiscovery: {{ownerSelector: {{{selector}}}}}");
        names(&found(&spec, stores())).join(" ")
    };
    assert_eq!(with(""), "a b c");
    assert_eq!(with("kinds: [Prometheus]"), "a");
    assert_eq!(with("names: [k8s]"), "a b");
    assert_eq!(with("kinds: [Prometheus], names: [other]"), "");
}

#[test]
fn a_service_that_somebody_made_for_its_own_queriers_is_told_and_not_queried() {
    let own = format!("selector: {{app.kubernetes.io/instance: thanos-query-global}}, {GRPC}");
    let other = format!("selector: {{app.kubernetes.io/instance: thanos-query-leaf}}, {GRPC}");
    let discovery = found("", vec![service("own", "", &own), service("other", "", &other)]);
    assert_eq!(names(&discovery), ["other"]);
    assert_eq!(discovery.rejected[0].reason, Reason::LeadsBack);
}

#[test]
fn a_service_of_another_namespace_needs_consent_of_itself_or_its_namespace() {
    let namespace = |annotations: &str| {
        let yaml = format!("{{metadata: {{name: other, annotations: {{{annotations}}}}}}}");
        let namespace: k8s_openapi::api::core::v1::Namespace =
            serde_saphyr::from_str(&yaml).expect("a Namespace");
        Arc::new(WatchedNamespace::from(namespace))
    };
    let spec = "serviceDiscovery: {namespaceSelector: {any: true}}";
    let of = |annotations: &str, needs_consent: bool| {
        let watched = Watched {
            services: vec![service_in("other", "s", "", GRPC)],
            namespaces: vec![namespace(annotations)],
            rights: Rights { needs_consent, ..Rights::default() },
            ..Watched::default()
        };
        discover(&query(spec), &watched).expect("readable")
    };
    assert_eq!(of("", true).rejected[0].reason, Reason::NoConsent { from: "demo".into() });
    assert_eq!(names(&of("operator.thanos.io/allow-discovery-from: demo", true)), ["s"]);
    assert_eq!(names(&of("", false)), ["s"], "waived");
    let message = of("", true).rejected[0].reason.message();
    assert!(message.contains("operator.thanos.io/allow-discovery-from=demo"), "{message}");
}

#[test]
fn a_headless_service_with_tls_is_its_addresses_since_thanos_gives_no_settings_to_what_it_looks_up() {
    let annotated = |value: &str| {
        let yaml = format!(
            "{{metadata: {{name: a, namespace: demo, annotations: {{operator.thanos.io/tls: '{value}'}}, \
             labels: {{operator.thanos.io/store-api: 'true', app.kubernetes.io/part-of: thanos}}}}, spec: {{{HEADLESS}}}}}"
        );
        Arc::new(serde_saphyr::from_str::<Service>(&yaml).expect("a Service").into())
    };
    let is_addresses = |spec: &str, service: Arc<StoreApiService>| {
        matches!(found(spec, vec![service]).stores[0].reach, Reach::Addresses(_))
    };
    let default = "serviceDiscovery: {tls: {}}";
    assert!(!is_addresses("", service("a", "", HEADLESS)));
    assert!(is_addresses(default, service("a", "", HEADLESS)));
    assert!(!is_addresses(default, service("a", "", GRPC)), "one with an address of its own is no look-up");
    assert!(!is_addresses(default, annotated("off")));
    assert!(is_addresses("additionalArgs: [--grpc-client-tls-secure]", annotated("off")));
    assert!(is_addresses("serviceDiscovery: {tlsProfiles: [{name: eu}]}", annotated("eu")));
    assert!(!is_addresses("serviceDiscovery: {mode: Flags, tls: {}}", service("a", "", HEADLESS)));
    let unknown = found("serviceDiscovery: {tls: {}}", vec![annotated("eu")]);
    assert!(unknown.stores.is_empty());
    let message = unknown.rejected[0].reason.message();
    assert!(
        message.contains("has no \"eu\" (there is: none)") && message.contains("off for no TLS"),
        "{message}"
    );
}
