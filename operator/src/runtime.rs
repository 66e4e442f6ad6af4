//! Puts the parts together: watches, controllers, the admin server. Ends when any of them ends.

use std::{fmt::Debug, sync::Arc, time::Duration};

use crds::ThanosQuery;
use futures::StreamExt;
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::Deployment,
        autoscaling::v2::HorizontalPodAutoscaler,
        core::v1::{ConfigMap, Namespace, Service, ServiceAccount},
        discovery::v1::EndpointSlice,
        policy::v1::PodDisruptionBudget,
        rbac::v1::{Role, RoleBinding},
    },
};
use kube::{
    Api, Client, Resource,
    core::PartialObjectMeta,
    runtime::{Controller, controller, reflector::ObjectRef, watcher},
};
use parking_lot::RwLock;
use serde::de::DeserializeOwned;
use tokio::{net::TcpListener, task::JoinSet};

use crate::{
    admin,
    apply::Turns,
    clock::Clock,
    config::Config,
    controller::{Context, reconcile, retry},
    events::Events,
    metrics::Metrics,
    plan::service_monitor::ServiceMonitor,
    query_state::QueryStates,
    status::Asker,
    watch::{
        Guarded, Index, Indices, OwnedChange, QueryRef, Scope, StoreApiService, StoreApiSlice, Told, Wakes,
        WatchBackoff, WatchedNamespace, ask, feed, kept_slices, other_slices, store_api_only,
        watch_autoscalers, watch_optional, watch_owned, watch_query_services, watches_namespaces,
    },
};

/// What an operator is started with.
pub struct Operator {
    /// The API.
    pub client: Client,
    /// What time it is.
    pub clock: Clock,
    /// Settings that plans depend on.
    pub config: Config,
    /// What is watched.
    pub scopes: Vec<Scope>,
    /// Name of this process in Events.
    pub instance: String,
    /// For `/livez`, `/readyz` and `/metrics`.
    pub listener: TcpListener,
}

/// Longest that rollouts of new defaults wait until every ThanosQuery was looked at once.
const FIRST_LOOKS: Duration = Duration::from_secs(60);

/// Reconciles at once.
const CONCURRENCY: u16 = 8;

// === impl Operator ===

impl Operator {
    /// Runs until `shutdown` is ready.
    ///
    /// # Errors
    /// When a part of it ends: a blind operator is worse than one that is started again.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> anyhow::Result<()> {
        let Self { client, clock, config, scopes, instance, listener } = self;
        let wakes = Arc::new(Wakes::default());
        let states = Arc::new(QueryStates::default());
        let context = Arc::new(Context {
            asker: Asker::new(client.clone(), Arc::clone(&wakes), Arc::clone(&states)),
            events: Events::new(client.clone(), instance),
            metrics: Metrics::default(),
            turns: Turns::default(),
            cluster: Arc::default(),
            indices: Indices::default(),
            client,
            clock,
            config,
            scopes: scopes.clone(),
            wakes,
            states,
        });
        let mut parts: JoinSet<&'static str> = JoinSet::new();
        for scope in &scopes {
            // First, so that every change finds someone to wake.
            start_controller(&context, scope, &mut parts);
            start_owned::<ConfigMap>(&context, scope, &mut parts);
            start_owned::<Deployment>(&context, scope, &mut parts);
            start_owned::<Service>(&context, scope, &mut parts);
            start_owned::<ServiceAccount>(&context, scope, &mut parts);
            start_owned::<Role>(&context, scope, &mut parts);
            start_owned::<RoleBinding>(&context, scope, &mut parts);
            start_owned::<PodDisruptionBudget>(&context, scope, &mut parts);
            // The shards of trees.
            start_owned::<ThanosQuery>(&context, scope, &mut parts);
            start_optional(&context, scope, &mut parts);
            // Last: their first lists let the reconciles begin, and each later list of the above starts them again.
            start_feeds(&context, scope, &mut parts);
        }
        if watches_namespaces(&scopes) {
            start_namespaces(&context, &mut parts);
        }
        let (cluster, client, told) =
            (Arc::clone(&context.cluster), context.client.clone(), Arc::clone(&context));
        parts.spawn(async move {
            cluster.follow(client, || told.wakes.all(&Scope::All)).await;
            "the question for the cluster's version"
        });
        let (client, service_monitors) = (context.client.clone(), context.indices.service_monitors.clone());
        parts.spawn(async move {
            ask::<ServiceMonitor>(client, service_monitors).await;
            "the question for optional kinds"
        });
        let patient = Arc::clone(&context);
        parts.spawn(async move {
            tokio::time::sleep(FIRST_LOOKS).await;
            patient.open_turns();
            std::future::pending::<&'static str>().await
        });
        let served = Arc::clone(&context);
        parts.spawn(async move {
            if let Err(error) = admin::serve(listener, served, scopes).await {
                tracing::error!(error = &error as &dyn std::error::Error, "the admin server failed");
            }
            "the admin server"
        });
        tokio::select! {
            () = shutdown => {
                tracing::info!("shutting down");
                parts.shutdown().await;
                Ok(())
            }
            ended = parts.join_next() => match ended {
                Some(Ok(part)) => Err(anyhow::anyhow!("{part} has ended")),
                Some(Err(error)) => Err(anyhow::Error::new(error).context("a part of the operator failed")),
                None => Ok(()),
            },
        }
    }
}

