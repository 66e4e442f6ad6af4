//! Real Thanos as the judge, without a cluster: `cargo test -p tests --test arguments -- --ignored`.

use std::path::PathBuf;

use tests::{
    cases::{
        arguments::{accepted, followed, served},
        differential::cached,
    },
    cluster::components::Component,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the Thanos binaries that `cargo cluster build` makes; `cargo e2e` runs it"]
async fn every_thanos_takes_every_argument_list_that_the_golden_cases_make() {
    match accepted(program).await {
        Ok(number) => println!("{number} argument lists"),
        Err(error) => unreachable!("{error:#}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the Thanos binaries that `cargo cluster build` makes; `cargo e2e` runs it"]
async fn every_thanos_serves_an_endpoint_of_each_type_once() {
    if let Err(error) = served(program).await {
        unreachable!("{error:#}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the Thanos binaries that `cargo cluster build` makes; `cargo e2e` runs it"]
async fn an_old_thanos_misses_no_endpoint_while_the_document_changes() {
    if let Err(error) = followed(program).await {
        unreachable!("{error:#}");
    }
}

fn program(component: &Component) -> Option<PathBuf> {
    cached(component).expect("the cache can be read")
}
