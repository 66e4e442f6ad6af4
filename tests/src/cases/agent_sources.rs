//! What the agent follows: the ConfigMap through the kubelet alone, and one that is gone.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use crds::names::pod;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;

use super::Case;
use crate::fixtures::{Queriers, Store, StoreService, World, eventually, eventually_every, queriers::FOLLOW};

/// The kubelet renews a mount after 60 to 90 s; it may have failed once, and then waits for two minutes.
const KUBELET: Duration = Duration::from_secs(240);

/// Between two requests that the kubelet look at a pod: it takes about one a second.
const POKES: Duration = Duration::from_secs(2);

/// The cases of this file.
pub fn cases() -> Vec<Case> {
    vec![
        Case::shared(
            "agent",
            "with agent.source Mount a change arrives by the kubelet alone, and the pod has no API token",
            mount_only,
        )
        .limit(420),
        Case::shared(
            "agent",
            "a ConfigMap that is deleted empties the mount, and every pod keeps its stores and then follows again",
            config_map_deleted,
        ),
    ]
}

/// Case 3, with the kubelet's own swap of the mount.
async fn mount_only(world: World) -> Result<()> {
    world.stores([Store::new("a"), Store::new("b").without_service()]).await?;
    let spec = "{replicas: 1, serviceDiscovery: {agent: {source: Mount}}}";
    let queriers = world.ready_thanos_query("global", spec).await?;
    queriers.every_pod_lists(&["a"]).await?;
    let before = queriers.snapshot().await?;
    let one = queriers.ready_pods().await?.into_iter().next().context("no Ready pod")?;
    let volumes = one.spec.as_ref().and_then(|spec| spec.volumes.as_ref());
    if volumes.into_iter().flatten().any(|volume| volume.name == pod::TOKEN_VOLUME) {
        bail!("the pod has a token");
    }

    world.service(&StoreService::of("b")).await?;
    let report = eventually(KUBELET, "the change in the pod's file", || async {
        let report = queriers.agent_of(&one).await?;
        match &report.applied {
            Some(applied) if applied.endpoints == 2 => Ok(report),
            applied => bail!("{applied:?}, mount {:?}", report.mount),
        }
    })
    .await?;
    let source = report.applied.as_ref().map(|applied| applied.source.as_str());
    if source != Some("mount") || report.api.up || report.api.generation.is_some() {
        bail!("it did not come by the mount alone: {report:?}");
    }
    queriers.every_pod_lists(&["a", "b"]).await?;
    queriers.unchanged_since(&before).await
}

/// Case 45.
async fn config_map_deleted(world: World) -> Result<()> {
    world.stores([Store::new("a"), Store::new("b").without_service()]).await?;
    let queriers = world.ready_thanos_query("global", "{replicas: 1}").await?;
    queriers.every_pod_lists(&["a"]).await?;
    let before = queriers.snapshot().await?;
    let always = queriers.always_listed("a");
    mount_shows_a_document(&world, &queriers).await?;

    // The operator would make it again before anybody saw the gap.
    world.operator()?.lock().await.stop().await?;
    let name = queriers.config_map().await?.name_any();
    world.api::<ConfigMap>().delete(&name, &Default::default()).await?;
    let one = queriers.ready_pods().await?.into_iter().next().context("no Ready pod")?;
    let applied = queriers.agent_of(&one).await?.applied.context("nothing applied")?;
    eventually_every(POKES, FOLLOW * 2, "the agent finds nothing, here and there", || async {
        world.poke(&one).await?;
        let report = queriers.agent_of(&one).await?;
        if report.api.up || report.mount.up {
            bail!("api {:?}, mount {:?}", report.api, report.mount)
        } else {
            Ok(())
        }
    })
    .await?;
    let kept = queriers.agent_of(&one).await?.applied.context("nothing applied")?;
    if kept != applied {
        bail!("{applied:?} became {kept:?}");
    }
    queriers.every_pod_lists(&["a"]).await?;

    world.operator()?.lock().await.start_again().await?;
    world.service(&StoreService::of("b")).await?;
    queriers.every_pod_lists(&["a", "b"]).await?;
    mount_shows_a_document(&world, &queriers).await?;
    always.held().await?;
    queriers.unchanged_since(&before).await
}

/// Waits until the mount of every pod shows the document that is applied.
async fn mount_shows_a_document(world: &World, queriers: &Queriers) -> Result<()> {
    eventually_every(POKES, FOLLOW * 2, "the mount shows the document", || async {
        for pod in queriers.pods().await? {
            world.poke(&pod).await?;
            let report = queriers.agent_of(&pod).await?;
            let applied = report.applied.map(|applied| applied.generation);
            if !report.mount.up || report.mount.generation != applied {
                bail!("applied {applied:?}, mount {:?}", report.mount);
            }
        }
        Ok(())
    })
    .await
}
