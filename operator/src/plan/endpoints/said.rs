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

/// Why endpoints are not as they ask for in mode Flags.
pub fn flags_say_one_thing(unsupported: &[Unsupported]) -> String {
    const NAMED: usize = 3;
    let mut who: Vec<&str> = unsupported.iter().map(|own| own.who.as_str()).collect();
    who.dedup();
    let more = match who.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    who.truncate(NAMED);
    format!(
        "spec.serviceDiscovery.mode: Flags has one way to connect to all endpoints, and {}{more} {} another one: those with \
         TLS settings of their own are left out, the others are connected to as all are; set mode: File, or remove \
         their settings",
        who.join(", "),
        if who.len() == 1 { "asks for" } else { "ask for" },
    )
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

#[cfg(test)]
mod tests {
    use sd_agent::EndpointType;

    use super::*;

    fn connections() -> Connections {
        let yaml = "{apiVersion: monitoring.thanos.io/v1alpha1, kind: ThanosQuery, metadata: {name: global}, \
            spec: {serviceDiscovery: {tls: {serverName: a.example}}}}";
        Connections::of(&serde_saphyr::from_str(yaml).expect("a ThanosQuery")).expect("valid")
    }

    fn own() -> Connection {
        match connections().by_default() {
            Connection::Tls(settings) => {
                Connection::Tls(sd_agent::in_file::TlsSettings { inherited: false, ..settings })
            }
            other => other,
        }
    }

    fn flagged(endpoint_type: EndpointType, flag: &str) -> Endpoint {
        let address = |text: &str| text.parse().expect("an address");
        Endpoint::flagged(endpoint_type, address("dnssrv+_grpc._tcp.s.demo.svc"), address(flag))
    }

    /// Whether it is a flag in 0.42 and in 0.41, each with a file, and in mode Flags.
    fn is_flag(endpoint: &Endpoint) -> [bool; 3] {
        let (new, old) = (ThanosVersion::new(0, 42, 4), ThanosVersion::new(0, 41, 0));
        [(new, FILE), (old, FILE), (new, Delivery::Flags)].map(|(version, delivery)| {
            let connections = Connections::default();
            let said = Said { connections: &connections, version, delivery, types_in_file: false };
            flag(endpoint, &said).is_some()
        })
    }

    const FILE: Delivery = Delivery::Agent { api: true };

    #[test]
    fn in_mode_file_all_what_has_a_type_is_in_the_file_and_no_flag() {
        let connections = Connections::default();
        let version = ThanosVersion::new(0, 42, 4);
        let said = Said { connections: &connections, version, delivery: FILE, types_in_file: true };
        let strict = typed(flagged(EndpointType::Strict, "s.demo.svc:1"));
        assert!(strict.in_file().typed && flag(&strict, &said).is_none());
        let looked_up = typed(flagged(EndpointType::GroupStrict, "dns+s.demo.svc:1"));
        assert!(!looked_up.in_file().typed, "Thanos refuses a file with this");
    }

    #[test]
    fn a_flag_says_nothing_of_tls_so_what_has_it_is_in_the_file_from_0_42() {
        let strict =
            |connection: &Connection| saying(flagged(EndpointType::Strict, "s.demo.svc:1"), connection, None);
        assert_eq!(is_flag(&strict(&Connection::AsFlags)), [true, true, true]);
        assert_eq!(is_flag(&strict(&connections().by_default())), [false, true, true]);
        assert_eq!(is_flag(&strict(&Connection::Plaintext)), [false, true, true]);
        assert_eq!(is_flag(&strict(&own())), [false, false, false], "else it would have the settings of all");
    }

    #[test]
    fn a_service_config_puts_a_group_into_the_file_from_0_40() {
        let group =
            saying(flagged(EndpointType::Group, "dns+s.demo.svc:1"), &Connection::AsFlags, Some("{}"));
        assert_eq!(is_flag(&group), [false, false, true]);
        let connections = Connections::default();
        let version = ThanosVersion::new(0, 39, 2);
        let said = Said { connections: &connections, version, delivery: FILE, types_in_file: false };
        assert!(flag(&group, &said).is_some());
        assert!(group.in_file().typed);
    }

    #[test]
    fn what_thanos_looks_up_is_never_written_with_settings_that_it_would_not_use() {
        let looked_up = || Endpoint::regular("dns+s.demo.svc:1".parse().expect("an address"));
        let inherited = saying(looked_up(), &connections().by_default(), None);
        assert!(can_be_written(&inherited) && inherited.in_file().tls.is_none());
        assert!(!can_be_written(&saying(looked_up(), &own(), None)));
        // 0.37 takes a strict group with a prefix as a flag, and no file may have it as one.
        let strict_group = flagged(EndpointType::GroupStrict, "dns+s.demo.svc:1");
        assert!(!can_be_written(&saying(strict_group, &own(), Some("{}"))));
        assert!(can_be_written(&saying(flagged(EndpointType::Group, "dns+s.demo.svc:1"), &own(), None)));
    }
}
