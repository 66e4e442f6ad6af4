//! Pure: why pods are replaced. The difference of two templates that the API returned, the one before and the one
//! after, both with their defaults; so removals are seen too.

use std::collections::BTreeSet;

use crds::names::pod;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::PodTemplateSpec};
use serde_json::Value;

/// Every difference, one a line; empty when no pod is replaced.
pub fn restart_reasons(before: Option<&Deployment>, after: &Deployment) -> Vec<String> {
    // The first template replaces nothing.
    let Some(before) = before else { return Vec::new() };
    let template = |deployment: &Deployment| deployment.spec.as_ref().map(|spec| spec.template.clone());
    let (Some(before), Some(after)) = (template(before), template(after)) else { return Vec::new() };
    let mut reasons = Vec::new();
    arguments(&before, &after, &mut reasons);
    let (mut old, mut new) = (to_json(before), to_json(after));
    // Told above, in Thanos' own words; the agent's arguments follow from them.
    for template in [&mut old, &mut new] {
        for path in ["/spec/containers", "/spec/initContainers"] {
            for container in template.pointer_mut(path).and_then(Value::as_array_mut).into_iter().flatten() {
                let name = container.get("name").and_then(Value::as_str);
                if matches!(name, Some(pod::QUERY_CONTAINER | pod::AGENT_CONTAINER))
                    && let Some(container) = container.as_object_mut()
                {
                    container.remove("args");
                }
            }
        }
    }
    differences("", &old, &new, &mut reasons);
    reasons
}

/// The reasons in one sentence, for Events.
pub fn sentence(reasons: &[String]) -> String {
    const SHOWN: usize = 5;
    let mut text = reasons.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ");
    if reasons.len() > SHOWN {
        text.push_str(&format!("; and {} more", reasons.len() - SHOWN));
    }
    text
}

fn arguments(before: &PodTemplateSpec, after: &PodTemplateSpec, reasons: &mut Vec<String>) {
    let args = |template: &PodTemplateSpec, container: &str| -> BTreeSet<String> {
        let pod = template.spec.iter();
        let all = pod.flat_map(|pod| pod.init_containers.iter().flatten().chain(&pod.containers));
        all.filter(|own| own.name == container).flat_map(|own| own.args.iter().flatten().cloned()).collect()
    };
    let (old, new) = (args(before, pod::QUERY_CONTAINER), args(after, pod::QUERY_CONTAINER));
    let told = reasons.len();
    for arg in new.difference(&old) {
        reasons.push(endpoint(arg).map_or_else(|| format!("argument {arg}"), |what| format!("{what} added")));
    }
    for arg in old.difference(&new) {
        // A changed value is told by its new one.
        let name = arg.split('=').next().unwrap_or(arg);
        let changed = new.iter().any(|other| other.split('=').next() == Some(name));
        match endpoint(arg) {
            Some(what) => reasons.push(format!("{what} removed")),
            None if changed => {}
            None => reasons.push(format!("argument {arg} removed")),
        }
    }
    if reasons.len() == told {
        let (old, new) = (args(before, pod::AGENT_CONTAINER), args(after, pod::AGENT_CONTAINER));
        reasons.extend(new.difference(&old).map(|arg| format!("agent argument {arg}")));
        reasons.extend(old.difference(&new).map(|arg| format!("agent argument {arg} removed")));
    }
}

fn endpoint(arg: &str) -> Option<String> {
    let (flag, address) = arg.split_once('=')?;
    let what = match flag {
        "--endpoint" => "endpoint",
        "--endpoint-strict" => "strict endpoint",
        "--endpoint-group" => "group endpoint",
        "--endpoint-group-strict" => "strict group endpoint",
        _ => return None,
    };
    Some(format!("{what} {address}"))
}

fn differences(path: &str, old: &Value, new: &Value, reasons: &mut Vec<String>) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for key in keys {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let nothing = Value::Null;
                differences(
                    &path,
                    old.get(key).unwrap_or(&nothing),
                    new.get(key).unwrap_or(&nothing),
                    reasons,
                );
            }
        }
        (Value::Array(old), Value::Array(new)) => {
            let name = |item: &Value| item.get("name").and_then(Value::as_str).map(str::to_owned);
            let named = |items: &[Value]| items.iter().all(|item| name(item).is_some());
            if named(old) && named(new) {
                let names: BTreeSet<String> = old.iter().chain(new).filter_map(name).collect();
                for own in names {
                    let find = |items: &[Value]| {
                        items.iter().find(|item| name(item).as_ref() == Some(&own)).cloned()
                    };
                    let path = format!("{path}[{own}]");
                    differences(
                        &path,
                        &find(old).unwrap_or_default(),
                        &find(new).unwrap_or_default(),
                        reasons,
                    );
                }
            } else if old != new {
                reasons.push(format!("{path} changed"));
            }
        }
        _ if old == new => {}
        (Value::Null, new) => reasons.push(format!("{path} added{}", short(new))),
        (_, Value::Null) => reasons.push(format!("{path} removed")),
        (old, new) => match (scalar(old), scalar(new)) {
            (Some(old), Some(new)) => reasons.push(format!("{path}: {old} → {new}")),
            _ => reasons.push(format!("{path} changed")),
        },
    }
}

fn short(value: &Value) -> String {
    scalar(value).map(|text| format!(": {text}")).unwrap_or_default()
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn to_json(template: PodTemplateSpec) -> Value {
    serde_json::to_value(template).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(image: &str, args: &str, more: &str) -> Deployment {
        serde_saphyr::from_str(&format!(
            "{{spec: {{selector: {{}}, template: {{metadata: {{labels: {{team: a}}}}, spec: {{{more} containers: [{{name: thanos-query, image: '{image}', args: [{args}]}}]}}}}}}}}"
        ))
        .expect("a Deployment")
    }

    fn reasons(before: &Deployment, after: &Deployment) -> String {
        sentence(&restart_reasons(Some(before), after))
    }

    #[test]
    fn a_strict_endpoint_is_told_in_thanos_words() {
        let before = deployment("t:1", "query", "");
        let after = deployment("t:1", "query, '--endpoint-strict=a.b:80'", "");
        assert_eq!(reasons(&before, &after), "strict endpoint a.b:80 added");
        assert_eq!(reasons(&after, &before), "strict endpoint a.b:80 removed");
    }

    #[test]
    fn images_and_arguments_are_told_by_what_they_became() {
        let before = deployment("t:1", "'--query.timeout=1m', '--x'", "");
        let after = deployment("t:2", "'--query.timeout=2m'", "");
        assert_eq!(
            reasons(&before, &after),
            "argument --query.timeout=2m; argument --x removed; spec.containers[thanos-query].image: t:1 → t:2"
        );
    }

    #[test]
    fn what_is_removed_is_told_too() {
        let before = deployment("t:1", "", "nodeSelector: {disk: ssd}, ");
        assert_eq!(reasons(&before, &deployment("t:1", "", "")), "spec.nodeSelector removed");
    }

    #[test]
    fn an_unchanged_template_and_a_new_deployment_have_no_reason() {
        let one = deployment("t:1", "a", "");
        assert!(restart_reasons(Some(&one), &one).is_empty());
        assert!(restart_reasons(None, &one).is_empty());
    }

    #[test]
    fn a_long_list_is_cut() {
        let many: Vec<String> = (0..8).map(|index| index.to_string()).collect();
        assert_eq!(sentence(&many), "0; 1; 2; 3; 4; and 3 more");
    }
}
