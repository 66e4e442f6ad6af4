//! Pure: the status of a ThanosQuery from what was found, planned and done.

use crds::{
    ThanosQuery, ThanosQueryStatus,
    names::{conditions, reasons},
    thanos_query_status::{DocumentStatus, EndpointCounts, HeldRemoval, RejectedService, Rollout},
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use sd_agent::{EndpointType, ThanosVersion};

use super::{
    agents::{AgentAnswers, Lag, Why},
    conditions::{Verdict, Wanted, merge, warning},
    dns::dns_failing,
    readiness::{Pods, readiness, waiting, workload},
    unreachable,
};
use crate::{
    apply::Waits,
    discovery::{Discovery, Rejected},
    plan::{self, Delivery, Need, Summary, Unsupported},
    query_state::Deployments,
};

/// Services in `status.rejected` and `status.heldRemoval` at most.
const SHOWN: usize = 20;

/// Services or pods that a message names.
const NAMED: usize = 3;

/// What a status is made from.
pub struct Findings<'a> {
    /// The object.
    pub query: &'a ThanosQuery,
    /// The status it has.
    pub old: &'a ThanosQueryStatus,
    /// What came of it.
    pub progress: Progress<'a>,
    /// A rollout that was started now.
    pub rollout: Option<&'a Rollout>,
    /// What the pods answered.
    pub agents: &'a AgentAnswers,
    /// Now.
    pub now: Timestamp,
}

/// How far a reconcile came.
pub enum Progress<'a> {
    /// `spec.paused`: nothing was looked at.
    Paused,
    /// The spec asks for something that cannot be done: nothing was touched.
    Refused {
        /// One word.
        reason: &'static str,
        /// For people.
        message: String,
    },
    /// Everything was looked at or done.
    Done {
        /// Which Services count.
        discovery: &'a Discovery,
        /// What was planned.
        summary: &'a Summary,
        /// The Deployments, when they were looked at.
        deployments: &'a Deployments,
        /// Objects of somebody else that are in the way.
        foreign: &'a [String],
        /// What the pods wait for.
        waits: &'a Waits,
        /// Why the API will not have an object as it is planned.
        refusals: &'a [String],
        /// A ServiceMonitor is asked for, and the cluster does not know that kind.
        lacks_service_monitors: bool,
    },
}

/// The status that follows.
pub fn compute(findings: &Findings<'_>) -> ThanosQueryStatus {
    let Findings { query, old, progress, rollout, agents, now } = findings;
    let generation = query.metadata.generation;
    let mut status = (*old).clone();
    status.observed_generation = generation;
    if let Some(rollout) = rollout {
        status.last_rollout = Some((*rollout).clone());
    }
    let is_paused = matches!(progress, Progress::Paused);
    status.paused = Some(is_paused);
    let mut wanted = vec![paused(query, is_paused)];
    let mut keep: Vec<&str> = vec![];
    match progress {
        Progress::Paused => {
            keep = old.conditions.iter().map(|condition| condition.type_.as_str()).collect();
        }
        Progress::Refused { reason, message } => {
            // What is held stays held.
            keep.extend([
                conditions::ENDPOINTS_SYNCED,
                conditions::REMOVAL_HELD,
                conditions::ENDPOINTS_UNREACHABLE,
            ]);
            wanted.push(Wanted {
                type_: conditions::READY,
                status: Verdict::False,
                reason,
                message: message.clone(),
            });
            wanted.push(warning(conditions::STALLED, reason, message.clone()));
            if *reason == reasons::INVALID_FIELD {
                wanted.push(warning(conditions::INVALID, reason, message.clone()));
            }
        }
        Progress::Done {
            discovery,
            summary,
            deployments,
            foreign,
            waits,
            refusals,
            lacks_service_monitors,
        } => {
            let all = rejected(discovery, summary);
            status.version = Some(summary.version.to_string());
            status.endpoints = Some(counts(summary, all.len()));
            status.rejected = all.iter().take(SHOWN).map(|rejected| rejected_service(rejected)).collect();
            status.held_removal = summary.held.as_ref().map(held_removal);
            status.document = summary.document.as_ref().map(|document| DocumentStatus {
                config_map: summary.config_map.clone(),
                generation: i64::try_from(document.generation).unwrap_or(i64::MAX),
                sha256: document.sha256.clone(),
            });
            status.shards.clone_from(&summary.tree.shards);
            status.selector = Some(summary.selector.clone());
            status.querier_status = deployments.queriers.as_ref().map(workload);
            let has_frontend = query.spec.query_frontend.is_some();
            let frontend = deployments.frontend.as_ref().filter(|_| has_frontend);
            status.query_frontend_status = frontend.map(workload);
            let pods = Pods { queriers: deployments.queriers.as_ref(), frontend, has_frontend };
            wanted.extend(readiness(&pods, waits, refusals, summary));
            // After a restart of the operator the pods are asked first: what status says stays until then.
            let is_as_before = old.document.is_some() && old.document == status.document;
            if summary.has_agents() && !agents.are_known() && is_as_before {
                keep.extend([conditions::ENDPOINTS_SYNCED, conditions::DNS_FAILING]);
                keep.push(conditions::ENDPOINTS_UNREACHABLE);
            } else {
                status.unreachable = unreachable::unreachable(summary, agents, old);
                wanted.extend(unreachable::condition(&status.unreachable));
                wanted.extend(dns_failing(summary, agents));
                let (synced, text) = endpoints_synced(summary, agents);
                wanted.push(synced);
                status.synced = text;
            }
            wanted.extend(warnings(discovery, summary, foreign, &all));
            wanted.extend(waiting(waits, refusals, *lacks_service_monitors));
        }
    }
    status.conditions = merge(&old.conditions, wanted, &keep, generation, *now);
    status
}

