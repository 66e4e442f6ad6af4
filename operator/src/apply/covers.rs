//! Pure: is what we want there already? A no-op server-side apply still counts as a write, so nothing is applied
//! that is there.
//!
//! Users may write most fields of a pod. So this follows the API types (`+listMapKey`, `+structType=atomic`, and what
//! is a pointer in them), not only the fields that the operator sets itself.

use serde_json::{Map, Value};

use super::quantity;

/// Whether everything in `desired` is in `live`. The API server adds defaults and other managers add fields, so
/// `live` may hold more; quantities count by their value, not by their spelling; zero values that the API server
/// drops count as there.
///
/// The order of what is told apart by a key (variables, init containers) is not looked at, although it has a meaning:
/// others may have put theirs in between. When we want another order, the hash of what was applied differs.
pub fn covers(live: &Value, desired: &Value) -> bool {
    covers_at(live, desired, Place::Fields)
}

/// What a value is, as far as comparing goes.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// An object with fields of its type, or a plain value.
    Fields,
    /// A map whose keys users choose: nothing in it has a default, and an empty text is a value.
    Map,
    /// A map of quantities.
    Quantities,
    /// One quantity.
    Quantity,
}

/// Maps whose keys users choose.
const MAPS: [&str; 9] = [
    "labels",
    "annotations",
    "matchLabels",
    "nodeSelector",
    "data",
    "binaryData",
    "stringData",
    "volumeAttributes",
    "options",
];
const QUANTITY_MAPS: [&str; 5] = ["requests", "limits", "overhead", "capacity", "hard"];
const QUANTITIES: [&str; 2] = ["sizeLimit", "divisor"];

/// One value to the API server, although a map: one more label in it selects other pods or nodes, and an apply
/// replaces it as a whole.
const ATOMIC: [&str; 5] = ["selector", "labelSelector", "namespaceSelector", "podSelector", "nodeSelector"];

/// Fields where nothing and an empty object differ. Elsewhere an empty object only says that all is as by default.
const MEANT_EMPTY: [&str; 8] = [
    "emptyDir",
    "downwardAPI",
    "projected",
    "image",
    "selector",
    "labelSelector",
    "namespaceSelector",
    "podSelector",
];

/// Fields that are pointers in the API types: `false`, `0` or an empty text is kept, and differs from nothing. A name
/// that is a pointer in one type and none in another (`readOnly`, `fsType`, `value`) is not here: nothing and zero
/// mean the same in each of them.
const POINTERS: [&str; 45] = [
    "activeDeadlineSeconds",
    "allocateLoadBalancerNodePorts",
    "allowPrivilegeEscalation",
    "apiGroup",
    "appProtocol",
    "automountServiceAccountToken",
    "blockOwnerDeletion",
    "controller",
    "defaultMode",
    "enableServiceLinks",
    "expirationSeconds",
    "fsGroup",
    "gmsaCredentialSpec",
    "gmsaCredentialSpecName",
    "hostProcess",
    "hostUsers",
    "hostnameOverride",
    "immutable",
    "loadBalancerClass",
    "localhostProfile",
    "lun",
    "maxSurge",
    "maxUnavailable",
    "minAvailable",
    "minDomains",
    "mode",
    "optional",
    "priority",
    "privileged",
    "progressDeadlineSeconds",
    "readOnlyRootFilesystem",
    "replicas",
    "resourceClaimName",
    "revisionHistoryLimit",
    "runAsGroup",
    "runAsNonRoot",
    "runAsUser",
    "runAsUserName",
    "runtimeClassName",
    "setHostnameAsFQDN",
    "shareProcessNamespace",
    "storageClassName",
    "terminationGracePeriodSeconds",
    "tolerationSeconds",
    "volumeAttributesClassName",
];

