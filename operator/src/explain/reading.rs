//! Reads what the pure part needs, with the rights of whoever asks. What may not be read is noted, and the rest goes on.

use std::{collections::BTreeSet, fmt::Debug, sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow};
use crds::{ThanosQuery, names::labels};
use futures::{StreamExt as _, stream};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Namespace, Pod, Service},
        discovery::v1::EndpointSlice,
    },
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{ApiResource, DynamicObject, ListParams},
    config::{Config, KubeConfigOptions},
};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::{Found, Unread, asking::ask};
use crate::{
    arguments::DiscoveryArguments,
    cluster::cluster_version,
    discovery::{Namespaces, Rights, Watched, owner_of},
    plan::{Names, root_of},
    snapshot::{ReadError, answered, get},
    unreadable::unreadable_fields,
    watch::{SERVICE_LABEL, Scope, StoreApiService, WatchedNamespace, watches_namespaces},
};

/// Requests that are under way at once.
pub const AT_ONCE: usize = 8;

/// There is nothing to explain.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// It is not there.
    #[error(
        "there is no ThanosQuery {namespace}/{name}; {others}. Choose another namespace with --namespace"
    )]
    NotFound {
        /// Namespace that was looked in.
        namespace: String,
        /// Name that was looked for.
        name: String,
        /// Which ones there are.
        others: String,
    },
    /// The cluster does not know the kind.
    #[error(
        "the cluster does not know the kind ThanosQuery; apply manifests/crd.yaml, or choose another --context"
    )]
    NoKind,
    /// It may not be read.
    #[error(
        "you may not read ThanosQuery {namespace}/{name} ({said}); you need the right to get thanosqueries in namespace {namespace}"
    )]
    Forbidden {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// What the API said.
        said: String,
    },
    /// The API has it, and it is not as it should be.
    #[error(
        "ThanosQuery {namespace}/{name} cannot be read; the operator leaves it alone, too. Correct it: {said}"
    )]
    Unreadable {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Which field, and what is wrong.
        said: String,
    },
    /// The API does not answer, or with an error.
    #[error(
        "the Kubernetes API gave no answer ({0}); check KUBECONFIG and --context, and that the cluster is up"
    )]
    NoAnswer(String),
}

/// The namespaces that are looked at.
#[derive(Default)]
struct InReach {
    names: Vec<String>,
    known: Vec<Arc<WatchedNamespace>>,
    missing: Vec<String>,
}

/// A client for `context` of the kubeconfig, or for the present one, or for the cluster of this pod.
///
/// # Errors
/// When there is no usable configuration.
pub async fn client(context: Option<&str>) -> anyhow::Result<Client> {
    // These errors say what is behind them, each time anew.
    let mut config = match context {
        Some(context) => {
            let options =
                KubeConfigOptions { context: Some(context.to_owned()), ..KubeConfigOptions::default() };
            let config = Config::from_kubeconfig(&options).await;
            config.map_err(|error| anyhow!("--context {context:?} cannot be used: {error}"))?
        }
        None => Config::infer().await.map_err(|error| {
            anyhow!("found no way to reach a Kubernetes API: set KUBECONFIG, or run in a pod: {error}")
        })?,
    };
    // Somebody waits: an error is told at once.
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(5));
    Client::try_from(config).context("failed to make a Kubernetes client")
}

