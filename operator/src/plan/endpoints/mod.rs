//! What each store becomes for a Thanos release: an entry of the document and, for strict and group, a flag.
//!
//! The table is design section 5; the facts behind it are reference "How `thanos query` discovers endpoints",
//! sections 4 and 8. What the spec adds by itself is in [`additional`], which pods of a strict Service count in [`strict_pods`].

mod additional;
mod overlap;
mod said;
mod shards;
mod spelling;
mod strict_pods;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use sd_agent::{
    Address, Document, Endpoint, EndpointType, Feature, ThanosVersion, address::AddressError,
    document::DocumentError, version::Release,
};

pub use additional::{Additional, additional_endpoints};
pub use overlap::{Arrivals, Before, next_to_end, overlap};
pub use said::{Said, can_be_written, flag as flag_of, flags_say_one_thing, has_types_in_file, saying};
pub use shards::ShardsError;
pub use spelling::{previous_document, says_more, spell};
pub use strict_pods::{StrictPods, next_to_go, with_missing_pods};

use super::{connections::Connection, service_config::service_config};
use crate::{
    config::Config,
    discovery::{Discovery, Reach, Reason, Rejected, ServiceName, Store},
};

/// All endpoints of one ThanosQuery.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// The neutral document.
    pub document: Document,
    /// What the pods get as flags, sorted.
    pub flags: Vec<Flag>,
    /// Services whose address cannot be written, or is there already.
    pub rejected: Vec<Rejected>,
    /// Services of whose several addresses only one can be reached.
    pub single: Vec<Rejected>,
    /// Every Service that is not missing: its addresses are in the document, of whatever type, or they must not be.
    pub services: BTreeSet<ServiceName>,
    /// What is written in the document for each Service with ordinary endpoints.
    pub ordinary: BTreeMap<ServiceName, Vec<Address>>,
    /// For each of those that Thanos looks up, the name, and the ready addresses behind it.
    pub looked_up: BTreeMap<ServiceName, (Address, Vec<Address>)>,
    /// The same for each Service with strict or group endpoints.
    pub special: BTreeMap<ServiceName, Vec<Address>>,
    /// The fields of the spec that add an endpoint by its address.
    pub fields: BTreeMap<Address, String>,
    /// What Services ask for, of those that ask for TLS settings of their own, or for none.
    pub tls: BTreeMap<ServiceName, String>,
    /// Services that count, but not as their annotations say.
    pub remarks: Vec<Rejected>,
    /// What this release of Thanos, or this mode, cannot connect to as it asks for: who, and what for.
    pub unsupported: Vec<Unsupported>,
}

/// Something that needs another release of Thanos, or another mode.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unsupported {
    /// A Service, or a field of the spec.
    pub who: String,
    /// What it needs.
    pub what: Need,
}

/// What an endpoint may need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// TLS settings of its own: without them it is left out.
    OwnTls,
    /// No TLS, where all others have it.
    NoTls,
    /// A service config.
    ServiceConfig,
}

/// An endpoint as a flag of Thanos.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flag {
    /// Which flag.
    pub endpoint_type: EndpointType,
    /// Its value.
    pub address: Address,
}

const NO_GROUP: &str = "only a group has one; make it a group by its label, or remove the annotation";

/// What is taken, and by whom.
struct Taken<'a> {
    by_place: BTreeMap<String, String>,
    additional: &'a [Additional],
}

// === impl Endpoints ===

