//! Where it is measured: a namespace with tiny stores and the queriers of several ThanosQuery objects.

use std::{
    fmt::Debug,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use crds::{
    ThanosQuery,
    names::{labels, pod},
};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::StatefulSet,
        core::v1::{Namespace, Pod, Service},
    },
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{DeleteParams, ListParams, PostParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{log::Form, probe::Probe};
use crate::{
    cluster::Cluster,
    fixtures::{
        PodsSnapshot, eventually,
        pod_state::{is_ready, restarts},
    },
};

/// A ThanosQuery that is measured.
#[derive(Clone, Copy, Debug)]
pub struct Variant {
    /// Its name.
    pub query: &'static str,
    /// How rows call it.
    pub title: &'static str,
    /// Its version of Thanos.
    pub version: &'static str,
    /// Its tick.
    pub refresh_interval: &'static str,
}

/// All of them see every change at once.
pub const VARIANTS: [Variant; 4] = [
    Variant { query: "new", title: "v0.42.4", version: "v0.42.4", refresh_interval: "5s" },
    Variant {
        query: "new-1s",
        title: "v0.42.4, refreshInterval 1s",
        version: "v0.42.4",
        refresh_interval: "1s",
    },
    Variant { query: "middle", title: "v0.37.2", version: "v0.37.2", refresh_interval: "5s" },
    Variant { query: "old", title: "v0.35.1", version: "v0.35.1", refresh_interval: "5s" },
];

/// Queriers of each ThanosQuery.
const REPLICAS: u16 = 2;

/// Store pods. Behind a headless name Thanos sees addresses, so a pod may stand behind one Service at a time.
pub const STORES: u16 = 14;

/// The Services' port; the pods' is another.
const SERVICE_PORT: u16 = 80;

/// A Thanos without data is the smallest StoreAPI that there is.
const STORE_IMAGE: &str = "quay.io/thanos/thanos:v0.42.4";

/// Which Services the queriers take: not each other.
const SELECTED: &str = "bench";

/// How long the start of all pods may take.
const START: Duration = Duration::from_secs(240);

/// A namespace of the benchmark.
pub struct Site {
    cluster: Cluster,
    client: Client,
    namespace: String,
    /// Addresses of the store pods, by their number.
    addresses: Vec<String>,
}

// === impl Site ===

impl Site {
    /// Makes the namespace, which is empty yet.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn create(cluster: &Cluster, client: &Client, namespace: &str) -> Result<Self> {
        let namespace = namespace.to_owned();
        let api: Api<Namespace> = Api::all(client.clone());
        let object = serde_json::from_value(json!({"metadata": {"name": namespace}}))?;
        api.create(&PostParams::default(), &object).await.context("cannot make a namespace")?;
        Ok(Self { cluster: cluster.clone(), client: client.clone(), namespace, addresses: Vec::new() })
    }

    /// Starts stores and queriers and waits until all are ready.
    ///
    /// # Errors
    /// When they do not become ready.
    pub async fn fill(&mut self) -> Result<()> {
        self.make::<StatefulSet>(stores()).await?;
        for variant in VARIANTS {
            self.make::<ThanosQuery>(query(&variant)).await?;
        }
        let queriers = usize::from(REPLICAS) * VARIANTS.len();
        let pods = eventually(START, "all stores and queriers ready", || async {
            let pods = self.api::<Pod>().list(&ListParams::default()).await?.items;
            let ready = pods.iter().filter(|pod| is_ready(pod)).count();
            let wanted = usize::from(STORES) + queriers;
            if (pods.len(), ready) != (wanted, wanted) {
                bail!("{} pods, {ready} ready, {wanted} wanted", pods.len());
            }
            Ok(pods)
        })
        .await?;
        self.addresses = (0..STORES)
            .map(|number| {
                let name = store_pod(number);
                let found = pods.iter().find(|pod| pod.name_any() == name);
                let address = found.and_then(|pod| pod.status.as_ref()?.pod_ip.clone());
                address.with_context(|| format!("store pod {name} has no address"))
            })
            .collect::<Result<_>>()?;
        Ok(())
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Objects of one kind.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The ThanosQuery objects.
    pub fn queries(&self) -> Vec<String> {
        VARIANTS.iter().map(|variant| variant.query.to_owned()).collect()
    }

    /// The querier pods of `query`.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn pods_of(&self, query: &str) -> Result<Vec<Pod>> {
        self.queriers(&format!("{}={query}", labels::OWNER)).await
    }

    /// Who all querier pods are.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn snapshot(&self) -> Result<PodsSnapshot> {
        Ok(PodsSnapshot::of(&self.queriers(labels::OWNER).await?))
    }

    /// Restarts of all containers of all querier pods.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn restarts(&self) -> Result<i32> {
        Ok(self.queriers(labels::OWNER).await?.iter().map(restarts).sum())
    }

    async fn queriers(&self, selector: &str) -> Result<Vec<Pod>> {
        Ok(self.api::<Pod>().list(&ListParams::default().labels(selector)).await?.items)
    }

    /// Asks `port` of `pod`.
    ///
    /// # Errors
    /// When the pod has no address.
    pub fn probe(&self, pod: &Pod, port: u16) -> Result<Probe> {
        Probe::new(&self.cluster, &self.client, pod, port)
    }

    /// Creates a Service before one store pod; returns its own address, when that can be reached from here.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn create_service(&self, name: &str, form: Form, store: u16) -> Result<Option<SocketAddr>> {
        let mut spec = json!({
            "selector": {"statefulset.kubernetes.io/pod-name": store_pod(store)},
            "ports": [{"name": pod::GRPC_PORT_NAME, "port": SERVICE_PORT, "targetPort": pod::GRPC_PORT}],
        });
        if form == Form::Headless {
            spec["clusterIP"] = json!("None");
        }
        let object = json!({"metadata": {"name": name, "labels": store_labels()}, "spec": spec});
        let made: Service = self.make(object).await?;
        let address = made.spec.and_then(|spec| spec.cluster_ip?.parse::<IpAddr>().ok());
        Ok(address.filter(|_| self.cluster.is_own()).map(|address| SocketAddr::new(address, SERVICE_PORT)))
    }

    /// Deletes a Service.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn delete_service(&self, name: &str) -> Result<()> {
        self.api::<Service>().delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    /// How Thanos lists the Service `name` before `store`: the beginning of the address.
    pub fn listed(&self, name: &str, form: Form, store: u16) -> String {
        match form {
            Form::ClusterIp => format!("{name}.{}.svc.", self.namespace),
            Form::Headless => format!("{}:{}", self.addresses[usize::from(store)], pod::GRPC_PORT),
        }
    }

    /// Deletes everything.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn delete(&self) -> Result<()> {
        delete_namespace(&self.client, &self.namespace).await
    }

    async fn make<K>(&self, object: Value) -> Result<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + Serialize
            + DeserializeOwned,
    {
        let object: K = serde_json::from_value(object)?;
        let made = self.api::<K>().create(&PostParams::default(), &object).await;
        made.with_context(|| format!("cannot make {} {}", K::kind(&()), object.name_any()))
    }
}

