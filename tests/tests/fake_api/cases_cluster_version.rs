//! Clusters that are older than what pods are made of.

use jiff::Timestamp;
use serde_json::Value;

use crate::fake_api::{FakeApi, Fault, query, seconds, store};

const DEPLOYMENT: &str = "demo/deployments/thanos-query-global";
const AGENTLESS: &str = "serviceDiscovery: {agent: {enabled: false}}";

fn has_agent(api: &FakeApi) -> bool {
    let object = api.get(DEPLOYMENT);
    object.pointer("/spec/template/spec/initContainers/0/restartPolicy").is_some()
}

fn has_sleep(api: &FakeApi) -> bool {
    let object = api.get(DEPLOYMENT);
    object.pointer("/spec/template/spec/containers/0/lifecycle/preStop/sleep").is_some()
}

fn reason(api: &FakeApi, type_: &str) -> Option<String> {
    let object = api.get("demo/thanosqueries/global");
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array)?;
    let own = conditions.iter().find(|own| own["type"] == type_)?;
    own["reason"].as_str().map(str::to_owned)
}

fn of_kubernetes(minor: u32, spec: &str) -> FakeApi {
    let api = FakeApi::new();
    api.is_kubernetes(minor);
    api.apply(query("global", spec));
    api.apply(store("a"));
    api
}

/// Case 49.
#[tokio::test(start_paused = true)]
async fn on_a_cluster_without_native_sidecars_nothing_is_applied_and_both_ways_out_are_told_and_work() {
    let api = of_kubernetes(28, "");
    let _operator = api.operator().await;
    api.eventually(|| reason(&api, "Ready").is_some()).await;
    seconds(60).await;
    assert_eq!(reason(&api, "Ready").as_deref(), Some("ClusterTooOld"));
    assert_eq!(reason(&api, "Stalled").as_deref(), Some("ClusterTooOld"));
    assert_eq!(reason(&api, "Invalid"), None, "the spec is as good as any");
    let told = api.condition("global", "Ready").expect("told");
    for words in ["False: ", "v1.28", "1.29", "agent.enabled: false", "mode: Flags"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert!(api.object_writes().is_empty(), "{:?}", api.object_writes());

    api.apply(query("global", "serviceDiscovery: {mode: Flags}"));
    api.eventually(|| api.flags("global", "--endpoint=").len() == 1).await;
    assert_eq!(reason(&api, "Stalled"), None);
    assert!(!has_agent(&api) && !has_sleep(&api));

    let api = of_kubernetes(28, AGENTLESS);
    let _operator = api.operator().await;
    api.eventually(|| api.has(DEPLOYMENT)).await;
    assert!(!has_agent(&api) && !has_sleep(&api));
}

/// Case 49.
#[tokio::test(start_paused = true)]
async fn what_runs_stays_as_it_is_when_the_cluster_says_that_it_is_too_old() {
    let (api, operator) = FakeApi::at_rest("").await;
    let before = api.get(DEPLOYMENT);
    operator.stop().await;
    api.is_kubernetes(28);
    let _operator = api.operator().await;
    api.eventually(|| reason(&api, "Stalled").is_some()).await;
    seconds(60).await;
    assert_eq!(api.get(DEPLOYMENT), before);
    assert!(api.object_writes().is_empty(), "{:?}", api.object_writes());
}

/// Case 49.
#[tokio::test(start_paused = true)]
async fn a_cluster_that_is_upgraded_is_noticed_without_a_restart_of_the_operator() {
    let api = of_kubernetes(28, "");
    let _operator = api.operator().await;
    api.eventually(|| reason(&api, "Stalled").is_some()).await;
    api.is_kubernetes(33);
    seconds(601).await;
    api.eventually(|| api.has(DEPLOYMENT)).await;
    assert!(has_agent(&api) && has_sleep(&api));
    assert_eq!(reason(&api, "Stalled"), None);
}

/// Case 49.
#[tokio::test(start_paused = true)]
async fn a_cluster_without_the_pause_before_a_pod_ends_has_agents_and_a_remark() {
    let api = of_kubernetes(29, "queryFrontend: {}");
    let _operator = api.operator().await;
    api.eventually(|| api.has(DEPLOYMENT) && reason(&api, "Remarks").is_some()).await;
    assert!(has_agent(&api) && !has_sleep(&api));
    let told = api.condition("global", "Remarks").expect("told");
    assert!(told.contains("v1.29") && told.contains("1.30"), "{told}");
    let frontend = api.get("demo/deployments/thanos-query-frontend-global");
    assert!(frontend.pointer("/spec/template/spec/containers/0").is_some());
    assert_eq!(frontend.pointer("/spec/template/spec/containers/0/lifecycle"), None);
}

/// Case 49.
#[tokio::test(start_paused = true)]
async fn a_cluster_that_does_not_say_its_version_is_taken_for_new_enough() {
    for fault in [Fault::Code(403), Fault::Code(500), Fault::Hold] {
        let api = of_kubernetes(28, "");
        let _fault = api.inject("ask version", fault);
        let _operator = api.operator().await;
        // A question that is not answered is given up first.
        seconds(15).await;
        api.eventually(|| api.has(DEPLOYMENT)).await;
        assert!(has_agent(&api) && has_sleep(&api));
    }
}

/// Case 49.
#[tokio::test(start_paused = true)]
async fn explain_says_it_without_an_operator() {
    let api = of_kubernetes(28, "");
    let arguments = ["thanos-operator", "explain", "global", "--namespace", "demo"];
    let told = explained(&api, &arguments).await;
    assert!(told.contains("native sidecar") && told.contains("agent.enabled: false"), "{told}");
    api.is_kubernetes(33);
    let told = explained(&api, &arguments).await;
    assert!(!told.contains("native sidecar"), "{told}");
}

async fn explained(api: &FakeApi, arguments: &[&str]) -> String {
    use clap::Parser as _;
    use operator::arguments::{Arguments, Command};
    let parsed = Arguments::try_parse_from(arguments).expect("arguments");
    let Command::Explain(arguments) = parsed.command else { unreachable!("explain was given") };
    let told = operator::explain::explain(&api.client(), &arguments, Timestamp::UNIX_EPOCH).await;
    // It is wrapped for a terminal.
    let text = told.expect("explained").text;
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
