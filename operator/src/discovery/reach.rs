//! How a Service's StoreAPI is reached.

use std::collections::BTreeSet;

use crds::service_discovery::Resolve;

use super::Reason;
use crate::watch::{Family, ServiceForm, SliceEndpoint, StoreApiService, StoreApiSlice, StorePort};

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
        /// Ready addresses, of one family, each with its port; sorted.
        ready: Vec<(String, u16)>,
    },
    /// A name outside the cluster.
    External {
        /// The name.
        host: String,
        /// The Service's port.
        port: u16,
    },
    /// Ready addresses, of one family, each with its port; sorted.
    Addresses(Vec<(String, u16)>),
}

/// How `service` is reached, and how many ready addresses are behind it.
///
/// # Errors
/// When it lacks a port or a name.
pub fn reach(
    service: &StoreApiService,
    slices: &[&StoreApiSlice],
    resolve: Resolve,
) -> Result<(Reach, usize), Reason> {
    let (name, number, target) = match &service.port {
        StorePort::Found { name, number, target } => (name, *number, *target),
        StorePort::Missing { wanted, found } => {
            return Err(Reason::NoPort { wanted: wanted.clone(), found: found.clone() });
        }
    };
    let ready = ready_addresses(service, slices, name);
    let number_of_ready = ready.len();
    let reach = match (&service.form, resolve) {
        (ServiceForm::ExternalName(host), _) if host.is_empty() => return Err(Reason::NoExternalName),
        (ServiceForm::ExternalName(host), _) => {
            return Ok((Reach::External { host: host.trim_end_matches('.').to_owned(), port: number }, 1));
        }
        (ServiceForm::ClusterIp | ServiceForm::Headless, Resolve::EndpointSlice) => {
            Reach::Addresses(ready.into_iter().collect())
        }
        (ServiceForm::ClusterIp, Resolve::Dns) => Reach::ClusterIp { port: number },
        (ServiceForm::Headless, Resolve::Dns) => {
            // The slices know the pods' port even when the Service only names it.
            let from_slices = slices.iter().find_map(|slice| slice.ports.get(name).copied());
            Reach::Headless {
                port_name: name.clone(),
                pod_port: from_slices.or(target).unwrap_or(number),
                hostnames: hostnames(slices),
                ready: ready.into_iter().collect(),
            }
        }
    };
    Ok((reach, number_of_ready))
}

// Ready or not: a strict endpoint is to be noticed when it is down.
fn hostnames(slices: &[&StoreApiSlice]) -> Vec<String> {
    let endpoints = slices.iter().flat_map(|slice| &slice.endpoints);
    let names: BTreeSet<&String> = endpoints.filter_map(|endpoint| endpoint.hostname.as_ref()).collect();
    names.into_iter().cloned().collect()
}

// Of one family: the same pod behind two addresses would be asked twice.
fn ready_addresses(
    service: &StoreApiService,
    slices: &[&StoreApiSlice],
    port: &String,
) -> BTreeSet<(String, u16)> {
    let is_used =
        |endpoint: &&SliceEndpoint| (endpoint.ready || service.takes_unready) && !endpoint.terminating;
    let of = |family: Family| -> BTreeSet<(String, u16)> {
        let slices = slices.iter().filter(|slice| slice.family == family);
        let with_port = slices.filter_map(|slice| Some((slice, port_of(slice, port)?)));
        with_port
            .flat_map(|(slice, port)| {
                slice.endpoints.iter().filter(is_used).map(move |endpoint| (endpoint.host(), port))
            })
            .collect()
    };
    let first = service.family.unwrap_or(Family::V4);
    let others = [Family::V4, Family::V6, Family::Name].into_iter().filter(|family| *family != first);
    std::iter::once(first).chain(others).map(of).find(|addresses| !addresses.is_empty()).unwrap_or_default()
}

// A slice made by hand may leave the name of its only port out.
fn port_of(slice: &StoreApiSlice, name: &String) -> Option<u16> {
    slice.ports.get(name).copied().or_else(|| match slice.ports.len() {
        1 => slice.ports.get("").copied(),
        _ => None,
    })
}
