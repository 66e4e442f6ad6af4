//! One object: whose it is, whether it is there as wanted, and the write that brings it there.

use std::{fmt::Debug, time::Duration};

use crds::{
    ThanosQuery,
    names::{FIELD_MANAGER, annotations},
};
use k8s_openapi::NamespaceResourceScope;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use sd_agent::payload::sha256_hex;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{ApplyError, Outcome, covers};
use crate::{
    managed_fields::{taken_over, writes_thanos},
    ownership::Ownership,
    snapshot::API_TIMEOUT,
};

/// How often it is looked whether an object of somebody else is still in the way.
const FOREIGN_INTERVAL: Duration = Duration::from_secs(60);

/// Brings single objects of one ThanosQuery to what is wanted.
pub struct Step<'a> {
    /// The API.
    pub client: &'a Client,
    /// Who shall own them.
    pub query: &'a ThanosQuery,
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
#[derive(Clone)]
pub struct Prepared {
    kind: String,
    namespace: String,
    name: String,
    json: Value,
}

// === impl Step ===

impl Step<'_> {
    /// Applies `desired` if it is not there; none when nothing was written.
    pub async fn apply<K: Owned>(
        &self,
        desired: &K,
        live: Option<&K>,
        outcome: &mut Outcome,
    ) -> Result<Option<K>, ApplyError> {
        if self.is_foreign(desired, live, outcome) {
            return Ok(None);
        }
        let prepared = Prepared::of(desired)?;
        let adopted = self.take_over(live).await?;
        if !adopted && prepared.is_there(live)? {
            return Ok(None);
        }
        let written: K = prepared.apply(self.client, None).await?;
        outcome.note_written(&written);
        Ok(Some(written))
    }

    /// Whether `live` belongs to somebody else; then that is noted.
    pub fn is_foreign<K: Owned>(&self, desired: &K, live: Option<&K>, outcome: &mut Outcome) -> bool {
        let ownership = live.map_or(Ownership::Ours, |live| Ownership::of(live.meta(), self.query));
        let Ownership::Foreign(why) = ownership else { return false };
        outcome.note_foreign(desired, &why);
        true
    }

    /// Makes ours what upstream's operator owns of `live`; true when there was something. Only what we own goes when it
    /// is not wanted any more. Once, and again when it still runs: its manager is called as many others are.
    pub async fn take_over<K: Owned>(&self, live: Option<&K>) -> Result<bool, ApplyError> {
        let is_theirs = |live: &K| {
            !is_of_our_making(live) || live.meta().managed_fields.as_deref().is_some_and(writes_thanos)
        };
        let Some(live) = live.filter(|live| is_theirs(live)) else { return Ok(false) };
        let Some(managed) = live.meta().managed_fields.as_deref().and_then(taken_over) else {
            return Ok(false);
        };
        let (kind, namespace, name) = about(live);
        tracing::info!(%kind, %namespace, %name, "taken over from thanos-community/thanos-operator");
        let version = live.resource_version();
        let patch = Patch::Merge(json!({"metadata": {"resourceVersion": version, "managedFields": managed}}));
        let api: Api<K> = Api::namespaced(self.client.clone(), &namespace);
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        answered("take over", kind, namespace, name.clone(), api.patch(&name, &params, &patch)).await?;
        Ok(true)
    }

    /// Deletes `live` if this ThanosQuery controls it.
    pub async fn delete<K: Owned>(&self, live: Option<&K>) -> Result<(), ApplyError> {
        let Some(live) = live.filter(|live| Ownership::is_controlled_by(live.meta(), self.query)) else {
            return Ok(());
        };
        if live.meta().deletion_timestamp.is_some() {
            return Ok(());
        }
        let (kind, namespace, name) = about(live);
        let api: Api<K> = Api::namespaced(self.client.clone(), &namespace);
        let exactly = DeleteParams {
            preconditions: Some(Preconditions { uid: live.meta().uid.clone(), resource_version: None }),
            ..DeleteParams::background()
        };
        tracing::info!(%kind, %namespace, %name, "deleted: it is not wanted any more");
        match answered("delete", kind, namespace, name.clone(), api.delete(&name, &exactly)).await {
            Err(error) if error.is_not_found() => Ok(()),
            result => result.map(drop),
        }
    }
}

