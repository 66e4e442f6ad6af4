//! Objects of ours that others touch, and objects of others that are in the way.

use serde_json::{Value, json};

use crate::fake_api::{FakeApi, Fault, query, seconds, store};

const DEPLOYMENT: &str = "demo/deployments/thanos-query-global";
const ROLE: &str = "demo/roles/thanos-query-global";
const SERVICE: &str = "demo/services/thanos-query-global";
const CONFIG_MAP: &str = "demo/configmaps/thanos-query-global-endpoints";
const BINDING: &str = "demo/rolebindings/thanos-query-global";
const ACCOUNT: &str = "demo/serviceaccounts/thanos-query-global";
const BUDGET: &str = "demo/poddisruptionbudgets/thanos-query-global";

#[tokio::test(start_paused = true)]
async fn every_owned_object_that_is_deleted_comes_back() {
    let (api, _operator) = FakeApi::at_rest("replicas: 2").await;
    for path in [DEPLOYMENT, ROLE, SERVICE, CONFIG_MAP, BINDING, ACCOUNT, BUDGET] {
        let before = api.get(path)["metadata"]["uid"].clone();
        assert!(before.is_string(), "{path} was not there");
        api.delete(path);
        api.eventually(|| api.has(path)).await;
        assert_ne!(api.get(path)["metadata"]["uid"], before);
    }
    assert_eq!(api.endpoints("global"), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn what_somebody_changes_in_our_fields_is_put_back() {
    let (api, _operator) = FakeApi::at_rest("replicas: 2").await;
    let args = "/spec/template/spec/containers/0/args/1";
    for (path, pointer, value) in [
        (DEPLOYMENT, args, json!("--log.level=debug")),
        (ROLE, "/rules/0/verbs", json!(["*"])),
        (SERVICE, "/spec/selector", json!({"app": "other"})),
        (CONFIG_MAP, "/data/endpoints.json", json!("{\"endpoints\":[]}")),
        (ACCOUNT, "/automountServiceAccountToken", json!(true)),
        (BUDGET, "/spec/maxUnavailable", json!(2)),
        (BINDING, "/metadata/labels/app.kubernetes.io~1managed-by", json!("somebody")),
    ] {
        let good = api.get(path).pointer(pointer).cloned();
        assert!(good.is_some(), "{path} has no {pointer}");
        api.edit(path, |object| *object.pointer_mut(pointer).expect("a field") = value);
        api.eventually(|| api.get(path).pointer(pointer) == good.as_ref()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_owner_reference_that_is_removed_is_put_back() {
    let (api, _operator) = FakeApi::at_rest("replicas: 2").await;
    let good = api.get(ROLE)["metadata"]["ownerReferences"].clone();
    api.edit(ROLE, |object| object["metadata"]["ownerReferences"] = json!([]));
    api.eventually(|| api.get(ROLE)["metadata"]["ownerReferences"] == good).await;
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_added_to_a_selector_is_taken_out() {
    let (api, _operator) = FakeApi::at_rest("replicas: 2").await;
    for (path, pointer) in [(SERVICE, "/spec/selector"), (BUDGET, "/spec/selector/matchLabels")] {
        let good = api.get(path).pointer(pointer).cloned();
        api.edit(path, |object| object.pointer_mut(pointer).expect("a selector")["app"] = json!("other"));
        api.eventually(|| api.get(path).pointer(pointer) == good.as_ref()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_others_add_to_our_objects_costs_no_write() {
    let (api, _operator) = FakeApi::at_rest("replicas: 2").await;
    api.edit(DEPLOYMENT, |object| object["metadata"]["annotations"]["hpa"] = json!("2"));
    api.edit(ROLE, |object| object["metadata"]["labels"]["extra"] = json!("x"));
    api.edit(CONFIG_MAP, |object| object["metadata"]["annotations"]["note"] = json!("x"));
    api.edit(SERVICE, |object| object["spec"]["trafficDistribution"] = json!("PreferClose"));
    seconds(60).await;
    assert!(!api.requests("get", "deployments").is_empty(), "nobody looked");
    assert!(api.writes().is_empty(), "{:?}", api.writes());
}

#[tokio::test(start_paused = true)]
async fn an_edit_is_put_back_also_when_the_first_look_fails() {
    let (api, _operator) = FakeApi::at_rest("replicas: 2").await;
    api.inject_once("get roles", Fault::Code(500));
    api.delete(ROLE);
    api.eventually(|| api.has(ROLE)).await;
}

#[tokio::test(start_paused = true)]
async fn a_deletion_before_the_first_list_of_owned_objects_is_noticed() {
    let api = FakeApi::new();
    api.apply(query("global", ""));
    let slow = api.inject("list roles", Fault::Hold);
    let _operator = api.operator().await;
    api.eventually(|| api.has(DEPLOYMENT)).await;
    api.delete(ROLE);
    seconds(5).await;
    slow.lift();
    api.eventually(|| api.has(ROLE)).await;
}

#[tokio::test(start_paused = true)]
async fn a_deletion_while_the_watch_of_owned_objects_is_broken_is_noticed() {
    let (api, _operator) = FakeApi::at_rest("replicas: 2").await;
    let broken = api.inject("watch roles", Fault::Code(500));
    api.cut_watches();
    seconds(3).await;
    api.delete(ROLE);
    api.compact();
    broken.lift();
    seconds(60).await;
    assert!(api.has(ROLE));
}

async fn foreign(object: &str, path: &str) {
    let api = FakeApi::new();
    api.apply(object);
    let theirs = api.get(path);
    api.apply(query("global", ""));
    api.apply(store("a"));
    let _operator = api.operator().await;
    let told = || api.condition("global", "ForeignObject").is_some_and(|text| text.starts_with("True"));
    api.eventually(told).await;
    api.apply(store("b"));
    seconds(60).await;
    assert!(api.requests("patch", path).is_empty() && api.requests("delete", path).is_empty());
    assert_eq!(api.get(path), theirs);

    // The remedy that the condition names works, without another push.
    api.delete(path);
    seconds(120).await;
    assert_ne!(api.get(path), Value::Null);
    assert!(api.has(DEPLOYMENT) && api.endpoints("global") == ["a", "b"]);
    assert_eq!(api.condition("global", "ForeignObject"), None);
}

#[tokio::test(start_paused = true)]
async fn a_config_map_of_somebody_else_is_reported_and_left_alone() {
    let object = "{apiVersion: v1, kind: ConfigMap, data: {their: own}, \
                  metadata: {name: thanos-query-global-endpoints, namespace: demo}}";
    foreign(object, CONFIG_MAP).await;
}

#[tokio::test(start_paused = true)]
async fn a_deployment_of_another_controller_is_reported_and_left_alone() {
    let object = "{apiVersion: apps/v1, kind: Deployment, spec: {}, metadata: {name: thanos-query-global, \
                  namespace: demo, ownerReferences: [{apiVersion: v1, kind: Release, name: r, uid: r, controller: true}]}}";
    foreign(object, DEPLOYMENT).await;
}

#[tokio::test(start_paused = true)]
async fn another_writer_that_reverts_us_is_answered_at_most_once_a_second() {
    let (api, _operator) = FakeApi::at_rest("replicas: 2").await;
    for _ in 0..200 {
        if api.get(DEPLOYMENT)["spec"]["replicas"] != 7 {
            api.edit(DEPLOYMENT, |object| object["spec"]["replicas"] = json!(7));
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let writes = api.requests("patch", "deployments").len();
    assert!((1..=11).contains(&writes), "{writes} writes in ten seconds");
}
