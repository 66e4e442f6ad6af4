//! Services of other namespaces: who chooses them, who allows it, and what the operator may read.

use crate::fake_api::{FakeApi, Fault, namespace, query, query_in, seconds, store, store_in};

const ALLOW: &str = "operator.thanos.io/allow-discovery-from";

fn choosing(selector: &str) -> String {
    query("global", &format!("serviceDiscovery: {{namespaceSelector: {{{selector}}}}}"))
}

fn allow(api: &FakeApi, path: &str, value: &str) {
    api.edit(path, |object| object["metadata"]["annotations"][ALLOW] = value.into());
}

fn rejected(api: &FakeApi) -> Vec<String> {
    let object = api.get("demo/thanosqueries/global");
    let all = object.pointer("/status/rejected").and_then(|all| all.as_array()).cloned().unwrap_or_default();
    all.iter().map(|own| format!("{}: {}", own["name"], own["reason"]).replace('"', "")).collect()
}

#[tokio::test(start_paused = true)]
async fn a_service_of_another_namespace_counts_while_it_is_chosen_and_allowed() {
    let api = FakeApi::new();
    api.apply(namespace("demo", "", ""));
    api.apply(namespace("other", "", ""));
    api.apply(choosing("matchNames: [demo, other]"));
    api.apply(store("a"));
    api.apply(store_in("other", "b"));
    let _operator = api.operator().await;
    api.eventually(|| api.endpoints("global") == ["a"]).await;
    api.eventually(|| rejected(&api) == ["b: NoConsent"]).await;

    allow(&api, "other/services/b", "elsewhere, demo");
    api.eventually(|| api.endpoints("global") == ["a", "b"]).await;
    api.eventually(|| rejected(&api).is_empty()).await;
    allow(&api, "other/services/b", "elsewhere");
    api.eventually(|| api.endpoints("global") == ["a"]).await;

    allow(&api, "/namespaces/other", "*");
    api.eventually(|| api.endpoints("global") == ["a", "b"]).await;
    api.apply(choosing("matchNames: [demo]"));
    api.eventually(|| api.endpoints("global") == ["a"]).await;
}

