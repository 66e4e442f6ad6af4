//! Promise 4: a wrong edit of many Services at once empties no querier.

use anyhow::{Context as _, Result, bail};
use crds::{
    names::{
        annotations::ACCEPT_REMOVAL,
        conditions::REMOVAL_HELD,
        labels::{STORE_API, TRUE},
    },
    thanos_query_status::HeldRemoval,
};

use super::Case;
use crate::fixtures::{Queriers, Store, StoreService, World, eventually, queriers::FOLLOW};

/// Four Services of one store: they count, not what is behind them.
const SERVICES: [&str; 4] = ["s0", "s1", "s2", "s3"];

/// The cases of this file.
pub fn cases() -> Vec<Case> {
    vec![
        Case::shared(
            "removals",
            "a script that strips the labels from all four Services costs no endpoint, also while the operator is started again, until somebody accepts it",
            labels_stripped,
        ),
        Case::shared(
            "removals",
            "a removal that nobody accepts is carried out when its time is over",
            time_over,
        ),
    ]
}

async fn labels_stripped(world: World) -> Result<()> {
    let queriers = four_services(&world, "{replicas: 2}").await?;
    let before = queriers.snapshot().await?;
    let always = queriers.always_listed("a");
    strip(&world).await?;
    let held = all_held(&queriers).await?;
    queriers.says(REMOVAL_HELD, &["s0", "s2", &format!("{ACCEPT_REMOVAL}={}", held.generation)]).await?;
    queriers.every_pod_lists(&["a"; 4]).await?;
    if queriers.events(REMOVAL_HELD).await?.is_empty() {
        bail!("no Event tells it");
    }

    let mut operator = world.operator()?.lock().await;
    operator.stop().await?;
    operator.start_again().await?;
    operator.reconciled().await?;
    let metrics = operator.metrics().await?;
    drop(operator);
    let metric = metrics.lines().find(|line| line.starts_with("thanos_operator_query_removal_held{"));
    if !metric.is_some_and(|line| line.ends_with(" 4")) {
        bail!("the metric says {metric:?}");
    }
    // What is new is not held up; when it is there, the operator has also written what it makes of the others.
    world.service(&StoreService::of("a").named("s4")).await?;
    queriers.every_pod_lists(&["a"; 5]).await?;
    let again = all_held(&queriers).await?;
    if again != held {
        bail!("{held:?} became {again:?} by a new start of the operator");
    }

    accept(&world, &held).await?;
    queriers.every_pod_lists(&["a"]).await?;
    queriers.says_no_more(REMOVAL_HELD).await?;
    always.held().await?;
    queriers.unchanged_since(&before).await
}

async fn time_over(world: World) -> Result<()> {
    let spec = "{replicas: 1, serviceDiscovery: {removalGuard: {holdFor: 30s}}}";
    let queriers = four_services(&world, spec).await?;
    strip(&world).await?;
    all_held(&queriers).await?;
    queriers.every_pod_lists(&[]).await?;
    queriers.says_no_more(REMOVAL_HELD).await
}

async fn four_services(world: &World, spec: &str) -> Result<Queriers> {
    world.store(Store::new("a").without_service()).await?;
    for name in SERVICES {
        world.service(&StoreService::of("a").named(name)).await?;
    }
    let queriers = world.ready_thanos_query("global", spec).await?;
    queriers.every_pod_lists(&["a"; 4]).await?;
    Ok(queriers)
}

/// As a person does it, who meant other labels.
async fn strip(world: &World) -> Result<()> {
    let (selector, label) = (format!("{STORE_API}={TRUE}"), format!("{STORE_API}-"));
    world.kubectl(&["label", "service", "--selector", &selector, &label], "").await.map(drop)
}

async fn all_held(queriers: &Queriers) -> Result<HeldRemoval> {
    eventually(FOLLOW, "all four Services are held", || async {
        let status = queriers.object().await?.status.context("no status")?;
        let held = status.held_removal.context("nothing is held")?;
        if held.count == 4 { Ok(held) } else { bail!("{held:?}") }
    })
    .await
}

async fn accept(world: &World, held: &HeldRemoval) -> Result<()> {
    let number = format!("{ACCEPT_REMOVAL}={}", held.generation);
    world.kubectl(&["annotate", "thanosquery", "global", &number], "").await.map(drop)
}