/// Deletes a namespace, which goes on in the background.
///
/// # Errors
/// When the API server refuses it.
pub async fn delete_namespace(client: &Client, name: &str) -> Result<()> {
    let api: Api<Namespace> = Api::all(client.clone());
    api.delete(name, &DeleteParams::default()).await.with_context(|| format!("cannot delete {name}"))?;
    Ok(())
}

/// Labels of a Service that is discovered.
fn store_labels() -> Value {
    json!({labels::STORE_API: labels::TRUE, labels::PART_OF: labels::THANOS, SELECTED: "store"})
}

fn store_pod(number: u16) -> String {
    format!("store-{number}")
}

fn query(variant: &Variant) -> Value {
    json!({
        "apiVersion": "monitoring.thanos.io/v1alpha1",
        "kind": "ThanosQuery",
        "metadata": {"name": variant.query},
        "spec": {
            "replicas": REPLICAS,
            "version": variant.version,
            "customStoreLabelSelector": {"matchLabels": {SELECTED: "store"}},
            // At the end everything is removed, and that is measured like the rest.
            "serviceDiscovery": {
                "refreshInterval": variant.refresh_interval,
                "removalGuard": {"holdFor": "0s"},
            },
        },
    })
}

fn stores() -> Value {
    let selector = json!({"app": "store"});
    let container = json!({
        "name": "store",
        "image": STORE_IMAGE,
        "args": ["query", "--log.level=warn"],
        "ports": [{"name": pod::GRPC_PORT_NAME, "containerPort": pod::GRPC_PORT}],
        "readinessProbe": {"httpGet": {"path": "/-/ready", "port": 10902}},
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": true,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    });
    json!({
        "metadata": {"name": "store"},
        "spec": {
            "replicas": STORES,
            "podManagementPolicy": "Parallel",
            "serviceName": "store",
            "selector": {"matchLabels": selector},
            "template": {
                "metadata": {"labels": selector},
                "spec": {
                    "automountServiceAccountToken": false,
                    "terminationGracePeriodSeconds": 1,
                    "containers": [container],
                },
            },
        },
    })
}
