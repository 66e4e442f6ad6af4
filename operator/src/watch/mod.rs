//! Watching: the operator's own index of StoreAPI Services and what else counts, and who is woken by what.
//!
//! ```text
//!  Services       ──► feed ──► Index<StoreApiService> ──► changes ──► Wakes ──► controller queue
//!  slices         ──► feed ──► Index<StoreApiSlice>   ──►    "    ──►   "
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

pub use autoscaler::{Autoscaled, Autoscaler, Target, watch_autoscalers};
pub use backoff::WatchBackoff;
pub use failure::Complaints;
pub use feed::{Told, feed};
pub use head_start::{HEAD_START, HeadStart};
pub use index::{Change, Index, Row, Scope};
pub use look::Look;
pub use optional::{OptionalKind, ask, watch_optional};
pub use owned::{OwnedChange, watch_owned, watch_owned_while_installed};
pub use query_service::{QueryService, watch_query_services};
pub use service::{ServiceForm, StoreApiService, StorePort};
pub use slice::{SERVICE_LABEL, StoreApiSlice};
pub use wake::{Guarded, QueryRef, Wakes, query_ref};

/// Everything that is watched besides what the operator made.
#[derive(Clone, Default)]
pub struct Indices {
    /// Services with the StoreAPI labels.
    pub services: Arc<RwLock<Index<StoreApiService>>>,
    /// Their EndpointSlices; Kubernetes copies a Service's labels to them.
    pub slices: Arc<RwLock<Index<StoreApiSlice>>>,
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
    /// Whether the lists that every ThanosQuery of `namespace` needs are complete, and those that it can do without
    /// had their head start. With a frontend it needs [`Self::query_services_complete_for`], too.
    pub fn are_complete_for(&self, namespace: &str) -> bool {
        self.services.read().is_complete_for(namespace)
            && self.slices.read().is_complete_for(namespace)
            && self.autoscaler_head_start.is_over_for(namespace)
            && self.service_monitors.is_settled_for(namespace)
    }
}

/// Only what carries both StoreAPI labels is asked for.
pub fn store_api_only() -> watcher::Config {
    watcher::Config::default().labels(&format!(
        "{}={},{}={}",
        labels::STORE_API,
        labels::TRUE,
        labels::PART_OF,
        labels::THANOS
    ))
}
