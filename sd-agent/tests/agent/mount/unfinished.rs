//! A mount that is not, or not yet, what it should be.

use std::{fs, time::Duration};

use sd_agent::{
    payload::{DOCUMENT_KEY, META_KEY},
    timing::Timing,
};

use super::MOUNT_ONLY;
use crate::{
    fake_api::FakeApi,
    support::{Pod, Running, payload, quick},
};

/// The mount was looked at again: what it says was forgotten, and read anew.
async fn looked_again(agent: &Running) {
    agent.reread.notify_one();
    for _ in 0..20 {
        agent.report().await;
    }
}

/// Case 9: as in Kata, where the volume is copied for the pod and the link is copied first.
#[tokio::test]
async fn a_link_that_comes_before_its_content_is_no_error() {
    let mut pod = Pod::new();
    pod.mount.show(&payload(1));
    // What is not whole is waited for as long as a tick.
    let timing = Timing { tick: Duration::from_secs(5), ..quick() };
    let agent = pod.start_with(None, MOUNT_ONLY, timing, true).await;
    agent.applied(1).await;
    let (before, new, name) = (pod.text(), payload(2), pod.mount.next());
    let inside = pod.mount.folder.join(&name);
    pod.mount.turn(&name);
    looked_again(&agent).await;
    fs::create_dir(&inside).expect("made");
    looked_again(&agent).await;
    for key in [META_KEY, DOCUMENT_KEY] {
        let text = &new.data[key];
        for end in [0, text.len() / 2] {
            fs::write(inside.join(key), &text[..end]).expect("written");
            looked_again(&agent).await;
            let report = agent.report().await;
            assert!(report.mount.up && report.refused.is_none(), "{report:?}");
            assert_eq!(report.mount.generation, Some(1));
            assert_eq!(pod.text(), before);
        }
        fs::write(inside.join(key), text).expect("written");
    }
    agent.applied(2).await;
    assert!(!agent.metrics().await.contains("rejected_total{"));
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
    let says = |text: &'static str| {
        move |report: &sd_agent::Report| report.mount.error.as_ref().is_some_and(|why| why.contains(text))
    };
    agent.reported("it is seen", says("missing or empty")).await;
    fs::remove_dir_all(pod.root().join("mount")).expect("removed");
    agent.reported("it is seen", says("cannot read")).await;
    assert_eq!(pod.text(), before);
    // An absent ConfigMap is no bad document.
    assert!(!agent.metrics().await.contains("rejected_total{"));
    pod.mount.show(&payload(5));
    agent.applied(5).await;
    agent.stop().await;
}

/// Case 10: told where people look, and the API alone is enough.
#[tokio::test]
async fn a_sub_path_is_refused_with_the_field_to_change_and_the_agent_goes_on() {
    for is_file in [true, false] {
        let (api, pod) = (FakeApi::start().await, Pod::new());
        let path = pod.root().join("mount");
        if is_file {
            fs::write(&path, &payload(1).data[META_KEY]).expect("written");
        } else {
            fs::create_dir(&path).expect("made");
            fs::write(path.join(META_KEY), &payload(1).data[META_KEY]).expect("written");
        }
        let agent = pod.start(Some(&api), &[]).await;
        let report = agent.reported("it is told", |report| report.mount.error.is_some()).await;
        let why = report.mount.error.expect("told");
        assert!(why.contains("remove subPath from its entry in volumeMounts of the pod spec"), "{why}");
        assert_eq!(why.lines().count(), 1);
        let (code, text) = agent.startz().await;
        assert!(code == 503 && text.contains("subPath"), "{code} {text}");
        api.put(&payload(2));
        agent.applied(2).await;
        agent.counted("source_up{source=\"mount\"}", 0).await;
        agent.stop().await;
    }
}
