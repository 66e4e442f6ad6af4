//! A tree of queriers (`spec.distributed`): its shards, and what its root does meanwhile, one step at a time.
//!
//! ```text
//!  on:     stores ─(all shards ready)─► document over shards ─(every pod has it)─► pods send parts of queries
//!  other:  shards ─(all new ones ready)─► document over the new set, in one write ─(every pod has it)─► the old set goes
//!  off:    pods ask shards as stores ─(no other pod is left)─► document over stores ─(every pod has it)─► shards go
//! ```
//!
//! So no pod ever asks two sets at once, nor shards and stores, nor sends parts of queries to what is not split so.

mod complaints;
mod readiness;
mod set;
mod shard;
mod standing;

use std::time::Duration;

use crds::{
    ThanosQuery, distributed::Distributed, service_discovery::DiscoveryMode, thanos_query_status::ShardStatus,
};
use jiff::Timestamp;
use sd_agent::{Feature, ThanosVersion};

pub use set::ShardSet;
pub use standing::{Over, Pods, Standing, root_of};

use super::{Image, Names, duration::Nanos, meta::LONGEST_NAME, thanos_args::tree_flags};
use readiness::{Unready, unready};
use shard::{ShardImage, shard};

/// What has to be there now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tree {
    /// What the document names.
    pub over: Over,
    /// Whether what the document named until now was something else: then nothing of it may stay.
    pub is_other: bool,
    /// How the pods ask what the document names.
    pub mode: Mode,
    /// The shards that have to be there.
    pub shards: Vec<ThanosQuery>,
    /// The names of those that have to go.
    pub gone: Vec<String>,
    /// Whether there are no pods, and shall be none before the shards are ready.
    pub holds_pods: bool,
    /// What is waited for, or which shard is not ready.
    pub unready: Option<String>,
    /// Warnings of shards.
    pub complaints: Vec<String>,
    /// What status says of each.
    pub told: Vec<ShardStatus>,
    /// When it has to be looked at again, without any change.
    pub look_again: Option<Duration>,
}

/// How a pod asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It fetches series and works out the answer by itself.
    #[default]
    Local,
    /// It sends parts of the query to what is split by these labels.
    Distributed(Vec<String>),
}

/// `spec.distributed` asks for what cannot be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// Nobody would know when the pods have another document.
    #[error(
        "spec.distributed needs endpoints by file and the agent: set spec.serviceDiscovery.mode: File and \
         spec.serviceDiscovery.agent.enabled: true; nothing was changed"
    )]
    NeedsAgent,
    /// Queries drop this label.
    #[error(
        "spec.distributed.shardingLabels: {0} is among spec.replicaLabels, so both copies of a series could be in \
         different shards; use a label that copies have in common; nothing was changed"
    )]
    ReplicaLabel(String),
    /// A shard chooses by that flag itself.
    #[error(
        "spec.additionalArgs: {0} cannot be used with spec.distributed, whose shards choose their stores by this flag; \
         remove it, and leave stores out by spec.customStoreLabelSelector; nothing was changed"
    )]
    ChosenStores(String),
    /// Names of shards would be too long.
    #[error(
        "spec.distributed: a shard of {name:?} would be called {shard:?}, which is too long; use a name of at most \
         {longest} characters, or leave spec.distributed out; nothing was changed"
    )]
    LongName {
        /// Of the root.
        name: String,
        /// Of its last shard.
        shard: String,
        /// What the name may have.
        longest: usize,
    },
}

/// Longer than a pod goes on answering after Kubernetes has said that it has to end.
const LAST_ANSWERS: Duration = Duration::from_secs(15);

const ANNOUNCES_ALL: &str = "each shard announces the labels of all stores although it asks its own only, so every \
                             query goes to every shard";
const ASKS_FOR_SERIES: &str = "the pods fetch series from the shards and work out every answer themselves, because parts \
                               of queries that are sent to shards miss data before v0.38.0";

/// Up to 0.37 Thanos looks at its endpoints this often, whatever it is told.
const FIXED_TICK: Duration = Duration::from_secs(5);

// === impl Tree ===

