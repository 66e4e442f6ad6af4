//! The installed operator: what it counts, and how much memory it and the agents take.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt as _, api::ListParams};
use tokio::time::sleep;

use super::probe::Probe;
use crate::{
    cluster::{Cluster, DEPLOYMENT},
    fixtures::{OsProcess, pod_state::is_ready},
};

/// The port of its metrics.
const PORT: u16 = 8080;

/// The metric that counts writes.
const WRITES: &str = "thanos_operator_writes_total";

/// How long nothing was written when it is calm.
const CALM: Duration = Duration::from_secs(4);

/// The installed operator.
pub struct Installed {
    cluster: Cluster,
    client: Client,
    pod: Pod,
}

/// Writes to the API by kind of object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Writes(BTreeMap<String, u64>);

// === impl Installed ===

impl Installed {
    /// Finds the one pod.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn find(cluster: &Cluster, client: &Client, namespace: &str) -> Result<Self> {
        let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
        let selector = format!("app.kubernetes.io/name={DEPLOYMENT}");
        let pods = api.list(&ListParams::default().labels(&selector)).await?;
        let pod = pods.items.into_iter().find(is_ready);
        let pod = pod.with_context(|| format!("no operator runs in {namespace}: `cargo cluster install`"))?;
        Ok(Self { cluster: cluster.clone(), client: client.clone(), pod })
    }

    /// Its name, which changes when it was replaced.
    pub fn name(&self) -> String {
        self.pod.name_any()
    }

    /// What it has written.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn writes(&self) -> Result<Writes> {
        let mut probe = Probe::new(&self.cluster, &self.client, &self.pod, PORT)?;
        let text = probe.get("/metrics").await.context("the operator's metrics")?;
        Ok(Writes::read(&String::from_utf8_lossy(&text)))
    }

    /// What it has written, once it writes no more: the last status of a start comes after the pods are ready.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn writes_when_calm(&self) -> Result<Writes> {
        let mut writes = self.writes().await?;
        // Where others are at work, too, it may never be calm.
        for _ in 0..10 {
            sleep(CALM).await;
            let now = self.writes().await?;
            if now == writes {
                break;
            }
            writes = now;
        }
        Ok(writes)
    }

    /// Its memory in MiB; none when its processes cannot be seen from here.
    pub fn memory(&self) -> Option<f64> {
        process(&self.cluster, &self.pod, "thanos-operator")?.memory()
    }
}

/// The program `program` in `pod`; none when the node's processes cannot be seen.
pub fn process(cluster: &Cluster, pod: &Pod, program: &str) -> Option<OsProcess> {
    OsProcess::in_pod(pod, program).filter(|_| cluster.is_own())
}

// === impl Writes ===

impl Writes {
    fn read(text: &str) -> Self {
        let samples = text.lines().filter_map(|line| {
            let (kind, value) = line.strip_prefix(WRITES)?.strip_prefix("{kind=\"")?.split_once("\"} ")?;
            Some((kind.to_owned(), value.trim().parse().ok()?))
        });
        Self(samples.collect())
    }

    /// What was written since `before`.
    pub fn since(&self, before: &Self) -> Self {
        let grown = self.0.iter().filter_map(|(kind, &now)| {
            let more = now.saturating_sub(before.of(kind));
            (more > 0).then(|| (kind.clone(), more))
        });
        Self(grown.collect())
    }

    /// Of one kind.
    pub fn of(&self, kind: &str) -> u64 {
        self.0.get(kind).copied().unwrap_or(0)
    }

    /// Every kind with its count.
    pub fn kinds(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(kind, &count)| (kind.as_str(), count))
    }

    /// Of all kinds.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_counted_by_kind() {
        let before = Writes::read("# TYPE x\nthanos_operator_writes_total{kind=\"status\"} 3\n");
        let after = Writes::read(
            "thanos_operator_writes_total{kind=\"status\"} 5\nthanos_operator_writes_total{kind=\"ConfigMap\"} 1\n",
        );
        let since = after.since(&before);
        assert_eq!((since.of("status"), since.of("ConfigMap"), since.of("Role")), (2, 1, 0));
        assert_eq!(since.total(), 3);
        assert_eq!(after.since(&after).total(), 0);
    }
}
