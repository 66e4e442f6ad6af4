//! What happens in the demo, in order.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use crds::names::{labels, pod, reasons};
use kube::ResourceExt as _;

use super::{
    measure::{Before, Start, Times},
    timeline::{Timeline, shown},
};
use crate::fixtures::{
    Environment, Listed, Queriers, Store, StoreService, World, eventually, http, world::delete_namespace,
};

/// Where it happens.
pub const NAMESPACE: &str = "thanos-demo";

/// The ThanosQuery.
const QUERY: &str = "global";

/// The query whose answer holds data of every store.
const EXPRESSION: &str = "count by (store) (up)";

/// How long Prometheus may take until its first samples are there.
const SAMPLES: Duration = Duration::from_secs(30);

struct Play<'a> {
    world: World,
    queriers: Queriers,
    timeline: &'a Timeline,
    ordinary: usize,
    replaced: usize,
}

/// Plays the demo; returns the addresses of the Query UI, where they can be reached.
///
/// # Errors
/// When something does not come about.
pub async fn play(environment: &Environment, timeline: &Timeline) -> Result<Vec<String>> {
    timeline.heading("Three stores (Prometheus with a Thanos sidecar) and a ThanosQuery with 2 replicas");
    delete_namespace(&environment.client, NAMESPACE).await?;
    let world = World::lasting(environment, NAMESPACE).await?;
    let started = Instant::now();
    // London runs already, so that what is measured is the way of its Service, not the start of Prometheus.
    let stores = [Store::new("berlin"), Store::new("paris"), Store::new("london").without_service()];
    let ((), queriers) =
        tokio::try_join!(world.stores(stores), world.ready_thanos_query(QUERY, "{replicas: 2}"))?;
    queriers.every_pod_lists(&["berlin", "paris"]).await?;
    timeline.line(&format!("all of it runs after {}; london has no Service yet", shown(started.elapsed())));
    for pod in queriers.pods().await? {
        timeline.line(&format!("{} is Ready and queries berlin and paris", pod.name_any()));
    }
    let mut play = Play { world, queriers, timeline, ordinary: 0, replaced: 0 };
    play.ordinary_changes().await?;
    play.strict().await?;
    play.end().await
}

// === impl Play ===

impl Play<'_> {
    /// Promise 1: in every pod's file within milliseconds, queried within a tick of Thanos, no pod replaced.
    async fn ordinary_changes(&mut self) -> Result<()> {
        self.timeline.heading("Ordinary changes: the file in each pod follows, nothing restarts");
        self.timeline.columns();

        let berlin = StoreService::of("berlin").port(81);
        let lists =
            |store: &'static str| move |all: &[Listed]| all.iter().any(|one| one.store() == Some(store));
        let lacks =
            |store: &'static str| move |all: &[Listed]| !all.iter().any(|one| one.store() == Some(store));
        let at = |end: &'static str| {
            move |all: &[Listed]| {
                all.iter().any(|one| one.name.ends_with(end) && one.store() == Some("berlin"))
            }
        };

        let before = Before::look(&self.queriers).await?;
        let start = Start::now();
        self.world.service(&StoreService::of("london")).await?;
        let times = before.follow(start, lists("london")).await?;
        self.tell("london: Service added", &times);

        let before = Before::look(&self.queriers).await?;
        let start = Start::now();
        self.world.delete_service("paris").await?;
        let times = before.follow(start, lacks("paris")).await?;
        self.tell("paris: Service deleted", &times);

        let before = Before::look(&self.queriers).await?;
        let start = Start::now();
        self.world.service(&berlin).await?;
        let times = before.follow(start, at(":81")).await?;
        self.tell("berlin: Service port 80 → 81", &times);

        let before = Before::look(&self.queriers).await?;
        let start = Start::now();
        self.world.service(&StoreService::of("paris").headless()).await?;
        let times = before.follow(start, lists("paris")).await?;
        self.tell("paris: back, as a headless Service", &times);
        Ok(())
    }

    fn tell(&mut self, change: &str, times: &Times) {
        self.ordinary += 1;
        self.replaced += times.replaced;
        self.timeline.change(change, times);
    }

    /// Promise 2: a strict endpoint is a flag of Thanos, so this one change does replace the pods, and says why.
    async fn strict(&mut self) -> Result<()> {
        self.timeline.heading("A strict store: in mode File it is a flag, so the pods are replaced once");
        let before = self.queriers.snapshot().await?;
        let always = self.queriers.always_listed("london");
        let started = Instant::now();
        self.world.service(&StoreService::of("london").label(labels::ENDPOINT_STRICT, labels::TRUE)).await?;
        self.queriers.rolled_out(&before).await?;
        let replaced = before.replaced(&self.queriers.snapshot().await?);
        let took = shown(started.elapsed());
        self.timeline.line(&format!(
            "london: Service made strict; {replaced} pods replaced, one at a time, in {took}"
        ));
        let seen = always.held().await?;
        self.timeline
            .line(&format!("asked {seen} times meanwhile: every Ready pod queried london each time"));
        let event = eventually(SAMPLES, "the Event of the rollout", || async {
            self.queriers.events(reasons::ROLLOUT).await?.pop().context("none yet")
        })
        .await?;
        self.timeline.line(&format!("Event:  {event}"));
        let status = self.queriers.object().await?.status.unwrap_or_default();
        let rollout = status.last_rollout.context("status does not name the rollout")?;
        self.timeline.line(&format!("status: {}", rollout.reason));
        Ok(())
    }

    /// A query over every store, and where to go on.
    async fn end(self) -> Result<Vec<String>> {
        let pods = self.queriers.pods().await?;
        let pod = pods.first().context("there are no queriers")?;
        let answer = eventually(SAMPLES, "data of every store", || async {
            let answer = self.queriers.query(pod, EXPRESSION).await?;
            anyhow::ensure!(answer.stores().len() == 3, "{answer:?}");
            Ok(answer)
        })
        .await?;
        self.timeline.heading(&format!("The answer of {} to: {EXPRESSION}", pod.name_any()));
        let mut rows: Vec<Vec<String>> = answer
            .samples
            .iter()
            .map(|sample| {
                vec![sample.metric.get("store").cloned().unwrap_or_default(), sample.value.1.clone()]
            })
            .collect();
        rows.sort();
        rows.insert(0, vec!["store".to_owned(), "series of up".to_owned()]);
        self.timeline.table(&rows);

        self.timeline.heading(&format!(
            "{} ordinary changes, {} pods replaced by them. 1 strict change, 1 rollout, with its reason.",
            self.ordinary, self.replaced
        ));
        if !self.world.cluster().is_own() {
            return Ok(Vec::new());
        }
        let address = |pod| Ok(format!("http://{}:{}", http::address(pod)?, pod::HTTP_PORT));
        pods.iter().map(address).collect()
    }
}
