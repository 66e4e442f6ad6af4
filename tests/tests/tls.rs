//! Real Thanos and real certificates, without a cluster: `cargo test -p tests --test tls -- --ignored`.

use tests::{
    cases::{differential::cached, tls_files::connects},
    cluster::components::THANOS_NEW,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the Thanos binary that `cargo cluster build` makes; `cargo e2e` runs it"]
async fn thanos_connects_as_the_entries_say() {
    let program = cached(&THANOS_NEW).expect("the cache can be read").expect("it is built");
    if let Err(error) = connects(&program).await {
        unreachable!("{error:#}");
    }
}
