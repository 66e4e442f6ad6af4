//! Who is woken by what: each change wakes only the ThanosQuery objects that it can concern.

use std::sync::Arc;

use crds::ThanosQuery;
use futures::{Stream, StreamExt};
use kube::{
    core::DeserializeGuard,
    runtime::reflector::{ObjectRef, Store},
};
use parking_lot::RwLock;
use tokio::sync::mpsc;

use super::{Change, Index, QueryService, Scope, StoreApiService, WatchedNamespace};
use crate::{
    discovery::{Namespaces, Selection, may_ask},
    plan::root_of,
};

/// A ThanosQuery that perhaps cannot be read; one such object must not stop the others.
pub type Guarded = DeserializeGuard<ThanosQuery>;
/// Names one ThanosQuery.
pub type QueryRef = ObjectRef<Guarded>;

/// The way to every controller's queue.
#[derive(Default)]
pub struct Wakes {
    queues: RwLock<Vec<Queue>>,
}

struct Queue {
    scope: Scope,
    known: Store<Guarded>,
    sender: mpsc::UnboundedSender<QueryRef>,
}

// === impl Wakes ===

impl Wakes {
    /// Adds a controller: what shall wake its objects comes out of the stream.
    pub fn register(
        &self,
        scope: Scope,
        known: Store<Guarded>,
    ) -> impl Stream<Item = QueryRef> + Send + use<> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.queues.write().push(Queue { scope, known, sender });
        futures::stream::unfold(receiver, |mut receiver| async move {
            let query = receiver.recv().await?;
            Some((query, receiver))
        })
        .boxed()
    }

    /// Wakes one object.
    pub fn one(&self, query: &QueryRef) {
        let namespace = query.namespace.as_deref().unwrap_or_default();
        for queue in self.queues.read().iter().filter(|queue| queue.scope.includes(namespace)) {
            // A closed queue means that its controller has ended, and then the process ends too.
            let _ = queue.sender.send(query.clone());
        }
    }

    /// Wakes every object of `scope`.
    pub fn all(&self, scope: &Scope) {
        self.each(|query, queue| {
            let query: QueryRef = ObjectRef::from_obj(query);
            if scope.includes(query.namespace.as_deref().unwrap_or_default()) {
                let _ = queue.send(query);
            }
        });
    }

    /// Wakes every object that looks at something in `scope`.
    pub fn reaching(&self, scope: &Scope) {
        self.each(|query, queue| {
            let is_meant = match &query.0 {
                Ok(readable) => Namespaces::of(readable).is_ok_and(|own| own.may_reach(scope)),
                Err(_) => false,
            };
            let query: QueryRef = ObjectRef::from_obj(query);
            if is_meant || scope.includes(query.namespace.as_deref().unwrap_or_default()) {
                let _ = queue.send(query);
            }
        });
    }

    /// Wakes the objects that select the Service before or after the change.
    pub fn selecting(&self, change: &Change<StoreApiService>, namespaces: &RwLock<Index<WatchedNamespace>>) {
        let versions = [change.old.as_deref(), change.new.as_deref()];
        self.selecting_any(versions.into_iter().flatten(), namespaces);
    }

    /// Wakes the objects that select `service`. One that is not known yet wakes nobody: its own arrival will.
    pub fn selecting_service(
        &self,
        service: Option<&StoreApiService>,
        namespaces: &RwLock<Index<WatchedNamespace>>,
    ) {
        self.selecting_any(service.into_iter(), namespaces);
    }

    /// Wakes the objects that look at the namespace before or after the change.
    pub fn looking_at(&self, change: &Change<WatchedNamespace>) {
        let versions = [change.old.as_deref(), change.new.as_deref()];
        let looks = |query: &ThanosQuery| {
            let Ok(namespaces) = Namespaces::of(query) else { return false };
            let mut versions = versions.into_iter().flatten();
            // Of the own namespace neither labels nor consent matter.
            !namespaces.is_own_only()
                && versions.any(|version| namespaces.include(&version.name, Some(&version.labels)))
        };
        self.readable(|query, _| looks(query)).iter().for_each(|query| self.one(query));
    }

    /// A ThanosQuery that can be read.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<ThanosQuery>> {
        let wanted: QueryRef = ObjectRef::new(name).within(namespace);
        let queues = self.queues.read();
        let mut queues = queues.iter().filter(|queue| queue.scope.includes(namespace));
        let found = queues.find_map(|queue| queue.known.get(&wanted))?;
        found.0.as_ref().ok().cloned().map(Arc::new)
    }

    /// Wakes the objects of `scope` that have a query frontend.
    pub fn with_frontend(&self, scope: &Scope) {
        let has_frontend = |query: &ThanosQuery| query.spec.query_frontend.is_some();
        let queries = self.readable(|query, namespace| scope.includes(namespace) && has_frontend(query));
        queries.iter().for_each(|query| self.one(query));
    }

    /// The objects whose query frontend may ask the Service before or after the change. They are not woken yet: they
    /// have to be marked first.
    pub fn asking(&self, change: &Change<QueryService>) -> Vec<QueryRef> {
        let versions = [change.old.as_deref(), change.new.as_deref()];
        self.readable(|query, _| versions.into_iter().flatten().any(|service| may_ask(query, service)))
    }

    /// The shards of `root`.
    pub fn shards_of(&self, root: &QueryRef) -> Vec<QueryRef> {
        self.readable(|query, namespace| {
            root.namespace.as_deref() == Some(namespace) && root_of(query) == Some(&root.name)
        })
    }

    /// Every object that can be read.
    pub fn known(&self) -> Vec<QueryRef> {
        self.readable(|_, _| true)
    }

    fn readable(&self, is_meant: impl Fn(&ThanosQuery, &str) -> bool) -> Vec<QueryRef> {
        let mut meant = Vec::new();
        for queue in self.queues.read().iter() {
            for query in queue.known.state() {
                let Ok(query) = &query.0 else { continue };
                if is_meant(query, query.metadata.namespace.as_deref().unwrap_or_default()) {
                    meant.push(query_ref(query));
                }
            }
        }
        meant
    }

    fn selecting_any<'a>(
        &self,
        services: impl Iterator<Item = &'a StoreApiService> + Clone,
        namespaces: &RwLock<Index<WatchedNamespace>>,
    ) {
        let namespaces = namespaces.read();
        let selects = |query: &ThanosQuery| {
            let is_own =
                |service: &StoreApiService| query.metadata.namespace.as_deref() == Some(&service.namespace);
            // Most look at their own namespace only: no need to parse their selectors.
            if query.spec.service_discovery.namespace_selector.is_none() && !services.clone().any(is_own) {
                return false;
            }
            // Whoever has a bad selector is told so when it is reconciled.
            let Ok(selection) = Selection::of(query) else { return false };
            services
                .clone()
                .any(|service| selection.is_about(service, namespaces.get("", &service.namespace).as_deref()))
        };
        self.readable(|query, _| selects(query)).iter().for_each(|query| self.one(query));
    }

    fn each(&self, wake: impl Fn(&Guarded, &mpsc::UnboundedSender<QueryRef>)) {
        for queue in self.queues.read().iter() {
            for query in queue.known.state() {
                wake(&query, &queue.sender);
            }
        }
    }
}

/// The reference of a readable ThanosQuery.
pub fn query_ref(query: &ThanosQuery) -> QueryRef {
    let name = query.metadata.name.as_deref().unwrap_or_default();
    ObjectRef::new(name).within(query.metadata.namespace.as_deref().unwrap_or_default())
}
