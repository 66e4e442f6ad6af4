//! Pure: what each querier pod has, as its agent and its Thanos say.

use crds::names::pod::AGENT_CONTAINER;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use sd_agent::{
    Address, DnsFailing, EndpointType, Meta, Report,
    address::Lookup,
    report::{CannotWrite, MAX_FAILING},
};

use super::{Answer, Found, PodExplained, PodFound, PodsExplained, Source, StoreListed, in_use::InUse};
use crate::plan::endpoint_flag;

/// What the pods have.
pub fn explained(found: &Found, in_use: &InUse<'_>) -> PodsExplained {
    let namespace = found.query.metadata.namespace.as_deref().unwrap_or_default();
    let is_forbidden = |pod: &PodFound| pod.agent == Answer::Forbidden || pod.stores == Answer::Forbidden;
    let missing_right =
        found.pods.iter().any(is_forbidden).then(|| format!("get pods/proxy in namespace {namespace}"));
    let mut pods: Vec<PodExplained> = found.pods.iter().map(|pod| pod_explained(pod, in_use)).collect();
    pods.sort_by(|a, b| a.name.cmp(&b.name));
    PodsExplained {
        source: if missing_right.is_some() { Source::Status } else { Source::Pods },
        missing_right,
        synced: found.query.status.as_ref().and_then(|status| status.synced.clone()),
        pods,
    }
}

fn pod_explained(found: &PodFound, in_use: &InUse<'_>) -> PodExplained {
    let PodFound { pod, agent, stores } = found;
    let status = pod.status.as_ref();
    let ending = pod.metadata.deletion_timestamp.is_some();
    let phase = status.and_then(|status| status.phase.clone()).unwrap_or_else(|| "Unknown".to_owned());
    let mut explained = PodExplained {
        name: pod.name_any(),
        node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        phase: if ending { "Terminating".to_owned() } else { phase },
        ready: is_ready(pod) && !ending,
        generation: None,
        has_document: None,
        agent_problems: vec![],
        flagged: vec![],
        stores: None,
        stores_problem: None,
        not_listed: vec![],
    };
    match agent {
        Answer::Given(report) => report_explained(report, in_use.meta(), &mut explained),
        Answer::Failed(problem) => explained.agent_problems.push(format!("does not answer: {problem}")),
        Answer::Forbidden | Answer::NotAsked(_) => {}
    }
    match stores {
        Answer::Given(stores) => {
            let listed = stores.iter().flat_map(|(kind, stores)| {
                stores.iter().map(|own| StoreListed {
                    kind: kind.clone(),
                    name: own.name.clone(),
                    last_error: own.last_error.clone().filter(|error| !error.is_empty()),
                    last_check: own.last_check,
                    label_sets: own.label_sets.clone().unwrap_or_default(),
                })
            });
            let mut listed: Vec<StoreListed> = listed.collect();
            listed.sort_by(|a, b| (&a.kind, &a.name).cmp(&(&b.kind, &b.name)));
            explained.not_listed = not_listed(found, explained.has_document, in_use, &listed);
            explained.stores = Some(listed);
        }
        Answer::Failed(problem) => explained.stores_problem = Some(problem.clone()),
        Answer::NotAsked(why) => explained.stores_problem = Some((*why).to_owned()),
        Answer::Forbidden => {}
    }
    explained
}

fn report_explained(report: &Report, wanted: Option<&Meta>, explained: &mut PodExplained) {
    // What Thanos serves is asked of Thanos itself here.
    let Report {
        applied,
        thanos_version: _,
        flagged,
        ignored_arguments: _,
        api,
        mount,
        refused,
        dns_failing,
        cannot_write,
        thanos: _,
    } = report;
    explained.generation = applied.as_ref().map(|applied| applied.generation);
    // One that is newer was written while we read.
    explained.has_document = wanted.map(|wanted| {
        applied.as_ref().is_some_and(|applied| {
            applied.generation > wanted.generation
                || applied.generation == wanted.generation && applied.sha256 == wanted.sha256
        })
    });
    explained.flagged.clone_from(flagged);
    for (name, source) in [("the API", api), ("its mount", mount)] {
        if let (false, Some(error)) = (source.up, &source.error) {
            explained.agent_problems.push(format!("cannot read {name}: {error}"));
        }
    }
    for DnsFailing { address, error } in dns_failing.iter().take(MAX_FAILING) {
        let name = address.as_deref().unwrap_or("a name that it cannot tell");
        explained.agent_problems.push(format!("look-up of {name} fails: {error}"));
    }
    if let Some(too_new @ 1..) = applied.as_ref().map(|applied| applied.too_new) {
        explained.agent_problems.push(format!(
            "its agent is older than the operator and leaves out {too_new} endpoints; remove \
             spec.serviceDiscovery.agent.image, or set an image that is as new as the operator"
        ));
    }
    if let Some(CannotWrite { step, message }) = cannot_write {
        explained.agent_problems.push(format!("cannot write the file ({step}): {message}"));
    }
    if let Some(refused) = refused {
        explained
            .agent_problems
            .push(format!("refused a document ({}): {}", refused.reason, refused.message));
    }
}

/// Addresses that Thanos does not look up, so that it has to list them as they stand. What it looks up is listed by
/// what is behind the name, and which name that was it does not say.
fn not_listed(
    found: &PodFound,
    has_document: Option<bool>,
    in_use: &InUse<'_>,
    listed: &[StoreListed],
) -> Vec<String> {
    let flags: Vec<(EndpointType, Address)> = found.args().iter().filter_map(|arg| flag_of(arg)).collect();
    let addresses: Vec<Address> = flags.iter().map(|(_, address)| address.clone()).collect();
    let in_file = in_use
        .endpoints()
        .iter()
        .filter(|endpoint| is_read(found, has_document) && !endpoint.is_among(&addresses))
        .map(|endpoint| &endpoint.file);
    // A group is one logical store, and which name it has there depends on the release.
    let is_single = |endpoint_type| matches!(endpoint_type, EndpointType::Regular | EndpointType::Strict);
    let by_flag = flags.iter().filter(|(of, _)| is_single(*of)).map(|(_, address)| address);
    let plain = in_file.chain(by_flag).filter(|address| address.lookup() == Lookup::None);
    let mut missing: Vec<String> = plain
        .map(Address::to_string)
        .filter(|address| !listed.iter().any(|store| store.name == *address))
        .collect();
    missing.sort();
    missing.dedup();
    missing
}

/// Whether the file of the pod has the document, as far as that is known.
fn is_read(found: &PodFound, has_document: Option<bool>) -> bool {
    has_document == Some(true)
        || !has_agent(&found.pod) && found.args().iter().any(|arg| arg.contains(".sd-"))
}

fn has_agent(pod: &Pod) -> bool {
    let spec = pod.spec.as_ref();
    let sidecars =
        spec.into_iter().flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers));
    sidecars.into_iter().any(|container| container.name == AGENT_CONTAINER)
}

fn flag_of(arg: &str) -> Option<(EndpointType, Address)> {
    let all = [EndpointType::Regular, EndpointType::Strict, EndpointType::Group, EndpointType::GroupStrict];
    all.into_iter().find_map(|endpoint_type| {
        let value = arg.strip_prefix(endpoint_flag(endpoint_type))?.strip_prefix('=')?;
        Some((endpoint_type, value.parse().ok()?))
    })
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
