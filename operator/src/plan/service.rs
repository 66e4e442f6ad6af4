//! The headless Service of the queriers.

use crds::{ThanosQuery, names::pod};
use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{Names, meta};

/// The Service.
pub fn service(query: &ThanosQuery, names: &Names) -> Service {
    let port = |name: &str, number: u16| ServicePort {
        name: Some(name.to_owned()),
        port: i32::from(number),
        target_port: Some(IntOrString::String(name.to_owned())),
        protocol: Some("TCP".to_owned()),
        ..ServicePort::default()
    };
    Service {
        metadata: meta::object_meta(query, names, &names.querier),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            selector: Some(meta::selector(names)),
            ports: Some(vec![
                port(pod::GRPC_PORT_NAME, pod::GRPC_PORT),
                port(pod::HTTP_PORT_NAME, pod::HTTP_PORT),
            ]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}