fn api<K>(client: &Client, scope: &Scope) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match scope {
        Scope::All => Api::all(client.clone()),
        Scope::Namespace(namespace) => Api::namespaced(client.clone(), namespace),
    }
}

fn start_controller(context: &Arc<Context>, scope: &Scope, parts: &mut JoinSet<&'static str>) {
    let controller = Controller::new(api::<Guarded>(&context.client, scope), watcher::Config::default())
        .with_config(controller::Config::default().concurrency(CONCURRENCY))
        .trigger_backoff(WatchBackoff::default());
    let wakes = context.wakes.register(scope.clone(), controller.store());
    let results = controller.reconcile_on(wakes).run(reconcile, retry, Arc::clone(context));
    let context = Arc::clone(context);
    parts.spawn(async move {
        results
            .for_each(|result| {
                match result {
                    Err(controller::Error::ObjectNotFound(gone)) => {
                        let namespace = gone.namespace.clone().unwrap_or_default();
                        let gone: QueryRef = ObjectRef::new(&gone.name).within(&namespace);
                        context.end_turn(&gone);
                        context.states.forget(&gone);
                        context.metrics.forget(&gone);
                    }
                    Err(controller::Error::QueueError(error)) => {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "the watch of ThanosQuery failed"
                        );
                    }
                    // `retry` has told these.
                    Err(controller::Error::ReconcilerFailed(..)) | Ok(_) => {}
                    Err(controller::Error::RunnerError(error)) => {
                        tracing::error!(error = &error as &dyn std::error::Error, "the controller failed");
                    }
                }
                futures::future::ready(())
            })
            .await;
        "the controller"
    });
}

fn start_feeds(context: &Arc<Context>, scope: &Scope, parts: &mut JoinSet<&'static str>) {
    let (services, told) = (Arc::clone(&context.indices.services), Arc::clone(context));
    let (own, feeds) = (scope.clone(), api::<Service>(&context.client, scope));
    parts.spawn(async move {
        let tell = |news: Told<StoreApiService>| match news {
            Told::Changes(changes) => {
                changes.iter().for_each(|change| told.wakes.selecting(change, &told.indices.namespaces));
            }
            // Every ThanosQuery waits for its first list; later ones tell their changes.
            Told::Listed { .. } | Told::Refused => told.wakes.reaching(&own),
            Told::Failed => {}
        };
        feed::<Service, StoreApiService>(feeds, store_api_only(), own.clone(), services, tell).await;
        "the watch of Services"
    });
    start_slices(context, scope, kept_slices(), &context.indices.slices, parts);
    start_slices(context, scope, other_slices(), &context.indices.other_slices, parts);
    let (indices, look) = (context.indices.clone(), context.look());
    let (own, services) = (scope.clone(), api::<Service>(&context.client, scope));
    parts.spawn(async move {
        watch_query_services(services, own, indices, look).await;
        "the watch of query Services"
    });
}

