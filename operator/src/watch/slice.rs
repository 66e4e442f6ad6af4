//! An EndpointSlice as discovery sees it: pod host names and ports, nothing else.

use std::collections::BTreeMap;

use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::index::Row;

/// The label with which an EndpointSlice names its Service.
pub const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// A part of the pods behind a Service.
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
    /// Host names of pods that have a stable one (StatefulSets), ready or not: a strict endpoint is to be noticed
    /// when it is down.
    pub hostnames: Vec<String>,
}

// === impl StoreApiSlice ===

impl From<EndpointSlice> for StoreApiSlice {
    fn from(slice: EndpointSlice) -> Self {
        let metadata = slice.metadata;
        let labels = metadata.labels.unwrap_or_default();
        let mut hostnames: Vec<String> =
            slice.endpoints.into_iter().filter_map(|endpoint| endpoint.hostname).collect();
        hostnames.sort();
        hostnames.dedup();
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
            hostnames,
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
