//! The API server in memory itself: where it must be as a real one, or the other cases prove nothing.

use http::Request;
use serde_json::{Value, json};

use crate::fake_api::FakeApi;

const PATH: &str = "demo/deployments/d";
const URL: &str = "/apis/apps/v1/namespaces/demo/deployments/d";

/// Applies as the operator does, with what `spec` says.
fn apply_ours(api: &FakeApi, spec: &str) {
    let object = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: d, namespace: demo}, spec: ";
    api.apply_as("thanos-operator", format!("{object}{spec}}}"));
}

/// What `manager` owns; `Null` when it has no entry.
fn owned(api: &FakeApi, manager: &str, subresource: Option<&str>) -> Value {
    let object = api.get(PATH);
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let own = |entry: &&Value| entry["manager"] == manager && entry["subresource"].as_str() == subresource;
    entries.iter().find(own).map(|entry| entry["fieldsV1"].clone()).unwrap_or_default()
}

async fn patch(api: &FakeApi, url: &str, content_type: &str, body: Value) -> Result<Value, u16> {
    let request = Request::patch(format!("{url}?fieldManager=thanos-operator"))
        .header("content-type", content_type)
        .body(body.to_string().into_bytes())
        .expect("a request");
    api.client().request::<Value>(request).await.map_err(|error| match error {
        kube::Error::Api(status) => status.code,
        _ => 0,
    })
}

async fn merge_patch(api: &FakeApi, url: &str, merged: Value) -> Result<Value, u16> {
    patch(api, url, "application/merge-patch+json", merged).await
}

#[tokio::test(start_paused = true)]
async fn an_apply_owns_what_it_says_and_no_default() {
    let api = FakeApi::new();
    apply_ours(
        &api,
        "{selector: {matchLabels: {a: b}}, template: {spec: {containers: [{name: c, args: [x]}]}}}",
    );
    let expected = json!({"f:spec": {"f:selector": {}, "f:template": {"f:spec": {"f:containers": {
        "k:{\"name\":\"c\"}": {".": {}, "f:name": {}, "f:args": {}}}}}}});
    assert_eq!(owned(&api, "thanos-operator", None), expected);
    assert_eq!(api.get(PATH)["spec"]["replicas"], 1);
}

#[tokio::test(start_paused = true)]
async fn zeros_of_fields_that_are_no_pointers_are_not_stored_and_change_nothing() {
    let api = FakeApi::new();
    let spec = "{template: {spec: {hostNetwork: false, enableServiceLinks: false, containers: \
                [{name: c, tty: false, env: [{name: E, value: ''}]}]}}}";
    apply_ours(&api, spec);
    let before = api.get(PATH);
    let pod = &before["spec"]["template"]["spec"];
    assert_eq!((pod.get("hostNetwork"), pod["containers"][0].get("tty")), (None, None));
    assert_eq!(pod["containers"][0]["env"], json!([{"name": "E"}]));
    assert_eq!(pod["enableServiceLinks"], false);
    apply_ours(&api, spec);
    assert_eq!(api.get(PATH)["metadata"]["generation"], before["metadata"]["generation"]);
    assert!(::operator::apply::covers(&before["spec"], &serde_saphyr::from_str(spec).expect("YAML")));
}

#[tokio::test(start_paused = true)]
async fn an_apply_that_changes_nothing_makes_no_new_version() {
    let api = FakeApi::new();
    apply_ours(&api, "{replicas: 2}");
    let before = api.get(PATH);
    apply_ours(&api, "{replicas: 2}");
    assert_eq!(api.get(PATH), before);
}

#[tokio::test(start_paused = true)]
async fn a_field_that_its_only_owner_leaves_out_goes_or_gets_its_default() {
    let api = FakeApi::new();
    apply_ours(&api, "{replicas: 5, paused: true, template: {spec: {containers: [{name: c}, {name: e}]}}}");
    apply_ours(&api, "{template: {spec: {containers: [{name: c}]}}}");
    let spec = &api.get(PATH)["spec"];
    assert_eq!((&spec["replicas"], spec.get("paused")), (&json!(1), None));
    assert_eq!(spec["template"]["spec"]["containers"].as_array().map(Vec::len), Some(1));
}

#[tokio::test(start_paused = true)]
async fn who_scales_owns_the_number_and_keeps_it_when_we_leave_it_out() {
    let api = FakeApi::new();
    apply_ours(&api, "{replicas: 2, paused: true}");
    api.edit_as(PATH, "kube-controller-manager", Some("scale"), |object| {
        object["spec"]["replicas"] = json!(5)
    });
    assert_eq!(owned(&api, "thanos-operator", None), json!({"f:spec": {"f:paused": {}}}));
    let replicas = json!({"f:spec": {"f:replicas": {}}});
    assert_eq!(owned(&api, "kube-controller-manager", Some("scale")), replicas);
    apply_ours(&api, "{paused: true}");
    assert_eq!(api.get(PATH)["spec"]["replicas"], 5);

    // Taken back by force, the other has nothing left.
    apply_ours(&api, "{paused: true, replicas: 3}");
    assert_eq!(api.get(PATH)["spec"]["replicas"], 3);
    assert_eq!(owned(&api, "kube-controller-manager", Some("scale")), Value::Null);
}

