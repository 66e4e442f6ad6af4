//! Services come, go and change: what that costs.

use std::time::Duration;

use crate::fake_api::{FakeApi, Fault, query, seconds, store};

const CONFIG_MAP: &str = "patch demo/configmaps/thanos-query-global-endpoints";

async fn at_rest() -> (FakeApi, super::fake_api::Running) {
    let api = FakeApi::new();
    api.apply(query("global", ""));
    api.apply(store("a"));
    let operator = api.operator().await;
    api.eventually(|| api.has("demo/deployments/thanos-query-global")).await;
    api.roll_out("thanos-query-global");
    seconds(10).await;
    api.forget_requests();
    (api, operator)
}

#[tokio::test(start_paused = true)]
async fn an_ordinary_service_costs_one_write_of_the_config_map_and_no_read() {
    let (api, _operator) = at_rest().await;
    api.apply(store("b"));
    api.eventually(|| api.endpoints("global") == ["a", "b"]).await;
    seconds(60).await;
    assert_eq!(api.object_writes(), [CONFIG_MAP]);
    assert_eq!(api.writes()[CONFIG_MAP], 1);
    assert!(api.requests("get", "").is_empty(), "{:?}", api.requests("get", ""));
}

#[tokio::test(start_paused = true)]
async fn a_burst_is_written_at_most_once_a_second_and_ends_right() {
    let (api, _operator) = at_rest().await;
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
    let (api, _operator) = at_rest().await;
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
    let (api, _operator) = at_rest().await;
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
