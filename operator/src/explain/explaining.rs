//! Pure: from what was found to the answer. The rules, the plan and the document are those of the operator.

use std::collections::BTreeSet;

use crds::{
    names::{
        annotations::{ACCEPT_REMOVAL, SHARD_SET},
        labels::{self, FALSE, SHARD_OF},
        pod::QUERY_CONTAINER,
    },
    service_discovery::{AdditionalEndpoint, AdditionalEndpointType},
    thanos_query_status::HeldRemoval,
};
use jiff::Timestamp;
use sd_agent::{Address, EndpointType};

use super::{
    AdditionalExplained, Carrier, Explanation, Found, Remark, ServiceExplained, StillThere, Verdict,
    in_use::InUse, look::look, pods,
};
use crate::{
    config::Config,
    discovery::{Discovery, Facts, Reach, Reason, Rejected, Rules, Store, discover, owner_of},
    plan::{
        Connections, Endpoints, Known, Names, Remembered, Running, RunningWorkload, Said, Summary,
        has_types_in_file, plan,
    },
    watch::{Autoscaled, StoreApiService, StorePort},
};

/// What status says of a release that is not known.
const UNKNOWN_VERSION: &str = "unknown";

/// The word for a Service without a ready address. It counts, so the operator has none for it.
pub const NO_ADDRESS: &str = "NoAddress";

/// The DNS domain in the names of the document.
pub fn domain_in_use(found: &Found) -> Option<String> {
    let in_use = InUse::of(found);
    let namespaces: BTreeSet<&str> =
        found.watched.services.iter().map(|service| service.namespace.as_str()).collect();
    in_use.endpoints().iter().find_map(|endpoint| {
        let (name, domain) = endpoint.file.target().split_once(".svc.")?;
        let (_, namespace) = name.rsplit_once('.')?;
        (namespaces.contains(namespace) && !domain.is_empty()).then(|| domain.to_owned())
    })
}

/// Explains what was found, as an operator with `config` sees it.
pub fn explained(found: &Found, config: &Config, now: Timestamp) -> Explanation {
    let query = &found.query;
    let in_use = InUse::of(found);
    let (planned, refused) = match planned(found, config, now) {
        Ok(planned) => (Some(planned), None),
        Err(problem) => (None, Some(problem)),
    };
    let status = query.status.as_ref();
    let held = status.and_then(|status| status.held_removal.clone());
    let config_map = Names::of(query).map(|names| names.config_map).unwrap_or_default();
    let summary = planned.as_ref().map(|(_, summary)| summary);
    let mut explanation = Explanation {
        namespace: query.metadata.namespace.clone().unwrap_or_default(),
        query: query.metadata.name.clone().unwrap_or_default(),
        look: vec![],
        version: summary.map(|summary| summary.version.to_string()),
        document: in_use.document(&config_map),
        services: services(found, planned.as_ref(), &in_use, config),
        additional_endpoints: summary.map(|summary| additional(found, summary, &in_use)).unwrap_or_default(),
        still_there: summary
            .map(|summary| still_there(found, summary, &in_use, held.as_ref()))
            .unwrap_or_default(),
        held_removal: held,
        pods: pods::explained(found, &in_use),
        conditions: super::look::conditions(status),
        problems: planned
            .as_ref()
            .map(|(discovery, summary)| problems(found, discovery, summary))
            .unwrap_or_default(),
        remarks: summary.map(|summary| summary.remarks.clone()).unwrap_or_default(),
        unread: found.unread.clone(),
        refused,
    };
    if asks_shards(found) {
        explanation.services.clear();
        explanation.additional_endpoints.clear();
        explanation.still_there.clear();
        let name = &explanation.query;
        explanation.remarks.push(format!(
            "spec.distributed: it asks shards, which ask the stores; explain one of those that `kubectl get thanosquery \
             --selector={SHARD_OF}={name}` lists"
        ));
    }
    explanation.look = look(found, &explanation, in_use.damage.as_deref());
    explanation
}

/// Whether the document names the shards of a tree.
fn asks_shards(found: &Found) -> bool {
    let annotations = found.config_map.as_ref().and_then(|own| own.metadata.annotations.as_ref());
    annotations.is_some_and(|all| all.contains_key(SHARD_SET))
}

/// What the operator would find and plan; or why it would not.
fn planned(found: &Found, config: &Config, now: Timestamp) -> Result<(Discovery, Summary), String> {
    let query = &found.query;
    let discovery = discover(query, &found.watched).map_err(|error| error.to_string())?;
    let status = query.status.as_ref();
    let last =
        status.and_then(|status| status.version.as_deref()).filter(|version| *version != UNKNOWN_VERSION);
    let deployment = found.deployment.as_ref();
    let replicas = query.spec.replicas;
    let querier = RunningWorkload::of(deployment, QUERY_CONTAINER, replicas, &Autoscaled::None, last);
    let remembered = strict_pods(found);
    let known = Known {
        config_map: found.config_map.as_ref(),
        remembered: remembered.as_ref(),
        running: Running { querier, ..Running::default() },
        cluster: found.cluster,
        ..Known::default()
    };
    let plan = plan(query, &discovery, &known, config, now).map_err(|error| error.to_string())?;
    Ok((discovery, plan.summary))
}

