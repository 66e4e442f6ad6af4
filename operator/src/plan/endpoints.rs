//! What each store becomes for a Thanos release: an entry of the document and, for strict and group, a flag.
//!
//! The table is design section 5; the facts behind it are reference "How `thanos query` discovers endpoints",
//! sections 4 and 8.

use std::collections::{BTreeMap, BTreeSet};

use sd_agent::{
    Address, Document, Endpoint, EndpointType, Feature, ThanosVersion, address::AddressError,
    document::DocumentError,
};

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
    /// Every Service that is in the document, of whatever type.
    pub services: BTreeSet<ServiceName>,
    /// What is written in the document for each Service with ordinary endpoints.
    pub ordinary: BTreeMap<ServiceName, Vec<Address>>,
}

/// An endpoint as a flag of Thanos.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flag {
    /// Which flag.
    pub endpoint_type: EndpointType,
    /// Its value.
    pub address: Address,
}

// === impl Endpoints ===

impl Endpoints {
    /// Writes the stores of `discovery` for `version`.
    ///
    /// # Errors
    /// When they make no valid document; duplicates and flag forms are settled here, so that would be a bug.
    pub fn of(
        discovery: &Discovery,
        version: ThanosVersion,
        config: &Config,
        delivery: Delivery,
    ) -> Result<Self, DocumentError> {
        let mut taken: BTreeMap<Address, &Store> = BTreeMap::new();
        let mut endpoints: Vec<Endpoint> = Vec::new();
        let mut rejected = Vec::new();
        let mut services = BTreeSet::new();
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
            if let Some((address, used)) =
                written.iter().find_map(|endpoint| taken.get_key_value(&endpoint.file))
            {
                let (address, used) = (address.to_string(), format!("{}/{}", used.namespace, used.service));
                rejected.push(about(Reason::Duplicate { address, used }));
                continue;
            }
            taken.extend(written.iter().map(|endpoint| (endpoint.file.clone(), store)));
            let name = ServiceName { namespace: store.namespace.clone(), name: store.service.clone() };
            if store.endpoint_type == EndpointType::Regular {
                let addresses = written.iter().map(|endpoint| endpoint.file.clone()).collect();
                ordinary.insert(name.clone(), addresses);
            }
            services.insert(name);
            endpoints.extend(written);
        }
        let document = Document::new(endpoints)?;
        let flags = flags(&document, delivery);
        Ok(Self { document, flags, rejected, services, ordinary })
    }

    /// Number of endpoints of `endpoint_type`.
    pub fn count(&self, endpoint_type: EndpointType) -> usize {
        self.document.endpoints().iter().filter(|endpoint| endpoint.endpoint_type == endpoint_type).count()
    }
}

/// What the pods get as flags, sorted.
pub fn flags(document: &Document, delivery: Delivery) -> Vec<Flag> {
    let flag = |endpoint: &Endpoint| {
        let address = match delivery {
            Delivery::Flags => endpoint.flag.as_ref().unwrap_or(&endpoint.file),
            Delivery::Agent { .. } | Delivery::Kubelet => endpoint.flag.as_ref()?,
        };
        Some(Flag { endpoint_type: endpoint.endpoint_type, address: address.clone() })
    };
    let mut flags: Vec<Flag> = document.endpoints().iter().filter_map(flag).collect();
    flags.sort();
    flags.dedup();
    flags
}

fn endpoints_of(
    store: &Store,
    version: ThanosVersion,
    config: &Config,
) -> Result<Vec<Endpoint>, AddressError> {
    let Store { namespace, service, endpoint_type, reach } = store;
    let host = match reach {
        Reach::External { host, .. } => host.clone(),
        Reach::ClusterIp { .. } | Reach::Headless { .. } => {
            format!("{service}.{namespace}.svc.{}", config.cluster_domain)
        }
    };
    let file = match reach {
        Reach::ClusterIp { port } | Reach::External { port, .. } => Address::plain(&host, *port)?,
        Reach::Headless { port_name, .. } => Address::dnssrv(port_name, &host)?,
    };
    let (Reach::ClusterIp { port } | Reach::External { port, .. } | Reach::Headless { pod_port: port, .. }) =
        reach;
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
                Reach::ClusterIp { .. } | Reach::External { .. } => Address::dns(&host, *port)?,
            };
            Endpoint::flagged(*endpoint_type, file, flag)
        }
    };
    Ok(vec![endpoint])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config {
            agent_image: "sd-agent:test".into(),
            cluster_domain: "cluster.local".into(),
            default_rollouts: Default::default(),
        }
    }

    fn headless(hostnames: &[&str]) -> Reach {
        let hostnames = hostnames.iter().map(|&name| name.to_owned()).collect();
        Reach::Headless { port_name: "grpc".into(), pod_port: 10901, hostnames }
    }

    fn store(service: &str, endpoint_type: EndpointType, reach: Reach) -> Store {
        Store { namespace: "ns".into(), service: service.into(), endpoint_type, reach }
    }

    /// The file form and the flag form of one store, as text.
    fn forms(version: &str, endpoint_type: EndpointType, reach: Reach) -> Vec<(String, String)> {
        let discovery = Discovery { stores: vec![store("s", endpoint_type, reach)], ..Discovery::default() };
        let version = version.parse().expect("a version");
        let endpoints =
            Endpoints::of(&discovery, version, &config(), Delivery::Agent { api: true }).expect("a document");
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
        let discovery = Discovery {
            stores: vec![
                store("a", EndpointType::Regular, external()),
                store("b", EndpointType::Strict, external()),
            ],
            ..Discovery::default()
        };
        let endpoints =
            Endpoints::of(&discovery, ThanosVersion::Unknown, &config(), Delivery::Agent { api: true })
                .expect("a document");
        assert_eq!(endpoints.document.endpoints().len(), 1);
        assert_eq!(endpoints.rejected[0].service, "b");
        assert!(endpoints.rejected[0].reason.message().contains("ns/a"));
    }

    #[test]
    fn an_address_that_thanos_would_misread_rejects_only_its_service() {
        let bad = Reach::External { host: "bad host,--x".into(), port: 443 };
        let discovery = Discovery {
            stores: vec![
                store("a", EndpointType::Regular, bad),
                store("b", EndpointType::Regular, Reach::ClusterIp { port: 1 }),
            ],
            ..Discovery::default()
        };
        let endpoints =
            Endpoints::of(&discovery, ThanosVersion::Unknown, &config(), Delivery::Agent { api: true })
                .expect("a document");
        assert_eq!(endpoints.document.endpoints().len(), 1);
        assert_eq!(endpoints.rejected[0].reason.word(), "BadAddress");
    }
}
