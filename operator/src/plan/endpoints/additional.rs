//! `spec.serviceDiscovery.additionalEndpoints`: what no Service stands for, checked and written for a Thanos release.

use crds::{
    ThanosQuery,
    service_discovery::{AdditionalEndpoint, AdditionalEndpointType},
};
use sd_agent::{Address, Endpoint, EndpointType, Feature, ThanosVersion, address::Lookup};

use super::said::{Said, saying};
use crate::plan::{Delivery, Names, connections::Connection, service_config::service_config};

/// An endpoint of the spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Additional {
    index: usize,
    /// As the document has it.
    pub endpoint: Endpoint,
}

/// The endpoints that can be written as `said`, and of all others what is wrong with them: field, reason, remedy.
pub fn additional_endpoints(
    query: &ThanosQuery,
    names: &Names,
    said: &Said<'_>,
    cluster_domain: &str,
) -> (Vec<Additional>, Vec<String>) {
    let mut additional: Vec<Additional> = Vec::new();
    let mut problems = Vec::new();
    for (index, given) in query.spec.service_discovery.additional_endpoints.iter().enumerate() {
        let connected = endpoint(given, names, said.version, cluster_domain).and_then(|endpoint| {
            let config = given.service_config.as_deref().map(service_config).transpose();
            let config = config.unwrap_or_else(|problem| {
                problems.push(format!(
                    "{}.serviceConfig: {problem}; the group is balanced as without it",
                    field(index)
                ));
                None
            });
            connected(given, endpoint, said, config.as_deref())
        });
        match connected {
            Ok(endpoint) => match additional.iter().find(|own| own.is_about(&endpoint.file)) {
                Some(first) => {
                    problems.push(format!("{}: is the same as {}; remove one", field(index), first.field()));
                }
                None => additional.push(Additional { index, endpoint }),
            },
            Err(problem) => problems.push(format!("{}: {problem}", field(index))),
        }
    }
    (additional, problems)
}

fn field(index: usize) -> String {
    format!("spec.serviceDiscovery.additionalEndpoints[{index}]")
}

fn endpoint(
    given: &AdditionalEndpoint,
    names: &Names,
    version: ThanosVersion,
    cluster_domain: &str,
) -> Result<Endpoint, String> {
    let AdditionalEndpoint { address, endpoint_type, tls: _, service_config: _ } = given;
    let address: Address = address.parse().map_err(|error| format!("{error}"))?;
    if is_own(&address, names, cluster_domain) {
        return Err(format!("{address} is this ThanosQuery itself, which must not query itself; remove it"));
    }
    if address.lookup() == Lookup::DnsDualStack && !version.supports(Feature::DualStackLookup) {
        return Err(format!("{address}: dnsdualstack+ needs Thanos v0.42, and {version} runs; use dns+"));
    }
    let flag = |endpoint_type, flag: Address| Endpoint::flagged(endpoint_type, address.clone(), flag);
    match (endpoint_type, address.lookup()) {
        (AdditionalEndpointType::Regular, _) => Ok(Endpoint::regular(address)),
        (AdditionalEndpointType::Strict, Lookup::None) => Ok(flag(EndpointType::Strict, address.clone())),
        (AdditionalEndpointType::Strict, _) => {
            Err(format!("{address}: a strict endpoint has no prefix; write it like host:10901"))
        }
        (AdditionalEndpointType::Group, _) => {
            let balanced = version.supports(Feature::BalancedGroup);
            Ok(flag(EndpointType::Group, group(&address, balanced, version)?))
        }
        (AdditionalEndpointType::GroupStrict, lookup) => {
            let balanced = version.supports(Feature::BalancedStrictGroup);
            if version.supports(Feature::EndpointSdConfigFile) && lookup != Lookup::None {
                return Err(format!(
                    "{address}: {version} takes no prefix for a strict group; write it like host:10901"
                ));
            }
            Ok(flag(EndpointType::GroupStrict, group(&address, balanced, version)?))
        }
    }
}

