//! `sd-agent`: the sidecar that keeps the endpoint file of one Thanos Query pod right.
//!
//! ```text
//!  operator ── ConfigMap: endpoints.json + meta.json (payload) ──┬── API watch ──┐
//!                                                                └── mount ──────┤
//!                                                                                ▼
//!                      order (which one counts) → payload::unpack → render (for this pod) → publish (atomic)
//! ```
//!
//! Without the feature `bin` this crate is only what writer and reader share: the operator takes it that way,
//! so the two cannot drift apart. It knows nothing of the operator or of the ThanosQuery type.

#[deny(clippy::disallowed_types, clippy::disallowed_methods)]
pub mod address;
#[deny(clippy::disallowed_types, clippy::disallowed_methods)]
pub mod document;
#[deny(clippy::disallowed_types, clippy::disallowed_methods)]
pub mod in_file;
#[deny(clippy::disallowed_types, clippy::disallowed_methods)]
pub mod payload;
#[deny(clippy::disallowed_types, clippy::disallowed_methods)]
pub mod render;
pub mod report;
#[deny(clippy::disallowed_types, clippy::disallowed_methods)]
pub mod version;

#[cfg(feature = "bin")]
pub mod agent;
#[cfg(feature = "bin")]
pub mod api;
#[cfg(feature = "bin")]
pub mod api_error;
#[cfg(feature = "bin")]
pub mod api_session;
#[cfg(feature = "bin")]
pub mod args;
#[cfg(feature = "bin")]
pub mod backoff;
#[cfg(feature = "bin")]
pub mod board;
#[cfg(feature = "bin")]
pub mod body;
#[cfg(feature = "bin")]
pub mod check;
#[cfg(feature = "bin")]
#[deny(clippy::disallowed_types, clippy::disallowed_methods)]
pub mod configmap;
#[cfg(feature = "bin")]
pub mod dns;
#[cfg(feature = "bin")]
pub mod exchange;
#[cfg(feature = "bin")]
pub mod http;
#[cfg(feature = "bin")]
pub mod keeper;
#[cfg(feature = "bin")]
pub mod log;
#[cfg(feature = "bin")]
pub mod metrics;
#[cfg(feature = "bin")]
pub mod mount;
#[cfg(feature = "bin")]
#[deny(clippy::disallowed_types, clippy::disallowed_methods)]
pub mod order;
#[cfg(feature = "bin")]
pub mod origin;
#[cfg(feature = "bin")]
pub mod publish;
#[cfg(feature = "bin")]
pub mod state;
#[cfg(feature = "bin")]
pub mod thanos;
#[cfg(feature = "bin")]
pub mod timing;
#[cfg(feature = "bin")]
#[deny(clippy::disallowed_types, clippy::disallowed_methods)]
pub mod validate;

pub use address::Address;
pub use document::{Document, Endpoint, EndpointType};
pub use in_file::{ClientTls, InFile};
pub use payload::{Meta, Payload, Refusal};
pub use report::{DnsFailing, Report};
pub use version::{Feature, ThanosVersion};
