//! Services of other namespaces, on the real cluster: labels that flip, and consent.

use anyhow::Result;
use crds::names::{annotations::ALLOW_DISCOVERY_FROM, conditions};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use super::Case;
use crate::fixtures::{Store, World};

/// The label by which namespaces are chosen.
const LABEL: &str = "e2e.thanos.io/watched-by";

/// The cases of this file.
pub fn cases() -> Vec<Case> {
    vec![
        Case::exclusive(
            "namespaces",
            "a namespace that gets and loses a label, and gives and takes its consent, is followed without a restart",
            label_flips,
        ),
        Case::shared(
            "namespaces",
            "who asks for all namespaces of an operator that works in one is told, and gets that one",
            out_of_reach,
        ),
    ]
}

async fn label_flips(world: World) -> Result<()> {
    let other = world.beside("other").await?;
    world.store(Store::new("a")).await?;
    other.store(Store::new("b")).await?;
    let own = world.namespace();
    let spec = format!(
        "{{replicas: 1, serviceDiscovery: {{namespaceSelector: {{matchNames: [{own}], matchLabels: {{{LABEL}: {own}}}}}}}}}"
    );
    let queriers = world.ready_thanos_query("global", &spec).await?;
    queriers.every_pod_lists(&["a"]).await?;
    let before = queriers.snapshot().await?;

    change(&other, "labels", LABEL, json!(own)).await?;
    queriers.says(conditions::SERVICES_REJECTED, &["allow-discovery-from", &format!("={own}")]).await?;
    change(&other, "annotations", ALLOW_DISCOVERY_FROM, json!(own)).await?;
    queriers.every_pod_lists(&["a", "b"]).await?;
    queriers.says_no_more(conditions::SERVICES_REJECTED).await?;

    change(&other, "labels", LABEL, Value::Null).await?;
    queriers.every_pod_lists(&["a"]).await?;
    change(&other, "labels", LABEL, json!(own)).await?;
    queriers.every_pod_lists(&["a", "b"]).await?;
    change(&other, "annotations", ALLOW_DISCOVERY_FROM, json!("somebody-else")).await?;
    queriers.every_pod_lists(&["a"]).await?;

    queriers.unchanged_since(&before).await?;
    other.delete().await
}

/// Sets or takes away a label or annotation of the namespace.
async fn change(world: &World, kind: &str, name: &str, value: Value) -> Result<()> {
    let api: Api<Namespace> = Api::all(world.client());
    let patch = Patch::Merge(json!({"metadata": {kind: {name: value}}}));
    api.patch(world.namespace(), &PatchParams::default(), &patch).await?;
    Ok(())
}

async fn out_of_reach(world: World) -> Result<()> {
    world.store(Store::new("a")).await?;
    let spec = "{replicas: 1, serviceDiscovery: {namespaceSelector: {any: true}}}";
    let queriers = world.ready_thanos_query("global", spec).await?;
    queriers.every_pod_lists(&["a"]).await?;
    let words = ["namespaceSelector.any", world.namespace(), "--watch-namespaces"];
    queriers.says(conditions::NAMESPACES_OUT_OF_REACH, &words).await.map(drop)
}
