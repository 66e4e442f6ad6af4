//! A name that a DNS server fails for keeps what was removed in Thanos, and is told.

use anyhow::{Result, bail};
use crds::names::{conditions, labels};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

use super::Case;
use crate::fixtures::{Listed, Queriers, Store, StoreService, World, eventually, queriers::FOLLOW};

/// The cluster's DNS server knows names of the cluster only and answers SERVFAIL for all others.
const BROKEN: &str = "dns+broken.servfail.test:10901";

/// Look-ups of the one broken name that fail, one a round.
const ROUNDS: f64 = 3.0;

/// The cases of this file.
pub fn cases() -> Vec<Case> {
    let case = |version: &'static str| {
        let name = format!(
            "a name that cannot be looked up is told, keeps what was removed in Thanos, and both end with it ({version})"
        );
        Case::shared("dns", name, move |world| failing_name(world, version))
            .skip_if(|environment| {
                let own = environment.cluster.is_own();
                (!own).then(|| "needs a DNS server that answers SERVFAIL, so not with --context".to_owned())
            })
            .limit(420)
    };
    vec![case("v0.42.4"), case("v0.37.2")]
}

async fn failing_name(world: World, version: &str) -> Result<()> {
    world.stores([Store::new("a"), Store::new("b").without_service()]).await?;
    // Looked up, as the broken name is: from 0.38 only such addresses stay.
    let service = StoreService::of("b").headless();
    world.service(&service).await?;
    let spec = |more: &str| format!("{{replicas: 2, version: {version}{more}}}");
    let queriers = world.ready_thanos_query("global", &spec("")).await?;
    queriers.every_pod_lists(&["a", "b"]).await?;
    let before = queriers.snapshot().await?;
    let always = queriers.always_listed("a");
    if let Some(condition) = queriers.condition(conditions::DNS_FAILING).await? {
        bail!("told before anything fails: {condition:?}");
    }

    let broken = format!(", serviceDiscovery: {{additionalEndpoints: [{{address: '{BROKEN}'}}]}}");
    world.thanos_query("global", &spec(&broken)).await?;
    let words = [BROKEN, "SERVFAIL for broken.servfail.test.", "2 of 2 pods", "may keep addresses"];
    queriers.says(conditions::DNS_FAILING, &words).await?;
    told_once(&queriers).await?;
    queriers.every_pod_lists(&["a", "b"]).await?;

    // Its name stays in the DNS: were that gone, Thanos could learn from there that nothing is behind it.
    world.service(&service.unlabelled(labels::STORE_API)).await?;
    files_have(&queriers, 2).await?;
    rounds_failed(&queriers).await?;
    for pod in queriers.ready_pods().await? {
        let listed = queriers.listed_by(&pod).await?;
        if !listed.iter().any(|one| one.store() == Some("b")) {
            bail!("{} no longer lists b, so nothing is held up: {listed:?}", pod.name_any());
        }
    }
    queriers.says(conditions::DNS_FAILING, &words).await?;

    world.thanos_query("global", &spec("")).await?;
    queriers.says_no_more(conditions::DNS_FAILING).await?;
    queriers
        .every_pod("only store a", |listed| {
            match listed.iter().filter_map(Listed::store).collect::<Vec<_>>()[..] {
                ["a"] => Ok(()),
                _ => Err(format!("{listed:?}")),
            }
        })
        .await?;
    told_once(&queriers).await?;
    always.held().await?;
    queriers.unchanged_since(&before).await
}

async fn told_once(queriers: &Queriers) -> Result<()> {
    eventually(FOLLOW, "one Event that names the address", || async {
        let events = queriers.events(conditions::DNS_FAILING).await?;
        match &events[..] {
            [event] if event.contains(BROKEN) => Ok(()),
            _ => bail!("{events:?}"),
        }
    })
    .await
}

/// Waits until the Thanos of every pod has looked the names up some times more, and failed.
async fn rounds_failed(queriers: &Queriers) -> Result<()> {
    for pod in queriers.ready_pods().await? {
        let before = failures(queriers, &pod).await?;
        eventually(FOLLOW, format!("{ROUNDS} more look-ups of {} that fail", pod.name_any()), || async {
            let failed = failures(queriers, &pod).await? - before;
            if failed >= ROUNDS { Ok(()) } else { bail!("{failed} failed") }
        })
        .await?;
    }
    Ok(())
}

/// How often look-ups of the pod's Thanos have failed.
async fn failures(queriers: &Queriers, pod: &Pod) -> Result<f64> {
    let metrics = queriers.thanos_metrics(pod).await?;
    let counters =
        metrics.lines().filter(|line| !line.starts_with('#') && line.contains("_dns_failures_total"));
    let values = counters.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    Ok(values.sum())
}

/// Waits until the file of every pod names so many endpoints.
async fn files_have(queriers: &Queriers, endpoints: usize) -> Result<()> {
    eventually(FOLLOW, format!("{endpoints} endpoints in every file"), || async {
        for pod in queriers.pods().await? {
            let in_file = queriers.agent_of(&pod).await?.applied.map(|applied| applied.in_file);
            if in_file != Some(endpoints) {
                bail!("{} has {in_file:?}", pod.name_any());
            }
        }
        Ok(())
    })
    .await
}
