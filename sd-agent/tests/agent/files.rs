//! The file itself: repaired, kept over restarts, never lost to another agent or a failing disk.

use std::{fs, os::unix::fs::symlink};

use sd_agent::{
    publish::Disk,
    state::{Kept, STATE_FILE},
};

use crate::{
    fake_api::{FakeApi, NAME},
    support::{Pod, eventually, generation_of, payload},
};

impl Pod {
    /// In place of the file, where a rename cannot go.
    fn put_a_folder_in_the_way(&self) {
        fs::remove_file(self.output()).expect("removed");
        while fs::create_dir_all(self.output().join("in-the-way")).is_err() {
            // The agent was faster and repaired the file.
            let _ = fs::remove_file(self.output());
        }
    }
}

/// Case 42.
#[tokio::test]
async fn a_file_that_someone_altered_or_removed_is_written_again() {
    let (api, pod) = (FakeApi::start().await, Pod::new());
    api.put(&payload(1));
    let agent = pod.start(Some(&api), &[]).await;
    agent.applied(1).await;
    let (path, text) = (pod.output(), pod.text());
    let precious = pod.root().join("precious");
    fs::write(&precious, "precious").expect("written");
    let damages: [&dyn Fn(); 4] = [
        &|| fs::write(&path, "").expect("written"),
        &|| fs::write(&path, "endpoints: [{address: evil:1}]").expect("written"),
        &|| fs::remove_file(&path).expect("removed"),
        &|| {
            fs::remove_file(&path).expect("removed");
            symlink(&precious, &path).expect("linked");
        },
    ];
    for (index, damage) in damages.into_iter().enumerate() {
        damage();
        agent.counted("self_heal_total", index + 1).await;
        assert_eq!(pod.text(), text);
        assert!(fs::symlink_metadata(&path).expect("there").is_file());
    }
    assert_eq!(fs::read(&precious).expect("there"), b"precious");
    agent.stop().await;
}

#[tokio::test]
async fn a_restarted_agent_is_started_at_once_and_touches_nothing() {
    let (api, pod) = (FakeApi::start().await, Pod::new());
    api.put(&payload(8));
    let agent = pod.start(Some(&api), &[]).await;
    agent.applied(8).await;
    agent.stop().await;
    let (text, inode) = (pod.text(), pod.inode());
    // Neither an API nor a mount.
    let agent = pod.start(None, &[]).await;
    let report = agent.applied(8).await;
    assert_eq!(report.applied.expect("applied").source, "state");
    assert_eq!(agent.startz().await.0, 200);
    assert_eq!((pod.text(), pod.inode()), (text, inode));
    agent.stop().await;
}

#[tokio::test]
async fn a_restarted_agent_writes_the_file_again_when_it_is_gone_or_garbage() {
    let (api, pod) = (FakeApi::start().await, Pod::new());
    api.put(&payload(8));
    let agent = pod.start(Some(&api), &[]).await;
    agent.applied(8).await;
    agent.stop().await;
    let text = pod.text();
    let damages: [&dyn Fn(); 2] = [&|| fs::remove_file(pod.output()).expect("removed"), &|| {
        fs::write(pod.output(), "{\"endpoints\":[").expect("written")
    }];
    for damage in damages {
        damage();
        let agent = pod.start(None, &[]).await;
        agent.applied(8).await;
        assert_eq!(pod.text(), text);
        agent.stop().await;
    }
}

/// Case 40, the one crash point that matters: between the rename of the file and that of the state.
#[tokio::test]
async fn a_file_that_is_ahead_of_the_state_is_not_rolled_back() {
    let (api, mut pod) = (FakeApi::start().await, Pod::new());
    api.put(&payload(8));
    let agent = pod.start(Some(&api), &[]).await;
    agent.applied(8).await;
    let sd = pod.root().join("sd");
    let old_state = fs::read(sd.join(STATE_FILE)).expect("there");
    api.put(&payload(9));
    agent.applied(9).await;
    agent.stop().await;
    fs::write(sd.join(STATE_FILE), old_state).expect("written");
    fs::write(sd.join(".endpoints.yaml.tmp"), "half").expect("written");
    // The mount lags and agrees with the state: still no reason to go back.
    pod.mount.show(&payload(8));
    let agent = pod.start(None, &[]).await;
    agent.reported("the mount is read", |report| report.mount.generation == Some(8)).await;
    assert!(!sd.join(".endpoints.yaml.tmp").exists());
    assert_eq!(generation_of(&pod.text()), Some(9));
    agent.stop().await;
    let agent = pod.start(Some(&api), &[]).await;
    agent.applied(9).await;
    assert_eq!(generation_of(&pod.text()), Some(9));
    let kept = Kept::load(&Disk, &sd, NAME).expect("fine").expect("there");
    assert_eq!(kept.payload.meta().expect("fine").generation, 9);
    agent.stop().await;
}

