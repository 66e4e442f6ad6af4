//! Step 1: everything that the pure steps look at, fetched once.
//!
//! While only endpoints changed, what is there is known from the last write (fast path). Else every owned object
//! is read from the API: watches only wake, they are no source of truth.

use std::{fmt::Debug, sync::Arc, time::Duration};

use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Service, ServiceAccount},
        policy::v1::PodDisruptionBudget,
        rbac::v1::{Role, RoleBinding},
    },
};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::{
    discovery::Watched,
    plan::Names,
    watch::{Indices, StoreApiService, StoreApiSlice},
};

/// Longest that one answer of the API is waited for.
pub const API_TIMEOUT: Duration = Duration::from_secs(10);

/// The owned objects as the API has them.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// The ConfigMap of the endpoints.
    pub config_map: Option<ConfigMap>,
    /// Identity of the pods.
    pub service_account: Option<ServiceAccount>,
    /// The agent's right.
    pub role: Option<Role>,
    /// Gives it to the pods.
    pub role_binding: Option<RoleBinding>,
    /// The queriers' Service.
    pub service: Option<Service>,
    /// The disruption budget.
    pub disruption_budget: Option<PodDisruptionBudget>,
    /// The queriers.
    pub deployment: Option<Deployment>,
}

/// An object could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The API refused.
    #[error("failed to read {kind} {namespace}/{name}")]
    Api {
        /// Kind of the object.
        kind: String,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// What the API said.
        #[source]
        source: Box<kube::Error>,
    },
    /// The API did not answer.
    #[error("failed to read {kind} {namespace}/{name}: no answer within {API_TIMEOUT:?}")]
    Timeout {
        /// Kind of the object.
        kind: String,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

/// The Services in reach of a ThanosQuery in `namespace`, and their slices.
pub fn watched(indices: &Indices, namespace: &str) -> Watched {
    let services: Vec<Arc<StoreApiService>> =
        indices.services.read().in_namespace(namespace).cloned().collect();
    let slices: Vec<Arc<StoreApiSlice>> = indices.slices.read().in_namespace(namespace).cloned().collect();
    Watched { services, slices }
}

/// Reads every owned object.
///
/// # Errors
/// When one of them cannot be read; a missing object is none.
pub async fn live(client: &Client, names: &Names) -> Result<Live, ReadError> {
    let (namespace, querier) = (&names.namespace, &names.querier);
    let (config_map, service_account, role, role_binding, service, disruption_budget, deployment) = tokio::try_join!(
        get(client, namespace, &names.config_map),
        get(client, namespace, querier),
        get(client, namespace, querier),
        get(client, namespace, querier),
        get(client, namespace, querier),
        get(client, namespace, querier),
        get(client, namespace, querier),
    )?;
    Ok(Live { config_map, service_account, role, role_binding, service, disruption_budget, deployment })
}

/// Reads one object; none when it is not there.
///
/// # Errors
/// When the API refuses or does not answer.
pub async fn get<K>(client: &Client, namespace: &str, name: &str) -> Result<Option<K>, ReadError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    let about = || (K::kind(&()).into_owned(), namespace.to_owned(), name.to_owned());
    match timeout(API_TIMEOUT, Api::<K>::namespaced(client.clone(), namespace).get_opt(name)).await {
        Ok(Ok(object)) => Ok(object),
        Ok(Err(source)) => {
            let (kind, namespace, name) = about();
            Err(ReadError::Api { kind, namespace, name, source: Box::new(source) })
        }
        Err(_) => {
            let (kind, namespace, name) = about();
            Err(ReadError::Timeout { kind, namespace, name })
        }
    }
}
