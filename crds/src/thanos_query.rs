//! `ThanosQuery`: what a user writes. What the operator answers is in [`crate::thanos_query_status`].
//!
//! A `///` here is what `kubectl explain` prints, so it speaks to the user. Field names, defaults and patterns
//! of `spec` are upstream's (reference "Peers and user needs", section 2.1), but for `serviceDiscovery`.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::ResourceRequirements, apimachinery::pkg::apis::meta::v1::LabelSelector};
use kube::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::thanos_query_status::ThanosQueryStatus;

/// What the queriers shall be.
#[derive(CustomResource, Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "monitoring.thanos.io",
    version = "v1alpha1",
    kind = "ThanosQuery",
    plural = "thanosqueries",
    singular = "thanosquery",
    shortname = "tq",
    category = "thanos",
    namespaced,
    status = "ThanosQueryStatus",
    derive = "PartialEq",
    doc = "A set of Thanos queriers whose StoreAPI endpoints follow the Services of the cluster without restarts.",
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Mode","type":"string","jsonPath":".spec.serviceDiscovery.mode"}"#,
    printcolumn = r#"{"name":"Replicas","type":"integer","jsonPath":".spec.replicas"}"#,
    printcolumn = r#"{"name":"Endpoints","type":"integer","jsonPath":".status.endpoints.total"}"#,
    printcolumn = r#"{"name":"Synced","type":"string","jsonPath":".status.synced"}"#,
    printcolumn = r#"{"name":"Version","type":"string","jsonPath":".status.version"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct ThanosQuerySpec {
    /// Fields that queriers and query frontends have in common.
    #[serde(flatten)]
    pub common: CommonFields,

    /// Number of querier pods.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    pub replicas: i32,

    /// Labels that tell replicas of the same data apart; queries drop them and deduplicate over them
    /// (--query.replica-label).
    #[serde(default = "replica")]
    pub replica_labels: Vec<String>,

    /// Narrows down which Services are queried. They always need the labels operator.thanos.io/store-api=true and
    /// app.kubernetes.io/part-of=thanos; without this selector all of those count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom_store_label_selector: Option<LabelSelector>,

    /// How endpoints are found and how they reach the queriers.
    #[serde(default)]
    pub service_discovery: ServiceDiscovery,

    /// Stop changing anything for this object. What runs goes on running, with the endpoints it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
}

/// Fields that queriers and query frontends have in common.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CommonFields {
    /// Version of Thanos, used as the image tag, such as v0.42.4. With a digest or a tag of your own in baseImage it
    /// says which release that image holds. Oldest: v0.35.0. Default: v0.42.4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,

    /// Image of Thanos. With a tag or digest it is used as it stands, else the version is its tag.
    /// Default: quay.io/thanos/thanos.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_image: Option<String>,

    /// When the kubelet pulls the image: Always, Never or IfNotPresent.
    #[serde(default)]
    pub image_pull_policy: ImagePullPolicy,

    /// CPU and memory of the Thanos container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "resources")]
    pub resource_requirements: Option<ResourceRequirements>,

    /// Least severe messages that Thanos logs: debug, info, warn or error. Default: info.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_level: Option<LogLevel>,

    /// Labels for all objects and pods. The operator's own labels win.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,

    /// Annotations for all objects, not for pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,

    /// More arguments for Thanos, each written as --flag=value, --flag or --no-flag. A flag that the operator sets
    /// itself is replaced; a flag that may be repeated is added. The flags that hold the endpoints are reserved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub additional_args: Option<Vec<String>>,
}

