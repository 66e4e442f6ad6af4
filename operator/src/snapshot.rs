//! Step 1: everything that the pure steps look at, fetched once.
//!
//! While only endpoints changed, what is there is known from the last write (fast path). Else every owned object
//! is read from the API: watches only wake, they are no source of truth.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Debug,
    sync::Arc,
    time::Duration,
};

use crds::{ThanosQuery, names::labels};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Service, ServiceAccount},
        policy::v1::PodDisruptionBudget,
        rbac::v1::{Role, RoleBinding},
    },
};
use kube::{Api, Client, Resource, api::ListParams};
use parking_lot::RwLock;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::{
    discovery::{Namespaces, Rights, Watched, owner_of},
    ownership::Ownership,
    plan::{Names, payload_of, service_monitor::ServiceMonitor},
    watch::{Guarded, Index, Indices, QueryService, Row, Wakes, WatchedNamespace},
};

/// Longest that one answer of the API is waited for.
pub const API_TIMEOUT: Duration = Duration::from_secs(10);

/// The owned objects as the API has them.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// The ConfigMap of the endpoints.
    pub config_map: Option<ConfigMap>,
    /// ConfigMaps of earlier names, which old pods may read.
    pub former_config_maps: Vec<ConfigMap>,
    /// The agent's right.
    pub role: Option<Role>,
    /// Gives it to the pods.
    pub role_binding: Option<RoleBinding>,
    /// The queriers' Service with one address.
    pub balanced: Option<Service>,
    /// The queriers.
    pub queriers: LiveWorkload,
    /// The query frontend.
    pub frontend: LiveWorkload,
    /// The shards of a tree, and what is called as one.
    pub shards: Vec<ThanosQuery>,
}

/// The objects of one workload as the API has them.
#[derive(Clone, Debug, Default)]
pub struct LiveWorkload {
    /// Identity of the pods.
    pub service_account: Option<ServiceAccount>,
    /// Their Service.
    pub service: Option<Service>,
    /// The disruption budget.
    pub disruption_budget: Option<PodDisruptionBudget>,
    /// The ServiceMonitor, where the cluster knows that kind.
    pub service_monitor: Option<ServiceMonitor>,
    /// Whether the cluster knows that kind.
    pub knows_service_monitors: bool,
    /// The pods.
    pub deployment: Option<Deployment>,
}

/// What has to be read.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The objects of a frontend; there may be some although none is wanted.
    pub frontend: bool,
    /// ServiceMonitors; the kind is installed.
    pub service_monitors: bool,
    /// Shards, of which those called so have to be there; there may be others.
    pub shards: Option<Vec<String>>,
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

/// The Services in reach of a ThanosQuery that looks at `namespaces`, and what discovery has to know of them.
pub fn watched(indices: &Indices, wakes: &Wakes, namespaces: &Namespaces, rights: Rights) -> Watched {
    let (rows, own) = (indices.namespaces.read(), namespaces.own());
    let known: Vec<Arc<WatchedNamespace>> = match namespaces.is_own_only() {
        true => rows.get("", own).into_iter().collect(),
        false => rows.all().cloned().collect(),
    };
    drop(rows);
    let labels: HashMap<&str, &BTreeMap<String, String>> =
        known.iter().map(|namespace| (namespace.name.as_str(), &namespace.labels)).collect();
    let is_in_reach = |namespace: &str| namespaces.include(namespace, labels.get(namespace).copied());
    let services = in_reach(&indices.services, namespaces, is_in_reach);
    let mut slices = in_reach(&indices.slices, namespaces, is_in_reach);
    slices.extend(in_reach(&indices.other_slices, namespaces, is_in_reach));
    let others: HashMap<(&str, &str), Arc<ThanosQuery>> = services
        .iter()
        .filter_map(|service| Some((service.namespace.as_str(), owner_of(service)?)))
        .filter_map(|(namespace, name)| Some(((namespace, name), wakes.get(namespace, name)?)))
        .collect();
    let others = others.into_values().collect();
    Watched { slices, others, services, namespaces: known, rights, root: None }
}

fn in_reach<R: Row>(
    index: &RwLock<Index<R>>,
    namespaces: &Namespaces,
    is_in_reach: impl Fn(&str) -> bool,
) -> Vec<Arc<R>> {
    let index = index.read();
    match namespaces.is_own_only() {
        true => index.in_namespace(namespaces.own()).cloned().collect(),
        false => {
            let within = index.namespaces().filter(|namespace| is_in_reach(namespace));
            within.flat_map(|namespace| index.in_namespace(namespace)).cloned().collect()
        }
    }
}

/// The query Services of `namespace`.
pub fn query_services(indices: &Indices, namespace: &str) -> Vec<Arc<QueryService>> {
    indices.query_services.read().in_namespace(namespace).cloned().collect()
}