/// Reads everything about the ThanosQuery `name`.
///
/// # Errors
/// When the ThanosQuery itself cannot be read.
pub async fn read(
    client: &Client,
    namespace: &str,
    name: &str,
    arguments: &DiscoveryArguments,
) -> Result<Found, ExplainError> {
    let query = thanos_query(client, namespace, name).await?;
    let mut reader = Reader { client, unread: Vec::new() };
    let scopes = arguments.scopes();
    let in_reach = reader.namespaces(&query, &scopes).await;
    let all: Vec<Service> = reader.list_in(&in_reach.names, None, "their endpoints cannot be told").await;
    let with_service = Some(SERVICE_LABEL);
    let slices: Vec<EndpointSlice> = reader
        .list_in(&in_reach.names, with_service, "how many addresses are behind a Service is not known")
        .await;
    let services: Vec<StoreApiService> = all.into_iter().map(StoreApiService::from).collect();
    let elsewhere = reader.elsewhere(&in_reach.names).await;
    let others = reader.others(&services, name).await;
    let root = match root_of(&query) {
        Some(root) => reader.get::<ThanosQuery>(namespace, root, "circles through it are not seen").await,
        None => None,
    };
    let root = root.map(Arc::new);
    let (config_map, deployment, pods) = match Names::of(&query) {
        Err(_) => (None, None, Vec::new()),
        Ok(names) => {
            // After the Services: the operator may have been at work meanwhile, and then the document is not behind.
            let config_map =
                reader.get::<ConfigMap>(namespace, &names.config_map, "what is in use is not known").await;
            let deployment = reader
                .get::<Deployment>(namespace, &names.querier, "the flags of the pods are not known")
                .await;
            (config_map, deployment, reader.pods(&names).await)
        }
    };
    let watched = Watched {
        services: services.into_iter().map(Arc::new).collect(),
        slices: slices.into_iter().map(|slice| Arc::new(slice.into())).collect(),
        // The operator of a single namespace does not read namespaces.
        namespaces: if watches_namespaces(&scopes) { in_reach.known } else { Vec::new() },
        rights: rights(&scopes, arguments),
        others,
        root,
    };
    let missing_namespaces = in_reach.missing;
    // Who cannot read it is told what a cluster that is new enough does, as the operator does then.
    let (pods, cluster) = tokio::join!(ask(client, pods), cluster_version(client));
    let (cluster, unread) = (cluster.unwrap_or_default(), reader.unread);
    Ok(Found { query, watched, elsewhere, missing_namespaces, config_map, deployment, pods, cluster, unread })
}

async fn thanos_query(client: &Client, namespace: &str, name: &str) -> Result<ThanosQuery, ExplainError> {
    let (owned_namespace, owned_name) = (namespace.to_owned(), name.to_owned());
    match get::<ThanosQuery>(client, namespace, name).await {
        Ok(Some(query)) => Ok(query),
        Ok(None) => Err(not_found(client, owned_namespace, owned_name).await),
        Err(error) if code(&error) == Some(403) => {
            Err(ExplainError::Forbidden { namespace: owned_namespace, name: owned_name, said: said(&error) })
        }
        Err(ReadError::Api { source, .. }) if matches!(*source, kube::Error::SerdeError(_)) => {
            let fields = fields_of(client, namespace, name).await;
            let said = fields.unwrap_or_else(|| source.to_string());
            Err(ExplainError::Unreadable { namespace: owned_namespace, name: owned_name, said })
        }
        Err(error) => Err(ExplainError::NoAnswer(said(&error))),
    }
}

/// Which fields cannot be read; none when that cannot be told.
async fn fields_of(client: &Client, namespace: &str, name: &str) -> Option<String> {
    let kind = ApiResource::erase::<ThanosQuery>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &kind);
    let object = answered::<ThanosQuery, _>(namespace, name, api.get(name)).await.ok()?;
    unreadable_fields(&json!(object))
}

async fn not_found(client: &Client, namespace: String, name: String) -> ExplainError {
    let api: Api<ThanosQuery> = Api::namespaced(client.clone(), &namespace);
    let others =
        match answered::<ThanosQuery, _>(&namespace, "*", api.list_metadata(&ListParams::default())).await {
            Ok(list) if list.items.is_empty() => "there is none in this namespace".to_owned(),
            Ok(list) => {
                let names: Vec<String> = list.items.iter().map(|other| other.name_any()).collect();
                format!("there is {}", names.join(", "))
            }
            Err(error) if code(&error) == Some(404) => return ExplainError::NoKind,
            Err(_) => "which ones there are cannot be listed".to_owned(),
        };
    ExplainError::NotFound { namespace, name, others }
}

