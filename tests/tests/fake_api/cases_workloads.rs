//! Queriers and query frontend: what is made for them, and what goes when it is not asked for any more.

use serde_json::{Value, json};

use crate::fake_api::{FakeApi, Fault, query, seconds, store};

const DEPLOYMENT: &str = "demo/deployments/thanos-query-global";
const FRONTEND: &str = "thanos-query-frontend-global";
const BALANCED: &str = "demo/services/thanos-query-global-balanced";
const BUDGET: &str = "demo/poddisruptionbudgets/thanos-query-global";

fn of_frontend(kind: &str) -> String {
    format!("demo/{kind}/{FRONTEND}")
}

const KINDS: [&str; 4] = ["deployments", "services", "serviceaccounts", "poddisruptionbudgets"];

#[tokio::test(start_paused = true)]
async fn a_frontend_that_is_removed_leaves_nothing_behind() {
    let (api, _operator) = FakeApi::at_rest("queryFrontend: {replicas: 2}").await;
    for kind in KINDS {
        assert!(api.has(&of_frontend(kind)), "{kind}");
    }
    let args =
        api.get(&of_frontend("deployments"))["spec"]["template"]["spec"]["containers"][0]["args"].to_string();
    assert!(
        args.contains("downstream-url=http://thanos-query-global-balanced.demo.svc.cluster.local:9090"),
        "{args}"
    );
    assert!(api.has(BALANCED));
    let told = || api.condition("global", "Ready").is_some_and(|text| text.contains("frontend"));
    api.eventually(told).await;

    api.apply(query("global", ""));
    api.eventually(|| KINDS.iter().all(|kind| !api.has(&of_frontend(kind)))).await;
    api.eventually(|| !api.has(BALANCED)).await;
    assert!(api.has(DEPLOYMENT));
    let status = &api.get("demo/thanosqueries/global")["status"];
    assert_eq!(status.get("queryFrontendStatus"), None, "{status}");
}

#[tokio::test(start_paused = true)]
async fn a_frontend_removed_while_the_operator_is_away_leaves_nothing_behind() {
    let (api, operator) = FakeApi::at_rest("queryFrontend: {}").await;
    operator.stop().await;
    api.apply(query("global", ""));
    let _second = api.operator().await;
    api.eventually(|| !api.has(&of_frontend("deployments")) && !api.has(&of_frontend("services"))).await;
}

#[tokio::test(start_paused = true)]
async fn a_disruption_budget_that_is_switched_off_goes_although_others_share_its_name() {
    let (api, _operator) = FakeApi::at_rest("replicas: 2").await;
    assert!(api.has(BUDGET));
    api.apply(query("global", "replicas: 2, podDisruptionBudgetConfig: {enable: false}"));
    api.eventually(|| !api.has(BUDGET)).await;
    assert!(api.has(DEPLOYMENT) && api.has("demo/services/thanos-query-global"));
}

#[tokio::test(start_paused = true)]
async fn a_config_map_under_a_new_name_leaves_the_old_pods_theirs_until_they_are_replaced() {
    let (api, _operator) = FakeApi::at_rest("").await;
    let old = "demo/configmaps/thanos-query-global-endpoints";
    api.apply(query("global", "serviceDiscovery: {configMap: {name: mine}}"));
    api.eventually(|| api.has("demo/configmaps/mine")).await;
    api.apply(store("b"));
    seconds(5).await;
    assert_eq!(api.endpoints("global"), ["a", "b"], "the old pods follow");
    let (former, wanted) = (api.get(old), api.get("demo/configmaps/mine"));
    assert_eq!(former["data"], wanted["data"]);
    let names = api.get("demo/roles/thanos-query-global")["rules"][0]["resourceNames"].clone();
    assert_eq!(names, json!(["mine", "thanos-query-global-endpoints"]));

    api.roll_out("thanos-query-global");
    api.eventually(|| !api.has(old)).await;
    let only = json!(["mine"]);
    api.eventually(|| api.get("demo/roles/thanos-query-global")["rules"][0]["resourceNames"] == only).await;
    seconds(10).await;
    api.forget_requests();
    api.apply(store("c"));
    seconds(10).await;
    assert_eq!(api.object_writes(), ["patch demo/configmaps/mine"]);
}