/// Every Service that is left out, sorted.
pub fn rejected<'a>(discovery: &'a Discovery, summary: &'a Summary) -> Vec<&'a Rejected> {
    let mut all: Vec<&Rejected> = discovery.rejected.iter().chain(&summary.endpoints.rejected).collect();
    all.sort();
    all
}

fn paused(query: &ThanosQuery, is_paused: bool) -> Wanted {
    let (status, reason, message) = match (is_paused, query.spec.paused == Some(true)) {
        (true, _) => (true, reasons::PAUSED, "spec.paused is set: nothing is changed"),
        // True, as upstream's operator says it too: two that disagree would write for ever.
        (false, true) => {
            (true, reasons::TAKEN_OVER, "paused for thanos-community/thanos-operator; this operator works")
        }
        (false, false) => (false, reasons::RESUMED, ""),
    };
    Wanted { type_: conditions::PAUSED, status: status.into(), reason, message: message.to_owned() }
}

fn warnings(
    discovery: &Discovery,
    summary: &Summary,
    foreign: &[String],
    rejected: &[&Rejected],
) -> Vec<Wanted> {
    let mut all = Vec::new();
    if !foreign.is_empty() {
        all.push(warning(conditions::FOREIGN_OBJECT, reasons::FOREIGN, foreign.join("; ")));
    }
    if !summary.problems.is_empty() {
        all.push(warning(conditions::INVALID, reasons::INVALID_FIELD, summary.problems.join("; ")));
    }
    if let Some(held) = &summary.held {
        all.push(warning(conditions::REMOVAL_HELD, reasons::OVER_THE_LIMIT, held.message()));
    }
    if !summary.remarks.is_empty() {
        all.push(warning(conditions::REMARKS, reasons::REMARKS, summary.remarks.join("; ")));
    }
    if !summary.tree.complaints.is_empty() {
        let message = summary.tree.complaints.join("; ");
        all.push(warning(conditions::SHARD_WARNINGS, reasons::SHARD_WARNINGS, message));
    }
    if let Some(problem) = &summary.query_service_problem {
        all.push(warning(conditions::QUERY_SERVICE_MISSING, reasons::NOT_ONE_SERVICE, problem.clone()));
    }
    if summary.version == ThanosVersion::Unknown {
        let message = "neither spec.version nor the tag of spec.baseImage says which release of Thanos runs; set \
                       spec.version. Until then only what every release understands is used";
        all.push(warning(conditions::VERSION_UNKNOWN, reasons::VERSION_UNKNOWN, message.to_owned()));
    }
    if !summary.flaws.is_empty() {
        all.push(warning(conditions::VERSION_FLAWED, reasons::FIXED_IN_NEWER, summary.flaws.join("; ")));
    }
    if !discovery.out_of_reach.is_empty() {
        let message = discovery.out_of_reach.join("; ");
        all.push(warning(conditions::NAMESPACES_OUT_OF_REACH, reasons::FORBIDDEN, message));
    }
    let single = &summary.endpoints.single;
    if !single.is_empty() {
        let message = first_few(single.iter());
        all.push(warning(conditions::SINGLE_ADDRESS, reasons::ONE_OF_SEVERAL, message));
    }
    let of_endpoints = &summary.endpoints.unsupported;
    let of_endpoints = (!of_endpoints.is_empty() && summary.delivery != Delivery::Flags)
        .then(|| unsupported_by(of_endpoints, summary.version));
    let unsupported: Vec<String> = summary.unsupported.iter().cloned().chain(of_endpoints).collect();
    if !unsupported.is_empty() {
        let message = unsupported.join("; ");
        all.push(warning(conditions::UNSUPPORTED_BY_VERSION, reasons::VERSION_TOO_OLD, message));
    }
    let left_out = rejected.iter().copied().chain(&discovery.remarks).chain(&summary.endpoints.remarks);
    if left_out.clone().next().is_some() {
        let message = first_few(left_out);
        all.push(warning(conditions::SERVICES_REJECTED, reasons::SERVICE_REJECTED, message));
    }
    all
}

