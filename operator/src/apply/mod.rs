//! Step 4: brings what is there to what is planned, with as few writes as can be.
//!
//! ConfigMap before Deployment: an agent must find what its Thanos needs. Every write is a server-side apply under
//! a timeout; an object is written only when what we want is not there already.

mod covers;
pub mod default_rollouts;
pub mod managed_fields;
mod ownership;
mod quantity;
pub mod replicas;
pub mod reverts;
mod settle;
pub mod turns;

use std::{fmt::Debug, time::Duration};

use crds::{
    ThanosQuery,
    names::{FIELD_MANAGER, annotations},
};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{apps::v1::Deployment, core::v1::ConfigMap},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use sd_agent::payload::sha256_hex;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::time::{Instant, timeout};

pub use covers::covers;
pub use ownership::Ownership;
pub use settle::Settling;

use crate::{
    plan::{Delivery, Plan},
    snapshot::{API_TIMEOUT, Live},
};

/// Two writes of one ThanosQuery's ConfigMap are at least this far apart.
pub const WRITE_INTERVAL: Duration = Duration::from_secs(1);

/// How often it is looked whether an object of somebody else is still in the way.
const FOREIGN_INTERVAL: Duration = Duration::from_secs(60);

/// What was done.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The ConfigMap as it is now.
    pub config_map: Option<ConfigMap>,
    /// The Deployment as it is now.
    pub deployment: Option<Deployment>,
    /// Whether the ConfigMap was written.
    pub config_map_written: bool,
    /// Whether everything that is planned is there now.
    pub complete: bool,
    /// What to come back for.
    pub again: Option<Duration>,
    /// Versions that our writes made, by kind.
    pub versions: Vec<(&'static str, String)>,
    /// Objects of somebody else that are in the way.
    pub foreign: Vec<String>,
}

