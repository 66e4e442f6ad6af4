//! The agent in the pod: a native sidecar that starts before Thanos and ends after it, and its volumes.

use std::collections::BTreeMap;

use crds::{ThanosQuery, names::pod, service_discovery::AgentSource};
use k8s_openapi::{
    api::core::v1::{
        Capabilities, ConfigMapProjection, Container, ContainerPort, DownwardAPIProjection,
        DownwardAPIVolumeFile, EmptyDirVolumeSource, HTTPGetAction, KeyToPath, ObjectFieldSelector, Probe,
        ResourceRequirements, SeccompProfile, SecurityContext, ServiceAccountTokenProjection, Volume,
        VolumeMount, VolumeProjection,
    },
    apimachinery::pkg::{api::resource::Quantity, util::intstr::IntOrString},
};
use sd_agent::ThanosVersion;

use super::{Delivery, Flag, Names, listen, querier::METRICS, serving::projected};
use crate::config::Config;

/// What the agent's container is made from.
pub struct Agent<'a> {
    /// The ThanosQuery.
    pub query: &'a ThanosQuery,
    /// Names of its objects.
    pub names: &'a Names,
    /// The operator's settings.
    pub config: &'a Config,
    /// Release the file is rendered for.
    pub version: ThanosVersion,
    /// Where its Thanos has the files to connect over TLS with.
    pub tls_folders: Vec<String>,
    /// Where its Thanos has metrics and its API; none where the agent, which speaks plain HTTP only, cannot ask.
    pub http: Option<listen::Address>,
    /// Before the paths of the API.
    pub route_prefix: &'a str,
}

// A document is at most 3 MiB; the folder holds the file, its successor, and the kept state (2 MiB) with its own.
// Together 10 MiB. It is larger only because a smaller one would make every pod anew.
const FILE_VOLUME_LIMIT: &str = "48Mi";
const TOKEN_SECONDS: i64 = 3600;

// === impl Agent ===

impl Agent<'_> {
    /// The container; it knows from its arguments what its Thanos has as flags.
    pub fn container(&self, api: bool, flags: &[Flag]) -> Container {
        let spec = &self.query.spec.service_discovery.agent;
        let mut args = vec![
            "run".to_owned(),
            format!("--config-map={}", self.names.config_map),
            format!("--mount={}", pod::SOURCE_FOLDER),
            format!("--output={}", pod::FILE),
            format!("--thanos-version={}", self.version),
            format!("--source={}", source(spec.source)),
            format!("--listen=0.0.0.0:{}", pod::AGENT_PORT),
        ];
        let metrics_url = |http: listen::Address| format!("http://127.0.0.1:{}{METRICS}", http.port);
        args.extend(self.http.map(|http| format!("--thanos-metrics-url={}", metrics_url(http))));
        args.extend(self.stores_url().map(|url| format!("--thanos-stores-url={url}")));
        args.extend(flags.iter().map(|flag| format!("--flagged={}", flag.address)));
        args.extend(self.tls_folders.iter().map(|folder| format!("--tls-folder={folder}")));
        let mut mounts = vec![
            mount(pod::SOURCE_VOLUME, pod::SOURCE_FOLDER, true),
            mount(pod::FILE_VOLUME, pod::FILE_FOLDER, false),
        ];
        if api {
            mounts.push(mount(pod::TOKEN_VOLUME, pod::TOKEN_FOLDER, true));
        }
        Container {
            name: pod::AGENT_CONTAINER.to_owned(),
            image: Some(spec.image.clone().unwrap_or_else(|| self.config.agent_image.clone())),
            image_pull_policy: Some(self.query.spec.common.image_pull_policy.as_str().to_owned()),
            restart_policy: Some("Always".to_owned()),
            args: Some(args),
            ports: Some(vec![ContainerPort {
                name: Some(pod::AGENT_PORT_NAME.to_owned()),
                container_port: i32::from(pod::AGENT_PORT),
                ..ContainerPort::default()
            }]),
            // Thanos starts when this has succeeded: the file is in place.
            startup_probe: Some(Probe {
                period_seconds: Some(1),
                failure_threshold: Some(300),
                ..probe("/startz")
            }),
            // No readiness probe: a sidecar counts for the pod, and an API that is away must not take queriers out.
            liveness_probe: Some(Probe {
                period_seconds: Some(20),
                failure_threshold: Some(3),
                ..probe("/livez")
            }),
            resources: Some(spec.resources.clone().unwrap_or_else(default_resources)),
            security_context: Some(restricted(Some(pod::AGENT_USER))),
            volume_mounts: Some(mounts),
            termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
            ..Container::default()
        }
    }

    // An agent that cannot read its arguments does not start, so what a user writes must not get there as it stands.
    fn stores_url(&self) -> Option<String> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "/-._~".contains(c);
        let (http, prefix) = (self.http?, self.route_prefix.trim_end_matches('/'));
        prefix.chars().all(is_plain).then(|| format!("http://127.0.0.1:{}{prefix}/api/v1/stores", http.port))
    }

    /// The agent's volumes, or the kubelet's file where there is no agent.
    pub fn volumes(&self, delivery: Delivery) -> Vec<Volume> {
        let config_map = |items, optional| VolumeProjection {
            config_map: Some(ConfigMapProjection {
                name: self.names.config_map.clone(),
                items,
                optional: Some(optional),
            }),
            ..VolumeProjection::default()
        };
        match delivery {
            Delivery::Flags => vec![],
            // Thanos from 0.38 does not start without its file, so here the kubelet shall wait for it.
            Delivery::Kubelet => {
                vec![projected(pod::FILE_VOLUME, vec![config_map(Some(vec![key(pod::FILE_NAME)]), false)])]
            }
            Delivery::Agent { api } => {
                // Projected, not configMap: a full node disk wipes the latter for good.
                let mut volumes = vec![
                    projected(pod::SOURCE_VOLUME, vec![config_map(None, true)]),
                    Volume {
                        name: pod::FILE_VOLUME.to_owned(),
                        empty_dir: Some(EmptyDirVolumeSource {
                            medium: Some("Memory".to_owned()),
                            size_limit: Some(Quantity(FILE_VOLUME_LIMIT.to_owned())),
                        }),
                        ..Volume::default()
                    },
                ];
                if api {
                    volumes.push(token());
                }
                volumes
            }
        }
    }
}

