//! Swaps as kubelet does them.

use std::time::Duration;

use sd_agent::{payload::GZIP_KEY, timing::Timing};

use super::MOUNT_ONLY;
use crate::support::{Pod, document, keys, payload, payload_of, quick};

/// No poll comes while a test runs.
fn by_event_alone() -> Timing {
    Timing { tick: Duration::from_secs(3600), ..quick() }
}

/// Case 3, by inotify.
#[tokio::test]
async fn a_swap_of_the_mount_is_applied_by_the_event_alone() {
    let mut pod = Pod::new();
    pod.mount.show(&payload(1));
    let agent = pod.start_with(None, MOUNT_ONLY, by_event_alone(), true).await;
    for generation in 1..=5 {
        pod.mount.show(&payload(generation));
        let report = agent.applied(generation).await;
        assert_eq!(report.applied.expect("applied").source, "mount");
    }
    agent.counted("inotify_degraded", 0).await;
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

/// Case 8: the link that users see comes after the swap, here never.
#[tokio::test]
async fn a_key_that_is_new_is_read_before_its_own_link_exists() {
    let mut pod = Pod::new();
    pod.mount.show(&payload(1));
    let agent = pod.start_with(None, MOUNT_ONLY, by_event_alone(), true).await;
    agent.applied(1).await;
    // So large that it is gzipped, and that under another key.
    let large = payload_of(2, &document(2, 3000));
    assert!(large.binary_data.contains_key(GZIP_KEY));
    let name = pod.mount.next();
    pod.mount.fill(&name, &keys(&large));
    pod.mount.turn(&name);
    let report = agent.applied(2).await;
    assert_eq!(report.applied.expect("applied").endpoints, 3000);
    assert!(!pod.mount.folder.join(GZIP_KEY).exists());
    assert!(!agent.metrics().await.contains("rejected_total{"));
    agent.stop().await;
}

/// Case 7, for the whole agent: many swaps at once, of which the last one counts and none is half read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_swaps_in_a_row_end_with_the_last_and_none_is_refused() {
    let mut pod = Pod::new();
    pod.mount.show(&payload(1));
    let agent = pod.start(None, MOUNT_ONLY).await;
    agent.applied(1).await;
    let pod = tokio::task::spawn_blocking(move || {
        for generation in 2..=200 {
            pod.mount.show(&payload(generation));
        }
        pod
    });
    let pod = pod.await.expect("no panic");
    agent.applied(200).await;
    let metrics = agent.metrics().await;
    assert!(
        !metrics.contains("rejected_total{") && metrics.contains("sd_agent_conflicts_total 0"),
        "{metrics}"
    );
    assert!(pod.text().contains("store-200.demo.svc:10901"));
    agent.stop().await;
}