/// Fields that are no pointers and have a default: whoever writes zero gets it.
const DEFAULTS: [(&str, &[&str]); 14] = [
    ("periodSeconds", &["10"]),
    ("timeoutSeconds", &["1"]),
    ("successThreshold", &["1"]),
    ("failureThreshold", &["3"]),
    ("protocol", &["TCP"]),
    ("terminationMessagePath", &["/dev/termination-log"]),
    ("terminationMessagePolicy", &["File"]),
    // By the tag of the image.
    ("imagePullPolicy", &["Always", "IfNotPresent"]),
    ("restartPolicy", &["Always"]),
    ("dnsPolicy", &["ClusterFirst"]),
    ("schedulerName", &["default-scheduler"]),
    ("scheme", &["HTTP"]),
    ("apiVersion", &["v1"]),
    ("sessionAffinity", &["None"]),
];

fn covers_at(live: &Value, desired: &Value, place: Place) -> bool {
    match (live, desired) {
        (Value::Object(live), Value::Object(desired)) => {
            desired.iter().all(|(key, wanted)| covers_field(live, key, wanted, place))
        }
        (Value::Array(live), Value::Array(desired)) => is_same_list(live, desired),
        (live, desired) if place == Place::Quantity => is_same_quantity(live, desired),
        _ => live == desired,
    }
}

fn covers_field(live: &Map<String, Value>, key: &str, wanted: &Value, place: Place) -> bool {
    let below = match (place, key) {
        (Place::Map, _) => Place::Map,
        (Place::Quantities, _) => Place::Quantity,
        (_, key) if QUANTITY_MAPS.contains(&key) => Place::Quantities,
        (_, key) if QUANTITIES.contains(&key) => Place::Quantity,
        (_, key) if MAPS.contains(&key) => Place::Map,
        _ => Place::Fields,
    };
    let is_field = place == Place::Fields;
    match (live.get(key), wanted) {
        (None, wanted) => is_nothing(key, wanted, is_field),
        (Some(have), wanted) if is_field && ATOMIC.contains(&key) => {
            covers_at(have, wanted, below) && covers_at(wanted, have, below)
        }
        (Some(Value::Array(have)), Value::Array(wanted)) if is_field => covers_list(key, have, wanted),
        (Some(_), Value::Null) => true,
        (Some(have), wanted) => {
            covers_at(have, wanted, below) || is_field && is_zero(wanted) && is_default(live, key, have)
        }
    }
}

/// What an item of a list is told from others by, as in server-side apply; empty: the list is one value, in order.
fn list_keys(field: &str, items: &[Value]) -> &'static [&'static str] {
    match field {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "volumes"
        | "env"
        | "imagePullSecrets"
        | "resourceClaims"
        | "schedulingGates"
        | "claims"
        | "secrets" => &["name"],
        "volumeMounts" => &["mountPath"],
        "volumeDevices" => &["devicePath"],
        // Of a container or of a Service.
        "ports" if items.iter().all(|item| item.get("containerPort").is_some()) => {
            &["containerPort", "protocol"]
        }
        "ports" => &["port", "protocol"],
        "hostAliases" => &["ip"],
        "topologySpreadConstraints" => &["topologyKey", "whenUnsatisfiable"],
        "ownerReferences" => &["uid"],
        "conditions" => &["type"],
        _ => &[],
    }
}

fn covers_list(field: &str, live: &[Value], desired: &[Value]) -> bool {
    let keys = list_keys(field, desired);
    let is_keyed = |item: &Value| keys.first().is_some_and(|key| item.get(key).is_some());
    // Nobody else can have put something into a list that is one value.
    if !desired.iter().all(is_keyed) {
        return is_same_list(live, desired);
    }
    let is_same_item = |a: &Value, b: &Value| keys.iter().all(|key| part(a, key) == part(b, key));
    desired.iter().all(|wanted| {
        live.iter().any(|have| is_same_item(have, wanted) && covers_at(have, wanted, Place::Fields))
    })
}

