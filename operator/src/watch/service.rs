//! A Service as discovery sees it: parsed at the door, only the fields that count.
//!
//! A typed `Service` costs about 10 kB of memory; this costs some hundred bytes. What cannot be read at the door
//! is kept as such ([`StorePort::Missing`]), so that the reason can be told later.

use std::collections::BTreeMap;

use crds::names::{annotations, labels, pod};
use k8s_openapi::{
    api::core::v1::{Service, ServicePort},
    apimachinery::pkg::{apis::meta::v1::OwnerReference, util::intstr::IntOrString},
};
use sd_agent::EndpointType;

use super::{Consent, Family, index::Row};

/// A Service with the two labels that mark a StoreAPI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreApiService {
    /// Where it lives.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// All its labels; selectors may ask for any.
    pub labels: BTreeMap<String, String>,
    /// How it is reached.
    pub form: ServiceForm,
    /// The port that serves the StoreAPI.
    pub port: StorePort,
    /// What Thanos shall do with it, by its type labels.
    pub endpoint_type: EndpointType,
    /// Type labels that are set besides the one that wins.
    pub overruled: Vec<&'static str>,
    /// Kinds and names of the objects that it belongs to.
    pub owners: Vec<Owner>,
    /// The labels of its pods, when it chooses them itself.
    pub pods: BTreeMap<String, String>,
    /// Who may use it from other namespaces.
    pub consent: Consent,
    /// The address family that comes first, when it has one.
    pub family: Option<Family>,
    /// Whether pods count that are not ready.
    pub takes_unready: bool,
    /// The TLS profile that it asks for.
    pub tls: Option<Box<str>>,
    /// How gRPC shall balance it, as it is written there.
    pub service_config: Option<Box<str>>,
    /// Whether it is being deleted.
    pub deleting: bool,
}

/// An object that a Service belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// How a Service is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceForm {
    /// By one virtual address, which translates ports.
    ClusterIp,
    /// By the addresses of its pods, with the pods' ports.
    Headless,
    /// By a name outside the cluster.
    ExternalName(String),
}

/// The port that serves the StoreAPI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorePort {
    /// Found.
    Found {
        /// Its name, which is also its SRV record.
        name: String,
        /// The Service's port.
        number: u16,
        /// The pods' port, when it is a number.
        target: Option<u16>,
    },
    /// There is no TCP port of that name.
    Missing {
        /// The name that was looked for.
        wanted: String,
        /// The TCP ports there are.
        found: Vec<String>,
    },
}

// === impl StoreApiService ===

impl From<Service> for StoreApiService {
    fn from(service: Service) -> Self {
        let metadata = service.metadata;
        let spec = service.spec.unwrap_or_default();
        let labels = metadata.labels.unwrap_or_default();
        let (endpoint_type, overruled) = endpoint_type(&labels);
        let annotations = metadata.annotations.unwrap_or_default();
        let wanted = annotations.get(annotations::PORT).map_or(pod::GRPC_PORT_NAME, String::as_str);
        let form = match spec.type_.as_deref() {
            Some("ExternalName") => ServiceForm::ExternalName(spec.external_name.unwrap_or_default()),
            _ if spec.cluster_ip.as_deref() == Some("None") => ServiceForm::Headless,
            _ => ServiceForm::ClusterIp,
        };
        Self {
            namespace: metadata.namespace.unwrap_or_default(),
            name: metadata.name.unwrap_or_default(),
            form,
            port: StorePort::find(wanted, &spec.ports.unwrap_or_default()),
            endpoint_type,
            overruled,
            owners: metadata.owner_references.unwrap_or_default().into_iter().map(Owner::from).collect(),
            pods: spec.selector.unwrap_or_default(),
            consent: Consent::of(&annotations),
            family: spec.ip_families.iter().flatten().find_map(|family| Family::of(family)),
            takes_unready: spec.publish_not_ready_addresses.unwrap_or_default(),
            tls: annotations.get(annotations::TLS).map(|name| name.trim().into()),
            service_config: annotations.get(annotations::SERVICE_CONFIG).map(|text| text.trim().into()),
            deleting: metadata.deletion_timestamp.is_some(),
            labels,
        }
    }
}

impl Row for StoreApiService {
    fn namespace(&self) -> &str {
        &self.namespace
    }