/// A write did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The API refused.
    #[error("failed to {verb} {kind} {namespace}/{name}")]
    Api {
        /// `apply` or `delete`.
        verb: &'static str,
        /// Kind of the object.
        kind: String,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// What the API said.
        #[source]
        source: Box<kube::Error>,
    },
    /// The API did not answer.
    #[error("failed to {verb} {kind} {namespace}/{name}: no answer within {API_TIMEOUT:?}")]
    Timeout {
        /// `apply` or `delete`.
        verb: &'static str,
        /// Kind of the object.
        kind: String,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// The object cannot be written as JSON.
    #[error("failed to write {kind} {name} as JSON")]
    Json {
        /// Kind of the object.
        kind: String,
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// When writes were made last, and what the pods wait for.
pub struct Pace<'a> {
    /// Last write of the ConfigMap.
    pub config_map_written: Option<Instant>,
    /// Strict and group endpoints that still change.
    pub settling: &'a mut Settling,
    /// Now.
    pub now: Instant,
}

/// Fast path: only the endpoints may have changed.
///
/// # Errors
/// When the API refuses; [`ApplyError::is_conflict`] means that somebody else wrote meanwhile.
pub async fn apply_config_map(
    client: &Client,
    query: &ThanosQuery,
    desired: Option<&ConfigMap>,
    live: Option<&ConfigMap>,
    pace: &Pace<'_>,
) -> Result<Outcome, ApplyError> {
    let mut outcome = Outcome { config_map: live.cloned(), complete: true, ..Outcome::default() };
    let Some(desired) = desired else { return Ok(outcome) };
    if let Some(live) = live
        && let Ownership::Foreign(why) = Ownership::of(&live.metadata, query)
    {
        outcome.note_foreign(desired, &why);
        return Ok(outcome);
    }
    let prepared = Prepared::of(desired)?;
    if prepared.is_there(live)? {
        return Ok(outcome);
    }
    if let Some(last) = pace.config_map_written {
        let wait = (last + WRITE_INTERVAL).saturating_duration_since(pace.now);
        if !wait.is_zero() {
            outcome.come_back(wait);
            return Ok(outcome);
        }
    }
    // Whoever wrote meanwhile wins, and we look again.
    let version = live.and_then(ResourceExt::resource_version);
    let written: ConfigMap = prepared.apply(client, version).await?;
    outcome.note_written(&written);
    outcome.config_map = Some(written);
    outcome.config_map_written = true;
    Ok(outcome)
}

/// Full path: everything.
///
/// # Errors
/// When the API refuses.
pub async fn apply(
    client: &Client,
    query: &ThanosQuery,
    plan: &Plan,
    live: Live,
    pace: Pace<'_>,
) -> Result<Outcome, ApplyError> {
    // Without `..`: a new object does not compile until it has its place in this order.
    let Plan {
        names: _,
        summary,
        config_map,
        service_account,
        role,
        role_binding,
        service,
        disruption_budget,
        deployment,
    } = plan;
    let mut outcome =
        apply_config_map(client, query, config_map.as_ref(), live.config_map.as_ref(), &pace).await?;
    let has_endpoints = config_map.is_none() || (outcome.config_map.is_some() && outcome.foreign.is_empty());

    let step = Step { client, query };
    step.apply(service_account, live.service_account.as_ref(), &mut outcome).await?;
    if let Some(role) = role {
        step.apply(role, live.role.as_ref(), &mut outcome).await?;
    }
    if let Some(binding) = role_binding {
        step.apply(binding, live.role_binding.as_ref(), &mut outcome).await?;
    }
    step.apply(service, live.service.as_ref(), &mut outcome).await?;
    match disruption_budget {
        Some(budget) => step.apply(budget, live.disruption_budget.as_ref(), &mut outcome).await.map(drop)?,
        None => step.delete(live.disruption_budget.as_ref()).await?,
    }

    outcome.deployment = live.deployment.clone();
    let is_template_there = match pace.settling.wait(live.deployment.as_ref(), deployment, pace.now) {
        _ if !has_endpoints => {
            outcome.complete = false;
            false
        }
        Some(wait) => {
            outcome.come_back(wait);
            false
        }
        None => {
            if let Some(applied) = step.apply(deployment, live.deployment.as_ref(), &mut outcome).await? {
                outcome.deployment = Some(applied);
            }
            true
        }
    };
    // What the old pods use stays until the last of them is replaced; that rollout's end wakes us.
    if is_template_there && outcome.deployment.as_ref().is_some_and(crate::status::is_rolled_out) {
        if role.is_none() {
            step.delete(live.role.as_ref()).await?;
        }
        if role_binding.is_none() {
            step.delete(live.role_binding.as_ref()).await?;
        }
        if summary.delivery == Delivery::Flags {
            step.delete(live.config_map.as_ref()).await?;
            outcome.config_map = None;
        }
    }
    Ok(outcome)
}

struct Step<'a> {
    client: &'a Client,
    query: &'a ThanosQuery,
}

// === impl Step ===

impl Step<'_> {
    /// Applies `desired` if it is not there; none when nothing was written.
    async fn apply<K>(
        &self,
        desired: &K,
        live: Option<&K>,
        outcome: &mut Outcome,
    ) -> Result<Option<K>, ApplyError>
    where
        K: Owned,
    {
        if let Some(live) = live
            && let Ownership::Foreign(why) = Ownership::of(live.meta(), self.query)
        {
            outcome.note_foreign(desired, &why);
            return Ok(None);
        }
        let prepared = Prepared::of(desired)?;
        if prepared.is_there(live)? {
            return Ok(None);
        }
        let written: K = prepared.apply(self.client, None).await?;
        outcome.note_written(&written);
        Ok(Some(written))
    }

    /// Deletes `live` if this ThanosQuery controls it.
    async fn delete<K: Owned>(&self, live: Option<&K>) -> Result<(), ApplyError> {
        let Some(live) = live.filter(|live| Ownership::is_controlled_by(live.meta(), self.query)) else {
            return Ok(());
        };
        let (kind, namespace, name) = about(live);
        let api: Api<K> = Api::namespaced(self.client.clone(), &namespace);
        let exactly = DeleteParams {
            preconditions: Some(Preconditions { uid: live.meta().uid.clone(), resource_version: None }),
            ..DeleteParams::background()
        };
        tracing::info!(%kind, %namespace, %name, "deleted: it is not wanted any more");
        match timeout(API_TIMEOUT, api.delete(&name, &exactly)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(kube::Error::Api(status))) if status.is_not_found() => Ok(()),
            Ok(Err(source)) => {
                Err(ApplyError::Api { verb: "delete", kind, namespace, name, source: Box::new(source) })
            }
            Err(_) => Err(ApplyError::Timeout { verb: "delete", kind, namespace, name }),
        }
    }
}

