//! Endpoints that ask for TLS, and what agents tell of those that are not reached. On the real clock, for agents are asked
//! over the network.

use sd_agent::report::ThanosReport;
use serde_json::Value;

use crate::fake_api::{Agent, FakeApi, query, store};

const SPEC: &str =
    "replicas: 2, serviceDiscovery: {removalGuard: {holdFor: 0s}, tlsProfiles: [{name: eu, ca: {name: eu}}]}";
const ADDRESS: &str = "a.demo.svc.cluster.local:10901";

fn with_tls(service: &str, profile: &str) -> String {
    service.replace("labels:", &format!("annotations: {{operator.thanos.io/tls: {profile}}}, labels:"))
}

fn status(api: &FakeApi) -> Value {
    api.get("demo/thanosqueries/global")["status"].clone()
}

fn condition(api: &FakeApi, type_: &str) -> Option<Value> {
    let status = status(api);
    status["conditions"].as_array()?.iter().find(|condition| condition["type"] == type_).cloned()
}

fn reaches_not(agent: &Agent, addresses: Option<&[&str]>) {
    let unreachable = addresses.map(|all| all.iter().map(|&address| address.to_owned()).collect());
    agent.says(|report| report.thanos = Some(ThanosReport { unreachable, ..ThanosReport::default() }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_pod_reaches_is_told_by_endpoint_and_a_pod_that_is_replaced_changes_nothing() {
    let (api, one, other) = (FakeApi::new(), Agent::start().await, Agent::start().await);
    api.apply(query("global", SPEC));
    api.apply(with_tls(&store("a"), "eu"));
    api.apply(store("b"));
    one.pod(&api, "one");
    other.pod(&api, "other");
    let _operator = api.operator().await;
    api.eventually(|| !status(&api)["document"].is_null()).await;
    for agent in [&one, &other] {
        agent.applies(&api);
        reaches_not(agent, Some(&[]));
    }
    api.eventually(|| status(&api)["synced"] == "2/2").await;

    // At rest they are asked rarely; a change makes it soon.
    let ask = |service: &str| api.apply(store(service));
    // One of two reaches it.
    reaches_not(&one, Some(&[ADDRESS]));
    ask("c");
    let asked = one.asked();
    api.eventually(|| one.asked() > asked + 1).await;
    assert_eq!(condition(&api, "EndpointsUnreachable"), None);
    reaches_not(&other, Some(&[ADDRESS]));
    ask("d");
    api.eventually(|| condition(&api, "EndpointsUnreachable").is_some()).await;
    let told = status(&api)["unreachable"].clone();
    assert_eq!(told.as_array().map(Vec::len), Some(1), "{told}");
    assert_eq!((&told[0]["address"], &told[0]["from"]), (&ADDRESS.into(), &"demo/a".into()), "{told}");
    assert_eq!((&told[0]["tls"], &told[0]["pods"]), (&"eu".into(), &2.into()), "{told}");

    // A pod that has just started cannot say it yet.
    reaches_not(&other, None);
    ask("e");
    api.eventually(|| status(&api)["unreachable"][0]["pods"] == 1).await;
    assert!(condition(&api, "EndpointsUnreachable").is_some());

    reaches_not(&one, Some(&[]));
    ask("f");
    api.eventually(|| condition(&api, "EndpointsUnreachable").is_none()).await;
    assert!(status(&api)["unreachable"].is_null());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_chooses_another_profile_is_written_so_and_replaces_no_pod() {
    let api = FakeApi::new();
    api.apply(query("global", SPEC));
    api.apply(store("a"));
    let _operator = api.operator().await;
    let document =
        || api.get("demo/configmaps/thanos-query-global-endpoints")["data"]["endpoints.json"].to_string();
    api.eventually(|| document().contains(ADDRESS)).await;
    assert!(!document().contains("/tls/profile-eu"));
    api.eventually(|| !api.get("demo/deployments/thanos-query-global").is_null()).await;
    let template = api.get("demo/deployments/thanos-query-global")["spec"]["template"].clone();
    assert!(template.to_string().contains("/tls/profile-eu/ca"), "{template}");

    api.apply(with_tls(&store("a"), "eu"));
    api.eventually(|| document().contains("/tls/profile-eu/ca/ca.crt")).await;
    // Nobody guesses what a name means that is none.
    api.apply(with_tls(&store("a"), "ue"));
    api.eventually(|| condition(&api, "ServicesRejected").is_some()).await;
    let message = condition(&api, "ServicesRejected").expect("told")["message"].to_string();
    assert!(message.contains("demo/a: spec.serviceDiscovery.tlsProfiles has no"), "{message}");
    assert!(!document().contains(ADDRESS), "{}", document());
    assert_eq!(api.get("demo/deployments/thanos-query-global")["spec"]["template"], template);
}
