//! What an API server can answer, and what the agent makes of it; under a stopped clock and with the documented spans.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    body::{Body, Bytes},
    http::{Response, StatusCode},
};
use futures::StreamExt;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{
    fake_api::FakeApi,
    process::Agent,
    support::{Pod, eventually, payload},
    timed::{SOON, seconds, started},
};

/// A `Status` with what an overloaded server adds.
fn refusal(code: u16, retry_after: Option<u64>) -> Response<Body> {
    let mut answer = Response::builder().status(StatusCode::from_u16(code).expect("a code"));
    if let Some(seconds) = retry_after {
        answer = answer.header("Retry-After", seconds);
    }
    let status = json!({"kind": "Status", "metadata": {}, "code": code, "message": "by the test"});
    answer.body(Body::from(status.to_string())).expect("an answer")
}

fn error_event(code: u16, retry_after: Option<u64>) -> String {
    let details = json!({"retryAfterSeconds": retry_after});
    let status = json!({"kind": "Status", "metadata": {}, "code": code, "details": details});
    format!("{}\n", json!({"type": "ERROR", "object": status}))
}

/// Case 23.
#[tokio::test(start_paused = true)]
async fn a_watch_whose_time_is_over_is_resumed_at_once_without_a_read() {
    let (api, pod, agent) = started(1).await;
    let inode = pod.inode();
    let begun = Instant::now();
    while begun.elapsed() < seconds(3600) {
        sleep(SOON).await;
        assert!(agent.report().api.up, "down after {:?}", begun.elapsed());
    }
    let watches =
        api.tries().iter().filter(|(_, uri)| uri.query().unwrap_or_default().contains("watch=")).count();
    // 150 to 200 seconds each, and a read every 270 to 330.
    assert!((18..=25).contains(&watches), "{watches} watches in an hour");
    assert!((11..=15).contains(&api.reads()), "{} reads in an hour", api.reads());
    assert_eq!((pod.inode(), agent.restarts("ended")), (inode, 0));
    api.put(&payload(2));
    agent.applies(2, SOON).await;
}

/// Case 24.
#[tokio::test(start_paused = true)]
async fn an_expired_version_is_read_again_at_once_and_never_in_a_busy_loop() {
    let (api, _pod, agent) = started(1).await;
    for generation in [2, 3] {
        // Something was heard, then the version is too old.
        sleep(seconds(65)).await;
        let reads = api.reads();
        match generation {
            2 => api.send_text(&error_event(410, None)),
            _ => {
                api.answer_watch(refusal(410, None));
                sleep(seconds(200)).await;
            }
        }
        sleep(SOON).await;
        assert!(api.reads() > reads);
        assert!(agent.report().api.up, "nothing is wrong");
        api.put(&payload(generation));
        agent.applies(generation, SOON).await;
    }
    assert_eq!(agent.restarts("expired"), 2);

    // A server whose cache is too old for its own watches.
    for _ in 0..1000 {
        api.answer_watch(refusal(410, None));
    }
    sleep(seconds(61)).await;
    let tries = api.tries().len();
    api.send_text(&error_event(410, None));
    sleep(seconds(300)).await;
    let tries = &api.tries()[tries..];
    assert!(tries.len() < 100, "{} tries in five minutes", tries.len());
    let quorum = tries.iter().filter(|(_, uri)| uri.query().unwrap_or_default().is_empty()).count();
    assert!(quorum > 3, "the quorum was asked {quorum} times");
    assert!(!agent.report().api.up);
}

/// What a server that was restarted says: its cache begins later than the watch that is resumed.
#[tokio::test(start_paused = true)]
async fn a_version_that_expired_over_a_restart_costs_no_second_wait() {
    for code in [410, 401] {
        let (api, _pod, agent) = started(1).await;
        sleep(seconds(65)).await;
        let before = api.tries().len();
        api.answer_watch(refusal(code, None));
        api.end_watches();
        sleep(seconds(13)).await;
        let tries = &api.tries()[before..];
        assert_eq!(tries.len(), 3, "{code}: a watch, a read, a watch: {tries:?}");
        assert_eq!(tries[0].0, tries[2].0, "{code}: {tries:?}");
        assert!(agent.report().api.up);
    }
}

