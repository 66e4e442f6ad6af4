//! Pure: whether what the spec asks for is what runs. Flux, Argo CD and `kubectl wait` go by it, so it is told of the
//! present spec only, and never before its pods are the ones that run.

use crds::{
    names::{annotations::ACCEPT_DEFAULTS, conditions, reasons},
    thanos_query_status::WorkloadStatus,
};
use k8s_openapi::api::apps::v1::Deployment;

use super::conditions::{Verdict, Wanted, warning};
use crate::{
    apply::{DefaultsWait, RolloutHeld, Waits},
    plan::Summary,
    rollout::{is_rolled_out, stuck},
};

/// The Deployments that have to be rolled out.
pub struct Pods<'a> {
    /// Of the queriers.
    pub queriers: Option<&'a Deployment>,
    /// Of the frontend.
    pub frontend: Option<&'a Deployment>,
    /// Whether there has to be a frontend.
    pub has_frontend: bool,
}

/// The conditions `Ready` and, when only a change by somebody helps, `Stalled`.
pub fn readiness(pods: &Pods<'_>, waits: &Waits, refusals: &[String], summary: &Summary) -> Vec<Wanted> {
    let Pods { queriers, frontend, has_frontend } = pods;
    let mut workloads = vec![("query", *queriers)];
    if *has_frontend {
        workloads.push(("frontend", *frontend));
    }
    let stuck = workloads.iter().find_map(|(_, deployment)| stuck(deployment.as_ref()?));
    let (status, reason, message) = if let Some(refusal) = refusals.first() {
        (Verdict::False, reasons::APPLY_FAILED, refusal.clone())
    } else if let Some(by) = &waits.foreign_writer {
        (Verdict::False, reasons::REVERTED, format!("{by} keeps changing the pod template"))
    } else if let Some(problem) = summary.query_service_problem.as_ref().filter(|_| frontend.is_none()) {
        (Verdict::False, reasons::NOT_ONE_SERVICE, problem.clone())
    } else if let Some(pending) = waits.pending.first() {
        (Verdict::False, reasons::PENDING, pending.clone())
    } else if workloads.iter().any(|(_, deployment)| deployment.is_none()) {
        (Verdict::False, reasons::CREATING, "the Deployment does not exist yet".to_owned())
    } else if let Some(message) = &stuck {
        (Verdict::False, reasons::DEADLINE_EXCEEDED, message.clone())
    } else {
        let all = workloads.iter().filter_map(|(name, deployment)| Some((name, (*deployment)?)));
        let told: Vec<String> = all.clone().map(|(name, deployment)| told(name, deployment)).collect();
        match (all.clone().all(|(_, deployment)| is_rolled_out(deployment)), &summary.tree.unready) {
            (true, Some(unready)) => (Verdict::False, reasons::SHARDS_NOT_READY, unready.clone()),
            (true, None) => (Verdict::True, reasons::AVAILABLE, told.join(", ")),
            (false, _) => (Verdict::False, reasons::PROGRESSING, told.join(", ")),
        }
    };
    let is_stalled = matches!(reason, reasons::APPLY_FAILED | reasons::REVERTED | reasons::DEADLINE_EXCEEDED);
    let stalled = is_stalled.then(|| warning(conditions::STALLED, reason, message.clone()));
    [Wanted { type_: conditions::READY, status, reason, message }].into_iter().chain(stalled).collect()
}

/// The conditions about what was not written, or not yet.
pub fn waiting(waits: &Waits, refusals: &[String], lacks_service_monitors: bool) -> Vec<Wanted> {
    let mut all = Vec::new();
    if !refusals.is_empty() {
        all.push(warning(conditions::APPLY_FAILED, reasons::APPLY_FAILED, refusals.join("; ")));
    }
    if let Some(by) = &waits.foreign_writer {
        let message = format!(
            "{by} changes the pod template back each time it is applied; it is left as it is now. Stop that writer (for \
             thanos-community/thanos-operator: spec.paused: true and annotation operator.thanos.io/take-over: \"true\"), \
             then change the ThanosQuery, an annotation is enough"
        );
        all.push(warning(conditions::FOREIGN_WRITER, reasons::REVERTED, message));
    }
    if let Some(RolloutHeld { rollouts, until }) = &waits.rollout_held {
        let message = format!(
            "the endpoint flags of the pods changed {rollouts} times in the last 10 minutes, and each time every pod was \
             replaced; they are changed again at {until}. Find out what makes or relabels strict and group Services so \
             often; a change of the pods in spec, such as podAnnotations, does not wait and brings the flags along"
        );
        all.push(warning(conditions::ROLLOUT_HELD, reasons::OVER_THE_LIMIT, message));
    }
    if let Some(first) = waits.defaults.first() {
        let join = |what: fn(&DefaultsWait) -> &str, between: &str| {
            waits.defaults.iter().map(what).collect::<Vec<_>>().join(between)
        };
        let pods = join(|wait| &wait.deployment, " and ");
        let when = match first.by_hand {
            true => format!("annotation {ACCEPT_DEFAULTS}={} rolls them out", join(|wait| &wait.hash, ",")),
            false => "they are rolled out when its turn comes".to_owned(),
        };
        let message = format!("this operator has newer defaults for the pods of {pods}; {when}");
        all.push(warning(conditions::DEFAULTS_OUTDATED, reasons::WAITING, message));
    }
    if lacks_service_monitors {
        let message = "serviceMonitor is set, and the cluster knows no ServiceMonitor; it is made when the \
                       CustomResourceDefinition of prometheus-operator is installed";
        all.push(warning(conditions::SERVICE_MONITOR_MISSING, reasons::KIND_MISSING, message.to_owned()));
    }
    all
}

/// The numbers of `deployment`.
pub fn workload(deployment: &Deployment) -> WorkloadStatus {
    let status = deployment.status.clone().unwrap_or_default();
    WorkloadStatus {
        replicas: status.replicas.unwrap_or_default(),
        updated_replicas: status.updated_replicas.unwrap_or_default(),
        available_replicas: status.available_replicas.unwrap_or_default(),
        unavailable_replicas: status.unavailable_replicas.unwrap_or_default(),
        ready_replicas: status.ready_replicas.unwrap_or_default(),
    }
}

fn wanted(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

fn told(name: &str, deployment: &Deployment) -> String {
    let wanted = wanted(deployment);
    let WorkloadStatus { updated_replicas, available_replicas, .. } = workload(deployment);
    match is_rolled_out(deployment) {
        true => format!("{wanted} of {wanted} {name} pods are available"),
        false => format!(
            "{updated_replicas} of {wanted} {name} pods are of the current template, {available_replicas} are available"
        ),
    }
}
