//! Pure: who owns which field of an object, as its `metadata.managedFields` tells.

use crds::names::{
    FIELD_MANAGER, UPSTREAM_MANAGERS,
    pod::{FRONTEND_CONTAINER, QUERY_CONTAINER},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry};
use serde_json::{Map, Value};

const APPLY: &str = "Apply";
const UPDATE: &str = "Update";

/// In a set of fields: the field itself is owned, besides what is below it.
const ITSELF: &str = ".";

/// What other controllers write although an update of the whole object may carry it: it is not taken over, else
/// our next apply would delete it.
const OF_CONTROLLERS: [&[&str]; 2] =
    [&["f:status"], &["f:metadata", "f:annotations", "f:deployment.kubernetes.io/revision"]];

/// The managed fields with which an object of thanos-community/thanos-operator becomes ours; none when there is
/// nothing to take over.
///
/// It updates whole objects, so every field is owned by its `Update`. Server-side apply deletes a field that we no
/// longer want only when nobody else owns it, so what it set and we do not set (an argument, a probe, an annotation)
/// would stay for ever. Its entries are therefore merged into our own, and our next apply deletes the rest. This is
/// what client-go does for objects of `kubectl apply`. Defaults that its entries own go as well and come back.
///
/// Entries of others stay, and of subresources, too. kubectl's annotation with the last applied configuration, which
/// it copies from the ThanosQuery, is taken over on purpose: it goes with our next apply.
///
/// `manager` is also what many other operators call themselves. So this is for the moment when an object is taken
/// over, or when [`writes_thanos`], not for every look at it.
pub fn taken_over(managed: &[ManagedFieldsEntry]) -> Option<Vec<ManagedFieldsEntry>> {
    let place = managed.iter().position(is_ours).or_else(|| managed.iter().position(is_upstream))?;
    if !managed.iter().any(is_upstream) {
        return None;
    }
    let mut fields = Map::new();
    for entry in managed.iter().filter(|entry| is_ours(entry)) {
        unite(&mut fields, fields_of(entry));
    }
    for entry in managed.iter().filter(|entry| is_upstream(entry)) {
        let mut theirs = fields_of(entry).clone();
        OF_CONTROLLERS.iter().for_each(|path| remove(&mut theirs, path));
        unite(&mut fields, &theirs);
    }
    let of_both = managed.iter().filter(|entry| is_ours(entry) || is_upstream(entry));
    let newest = of_both.max_by_key(|entry| time(entry))?;
    let merged = ManagedFieldsEntry {
        manager: Some(FIELD_MANAGER.to_owned()),
        operation: Some(APPLY.to_owned()),
        fields_v1: Some(FieldsV1(Value::Object(fields.clone()))),
        ..newest.clone()
    };
    let mut all = vec![];
    for (at, entry) in managed.iter().enumerate() {
        if at == place && !fields.is_empty() {
            all.push(merged.clone());
        } else if !is_ours(entry) && !is_upstream(entry) {
            all.push(entry.clone());
        }
    }
    // The API server does not act on an empty list: it would be sent again and again.
    Some(all).filter(|all| !all.is_empty())
}

/// Whether an entry that is named like one of upstream's is upstream's indeed: it decides what Thanos is run with.
pub fn writes_thanos(managed: &[ManagedFieldsEntry]) -> bool {
    let containers = [QUERY_CONTAINER, FRONTEND_CONTAINER].map(|name| format!("k:{{\"name\":\"{name}\"}}"));
    let writes = |entry: &ManagedFieldsEntry| {
        containers.iter().any(|container| {
            let path = ["spec", "template", "spec", "containers", container.as_str(), "args"];
            owns(entry, &path)
        })
    };
    managed.iter().filter(|entry| is_upstream(entry)).any(writes)
}

/// Who else than us owns the field at `path`, such as `["spec", "replicas"]`, or something below it; the one that
/// wrote last. What thanos-community/thanos-operator updated counts as ours.
///
/// An item of a list is written as in the API: `k:{"name":"thanos-query"}`.
pub fn other_owner<'a>(managed: &'a [ManagedFieldsEntry], path: &[&str]) -> Option<&'a ManagedFieldsEntry> {
    let others = managed.iter().filter(|entry| !is_ours(entry) && !is_upstream(entry));
    others.filter(|entry| owns(entry, path)).max_by_key(|entry| time(entry))
}

