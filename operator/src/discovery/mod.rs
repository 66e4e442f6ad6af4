//! Step 2, pure: which Services count for a ThanosQuery, as what, and why the others do not.
//!
//! Nothing here knows of addresses or Thanos releases (that is `plan::endpoints`), nor of the API.

mod query_service;
mod selector;
mod service_name;

use std::{collections::BTreeMap, sync::Arc};

use crds::{ThanosQuery, names::labels};
use sd_agent::EndpointType;

pub use query_service::{QueryServiceChoice, QueryServiceError, may_ask, query_service};
pub use selector::{Selector, SelectorError};
pub use service_name::{ServiceName, ServiceNameError};

use crate::watch::{ServiceForm, StoreApiService, StoreApiSlice, StorePort};

/// What discovery looks at.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    /// Services with the StoreAPI labels, of the namespaces in reach.
    pub services: Vec<Arc<StoreApiService>>,
    /// Their EndpointSlices.
    pub slices: Vec<Arc<StoreApiSlice>>,
}

/// Every Service in reach is in one of these lists, or is not selected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovery {
    /// Services that count, sorted by namespace and name.
    pub stores: Vec<Store>,
    /// Services that do not, sorted.
    pub rejected: Vec<Rejected>,
    /// Services that count, but not as their labels seem to say.
    pub remarks: Vec<Rejected>,
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
}

/// How a StoreAPI is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// One virtual address with the Service's port.
    ClusterIp {
        /// The Service's port.
        port: u16,
    },
    /// The pods' addresses with the pods' port.
    Headless {
        /// Name of the port, for SRV.
        port_name: String,
        /// The pods' port.
        pod_port: u16,
        /// Pods with a name of their own.
        hostnames: Vec<String>,
    },
    /// A name outside the cluster.
    External {
        /// The name.
        host: String,
        /// The Service's port.
        port: u16,
    },
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

/// Why a Service does not count, or not as it seems.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// No TCP port of the name that is looked for.
    NoPort {
        /// The name that was looked for.
        wanted: String,
        /// The TCP ports there are.
        found: Vec<String>,
    },
    /// An ExternalName Service without a name.
    NoExternalName,
    /// Its address cannot be written for Thanos.
    BadAddress(String),
    /// Another Service has the same address.
    Duplicate {
        /// The address.
        address: String,
        /// The Service that is used.
        used: String,
    },
    /// Several type labels: it counts as the strongest.
    ConflictingTypeLabels {
        /// As what it counts.
        used: &'static str,
        /// Labels that have no effect.
        overruled: Vec<&'static str>,
    },
}

/// Finds the stores of `query` among what is watched.
///
/// # Errors
/// When the selector in the spec cannot be understood; then nothing is known, and what ran before stays.
pub fn discover(query: &ThanosQuery, watched: &Watched) -> Result<Discovery, SelectorError> {
    let selector = Selector::of(query)?;
    let mut services: Vec<&StoreApiService> = watched.services.iter().map(AsRef::as_ref).collect();
    services.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    let mut slices: BTreeMap<(&str, &str), Vec<&StoreApiSlice>> = BTreeMap::new();
    for slice in &watched.slices {
        slices.entry((&slice.namespace, &slice.service)).or_default().push(slice);
    }

    let mut discovery = Discovery::default();
    for service in services {
        if service.deleting
            || !selector.matches(&service.namespace, &service.labels)
            || is_own(query, service)
        {
            continue;
        }
        let about =
            |reason| Rejected { namespace: service.namespace.clone(), service: service.name.clone(), reason };
        let behind =
            slices.get(&(service.namespace.as_str(), service.name.as_str())).map_or(&[][..], Vec::as_slice);
        match reach(service, behind) {
            Ok(reach) => {
                discovery.stores.push(Store {
                    namespace: service.namespace.clone(),
                    service: service.name.clone(),
                    endpoint_type: service.endpoint_type,
                    reach,
                });
                if !service.overruled.is_empty() {
                    discovery.remarks.push(about(Reason::ConflictingTypeLabels {
                        used: type_label(service.endpoint_type),
                        overruled: service.overruled.clone(),
                    }));
                }
            }
            Err(reason) => discovery.rejected.push(about(reason)),
        }
    }
    Ok(discovery)
}

// A querier that queries itself answers every query twice, and then again.
fn is_own(query: &ThanosQuery, service: &StoreApiService) -> bool {
    let has = |label, value: &str| service.labels.get(label).is_some_and(|own| own == value);
    query.metadata.namespace.as_deref() == Some(&service.namespace)
        && has(labels::MANAGED_BY, labels::OPERATOR)
        && query.metadata.name.as_deref().is_some_and(|name| has(labels::OWNER, name))
}

fn reach(service: &StoreApiService, slices: &[&StoreApiSlice]) -> Result<Reach, Reason> {
    let (name, number, target) = match &service.port {
        StorePort::Found { name, number, target } => (name, *number, *target),
        StorePort::Missing { wanted, found } => {
            return Err(Reason::NoPort { wanted: wanted.clone(), found: found.clone() });
        }
    };
    match &service.form {
        ServiceForm::ClusterIp => Ok(Reach::ClusterIp { port: number }),
        ServiceForm::ExternalName(host) if host.is_empty() => Err(Reason::NoExternalName),
        ServiceForm::ExternalName(host) => {
            Ok(Reach::External { host: host.trim_end_matches('.').to_owned(), port: number })
        }
        ServiceForm::Headless => {
            let mut hostnames: Vec<String> =
                slices.iter().flat_map(|slice| slice.hostnames.iter().cloned()).collect();
            hostnames.sort();
            hostnames.dedup();
            // The slices know the pods' port even when the Service only names it.
            let from_slices = slices.iter().find_map(|slice| slice.ports.get(name).copied());
            Ok(Reach::Headless {
                port_name: name.clone(),
                pod_port: from_slices.or(target).unwrap_or(number),
                hostnames,
            })
        }
    }
}

fn type_label(endpoint_type: EndpointType) -> &'static str {
    match endpoint_type {
        EndpointType::Regular => "regular",
        EndpointType::Strict => labels::ENDPOINT_STRICT,
        EndpointType::Group => labels::ENDPOINT_GROUP,
        EndpointType::GroupStrict => labels::ENDPOINT_GROUP_STRICT,
    }
}

// === impl Reason ===

impl Reason {
    /// One word, for status, Events and metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Self::NoPort { .. } => "NoPort",
            Self::NoExternalName => "NoExternalName",
            Self::BadAddress(_) => "BadAddress",
            Self::Duplicate { .. } => "Duplicate",
            Self::ConflictingTypeLabels { .. } => "ConflictingTypeLabels",
        }
    }

    /// What is wrong, and what to do.
    pub fn message(&self) -> String {
        match self {
            Self::NoPort { wanted, found } => {
                let found = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
                format!(
                    "no TCP port named {wanted:?} (there is: {found}); name the StoreAPI port {wanted:?}, or give its name in the annotation {}",
                    crds::names::annotations::PORT
                )
            }
            Self::NoExternalName => "type ExternalName without spec.externalName; set it".to_owned(),
            Self::BadAddress(error) => format!("{error}; correct the Service"),
            Self::Duplicate { address, used } => {
                format!(
                    "{address} is used already through Service {used}; remove the labels from one of them"
                )
            }
            Self::ConflictingTypeLabels { used, overruled } => {
                format!("counts as {used}; {} has no effect, remove it", overruled.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests;
