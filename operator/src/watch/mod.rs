//! Watching: the operator's own index of StoreAPI Services, and who is woken by what.
//!
//! ```text
//!  Services ──► feed ──► Index<StoreApiService> ──► changes ──► Wakes ──► controller queue
//!  slices   ──► feed ──► Index<StoreApiSlice>   ──►    "    ──►   "
//!  owned    ──► watch_owned (metadata) ─────────────────────►   "   (and a full look)
//! ```

mod backoff;
mod feed;
mod index;
mod owned;
mod service;
mod slice;
mod wake;

use std::sync::Arc;

use crds::names::labels;
use kube::runtime::watcher;
use parking_lot::RwLock;

pub use backoff::WatchBackoff;
pub use feed::{Told, feed};
pub use index::{Change, Index, Row, Scope};
pub use owned::{OwnedChange, watch_owned};
pub use service::{ServiceForm, StoreApiService, StorePort};
pub use slice::{SERVICE_LABEL, StoreApiSlice};
pub use wake::{Guarded, QueryRef, Wakes, query_ref};

/// Everything that is watched for discovery.
#[derive(Clone, Default)]
pub struct Indices {
    /// Services with the StoreAPI labels.
    pub services: Arc<RwLock<Index<StoreApiService>>>,
    /// Their EndpointSlices; Kubernetes copies a Service's labels to them.
    pub slices: Arc<RwLock<Index<StoreApiSlice>>>,
}

// === impl Indices ===

impl Indices {
    /// Whether the lists that a ThanosQuery of `namespace` needs are complete.
    pub fn are_complete_for(&self, namespace: &str) -> bool {
        self.services.read().is_complete_for(namespace) && self.slices.read().is_complete_for(namespace)
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