impl Endpoints {
    /// Writes the stores of `discovery`, and what is `additional`, as `said`.
    ///
    /// # Errors
    /// When they make no valid document; duplicates and flag forms are settled here, so that would be a bug.
    pub fn of(
        discovery: &Discovery,
        additional: &[Additional],
        said: &Said<'_>,
        config: &Config,
    ) -> Result<Self, DocumentError> {
        let version = said.version;
        let mut taken = Taken { by_place: BTreeMap::new(), additional };
        let mut endpoints: Vec<Endpoint> = additional.iter().map(|own| own.endpoint.clone()).collect();
        let (mut rejected, mut single, mut remarks) = (Vec::new(), Vec::new(), Vec::new());
        let mut unsupported: Vec<Unsupported> =
            additional.iter().flat_map(|own| said.unsupported(&own.endpoint, || own.field())).collect();
        let mut services: BTreeSet<ServiceName> = discovery
            .rejected
            .iter()
            .filter(|own| must_not_stay(&own.reason))
            .map(|own| ServiceName { namespace: own.namespace.clone(), name: own.service.clone() })
            .collect();
        let (mut ordinary, mut looked_up) = (BTreeMap::new(), BTreeMap::new());
        let (mut special, mut tls) = (BTreeMap::new(), BTreeMap::new());
        for store in &discovery.stores {
            let about = |reason| Rejected {
                namespace: store.namespace.clone(),
                service: store.service.clone(),
                reason,
            };
            let service_config = store.service_config.as_deref().and_then(|text| {
                let read = if store.endpoint_type.is_group() {
                    service_config(text)
                } else {
                    Err(NO_GROUP.to_owned())
                };
                read.map_err(|problem| remarks.push(about(Reason::BadServiceConfig(problem)))).ok()
            });
            let written = match endpoints_of(store, said, service_config.as_deref(), config) {
                Ok(written) => written,
                Err(error) => {
                    rejected.push(about(Reason::BadAddress(error.to_string())));
                    continue;
                }
            };
            let name = ServiceName { namespace: store.namespace.clone(), name: store.service.clone() };
            // Of one that has the address of another nothing is missing.
            services.insert(name.clone());
            tls.extend(store.tls.said().map(|choice| (name.clone(), choice.to_owned())));
            match taken.add(store, written) {
                Ok(added) => {
                    let asks = added
                        .first()
                        .into_iter()
                        .flat_map(|own| said.unsupported(own, || format!("Service {name}")));
                    unsupported.extend(asks);
                    let added: Vec<Endpoint> = added.into_iter().filter(can_be_written).collect();
                    let is_ordinary = store.endpoint_type == EndpointType::Regular;
                    if !added.is_empty() {
                        let found = name_and_ready(store, &added).filter(|_| is_ordinary);
                        looked_up.extend(found.map(|found| (name.clone(), found)));
                        let of_type = if is_ordinary { &mut ordinary } else { &mut special };
                        of_type.insert(name, added.iter().map(|endpoint| endpoint.file.clone()).collect());
                    }
                    endpoints.extend(added);
                }
                Err(reason) => {
                    rejected.push(about(reason));
                    continue;
                }
            }
            single
                .extend(single_address(store, version).map(|remedy| about(Reason::SingleAddress { remedy })));
        }
        if said.types_in_file {
            endpoints = endpoints.into_iter().map(said::typed).collect();
        }
        let document = Document::new(endpoints)?;
        let flags = flags(&document, said);
        let fields = additional.iter().map(|own| (own.endpoint.file.clone(), own.field())).collect();
        Ok(Self {
            document,
            flags,
            rejected,
            single,
            services,
            ordinary,
            looked_up,
            special,
            fields,
            tls,
            remarks,
            unsupported,
        })
    }

    /// Number of endpoints of `endpoint_type`.
    pub fn count(&self, endpoint_type: EndpointType) -> usize {
        self.document.endpoints().iter().filter(|endpoint| endpoint.endpoint_type == endpoint_type).count()
    }
}

// === impl Taken ===

