//! Objects of thanos-community/thanos-operator, other writers, and operators that are upgraded.

use operator::config::DefaultRollouts;
use serde_json::{Value, json};

use crate::fake_api::{FakeApi, query, seconds, store, strict};

const DEPLOYMENT: &str = "demo/deployments/thanos-query-global";
const QUERY: &str = "demo/thanosqueries/global";

/// What upstream makes for `global`, with an env of the user.
fn upstream(api: &FakeApi) {
    let uid = api.get(QUERY)["metadata"]["uid"].clone();
    let labels = json!({
        "app.kubernetes.io/name": "thanos-query", "app.kubernetes.io/component": "query-layer",
        "app.kubernetes.io/part-of": "thanos", "app.kubernetes.io/managed-by": "thanos-operator",
        "app.kubernetes.io/instance": "thanos-query-global", "operator.thanos.io/owner": "global",
        "operator.thanos.io/query-api": "true",
    });
    let container = json!({
        "name": "thanos-query", "image": "quay.io/thanos/thanos:v0.39.0",
        "args": ["query", "--endpoint=dnssrv+_grpc._tcp.a.demo.svc"],
        "env": [{"name": "FROM_USER", "value": "x"}],
    });
    let metadata = json!({
        "labels": labels,
        "ownerReferences": [{"apiVersion": "monitoring.thanos.io/v1alpha1", "kind": "ThanosQuery", "name": "global",
            "uid": uid, "controller": true, "blockOwnerDeletion": true}],
    });
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
        "spec": {"replicas": 1, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}}},
    });
    api.create_as("manager", DEPLOYMENT, deployment);
}

fn thanos(api: &FakeApi) -> Value {
    api.get(DEPLOYMENT)["spec"]["template"]["spec"]["containers"][0].clone()
}

#[tokio::test(start_paused = true)]
async fn what_upstream_made_is_taken_over_with_its_thanos_and_what_the_user_drops_goes() {
    let api = FakeApi::new();
    api.apply(query("global", "additionalEnv: [{name: FROM_USER, value: x}]"));
    api.apply(store("a"));
    upstream(&api);
    let uid = api.get(DEPLOYMENT)["metadata"]["uid"].clone();
    let _operator = api.operator().await;
    api.eventually(|| api.get(DEPLOYMENT)["spec"]["template"]["spec"]["initContainers"].is_array()).await;
    api.roll_out("thanos-query-global");
    seconds(10).await;
    assert_eq!(api.get(DEPLOYMENT)["metadata"]["uid"], uid);
    assert_eq!(thanos(&api)["image"], "quay.io/thanos/thanos:v0.39.0");
    assert!(!thanos(&api)["args"].to_string().contains("--endpoint="), "{}", thanos(&api)["args"]);
    let managed = api.get(DEPLOYMENT)["metadata"]["managedFields"].clone();
    assert!(!managed.to_string().contains("\"manager\":\"manager\""), "{managed}");
    assert_eq!(api.get(QUERY)["status"]["version"], "v0.39.0");

    api.apply(query("global", ""));
    api.eventually(|| thanos(&api).get("env").is_none_or(|env| !env.to_string().contains("FROM_USER"))).await;
    assert_eq!(thanos(&api)["image"], "quay.io/thanos/thanos:v0.39.0");
}

#[tokio::test(start_paused = true)]
async fn paused_with_the_annotation_this_operator_works() {
    let api = FakeApi::new();
    api.apply(query("global", "paused: true"));
    api.apply(store("a"));
    upstream(&api);
    let _operator = api.operator().await;
    seconds(30).await;
    assert!(api.object_writes().is_empty(), "{:?}", api.writes());
    api.edit(QUERY, |object| {
        object["metadata"]["annotations"]["operator.thanos.io/take-over"] = json!("true")
    });
    api.eventually(|| api.endpoints("global") == ["a"]).await;
    let paused = api.condition("global", "Paused").expect("Paused");
    assert!(paused.starts_with("True") && paused.contains("this operator works"), "{paused}");
}

