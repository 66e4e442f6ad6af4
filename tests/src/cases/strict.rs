//! Promise 2: what Thanos knows only as a flag costs one rollout, which says why and which no client notices.

use anyhow::{Context as _, Result, bail};
use crds::names::reasons;
use k8s_openapi::api::{apps::v1::ReplicaSet, core::v1::Pod, discovery::v1::EndpointSlice};
use kube::{
    ResourceExt as _,
    api::{DeleteParams, ListParams},
};

use super::Case;
use crate::fixtures::{
    Queriers, Store, StoreService, World, eventually, pod_state::is_ready, queriers::FOLLOW,
};

/// The query that the client goes on asking.
const SERIES: &str = "count by (store) (up)";

/// The cases of this file.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for version in ["v0.42.4", "v0.37.2", "v0.35.1"] {
        let name = |kind: &str| {
            format!(
                "a {kind} Service added is one rollout with its reason, and no query fails or lacks series ({version})"
            )
        };
        let strict = Case::shared("strict", name("strict"), move |world| {
            one_rollout(world, version, StoreService::of("c").strict())
        });
        let group = Case::shared("strict", name("group"), move |world| {
            one_rollout(world, version, StoreService::of("c").headless().group())
        });
        cases.push(strict.limit(360));
        cases.push(group.limit(360));
    }
    let restarted = Case::shared(
        "strict",
        "a pod of a strict StatefulSet that is restarted replaces no querier, and its queries come back",
        pod_restarted,
    );
    cases.push(restarted);
    cases
}

async fn pod_restarted(world: World) -> Result<()> {
    let strict = StoreService::of("s").headless().strict();
    world.stores([Store::new("a"), Store::new("s").stateful(2).behind(strict)]).await?;
    // Else the pods' names may come a moment after the queriers, and that is a rollout.
    eventually(FOLLOW, "an EndpointSlice with two host names", || async {
        let of_service = ListParams::default().labels("kubernetes.io/service-name=s");
        let slices = world.api::<EndpointSlice>().list(&of_service).await?.items;
        let names = slices.iter().flat_map(|slice| &slice.endpoints).filter(|own| own.hostname.is_some());
        match names.count() {
            2 => Ok(()),
            other => bail!("{other}"),
        }
    })
    .await?;
    let queriers = world.ready_thanos_query("global", "{replicas: 1}").await?;
    queriers.every_pod_lists(&["a", "s", "s"]).await?;
    let before = queriers.snapshot().await?;
    // The last one: it could also have been scaled down.
    let old = world.api::<Pod>().get("s-1").await?;
    world.api::<Pod>().delete("s-1", &DeleteParams::default()).await?;
    eventually(FOLLOW, "another pod s-1 that is Ready", || async {
        let pod = world.api::<Pod>().get("s-1").await?;
        if pod.uid() == old.uid() || !is_ready(&pod) { bail!("not yet") } else { Ok(()) }
    })
    .await?;
    queriers.every_pod_lists(&["a", "s", "s"]).await?;
    queriers.unchanged_since(&before).await?;
    let rollouts = queriers.events(reasons::ROLLOUT).await?;
    if rollouts.is_empty() { Ok(()) } else { bail!("Events of rollouts: {rollouts:?}") }
}

async fn one_rollout(world: World, version: &str, added: StoreService) -> Result<()> {
    world.stores([Store::new("a"), Store::new("b"), Store::new("c").without_service()]).await?;
    let spec = format!("{{replicas: 2, version: {version}}}");
    let queriers = world.ready_thanos_query("global", &spec).await?;
    queriers.every_pod_lists(&["a", "b"]).await?;
    has_series_of(&queriers, &["a", "b"]).await?;
    let before = queriers.snapshot().await?;
    let always = queriers.always_answers(&["a", "b"]);

    world.service(&added).await?;
    queriers.rolled_out(&before).await?;
    queriers.every_pod_lists(&["a", "b", "c"]).await?;
    has_series_of(&queriers, &["a", "b", "c"]).await?;
    always.held().await?;

    let sets = world.api::<ReplicaSet>().list(&ListParams::default()).await?.items;
    let of_queriers = sets.iter().filter(|set| set.name_any().starts_with("thanos-query-global-")).count();
    if of_queriers != 2 {
        bail!("{of_queriers} pod templates where one before and one after were expected");
    }
    says_why(&queriers).await
}

async fn has_series_of(queriers: &Queriers, stores: &[&str]) -> Result<()> {
    eventually(FOLLOW, format!("series of {stores:?} in every pod"), || async {
        for pod in queriers.pods().await? {
            let answer = queriers.query(&pod, SERIES).await?;
            let found = answer.stores();
            if !stores.iter().all(|&store| found.contains(store)) {
                bail!("{} has {found:?}, warnings {:?}", pod.name_any(), answer.warnings);
            }
        }
        Ok(())
    })
    .await
}

/// One Event and the status name the Service that was the reason.
async fn says_why(queriers: &Queriers) -> Result<()> {
    eventually(FOLLOW, "the reason of the rollout in one Event and in status", || async {
        let events = queriers.events(reasons::ROLLOUT).await?;
        let [event] = events.as_slice() else { bail!("{} Events: {events:?}", events.len()) };
        let status = queriers.object().await?.status.context("no status")?;
        let rollout = status.last_rollout.context("no lastRollout in status")?;
        for (place, text) in [("the Event", event), ("status", &rollout.reason)] {
            if !text.contains("c.") {
                bail!("{place} does not name the Service: {text}");
            }
        }
        Ok(())
    })
    .await
}