/// What this release cannot do, for whom, and what would help.
fn unsupported_by(all: &[Unsupported], version: ThanosVersion) -> String {
    let version = match version {
        ThanosVersion::Unknown => "this Thanos, of a release that is not known,".to_owned(),
        known => format!("Thanos {known}"),
    };
    let sentences = [
        (
            Need::OwnTls,
            "cannot connect to single endpoints with TLS settings of their own, and they are left out",
            "v0.42 or newer, or remove those settings and set spec.serviceDiscovery.tls for all",
        ),
        (
            Need::NoTls,
            "connects to all endpoints over TLS, also to those that ask for none",
            "v0.42 or newer, or remove spec.serviceDiscovery.tls",
        ),
        (
            Need::ServiceConfig,
            "reads no service config of a group, and balances it by itself",
            "v0.40 or newer, or remove the service config",
        ),
    ];
    let told = sentences.into_iter().filter_map(|(need, problem, remedy)| {
        let who: Vec<&str> = all.iter().filter(|own| own.what == need).map(|own| own.who.as_str()).collect();
        let more = match who.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let named = who.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
        (!who.is_empty())
            .then(|| format!("{version} {problem} ({named}{more}): set spec.version to {remedy}"))
    });
    told.collect::<Vec<_>>().join("; ")
}

/// The first three, and how many there are besides.
fn first_few<'a>(services: impl Iterator<Item = &'a Rejected> + Clone) -> String {
    let named: Vec<String> = services
        .clone()
        .take(NAMED)
        .map(|own| format!("{}/{}: {}", own.namespace, own.service, own.reason.message()))
        .collect();
    let more = match services.count().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    format!("{}{more}", named.join("; "))
}

fn counts(summary: &Summary, rejected: usize) -> EndpointCounts {
    let count = |endpoint_type| int(summary.endpoints.count(endpoint_type));
    EndpointCounts {
        total: int(summary.endpoints.document.endpoints().len()),
        regular: count(EndpointType::Regular),
        strict: count(EndpointType::Strict),
        group: count(EndpointType::Group),
        group_strict: count(EndpointType::GroupStrict),
        rejected: int(rejected),
    }
}

fn rejected_service(rejected: &Rejected) -> RejectedService {
    RejectedService {
        namespace: rejected.namespace.clone(),
        name: rejected.service.clone(),
        reason: rejected.reason.word().to_owned(),
        message: rejected.reason.message(),
    }
}

fn held_removal(held: &plan::HeldRemoval) -> HeldRemoval {
    let plan::HeldRemoval { number, services, until } = held;
    HeldRemoval {
        generation: i64::try_from(*number).unwrap_or(i64::MAX),
        count: int(services.len()),
        services: services.iter().take(SHOWN).map(ToString::to_string).collect(),
        until: Time(*until),
    }
}

fn endpoints_synced(summary: &Summary, agents: &AgentAnswers) -> (Wanted, Option<String>) {
    let wanted = |status, reason, message: String| Wanted {
        type_: conditions::ENDPOINTS_SYNCED,
        status,
        reason,
        message,
    };
    match (summary.delivery, &summary.document) {
        (Delivery::Flags, _) => {
            (wanted(Verdict::True, reasons::FLAGS, "every endpoint is a flag of the pods".to_owned()), None)
        }
        (Delivery::Kubelet, _) => {
            let message = "there is no agent: the kubelet brings a change into the pods in about a minute, and while the \
                           type of an endpoint or the version of Thanos changes, a pod may miss endpoints until it is \
                           replaced";
            (wanted(Verdict::Unknown, reasons::DELIVERED_BY_KUBELET, message.to_owned()), None)
        }
        (Delivery::Agent { .. }, None) => {
            (wanted(Verdict::False, reasons::SYNCING, "the ConfigMap is not written yet".to_owned()), None)
        }
        (Delivery::Agent { .. }, Some(document)) => {
            let tally = agents.tally(document);
            let text = format!("{}/{}", tally.synced, tally.pods);
            let mut message =
                format!("{} of {} pods have generation {}", tally.synced, tally.pods, document.generation);
            let lagging = agents.lagging(document);
            for Lag { pod, said, .. } in lagging.iter().take(NAMED) {
                message.push_str(&format!("; {pod} {said}"));
            }
            if let more @ 1.. = lagging.len().saturating_sub(NAMED) {
                message.push_str(&format!("; and {more} more"));
            }
            let condition = match lagging.first().map(|first| first.why) {
                None if tally.pods > 0 => wanted(Verdict::True, reasons::SYNCED, message),
                None | Some(Why::Silent) => wanted(Verdict::Unknown, reasons::UNKNOWN, message),
                Some(Why::CannotWrite) => wanted(Verdict::False, reasons::CANNOT_WRITE, message),
                Some(Why::Refused) => wanted(Verdict::False, reasons::DOCUMENT_REFUSED, message),
                Some(Why::CannotRead) => wanted(Verdict::False, reasons::CANNOT_READ, message),
                Some(Why::TooOld) => wanted(Verdict::False, reasons::AGENT_TOO_OLD, message),
                Some(Why::Behind) => wanted(Verdict::False, reasons::SYNCING, message),
            };
            (condition, Some(text))
        }
    }
}

fn int(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;
