//! How often endpoints replace the pods: one rollout after the other, and not more than five in ten minutes.

use std::time::Duration;

use tokio::time::Instant;

use crate::fake_api::{FakeApi, query, seconds, store, strict};

const NAME: &str = "thanos-query-global";
const DEPLOYMENT: &str = "demo/deployments/thanos-query-global";

/// The strict endpoints of the pod template.
fn strict_flags(api: &FakeApi) -> usize {
    api.flags("global", "--endpoint-strict").len()
}

/// The pod templates that were applied.
fn templates(api: &FakeApi) -> usize {
    api.events().iter().filter(|event| event.starts_with("Rollout ")).count()
}

fn ready(api: &FakeApi) -> String {
    api.condition("global", "Ready").unwrap_or_default()
}

fn held(api: &FakeApi) -> Option<String> {
    api.condition("global", "RolloutHeld")
}

/// At rest, then a strict Service `b` whose rollout is under way.
async fn during_a_rollout() -> (FakeApi, crate::fake_api::Running) {
    let (api, operator) = FakeApi::at_rest("replicas: 2").await;
    api.apply(strict("b"));
    api.eventually(|| strict_flags(&api) == 1).await;
    api.roll_out_partly(NAME, false);
    seconds(5).await;
    (api, operator)
}

/// At rest, then five strict Services within a minute, each with a rollout of its own; and a sixth.
async fn after_six_bursts() -> (FakeApi, crate::fake_api::Running) {
    let (api, operator) = FakeApi::at_rest("replicas: 2").await;
    for number in 1..=5 {
        api.apply(strict(&format!("s{number}")));
        api.eventually(|| strict_flags(&api) == number).await;
        api.roll_out(NAME);
        seconds(5).await;
    }
    assert_eq!((held(&api), templates(&api)), (None, 5));
    api.apply(strict("s6"));
    seconds(10).await;
    (api, operator)
}

#[tokio::test(start_paused = true)]
async fn strict_services_that_come_during_a_rollout_wait_for_its_end_and_are_one_rollout() {
    let (api, _operator) = during_a_rollout().await;
    for name in ["c", "d"] {
        api.apply(strict(name));
        seconds(100).await;
    }
    assert_eq!((strict_flags(&api), templates(&api)), (1, 1));
    assert_eq!(api.endpoints("global"), ["a", "b", "c", "d"], "the file does not wait");
    assert!(ready(&api).starts_with("False: the pods get other endpoint flags when"), "{}", ready(&api));

    let end = Instant::now();
    api.roll_out(NAME);
    api.eventually(|| strict_flags(&api) == 3).await;
    assert!(end.elapsed() < Duration::from_secs(2), "{:?}", end.elapsed());
    api.roll_out(NAME);
    api.eventually(|| ready(&api).starts_with("True")).await;
    assert_eq!((templates(&api), held(&api)), (2, None));
}

