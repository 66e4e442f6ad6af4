//! Fields that queriers and query frontends have in common: names, types, defaults and patterns are upstream's
//! (reference "Peers and user needs", section 2.1); those from `podLabels` on are what its users miss.
//!
//! A `///` here is what `kubectl explain` prints.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, Container, ContainerPort, EnvVar, HostAlias, LocalObjectReference, PodDNSConfig,
    PodSecurityContext, ResourceRequirements, ServicePort, Toleration, TopologySpreadConstraint, Volume,
    VolumeMount,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{schema, server::ClientTls};

/// Fields that queriers and query frontends have in common.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CommonFields {
    /// Version of Thanos, used as the image tag, such as v0.42.4. With a digest or a tag of your own in baseImage it
    /// says which release that image holds. Oldest: v0.35.0. Default: v0.42.4 for new objects; what runs keeps its
    /// version when the operator's default moves on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,

    /// Image of Thanos. With a tag or digest it is used as it stands, else the version is its tag.
    /// Default: quay.io/thanos/thanos.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_image: Option<String>,

    /// When the kubelet pulls the images: Always, Never or IfNotPresent.
    #[serde(default)]
    pub image_pull_policy: ImagePullPolicy,

    /// Secrets of this namespace with which the kubelet pulls the images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::short::<Vec<LocalObjectReference>>")]
    pub image_pull_secrets: Option<Vec<LocalObjectReference>>,

    /// CPU and memory of the Thanos container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::short::<ResourceRequirements>")]
    pub resource_requirements: Option<ResourceRequirements>,

    /// Least severe messages that Thanos logs: debug, info, warn or error. Default: info.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_level: Option<LogLevel>,

    /// How Thanos writes its log: logfmt or json.
    #[serde(default)]
    pub log_format: LogFormat,

    /// Labels that a node must have to run these pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<BTreeMap<String, String>>,

    /// Affinity of the pods. Default: pods of one kind prefer to be on different nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::short::<Affinity>")]
    pub affinity: Option<Affinity>,

    /// Taints that the pods tolerate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::short::<Vec<Toleration>>")]
    pub tolerations: Option<Vec<Toleration>>,

    /// How the pods are spread over nodes and zones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::short::<Vec<TopologySpreadConstraint>>")]
    pub topology_spread_constraints: Option<Vec<TopologySpreadConstraint>>,

    /// Security settings of the pods; what is left out is as Pod Security "restricted" asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::short::<PodSecurityContext>")]
    pub security_context: Option<PodSecurityContext>,

    /// The PodDisruptionBudget: from two pods on, one at a time may be evicted.
    #[serde(default)]
    pub pod_disruption_budget_config: PodDisruptionBudgetConfig,

    /// Labels for all objects that are made for this one, and for the pods. The operator's own labels win.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,

    /// Annotations for all objects that are made for this one, but not for the pods: those are in podAnnotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,

    /// More arguments for Thanos, each written as --flag=value, --flag or --no-flag. A flag that the operator sets
    /// itself is replaced; a flag that may be repeated is added. The flags that hold the endpoints are reserved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub additional_args: Option<Vec<String>>,

    /// More containers in each pod, such as a proxy that checks who asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::short::<Vec<Container>>")]
    pub additional_containers: Option<Vec<Container>>,

    /// More volumes of each pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::short::<Vec<Volume>>")]
    pub additional_volumes: Option<Vec<Volume>>,

    /// Where the Thanos container mounts volumes, such as those of additionalVolumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::short::<Vec<VolumeMount>>")]
    pub additional_volume_mounts: Option<Vec<VolumeMount>>,

    /// More ports of the Thanos container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::ports::<ContainerPort>")]
    pub additional_ports: Option<Vec<ContainerPort>>,

    /// More environment variables of the Thanos container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::short::<Vec<EnvVar>>")]
    pub additional_env: Option<Vec<EnvVar>>,

    /// More ports of the Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::ports::<ServicePort>")]
    pub additional_service_ports: Option<Vec<ServicePort>>,

    /// Names of ConfigMaps of this namespace; each is mounted read-only at /etc/thanos/configmaps/NAME.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_maps: Option<Vec<String>>,

    /// Names of Secrets of this namespace; each is mounted read-only at /etc/thanos/secrets/NAME. The operator itself
    /// reads no Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<Vec<String>>,

    /// Labels for the pods only. The operator's own labels win.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_labels: Option<BTreeMap<String, String>>,

    /// Annotations for the pods only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_annotations: Option<BTreeMap<String, String>>,

    /// Containers that run to their end before Thanos starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::short::<Vec<Container>>")]
    pub init_containers: Option<Vec<Container>>,

    /// Name of the PriorityClass of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,

    /// Seconds that a pod may take to finish its queries when it has to go. Default: enough for Thanos' own grace
    /// periods and ten seconds in which clients leave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub termination_grace_period_seconds: Option<i64>,

    /// Lines for /etc/hosts of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::short::<Vec<HostAlias>>")]
    pub host_aliases: Option<Vec<HostAlias>>,

    /// DNS settings of the pods. The option ndots is 2 unless it is set here, because endpoints are full names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::short::<PodDNSConfig>")]
    pub dns_config: Option<PodDNSConfig>,

    /// The Service that clients use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceOptions>,

    /// Have Prometheus scrape these pods: makes a ServiceMonitor when the cluster knows that kind, also when it learns
    /// it later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_monitor: Option<ServiceMonitorOptions>,
}

