//! The ThanosQuery API, and every name that the operator, its manifests and its tests share.

pub mod names;
pub mod thanos_query;

pub use thanos_query::{ThanosQuery, ThanosQuerySpec, ThanosQueryStatus};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

/// Every CRD of the project, as `thanos-operator crd` prints them and `manifests/crd.yaml` holds them.
pub fn all() -> Vec<CustomResourceDefinition> {
    vec![ThanosQuery::crd()]
}
