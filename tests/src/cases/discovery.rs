//! Which Services count, live: ports that are renamed, pods that move, endpoints of the spec, hundreds at once, and
//! what happened while nobody watched.

use anyhow::{Context as _, Result, bail};
use crds::names::{conditions, labels, reasons};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::{
    ResourceExt as _,
    api::{DeleteParams, ListParams, PostParams},
};
use serde_json::{from_value, json};
use tokio::time::Instant;

use super::Case;
use crate::fixtures::{Queriers, Store, StoreService, World, eventually, http::address, queriers::FOLLOW};

/// How many Services come at once.
const CROWD: usize = 500;

/// The label of those.
const CROWD_LABEL: &str = "e2e.thanos.io/crowd";

/// The cases of this file.
pub fn cases() -> Vec<Case> {
    vec![
        Case::shared(
            "discovery",
            "a Service whose port is renamed is left out with the remedy, and comes back with the annotation",
            port_renamed,
        ),
        Case::shared(
            "discovery",
            "a Service deleted and one made while the operator is down are noticed when it starts",
            changed_while_down,
        ),
        Case::shared(
            "discovery",
            "with resolve EndpointSlice a pod that is replaced is followed by address, and no querier restarts",
            follows_addresses,
        ),
        Case::shared(
            "discovery",
            "an endpoint of the spec is queried without a restart, and made strict it is one rollout",
            additional_endpoint,
        ),
        Case::shared(
            "discovery",
            "500 Services made at once reach every pod with a write a second at most, and go again",
            crowd,
        )
        .limit(420),
    ]
}

async fn port_renamed(world: World) -> Result<()> {
    world.stores([Store::new("a"), Store::new("b")]).await?;
    let queriers = world.ready_thanos_query("global", "{replicas: 1}").await?;
    queriers.every_pod_lists(&["a", "b"]).await?;
    let before = queriers.snapshot().await?;
    let renamed = StoreService::of("b").port_name("store");
    world.service(&renamed).await?;
    queriers.every_pod_lists(&["a"]).await?;
    is_rejected(&queriers, "b", "NoPort", "operator.thanos.io/port").await?;
    world.service(&renamed.annotation("operator.thanos.io/port", "store")).await?;
    queriers.every_pod_lists(&["a", "b"]).await?;
    queriers.says_no_more(conditions::SERVICES_REJECTED).await?;
    queriers.unchanged_since(&before).await
}

async fn is_rejected(queriers: &Queriers, service: &str, reason: &str, remedy: &str) -> Result<()> {
    eventually(FOLLOW, format!("status leaves {service} out: {reason}"), || async {
        let status = queriers.object().await?.status.unwrap_or_default();
        let found = status.rejected.iter().find(|own| own.name == service).context("is not in the list")?;
        if found.reason != reason || !found.message.contains(remedy) {
            bail!("{}: {}", found.reason, found.message);
        }
        Ok(())
    })
    .await
}

async fn changed_while_down(world: World) -> Result<()> {
    let stores = ["a", "b", "c"].map(Store::new);
    world.stores(stores.into_iter().chain([Store::new("d").without_service()])).await?;
    let queriers = world.ready_thanos_query("global", "{replicas: 1}").await?;
    queriers.every_pod_lists(&["a", "b", "c"]).await?;
    let before = queriers.snapshot().await?;
    let always = queriers.always_listed("a");
    world.operator()?.lock().await.stop().await?;
    world.delete_service("b").await?;
    world.service(&StoreService::of("d")).await?;
    world.operator()?.lock().await.start_again().await?;
    queriers.every_pod_lists(&["a", "c", "d"]).await?;
    always.held().await?;
    queriers.unchanged_since(&before).await
}

async fn follows_addresses(world: World) -> Result<()> {
    world.stores([Store::new("a").stateful(2), Store::new("b")]).await?;
    let queriers = world
        .ready_thanos_query("global", "{replicas: 1, serviceDiscovery: {resolve: EndpointSlice}}")
        .await?;
    let reached = || async {
        let mut wanted = Vec::new();
        for pod in world.pods("app in (a, b)").await? {
            wanted.push(format!("{}:10901", address(&pod)?));
        }
        wanted.sort();
        anyhow::Ok(wanted)
    };
    every_pod_dials(&queriers, &reached().await?).await?;
    let before = queriers.snapshot().await?;
    let always = queriers.always_listed("b");
    let old = world.api::<Pod>().get("a-0").await?;
    world.api::<Pod>().delete("a-0", &DeleteParams::default()).await?;
    eventually(FOLLOW, "another pod a-0 with an address", || async {
        let pod = world.api::<Pod>().get("a-0").await?;
        if pod.uid() == old.uid() {
            bail!("still the old one")
        }
        address(&pod)
    })
    .await?;
    every_pod_dials(&queriers, &reached().await?).await?;
    always.held().await?;
    queriers.unchanged_since(&before).await
}

