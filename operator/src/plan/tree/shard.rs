//! One shard of a tree: a ThanosQuery of its own, so that its pods, endpoints and status are made as those of any other.

use std::collections::BTreeMap;

use crds::{
    ThanosQuery, ThanosQuerySpec,
    distributed::Distributed,
    names::{annotations, labels},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;

use super::ShardSet;
use crate::plan::{meta::is_of_a_tool, thanos_args::tree_flags};

/// The image that a shard has, in the words of its spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardImage {
    /// `spec.baseImage`, with its tag.
    pub base_image: Option<String>,
    /// `spec.version`.
    pub version: Option<String>,
}

/// Shard `index` of `root`. `accepted` is the number of a removal that it may carry out.
pub fn shard(
    root: &ThanosQuery,
    distributed: &Distributed,
    index: i32,
    image: ShardImage,
    accepted: Option<String>,
) -> ThanosQuery {
    // Without `..`: what a new field means for a shard has to be said here.
    let ThanosQuerySpec {
        mut common,
        replicas: _,
        replica_labels,
        custom_store_label_selector,
        telemetry_quantiles,
        web_config: _,
        grpc_proxy_strategy,
        query_frontend: _,
        mut service_discovery,
        distributed: _,
        server: _,
        tenancy: _,
        paused: _,
    } = root.spec.clone();
    let Distributed { shards, replicas_per_shard, sharding_labels } = distributed;
    let mut args = tree_flags::for_shards(common.additional_args.as_deref().unwrap_or_default());
    args.push(tree_flags::of_a_shard(sharding_labels, index, *shards));
    common.additional_args = Some(args);
    common.base_image = image.base_image;
    common.version = image.version;
    // Nobody but the root asks it, through its headless Service, and without TLS. What a tenant may see the root says.
    common.service = None;
    common.additional_service_ports = None;
    if let Some(all) = &mut common.labels {
        labels::ENDPOINT_LABELS.iter().for_each(|label| drop(all.remove(*label)));
    }
    // Each has a document of its own.
    service_discovery.config_map.name = None;
    ThanosQuery {
        metadata: metadata(root, &ShardSet::of(distributed), index, accepted),
        spec: ThanosQuerySpec {
            common,
            replicas: *replicas_per_shard,
            replica_labels,
            custom_store_label_selector,
            telemetry_quantiles,
            web_config: None,
            grpc_proxy_strategy,
            query_frontend: None,
            service_discovery,
            distributed: None,
            server: None,
            tenancy: None,
            paused: None,
        },
        status: None,
    }
}

fn metadata(root: &ThanosQuery, set: &ShardSet, index: i32, accepted: Option<String>) -> ObjectMeta {
    let name = root.metadata.name.clone().unwrap_or_default();
    let is_endpoint = |label: &str| labels::ENDPOINT_LABELS.contains(&label);
    let given = root.metadata.labels.iter().flatten();
    let mut all: BTreeMap<String, String> = given
        .filter(|(label, _)| !is_of_a_tool(label) && !is_endpoint(label))
        .map(|(label, value)| (label.clone(), value.clone()))
        .collect();
    let shard = index.to_string();
    let own = [
        (labels::MANAGED_BY, labels::OPERATOR),
        (labels::OWNER, name.as_str()),
        (labels::SHARD_OF, name.as_str()),
        (labels::SHARD, shard.as_str()),
    ];
    all.extend(own.map(|(label, value)| (label.to_owned(), value.to_owned())));
    let is_own = |annotation: &str| {
        annotation.split_once('/').is_some_and(|(domain, _)| domain == annotations::OWN_DOMAIN)
    };
    let given = root.metadata.annotations.iter().flatten();
    // The hashes of all shards may be listed at the root; each takes its own.
    let is_for_shards =
        |name: &str| name == annotations::ACCEPT_DEFAULTS || !is_of_a_tool(name) && !is_own(name);
    let mut notes: BTreeMap<String, String> = given
        .filter(|(name, _)| is_for_shards(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    notes.extend(accepted.map(|number| (annotations::ACCEPT_REMOVAL.to_owned(), number)));
    ObjectMeta {
        name: Some(set.shard_name(&name, index)),
        namespace: root.metadata.namespace.clone(),
        labels: Some(all),
        annotations: (!notes.is_empty()).then_some(notes),
        owner_references: Some(root.controller_owner_ref(&()).into_iter().collect()),
        ..ObjectMeta::default()
    }
}