impl Tree {
    /// The next step of `query`, which is called `names` and runs or shall run `image`.
    ///
    /// # Errors
    /// When the spec asks for what cannot be done.
    pub fn of(
        query: &ThanosQuery,
        names: &Names,
        image: &Image,
        standing: &Standing,
        now: Timestamp,
    ) -> Result<Self, TreeError> {
        let settle = settle(query, image.version);
        let mut tree = match &query.spec.distributed {
            Some(distributed) => {
                check(query, names, distributed)?;
                Self::growing(query, names, distributed, image, standing, settle, now)
            }
            None => Self::felling(standing),
        };
        tree.is_other = standing.over(&tree.over).is_some_and(|there| there != tree.over);
        tree.fell_what_is_not_asked(names, standing, settle);
        tree.told = readiness::told(names, &tree.shards, &standing.shards);
        Ok(tree)
    }

    fn growing(
        query: &ThanosQuery,
        names: &Names,
        distributed: &Distributed,
        image: &Image,
        standing: &Standing,
        settle: Duration,
        now: Timestamp,
    ) -> Self {
        let set = ShardSet::of(distributed);
        let target = Over::Shards(set.clone());
        // Queriers above are upgraded before those below: a new one understands what an old one answers.
        let has_image = |pods: &Pods| pods.is_rolled_out && pods.image.as_ref() == Some(&image.reference);
        let is_upgraded = standing.pods.as_ref().is_none_or(has_image);
        let shards: Vec<ThanosQuery> = (0..set.shards)
            .map(|index| {
                let live = standing.shard(&set.shard_name(&names.query, index));
                let image = match live.filter(|_| !is_upgraded) {
                    Some(live) => ShardImage::of(live),
                    None => ShardImage {
                        base_image: Some(image.reference.clone()),
                        version: query.spec.common.version.clone(),
                    },
                };
                let accepted = complaints::accepted(query, live, &standing.shards);
                shard(query, distributed, index, image, accepted)
            })
            .collect();
        let waits = shards.iter().find_map(|shard| unready(shard, &standing.shards, settle, now));
        let mut tree =
            Self { complaints: complaints::complaints(&shards, &standing.shards), ..Self::default() };
        tree.look_again = waits.as_ref().and_then(|waits| waits.look_again);
        let is_ready = waits.is_none();
        tree.unready = waits.map(|Unready { why, .. }| why);
        let split = Mode::over_shards(distributed, image.version);
        let there = standing.over(&target);
        match (&standing.pods, there) {
            (None, _) | (_, None) => {
                tree.over = target;
                tree.mode = split;
                tree.holds_pods = !is_ready;
            }
            (Some(pods), Some(there)) if there == target => {
                tree.over = target;
                // Pods that send parts of queries must find nothing but these shards.
                let wait = left(settle, standing.document_for);
                if pods.is_distributed || split == Mode::Local || wait == Some(Duration::ZERO) {
                    tree.mode = split;
                } else {
                    tree.wait("the pods take over the shards", wait);
                }
            }
            (Some(pods), Some(there)) => {
                let is_split_alike = match &there {
                    Over::Stores => true,
                    Over::Shards(other) => other.labels == set.labels,
                };
                if is_split_alike && pods.is_distributed {
                    tree.mode = split;
                }
                let wait = match is_split_alike {
                    true => Some(Duration::ZERO),
                    // What is split by other labels must be asked without sending parts, until it is another set.
                    false => left(LAST_ANSWERS, pods.local_for),
                };
                if is_ready && !is_upgraded {
                    tree.wait("the pods are replaced first", None);
                } else if is_ready && wait != Some(Duration::ZERO) {
                    tree.wait("the pods stop sending parts of queries to the old shards", wait);
                }
                tree.over = if tree.unready.is_none() { target } else { there };
            }
        }
        tree.shards = shards;
        tree
    }

    fn felling(standing: &Standing) -> Self {
        let mut tree = Self::default();
        let Some(there @ Over::Shards(_)) = standing.over(&Over::Stores) else { return tree };
        let Some(pods) = &standing.pods else { return tree };
        let wait = left(LAST_ANSWERS, pods.local_for);
        if wait != Some(Duration::ZERO) {
            tree.wait("the pods stop sending parts of queries to the shards", wait);
            tree.over = there;
        }
        tree
    }

