//! A removal that is held, as people are told of it.

use crds::names::annotations::ACCEPT_REMOVAL;
use jiff::Timestamp;

use crate::discovery::ServiceName;

/// A removal that is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldRemoval {
    /// Its number; whoever says it accepts this removal and no other.
    pub number: u64,
    /// The Services that would go, sorted.
    pub services: Vec<ServiceName>,
    /// When the first of them goes.
    pub until: Timestamp,
}

// === impl HeldRemoval ===

impl HeldRemoval {
    /// What a person is told: which Services, until when, and the two ways out of it.
    pub fn message(&self) -> String {
        const NAMED: usize = 3;
        let Self { number, services, until } = self;
        let mut named: Vec<String> = services.iter().take(NAMED).map(ServiceName::to_string).collect();
        let more = services.len().saturating_sub(NAMED);
        if more > 0 {
            named.push(format!("{more} more"));
        }
        let (count, named) = (services.len(), named.join(", "));
        let are = if count == 1 { "Service is" } else { "Services are" };
        format!(
            "{count} {are} gone at once: {named}. Endpoints stay until {until}. If they shall go now, set the annotation \
             {ACCEPT_REMOVAL}={number}; if not, give the Services back their labels and ports"
        )
    }
}