/// A part of an item's key, which may have a default.
fn part<'a>(item: &'a Value, key: &str) -> Option<&'a Value> {
    static TCP: std::sync::LazyLock<Value> = std::sync::LazyLock::new(|| Value::String("TCP".to_owned()));
    match item.get(key) {
        None | Some(Value::Null) if key == "protocol" => Some(&TCP),
        Some(Value::String(text)) if key == "protocol" && text.is_empty() => Some(&TCP),
        part => part,
    }
}

fn is_same_list(live: &[Value], desired: &[Value]) -> bool {
    live.len() == desired.len()
        && live.iter().zip(desired).all(|(have, wanted)| covers_at(have, wanted, Place::Fields))
}

fn is_same_quantity(live: &Value, desired: &Value) -> bool {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    quantity::is_same(&text(live), &text(desired))
}

/// Whether the API server makes nothing of `wanted`.
fn is_nothing(key: &str, wanted: &Value, is_field: bool) -> bool {
    match wanted {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty() && !MEANT_EMPTY.contains(&key),
        wanted => is_field && is_zero(wanted) && !POINTERS.contains(&key),
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

/// Whether the API server makes `have` of a zero in the field `key` of `live`.
fn is_default(live: &Map<String, Value>, key: &str, have: &Value) -> bool {
    let text = have.as_str().map_or_else(|| have.to_string(), str::to_owned);
    // Of a Service port.
    key == "targetPort" && live.get("port") == Some(have)
        // Of a probe; the other paths have to be there.
        || key == "path" && text == "/"
        || DEFAULTS.iter().any(|(field, defaults)| *field == key && defaults.contains(&text.as_str()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_that_the_api_server_adds_do_not_matter() {
        let live = json!({"spec": {"replicas": 2, "revisionHistoryLimit": 10, "template": {"containers": [
            {"name": "a", "image": "x", "terminationMessagePath": "/dev/termination-log"}, {"name": "injected"}]}}});
        let desired =
            json!({"spec": {"replicas": 2, "template": {"containers": [{"name": "a", "image": "x"}]}}});
        assert!(covers(&live, &desired));
    }

    #[test]
    fn every_changed_or_missing_field_matters() {
        let live = json!({"a": 1, "list": ["x", "y"], "named": [{"name": "n", "v": 1}], "gone": "x"});
        for desired in [
            json!({"a": 2}),
            json!({"b": 1}),
            json!({"list": ["x"]}),
            json!({"list": ["y", "x"]}),
            json!({"named": [{"name": "n", "v": 2}]}),
            json!({"named": [{"name": "m"}]}),
        ] {
            assert!(!covers(&live, &desired), "{desired}");
        }
        assert!(covers(&live, &json!({"empty": {}, "none": null, "list": ["x", "y"]})));
    }

    #[test]
    fn quantities_count_by_value() {
        let with =
            |cpu: &str, memory: &str| json!({"resources": {"requests": {"cpu": cpu, "memory": memory}}});
        assert!(covers(&with("1", "1Gi"), &with("1000m", "1024Mi")));
        assert!(covers(&with("500m", "64Mi"), &with("0.5", "65536Ki")));
        assert!(!covers(&with("500m", "64Mi"), &with("0.51", "64Mi")));
        assert!(!covers(&with("1", "odd"), &with("1", "odder")));
        assert!(!covers(&json!({"name": "1"}), &json!({"name": "1000m"})));
        assert!(covers(&json!({"sizeLimit": "48Mi"}), &json!({"sizeLimit": "49152Ki"})));
    }

    fn container(fields: Value) -> Value {
        let mut container = json!({"name": "c"});
        let all = container.as_object_mut().expect("a map");
        all.extend(fields.as_object().expect("a map").clone());
        json!({"spec": {"template": {"spec": {"containers": [container]}}}})
    }

    #[test]
    fn zero_values_that_the_api_server_drops_count_as_there() {
        for fields in [
            json!({"volumeMounts": [{"name": "v", "mountPath": "/v", "readOnly": false, "subPath": ""}]}),
            json!({"env": [{"name": "E", "value": ""}]}),
            json!({"stdin": false, "tty": false, "workingDir": "", "command": [], "resources": {"limits": {}}}),
            json!({"livenessProbe": {"initialDelaySeconds": 0}}),
        ] {
            let mut live = container(fields.clone());
            let dropped = [
                ("/volumeMounts/0", "readOnly"),
                ("/volumeMounts/0", "subPath"),
                ("/env/0", "value"),
                ("", "stdin"),
                ("", "tty"),
                ("", "workingDir"),
                ("", "command"),
                ("/resources", "limits"),
                ("/livenessProbe", "initialDelaySeconds"),
            ];
            for (path, key) in dropped {
                let path = format!("/spec/template/spec/containers/0{path}");
                if let Some(fields) = live.pointer_mut(&path).and_then(Value::as_object_mut) {
                    fields.remove(key);
                }
            }
            assert!(covers(&live, &container(fields.clone())), "{fields}");
        }
        assert!(covers(&json!({"spec": {}}), &json!({"spec": {"hostNetwork": false, "subdomain": ""}})));
    }

    #[test]
    fn zero_values_that_mean_something_do_not() {
        for fields in [
            json!({"securityContext": {"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": false}}),
            json!({"securityContext": {"runAsUser": 0}}),
            json!({"securityContext": {"runAsNonRoot": false}}),
            json!({"securityContext": {"privileged": false}}),
        ] {
            assert!(
                !covers(&container(json!({"securityContext": {}})), &container(fields.clone())),
                "{fields}"
            );
        }
        for spec in [
            json!({"replicas": 0}),
            json!({"automountServiceAccountToken": false}),
            json!({"enableServiceLinks": false}),
            json!({"terminationGracePeriodSeconds": 0}),
            json!({"storageClassName": ""}),
            json!({"maxUnavailable": 0}),
        ] {
            assert!(!covers(&json!({"spec": {}}), &json!({"spec": spec})), "{spec}");
        }
    }

    #[test]
    fn a_zero_is_not_there_when_live_has_something_else() {
        let live = json!({"hostNetwork": true, "env": [{"name": "E", "value": "x"}]});
        for desired in [json!({"hostNetwork": false}), json!({"env": [{"name": "E", "value": ""}]})] {
            assert!(!covers(&live, &desired), "{desired}");
        }
    }

    #[test]
    fn a_zero_for_which_the_api_server_has_a_default_is_that_default() {
        let with = |period: i64, path: &str, protocol: &str| {
            container(
                json!({"livenessProbe": {"periodSeconds": period, "httpGet": {"path": path, "port": 1}},
                "ports": [{"containerPort": 1, "protocol": protocol}]}),
            )
        };
        assert!(covers(&with(10, "/", "TCP"), &with(0, "", "")));
        assert!(!covers(&with(11, "/", "TCP"), &with(0, "", "")));
        assert!(!covers(&with(10, "/x", "TCP"), &with(0, "", "")));
        let port = |target: i64| json!({"ports": [{"port": 80, "targetPort": target}]});
        assert!(covers(&port(80), &port(0)) && !covers(&port(81), &port(0)));
    }

    #[test]
    fn an_empty_text_in_a_map_of_users_is_a_value() {
        for map in ["labels", "annotations", "nodeSelector", "data"] {
            assert!(!covers(&json!({map: {"a": "b"}}), &json!({map: {"x": ""}})), "{map}");
            assert!(covers(&json!({map: {"x": ""}}), &json!({map: {"x": ""}})), "{map}");
            assert!(covers(&json!({}), &json!({map: {}})), "{map}");
        }
        assert!(!covers(&json!({"labels": {"limits": "1"}}), &json!({"labels": {"limits": "1000m"}})));
    }

    #[test]
    fn one_more_label_in_what_selects_is_another_selector() {
        for key in ["selector", "nodeSelector"] {
            assert!(!covers(&json!({key: {"a": "b", "c": "d"}}), &json!({key: {"a": "b"}})), "{key}");
        }
        let term =
            |selector: Value| json!({"podAffinityTerm": {"labelSelector": selector, "topologyKey": "zone"}});
        let more = json!({"matchLabels": {"a": "b", "c": "d"}});
        assert!(!covers(&term(more), &term(json!({"matchLabels": {"a": "b"}}))));
        let bare = json!({"podAffinityTerm": {"topologyKey": "zone"}});
        assert!(!covers(&bare, &term(json!({}))), "every pod is not no pod");
        assert!(covers(&term(json!({})), &term(json!({"matchLabels": {}, "matchExpressions": []}))));
    }

    #[test]
    fn another_kind_of_volume_is_another_volume() {
        let live = json!({"volumes": [{"name": "v", "configMap": {"name": "c", "defaultMode": 420}}]});
        assert!(!covers(&live, &json!({"volumes": [{"name": "v", "emptyDir": {}}]})));
        assert!(covers(&live, &json!({"volumes": [{"name": "v", "configMap": {"name": "c"}}]})));
    }

    #[test]
    fn what_another_manager_added_to_a_list_with_keys_does_not_matter() {
        for (field, own, other) in [
            ("containers", json!({"name": "a"}), json!({"name": "b"})),
            ("initContainers", json!({"name": "a"}), json!({"name": "b"})),
            ("volumes", json!({"name": "a"}), json!({"name": "b"})),
            ("env", json!({"name": "a"}), json!({"name": "b"})),
            ("imagePullSecrets", json!({"name": "a"}), json!({"name": "b"})),
            (
                "volumeMounts",
                json!({"mountPath": "/a", "name": "v"}),
                json!({"mountPath": "/b", "name": "v"}),
            ),
            ("ports", json!({"containerPort": 1}), json!({"containerPort": 1, "protocol": "UDP"})),
            ("ports", json!({"port": 1}), json!({"port": 1, "protocol": "UDP"})),
            ("hostAliases", json!({"ip": "1"}), json!({"ip": "2"})),
            (
                "topologySpreadConstraints",
                json!({"topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}),
                json!({"topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}),
            ),
            ("ownerReferences", json!({"uid": "1", "name": "x"}), json!({"uid": "2", "name": "x"})),
        ] {
            let desired = json!({field: [own]});
            assert!(covers(&json!({field: [other, own]}), &desired), "{desired}");
            assert!(!covers(&json!({field: [other]}), &desired), "{desired}");
        }
    }

    #[test]
    fn a_list_without_keys_is_one_value_in_order() {
        for field in ["tolerations", "args", "rules", "subjects", "nameservers", "httpHeaders", "envFrom"] {
            let list = |names: &[&str]| json!({field: names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>()});
            assert!(covers(&list(&["a", "b"]), &list(&["a", "b"])), "{field}");
            assert!(!covers(&list(&["b", "a"]), &list(&["a", "b"])), "{field}");
            assert!(!covers(&list(&["a", "b"]), &list(&["a"])), "{field}");
        }
        let live = json!({"tolerations": [{"key": "a", "effect": "NoSchedule"}]});
        assert!(covers(&live, &json!({"tolerations": [{"key": "a", "effect": "NoSchedule", "value": ""}]})));
    }

    #[test]
    fn quantities_count_by_value_wherever_a_pod_or_claim_has_one() {
        for (live, desired) in [
            (json!({"overhead": {"cpu": "1"}}), json!({"overhead": {"cpu": "1000m"}})),
            (json!({"emptyDir": {"sizeLimit": "1Gi"}}), json!({"emptyDir": {"sizeLimit": "1024Mi"}})),
            (json!({"resourceFieldRef": {"divisor": "1M"}}), json!({"resourceFieldRef": {"divisor": "1e6"}})),
            (
                json!({"resources": {"requests": {"storage": "1Ti"}}}),
                json!({"resources": {"requests": {"storage": "1024Gi"}}}),
            ),
        ] {
            assert!(covers(&live, &desired), "{desired}");
        }
        assert!(!covers(&json!({"limits": {"cpu": "1"}}), &json!({"limits": {"cpu": "1", "memory": "0"}})));
    }
}
