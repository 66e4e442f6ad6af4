//! Real Thanos as the judge, without a cluster: `cargo test -p tests --test differential -- --ignored`.

use tests::cases::differential::{agree, cached};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the Thanos binaries that `cargo cluster build` makes; `cargo e2e` runs it"]
async fn every_thanos_agrees_with_the_agent_and_with_check() {
    let result = agree(|component| cached(component).expect("the cache can be read")).await;
    if let Err(error) = result {
        unreachable!("{error:#}");
    }
}
