//! Step 3, pure: every object that a ThanosQuery shall have.
//!
//! Ordinary endpoints reach the ConfigMap only, never the pod template; `template_tests` holds that.

mod access;
mod additional_args;
mod agent;
mod arg;
mod cache;
mod config_map;
mod connections;
mod deployment;
mod disruption_budget;
mod downstream;
mod drain;
mod duration;
mod endpoints;
mod error;
mod flaws;
mod frontend;
mod frontend_args;
mod frontend_plan;
mod go_number;
mod image;
mod inputs;
pub mod listen;
mod meta;
mod monitor;
mod pod;
mod querier;
mod query_args;
mod removal;
mod replicas;
mod running;
mod service;
mod service_config;
pub mod service_monitor;
mod serving;
mod summary;
mod tenancy;
mod thanos_args;
mod together;
mod tree;

use std::sync::Arc;

use crds::{
    ThanosQuery,
    service_discovery::{DiscoveryMode, Resolve},
};
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Service, ServiceAccount},
    policy::v1::PodDisruptionBudget,
    rbac::v1::{Role, RoleBinding},
};
use sd_agent::payload::sha256_hex;
use serde_json::json;

pub use config_map::{ConfigMaps, TooLarge, has_thanos_own_file, meta_of, payload_of, set_payload};
pub use connections::{Connections, TlsError};
pub use endpoints::{
    Arrivals, Endpoints, Flag, Need, Said, StrictPods, Unsupported, flag_of, has_types_in_file,
};
pub use error::PlanError;
pub use image::{Image, VersionError};
pub use meta::{Layer, NameError, Names, Workload};
pub use monitor::Monitor;
pub use removal::{HeldRemoval, Missing, Remembered, RememberedError, RemovalGuard};
pub use replicas::Replicas;
pub use running::{Running, RunningWorkload};
pub use summary::{Delivery, DocumentId, Summary, TreeSummary};
pub use thanos_args::{endpoint_flag, names_endpoint};
pub use tree::{Mode, Over, Pods, ShardSet, Standing, Tree, TreeError, root_of};

use config_map::Written;
use endpoints::{next_to_go, with_missing_pods};
use listen::HttpAccess;
use removal::{Guarded, guarded};

use crate::{
    cluster_version::ClusterVersion,
    config::Config,
    discovery::{Discovery, QueryServiceChoice, QueryServiceError},
};

/// What is known of what is there: the ConfigMap's generation must only grow, and what runs moves only when a user
/// says so.
#[derive(Clone, Debug, Default)]
pub struct Known<'a> {
    /// The ConfigMap as the API has it.
    pub config_map: Option<&'a ConfigMap>,
    /// ConfigMaps of earlier names.
    pub former_config_maps: &'a [ConfigMap],
    /// Generation in the status of the ThanosQuery; it outlives the ConfigMap.
    pub generation: Option<u64>,
    /// What the last plan left, of this process or of the one before.
    pub remembered: Option<&'a Remembered>,
    /// What runs.
    pub running: Running,
    /// The query Service that the frontend shall ask, when there is a frontend.
    pub query_service: Option<Result<QueryServiceChoice, QueryServiceError>>,
    /// Release of the cluster.
    pub cluster: ClusterVersion,
    /// The next step of a tree of queriers, and nothing for any other.
    pub tree: Tree,
}

/// Everything that shall exist. `apply` destructures it without `..`: a new field does not compile until it is
/// applied.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The names of all objects.
    pub names: Names,
    /// The endpoint document.
    pub config_maps: ConfigMaps,
    /// What the next plan shall know of this one; the ConfigMaps have it, too.
    pub remembered: Arc<Remembered>,
    /// The agent's right to read its ConfigMap.
    pub role: Option<Role>,
    /// Gives it to the pods.
    pub role_binding: Option<RoleBinding>,
    /// The queriers.
    pub queriers: WorkloadPlan,
    /// The queriers' Service with one address.
    pub balanced: Option<Service>,
    /// The query frontend.
    pub frontend: Option<WorkloadPlan>,
    /// Shards: which have to be there, which go, and whether pods wait for them.
    pub shards: Shards,
    /// What it was made from, for status.
    pub summary: Summary,
}

