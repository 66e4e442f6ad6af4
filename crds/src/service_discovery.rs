//! `spec.serviceDiscovery`: how endpoints are found and how they reach the queriers. Upstream has nothing of it, so
//! rules with messages of our own may stand here.
//!
//! A `///` here is what `kubectl explain` prints.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::ResourceRequirements, apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    endpoint_tls::{AdditionalEndpointTls, EndpointTls, TlsProfile},
    schema,
};

/// How endpoints are found and how they reach the queriers.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceDiscovery {
    /// File: ordinary endpoints are in a file that Thanos reloads, so they change without a restart; strict and group
    /// endpoints are flags, and changing those replaces the pods one at a time. FileAll: strict and group endpoints are
    /// in the file, too, and no endpoint ever replaces a pod; needs Thanos v0.38. Flags: every endpoint is a flag, and
    /// every change replaces the pods.
    #[serde(default)]
    pub mode: DiscoveryMode,

    /// What is written for an ordinary endpoint. DNS: its name, which Thanos looks up; endpoints then do not depend on
    /// the operator being alive. EndpointSlice: the addresses of its ready pods, without any DNS; a pod that ends is
    /// dropped at once, and every change of a pod is a change of the file. Strict and group endpoints are always names.
    #[serde(default)]
    pub resolve: Resolve,

    /// Namespaces whose Services count: those for which any of the following holds. Without this, the namespace of the
    /// ThanosQuery; with it, only if it is among them. A Service in another namespace needs consent, by the annotation
    /// operator.thanos.io/allow-discovery-from on it or on its namespace: the namespaces of ThanosQuery objects that
    /// may use it, separated by commas, or *.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<NamespaceSelector>,

    /// Narrows the labelled Services down to those that belong to certain objects, by their owner references.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_selector: Option<OwnerSelector>,

    /// Endpoints that no Service stands for, such as stores outside the cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 512))]
    pub additional_endpoints: Vec<AdditionalEndpoint>,

    /// TLS for every endpoint that says nothing else. With Thanos v0.42 it is part of each endpoint's entry in the file;
    /// before, and in mode Flags, it becomes flags, which all endpoints share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<EndpointTls>,

    /// TLS settings by name. A Service chooses one by the annotation operator.thanos.io/tls: NAME, or off for none at
    /// all. Needs Thanos v0.42 and a mode with a file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub tls_profiles: Vec<TlsProfile>,

    /// Holds back a change that removes many Services at once, such as a script that strips their labels.
    #[serde(default)]
    pub removal_guard: RemovalGuard,

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
    FileAll,
}

/// What is written for an ordinary endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[allow(missing_docs)] // a doc on a variant changes the schema and is not shown by `kubectl explain`
pub enum Resolve {
    #[default]
    #[serde(rename = "DNS")]
    Dns,
    EndpointSlice,
}

/// Namespaces whose Services count.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceSelector {
    /// All namespaces that the operator may read.
    #[serde(default)]
    pub any: bool,

    /// Namespaces by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub match_names: Vec<String>,

    /// Namespaces that have all of these labels, and for which all of matchExpressions hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub match_labels: Option<BTreeMap<String, String>>,

    /// Namespaces for which all of these hold: In, NotIn, Exists or DoesNotExist; and which have all of matchLabels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::short::<Vec<LabelSelectorRequirement>>")]
    pub match_expressions: Option<Vec<LabelSelectorRequirement>>,
}

/// Which objects a Service shall belong to. One that both lists are about has to be in both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OwnerSelector {
    /// Kinds of owners, such as StatefulSet or ThanosRuler. Without this, of any kind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub kinds: Vec<String>,

    /// Names of owners. Without this, of any name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub names: Vec<String>,
}

/// An endpoint that no Service stands for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "self.type != 'Strict' || !self.address.contains('+')",
    "message": "a strict endpoint has no prefix: write it like host:10901"
}, {
    "rule": "!has(self.serviceConfig) || self.type in ['Group', 'GroupStrict']",
    "message": "a serviceConfig belongs to a group: set type to Group or GroupStrict"
}, {
    "rule": "self.type != 'Regular' || !self.address.contains('+') || !has(self.tls) || self.tls.disabled",
    "message": "Thanos gives no TLS settings to what it looks up: write the address without a prefix, or make it a Group"
}]))]
pub struct AdditionalEndpoint {
    /// Where it is, such as thanos.eu.example:10901 or 192.0.2.7:10901; an IPv6 address is put in brackets. Thanos dials
    /// it as it stands unless a prefix says how to look it up: dns+host:port, dnssrv+_grpc._tcp.host or
    /// dnssrvnoa+_grpc._tcp.host; dnsdualstack+host:port needs Thanos v0.42. A strict endpoint has no prefix.
    #[schemars(length(min = 1, max = 400))]
    pub address: String,

    /// What Thanos does with it. Regular: asked while it is healthy. Strict: a query fails rather than miss its data.
    /// Group: replicas of the same data behind one name, of which one is asked. GroupStrict: both. All but Regular
    /// are flags of the pods, and changing them replaces the pods one at a time; with TLS or a serviceConfig, and in mode
    /// FileAll, they are in the file instead, as far as the version of Thanos can read that there.
    #[serde(default, rename = "type")]
    pub endpoint_type: AdditionalEndpointType,

    /// TLS towards this endpoint alone: nothing of spec.serviceDiscovery.tls is added to it. Needs Thanos v0.42 and a mode
    /// with a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<AdditionalEndpointTls>,

    /// How gRPC balances a group and tries again, as JSON: loadBalancingConfig, methodConfig, healthCheckConfig and
    /// retryThrottling. Needs Thanos v0.40 and a mode with a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8192))]
    pub service_config: Option<String>,
}

/// What Thanos does with an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[allow(missing_docs)] // a doc on a variant changes the schema and is not shown by `kubectl explain`
pub enum AdditionalEndpointType {
    #[default]
    Regular,
    Strict,
    Group,
    GroupStrict,
}

/// Holds back a change that removes many Services at once.
///
/// Only ordinary endpoints are held; a change of spec never is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RemovalGuard {
    /// A change is held when it removes more than this share of the Services with ordinary endpoints, in percent, of at
    /// least two, or all of them. 100: only when it removes all of them.
    #[serde(default = "fifty")]
    #[schemars(range(min = 0, max = 100))]
    pub max_removed_percent: i32,

    /// How long it is held: the endpoints of the Services that are gone stay meanwhile. Status names what would go, and
    /// the annotation operator.thanos.io/accept-removal with the number in status.heldRemoval.generation applies it at
    /// once. 0s: nothing is held.
    #[serde(default = "five_minutes")]
    #[schemars(length(max = 5), extend("x-kubernetes-validations" = [{
        "rule": "self.matches('^[0-9]{1,4}(s|m|h)$')", "message": "write it like 5m or 1h: 0 to 9999 of s, m or h"
    }]))]
    pub hold_for: String,
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
            resolve: Resolve::Dns,
            namespace_selector: None,
            owner_selector: None,
            additional_endpoints: vec![],
            tls: None,
            tls_profiles: vec![],
            removal_guard: RemovalGuard::default(),
            refresh_interval: five_seconds(),
            agent: AgentSpec::default(),
            config_map: ConfigMapSpec::default(),
        }
    }
}

// === impl RemovalGuard ===

impl Default for RemovalGuard {
    fn default() -> Self {
        Self { max_removed_percent: fifty(), hold_for: five_minutes() }
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

fn five_minutes() -> String {
    "5m".to_owned()
}

fn fifty() -> i32 {
    50
}

fn yes() -> bool {
    true
}