/// Name of the manager that wrote at or below `path` last and is not us; thanos-community/thanos-operator, which may
/// still be running, counts. None also when it deleted a field: that leaves no owner.
pub fn last_foreign_writer<'a>(managed: &'a [ManagedFieldsEntry], path: &[&str]) -> Option<&'a str> {
    let others = managed.iter().filter(|entry| !is_ours(entry) && owns(entry, path));
    others.max_by_key(|entry| time(entry)).and_then(|entry| entry.manager.as_deref())
}

/// Whether `entry` owns the field at `path`, something below it, or something above it that is one value.
pub fn owns(entry: &ManagedFieldsEntry, path: &[&str]) -> bool {
    let mut fields = fields_of(entry);
    if fields.is_empty() {
        return false;
    }
    for field in path {
        let below = if field.starts_with("k:") || field.starts_with("v:") {
            fields.get(*field)
        } else {
            fields.get(&format!("f:{field}"))
        };
        match below.and_then(Value::as_object) {
            // Without anything below it, this is one value, and the rest of the path is in it.
            Some(below) if below.is_empty() => return true,
            Some(below) => fields = below,
            None => return false,
        }
    }
    true
}

/// Our own entry of server-side apply.
fn is_ours(entry: &ManagedFieldsEntry) -> bool {
    entry.manager.as_deref() == Some(FIELD_MANAGER)
        && entry.operation.as_deref() == Some(APPLY)
        && is_whole(entry)
}

/// An entry of thanos-community/thanos-operator.
fn is_upstream(entry: &ManagedFieldsEntry) -> bool {
    entry.operation.as_deref() == Some(UPDATE)
        && is_whole(entry)
        && entry.manager.as_deref().is_some_and(|manager| UPSTREAM_MANAGERS.contains(&manager))
}

/// Not of a subresource.
fn is_whole(entry: &ManagedFieldsEntry) -> bool {
    entry.subresource.as_deref().is_none_or(str::is_empty)
}

fn time(entry: &ManagedFieldsEntry) -> Option<jiff::Timestamp> {
    entry.time.as_ref().map(|time| time.0)
}

fn fields_of(entry: &ManagedFieldsEntry) -> &Map<String, Value> {
    static NOTHING: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    entry.fields_v1.as_ref().and_then(|fields| fields.0.as_object()).unwrap_or_else(|| &NOTHING)
}

/// Adds the fields `more` to `fields`.
fn unite(fields: &mut Map<String, Value>, more: &Map<String, Value>) {
    for (key, more) in more {
        match (fields.get_mut(key), more.as_object()) {
            (Some(Value::Object(have)), Some(more)) => {
                // An empty set stands for the field itself, which must be said once there is something below it.
                if have.is_empty() != more.is_empty() {
                    have.insert(ITSELF.to_owned(), Value::Object(Map::new()));
                }
                unite(have, more);
            }
            _ => {
                fields.insert(key.clone(), more.clone());
            }
        }
    }
}

