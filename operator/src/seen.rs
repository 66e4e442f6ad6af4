//! What a ThanosQuery asks for: when it changes, somebody has said something.

use std::collections::BTreeMap;

use crds::ThanosQuery;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// What a ThanosQuery asks for, apart from its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// `metadata.generation`.
    pub generation: Option<i64>,
    /// `metadata.labels`.
    pub labels: Option<BTreeMap<String, String>>,
    /// `metadata.annotations`.
    pub annotations: Option<BTreeMap<String, String>>,
}

// === impl Seen ===

impl Seen {
    /// Of `query` as it is.
    pub fn of(query: &ThanosQuery) -> Self {
        let ObjectMeta { generation, labels, annotations, .. } = query.metadata.clone();
        Self { generation, labels, annotations }
    }
}
