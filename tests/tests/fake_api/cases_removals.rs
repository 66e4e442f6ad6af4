//! Many Services go at once: their endpoints stay for a while.

use serde_json::{Value, json};

use crate::fake_api::{FakeApi, Fault, Running, namespace, query, seconds, store, store_in, strict};

const QUERY: &str = "demo/thanosqueries/global";
const CONFIG_MAP: &str = "demo/configmaps/thanos-query-global-endpoints";
const ACCEPT: &str = "operator.thanos.io/accept-removal";
const ALL: [&str; 4] = ["a", "b", "c", "d"];

/// A ThanosQuery `global` with four stores, at rest.
async fn four_stores(spec: &str) -> (FakeApi, Running) {
    let (api, operator) = FakeApi::at_rest(spec).await;
    ALL[1..].iter().for_each(|name| api.apply(store(name)));
    api.eventually(|| known(&api) == ALL).await;
    seconds(20).await;
    api.forget_requests();
    (api, operator)
}

/// What a script does that takes the labels from every Service.
fn strip(api: &FakeApi, names: &[&str]) {
    for name in names {
        api.edit(&format!("demo/services/{name}"), |object| object["metadata"]["labels"] = json!({}));
    }
}

fn held(api: &FakeApi) -> Value {
    api.get(QUERY)["status"]["heldRemoval"].clone()
}

fn accept(api: &FakeApi, number: &Value) {
    api.edit(QUERY, |object| object["metadata"]["annotations"][ACCEPT] = number.to_string().into());
}

/// The Services that the ConfigMap remembers as being there.
fn known(api: &FakeApi) -> Vec<String> {
    let text = api.get(CONFIG_MAP)["data"]["services.json"].clone();
    let all: Value = serde_json::from_str(text.as_str().unwrap_or_default()).unwrap_or_default();
    let names = all["services"].as_object().into_iter().flat_map(|services| services.keys());
    names.map(|name| name.trim_start_matches("demo/").to_owned()).collect()
}

async fn metric(operator: &Running) -> String {
    let text = operator.page("/metrics").await;
    let line = text.lines().find(|line| line.starts_with("thanos_operator_query_removal_held{"));
    line.expect("the metric").rsplit(' ').next().unwrap_or_default().to_owned()
}

fn told(api: &FakeApi) -> usize {
    api.events().iter().filter(|event| event.starts_with("RemovalHeld")).count()
}

#[tokio::test(start_paused = true)]
async fn labels_that_a_script_strips_from_all_services_cost_no_endpoint_and_are_told() {
    let (api, operator) = four_stores("").await;
    strip(&api, &ALL);
    api.eventually(|| held(&api)["count"] == 4).await;
    seconds(2).await;
    assert_eq!(api.endpoints("global"), ALL);
    assert_eq!(held(&api)["services"], json!(["demo/a", "demo/b", "demo/c", "demo/d"]));
    let told_by = api.condition("global", "RemovalHeld").expect("the condition");
    let number = held(&api)["generation"].to_string();
    for words in ["True: 4 Services", "demo/a, demo/b, demo/c, 1 more", &format!("{ACCEPT}={number}")] {
        assert!(told_by.contains(words), "{words}: {told_by}");
    }
    assert_eq!(told(&api), 1, "{:#?}", api.events());
    assert_eq!(metric(&operator).await, "4");
    assert_eq!(api.get(QUERY)["status"]["endpoints"]["total"], 4);
    assert!(api.requests("patch", "deployments").is_empty());

    api.apply(store("e"));
    api.eventually(|| api.endpoints("global") == ["a", "b", "c", "d", "e"]).await;
    seconds(5).await;
    assert_eq!((told(&api), held(&api)["count"].clone()), (1, json!(4)));
}

#[tokio::test(start_paused = true)]
async fn a_script_that_takes_its_time_costs_no_endpoint_for_long() {
    let (api, _operator) = four_stores("").await;
    for name in ALL {
        strip(&api, &[name]);
        seconds(2).await;
    }
    assert_eq!(api.endpoints("global"), ALL);
    assert_eq!(held(&api)["count"], 4);
}