#[tokio::test(start_paused = true)]
async fn who_wants_the_same_owns_it_too() {
    let api = FakeApi::new();
    apply_ours(&api, "{replicas: 2}");
    api.apply_as(
        "argocd",
        "{apiVersion: apps/v1, kind: Deployment, metadata: {name: d, namespace: demo}, spec: {replicas: 2}}",
    );
    apply_ours(&api, "{paused: true}");
    assert_eq!(api.get(PATH)["spec"]["replicas"], 2);
    assert_eq!(owned(&api, "thanos-operator", None), json!({"f:spec": {"f:paused": {}}}));
}

#[tokio::test(start_paused = true)]
async fn without_force_what_others_own_is_a_conflict() {
    let api = FakeApi::new();
    api.apply_as(
        "argocd",
        "{apiVersion: apps/v1, kind: Deployment, metadata: {name: d, namespace: demo}, spec: {replicas: 2}}",
    );
    let body = |replicas: i32| json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": replicas}});
    assert_eq!(patch(&api, URL, "application/apply-patch+yaml", body(3)).await, Err(409));
    assert!(patch(&api, URL, "application/apply-patch+yaml", body(2)).await.is_ok());
    assert_eq!(patch(&api, URL, "text/plain", body(2)).await, Err(415));
}

#[tokio::test(start_paused = true)]
async fn an_item_that_another_manager_added_stays_in_a_list_of_ours() {
    let api = FakeApi::new();
    let pod = |args: &str| format!("{{template: {{spec: {{containers: [{{name: c, args: [{args}]}}]}}}}}}");
    apply_ours(&api, &pod("x"));
    api.edit_as(PATH, "injector", None, |object| {
        let containers = object["spec"]["template"]["spec"]["containers"].as_array_mut().expect("a list");
        containers.push(json!({"name": "injected"}));
        containers[0]["env"] = json!([{"name": "E", "value": "1"}]);
    });
    apply_ours(&api, &pod("z"));
    let containers = &api.get(PATH)["spec"]["template"]["spec"]["containers"];
    assert_eq!((&containers[0]["args"], &containers[1]["name"]), (&json!(["z"]), &json!("injected")));
    assert_eq!(containers[0]["env"][0]["name"], "E");
    apply_ours(&api, "{paused: true}");
    let containers = &api.get(PATH)["spec"]["template"]["spec"]["containers"];
    assert_eq!(containers[0].get("args"), None);
    assert_eq!(containers[0]["env"][0]["name"], "E", "what another manager owns holds its container");
}

#[tokio::test(start_paused = true)]
async fn what_is_deleted_by_hand_is_nobodys() {
    let api = FakeApi::new();
    apply_ours(&api, "{paused: true, replicas: 2}");
    api.edit_as(PATH, "kubectl-edit", None, |object| {
        object["spec"].as_object_mut().expect("a map").remove("paused");
    });
    assert_eq!(owned(&api, "thanos-operator", None), json!({"f:spec": {"f:replicas": {}}}));
    assert_eq!(owned(&api, "kubectl-edit", None), Value::Null);
}

#[tokio::test(start_paused = true)]
async fn an_object_that_was_created_is_owned_with_its_defaults() {
    let api = FakeApi::new();
    let object =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {}, "spec": {"paused": true}});
    api.create_as("manager", PATH, object);
    let own = owned(&api, "manager", None);
    assert!(own["f:spec"]["f:paused"].is_object() && own["f:spec"]["f:replicas"].is_object(), "{own}");
}

