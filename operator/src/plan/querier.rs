//! The querier's container: ports and probes follow the addresses that Thanos really listens on, and what it wants of
//! whoever asks there.

use crds::names::pod;
use k8s_openapi::{
    api::core::v1::{
        Container, ContainerPort, GRPCAction, HTTPGetAction, Probe, TCPSocketAction, VolumeMount,
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use sd_agent::{Feature, ThanosVersion};

use super::{
    Delivery, Image, Workload, agent,
    listen::{HttpAccess, Listen},
};

/// Up to 0.39 Thanos answers ready at once but has its stores only after its first tick, at 5 s.
const FIRST_STORES_SECONDS: i32 = 12;

/// The container.
pub fn container(
    workload: &Workload<'_>,
    image: &Image,
    delivery: Delivery,
    args: &[String],
    listen: &Listen,
    more_mounts: &[VolumeMount],
) -> Container {
    let file = (delivery != Delivery::Flags).then(|| agent::mount(pod::FILE_VOLUME, pod::FILE_FOLDER, true));
    let mounts: Vec<VolumeMount> = file.into_iter().chain(more_mounts.iter().cloned()).collect();
    let mut ports = Vec::new();
    ports.extend(listen.grpc.map(|address| container_port(pod::GRPC_PORT_NAME, address.port)));
    ports.push(container_port(pod::HTTP_PORT_NAME, listen.http.port));
    let probes = Probes::of(listen);
    Container {
        name: pod::QUERY_CONTAINER.to_owned(),
        args: Some(args.to_vec()),
        ports: Some(ports),
        startup_probe: probes.probe(READY, |probe| {
            probe.period_seconds = Some(1);
            probe.failure_threshold = Some(120);
        }),
        readiness_probe: probes.probe(READY, |probe| {
            probe.initial_delay_seconds = ready_delay(image.version);
            probe.period_seconds = Some(2);
            probe.failure_threshold = Some(10);
        }),
        liveness_probe: probes.probe(HEALTHY, |probe| {
            probe.period_seconds = Some(30);
            probe.failure_threshold = Some(4);
        }),
        volume_mounts: (!mounts.is_empty()).then_some(mounts),
        ..thanos_container(workload, image)
    }
}

/// Where Thanos says whether it is ready; at the root whatever the route prefix is.
pub const READY: &str = "/-/ready";
/// Where Thanos says whether it is alive.
pub const HEALTHY: &str = "/-/healthy";
/// Where Thanos tells its metrics; at the root, too.
pub const METRICS: &str = "/metrics";

/// What the containers of both workloads have in common.
pub fn thanos_container(workload: &Workload<'_>, image: &Image) -> Container {
    let mut security = agent::restricted(None);
    // The pod says these two, so that what the user says of the pod counts here.
    (security.run_as_non_root, security.seccomp_profile) = (None, None);
    Container {
        image: Some(image.reference.clone()),
        image_pull_policy: Some(workload.common.image_pull_policy.as_str().to_owned()),
        resources: workload.common.resource_requirements.clone(),
        security_context: Some(security),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        ..Container::default()
    }
}

/// A port of a container.
pub fn container_port(name: &str, number: u16) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: i32::from(number),
        ..ContainerPort::default()
    }
}

/// How the kubelet can ask: it comes from outside, so an address that only the pod itself reaches is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probes {
    /// Over HTTP.
    Http,
    /// Over HTTPS; the kubelet checks no certificate, and has none of its own.
    Https,
    /// By gRPC's own health service, which follows the same state. The kubelet speaks it without TLS only.
    Grpc(u16),
    /// Whether the port of this name is open. From 0.40 that of gRPC opens when Thanos is ready.
    Tcp(&'static str),
    /// Not at all.
    None,
}

// === impl Probes ===

impl Probes {
    /// For a Thanos that listens so.
    pub fn of(listen: &Listen) -> Self {
        let grpc = listen.grpc.filter(|grpc| !grpc.loopback);
        match (listen.http_access, grpc) {
            (HttpAccess::Plain, _) if !listen.http.loopback => Self::Http,
            (HttpAccess::Tls, _) if !listen.http.loopback => Self::Https,
            (_, Some(grpc)) if !listen.grpc_tls => Self::Grpc(grpc.port),
            (_, Some(_)) => Self::Tcp(pod::GRPC_PORT_NAME),
            (_, None) if !listen.http.loopback => Self::Tcp(pod::HTTP_PORT_NAME),
            (_, None) => Self::None,
        }
    }

    /// A probe of this path.
    pub fn probe(self, path: &str, set: impl FnOnce(&mut Probe)) -> Option<Probe> {
        let mut probe = Probe { timeout_seconds: Some(1), ..Probe::default() };
        match self {
            Self::Http | Self::Https => {
                probe.http_get = Some(HTTPGetAction {
                    path: Some(path.to_owned()),
                    port: IntOrString::String(pod::HTTP_PORT_NAME.to_owned()),
                    scheme: (self == Self::Https).then(|| "HTTPS".to_owned()),
                    ..HTTPGetAction::default()
                });
            }
            Self::Tcp(port) => {
                probe.tcp_socket = Some(TCPSocketAction {
                    port: IntOrString::String(port.to_owned()),
                    ..TCPSocketAction::default()
                });
            }
            Self::Grpc(port) => {
                probe.grpc = Some(GRPCAction { port: i32::from(port), ..GRPCAction::default() });
            }
            Self::None => return None,
        }
        set(&mut probe);
        Some(probe)
    }
}

fn ready_delay(version: ThanosVersion) -> Option<i32> {
    (!version.supports(Feature::ReadyAfterDiscovery)).then_some(FIRST_STORES_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kubelet_asks_in_the_best_way_that_it_can() {
        let probes = |args: &[&str]| {
            Probes::of(&Listen::of(&args.iter().map(|&arg| arg.to_owned()).collect::<Vec<_>>()))
        };
        let (tls, clients) = (
            "--http.config=/etc/thanos/http-tls/tls.yaml",
            "--http.config=/etc/thanos/http-tls/client-tls.yaml",
        );
        let (own, local) = ("--http.config=/mine.yaml", "--http-address=127.0.0.1:9090");
        let (grpc_tls, grpc_local) = ("--grpc-server-tls-cert=/a", "--grpc-address=127.0.0.1:1");
        for (args, expected) in [
            (&["query"][..], Probes::Http),
            (&["query", grpc_tls], Probes::Http),
            (&["query", tls, grpc_tls], Probes::Https),
            (&["query", clients], Probes::Grpc(10901)),
            (&["query", own], Probes::Grpc(10901)),
            (&["query", local], Probes::Grpc(10901)),
            (&["query", own, grpc_tls], Probes::Tcp("grpc")),
            (&["query", local, grpc_tls], Probes::Tcp("grpc")),
            (&["query", own, grpc_local], Probes::Tcp("http")),
            (&["query", local, grpc_local], Probes::None),
            (&["query-frontend", tls], Probes::Https),
            (&["query-frontend", clients], Probes::Tcp("http")),
            (&["query-frontend", own], Probes::Tcp("http")),
        ] {
            assert_eq!(probes(args), expected, "{args:?}");
        }
    }
}
