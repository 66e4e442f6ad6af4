//! One change, followed from the API server to every querier.

use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::future::try_join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use sd_agent::{Meta, payload::META_KEY};
use tokio::time::Instant;

use crate::fixtures::{Listed, PodsSnapshot, Queriers, eventually_every};

/// How often pods are asked.
const LOOK: Duration = Duration::from_millis(20);

/// How long a change may take.
const LIMIT: Duration = Duration::from_secs(60);

/// When a change was where.
#[derive(Clone, Debug)]
pub struct Times {
    /// In the ConfigMap.
    pub config_map: Duration,
    /// In the file of each pod.
    pub files: Vec<Duration>,
    /// Queried by each pod.
    pub queried: Vec<Duration>,
    /// How many pods were replaced.
    pub replaced: usize,
}

/// What is known before a change.
pub struct Before {
    queriers: Queriers,
    pods: Vec<Pod>,
    generation: u64,
}

/// The moment at which the change was sent, on both clocks.
#[derive(Clone, Copy)]
pub struct Start {
    instant: Instant,
    time: Timestamp,
}

// === impl Start ===

impl Start {
    /// Now.
    pub fn now() -> Self {
        Self { instant: Instant::now(), time: Timestamp::now() }
    }

    /// How long it took until `time`, which somebody else's clock says: it may be behind this one.
    fn until(self, time: Timestamp) -> Duration {
        Duration::try_from(time.duration_since(self.time)).unwrap_or_default()
    }
}

// === impl Before ===

impl Before {
    /// Looks before the change.
    ///
    /// # Errors
    /// When the pods or the ConfigMap cannot be read.
    pub async fn look(queriers: &Queriers) -> Result<Self> {
        let pods = queriers.pods().await?;
        Ok(Self { queriers: queriers.clone(), pods, generation: envelope(queriers).await?.generation })
    }

    /// Follows the change that was made at `start` until in every pod `wanted` holds for what it queries.
    ///
    /// # Errors
    /// When that does not happen.
    pub async fn follow(&self, start: Start, wanted: impl Fn(&[Listed]) -> bool + Copy) -> Result<Times> {
        let config_map = eventually_every(LOOK, LIMIT, "the change in the ConfigMap", || async {
            let now = envelope(&self.queriers).await?;
            anyhow::ensure!(now.generation > self.generation, "generation {}", now.generation);
            Ok(start.until(now.written_at))
        });
        let files = try_join_all(self.pods.iter().map(|pod| self.file(pod, start)));
        let queried = try_join_all(self.pods.iter().map(|pod| self.queried(pod, start, wanted)));
        let (config_map, files, queried) = tokio::try_join!(config_map, files, queried)?;
        let replaced = PodsSnapshot::of(&self.pods).replaced(&self.queriers.snapshot().await?);
        Ok(Times { config_map, files, queried, replaced })
    }

    /// The agent tells when it renamed the file, so asking does not add to the time.
    async fn file(&self, pod: &Pod, start: Start) -> Result<Duration> {
        eventually_every(LOOK, LIMIT, "the change in the file", || async {
            let applied = self.queriers.agent_of(pod).await?.applied.context("no file yet")?;
            anyhow::ensure!(applied.generation > self.generation, "generation {}", applied.generation);
            Ok(start.until(applied.applied_at))
        })
        .await
    }

    async fn queried(
        &self,
        pod: &Pod,
        start: Start,
        wanted: impl Fn(&[Listed]) -> bool + Copy,
    ) -> Result<Duration> {
        eventually_every(LOOK, LIMIT, "the change at /api/v1/stores", || async {
            let listed = self.queriers.listed_by(pod).await?;
            anyhow::ensure!(wanted(&listed), "{listed:?}");
            Ok(())
        })
        .await?;
        Ok(start.instant.elapsed())
    }
}

/// What the ConfigMap says about its document.
async fn envelope(queriers: &Queriers) -> Result<Meta> {
    let data = queriers.config_map().await?.data.unwrap_or_default();
    let meta = data.get(META_KEY).context("no meta.json")?;
    serde_json::from_str(meta).context("meta.json cannot be read")
}
