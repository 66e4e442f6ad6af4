//! What both workloads of a plan are like, from a ThanosQuery to its objects.

use k8s_openapi::api::core::v1::PodSpec;

use super::*;

fn planned(spec: &str) -> Plan {
    let yaml = format!(
        "{{apiVersion: monitoring.thanos.io/v1alpha1, kind: ThanosQuery, metadata: {{name: global, namespace: demo, uid: u-1, \
         labels: {{operator.thanos.io/store-api: 'true'}}}}, spec: {{{spec}}}}}"
    );
    let query: ThanosQuery = serde_saphyr::from_str(&yaml).expect("a ThanosQuery");
    plan(&query, &Discovery::default(), &Known::default(), &Config::of_tests(), Timestamp::UNIX_EPOCH)
        .expect("a plan")
}

fn pods(plan: &Plan) -> Vec<PodSpec> {
    let workloads = std::iter::once(&plan.queriers).chain(&plan.frontend);
    let pod = |workload: &WorkloadPlan| workload.deployment.clone()?.spec?.template.spec;
    workloads.filter_map(pod).collect()
}

#[test]
fn pull_policy_and_pull_secrets_reach_the_pods() {
    let pull = "imagePullPolicy: Always, imagePullSecrets: [{name: registry}]";
    for pod in pods(&planned(&format!("{pull}, queryFrontend: {{{pull}}}"))) {
        assert_eq!(pod.image_pull_secrets.expect("secrets")[0].name, "registry");
        for container in pod.containers.iter().chain(pod.init_containers.iter().flatten()) {
            assert_eq!(container.image_pull_policy.as_deref(), Some("Always"), "{}", container.name);
        }
    }
}

#[test]
fn no_container_but_the_agent_has_a_token() {
    let plan = planned("queryFrontend: {}");
    for workload in std::iter::once(&plan.queriers).chain(&plan.frontend) {
        assert_eq!(workload.service_account.automount_service_account_token, Some(false));
    }
    for pod in pods(&plan) {
        assert_eq!(pod.automount_service_account_token, Some(false));
        for container in &pod.containers {
            let mounts = container.volume_mounts.iter().flatten();
            assert!(
                !mounts.into_iter().any(|mount| mount.name == crds::names::pod::TOKEN_VOLUME),
                "{}",
                container.name
            );
        }
    }
}

#[test]
fn what_runs_is_reached_over_one_address_that_is_no_endpoint_of_anybody() {
    let plan = planned("queryFrontend: {}");
    let balanced = plan.balanced.expect("a Service");
    let spec = balanced.spec.expect("spec");
    assert_eq!((spec.cluster_ip, spec.type_.as_deref()), (None, Some("ClusterIP")));
    assert_eq!(spec.selector, plan.queriers.service.spec.as_ref().expect("spec").selector.clone());
    let has = |service: &Service, label: &str| {
        service.metadata.labels.iter().flatten().any(|(own, _)| own == label)
    };
    let store_api = crds::names::labels::STORE_API;
    assert!(has(&plan.queriers.service, store_api), "stacked queriers find the headless one");
    let frontend = plan.frontend.expect("a frontend");
    let balanced = Service { metadata: balanced.metadata, ..Service::default() };
    assert!(!has(&balanced, store_api) && !has(&frontend.service, store_api));
    assert!(planned("").balanced.is_none(), "nobody needs it");
    assert!(planned("service: {type: NodePort}").balanced.is_some());
}

#[test]
fn ports_probes_and_the_frontend_follow_addresses_that_a_user_chose() {
    let plan = planned(
        "additionalArgs: ['--http-address=:9095', '--grpc-address=:10905'], queryFrontend: {additionalArgs: ['--http-address=:9096']}",
    );
    let numbers = |service: &Service| -> Vec<i32> {
        service.spec.iter().flat_map(|spec| spec.ports.iter().flatten()).map(|port| port.port).collect()
    };
    assert_eq!(numbers(&plan.queriers.service), [10905, 9095]);
    assert_eq!(numbers(plan.balanced.as_ref().expect("a Service")), [10905, 9095]);
    assert_eq!(numbers(&plan.frontend.as_ref().expect("a frontend").service), [9096]);
    let frontend = pods(&plan).remove(1).containers.remove(0);
    assert_eq!(frontend.ports.expect("ports")[0].container_port, 9096);
    let args = frontend.args.expect("args").join(" ");
    assert!(
        args.contains("downstream-url=http://thanos-query-global-balanced.demo.svc.cluster.local:9095"),
        "{args}"
    );
}