/// The shards of a tree.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shards {
    /// Those that have to be there.
    pub wanted: Vec<ThanosQuery>,
    /// The names of those that go.
    pub gone: Vec<String>,
    /// Why there shall be no pods before they are ready.
    pub hold_pods: Option<String>,
}

/// The objects that either workload has.
#[derive(Clone, Debug)]
pub struct WorkloadPlan {
    /// Identity of the pods; without any right but the agent's.
    pub service_account: ServiceAccount,
    /// How the pods are reached.
    pub service: Service,
    /// From two pods on.
    pub disruption_budget: Option<PodDisruptionBudget>,
    /// What is said about its ServiceMonitor.
    pub monitor: Monitor,
    /// The pods; none where it cannot be said what they shall be, and then those that run stay.
    pub deployment: Option<Deployment>,
}

const NO_SLEEP: &str = "has no pause before a container is stopped (Kubernetes has it from 1.30 on): a query that meets a \
                        pod which is just going may fail; upgrade the cluster";

const SLICES_AS_FLAGS: &str = "spec.serviceDiscovery.resolve: EndpointSlice has no effect in mode Flags, where every \
                               change of a pod would replace the queriers; names are used";

const FILE_ALL: &str = "spec.serviceDiscovery.mode: FileAll needs Thanos v0.38";
const FILE_ALL_OLD: &str =
    "strict and group endpoints are flags, as in mode File, until spec.version is newer";

/// The next step of the tree that `query` asks for, or has; see [`Tree`].
///
/// # Errors
/// See [`PlanError`].
pub fn tree(
    query: &ThanosQuery,
    names: &Names,
    running: &Running,
    standing: &Standing,
    now: Timestamp,
) -> Result<Tree, PlanError> {
    let workload = Workload::queriers(query, names);
    let image = Image::of(workload.common, running.querier.version.as_deref(), workload.layer.field())?;
    Ok(Tree::of(query, names, &image, standing, now)?)
}

