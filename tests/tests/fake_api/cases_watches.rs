//! What is watched besides StoreAPI Services: autoscalers, query Services, and kinds that a cluster may lack.

use std::time::Duration;

use crate::fake_api::{FakeApi, Fault, Running, query, seconds, store};
use tokio::time::Instant;

const LOOK: &str = "deployments/thanos-query-global";

async fn at_rest(spec: &str) -> (FakeApi, Running) {
    let api = FakeApi::new();
    api.apply(query("global", spec));
    api.apply(query("other", ""));
    api.apply(store("a"));
    let operator = api.operator().await;
    api.eventually(|| api.has("demo/deployments/thanos-query-global")).await;
    api.eventually(|| api.has("demo/deployments/thanos-query-other")).await;
    seconds(60).await;
    api.forget_requests();
    (api, operator)
}

fn autoscaler(name: &str, deployment: &str) -> String {
    format!(
        "{{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {{name: {name}, namespace: demo}}, \
         spec: {{maxReplicas: 3, scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: {deployment}}}}}}}"
    )
}

fn query_service(name: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: {name}, namespace: demo, \
         labels: {{operator.thanos.io/query-api: 'true'}}}}, spec: {{ports: [{{name: http, port: 9090}}]}}}}"
    )
}

fn looks(api: &FakeApi, deployment: &str) -> usize {
    api.requests("get", &format!("demo/deployments/{deployment}")).len()
}

#[tokio::test(start_paused = true)]
async fn an_autoscaler_that_comes_moves_or_goes_makes_its_query_look_and_no_other() {
    let (api, _operator) = at_rest("").await;
    api.apply(autoscaler("scaler", "thanos-query-global"));
    api.eventually(|| looks(&api, "thanos-query-global") == 1).await;
    api.apply(autoscaler("scaler", "grafana"));
    api.eventually(|| looks(&api, "thanos-query-global") == 2).await;
    api.apply(autoscaler("scaler", "thanos-query-frontend-global"));
    api.eventually(|| looks(&api, "thanos-query-global") == 3).await;
    api.delete("demo/horizontalpodautoscalers/scaler");
    api.eventually(|| looks(&api, "thanos-query-global") == 4).await;
    seconds(60).await;
    assert_eq!(looks(&api, "thanos-query-global"), 4);
    assert_eq!(looks(&api, "thanos-query-other"), 0);
}

