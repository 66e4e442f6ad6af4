//! The PodDisruptionBudget: one pod at a time may be evicted.

use k8s_openapi::{
    api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

use super::{Replicas, Workload};

/// The budget; with a single pod it would block every drain, so there is none then.
pub fn disruption_budget(workload: &Workload<'_>, replicas: &Replicas) -> Option<PodDisruptionBudget> {
    if !workload.common.pod_disruption_budget_config.is_enabled() || replicas.effective < 2 {
        return None;
    }
    Some(PodDisruptionBudget {
        metadata: workload.object_meta(workload.name()),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(LabelSelector {
                match_labels: Some(workload.selector()),
                ..LabelSelector::default()
            }),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    })
}
