//! The PodDisruptionBudget: one querier at a time may be evicted.

use crds::ThanosQuery;
use k8s_openapi::{
    api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

use super::{Names, meta};

/// The budget; with a single replica it would block every drain, so there it is not planned.
pub fn disruption_budget(query: &ThanosQuery, names: &Names) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: meta::object_meta(query, names, &names.querier),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(LabelSelector {
                match_labels: Some(meta::selector(names)),
                ..LabelSelector::default()
            }),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    }
}