/// Reads every owned object.
///
/// # Errors
/// When one of them cannot be read; a missing object is none.
pub async fn live(
    client: &Client,
    query: &ThanosQuery,
    names: &Names,
    reading: &Reading,
) -> Result<Live, ReadError> {
    let (namespace, querier) = (&names.namespace, &names.querier);
    let (config_map, former_config_maps, role, role_binding, balanced, queriers, frontend, shards) = tokio::try_join!(
        get(client, namespace, &names.config_map),
        former_config_maps(client, query, names),
        get(client, namespace, querier),
        get(client, namespace, querier),
        get(client, namespace, &names.balanced),
        workload(client, namespace, querier, reading),
        async {
            match reading.frontend {
                true => workload(client, namespace, &names.frontend, reading).await,
                false => Ok(LiveWorkload::default()),
            }
        },
        async {
            match &reading.shards {
                Some(wanted) => shards(client, names, wanted).await,
                None => Ok(vec![]),
            }
        },
    )?;
    Ok(Live { config_map, former_config_maps, role, role_binding, balanced, queriers, frontend, shards })
}

/// The shards of a ThanosQuery, and what is called as one of those that are `wanted`.
async fn shards(client: &Client, names: &Names, wanted: &[String]) -> Result<Vec<ThanosQuery>, ReadError> {
    let Names { namespace, query, .. } = names;
    let api: Api<Guarded> = Api::namespaced(client.clone(), namespace);
    let params = ListParams::default().labels(&format!("{}={query}", labels::SHARD_OF));
    let about = format!("of ThanosQuery {query}");
    let list = answered::<ThanosQuery, _>(namespace, &about, api.list(&params)).await?;
    let mut shards: Vec<ThanosQuery> = list.items.into_iter().filter_map(readable).collect();
    for name in wanted {
        // Somebody else's, or one that lost its label.
        if !shards.iter().any(|shard| shard.metadata.name.as_ref() == Some(name)) {
            let there = answered::<ThanosQuery, _>(namespace, name, api.get_opt(name)).await?;
            shards.extend(there.and_then(readable));
        }
    }
    Ok(shards)
}

/// One that somebody edited into what cannot be read is as good as one that has to be written anew.
fn readable(guarded: Guarded) -> Option<ThanosQuery> {
    guarded.0.map_or_else(
        |invalid| {
            let spec = serde_json::from_value(serde_json::json!({})).ok()?;
            Some(ThanosQuery { metadata: invalid.metadata, spec, status: None })
        },
        Some,
    )
}

async fn workload(
    client: &Client,
    namespace: &str,
    name: &str,
    reading: &Reading,
) -> Result<LiveWorkload, ReadError> {
    let (service_account, service, disruption_budget, service_monitor, deployment) = tokio::try_join!(
        get(client, namespace, name),
        get(client, namespace, name),
        get(client, namespace, name),
        async {
            match reading.service_monitors {
                true => get(client, namespace, name).await,
                false => Ok(None),
            }
        },
        get(client, namespace, name),
    )?;
    let knows_service_monitors = reading.service_monitors;
    Ok(LiveWorkload {
        service_account,
        service,
        disruption_budget,
        service_monitor,
        knows_service_monitors,
        deployment,
    })
}

/// Endpoint documents of this ThanosQuery under other names than the present one.
async fn former_config_maps(
    client: &Client,
    query: &ThanosQuery,
    names: &Names,
) -> Result<Vec<ConfigMap>, ReadError> {
    let ours = format!("{}={},{}={}", labels::MANAGED_BY, labels::OPERATOR, labels::OWNER, names.query);
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), &names.namespace);
    let params = ListParams::default().labels(&ours);
    let name = format!("of ThanosQuery {}", names.query);
    let list = answered::<ConfigMap, _>(&names.namespace, &name, api.list(&params)).await?;
    let is_former = |config_map: &ConfigMap| {
        config_map.metadata.name.as_ref() != Some(&names.config_map)
            && Ownership::is_controlled_by(&config_map.metadata, query)
            && payload_of(config_map).meta().is_ok()
    };
    Ok(list.items.into_iter().filter(is_former).collect())
}

/// Reads one object; none when it is not there.
///
/// # Errors
/// When the API refuses or does not answer.
pub async fn get<K>(client: &Client, namespace: &str, name: &str) -> Result<Option<K>, ReadError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    let api = Api::<K>::namespaced(client.clone(), namespace);
    answered::<K, _>(namespace, name, api.get_opt(name)).await
}

/// The answer to a question about objects of kind `K`, if it comes in time.
///
/// # Errors
/// When the API refuses or does not answer.
pub async fn answered<K: Resource<DynamicType = ()>, T>(
    namespace: &str,
    name: &str,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, ReadError> {
    let about = || (K::kind(&()).into_owned(), namespace.to_owned(), name.to_owned());
    match timeout(API_TIMEOUT, request).await {
        Ok(Ok(answer)) => Ok(answer),
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