fn start_slices(
    context: &Arc<Context>,
    scope: &Scope,
    config: watcher::Config,
    index: &Arc<RwLock<Index<StoreApiSlice>>>,
    parts: &mut JoinSet<&'static str>,
) {
    let (slices, told) = (Arc::clone(index), Arc::clone(context));
    let (own, feeds) = (scope.clone(), api::<EndpointSlice>(&context.client, scope));
    parts.spawn(async move {
        let tell = |news: Told<StoreApiSlice>| match news {
            Told::Changes(changes) => {
                for slice in changes.iter().flat_map(|change| [&change.old, &change.new]).flatten() {
                    let service = told.indices.services.read().get(&slice.namespace, &slice.service);
                    told.wakes.selecting_service(service.as_deref(), &told.indices.namespaces);
                }
            }
            Told::Listed { .. } | Told::Refused => told.wakes.reaching(&own),
            Told::Failed => {}
        };
        feed::<EndpointSlice, StoreApiSlice>(feeds, config, own.clone(), slices, tell).await;
        "the watch of EndpointSlices"
    });
}

// In a namespaced installation they may be unreadable: who selects namespaces by labels is told so.
fn start_namespaces(context: &Arc<Context>, parts: &mut JoinSet<&'static str>) {
    let (namespaces, told) = (Arc::clone(&context.indices.namespaces), Arc::clone(context));
    let feeds: Api<Namespace> = Api::all(context.client.clone());
    parts.spawn(async move {
        let tell = |news: Told<WatchedNamespace>| match news {
            Told::Changes(changes) => changes.iter().for_each(|change| told.wakes.looking_at(change)),
            Told::Listed { first: true, .. } | Told::Refused => told.wakes.all(&Scope::All),
            Told::Listed { changes, first: false } => {
                changes.iter().for_each(|change| told.wakes.looking_at(change));
            }
            Told::Failed => {}
        };
        feed::<Namespace, WatchedNamespace>(feeds, watcher::Config::default(), Scope::All, namespaces, tell)
            .await;
        "the watch of Namespaces"
    });
}

// What a cluster may lack, and what the operator may be forbidden to read: nobody waits for it for long.
fn start_optional(context: &Arc<Context>, scope: &Scope, parts: &mut JoinSet<&'static str>) {
    let (indices, own) = (context.indices.clone(), scope.clone());
    let (autoscalers, looks) = (api::<HorizontalPodAutoscaler>(&context.client, scope), context.look());
    parts.spawn(async move {
        watch_autoscalers(autoscalers, own, indices, looks).await;
        "the watch of HorizontalPodAutoscalers"
    });
    let (kind, own) = (context.indices.service_monitors.clone(), scope.clone());
    let monitors = api::<PartialObjectMeta<ServiceMonitor>>(&context.client, scope);
    let looks = context.look();
    parts.spawn(async move {
        watch_optional(monitors, kind, own, looks).await;
        "the watch of ServiceMonitors"
    });
}

fn start_owned<K>(context: &Arc<Context>, scope: &Scope, parts: &mut JoinSet<&'static str>)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + Debug
        + Send
        + 'static,
{
    let (own, watched, look) =
        (scope.clone(), api::<PartialObjectMeta<K>>(&context.client, scope), context.look());
    parts.spawn(async move {
        let tell = |change: OwnedChange| match change {
            OwnedChange::One { owner, version } => look.at_owned(&owner, version),
            OwnedChange::Any => look.at_all(&own),
            OwnedChange::Failed => {}
        };
        watch_owned(watched, own.clone(), tell).await;
        "the watch of owned objects"
    });
}