#[tokio::test]
async fn a_damaged_state_file_is_as_good_as_none() {
    let (api, pod) = (FakeApi::start().await, Pod::new());
    fs::write(pod.root().join("sd").join(STATE_FILE), "{\"x\":").expect("written");
    api.put(&payload(8));
    let agent = pod.start(Some(&api), &[]).await;
    agent.applied(8).await;
    agent.stop().await;
}

/// Case 43.
#[tokio::test]
async fn a_second_agent_in_the_same_folder_waits_says_why_and_takes_over() {
    let (api, pod) = (FakeApi::start().await, Pod::new());
    api.put(&payload(1));
    let first = pod.start(Some(&api), &[]).await;
    first.applied(1).await;
    let second = pod.start(Some(&api), &[]).await;
    let (code, why) = eventually("the reason is known", async || {
        Some(second.startz().await).filter(|(_, why)| why.contains("another agent"))
    })
    .await;
    assert_eq!(code, 503, "{why}");
    first.stop().await;
    second.applied(1).await;
    second.stop().await;
}

/// Case 39.
#[tokio::test]
async fn a_write_that_fails_is_tried_again_until_it_works() {
    let (api, pod) = (FakeApi::start().await, Pod::new());
    fs::create_dir_all(pod.output().join("in-the-way")).expect("made");
    api.put(&payload(1));
    let agent = pod.start(Some(&api), &[]).await;
    let (code, why) = eventually("the reason is known", async || {
        Some(agent.startz().await).filter(|(_, why)| why.contains("cannot rename"))
    })
    .await;
    assert_eq!(code, 503, "{why}");
    assert!(agent.metrics().await.contains("sd_agent_apply_errors_total{op=\"rename\"}"));
    fs::remove_dir_all(pod.output()).expect("removed");
    agent.applied(1).await;
    agent.stop().await;
}

/// Case 39.
#[tokio::test]
async fn a_folder_in_place_of_the_file_is_left_alone_and_the_newest_document_comes_once_it_is_gone() {
    let (api, pod) = (FakeApi::start().await, Pod::new());
    api.put(&payload(1));
    let agent = pod.start(Some(&api), &[]).await;
    agent.applied(1).await;
    pod.put_a_folder_in_the_way();
    let failed = async || agent.metrics().await.contains("apply_errors_total{op=\"rename\"}").then_some(());
    eventually("the repair fails", failed).await;
    api.put(&payload(2));
    agent.reported("it is seen", |report| report.api.generation == Some(2)).await;
    assert!(pod.output().join("in-the-way").is_dir());
    assert_eq!(agent.report().await.applied.expect("applied").generation, 1);
    fs::remove_dir_all(pod.output()).expect("removed");
    agent.applied(2).await;
    assert_eq!(generation_of(&pod.text()), Some(2));
    agent.stop().await;
}

#[tokio::test]
async fn a_document_that_could_not_be_written_is_dropped_when_the_quorum_took_it_back() {
    let (api, pod) = (FakeApi::start().await, Pod::new());
    api.put(&payload(1));
    let agent = pod.start(Some(&api), &[]).await;
    agent.applied(1).await;
    pod.put_a_folder_in_the_way();
    api.put(&payload(2));
    agent.reported("it is seen", |report| report.api.generation == Some(2)).await;
    let reads = api.reads();
    api.put(&payload(1));
    eventually("the quorum is asked", async || (api.reads() > reads).then_some(())).await;
    agent.reported("it is seen", |report| report.api.generation == Some(1)).await;
    fs::remove_dir_all(pod.output()).expect("removed");
    eventually("the file is repaired", async || (generation_of(&pod.text()) == Some(1)).then_some(())).await;
    assert_eq!(agent.report().await.applied.expect("applied").generation, 1);
    agent.stop().await;
}

/// Case 37, with a folder in the way instead of a full disk.
#[tokio::test]
async fn what_was_remembered_is_written_once_the_file_can_be_written() {
    let (api, pod) = (FakeApi::start().await, Pod::new());
    api.put(&payload(3));
    let agent = pod.start(Some(&api), &[]).await;
    agent.applied(3).await;
    agent.stop().await;
    fs::remove_file(pod.output()).expect("removed");
    fs::create_dir_all(pod.output().join("in-the-way")).expect("made");
    let agent = pod.start(None, &[]).await;
    eventually("it waits", async || (agent.startz().await.0 == 503).then_some(())).await;
    fs::remove_dir_all(pod.output()).expect("removed");
    agent.applied(3).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_folder_that_is_missing_is_waited_for() {
    let (api, pod) = (FakeApi::start().await, Pod::new());
    fs::remove_dir(pod.root().join("sd")).expect("removed");
    api.put(&payload(1));
    let agent = pod.start(Some(&api), &[]).await;
    eventually("the reason is known", async || agent.startz().await.1.contains("cannot lock").then_some(()))
        .await;
    fs::create_dir(pod.root().join("sd")).expect("made");
    agent.applied(1).await;
    let names = fs::read_dir(pod.root().join("sd")).expect("there").count();
    assert_eq!(names, 3, "the file, the state and the lock, no temp file");
    agent.stop().await;
}
