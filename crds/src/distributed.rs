//! `spec.distributed`: a tree of queriers.
//!
//! A `///` here is what `kubectl explain` prints.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A tree of queriers: the stores are shared out over shards, each with queriers of its own, and the queriers of this
/// object send them the parts of a query that they can answer by themselves.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Distributed {
    /// Into how many shards the stores are split. Each is a ThanosQuery of its own that the operator makes and keeps,
    /// with the label operator.thanos.io/shard-of. When this changes, all new shards are made first; queries move over
    /// when they are ready, and then the old ones go.
    #[schemars(range(min = 1, max = 64))]
    pub shards: i32,

    /// Number of querier pods of each shard. With two, none is missed when a pod fails.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    pub replicas_per_shard: i32,

    /// External labels of the stores, such as tenant_id, whose values decide together to which shard a store belongs.
    /// Every store must have them, and none of them may be among replicaLabels.
    #[schemars(
        length(min = 1, max = 8),
        inner(length(max = 128), regex(pattern = "^[a-zA-Z_][a-zA-Z0-9_]*$"))
    )]
    pub sharding_labels: Vec<String>,
}

fn one() -> i32 {
    1
}