#[test]
fn a_frontend_of_queriers_below_a_path_is_ready_when_it_is_alive_from_0_39() {
    let ready = |spec: &str| {
        let frontend = pods(&planned(spec)).remove(1).containers.remove(0);
        let args = frontend.args.expect("args").join(" ");
        let probe = frontend.readiness_probe.expect("a probe").http_get.expect("HTTP").path.expect("a path");
        (args.contains(".svc.cluster.local:9090/thanos"), probe)
    };
    let prefix = "webConfig: {externalPrefix: /thanos}, queryFrontend: {}";
    assert_eq!(ready(prefix), (true, "/-/healthy".into()));
    assert_eq!(ready(&format!("version: v0.38.0, {prefix}")), (true, "/-/ready".into()));
    assert_eq!(ready("queryFrontend: {}"), (false, "/-/ready".into()));
}

#[test]
fn a_frontend_of_queriers_that_may_want_a_password_is_ready_when_it_is_alive_from_0_39() {
    let ready = |spec: &str| {
        let frontend = pods(&planned(spec)).remove(1).containers.remove(0);
        frontend.readiness_probe.expect("a probe").http_get.expect("HTTP").path.expect("a path")
    };
    let config = "server: {httpConfig: {secretName: web, scheme: HTTP}}, queryFrontend: {}";
    assert_eq!(ready(config), "/-/healthy");
    assert_eq!(ready(&format!("version: v0.38.0, {config}")), "/-/ready");
    assert_eq!(ready("additionalArgs: [--http.config=/mine.yaml], queryFrontend: {}"), "/-/healthy");
}

#[test]
fn what_a_user_says_about_http_in_additional_args_counts_as_much_as_the_fields() {
    let plan = planned(
        "additionalArgs: [--http.config=/mine.yaml], serviceMonitor: {}, queryFrontend: {downstreamTls: {}}",
    );
    assert!(!plan.summary.reads_thanos);
    let pods = pods(&plan);
    assert!(pods[0].containers[0].readiness_probe.as_ref().is_some_and(|probe| probe.grpc.is_some()));
    let agent = pods[0].init_containers.as_ref().expect("an agent")[0].args.clone().expect("args").join(" ");
    assert!(!agent.contains("--thanos-metrics-url") && !agent.contains("--thanos-stores-url"), "{agent}");
    // Nobody can see whether it is TLS; that something is said about TLS tells it.
    let frontend = pods[1].containers[0].args.clone().expect("args").join(" ");
    assert!(frontend.contains("downstream-url=https://thanos-query-global-balanced."), "{frontend}");
    let plain = planned("queryFrontend: {downstreamTls: {}}");
    assert!(
        plain
            .summary
            .remarks
            .iter()
            .any(|own| own.starts_with("spec.queryFrontend.downstreamTls: has no effect"))
    );
}

#[test]
fn what_is_said_elsewhere_about_the_pods_of_a_frontend_is_an_input_of_theirs() {
    let inputs = |spec: &str| {
        let deployment = planned(spec).frontend.expect("a frontend").deployment.expect("a Deployment");
        deployment.metadata.annotations.expect("annotations")["operator.thanos.io/template-inputs"].clone()
    };
    let plain = inputs("queryFrontend: {}");
    assert_eq!(
        inputs("tenancy: {enforce: true}, queryFrontend: {}"),
        plain,
        "the frontend has nothing of it"
    );
    let certificate = "{certificate: {secretName: a}}";
    for spec in [
        "tenancy: {header: X-Team}".to_owned(),
        format!("server: {{httpTls: {certificate}}}"),
        "server: {httpConfig: {secretName: a, scheme: HTTP}}".to_owned(),
    ] {
        assert_ne!(inputs(&format!("{spec}, queryFrontend: {{}}")), plain, "{spec}");
    }
    assert_eq!(inputs(&format!("server: {{grpcTls: {certificate}}}, queryFrontend: {{}}")), plain);
}

#[test]
fn a_frontend_without_a_version_follows_the_queriers_as_long_as_both_run_the_same() {
    let running = |querier: Option<&str>, frontend: Option<&str>| {
        let workload = |version: Option<&str>| RunningWorkload {
            version: version.map(str::to_owned),
            ..RunningWorkload::default()
        };
        Running { querier: workload(querier), frontend: workload(frontend) }
    };
    let next = |running: Running| running.frontend_version(Some("v0.42.4".to_owned())).expect("a version");
    assert_eq!(next(running(None, None)), "v0.42.4");
    assert_eq!(next(running(Some("v0.41.0"), Some("v0.41.0"))), "v0.42.4");
    assert_eq!(next(running(Some("v0.37.2"), Some("v0.39.0"))), "v0.39.0");
}
