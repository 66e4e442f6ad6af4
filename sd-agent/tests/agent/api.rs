//! The API as a source: what it delivers, how it fails, what is asked of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::body::Body;
use sd_agent::timing::Timing;
use serde_json::json;

use crate::{
    fake_api::{FakeApi, NAME, NAMESPACE},
    support::{Pod, document, eventually, generation_of, payload, payload_of, quick},
};

/// Case 1.
#[tokio::test]
async fn every_change_of_the_config_map_reaches_the_file() {
    let (api, pod) = (FakeApi::start().await, Pod::new());
    api.put(&payload(1));
    let agent = pod.start(Some(&api), &[]).await;
    agent.applied(1).await;
    for generation in 2..=200 {
        api.put(&payload(generation));
        eventually("the file follows", async || {
            (generation_of(&pod.text()) == Some(generation)).then_some(())
        })
        .await;
    }
    let report = agent.applied(200).await;
    assert_eq!(report.applied.expect("applied").source, "api");
    assert_eq!(api.reads(), 1, "the watch alone delivers changes");
    agent.stop().await;
}

/// Case 2; and case 41 on the way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_ends_at_the_last_change_and_no_reader_sees_an_older_or_torn_file() {
    let (api, pod) = (FakeApi::start().await, Pod::new());
    api.put(&payload(1));
    let agent = pod.start(Some(&api), &[]).await;
    agent.applied(1).await;
    let (path, done) = (pod.output(), Arc::new(AtomicBool::new(false)));
    let reader = std::thread::spawn({
        let done = Arc::clone(&done);
        move || {
            let (mut last, mut reads) = (1, 0);
            while !done.load(Ordering::Relaxed) {
                let text = std::fs::read_to_string(&path).expect("never missing");
                let now = generation_of(&text).unwrap_or_else(|| panic!("torn: {text:?}"));
                assert!(now >= last, "went back from {last} to {now}");
                (last, reads) = (now, reads + 1);
            }
            reads
        }
    });
    for generation in 2..=50 {
        api.put(&payload_of(generation, &document(generation, 300)));
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    agent.applied(50).await;
    let metrics = agent.metrics().await;
    let count = metrics.lines().find_map(|line| line.strip_prefix("sd_agent_apply_duration_seconds_count "));
    let count: u64 = count.and_then(|count| count.parse().ok()).expect("a count");
    assert!((2..=50).contains(&count), "{count} writes for 50 updates");
    done.store(true, Ordering::Relaxed);
    assert!(reader.join().expect("the reader was content") > 0);
    agent.stop().await;
}

/// Case 15.
#[tokio::test]
async fn a_config_map_that_is_deleted_and_made_again_keeps_the_last_good_file_in_between() {
    let (api, pod) = (FakeApi::start().await, Pod::new());
    api.put(&payload(1));
    let agent = pod.start(Some(&api), &[]).await;
    agent.applied(1).await;
    let before = pod.text();
    api.delete();
    agent.reported("the deletion is seen", |report| !report.api.up && report.api.error.is_some()).await;
    assert_eq!(pod.text(), before);
    api.put(&payload(2));
    let report = agent.applied(2).await;
    assert!(report.api.up);
    agent.stop().await;
}

/// Case 20.
#[tokio::test]
async fn without_any_document_the_agent_waits_and_starts_when_one_appears() {
    let (api, pod) = (FakeApi::start().await, Pod::new());
    let agent = pod.start(Some(&api), &[]).await;
    let (code, why) = eventually("the reason is known", async || {
        Some(agent.startz().await).filter(|(_, why)| why.contains("404") && why.contains("mount"))
    })
    .await;
    assert_eq!(code, 503, "{why}");
    assert!(!pod.output().exists());
    api.put(&payload(7));
    agent.applied(7).await;
    assert_eq!(agent.startz().await.0, 200);
    agent.stop().await;
}

