//! Agents that tell of look-ups that fail. On the real clock, for agents are asked over the network.

use serde_json::Value;

use crate::fake_api::{Agent, FakeApi, query, store};

const ADDRESS: &str = "dnssrv+_grpc._tcp.a.demo.svc.cluster.local";

fn condition(api: &FakeApi, type_: &str) -> Option<Value> {
    let query = api.get("demo/thanosqueries/global");
    let conditions = query["status"]["conditions"].as_array()?;
    conditions.iter().find(|condition| condition["type"] == type_).cloned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn look_ups_that_begin_to_fail_at_rest_are_told_without_listing_pods_again() {
    let (api, one, other) = (FakeApi::new(), Agent::start().await, Agent::start().await);
    let headless = store("a").replace("spec: {", "spec: {clusterIP: None, ");
    // The only Service goes at the end, and that is meant.
    api.apply(query("global", "replicas: 2, serviceDiscovery: {removalGuard: {holdFor: 0s}}"));
    api.apply(&headless);
    one.pod(&api, "one");
    other.pod(&api, "other");
    let _operator = api.operator().await;
    api.eventually(|| !api.get("demo/thanosqueries/global")["status"]["document"].is_null()).await;
    one.applies(&api);
    other.applies(&api);
    api.eventually(|| api.get("demo/thanosqueries/global")["status"]["synced"] == "2/2").await;
    assert_eq!(condition(&api, "DnsFailing"), None);

    let asked = one.asked();
    api.eventually(|| one.asked() > asked).await;
    api.forget_requests();
    one.fails(ADDRESS);
    other.fails(ADDRESS);
    api.eventually(|| condition(&api, "DnsFailing").is_some()).await;
    let told = condition(&api, "DnsFailing").expect("there is one");
    let message = told["message"].as_str().expect("a text");
    let failing = format!("look-up fails: {ADDRESS} (10.96.0.10 answers SERVFAIL, in 2 of 2 pods); ");
    assert!(message.starts_with(&failing), "{message}");
    assert_eq!((&told["status"], &told["reason"]), (&"True".into(), &"LookupFailed".into()));
    assert!(api.requests("list", "pods").is_empty(), "{:?}", api.requests("list", "pods"));

    // It is no endpoint any more, so nobody has to be asked.
    api.delete("demo/services/a");
    api.eventually(|| condition(&api, "DnsFailing").is_none()).await;
}
