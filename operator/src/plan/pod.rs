//! The pod template that queriers and query frontends have in common: what the user says about it, and what becomes
//! of it where it clashes with ours. Nothing clashes silently: it is left out, and a problem names the field.

use crds::names::pod;
use k8s_openapi::{
    api::core::v1::{
        Affinity, ConfigMapVolumeSource, Container, ContainerPort, EnvVar, Lifecycle, LifecycleHandler,
        PodAffinityTerm, PodAntiAffinity, PodDNSConfig, PodDNSConfigOption, PodSecurityContext, PodSpec,
        PodTemplateSpec, SeccompProfile, SecretVolumeSource, SleepAction, Volume, VolumeMount,
        WeightedPodAffinityTerm,
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
};
use sd_agent::payload::sha256_hex;

use super::{Workload, agent::mount};

/// What one workload puts into its pods.
#[derive(Debug)]
pub struct Pod {
    /// The container of Thanos.
    pub thanos: Container,
    /// Sidecars that start before it and end after it.
    pub sidecars: Vec<Container>,
    /// Volumes of both.
    pub volumes: Vec<Volume>,
    /// Annotations of the pod, for its own files.
    pub annotations: Vec<(String, String)>,
    /// How long Thanos may take to finish its queries.
    pub drain_seconds: i64,
    /// Whether the cluster knows how to sleep before a container is stopped.
    pub has_sleep: bool,
}

/// Keeps serving this long after the pod is marked as going, so that clients have left before the port closes.
const LEAVE_SECONDS: i64 = 10;
/// Of the whole time that a pod may take to end, what is neither leaving nor draining.
const SLACK_SECONDS: i64 = 10;
/// Longest name of a volume.
const LONGEST_NAME: usize = 63;

// === impl Pod ===

impl Pod {
    /// The template of `workload`; what of its wishes is left out is told in `problems`.
    pub fn template(self, workload: &Workload<'_>, problems: &mut Vec<String>) -> PodTemplateSpec {
        let Self { mut thanos, sidecars, mut volumes, annotations: own, drain_seconds, has_sleep } = self;
        let common = workload.common;
        let mut additions = Additions { section: workload.layer.field(), problems };

        let mut mounts = thanos.volume_mounts.take().unwrap_or_default();
        mount_files(workload, &mut volumes, &mut mounts, &mut additions);
        additions.add("additionalVolumes", &mut volumes, common.additional_volumes.as_ref(), |all, one| {
            all.iter().any(|own| own.name == one.name).then(|| format!("a volume named {:?}", one.name))
        });
        let missing = |one: &VolumeMount| {
            let is_there = volumes.iter().any(|volume| volume.name == one.name);
            (!is_there).then(|| format!("no volume is named {:?}; add it to additionalVolumes", one.name))
        };
        let given =
            additions.only("additionalVolumeMounts", common.additional_volume_mounts.as_ref(), missing);
        additions.add("additionalVolumeMounts", &mut mounts, Some(&given), |all, one| {
            let path = |mount: &VolumeMount| mount.mount_path.trim_end_matches('/').to_owned();
            all.iter().any(|own| path(own) == path(one)).then(|| format!("a mount at {}", one.mount_path))
        });
        thanos.volume_mounts = (!mounts.is_empty()).then_some(mounts);

        let mut ports = thanos.ports.take().unwrap_or_default();
        additions.add("additionalPorts", &mut ports, common.additional_ports.as_ref(), port_clash);
        thanos.ports = Some(ports);
        thanos.env = environment(thanos.env.take(), common.additional_env.as_ref());

        let grace =
            common.termination_grace_period_seconds.unwrap_or(LEAVE_SECONDS + drain_seconds + SLACK_SECONDS);
        thanos.lifecycle = leave(grace).filter(|_| has_sleep);

        // The user's run first: a sidecar may need what they set up.
        let mut containers = vec![thanos];
        let mut init: Vec<Container> = Vec::new();
        let taken: Vec<String> = containers.iter().chain(&sidecars).map(|own| own.name.clone()).collect();
        let clash = |all: &[Container], one: &Container| {
            let is_taken = taken.contains(&one.name) || all.iter().any(|own| own.name == one.name);
            is_taken.then(|| format!("a container named {:?}", one.name))
        };
        additions.add("initContainers", &mut init, common.init_containers.as_ref(), clash);
        let taken: Vec<String> =
            taken.iter().cloned().chain(init.iter().map(|own| own.name.clone())).collect();
        additions.add("additionalContainers", &mut containers, common.additional_containers.as_ref(), {
            |all, one| {
                let is_taken = taken.contains(&one.name) || all.iter().any(|own| own.name == one.name);
                is_taken.then(|| format!("a container named {:?}", one.name))
            }
        });
        init.extend(sidecars);

        let spec = PodSpec {
            service_account_name: Some(workload.name().to_owned()),
            automount_service_account_token: Some(false),
            init_containers: (!init.is_empty()).then_some(init),
            containers,
            volumes: (!volumes.is_empty()).then_some(volumes),
            image_pull_secrets: common.image_pull_secrets.clone(),
            node_selector: common.node_selector.clone(),
            affinity: Some(common.affinity.clone().unwrap_or_else(|| apart(workload))),
            tolerations: common.tolerations.clone(),
            topology_spread_constraints: common.topology_spread_constraints.clone(),
            security_context: Some(restricted(common.security_context.clone().unwrap_or_default())),
            priority_class_name: common.priority_class_name.clone(),
            termination_grace_period_seconds: Some(grace),
            host_aliases: common.host_aliases.clone(),
            dns_config: Some(dns(common.dns_config.clone().unwrap_or_default())),
            ..PodSpec::default()
        };
        let mut annotations = common.pod_annotations.clone().unwrap_or_default();
        annotations.extend(own);
        let annotations = Some(annotations).filter(|annotations| !annotations.is_empty());
        PodTemplateSpec {
            metadata: Some(ObjectMeta {
                labels: Some(workload.pod_labels()),
                annotations,
                ..ObjectMeta::default()
            }),
            spec: Some(spec),
        }
    }
}

/// Adds what the user lists to what is there.
struct Additions<'a> {
    section: &'static str,
    problems: &'a mut Vec<String>,
}

