//! What the Thanos next to the agent really serves: the file names an endpoint, and Thanos may still not have it.
//!
//! ```text
//!  the file ──► in_file ──┐
//!                         ├──► served ──► /status, metrics
//!  /api/v1/stores ──► stores ──┘
//! ```

#[deny(clippy::disallowed_types, clippy::disallowed_methods)]
pub mod in_file;
pub mod page;
#[deny(clippy::disallowed_types, clippy::disallowed_methods)]
pub mod served;
#[deny(clippy::disallowed_types, clippy::disallowed_methods)]
pub mod stores;
#[deny(clippy::disallowed_types, clippy::disallowed_methods)]
pub mod unreached;
pub mod watch;

pub use watch::StoresWatch;
