//! The mount as a source, and which of the two sources counts.

use std::time::Duration;

use sd_agent::timing::Timing;

use crate::{
    fake_api::FakeApi,
    support::{Pod, eventually, payload, quick},
};

const MOUNT_ONLY: &[&str] = &["--source=mount"];

/// Case 3, by inotify: no poll comes while this test runs.
#[tokio::test]
async fn a_swap_of_the_mount_is_applied_by_the_event_alone() {
    let mut pod = Pod::new();
    pod.mount.show(&payload(1));
    let timing = Timing { tick: Duration::from_secs(3600), ..quick() };
    let agent = pod.start_with(None, MOUNT_ONLY, timing, true).await;
    for generation in 1..=5 {
        pod.mount.show(&payload(generation));
        let report = agent.applied(generation).await;
        assert_eq!(report.applied.expect("applied").source, "mount");
    }
    agent.stop().await;
}

/// Cases 3 and 4, by polling.
#[tokio::test]
async fn a_swap_of_the_mount_is_applied_by_polling_alone() {
    let mut pod = Pod::new();
    pod.mount.show(&payload(1));
    let agent = pod.start_with(None, MOUNT_ONLY, quick(), false).await;
    for generation in 1..=5 {
        pod.mount.show(&payload(generation));
        agent.applied(generation).await;
    }
    agent.counted("inotify_degraded", 1).await;
    agent.stop().await;
}

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

/// Case 19.
#[tokio::test]
async fn with_the_api_down_at_the_start_the_mount_is_enough() {
    let mut pod = Pod::new();
    pod.mount.show(&payload(4));
    let agent = pod.start(None, &[]).await;
    let report = agent.applied(4).await;
    assert_eq!(report.applied.expect("applied").source, "mount");
    assert!(!report.api.up);
    assert_eq!(agent.startz().await.0, 200);
    agent.stop().await;
}

/// Case 20, by the mount.
#[tokio::test]
async fn a_mount_that_appears_late_starts_the_agent() {
    let mut pod = Pod::new();
    let agent = pod.start(None, &[]).await;
    eventually("it waits", async || (agent.startz().await.0 == 503).then_some(())).await;
    pod.mount.show(&payload(4));
    agent.applied(4).await;
    agent.stop().await;
}

/// Case 45.
#[tokio::test]
async fn a_mount_that_empties_or_vanishes_keeps_the_last_good_file() {
    let mut pod = Pod::new();
    pod.mount.show(&payload(4));
    let agent = pod.start(None, MOUNT_ONLY).await;
    agent.applied(4).await;
    let before = pod.text();
    pod.mount.empty();
    agent.reported("it is seen", |report| !report.mount.up).await;
    std::fs::remove_dir_all(pod.root().join("mount")).expect("removed");
    agent
        .reported("it is seen", |report| {
            report.mount.error.as_ref().is_some_and(|why| why.contains("cannot read"))
        })
        .await;
    assert_eq!(pod.text(), before);
    pod.mount.show(&payload(5));
    agent.applied(5).await;
    agent.stop().await;
}