#[tokio::test(start_paused = true)]
async fn what_upstream_set_and_we_do_not_goes_once_its_entry_is_ours() {
    let api = FakeApi::new();
    let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"annotations": {"theirs": "x"}},
        "spec": {"paused": true, "template": {"spec": {"containers": [{"name": "c", "args": ["x"], "stdin": true}]}}}});
    api.create_as("manager", PATH, object);
    api.edit_as(PATH, "kubectl-annotate", None, |object| {
        object["metadata"]["annotations"]["kept"] = json!("y")
    });
    let ours = "{template: {spec: {containers: [{name: c, args: [z]}]}}}";
    apply_ours(&api, ours);
    assert_eq!(api.get(PATH)["spec"]["paused"], true, "this is why its entry is taken over");

    let live = api.get(PATH);
    let managed =
        serde_json::from_value::<Vec<_>>(live["metadata"]["managedFields"].clone()).expect("entries");
    let managed = ::operator::managed_fields::taken_over(&managed).expect("something to take over");
    let version = &live["metadata"]["resourceVersion"];
    let merged = json!({"metadata": {"managedFields": managed, "resourceVersion": version}});
    assert!(merge_patch(&api, URL, merged.clone()).await.is_ok());
    assert_eq!(merge_patch(&api, URL, merged).await, Err(409), "somebody wrote meanwhile");
    assert_eq!(owned(&api, "manager", None), Value::Null);
    apply_ours(&api, ours);
    let object = api.get(PATH);
    assert_eq!(object["spec"].get("paused"), None);
    assert_eq!(object["spec"]["template"]["spec"]["containers"][0].get("stdin"), None);
    assert_eq!(object["metadata"]["annotations"], json!({"kept": "y"}));
}

#[tokio::test(start_paused = true)]
async fn a_merge_patch_takes_away_what_is_null_and_keeps_what_it_does_not_name() {
    let api = FakeApi::new();
    apply_ours(&api, "{paused: true, template: {spec: {containers: [{name: c, args: [x]}]}}}");
    api.edit(PATH, |object| object["metadata"]["annotations"] = json!({"a.b/c": "1", "d": "2"}));
    let live = api.get(PATH);
    let metadata = json!({"uid": live["metadata"]["uid"], "annotations": {"a.b/c": "3", "d": null}});
    let merged = json!({"metadata": metadata, "status": {"replicas": 7}});
    let patched = merge_patch(&api, URL, merged).await.expect("patched");
    assert_eq!(patched["metadata"]["annotations"], json!({"a.b/c": "3"}));
    assert_eq!(patched["spec"], live["spec"]);
    assert_eq!(patched.get("status"), None, "that is another subresource's");
    assert_ne!(patched["metadata"]["resourceVersion"], live["metadata"]["resourceVersion"]);
    for metadata in [json!({"resourceVersion": "0"}), json!({"uid": "0"})] {
        let merged = json!({"metadata": metadata, "spec": {"paused": false}});
        assert_eq!(merge_patch(&api, URL, merged).await, Err(409), "{metadata}");
    }
    assert_eq!(api.get(PATH), patched);
    let none = merge_patch(&api, "/apis/apps/v1/namespaces/demo/deployments/none", json!({})).await;
    assert_eq!(none, Err(404));
}

#[tokio::test(start_paused = true)]
async fn a_merge_patch_of_a_status_writes_nothing_else() {
    let api = FakeApi::new();
    apply_ours(&api, "{paused: true}");
    let merged = json!({"status": {"replicas": 7}, "spec": {"paused": null}});
    let patched = merge_patch(&api, &format!("{URL}/status"), merged).await.expect("patched");
    assert_eq!((&patched["status"]["replicas"], &patched["spec"]["paused"]), (&json!(7), &json!(true)));
    assert_eq!(patched["metadata"]["generation"], 1);
    let own = owned(&api, "thanos-operator", Some("status"));
    assert_eq!(own, json!({"f:status": {"f:replicas": {}}}));
}

#[tokio::test(start_paused = true)]
async fn a_list_may_be_selected_by_labels() {
    let api = FakeApi::new();
    for (kind, name, labels) in [
        ("HorizontalPodAutoscaler", "a", "{x: '1', y: '1'}"),
        ("HorizontalPodAutoscaler", "b", "{x: '2'}"),
        ("HorizontalPodAutoscaler", "c", "{}"),
        ("ServiceMonitor", "a", "{x: '1'}"),
    ] {
        let version = if kind == "ServiceMonitor" { "monitoring.coreos.com/v1" } else { "autoscaling/v2" };
        api.apply(format!(
            "{{apiVersion: {version}, kind: {kind}, metadata: {{name: {name}, namespace: demo, labels: {labels}}}}}"
        ));
    }
    assert!(api.has("demo/servicemonitors/a"));
    for (selector, expected) in [
        ("", "abc"),
        ("x%3D1", "a"),
        ("x%3D%3D2", "b"),
        ("x", "ab"),
        ("!x", "c"),
        ("x!%3D1", "bc"),
        ("x,!y", "b"),
        ("x+in+(1,2),y", "a"),
        ("x+notin+(1)", "bc"),
    ] {
        let url =
            format!("/apis/autoscaling/v2/namespaces/demo/horizontalpodautoscalers?labelSelector={selector}");
        let request = Request::get(url).body(vec![]).expect("a request");
        let list: Value = api.client().request(request).await.expect("a list");
        let names: String = list["items"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|item| item["metadata"]["name"].as_str())
            .collect();
        assert_eq!(names, expected, "{selector}");
    }
}
