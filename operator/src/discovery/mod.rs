//! Step 2, pure: which Services count for a ThanosQuery, as what, and why the others do not.
//!
//! ```text
//!  ThanosQuery ──► Selection (namespaces, labels, owners) ──┐
//!  Services, EndpointSlices, namespaces ────────────────────┴─► Rules::judge ──► Store, or Reason
//! ```
//!
//! Nothing here knows of addresses or Thanos releases (that is `plan::endpoints`), nor of the API.

mod namespaces;
mod query_service;
mod reach;
mod reason;
mod rules;
mod selection;
mod selector;
mod service_name;
mod tls_choice;

use std::{collections::BTreeSet, sync::Arc};

use crds::{ThanosQuery, names::labels};
use sd_agent::EndpointType;

pub use namespaces::{Namespaces, Rights, Unknown};
pub use query_service::{QueryServiceChoice, QueryServiceError, may_ask, query_service};
pub use reach::Reach;
pub use reason::Reason;
pub use rules::{Facts, Rules, owner_of};
pub use selection::Selection;
pub use selector::{Selector, SelectorError};
pub use service_name::{ServiceName, ServiceNameError};
pub use tls_choice::TlsChoice;

use crate::watch::{StoreApiService, StoreApiSlice, WatchedNamespace};

/// What discovery looks at.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    /// Services with the StoreAPI labels, of the namespaces in reach.
    pub services: Vec<Arc<StoreApiService>>,
    /// Their EndpointSlices.
    pub slices: Vec<Arc<StoreApiSlice>>,
    /// Namespaces, as far as they may be read.
    pub namespaces: Vec<Arc<WatchedNamespace>>,
    /// What the operator may read.
    pub rights: Rights,
    /// Other ThanosQuery objects, to which some of the Services belong.
    pub others: Vec<Arc<ThanosQuery>>,
    /// The ThanosQuery that the one that looks is a shard of.
    pub root: Option<Arc<ThanosQuery>>,
}

/// Every Service in reach is in one of these lists, or is left out because somebody chose that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovery {
    /// Services that count, sorted by namespace and name.
    pub stores: Vec<Store>,
    /// Services that do not although they look as if they should, sorted.
    pub rejected: Vec<Rejected>,
    /// Services that count, but not as their labels seem to say.
    pub remarks: Vec<Rejected>,
    /// Namespaces that are asked for and may not be read, each with the remedy.
    pub out_of_reach: Vec<String>,
    /// Namespaces of which it cannot be said what is in them.
    pub unknown: Unknown,
    /// ThanosQuery objects with which this one would query in a circle, as `namespace/name`.
    pub loops: BTreeSet<String>,
}

/// A Service that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// Namespace of the Service.
    pub namespace: String,
    /// Name of the Service.
    pub service: String,
    /// What Thanos shall do with it.
    pub endpoint_type: EndpointType,
    /// How it is reached.
    pub reach: Reach,
    /// How many ready addresses are behind it.
    pub addresses: usize,
    /// Whether it is reached over TLS.
    pub tls: TlsChoice,
    /// How gRPC shall balance it, as it is written there.
    pub service_config: Option<Box<str>>,
}

/// A Service that does not count, why, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rejected {
    /// Namespace of the Service.
    pub namespace: String,
    /// Name of the Service.
    pub service: String,
    /// Why.
    pub reason: Reason,
}

/// Finds the stores of `query` among what is watched.
///
/// # Errors
/// When a selector in the spec cannot be understood; then nothing is known, and what ran before stays.
pub fn discover(query: &ThanosQuery, watched: &Watched) -> Result<Discovery, SelectorError> {
    let facts = Facts::of(watched);
    let rules = Rules::of(query, &facts)?;
    let mut services: Vec<&StoreApiService> = watched.services.iter().map(AsRef::as_ref).collect();
    services.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));

    let mut discovery =
        Discovery { out_of_reach: rules.out_of_reach(), unknown: rules.unknown(), ..Discovery::default() };
    for service in services {
        let about = |reason| Rejected::of(service, reason);
        match rules.judge(service) {
            Ok(store) => {
                if !service.overruled.is_empty() {
                    discovery.remarks.push(about(Reason::ConflictingTypeLabels {
                        used: type_label(service.endpoint_type),
                        overruled: service.overruled.clone(),
                    }));
                }
                discovery.stores.push(store);
            }
            Err(reason) if reason.is_meant() => {}
            Err(reason) => {
                if let Reason::QueryLoop { other } = &reason {
                    discovery.loops.insert(other.clone());
                }
                discovery.rejected.push(about(reason));
            }
        }
    }
    Ok(discovery)
}

fn type_label(endpoint_type: EndpointType) -> &'static str {
    match endpoint_type {
        EndpointType::Regular => "regular",
        EndpointType::Strict => labels::ENDPOINT_STRICT,
        EndpointType::Group => labels::ENDPOINT_GROUP,
        EndpointType::GroupStrict => labels::ENDPOINT_GROUP_STRICT,
    }
}

// === impl Rejected ===

impl Rejected {
    /// `service` is left out for `reason`.
    pub fn of(service: &StoreApiService, reason: Reason) -> Self {
        Self { namespace: service.namespace.clone(), service: service.name.clone(), reason }
    }
}

#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod tests;