#[tokio::test(start_paused = true)]
async fn what_an_autoscaler_does_all_day_wakes_nobody() {
    let (api, _operator) = at_rest("").await;
    api.apply(autoscaler("scaler", "thanos-query-global"));
    seconds(10).await;
    api.forget_requests();
    for replicas in 1..20 {
        api.edit("demo/horizontalpodautoscalers/scaler", |object| {
            object["status"]["currentReplicas"] = replicas.into();
        });
        seconds(5).await;
    }
    assert!(api.requests("get", LOOK).is_empty() && api.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn autoscalers_that_may_not_be_read_stall_nobody() {
    let api = FakeApi::new();
    api.apply(query("global", ""));
    api.apply(store("a"));
    let forbidden = api.inject("list horizontalpodautoscalers", Fault::Code(403));
    let started = Instant::now();
    let _operator = api.operator().await;
    api.eventually(|| api.endpoints("global") == ["a"]).await;
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    seconds(60).await;
    let tries = api.requests("list", "horizontalpodautoscalers").len();
    assert!((5..30).contains(&tries), "{tries}");
    // Once they may be read, whoever was planned without them looks again.
    api.forget_requests();
    forbidden.lift();
    api.eventually(|| looks(&api, "thanos-query-global") == 1).await;
    seconds(60).await;
    assert!(api.object_writes().is_empty(), "{:?}", api.object_writes());
}

#[tokio::test(start_paused = true)]
async fn lists_that_can_be_done_without_have_a_head_start_and_no_more() {
    for request in ["list horizontalpodautoscalers", "discover ", "list servicemonitors"] {
        let api = FakeApi::new();
        api.install_kind("servicemonitors");
        api.apply(query("global", ""));
        api.apply(store("a"));
        let slow = api.inject(request, Fault::Hold);
        let _operator = api.operator().await;
        seconds(4).await;
        assert!(api.writes().is_empty(), "{request}: {:?}", api.writes());
        api.eventually(|| api.endpoints("global") == ["a"]).await;
        slow.lift();
        seconds(60).await;
        assert!(api.has("demo/deployments/thanos-query-global"), "{request}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_query_service_makes_those_look_whose_frontend_may_ask_it() {
    let selector = "queryFrontend: {queryLabelSelector: {matchLabels: {team: red}}}";
    let (api, _operator) = at_rest(selector).await;
    api.apply(query("own", "queryFrontend: {}"));
    seconds(60).await;
    api.forget_requests();
    api.apply(query_service("mine"));
    api.eventually(|| looks(&api, "thanos-query-global") == 1).await;
    api.delete("demo/services/mine");
    api.eventually(|| looks(&api, "thanos-query-global") == 2).await;
    seconds(60).await;
    assert_eq!(looks(&api, "thanos-query-global"), 2);
    assert_eq!(looks(&api, "thanos-query-own"), 0, "it asks its own queriers");
    assert_eq!(looks(&api, "thanos-query-other"), 0, "it has no frontend");
}

#[tokio::test(start_paused = true)]
async fn an_optional_kind_that_comes_and_goes_makes_everyone_look() {
    let (api, _operator) = at_rest("").await;
    seconds(120).await;
    assert!(api.requests("list", "servicemonitors").is_empty(), "it is not there");
    let asked = api.requests("discover", "monitoring.coreos.com/v1").len();
    assert!((3..=5).contains(&asked), "{asked}");
    assert!(api.requests("get", LOOK).is_empty());

    api.install_kind("servicemonitors");
    seconds(40).await;
    assert_eq!(looks(&api, "thanos-query-global"), 1);
    assert_eq!(looks(&api, "thanos-query-other"), 1);
    seconds(600).await;
    assert_eq!(looks(&api, "thanos-query-global"), 1);

    api.forget_requests();
    api.uninstall_kind("servicemonitors");
    api.eventually(|| looks(&api, "thanos-query-global") == 1).await;
    seconds(600).await;
    assert_eq!(looks(&api, "thanos-query-global"), 1);
    let watches =
        api.requests("watch", "servicemonitors").len() + api.requests("list", "servicemonitors").len();
    assert!(watches <= 2, "a kind that is gone is not asked for: {watches}");

    api.install_kind("servicemonitors");
    seconds(40).await;
    assert_eq!(looks(&api, "thanos-query-global"), 2);
    assert!(api.writes().is_empty(), "{:?}", api.writes());
}

#[tokio::test(start_paused = true)]
async fn with_an_optional_kind_everyone_looks_once_at_the_start() {
    let api = FakeApi::new();
    api.install_kind("servicemonitors");
    for number in 0..20 {
        api.apply(query(&format!("q{number}"), ""));
    }
    let first = api.operator().await;
    seconds(60).await;
    first.stop().await;
    api.forget_requests();
    let _second = api.operator_in(&["demo", "empty"]).await;
    seconds(60).await;
    assert_eq!(api.requests("get", "deployments/thanos-query-q").len(), 20);
    assert_eq!(api.requests("discover", "").len(), 1, "one for all namespaces");
}

#[tokio::test(start_paused = true)]
async fn a_service_monitor_that_somebody_deletes_makes_its_owner_look() {
    let api = FakeApi::new();
    api.install_kind("servicemonitors");
    api.apply(query("global", ""));
    let _operator = api.operator().await;
    api.eventually(|| api.has("demo/deployments/thanos-query-global")).await;
    api.apply(
        "{apiVersion: monitoring.coreos.com/v1, kind: ServiceMonitor, metadata: {name: m, namespace: demo, labels: \
         {app.kubernetes.io/managed-by: thanos-operator, operator.thanos.io/owner: global}}}",
    );
    seconds(60).await;
    api.forget_requests();
    api.delete("demo/servicemonitors/m");
    api.eventually(|| looks(&api, "thanos-query-global") == 1).await;
}

#[tokio::test(start_paused = true)]
async fn an_optional_kind_that_may_not_be_read_stalls_nobody() {
    let api = FakeApi::new();
    api.install_kind("servicemonitors");
    api.inject("list servicemonitors", Fault::Code(403));
    api.apply(query("global", ""));
    api.apply(store("a"));
    let _operator = api.operator().await;
    api.eventually(|| api.endpoints("global") == ["a"]).await;
    seconds(60).await;
    api.forget_requests();
    seconds(600).await;
    assert!(api.requests("get", LOOK).is_empty() && api.writes().is_empty());
}