/// How endpoints are found and how they reach the queriers.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceDiscovery {
    /// File: ordinary endpoints are in a file that Thanos reloads, so they change without a restart; strict and group
    /// endpoints are flags, and changing those replaces the pods one at a time. Flags: every endpoint is a flag, and
    /// every change replaces the pods.
    #[serde(default)]
    pub mode: DiscoveryMode,

    /// How often Thanos looks at its endpoints again: its DNS interval and, from v0.38, its Info interval, so a store
    /// that needs longer than this to answer is dropped. At least 1s. The file itself is read again every second.
    #[serde(default = "five_seconds")]
    #[schemars(regex(pattern = r"^[1-9][0-9]{0,3}(s|m|h)$"))]
    pub refresh_interval: String,

    /// The sidecar that brings the file into each pod.
    #[serde(default)]
    pub agent: AgentSpec,

    /// The ConfigMap that carries the endpoints.
    #[serde(default)]
    pub config_map: ConfigMapSpec,
}

/// How endpoints reach the queriers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[allow(missing_docs)] // a doc on a variant changes the schema and is not shown by `kubectl explain`
pub enum DiscoveryMode {
    #[default]
    File,
    Flags,
}

/// The sidecar that brings the file into each pod.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentSpec {
    /// Without the agent the kubelet delivers the file: a change then takes about a minute, and while a rollout
    /// changes the type of an endpoint or the version of Thanos, pods may miss it.
    #[serde(default = "yes")]
    pub enabled: bool,

    /// Where the agent reads the ConfigMap. Auto: from the API, in milliseconds, and from the mounted copy when the API
    /// does not answer. API or Mount: only there. With Mount the pod holds no API token.
    #[serde(default)]
    pub source: AgentSource,

    /// Image of the agent. Default: the one that belongs to the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,

    /// CPU and memory of the agent. Default: requests 5m and 16Mi, limit 64Mi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "resources")]
    pub resources: Option<ResourceRequirements>,
}

/// Where the agent reads the ConfigMap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[allow(missing_docs)] // a doc on a variant changes the schema and is not shown by `kubectl explain`
pub enum AgentSource {
    #[default]
    Auto,
    #[serde(rename = "API")]
    Api,
    Mount,
}

/// The ConfigMap that carries the endpoints.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapSpec {
    /// Its name. Default: thanos-query-NAME-endpoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: Option<String>,
}

/// When the kubelet pulls an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[allow(missing_docs)] // a doc on a variant changes the schema and is not shown by `kubectl explain`
pub enum ImagePullPolicy {
    Always,
    Never,
    #[default]
    IfNotPresent,
}

/// Least severe messages that are logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)] // a doc on a variant changes the schema and is not shown by `kubectl explain`
pub enum LogLevel {
    Debug,
    #[default]
    Info,
    Warn,
    Error,
}

// === impl ServiceDiscovery ===

// `Default` must say what the schema says; a derived one would leave the interval empty.
impl Default for ServiceDiscovery {
    fn default() -> Self {
        Self {
            mode: DiscoveryMode::File,
            refresh_interval: five_seconds(),
            agent: AgentSpec::default(),
            config_map: ConfigMapSpec::default(),
        }
    }
}

// === impl AgentSpec ===

impl Default for AgentSpec {
    fn default() -> Self {
        Self { enabled: true, source: AgentSource::Auto, image: None, resources: None }
    }
}

// === impl LogLevel ===

impl LogLevel {
    /// As Thanos' `--log.level` takes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

// === impl ImagePullPolicy ===

impl ImagePullPolicy {
    /// As a container takes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::Never => "Never",
            Self::IfNotPresent => "IfNotPresent",
        }
    }
}

fn one() -> i32 {
    1
}

fn replica() -> Vec<String> {
    vec!["replica".to_owned()]
}

fn five_seconds() -> String {
    "5s".to_owned()
}

fn yes() -> bool {
    true
}

// The generated descriptions of core types are long and speak of other objects; the shape is what counts.
fn resources(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = ResourceRequirements::json_schema(generator);
    strip_descriptions(schema.as_object_mut());
    schema
}

fn strip_descriptions(schema: Option<&mut serde_json::Map<String, serde_json::Value>>) {
    let Some(schema) = schema else { return };
    schema.retain(|key, value| key != "description" || !value.is_string());
    schema.values_mut().for_each(|value| strip_descriptions(value.as_object_mut()));
}
