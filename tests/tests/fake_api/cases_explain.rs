//! `thanos-operator explain` against the API server: what it reads, what it may not read, and its exit codes.

use clap::Parser;
use jiff::Timestamp;
use operator::{
    arguments::{Arguments, Command},
    explain::{ExplainError, Told, explain},
};
use serde_json::{Value, json};

use crate::fake_api::{FakeApi, Fault, bad_store, namespace, query, seconds, slice, store, store_in};

async fn ask(api: &FakeApi, words: &[&str]) -> Result<Told, ExplainError> {
    let all = ["thanos-operator", "explain", "global", "--namespace=demo", "--cluster-domain=cluster.local"];
    let all = all.iter().chain(words);
    let Command::Explain(arguments) = Arguments::try_parse_from(all).expect("arguments").command else {
        unreachable!("explain is asked for")
    };
    explain(&api.client(), &arguments, Timestamp::now()).await
}

async fn told(api: &FakeApi, words: &[&str]) -> (Value, bool) {
    let words: Vec<&str> = words.iter().copied().chain(["--output=json"]).collect();
    let told = ask(api, &words).await.expect("an answer");
    (serde_json::from_str(&told.text).expect("JSON"), told.needs_a_look)
}

/// Every Service as `namespace/name: verdict reason`.
fn services(explanation: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = explanation["services"].as_array().expect("a list").iter();
    all.map(|own| {
        let name = format!("{}/{}", text(&own["namespace"]), text(&own["name"]));
        format!("{name}: {} {}", text(&own["verdict"]), text(&own["reason"]["reason"])).trim_end().to_owned()
    })
    .collect()
}

fn unlabelled(name: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: {name}, namespace: demo}}, spec: {{ports: [{{name: grpc, port: 1}}]}}}}"
    )
}

fn behind(service: &str) -> String {
    slice(service, ["{addresses: [10.0.0.1]}".to_owned()])
}

/// A ThanosQuery with one store, all of it rolled out and well, one pod included. The operator is gone.
async fn all_is_well() -> FakeApi {
    let (api, operator) = FakeApi::at_rest("").await;
    api.apply(behind("a"));
    let deployment = api.get("demo/deployments/thanos-query-global");
    let template = &deployment["spec"]["template"];
    api.create_as(
        "kube-controller-manager",
        "demo/pods/global-0",
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "global-0", "namespace": "demo", "labels": template["metadata"]["labels"]},
            "spec": template["spec"],
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
        }),
    );
    api.edit("demo/thanosqueries/global", |object| {
        let conditions = object["status"]["conditions"].as_array_mut().expect("conditions");
        conditions.retain(|condition| condition["type"] != "EndpointsSynced");
    });
    let document = api.get("demo/thanosqueries/global")["status"]["document"].clone();
    let report = json!({
        "applied": {
            "generation": document["generation"], "sha256": document["sha256"], "endpoints": 1, "inFile": 1,
            "source": "api", "appliedAt": "2026-01-01T00:00:00Z",
        },
        "thanosVersion": "v0.42.4", "flagged": [], "api": {"up": true}, "mount": {"up": true}, "refused": null,
    });
    api.pod_answers("demo/global-0:10911/status", report.to_string());
    let listed = json!({
        "name": "a.demo.svc.cluster.local:10901", "lastCheck": "2026-01-01T00:00:00Z", "lastError": null,
        "labelSets": [{"store": "a"}], "minTime": 0, "maxTime": 1,
    });
    let listed = json!({"status": "success", "data": {"sidecar": [listed]}});
    api.pod_answers("demo/global-0:9090/api/v1/stores", listed.to_string());
    operator.stop().await;
    api
}

#[tokio::test(start_paused = true)]
async fn when_all_is_well_it_says_so_without_the_operator_and_writes_nothing() {
    let api = all_is_well().await;
    api.forget_requests();
    let (explanation, needs_a_look) = told(&api, &[]).await;
    assert_eq!(explanation["look"], json!([]));
    assert!(!needs_a_look && api.writes().is_empty());
    let own: Vec<String> =
        services(&explanation).into_iter().filter(|service| service.starts_with("demo/a")).collect();
    assert_eq!(own, ["demo/a: In"]);
    let pod = &explanation["pods"]["pods"][0];
    assert_eq!(pod["hasDocument"], true);
    assert_eq!(pod["stores"][0]["labelSets"], json!([{"store": "a"}]));
    let table = ask(&api, &[]).await.expect("an answer").text;
    assert!(table.contains("ALL IS WELL") && table.contains("1 healthy"), "{table}");
}

