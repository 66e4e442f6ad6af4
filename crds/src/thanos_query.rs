//! `ThanosQuery`: what a user writes. What the operator answers is in [`crate::thanos_query_status`].
//!
//! A `///` here is what `kubectl explain` prints, so it speaks to the user. Field names, defaults and patterns
//! of `spec` are upstream's (reference "Peers and user needs", section 2.1), but for `serviceDiscovery`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    common_fields::CommonFields,
    distributed::Distributed,
    names::{annotations::TAKE_OVER, labels::TRUE},
    query_frontend::QueryFrontendSpec,
    schema,
    server::QuerierServer,
    service_discovery::ServiceDiscovery,
    tenancy::Tenancy,
    thanos_query_status::ThanosQueryStatus,
};

/// How the queriers shall be.
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
    scale = r#"{"specReplicasPath":".spec.replicas","statusReplicasPath":".status.querierStatus.replicas","labelSelectorPath":".status.selector"}"#,
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
    #[schemars(schema_with = "schema::selector")]
    pub custom_store_label_selector: Option<LabelSelector>,

    /// Buckets of the queriers' own metrics about queries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub telemetry_quantiles: Option<TelemetryQuantiles>,

    /// Where the web interface and the API are served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub web_config: Option<WebConfig>,

    /// How the queriers serve: TLS for gRPC and HTTP, or a web configuration file. Certificates and passwords are in
    /// Secrets, which the operator does not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<QuerierServer>,

    /// Whose series an answer may have, by who asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenancy: Option<Tenancy>,

    /// How answers of the stores are merged: eager reads each of them ahead, lazy as they are needed.
    #[serde(default)]
    pub grpc_proxy_strategy: GrpcProxyStrategy,

    /// A query frontend in front of the queriers, which splits long queries and caches answers. Without this there is
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_frontend: Option<QueryFrontendSpec>,

    /// How endpoints are found and how they reach the queriers.
    #[serde(default)]
    pub service_discovery: ServiceDiscovery,

    /// Split the stores over several sets of queriers, which answer their parts of a query by themselves. For more series
    /// than one querier can hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distributed: Option<Distributed>,

    /// Stop changing anything for this object. What runs goes on running, with the endpoints it has. To leave the object
    /// to this operator while thanos-community/thanos-operator runs too, set this and the annotation
    /// operator.thanos.io/take-over=true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
}

/// Buckets of the queriers' own metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TelemetryQuantiles {
    /// Buckets of the time that a query takes, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Vec<String>>,
    /// Buckets of the number of samples that a query touches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<Vec<String>>,
    /// Buckets of the number of series that a query touches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<Vec<String>>,
}

/// Where the web interface and the API are served.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebConfig {
    /// Path below which everything is served. Default: externalPrefix, else /.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route_prefix: Option<String>,
    /// Path in links and redirects, for a proxy that strips it. Without routePrefix everything is served below it, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_prefix: Option<String>,
    /// Name of a request header that holds the path for links and redirects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix_header: Option<String>,
    /// Send no CORS headers.
    #[serde(default, rename = "disableCORS")]
    pub disable_cors: bool,
}

/// How answers of the stores are merged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)] // a doc on a variant changes the schema and is not shown by `kubectl explain`
pub enum GrpcProxyStrategy {
    #[default]
    Eager,
    Lazy,
}

// === impl ThanosQuery ===

impl ThanosQuery {
    /// Whether this operator works on it although it is paused, which is what upstream's operator obeys.
    pub fn is_taken_over(&self) -> bool {
        let annotations = self.metadata.annotations.as_ref();
        annotations.and_then(|all| all.get(TAKE_OVER)).is_some_and(|value| value == TRUE)
    }
}

// === impl GrpcProxyStrategy ===

impl GrpcProxyStrategy {
    /// As Thanos' `--grpc.proxy-strategy` takes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Eager => "eager",
            Self::Lazy => "lazy",
        }
    }
}

fn one() -> i32 {
    1
}

fn replica() -> Vec<String> {
    vec!["replica".to_owned()]
}
