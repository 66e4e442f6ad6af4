//! What a plan was made from, for status and Events.

use crds::{
    ThanosQuery,
    service_discovery::{AgentSource, DiscoveryMode},
    thanos_query_status::ShardStatus,
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use sd_agent::ThanosVersion;

use super::{Endpoints, HeldRemoval, Tree, meta_of};

/// What a plan was made from, for status and Events.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Endpoints by type and Services that Thanos could not reach.
    pub endpoints: Endpoints,
    /// Release that the queriers are configured for.
    pub version: ThanosVersion,
    /// How endpoints reach the pods.
    pub delivery: Delivery,
    /// Generation and hash of the document.
    pub document: Option<DocumentId>,
    /// Services that are missing and whose endpoints stay.
    pub held: Option<HeldRemoval>,
    /// When the next strict pod that is missing is given up.
    pub look_again: Option<Timestamp>,
    /// Name of the ConfigMap that carries it.
    pub config_map: String,
    /// Parts of the spec that are left out, each with field, reason and remedy.
    pub problems: Vec<String>,
    /// Parts of the spec that the release of Thanos cannot do, each with field and remedy.
    pub unsupported: Vec<String>,
    /// Parts of the spec that work otherwise than it seems.
    pub remarks: Vec<String>,
    /// Faults of the releases that run, each with field and remedy.
    pub flaws: Vec<String>,
    /// Whether the agents can read what Thanos tells over HTTP: not with TLS, nor with a password.
    pub reads_thanos: bool,
    /// Why it is not known which queriers the frontend shall ask.
    pub query_service_problem: Option<String>,
    /// The labels that select the querier pods, as one text.
    pub selector: String,
    /// The shards, when there are any.
    pub tree: TreeSummary,
}

/// What status tells of a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TreeSummary {
    /// What is waited for, or which shard is not ready.
    pub unready: Option<String>,
    /// Warnings of shards.
    pub complaints: Vec<String>,
    /// Each shard.
    pub shards: Vec<ShardStatus>,
}

/// Generation and hash of the document in the ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentId {
    /// Grows with every change.
    pub generation: u64,
    /// Of the document.
    pub sha256: String,
}

/// How endpoints reach the pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The agent reads the API (and its mount, if `mount`).
    Agent {
        /// Whether the agent has an API token.
        api: bool,
    },
    /// The kubelet mounts Thanos' own file.
    Kubelet,
    /// Every endpoint is a flag.
    Flags,
}

// === impl DocumentId ===

impl DocumentId {
    /// Of the document in `config_map`.
    pub fn of(config_map: &ConfigMap) -> Option<Self> {
        let meta = meta_of(config_map)?;
        Some(Self { generation: meta.generation, sha256: meta.sha256 })
    }
}

// === impl TreeSummary ===

impl TreeSummary {
    /// Of `tree`.
    pub fn of(tree: &Tree) -> Self {
        let Tree { unready, complaints, told, .. } = tree;
        Self { unready: unready.clone(), complaints: complaints.clone(), shards: told.clone() }
    }
}

// === impl Summary ===

impl Summary {
    /// Whether the pods have agents that can be asked.
    pub fn has_agents(&self) -> bool {
        matches!(self.delivery, Delivery::Agent { .. })
    }
}

// === impl Delivery ===

impl Delivery {
    /// As `query` says.
    pub fn of(query: &ThanosQuery) -> Self {
        let discovery = &query.spec.service_discovery;
        match (discovery.mode, discovery.agent.enabled) {
            (DiscoveryMode::Flags, _) => Self::Flags,
            (DiscoveryMode::File | DiscoveryMode::FileAll, false) => Self::Kubelet,
            (DiscoveryMode::File | DiscoveryMode::FileAll, true) => {
                Self::Agent { api: discovery.agent.source != AgentSource::Mount }
            }
        }
    }
}

#[cfg(test)]
impl Summary {
    /// Of unit tests: generation 7, with these endpoints.
    pub fn of_tests(endpoints: Endpoints) -> Self {
        Self {
            endpoints,
            version: ThanosVersion::new(0, 42, 4),
            delivery: Delivery::Agent { api: true },
            document: Some(DocumentId { generation: 7, sha256: "abc".into() }),
            look_again: None,
            held: None,
            config_map: "cm".into(),
            problems: vec![],
            unsupported: vec![],
            remarks: vec![],
            flaws: vec![],
            reads_thanos: true,
            query_service_problem: None,
            selector: "a=b".into(),
            tree: TreeSummary::default(),
        }
    }
}
