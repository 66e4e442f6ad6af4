//! Which shards belong together: as many, split by the same labels. Shards of two sets are never asked together, since
//! each set has every store.

use std::{fmt, str::FromStr};

use crds::distributed::Distributed;
use sd_agent::payload::sha256_hex;

/// Names a set of shards. A change of what it is made from makes another set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ShardSet {
    /// How many shards it has.
    pub shards: i32,
    /// Stands for the labels by which it is split.
    pub labels: String,
}

/// A text is no name of a set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no set of shards: such a name is like s3-9f2c")]
pub struct NotASet(String);

const LABELS_LENGTH: usize = 4;

// === impl ShardSet ===

impl ShardSet {
    /// The set that `distributed` asks for.
    pub fn of(distributed: &Distributed) -> Self {
        let labels = sha256_hex(distributed.sharding_labels.join(",").as_bytes());
        Self { shards: distributed.shards, labels: labels[..LABELS_LENGTH].to_owned() }
    }

    /// The name of shard `index` of the ThanosQuery `root`.
    pub fn shard_name(&self, root: &str, index: i32) -> String {
        format!("{root}-{self}-{index}")
    }

    /// The names of all its shards.
    pub fn names(&self, root: &str) -> Vec<String> {
        (0..self.shards).map(|index| self.shard_name(root, index)).collect()
    }

    /// The set and index of the shard `name` of `root`.
    pub fn of_shard(name: &str, root: &str) -> Option<(Self, i32)> {
        let (set, index) = name.strip_prefix(root)?.strip_prefix('-')?.rsplit_once('-')?;
        let (set, index): (Self, i32) = (set.parse().ok()?, index.parse().ok()?);
        (0..set.shards).contains(&index).then_some((set, index))
    }
}

impl fmt::Display for ShardSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shards, labels } = self;
        write!(f, "s{shards}-{labels}")
    }
}

impl FromStr for ShardSet {
    type Err = NotASet;

    fn from_str(text: &str) -> Result<Self, NotASet> {
        let read = || {
            let (shards, labels) = text.strip_prefix('s')?.split_once('-')?;
            let shards = shards.parse().ok().filter(|shards| *shards > 0)?;
            let is_hash =
                labels.len() == LABELS_LENGTH && labels.bytes().all(|byte| byte.is_ascii_hexdigit());
            is_hash.then(|| Self { shards, labels: labels.to_owned() })
        };
        read().ok_or_else(|| NotASet(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(shards: i32, labels: &[&str]) -> ShardSet {
        let sharding_labels = labels.iter().map(|&label| label.to_owned()).collect();
        ShardSet::of(&Distributed { shards, replicas_per_shard: 1, sharding_labels })
    }

    #[test]
    fn another_number_or_other_labels_make_another_set_and_more_pods_do_not() {
        let own = set(2, &["tenant"]);
        assert_ne!(own, set(3, &["tenant"]));
        assert_ne!(own, set(2, &["tenant", "region"]));
        assert_ne!(set(2, &["a", "b"]), set(2, &["b", "a"]), "the order counts for the hash of a store");
        let more = Distributed { shards: 2, replicas_per_shard: 3, sharding_labels: vec!["tenant".into()] };
        assert_eq!(own, ShardSet::of(&more));
    }

    #[test]
    fn it_is_read_back_from_its_name_and_from_those_of_its_shards() {
        let own = set(12, &["tenant"]);
        assert_eq!(own.to_string().parse(), Ok(own.clone()));
        for root in ["global", "a-s2-abcd-0"] {
            assert_eq!(ShardSet::of_shard(&own.shard_name(root, 11), root), Some((own.clone(), 11)));
        }
        for name in
            ["global-eu", "global-s2-abcd-2", "global-s2-abc-0", "other-s2-abcd-0", "global-s0-abcd-0"]
        {
            assert_eq!(ShardSet::of_shard(name, "global"), None, "{name}");
        }
    }
}