impl Taken<'_> {
    /// Takes the endpoints of `store`, without those addresses of its pods that another Service has, too.
    fn add(&mut self, store: &Store, written: Vec<Endpoint>) -> Result<Vec<Endpoint>, Reason> {
        let Store { namespace, service, reach, .. } = store;
        let (taken, free): (Vec<Endpoint>, Vec<Endpoint>) =
            written.into_iter().partition(|endpoint| self.by_whom(endpoint).is_some());
        let is_one_of_many = matches!(reach, Reach::Addresses(_)) && !free.is_empty();
        if let Some(first) = taken.first().filter(|_| !is_one_of_many) {
            let used = self.by_whom(first).unwrap_or_default();
            return Err(Reason::Duplicate { address: first.file.to_string(), used });
        }
        let used = format!("Service {namespace}/{service}");
        self.by_place.extend(free.iter().map(|endpoint| (place(&endpoint.file), used.clone())));
        Ok(free)
    }

    fn by_whom(&self, endpoint: &Endpoint) -> Option<String> {
        let additional = self.additional.iter().find(|own| own.is_about(&endpoint.file));
        additional.map(Additional::field).or_else(|| self.by_place.get(&place(&endpoint.file)).cloned())
    }
}

/// What tells two addresses apart: a prefix does not, unless it finds the port.
pub fn place(address: &Address) -> String {
    match address.port() {
        Some(port) => format!("{}:{port}", address.target()),
        None => address.to_string(),
    }
}

/// Whether endpoints of a Service that was left out for `reason` would do harm: nobody may hold them.
fn must_not_stay(reason: &Reason) -> bool {
    matches!(reason, Reason::NoConsent { .. } | Reason::QueryLoop { .. } | Reason::LeadsBack)
}

/// What the pods get as flags, sorted.
pub fn flags(document: &Document, said: &Said<'_>) -> Vec<Flag> {
    let flag = |endpoint: &Endpoint| {
        let address = said::flag(endpoint, said)?;
        Some(Flag { endpoint_type: endpoint.endpoint_type, address: address.clone() })
    };
    let mut flags: Vec<Flag> = document.endpoints().iter().filter_map(flag).collect();
    flags.sort();
    flags.dedup();
    flags
}

/// The name by which Thanos looks up `store`, and the ready addresses behind it.
fn name_and_ready(store: &Store, written: &[Endpoint]) -> Option<(Address, Vec<Address>)> {
    let (Reach::Headless { ready, .. }, [only]) = (&store.reach, written) else { return None };
    let ready = ready.iter().filter_map(|(host, port)| Address::plain(host, *port).ok()).collect();
    Some((only.file.clone(), ready))
}

/// As each of its endpoints stands in the document, however it is connected to.
fn addresses_of(
    store: &Store,
    version: ThanosVersion,
    config: &Config,
) -> Result<Vec<Endpoint>, AddressError> {
    let Store { namespace, service, endpoint_type, reach, addresses: _, tls: _, service_config: _ } = store;
    let own_name = || format!("{service}.{namespace}.svc.{}", config.cluster_domain);
    let (host, port, file) = match reach {
        Reach::Addresses(addresses) => {
            let plain =
                addresses.iter().map(|(host, port)| Address::plain(host, *port).map(Endpoint::regular));
            return plain.collect();
        }
        Reach::ClusterIp { port } => (own_name(), port, Address::plain(&own_name(), *port)?),
        Reach::External { host, port } => (host.clone(), port, Address::plain(host, *port)?),
        Reach::Headless { port_name, pod_port, .. } => {
            (own_name(), pod_port, Address::dnssrv(port_name, &own_name())?)
        }
    };
    let endpoint = match endpoint_type {
        EndpointType::Regular => Endpoint::regular(file),
        EndpointType::Strict => match reach {
            Reach::Headless { hostnames, .. } if !hostnames.is_empty() => {
                return hostnames
                    .iter()
                    .map(|pod| {
                        let address = Address::plain(&format!("{pod}.{host}"), *port)?;
                        Ok(Endpoint::flagged(EndpointType::Strict, address.clone(), address))
                    })
                    .collect();
            }
            _ => {
                let plain = Address::plain(&host, *port)?;
                // In the file of a pod that does not have the flag yet, the SRV form reaches every pod.
                Endpoint::flagged(EndpointType::Strict, file, plain)
            }
        },
        EndpointType::Group | EndpointType::GroupStrict => {
            let balanced = match endpoint_type {
                EndpointType::GroupStrict => version.supports(Feature::BalancedStrictGroup),
                _ => version.supports(Feature::BalancedGroup),
            };
            let flag = match reach {
                _ if !balanced => Address::plain(&host, *port)?,
                Reach::Headless { port_name, .. } => Address::dnssrv(port_name, &host)?,
                Reach::ClusterIp { .. } | Reach::External { .. } | Reach::Addresses(_) => {
                    Address::dns(&host, *port)?
                }
            };
            Endpoint::flagged(*endpoint_type, file, flag)
        }
    };
    Ok(vec![endpoint])
}

