//! TLS and the pod template: what a spec says of it is mounted, and which Service uses what of it changes no pod.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Service as KubeService;

use super::*;
use crate::discovery::{Watched, discover};

const TLS: &str = "serviceDiscovery: {tls: {ca: {name: ca}}, \
    tlsProfiles: [{name: eu, ca: {name: eu}, certificate: {secretName: own}}]}";

fn planned(version: &str, spec: &str, services: &[String]) -> Plan {
    let yaml = format!(
        "{{apiVersion: monitoring.thanos.io/v1alpha1, kind: ThanosQuery, metadata: {{name: global, namespace: demo, uid: u-1}}, \
         spec: {{version: {version}, {spec}}}}}"
    );
    let query: ThanosQuery = serde_saphyr::from_str(&yaml).expect("a ThanosQuery");
    let service =
        |yaml: &String| Arc::new(serde_saphyr::from_str::<KubeService>(yaml).expect("a Service").into());
    let watched = Watched { services: services.iter().map(service).collect(), ..Watched::default() };
    let discovery = discover(&query, &watched).expect("readable");
    plan(&query, &discovery, &Known::default(), &Config::of_tests(), Timestamp::UNIX_EPOCH).expect("a plan")
}

fn service(label: &str, annotation: &str, address: &str) -> String {
    format!(
        "{{metadata: {{name: s, namespace: demo, annotations: {{{annotation}}}, labels: {{operator.thanos.io/store-api: 'true', \
         app.kubernetes.io/part-of: thanos, {label}}}}}, spec: {{clusterIP: {address}, ports: [{{name: grpc, port: 80}}]}}}}"
    )
}

#[test]
fn from_0_42_no_service_with_tls_changes_the_template_whatever_its_type_and_whatever_it_chooses() {
    let empty = planned("v0.42.4", TLS, &[]).queriers.deployment;
    for label in ["", "operator.thanos.io/endpoint-strict: ''", "operator.thanos.io/endpoint-group: ''"] {
        for tls in [
            "",
            "operator.thanos.io/tls: eu",
            "operator.thanos.io/tls: 'off'",
            "operator.thanos.io/tls: no-such",
        ] {
            for address in ["None", "10.0.0.1"] {
                let plan = planned("v0.42.4", TLS, &[service(label, tls, address)]);
                assert_eq!(plan.queriers.deployment, empty, "{label} {tls} {address}");
            }
        }
    }
}

#[test]
fn a_name_of_a_profile_that_there_is_not_is_told_and_never_dialled() {
    let plan = planned("v0.42.4", TLS, &[service("", "operator.thanos.io/tls: eu ", "10.0.0.1")]);
    assert_eq!(plan.summary.endpoints.document.endpoints().len(), 1, "spaces around it are none of it");
    let plan = planned("v0.42.4", TLS, &[service("", "operator.thanos.io/tls: ue", "10.0.0.1")]);
    assert!(plan.summary.endpoints.document.endpoints().is_empty());
}

#[test]
fn below_0_42_what_cannot_be_done_is_told_and_a_default_is_flags() {
    let needs = |version: &str, annotation: &str| {
        let plan = planned(version, TLS, &[service("", annotation, "10.0.0.1")]);
        plan.summary.endpoints.unsupported.iter().map(|own| (own.who.clone(), own.what)).collect::<Vec<_>>()
    };
    let who = || "Service demo/s".to_owned();
    for version in ["v0.35.1", "v0.41.0", "mine"] {
        assert_eq!(needs(version, ""), []);
        assert_eq!(needs(version, "operator.thanos.io/tls: eu"), [(who(), Need::OwnTls)]);
        assert_eq!(needs(version, "operator.thanos.io/tls: 'off'"), [(who(), Need::NoTls)]);
    }
    assert_eq!(needs("v0.42.4", "operator.thanos.io/tls: eu"), []);
}

#[test]
fn an_upgrade_over_0_42_has_every_endpoint_in_old_and_in_new_pods_at_every_moment() {
    use sd_agent::render::{TlsFiles, render_for};

    let services: Vec<String> =
        ["", "operator.thanos.io/endpoint-strict: ''", "operator.thanos.io/endpoint-group: ''"]
            .iter()
            .enumerate()
            .map(|(index, label)| {
                service(label, "", "10.0.0.1").replace("name: s,", &format!("name: s{index},"))
            })
            .collect();
    let of = |version: &str| planned(version, TLS, &services);
    let (old, new) = (of("v0.41.0"), of("v0.42.4"));
    for (document, pod) in [(&old, &new), (&new, &old)] {
        // The document of one plan in the pods of the other.
        let flags: Vec<_> = pod.summary.endpoints.flags.iter().map(|flag| flag.address.clone()).collect();
        let document = &document.summary.endpoints.document;
        let folders = ["/tls/default/ca", "/tls/profile-eu/ca", "/tls/profile-eu/client"].map(str::to_owned);
        let file = render_for(document, pod.summary.version, &flags, TlsFiles::In(&folders));
        assert_eq!(file.count + flags.len(), 3, "{flags:?} {}", file.text);
        let is_new = pod.summary.version == new.summary.version;
        assert_eq!(file.text.matches("ca_file").count(), if is_new { 3 } else { 0 }, "{}", file.text);
        assert_eq!(file.text.contains("\"strict\":true"), is_new, "{}", file.text);
    }
}

#[test]
fn a_switch_in_additional_args_gets_addresses_for_what_is_to_be_without_tls() {
    let args = |plan: &Plan| {
        let deployment = plan.queriers.deployment.clone().expect("pods");
        deployment.spec.expect("a spec").template.spec.expect("a pod").containers[0]
            .args
            .clone()
            .expect("args")
    };
    let spec = "additionalArgs: [--grpc-client-tls-secure]";
    let plan = planned("v0.42.4", spec, &[service("", "operator.thanos.io/tls: 'off'", "None")]);
    assert!(args(&plan).contains(&"--grpc-client-tls-min-version=1.2".to_owned()));
    let looked_up = plan.summary.endpoints.document.looked_up().count();
    assert_eq!(looked_up, 0, "to what Thanos looks up it connects as its flags say");
}