#[tokio::test(start_paused = true)]
async fn namespaces_that_get_or_lose_a_label_come_and_go_with_their_services() {
    let api = FakeApi::new();
    let open = format!("{ALLOW}: demo");
    api.apply(namespace("demo", "team: a", ""));
    api.apply(namespace("other", "", &open));
    api.apply(choosing("matchLabels: {team: a}"));
    for name in ["a", "c"] {
        api.apply(store(name));
    }
    api.apply(store_in("other", "b"));
    let _operator = api.operator().await;
    api.eventually(|| api.endpoints("global") == ["a", "c"]).await;
    api.edit("/namespaces/other", |object| object["metadata"]["labels"]["team"] = "a".into());
    api.eventually(|| api.endpoints("global") == ["a", "b", "c"]).await;
    api.edit("/namespaces/other", |object| object["metadata"]["labels"]["team"] = "b".into());
    api.eventually(|| api.endpoints("global") == ["a", "c"]).await;

    // A namespace that is made later.
    api.apply(namespace("late", "team: a", &open));
    api.apply(store_in("late", "d"));
    api.eventually(|| api.endpoints("global") == ["a", "c", "d"]).await;
    api.delete("late/services/d");
    api.delete("/namespaces/late");
    api.eventually(|| api.endpoints("global") == ["a", "c"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_change_in_a_namespace_wakes_only_those_who_look_at_it() {
    let api = FakeApi::new();
    api.apply(namespace("demo", "", ""));
    api.apply(namespace("other", "", "operator.thanos.io/allow-discovery-from: '*'"));
    api.apply(choosing("matchNames: [demo, other]"));
    api.apply(query("plain", ""));
    api.apply(query_in("other", "theirs", ""));
    api.apply(store("a"));
    let _operator = api.operator().await;
    api.eventually(|| api.endpoints("global") == ["a"] && api.endpoints("plain") == ["a"]).await;
    seconds(60).await;
    api.forget_requests();
    api.apply(store_in("other", "b"));
    api.eventually(|| api.endpoints("global") == ["a", "b"]).await;
    seconds(60).await;
    assert_eq!(
        api.object_writes(),
        [
            "patch demo/configmaps/thanos-query-global-endpoints",
            "patch other/configmaps/thanos-query-theirs-endpoints"
        ]
    );
    assert!(api.requests("", "thanos-query-plain").is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_more_than_the_operator_may_read_is_told_and_gets_the_rest() {
    let api = FakeApi::new();
    api.apply(choosing("any: true"));
    api.apply(store("a"));
    api.apply(store_in("other", "b"));
    let _operator = api.operator_in(&["demo"]).await;
    api.eventually(|| api.endpoints("global") == ["a"]).await;
    api.eventually(|| {
        let told = api.condition("global", "NamespacesOutOfReach").unwrap_or_default();
        told.contains("works in demo only") && told.contains("--watch-namespaces")
    })
    .await;
    seconds(30).await;
    let told = api.events().iter().filter(|event| event.starts_with("NamespacesOutOfReach")).count();
    assert_eq!(told, 1);
    assert!(api.requests("list", "namespaces").is_empty(), "whoever works in one has no use for the others");
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_may_not_be_listed_stalls_nobody() {
    let api = FakeApi::new();
    api.apply(choosing("matchNames: [demo, other]"));
    api.apply(query("plain", ""));
    api.apply(store("a"));
    let forbidden = api.inject("list other/services", Fault::Code(403));
    let blind = api.inject("list namespaces", Fault::Code(403));
    let _operator = api.operator_in(&["demo", "other"]).await;
    api.eventually(|| api.endpoints("plain") == ["a"] && api.endpoints("global") == ["a"]).await;
    api.eventually(|| {
        api.condition("global", "NamespacesOutOfReach").is_some_and(|told| told.contains("give it a Role"))
    })
    .await;
    assert_eq!(api.condition("plain", "NamespacesOutOfReach"), None);
    api.apply(store_in("other", "b"));
    allow(&api, "other/services/b", "demo");
    forbidden.lift();
    blind.lift();
    // The next try is some seconds away.
    seconds(30).await;
    assert_eq!(api.endpoints("global"), ["a", "b"]);
    assert_eq!(api.condition("global", "NamespacesOutOfReach"), None);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_before_the_lists_of_all_chosen_namespaces_are_complete() {
    let api = FakeApi::new();
    api.apply(namespace("other", "", "operator.thanos.io/allow-discovery-from: '*'"));
    api.apply(choosing("matchNames: [demo, other]"));
    api.apply(store("a"));
    api.apply(store_in("other", "b"));
    let slow = api.inject("list other/services", Fault::Hold);
    let _operator = api.operator_in(&["demo", "other"]).await;
    seconds(20).await;
    assert!(api.endpoints("global").is_empty() && api.object_writes().is_empty());
    slow.lift();
    api.eventually(|| api.endpoints("global") == ["a", "b"]).await;
}

#[tokio::test(start_paused = true)]
async fn two_queries_that_select_each_other_are_told_and_neither_asks_the_other() {
    let labels = "operator.thanos.io/store-api: 'true'";
    let labelled = |name: &str, spec: &str| {
        query(name, spec).replace("namespace: demo}", &format!("namespace: demo, labels: {{{labels}}}}}"))
    };
    let api = FakeApi::new();
    let no_leaf = "customStoreLabelSelector: {matchExpressions: \
                   [{key: operator.thanos.io/owner, operator: DoesNotExist}]}";
    api.apply(labelled("leaf", no_leaf));
    api.apply(labelled("global", ""));
    api.apply(store("a"));
    let _operator = api.operator().await;
    // A tree is fine.
    api.eventually(|| api.endpoints("global") == ["a", "dnssrv+_grpc"] && api.endpoints("leaf") == ["a"])
        .await;
    // A circle is not.
    api.apply(labelled("leaf", ""));
    api.eventually(|| api.endpoints("global") == ["a"] && api.endpoints("leaf") == ["a"]).await;
    api.eventually(|| rejected(&api) == ["thanos-query-leaf: QueryLoop"]).await;
    api.apply(labelled("leaf", no_leaf));
    api.eventually(|| api.endpoints("global") == ["a", "dnssrv+_grpc"]).await;
    assert_eq!(api.endpoints("leaf"), ["a"]);
}