/// Whether we made `object`, and not an operator before us.
pub fn is_of_our_making<K: Owned>(object: &K) -> bool {
    object.annotations().contains_key(annotations::APPLIED_HASH)
}

// === impl Prepared ===

impl Prepared {
    /// Of `desired`.
    pub fn of<K: Owned>(desired: &K) -> Result<Self, ApplyError> {
        let (kind, namespace, name) = about(desired);
        let mut json = to_json(desired)?;
        let hash = &sha256_hex(hashed(json.clone()).to_string().as_bytes())[..16];
        if let Some(metadata) = json.get_mut("metadata").and_then(Value::as_object_mut) {
            let all = metadata.entry("annotations").or_insert_with(|| json!({}));
            if let Some(all) = all.as_object_mut() {
                all.insert(annotations::APPLIED_HASH.to_owned(), json!(hash));
            }
        }
        Ok(Self { kind, namespace, name, json })
    }

    /// Whether all of it is in `live`.
    pub fn is_there<K: Owned>(&self, live: Option<&K>) -> Result<bool, ApplyError> {
        live.map_or(Ok(false), |live| Ok(covers(&to_json(live)?, &self.json)))
    }

    /// Writes it; with `version`, only if nobody else wrote since.
    pub async fn apply<K: Owned>(
        mut self,
        client: &Client,
        version: Option<String>,
    ) -> Result<K, ApplyError> {
        if let (Some(version), Some(metadata)) =
            (version, self.json.get_mut("metadata").and_then(Value::as_object_mut))
        {
            metadata.insert("resourceVersion".to_owned(), Value::String(version));
        }
        let Self { kind, namespace, name, json } = self;
        let api: Api<K> = Api::namespaced(client.clone(), &namespace);
        let params = PatchParams::apply(FIELD_MANAGER).force();
        tracing::debug!(%kind, %namespace, %name, "apply");
        answered("apply", kind, namespace, name.clone(), api.patch(&name, &params, &Patch::Apply(&json)))
            .await
    }
}

/// What the hash is about. A pod template has one of its own, and may be held back.
fn hashed(mut json: Value) -> Value {
    if let Some(spec) = json.pointer_mut("/spec").and_then(Value::as_object_mut) {
        spec.remove("template");
    }
    if let Some(all) = json.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        [annotations::TEMPLATE_HASH, annotations::TEMPLATE_INPUTS]
            .iter()
            .for_each(|name| drop(all.remove(*name)));
    }
    json
}

async fn answered<T>(
    verb: &'static str,
    kind: String,
    namespace: String,
    name: String,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, ApplyError> {
    match timeout(API_TIMEOUT, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(source)) => Err(ApplyError::Api { verb, kind, namespace, name, source: Box::new(source) }),
        Err(_) => Err(ApplyError::Timeout { verb, kind, namespace, name }),
    }
}

/// `object` as JSON.
pub fn to_json<K: Owned>(object: &K) -> Result<Value, ApplyError> {
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
    /// A write was made.
    pub fn note_written<K: Owned>(&mut self, object: &K) {
        let kind: &'static str = match K::kind(&()) {
            std::borrow::Cow::Borrowed(kind) => kind,
            std::borrow::Cow::Owned(_) => "",
        };
        self.versions.extend(object.resource_version().map(|version| (kind, object.name_any(), version)));
    }

    /// An object of somebody else is in the way.
    pub fn note_foreign<K: Owned>(&mut self, object: &K, why: &str) {
        let (kind, namespace, name) = about(object);
        self.foreign.push(format!("{kind} {namespace}/{name} is left alone: {why}; rename or delete it"));
        // It is not watched: nothing would tell that it is gone.
        self.come_back(FOREIGN_INTERVAL);
    }
}
