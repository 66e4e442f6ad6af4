//! Tells which name makes Thanos' look-ups fail. Thanos counts failures and names none, and from 0.37 one name that
//! fails keeps every address that was removed; so when the count grows, the agent looks the names up itself.
//!
//! ```text
//!  Thanos' /metrics ──► counters ──► verdict ──► which names to look up ──► lookup ──► verdict ──► /status
//! ```

#[deny(clippy::disallowed_types, clippy::disallowed_methods)]
pub mod counters;
pub mod lookup;
#[deny(clippy::disallowed_types, clippy::disallowed_methods)]
pub mod message;
#[deny(clippy::disallowed_types, clippy::disallowed_methods)]
pub mod resolv_conf;
pub mod thanos;
#[deny(clippy::disallowed_types, clippy::disallowed_methods)]
pub mod verdict;
pub mod watch;

pub use lookup::Resolver;
pub use watch::DnsWatch;
