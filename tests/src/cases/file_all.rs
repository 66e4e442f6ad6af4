//! Mode FileAll: strict and group endpoints are in the file, too, so nothing that Services do replaces a pod.

use anyhow::{Context as _, Result, bail};
use crds::names::labels;
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt as _;

use super::Case;
use crate::fixtures::{Queriers, Question, Store, StoreService, World, eventually, queriers::FOLLOW};

/// Changes of Services in a row.
const CHANGES: usize = 100;
/// After so many of them everything is looked at.
const BETWEEN_LOOKS: usize = 10;

/// The cases of this file.
pub fn cases() -> Vec<Case> {
    let changes = format!(
        "in mode FileAll {CHANGES} changes of every type replace no pod, and no query fails or lacks series (v0.42.4)"
    );
    vec![
        Case::shared("file all", changes, many_changes).limit(600),
        Case::shared(
            "file all",
            "in mode FileAll a store that is connected becomes strict, and regular again, without a restart (v0.42.4)",
            strict_and_back,
        )
        .limit(300),
    ]
}

const SPEC: &str =
    "{replicas: 2, version: v0.42.4, serviceDiscovery: {mode: FileAll, removalGuard: {holdFor: 0s}}}";

async fn many_changes(world: World) -> Result<()> {
    let headless = StoreService::of("c").headless();
    world
        .stores([
            Store::new("a"),
            Store::new("b"),
            Store::new("c").stateful(2).behind(headless.clone().strict()),
            Store::new("d").without_service(),
        ])
        .await?;
    let queriers = world.ready_thanos_query("global", SPEC).await?;
    queriers.every_pod_lists(&["a", "b", "c", "c"]).await?;
    queriers.every_pod_answers(&Question::of("count by (store) (up)"), &["a", "b", "c"]).await?;
    let before = queriers.snapshot().await?;
    let always = queriers.always_answers(&["a", "b", "c"]);

    // What each of them becomes in turn, and as how many stores Thanos lists it.
    let one = StoreService::of("b");
    let ways_of_b = [
        one.clone().strict(),
        one.clone(),
        one.clone().group(),
        one.clone().strict(),
        one.clone().group_strict(),
        one,
    ];
    let ways_of_c = [
        (headless.clone().group(), 1),
        (headless.clone().strict(), 2),
        (headless.clone(), 2),
        (headless.clone().group(), 1),
        (headless.clone(), 2),
        (headless.clone().strict(), 2),
    ];
    let d = StoreService::of("d");
    let ways_of_d = [
        Some(d.clone()),
        None,
        Some(d.clone().strict()),
        Some(d.clone().group()),
        None,
        Some(d.clone().strict()),
        None,
        Some(d.clone().port(81)),
        Some(d.clone().group_strict()),
        None,
    ];
    let (mut listed_c, mut lists_d) = (2, false);
    for change in 0..CHANGES {
        let generation = generation_of(&queriers).await?;
        let turn = change / 3;
        match change % 3 {
            0 => drop(world.service(&ways_of_b[turn % ways_of_b.len()]).await?),
            1 => {
                let (way, stores) = &ways_of_c[turn % ways_of_c.len()];
                world.service(way).await?;
                listed_c = *stores;
            }
            _ => {
                match &ways_of_d[turn % ways_of_d.len()] {
                    Some(way) => drop(world.service(way).await?),
                    // Its Service goes on working: it only does not count any more.
                    None => drop(world.service(&d.clone().unlabelled(labels::STORE_API)).await?),
                }
                lists_d = ways_of_d[turn % ways_of_d.len()].is_some();
            }
        }
        every_pod_has_more_than(&queriers, generation, change).await?;
        if (change + 1) % BETWEEN_LOOKS == 0 {
            let mut stores = vec!["a", "b"];
            stores.extend(std::iter::repeat_n("c", listed_c));
            stores.extend(lists_d.then_some("d"));
            queriers.every_pod_lists(&stores).await.with_context(|| format!("after change {change}"))?;
        }
    }
    always.held().await?;
    queriers.unchanged_since(&before).await?;
    queriers.had_no_rollout().await
}

async fn strict_and_back(world: World) -> Result<()> {
    world.stores([Store::new("a"), Store::new("b")]).await?;
    let queriers = world.ready_thanos_query("global", SPEC).await?;
    queriers.every_pod_lists(&["a", "b"]).await?;
    let before = queriers.snapshot().await?;

    let generation = generation_of(&queriers).await?;
    world.service(&StoreService::of("b").strict()).await?;
    every_pod_has_more_than(&queriers, generation, 0).await?;
    // Spelt otherwise, so Thanos has it anew.
    queriers.every_pod_reaches(&format!("B.{}.svc.cluster.local:80", world.namespace())).await?;
    queriers.every_pod_lists(&["a", "b"]).await?;
    world.scale::<Deployment>("b", 0).await?;
    warns_of_b(&queriers, true).await?;

    let generation = generation_of(&queriers).await?;
    world.service(&StoreService::of("b")).await?;
    every_pod_has_more_than(&queriers, generation, 1).await?;
    warns_of_b(&queriers, false).await?;
    world.scale::<Deployment>("b", 1).await?;
    queriers.every_pod_lists(&["a", "b"]).await?;
    queriers.unchanged_since(&before).await?;
    queriers.had_no_rollout().await
}

/// A strict store that is down is missed by every query; of a regular one Thanos says nothing once it is not listed.
async fn warns_of_b(queriers: &Queriers, wanted: bool) -> Result<()> {
    let what = if wanted { "every pod warns that b is missing" } else { "no pod warns" };
    eventually(FOLLOW, what, || async {
        for pod in queriers.pods().await? {
            let lists_b = queriers
                .listed_by(&pod)
                .await?
                .iter()
                .any(|one| one.last_error.is_none() && one.store() == Some("b"));
            let answer = queriers.ask(&pod, &Question::of("up").partial()).await?;
            if lists_b || answer.warnings.is_empty() == wanted {
                bail!("{}: lists b: {lists_b}, warnings {:?}", pod.name_any(), answer.warnings);
            }
        }
        Ok(())
    })
    .await
}

async fn generation_of(queriers: &Queriers) -> Result<u64> {
    let mut newest = 0;
    for pod in queriers.pods().await? {
        let applied = queriers.agent_of(&pod).await?.applied.context("nothing applied")?;
        newest = newest.max(applied.generation);
    }
    Ok(newest)
}

async fn every_pod_has_more_than(queriers: &Queriers, generation: u64, change: usize) -> Result<()> {
    eventually(FOLLOW, format!("change {change} in every pod's file"), || async {
        for pod in queriers.pods().await? {
            let applied = queriers.agent_of(&pod).await?.applied.context("nothing applied")?;
            if applied.generation <= generation {
                bail!("{} has generation {}", pod.name_any(), applied.generation);
            }
        }
        Ok(())
    })
    .await
}