#[tokio::test(start_paused = true)]
async fn a_number_of_pods_that_somebody_else_set_stays_until_the_spec_says_another() {
    let (api, operator) = FakeApi::at_rest("replicas: 2").await;
    let replicas = || api.get(DEPLOYMENT)["spec"]["replicas"].clone();
    api.edit_as(DEPLOYMENT, "kubectl", Some("scale"), |object| object["spec"]["replicas"] = json!(7));
    seconds(10).await;
    assert_eq!(replicas(), 7);
    operator.stop().await;
    let _second = api.operator().await;
    api.apply(query("global", "replicas: 2, logLevel: debug"));
    seconds(10).await;
    assert_eq!(replicas(), 7, "also by an operator that starts, and with other changes");
    api.apply(query("global", "replicas: 3, logLevel: debug"));
    api.eventually(|| replicas() == 3).await;
}

fn autoscaler(name: &str) -> String {
    format!(
        "{{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {{name: {name}, namespace: demo}}, \
         spec: {{maxReplicas: 5, scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: thanos-query-global}}}}}}"
    )
}

#[tokio::test(start_paused = true)]
async fn an_autoscaler_that_has_nothing_to_scale_keeps_its_number_and_gives_it_back_when_it_goes() {
    let (api, _operator) = FakeApi::at_rest("replicas: 5").await;
    let replicas = || api.get(DEPLOYMENT)["spec"]["replicas"].clone();
    api.apply(autoscaler("hpa"));
    seconds(5).await;
    api.apply(query("global", ""));
    seconds(10).await;
    assert_eq!(replicas(), 5, "the ThanosQuery says nothing any more, and nobody scaled");
    assert!(api.has(BUDGET), "there are five pods");
    api.edit_as(DEPLOYMENT, "kube-controller-manager", Some("scale"), |object| {
        object["spec"]["replicas"] = json!(4);
    });
    seconds(10).await;
    assert_eq!(replicas(), 4);
    api.delete("demo/horizontalpodautoscalers/hpa");
    api.eventually(|| replicas() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_that_a_person_asked_for_survives() {
    let (api, _operator) = FakeApi::at_rest("podAnnotations: {mine: one}").await;
    let restarted = "/spec/template/metadata/annotations/kubectl.kubernetes.io~1restartedAt";
    api.edit_as(DEPLOYMENT, "kubectl-rollout", None, |object| {
        object["spec"]["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"] =
            json!("now");
    });
    api.apply(store("b"));
    api.apply(query("global", "podAnnotations: {mine: two}"));
    seconds(10).await;
    let live = api.get(DEPLOYMENT);
    assert_eq!(live.pointer(restarted), Some(&json!("now")));
    assert_eq!(live["spec"]["template"]["metadata"]["annotations"]["mine"], "two");
}

#[tokio::test(start_paused = true)]
async fn a_label_of_a_tool_costs_no_write_and_reaches_nothing() {
    let (api, _operator) = FakeApi::at_rest("queryFrontend: {}").await;
    api.edit("demo/thanosqueries/global", |object| {
        object["metadata"]["labels"] = json!({"helm.sh/chart": "x", "argocd.argoproj.io/instance": "y"});
        object["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/last-applied-configuration": "{}"});
    });
    seconds(10).await;
    assert!(!api.requests("get", "deployments").is_empty(), "nobody looked");
    assert!(api.writes().is_empty(), "{:?}", api.writes());
}

#[tokio::test(start_paused = true)]
async fn a_service_monitor_appears_when_the_cluster_learns_its_kind() {
    let (api, _operator) =
        FakeApi::at_rest("serviceMonitor: {interval: 30s}, queryFrontend: {serviceMonitor: {}}").await;
    let missing = || api.condition("global", "ServiceMonitorMissing");
    api.eventually(|| missing().is_some()).await;
    let ready = api.condition("global", "Ready").expect("Ready");
    assert!(ready.starts_with("True"), "{ready}");
    api.install_kind("servicemonitors");
    seconds(60).await;
    let monitor = api.get("demo/servicemonitors/thanos-query-global");
    assert_eq!(
        monitor["spec"]["endpoints"],
        json!([{"port": "http", "path": "/metrics", "interval": "30s"}])
    );
    assert!(api.has(&of_frontend("servicemonitors")));
    assert_eq!(missing(), None);

    api.apply(query("global", "queryFrontend: {}"));
    api.eventually(|| !api.has("demo/servicemonitors/thanos-query-global")).await;
    api.eventually(|| !api.has(&of_frontend("servicemonitors"))).await;
}

#[tokio::test(start_paused = true)]
async fn a_frontend_asks_the_query_service_that_its_selector_names() {
    let selector = "queryFrontend: {queryLabelSelector: {matchLabels: {team: b}}}";
    let (api, _operator) = FakeApi::at_rest(selector).await;
    assert!(!api.has(&of_frontend("deployments")), "nobody is selected");
    let told = api.condition("global", "QueryServiceMissing").expect("a condition");
    assert!(told.contains("spec.queryFrontend.queryLabelSelector"), "{told}");
    let other = |name: &str| {
        format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: {name}, namespace: demo, labels: {{team: b, \
             operator.thanos.io/query-api: 'true'}}}}, spec: {{ports: [{{name: http, port: 80}}]}}}}"
        )
    };
    api.apply(other("theirs"));
    let url = || {
        let args =
            api.get(&of_frontend("deployments"))["spec"]["template"]["spec"]["containers"][0]["args"].clone();
        let args = args.as_array().cloned().unwrap_or_default();
        let find =
            |arg: &Value| Some(arg.as_str()?.strip_prefix("--query-frontend.downstream-url=")?.to_owned());
        args.iter().find_map(find).unwrap_or_default()
    };
    let theirs = "http://theirs.demo.svc.cluster.local:80";
    api.eventually(|| url() == theirs).await;
    assert!(!api.has(BALANCED), "nobody asks our own queriers");

    // Two are one too many: it goes on asking the one it asked.
    api.apply(other("second"));
    api.eventually(|| api.condition("global", "QueryServiceMissing").is_some()).await;
    assert_eq!(url(), theirs);
    api.apply(query("global", "queryFrontend: {}"));
    api.eventually(|| url().starts_with("http://thanos-query-global-balanced.demo.svc")).await;
}

