//! The Services: headless for the queriers, because gRPC clients balance themselves; one with an address of its own for
//! clients that do not; one for the frontend.

use crds::{
    common_fields::ServiceType,
    names::{labels, pod},
};
use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{Workload, listen::Listen};

/// The queriers' headless Service. Its ports are the pods', since nothing translates them.
pub fn headless(workload: &Workload<'_>, listen: &Listen, problems: &mut Vec<String>) -> Service {
    let mut service = service(workload, workload.name(), listen, problems);
    if let Some(spec) = &mut service.spec {
        spec.cluster_ip = Some("None".to_owned());
    }
    // With a type the annotations are for the Service that has it.
    if options(workload).is_some_and(|options| options.type_.is_none()) {
        annotate(workload, &mut service);
    }
    service
}

/// The queriers' Service with one address. It is no endpoint of anybody: the headless one is.
pub fn balanced(workload: &Workload<'_>, listen: &Listen) -> Service {
    let mut service = service(workload, &workload.names.balanced, listen, &mut Vec::new());
    let type_ = options(workload).and_then(|options| options.type_);
    set_type(&mut service, type_);
    if type_.is_some() {
        annotate(workload, &mut service);
    }
    if let Some(all) = &mut service.metadata.labels {
        labels::ENDPOINT_LABELS.iter().for_each(|label| drop(all.remove(*label)));
        // Another name than the headless one has: what scrapes that by its labels meets each pod once.
        all.insert(labels::NAME.to_owned(), labels::QUERY_BALANCED.to_owned());
        all.insert(labels::INSTANCE.to_owned(), workload.names.balanced.clone());
    }
    service
}

/// The frontend's Service.
pub fn frontend(workload: &Workload<'_>, listen: &Listen, problems: &mut Vec<String>) -> Service {
    let mut service = service(workload, workload.name(), listen, problems);
    set_type(&mut service, options(workload).and_then(|options| options.type_));
    annotate(workload, &mut service);
    service
}

fn options<'a>(workload: &Workload<'a>) -> Option<&'a crds::common_fields::ServiceOptions> {
    workload.common.service.as_ref()
}

fn set_type(service: &mut Service, type_: Option<ServiceType>) {
    if let Some(spec) = &mut service.spec {
        spec.type_ = Some(type_.unwrap_or(ServiceType::ClusterIp).as_str().to_owned());
    }
}

fn annotate(workload: &Workload<'_>, service: &mut Service) {
    let given = options(workload).and_then(|options| options.annotations.clone()).unwrap_or_default();
    if !given.is_empty() {
        service.metadata.annotations.get_or_insert_default().extend(given);
    }
}

fn service(workload: &Workload<'_>, name: &str, listen: &Listen, problems: &mut Vec<String>) -> Service {
    let port = |name: &str, number: u16| ServicePort {
        name: Some(name.to_owned()),
        port: i32::from(number),
        target_port: Some(IntOrString::String(name.to_owned())),
        protocol: Some("TCP".to_owned()),
        ..ServicePort::default()
    };
    let mut ports = Vec::new();
    ports.extend(listen.grpc.map(|address| port(pod::GRPC_PORT_NAME, address.port)));
    ports.push(port(pod::HTTP_PORT_NAME, listen.http.port));
    for (index, one) in workload.common.additional_service_ports.iter().flatten().enumerate() {
        match clash(&ports, one) {
            None => ports.push(one.clone()),
            Some(what) => problems.push(format!(
                "{}.additionalServicePorts[{index}]: {what}; it is left out",
                workload.layer.field()
            )),
        }
    }
    Service {
        metadata: workload.object_meta(name),
        spec: Some(ServiceSpec {
            selector: Some(workload.selector()),
            ports: Some(ports),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

fn clash(all: &[ServicePort], one: &ServicePort) -> Option<String> {
    let protocol = |port: &ServicePort| port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
    let Some(name) = &one.name else {
        return Some("it has no name, which a Service with several ports needs; give it one".to_owned());
    };
    all.iter().find_map(|own| {
        if own.name.as_ref() == Some(name) {
            Some(format!("there is a port named {name:?} already; choose another name"))
        } else if own.port == one.port && protocol(own) == protocol(one) {
            Some(format!("there is port {}/{} already; choose another number", one.port, protocol(one)))
        } else {
            None
        }
    })
}
