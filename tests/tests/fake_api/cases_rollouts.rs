//! When pods are replaced, how often, and what stays until they are.

use crate::fake_api::{FakeApi, pods_of, query, seconds, store, strict};

const DEPLOYMENT: &str = "demo/deployments/thanos-query-global";
const CONFIG_MAP: &str = "demo/configmaps/thanos-query-global-endpoints";
const ROLE: &str = "demo/roles/thanos-query-global";

fn rollouts(api: &FakeApi) -> Vec<String> {
    api.events().into_iter().filter(|event| event.starts_with("Rollout")).collect()
}

#[tokio::test(start_paused = true)]
async fn a_strict_service_costs_one_rollout_whose_reason_is_told() {
    let (api, _operator) = FakeApi::at_rest("").await;
    api.apply(strict("b"));
    api.eventually(|| api.endpoints("global") == ["a", "b"]).await;
    assert!(api.requests("patch", "deployments").is_empty(), "the file comes first");
    seconds(60).await;
    assert_eq!(api.requests("patch", "deployments").len(), 1);
    assert_eq!(
        api.flags("global", "--endpoint-strict"),
        ["--endpoint-strict=b.demo.svc.cluster.local:10901"]
    );
    let told = rollouts(&api);
    assert!(told.len() == 1 && told[0].contains("strict endpoint b.demo"), "{told:?}");
    let last = api.get("demo/thanosqueries/global")["status"]["lastRollout"]["reason"].to_string();
    assert!(last.contains("strict endpoint b.demo"), "{last}");
}