/// `endpoint`, as it is connected to.
fn connected(
    given: &AdditionalEndpoint,
    endpoint: Endpoint,
    said: &Said<'_>,
    service_config: Option<&str>,
) -> Result<Endpoint, String> {
    let connections = said.connections;
    let connection = match &given.tls {
        None => connections.by_default(),
        Some(tls) if tls.disabled => Connection::Plaintext,
        Some(_) => connections.of_address(&given.address).unwrap_or(Connection::Plaintext),
    };
    let is_group = endpoint.endpoint_type.is_group();
    // The authority of a group is its address with the prefix, which no certificate has.
    let name = is_group.then(|| endpoint.file.target().to_owned());
    let connection = connection.expecting(|| name);
    let is_own = given.tls.is_some();
    let is_of_file = said.version.supports(Feature::EndpointTls) && said.delivery != Delivery::Flags;
    if matches!(connection, Connection::Tls(_))
        && endpoint.file.is_looked_up()
        && !is_group
        && (is_own || is_of_file)
    {
        return Err(format!(
            "{}: Thanos gives no TLS settings to what it looks up by itself; write the address without a prefix, or make \
             it type Group, or set its tls to {{disabled: true}}",
            endpoint.file
        ));
    }
    Ok(saying(endpoint, &connection, service_config))
}

/// As the flag of a group: where Thanos does not look it up, gRPC does.
fn group(address: &Address, balanced: bool, version: ThanosVersion) -> Result<Address, String> {
    match (address.lookup(), address.port()) {
        _ if balanced => Ok(address.clone()),
        (Lookup::None, _) => Ok(address.clone()),
        (Lookup::Dns | Lookup::DnsDualStack, Some(port)) => {
            Address::plain(address.target(), port).map_err(|error| error.to_string())
        }
        _ => Err(format!(
            "{address}: {version} cannot look up the SRV records of such a group; write it like host:10901"
        )),
    }
}

fn is_own(address: &Address, names: &Names, cluster_domain: &str) -> bool {
    let Names { namespace, querier, balanced, .. } = names;
    [querier, balanced].into_iter().any(|service| {
        let short = format!("{service}.{namespace}");
        let target = address.target();
        [short.clone(), format!("{short}.svc"), format!("{short}.svc.{cluster_domain}")]
            .iter()
            .any(|own| own == target)
            || target == service
    })
}

// === impl Additional ===

impl Additional {
    /// The field that says it.
    pub fn field(&self) -> String {
        field(self.index)
    }

