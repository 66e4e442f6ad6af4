//! Pure: what needs a look. It is told first, and decides the exit code.

use crds::{
    ThanosQueryStatus,
    names::{conditions, reasons},
};

use super::{
    Answer, ConditionExplained, Explanation, Found, PodExplained, ServiceExplained, Source, Verdict,
    explaining::{NO_ADDRESS, is_paused, is_waiting},
};

/// The status of a condition that nobody can tell.
const UNKNOWN: &str = "Unknown";

/// Names in one sentence at most.
const NAMED: usize = 5;

/// The conditions that say something else than that all is well.
pub fn conditions(status: Option<&ThanosQueryStatus>) -> Vec<ConditionExplained> {
    let all = status.into_iter().flat_map(|status| &status.conditions);
    all.filter_map(|condition| {
        let is_true = condition.status == "True";
        let is_warning = match condition.type_.as_str() {
            conditions::READY if is_true => return None,
            conditions::ENDPOINTS_SYNCED if is_true => return None,
            conditions::READY => true,
            conditions::ENDPOINTS_SYNCED => condition.reason != reasons::DELIVERED_BY_KUBELET,
            // Somebody chose that nobody can ask.
            _ if condition.status == UNKNOWN => false,
            _ if !is_true => return None,
            conditions::PAUSED | conditions::REMARKS | conditions::DEFAULTS_OUTDATED => false,
            _ => true,
        };
        Some(ConditionExplained {
            type_: condition.type_.clone(),
            status: condition.status.clone(),
            reason: condition.reason.clone(),
            message: condition.message.clone(),
            is_warning,
        })
    })
    .collect()
}

/// Sentences about what needs a look; `damage` is why the ConfigMap counts for nothing.
pub fn look(found: &Found, explanation: &Explanation, damage: Option<&str>) -> Vec<String> {
    let mut all = Vec::new();
    if let Some(problem) = &explanation.refused {
        all.push(format!("nothing can be planned, so what runs stays as it is: {problem}"));
    }
    all.extend(of_operator(found));
    all.extend(damage.map(|damage| format!("the document in the ConfigMap counts for nothing: {damage}")));
    all.extend(of_endpoints(found, explanation));
    all.extend(of_pods(found, explanation));
    let warnings = explanation.conditions.iter().filter(|condition| condition.is_warning);
    all.extend(sentence(
        warnings.map(|condition| condition.type_.clone()),
        "of its conditions",
        "warns",
        "warn",
    ));
    match explanation.problems.len() {
        0 => {}
        1 => all.push("1 part of the spec is left out, see below".to_owned()),
        many => all.push(format!("{many} parts of the spec are left out, see below")),
    }
    if !explanation.unread.is_empty() {
        all.push("not everything could be read, see below".to_owned());
    }
    all
}

fn of_operator(found: &Found) -> Vec<String> {
    let query = &found.query;
    let namespace = query.metadata.namespace.clone().unwrap_or_default();
    let mut all = Vec::new();
    if found.watched.rights.only.as_ref().is_some_and(|only| !only.contains(&namespace)) {
        all.push(format!(
            "an operator with these --watch-namespaces does not work in namespace {namespace}, where the ThanosQuery is"
        ));
    }
    match &query.status {
        None => all.push("the operator has not written a status yet; see that it runs".to_owned()),
        Some(status) if status.observed_generation != query.metadata.generation => {
            all.push("its status is about an older spec; see that the operator runs".to_owned());
        }
        Some(_) => {}
    }
    all
}

