//! What users do to ThanosQuery objects.

use crate::fake_api::{FakeApi, bad_store, query, seconds, store};

const CONFIG_MAP: &str = "demo/configmaps/thanos-query-global-endpoints";

fn events(api: &FakeApi, reason: &str) -> usize {
    api.events().iter().filter(|event| event.starts_with(reason)).count()
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_query_is_reported_once_keeps_its_objects_and_stops_nobody() {
    let (api, _operator) = FakeApi::at_rest("").await;
    api.apply(query("other", ""));
    api.eventually(|| api.endpoints("other") == ["a"]).await;
    api.apply(query("global", "replicas: x"));
    api.eventually(|| events(&api, "Unreadable global") == 1).await;
    api.apply(store("b"));
    api.eventually(|| api.endpoints("other") == ["a", "b"]).await;
    seconds(600).await;
    assert_eq!(api.endpoints("global"), ["a"]);
    assert!(api.has("demo/deployments/thanos-query-global"));
    assert_eq!(events(&api, "Unreadable"), 1, "{:#?}", api.events());

    api.apply(query("global", "replicas: 3"));
    api.eventually(|| api.endpoints("global") == ["a", "b"]).await;
    api.eventually(|| api.get("demo/deployments/thanos-query-global")["spec"]["replicas"] == 3).await;
}

#[tokio::test(start_paused = true)]
async fn a_query_that_becomes_unreadable_again_is_reported_again() {
    let (api, _operator) = FakeApi::at_rest("").await;
    for times in 1..=2 {
        api.apply(query("global", "replicas: x"));
        api.eventually(|| events(&api, "Unreadable global") == times).await;
        api.apply(query("global", ""));
        seconds(5).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_bad_service_is_reported_once_also_after_a_restart_of_the_operator() {
    let (api, operator) = FakeApi::at_rest("").await;
    api.apply(bad_store("bad"));
    api.eventually(|| events(&api, "ServiceRejected global: Service demo/bad: NoPort") == 1).await;
    api.apply(store("b"));
    api.eventually(|| api.endpoints("global") == ["a", "b"]).await;
    api.apply(query("global", "replicas: 2"));
    seconds(60).await;
    operator.stop().await;
    let _second = api.operator().await;
    api.apply(store("c"));
    api.eventually(|| api.endpoints("global") == ["a", "b", "c"]).await;
    seconds(60).await;
    assert_eq!(events(&api, "ServiceRejected"), 1, "{:#?}", api.events());
    let told = api.condition("global", "ServicesRejected").expect("a condition");
    assert!(told.contains("demo/bad") && told.contains("grpc"), "{told}");

    api.delete("demo/services/bad");
    api.eventually(|| api.condition("global", "ServicesRejected").is_none()).await;
}

#[tokio::test(start_paused = true)]
async fn paused_nothing_but_status_is_written_and_afterwards_it_catches_up() {
    let (api, _operator) = FakeApi::at_rest("").await;
    api.apply(query("global", "paused: true"));
    api.eventually(|| api.condition("global", "Paused").is_some_and(|text| text.starts_with("True"))).await;
    api.apply(store("b"));
    api.delete("demo/services/thanos-query-global");
    api.apply(query("global", "paused: true, replicas: 3"));
    seconds(60).await;
    assert!(api.object_writes().is_empty(), "{:?}", api.writes());

    api.apply(query("global", "replicas: 3"));
    api.eventually(|| api.endpoints("global") == ["a", "b"]).await;
    api.eventually(|| api.has("demo/services/thanos-query-global")).await;
    api.eventually(|| api.get("demo/deployments/thanos-query-global")["spec"]["replicas"] == 3).await;
    api.eventually(|| api.condition("global", "Paused").is_some_and(|text| text.starts_with("False"))).await;
}

#[tokio::test(start_paused = true)]
async fn a_deleted_query_leaves_no_series() {
    let (api, operator) = FakeApi::at_rest("").await;
    assert!(operator.page("/metrics").await.contains("resource=\"global\""));
    api.delete("demo/thanosqueries/global");
    api.collect_garbage();
    seconds(5).await;
    let metrics = operator.page("/metrics").await;
    assert!(!metrics.contains("resource=\"global\""), "{metrics}");
    assert!(api.object_writes().is_empty(), "{:?}", api.writes());
}

#[tokio::test(start_paused = true)]
async fn a_successor_of_the_same_name_takes_the_objects_over_before_they_are_collected() {
    let (api, _operator) = FakeApi::at_rest("").await;
    let first = api.get(CONFIG_MAP)["metadata"].clone();
    api.delete("demo/thanosqueries/global");
    seconds(5).await;
    api.apply(query("global", ""));
    api.apply(store("b"));
    api.eventually(|| api.endpoints("global") == ["a", "b"]).await;
    seconds(10).await;
    let second = api.get(CONFIG_MAP)["metadata"].clone();
    assert_eq!(first["uid"], second["uid"]);
    assert_ne!(first["ownerReferences"], second["ownerReferences"]);
    api.collect_garbage();
    assert_eq!(api.endpoints("global"), ["a", "b"]);
    assert!(api.has("demo/deployments/thanos-query-global"));
}

#[tokio::test(start_paused = true)]
async fn a_query_deleted_and_made_anew_in_one_moment_gets_its_own_objects() {
    let (api, _operator) = FakeApi::at_rest("").await;
    api.delete("demo/thanosqueries/global");
    api.collect_garbage();
    api.apply(query("global", ""));
    api.eventually(|| api.endpoints("global") == ["a"]).await;
    api.eventually(|| api.has("demo/deployments/thanos-query-global")).await;
    seconds(10).await;
    let owner = &api.get("demo/deployments/thanos-query-global")["metadata"]["ownerReferences"][0]["uid"];
    assert_eq!(*owner, api.get("demo/thanosqueries/global")["metadata"]["uid"]);
    let ready = api.condition("global", "Ready").expect("a condition");
    assert!(ready.starts_with("False"), "{ready}");
}

#[tokio::test(start_paused = true)]
async fn a_query_deleted_while_its_watch_is_broken_is_forgotten() {
    let (api, operator) = FakeApi::at_rest("").await;
    api.cut_watches();
    api.delete("demo/thanosqueries/global");
    api.compact();
    seconds(30).await;
    api.collect_garbage();
    seconds(30).await;
    let metrics = operator.page("/metrics").await;
    assert!(!metrics.contains("resource=\"global\""), "{metrics}");
}

#[tokio::test(start_paused = true)]
async fn a_version_before_0_35_is_invalid_and_nothing_is_touched() {
    let (api, _operator) = FakeApi::at_rest("").await;
    api.apply(query("global", "version: v0.34.1"));
    let told = || api.condition("global", "Invalid").is_some_and(|text| text.contains("spec.version"));
    api.eventually(told).await;
    api.apply(store("b"));
    api.delete("demo/roles/thanos-query-global");
    seconds(60).await;
    assert!(api.object_writes().is_empty(), "{:?}", api.writes());
    assert_eq!(events(&api, "InvalidField"), 1, "{:#?}", api.events());

    api.apply(query("global", "version: v0.35.0"));
    api.eventually(|| api.endpoints("global") == ["a", "b"]).await;
    api.eventually(|| api.has("demo/roles/thanos-query-global")).await;
    api.eventually(|| api.condition("global", "Invalid").is_none()).await;
}

#[tokio::test(start_paused = true)]
async fn a_mistake_made_right_after_another_change_is_told_once() {
    let (api, _operator) = FakeApi::at_rest("").await;
    api.apply(query("global", "replicas: 2"));
    api.eventually(|| !api.requests("patch", "global/status").is_empty()).await;
    api.apply(query("global", "version: v0.34.1"));
    seconds(60).await;
    assert_eq!(events(&api, "InvalidField"), 1, "{:#?}", api.events());
}

#[tokio::test(start_paused = true)]
async fn status_is_written_at_most_once_a_second() {
    let (api, _operator) = FakeApi::at_rest("").await;
    for round in 0..50 {
        api.apply(bad_store(&format!("bad{round}")));
        tokio::time::sleep(std::time::Duration::from_millis(90)).await;
    }
    seconds(60).await;
    let writes = api.requests("patch", "global/status");
    assert!((3..=8).contains(&writes.len()), "{writes:?}");
    for pair in writes.windows(2) {
        assert!(pair[1].at - pair[0].at >= std::time::Duration::from_secs(1), "{pair:?}");
    }
    assert_eq!(api.get("demo/thanosqueries/global")["status"]["endpoints"]["rejected"], 50);
}

#[tokio::test(start_paused = true)]
async fn what_goes_with_a_query_that_is_being_deleted_is_not_made_again() {
    let (api, _operator) = FakeApi::at_rest("").await;
    api.edit("demo/thanosqueries/global", |object| {
        object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    });
    seconds(5).await;
    api.delete("demo/deployments/thanos-query-global");
    api.delete(CONFIG_MAP);
    api.apply(store("b"));
    seconds(60).await;
    assert!(api.writes().is_empty(), "{:?}", api.writes());
}