    /// Shards that no pod asks any more go.
    fn fell_what_is_not_asked(&mut self, names: &Names, standing: &Standing, settle: Duration) {
        let is_asked = |name: &str| {
            let set = ShardSet::of_shard(name, &names.query).map(|(set, _)| Over::Shards(set));
            set.is_some_and(|set| set == self.over)
        };
        let is_wanted =
            |name: &str| self.shards.iter().any(|shard| shard.metadata.name.as_deref() == Some(name));
        let gone: Vec<String> = standing
            .shards
            .iter()
            .filter(|shard| Standing::is_of(shard, names))
            .filter_map(|shard| shard.metadata.name.clone())
            .filter(|name| !is_wanted(name) && !is_asked(name))
            .collect();
        if gone.is_empty() {
            return;
        }
        let wait = match (&standing.pods, self.is_other) {
            (None, _) => Some(Duration::ZERO),
            (Some(_), true) => None,
            (Some(_), false) => left(settle, standing.document_for),
        };
        if wait == Some(Duration::ZERO) {
            self.gone = gone;
        } else {
            self.look_again_in(wait);
        }
    }

    fn wait(&mut self, why: &str, wait: Option<Duration>) {
        self.unready.get_or_insert_with(|| why.to_owned());
        self.look_again_in(wait);
    }

    fn look_again_in(&mut self, wait: Option<Duration>) {
        self.look_again = self.look_again.into_iter().chain(wait).min();
    }

    /// Whether the pods ask shards: then the stores are the shards' concern.
    pub fn is_over_shards(&self) -> bool {
        matches!(self.over, Over::Shards(_))
    }

    /// What there is to know of a tree of `version`.
    pub fn remark(&self, version: ThanosVersion) -> Option<String> {
        let what = if self.shards.is_empty() || version.supports(Feature::AnnouncesSelected) {
            return None;
        } else if version.supports(Feature::OverlappingShards) {
            ANNOUNCES_ALL
        } else {
            ASKS_FOR_SERIES
        };
        Some(format!(
            "spec.distributed: with Thanos {version} {what}; from v0.40.0 on the shards are split truly"
        ))
    }
}

// === impl Mode ===

impl Mode {
    /// Of pods of `version` that have nothing but shards. Before 0.38 a shard is taken to begin where the youngest of
    /// its stores does, and what is older is missed (seen with 0.37.2). Fetched series are right in every release.
    fn over_shards(distributed: &Distributed, version: ThanosVersion) -> Self {
        match version.supports(Feature::OverlappingShards) {
            true => Self::Distributed(distributed.sharding_labels.clone()),
            false => Self::Local,
        }
    }
}

fn check(query: &ThanosQuery, names: &Names, distributed: &Distributed) -> Result<(), TreeError> {
    let discovery = &query.spec.service_discovery;
    if discovery.mode == DiscoveryMode::Flags || !discovery.agent.enabled {
        return Err(TreeError::NeedsAgent);
    }
    let is_replica = |label: &&String| query.spec.replica_labels.contains(label);
    if let Some(label) = distributed.sharding_labels.iter().find(is_replica) {
        return Err(TreeError::ReplicaLabel(label.clone()));
    }
    let args = query.spec.common.additional_args.as_deref().unwrap_or_default();
    if let Some(arg) = tree_flags::chosen_stores(args) {
        return Err(TreeError::ChosenStores(super::arg::short(arg)));
    }
    let last = ShardSet::of(distributed).shard_name(&names.query, distributed.shards - 1);
    match last.len().checked_sub(LONGEST_NAME) {
        None | Some(0) => Ok(()),
        Some(over) => Err(TreeError::LongName {
            name: names.query.clone(),
            longest: names.query.len().saturating_sub(over),
            shard: last,
        }),
    }
}

/// How long it takes until a document that a pod has is what its Thanos asks: two ticks, for names, and the file itself.
fn settle(query: &ThanosQuery, version: ThanosVersion) -> Duration {
    let interval = Nanos::prometheus(&query.spec.service_discovery.refresh_interval);
    let interval =
        interval.and_then(|interval| u64::try_from(interval.seconds()).ok()).map(Duration::from_secs);
    let tick = interval.unwrap_or(FIXED_TICK);
    let tick = if version.supports(Feature::EndpointSdConfigFile) { tick } else { tick.max(FIXED_TICK) };
    tick * 2 + Duration::from_secs(2)
}

/// How much of `whole` is left after `elapsed`; none when it has not begun.
fn left(whole: Duration, elapsed: Option<Duration>) -> Option<Duration> {
    elapsed.map(|elapsed| whole.saturating_sub(elapsed))
}

#[cfg(test)]
mod tests;