fn endpoints_of(
    store: &Store,
    said: &Said<'_>,
    service_config: Option<&str>,
    config: &Config,
) -> Result<Vec<Endpoint>, AddressError> {
    // Discovery has looked for it among the same profiles.
    let connection = said.connections.of_service(&store.tls).unwrap_or(Connection::Plaintext);
    let endpoints = addresses_of(store, said.version, config)?.into_iter();
    let endpoints = endpoints.map(|endpoint| {
        let connection = connection.clone().expecting(|| server_name(store, &endpoint));
        saying(endpoint, &connection, service_config)
    });
    Ok(endpoints.collect())
}

/// The name that a certificate must have, where the address is none that one could have.
fn server_name(store: &Store, endpoint: &Endpoint) -> Option<String> {
    let Store { namespace, service, endpoint_type, reach, .. } = store;
    let host = endpoint.file.host();
    let is_name = match reach {
        Reach::External { .. } => return endpoint_type.is_group().then(|| host.to_owned()),
        Reach::Addresses(_) => host.parse::<Ipv4Addr>().is_err() && !host.starts_with('['),
        Reach::ClusterIp { .. } | Reach::Headless { .. } => !endpoint_type.is_group(),
    };
    (!is_name).then(|| format!("{service}.{namespace}.svc"))
}

