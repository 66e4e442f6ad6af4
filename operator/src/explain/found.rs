//! What was read, as the pure part gets it.

use std::collections::BTreeMap;

use crds::{ThanosQuery, names::pod::QUERY_CONTAINER};
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Pod, PodSpec},
};
use sd_agent::Report;
use serde::Deserialize;

use super::Unread;
use crate::{cluster_version::ClusterVersion, discovery::Watched, watch::StoreApiService};

/// What was read.
#[derive(Clone, Debug)]
pub struct Found {
    /// The ThanosQuery.
    pub query: ThanosQuery,
    /// Every Service of the namespaces in reach, also those without labels, and what it is judged by.
    pub watched: Watched,
    /// Services with the StoreAPI labels in other namespaces, as far as they may be read.
    pub elsewhere: Vec<StoreApiService>,
    /// Namespaces that are asked for by name and are not there.
    pub missing_namespaces: Vec<String>,
    /// The ConfigMap with the endpoints.
    pub config_map: Option<ConfigMap>,
    /// The queriers.
    pub deployment: Option<Deployment>,
    /// Their pods.
    pub pods: Vec<PodFound>,
    /// The release of the cluster.
    pub cluster: ClusterVersion,
    /// What could not be read.
    pub unread: Vec<Unread>,
}

/// A querier pod and what its containers answered.
#[derive(Clone, Debug)]
pub struct PodFound {
    /// The pod.
    pub pod: Pod,
    /// `/status` of the agent.
    pub agent: Answer<Report>,
    /// `/api/v1/stores` of Thanos, by kind of store.
    pub stores: Answer<BTreeMap<String, Vec<Listed>>>,
}

/// What came of a question to a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<T> {
    /// It answered.
    Given(T),
    /// The API server does not pass questions on for whoever asks.
    Forbidden,
    /// There is no answer, or not the expected one.
    Failed(String),
    /// There is nobody to ask, and why.
    NotAsked(&'static str),
}

/// One store in Thanos' own list.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    /// Its address as Thanos has it: for names that it looks up, one of the addresses behind them.
    pub name: String,
    /// When it was asked last.
    #[serde(default)]
    pub last_check: Option<Timestamp>,
    /// Why it did not answer then.
    #[serde(default)]
    pub last_error: Option<String>,
    /// The label sets that it announces.
    #[serde(default)]
    pub label_sets: Option<Vec<BTreeMap<String, String>>>,
}

// === impl Found ===

impl Found {
    /// Whether some objects of this kind could not be read.
    pub fn lacks(&self, kind: &str) -> bool {
        self.unread.iter().any(|unread| unread.kind == kind)
    }

    /// The arguments of Thanos in the pod template.
    pub fn args(&self) -> &[String] {
        let spec = self.deployment.as_ref().and_then(|deployment| deployment.spec.as_ref());
        args_of(spec.and_then(|spec| spec.template.spec.as_ref()))
    }
}

// === impl PodFound ===

impl PodFound {
    /// The arguments of its Thanos.
    pub fn args(&self) -> &[String] {
        args_of(self.pod.spec.as_ref())
    }
}

fn args_of(spec: Option<&PodSpec>) -> &[String] {
    let containers = spec.map_or(&[][..], |spec| &spec.containers);
    let thanos = containers.iter().find(|container| container.name == QUERY_CONTAINER);
    thanos.and_then(|thanos| thanos.args.as_deref()).unwrap_or_default()
}