/// The PodDisruptionBudget.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodDisruptionBudgetConfig {
    /// Whether there is a PodDisruptionBudget. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enable: Option<bool>,
}

/// The Service that clients use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceOptions {
    /// ClusterIP, NodePort or LoadBalancer. The queriers' own Service stays headless, as gRPC clients need it; with a
    /// type they get a second one, thanos-query-NAME-balanced.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<ServiceType>,

    /// Annotations of that Service only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// How a Service is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[allow(missing_docs)] // a doc on a variant changes the schema and is not shown by `kubectl explain`
pub enum ServiceType {
    #[serde(rename = "ClusterIP")]
    ClusterIp,
    NodePort,
    LoadBalancer,
}

/// How Prometheus scrapes the pods.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceMonitorOptions {
    /// Whether there is a ServiceMonitor. With false also one that thanos-community/thanos-operator made for
    /// this object is deleted.
    #[serde(default = "yes")]
    pub enabled: bool,

    /// More labels of the ServiceMonitor, such as those that your Prometheus selects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,

    /// How often Prometheus scrapes, such as 30s. Default: as Prometheus is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), extend("x-kubernetes-validations" = [{
        "rule": "self.matches('^([1-9][0-9]*(ms|s|m|h))+$')", "message": "write it like 30s or 1m30s"
    }]))]
    pub interval: Option<String>,

    /// When a scrape is given up; not longer than the interval. Default: as Prometheus is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), extend("x-kubernetes-validations" = [{
        "rule": "self.matches('^([1-9][0-9]*(ms|s|m|h))+$')", "message": "write it like 10s"
    }]))]
    pub scrape_timeout: Option<String>,

    /// How Prometheus asks pods that serve TLS. Their Secrets are read by the Prometheus operator, from this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ClientTls>,
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

/// How a log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)] // a doc on a variant changes the schema and is not shown by `kubectl explain`
pub enum LogFormat {
    #[default]
    Logfmt,
    Json,
}

// === impl PodDisruptionBudgetConfig ===

impl Default for PodDisruptionBudgetConfig {
    fn default() -> Self {
        Self { enable: Some(true) }
    }
}

impl PodDisruptionBudgetConfig {
    /// Whether there shall be one.
    pub fn is_enabled(&self) -> bool {
        self.enable != Some(false)
    }
}

// === impl ServiceType ===

impl ServiceType {
    /// As a Service takes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClusterIp => "ClusterIP",
            Self::NodePort => "NodePort",
            Self::LoadBalancer => "LoadBalancer",
        }
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

// === impl LogFormat ===

impl LogFormat {
    /// As Thanos' `--log.format` takes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Logfmt => "logfmt",
            Self::Json => "json",
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

fn yes() -> bool {
    true
}