// === impl Additions ===

impl Additions<'_> {
    /// Adds each of `given` to `all`, but for those that `clash` with something there.
    fn add<T: Clone>(
        &mut self,
        field: &str,
        all: &mut Vec<T>,
        given: Option<&Vec<T>>,
        clash: impl Fn(&[T], &T) -> Option<String>,
    ) {
        for (index, one) in given.into_iter().flatten().enumerate() {
            match clash(all, one) {
                Some(what) => {
                    self.tell(field, index, &format!("there is {what} already; choose another one"))
                }
                None => all.push(one.clone()),
            }
        }
    }

    /// Those of `given` with which nothing is wrong.
    fn only<T: Clone>(
        &mut self,
        field: &str,
        given: Option<&Vec<T>>,
        wrong: impl Fn(&T) -> Option<String>,
    ) -> Vec<T> {
        let mut good = Vec::new();
        for (index, one) in given.into_iter().flatten().enumerate() {
            match wrong(one) {
                Some(problem) => self.tell(field, index, &problem),
                None => good.push(one.clone()),
            }
        }
        good
    }

    fn tell(&mut self, field: &str, index: usize, problem: &str) {
        self.problems.push(format!("{}.{field}[{index}]: {problem}; it is left out", self.section));
    }
}

fn port_clash(all: &[ContainerPort], one: &ContainerPort) -> Option<String> {
    let protocol = |port: &ContainerPort| port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
    all.iter().find_map(|own| {
        if own.container_port == one.container_port && protocol(own) == protocol(one) {
            Some(format!("port {}/{}", one.container_port, protocol(one)))
        } else {
            one.name
                .as_ref()
                .filter(|name| own.name.as_ref() == Some(name))
                .map(|name| format!("a port named {name:?}"))
        }
    })
}

