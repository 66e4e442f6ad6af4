//! Starting, resting, starting again.

use crate::fake_api::{FakeApi, Fault, bad_store, query, seconds, store, store_in, strict};

#[tokio::test(start_paused = true)]
async fn nothing_is_applied_before_the_first_list_of_services_is_complete() {
    let api = FakeApi::new();
    api.apply(query("global", ""));
    api.apply(store("a"));
    let slow = api.inject("list services", Fault::Hold);
    let _operator = api.operator().await;
    seconds(60).await;
    assert!(api.writes().is_empty(), "{:?}", api.writes());
    slow.lift();
    api.eventually(|| api.endpoints("global") == ["a"]).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_applied_before_the_first_list_of_slices_is_complete() {
    let api = FakeApi::new();
    api.apply(query("global", ""));
    let slow = api.inject("list endpointslices", Fault::Hold);
    let _operator = api.operator().await;
    seconds(60).await;
    assert!(api.writes().is_empty(), "{:?}", api.writes());
    slow.lift();
    api.eventually(|| api.has("demo/deployments/thanos-query-global")).await;
}

#[tokio::test(start_paused = true)]
async fn a_forbidden_namespace_stalls_nobody_else() {
    let api = FakeApi::new();
    api.inject("list closed/services", Fault::Code(403));
    api.apply(query("global", ""));
    api.apply(store("a"));
    api.apply(query("other", "").replace("demo", "closed"));
    api.apply(store_in("closed", "b"));
    let operator = api.operator_in(&["closed", "demo"]).await;
    api.eventually(|| api.endpoints("global") == ["a"]).await;
    api.apply(store("c"));
    api.eventually(|| api.endpoints("global") == ["a", "c"]).await;
    let ready = operator.page("/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 200") && ready.contains("1 of 2"), "{ready}");
    seconds(60).await;
    assert!(!api.has("closed/configmaps/thanos-query-other-endpoints"));
}

#[tokio::test(start_paused = true)]
async fn at_rest_nothing_is_written_also_after_a_restart_of_the_operator() {
    let api = FakeApi::new();
    api.apply(query(
        "global",
        "replicas: 2, labels: {team: a}, resourceRequirements: {limits: {cpu: 1000m, memory: 1024Mi}}",
    ));
    api.apply(query("flags", "serviceDiscovery: {mode: Flags}"));
    api.apply(query("mounted", "serviceDiscovery: {agent: {enabled: false}}"));
    for object in [store("a"), strict("b"), bad_store("c")] {
        api.apply(object);
    }
    let operator = api.operator().await;
    seconds(10).await;
    for name in ["global", "flags", "mounted"] {
        api.roll_out(&format!("thanos-query-{name}"));
    }
    seconds(10).await;
    api.forget_requests();
    seconds(600).await;
    assert!(api.writes().is_empty(), "{:?}", api.writes());

    operator.stop().await;
    let events = api.events().len();
    let _second = api.operator().await;
    api.eventually(|| !api.requests("get", "deployments/thanos-query-global").is_empty()).await;
    seconds(600).await;
    assert!(api.writes().is_empty(), "{:?}", api.writes());
    assert_eq!(api.events().len(), events, "{:#?}", api.events());
}

#[tokio::test(start_paused = true)]
async fn at_the_start_every_object_is_read_once() {
    let api = FakeApi::new();
    for number in 0..20 {
        api.apply(query(&format!("q{number}"), ""));
    }
    api.apply(store("a"));
    let first = api.operator().await;
    seconds(60).await;
    first.stop().await;
    api.forget_requests();
    let _second = api.operator().await;
    seconds(60).await;
    assert_eq!(api.requests("get", "deployments/thanos-query-q").len(), 20);
}