    fn name(&self) -> &str {
        &self.name
    }
}

// === impl Owner ===

impl From<OwnerReference> for Owner {
    fn from(owner: OwnerReference) -> Self {
        Self { kind: owner.kind, name: owner.name }
    }
}

// === impl StorePort ===

impl StorePort {
    fn find(wanted: &str, ports: &[ServicePort]) -> Self {
        let tcp =
            || ports.iter().filter(|port| port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP"));
        let chosen = tcp().find_map(|port| {
            let name = port.name.clone().filter(|name| name == wanted)?;
            let number = u16::try_from(port.port).ok()?;
            let target = match &port.target_port {
                None => Some(number),
                Some(IntOrString::Int(number)) => u16::try_from(*number).ok(),
                Some(IntOrString::String(_)) => None,
            };
            Some(Self::Found { name, number, target })
        });
        chosen.unwrap_or_else(|| Self::Missing {
            wanted: wanted.to_owned(),
            found: tcp().map(|port| port.name.clone().unwrap_or_else(|| port.port.to_string())).collect(),
        })
    }
}

/// The type by label, strict > group-strict > group > regular, and the labels that lost.
fn endpoint_type(all: &BTreeMap<String, String>) -> (EndpointType, Vec<&'static str>) {
    let mut present = [
        (labels::ENDPOINT_STRICT, EndpointType::Strict),
        (labels::ENDPOINT_GROUP_STRICT, EndpointType::GroupStrict),
        (labels::ENDPOINT_GROUP, EndpointType::Group),
    ]
    .into_iter()
    .filter(|(label, _)| all.get(*label).is_some_and(|value| value != labels::FALSE));
    let winner = present.next().map_or(EndpointType::Regular, |(_, endpoint_type)| endpoint_type);
    (winner, present.map(|(label, _)| label).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(yaml: &str) -> StoreApiService {
        serde_saphyr::from_str::<Service>(yaml).expect("a Service").into()
    }

    #[test]
    fn a_cluster_ip_service_has_its_own_port_and_the_pods() {
        let service = parsed(
            "{metadata: {name: a, namespace: n}, spec: {clusterIP: 10.0.0.1, ports: [{name: grpc, port: 80, targetPort: 10901}]}}",
        );
        assert_eq!(service.form, ServiceForm::ClusterIp);
        assert_eq!(service.port, StorePort::Found { name: "grpc".into(), number: 80, target: Some(10901) });
    }

    #[test]
    fn the_port_annotation_names_another_port() {
        let service = parsed(
            "{metadata: {name: a, annotations: {operator.thanos.io/port: store}}, spec: {clusterIP: None, ports: [{name: grpc, port: 1}, {name: store, port: 2, targetPort: x}]}}",
        );
        assert_eq!(service.form, ServiceForm::Headless);
        assert_eq!(service.port, StorePort::Found { name: "store".into(), number: 2, target: None });
    }

    #[test]
    fn a_udp_port_is_no_store_port_and_the_others_are_named() {
        let service = parsed(
            "{metadata: {name: a}, spec: {ports: [{name: grpc, port: 1, protocol: UDP}, {name: web, port: 2}, {port: 3}]}}",
        );
        assert_eq!(
            service.port,
            StorePort::Missing { wanted: "grpc".into(), found: vec!["web".into(), "3".into()] }
        );
    }

    #[test]
    fn strict_wins_over_group_and_false_counts_as_absent() {
        let with = |labels: &str| {
            let service = parsed(&format!("{{metadata: {{name: a, labels: {{{labels}}}}}}}"));
            (service.endpoint_type, service.overruled.len())
        };
        let (strict, group) = ("operator.thanos.io/endpoint-strict", "operator.thanos.io/endpoint-group");
        assert_eq!(with(""), (EndpointType::Regular, 0));
        assert_eq!(with(&format!("{strict}: ''")), (EndpointType::Strict, 0));
        assert_eq!(with(&format!("{strict}: 'false'")), (EndpointType::Regular, 0));
        assert_eq!(with(&format!("{group}: 'true', {strict}: 'true'")), (EndpointType::Strict, 1));
        assert_eq!(with(&format!("{group}-strict: 'true'")), (EndpointType::GroupStrict, 0));
    }
}