#[tokio::test(start_paused = true)]
async fn a_name_too_long_for_a_frontend_has_queriers_and_is_told() {
    let api = FakeApi::new();
    let name = "x".repeat(45);
    api.apply(query(&name, "queryFrontend: {}"));
    let _operator = api.operator().await;
    api.eventually(|| api.has(&format!("demo/deployments/thanos-query-{name}"))).await;
    api.eventually(|| api.condition(&name, "Invalid").is_some_and(|text| text.contains("at most 41"))).await;
}

#[tokio::test(start_paused = true)]
async fn a_name_that_makes_no_service_still_gets_its_status() {
    let api = FakeApi::new();
    for name in ["a.b", "x".repeat(60).as_str()] {
        api.apply(query(name, ""));
    }
    let _operator = api.operator().await;
    for name in ["a.b", "x".repeat(60).as_str()] {
        api.eventually(|| api.condition(name, "Invalid").is_some_and(|text| text.contains("metadata.name")))
            .await;
        let ready = api.condition(name, "Ready").expect("Ready");
        assert!(ready.starts_with("False"), "{ready}");
    }
    assert!(api.object_writes().is_empty(), "{:?}", api.writes());
}

#[tokio::test(start_paused = true)]
async fn what_the_api_refuses_is_told_with_its_words_and_stops_nothing_else() {
    let (api, _operator) = FakeApi::at_rest("").await;
    let refused = api.inject("patch deployments", Fault::Code(422));
    api.apply(query("global", "podLabels: {a: b}, service: {type: NodePort}"));
    let told = || api.condition("global", "ApplyFailed").is_some_and(|text| text.contains("injected 422"));
    api.eventually(told).await;
    assert!(api.condition("global", "Ready").is_some_and(|text| text.starts_with("False")));
    assert!(api.has(BALANCED));
    api.apply(store("b"));
    api.eventually(|| api.endpoints("global") == ["a", "b"]).await;
    seconds(120).await;
    let events = api.events().iter().filter(|event| event.starts_with("ApplyFailed")).count();
    assert_eq!(events, 1, "{:#?}", api.events());
    refused.lift();
    seconds(600).await;
    assert_eq!(api.condition("global", "ApplyFailed"), None);
    assert_eq!(api.get(DEPLOYMENT)["spec"]["template"]["metadata"]["labels"]["a"], "b");
}
