//! The agent's end: it may come at any time, and with its pod it comes last.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use crds::names::pod::{AGENT_CONTAINER, FILE, QUERY_CONTAINER};
use futures::StreamExt as _;
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Time};
use kube::{
    ResourceExt as _,
    runtime::{WatchStreamExt as _, watcher},
};

use super::Case;
use crate::fixtures::{
    OsProcess, Store, StoreService, World, eventually, eventually_every,
    pod_state::{container_statuses, restarts_of},
    queriers::FOLLOW,
};

/// How often it is killed: each time the kubelet waits twice as long.
const KILLS: i32 = 3;

/// How long the kubelet may wait before the last of these starts, and what the start takes.
const BACK_OFF: Duration = Duration::from_secs(90);

/// How long a pod may take to end: the sleep before, and Thanos' own end.
const END: Duration = Duration::from_secs(180);

/// The cases of this file.
pub fn cases() -> Vec<Case> {
    vec![
        Case::shared(
            "agent process",
            "an agent killed three times leaves its file and its Thanos as they are, and follows again",
            killed,
        )
        .only_on_own_cluster(),
        Case::shared(
            "agent process",
            "while a pod ends its agent still follows, and it outlives Thanos",
            outlives_thanos,
        )
        .only_on_own_cluster(),
    ]
}

/// Case 46.
async fn killed(world: World) -> Result<()> {
    world.stores([Store::new("a"), Store::new("b").without_service()]).await?;
    let queriers = world.ready_thanos_query("global", "{replicas: 1}").await?;
    queriers.every_pod_lists(&["a"]).await?;
    let pod = queriers.ready_pods().await?.into_iter().next().context("no Ready pod")?;
    let thanos = process(&pod, "thanos")?;
    let file = file_of(&thanos)?;
    let mut resumed = queriers.agent_of(&pod).await?.applied.context("nothing applied")?;
    "state".clone_into(&mut resumed.source);
    let always = queriers.always_listed_by(&pod, "a");

    for kill in 1..=KILLS {
        process(&pod, AGENT_CONTAINER)?.kill()?;
        eventually(BACK_OFF, format!("the agent started again, {kill} of {KILLS}"), || async {
            let now = world.api::<Pod>().get(&pod.name_any()).await?;
            if restarts_of(&now, AGENT_CONTAINER) != kill || !has_started(&now) {
                bail!("not started again");
            }
            // Also when it was applied, and from where: nothing was written.
            let applied = queriers.agent_of(&pod).await?.applied.context("nothing applied")?;
            if applied == resumed { Ok(()) } else { bail!("has {applied:?}, should resume {resumed:?}") }
        })
        .await?;
        let now = file_of(&thanos)?;
        if now != file {
            bail!("the file {file:?} became {now:?}");
        }
    }

    world.service(&StoreService::of("b")).await?;
    queriers.every_pod_lists(&["a", "b"]).await?;
    always.held().await?;
    let now = world.api::<Pod>().get(&pod.name_any()).await?;
    let restarts = restarts_of(&now, QUERY_CONTAINER);
    if restarts != 0 || now.uid() != pod.uid() || !thanos.is_alive() {
        bail!("Thanos was restarted {restarts} times, pod {:?} became {:?}", pod.uid(), now.uid());
    }
    Ok(())
}

/// Case 48.
async fn outlives_thanos(world: World) -> Result<()> {
    let queriers = world.ready_thanos_query("global", "{replicas: 1}").await?;
    let pod = queriers.ready_pods().await?.into_iter().next().context("no Ready pod")?;
    let (thanos, agent) = (process(&pod, "thanos")?, process(&pod, AGENT_CONTAINER)?);
    let ends = Ends::watch(&world, &pod);

    world.api::<Pod>().delete(&pod.name_any(), &Default::default()).await?;
    // The pod serves for some seconds more, and its file is still right.
    world.service(&StoreService::of("late")).await?;
    eventually(FOLLOW, "the ending pod's agent has the new endpoint", || async {
        let applied = queriers.agent_of(&pod).await?.applied.context("nothing applied")?;
        if applied.endpoints == 1 { Ok(()) } else { bail!("{applied:?}") }
    })
    .await?;
    if !thanos.is_alive() {
        bail!("the pod has ended already, so nothing was seen of its end");
    }
    let early = eventually_every(Duration::from_millis(10), END, "the end of both processes", || async {
        // In this order: an agent that is found dead ended before Thanos, if that is found alive after it.
        match (agent.is_alive(), thanos.is_alive()) {
            (false, true) => Ok(true),
            (false, false) => Ok(false),
            _ => bail!("not yet"),
        }
    })
    .await?;
    if early {
        bail!("the agent ended before Thanos");
    }
    let (of_thanos, of_agent) = ends.of_both().await?;
    if of_agent < of_thanos {
        bail!("the agent ended at {of_agent:?}, Thanos at {of_thanos:?}");
    }
    Ok(())
}

/// Notes when the containers of a pod ended, as its status says.
struct Ends {
    task: tokio::task::JoinHandle<Result<()>>,
    seen: Arc<Mutex<[Option<Time>; 2]>>,
}

// === impl Ends ===

impl Ends {
    fn watch(world: &World, pod: &Pod) -> Self {
        let seen = Arc::<Mutex<[Option<Time>; 2]>>::default();
        let noted = Arc::clone(&seen);
        let config = watcher::Config::default().fields(&format!("metadata.name={}", pod.name_any()));
        // A deleted object is shown as it was last.
        let events = watcher(world.api::<Pod>(), config).touched_objects();
        let task = tokio::spawn(async move {
            let mut events = std::pin::pin!(events);
            while let Some(pod) = events.next().await {
                let pod = pod?;
                let ends = [QUERY_CONTAINER, AGENT_CONTAINER].map(|name| end_of(&pod, name));
                let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
                for (noted, end) in noted.iter_mut().zip(ends) {
                    *noted = end.or_else(|| noted.take());
                }
            }
            bail!("the watch has ended")
        });
        Self { task, seen }
    }

    /// Of Thanos and of the agent.
    async fn of_both(self) -> Result<(Time, Time)> {
        let both = eventually(FOLLOW, "the pod's status tells both ends", || async {
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let [Some(thanos), Some(agent)] = seen else { bail!("{seen:?}") };
            Ok((thanos, agent))
        });
        let both = both.await;
        self.task.abort();
        both
    }
}

fn end_of(pod: &Pod, container: &str) -> Option<Time> {
    let status = container_statuses(pod).find(|status| status.name == container)?;
    status.state.as_ref()?.terminated.as_ref()?.finished_at.clone()
}

/// Whether the agent's startup probe has succeeded.
fn has_started(pod: &Pod) -> bool {
    container_statuses(pod).any(|status| status.name == AGENT_CONTAINER && status.started == Some(true))
}

fn process(pod: &Pod, program: &str) -> Result<OsProcess> {
    OsProcess::in_pod(pod, program).with_context(|| format!("{} runs no {program}", pod.name_any()))
}

/// Which file it is that Thanos sees, and what it holds.
fn file_of(thanos: &OsProcess) -> Result<(u64, String)> {
    let path = thanos.path(FILE);
    let read = || Ok::<_, std::io::Error>((fs::metadata(&path)?.ino(), fs::read_to_string(&path)?));
    read().with_context(|| format!("failed to read {}", path.display()))
}
