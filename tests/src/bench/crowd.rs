//! Many labelled Services that nobody selects: the operator has to remember them all the same.

use anyhow::{Context as _, Result};
use crds::names::{labels, pod};
use futures::{TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::{Namespace, Service};
use kube::{Api, Client, api::PostParams};
use serde_json::json;

use super::site::delete_namespace;

/// Requests at once.
const AT_ONCE: usize = 8;

/// A namespace with Services only.
pub struct Crowd {
    client: Client,
    namespace: String,
}

// === impl Crowd ===

impl Crowd {
    /// Makes the namespace `namespace`, which is empty yet.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn create(client: &Client, namespace: &str) -> Result<Self> {
        let api: Api<Namespace> = Api::all(client.clone());
        let object = serde_json::from_value(json!({"metadata": {"name": namespace}}))?;
        api.create(&PostParams::default(), &object).await.context("cannot make a namespace")?;
        Ok(Self { client: client.clone(), namespace: namespace.to_owned() })
    }

    /// Makes `number` Services. Headless and without pods, so that they cost the rest of the cluster little.
    ///
    /// # Errors
    /// When the API server refuses one.
    pub async fn fill(&self, number: u32) -> Result<()> {
        let api: &Api<Service> = &Api::namespaced(self.client.clone(), &self.namespace);
        let made = stream::iter((0..number).map(Ok::<u32, anyhow::Error>));
        made.try_for_each_concurrent(AT_ONCE, |number| async move {
            let object = serde_json::from_value(json!({
                "metadata": {
                    "name": format!("store-{number:05}"),
                    "labels": {labels::STORE_API: labels::TRUE, labels::PART_OF: labels::THANOS},
                },
                "spec": {
                    "clusterIP": "None",
                    "ports": [{"name": pod::GRPC_PORT_NAME, "port": pod::GRPC_PORT}],
                },
            }))?;
            api.create(&PostParams::default(), &object).await.context("cannot make a Service")?;
            Ok(())
        })
        .await
    }

    /// Deletes them all.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn delete(&self) -> Result<()> {
        // One after the other would take the namespace controller minutes.
        let api: Api<Service> = Api::namespaced(self.client.clone(), &self.namespace);
        api.delete_collection(&Default::default(), &Default::default())
            .await
            .context("cannot delete Services")?;
        delete_namespace(&self.client, &self.namespace).await
    }
}