    /// Whether `address` is about the same, perhaps in another spelling.
    pub fn is_about(&self, address: &Address) -> bool {
        self.endpoint.file.covers(address) || address.covers(&self.endpoint.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Connections;

    fn of(entries: &str, version: &str) -> (Vec<String>, Vec<String>) {
        let yaml = format!(
            "{{apiVersion: monitoring.thanos.io/v1alpha1, kind: ThanosQuery, metadata: {{name: global, namespace: demo}}, \
             spec: {{serviceDiscovery: {{additionalEndpoints: [{entries}]}}}}}}"
        );
        let query: ThanosQuery = serde_saphyr::from_str(&yaml).expect("a ThanosQuery");
        let names = Names::of(&query).expect("valid");
        let connections = Connections::of(&query).expect("valid");
        let version = version.parse().expect("a version");
        let delivery = Delivery::Agent { api: true };
        let said = Said { connections: &connections, version, delivery, types_in_file: false };
        let (additional, problems) = additional_endpoints(&query, &names, &said, "cluster.local");
        let text = |own: &Additional| {
            let flag = own.endpoint.flag.as_ref().map(|flag| format!(" {flag}")).unwrap_or_default();
            format!("{}{flag}", own.endpoint.file)
        };
        (additional.iter().map(text).collect(), problems)
    }

    fn written(entry: &str, version: &str) -> String {
        let (written, problems) = of(entry, version);
        assert_eq!(problems, [""; 0]);
        written.concat()
    }

    fn problem(entry: &str, version: &str) -> String {
        let (written, problems) = of(entry, version);
        assert_eq!(written, [""; 0], "{entry}");
        problems.concat()
    }

    #[test]
    fn an_address_is_written_as_it_stands() {
        for address in [
            "thanos.example:10901",
            "dns+thanos.example:1",
            "dnssrv+_grpc._tcp.thanos.example",
            "[fd00::1]:1",
        ] {
            assert_eq!(written(&format!("{{address: '{address}'}}"), "v0.35.1"), address);
        }
    }

    #[test]
    fn a_group_gets_the_form_that_the_release_understands() {
        let group = "{address: 'dns+thanos.example:1', type: Group}";
        assert_eq!(written(group, "v0.42.4"), "dns+thanos.example:1 dns+thanos.example:1");
        assert_eq!(written(group, "v0.36.1"), "dns+thanos.example:1 thanos.example:1");
        let records = "{address: 'dnssrv+_grpc._tcp.thanos.example', type: Group}";
        assert!(problem(records, "v0.36.1").contains("write it like host:10901"));
        let strict = "{address: 'dns+thanos.example:1', type: GroupStrict}";
        assert!(problem(strict, "v0.42.4").contains("takes no prefix"));
        assert_eq!(written(strict, "v0.37.2"), "dns+thanos.example:1 dns+thanos.example:1");
    }

    #[test]
    fn what_thanos_cannot_use_is_told_with_field_and_remedy() {
        assert!(
            problem("{address: thanos.example}", "v0.42.4")
                .starts_with("spec.serviceDiscovery.additionalEndpoints[0]: ")
        );
        assert!(problem("{address: 'dns+thanos.example'}", "v0.42.4").contains("needs a port"));
        assert!(problem("{address: 'tls+thanos.example:1'}", "v0.42.4").contains("unknown prefix"));
        assert!(
            problem("{address: 'dnsdualstack+thanos.example:1'}", "v0.41.0").contains("needs Thanos v0.42")
        );
        assert!(
            problem("{address: 'dns+thanos.example:1', type: Strict}", "v0.42.4").contains("has no prefix")
        );
    }

    #[test]
    fn a_query_does_not_query_itself_whatever_it_is_called() {
        for host in [
            "thanos-query-global",
            "thanos-query-global.demo",
            "thanos-query-global-balanced.demo.svc.cluster.local",
        ] {
            let problem = problem(&format!("{{address: '{host}:10901'}}"), "v0.42.4");
            assert!(problem.contains("must not query itself"), "{problem}");
        }
        assert_eq!(
            written("{address: 'thanos-query-global.other:10901'}", "v0.42.4"),
            "thanos-query-global.other:10901"
        );
    }

    #[test]
    fn one_that_is_there_twice_counts_once_and_the_others_stay() {
        let (written, problems) = of("{address: 'a:1'}, {address: 'dns+a:1'}, {address: 'b:1'}", "v0.42.4");
        assert_eq!(written, ["a:1", "b:1"]);
        assert!(problems[0].contains("[1]: is the same as") && problems.len() == 1, "{problems:?}");
    }

    #[test]
    fn tls_of_its_own_is_refused_only_where_thanos_would_not_use_it() {
        let tls = |address: &str, more: &str| {
            format!("{{address: '{address}', {more}, tls: {{ca: {{name: ca}}}}}}")
        };
        for version in ["v0.37.2", "v0.42.4"] {
            let told = problem(&tls("dns+a:1", "type: Regular"), version);
            assert!(told.contains("make it type Group") && told.contains("{disabled: true}"), "{told}");
        }
        assert_eq!(written(&tls("dns+a:1", "type: Group"), "v0.42.4"), "dns+a:1 dns+a:1");
        assert_eq!(written(&tls("a:1", "type: Regular"), "v0.42.4"), "a:1");
        assert_eq!(written("{address: 'dns+a:1', tls: {disabled: true}}", "v0.42.4"), "dns+a:1");
    }

    #[test]
    fn a_service_config_that_grpc_could_not_read_is_told_with_its_field_and_costs_no_endpoint() {
        let group = |config: &str| format!("{{address: 'dns+a:1', type: Group, serviceConfig: '{config}'}}");
        assert_eq!(of(&group("{}"), "v0.42.4").1, [""; 0]);
        let (written, problems) = of(&group("{\"methodConfig\": 7}"), "v0.42.4");
        assert_eq!(written, ["dns+a:1 dns+a:1"]);
        assert!(
            problems[0]
                .starts_with("spec.serviceDiscovery.additionalEndpoints[0].serviceConfig: gRPC cannot read"),
            "{problems:?}"
        );
    }
}