#[tokio::test(start_paused = true)]
async fn labels_that_come_back_end_it() {
    let (api, operator) = four_stores("").await;
    strip(&api, &ALL);
    api.eventually(|| held(&api)["count"] == 4).await;
    ALL.iter().for_each(|name| api.apply(store(name)));
    api.eventually(|| held(&api).is_null()).await;
    seconds(600).await;
    assert_eq!(api.endpoints("global"), ALL);
    assert_eq!(api.condition("global", "RemovalHeld"), None);
    assert_eq!(metric(&operator).await, "0");
}

#[tokio::test(start_paused = true)]
async fn at_rest_while_a_removal_is_held_nothing_is_read_or_written() {
    let (api, _operator) = four_stores("").await;
    strip(&api, &ALL);
    api.eventually(|| held(&api)["count"] == 4).await;
    seconds(10).await;
    api.forget_requests();
    seconds(120).await;
    assert!(api.writes().is_empty(), "{:?}", api.writes());
    assert!(api.requests("get", "").is_empty(), "{:?}", api.requests("get", ""));
    // A change of an endpoint is still one write and no read.
    api.apply(store("e"));
    api.eventually(|| api.endpoints("global").len() == 5).await;
    seconds(5).await;
    assert_eq!(api.object_writes(), [format!("patch {CONFIG_MAP}")]);
    assert!(api.requests("get", "").is_empty(), "{:?}", api.requests("get", ""));
}

