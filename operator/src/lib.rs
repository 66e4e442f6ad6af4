//! `thanos-operator`: keeps the endpoints of every Thanos Query pod right, without restarting it.
//!
//! One reconcile is five named steps. The pure ones have no client, no clock and no environment; clippy's
//! disallowed types see to that.
//!
//! ```text
//!   watch (index of StoreAPI Services, wakes the ThanosQuery objects that select them)
//!     │
//!     ▼
//!   snapshot ──► discovery ──► plan ──► apply ──► status
//!   client       pure          pure     client    pure, then one write
//!                which         every
//!                Services      object
//! ```
//!
//! `controller` calls them in this order and owns back-off and outcome.

pub mod admin;
pub mod apply;
pub mod arguments;
pub mod clock;
pub mod cluster;
#[deny(clippy::disallowed_types, clippy::disallowed_methods)]
pub mod cluster_version;
pub mod config;
pub mod controller;
#[deny(clippy::disallowed_types, clippy::disallowed_methods)]
pub mod discovery;
pub mod events;
pub mod explain;
#[deny(clippy::disallowed_types, clippy::disallowed_methods)]
pub mod managed_fields;
pub mod metrics;
#[deny(clippy::disallowed_types, clippy::disallowed_methods)]
pub mod ownership;
#[deny(clippy::disallowed_types, clippy::disallowed_methods)]
pub mod plan;
pub mod query_state;
#[deny(clippy::disallowed_types, clippy::disallowed_methods)]
pub mod rollout;
pub mod runtime;
pub mod seen;
pub mod snapshot;
pub mod status;
#[deny(clippy::disallowed_types, clippy::disallowed_methods)]
pub mod unreadable;
pub mod watch;