/// Plans everything for `query`.
///
/// # Errors
/// See [`PlanError`].
pub fn plan(
    query: &ThanosQuery,
    discovery: &Discovery,
    known: &Known<'_>,
    config: &Config,
    now: Timestamp,
) -> Result<Plan, PlanError> {
    let names = Names::of(query)?;
    let workload = Workload::queriers(query, &names);
    let image = Image::of(workload.common, known.running.querier.version.as_deref(), workload.layer.field())?;
    let delivery = Delivery::of(query);
    if matches!(delivery, Delivery::Agent { .. }) && !known.cluster.has_native_sidecars() {
        return Err(PlanError::ClusterTooOld(known.cluster));
    }
    let tree = &known.tree;
    let types_in_file = has_types_in_file(query, image.version);
    // Stores may be reached over TLS. Shards are not: nobody else asks them, and they are in the file of every release.
    let (connections, are_shards) = match tree.over {
        Over::Stores => (Connections::of(query)?, false),
        Over::Shards(_) => (Connections::default(), true),
    };
    let said = Said {
        connections: &connections,
        version: image.version,
        delivery,
        types_in_file: types_in_file || are_shards,
    };
    let (additional, problems) = match tree.over {
        Over::Stores => endpoints::additional_endpoints(query, &names, &said, &config.cluster_domain),
        // The shards have them.
        Over::Shards(_) => Default::default(),
    };
    let mut told = Told { problems, ..Told::default() };
    let guard = RemovalGuard::of(query, &mut told.problems);
    let mut known = known.clone();
    // What was remembered is of something else: stores must not stay beside shards, nor the other way round.
    known.remembered = known.remembered.filter(|_| !known.tree.is_other);
    let (known, tree) = (&known, &known.tree);
    let remembered = known.remembered.filter(|own| Some(&own.owner) == query.metadata.uid.as_ref());
    let pods = remembered.map(|remembered| &remembered.pods);
    let (discovery, pods) = with_missing_pods(discovery, pods, now);
    if !types_in_file && query.spec.service_discovery.mode == DiscoveryMode::FileAll {
        told.unsupported.push(format!("{FILE_ALL}: Thanos {} runs; {FILE_ALL_OLD}", image.version));
    }
    let endpoints = match &tree.over {
        Over::Stores => Endpoints::of(&discovery, &additional, &said, config)?,
        Over::Shards(set) => Endpoints::of_shards(set, &names, config)?,
    };
    let written = Written { workload: &workload, said: &said, known, now };
    let Guarded { endpoints, config_maps, remembered } =
        guarded(&written, &guard, endpoints, &discovery.unknown, &pods)?;
    let document = config_maps.wanted.as_ref().and_then(DocumentId::of);
    let args = query_args::query_args(query, &said, &endpoints.flags, &tree.mode);
    let listen = listen::Listen::of(&args.args);
    let serving = serving::Serving::of_queriers(&query.spec);
    let scheme = serving.scheme(&args.args);
    told.problems.extend(args.refused);
    told.remarks.extend(args.remarks);
    told.flaws.extend(flaws::flaw(Layer::Querier, image.version));
    if delivery == Delivery::Flags && query.spec.service_discovery.resolve == Resolve::EndpointSlice {
        told.remarks.push(SLICES_AS_FLAGS.to_owned());
    }

    if delivery == Delivery::Flags && !endpoints.unsupported.is_empty() {
        told.problems.push(endpoints::flags_say_one_thing(&endpoints.unsupported));
    }
    told.remarks.extend(connections.remark(image.version, delivery));
    told.remarks.extend(service_config::mixed_up(&endpoints.document, image.version));

    if !known.cluster.has_sleep() {
        told.remarks.push(format!("this cluster ({}) {NO_SLEEP}", known.cluster));
    }

    told.remarks.extend(tree.remark(image.version));

    let prefix = listen::route_prefix(&args.args);
    let agent = agent::Agent {
        query,
        names: &names,
        config,
        version: image.version,
        tls_folders: connections.folders(),
        http: (listen.http_access == HttpAccess::Plain).then_some(listen.http),
        route_prefix: &prefix,
    };
    let sidecars = match delivery {
        Delivery::Agent { api } => vec![agent.container(api, &endpoints.flags)],
        Delivery::Kubelet | Delivery::Flags => vec![],
    };
    let files = serving.files();
    let mounts: Vec<_> = files.mounts.into_iter().chain(connections.mounts()).collect();
    let pod = pod::Pod {
        thanos: querier::container(&workload, &image, delivery, &args.args, &listen, &mounts),
        sidecars,
        volumes: agent
            .volumes(delivery)
            .into_iter()
            .chain(files.volumes)
            .chain(connections.volumes())
            .collect(),
        annotations: files.annotations,
        drain_seconds: drain::drain_seconds(&args.args, &[drain::HTTP_GRACE, drain::GRPC_GRACE]),
        has_sleep: known.cluster.has_sleep(),
    };
    // The spec says the mode, but not when the pods get it.
    let mode = query_args::mode_args(&tree.mode, image.version);
    let mut inputs = vec![image.reference.clone()];
    inputs.extend(connections.inputs(image.version, delivery));
    inputs.extend(mode.iter().map(ToString::to_string));
    let template = pod.template(&workload, &mut told.problems);
    let replicas = known.running.querier.replicas(query.spec.replicas);
    let queriers = WorkloadPlan {
        service_account: access::service_account(&workload),
        service: service::headless(&workload, &listen, &mut told.problems),
        disruption_budget: disruption_budget::disruption_budget(&workload, &replicas),
        monitor: monitor::monitor(&workload, scheme),
        deployment: Some(deployment::deployment(&workload, template, &replicas, &inputs)),
    };

    let frontend = query.spec.query_frontend.as_ref().and_then(|spec| {
        let asked =
            frontend_plan::Asked { names: &names, queriers: &listen, scheme, prefix: &prefix, image: &image };
        frontend_plan::frontend_plan(query, spec, &asked, known, config, &mut told)
    });
    if query.spec.query_frontend.is_none() {
        let around = tenancy::Surroundings { queriers: listen.http_access, frontend: None, asks_own: false };
        tenancy::tell(query.spec.tenancy.as_ref(), &around, &mut told.problems, &mut told.remarks);
    }
    let balanced = wants_balanced(query, known, frontend.is_some()).then(|| names.check_long());
    let balanced = match balanced {
        None => None,
        Some(Ok(())) => Some(service::balanced(&workload, &listen)),
        Some(Err(error)) => {
            told.problems.push(format!("spec.service.type: {error}"));
            None
        }
    };
    let has_role = delivery == Delivery::Agent { api: true };
    let overlap = endpoints::overlap(&query.spec.service_discovery.refresh_interval);
    let arrived = endpoints::next_to_end(&remembered.arrivals, overlap, now);
    let readable: Vec<String> = std::iter::once(names.config_map.clone())
        .chain(config_maps.former.iter().filter_map(|former| former.metadata.name.clone()))
        .collect();
    let selector = workload.selector();
    let selector: Vec<String> = selector.iter().map(|(label, value)| format!("{label}={value}")).collect();
    Ok(Plan {
        role: has_role.then(|| access::role(&workload, readable)),
        role_binding: has_role.then(|| access::role_binding(&workload)),
        queriers,
        balanced,
        frontend,
        shards: Shards {
            wanted: tree.shards.clone(),
            gone: tree.gone.clone(),
            hold_pods: tree.unready.clone().filter(|_| tree.holds_pods),
        },
        summary: Summary {
            endpoints,
            version: image.version,
            delivery,
            document,
            look_again: next_to_go(&remembered.pods, now).into_iter().chain(arrived).min(),
            held: remembered.held_removal(guard.hold_for),
            config_map: names.config_map.clone(),
            problems: told.problems,
            unsupported: told.unsupported,
            remarks: told.remarks,
            flaws: told.flaws,
            reads_thanos: listen.http_access == HttpAccess::Plain,
            query_service_problem: told.query_service,
            selector: selector.join(","),
            tree: TreeSummary::of(tree),
        },
        config_maps,
        remembered: Arc::new(remembered),
        names,
    })
}

