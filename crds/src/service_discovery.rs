//! `spec.serviceDiscovery`: how endpoints are found and how they reach the queriers. Upstream has nothing of it, so
//! rules with messages of our own may stand here.
//!
//! A `///` here is what `kubectl explain` prints.

use k8s_openapi::api::core::v1::ResourceRequirements;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

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
    #[schemars(length(max = 5), extend("x-kubernetes-validations" = [{
        "rule": "self.matches('^[1-9][0-9]{0,3}(s|m|h)$')", "message": "write it like 5s or 1m: 1 to 9999 of s, m or h"
    }]))]
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
    #[schemars(schema_with = "schema::short::<ResourceRequirements>")]
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
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = [{
        "rule": "self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",
        "message": "a name of a-z, 0-9, - and ., which begins and ends with a letter or digit"
    }]))]
    pub name: Option<String>,
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

fn five_seconds() -> String {
    "5s".to_owned()
}

fn yes() -> bool {
    true
}
