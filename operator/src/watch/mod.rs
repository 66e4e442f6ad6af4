//! Watching: the operator's own index of StoreAPI Services and what else counts, and who is woken by what.
//!
//! ```text
//!  Services       ──► feed ──► Index<StoreApiService> ──► changes ──► Wakes ──► controller queue
//!  slices         ──► feed ──► Index<StoreApiSlice>   ──►    "    ──►   "
//!  namespaces     ──► feed ──► Index<WatchedNamespace>──►    "    ──►   "
//!  query Services ──► feed ──► Index<QueryService>    ──►    "    ──► Look: mark, then Wakes
//!  autoscalers    ──► feed ──► Index<Autoscaler>      ──►    "    ──►   "
//!  owned          ──► watch_owned (metadata) ───────────────────►   "
//!  optional kinds ──► ask, watch_optional ──────────────────────►   "
//! ```

mod autoscaler;
mod backoff;
mod failure;
mod feed;
mod head_start;
mod index;
mod look;
mod namespace;
mod optional;
mod owned;
mod query_service;
mod service;
mod slice;
mod wake;

use std::sync::Arc;

use crds::names::labels;
use kube::runtime::watcher;
use parking_lot::RwLock;

use crate::discovery::{Namespaces, Rights};

pub use autoscaler::{Autoscaled, Autoscaler, Target, watch_autoscalers};
pub use backoff::WatchBackoff;
pub use failure::Complaints;
pub use feed::{Told, feed};
pub use head_start::{HEAD_START, HeadStart};
pub use index::{Change, Index, Row, Scope};
pub use look::Look;
pub use namespace::{Consent, WatchedNamespace};
pub use optional::{OptionalKind, ask, watch_optional};
pub use owned::{OwnedChange, watch_owned, watch_owned_while_installed};
pub use query_service::{QueryService, watch_query_services};
pub use service::{Owner, ServiceForm, StoreApiService, StorePort};
pub use slice::{Family, SERVICE_LABEL, SliceEndpoint, StoreApiSlice, kept_slices, other_slices};
pub use wake::{Guarded, QueryRef, Wakes, query_ref};

/// Everything that is watched besides what the operator made.
#[derive(Clone, Default)]
pub struct Indices {
    /// Services with the StoreAPI labels.
    pub services: Arc<RwLock<Index<StoreApiService>>>,
    /// Their EndpointSlices that Kubernetes keeps: it copies a Service's labels to them.
    pub slices: Arc<RwLock<Index<StoreApiSlice>>>,
    /// EndpointSlices of any Service that somebody else keeps.
    pub other_slices: Arc<RwLock<Index<StoreApiSlice>>>,
    /// Namespaces.
    pub namespaces: Arc<RwLock<Index<WatchedNamespace>>>,
    /// Services that answer queries.
    pub query_services: Arc<RwLock<Index<QueryService>>>,
    /// Who decides about replicas.
    pub autoscalers: Arc<RwLock<Index<Autoscaler>>>,
    /// How long these are waited for.
    pub autoscaler_head_start: HeadStart,
    /// Whether the cluster has ServiceMonitors.
    pub service_monitors: OptionalKind,
}

// === impl Indices ===

impl Indices {
    /// Whether the lists of other namespaces are complete that a ThanosQuery needs which selects `namespaces`, of those
    /// in `scopes` that are watched at all. What may not be listed is not waited for.
    pub fn are_complete_beyond(&self, namespaces: &Namespaces, scopes: &[Scope]) -> bool {
        let is_settled = |scope: &Scope| {
            settled(&self.services, scope)
                && settled(&self.slices, scope)
                && settled(&self.other_slices, scope)
        };
        (namespaces.is_own_only() || !watches_namespaces(scopes) || settled(&self.namespaces, &Scope::All))
            && scopes.iter().filter(|scope| namespaces.may_reach(scope)).all(is_settled)
    }

    /// What may be read of other namespaces, while `scopes` are watched.
    pub fn rights(&self, scopes: &[Scope], needs_consent: bool) -> Rights {
        let name = |scope: &Scope| match scope {
            Scope::All => None,
            Scope::Namespace(name) => Some(name.clone()),
        };
        let is_refused = |scope: &&Scope| {
            self.services.read().is_refused(scope)
                || self.slices.read().is_refused(scope)
                || self.other_slices.read().is_refused(scope)
        };
        Rights {
            only: scopes.iter().map(name).collect(),
            refused: scopes.iter().filter(is_refused).filter_map(name).collect(),
            reads_namespaces: self.namespaces.read().has_list_of(&Scope::All),
            needs_consent,
        }
    }

    /// Whether the lists that every ThanosQuery of `namespace` needs are complete, and those that it can do without
    /// had their head start. With a frontend it needs [`Self::query_services_complete_for`], too, and with a namespace
    /// selector [`Self::are_complete_beyond`].
    pub fn are_complete_for(&self, namespace: &str) -> bool {
        self.services.read().is_complete_for(namespace)
            && self.slices.read().is_complete_for(namespace)
            && self.other_slices.read().is_complete_for(namespace)
            && self.autoscaler_head_start.is_over_for(namespace)
            && self.service_monitors.is_settled_for(namespace)
    }
}

fn settled<R: Row>(index: &RwLock<Index<R>>, scope: &Scope) -> bool {
    let index = index.read();
    index.has_list_of(scope) || index.is_refused(scope)
}

/// Whether namespaces are watched: somebody who works in one only has no use for the others.
pub fn watches_namespaces(scopes: &[Scope]) -> bool {
    !matches!(scopes, [Scope::Namespace(_)])
}

/// Only what carries both StoreAPI labels is asked for.
pub fn store_api_only() -> watcher::Config {
    watcher::Config::default().labels(&store_api_labels())
}

fn store_api_labels() -> String {
    format!("{}={},{}={}", labels::STORE_API, labels::TRUE, labels::PART_OF, labels::THANOS)
}
