//! Promise 4: no good endpoint is lost, whatever dies.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::ResourceExt as _;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};

use super::Case;
use crate::cluster::{self, config::NODE_ADDRESS};
use crate::fixtures::{Always, Queriers, Store, StoreService, World, eventually, queriers::FOLLOW};

/// How long the API server is away.
const OUTAGE: Duration = Duration::from_secs(60);

/// How long the cluster's own parts may take until they follow again.
const RECOVERY: Duration = Duration::from_secs(150);

/// The cases of this file.
pub fn cases() -> Vec<Case> {
    vec![
        Case::shared(
            "faults",
            "the operator killed and started again during changes loses nothing and rolls nothing out",
            operator_killed,
        ),
        Case::shared(
            "faults",
            "an operator that starts and finds nothing changed writes nothing",
            operator_restarted_at_rest,
        ),
        Case::shared(
            "faults",
            "fifty changes in a few seconds are written at most once a second, and the last state is right",
            burst,
        ),
        Case::exclusive(
            "faults",
            "with the API server away for a minute queriers keep all endpoints, and follow afterwards",
            api_server_away,
        )
        .only_on_own_cluster()
        .limit(420),
    ]
}

async fn operator_killed(world: World) -> Result<()> {
    world.stores([Store::new("a"), Store::new("b").without_service()]).await?;
    let queriers = world.ready_thanos_query("global", "{replicas: 2}").await?;
    queriers.every_pod_lists(&["a"]).await?;
    let before = queriers.snapshot().await?;
    let always = queriers.always_listed("a");

    world.operator()?.lock().await.kill().await?;
    world.service(&StoreService::of("b")).await?;
    world.operator()?.lock().await.start_again().await?;
    queriers.every_pod_lists(&["a", "b"]).await?;

    // In the middle of a change, and a deletion that nobody watched.
    world.service(&StoreService::of("b").port(81)).await?;
    world.operator()?.lock().await.kill().await?;
    world.delete_service("b").await?;
    world.operator()?.lock().await.start_again().await?;
    queriers.every_pod_lists(&["a"]).await?;

    always.held().await?;
    queriers.unchanged_since(&before).await
}

async fn operator_restarted_at_rest(world: World) -> Result<()> {
    world.stores([Store::new("a"), Store::new("b").without_service()]).await?;
    let queriers = world.ready_thanos_query("global", "{replicas: 2}").await?;
    queriers.every_pod_lists(&["a"]).await?;
    synced(&queriers).await?;
    let before = versions(&world, &queriers).await?;

    let mut operator = world.operator()?.lock().await;
    operator.stop().await?;
    operator.start_again().await?;
    // It has looked at everything when it tells the endpoints; what it wrote until the next change is counted then.
    eventually(FOLLOW, "the operator has reconciled", || async {
        let metrics = operator.metrics().await?;
        if metrics.contains("query_endpoints_configured{") { Ok(()) } else { bail!("not yet") }
    })
    .await?;
    world.service(&StoreService::of("b")).await?;
    queriers.every_pod_lists(&["a", "b"]).await?;
    synced(&queriers).await?;
    let metrics = operator.metrics().await?;
    let written: Vec<&str> =
        metrics.lines().filter(|line| line.starts_with("thanos_operator_writes_total")).collect();
    let config_maps = written.iter().any(|line| line.ends_with("kind=\"ConfigMap\"} 1"));
    if !config_maps || written.iter().any(|line| !line.contains("ConfigMap") && !line.contains("status")) {
        bail!("one change after a restart must be one ConfigMap write: {written:?}");
    }
    let after = versions(&world, &queriers).await?;
    if before.1 != after.1 {
        bail!("the Deployment was written: {before:?} became {after:?}");
    }
    Ok(())
}

/// resourceVersion of the ConfigMap and generation of the Deployment.
async fn versions(world: &World, queriers: &Queriers) -> Result<(Option<String>, Option<i64>)> {
    use k8s_openapi::api::apps::v1::Deployment;
    let name = format!("thanos-query-{}", queriers.object().await?.name_any());
    let config_map = world.api::<ConfigMap>().get(&format!("{name}-endpoints")).await?;
    let deployment = world.api::<Deployment>().get(&name).await?;
    Ok((config_map.resource_version(), deployment.metadata.generation))
}

async fn synced(queriers: &Queriers) -> Result<()> {
    eventually(FOLLOW, "status says that every pod is in sync", || async {
        let status = queriers.object().await?.status.context("no status")?;
        let synced = status.synced.unwrap_or_default();
        match synced.split_once('/') {
            Some((has, all)) if has == all && all != "0" => Ok(()),
            _ => bail!("{synced}"),
        }
    })
    .await
}

