//! What each store becomes for a Thanos release: an entry of the document and, for strict and group, a flag.
//!
//! The table is design section 5; the facts behind it are reference "How `thanos query` discovers endpoints",
//! sections 4 and 8. What the spec adds by itself is in [`additional`], which pods of a strict Service count in [`strict_pods`].

mod additional;
mod shards;
mod spelling;
mod strict_pods;

use std::collections::{BTreeMap, BTreeSet};

use crds::{ThanosQuery, service_discovery::DiscoveryMode};
use sd_agent::{
    Address, Document, Endpoint, EndpointType, Feature, InFile, ThanosVersion, address::AddressError,
    document::DocumentError, version::Release,
};

pub use additional::{Additional, additional_endpoints};
pub use shards::ShardsError;
pub use spelling::{previous_document, spell};
pub use strict_pods::{StrictPods, next_to_go, with_missing_pods};

use super::Delivery;
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
}

/// What endpoints are written for.
#[derive(Clone, Copy, Debug)]
pub struct WrittenFor<'a> {
    /// The release of the queriers.
    pub version: ThanosVersion,
    /// How endpoints reach them.
    pub delivery: Delivery,
    /// Whether strict and group endpoints are in the file, too.
    pub types_in_file: bool,
    /// The operator's settings.
    pub config: &'a Config,
}

/// An endpoint as a flag of Thanos.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flag {
    /// Which flag.
    pub endpoint_type: EndpointType,
    /// Its value.
    pub address: Address,
}

/// What is taken, and by whom.
struct Taken<'a> {
    by_place: BTreeMap<String, String>,
    additional: &'a [Additional],
}

// === impl Endpoints ===

impl Endpoints {
    /// Writes the stores of `discovery`, and what is `additional`.
    ///
    /// # Errors
    /// When they make no valid document; duplicates and flag forms are settled here, so that would be a bug.
    pub fn of(
        discovery: &Discovery,
        additional: &[Additional],
        written_for: WrittenFor<'_>,
    ) -> Result<Self, DocumentError> {
        let WrittenFor { version, delivery, types_in_file, config } = written_for;
        let mut taken = Taken { by_place: BTreeMap::new(), additional };
        let mut endpoints: Vec<Endpoint> = additional.iter().map(|own| own.endpoint.clone()).collect();
        let (mut rejected, mut single) = (Vec::new(), Vec::new());
        let mut services: BTreeSet<ServiceName> = discovery
            .rejected
            .iter()
            .filter(|own| must_not_stay(&own.reason))
            .map(|own| ServiceName { namespace: own.namespace.clone(), name: own.service.clone() })
            .collect();
        let mut ordinary = BTreeMap::new();
        for store in &discovery.stores {
            let about = |reason| Rejected {
                namespace: store.namespace.clone(),
                service: store.service.clone(),
                reason,
            };
            let written = match endpoints_of(store, version, config) {
                Ok(written) => written,
                Err(error) => {
                    rejected.push(about(Reason::BadAddress(error.to_string())));
                    continue;
                }
            };
            let name = ServiceName { namespace: store.namespace.clone(), name: store.service.clone() };
            // Of one that has the address of another nothing is missing.
            services.insert(name.clone());
            match taken.add(store, written) {
                Ok(added) => {
                    if store.endpoint_type == EndpointType::Regular && !added.is_empty() {
                        ordinary.insert(name, added.iter().map(|endpoint| endpoint.file.clone()).collect());
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
        if types_in_file {
            endpoints = endpoints.into_iter().map(typed).collect();
        }
        let document = Document::new(endpoints)?;
        let flags = flags(&document, delivery);
        Ok(Self { document, flags, rejected, single, services, ordinary })
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

/// Whether strict and group endpoints of `query` are in the file of a Thanos of `version`, too.
pub fn has_types_in_file(query: &ThanosQuery, version: ThanosVersion) -> bool {
    query.spec.service_discovery.mode == DiscoveryMode::FileAll
        && version.supports(Feature::EndpointSdConfigFile)
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
pub fn flags(document: &Document, delivery: Delivery) -> Vec<Flag> {
    let flag = |endpoint: &Endpoint| {
        let address = match delivery {
            Delivery::Flags => endpoint.flag.as_ref().unwrap_or(&endpoint.file),
            Delivery::Agent { .. } | Delivery::Kubelet if endpoint.in_file().typed => return None,
            Delivery::Agent { .. } | Delivery::Kubelet => endpoint.flag.as_ref()?,
        };
        Some(Flag { endpoint_type: endpoint.endpoint_type, address: address.clone() })
    };
    let mut flags: Vec<Flag> = document.endpoints().iter().filter_map(flag).collect();
    flags.sort();
    flags.dedup();
    flags
}

/// `endpoint` with its type in the file.
fn typed(endpoint: Endpoint) -> Endpoint {
    let in_file = InFile { typed: endpoint.flag.is_some(), ..endpoint.in_file().clone() };
    endpoint.saying(in_file)
}

fn endpoints_of(
    store: &Store,
    version: ThanosVersion,
    config: &Config,
) -> Result<Vec<Endpoint>, AddressError> {
    let Store { namespace, service, endpoint_type, reach, addresses: _ } = store;
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

/// Why only one of the addresses of `store` can be reached: what reaches them all.
fn single_address(store: &Store, version: ThanosVersion) -> Option<&'static str> {
    let Store { namespace: _, service: _, endpoint_type, reach, addresses } = store;
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

    fn headless(hostnames: &[&str]) -> Reach {
        let hostnames = hostnames.iter().map(|&name| name.to_owned()).collect();
        Reach::Headless { port_name: "grpc".into(), pod_port: 10901, hostnames }
    }

    fn store(service: &str, endpoint_type: EndpointType, reach: Reach) -> Store {
        Store { namespace: "ns".into(), service: service.into(), endpoint_type, reach, addresses: 2 }
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
        let (config, delivery) = (Config::of_tests(), Delivery::Agent { api: true });
        let written_for = WrittenFor { version, delivery, types_in_file: false, config: &config };
        Endpoints::of(&discovery, &[], written_for).expect("a document")
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