/// What the operator remembers, as far as it is about strict pods that are missing for a moment. What it holds besides is
/// told as what no Service stands for any more.
fn strict_pods(found: &Found) -> Option<Remembered> {
    let owner = found.query.metadata.uid.clone().unwrap_or_default();
    let remembered = Remembered::in_newest(found.config_map.iter(), &owner).ok().flatten()?;
    Some(Remembered { owner, pods: remembered.pods, ..Remembered::default() })
}

fn problems(found: &Found, discovery: &Discovery, summary: &Summary) -> Vec<String> {
    let missing = found.missing_namespaces.iter().map(|name| {
        format!("spec.serviceDiscovery.namespaceSelector.matchNames: there is no namespace {name}; correct the name")
    });
    summary.problems.iter().chain(&discovery.out_of_reach).cloned().chain(missing).collect()
}

fn services(
    found: &Found,
    planned: Option<&(Discovery, Summary)>,
    in_use: &InUse<'_>,
    config: &Config,
) -> Vec<ServiceExplained> {
    let facts = Facts::of(&found.watched);
    // Then it is said why nothing can be told.
    let Ok(rules) = Rules::of(&found.query, &facts) else { return vec![] };
    let judge = Judge { found, rules, planned, in_use, config };
    let within = found.watched.services.iter().map(|service| judge.explain(service));
    // What a selector takes and an operator of few namespaces does not see is among the problems.
    let is_elsewhere = |service: &&StoreApiService| judge.rules.judge(service) == Err(Reason::OtherNamespace);
    let elsewhere = found.elsewhere.iter().filter(is_elsewhere).map(|service| judge.explain(service));
    let mut all: Vec<(bool, ServiceExplained)> = within
        .chain(elsewhere)
        .map(|(has_port, service)| (service.verdict == Verdict::Unlabelled && !has_port, service))
        .collect();
    // Of those without labels first what could be a StoreAPI.
    all.sort_by(|(a_last, a), (b_last, b)| {
        (a.verdict, a_last, &a.namespace, &a.name).cmp(&(b.verdict, b_last, &b.namespace, &b.name))
    });
    all.into_iter().map(|(_, service)| service).collect()
}

struct Judge<'a> {
    found: &'a Found,
    rules: Rules<'a>,
    planned: Option<&'a (Discovery, Summary)>,
    in_use: &'a InUse<'a>,
    config: &'a Config,
}

// === impl Judge ===

impl Judge<'_> {
    /// What comes of `service`, and whether it has the port of a StoreAPI.
    fn explain(&self, service: &StoreApiService) -> (bool, ServiceExplained) {
        let mut explained = ServiceExplained {
            namespace: service.namespace.clone(),
            name: service.name.clone(),
            verdict: Verdict::In,
            endpoint_type: None,
            endpoints: vec![],
            reason: None,
            remarks: vec![],
        };
        match self.judge(service) {
            Ok(store) => {
                explained.endpoint_type = Some(store.endpoint_type);
                explained.endpoints = self.written(&store);
                explained.remarks = self.remarks(service, &store);
            }
            Err(reason) => {
                explained.verdict = verdict(service, &reason);
                if matches!(reason, Reason::NoConsent { .. }) && self.found.lacks("Namespace") {
                    let message = "whether its namespace allows it could not be read".to_owned();
                    explained.remarks.push(Remark { reason: "NotKnown".to_owned(), message });
                }
                explained.reason = Some(remark(&reason));
            }
        }
        (matches!(service.port, StorePort::Found { .. }), explained)
    }

    fn judge(&self, service: &StoreApiService) -> Result<Store, Reason> {
        let judged = self.rules.judge(service);
        if matches!(judged, Err(Reason::MissingLabels(_))) && self.is_own(service) {
            return Err(Reason::Own);
        }
        let store = judged?;
        let rejected = self.planned.into_iter().flat_map(|(_, summary)| &summary.endpoints.rejected);
        match about(rejected, service).next() {
            Some(rejected) => Err(rejected.reason.clone()),
            None => Ok(store),
        }
    }

    fn is_own(&self, service: &StoreApiService) -> bool {
        let metadata = &self.found.query.metadata;
        metadata.namespace.as_deref() == Some(&service.namespace)
            && owner_of(service).is_some_and(|owner| metadata.name.as_deref() == Some(owner))
    }

    /// What is written for `store`, which the plan has among others.
    fn written(&self, store: &Store) -> Vec<super::EndpointExplained> {
        let Some((_, summary)) = self.planned else { return vec![] };
        let alone = Discovery { stores: vec![store.clone()], ..Discovery::default() };
        let connections = Connections::of(&self.found.query).unwrap_or_default();
        let said = said(self.found, summary, &connections);
        let endpoints = Endpoints::of(&alone, &[], &said, self.config).unwrap_or_default();
        let endpoints = endpoints.document.endpoints();
        endpoints.iter().map(|endpoint| self.in_use.explained(endpoint, &said)).collect()
    }

    fn remarks(&self, service: &StoreApiService, store: &Store) -> Vec<Remark> {
        let noted = self.planned.into_iter().flat_map(|(discovery, Summary { endpoints, .. })| {
            discovery.remarks.iter().chain(&endpoints.single).chain(&endpoints.remarks)
        });
        let mut remarks: Vec<Remark> = about(noted, service).map(|own| remark(&own.reason)).collect();
        let is_outside = matches!(store.reach, Reach::External { .. });
        if store.addresses == 0 && !is_outside && !self.found.lacks("EndpointSlice") {
            let message = "no ready address is behind it; look at its pods and its selector";
            remarks.push(Remark { reason: NO_ADDRESS.to_owned(), message: message.to_owned() });
        }
        remarks
    }
}