/// Case 24: an error inside a watch whose HTTP status said 200.
#[tokio::test(start_paused = true)]
async fn an_error_inside_a_watch_leads_to_a_read_after_the_wait_that_it_asks_for() {
    for (code, asked) in [(504, Some(7)), (500, None), (500, Some(20)), (429, Some(5))] {
        let (api, _pod, agent) = started(1).await;
        sleep(seconds(65)).await;
        let tries = api.tries().len();
        api.send_text(&error_event(code, asked));
        api.put(&payload(2));
        let took = agent.applies(2, seconds(asked.unwrap_or_default() + 13)).await;
        assert!(took >= seconds(asked.unwrap_or_default()), "{code}: after {took:?}");
        assert!(api.tries()[tries].1.path().ends_with(crate::fake_api::NAME), "{code}: no read");
    }
}

/// Case 25.
#[tokio::test(start_paused = true)]
async fn a_server_that_asks_to_be_left_alone_is_but_not_for_ever() {
    for (code, asked, most) in [(429, 7, 32), (503, 20, 45), (429, 86_400, 85)] {
        let (api, _pod, agent) = started(1).await;
        let refused_at = Instant::now();
        api.answer_read(refusal(code, Some(asked)));
        api.break_watches();
        agent.within(seconds(13), "it is refused", |_| agent.restarts(kind(code)) == 1).await;
        let first = api.tries().len();
        api.put(&payload(2));
        let took = agent.applies(2, seconds(most)).await;
        assert!(took + SOON >= seconds(asked.min(60)), "{code}: after {took:?}");
        assert!(api.tries()[first].0 > refused_at + seconds(asked.min(60)));
    }
}

fn kind(code: u16) -> &'static str {
    if code == 429 { "throttled" } else { "status" }
}

/// A read besides the watch is less worth than the watch.
#[tokio::test(start_paused = true)]
async fn a_watch_outlives_a_busy_server_that_cannot_be_read_besides() {
    let (api, _pod, agent) = started(1).await;
    for code in [429, 503] {
        api.answer_read(refusal(code, Some(30)));
    }
    agent.reread.notify_one();
    sleep(SOON).await;
    assert_eq!((agent.restarts("throttled"), api.open_watches()), (1, 1));
    let reads = api.reads();
    api.put(&payload(2));
    agent.applies(2, SOON).await;
    sleep(seconds(29)).await;
    assert_eq!(api.reads(), reads, "it stays away for as long as it is asked to");
    sleep(seconds(40)).await;
    assert_eq!((agent.restarts("status"), api.reads()), (1, reads + 2), "until the quorum has answered");
    assert!(agent.report().api.up);
    let (_, last) = api.tries().into_iter().next_back().expect("some");
    assert_eq!(last.query().unwrap_or_default(), "");
}