/// One variable a name; of two with the same name the later counts, as Kubernetes has it.
fn environment(ours: Option<Vec<EnvVar>>, given: Option<&Vec<EnvVar>>) -> Option<Vec<EnvVar>> {
    let mut all: Vec<EnvVar> = Vec::new();
    for one in ours.into_iter().flatten().chain(given.into_iter().flatten().cloned()) {
        all.retain(|own| own.name != one.name);
        all.push(one);
    }
    (!all.is_empty()).then_some(all)
}

/// The volumes and mounts of `configMaps` and `secrets`.
fn mount_files(
    workload: &Workload<'_>,
    volumes: &mut Vec<Volume>,
    mounts: &mut Vec<VolumeMount>,
    additions: &mut Additions<'_>,
) {
    let common = workload.common;
    let empty = |name: &String| name.is_empty().then(|| "an empty name".to_owned());
    let mut add = |volume: Volume, path: String| {
        if !volumes.iter().any(|own| own.name == volume.name) {
            mounts.push(mount(&volume.name, &path, true));
            volumes.push(volume);
        }
    };
    for name in additions.only("configMaps", common.config_maps.as_ref(), empty) {
        let source = ConfigMapVolumeSource { name: name.clone(), ..ConfigMapVolumeSource::default() };
        let volume = volume_name("configmap-", &name);
        let volume = Volume { name: volume, config_map: Some(source), ..Volume::default() };
        add(volume, format!("{}/{name}", pod::CONFIG_MAPS_FOLDER));
    }
    for name in additions.only("secrets", common.secrets.as_ref(), empty) {
        let source = SecretVolumeSource { secret_name: Some(name.clone()), ..SecretVolumeSource::default() };
        let volume = volume_name("secret-", &name);
        let volume = Volume { name: volume, secret: Some(source), ..Volume::default() };
        add(volume, format!("{}/{name}", pod::SECRETS_FOLDER));
    }
}

// As upstream's, because additional containers may mount them by name; but never too long.
fn volume_name(prefix: &str, name: &str) -> String {
    const HASH: usize = 16;
    let whole = format!("{prefix}{}", name.replace(['.', '_'], "-"));
    if whole.len() <= LONGEST_NAME {
        return whole;
    }
    let kept: String = whole.chars().take(LONGEST_NAME - HASH - 1).collect();
    format!("{kept}-{}", &sha256_hex(name.as_bytes())[..HASH])
}

// Kubernetes refuses a sleep that is not shorter than the whole time.
fn leave(grace: i64) -> Option<Lifecycle> {
    let seconds = LEAVE_SECONDS.min(grace - 1);
    let sleep = LifecycleHandler { sleep: Some(SleepAction { seconds }), ..LifecycleHandler::default() };
    (seconds > 0).then(|| Lifecycle { pre_stop: Some(sleep), ..Lifecycle::default() })
}

/// Pods of one kind prefer to be on different nodes.
fn apart(workload: &Workload<'_>) -> Affinity {
    let term = PodAffinityTerm {
        label_selector: Some(LabelSelector {
            match_labels: Some(workload.selector()),
            ..LabelSelector::default()
        }),
        topology_key: "kubernetes.io/hostname".to_owned(),
        ..PodAffinityTerm::default()
    };
    Affinity {
        pod_anti_affinity: Some(PodAntiAffinity {
            preferred_during_scheduling_ignored_during_execution: Some(vec![WeightedPodAffinityTerm {
                pod_affinity_term: term,
                weight: 100,
            }]),
            ..PodAntiAffinity::default()
        }),
        ..Affinity::default()
    }
}

/// What the user says, and where nothing is said, what Pod Security "restricted" asks for.
fn restricted(given: PodSecurityContext) -> PodSecurityContext {
    let default = SeccompProfile { type_: "RuntimeDefault".to_owned(), ..SeccompProfile::default() };
    PodSecurityContext {
        run_as_non_root: given.run_as_non_root.or(Some(true)),
        seccomp_profile: given.seccomp_profile.clone().or(Some(default)),
        ..given
    }
}