#[tokio::test(start_paused = true)]
async fn when_the_time_is_over_they_go() {
    let (api, _operator) = four_stores("").await;
    strip(&api, &ALL);
    api.eventually(|| held(&api)["count"] == 4).await;
    seconds(290).await;
    assert_eq!(api.endpoints("global"), ALL);
    seconds(11).await;
    assert!(api.endpoints("global").is_empty());
    assert_eq!((held(&api), api.condition("global", "RemovalHeld")), (Value::Null, None));
    assert!(api.requests("get", "").is_empty(), "{:?}", api.requests("get", ""));
    seconds(600).await;
    assert!(api.endpoints("global").is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_annotation_with_its_number_lets_them_go_and_no_later_ones() {
    let (api, _operator) = four_stores("").await;
    strip(&api, &ALL);
    api.eventually(|| held(&api)["count"] == 4).await;
    seconds(2).await;
    let number = held(&api)["generation"].clone();
    accept(&api, &json!(number.as_i64().expect("a number") - 1));
    seconds(10).await;
    assert_eq!(api.endpoints("global"), ALL, "of another removal");
    accept(&api, &number);
    api.eventually(|| api.endpoints("global").is_empty() && held(&api).is_null()).await;

    // The annotation stays, as it does in Git.
    ALL.iter().for_each(|name| api.apply(store(name)));
    api.eventually(|| api.endpoints("global") == ALL).await;
    seconds(20).await;
    strip(&api, &ALL);
    seconds(20).await;
    assert_eq!(api.endpoints("global"), ALL);
    assert!(held(&api)["generation"].as_i64() > number.as_i64(), "{}", held(&api));
}

#[tokio::test(start_paused = true)]
async fn an_annotation_that_is_no_number_is_told() {
    let (api, _operator) = four_stores("").await;
    accept(&api, &json!("yes"));
    api.eventually(|| api.condition("global", "Invalid").is_some_and(|text| text.contains(ACCEPT))).await;
}

#[tokio::test(start_paused = true)]
async fn an_operator_that_starts_in_between_keeps_number_and_time() {
    let (api, operator) = four_stores("").await;
    strip(&api, &ALL);
    api.eventually(|| held(&api)["count"] == 4).await;
    seconds(100).await;
    let before = held(&api);
    operator.stop().await;
    api.forget_requests();
    seconds(60).await;
    let operator = api.operator().await;
    seconds(60).await;
    assert!(api.writes().is_empty(), "{:?}", api.writes());
    assert_eq!(
        (api.endpoints("global"), held(&api), told(&api)),
        (ALL.map(str::to_owned).to_vec(), before, 1)
    );
    assert_eq!(metric(&operator).await, "4");
    seconds(90).await;
    assert!(api.endpoints("global").is_empty());
}

#[tokio::test(start_paused = true)]
async fn services_that_vanish_while_the_operator_is_away_are_held_too() {
    let (api, operator) = four_stores("").await;
    operator.stop().await;
    ALL.iter().for_each(|name| api.delete(&format!("demo/services/{name}")));
    let _second = api.operator().await;
    api.eventually(|| held(&api)["count"] == 4).await;
    assert_eq!(api.endpoints("global"), ALL);
}

#[tokio::test(start_paused = true)]
async fn a_config_map_of_another_name_remembers_as_the_one_before() {
    let (api, operator) = four_stores("").await;
    strip(&api, &ALL);
    api.eventually(|| held(&api)["count"] == 4).await;
    let before = held(&api);
    operator.stop().await;
    api.edit(QUERY, |object| object["spec"]["serviceDiscovery"]["configMap"] = json!({"name": "mine"}));
    let _second = api.operator().await;
    api.eventually(|| api.has("demo/configmaps/mine")).await;
    seconds(10).await;
    assert_eq!(held(&api), before);
    let text = api.get("demo/configmaps/mine")["data"]["endpoints.json"].to_string();
    assert!(ALL.iter().all(|name| text.contains(&format!("{name}.demo.svc"))), "{text}");
}

#[tokio::test(start_paused = true)]
async fn an_edit_of_the_selector_is_meant() {
    let (api, _operator) = four_stores("").await;
    api.edit(QUERY, |object| {
        object["spec"]["customStoreLabelSelector"] = json!({"matchLabels": {"team": "none"}});
    });
    api.eventually(|| api.endpoints("global").is_empty()).await;
    seconds(10).await;
    assert!(held(&api).is_null(), "{}", held(&api));
}

#[tokio::test(start_paused = true)]
async fn an_edit_of_anything_else_releases_nothing() {
    let (api, _operator) = four_stores("").await;
    strip(&api, &ALL);
    api.eventually(|| held(&api)["count"] == 4).await;
    let before = held(&api);
    api.edit(QUERY, |object| object["spec"]["replicas"] = json!(3));
    api.eventually(|| api.get("demo/deployments/thanos-query-global")["spec"]["replicas"] == 3).await;
    seconds(10).await;
    assert_eq!((api.endpoints("global"), held(&api)), (ALL.map(str::to_owned).to_vec(), before));
}

#[tokio::test(start_paused = true)]
async fn another_port_or_type_is_no_removal() {
    let (api, _operator) = four_stores("").await;
    ALL.iter().for_each(|name| api.apply(store(name).replace("10901", "10902")));
    seconds(5).await;
    assert_eq!((api.endpoints("global"), held(&api)), (ALL.map(str::to_owned).to_vec(), Value::Null));
    ALL.iter().for_each(|name| api.apply(strict(name)));
    api.eventually(|| api.flags("global", "--endpoint-strict").len() == 4).await;
    strip(&api, &ALL);
    api.eventually(|| api.endpoints("global").is_empty()).await;
    assert!(held(&api).is_null(), "{}", held(&api));
}

#[tokio::test(start_paused = true)]
async fn consent_that_is_taken_back_is_no_mistake() {
    let api = FakeApi::new();
    api.apply(namespace("demo", "", ""));
    api.apply(namespace("other", "", "operator.thanos.io/allow-discovery-from: demo"));
    api.apply(query("global", "serviceDiscovery: {namespaceSelector: {matchNames: [other]}}"));
    ["a", "b"].iter().for_each(|name| api.apply(store_in("other", name)));
    let _operator = api.operator().await;
    api.eventually(|| api.endpoints("global") == ["a", "b"]).await;
    seconds(20).await;
    api.apply(namespace("other", "", "operator.thanos.io/allow-discovery-from: nobody"));
    api.eventually(|| api.endpoints("global").is_empty()).await;
    assert!(held(&api).is_null(), "{}", held(&api));
}

#[tokio::test(start_paused = true)]
async fn without_a_time_everything_goes_at_once() {
    let (api, _operator) = four_stores("serviceDiscovery: {removalGuard: {holdFor: 0s}}").await;
    strip(&api, &ALL);
    api.eventually(|| api.endpoints("global").is_empty()).await;
    assert!(held(&api).is_null(), "{}", held(&api));
}

#[tokio::test(start_paused = true)]
async fn endpoints_that_are_flags_are_held_as_long_as_the_operator_lives() {
    let (api, _operator) = FakeApi::at_rest("serviceDiscovery: {mode: Flags}").await;
    ALL[1..].iter().for_each(|name| api.apply(store(name)));
    api.eventually(|| api.flags("global", "--endpoint=").len() == 4).await;
    api.roll_out("thanos-query-global");
    seconds(20).await;
    strip(&api, &ALL);
    seconds(60).await;
    assert_eq!(api.flags("global", "--endpoint=").len(), 4);
    assert_eq!(held(&api)["count"], 4);
    accept(&api, &held(&api)["generation"]);
    api.eventually(|| api.flags("global", "--endpoint=").is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn a_config_map_from_before_gets_what_is_remembered_and_no_new_document() {
    let (api, operator) = four_stores("").await;
    operator.stop().await;
    let with_it = api.get(CONFIG_MAP)["data"].clone();
    api.edit(CONFIG_MAP, |object| {
        object["data"].as_object_mut().expect("a map").remove("services.json");
    });
    api.forget_requests();
    let _second = api.operator().await;
    seconds(60).await;
    assert_eq!(api.get(CONFIG_MAP)["data"], with_it);
    assert_eq!(api.writes().into_iter().collect::<Vec<_>>(), [(format!("patch {CONFIG_MAP}"), 1)]);
}

#[tokio::test(start_paused = true)]
async fn what_is_damaged_by_hand_costs_no_endpoint_and_is_written_anew() {
    let (api, operator) = four_stores("").await;
    strip(&api, &ALL);
    api.eventually(|| held(&api)["count"] == 4).await;
    seconds(5).await;
    let damage = || api.edit(CONFIG_MAP, |object| object["data"]["services.json"] = "{\"services\":[".into());
    let before = held(&api);
    damage();
    seconds(5).await;
    assert_eq!((api.endpoints("global"), held(&api)), (ALL.map(str::to_owned).to_vec(), before));
    ALL.iter().for_each(|name| api.apply(store(name)));
    api.eventually(|| known(&api) == ALL).await;
    operator.stop().await;
    damage();
    let _second = api.operator().await;
    api.eventually(|| known(&api) == ALL).await;
    assert_eq!(api.endpoints("global"), ALL);
}

#[tokio::test(start_paused = true)]
async fn a_hold_that_cannot_be_written_is_told_once() {
    let (api, _operator) = four_stores("").await;
    let fault = api.inject(&format!("patch {CONFIG_MAP}"), Fault::Code(500));
    strip(&api, &ALL);
    seconds(30).await;
    fault.lift();
    api.eventually(|| held(&api)["count"] == 4).await;
    seconds(100).await;
    assert_eq!((api.endpoints("global"), told(&api)), (ALL.map(str::to_owned).to_vec(), 1));
}

#[tokio::test(start_paused = true)]
async fn a_query_made_anew_under_the_same_name_is_not_told_of_removals_before_it() {
    let (api, _operator) = four_stores("").await;
    strip(&api, &ALL);
    api.eventually(|| held(&api)["count"] == 4).await;
    api.delete(QUERY);
    api.collect_garbage();
    api.apply(query("global", ""));
    seconds(10).await;
    assert!(held(&api).is_null() && api.endpoints("global").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_removal_is_told_only_when_a_new_start_would_know_its_number() {
    let (api, operator) = four_stores("").await;
    let pause = |millis| tokio::time::sleep(std::time::Duration::from_millis(millis));
    // The status was written half a second before the ConfigMap, so its next turn comes half a second earlier.
    api.roll_out_partly("thanos-query-global", false);
    pause(500).await;
    strip(&api, &ALL[..1]);
    api.eventually(|| known(&api) == ALL[1..]).await;
    strip(&api, &ALL[1..]);
    api.eventually(|| held(&api)["count"] == 4).await;
    let before = held(&api);
    operator.stop().await;
    let _operator = api.operator().await;
    seconds(20).await;
    assert_eq!(held(&api), before);
    assert_eq!(api.endpoints("global"), ALL);
}
