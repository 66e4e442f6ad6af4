//! What is written by hand and what is made by code must agree.

use std::{collections::BTreeSet, fs, sync::Arc};

use clap::Parser;
use crds::ThanosQuery;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::Service,
    rbac::v1::{ClusterRole, PolicyRule, Role},
};
use operator::{
    arguments::{Arguments, Command},
    config::Config,
    discovery::{Watched, discover},
    plan::{Known, plan},
};
use serde_json::Value;

const MANIFESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests");

fn documents(file: &str) -> Vec<Value> {
    let text = fs::read_to_string(format!("{MANIFESTS}/{file}")).expect(file);
    serde_saphyr::from_multiple(&text).expect(file)
}

fn of_kind<T: serde::de::DeserializeOwned>(file: &str, kind: &str) -> T {
    let found = documents(file).into_iter().find(|document| document["kind"] == kind).expect(kind);
    serde_json::from_value(found).expect(kind)
}

#[test]
fn the_crd_in_the_manifests_is_the_one_of_the_code() {
    let made = crds::to_yaml().expect("YAML");
    let written = fs::read_to_string(format!("{MANIFESTS}/crd.yaml")).expect("crd.yaml");
    assert!(
        made == written,
        "run: cargo run -q -p operator --bin thanos-operator -- crd > manifests/crd.yaml"
    );
}

#[test]
fn the_crd_is_small_enough_for_client_side_apply_and_has_no_unsigned_formats() {
    let written = fs::read_to_string(format!("{MANIFESTS}/crd.yaml")).expect("crd.yaml");
    assert!(written.len() < 200_000, "{} bytes", written.len());
    assert!(!written.contains("format: uint"));
}

#[test]
fn every_sample_is_a_valid_object() {
    let query: ThanosQuery = of_kind("samples/thanosquery.yaml", "ThanosQuery");
    assert_eq!(query.spec.replicas, 2);
    let service: Service = of_kind("samples/store.yaml", "Service");
    let mut service = service;
    service.metadata.namespace = Some("demo".into());
    let mut query = query;
    query.metadata.namespace = Some("demo".into());
    let watched = Watched { services: vec![Arc::new(service.into())], ..Watched::default() };
    assert_eq!(discover(&query, &watched).expect("readable").stores.len(), 1);
}

#[test]
fn both_installs_give_the_same_rights_but_that_to_read_namespaces_which_no_role_can_give() {
    let cluster: ClusterRole = of_kind("install.yaml", "ClusterRole");
    let namespaced: Role = of_kind("install-namespaced.yaml", "Role");
    let mut rules = cluster.rules.expect("rules");
    assert_eq!(verbs(&rules, "", "namespaces"), BTreeSet::from(["list", "watch"]));
    rules.retain(|rule| rule.resources.as_deref() != Some(&["namespaces".to_owned()]));
    assert_eq!(Some(rules), namespaced.rules);
}

#[test]
fn the_operator_may_do_what_it_does_with_every_kind_that_it_makes() {
    let role: ClusterRole = of_kind("install.yaml", "ClusterRole");
    let rules = role.rules.expect("rules");
    let made = [
        ("", "configmaps"),
        ("", "services"),
        ("", "serviceaccounts"),
        ("apps", "deployments"),
        ("policy", "poddisruptionbudgets"),
        ("rbac.authorization.k8s.io", "roles"),
        ("rbac.authorization.k8s.io", "rolebindings"),
        ("monitoring.coreos.com", "servicemonitors"),
        // The shards of trees.
        ("monitoring.thanos.io", "thanosqueries"),
    ];
    for (group, resource) in made {
        // `delete`: of each kind there is something that a change of the ThanosQuery makes superfluous.
        let needed = BTreeSet::from(["get", "list", "watch", "create", "patch", "delete"]);
        assert_eq!(verbs(&rules, group, resource), needed, "{resource}");
    }
    for (group, resource) in
        [("autoscaling", "horizontalpodautoscalers"), ("discovery.k8s.io", "endpointslices")]
    {
        assert_eq!(verbs(&rules, group, resource), BTreeSet::from(["list", "watch"]), "{resource}");
    }
    for rule in &rules {
        let all = [&rule.api_groups, &rule.resources].into_iter().flatten().flatten().chain(&rule.verbs);
        assert!(!all.into_iter().any(|name| name == "*" || name == "secrets"), "{rule:?}");
    }
}