#[tokio::test(start_paused = true)]
async fn while_a_rollout_waits_an_ordinary_service_costs_one_write_and_no_read() {
    let (api, _operator) = during_a_rollout().await;
    api.apply(strict("c"));
    seconds(10).await;
    api.forget_requests();
    api.apply(store("d"));
    api.eventually(|| api.endpoints("global") == ["a", "b", "c", "d"]).await;
    assert_eq!(api.object_writes(), ["patch demo/configmaps/thanos-query-global-endpoints"]);
    assert!(api.requests("get", "").is_empty(), "{:?}", api.requests("get", ""));
    // The look that was due anyway still comes.
    api.forget_requests();
    seconds(61).await;
    assert_eq!(api.requests("get", "deployments/thanos-query-global").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_rollout_that_is_stuck_does_not_hold_up_the_next() {
    let (api, _operator) = during_a_rollout().await;
    api.apply(strict("c"));
    seconds(300).await;
    assert_eq!(strict_flags(&api), 1);
    api.roll_out_partly(NAME, true);
    api.eventually(|| strict_flags(&api) == 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_nobody_looks_at_is_waited_for_a_minute() {
    let (api, _operator) = FakeApi::at_rest("").await;
    api.apply(strict("b"));
    api.eventually(|| strict_flags(&api) == 1).await;
    api.apply(strict("c"));
    seconds(55).await;
    assert_eq!(strict_flags(&api), 1);
    seconds(10).await;
    assert_eq!(strict_flags(&api), 2);
}

#[tokio::test(start_paused = true)]
async fn pods_that_fail_after_their_rollout_do_not_hold_up_the_next() {
    let (api, _operator) = FakeApi::at_rest("replicas: 2").await;
    api.edit_as(DEPLOYMENT, "kube-controller-manager", Some("status"), |object| {
        object["status"]["availableReplicas"] = 0.into();
        object["status"]["conditions"] =
            serde_json::json!([{"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}]);
    });
    api.apply(strict("b"));
    api.eventually(|| strict_flags(&api) == 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_a_person_has_paused_gets_every_change_at_once_and_none_counts() {
    let (api, _operator) = FakeApi::at_rest("").await;
    api.edit(DEPLOYMENT, |object| object["spec"]["paused"] = true.into());
    for number in 1..=8 {
        api.apply(strict(&format!("s{number}")));
        api.eventually(|| strict_flags(&api) == number).await;
    }
    assert_eq!(held(&api), None);
}

#[tokio::test(start_paused = true)]
async fn without_pods_every_change_is_applied_at_once_and_none_counts() {
    let (api, _operator) = FakeApi::at_rest("replicas: 0").await;
    for number in 1..=8 {
        api.apply(strict(&format!("s{number}")));
        api.eventually(|| strict_flags(&api) == number).await;
    }
    assert_eq!(held(&api), None);
}

#[tokio::test(start_paused = true)]
async fn a_change_of_spec_does_not_wait_for_a_rollout_and_brings_the_endpoints_along() {
    let (api, _operator) = during_a_rollout().await;
    api.apply(strict("c"));
    seconds(60).await;
    assert_eq!(strict_flags(&api), 1);
    api.apply(query("global", "replicas: 2, logLevel: debug"));
    api.eventually(|| !api.flags("global", "--log.level=debug").is_empty()).await;
    assert_eq!(strict_flags(&api), 2);
}

#[tokio::test(start_paused = true)]
async fn while_a_rollout_waits_the_number_of_pods_follows_the_spec() {
    let (api, _operator) = during_a_rollout().await;
    api.apply(strict("c"));
    seconds(60).await;
    api.apply(query("global", "replicas: 3"));
    api.eventually(|| api.get(DEPLOYMENT)["spec"]["replicas"] == 3).await;
    assert_eq!(strict_flags(&api), 1);
}

#[tokio::test(start_paused = true)]
async fn an_operator_that_is_restarted_during_a_rollout_waits_for_its_end() {
    let (api, operator) = during_a_rollout().await;
    operator.stop().await;
    api.apply(strict("c"));
    let _second = api.operator().await;
    seconds(300).await;
    assert_eq!(strict_flags(&api), 1);
    api.roll_out(NAME);
    api.eventually(|| strict_flags(&api) == 2).await;
}

#[tokio::test(start_paused = true)]
async fn the_sixth_rollout_within_ten_minutes_is_held_told_once_and_made_when_its_time_comes() {
    let start = Instant::now();
    let (api, _operator) = after_six_bursts().await;
    assert_eq!(strict_flags(&api), 5);
    let told = held(&api).expect("RolloutHeld");
    assert!(told.starts_with("True: ") && told.contains("5 times in the last 10 minutes"), "{told}");
    assert!(ready(&api).contains("see RolloutHeld"), "{}", ready(&api));

    // More of the same, and a Deployment whose numbers change, make neither news nor writes of status.
    api.apply(strict("s7"));
    seconds(30).await;
    api.forget_requests();
    api.roll_out(NAME);
    seconds(60).await;
    assert!(api.writes().is_empty(), "{:?}", api.writes());
    assert_eq!(held(&api), Some(told));
    let events = api.events();
    assert_eq!(events.iter().filter(|event| event.starts_with("RolloutHeld")).count(), 1, "{events:#?}");

    api.apply(store("b"));
    let before = Instant::now();
    api.eventually(|| api.endpoints("global").contains(&"b".to_owned())).await;
    assert!(before.elapsed() < Duration::from_secs(1), "{:?}", before.elapsed());
    assert!(api.endpoints("global").contains(&"s6".to_owned()), "a file of what is no flag yet, too");
    assert_eq!(api.object_writes(), ["patch demo/configmaps/thanos-query-global-endpoints"]);

    // The first of the five was ten seconds of rest and two of settling after the start, or a little more.
    seconds(605 - start.elapsed().as_secs()).await;
    assert_eq!(strict_flags(&api), 5);
    seconds(15).await;
    assert_eq!((strict_flags(&api), templates(&api)), (7, 6), "both at once");
    api.roll_out(NAME);
    api.eventually(|| held(&api).is_none() && ready(&api).starts_with("True")).await;
}

#[tokio::test(start_paused = true)]
async fn a_change_of_spec_is_not_held_does_not_count_and_brings_the_endpoints_along() {
    let (api, _operator) = after_six_bursts().await;
    api.apply(query("global", "replicas: 2, logLevel: debug"));
    api.eventually(|| strict_flags(&api) == 6).await;
    api.eventually(|| held(&api).is_none()).await;

    let (api, _operator) = FakeApi::at_rest("").await;
    for level in ["debug", "warn", "error", "debug", "warn", "error", "debug", "warn"] {
        api.apply(query("global", &format!("logLevel: {level}")));
        api.eventually(|| !api.flags("global", &format!("--log.level={level}")).is_empty()).await;
        api.roll_out(NAME);
        seconds(5).await;
    }
    api.apply(strict("b"));
    api.eventually(|| strict_flags(&api) == 1).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_held_and_taken_back_is_held_no_more() {
    let (api, _operator) = after_six_bursts().await;
    api.delete("demo/services/s6");
    api.eventually(|| held(&api).is_none() && ready(&api).starts_with("True")).await;
    assert_eq!(templates(&api), 5);
}