#[tokio::test(start_paused = true)]
async fn conditions_of_upstream_go_and_a_status_that_upstream_takes_away_comes_back_without_a_race() {
    let api = FakeApi::new();
    api.apply(query("global", ""));
    api.edit_as(QUERY, "manager", Some("status"), |object| {
        object["status"] = json!({"conditions": [{"type": "ReconcileSuccess", "status": "True", "reason": "x",
            "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
    });
    let _operator = api.operator().await;
    api.eventually(|| api.condition("global", "Ready").is_some()).await;
    assert_eq!(api.condition("global", "ReconcileSuccess"), None);
    api.roll_out("thanos-query-global");
    seconds(60).await;
    api.forget_requests();
    for _ in 0..120 {
        if api.get(QUERY)["status"]["document"].is_object() {
            api.edit_as(QUERY, "manager", Some("status"), |object| {
                object["status"] = json!({"conditions": object["status"]["conditions"]});
            });
        }
        seconds(1).await;
    }
    let writes = api.requests("patch", "global/status").len();
    assert!((2..=5).contains(&writes), "{writes} writes in two minutes");
    seconds(60).await;
    assert!(api.get(QUERY)["status"]["document"].is_object());
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_reverts_the_template_meets_one_more_attempt_and_then_a_condition() {
    let api = FakeApi::new();
    api.apply(query("global", ""));
    api.apply(store("a"));
    let operator = api.operator().await;
    api.eventually(|| !api.flags("global", "--log.level").is_empty()).await;
    seconds(5).await;
    let revert = || {
        let is_ours = api.flags("global", "--log.level=info").len() == 1;
        if is_ours {
            api.edit_as(DEPLOYMENT, "argocd", None, |object| {
                object["spec"]["template"]["spec"]["containers"][0]["args"][1] = json!("--log.level=debug");
            });
        }
        is_ours
    };
    let mut reverts = 0;
    for _ in 0..600 {
        reverts += usize::from(revert());
        seconds(1).await;
    }
    assert_eq!(reverts, 2, "the first one is answered, the second is not");
    let told = api.condition("global", "ForeignWriter").expect("a condition");
    assert!(told.contains("argocd"), "{told}");
    assert!(api.condition("global", "Ready").is_some_and(|text| text.starts_with("False")));
    api.apply(store("b"));
    api.eventually(|| api.endpoints("global") == ["a", "b"]).await;
    assert_eq!(api.flags("global", "--log.level"), ["--log.level=debug"]);

    // Neither is a new start of the operator a reason to begin again.
    operator.stop().await;
    let _second = api.operator().await;
    seconds(60).await;
    assert_eq!(api.flags("global", "--log.level"), ["--log.level=debug"]);
    assert!(api.condition("global", "ForeignWriter").is_some());

    // Somebody says that it is worth another try.
    api.edit(QUERY, |object| object["metadata"]["annotations"] = json!({"try": "again"}));
    api.eventually(|| api.flags("global", "--log.level") == ["--log.level=info"]).await;
    api.eventually(|| api.condition("global", "ForeignWriter").is_none()).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_person_edits_now_and_then_is_put_back_each_time() {
    let api = FakeApi::new();
    api.apply(query("global", ""));
    let _operator = api.operator().await;
    api.eventually(|| !api.flags("global", "--log.level").is_empty()).await;
    for _ in 0..3 {
        api.edit_as(DEPLOYMENT, "kubectl-edit", None, |object| {
            object["spec"]["template"]["spec"]["containers"][0]["args"][1] = json!("--log.level=debug");
        });
        api.eventually(|| api.flags("global", "--log.level") == ["--log.level=info"]).await;
        seconds(3600).await;
    }
    assert_eq!(api.condition("global", "ForeignWriter"), None);
}

/// The agent's image of each of five ThanosQuery objects.
fn agents(api: &FakeApi) -> Vec<String> {
    let image = |number: usize| {
        let live = api.get(&format!("demo/deployments/thanos-query-q{number}"));
        live["spec"]["template"]["spec"]["initContainers"][0]["image"].as_str().unwrap_or_default().to_owned()
    };
    (0..5).map(image).collect()
}

async fn five() -> FakeApi {
    let api = FakeApi::new();
    for number in 0..5 {
        api.apply(query(&format!("q{number}"), "replicas: 2"));
    }
    api.apply(store("a"));
    let operator = api.operator().await;
    api.eventually(|| agents(&api).iter().all(|image| image == "sd-agent:1")).await;
    (0..5).for_each(|number| api.roll_out(&format!("thanos-query-q{number}")));
    seconds(10).await;
    operator.stop().await;
    api.forget_requests();
    api
}

#[tokio::test(start_paused = true)]
async fn an_upgraded_operator_rolls_its_defaults_out_one_query_at_a_time() {
    let api = five().await;
    let _operator = api.upgraded("sd-agent:2", DefaultRollouts::Paced).await;
    let new = || agents(&api).iter().filter(|image| *image == "sd-agent:2").count();
    for done in 1..=5 {
        api.eventually(|| new() == done).await;
        seconds(300).await;
        assert_eq!(new(), done, "the next one waits for the pods of this one");
        let waiting = (0..5)
            .filter(|number| api.condition(&format!("q{number}"), "DefaultsOutdated").is_some())
            .count();
        assert_eq!(waiting, 5 - done);
        let ready = |number: &usize| agents(&api)[*number] == "sd-agent:2";
        for number in (0..5).filter(ready) {
            api.roll_out(&format!("thanos-query-q{number}"));
        }
    }
    seconds(10).await;
    let writes = api.requests("patch", "deployments").len();
    assert_eq!(writes, 5);
}

#[tokio::test(start_paused = true)]
async fn a_rollout_that_an_earlier_process_began_keeps_its_turn() {
    let api = five().await;
    let second = api.upgraded("sd-agent:2", DefaultRollouts::Paced).await;
    let new = || agents(&api).iter().filter(|image| *image == "sd-agent:2").count();
    api.eventually(|| new() == 1).await;
    second.stop().await;
    let _third = api.upgraded("sd-agent:2", DefaultRollouts::Paced).await;
    seconds(300).await;
    assert_eq!(new(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_query_whose_own_rollout_is_stuck_holds_no_other_up() {
    let api = five().await;
    api.apply(query("q4", "replicas: 2, version: v0.41.9"));
    let first = api.operator().await;
    api.eventually(|| api.get("demo/deployments/thanos-query-q4")["metadata"]["generation"] == 2).await;
    first.stop().await;
    api.edit("demo/deployments/thanos-query-q4", |object| {
        object["status"]["conditions"] =
            json!([{"type": "Progressing", "status": "False", "message": "stuck"}]);
    });
    let _operator = api.upgraded("sd-agent:2", DefaultRollouts::Paced).await;
    let new = || agents(&api).iter().filter(|image| *image == "sd-agent:2").count();
    api.eventually(|| new() == 1).await;
    for done in 1..=4 {
        api.eventually(|| new() >= done).await;
        let ready: Vec<usize> = (0..4).filter(|number| agents(&api)[*number] == "sd-agent:2").collect();
        ready.iter().for_each(|number| api.roll_out(&format!("thanos-query-q{number}")));
    }
}

#[tokio::test(start_paused = true)]
async fn by_hand_defaults_wait_for_the_annotation_and_other_changes_do_not_bring_them() {
    let api = five().await;
    let _operator = api.upgraded("sd-agent:2", DefaultRollouts::Manual).await;
    let told = || api.condition("q3", "DefaultsOutdated").unwrap_or_default();
    api.eventually(|| told().contains("operator.thanos.io/accept-defaults=")).await;
    seconds(600).await;
    assert!(api.object_writes().is_empty(), "{:?}", api.writes());
    let ready = api.condition("q3", "Ready").expect("Ready");
    assert!(ready.starts_with("True"), "{ready}");

    // The number of pods is no reason to replace them.
    api.apply(query("q3", "replicas: 3"));
    api.eventually(|| api.get("demo/deployments/thanos-query-q3")["spec"]["replicas"] == 3).await;
    assert_eq!(agents(&api)[3], "sd-agent:1");
    let text = told();
    let hash = text.split("accept-defaults=").nth(1).and_then(|rest| rest.split_whitespace().next());
    let hash = hash.expect("a hash").to_owned();
    api.edit("demo/thanosqueries/q3", |object| {
        object["metadata"]["annotations"] = json!({"operator.thanos.io/accept-defaults": hash});
    });
    api.eventually(|| agents(&api)[3] == "sd-agent:2").await;
    seconds(60).await;
    assert_eq!(agents(&api).iter().filter(|image| *image == "sd-agent:2").count(), 1);
    assert_eq!(api.condition("q3", "DefaultsOutdated"), None);

    // Pods that are replaced anyway get them.
    api.apply(query("q1", "replicas: 2, logLevel: debug"));
    api.eventually(|| agents(&api)[1] == "sd-agent:2").await;
}

#[tokio::test(start_paused = true)]
async fn another_type_of_the_same_endpoint_is_a_change_by_endpoints_and_no_default_of_the_operator() {
    let group = |label: &str| {
        strict("b")
            .replace("operator.thanos.io/endpoint-strict", label)
            .replace("spec: {", "spec: {clusterIP: None, ")
    };
    let api = FakeApi::new();
    api.apply(query("global", ""));
    api.apply(group("operator.thanos.io/endpoint-group"));
    let _operator = api.upgraded("sd-agent:1", DefaultRollouts::Manual).await;
    api.eventually(|| api.flags("global", "--endpoint-group=").len() == 1).await;
    api.roll_out("thanos-query-global");
    api.apply(group("operator.thanos.io/endpoint-group-strict"));
    api.eventually(|| api.flags("global", "--endpoint-group-strict=").len() == 1).await;
    assert_eq!(api.condition("global", "DefaultsOutdated"), None);
}

#[tokio::test(start_paused = true)]
async fn one_annotation_accepts_the_defaults_of_queriers_and_frontend() {
    let api = FakeApi::new();
    api.apply(query("global", "queryFrontend: {}"));
    let operator = api.operator().await;
    api.eventually(|| api.has("demo/deployments/thanos-query-frontend-global") && api.has(DEPLOYMENT)).await;
    seconds(5).await;
    operator.stop().await;
    // As an operator with other defaults left both of them.
    for name in ["thanos-query-global", "thanos-query-frontend-global"] {
        api.roll_out(name);
        api.edit_as(&format!("demo/deployments/{name}"), "thanos-operator", None, |object| {
            object["metadata"]["annotations"]["operator.thanos.io/template-hash"] = json!("older");
            object["spec"]["template"]["spec"]["containers"][0]["terminationMessagePolicy"] = json!("File");
        });
    }
    let _operator = api.upgraded("sd-agent:1", DefaultRollouts::Manual).await;
    let told = || api.condition("global", "DefaultsOutdated").unwrap_or_default();
    api.eventually(|| told().contains("accept-defaults=")).await;
    let text = told();
    let value = text.split("accept-defaults=").nth(1).and_then(|rest| rest.split_whitespace().next());
    let value = value.expect("a value").to_owned();
    assert_eq!(value.split(',').count(), 2, "{text}");
    api.edit(QUERY, |object| {
        object["metadata"]["annotations"] = json!({"operator.thanos.io/accept-defaults": value});
    });
    api.eventually(|| api.condition("global", "DefaultsOutdated").is_none()).await;
    for name in ["thanos-query-global", "thanos-query-frontend-global"] {
        let live = api.get(&format!("demo/deployments/{name}"));
        let policy = &live["spec"]["template"]["spec"]["containers"][0]["terminationMessagePolicy"];
        assert_eq!(policy, "FallbackToLogsOnError", "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_version_of_a_query_that_names_none_does_not_move_with_the_operator() {
    let api = FakeApi::new();
    api.apply(query("global", ""));
    let _operator = api.operator().await;
    api.eventually(|| !api.flags("global", "query").is_empty()).await;
    api.edit_as(DEPLOYMENT, "thanos-operator", None, |object| {
        object["spec"]["template"]["spec"]["containers"][0]["image"] = json!("quay.io/thanos/thanos:v0.40.1");
    });
    seconds(30).await;
    assert_eq!(thanos(&api)["image"], "quay.io/thanos/thanos:v0.40.1");
    api.apply(query("global", "version: v0.42.4"));
    api.eventually(|| thanos(&api)["image"] == "quay.io/thanos/thanos:v0.42.4").await;
}
