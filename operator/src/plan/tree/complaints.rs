//! What shards warn of, as their root tells it, and what a person answers at the root.

use crds::{
    ThanosQuery,
    names::{annotations::ACCEPT_REMOVAL, conditions},
    thanos_query_status::HeldRemoval,
};

/// Characters of one warning.
const LONGEST: usize = 300;

/// Conditions that are no warnings, or that the root tells itself.
const NO_WARNINGS: [&str; 6] = [
    conditions::READY,
    conditions::ENDPOINTS_SYNCED,
    conditions::PAUSED,
    conditions::STALLED,
    conditions::REMARKS,
    conditions::SERVICE_MONITOR_MISSING,
];

/// The warnings of `shards`, each once: all of them see the same Services.
pub fn complaints(shards: &[ThanosQuery], live: &[ThanosQuery]) -> Vec<String> {
    let mut all: Vec<(String, String, usize)> = Vec::new();
    for shard in shards {
        let Some(live) = live.iter().find(|live| live.metadata.name == shard.metadata.name) else { continue };
        let name = live.metadata.name.as_deref().unwrap_or_default();
        for own in live.status.iter().flat_map(|status| &status.conditions) {
            if own.status != "True" || NO_WARNINGS.contains(&own.type_.as_str()) {
                continue;
            }
            match all.iter_mut().find(|(type_, ..)| *type_ == own.type_) {
                Some((_, _, more)) => *more += 1,
                None => all.push((own.type_.clone(), format!("{name}: {}: {}", own.type_, own.message), 0)),
            }
        }
    }
    all.sort();
    all.into_iter()
        .map(|(_, text, more)| {
            let text: String = match text.chars().count() > LONGEST {
                true => text.chars().take(LONGEST).chain(['…']).collect(),
                false => text,
            };
            if more == 0 { text } else { format!("{text} (and {more} more with {})", warning(more)) }
        })
        .collect()
}

fn warning(more: usize) -> &'static str {
    if more == 1 { "such a warning" } else { "such warnings" }
}

/// The number of the removal that the shard `live` may carry out: its own, when the root accepts that of any shard. All
/// see the same Services go; each counts for itself.
pub fn accepted(root: &ThanosQuery, live: Option<&ThanosQuery>, shards: &[ThanosQuery]) -> Option<String> {
    let accepted = root.metadata.annotations.as_ref()?.get(ACCEPT_REMOVAL)?;
    let held = |shard: &ThanosQuery| shard.status.as_ref()?.held_removal.clone();
    let is_meant = |held: &HeldRemoval| held.generation.to_string() == accepted.trim();
    let meant = shards.iter().filter_map(held).find(is_meant);
    match (live.and_then(held), meant) {
        (Some(own), Some(meant)) if own.services == meant.services && own.count == meant.count => {
            Some(own.generation.to_string())
        }
        // What it was told stays until it is told something else.
        _ => live.and_then(|live| live.metadata.annotations.as_ref()?.get(ACCEPT_REMOVAL)).cloned(),
    }
}
