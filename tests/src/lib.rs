//! What the cluster cases, the demo and the benchmarks share.

pub mod bench;
pub mod cases;
pub mod cluster;
pub mod demo;
pub mod fixtures;
pub mod golden;
