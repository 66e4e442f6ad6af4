//! Promise 4 and 6: a bad object is reported by name with the remedy, and disturbs nothing else.

use anyhow::{Context as _, Result, bail};
use crds::names::{conditions, reasons};

use super::Case;
use crate::fixtures::{Queriers, Store, StoreService, World, eventually, queriers::FOLLOW};

/// The cases of this file.
pub fn cases() -> Vec<Case> {
    vec![
        Case::shared(
            "bad input",
            "a Service without the port is reported by name, disturbs nothing, and counts once it is mended",
            without_port,
        ),
        Case::shared(
            "bad input",
            "a Service with conflicting type labels counts as the strongest and is reported by name",
            conflicting_labels,
        ),
        Case::shared("bad input", "an empty selector selects every StoreAPI Service", empty_selector),
    ]
}

async fn without_port(world: World) -> Result<()> {
    world.stores([Store::new("a"), Store::new("b").without_service()]).await?;
    let queriers = world.ready_thanos_query("global", "{replicas: 2}").await?;
    queriers.every_pod_lists(&["a"]).await?;
    let before = queriers.snapshot().await?;
    let always = queriers.always_listed("a");

    world.service(&StoreService::of("b").port_name("web")).await?;
    eventually(FOLLOW, "Service b among status.rejected", || async {
        let status = queriers.object().await?.status.context("no status")?;
        let [rejected] = status.rejected.as_slice() else { bail!("{:?}", status.rejected) };
        let told = rejected.name == "b" && rejected.reason == "NoPort" && rejected.message.contains("web");
        if told { Ok(()) } else { bail!("{rejected:?}") }
    })
    .await?;
    event_names(&queriers, "b", "NoPort").await?;
    let object = queriers.object().await?;
    let ready = object.status.iter().flat_map(|status| &status.conditions);
    if !ready.clone().any(|condition| condition.type_ == conditions::READY && condition.status == "True") {
        bail!("not Ready any more: {:?}", object.status);
    }

    world.service(&StoreService::of("b")).await?;
    queriers.every_pod_lists(&["a", "b"]).await?;
    eventually(FOLLOW, "nothing rejected any more", || async {
        let status = queriers.object().await?.status.context("no status")?;
        if status.rejected.is_empty() { Ok(()) } else { bail!("{:?}", status.rejected) }
    })
    .await?;
    always.held().await?;
    queriers.unchanged_since(&before).await
}

async fn conflicting_labels(world: World) -> Result<()> {
    let conflicting = StoreService::of("b").strict().group();
    world.stores([Store::new("a"), Store::new("b").behind(conflicting)]).await?;
    let queriers = world.ready_thanos_query("global", "{replicas: 1}").await?;
    queriers.every_pod_lists(&["a", "b"]).await?;
    event_names(&queriers, "b", "ConflictingTypeLabels").await?;
    let status = queriers.object().await?.status.context("no status")?;
    let counts = status.endpoints.context("no counts")?;
    let seen = (counts.total, counts.regular, counts.strict, counts.group);
    if seen == (2, 1, 1, 0) { Ok(()) } else { bail!("{counts:?}") }
}

async fn empty_selector(world: World) -> Result<()> {
    world.stores([Store::new("a"), Store::new("b")]).await?;
    let queriers = world.ready_thanos_query("global", "{replicas: 1, customStoreLabelSelector: {}}").await?;
    queriers.every_pod_lists(&["a", "b"]).await
}

async fn event_names(queriers: &Queriers, service: &str, word: &str) -> Result<()> {
    eventually(FOLLOW, format!("an Event about Service {service}: {word}"), || async {
        let events = queriers.events(reasons::SERVICE_REJECTED).await?;
        let found = events
            .iter()
            .filter(|note| note.contains(&format!("/{service}:")) && note.contains(word))
            .count();
        if found == 1 { Ok(()) } else { bail!("{found} such Events: {events:?}") }
    })
    .await
}
