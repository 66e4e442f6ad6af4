//! The mount as a source, and which of the two sources counts.

mod process;
mod start;
mod swaps;
mod unfinished;
mod watch;
mod wiped;

use crate::{
    fake_api::FakeApi,
    support::{Pod, payload},
};

const MOUNT_ONLY: &[&str] = &["--source=mount"];

/// Case 11.
#[tokio::test]
async fn a_mount_that_lags_behind_the_api_is_ignored_and_causes_no_write_when_it_catches_up() {
    let (api, mut pod) = (FakeApi::start().await, Pod::new());
    api.put(&payload(10));
    pod.mount.show(&payload(9));
    let agent = pod.start(Some(&api), &[]).await;
    agent.applied(10).await;
    let (text, inode) = (pod.text(), pod.inode());
    for generation in [8, 9, 10] {
        pod.mount.show(&payload(generation));
        agent.reported("the mount is read", |report| report.mount.generation == Some(generation)).await;
        assert_eq!((pod.text(), pod.inode()), (text.clone(), inode));
    }
    agent.stop().await;
}

#[tokio::test]
async fn a_mount_that_is_ahead_does_not_lead_while_the_api_is_well() {
    let (api, mut pod) = (FakeApi::start().await, Pod::new());
    api.put(&payload(10));
    pod.mount.show(&payload(10));
    let agent = pod.start(Some(&api), &[]).await;
    agent.applied(10).await;
    agent.reported("the watch is open", |report| report.api.up).await;
    pod.mount.show(&payload(11));
    agent.reported("the mount is read", |report| report.mount.generation == Some(11)).await;
    assert_eq!(agent.report().await.applied.expect("applied").generation, 10);
    // Only when the API has been gone for long, what the mount showed before counts.
    api.refuse_reads(Some(503));
    api.refuse_watches(Some(503));
    api.end_watches();
    let report = agent.applied(11).await;
    assert_eq!(report.applied.expect("applied").source, "mount");
    agent.stop().await;
}

#[tokio::test]
async fn at_the_start_the_higher_of_the_two_wins() {
    let (api, mut pod) = (FakeApi::start().await, Pod::new());
    // An API server whose cache lags behind what kubelet saw.
    api.put(&payload(9));
    api.lag();
    api.put(&payload(10));
    pod.mount.show(&payload(10));
    let agent = pod.start(Some(&api), &[]).await;
    let report = agent.applied(10).await;
    assert_eq!(report.applied.expect("applied").source, "mount");
    assert!(agent.metrics().await.contains("sd_agent_regressions_total 0"));
    agent.stop().await;
}