#[tokio::test(start_paused = true)]
async fn two_strict_services_within_two_seconds_cost_one_rollout() {
    let (api, _operator) = FakeApi::at_rest("").await;
    api.apply(strict("b"));
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    api.apply(strict("c"));
    seconds(60).await;
    assert_eq!(api.requests("patch", "deployments").len(), 1);
    assert_eq!(api.flags("global", "--endpoint-strict").len(), 2);
    let told = rollouts(&api);
    assert!(told.len() == 1 && told[0].contains("b.demo") && told[0].contains("c.demo"), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn from_file_to_flags_and_back_nothing_goes_that_old_pods_use() {
    let (api, _operator) = FakeApi::at_rest("").await;
    api.apply(query("global", "serviceDiscovery: {mode: Flags}"));
    api.eventually(|| api.flags("global", "--endpoint=").len() == 1).await;
    seconds(60).await;
    let deletions = api.requests("delete", "");
    assert!(deletions.is_empty() && api.has(CONFIG_MAP) && api.has(ROLE), "{deletions:?}");

    api.roll_out("thanos-query-global");
    api.eventually(|| !api.has(CONFIG_MAP) && !api.has(ROLE)).await;
    seconds(10).await;
    api.forget_requests();
    seconds(600).await;
    assert!(api.writes().is_empty(), "{:?}", api.writes());

    api.apply(query("global", ""));
    api.eventually(|| api.flags("global", "--endpoint=").is_empty()).await;
    assert!(api.has(ROLE) && api.endpoints("global") == ["a"]);
    let at = |place| api.requests("patch", place)[0].at;
    assert!(at("configmaps") <= at("deployments"));
}

#[tokio::test(start_paused = true)]
async fn the_agents_right_goes_only_after_the_rollout_that_ends_its_use() {
    let (api, _operator) = FakeApi::at_rest("").await;
    api.apply(query("global", "serviceDiscovery: {agent: {source: Mount}}"));
    api.eventually(|| !api.requests("patch", "deployments").is_empty()).await;
    seconds(60).await;
    assert!(api.has(ROLE));
    api.roll_out("thanos-query-global");
    api.eventually(|| !api.has(ROLE)).await;
    assert!(api.has(CONFIG_MAP));
}

#[tokio::test(start_paused = true)]
async fn a_rollout_that_ends_makes_the_query_ready() {
    let (api, _operator) = FakeApi::at_rest("").await;
    let ready = |word: &str| api.condition("global", "Ready").is_some_and(|text| text.starts_with(word));
    assert!(ready("True"));
    api.apply(query("global", "logLevel: debug"));
    api.eventually(|| ready("False")).await;
    api.roll_out("thanos-query-global");
    api.eventually(|| ready("True")).await;
    assert!(rollouts(&api)[0].contains("--log.level=debug"), "{:?}", rollouts(&api));
}

#[tokio::test(start_paused = true)]
async fn an_operator_that_is_restarted_during_a_burst_ends_it() {
    let (api, operator) = FakeApi::at_rest("").await;
    api.apply(strict("b"));
    seconds(1).await;
    operator.stop().await;
    assert!(api.flags("global", "--endpoint-strict").is_empty());
    let _second = api.operator().await;
    api.eventually(|| api.flags("global", "--endpoint-strict").len() == 1).await;
    seconds(60).await;
    assert_eq!(rollouts(&api).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn while_the_rollout_to_flags_is_stuck_the_old_pods_still_get_their_endpoints() {
    let (api, _operator) = FakeApi::at_rest("").await;
    api.apply(query("global", "serviceDiscovery: {mode: Flags}"));
    api.eventually(|| api.flags("global", "--endpoint=").len() == 1).await;
    api.roll_out_partly("thanos-query-global", true);
    api.apply(store("b"));
    api.eventually(|| api.endpoints("global") == ["a", "b"]).await;
    api.eventually(|| api.flags("global", "--endpoint=").len() == 2).await;
    seconds(60).await;
    api.roll_out("thanos-query-global");
    api.eventually(|| !api.has(CONFIG_MAP) && !api.has(ROLE)).await;
    seconds(60).await;
    assert!(!api.has(CONFIG_MAP));
}

#[tokio::test(start_paused = true)]
async fn a_config_map_of_somebody_else_does_not_matter_to_a_query_of_flags() {
    let api = FakeApi::new();
    api.apply("{apiVersion: v1, kind: ConfigMap, data: {their: own}, metadata: {name: thanos-query-global-endpoints, namespace: demo}}");
    let theirs = api.get(CONFIG_MAP);
    api.apply(query("global", "serviceDiscovery: {mode: Flags}"));
    let _operator = api.operator().await;
    api.eventually(|| api.has(DEPLOYMENT)).await;
    api.roll_out("thanos-query-global");
    seconds(120).await;
    assert_eq!(api.get(CONFIG_MAP), theirs);
    assert_eq!(api.condition("global", "ForeignObject"), None);
}

#[tokio::test(start_paused = true)]
async fn a_pod_of_a_strict_statefulset_that_is_restarted_replaces_no_querier() {
    let (api, operator) = FakeApi::at_rest("").await;
    let flags = |api: &FakeApi| api.flags("global", "--endpoint-strict").len();
    api.apply(strict("b").replace("spec: {", "spec: {clusterIP: None, "));
    api.apply(pods_of("b", &["b-0", "b-1"]));
    api.eventually(|| flags(&api) == 2).await;
    api.roll_out("thanos-query-global");
    seconds(10).await;
    api.forget_requests();
    api.apply(pods_of("b", &["b-0"]));
    seconds(20).await;
    // Nor does an operator that starts just then.
    operator.stop().await;
    let _operator = api.operator().await;
    seconds(20).await;
    assert_eq!(flags(&api), 2);
    api.apply(pods_of("b", &["b-0", "b-1"]));
    seconds(90).await;
    assert_eq!(flags(&api), 2);
    assert!(api.requests("patch", "deployments").is_empty(), "{:?}", api.object_writes());

    // Scaled down it goes, once.
    api.apply(pods_of("b", &["b-0"]));
    seconds(90).await;
    assert_eq!(flags(&api), 1);
    assert_eq!(api.requests("patch", "deployments").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_strict_statefulset_of_which_nothing_is_left_stays_strict() {
    let (api, _operator) = FakeApi::at_rest("").await;
    api.apply(strict("b").replace("spec: {", "spec: {clusterIP: None, "));
    api.apply(pods_of("b", &["b-0", "b-1"]));
    api.eventually(|| api.flags("global", "--endpoint-strict").len() == 2).await;
    api.roll_out("thanos-query-global");
    api.apply(pods_of("b", &[]));
    seconds(600).await;
    let flags = api.flags("global", "--endpoint-strict");
    assert!(flags[0].contains("=b-0.b.demo") && flags.len() == 2, "{flags:?}");
}
