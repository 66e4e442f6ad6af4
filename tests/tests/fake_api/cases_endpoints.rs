//! Services come, go and change: what that costs.

use std::time::Duration;

use crate::fake_api::{FakeApi, Fault, pods_of, query, seconds, slice, store, strict};

const CONFIG_MAP: &str = "patch demo/configmaps/thanos-query-global-endpoints";

#[tokio::test(start_paused = true)]
async fn an_ordinary_service_costs_one_write_of_the_config_map_and_no_read() {
    let (api, _operator) = FakeApi::at_rest("").await;
    api.apply(store("b"));
    api.eventually(|| api.endpoints("global") == ["a", "b"]).await;
    seconds(60).await;
    assert_eq!(api.object_writes(), [CONFIG_MAP]);
    assert_eq!(api.writes()[CONFIG_MAP], 1);
    assert!(api.requests("get", "").is_empty(), "{:?}", api.requests("get", ""));
}

#[tokio::test(start_paused = true)]
async fn a_burst_is_written_at_most_once_a_second_and_ends_right() {
    let (api, _operator) = FakeApi::at_rest("").await;
    for round in 0..50 {
        api.apply(store(&format!("b{round:02}")));
        tokio::time::sleep(Duration::from_millis(80)).await;
    }
    api.delete("demo/services/b00");
    api.eventually(|| api.endpoints("global").len() == 50).await;
    seconds(10).await;
    let endpoints = api.endpoints("global");
    assert!(endpoints.contains(&"b49".into()) && !endpoints.contains(&"b00".into()), "{endpoints:?}");
    let writes = api.requests("patch", "configmaps");
    assert!((4..=7).contains(&writes.len()), "{writes:?}");
    for pair in writes.windows(2) {
        assert!(pair[1].at - pair[0].at >= Duration::from_secs(1), "{pair:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_conflict_is_recomputed_at_once_and_not_lost() {
    let (api, _operator) = FakeApi::at_rest("").await;
    let slow = api.inject(CONFIG_MAP, Fault::Hold);
    api.apply(store("b"));
    api.eventually(|| !api.requests("patch", "configmaps").is_empty()).await;
    api.edit("demo/configmaps/thanos-query-global-endpoints", |object| {
        object["metadata"]["annotations"]["somebody"] = "else".into();
    });
    slow.lift();
    let before = tokio::time::Instant::now();
    api.eventually(|| api.endpoints("global") == ["a", "b"]).await;
    assert!(before.elapsed() < Duration::from_millis(500), "{:?}", before.elapsed());
    let object = api.get("demo/configmaps/thanos-query-global-endpoints");
    assert_eq!(object["metadata"]["annotations"]["somebody"], "else");
}

#[tokio::test(start_paused = true)]
async fn a_service_deleted_while_the_watch_is_broken_is_noticed_at_the_next_list() {
    let (api, _operator) = FakeApi::at_rest("").await;
    api.apply(store("b"));
    api.eventually(|| api.endpoints("global") == ["a", "b"]).await;
    let broken = api.inject("watch services", Fault::Code(500));
    api.cut_watches();
    seconds(3).await;
    api.delete("demo/services/a");
    api.compact();
    assert_eq!(api.endpoints("global"), ["a", "b"]);
    broken.lift();
    seconds(60).await;
    assert_eq!(api.endpoints("global"), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_relabelled_concerns_those_that_select_it_before_or_after_and_nobody_else() {
    let api = FakeApi::new();
    for name in ["red", "green", "blue"] {
        let selector = format!("customStoreLabelSelector: {{matchLabels: {{for: {name}}}}}");
        // The only Service goes, and that is what this is about.
        api.apply(query(name, &format!("{selector}, serviceDiscovery: {{removalGuard: {{holdFor: 0s}}}}")));
    }
    api.apply(store("a"));
    api.edit("demo/services/a", |object| object["metadata"]["labels"]["for"] = "red".into());
    let _operator = api.operator().await;
    api.eventually(|| api.endpoints("red") == ["a"]).await;
    seconds(60).await;
    api.forget_requests();
    api.edit("demo/services/a", |object| object["metadata"]["labels"]["for"] = "green".into());
    api.eventually(|| api.endpoints("red").is_empty() && api.endpoints("green") == ["a"]).await;
    seconds(60).await;
    assert_eq!(api.object_writes(), ["green", "red"].map(|name| CONFIG_MAP.replace("global", name)));
    assert!(api.requests("", "thanos-query-blue").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_service_that_loses_its_label_or_is_being_deleted_counts_no_more() {
    let (api, _operator) = FakeApi::at_rest("").await;
    ["b", "c", "d"].iter().for_each(|name| api.apply(store(name)));
    api.eventually(|| api.endpoints("global") == ["a", "b", "c", "d"]).await;
    api.edit("demo/services/b", |object| object["metadata"]["labels"] = serde_json::json!({}));
    api.edit("demo/services/c", |object| {
        object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into()
    });
    api.eventually(|| api.endpoints("global") == ["a", "d"]).await;
}

#[tokio::test(start_paused = true)]
async fn pods_of_a_strict_headless_service_become_flags_when_their_slice_comes() {
    let (api, _operator) = FakeApi::at_rest("").await;
    api.apply(strict("b").replace("spec: {", "spec: {clusterIP: None, "));
    api.eventually(|| api.flags("global", "--endpoint-strict").len() == 1).await;
    api.roll_out("thanos-query-global");
    api.apply(pods_of("b", &["b-0", "b-1"]));
    api.eventually(|| api.flags("global", "--endpoint-strict").len() == 2).await;
    let flags = api.flags("global", "--endpoint-strict");
    assert!(flags[0].contains("=b-0.b.demo.svc") && flags[1].contains("=b-1.b.demo.svc"), "{flags:?}");
}

#[tokio::test(start_paused = true)]
async fn churn_of_a_thousand_addresses_costs_one_write_a_second_at_most_and_ends_right() {
    let (api, _operator) = FakeApi::at_rest("serviceDiscovery: {resolve: EndpointSlice}").await;
    let endpoint = |number: usize| {
        format!("{{addresses: [10.{}.{}.{}]}}", number / 65536, number / 256 % 256, number % 256)
    };
    let started = tokio::time::Instant::now();
    for round in 0..50 {
        api.apply(slice("a", (round * 100..round * 100 + 1000).map(endpoint)));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let seen = |api: &FakeApi| api.endpoints("global").len();
    api.eventually(|| seen(&api) == 1000).await;
    seconds(5).await;
    let writes = api.requests("patch", "configmaps");
    let lasted = started.elapsed().as_secs();
    assert!(writes.len() as u64 <= lasted, "{} writes in {lasted} s", writes.len());
    for pair in writes.windows(2) {
        assert!(pair[1].at - pair[0].at >= Duration::from_secs(1), "{pair:?}");
    }
    assert_eq!(api.object_writes(), [CONFIG_MAP]);
    let object = api.get("demo/configmaps/thanos-query-global-endpoints").to_string();
    assert!(object.contains("10.0.23.11:10901"), "the last of the last round");
}

#[tokio::test(start_paused = true)]
async fn addresses_of_a_service_that_chooses_no_pods_are_found_in_slices_made_by_hand() {
    let (api, _operator) = FakeApi::at_rest("serviceDiscovery: {resolve: EndpointSlice}").await;
    api.apply(store("b"));
    api.apply(slice("b", ["{addresses: [192.0.2.7]}".to_owned()]));
    api.eventually(|| {
        api.get("demo/configmaps/thanos-query-global-endpoints").to_string().contains("192.0.2.7:10901")
    })
    .await;
    api.delete("demo/endpointslices/b-1");
    api.eventually(|| api.endpoints("global").is_empty()).await;
}