fn about<'a>(
    all: impl Iterator<Item = &'a Rejected>,
    service: &StoreApiService,
) -> impl Iterator<Item = &'a Rejected> {
    all.filter(move |own| own.namespace == service.namespace && own.service == service.name)
}

fn verdict(service: &StoreApiService, reason: &Reason) -> Verdict {
    match reason {
        // Somebody wanted it to count, and forgot the other label or wrote another value.
        Reason::MissingLabels(_)
            if service.labels.get(labels::STORE_API).is_some_and(|value| value != FALSE) =>
        {
            Verdict::LeftOut
        }
        Reason::MissingLabels(_) => Verdict::Unlabelled,
        reason if reason.is_meant() => Verdict::NotSelected,
        _ => Verdict::LeftOut,
    }
}

fn remark(reason: &Reason) -> Remark {
    Remark { reason: reason.word().to_owned(), message: reason.message() }
}

/// As the plan has it.
fn said<'a>(found: &Found, summary: &Summary, connections: &'a Connections) -> Said<'a> {
    let (version, delivery) = (summary.version, summary.delivery);
    Said { connections, version, delivery, types_in_file: has_types_in_file(&found.query, version) }
}

fn additional(found: &Found, summary: &Summary, in_use: &InUse<'_>) -> Vec<AdditionalExplained> {
    let given = &found.query.spec.service_discovery.additional_endpoints;
    let connections = Connections::of(&found.query).unwrap_or_default();
    let said = said(found, summary, &connections);
    let explain = |(index, given): (usize, &AdditionalEndpoint)| {
        let AdditionalEndpoint { address, endpoint_type, tls: _, service_config: _ } = given;
        let field = format!("spec.serviceDiscovery.additionalEndpoints[{index}]:");
        let is_left_out = summary.problems.iter().any(|problem| problem.starts_with(&field));
        let parsed = address.parse::<Address>().ok().filter(|_| !is_left_out);
        let endpoint = parsed.and_then(|address| {
            let all = summary.endpoints.document.endpoints();
            all.iter().find(|endpoint| endpoint.file == address)
        });
        AdditionalExplained {
            index,
            address: address.clone(),
            endpoint_type: match endpoint_type {
                AdditionalEndpointType::Regular => EndpointType::Regular,
                AdditionalEndpointType::Strict => EndpointType::Strict,
                AdditionalEndpointType::Group => EndpointType::Group,
                AdditionalEndpointType::GroupStrict => EndpointType::GroupStrict,
            },
            endpoint: endpoint.map(|endpoint| in_use.explained(endpoint, &said)),
        }
    };
    given.iter().enumerate().map(explain).collect()
}

fn still_there(
    found: &Found,
    summary: &Summary,
    in_use: &InUse<'_>,
    held: Option<&HeldRemoval>,
) -> Vec<StillThere> {
    let wanted: BTreeSet<&Address> =
        summary.endpoints.document.endpoints().iter().map(|endpoint| &endpoint.file).collect();
    let left = in_use.endpoints().iter().filter(|endpoint| !wanted.contains(&endpoint.file));
    left.map(|endpoint| {
        let why = match held {
            Some(HeldRemoval { generation, until, .. }) if endpoint.endpoint_type == EndpointType::Regular => {
                format!(
                    "held, because many Services went at once; it goes at {} unless its Service comes back, or now with \
                     the annotation {ACCEPT_REMOVAL}={generation} on the ThanosQuery",
                    until.0
                )
            }
            _ if found.lacks("Service") => "perhaps its Service is one of those that could not be read".to_owned(),
            _ if is_paused(found) => "the ThanosQuery is paused".to_owned(),
            _ => "nothing asks for it; the operator removes it within seconds, if it runs".to_owned(),
        };
        StillThere { address: endpoint.file.to_string(), why }
    })
    .collect()
}

/// Whether the operator leaves the ThanosQuery alone.
pub fn is_paused(found: &Found) -> bool {
    found.query.spec.paused == Some(true) && !found.query.is_taken_over()
}

/// Whether an endpoint reaches Thanos by nothing.
pub fn is_waiting(carrier: Carrier) -> bool {
    match carrier {
        Carrier::Nothing => true,
        Carrier::File | Carrier::Flag | Carrier::FileUntilFlag | Carrier::Unknown => false,
    }
}