#[test]
fn the_operator_holds_every_right_that_it_gives_to_agents() {
    let role: ClusterRole = of_kind("install.yaml", "ClusterRole");
    let rules = role.rules.expect("rules");
    let given = planned().role.expect("a Role").rules.expect("rules");
    assert_eq!(given.len(), 1);
    assert_eq!(given[0].resource_names.as_ref().map(Vec::len), Some(1), "one ConfigMap by name");
    for verb in &given[0].verbs {
        assert!(verbs(&rules, "", "configmaps").contains(verb.as_str()), "{verb}");
    }
}

#[test]
fn the_arguments_in_the_manifests_are_arguments_of_the_operator() {
    for file in ["install.yaml", "install-namespaced.yaml"] {
        let deployment: Deployment = of_kind(file, "Deployment");
        let container = deployment.spec.expect("spec").template.spec.expect("pod").containers.remove(0);
        let args = container.args.expect("args");
        let parsed = Arguments::try_parse_from(std::iter::once("thanos-operator".to_owned()).chain(args));
        assert!(matches!(parsed.expect(file).command, Command::Run(_)));
    }
}

#[test]
fn the_agent_understands_the_arguments_that_the_operator_writes() {
    let pod = planned().queriers.deployment.expect("pods").spec.expect("spec").template.spec.expect("pod");
    let agent = pod.init_containers.expect("an agent").remove(0);
    let args = agent.args.expect("args");
    assert!(args.iter().any(|arg| arg.starts_with("--flagged=")), "{args:?}");
    let parsed = sd_agent::args::Args::try_parse_from(std::iter::once("sd-agent".to_owned()).chain(args));
    assert!(parsed.is_ok(), "{:?}", parsed.err());
}

#[test]
fn readme_names_the_two_commands() {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).expect("README.md");
    assert!(readme.contains("cargo demo") && readme.contains("cargo e2e"));
}

#[test]
fn readme_names_every_condition() {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).expect("README.md");
    let names =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../crds/src/names.rs")).expect("names.rs");
    let conditions = names.split("pub mod conditions {").nth(1).and_then(|rest| rest.split("\n}").next());
    let conditions: Vec<&str> = conditions.expect("the conditions").split('"').skip(1).step_by(2).collect();
    assert!(conditions.contains(&"Ready"), "{conditions:?}");
    for condition in conditions {
        assert!(readme.contains(&format!("| `{condition}` |")), "{condition}");
    }
}

fn verbs<'a>(rules: &'a [PolicyRule], group: &str, resource: &str) -> BTreeSet<&'a str> {
    let has = |list: &Option<Vec<String>>, value: &str| list.iter().flatten().any(|own| own == value);
    rules
        .iter()
        .filter(|rule| has(&rule.api_groups, group) && has(&rule.resources, resource))
        .flat_map(|rule| rule.verbs.iter().map(String::as_str))
        .collect()
}

fn planned() -> operator::plan::Plan {
    let query: ThanosQuery = serde_saphyr::from_str(
        "{apiVersion: monitoring.thanos.io/v1alpha1, kind: ThanosQuery, metadata: {name: global, namespace: demo}, spec: {}}",
    )
    .expect("a ThanosQuery");
    let strict: Service = serde_saphyr::from_str(
        "{metadata: {name: s, namespace: demo, labels: {operator.thanos.io/store-api: 'true', app.kubernetes.io/part-of: thanos, operator.thanos.io/endpoint-strict: 'true'}}, spec: {clusterIP: 10.0.0.1, ports: [{name: grpc, port: 80}]}}",
    )
    .expect("a Service");
    let watched = Watched { services: vec![Arc::new(strict.into())], ..Watched::default() };
    let discovery = discover(&query, &watched).expect("readable");
    let config = Config {
        agent_image: "sd-agent:test".into(),
        cluster_domain: "cluster.local".into(),
        default_rollouts: Default::default(),
        needs_consent: true,
    };
    plan(&query, &discovery, &Known::default(), &config, jiff::Timestamp::UNIX_EPOCH).expect("a plan")
}
