//! How a tree is now, as the API and the agents tell.

use std::time::Duration;

use crds::ThanosQuery;
use kube::Resource;

use super::ShardSet;
use crate::plan::Names;

/// What a document names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Over {
    /// The stores.
    #[default]
    Stores,
    /// The shards of one set.
    Shards(ShardSet),
}

/// How a tree is now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standing {
    /// What the document names; none when there is none.
    pub document: Option<Over>,
    /// How long every pod has had it; none when not every pod has.
    pub document_for: Option<Duration>,
    /// The pods, when there is a Deployment.
    pub pods: Option<Pods>,
    /// Every ThanosQuery that is a shard, or is called as one.
    pub shards: Vec<ThanosQuery>,
}

/// The pods of a root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pods {
    /// Whether new pods send parts of queries to what is below them.
    pub is_distributed: bool,
    /// Whether every pod is new.
    pub is_rolled_out: bool,
    /// For how long every pod has been new, and none sends parts of queries.
    pub local_for: Option<Duration>,
    /// Their image.
    pub image: Option<String>,
}

// === impl Standing ===

impl Standing {
    /// What the document names. If nobody can tell while pods send parts of queries, it is what is `wanted`, or the set
    /// that is there: it must not be stores.
    pub fn over(&self, wanted: &Over) -> Option<Over> {
        let is_distributed = self.pods.as_ref().is_some_and(|pods| pods.is_distributed);
        match &self.document {
            Some(Over::Shards(set)) => Some(Over::Shards(set.clone())),
            _ if is_distributed => Some(match wanted {
                Over::Shards(set) => Over::Shards(set.clone()),
                Over::Stores => self.any_set().map_or(Over::Stores, Over::Shards),
            }),
            None if self.pods.is_some() => Some(Over::Stores),
            other => other.clone(),
        }
    }

    /// The shard called `name`, if it is there.
    pub fn shard(&self, name: &str) -> Option<&ThanosQuery> {
        self.shards.iter().find(|shard| shard.metadata.name.as_deref() == Some(name))
    }

    /// Whether `shard` was made for the ThanosQuery `names`.
    pub fn is_of(shard: &ThanosQuery, names: &Names) -> bool {
        root_of(shard) == Some(&names.query)
    }

    fn any_set(&self) -> Option<ShardSet> {
        let set = |shard: &ThanosQuery| {
            let (set, _) = ShardSet::of_shard(shard.metadata.name.as_deref()?, root_of(shard)?)?;
            Some(set)
        };
        self.shards.iter().find_map(set)
    }
}

/// The ThanosQuery that `query` is a shard of.
pub fn root_of(query: &ThanosQuery) -> Option<&str> {
    let owners = query.metadata.owner_references.iter().flatten();
    let mut controllers = owners.filter(|owner| owner.controller == Some(true));
    let owner = controllers.find(|owner| owner.kind == ThanosQuery::kind(&()))?;
    Some(&owner.name)
}