/// Case 28, as far as no real API server is needed.
#[tokio::test]
async fn only_get_and_watch_of_the_one_name_are_ever_requested() {
    let (api, pod) = (FakeApi::start().await, Pod::new());
    let agent = pod.start(Some(&api), &[]).await;
    eventually("it asks although there is nothing", async || (api.reads() > 2).then_some(())).await;
    api.put(&payload(5));
    agent.applied(5).await;
    api.put(&payload(3));
    agent.applied(3).await;
    agent.reread.notify_one();
    eventually("it reads again", async || (api.reads() > 5).then_some(())).await;
    api.end_watches();
    eventually("it watches again", async || (api.open_watches() == 1).then_some(())).await;
    api.delete();
    agent.stop().await;

    let folder = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
    let get = format!("GET {folder}/{NAME}");
    let watch = format!("GET {folder}?&watch=true");
    for request in api.requests() {
        if request == get || request == format!("{get}?&resourceVersion=0") {
            continue;
        }
        assert!(request.starts_with(&watch), "not allowed: {request}");
        for part in
            [&format!("fieldSelector=metadata.name%3D{NAME}"), "allowWatchBookmarks=true", "timeoutSeconds=1"]
        {
            assert!(request.contains(part), "{part} is missing: {request}");
        }
        let version = request.split("resourceVersion=").nth(1).expect("a version");
        assert!(version.parse::<u64>().expect("a number") > 0, "no explicit version: {request}");
    }
}

/// Case 12, last part.
#[tokio::test]
async fn a_lower_generation_from_a_lagging_server_is_not_believed() {
    let (api, pod) = (FakeApi::start().await, Pod::new());
    api.put(&payload(10));
    let agent = pod.start(Some(&api), &[]).await;
    agent.applied(10).await;
    let reads = api.reads();
    api.send_event(&payload(9));
    eventually("the quorum is asked", async || (api.reads() > reads).then_some(())).await;
    api.put(&payload(11));
    agent.applied(11).await;
    assert!(agent.metrics().await.contains("sd_agent_regressions_total 0"));
    assert_eq!(api.requests().last().map(|request| request.contains("resourceVersion=0")), Some(false));
    agent.stop().await;
}

/// Case 14.
#[tokio::test]
async fn a_restored_config_map_is_applied_once_the_quorum_confirms_it_and_the_mount_cannot_flip_it_back() {
    let (api, mut pod) = (FakeApi::start().await, Pod::new());
    api.put(&payload(10));
    pod.mount.show(&payload(10));
    let agent = pod.start(Some(&api), &[]).await;
    agent.applied(10).await;
    api.put(&payload(5));
    agent.applied(5).await;
    agent.counted("regressions_total", 1).await;
    // The API goes, and the mount still shows what was given up; also to an agent that starts afresh.
    api.refuse_reads(Some(503));
    api.refuse_watches(Some(503));
    api.end_watches();
    agent.reported("the API is down", |report| !report.api.up).await;
    pod.mount.show(&payload(10));
    agent.stop().await;
    let agent = pod.start(Some(&api), &[]).await;
    agent.reported("the mount is read", |report| report.mount.generation == Some(10)).await;
    assert_eq!(agent.report().await.applied.expect("restored").generation, 5);
    pod.mount.show(&payload(11));
    agent.applied(11).await;
    agent.stop().await;
}

/// Case 13.
#[tokio::test]
async fn another_content_under_the_same_generation_is_taken_from_the_quorum() {
    let (api, pod) = (FakeApi::start().await, Pod::new());
    api.put(&payload(10));
    let agent = pod.start(Some(&api), &[]).await;
    agent.applied(10).await;
    api.put(&payload_of(10, &document(99, 1)));
    eventually("the other content is applied", async || {
        (generation_of(&pod.text()) == Some(99)).then_some(())
    })
    .await;
    agent.counted("conflicts_total", 1).await;
    agent.stop().await;
}

/// Case 16, as the design has it: a ThanosQuery that was deleted and made again is followed.
#[tokio::test]
async fn a_new_owner_counts_with_a_higher_generation_from_the_api() {
    let (api, pod) = (FakeApi::start().await, Pod::new());
    api.put(&payload(10));
    let agent = pod.start(Some(&api), &[]).await;
    agent.applied(10).await;
    let other = sd_agent::Payload::pack(&document(11, 1), "other", 11, jiff::Timestamp::now()).expect("fits");
    api.put(&other);
    agent.applied(11).await;
    agent.stop().await;
}

/// Case 23.
#[tokio::test]
async fn a_watch_that_ends_is_resumed_where_it_was_without_a_read() {
    let (api, pod) = (FakeApi::start().await, Pod::new());
    api.put(&payload(1));
    let agent = pod.start(Some(&api), &[]).await;
    agent.applied(1).await;
    api.send(&json!({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "1"}}}));
    let inode = pod.inode();
    for _ in 0..3 {
        api.end_watches();
        eventually("it watches again", async || (api.open_watches() == 1).then_some(())).await;
    }
    assert_eq!((api.reads(), pod.inode()), (1, inode));
    api.put(&payload(2));
    agent.applied(2).await;
    agent.stop().await;
}