/// Names are written in full: look them up as they stand before the search list is tried.
fn dns(mut given: PodDNSConfig) -> PodDNSConfig {
    const NDOTS: &str = "ndots";
    let options = given.options.get_or_insert_default();
    if !options.iter().any(|option| option.name.as_deref() == Some(NDOTS)) {
        options.push(PodDNSConfigOption { name: Some(NDOTS.to_owned()), value: Some("2".to_owned()) });
    }
    given
}

#[cfg(test)]
mod tests {
    use crds::ThanosQuery;

    use super::*;
    use crate::plan::Names;

    fn made(spec: &str) -> (PodTemplateSpec, Vec<String>) {
        let yaml = format!(
            "{{apiVersion: monitoring.thanos.io/v1alpha1, kind: ThanosQuery, metadata: {{name: global, namespace: demo}}, spec: {{{spec}}}}}"
        );
        let query: ThanosQuery = serde_saphyr::from_str(&yaml).expect("a ThanosQuery");
        let names = Names::of(&query).expect("valid");
        let thanos = Container {
            name: pod::QUERY_CONTAINER.to_owned(),
            ports: Some(vec![ContainerPort {
                name: Some("http".to_owned()),
                container_port: 9090,
                ..ContainerPort::default()
            }]),
            volume_mounts: Some(vec![mount("sd", "/sd", true)]),
            ..Container::default()
        };
        let sidecar = Container { name: pod::AGENT_CONTAINER.to_owned(), ..Container::default() };
        let volumes = vec![Volume { name: "sd".to_owned(), ..Volume::default() }];
        let pod = Pod {
            thanos,
            sidecars: vec![sidecar],
            volumes,
            annotations: vec![],
            drain_seconds: 240,
            has_sleep: true,
        };
        let mut problems = Vec::new();
        let template = pod.template(&Workload::queriers(&query, &names), &mut problems);
        (template, problems)
    }

    fn spec(template: PodTemplateSpec) -> PodSpec {
        template.spec.expect("a pod")
    }

