//! What the cluster cases, the demo and the benchmarks share.

pub mod cluster;
