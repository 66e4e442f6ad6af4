//! The Deployment of either workload.

use std::collections::BTreeMap;

use crds::names::annotations;
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::PodTemplateSpec,
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

use super::{Replicas, Workload, inputs};

/// The Deployment of `workload` with these pods. `inputs` is what is said about them outside its section of the spec.
pub fn deployment(
    workload: &Workload<'_>,
    template: PodTemplateSpec,
    replicas: &Replicas,
    inputs: &[String],
) -> Deployment {
    let mut metadata = workload.object_meta(workload.name());
    metadata.annotations.get_or_insert_with(BTreeMap::new).extend([
        (annotations::TEMPLATE_HASH.to_owned(), inputs::template_hash(&serde_json::json!(template))),
        (annotations::TEMPLATE_INPUTS.to_owned(), inputs::hash_of(workload, inputs)),
        (annotations::REPLICAS.to_owned(), replicas.note.clone()),
    ]);
    Deployment {
        metadata,
        spec: Some(DeploymentSpec {
            replicas: replicas.apply,
            selector: LabelSelector { match_labels: Some(workload.selector()), ..LabelSelector::default() },
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_unavailable: Some(IntOrString::Int(0)),
                    max_surge: Some(IntOrString::Int(1)),
                }),
            }),
            template,
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}
