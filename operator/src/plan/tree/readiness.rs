//! Whether a shard can be asked, and what status says of it.

use std::time::Duration;

use crds::{ThanosQuery, ThanosQueryStatus, names::conditions, thanos_query_status::ShardStatus};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{ShardImage, ShardSet, Standing, left};
use crate::plan::Names;

/// Why a shard cannot be asked yet.
pub struct Unready {
    /// In words.
    pub why: String,
    /// When it may be, without any change.
    pub look_again: Option<Duration>,
}

/// How long a shard whose agents cannot be asked has to be ready until it is believed to have its endpoints.
const BELIEVED_AFTER: Duration = Duration::from_secs(60);

/// Why `shard` cannot be asked; none when it is as wanted, and has been ready for `settle`.
pub fn unready(
    shard: &ThanosQuery,
    live: &[ThanosQuery],
    settle: Duration,
    now: Timestamp,
) -> Option<Unready> {
    let name = shard.metadata.name.as_deref().unwrap_or_default();
    let because = |why: &str| Some(Unready { why: format!("shard {name} {why}"), look_again: None });
    let Some(live) = live.iter().find(|live| live.metadata.name == shard.metadata.name) else {
        return because("does not exist yet");
    };
    let Some(status) = current_status(live).filter(|_| live.spec == shard.spec) else {
        return because("is not looked at yet");
    };
    let since = |condition: &Condition| {
        let since = now.duration_since(condition.last_transition_time.0);
        Some(Duration::try_from(since).unwrap_or_default())
    };
    let ready = match condition(status, conditions::READY) {
        Some(ready) if ready.status == "True" => since(ready),
        Some(ready) => return because(&format!("is not ready: {}", ready.message)),
        None => return because("is not ready"),
    };
    let wait = match condition(status, conditions::ENDPOINTS_SYNCED) {
        Some(synced) if synced.status == "True" => left(settle, ready.min(since(synced))),
        Some(synced) if synced.status == "Unknown" => left(BELIEVED_AFTER, ready),
        _ => return because("does not have its endpoints yet"),
    };
    wait.filter(|wait| !wait.is_zero()).map(|wait| Unready {
        why: format!("shard {name} has been ready for a moment only"),
        look_again: Some(wait),
    })
}

/// What status says of the shards that are wanted or there.
pub fn told(names: &Names, wanted: &[ThanosQuery], live: &[ThanosQuery]) -> Vec<ShardStatus> {
    let place = |shard: &ThanosQuery| ShardSet::of_shard(shard.metadata.name.as_deref()?, &names.query);
    let is_wanted = |shard: &ThanosQuery| wanted.iter().any(|own| own.metadata.name == shard.metadata.name);
    let others = live.iter().filter(|shard| Standing::is_of(shard, names) && !is_wanted(shard));
    let mut all: Vec<(ShardSet, ShardStatus)> = wanted
        .iter()
        .chain(others)
        .filter_map(|shard| {
            let (set, index) = place(shard)?;
            let live = live.iter().find(|live| live.metadata.name == shard.metadata.name);
            let status = live.filter(|live| Standing::is_of(live, names)).and_then(current_status);
            let holds =
                |type_| status.and_then(|own| condition(own, type_)).is_some_and(|own| own.status == "True");
            let status = ShardStatus {
                name: shard.metadata.name.clone().unwrap_or_default(),
                index,
                endpoints: status.and_then(|own| own.endpoints.as_ref()).map_or(0, |own| own.total),
                ready: holds(conditions::READY),
                synced: holds(conditions::ENDPOINTS_SYNCED),
            };
            Some((set, status))
        })
        .collect();
    all.sort_by(|(a, of_a), (b, of_b)| (a, of_a.index).cmp(&(b, of_b.index)));
    all.into_iter().map(|(_, status)| status).collect()
}

/// The status of a shard, when it is about its present spec.
fn current_status(shard: &ThanosQuery) -> Option<&ThanosQueryStatus> {
    shard.status.as_ref().filter(|status| status.observed_generation == shard.metadata.generation)
}

fn condition<'a>(status: &'a ThanosQueryStatus, type_: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|condition| condition.type_ == type_)
}

// === impl ShardImage ===

impl ShardImage {
    /// What `shard` has now.
    pub fn of(shard: &ThanosQuery) -> Self {
        let common = &shard.spec.common;
        Self { base_image: common.base_image.clone(), version: common.version.clone() }
    }
}
