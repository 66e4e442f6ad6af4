//! The start, when not all is there yet.

use std::{net::TcpListener, time::Duration};

use kube::{Client, Config};
use sd_agent::timing::Timing;
use tokio::time::{Instant, sleep};

use crate::{
    fake_api::FakeApi,
    support::{Pod, eventually, payload},
};

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

/// Case 19: an API server that takes connections and says nothing. The clock only moves when all others wait.
#[tokio::test(start_paused = true)]
async fn an_api_that_hangs_at_the_start_is_waited_for_as_long_as_the_budget_and_no_longer() {
    // Nobody accepts; the kernel does that far.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", silent.local_addr().expect("bound"));
    let client = Client::try_from(Config::new(url.parse().expect("a URL"))).expect("a client");
    let mut pod = Pod::new();
    pod.mount.show(&payload(4));
    let (begun, timing) = (Instant::now(), Timing::default());
    let agent = pod.start_against(client, &[], timing).await;
    while !pod.output().exists() {
        assert!(begun.elapsed() < Duration::from_millis(2500), "no file after {:?}", begun.elapsed());
        sleep(Duration::from_millis(1)).await;
    }
    assert!(begun.elapsed() >= timing.boot_budget, "{:?}", begun.elapsed());
    assert!(pod.text().contains("store-4.demo.svc:10901"));
    agent.stop().await;
}

/// Case 20.
#[tokio::test]
async fn with_neither_api_nor_mount_nothing_is_started_until_one_of_them_comes() {
    for by_mount in [true, false] {
        let (api, mut pod) = (FakeApi::start().await, Pod::new());
        // As kubelet mounts an optional ConfigMap that does not exist.
        pod.mount.empty();
        let agent = pod.start(Some(&api), &[]).await;
        let (code, text) = eventually("it tells of both", async || {
            Some(agent.startz().await).filter(|(_, text)| text.contains("API: ") && text.contains("or empty"))
        })
        .await;
        assert_eq!(code, 503, "{text}");
        assert!(!pod.output().exists());
        if by_mount {
            pod.mount.show(&payload(4));
        } else {
            api.put(&payload(4));
        }
        let report = agent.applied(4).await;
        assert_eq!(report.applied.expect("applied").source, if by_mount { "mount" } else { "api" });
        assert_eq!(agent.startz().await.0, 200);
        agent.stop().await;
    }
}

/// Case 20, where even the mount point is missing.
#[tokio::test]
async fn a_mount_that_appears_late_starts_the_agent() {
    let mut pod = Pod::new();
    let agent = pod.start(None, &[]).await;
    eventually("it waits", async || (agent.startz().await.0 == 503).then_some(())).await;
    pod.mount.show(&payload(4));
    agent.applied(4).await;
    agent.stop().await;
}
