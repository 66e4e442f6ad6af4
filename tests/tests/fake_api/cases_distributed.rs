//! A tree of queriers: in which order what is made, changed and deleted.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use clap::Parser;
use k8s_openapi::api::core::v1::ConfigMap;
use operator::{
    arguments::{Arguments, Command},
    explain::explain,
    plan::payload_of,
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::fake_api::{Agent, FakeApi, Running, query, seconds, store, store_in};

const QUERY: &str = "demo/thanosqueries/global";
const CONFIG_MAP: &str = "thanos-query-global-endpoints";
const DEPLOYMENT: &str = "thanos-query-global";
const TWO: &str = "distributed: {shards: 2, shardingLabels: [tenant]}";
const THREE: &str = "distributed: {shards: 3, shardingLabels: [tenant]}";
/// Longer than any step waits for the next.
const STEPS: u64 = 120;

/// What a cluster does besides: pods come up, and their agents bring the documents.
struct Kubelet {
    held: Arc<Mutex<BTreeSet<String>>>,
    task: JoinHandle<()>,
}

impl Kubelet {
    /// Works once a second.
    fn start(api: &FakeApi) -> Self {
        let held = Arc::<Mutex<BTreeSet<String>>>::default();
        let (api, holds) = (api.clone(), Arc::clone(&held));
        let task = tokio::spawn(async move {
            let mut agents: BTreeMap<String, Agent> = BTreeMap::new();
            loop {
                seconds(1).await;
                let names: BTreeSet<String> =
                    api.history("deployments").into_iter().map(|(_, name, _)| name).collect();
                for name in names {
                    let own = name.trim_start_matches("thanos-query-").to_owned();
                    let is_there = api.has(&format!("demo/deployments/{name}"));
                    if !is_there || holds.lock().expect("no panic").contains(&own) {
                        continue;
                    }
                    if !agents.contains_key(&own) {
                        let agent = Agent::start().await;
                        agent.pod_of(&own, &api, &format!("{name}-0"));
                        agents.insert(own.clone(), agent);
                    }
                    api.roll_out(&name);
                    agents[&own].applies_that_of(&own, &api);
                }
            }
        });
        Self { held, task }
    }

    /// The pods of these stay as they are.
    fn hold(&self, names: &[&str]) {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        *self.held.lock().expect("no panic") = names;
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a document names: the first part of each address, and the set instead of its shards.
fn over(config_map: &Value) -> String {
    let config_map: ConfigMap = serde_json::from_value(config_map.clone()).expect("a ConfigMap");
    let (_, document) = payload_of(&config_map).unpack().expect("a document");
    let of = |address: String| {
        let name = address.trim_start_matches("dnssrv+_grpc._tcp.");
        let name = name.split('.').next().unwrap_or_default().to_owned();
        set_of(name.trim_start_matches("thanos-query-")).unwrap_or(name)
    };
    let all: BTreeSet<String> = document.endpoints().iter().map(|own| of(own.file.to_string())).collect();
    all.into_iter().collect::<Vec<_>>().join("+")
}

/// The set that the shard `name` belongs to, without what stands for its labels.
fn set_of(name: &str) -> Option<String> {
    let rest = name.strip_prefix("global-s")?;
    rest.split_once('-').map(|(shards, _)| format!("s{shards}"))
}

/// Everything that matters for whether an answer is right, in its order.
fn story(api: &FakeApi) -> Vec<String> {
    let mut all: Vec<(u64, String)> = Vec::new();
    for (version, name, after) in api.history("configmaps") {
        if let (CONFIG_MAP, Some(config_map)) = (name.as_str(), after) {
            all.push((version, format!("document: {}", over(&config_map))));
        }
    }
    for (version, name, after) in api.history("deployments") {
        if let (DEPLOYMENT, Some(deployment)) = (name.as_str(), after) {
            let is_distributed = deployment.to_string().contains("--query.mode=distributed");
            all.push((version, format!("pods: {}", if is_distributed { "distributed" } else { "local" })));
        }
    }
    for (version, name, after) in api.history("thanosqueries") {
        if let Some(set) = set_of(&name) {
            all.push((version, format!("{set}: {}", if after.is_some() { "there" } else { "gone" })));
        }
    }
    all.sort();
    let mut last: BTreeMap<String, String> = BTreeMap::new();
    all.retain(|(_, text)| {
        let (what, how) = text.split_once(": ").expect("what: how");
        last.insert(what.to_owned(), how.to_owned()).as_deref() != Some(how)
    });
    all.into_iter().map(|(_, text)| text).collect()
}

/// The names of the shards that are there.
fn shards(api: &FakeApi) -> Vec<String> {
    let names: BTreeSet<String> = api.history("thanosqueries").into_iter().map(|(_, name, _)| name).collect();
    let is_there = |name: &String| set_of(name).is_some() && api.has(&format!("demo/thanosqueries/{name}"));
    names.into_iter().filter(is_there).collect()
}

fn is_ready(api: &FakeApi) -> bool {
    api.condition("global", "Ready").is_some_and(|text| text.starts_with("True"))
}

/// A tree at rest, with store `a`.
async fn tree(spec: &str) -> (FakeApi, Running, Kubelet) {
    let api = FakeApi::new();
    api.apply(query("global", spec));
    api.apply(store("a"));
    let kubelet = Kubelet::start(&api);
    let operator = api.operator().await;
    seconds(STEPS).await;
    assert!(is_ready(&api), "{:?}", api.condition("global", "Ready"));
    (api, operator, kubelet)
}

#[tokio::test(start_paused = true)]
async fn a_new_tree_has_shards_before_it_has_pods_and_is_ready_when_they_are() {
    let api = FakeApi::new();
    api.apply(query("global", TWO));
    api.apply(store("a"));
    let kubelet = Kubelet::start(&api);
    let _operator = api.operator().await;
    api.eventually(|| shards(&api).len() == 2).await;
    let names = shards(&api);
    kubelet.hold(&[&names[1]]);
    seconds(STEPS).await;
    assert!(!api.has(&format!("demo/deployments/{DEPLOYMENT}")), "half of the data is no answer");
    let told = api.condition("global", "Ready").expect("Ready");
    assert!(told.starts_with("False: shard") && told.contains(&names[1]), "{told}");
    kubelet.hold(&[]);
    seconds(STEPS).await;
    assert_eq!(story(&api), ["document: s2", "s2: there", "pods: distributed"]);
    assert!(is_ready(&api), "{:?}", api.condition("global", "Ready"));
    assert_eq!(api.flags("global", "--query.partition-label"), ["--query.partition-label=tenant"]);
    let told = api.get(QUERY)["status"]["shards"].clone();
    let wanted = |index: usize| json!({"name": names[index], "index": index, "endpoints": 1, "ready": true, "synced": true});
    assert_eq!(told, json!([wanted(0), wanted(1)]));
    for (index, name) in names.iter().enumerate() {
        assert_eq!(api.endpoints(name), ["a"]);
        let flag = api.flags(name, "--selector.relabel-config");
        assert!(flag.len() == 1 && flag[0].contains(&format!("\"regex\":\"{index}\"")), "{flag:?}");
        let shard = api.get(&format!("demo/thanosqueries/{name}"));
        assert_eq!(shard["metadata"]["ownerReferences"][0]["uid"], api.get(QUERY)["metadata"]["uid"]);
    }
}

#[tokio::test(start_paused = true)]
async fn at_rest_a_tree_writes_nothing_and_a_store_changes_shards_only_and_restarts_nobody() {
    let (api, _operator, _kubelet) = tree(TWO).await;
    api.forget_requests();
    seconds(600).await;
    assert!(api.object_writes().is_empty(), "{:?}", api.writes());
    api.apply(store("b"));
    seconds(30).await;
    let names = shards(&api);
    names.iter().for_each(|name| assert_eq!(api.endpoints(name), ["a", "b"]));
    let wanted: Vec<String> =
        names.iter().map(|name| format!("patch demo/configmaps/thanos-query-{name}-endpoints")).collect();
    assert_eq!(api.object_writes(), wanted);
    assert!(is_ready(&api));
    assert_eq!(api.get(QUERY)["status"]["shards"][1]["endpoints"], 2);
}

#[tokio::test(start_paused = true)]
async fn switched_on_for_pods_that_run_the_stores_stay_until_all_shards_are_ready() {
    let (api, _operator, kubelet) = tree("").await;
    api.apply(query("global", TWO));
    api.eventually(|| shards(&api).len() == 2).await;
    let names = shards(&api);
    kubelet.hold(&[&names[0]]);
    seconds(STEPS).await;
    api.apply(store("b"));
    seconds(10).await;
    assert_eq!(api.endpoints("global"), ["a", "b"], "the pods ask the stores themselves until then");
    assert!(!is_ready(&api));
    kubelet.hold(&[]);
    seconds(STEPS).await;
    let wanted =
        ["document: a", "pods: local", "s2: there", "document: a+b", "document: s2", "pods: distributed"];
    assert_eq!(story(&api), wanted);
    assert!(is_ready(&api), "{:?}", api.condition("global", "Ready"));
    assert_eq!(api.condition("global", "RemovalHeld"), None, "stores that shards have now are not missing");
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_does_not_have_the_document_yet_keeps_all_pods_from_sending_parts_of_queries() {
    let (api, _operator, kubelet) = tree("").await;
    kubelet.hold(&["global"]);
    api.apply(query("global", TWO));
    seconds(STEPS).await;
    assert_eq!(story(&api).last().map(String::as_str), Some("document: s2"));
    kubelet.hold(&[]);
    seconds(STEPS).await;
    assert_eq!(story(&api).last().map(String::as_str), Some("pods: distributed"));
}

#[tokio::test(start_paused = true)]
async fn another_number_of_shards_is_one_write_and_the_old_ones_go_when_nobody_asks_them() {
    let (api, _operator, kubelet) = tree(TWO).await;
    kubelet.hold(&["global"]);
    api.apply(query("global", THREE));
    seconds(STEPS).await;
    let before = ["document: s2", "s2: there", "pods: distributed", "s3: there", "document: s3"];
    assert_eq!(story(&api), before, "the pods may still have the old document");
    assert_eq!(shards(&api).len(), 5);
    kubelet.hold(&[]);
    seconds(STEPS).await;
    assert_eq!(story(&api)[5..], ["s2: gone"]);
    assert_eq!(shards(&api).len(), 3);
    assert!(is_ready(&api), "{:?}", api.condition("global", "Ready"));
    assert_eq!(api.get(QUERY)["status"]["shards"].as_array().map(Vec::len), Some(3));
}

#[tokio::test(start_paused = true)]
async fn other_labels_are_another_set_and_no_pod_sends_parts_of_queries_meanwhile() {
    let (api, _operator, _kubelet) = tree(TWO).await;
    api.apply(query("global", "distributed: {shards: 2, shardingLabels: [region]}"));
    seconds(2 * STEPS).await;
    let story = story(&api);
    let pods: Vec<&String> = story.iter().filter(|text| text.starts_with("pods")).collect();
    assert_eq!(pods, ["pods: distributed", "pods: local", "pods: distributed"], "{story:?}");
    assert_eq!(api.flags("global", "--query.partition-label"), ["--query.partition-label=region"]);
    assert_eq!(shards(&api).len(), 2);
    let written: Vec<String> = api
        .history("configmaps")
        .into_iter()
        .filter(|(_, name, after)| name == CONFIG_MAP && after.is_some())
        .map(|(_, _, after)| {
            after.expect("there")["metadata"]["annotations"]["operator.thanos.io/shard-set"].to_string()
        })
        .collect();
    let sets: BTreeSet<&String> = written.iter().collect();
    assert_eq!(sets.len(), 2, "{written:?}");
}

#[tokio::test(start_paused = true)]
async fn switched_off_the_pods_ask_for_series_first_then_the_stores_and_the_shards_go_last() {
    let (api, _operator, _kubelet) = tree(TWO).await;
    api.apply(query("global", ""));
    seconds(2 * STEPS).await;
    let wanted = ["document: s2", "s2: there", "pods: distributed", "pods: local", "document: a", "s2: gone"];
    assert_eq!(story(&api), wanted);
    assert!(api.flags("global", "--query.partition-label").is_empty());
    assert!(api.get(QUERY)["status"]["shards"].is_null(), "{}", api.get(QUERY)["status"]);
    assert!(is_ready(&api));
    assert_eq!(api.condition("global", "RemovalHeld"), None);
}

#[tokio::test(start_paused = true)]
async fn an_operator_that_starts_in_the_middle_goes_on_and_writes_nothing_twice() {
    let (api, operator, kubelet) = tree(TWO).await;
    kubelet.hold(&["global"]);
    api.apply(query("global", THREE));
    seconds(STEPS).await;
    operator.stop().await;
    let second = api.operator().await;
    seconds(STEPS).await;
    assert_eq!(shards(&api).len(), 5, "the pods may still have the old document");
    kubelet.hold(&[]);
    seconds(STEPS).await;
    assert_eq!(story(&api).last().map(String::as_str), Some("s2: gone"));
    api.apply(query("global", ""));
    api.eventually(|| story(&api).last().is_some_and(|last| last == "pods: local")).await;
    second.stop().await;
    let _third = api.operator().await;
    seconds(2 * STEPS).await;
    let wanted = ["s2: gone", "pods: local", "document: a", "s3: gone"];
    let story = story(&api);
    assert_eq!(story[story.len() - 4..], wanted, "{story:?}");
}

#[tokio::test(start_paused = true)]
async fn the_root_is_upgraded_before_its_shards() {
    let version = |version: &str| format!("version: {version}, {TWO}");
    let (api, _operator, kubelet) = tree(&version("v0.37.2")).await;
    assert!(api.condition("global", "Remarks").is_some_and(|text| text.contains("from v0.40.0")));
    kubelet.hold(&["global"]);
    api.apply(query("global", &version("v0.42.4")));
    let image = |name: &str| {
        let live = api.get(&format!("demo/deployments/thanos-query-{name}"));
        live["spec"]["template"]["spec"]["containers"][0]["image"].to_string()
    };
    api.eventually(|| image("global").contains("v0.42.4")).await;
    api.roll_out_partly(DEPLOYMENT, false);
    seconds(STEPS).await;
    let names = shards(&api);
    assert!(names.iter().all(|name| image(name).contains("v0.37.2")));
    kubelet.hold(&[]);
    seconds(STEPS).await;
    assert!(names.iter().all(|name| image(name).contains("v0.42.4")));
    assert_eq!(shards(&api), names, "the same shards");
    assert!(is_ready(&api), "{:?}", api.condition("global", "Ready"));
    assert_eq!(api.condition("global", "Remarks"), None);
    assert_eq!(story(&api), ["document: s2", "s2: there", "pods: local", "pods: distributed"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_person_changes_or_deletes_of_a_shard_is_put_back() {
    let (api, _operator, _kubelet) = tree(TWO).await;
    let name = shards(&api).remove(1);
    let path = format!("demo/thanosqueries/{name}");
    api.edit(&path, |object| object["spec"]["additionalArgs"] = json!([]));
    api.eventually(|| api.flags(&name, "--selector.relabel-config").len() == 1).await;
    seconds(10).await;
    assert_eq!(api.get(&path)["spec"]["additionalArgs"].as_array().map(Vec::len), Some(1));
    api.delete(&path);
    api.eventually(|| api.has(&path)).await;
}

#[tokio::test(start_paused = true)]
async fn an_object_of_somebody_else_in_the_place_of_a_shard_is_left_and_told() {
    let api = FakeApi::new();
    let distributed = crds::distributed::Distributed {
        shards: 2,
        replicas_per_shard: 1,
        sharding_labels: vec!["tenant".into()],
    };
    let name = operator::plan::ShardSet::of(&distributed).shard_name("global", 1);
    api.apply(query(&name, "replicas: 7"));
    api.apply(query("global", TWO));
    let _kubelet = Kubelet::start(&api);
    let _operator = api.operator().await;
    seconds(STEPS).await;
    assert_eq!(api.get(&format!("demo/thanosqueries/{name}"))["spec"]["replicas"], 7);
    let told = api.condition("global", "ForeignObject").expect("told");
    assert!(told.contains(&format!("ThanosQuery demo/{name} is left alone")), "{told}");
    assert!(!is_ready(&api) && !api.has(&format!("demo/deployments/{DEPLOYMENT}")));
}

#[tokio::test(start_paused = true)]
async fn paused_a_tree_changes_nothing_in_its_shards_either() {
    let (api, _operator, _kubelet) = tree(TWO).await;
    let names = shards(&api);
    api.apply(query("global", &format!("paused: true, {TWO}")));
    let is =
        |name: &str, word: &str| api.condition(name, "Paused").is_some_and(|text| text.starts_with(word));
    api.eventually(|| names.iter().all(|name| is(name, "True"))).await;
    api.forget_requests();
    api.apply(store("b"));
    api.delete(&format!("demo/services/thanos-query-{}", names[0]));
    seconds(60).await;
    assert!(api.object_writes().is_empty(), "{:?}", api.writes());
    api.apply(query("global", TWO));
    api.eventually(|| names.iter().all(|name| api.endpoints(name) == ["a", "b"])).await;
    api.eventually(|| api.has(&format!("demo/services/thanos-query-{}", names[0]))).await;
    api.eventually(|| names.iter().all(|name| is(name, "False"))).await;
}

#[tokio::test(start_paused = true)]
async fn a_tree_that_is_deleted_leaves_nothing() {
    let (api, _operator, _kubelet) = tree(TWO).await;
    api.delete(QUERY);
    for _ in 0..3 {
        api.collect_garbage();
        seconds(5).await;
    }
    assert!(shards(&api).is_empty());
    assert!(!api.has(&format!("demo/configmaps/{CONFIG_MAP}")));
}

#[tokio::test(start_paused = true)]
async fn a_root_that_others_query_is_no_store_of_its_shards_and_they_are_nobodys() {
    let api = FakeApi::new();
    let labels = "labels: {operator.thanos.io/store-api: 'true'}";
    api.apply(query("global", &format!("{TWO}, {labels}")));
    api.apply(query("above", ""));
    api.apply(store("a"));
    let _kubelet = Kubelet::start(&api);
    let _operator = api.operator().await;
    seconds(STEPS).await;
    let service = api.get("demo/services/thanos-query-global")["metadata"]["labels"].clone();
    assert_eq!(service["operator.thanos.io/store-api"], "true");
    for name in shards(&api) {
        assert_eq!(api.endpoints(&name), ["a"]);
        let service = api.get(&format!("demo/services/thanos-query-{name}"))["metadata"]["labels"].clone();
        assert!(service.get("operator.thanos.io/store-api").is_none(), "{service}");
        assert_eq!(service["operator.thanos.io/shard-of"], "global");
    }
    let above = api.get("demo/configmaps/thanos-query-above-endpoints");
    assert_eq!(over(&above), "a+thanos-query-global", "the tree as a whole");
}

#[tokio::test(start_paused = true)]
async fn a_circle_through_the_root_is_seen_by_its_shards() {
    let api = FakeApi::new();
    let labels = "labels: {operator.thanos.io/store-api: 'true'}";
    api.apply(query("global", &format!("{TWO}, {labels}")));
    api.apply(query("other", labels));
    api.apply(store("a"));
    let _kubelet = Kubelet::start(&api);
    let _operator = api.operator().await;
    seconds(STEPS).await;
    shards(&api).iter().for_each(|name| assert_eq!(api.endpoints(name), ["a"]));
    let told = api.condition("global", "ShardWarnings").expect("told at the root");
    assert!(told.contains("ServicesRejected") && told.contains("and 1 more"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_removal_that_is_accepted_at_the_root_is_carried_out_by_every_shard() {
    let (api, _operator, _kubelet) = tree(TWO).await;
    ["b", "c", "d"].iter().for_each(|name| api.apply(store(name)));
    seconds(30).await;
    ["a", "b", "c", "d"].iter().for_each(|name| {
        api.edit(&format!("demo/services/{name}"), |object| object["metadata"]["labels"] = json!({}));
    });
    let held = |name: &str| api.get(&format!("demo/thanosqueries/{name}"))["status"]["heldRemoval"].clone();
    let names = shards(&api);
    api.eventually(|| names.iter().all(|name| held(name)["count"] == 4)).await;
    api.eventually(|| {
        api.condition("global", "ShardWarnings").is_some_and(|text| text.contains("RemovalHeld"))
    })
    .await;
    let number = held(&names[1])["generation"].to_string();
    api.edit(QUERY, |object| {
        object["metadata"]["annotations"]["operator.thanos.io/accept-removal"] = json!(number);
    });
    api.eventually(|| names.iter().all(|name| api.endpoints(name).is_empty())).await;
    api.eventually(|| api.condition("global", "ShardWarnings").is_none()).await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_done_is_told_by_field_and_what_ran_goes_on() {
    let (api, _operator, _kubelet) = tree("").await;
    api.apply(query("global", &format!("{TWO}, replicaLabels: [tenant]")));
    api.eventually(|| api.condition("global", "Invalid").is_some_and(|text| text.contains("shardingLabels")))
        .await;
    seconds(30).await;
    assert!(shards(&api).is_empty());
    assert_eq!(story(&api), ["document: a", "pods: local"]);
}

#[tokio::test(start_paused = true)]
async fn explain_sends_who_asks_about_a_root_to_its_shards_and_tells_of_stores_there() {
    let (api, _operator, _kubelet) = tree(TWO).await;
    let explained = async |name: &str| -> Value {
        let all = ["thanos-operator", "explain", name, "--namespace=demo", "--output=json"];
        let Command::Explain(arguments) = Arguments::try_parse_from(all).expect("arguments").command else {
            unreachable!("explain is asked for")
        };
        let told = explain(&api.client(), &arguments, jiff::Timestamp::now()).await.expect("an answer");
        serde_json::from_str(&told.text).expect("JSON")
    };
    let root = explained("global").await;
    assert_eq!((&root["services"], &root["stillThere"]), (&json!([]), &json!([])));
    assert!(
        root["remarks"].to_string().contains("operator.thanos.io/shard-of=global"),
        "{}",
        root["remarks"]
    );
    let shard = explained(&shards(&api)[0]).await;
    let store = shard["services"].as_array().expect("a list").iter().find(|own| own["name"] == "a");
    assert_eq!(store.expect("the store")["verdict"], "In");
}

#[tokio::test(start_paused = true)]
async fn a_frontend_does_not_take_a_shard_for_queriers() {
    let (api, _operator, _kubelet) = tree(TWO).await;
    api.apply(store_in("demo", "b"));
    let selector = "queryFrontend: {queryLabelSelector: {matchExpressions: [{key: operator.thanos.io/owner, operator: NotIn, values: [other]}]}}";
    api.apply(query("other", selector));
    api.eventually(|| {
        let flags = api.get("demo/deployments/thanos-query-frontend-other").to_string();
        flags.contains("thanos-query-global.demo")
    })
    .await;
    assert_eq!(api.condition("other", "QueryServiceMissing"), None);
}
