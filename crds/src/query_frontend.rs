//! `spec.queryFrontend`: the cache and splitter in front of the queriers. Names, types, defaults and patterns are
//! upstream's (reference "Peers and user needs", section 2.1).
//!
//! A `///` here is what `kubectl explain` prints.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::SecretKeySelector, apimachinery::pkg::apis::meta::v1::LabelSelector};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    common_fields::CommonFields,
    names::labels,
    schema,
    server::{ClientTls, FrontendServer},
    tenancy::FrontendTenancy,
};

/// The query frontend: splits long range queries, caches their answers, and spreads them over the queriers.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueryFrontendSpec {
    /// Fields that queriers and query frontends have in common.
    #[serde(flatten)]
    pub common: CommonFields,

    /// Number of frontend pods.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    pub replicas: i32,

    /// Compress answers for clients that take it.
    #[serde(default = "yes")]
    pub compress_responses: bool,

    /// Which query Service the frontend asks, by its labels; it needs the label operator.thanos.io/query-api=true.
    /// Default: the queriers of this object.
    #[serde(default = "query_api")]
    #[schemars(schema_with = "schema::selector")]
    pub query_label_selector: LabelSelector,

    /// Log queries that take longer than this, such as 10s. Negative: log all. Default: log none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema::DURATION))]
    pub log_queries_longer_than: Option<String>,

    /// Where answers of range and label queries are cached. Default: nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_range_response_cache_config: Option<CacheConfig>,

    /// Range queries are split into pieces of this length. Default: 24h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema::DURATION))]
    pub query_range_split_interval: Option<String>,

    /// Label queries are split into pieces of this length. Default: 24h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema::DURATION))]
    pub labels_split_interval: Option<String>,

    /// How often a piece of a range query that failed is asked again.
    #[serde(default = "five")]
    #[schemars(range(min = 0))]
    pub query_range_max_retries: i32,

    /// How often a piece of a label query that failed is asked again.
    #[serde(default = "five")]
    #[schemars(range(min = 0))]
    pub labels_max_retries: i32,

    /// Time range of label queries that name none. Default: 24h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema::DURATION))]
    pub labels_default_time_range: Option<String>,

    /// How the frontend serves: TLS, or a web configuration file. Certificates and passwords are in Secrets, which the
    /// operator does not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<FrontendServer>,

    /// How the frontend asks queriers that serve TLS: needed for those whose authority the image does not know. With
    /// queryLabelSelector it also says that the other queriers serve TLS. A renewed client certificate is used without a
    /// restart; a new ca is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub downstream_tls: Option<ClientTls>,

    /// How the frontend learns who asks. Default: as spec.tenancy says of the queriers of this object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenancy: Option<FrontendTenancy>,

    /// Into how many parts a query that can be split by its labels is split, for the queriers to work on at once
    /// (--query-frontend.vertical-shards). Default: it is not split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2, max = 1024))]
    pub vertical_shards: Option<i32>,
}

/// Where answers are cached.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CacheConfig {
    /// A cache in the memory of each frontend pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_memory_cache_config: Option<InMemoryCacheConfig>,

    /// A key of a Secret of this namespace that holds the cache configuration of Thanos (memcached, redis). It wins over the cache in
    /// memory. The operator does not read it: it is mounted into the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::short::<SecretKeySelector>")]
    pub external_cache_config: Option<SecretKeySelector>,
}

/// A cache in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InMemoryCacheConfig {
    /// How large the cache may become, such as 512Mi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema::SIZE))]
    pub max_size: Option<String>,

    /// How large one answer may be. No release of Thanos has such a limit for its frontend: it is passed on, and has no
    /// effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema::SIZE))]
    pub max_item_size: Option<String>,
}

fn one() -> i32 {
    1
}

fn five() -> i32 {
    5
}

fn yes() -> bool {
    true
}

fn query_api() -> LabelSelector {
    LabelSelector {
        match_labels: Some(BTreeMap::from([(labels::QUERY_API.to_owned(), labels::TRUE.to_owned())])),
        ..LabelSelector::default()
    }
}