/// The strictest settings of Pod Security "restricted", with a read-only root.
pub fn restricted(user: Option<i64>) -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), ..Capabilities::default() }),
        read_only_root_filesystem: Some(true),
        run_as_non_root: Some(true),
        run_as_user: user,
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            ..SeccompProfile::default()
        }),
        ..SecurityContext::default()
    }
}

/// A mount of a whole volume.
pub fn mount(volume: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: volume.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    }
}

fn probe(path: &str) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(pod::AGENT_PORT_NAME.to_owned()),
            ..HTTPGetAction::default()
        }),
        ..Probe::default()
    }
}

fn source(source: AgentSource) -> &'static str {
    match source {
        AgentSource::Auto => "auto",
        AgentSource::Api => "api",
        AgentSource::Mount => "mount",
    }
}

fn default_resources() -> ResourceRequirements {
    let quantities = |pairs: &[(&str, &str)]| -> BTreeMap<String, Quantity> {
        pairs.iter().map(|&(name, value)| (name.to_owned(), Quantity(value.to_owned()))).collect()
    };
    ResourceRequirements {
        requests: Some(quantities(&[("cpu", "5m"), ("memory", "16Mi")])),
        limits: Some(quantities(&[("memory", "64Mi")])),
        ..ResourceRequirements::default()
    }
}

fn key(key: &str) -> KeyToPath {
    KeyToPath { key: key.to_owned(), path: key.to_owned(), mode: None }
}

// What an API client expects in this folder, for this container only.
fn token() -> Volume {
    let token = ServiceAccountTokenProjection {
        path: "token".to_owned(),
        expiration_seconds: Some(TOKEN_SECONDS),
        ..ServiceAccountTokenProjection::default()
    };
    let authority = ConfigMapProjection {
        name: "kube-root-ca.crt".to_owned(),
        items: Some(vec![key("ca.crt")]),
        ..ConfigMapProjection::default()
    };
    let namespace = DownwardAPIVolumeFile {
        path: "namespace".to_owned(),
        field_ref: Some(ObjectFieldSelector {
            field_path: "metadata.namespace".to_owned(),
            ..ObjectFieldSelector::default()
        }),
        ..DownwardAPIVolumeFile::default()
    };
    projected(
        pod::TOKEN_VOLUME,
        vec![
            VolumeProjection { service_account_token: Some(token), ..VolumeProjection::default() },
            VolumeProjection { config_map: Some(authority), ..VolumeProjection::default() },
            VolumeProjection {
                downward_api: Some(DownwardAPIProjection { items: Some(vec![namespace]) }),
                ..VolumeProjection::default()
            },
        ],
    )
}
