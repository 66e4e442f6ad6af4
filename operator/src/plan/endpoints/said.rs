//! What the entry of an endpoint says besides its address: whether it is reached over TLS, how gRPC balances it; and
//! whether it can be a flag, which says nothing of the kind.

use crds::{ThanosQuery, service_discovery::DiscoveryMode};
use sd_agent::{Address, ClientTls, Endpoint, Feature, InFile, ThanosVersion};

use super::{Need, Unsupported};
use crate::plan::{Connections, Delivery, connections::Connection};

/// What it depends on.
pub struct Said<'a> {
    /// How endpoints are connected to.
    pub connections: &'a Connections,
    /// The release of Thanos.
    pub version: ThanosVersion,
    /// How endpoints reach the pods.
    pub delivery: Delivery,
    /// Whether strict and group endpoints are in the file, too, whatever they ask for.
    pub types_in_file: bool,
}

/// Whether strict and group endpoints of `query` are in the file of a Thanos of `version`, too.
pub fn has_types_in_file(query: &ThanosQuery, version: ThanosVersion) -> bool {
    query.spec.service_discovery.mode == DiscoveryMode::FileAll
        && version.supports(Feature::EndpointSdConfigFile)
}

/// `endpoint` with its type in the file.
pub fn typed(endpoint: Endpoint) -> Endpoint {
    let in_file = InFile { typed: can_be_typed(&endpoint), ..endpoint.in_file().clone() };
    endpoint.saying(in_file)
}

// Thanos refuses a strict endpoint that it would have to look up, wherever it stands.
fn can_be_typed(endpoint: &Endpoint) -> bool {
    let is_strict = endpoint.endpoint_type.is_strict();
    endpoint.flag.as_ref().is_some_and(|flag| !(is_strict && flag.is_looked_up()))
}

/// `endpoint` with what its entry says. The document is the same for every release: each pod makes its own of it.
pub fn saying(endpoint: Endpoint, connection: &Connection, service_config: Option<&str>) -> Endpoint {
    let can_be_typed = can_be_typed(&endpoint);
    let service_config = service_config.filter(|_| can_be_typed).map(ToOwned::to_owned);
    let typed = can_be_typed && (service_config.is_some() || *connection != Connection::AsFlags);
    let tls = match connection {
        // Of an ordinary endpoint it looks up the addresses, and connects to them as its flags say.
        Connection::Tls(settings) if settings.inherited && !typed && endpoint.file.is_looked_up() => None,
        connection => connection.in_file(),
    };
    endpoint.saying(InFile { typed, service_config, tls, ..InFile::default() })
}

/// Whether any Thanos could connect to it as its entry says.
pub fn can_be_written(endpoint: &Endpoint) -> bool {
    let is_group = endpoint.in_file().typed && endpoint.endpoint_type.is_group();
    !has_own_tls(endpoint) || is_group || !endpoint.written().is_looked_up()
}

/// The value of its flag, if it has one in the pods.
pub fn flag<'a>(endpoint: &'a Endpoint, said: &Said<'_>) -> Option<&'a Address> {
    let Said { connections: _, version, delivery, types_in_file } = *said;
    let InFile { typed, spelling: _, service_config, tls } = endpoint.in_file();
    // The flags of a pod have one way to connect to all.
    if has_own_tls(endpoint) {
        return None;
    }
    let is_in_file = *typed
        && (types_in_file
            || tls.is_some() && version.supports(Feature::EndpointTls)
            || service_config.is_some() && version.supports(Feature::GroupServiceConfig));
    match delivery {
        Delivery::Flags => Some(endpoint.flag.as_ref().unwrap_or(&endpoint.file)),
        Delivery::Agent { .. } | Delivery::Kubelet => endpoint.flag.as_ref().filter(|_| !is_in_file),
    }
}

fn has_own_tls(endpoint: &Endpoint) -> bool {
    matches!(&endpoint.in_file().tls, Some(ClientTls::Tls(settings)) if !settings.inherited)
}

// === impl Said ===

impl Said<'_> {
    /// What of `endpoint` is not as it asks for.
    pub fn unsupported(&self, endpoint: &Endpoint, who: impl Fn() -> String) -> Vec<Unsupported> {
        let has = |feature| self.version.supports(feature) && self.delivery != Delivery::Flags;
        let InFile { service_config, tls, .. } = endpoint.in_file();
        let of_tls = match tls {
            Some(ClientTls::Tls(settings)) if !settings.inherited => Some(Need::OwnTls),
            // Without a default there is nothing to be left out of.
            Some(ClientTls::Plaintext) if self.connections.has_default() => Some(Need::NoTls),
            _ => None,
        };
        let of_tls = of_tls.filter(|_| !has(Feature::EndpointTls));
        let of_config = service_config.is_some() && !has(Feature::GroupServiceConfig);
        let needs = of_tls.into_iter().chain(of_config.then_some(Need::ServiceConfig));
        needs.map(|what| Unsupported { who: who(), what }).collect()
    }
}
