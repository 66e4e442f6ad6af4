//! Option One and Option Two: what a change costs in each, and the way between them.

use anyhow::{Result, bail};
use k8s_openapi::api::{core::v1::ConfigMap, rbac::v1::Role};

use super::Case;
use crate::fixtures::{Store, StoreService, World, eventually, queriers::FOLLOW};

/// The cases of this file.
pub fn cases() -> Vec<Case> {
    vec![
        Case::shared(
            "modes",
            "in mode Flags every change is a rollout, and mode File follows without one again",
            modes,
        )
        .limit(420),
    ]
}

async fn modes(world: World) -> Result<()> {
    world.stores([Store::new("a"), Store::new("b").without_service()]).await?;
    let file = "{replicas: 2}";
    let flags = "{replicas: 2, serviceDiscovery: {mode: Flags}}";
    let queriers = world.ready_thanos_query("global", file).await?;
    queriers.every_pod_lists(&["a"]).await?;
    let always = queriers.always_listed("a");

    let with_file = queriers.snapshot().await?;
    world.thanos_query("global", flags).await?;
    queriers.rolled_out(&with_file).await?;
    queriers.every_pod_lists(&["a"]).await?;
    eventually(FOLLOW, "ConfigMap and Role gone", || async {
        let config_map = world.api::<ConfigMap>().get_opt("thanos-query-global-endpoints").await?;
        let role = world.api::<Role>().get_opt("thanos-query-global").await?;
        if config_map.is_some() || role.is_some() { bail!("still there") } else { Ok(()) }
    })
    .await?;

    let with_flags = queriers.snapshot().await?;
    world.service(&StoreService::of("b")).await?;
    queriers.rolled_out(&with_flags).await?;
    queriers.every_pod_lists(&["a", "b"]).await?;

    let with_both = queriers.snapshot().await?;
    world.thanos_query("global", file).await?;
    queriers.rolled_out(&with_both).await?;
    queriers.every_pod_lists(&["a", "b"]).await?;

    let with_file = queriers.snapshot().await?;
    world.delete_service("b").await?;
    queriers.every_pod_lists(&["a"]).await?;
    queriers.unchanged_since(&with_file).await?;
    always.held().await?;
    Ok(())
}
