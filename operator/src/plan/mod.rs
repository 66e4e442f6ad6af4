//! Step 3, pure: every object that a ThanosQuery shall have.
//!
//! Ordinary endpoints reach the ConfigMap only, never the pod template; `template_tests` holds that.

mod access;
mod additional_args;
mod agent;
mod arg;
mod cache;
mod config_map;
mod deployment;
mod disruption_budget;
mod duration;
mod endpoints;
mod frontend_args;
mod go_number;
mod image;
mod listen;
mod meta;
mod query_args;
mod service;
mod thanos_args;
mod together;

use crds::{
    ThanosQuery,
    names::pod,
    service_discovery::{AgentSource, DiscoveryMode},
};
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Service, ServiceAccount},
    policy::v1::PodDisruptionBudget,
    rbac::v1::{Role, RoleBinding},
};
use sd_agent::{ThanosVersion, payload::sha256_hex};
use serde_json::json;

pub use config_map::{payload_of, set_payload};
pub use endpoints::{Endpoints, Flag};
pub use frontend_args::frontend_args;
pub use image::{Image, VersionError};
pub use listen::{Address, Listen, route_prefix};
pub use meta::{NameError, Names, selector};
pub use thanos_args::ThanosArgs;

use crate::{config::Config, discovery::Discovery};

/// What is known of the object whose order goes on: the ConfigMap's generation must only grow.
#[derive(Clone, Debug, Default)]
pub struct Known<'a> {
    /// The ConfigMap as the API has it.
    pub config_map: Option<&'a ConfigMap>,
    /// Generation in the status of the ThanosQuery; it outlives the ConfigMap.
    pub generation: Option<u64>,
}

/// Everything that shall exist. `apply` destructures it without `..`: a new field does not compile until it is
/// applied.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The names of all objects.
    pub names: Names,
    /// The endpoint document; none when every endpoint is a flag of every pod.
    pub config_map: Option<ConfigMap>,
    /// Identity of the pods; without any right but the agent's.
    pub service_account: ServiceAccount,
    /// The agent's right to read its ConfigMap.
    pub role: Option<Role>,
    /// Gives it to the pods.
    pub role_binding: Option<RoleBinding>,
    /// How the queriers are reached.
    pub service: Service,
    /// From two replicas on.
    pub disruption_budget: Option<PodDisruptionBudget>,
    /// The queriers.
    pub deployment: Deployment,
    /// What it was made from, for status.
    pub summary: Summary,
}

/// What a plan was made from, for status and Events.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Endpoints by type and Services that Thanos could not reach.
    pub endpoints: Endpoints,
    /// Release that the pods are configured for.
    pub version: ThanosVersion,
    /// How endpoints reach the pods.
    pub delivery: Delivery,
    /// Generation and hash of the document.
    pub document: Option<DocumentId>,
    /// Name of the ConfigMap that carries it.
    pub config_map: String,
    /// Arguments that are not used, each beginning with its field and with the reason.
    pub refused_args: Vec<String>,
    /// What works, but not as it seems; each begins with its field.
    pub remarks: Vec<String>,
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

/// Why there is no plan. Nothing is touched then.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The name does not make valid object names.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The version is too old or unreadable.
    #[error(transparent)]
    Version(#[from] VersionError),
    /// The endpoints make no valid document.
    #[error("the endpoints make no valid document; nothing was changed, and this is a bug of the operator")]
    Document(#[from] sd_agent::document::DocumentError),
    /// The endpoints do not fit into a ConfigMap.
    #[error(transparent)]
    TooLarge(#[from] sd_agent::payload::TooLarge),
}

/// Plans everything for `query`.
///
/// # Errors
/// See [`PlanError`].
pub fn plan(
    query: &ThanosQuery,
    discovery: &Discovery,
    known: &Known<'_>,
    config: &Config,
    now: Timestamp,
) -> Result<Plan, PlanError> {
    let names = Names::of(query)?;
    let image = Image::of(&query.spec.common)?;
    let delivery = Delivery::of(query);
    let endpoints = Endpoints::of(discovery, image.version, config, delivery)?;
    let config_map = match delivery {
        Delivery::Flags if !known.is_read_by_pods_of(query) => None,
        _ => Some(config_map::config_map(query, &names, &endpoints, image.version, delivery, known, now)?),
    };
    let document = config_map.as_ref().and_then(|config_map| {
        let meta = payload_of(config_map).meta().ok()?;
        Some(DocumentId { generation: meta.generation, sha256: meta.sha256 })
    });
    let args = query_args::query_args(query, image.version, delivery, &endpoints.flags);
    let agent = agent::Agent { query, names: &names, config, version: image.version };
    let has_role = delivery == Delivery::Agent { api: true };
    Ok(Plan {
        service_account: access::service_account(query, &names),
        role: has_role.then(|| access::role(query, &names)),
        role_binding: has_role.then(|| access::role_binding(query, &names)),
        service: service::service(query, &names),
        disruption_budget: (query.spec.replicas >= 2)
            .then(|| disruption_budget::disruption_budget(query, &names)),
        deployment: deployment::deployment(query, &names, &image, delivery, &agent, &args, &endpoints.flags),
        summary: Summary {
            endpoints,
            version: image.version,
            delivery,
            document,
            config_map: names.config_map.clone(),
            refused_args: args.refused,
            remarks: args.remarks,
        },
        config_map,
        names,
    })
}

// === impl Known ===

impl Known<'_> {
    /// Whether pods from before `query` wanted flags may still read the ConfigMap. It goes when the last of them is
    /// replaced, and until then it is kept up to date: their rollout may be stuck.
    fn is_read_by_pods_of(&self, query: &ThanosQuery) -> bool {
        self.config_map.is_some_and(|config_map| {
            let is_ours = config_map.metadata.owner_references.iter().flatten().any(|owner| {
                owner.controller == Some(true) && Some(&owner.uid) == query.metadata.uid.as_ref()
            });
            // The kubelet's file cannot be kept up: it leaves out what its pods have as flags, and that is forgotten.
            is_ours && !config_map.data.iter().flatten().any(|(key, _)| key == pod::FILE_NAME)
        })
    }
}

// === impl Plan ===

impl Plan {
    /// Hash of everything but the ConfigMap: while it stays, only endpoints have changed.
    pub fn rest(&self) -> String {
        let Self {
            names: _,
            config_map: _,
            summary: _,
            service_account,
            role,
            role_binding,
            service,
            disruption_budget,
            deployment,
        } = self;
        let all = json!([service_account, role, role_binding, service, disruption_budget, deployment]);
        sha256_hex(all.to_string().as_bytes())
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
    fn of(query: &ThanosQuery) -> Self {
        let discovery = &query.spec.service_discovery;
        match (discovery.mode, discovery.agent.enabled) {
            (DiscoveryMode::Flags, _) => Self::Flags,
            (DiscoveryMode::File, false) => Self::Kubelet,
            (DiscoveryMode::File, true) => Self::Agent { api: discovery.agent.source != AgentSource::Mount },
        }
    }
}

#[cfg(test)]
mod template_tests;