/// What is told about a plan while it is made.
#[derive(Default)]
struct Told {
    problems: Vec<String>,
    unsupported: Vec<String>,
    remarks: Vec<String>,
    flaws: Vec<String>,
    query_service: Option<String>,
}

/// Whether somebody needs one address for the queriers.
fn wants_balanced(query: &ThanosQuery, known: &Known<'_>, has_frontend: bool) -> bool {
    let is_asked = has_frontend && !matches!(known.query_service, Some(Ok(QueryServiceChoice::Other { .. })));
    is_asked || query.spec.common.service.as_ref().is_some_and(|service| service.type_.is_some())
}

// === impl Known ===

impl Known<'_> {
    /// Whether pods from before `query` wanted flags may still read the ConfigMap. It goes when the last of them is
    /// replaced, and until then it is kept up to date: their rollout may be stuck.
    fn is_read_by_pods_of(&self, query: &ThanosQuery) -> bool {
        self.config_map.is_some_and(|config_map| {
            let is_ours = config_map.metadata.owner_references.iter().flatten().any(|owner| {
                owner.controller == Some(true) && Some(&owner.uid) == query.metadata.uid.as_ref()
            });
            is_ours && !has_thanos_own_file(config_map)
        })
    }
}

// === impl Plan ===

impl Plan {
    /// Hash of everything but the ConfigMaps: while it stays, only endpoints have changed.
    pub fn rest(&self) -> String {
        let Self {
            names: _,
            config_maps: _,
            remembered: _,
            summary: _,
            role,
            role_binding,
            queriers,
            balanced,
            frontend,
            shards: Shards { wanted, gone, hold_pods },
        } = self;
        let frontend = frontend.as_ref().map(WorkloadPlan::to_json);
        let shards = json!([wanted, gone, hold_pods]);
        let all = json!([role, role_binding, queriers.to_json(), balanced, frontend, shards]);
        sha256_hex(all.to_string().as_bytes())
    }

    /// Whether somebody asks for a ServiceMonitor.
    pub fn wants_service_monitor(&self) -> bool {
        let workloads = std::iter::once(&self.queriers).chain(&self.frontend);
        workloads.into_iter().any(|workload| matches!(workload.monitor, Monitor::Wanted(_)))
    }
}

// === impl WorkloadPlan ===

impl WorkloadPlan {
    fn to_json(&self) -> serde_json::Value {
        let Self { service_account, service, disruption_budget, monitor, deployment } = self;
        let monitor = match monitor {
            Monitor::Wanted(monitor) => json!(monitor),
            Monitor::Unwanted => json!(false),
            Monitor::Unsaid => json!(null),
        };
        json!([service_account, service, disruption_budget, monitor, deployment])
    }
}

#[cfg(test)]
mod template_tests;
#[cfg(test)]
mod tls_tests;
#[cfg(test)]
mod version_tests;
#[cfg(test)]
mod workload_tests;
