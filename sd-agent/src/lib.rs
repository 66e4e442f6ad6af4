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
pub mod payload;
#[deny(clippy::disallowed_types, clippy::disallowed_methods)]
pub mod render;
pub mod report;
#[deny(clippy::disallowed_types, clippy::disallowed_methods)]
pub mod version;

pub use address::Address;
pub use document::{Document, Endpoint, EndpointType};
pub use payload::{Meta, Payload, Refusal};
pub use report::Report;
pub use version::{Feature, ThanosVersion};