/// Waits until every pod lists exactly these addresses, each healthy.
async fn every_pod_dials(queriers: &Queriers, addresses: &[String]) -> Result<()> {
    queriers
        .every_pod(&format!("exactly {addresses:?}"), |listed| {
            let mut found: Vec<&str> = listed.iter().map(|one| one.name.as_str()).collect();
            found.sort_unstable();
            match found == addresses && listed.iter().all(|one| one.last_error.is_none()) {
                true => Ok(()),
                false => Err(format!("{listed:?}")),
            }
        })
        .await
}

async fn additional_endpoint(world: World) -> Result<()> {
    let unlabelled = StoreService::of("b").unlabelled(labels::STORE_API);
    world.stores([Store::new("a"), Store::new("b").behind(unlabelled)]).await?;
    let queriers = world.ready_thanos_query("global", "{replicas: 1}").await?;
    queriers.every_pod_lists(&["a"]).await?;
    let before = queriers.snapshot().await?;
    let with = |more: &str| {
        let address = format!("b.{}.svc.cluster.local:80", world.namespace());
        format!(
            "{{replicas: 1, serviceDiscovery: {{additionalEndpoints: [{{address: '{address}'{more}}}]}}}}"
        )
    };
    world.thanos_query("global", &with("")).await?;
    queriers.every_pod_lists(&["a", "b"]).await?;
    queriers.unchanged_since(&before).await?;
    world.thanos_query("global", &with(", type: Strict")).await?;
    queriers.rolled_out(&before).await?;
    queriers.every_pod_lists(&["a", "b"]).await?;

    // One that cannot be used is told, and the others stay.
    let bad = with("}, {address: 'nobody.example'");
    world.thanos_query("global", &bad).await?;
    queriers.says(conditions::INVALID, &["additionalEndpoints[1]", "needs a port"]).await?;
    queriers.every_pod_lists(&["a", "b"]).await
}

async fn crowd(world: World) -> Result<()> {
    world.store(Store::new("a")).await?;
    let spec = "{replicas: 2, serviceDiscovery: {removalGuard: {holdFor: 0s}}}";
    let queriers = world.ready_thanos_query("global", spec).await?;
    queriers.every_pod_lists(&["a"]).await?;
    let before = queriers.snapshot().await?;
    let always = queriers.always_listed("a");
    let (writes, started) = (config_map_writes(&world).await?, Instant::now());
    let api = world.api::<Service>();
    stream::iter(0..CROWD)
        .map(|number| {
            let (api, service) = (api.clone(), crowd_service(number));
            async move { api.create(&PostParams::default(), &service?).await.context("failed to make a Service") }
        })
        .buffer_unordered(20)
        .try_for_each(|_| async { Ok(()) })
        .await?;
    have(&queriers, CROWD + 1).await?;
    let of_them = ListParams::default().labels(CROWD_LABEL);
    api.delete_collection(&DeleteParams::default(), &of_them).await?;
    have(&queriers, 1).await?;
    let written = config_map_writes(&world).await? - writes;
    let seconds = started.elapsed().as_secs();
    if written > seconds + 1 {
        bail!("{written} writes of the ConfigMap in {seconds} s");
    }
    always.held().await?;
    queriers.unchanged_since(&before).await?;
    let rollouts = queriers.events(reasons::ROLLOUT).await?;
    if rollouts.is_empty() { Ok(()) } else { bail!("Events of rollouts: {rollouts:?}") }
}

/// Headless and with nothing behind it, so that it costs the queriers one look-up and the node no rules.
fn crowd_service(number: usize) -> Result<Service> {
    let service = json!({
        "metadata": {"name": format!("crowd-{number}"), "labels": {
            labels::STORE_API: labels::TRUE, labels::PART_OF: labels::THANOS, CROWD_LABEL: "yes",
        }},
        "spec": {"clusterIP": "None", "selector": {"app": "nobody"}, "ports": [{"name": "grpc", "port": 10901}]},
    });
    from_value(service).context("no Service")
}

/// Waits until the status counts so many endpoints, and every pod has them.
async fn have(queriers: &Queriers, endpoints: usize) -> Result<()> {
    eventually(FOLLOW, format!("{endpoints} endpoints in every pod"), || async {
        let status = queriers.object().await?.status.context("no status")?;
        let total = status.endpoints.map(|counts| counts.total).unwrap_or_default();
        let document = status.document.context("no document")?;
        if usize::try_from(total)? != endpoints {
            bail!("status counts {total}");
        }
        for pod in queriers.pods().await? {
            let applied = queriers.agent_of(&pod).await?.applied.context("a pod without a document")?;
            if applied.sha256 != document.sha256 {
                bail!(
                    "{} has generation {}, not {}",
                    pod.name_any(),
                    applied.generation,
                    document.generation
                );
            }
        }
        Ok(())
    })
    .await
}

async fn config_map_writes(world: &World) -> Result<u64> {
    let metrics = world.operator()?.lock().await.metrics().await?;
    let line = metrics.lines().find(|line| line.contains("writes_total{kind=\"ConfigMap\"}"));
    let number = line.and_then(|line| line.rsplit(' ').next()).context("no such metric")?;
    number.parse().with_context(|| format!("{number} is no number"))
}