/// Removes the field at `path`, and what holds nothing else.
fn remove(fields: &mut Map<String, Value>, path: &[&str]) {
    let Some((first, rest)) = path.split_first() else { return };
    if rest.is_empty() {
        fields.remove(*first);
        return;
    }
    let Some(below) = fields.get_mut(*first).and_then(Value::as_object_mut) else { return };
    if below.is_empty() {
        return;
    }
    remove(below, rest);
    if below.is_empty() {
        fields.remove(*first);
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::json;

    use super::*;

    fn entry(
        manager: &str,
        operation: &str,
        subresource: Option<&str>,
        second: i64,
        fields: Value,
    ) -> ManagedFieldsEntry {
        ManagedFieldsEntry {
            api_version: Some("apps/v1".to_owned()),
            fields_type: Some("FieldsV1".to_owned()),
            fields_v1: Some(FieldsV1(fields)),
            manager: Some(manager.to_owned()),
            operation: Some(operation.to_owned()),
            subresource: subresource.map(str::to_owned),
            time: Some(Time(jiff::Timestamp::from_second(second).expect("a time"))),
        }
    }

    fn replicas() -> Value {
        json!({"f:spec": {"f:replicas": {}}})
    }

    #[test]
    fn who_decides_what_thanos_is_run_with_is_upstream_and_who_only_adds_to_the_pod_is_not() {
        let entry = |manager: &str, fields: Value| -> ManagedFieldsEntry {
            serde_json::from_value(
                serde_json::json!({"manager": manager, "operation": "Update", "fieldsType": "FieldsV1",
                "fieldsV1": {"f:spec": {"f:template": {"f:spec": {"f:containers": fields}}}}}),
            )
            .expect("an entry")
        };
        let args = serde_json::json!({"k:{\"name\":\"thanos-query\"}": {"f:args": {}}});
        let injected = serde_json::json!({"k:{\"name\":\"proxy\"}": {"f:args": {}}});
        assert!(writes_thanos(&[entry("manager", args.clone())]));
        assert!(!writes_thanos(&[entry("manager", injected)]));
        assert!(!writes_thanos(&[entry("argocd", args)]));
    }

    #[test]
    fn what_upstream_owned_becomes_ours_and_others_keep_theirs() {
        let scaled = entry("kube-controller-manager", UPDATE, Some("scale"), 5, replicas());
        let status =
            entry("manager", UPDATE, Some("status"), 6, json!({"f:status": {"f:observedGeneration": {}}}));
        let edited =
            entry("kubectl-edit", UPDATE, None, 7, json!({"f:metadata": {"f:labels": {"f:team": {}}}}));
        let upstream = entry(
            "manager",
            UPDATE,
            None,
            3,
            json!({"f:spec": {"f:replicas": {}, "f:template": {"f:spec": {"f:dnsPolicy": {}}}}}),
        );
        let all = taken_over(&[upstream, scaled.clone(), status.clone(), edited.clone()]).expect("work");
        let ours = entry(
            FIELD_MANAGER,
            APPLY,
            None,
            3,
            json!({"f:spec": {"f:replicas": {}, "f:template": {"f:spec": {"f:dnsPolicy": {}}}}}),
        );
        assert_eq!(all, [ours, scaled, status, edited]);
        assert_eq!(taken_over(&all), None, "once");
    }

    #[test]
    fn what_we_applied_before_stays_ours() {
        let ours = entry(
            FIELD_MANAGER,
            APPLY,
            None,
            9,
            json!({"f:metadata": {"f:annotations": {"f:deployment.kubernetes.io/revision": {}}}, "f:spec": {"f:selector": {}}}),
        );
        let by_hand = entry("thanos-operator", UPDATE, None, 4, replicas());
        let in_image = entry("manager", UPDATE, None, 3, json!({"f:spec": {"f:paused": {}}}));
        let all = taken_over(&[by_hand, ours, in_image]).expect("work");
        let merged = json!({
            "f:metadata": {"f:annotations": {"f:deployment.kubernetes.io/revision": {}}},
            "f:spec": {"f:selector": {}, "f:replicas": {}, "f:paused": {}},
        });
        assert_eq!(all, [entry(FIELD_MANAGER, APPLY, None, 9, merged)]);
    }

    #[test]
    fn what_controllers_write_is_not_taken_over() {
        let upstream = entry(
            "manager",
            UPDATE,
            None,
            1,
            json!({"f:status": {"f:replicas": {}}, "f:metadata": {"f:annotations": {
                ".": {}, "f:deployment.kubernetes.io/revision": {}, "f:kubectl.kubernetes.io/last-applied-configuration": {}}}}),
        );
        let all = taken_over(&[upstream]).expect("work");
        let left = json!({"f:metadata": {"f:annotations": {".": {}, "f:kubectl.kubernetes.io/last-applied-configuration": {}}}});
        assert_eq!(all[0].fields_v1, Some(FieldsV1(left)));
    }

    #[test]
    fn an_entry_without_anything_to_take_over_only_goes() {
        let upstream = entry("manager", UPDATE, None, 1, json!({"f:status": {"f:replicas": {}}}));
        let other = entry("kubectl", UPDATE, None, 1, replicas());
        assert_eq!(taken_over(&[upstream.clone(), other.clone()]), Some(vec![other]));
        assert_eq!(taken_over(&[upstream]), None, "an empty list would be sent again and again");
    }

    #[test]
    fn there_is_nothing_to_do_for_objects_that_upstream_never_wrote() {
        let ours = entry(FIELD_MANAGER, APPLY, None, 1, replicas());
        let scaled = entry("manager", UPDATE, Some("scale"), 1, replicas());
        for managed in [vec![], vec![ours.clone()], vec![ours, scaled]] {
            assert_eq!(taken_over(&managed), None, "{managed:?}");
        }
    }

    #[test]
    fn a_field_that_is_owned_with_and_without_something_below_stays_owned_itself() {
        let mut fields = json!({"f:resources": {}}).as_object().expect("a map").clone();
        unite(&mut fields, json!({"f:resources": {"f:limits": {}}}).as_object().expect("a map"));
        assert_eq!(Value::Object(fields), json!({"f:resources": {".": {}, "f:limits": {}}}));
        let mut fields = json!({"f:resources": {"f:limits": {}}}).as_object().expect("a map").clone();
        unite(&mut fields, json!({"f:resources": {}}).as_object().expect("a map"));
        assert_eq!(Value::Object(fields), json!({"f:resources": {".": {}, "f:limits": {}}}));
    }

    #[test]
    fn an_owner_owns_what_is_below_and_what_is_in_one_value() {
        let own = entry(
            "x",
            UPDATE,
            None,
            1,
            json!({"f:spec": {"f:selector": {}, "f:template": {"f:spec": {"f:containers": {
                "k:{\"name\":\"a\"}": {".": {}, "f:args": {}}}}}}}),
        );
        let containers = ["spec", "template", "spec", "containers"];
        assert!(owns(&own, &["spec", "template"]) && owns(&own, &containers) && owns(&own, &["spec"]));
        assert!(owns(&own, &["spec", "selector", "matchLabels"]));
        let args = |name| [&containers[..], &[name, "args"]].concat();
        assert!(owns(&own, &args("k:{\"name\":\"a\"}")) && !owns(&own, &args("k:{\"name\":\"b\"}")));
        assert!(!owns(&own, &["spec", "replicas"]) && !owns(&own, &["metadata"]));
        assert!(!owns(&entry("x", UPDATE, None, 1, json!({})), &["spec"]));
    }

    #[test]
    fn the_last_one_else_that_owns_a_field_is_found() {
        let managed = [
            entry(FIELD_MANAGER, APPLY, None, 9, replicas()),
            entry("manager", UPDATE, None, 8, replicas()),
            entry("argocd", APPLY, None, 2, replicas()),
            entry("kubectl", UPDATE, Some("scale"), 4, replicas()),
        ];
        let owner = other_owner(&managed, &["spec", "replicas"]).and_then(|entry| entry.manager.as_deref());
        assert_eq!(owner, Some("kubectl"));
        assert_eq!(other_owner(&managed[..2], &["spec", "replicas"]), None);
        assert_eq!(other_owner(&managed, &["spec", "template"]), None);
    }

    #[test]
    fn upstream_that_still_runs_is_named_as_the_writer() {
        let managed = [
            entry(FIELD_MANAGER, APPLY, None, 9, json!({"f:spec": {"f:template": {}}})),
            entry(
                "kubectl-edit",
                UPDATE,
                None,
                2,
                json!({"f:spec": {"f:template": {"f:spec": {"f:x": {}}}}}),
            ),
            entry("manager", UPDATE, None, 3, json!({"f:spec": {"f:template": {"f:spec": {"f:y": {}}}}})),
        ];
        assert_eq!(last_foreign_writer(&managed, &["spec", "template"]), Some("manager"));
        assert_eq!(last_foreign_writer(&managed[..1], &["spec", "template"]), None);
    }
}
