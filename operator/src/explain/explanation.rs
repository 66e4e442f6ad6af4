//! The answer of `explain`. As JSON, fields are only ever added.

use std::collections::BTreeMap;

use crds::thanos_query_status::HeldRemoval;
use jiff::Timestamp;
use sd_agent::EndpointType;
use serde::Serialize;

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Namespace of the ThanosQuery.
    pub namespace: String,
    /// Its name.
    pub query: String,
    /// What needs a look, each a sentence. Empty: all is well.
    pub look: Vec<String>,
    /// Release of Thanos that the endpoints are written for, or `unknown`; none when nothing can be planned.
    pub version: Option<String>,
    /// Why nothing can be planned: field and remedy. What runs stays as it is.
    pub refused: Option<String>,
    /// The document in the ConfigMap.
    pub document: Option<DocumentInUse>,
    /// Every Service in reach, sorted by verdict, namespace and name.
    pub services: Vec<ServiceExplained>,
    /// Endpoints of the spec, in its order.
    pub additional_endpoints: Vec<AdditionalExplained>,
    /// Endpoints of the document that nothing asks for any more.
    pub still_there: Vec<StillThere>,
    /// The removal that is held, as in the status.
    pub held_removal: Option<HeldRemoval>,
    /// The querier pods.
    pub pods: PodsExplained,
    /// Conditions that say something else than that all is well.
    pub conditions: Vec<ConditionExplained>,
    /// Parts of the spec that are left out, each with field, reason and remedy.
    pub problems: Vec<String>,
    /// Parts of the spec that work otherwise than it seems.
    pub remarks: Vec<String>,
    /// What could not be read.
    pub unread: Vec<Unread>,
}

/// The document in the ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DocumentInUse {
    /// Name of the ConfigMap.
    pub config_map: String,
    /// Grows with every change.
    pub generation: u64,
    /// Of the document.
    pub sha256: String,
    /// How many endpoints it has.
    pub endpoints: usize,
    /// When it was written.
    pub written_at: Timestamp,
}

/// What comes of a Service.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceExplained {
    /// Namespace of the Service.
    pub namespace: String,
    /// Name of the Service.
    pub name: String,
    /// Whether it counts.
    pub verdict: Verdict,
    /// As what it counts.
    #[serde(rename = "type")]
    pub endpoint_type: Option<EndpointType>,
    /// What is written for it.
    pub endpoints: Vec<EndpointExplained>,
    /// Why it does not count, in one word, and what to do.
    pub reason: Option<Remark>,
    /// What holds although it counts.
    pub remarks: Vec<Remark>,
}

/// Whether a Service counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Verdict {
    /// It is left out, and looks as if it should count.
    LeftOut,
    /// It counts.
    In,
    /// It is left out because somebody chose that.
    NotSelected,
    /// It does not say that it is a StoreAPI.
    Unlabelled,
}

/// What is written for a Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointExplained {
    /// The address where it is now, or will be.
    pub address: String,
    /// Where it is now.
    pub carrier: Carrier,
}

/// What brings an endpoint to Thanos now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Carrier {
    /// The file.
    File,
    /// A flag of the pods.
    Flag,
    /// The file, as an ordinary endpoint, until the pods have the flag.
    FileUntilFlag,
    /// Nothing yet.
    Nothing,
    /// That could not be read.
    Unknown,
}

/// A word, and what is meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Remark {
    /// One word, as in status, Events and metrics.
    pub reason: String,
    /// What is wrong, and what to do.
    pub message: String,
}

/// An endpoint of the spec.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AdditionalExplained {
    /// Position in `spec.serviceDiscovery.additionalEndpoints`.
    pub index: usize,
    /// As it is given.
    pub address: String,
    /// As what it counts.
    #[serde(rename = "type")]
    pub endpoint_type: EndpointType,
    /// What is written for it; none when it is left out, and then `problems` says why.
    pub endpoint: Option<EndpointExplained>,
}

/// An endpoint of the document that nothing asks for any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StillThere {
    /// Its address in the document.
    pub address: String,
    /// Why it is still there.
    pub why: String,
}

/// The querier pods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodsExplained {
    /// Where it is known from what they have.
    pub source: Source,
    /// The right that is missing to ask the pods themselves.
    pub missing_right: Option<String>,
    /// `synced` of the status: pods with the current endpoints, of all.
    pub synced: Option<String>,
    /// Each of them, sorted by name.
    pub pods: Vec<PodExplained>,
}

/// Where it is known from what the pods have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Source {
    /// They were asked through the API server.
    Pods,
    /// The status of the ThanosQuery, which the operator wrote.
    Status,
}

/// One querier pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodExplained {
    /// Its name.
    pub name: String,
    /// Where it runs.
    pub node: Option<String>,
    /// As Kubernetes says, or `Terminating`.
    pub phase: String,
    /// Whether it takes part in queries.
    pub ready: bool,
    /// Generation of the document that its file has.
    pub generation: Option<u64>,
    /// Whether that is the one in the ConfigMap; none when it is not known, or there is no agent.
    pub has_document: Option<bool>,
    /// What its agent complains of, or why it does not answer.
    pub agent_problems: Vec<String>,
    /// Endpoints that its Thanos has as flags, as the agent says.
    pub flagged: Vec<String>,
    /// Thanos' own list; none when Thanos was not asked or did not answer.
    pub stores: Option<Vec<StoreListed>>,
    /// Why Thanos did not answer.
    pub stores_problem: Option<String>,
    /// Endpoints that Thanos does not look up, and does not list.
    pub not_listed: Vec<String>,
}

/// One store as Thanos lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StoreListed {
    /// Kind of store, such as `sidecar`.
    pub kind: String,
    /// Its address as Thanos has it.
    pub name: String,
    /// Why it does not answer; none when it does.
    pub last_error: Option<String>,
    /// When it was asked last.
    pub last_check: Option<Timestamp>,
    /// The label sets that it announces.
    pub label_sets: Vec<BTreeMap<String, String>>,
}

/// A condition of the status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConditionExplained {
    /// Its type.
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// One word.
    pub reason: String,
    /// For people.
    pub message: String,
    /// Whether it needs a look, or is only for information.
    pub is_warning: bool,
}

/// Something that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Unread {
    /// Kind of the objects, such as `Service`.
    pub kind: String,
    /// Where; none for all namespaces and for what lives in none.
    pub namespace: Option<String>,
    /// Why, and what to do.
    pub problem: String,
    /// What is not known therefore.
    pub consequence: String,
}