/// Why only one of the addresses of `store` can be reached: what reaches them all.
fn single_address(store: &Store, version: ThanosVersion) -> Option<&'static str> {
    let Store { namespace: _, service: _, endpoint_type, reach, addresses, tls: _, service_config: _ } =
        store;
    // Until 0.36 a group is resolved by gRPC, which takes all addresses that it is given.
    let grpc_resolves = matches!(version, ThanosVersion::Known(Release { major: 0, minor: ..37, .. }));
    let remedy = match (reach, endpoint_type) {
        (Reach::External { .. } | Reach::Addresses(_), _) => return None,
        (Reach::ClusterIp { .. }, EndpointType::Regular) => {
            "make the Service headless, or set spec.serviceDiscovery.resolve to EndpointSlice"
        }
        (Reach::ClusterIp { .. }, EndpointType::Strict | EndpointType::Group | EndpointType::GroupStrict) => {
            "make the Service headless"
        }
        (Reach::Headless { .. }, EndpointType::Regular) => return None,
        (Reach::Headless { hostnames, .. }, EndpointType::Strict) if !hostnames.is_empty() => return None,
        (Reach::Headless { .. }, EndpointType::Strict) => {
            "give its pods host names, as a StatefulSet does, and each is an endpoint"
        }
        (Reach::Headless { .. }, EndpointType::Group)
            if grpc_resolves || version.supports(Feature::BalancedGroup) =>
        {
            return None;
        }
        (Reach::Headless { .. }, EndpointType::GroupStrict)
            if grpc_resolves || version.supports(Feature::BalancedStrictGroup) =>
        {
            return None;
        }
        (Reach::Headless { .. }, EndpointType::Group) => {
            "set spec.version, so that it is known how to balance"
        }
        (Reach::Headless { .. }, EndpointType::GroupStrict) => {
            "this release of Thanos cannot balance a strict group; use a group or a strict endpoint"
        }
    };
    (*addresses > 1).then_some(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        discovery::TlsChoice,
        plan::{Connections, Delivery},
    };

    fn headless(hostnames: &[&str]) -> Reach {
        let hostnames = hostnames.iter().map(|&name| name.to_owned()).collect();
        Reach::Headless { port_name: "grpc".into(), pod_port: 10901, hostnames, ready: vec![] }
    }

    fn store(service: &str, endpoint_type: EndpointType, reach: Reach) -> Store {
        Store {
            namespace: "ns".into(),
            service: service.into(),
            endpoint_type,
            reach,
            addresses: 2,
            tls: TlsChoice::Default,
            service_config: None,
        }
    }

    /// The file form and the flag form of one store, as text.
    fn forms(version: &str, endpoint_type: EndpointType, reach: Reach) -> Vec<(String, String)> {
        let stores = vec![store("s", endpoint_type, reach)];
        let endpoints = written(stores, version.parse().expect("a version"));
        let text = |endpoint: &Endpoint| {
            let short = |address: &Address| address.to_string().replace(".ns.svc.cluster.local", "");
            (short(&endpoint.file), endpoint.flag.as_ref().map(short).unwrap_or_default())
        };
        endpoints.document.endpoints().iter().map(text).collect()
    }

    fn pair(file: &str, flag: &str) -> Vec<(String, String)> {
        vec![(file.to_owned(), flag.to_owned())]
    }

    #[test]
    fn a_regular_endpoint_is_the_same_for_every_release() {
        for version in ["unknown", "v0.35.1", "v0.36.0", "v0.37.2", "v0.42.4"] {
            assert_eq!(
                forms(version, EndpointType::Regular, Reach::ClusterIp { port: 80 }),
                pair("s:80", "")
            );
            assert_eq!(forms(version, EndpointType::Regular, headless(&[])), pair("dnssrv+_grpc._tcp.s", ""));
        }
        let external = Reach::External { host: "thanos.example".into(), port: 443 };
        assert_eq!(forms("v0.42.4", EndpointType::Regular, external), pair("thanos.example:443", ""));
    }

    #[test]
    fn a_strict_endpoint_never_has_a_prefix_as_a_flag() {
        for version in ["unknown", "v0.35.1", "v0.37.2", "v0.42.4"] {
            assert_eq!(
                forms(version, EndpointType::Strict, Reach::ClusterIp { port: 80 }),
                pair("s:80", "s:80")
            );
            let whole = pair("dnssrv+_grpc._tcp.s", "s:10901");
            assert_eq!(forms(version, EndpointType::Strict, headless(&[])), whole);
            let pods = forms(version, EndpointType::Strict, headless(&["s-0", "s-1"]));
            assert_eq!(pods[0], ("s-0.s:10901".into(), "s-0.s:10901".into()));
            assert_eq!(pods[1], ("s-1.s:10901".into(), "s-1.s:10901".into()));
        }
    }

    #[test]
    fn a_group_is_plain_up_to_0_36_and_balanced_from_0_37() {
        let group = |version, reach| forms(version, EndpointType::Group, reach).remove(0).1;
        for version in ["unknown", "v0.35.1", "v0.36.1"] {
            assert_eq!(group(version, Reach::ClusterIp { port: 80 }), "s:80");
            assert_eq!(group(version, headless(&[])), "s:10901");
        }
        for version in ["v0.37.2", "v0.38.0", "v0.42.4"] {
            assert_eq!(group(version, Reach::ClusterIp { port: 80 }), "dns+s:80");
            assert_eq!(group(version, headless(&[])), "dnssrv+_grpc._tcp.s");
        }
    }

    #[test]
    fn a_strict_group_is_balanced_by_0_37_only() {
        let group = |version| forms(version, EndpointType::GroupStrict, headless(&[])).remove(0).1;
        assert_eq!(group("v0.36.1"), "s:10901");
        assert_eq!(group("v0.37.2"), "dnssrv+_grpc._tcp.s");
        assert_eq!(group("v0.42.4"), "s:10901");
    }

    #[test]
    fn the_second_service_with_the_same_address_is_rejected() {
        let external = || Reach::External { host: "thanos.example".into(), port: 443 };
        let stores =
            vec![store("a", EndpointType::Regular, external()), store("b", EndpointType::Strict, external())];
        let endpoints = written(stores, ThanosVersion::Unknown);
        assert_eq!(endpoints.document.endpoints().len(), 1);
        assert_eq!(endpoints.rejected[0].service, "b");
        assert!(endpoints.rejected[0].reason.message().contains("ns/a"));
    }

    #[test]
    fn an_address_that_thanos_would_misread_rejects_only_its_service() {
        let bad = Reach::External { host: "bad host,--x".into(), port: 443 };
        let stores = vec![
            store("a", EndpointType::Regular, bad),
            store("b", EndpointType::Regular, Reach::ClusterIp { port: 1 }),
        ];
        let endpoints = written(stores, ThanosVersion::Unknown);
        assert_eq!(endpoints.document.endpoints().len(), 1);
        assert_eq!(endpoints.rejected[0].reason.word(), "BadAddress");
    }

    fn written(stores: Vec<Store>, version: ThanosVersion) -> Endpoints {
        let discovery = Discovery { stores, ..Discovery::default() };
        let said = Said {
            connections: &Connections::default(),
            version,
            delivery: Delivery::Agent { api: true },
            types_in_file: false,
        };
        Endpoints::of(&discovery, &[], &said, &Config::of_tests()).expect("a document")
    }

    #[test]
    fn addresses_are_written_as_they_are_and_one_that_two_services_share_once() {
        let pods =
            |all: &[&str]| Reach::Addresses(all.iter().map(|&host| (host.to_owned(), 10901)).collect());
        let stores = vec![
            store("a", EndpointType::Regular, pods(&["10.0.0.1", "[fd00::1]"])),
            store("b", EndpointType::Regular, pods(&["10.0.0.1", "10.0.0.2"])),
            store("c", EndpointType::Regular, pods(&["10.0.0.2"])),
            store("d", EndpointType::Regular, pods(&[])),
        ];
        let endpoints = written(stores, ThanosVersion::new(0, 42, 4));
        let files: Vec<String> =
            endpoints.document.endpoints().iter().map(|endpoint| endpoint.file.to_string()).collect();
        assert_eq!(files, ["10.0.0.1:10901", "10.0.0.2:10901", "[fd00::1]:10901"]);
        assert_eq!(endpoints.rejected.len(), 1);
        assert!(endpoints.rejected[0].reason.message().contains("Service ns/b"), "{:?}", endpoints.rejected);
    }

    #[test]
    fn what_reaches_one_of_several_addresses_is_told_with_what_reaches_them_all() {
        let told = |endpoint_type, reach: Reach, version: &str| {
            let version = version.parse().expect("a version");
            let single = written(vec![store("s", endpoint_type, reach)], version).single;
            single.into_iter().next().map(|own| own.reason.message()).unwrap_or_default()
        };
        let virtual_address = || Reach::ClusterIp { port: 80 };
        assert!(told(EndpointType::Regular, virtual_address(), "v0.42.4").contains("headless"));
        assert_eq!(told(EndpointType::Regular, headless(&[]), "v0.42.4"), "");
        assert!(told(EndpointType::Strict, headless(&[]), "v0.42.4").contains("StatefulSet"));
        assert_eq!(told(EndpointType::Strict, headless(&["s-0", "s-1"]), "v0.42.4"), "");
        for version in ["v0.35.1", "v0.37.2", "v0.42.4"] {
            assert_eq!(told(EndpointType::Group, headless(&[]), version), "", "{version}");
        }
        assert_eq!(told(EndpointType::GroupStrict, headless(&[]), "v0.37.2"), "");
        assert!(told(EndpointType::GroupStrict, headless(&[]), "v0.42.4").contains("cannot balance"));
        let one = Store { addresses: 1, ..store("s", EndpointType::Regular, virtual_address()) };
        assert!(written(vec![one], ThanosVersion::Unknown).single.is_empty());
    }
}