/// Case 25: bodies that no API server sends, to a read and to a watch.
#[tokio::test(start_paused = true)]
async fn garbage_changes_nothing_and_is_not_even_read_to_its_end() {
    let (api, pod, agent) = started(1).await;
    let object = json!({"metadata": {"name": "thanos", "resourceVersion": "9"}, "data": {"meta.json": "{"}})
        .to_string();
    let pulled = Arc::new(AtomicUsize::new(0));
    let large = |byte: u8| {
        let pulled = Arc::clone(&pulled);
        let chunk = Bytes::from(vec![byte; 64 * 1024]);
        Body::from_stream(futures::stream::iter(0..320).map(move |_| {
            pulled.fetch_add(chunk.len(), Ordering::Relaxed);
            Ok::<_, Infallible>(chunk.clone())
        }))
    };
    let bodies: [(&str, &dyn Fn() -> Body); 9] = [
        ("nothing", &Body::empty),
        ("a page", &|| Body::from("<html>\n")),
        ("no UTF-8", &|| Body::from(b"{\"metadata\":{\"name\":\"\xff\xfe\"}}\n".to_vec())),
        ("cut JSON", &|| Body::from(object[..object.len() - 9].to_owned())),
        ("a cut line", &|| Body::from(format!("{}\n", &object[..object.len() - 9]))),
        ("deep JSON", &|| Body::from(format!("{}\n", "[".repeat(100_000)))),
        ("20 MB of space", &|| large(b' ')),
        ("20 MB of text", &|| large(b'x')),
        ("20 MB of lines", &|| large(b'\n')),
    ];
    let mut generation = 1;
    for (what, body) in bodies {
        for is_read in [true, false] {
            let (text, inode) = (pod.text(), pod.inode());
            pulled.store(0, Ordering::Relaxed);
            let tries = api.tries().len();
            match is_read {
                true => api.answer_read(Response::new(body())),
                false => api.answer_watch(Response::new(body())),
            }
            api.break_watches();
            sleep(seconds(14)).await;
            assert!(api.tries().len() > tries + usize::from(!is_read), "{what}: it was not asked");
            assert_eq!((pod.text(), pod.inode()), (text, inode), "{what}");
            let pulled = pulled.load(Ordering::Relaxed);
            assert!(pulled < 5_000_000, "{what}: {pulled} bytes were read");
            generation += 1;
            api.put(&payload(generation));
            agent.applies(generation, seconds(35)).await;
            // All is well again once the watch spoke.
            sleep(seconds(61)).await;
        }
    }
    assert!(agent.restarts("unreadable") >= 9 && agent.restarts("broken") >= 4);
}

/// Case 25: a body that comes byte by byte.
#[tokio::test(start_paused = true)]
async fn a_body_that_never_ends_is_given_up() {
    let slow = || {
        Body::from_stream(futures::stream::unfold((), |()| async {
            sleep(seconds(5)).await;
            Some((Ok::<_, Infallible>(" "), ()))
        }))
    };
    let (api, _pod, agent) = started(1).await;
    api.answer_read(Response::new(slow()));
    api.break_watches();
    api.put(&payload(2));
    // The spread, the limit of a request, the next wait.
    agent.applies(2, seconds(12 + 10 + 24)).await;
    assert_eq!(agent.restarts("timeout"), 1);
    sleep(seconds(61)).await;

    api.answer_watch(Response::new(slow()));
    api.break_watches();
    sleep(seconds(13)).await;
    api.put(&payload(3));
    agent.applies(3, seconds(90 + 24)).await;
    assert_eq!(agent.restarts("silent"), 1);
}

/// Case 26, with the real client's handling of token files.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotated_token_is_read_at_once_and_one_that_is_gone_is_kept() {
    let (api, pod) = (FakeApi::start().await, Pod::new());
    let token = pod.root().join("token");
    let rotate = |to: &str| std::fs::write(&token, to).expect("written");
    rotate("one");
    api.require_token("one");
    api.put(&payload(1));
    let agent = Agent::start_with(&pod, &api, &json!({"tokenFile": token}));
    assert_eq!(agent.applied(1).await, "api");

    // The client believes in a token for a minute; only a refusal makes it look again.
    rotate("two");
    api.require_token("two");
    agent.signal("HUP");
    eventually("the old token is refused", async || (api.refused_tokens() > 0).then_some(())).await;
    api.put(&payload(2));
    assert_eq!(agent.applied(2).await, "api");

    std::fs::remove_file(&token).expect("removed");
    let refused = api.refused_tokens();
    api.require_token("three");
    agent.signal("HUP");
    eventually("the token is refused", async || (api.refused_tokens() > refused).then_some(())).await;
    // Nothing new can be read; the old token counts again.
    api.require_token("two");
    api.put(&payload(3));
    assert_eq!(agent.applied(3).await, "api");
}
