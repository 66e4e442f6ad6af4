//! The Deployment of the queriers and its pod template.

use crds::{ThanosQuery, names::pod};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{
            Container, ContainerPort, HTTPGetAction, Lifecycle, LifecycleHandler, PodDNSConfig,
            PodDNSConfigOption, PodSecurityContext, PodSpec, PodTemplateSpec, Probe, SeccompProfile,
            SleepAction,
        },
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use sd_agent::{Feature, ThanosVersion};

use super::{Delivery, Flag, Image, Names, agent, meta, thanos_args::ThanosArgs};

/// Keeps serving this long after the pod is marked as going, so that clients have left before the port closes.
const LEAVE_SECONDS: i64 = 10;
// `--http-grace-period` and `--grpc-grace-period` are 2 minutes each and run one after the other.
const TERMINATION_SECONDS: i64 = LEAVE_SECONDS + 2 * 120 + 10;
/// Up to 0.39 Thanos answers ready at once but has its stores only after its first tick, at 5 s.
const FIRST_STORES_SECONDS: i32 = 12;

/// The Deployment.
pub fn deployment(
    query: &ThanosQuery,
    names: &Names,
    image: &Image,
    delivery: Delivery,
    agent: &agent::Agent<'_>,
    args: &ThanosArgs,
    flags: &[Flag],
) -> Deployment {
    let agents = match delivery {
        Delivery::Agent { api } => Some(vec![agent.container(api, flags)]),
        Delivery::Kubelet | Delivery::Flags => None,
    };
    let volumes = agent.volumes(delivery);
    let pod = PodSpec {
        service_account_name: Some(names.querier.clone()),
        automount_service_account_token: Some(false),
        init_containers: agents,
        containers: vec![querier(query, image, delivery, args)],
        volumes: (!volumes.is_empty()).then_some(volumes),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                ..SeccompProfile::default()
            }),
            ..PodSecurityContext::default()
        }),
        termination_grace_period_seconds: Some(TERMINATION_SECONDS),
        // Names are written in full: look them up as they stand before the search list is tried.
        dns_config: Some(PodDNSConfig {
            options: Some(vec![PodDNSConfigOption {
                name: Some("ndots".to_owned()),
                value: Some("2".to_owned()),
            }]),
            ..PodDNSConfig::default()
        }),
        ..PodSpec::default()
    };
    Deployment {
        metadata: meta::object_meta(query, names, &names.querier),
        spec: Some(DeploymentSpec {
            replicas: Some(query.spec.replicas),
            selector: LabelSelector { match_labels: Some(meta::selector(names)), ..LabelSelector::default() },
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_unavailable: Some(IntOrString::Int(0)),
                    max_surge: Some(IntOrString::Int(1)),
                }),
            }),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(meta::all_labels(query, names)),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod),
            },
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}

fn querier(query: &ThanosQuery, image: &Image, delivery: Delivery, args: &ThanosArgs) -> Container {
    let port = |name: &str, number: u16| ContainerPort {
        name: Some(name.to_owned()),
        container_port: i32::from(number),
        ..ContainerPort::default()
    };
    let has_file = delivery != Delivery::Flags;
    Container {
        name: pod::QUERY_CONTAINER.to_owned(),
        image: Some(image.reference.clone()),
        image_pull_policy: Some(query.spec.common.image_pull_policy.as_str().to_owned()),
        args: Some(args.args.clone()),
        ports: Some(vec![
            port(pod::GRPC_PORT_NAME, pod::GRPC_PORT),
            port(pod::HTTP_PORT_NAME, pod::HTTP_PORT),
        ]),
        startup_probe: Some(Probe {
            period_seconds: Some(1),
            failure_threshold: Some(120),
            ..probe("/-/ready")
        }),
        readiness_probe: Some(Probe {
            initial_delay_seconds: ready_delay(image.version),
            period_seconds: Some(2),
            failure_threshold: Some(10),
            ..probe("/-/ready")
        }),
        liveness_probe: Some(Probe {
            period_seconds: Some(30),
            failure_threshold: Some(4),
            ..probe("/-/healthy")
        }),
        lifecycle: Some(Lifecycle {
            pre_stop: Some(LifecycleHandler {
                sleep: Some(SleepAction { seconds: LEAVE_SECONDS }),
                ..LifecycleHandler::default()
            }),
            ..Lifecycle::default()
        }),
        resources: query.spec.common.resource_requirements.clone(),
        security_context: Some(agent::restricted(None)),
        volume_mounts: has_file.then(|| vec![agent::mount(pod::FILE_VOLUME, pod::FILE_FOLDER, true)]),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        ..Container::default()
    }
}

fn ready_delay(version: ThanosVersion) -> Option<i32> {
    (!version.supports(Feature::ReadyAfterDiscovery)).then_some(FIRST_STORES_SECONDS)
}

fn probe(path: &str) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(pod::HTTP_PORT_NAME.to_owned()),
            ..HTTPGetAction::default()
        }),
        timeout_seconds: Some(1),
        ..Probe::default()
    }
}
