//! Promise 3: also while a rollout is half done or stuck, each pod has every endpoint, and has it once.

use anyhow::{Context as _, Result, bail};
use kube::ResourceExt as _;

use super::Case;
use crate::fixtures::{Queriers, Store, StoreService, World, eventually, queriers::FOLLOW};

/// The cases of this file.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for version in ["v0.42.4", "v0.37.2"] {
        let name = format!(
            "a Service relabelled regular, strict and regular again is listed by every Ready pod at every moment ({version})"
        );
        cases.push(Case::shared("handover", name, move |world| relabelled(world, version)).limit(420));
    }
    cases.push(
        Case::shared(
            "handover",
            "a change of Thanos between 0.35.1, 0.37.2 and 0.42.4, in every direction, keeps every store listed once by every Ready pod at every moment",
            version_change,
        )
        .limit(600),
    );
    cases.push(
        Case::shared(
            "handover",
            "with a rollout stuck on an image that does not exist, old and new pods still follow",
            stuck_rollout,
        )
        .limit(420),
    );
    cases
}

async fn relabelled(world: World, version: &str) -> Result<()> {
    world.stores([Store::new("a"), Store::new("b")]).await?;
    let spec = format!("{{replicas: 2, version: {version}}}");
    let queriers = world.ready_thanos_query("global", &spec).await?;
    queriers.every_pod_lists(&["a", "b"]).await?;
    let always = queriers.always_listed("b");

    let regular = queriers.snapshot().await?;
    world.service(&StoreService::of("b").strict()).await?;
    queriers.rolled_out(&regular).await?;
    queriers.every_pod_lists(&["a", "b"]).await?;

    let strict = queriers.snapshot().await?;
    world.service(&StoreService::of("b")).await?;
    queriers.rolled_out(&strict).await?;
    queriers.every_pod_lists(&["a", "b"]).await?;

    always.held().await?;
    Ok(())
}

async fn version_change(world: World) -> Result<()> {
    let headless = StoreService::of("b").headless();
    let strict = StoreService::of("c").strict();
    // Its flag has another form in each of the three releases' families.
    let group = StoreService::of("d").headless().group();
    let stores = [
        Store::new("a"),
        Store::new("b").behind(headless),
        Store::new("c").behind(strict),
        Store::new("d").behind(group),
    ];
    world.stores(stores).await?;
    let all = ["a", "b", "c", "d"];
    let queriers = world.ready_thanos_query("global", "{replicas: 1, version: v0.35.1}").await?;
    queriers.every_pod_lists(&all).await?;
    let always = queriers.always_lists(&all);
    for version in ["v0.37.2", "v0.42.4", "v0.35.1", "v0.42.4", "v0.37.2", "v0.35.1"] {
        let before = queriers.snapshot().await?;
        world.thanos_query("global", &format!("{{replicas: 1, version: {version}}}")).await?;
        queriers.rolled_out(&before).await?;
        queriers.every_pod_lists(&all).await?;
    }
    always.held().await.map(drop)
}

async fn stuck_rollout(world: World) -> Result<()> {
    world.stores([Store::new("a"), Store::new("b").without_service()]).await?;
    let queriers = world.ready_thanos_query("global", "{replicas: 2, version: v0.37.2}").await?;
    queriers.every_pod_lists(&["a"]).await?;
    let before = queriers.snapshot().await?;
    let always = queriers.always_listed("a");

    // A release that nobody made: the agent of the new pod runs, its Thanos never does.
    world.thanos_query("global", "{replicas: 2, version: v0.42.99}").await?;
    eventually(FOLLOW, "a pod of the new template", || async {
        let pods = queriers.pods().await?;
        if pods.len() > 2 { Ok(()) } else { bail!("{} pods", pods.len()) }
    })
    .await?;
    world.service(&StoreService::of("b")).await?;
    ready_pods_list(&queriers, "b").await?;
    every_agent_has_the_document(&queriers).await?;
    always.held().await?;

    world.thanos_query("global", "{replicas: 2, version: v0.37.2}").await?;
    queriers.ready().await?;
    queriers.every_pod_lists(&["a", "b"]).await?;
    queriers.unchanged_since(&before).await
}

async fn ready_pods_list(queriers: &Queriers, store: &str) -> Result<()> {
    eventually(FOLLOW, format!("every Ready pod lists {store}"), || async {
        for pod in queriers.ready_pods().await? {
            let listed = queriers.listed_by(&pod).await?;
            if !listed.iter().any(|one| one.store() == Some(store)) {
                bail!("{} lists {listed:?}", pod.name_any());
            }
        }
        Ok(())
    })
    .await
}

async fn every_agent_has_the_document(queriers: &Queriers) -> Result<()> {
    eventually(FOLLOW, "every agent, also of the stuck pod, has the document", || async {
        let status = queriers.object().await?.status.context("no status")?;
        let wanted = status.document.context("no document")?;
        let pods = queriers.pods().await?;
        if pods.len() != 3 {
            bail!("{} pods", pods.len());
        }
        for pod in pods {
            let applied = queriers.agent_of(&pod).await?.applied.context("nothing applied")?;
            if applied.sha256 != wanted.sha256 {
                bail!(
                    "{} has generation {}, wanted {}",
                    pod.name_any(),
                    applied.generation,
                    wanted.generation
                );
            }
        }
        Ok(())
    })
    .await
}