/// What every owned kind can do.
pub trait Owned:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Serialize + DeserializeOwned
{
}

impl<K> Owned for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned
{
}

/// An object as it is sent: with the hash of itself, so that a field that is dropped later is noticed.
struct Prepared {
    kind: String,
    namespace: String,
    name: String,
    json: Value,
}

// === impl Prepared ===

impl Prepared {
    fn of<K: Owned>(desired: &K) -> Result<Self, ApplyError> {
        let (kind, namespace, name) = about(desired);
        let mut json = to_json(desired)?;
        let hash = &sha256_hex(json.to_string().as_bytes())[..16];
        if let Some(metadata) = json.get_mut("metadata").and_then(Value::as_object_mut) {
            let all = metadata.entry("annotations").or_insert_with(|| Value::Object(serde_json::Map::new()));
            if let Some(all) = all.as_object_mut() {
                all.insert(annotations::APPLIED_HASH.to_owned(), Value::String(hash.to_owned()));
            }
        }
        Ok(Self { kind, namespace, name, json })
    }

    fn is_there<K: Owned>(&self, live: Option<&K>) -> Result<bool, ApplyError> {
        live.map_or(Ok(false), |live| Ok(covers(&to_json(live)?, &self.json)))
    }

    async fn apply<K: Owned>(mut self, client: &Client, version: Option<String>) -> Result<K, ApplyError> {
        if let (Some(version), Some(metadata)) =
            (version, self.json.get_mut("metadata").and_then(Value::as_object_mut))
        {
            metadata.insert("resourceVersion".to_owned(), Value::String(version));
        }
        let Self { kind, namespace, name, json } = self;
        let api: Api<K> = Api::namespaced(client.clone(), &namespace);
        let params = PatchParams::apply(FIELD_MANAGER).force();
        tracing::debug!(%kind, %namespace, %name, "apply");
        match timeout(API_TIMEOUT, api.patch(&name, &params, &Patch::Apply(&json))).await {
            Ok(Ok(object)) => Ok(object),
            Ok(Err(source)) => {
                Err(ApplyError::Api { verb: "apply", kind, namespace, name, source: Box::new(source) })
            }
            Err(_) => Err(ApplyError::Timeout { verb: "apply", kind, namespace, name }),
        }
    }
}

fn to_json<K: Owned>(object: &K) -> Result<Value, ApplyError> {
    serde_json::to_value(object).map_err(|source| {
        let (kind, _, name) = about(object);
        ApplyError::Json { kind, name, source }
    })
}

fn about<K: Owned>(object: &K) -> (String, String, String) {
    (K::kind(&()).into_owned(), object.namespace().unwrap_or_default(), object.name_any())
}

// === impl Outcome ===

impl Outcome {
    fn note_written<K: Owned>(&mut self, object: &K) {
        let kind: &'static str = match K::kind(&()) {
            std::borrow::Cow::Borrowed(kind) => kind,
            std::borrow::Cow::Owned(_) => "",
        };
        self.versions.extend(object.resource_version().map(|version| (kind, version)));
    }

    fn note_foreign<K: Owned>(&mut self, object: &K, why: &str) {
        let (kind, namespace, name) = about(object);
        self.foreign.push(format!("{kind} {namespace}/{name} is left alone: {why}; rename or delete it"));
        // It is not watched: nothing would tell that it is gone.
        self.come_back(FOREIGN_INTERVAL);
    }

    fn come_back(&mut self, wait: Duration) {
        self.again = Some(self.again.map_or(wait, |again| again.min(wait)));
        self.complete = false;
    }
}

// === impl ApplyError ===

impl ApplyError {
    /// Somebody else wrote the object meanwhile.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Api { source, .. } if matches!(&**source, kube::Error::Api(status) if status.is_conflict()))
    }
}
