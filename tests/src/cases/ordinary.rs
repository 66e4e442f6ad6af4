//! Promise 1: ordinary Services come and go, and no pod notices but by its file.

use anyhow::{Result, bail};
use crds::names::labels;

use super::Case;
use crate::fixtures::{Store, StoreService, World, eventually, queriers::FOLLOW};

/// The cases of this file.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for version in ["v0.42.4", "v0.37.2", "v0.35.1"] {
        cases.push(
            Case::shared(
                "ordinary",
                format!("an ordinary Service added, given another port, relabelled out and removed replaces no pod ({version})"),
                move |world| comes_and_goes(world, version),
            )
            .limit(360),
        );
    }
    cases.push(Case::shared(
        "ordinary",
        "a ThanosQuery without any store becomes Ready, and its first store arrives without a restart",
        first_store,
    ));
    cases
}

async fn comes_and_goes(world: World, version: &str) -> Result<()> {
    world.stores([Store::new("a"), Store::new("b").without_service()]).await?;
    // One of two comes and goes faster than a person does it; that removals go at once is what this is about.
    let spec = "replicas: 2, serviceDiscovery: {removalGuard: {holdFor: 0s}}";
    let queriers = world.ready_thanos_query("global", &format!("{{{spec}, version: {version}}}")).await?;
    queriers.every_pod_lists(&["a"]).await?;
    let before = queriers.snapshot().await?;
    let always = queriers.always_listed("a");
    let namespace = world.namespace();

    // ClusterIP, 80 → 10901.
    let by_address = StoreService::of("b");
    world.service(&by_address).await?;
    queriers.every_pod_lists(&["a", "b"]).await?;
    queriers.every_pod_reaches(&format!("b.{namespace}.svc.cluster.local:80")).await?;
    world.service(&by_address.clone().port(81)).await?;
    queriers.every_pod_reaches(&format!("b.{namespace}.svc.cluster.local:81")).await?;
    queriers.every_pod_lists(&["a", "b"]).await?;
    world.service(&by_address.clone().unlabelled(labels::STORE_API)).await?;
    queriers.every_pod_lists(&["a"]).await?;
    world.service(&by_address).await?;
    queriers.every_pod_lists(&["a", "b"]).await?;
    world.delete_service("b").await?;
    queriers.every_pod_lists(&["a"]).await?;

    // Headless: no port translation, so 80 must become the pods' port.
    let by_name = StoreService::of("b").named("b-headless").headless();
    world.service(&by_name).await?;
    queriers.every_pod_lists(&["a", "b"]).await?;
    queriers.every_pod_reaches(":10901").await?;
    world.service(&by_name.clone().port(81)).await?;
    queriers.every_pod_lists(&["a", "b"]).await?;
    world.service(&by_name.clone().unlabelled(labels::PART_OF)).await?;
    queriers.every_pod_lists(&["a"]).await?;
    world.service(&by_name).await?;
    queriers.every_pod_lists(&["a", "b"]).await?;
    world.delete_service("b-headless").await?;
    queriers.every_pod_lists(&["a"]).await?;

    always.held().await?;
    queriers.unchanged_since(&before).await?;
    queriers.had_no_rollout().await
}

async fn first_store(world: World) -> Result<()> {
    let queriers = world.ready_thanos_query("global", "{replicas: 2}").await?;
    queriers.every_pod_lists(&[]).await?;
    let before = queriers.snapshot().await?;
    world.store(Store::new("a")).await?;
    queriers.every_pod_lists(&["a"]).await?;
    queriers.unchanged_since(&before).await?;
    eventually(FOLLOW, "status synced 2/2", || async {
        let synced = queriers.object().await?.status.and_then(|status| status.synced);
        if synced.as_deref() == Some("2/2") { Ok(()) } else { bail!("{synced:?}") }
    })
    .await?;
    queriers.had_no_rollout().await
}
