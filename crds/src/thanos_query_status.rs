//! The status of a `ThanosQuery`: what the operator found and did.
//!
//! A `///` here is what `kubectl explain` prints. `querierStatus` and `paused` are upstream's (reference "Peers and
//! user needs", section 2.2).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

/// What the operator found and did.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ThanosQueryStatus {
    /// Ready: everything is rolled out and available. EndpointsSynced: every querier pod has the current endpoints.
    /// Paused, Stalled, Remarks, and a warning by name for each thing that needs a look.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,

    /// Generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Whether the operator leaves this object alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,

    /// Version of Thanos that the queriers are configured for, or "unknown".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,

    /// Number of endpoints by type, and of Services left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<EndpointCounts>,

    /// The first 20 Services that carry the StoreAPI labels and are left out, with the reason and the remedy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejected: Vec<RejectedService>,

    /// The first 20 endpoints that no querier pod has reached for a while, with what to look at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreachable: Vec<UnreachableEndpoint>,

    /// Services that are gone all at once, and whose endpoints stay until somebody accepts that or the time is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_removal: Option<HeldRemoval>,

    /// The endpoint document in the ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<DocumentStatus>,

    /// Querier pods that have the current endpoints, of all, such as 2/2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synced: Option<String>,

    /// The last change of the pod template, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_rollout: Option<Rollout>,

    /// Pods of the queriers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub querier_status: Option<WorkloadStatus>,

    /// Pods of the query frontend, when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_frontend_status: Option<WorkloadStatus>,

    /// The shards of a distributed ThanosQuery, those that are on their way in or out too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shards: Vec<ShardStatus>,

    /// Labels that select the querier pods, for autoscalers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
}

/// Number of endpoints by type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndpointCounts {
    /// All endpoints.
    pub total: i32,
    /// Ordinary endpoints: in mode File they change without a restart.
    pub regular: i32,
    /// Strict endpoints: a query fails rather than miss their data.
    pub strict: i32,
    /// Group endpoints: replicas of the same data behind one name, of which one is asked.
    pub group: i32,
    /// Endpoints that are strict and a group.
    pub group_strict: i32,
    /// Services that carry the StoreAPI labels and are left out.
    pub rejected: i32,
}

/// A Service that carries the StoreAPI labels and is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RejectedService {
    /// Namespace of the Service.
    pub namespace: String,
    /// Name of the Service.
    pub name: String,
    /// Why it is left out, in one word.
    pub reason: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// An endpoint that no querier pod reaches.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnreachableEndpoint {
    /// Its address.
    pub address: String,
    /// The Service as namespace/name, or the field of the spec that it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// How it is connected to: off, default (spec.serviceDiscovery.tls), own (of an additional endpoint), or the name of
    /// a TLS profile. Nothing where the flags of the pods say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<String>,
    /// Querier pods that have tried for a while, none of them with success.
    pub pods: i32,
    /// What to look at.
    pub message: String,
}

/// A removal of many Services at once that is held back.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeldRemoval {
    /// Number of this removal. The annotation operator.thanos.io/accept-removal with this value applies it at once.
    pub generation: i64,
    /// How many Services would go.
    pub count: i32,
    /// The first 20 of them, as namespace/name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
    /// When the first of them goes if nobody says anything.
    pub until: Time,
}

/// The endpoint document in the ConfigMap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DocumentStatus {
    /// Name of the ConfigMap.
    pub config_map: String,
    /// Number of the document: it grows with every change of the endpoints.
    pub generation: i64,
    /// SHA-256 of the document.
    pub sha256: String,
}

/// A change of the pod template: every pod is replaced, one at a time.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// When the template was changed.
    pub time: Time,
    /// Why it was changed.
    pub reason: String,
    /// Every difference of the two templates, one a line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
}

/// Pods of one Deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadStatus {
    /// Pods that exist.
    pub replicas: i32,
    /// Pods of the current template.
    pub updated_replicas: i32,
    /// Pods that are available.
    pub available_replicas: i32,
    /// Pods that are still missing: wanted, but not available.
    pub unavailable_replicas: i32,
    /// Pods that are ready.
    pub ready_replicas: i32,
}

/// One shard of a distributed ThanosQuery.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShardStatus {
    /// Name of the ThanosQuery that it is.
    pub name: String,
    /// Which shard, from 0.
    pub index: i32,
    /// Endpoints that its queriers know. They take those of their shard; which ones that are, Thanos tells at
    /// /api/v1/stores.
    pub endpoints: i32,
    /// Whether its queriers are rolled out and available.
    pub ready: bool,
    /// Whether each of its querier pods has the current endpoints.
    pub synced: bool,
}

// Conditions are merged by type, as kubectl and server-side apply expect.
fn conditions(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = Vec::<Condition>::json_schema(generator);
    schema.insert("x-kubernetes-list-type".to_owned(), "map".into());
    schema.insert("x-kubernetes-list-map-keys".to_owned(), serde_json::json!(["type"]));
    schema
}
