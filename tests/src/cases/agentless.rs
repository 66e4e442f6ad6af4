//! Without an agent the kubelet brings the file.

use std::time::Duration;

use anyhow::{Result, bail};
use crds::names::{conditions::ENDPOINTS_SYNCED, reasons};

use super::Case;
use crate::fixtures::{Queriers, Store, StoreService, World, eventually, queriers::Listed};

/// The kubelet looks each 60 to 90 s, and Thanos has a tick of its own.
const KUBELET: Duration = Duration::from_secs(150);

/// The cases of this file.
pub fn cases() -> Vec<Case> {
    vec![
        Case::shared(
            "agentless",
            "without an agent a change arrives within the kubelet's minute and replaces no pod, and status says so",
            by_kubelet,
        )
        .limit(420),
        Case::shared(
            "agentless",
            "from an agent to none and back every pod lists its store at every moment",
            there_and_back,
        )
        .limit(480)
        .only_full(),
    ]
}

async fn by_kubelet(world: World) -> Result<()> {
    world.stores([Store::new("a"), Store::new("b").without_service()]).await?;
    let agentless = "{replicas: 2, serviceDiscovery: {agent: {enabled: false}}}";
    let queriers = world.ready_thanos_query("global", agentless).await?;
    queriers.every_pod_lists(&["a"]).await?;
    let before = queriers.snapshot().await?;
    let always = queriers.always_listed("a");
    world.service(&StoreService::of("b")).await?;
    every_pod_lists_in_time(&queriers, &["a", "b"]).await?;
    let conditions = queriers.object().await?.status.map(|status| status.conditions).unwrap_or_default();
    let told = conditions.iter().find(|own| own.type_ == ENDPOINTS_SYNCED);
    if !told.is_some_and(|own| {
        own.reason == reasons::DELIVERED_BY_KUBELET && own.message.contains("about a minute")
    }) {
        bail!("{told:?}");
    }
    always.held().await?;
    queriers.unchanged_since(&before).await
}

async fn there_and_back(world: World) -> Result<()> {
    world.store(Store::new("a")).await?;
    let queriers = world.ready_thanos_query("global", "{replicas: 2}").await?;
    queriers.every_pod_lists(&["a"]).await?;
    let always = queriers.always_listed("a");
    for spec in ["{replicas: 2, serviceDiscovery: {agent: {enabled: false}}}", "{replicas: 2}"] {
        let before = queriers.snapshot().await?;
        world.thanos_query("global", spec).await?;
        queriers.rolled_out(&before).await?;
        queriers.every_pod_lists(&["a"]).await?;
    }
    always.held().await.map(drop)
}

/// As [`Queriers::every_pod_lists`], at the kubelet's pace.
async fn every_pod_lists_in_time(queriers: &Queriers, stores: &[&str]) -> Result<()> {
    eventually(KUBELET, format!("every pod lists {stores:?}"), || async {
        for pod in queriers.pods().await? {
            let listed = queriers.listed_by(&pod).await?;
            let mut found: Vec<&str> = listed.iter().filter_map(Listed::store).collect();
            found.sort_unstable();
            if found != stores {
                bail!("{found:?}");
            }
        }
        Ok(())
    })
    .await
}