async fn burst(world: World) -> Result<()> {
    world.store(Store::new("a").without_service()).await?;
    let queriers = world.ready_thanos_query("global", "{replicas: 2}").await?;
    let before = queriers.snapshot().await?;
    let written = Written::watch(&world);
    for index in 0..35 {
        world.service(&StoreService::of("a").named(&format!("s{index}"))).await?;
    }
    for index in 0..15 {
        world.delete_service(&format!("s{index}")).await?;
    }
    queriers.every_pod_lists(&["a"; 20]).await?;
    queriers.unchanged_since(&before).await?;
    let times = written.times().await?;
    for pair in times.windows(2) {
        // Written down a moment before the write itself.
        if pair[1] - pair[0] < 0.95 {
            bail!("two writes within a second: {times:?}");
        }
    }
    Ok(())
}

/// Notes when each document was written.
struct Written {
    task: tokio::task::JoinHandle<Result<()>>,
    times: std::sync::Arc<tokio::sync::Mutex<Vec<f64>>>,
}

// === impl Written ===

impl Written {
    fn watch(world: &World) -> Self {
        use futures::StreamExt as _;
        use kube::runtime::{WatchStreamExt as _, watcher};
        let times = std::sync::Arc::new(tokio::sync::Mutex::new(Vec::new()));
        let noted = std::sync::Arc::clone(&times);
        let config = watcher::Config::default().fields("metadata.name=thanos-query-global-endpoints");
        let events = watcher(world.api::<ConfigMap>(), config);
        let task = tokio::spawn(async move {
            let mut events = std::pin::pin!(events.applied_objects());
            while let Some(config_map) = events.next().await {
                let (meta, _) = operator::plan::payload_of(&config_map?).unpack()?;
                let time = meta.written_at.as_duration().as_secs_f64();
                let mut times = noted.lock().await;
                if times.last() != Some(&time) {
                    times.push(time);
                }
            }
            Ok(())
        });
        Self { task, times }
    }

    async fn times(self) -> Result<Vec<f64>> {
        if self.task.is_finished() {
            self.task.await??;
            bail!("the watch has ended");
        }
        self.task.abort();
        let times = self.times.lock().await.clone();
        if times.len() < 2 { bail!("only {} writes were seen", times.len()) } else { Ok(times) }
    }
}

async fn api_server_away(world: World) -> Result<()> {
    world.stores([Store::new("a"), Store::new("b").without_service()]).await?;
    let queriers = world.ready_thanos_query("global", "{replicas: 2}").await?;
    queriers.every_pod_lists(&["a"]).await?;
    let before = queriers.snapshot().await?;
    let pods = queriers.pods().await?;
    let always: Vec<Always> = pods.iter().map(|pod| queriers.always_listed_by(pod, "a")).collect();

    let cluster = world.cluster().clone();
    tokio::task::spawn_blocking(move || cluster.stop_api_server()).await??;
    let since = Instant::now();
    eventually(OUTAGE * 2, "the API server was away for a minute", || async {
        if since.elapsed() >= OUTAGE { Ok(()) } else { bail!("{:?}", since.elapsed()) }
    })
    .await?;
    let cluster = world.cluster().clone();
    tokio::task::spawn_blocking(move || cluster.start_api_server()).await??;

    let service = world.service(&StoreService::of("b")).await?;
    eventually(FOLLOW, "every agent has the document with both stores", || async {
        for pod in queriers.pods().await? {
            let applied = queriers.agent_of(&pod).await?.applied.context("nothing applied")?;
            if applied.endpoints != 2 {
                bail!("{} has {applied:?}", pod.name_any());
            }
        }
        Ok(())
    })
    .await?;
    // DNS and kube-proxy have watches of their own, which rest for up to a minute after such an outage.
    cluster_knows(&service).await?;
    queriers.every_pod_lists(&["a", "b"]).await?;
    for always in always {
        always.held().await?;
    }
    queriers.unchanged_since(&before).await
}

/// Waits until the cluster itself resolves and connects `service`.
async fn cluster_knows(service: &Service) -> Result<()> {
    let (name, namespace) = (service.name_any(), service.namespace().unwrap_or_default());
    let question = format!("{name}.{namespace}.svc.cluster.local");
    let server = SocketAddr::new(NODE_ADDRESS.parse()?, 53);
    eventually(RECOVERY, format!("the cluster's DNS and proxy know {question}"), || async {
        let asked = question.clone();
        let address = tokio::task::spawn_blocking(move || cluster::lookup(server, &asked)).await?;
        let address = address.context("no address")?;
        timeout(Duration::from_secs(2), TcpStream::connect((address, 80))).await.context("no answer")??;
        Ok(())
    })
    .await
}