    #[test]
    fn what_clashes_with_ours_is_left_out_and_named() {
        let (template, problems) = made(
            "additionalVolumes: [{name: sd}, {name: mine}], additionalVolumeMounts: [{name: mine, mountPath: /sd/}, {name: nowhere, mountPath: /x}, {name: mine, mountPath: /y}], \
             additionalPorts: [{containerPort: 9090}, {containerPort: 1, name: http}, {containerPort: 2}], \
             additionalContainers: [{name: thanos-query}, {name: a}, {name: a}], initContainers: [{name: sd-agent}, {name: b}]",
        );
        let pod = spec(template);
        let names =
            |containers: &[Container]| containers.iter().map(|own| own.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&pod.containers), ["thanos-query", "a"]);
        assert_eq!(names(&pod.init_containers.expect("init")), ["b", "sd-agent"]);
        assert_eq!(pod.volumes.expect("volumes").len(), 2);
        let thanos = &pod.containers[0];
        assert_eq!(thanos.ports.as_ref().expect("ports").len(), 2);
        assert_eq!(thanos.volume_mounts.as_ref().expect("mounts")[1].mount_path, "/y");
        assert_eq!(problems.len(), 8, "{problems:#?}");
        assert!(
            problems[0].starts_with("spec.additionalVolumes[0]: there is a volume named \"sd\""),
            "{problems:#?}"
        );
    }

    #[test]
    fn config_maps_and_secrets_are_mounted_under_upstreams_names_which_are_never_too_long() {
        let long = "x".repeat(80);
        let (template, problems) = made(&format!("configMaps: [a.b, a.b], secrets: [s_1, {long}]"));
        assert!(problems.is_empty(), "{problems:?}");
        let pod = spec(template);
        let volumes: Vec<String> = pod.volumes.expect("volumes").into_iter().map(|own| own.name).collect();
        assert_eq!(volumes[1..3], ["configmap-a-b", "secret-s-1"]);
        assert_eq!(volumes[3].len(), 63);
        let mounts = pod.containers[0].volume_mounts.clone().expect("mounts");
        assert_eq!(mounts[1].mount_path, "/etc/thanos/configmaps/a.b");
        assert_eq!(mounts[3].mount_path, format!("/etc/thanos/secrets/{long}"));
        assert_eq!(mounts[2].read_only, Some(true));
    }

    #[test]
    fn the_default_anti_affinity_selects_the_pods_and_gives_way_to_the_users() {
        let (template, _) = made("");
        let labels = template.metadata.clone().expect("metadata").labels.expect("labels");
        let affinity = spec(template).affinity.expect("affinity").pod_anti_affinity.expect("anti-affinity");
        let term = &affinity.preferred_during_scheduling_ignored_during_execution.expect("a term")[0];
        let wanted =
            term.pod_affinity_term.label_selector.clone().expect("selector").match_labels.expect("labels");
        assert!(wanted.iter().all(|(label, value)| labels.get(label) == Some(value)));
        let (template, _) = made("affinity: {nodeAffinity: {}}");
        assert_eq!(spec(template).affinity.expect("affinity").pod_anti_affinity, None);
    }

    #[test]
    fn a_short_grace_period_shortens_the_time_to_leave() {
        let sleep = |spec_text: &str| {
            let pod = spec(made(spec_text).0);
            let lifecycle = pod.containers[0].lifecycle.clone();
            let seconds = lifecycle.and_then(|own| own.pre_stop?.sleep).map(|sleep| sleep.seconds);
            (pod.termination_grace_period_seconds, seconds)
        };
        assert_eq!(sleep(""), (Some(260), Some(10)));
        assert_eq!(sleep("terminationGracePeriodSeconds: 600"), (Some(600), Some(10)));
        assert_eq!(sleep("terminationGracePeriodSeconds: 5"), (Some(5), Some(4)));
        assert_eq!(sleep("terminationGracePeriodSeconds: 0"), (Some(0), None));
    }

    #[test]
    fn security_and_dns_settings_are_completed_not_replaced() {
        let pod = spec(made("securityContext: {runAsUser: 7, runAsNonRoot: false}, dnsConfig: {searches: [a], options: [{name: timeout, value: '1'}]}").0);
        let security = pod.security_context.expect("security");
        assert_eq!((security.run_as_user, security.run_as_non_root), (Some(7), Some(false)));
        assert_eq!(security.seccomp_profile.expect("seccomp").type_, "RuntimeDefault");
        let dns = pod.dns_config.expect("dns");
        assert_eq!(dns.searches.as_deref(), Some(&["a".to_owned()][..]));
        assert_eq!(dns.options.expect("options").len(), 2);
        let own = spec(made("dnsConfig: {options: [{name: ndots, value: '5'}]}").0).dns_config.expect("dns");
        assert_eq!(own.options.expect("options")[0].value.as_deref(), Some("5"));
    }

    #[test]
    fn of_two_variables_of_one_name_the_later_counts() {
        let pod = spec(
            made("additionalEnv: [{name: A, value: '1'}, {name: B, value: '2'}, {name: A, value: '3'}]").0,
        );
        let env = pod.containers[0].env.clone().expect("env");
        let text: Vec<String> =
            env.iter().map(|own| format!("{}={}", own.name, own.value.clone().unwrap_or_default())).collect();
        assert_eq!(text, ["B=2", "A=3"]);
    }

    #[test]
    fn labels_and_annotations_for_pods_reach_pods_only() {
        let (template, _) = made(
            "podLabels: {a: '1', operator.thanos.io/owner: forged}, podAnnotations: {b: '2'}, annotations: {c: '3'}",
        );
        let metadata = template.metadata.expect("metadata");
        let labels = metadata.labels.expect("labels");
        assert_eq!((labels["a"].as_str(), labels["operator.thanos.io/owner"].as_str()), ("1", "global"));
        assert_eq!(metadata.annotations, Some([("b".to_owned(), "2".to_owned())].into()));
    }
}