fn of_endpoints(found: &Found, explanation: &Explanation) -> Vec<String> {
    let services = |is_meant: &dyn Fn(&ServiceExplained) -> bool| -> Vec<String> {
        let meant = explanation.services.iter().filter(|service| is_meant(service));
        meant.map(|service| format!("{}/{}", service.namespace, service.name)).collect()
    };
    let left_out = services(&|service| service.verdict == Verdict::LeftOut);
    let waiting = services(&|service| service.endpoints.iter().any(|endpoint| is_waiting(endpoint.carrier)));
    let empty = services(&|service| service.remarks.iter().any(|remark| remark.reason == NO_ADDRESS));
    let is_otherwise = |service: &ServiceExplained| {
        service.verdict == Verdict::In && service.remarks.iter().any(|remark| remark.reason != NO_ADDRESS)
    };
    let otherwise = services(&is_otherwise);
    let additional = explanation.additional_endpoints.iter();
    let additional = additional
        .filter(|own| own.endpoint.as_ref().is_some_and(|endpoint| is_waiting(endpoint.carrier)))
        .map(|own| own.address.clone());
    let why = match is_paused(found) {
        true => "not in use, for the ThanosQuery is paused",
        false => "not in use yet; that takes seconds, or a rollout for flags, if the operator runs",
    };
    let is_not_held = explanation.held_removal.is_none() && !found.lacks("Service");
    let still_there = explanation.still_there.iter().filter(|_| is_not_held).map(|own| own.address.clone());
    [
        sentence(
            left_out,
            "of the Services that look as if they should count",
            "is left out",
            "are left out",
        ),
        sentence(waiting, "of the Services that count", &format!("is {why}"), &format!("are {why}")),
        sentence(empty, "of the Services that count", "has no ready address", "have no ready address"),
        sentence(
            otherwise,
            "of the Services that count",
            "does so otherwise than it seems",
            "do so otherwise than they seem",
        ),
        sentence(additional, "of the additional endpoints", &format!("is {why}"), &format!("are {why}")),
        sentence(
            still_there,
            "of the endpoints",
            "is there although nothing asks for it",
            "are there although nothing asks for them",
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn of_pods(found: &Found, explanation: &Explanation) -> Vec<String> {
    let pods = &explanation.pods;
    let named = |is_meant: &dyn Fn(&PodExplained) -> bool| -> Vec<String> {
        let staying = pods.pods.iter().filter(|pod| pod.phase != "Terminating");
        staying.filter(|pod| is_meant(pod)).map(|pod| pod.name.clone()).collect()
    };
    let is_asked = pods.source == Source::Pods;
    let is_failing = |pod: &PodExplained| {
        pod.stores.iter().flatten().any(|store| store.last_error.is_some()) || !pod.not_listed.is_empty()
    };
    // Somebody chose it when there is nobody to ask.
    let is_silent = |name: &str| {
        let pod = found.pods.iter().find(|pod| pod.pod.metadata.name.as_deref() == Some(name));
        pod.is_some_and(|pod| matches!(pod.stores, Answer::Failed(_)))
    };
    let none = pods.pods.is_empty() && !found.lacks("Pod");
    let all = [
        sentence(named(&|pod| !pod.ready), "of the pods", "is not Ready", "are not Ready"),
        sentence(
            named(&|pod| is_asked && pod.has_document == Some(false)),
            "of the pods",
            "lacks the current endpoints",
            "lack the current endpoints",
        ),
        sentence(
            named(&|pod| !pod.agent_problems.is_empty()),
            "of the agents",
            "has a problem",
            "have a problem",
        ),
        sentence(
            named(&|pod| is_silent(&pod.name)),
            "of the pods",
            "does not say which stores it has",
            "do not say which stores they have",
        ),
        sentence(named(&is_failing), "of the pods", "does not reach all stores", "do not reach all stores"),
    ];
    none.then(|| "there are no querier pods".to_owned())
        .into_iter()
        .chain(all.into_iter().flatten())
        .collect()
}

/// Such as `2 of the pods are not Ready: a, b`; none for nobody.
fn sentence(names: impl IntoIterator<Item = String>, of: &str, one: &str, many: &str) -> Option<String> {
    let names: Vec<String> = names.into_iter().collect();
    let more = match names.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let verb = if names.len() == 1 { one } else { many };
    let named: Vec<&str> = names.iter().take(NAMED).map(String::as_str).collect();
    (!names.is_empty()).then(|| format!("{} {of} {verb}: {}{more}", names.len(), named.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_can_tell_is_shown_and_needs_no_look() {
        let status: ThanosQueryStatus = serde_json::from_value(serde_json::json!({"conditions": [
            {"type": "DnsFailing", "status": "Unknown", "reason": "MetricsNotRead", "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z"},
            {"type": "Invalid", "status": "True", "reason": "R", "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z"},
            {"type": "Paused", "status": "False", "reason": "R", "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z"},
        ]}))
        .expect("a status");
        let shown: Vec<(String, bool)> =
            conditions(Some(&status)).into_iter().map(|own| (own.type_, own.is_warning)).collect();
        assert_eq!(shown, [("DnsFailing".to_owned(), false), ("Invalid".to_owned(), true)]);
    }
}
