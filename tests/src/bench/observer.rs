//! Watches from outside: the ConfigMaps, the agents' reports, what each Thanos lists.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Result;
use crds::names::pod;
use futures::{StreamExt as _, pin_mut};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, ResourceExt as _,
    runtime::{WatchStreamExt as _, watcher},
};
use sd_agent::{Payload, Report};
use serde::Deserialize;
use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};

use super::{
    log::{Log, PodLog, Seen},
    probe::Probe,
    site::Site,
};

/// How finely the moment is told at which a pod lists a store.
pub const RESOLUTION: Duration = Duration::from_millis(50);

/// An agent's report keeps its time, and generations are a second apart: no need to hurry.
const REPORTS: Duration = Duration::from_millis(250);

/// How long a Service's address is tried.
const LONGEST_KNOCK: Duration = Duration::from_secs(30);

/// All observers of a site; they end when this is dropped.
pub struct Observers {
    log: Arc<Mutex<Log>>,
    tasks: Mutex<JoinSet<()>>,
}

#[derive(Deserialize)]
struct StoresBody {
    data: BTreeMap<String, Vec<Listed>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    name: String,
    last_error: Option<String>,
}

// === impl Observers ===

impl Observers {
    /// Starts to look at everything of `site`.
    ///
    /// # Errors
    /// When a pod has no address.
    pub async fn start(site: &Site) -> Result<Self> {
        let mut log = Log::default();
        let mut probes = Vec::new();
        for query in site.queries() {
            for querier in site.pods_of(&query).await? {
                probes.push((site.probe(&querier, pod::HTTP_PORT)?, site.probe(&querier, pod::AGENT_PORT)?));
                log.pods.push(PodLog { query: query.clone(), ..PodLog::default() });
            }
        }
        let log = Arc::new(Mutex::new(log));
        let mut tasks = JoinSet::new();
        for (index, (stores, agent)) in probes.into_iter().enumerate() {
            tasks.spawn(watch_stores(stores, Arc::clone(&log), index));
            tasks.spawn(watch_agent(agent, Arc::clone(&log), index));
        }
        for query in site.queries() {
            tasks.spawn(watch_documents(site.api(), query, Arc::clone(&log)));
        }
        Ok(Self { log, tasks: Mutex::new(tasks) })
    }

    /// What was seen until now.
    pub fn log(&self) -> MutexGuard<'_, Log> {
        lock(&self.log)
    }

    /// Connects to the Service `name` at `address` until that works.
    pub fn knock(&self, name: String, address: SocketAddr) {
        let log = Arc::clone(&self.log);
        lock(&self.tasks).spawn(async move {
            let started = Instant::now();
            while started.elapsed() < LONGEST_KNOCK {
                // A lost packet is sent again after a second; a new connection need not wait for that.
                let connected = timeout(RESOLUTION, TcpStream::connect(address)).await;
                if let Ok(Ok(_)) = connected {
                    lock(&log).reachable.insert(name, Timestamp::now());
                    return;
                }
                sleep(RESOLUTION / 2).await;
            }
        });
    }

    /// Ends the observation; returns what was seen.
    pub async fn stop(self) -> Log {
        let mut tasks = std::mem::take(&mut *lock(&self.tasks));
        tasks.shutdown().await;
        std::mem::take(&mut *lock(&self.log))
    }
}

// A task that panicked has only left something out.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn watch_stores(mut probe: Probe, log: Arc<Mutex<Log>>, index: usize) {
    let mut listed = BTreeSet::new();
    let mut ticks = interval(RESOLUTION);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let answer = probe.get("/api/v1/stores").await;
        let at = Timestamp::now();
        let parsed = answer.and_then(|body| Ok(serde_json::from_slice::<StoresBody>(&body)?));
        let body = match parsed {
            Ok(body) => body,
            Err(error) => {
                failed(&log, &error);
                continue;
            }
        };
        let healthy = body.data.into_values().flatten().filter(|store| store.last_error.is_none());
        let now: BTreeSet<String> = healthy.map(|store| store.name).collect();
        if now != listed {
            let mut log = lock(&log);
            for address in now.symmetric_difference(&listed) {
                let is = now.contains(address);
                log.pods[index].listed.entry(address.clone()).or_default().push((at, is));
            }
            listed = now;
        }
    }
}

async fn watch_agent(mut probe: Probe, log: Arc<Mutex<Log>>, index: usize) {
    let mut ticks = interval(REPORTS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let answer = probe.get("/status").await;
        match answer.and_then(|body| Ok(serde_json::from_slice::<Report>(&body)?)) {
            Ok(Report { applied: Some(applied), .. }) => {
                lock(&log).pods[index].applied.insert(applied.generation, applied.applied_at);
            }
            Ok(_) => {}
            Err(error) => failed(&log, &error),
        }
    }
}

async fn watch_documents(api: Api<ConfigMap>, query: String, log: Arc<Mutex<Log>>) {
    let only = format!("metadata.name=thanos-query-{query}-endpoints");
    let events = watcher(api, watcher::Config::default().fields(&only)).default_backoff().applied_objects();
    pin_mut!(events);
    while let Some(event) = events.next().await {
        let seen = event.map_err(anyhow::Error::from).and_then(read_document);
        match seen {
            Ok((generation, seen)) => {
                lock(&log).documents.entry(query.clone()).or_default().insert(generation, seen);
            }
            Err(error) => failed(&log, &error),
        }
    }
}

fn read_document(config_map: ConfigMap) -> Result<(u64, Seen)> {
    let binary = config_map.binary_data.clone().unwrap_or_default();
    let payload = Payload {
        data: config_map.data.clone().unwrap_or_default(),
        binary_data: binary.into_iter().map(|(key, bytes)| (key, bytes.0)).collect(),
    };
    let unpacked = payload.unpack();
    let (meta, document) =
        unpacked.map_err(|error| anyhow::anyhow!("ConfigMap {}: {error}", config_map.name_any()))?;
    let addresses = document.endpoints().iter().map(|endpoint| endpoint.file.to_string()).collect();
    Ok((meta.generation, Seen { planned: meta.written_at, addresses }))
}

fn failed(log: &Mutex<Log>, error: &anyhow::Error) {
    let mut log = lock(log);
    log.failed_polls += 1;
    log.last_failure = Some(format!("{error:#}"));
}