#[tokio::test(start_paused = true)]
async fn each_service_is_told_with_its_reason_also_those_without_labels_and_of_other_namespaces() {
    let api = FakeApi::new();
    api.apply(namespace("demo", "", ""));
    api.apply(namespace("other", "", ""));
    api.apply(namespace("far", "", ""));
    api.apply(query("global", "serviceDiscovery: {namespaceSelector: {matchNames: [demo, other]}}"));
    api.apply(store("a"));
    api.apply(bad_store("bad"));
    api.apply(unlabelled("plain"));
    api.apply(
        unlabelled("half")
            .replace("namespace: demo", "namespace: demo, labels: {operator.thanos.io/store-api: 'true'}"),
    );
    api.apply(store_in("other", "theirs"));
    api.apply(store_in("far", "away"));
    let expected = [
        "demo/bad: LeftOut NoPort",
        "demo/half: LeftOut MissingLabels",
        "other/theirs: LeftOut NoConsent",
        "demo/a: In",
        "far/away: NotSelected OtherNamespace",
        "demo/plain: Unlabelled MissingLabels",
    ];
    let (explanation, needs_a_look) = told(&api, &[]).await;
    assert_eq!(services(&explanation), expected);
    assert!(needs_a_look);
    let look = explanation["look"].to_string();
    assert!(look.contains("3 of the Services that look as if they should count are left out"), "{look}");
    assert!(look.contains("not written a status yet"), "{look}");

    let (explanation, _) = told(&api, &["--discovery-without-consent"]).await;
    assert!(services(&explanation).contains(&"other/theirs: In".to_owned()));
    let (explanation, _) = told(&api, &["--watch-namespaces=demo"]).await;
    assert!(!services(&explanation).iter().any(|service| service.starts_with("other/")));
    assert!(explanation["problems"].to_string().contains("--watch-namespaces"), "{explanation}");
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_read_is_told_and_the_rest_is_explained() {
    let api = FakeApi::new();
    api.apply(query("global", "serviceDiscovery: {namespaceSelector: {matchNames: [demo, other]}}"));
    api.apply(store("a"));
    for forbidden in ["list services", "list namespaces", "list other/services", "get demo/configmaps"] {
        // The first one is about all namespaces, so those of `demo` stay.
        match forbidden {
            "list services" => api.inject_once(forbidden, Fault::Code(403)),
            _ => drop(api.inject(forbidden, Fault::Code(403))),
        }
    }
    let (explanation, needs_a_look) = told(&api, &[]).await;
    assert_eq!(services(&explanation), ["demo/a: In"]);
    assert!(needs_a_look);
    let unread = explanation["unread"].as_array().expect("a list");
    let kinds: Vec<&str> = unread.iter().filter_map(|own| own["kind"].as_str()).collect();
    assert_eq!(kinds, ["Namespace", "Service", "ConfigMap"]);
    assert!(unread[1]["problem"].to_string().contains("get and list services in namespace other"));
    assert_eq!(explanation["services"][0]["endpoints"][0]["carrier"], "Unknown");
}

#[tokio::test(start_paused = true)]
async fn without_the_right_to_ask_pods_the_status_is_used_and_said_so() {
    let api = all_is_well().await;
    let _forbidden = api.inject("get /proxy", Fault::Code(403));
    let (explanation, needs_a_look) = told(&api, &[]).await;
    assert!(!needs_a_look, "{}", explanation["look"]);
    assert_eq!(explanation["pods"]["source"], "Status");
    assert_eq!(explanation["pods"]["missingRight"], "get pods/proxy in namespace demo");
    let table = ask(&api, &[]).await.expect("an answer").text;
    assert!(table.contains("you need the right to get pods/proxy in namespace demo"), "{table}");
}

#[tokio::test(start_paused = true)]
async fn pods_that_are_behind_or_silent_and_stores_that_thanos_misses_need_a_look() {
    let api = all_is_well().await;
    let report = api.get("demo/thanosqueries/global")["status"]["document"]["generation"].as_u64();
    let report = json!({
        "applied": {"generation": report.expect("a number") - 1, "sha256": "old", "endpoints": 0, "inFile": 0,
            "source": "mount", "appliedAt": "2026-01-01T00:00:00Z"},
        "thanosVersion": "v0.42.4", "flagged": [], "mount": {"up": true}, "refused": null,
        "api": {"up": false, "error": "\u{1b}]0;forbidden\u{7}"},
    });
    let working = api.clone();
    working.pod_answers("demo/global-0:10911/status", report.to_string());
    working.pod_answers("demo/global-0:9090/api/v1/stores", r#"{"data": {"store": "not a list"}}"#);
    let told_as_table = ask(&api, &[]).await.expect("an answer");
    assert!(told_as_table.needs_a_look);
    let table = told_as_table.text;
    for expected in ["lacks the current endpoints", "cannot read the API", "answered what was not expected"] {
        assert!(table.contains(expected), "{expected}: {table}");
    }
    assert!(!table.contains('\u{1b}') && !table.contains('\u{7}'), "{table:?}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_thanos_does_not_list_is_told() {
    let api = all_is_well().await;
    api.pod_answers("demo/global-0:9090/api/v1/stores", r#"{"status": "success", "data": {}}"#);
    let (explanation, needs_a_look) = told(&api, &[]).await;
    assert!(needs_a_look);
    assert_eq!(explanation["pods"]["pods"][0]["notListed"], json!(["a.demo.svc.cluster.local:10901"]));
}

#[tokio::test(start_paused = true)]
async fn what_the_operator_has_not_done_yet_is_told() {
    let api = all_is_well().await;
    api.apply(store("b"));
    api.apply(behind("b"));
    api.delete("demo/services/a");
    let (explanation, _) = told(&api, &[]).await;
    assert_eq!(explanation["services"][0]["endpoints"][0]["carrier"], "Nothing");
    assert_eq!(explanation["stillThere"][0]["address"], "a.demo.svc.cluster.local:10901");
    let look = explanation["look"].to_string();
    assert!(look.contains("demo/b") && look.contains("although nothing asks for it"), "{look}");

    let _operator = api.operator().await;
    api.eventually(|| api.endpoints("global") == ["a", "b"]).await;
    seconds(10).await;
    let (explanation, _) = told(&api, &[]).await;
    assert_eq!(explanation["services"][0]["endpoints"][0]["carrier"], "File");
    // It was the only one, so its removal is held.
    let why = explanation["stillThere"][0]["why"].to_string();
    assert!(why.contains("operator.thanos.io/accept-removal="), "{why}");
    seconds(300).await;
    let (explanation, _) = told(&api, &[]).await;
    assert_eq!(explanation["stillThere"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn a_query_that_is_not_there_or_cannot_be_read_is_an_error_that_says_what_to_do() {
    let api = FakeApi::new();
    api.apply(query("leaf", ""));
    let error = ask(&api, &[]).await.expect_err("not there").to_string();
    assert!(error.contains("no ThanosQuery demo/global; there is leaf"), "{error}");
    let forbidden = api.inject("get demo/thanosqueries", Fault::Code(403));
    let error = ask(&api, &[]).await.expect_err("forbidden").to_string();
    assert!(error.contains("the right to get thanosqueries in namespace demo"), "{error}");
    forbidden.lift();
    let held = api.inject("get demo/thanosqueries", Fault::Hold);
    let error = ask(&api, &[]).await.expect_err("no answer").to_string();
    assert!(error.contains("check KUBECONFIG and --context"), "{error}");
    held.lift();
    let _no_kind = api.inject("list demo/thanosqueries", Fault::Code(404));
    let error = ask(&api, &[]).await.expect_err("no kind").to_string();
    assert!(error.contains("manifests/crd.yaml"), "{error}");
    api.apply(query("global", "version: 42"));
    let error = ask(&api, &[]).await.expect_err("unreadable").to_string();
    assert!(error.contains("cannot be read") && error.contains("spec.version"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_spec_that_nothing_can_be_planned_for_says_why() {
    let api = FakeApi::new();
    api.apply(query("global", "version: v0.12.0"));
    api.apply(store("a"));
    let (explanation, needs_a_look) = told(&api, &[]).await;
    assert!(needs_a_look && explanation["refused"].to_string().contains("0.12"), "{explanation}");
    assert_eq!(services(&explanation), ["demo/a: In"]);
}
