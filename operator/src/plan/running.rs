//! What runs now, as far as plans depend on it: the release of Thanos, who decides the number of pods, and where the
//! frontend sends its queries.

use crds::names::pod;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::PodSpec};

use super::{Replicas, image::running_version, thanos_args::tree_flags};
use crate::{rollout::is_rolled_out, watch::Autoscaled};

/// What runs of both workloads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Running {
    /// The queriers.
    pub querier: RunningWorkload,
    /// The query frontend.
    pub frontend: RunningWorkload,
}

/// What runs of one workload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunningWorkload {
    /// The release in the tag of its image.
    pub version: Option<String>,
    /// Where a frontend sends its queries.
    pub downstream_url: Option<String>,
    /// Who decides the number of pods; none before the first look.
    pub replicas: Option<Replicas>,
    /// The image of new pods.
    pub image: Option<String>,
    /// Whether new pods send parts of queries to shards.
    pub is_distributed: bool,
    /// Whether there may be pods to which the kubelet brings Thanos' own file.
    pub has_kubelets_file: bool,
}

const DOWNSTREAM: &str = "--query-frontend.downstream-url=";

// === impl Running ===

impl Running {
    /// The release of a frontend for which nothing is said: what runs stays. One that runs the same as the queriers
    /// follows them to `queriers`; so does a new one.
    pub fn frontend_version(&self, queriers: Option<String>) -> Option<String> {
        let runs = self.frontend.version.clone();
        let follows = runs.is_none() || runs == self.querier.version;
        if follows { queriers.or(runs) } else { runs }
    }
}

// === impl RunningWorkload ===

impl RunningWorkload {
    /// Looks at the Deployment whose container of Thanos is called `container`, while the ThanosQuery asks for `wanted`
    /// pods. `last_version` is what status remembers when there is no Deployment.
    pub fn of(
        live: Option<&Deployment>,
        container: &str,
        wanted: i32,
        autoscaled: &Autoscaled,
        last_version: Option<&str>,
    ) -> Self {
        let pods = live.and_then(|live| live.spec.as_ref()?.template.spec.as_ref());
        let thanos = pods.and_then(|pods| pods.containers.iter().find(|own| own.name == container));
        let args = thanos.and_then(|thanos| thanos.args.as_ref());
        let last = last_version.filter(|_| thanos.is_none()).map(str::to_owned);
        Self {
            version: thanos.and_then(|thanos| running_version(thanos.image.as_deref()?)).or(last),
            image: thanos.and_then(|thanos| thanos.image.clone()),
            is_distributed: args.is_some_and(|args| tree_flags::is_of_a_root(args)),
            downstream_url: args
                .and_then(|args| args.iter().find_map(|arg| arg.strip_prefix(DOWNSTREAM)))
                .map(str::to_owned),
            replicas: Some(Replicas::of(wanted, live, autoscaled)),
            has_kubelets_file: live.is_some_and(|live| !is_rolled_out(live)) || pods.is_some_and(mounts_file),
        }
    }

    /// The number of pods when `wanted` is asked for.
    pub fn replicas(&self, wanted: i32) -> Replicas {
        self.replicas.clone().unwrap_or_else(|| Replicas::of(wanted, None, &Autoscaled::None))
    }
}

// An agent's own folder is in memory.
fn mounts_file(pods: &PodSpec) -> bool {
    let mut volumes = pods.volumes.iter().flatten();
    volumes.any(|volume| volume.name == pod::FILE_VOLUME && volume.projected.is_some())
}
