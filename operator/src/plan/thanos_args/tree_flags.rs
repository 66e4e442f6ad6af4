//! The flags that make a tree of queriers: those of its root, and those by which a shard takes its part of the stores.

use sd_agent::{Feature, ThanosVersion};
use serde_json::json;

const MODE: &str = "--query.mode";
const DISTRIBUTED: &str = "distributed";
const PARTITION_LABEL: &str = "--query.partition-label";
/// What a shard has begins where the oldest of its stores begins, and not where the youngest does: without it, a store
/// gateway beside a younger sidecar of the same tenant loses what is older than the sidecar (seen with 0.42.4).
const OVERLAPPING: &str = "--query.distributed-with-overlapping-interval";
const RELABEL: &str = "--selector.relabel-config";

/// Between two rules of a shard; no label of a store is called so.
const PLACE: &str = "__tmp_thanos_operator_shard";

/// What speaks of the root only: how it asks those below, what it says of itself to those above, and its servers: it asks
/// its shards without TLS.
const OF_A_ROOT: [&str; 9] = [
    MODE,
    PARTITION_LABEL,
    OVERLAPPING,
    "--selector-label",
    "--http.config",
    "--grpc-server-tls-cert",
    "--grpc-server-tls-key",
    "--grpc-server-tls-client-ca",
    "--grpc-server-tls-min-version",
];

/// Name and, but for switches, value of the flags with which a root sends parts of queries to shards that are split by `labels`.
pub fn of_a_root(labels: &[String], version: ThanosVersion) -> Vec<(&'static str, Option<String>)> {
    let mut flags = vec![(MODE, Some(DISTRIBUTED.to_owned()))];
    if version.supports(Feature::PartitionLabels) {
        flags.extend(labels.iter().map(|label| (PARTITION_LABEL, Some(label.clone()))));
    }
    if version.supports(Feature::OverlappingShards) {
        flags.push((OVERLAPPING, None));
    }
    flags
}

/// Whether one of `args` is what only such a root has.
pub fn is_of_a_root(args: &[String]) -> bool {
    args.iter().any(|arg| arg.as_str() == format!("{MODE}={DISTRIBUTED}"))
}

/// The argument with which shard `index` of `shards` takes its part of the stores.
///
/// Thanos fills in environment variables here, written as `$(NAME)`; names of labels hold no `$`.
pub fn of_a_shard(labels: &[String], index: i32, shards: i32) -> String {
    let rules = json!([
        {"action": "hashmod", "source_labels": labels, "target_label": PLACE, "modulus": shards},
        {"action": "keep", "source_labels": [PLACE], "regex": index.to_string()},
    ]);
    format!("{RELABEL}={rules}")
}

/// The arguments that a user gives to a root, as far as they are for its shards, too.
pub fn for_shards(given: &[String]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut items = given.iter().peekable();
    while let Some(item) = items.next() {
        let name = item.split_once('=').map_or(item.as_str(), |(name, _)| name);
        if !OF_A_ROOT.contains(&name) {
            kept.push(item.clone());
        } else if name == item {
            // Its value may be an item of its own.
            let _ = items.next_if(|next| !next.starts_with('-'));
        }
    }
    kept
}

/// The argument by which a user chooses among stores himself, if there is one: a shard can have only one such.
pub fn chosen_stores(given: &[String]) -> Option<&str> {
    given.iter().map(String::as_str).find(|item| {
        item.strip_prefix(RELABEL).is_some_and(|rest| {
            let rest = rest.strip_prefix("-file").unwrap_or(rest);
            rest.is_empty() || rest.starts_with('=')
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(all: &[&str]) -> Vec<String> {
        all.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn a_root_names_the_labels_from_0_37_on() {
        let labels = texts(&["tenant", "region"]);
        let mode = (MODE, Some(DISTRIBUTED.to_owned()));
        assert_eq!(of_a_root(&labels, ThanosVersion::new(0, 36, 1)), std::slice::from_ref(&mode));
        let partition = |label: &str| (PARTITION_LABEL, Some(label.to_owned()));
        let new = of_a_root(&labels, ThanosVersion::new(0, 37, 2));
        assert_eq!(new, [mode, partition("tenant"), partition("region")]);
        assert_eq!(of_a_root(&labels, ThanosVersion::new(0, 38, 0)).last(), Some(&(OVERLAPPING, None)));
    }

    #[test]
    fn a_shard_keeps_what_hashes_to_its_number_and_nothing_is_filled_in() {
        let arg = of_a_shard(&texts(&["tenant_id"]), 1, 3);
        let (name, rules) = arg.split_once('=').expect("a value");
        assert_eq!(name, RELABEL);
        let rules: serde_json::Value = serde_json::from_str(rules).expect("JSON, which is YAML");
        assert_eq!((&rules[0]["modulus"], &rules[1]["regex"]), (&json!(3), &json!("1")));
        assert_eq!(rules[0]["target_label"], rules[1]["source_labels"][0]);
        assert!(!arg.contains('$'), "{arg}");
    }

    #[test]
    fn what_speaks_of_the_root_is_not_for_its_shards() {
        let given = [
            "--query.mode",
            "distributed",
            "--query.timeout=1m",
            "--selector-label=a=\"b\"",
            "--log.level",
            "warn",
        ];
        assert_eq!(for_shards(&texts(&given)), ["--query.timeout=1m", "--log.level", "warn"]);
    }

    #[test]
    fn who_chooses_stores_himself_is_found_in_every_spelling() {
        for item in
            ["--selector.relabel-config=[]", "--selector.relabel-config", "--selector.relabel-config-file=/x"]
        {
            assert_eq!(chosen_stores(&texts(&["--log.level=warn", item])), Some(item));
        }
        assert_eq!(
            chosen_stores(&texts(&["--selector.relabel-configs=x", "--selector-label=a=\"b\""])),
            None
        );
    }
}
