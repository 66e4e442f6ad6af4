//! The cluster cases, a file an area. A new file is one line here and one in [`all`].
//!
//! ```text
//! pub fn cases() -> Vec<Case> {
//!     vec![Case::shared("discovery", "a sentence that says what holds", a_sentence).limit(120)]
//! }
//!
//! async fn a_sentence(world: World) -> Result<()> {
//!     world.store(Store::new("a")).await?;
//!     let queriers = world.ready_thanos_query("global", "{replicas: 2}").await?;
//!     queriers.every_pod_lists(&["a"]).await
//! }
//! ```

mod adoption;
mod agent_crowd;
mod agent_life;
mod agent_rights;
mod agent_soak;
mod agent_sources;
mod agentless;
mod agents;
pub mod arguments;
mod bad_input;
mod case;
pub mod differential;
mod discovery;
mod distributed;
mod dns;
mod explain;
mod faults;
mod file_all;
mod foreign;
mod frontend;
mod full_disk;
mod handover;
mod kitchen_sink;
mod matrix;
mod modes;
mod namespaces;
mod ordinary;
mod removals;
mod replicas;
pub mod run;
mod schema;
mod server_tls;
mod service_monitor;
mod stories;
mod strict;
mod tls;
pub mod tls_files;
mod unreadable;
mod upgrade;
mod writes;

pub use case::{Case, Kind};

/// Every case.
pub fn all() -> Vec<Case> {
    [
        ordinary::cases(),
        dns::cases(),
        differential::cases(),
        arguments::cases(),
        strict::cases(),
        tls::cases(),
        tls_files::cases(),
        bad_input::cases(),
        handover::cases(),
        modes::cases(),
        matrix::cases(),
        file_all::cases(),
        distributed::cases(),
        agents::cases(),
        agentless::cases(),
        removals::cases(),
        discovery::cases(),
        namespaces::cases(),
        faults::cases(),
        unreadable::cases(),
        kitchen_sink::cases(),
        frontend::cases(),
        server_tls::cases(),
        upgrade::cases(),
        adoption::cases(),
        replicas::cases(),
        foreign::cases(),
        schema::cases(),
        writes::cases(),
        explain::cases(),
        service_monitor::cases(),
        stories::cases(),
        agent_rights::cases(),
        agent_sources::cases(),
        agent_life::cases(),
        agent_soak::cases(),
        full_disk::cases(),
        agent_crowd::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