fn rights(scopes: &[Scope], arguments: &DiscoveryArguments) -> Rights {
    let name = |scope: &Scope| match scope {
        Scope::All => None,
        Scope::Namespace(name) => Some(name.clone()),
    };
    Rights {
        only: scopes.iter().map(name).collect(),
        // What the operator may not list is in the condition NamespacesOutOfReach; our own rights are others.
        refused: BTreeSet::new(),
        reads_namespaces: watches_namespaces(scopes),
        needs_consent: !arguments.discovery_without_consent,
    }
}

/// Reads, and notes down what it could not.
struct Reader<'a> {
    client: &'a Client,
    unread: Vec<Unread>,
}

// === impl Reader ===

impl Reader<'_> {
    /// The namespaces that `query` looks at and an operator of `scopes` watches.
    async fn namespaces(&mut self, query: &ThanosQuery, scopes: &[Scope]) -> InReach {
        // Whoever has a bad selector is told so further on.
        let Ok(namespaces) = Namespaces::of(query) else { return InReach::default() };
        let own = namespaces.own();
        let is_watched = |name: &str| scopes.iter().any(|scope| scope.includes(name));
        if namespaces.is_own_only() {
            let names = vec![own.to_owned()].into_iter().filter(|name| is_watched(name)).collect();
            return InReach { names, ..InReach::default() };
        }
        let selector = query.spec.service_discovery.namespace_selector.clone().unwrap_or_default();
        let api: Api<Namespace> = Api::all(self.client.clone());
        match answered::<Namespace, _>("", "*", api.list(&ListParams::default())).await {
            Ok(list) => {
                let known: Vec<WatchedNamespace> =
                    list.items.into_iter().map(WatchedNamespace::from).collect();
                let is_there = |name: &String| known.iter().any(|own| own.name == *name);
                let missing = selector.match_names.into_iter().filter(|name| !is_there(name)).collect();
                let is_in_reach = |own: &&WatchedNamespace| {
                    is_watched(&own.name) && namespaces.include(&own.name, Some(&own.labels))
                };
                let names = known.iter().filter(is_in_reach).map(|own| own.name.clone()).collect();
                InReach { names, known: known.into_iter().map(Arc::new).collect(), missing }
            }
            Err(error) => {
                self.note::<Namespace>(
                    "",
                    &error,
                    "only namespaces that are asked for by name are looked at, and whether a namespace allows the use \
                     of its Services is not known",
                );
                let watched = scopes.iter().filter_map(|scope| match scope {
                    Scope::All => None,
                    Scope::Namespace(name) => Some(name.clone()),
                });
                let names: BTreeSet<String> =
                    selector.match_names.into_iter().chain([own.to_owned()]).chain(watched).collect();
                let in_reach = |name: &String| is_watched(name) && namespaces.include(name, None);
                InReach { names: names.into_iter().filter(in_reach).collect(), ..InReach::default() }
            }
        }
    }

    /// Objects of `namespaces` that have `label`.
    async fn list_in<K>(&mut self, namespaces: &[String], label: Option<&str>, consequence: &str) -> Vec<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    {
        let params = label.map_or_else(ListParams::default, |label| ListParams::default().labels(label));
        // One question for many namespaces, if it is allowed.
        if namespaces.len() > 1
            && let Ok(list) =
                answered::<K, _>("", "*", Api::<K>::all(self.client.clone()).list(&params)).await
        {
            let is_meant = |object: &K| object.namespace().is_some_and(|own| namespaces.contains(&own));
            return list.items.into_iter().filter(is_meant).collect();
        }
        let answers: Vec<_> = stream::iter(namespaces)
            .map(|namespace| {
                let api = Api::<K>::namespaced(self.client.clone(), namespace);
                let params = &params;
                async move { (namespace, answered::<K, _>(namespace, "*", api.list(params)).await) }
            })
            .buffered(AT_ONCE)
            .collect()
            .await;
        let mut all = Vec::new();
        for (namespace, answer) in answers {
            match answer {
                Ok(list) => all.extend(list.items),
                Err(error) => self.note::<K>(namespace, &error, consequence),
            }
        }
        all
    }

    /// Services with the StoreAPI labels outside of `namespaces`. Nobody has to have the right to look for them.
    async fn elsewhere(&self, namespaces: &[String]) -> Vec<StoreApiService> {
        let label = format!("{}={},{}={}", labels::STORE_API, labels::TRUE, labels::PART_OF, labels::THANOS);
        let params = ListParams::default().labels(&label);
        let api: Api<Service> = Api::all(self.client.clone());
        let list = answered::<Service, _>("", "*", api.list(&params)).await;
        let services = list.map(|list| list.items).unwrap_or_default().into_iter().map(StoreApiService::from);
        services.filter(|service| !namespaces.contains(&service.namespace)).collect()
    }

    /// The other ThanosQuery objects that some of `services` were made for.
    async fn others(&mut self, services: &[StoreApiService], name: &str) -> Vec<Arc<ThanosQuery>> {
        let is_store = |service: &&StoreApiService| service.labels.contains_key(labels::STORE_API);
        let owners: BTreeSet<(&str, &str)> = services
            .iter()
            .filter(is_store)
            .filter_map(|service| Some((service.namespace.as_str(), owner_of(service)?)))
            .filter(|(_, owner)| *owner != name)
            .collect();
        let mut others = Vec::new();
        for (namespace, owner) in owners {
            let consequence = "whether two ThanosQuery objects query each other is not known";
            others.extend(self.get::<ThanosQuery>(namespace, owner, consequence).await.map(Arc::new));
        }
        others
    }

    async fn pods(&mut self, names: &Names) -> Vec<Pod> {
        let selector =
            format!("{}={},{}={}", labels::INSTANCE, names.querier, labels::MANAGED_BY, labels::OPERATOR);
        let of = [names.namespace.clone()];
        self.list_in(&of, Some(&selector), "which endpoints the pods have is not known").await
    }

    async fn get<K>(&mut self, namespace: &str, name: &str, consequence: &str) -> Option<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    {
        let answer = get::<K>(self.client, namespace, name).await;
        answer.unwrap_or_else(|error| {
            self.note::<K>(namespace, &error, consequence);
            None
        })
    }

    fn note<K: Resource<DynamicType = ()>>(&mut self, namespace: &str, error: &ReadError, consequence: &str) {
        let namespace = Some(namespace.to_owned()).filter(|namespace| !namespace.is_empty());
        let place = namespace.iter().fold(String::new(), |_, namespace| format!(" in namespace {namespace}"));
        let problem = match code(error) {
            Some(403) => format!("forbidden; you need the right to get and list {}{place}", K::plural(&())),
            _ => said(error),
        };
        let (kind, consequence) = (K::kind(&()).into_owned(), consequence.to_owned());
        self.unread.push(Unread { kind, namespace, problem, consequence });
    }
}

/// What the API said.
fn said(error: &ReadError) -> String {
    match error {
        ReadError::Api { source, .. } => match &**source {
            kube::Error::Api(status) => format!("{}: {}", status.code, status.message),
            other => other.to_string(),
        },
        ReadError::Timeout { .. } => error.to_string(),
    }
}

fn code(error: &ReadError) -> Option<u16> {
    match error {
        ReadError::Api { source, .. } => match &**source {
            kube::Error::Api(status) => Some(status.code),
            _ => None,
        },
        ReadError::Timeout { .. } => None,
    }
}
