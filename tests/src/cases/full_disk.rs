//! A node whose disk is full. The agent's file is in memory, and what the kubelet projects is, too.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, bail};
use crds::names::pod::{AGENT_CONTAINER, AGENT_PORT, FILE, SOURCE_VOLUME};
use k8s_openapi::api::core::v1::{ConfigMapVolumeSource, Pod};
use kube::ResourceExt as _;
use sd_agent::Report;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::Case;
use crate::fixtures::{
    FullDisk, OsProcess, Queriers, Store, StoreService, World, eventually, eventually_every, queriers::FOLLOW,
};

/// A pod that has the ConfigMap as a plain volume, which the kubelet keeps on its disk.
const PLAIN: &str = "with-a-plain-volume";

/// Between two requests that the kubelet look at a pod: it takes about one a second.
const POKES: Duration = Duration::from_secs(2);

/// How long the kubelet may take for a mount; after a failure it waits for up to two minutes.
const KUBELET: Duration = Duration::from_secs(240);

/// The cases of this file.
pub fn cases() -> Vec<Case> {
    vec![
        Case::exclusive(
            "node",
            "with the node's disk full every agent follows, and the mount of its pod is not wiped",
            node_disk_full,
        )
        .skip_if(|environment| {
            let none = environment.cluster.kubelet_disk().is_none();
            none.then(|| {
                "the kubelet has no file system of its own, so this would fill the machine's".to_owned()
            })
        })
        .limit(1200),
    ]
}

/// Case 44.
async fn node_disk_full(world: World) -> Result<()> {
    world.stores([Store::new("a"), Store::new("b").without_service()]).await?;
    let queriers = world.ready_thanos_query("global", "{replicas: 1}").await?;
    queriers.every_pod_lists(&["a"]).await?;
    let querier = queriers.ready_pods().await?.into_iter().next().context("no Ready pod")?;
    let plain = plain_pod(&world, &querier).await?;
    mount_shows_what_is_applied(&world, &queriers, &querier).await?;
    let before = queriers.snapshot().await?;
    let always = queriers.always_listed("a");

    let cluster = world.cluster().clone();
    let full = spawn_blocking(move || FullDisk::fill(&cluster)).await??;
    world.service(&StoreService::of("b")).await?;
    queriers.every_pod_lists(&["a", "b"]).await?;
    // What such a disk does where nobody takes care: the kubelet deletes the folder under the running container.
    eventually_every(POKES, KUBELET, "the plain volume is wiped, and its agent says so", || async {
        world.poke(&plain).await?;
        let metrics = world.reach().text(&plain, AGENT_PORT, "/metrics").await?;
        let wiped = metrics.lines().any(|line| line == "sd_agent_mount_wiped 1");
        if wiped { Ok(()) } else { bail!("mount {:?}", report_of(&world, &plain).await?.mount) }
    })
    .await?;
    // Its file is whole all the same, and it follows over the API.
    let applied = report_of(&world, &plain).await?.applied.context("nothing applied")?;
    let agent = OsProcess::in_pod(&plain, AGENT_CONTAINER).context("no agent")?;
    let file = fs::read_to_string(agent.path(FILE)).context("failed to read the agent's file")?;
    if applied.endpoints != 2 || ["\"a.", "\"b."].iter().any(|store| !file.contains(store)) {
        bail!("{applied:?} with the file {file}");
    }
    // The querier's own mount took the change while there was no room.
    mount_shows_what_is_applied(&world, &queriers, &querier).await?;

    spawn_blocking(move || full.free()).await??;
    world.delete_service("b").await?;
    queriers.every_pod_lists(&["a"]).await?;
    mount_shows_what_is_applied(&world, &queriers, &querier).await?;
    always.held().await?;
    queriers.unchanged_since(&before).await
}

async fn mount_shows_what_is_applied(world: &World, queriers: &Queriers, pod: &Pod) -> Result<()> {
    eventually_every(POKES, KUBELET, "the mount shows what is applied", || async {
        world.poke(pod).await?;
        let report = queriers.agent_of(pod).await?;
        let applied = report.applied.map(|applied| applied.generation);
        let shown = report.mount.up.then_some(report.mount.generation).flatten();
        if shown.is_some() && shown == applied {
            Ok(())
        } else {
            bail!("applied {applied:?}, mount {:?}", report.mount)
        }
    })
    .await
}

async fn report_of(world: &World, pod: &Pod) -> Result<Report> {
    world.reach().json(pod, AGENT_PORT, "/status").await
}

/// Starts an agent like the one of `querier`, but for the volume with the ConfigMap.
async fn plain_pod(world: &World, querier: &Pod) -> Result<Pod> {
    world.apply::<Pod>(plain_object(querier)?).await?;
    eventually(FOLLOW, "an agent with a plain volume", || async {
        let pod = world.api::<Pod>().get(PLAIN).await?;
        let report = report_of(world, &pod).await?;
        if report.applied.is_some() && report.mount.up { Ok(pod) } else { bail!("{report:?}") }
    })
    .await
}

fn plain_object(querier: &Pod) -> Result<Value> {
    let spec = querier.spec.as_ref().context("a pod without spec")?;
    let mut containers = spec.init_containers.iter().flatten();
    let agent = containers.find(|container| container.name == AGENT_CONTAINER);
    let mut agent = agent.cloned().with_context(|| format!("{} has no agent", querier.name_any()))?;
    agent.restart_policy = None;
    let mounted: Vec<&str> = agent.volume_mounts.iter().flatten().map(|mount| mount.name.as_str()).collect();
    let mut volumes = spec.volumes.clone().unwrap_or_default();
    volumes.retain(|volume| mounted.contains(&volume.name.as_str()));
    let source =
        volumes.iter_mut().find(|volume| volume.name == SOURCE_VOLUME).context("no mounted ConfigMap")?;
    let projected = source.projected.take().context("the mounted ConfigMap is not projected")?;
    let projected = projected.sources.into_iter().flatten().find_map(|source| source.config_map);
    source.config_map = Some(ConfigMapVolumeSource {
        name: projected.context("no ConfigMap is projected")?.name,
        optional: Some(true),
        ..ConfigMapVolumeSource::default()
    });
    Ok(json!({
        "metadata": {"name": PLAIN},
        "spec": {
            "serviceAccountName": spec.service_account_name,
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 1,
            "securityContext": spec.security_context,
            "containers": [agent],
            "volumes": volumes,
        },
    }))
}
