//! What a real API server adds to an object; only enough to tell "as wanted" from "equal".

use serde_json::{Value, json};

/// Adds the defaults of `plural`.
pub fn add_defaults(plural: &str, object: &mut Value) {
    match plural {
        "deployments" => deployment(object),
        "services" => service(object),
        _ => {}
    }
}

fn service(object: &mut Value) {
    let Some(spec) = object.get_mut("spec") else { return };
    fill(spec, &json!({"type": "ClusterIP", "sessionAffinity": "None"}));
    if spec["type"] != "ExternalName" {
        fill(
            spec,
            &json!({"clusterIP": "10.96.0.7", "ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"]}),
        );
        spec["clusterIPs"] = json!([spec["clusterIP"]]);
    }
    for port in items(spec, "/ports") {
        let target = port["port"].clone();
        fill(port, &json!({"protocol": "TCP", "targetPort": target}));
    }
}

fn deployment(object: &mut Value) {
    let Some(spec) = object.get_mut("spec") else { return };
    fill(spec, &json!({"replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600}));
    let Some(pod) = spec.pointer_mut("/template/spec") else { return };
    fill(
        pod,
        &json!({"restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler",
            "securityContext": {}, "terminationGracePeriodSeconds": 30}),
    );
    if let Some(account) = pod.get("serviceAccountName").cloned() {
        fill(pod, &json!({"serviceAccount": account}));
    }
    drop_zeros(pod, &["hostNetwork", "hostPID", "hostIPC", "subdomain", "hostname", "priorityClassName"]);
    for path in ["/containers", "/initContainers"] {
        for container in items(pod, path) {
            drop_zeros(container, &["stdin", "stdinOnce", "tty", "workingDir"]);
            items(container, "/env").for_each(|variable| drop_zeros(variable, &["value"]));
            items(container, "/volumeMounts").for_each(|mount| drop_zeros(mount, &["readOnly", "subPath"]));
            fill(
                container,
                &json!({"terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                    "imagePullPolicy": "IfNotPresent", "resources": {}}),
            );
            items(container, "/ports").for_each(|port| fill(port, &json!({"protocol": "TCP"})));
            for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
                let Some(probe) = container.get_mut(probe) else { continue };
                drop_zeros(probe, &["initialDelaySeconds"]);
                fill(
                    probe,
                    &json!({"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1,
                        "failureThreshold": 3, "httpGet": {"scheme": "HTTP"}}),
                );
            }
        }
    }
    for volume in items(pod, "/volumes") {
        if let Some(projected) = volume.get_mut("projected") {
            fill(projected, &json!({"defaultMode": 420}));
        }
    }
}

fn items<'a>(value: &'a mut Value, path: &str) -> impl Iterator<Item = &'a mut Value> {
    value.pointer_mut(path).and_then(Value::as_array_mut).into_iter().flatten()
}

/// Zero in a field that is no pointer is as good as nothing, and is not stored.
fn drop_zeros(value: &mut Value, fields: &[&str]) {
    let Some(value) = value.as_object_mut() else { return };
    for field in fields {
        if value.get(*field).is_some_and(|have| [json!(false), json!(0), json!("")].contains(have)) {
            value.remove(*field);
        }
    }
}

fn fill(value: &mut Value, defaults: &Value) {
    let (Some(value), Some(defaults)) = (value.as_object_mut(), defaults.as_object()) else { return };
    for (key, default) in defaults {
        match value.get_mut(key) {
            Some(have) if default.is_object() => fill(have, default),
            Some(_) => {}
            None => {
                value.insert(key.clone(), default.clone());
            }
        }
    }
}
