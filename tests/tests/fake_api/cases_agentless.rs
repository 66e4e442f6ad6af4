//! `agent.enabled: false`: the kubelet brings Thanos' own file.

use serde_json::{Value, json};

use crate::fake_api::{FakeApi, query, seconds, store};

const DEPLOYMENT: &str = "demo/deployments/thanos-query-global";
const CONFIG_MAP: &str = "demo/configmaps/thanos-query-global-endpoints";
const ROLE: &str = "demo/roles/thanos-query-global";
const AGENTLESS: &str = "serviceDiscovery: {agent: {enabled: false}}";

/// Thanos' own file in the ConfigMap, as text.
fn file(api: &FakeApi) -> Option<String> {
    api.get(CONFIG_MAP)["data"]["endpoints.yaml"].as_str().map(str::to_owned)
}

fn file_has(api: &FakeApi, store: &str) -> bool {
    file(api).is_some_and(|file| file.contains(&format!("{store}.demo.svc.cluster.local:10901")))
}

/// What brings the file into the pods: `projected` for the kubelet, `emptyDir` for an agent.
fn volume(api: &FakeApi) -> Option<&'static str> {
    let object = api.get(DEPLOYMENT);
    let volumes = object.pointer("/spec/template/spec/volumes").and_then(Value::as_array)?;
    let volume = volumes.iter().find(|volume| volume["name"] == "sd")?;
    ["projected", "emptyDir"].into_iter().find(|kind| !volume[kind].is_null())
}

fn reason(api: &FakeApi, type_: &str) -> Option<String> {
    let object = api.get("demo/thanosqueries/global");
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array)?;
    let own = conditions.iter().find(|own| own["type"] == type_)?;
    own["reason"].as_str().map(str::to_owned)
}

#[tokio::test(start_paused = true)]
async fn without_an_agent_thanos_own_file_is_in_the_config_map_and_a_change_replaces_no_pod() {
    let (api, _operator) = FakeApi::at_rest(AGENTLESS).await;
    assert_eq!(volume(&api), Some("projected"));
    assert_eq!(api.get(DEPLOYMENT).pointer("/spec/template/spec/initContainers"), None);
    assert!(file_has(&api, "a") && !api.has(ROLE));
    let told = api.condition("global", "EndpointsSynced").expect("told");
    for words in ["Unknown: there is no agent", "about a minute", "the version of Thanos changes"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert_eq!(reason(&api, "EndpointsSynced").as_deref(), Some("DeliveredByKubelet"));

    api.apply(store("b"));
    api.eventually(|| file_has(&api, "b")).await;
    assert_eq!(api.endpoints("global"), ["a", "b"]);
    seconds(60).await;
    assert!(api.requests("patch", "deployments").is_empty());
}

#[tokio::test(start_paused = true)]
async fn from_an_agent_to_none_and_back_both_forms_stay_and_follow_until_the_last_pod_is_replaced() {
    let (api, _operator) = FakeApi::at_rest("").await;
    assert_eq!((volume(&api), file(&api)), (Some("emptyDir"), None));

    api.apply(query("global", AGENTLESS));
    api.eventually(|| volume(&api) == Some("projected")).await;
    api.apply(store("b"));
    api.eventually(|| file_has(&api, "b")).await;
    assert_eq!(api.endpoints("global"), ["a", "b"], "agents of old pods read this");
    seconds(60).await;
    assert!(api.has(ROLE), "and need this");
    api.roll_out("thanos-query-global");
    api.eventually(|| !api.has(ROLE)).await;

    api.apply(query("global", ""));
    api.eventually(|| volume(&api) == Some("emptyDir")).await;
    api.apply(store("c"));
    api.eventually(|| api.endpoints("global") == ["a", "b", "c"]).await;
    assert!(file_has(&api, "c"), "the kubelet brings this to old pods");
    seconds(60).await;
    assert!(file_has(&api, "c"));
    api.roll_out("thanos-query-global");
    api.eventually(|| file(&api).is_none()).await;
    assert_eq!(api.endpoints("global"), ["a", "b", "c"]);
    seconds(10).await;
    api.forget_requests();
    seconds(600).await;
    assert!(api.writes().is_empty(), "{:?}", api.writes());
}

#[tokio::test(start_paused = true)]
async fn a_file_that_does_not_fit_is_told_and_the_last_one_stays() {
    let (api, _operator) = FakeApi::at_rest(AGENTLESS).await;
    let before = api.get(CONFIG_MAP);
    let label = "x".repeat(59);
    let many: Vec<Value> = (0..4000)
        .map(|number| json!({"address": format!("s{number}.{label}.{label}.{label}.{label}.eu:10901")}))
        .collect();
    api.edit("demo/thanosqueries/global", |query| {
        query["spec"]["serviceDiscovery"]["additionalEndpoints"] = many.into();
    });
    api.eventually(|| reason(&api, "Stalled").is_some()).await;
    assert_eq!(reason(&api, "Stalled").as_deref(), Some("TooLarge"));
    assert_eq!(reason(&api, "Ready").as_deref(), Some("TooLarge"));
    let told = api.condition("global", "Stalled").expect("told");
    assert!(told.starts_with("True: 4001 endpoints take ") && told.contains("agent.enabled: true"), "{told}");
    assert_eq!(api.get(CONFIG_MAP), before);
    assert_eq!(api.events().iter().filter(|event| event.starts_with("TooLarge")).count(), 1);

    api.edit("demo/thanosqueries/global", |query| {
        query["spec"]["serviceDiscovery"]["additionalEndpoints"] = json!([]);
    });
    api.eventually(|| reason(&api, "Stalled").is_none()).await;
}
