//! An EndpointSlice as discovery sees it: ports, and of each endpoint what decides whether it is used.

use std::{collections::BTreeMap, net::IpAddr};

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use kube::runtime::watcher;

use super::{index::Row, store_api_labels};

/// The label with which an EndpointSlice names its Service.
pub const SERVICE_LABEL: &str = "kubernetes.io/service-name";
/// The label with which an EndpointSlice names who keeps it.
const KEEPER_LABEL: &str = "endpointslice.kubernetes.io/managed-by";
/// Kubernetes itself, for Services that choose their pods. It copies the Service's labels to the slice.
const KUBERNETES: &str = "endpointslice-controller.k8s.io";

/// A part of what is behind a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreApiSlice {
    /// Where it lives.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The Service it belongs to.
    pub service: String,
    /// The pods' ports by name of the Service port.
    pub ports: BTreeMap<String, u16>,
    /// What its addresses are.
    pub family: Family,
    /// Its endpoints, sorted.
    pub endpoints: Vec<SliceEndpoint>,
}

/// What the addresses of an EndpointSlice are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4 addresses.
    V4,
    /// IPv6 addresses.
    V6,
    /// Names, in slices that somebody made by hand.
    Name,
}

/// One endpoint of a slice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SliceEndpoint {
    /// Its address.
    pub address: String,
    /// Its host name, when it has a stable one (StatefulSets).
    pub hostname: Option<String>,
    /// Whether it is ready. What does not say is.
    pub ready: bool,
    /// Whether it is about to end.
    pub terminating: bool,
}

/// Slices that Kubernetes keeps for Services with the StoreAPI labels.
pub fn kept_slices() -> watcher::Config {
    watcher::Config::default().labels(&format!("{},{KEEPER_LABEL}={KUBERNETES}", store_api_labels()))
}

/// All other slices of Services: those made by hand or mirrored from Endpoints. They do not carry the Service's labels,
/// and there are few.
pub fn other_slices() -> watcher::Config {
    watcher::Config::default().labels(&format!("{SERVICE_LABEL},{KEEPER_LABEL}!={KUBERNETES}"))
}

// === impl StoreApiSlice ===

impl From<EndpointSlice> for StoreApiSlice {
    fn from(slice: EndpointSlice) -> Self {
        let metadata = slice.metadata;
        let labels = metadata.labels.unwrap_or_default();
        let mut endpoints: Vec<SliceEndpoint> =
            slice.endpoints.into_iter().filter_map(SliceEndpoint::of).collect();
        endpoints.sort();
        endpoints.dedup();
        let ports = slice
            .ports
            .unwrap_or_default()
            .into_iter()
            .filter_map(|port| Some((port.name.unwrap_or_default(), u16::try_from(port.port?).ok()?)));
        Self {
            namespace: metadata.namespace.unwrap_or_default(),
            name: metadata.name.unwrap_or_default(),
            service: labels.get(SERVICE_LABEL).cloned().unwrap_or_default(),
            ports: ports.collect(),
            family: Family::of(&slice.address_type).unwrap_or(Family::Name),
            endpoints,
        }
    }
}

impl Row for StoreApiSlice {
    fn namespace(&self) -> &str {
        &self.namespace
    }

    fn name(&self) -> &str {
        &self.name
    }
}

// === impl Family ===

impl Family {
    /// As Kubernetes spells it; none for what is no family of addresses.
    pub fn of(text: &str) -> Option<Self> {
        match text {
            "IPv4" => Some(Self::V4),
            "IPv6" => Some(Self::V6),
            _ => None,
        }
    }
}

// === impl SliceEndpoint ===

impl SliceEndpoint {
    // Kubernetes says that all addresses of an endpoint are alike, and that readers take the first.
    fn of(endpoint: Endpoint) -> Option<Self> {
        let conditions = endpoint.conditions.unwrap_or_default();
        Some(Self {
            address: endpoint.addresses.into_iter().next()?,
            hostname: endpoint.hostname,
            ready: conditions.ready.unwrap_or(true),
            terminating: conditions.terminating.unwrap_or_default(),
        })
    }

    /// The host of an address: with brackets, as IPv6 needs them before a port.
    pub fn host(&self) -> String {
        match self.address.parse() {
            Ok(IpAddr::V6(address)) => format!("[{address}]"),
            _ => self.address.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(yaml: &str) -> StoreApiSlice {
        let yaml = format!(
            "{{metadata: {{name: s-1, namespace: n, labels: {{kubernetes.io/service-name: s}}}}, {yaml}}}"
        );
        serde_saphyr::from_str::<EndpointSlice>(&yaml).expect("a slice").into()
    }

    #[test]
    fn what_does_not_say_whether_it_is_ready_is_ready() {
        let slice = parsed(
            "addressType: IPv4, endpoints: [{addresses: [10.0.0.2]}, {addresses: [10.0.0.1], conditions: {ready: false}}, \
             {addresses: [10.0.0.3], conditions: {ready: true, terminating: true}}]",
        );
        let told: Vec<(bool, bool)> =
            slice.endpoints.iter().map(|own| (own.ready, own.terminating)).collect();
        assert_eq!(told, [(false, false), (true, false), (true, true)]);
    }

    #[test]
    fn an_ipv6_address_gets_brackets_and_a_name_does_not() {
        let slice = parsed("addressType: IPv6, endpoints: [{addresses: ['fd00::1']}]");
        assert_eq!((slice.family, slice.endpoints[0].host()), (Family::V6, "[fd00::1]".to_owned()));
        let slice = parsed("addressType: FQDN, endpoints: [{addresses: [thanos.example]}]");
        assert_eq!((slice.family, slice.endpoints[0].host()), (Family::Name, "thanos.example".to_owned()));
    }
}