/// Case 24.
#[tokio::test]
async fn an_expired_watch_and_an_error_inside_a_watch_lead_to_a_new_read() {
    let (api, pod) = (FakeApi::start().await, Pod::new());
    api.put(&payload(1));
    let agent = pod.start(Some(&api), &[]).await;
    agent.applied(1).await;
    for (code, generation) in [(410, 2), (504, 3), (500, 4)] {
        eventually("it watches", async || (api.open_watches() == 1).then_some(())).await;
        let reads = api.reads();
        api.send(&json!({"type": "ERROR", "object": {"kind": "Status", "metadata": {}, "code": code}}));
        api.end_watches();
        eventually("it reads again", async || (api.reads() > reads).then_some(())).await;
        api.put(&payload(generation));
        agent.applied(generation).await;
    }
    agent.counted("watch_restarts_total{reason=\"expired\"}", 1).await;
    agent.stop().await;
}

/// Case 22.
#[tokio::test]
async fn a_silent_watch_is_given_up_and_what_it_missed_is_applied() {
    let (api, pod) = (FakeApi::start().await, Pod::new());
    api.put(&payload(1));
    let timing = Timing { silence: Duration::from_millis(200), ..quick() };
    let agent = pod.start_with(Some(&api), &[], timing, true).await;
    agent.applied(1).await;
    agent.counted("watch_restarts_total{reason=\"silent\"}", 1).await;
    api.put(&payload(2));
    agent.applied(2).await;
    agent.stop().await;
}

#[tokio::test]
async fn what_the_watch_lost_is_found_by_a_read_from_time_to_time() {
    let (api, pod) = (FakeApi::start().await, Pod::new());
    api.put(&payload(1));
    let recheck = (Duration::from_millis(50), Duration::from_millis(60));
    let agent = pod.start_with(Some(&api), &[], Timing { recheck, ..quick() }, true).await;
    agent.applied(1).await;
    let reads = api.reads();
    eventually("it reads again", async || (api.reads() > reads + 2).then_some(())).await;
    assert_eq!(api.open_watches(), 1);
    agent.stop().await;
}

/// Case 25.
#[tokio::test]
async fn garbage_from_the_api_changes_nothing() {
    let (api, pod) = (FakeApi::start().await, Pod::new());
    api.put(&payload(1));
    let agent = pod.start(Some(&api), &[]).await;
    agent.applied(1).await;
    let before = pod.text();
    let never = futures::stream::pending::<Result<String, std::io::Error>>();
    let garbage = || {
        [
            Body::from("<html>"),
            Body::from(vec![0xff_u8; 1000]),
            Body::from("{\"metadata\":{\"name\":\"thanos"),
            Body::from(vec![b' '; 20_000_000]),
            Body::from("{}"),
            Body::from("{\"metadata\":{\"name\":\"other\",\"resourceVersion\":\"9\"}}"),
        ]
    };
    let count = garbage().len();
    for body in garbage() {
        api.answer_next_read(body);
    }
    let reads = api.reads();
    agent.reread.notify_one();
    eventually("it read all of it", async || (api.reads() > reads + count).then_some(())).await;
    assert_eq!(pod.text(), before);
    api.put(&payload(2));
    agent.applied(2).await;
    agent.stop().await;

    let timing = Timing { request: Duration::from_millis(100), ..quick() };
    let agent = pod.start_with(Some(&api), &[], timing, true).await;
    agent.applied(2).await;
    api.answer_next_read(Body::from_stream(never));
    agent.reread.notify_one();
    agent.counted("watch_restarts_total{reason=\"timeout\"}", 1).await;
    api.put(&payload(3));
    agent.applied(3).await;
    agent.stop().await;
}

/// Case 27.
#[tokio::test]
async fn rights_that_are_taken_away_make_the_mount_lead_until_they_are_back() {
    let (api, mut pod) = (FakeApi::start().await, Pod::new());
    api.put(&payload(1));
    pod.mount.show(&payload(1));
    let agent = pod.start(Some(&api), &[]).await;
    agent.applied(1).await;
    api.refuse_reads(Some(403));
    api.refuse_watches(Some(403));
    api.end_watches();
    agent.counted("source_up{source=\"api\"}", 0).await;
    pod.mount.show(&payload(2));
    let report = agent.applied(2).await;
    assert_eq!(report.applied.expect("applied").source, "mount");
    assert!(report.api.error.expect("an error").contains("403"));
    api.put(&payload(3));
    api.refuse_reads(None);
    api.refuse_watches(None);
    let report = agent.applied(3).await;
    assert_eq!(report.applied.expect("applied").source, "api");
    agent.stop().await;
}
