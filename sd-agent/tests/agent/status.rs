//! What an agent says at `/status`: against a Thanos that only lists stores, and clients that do as they should not.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{Router, routing::get};
use sd_agent::{Document, Endpoint, http::AT_ONCE, report::ThanosReport};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    fake_api::FakeApi,
    support::{Pod, document, eventually, payload, payload_of},
};

/// Stores with their last error.
type Stores = Arc<Mutex<BTreeMap<&'static str, Option<&'static str>>>>;

/// Something that lists stores as Thanos does.
async fn thanos(stores: &[(&'static str, Option<&'static str>)]) -> (SocketAddr, Stores) {
    let stores: Stores = Arc::new(Mutex::new(stores.iter().copied().collect()));
    let listed = Arc::clone(&stores);
    let page = move || {
        let stores = listed.lock().expect("no panic");
        let stores: Vec<serde_json::Value> = stores
            .iter()
            .map(|(name, error)| {
                serde_json::json!({"name": name, "lastError": error, "labelSets": [{"name": "x"}]})
            })
            .collect();
        let answer = serde_json::json!({"status": "success", "data": {"store": stores}});
        async move { answer.to_string() }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let pages = Router::new().route("/thanos/api/v1/stores", get(page));
    tokio::spawn(async move { axum::serve(listener, pages).await });
    (address, stores)
}

fn url(address: SocketAddr) -> String {
    format!("--thanos-stores-url=http://{address}/thanos/api/v1/stores")
}

fn of(addresses: &[&str]) -> Document {
    let endpoints = addresses.iter().map(|text| Endpoint::regular(text.parse().expect("an address")));
    Document::new(endpoints.collect()).expect("valid")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_thanos_serves_of_the_file_is_told_and_what_it_does_not_list_is_missing() {
    let (address, stores) = thanos(&[
        ("a.demo.svc:1", None),
        ("b.demo.svc:1", Some("connection refused")),
        // Of the name that is looked up, and of a flag.
        ("10.0.0.7:1", None),
        ("flagged.demo.svc:1", None),
    ])
    .await;
    let (api, pod) = (FakeApi::start().await, Pod::new());
    let names = ["a.demo.svc:1", "b.demo.svc:1", "c.demo.svc:1", "dns+d.demo.svc:1"];
    api.put(&payload_of(1, &of(&names)));
    let agent = pod.start(Some(&api), &[&url(address)]).await;
    agent.applied(1).await;
    let expected = ThanosReport {
        error: None,
        healthy: 3,
        unhealthy: 1,
        served: 1,
        failing: 1,
        missing: 1,
        missing_addresses: vec!["c.demo.svc:1".to_owned()],
        // After some looks in a row.
        unreachable: Some(vec!["b.demo.svc:1".to_owned(), "c.demo.svc:1".to_owned()]),
    };
    agent.reported("one is missing", |report| report.thanos.as_ref() == Some(&expected)).await;
    agent.counted("thanos_up", 1).await;
    agent.counted("thanos_missing", 1).await;
    agent.counted("thanos_stores{state=\"healthy\"}", 3).await;
    agent.counted("thanos_stores{state=\"unhealthy\"}", 1).await;

    stores.lock().expect("no panic").insert("c.demo.svc:1", None);
    agent
        .reported("none is missing", |report| {
            report.thanos.as_ref().is_some_and(|thanos| (thanos.served, thanos.missing) == (2, 0))
        })
        .await;
    agent.counted("thanos_missing", 0).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_thanos_that_nobody_can_ask_nothing_is_claimed() {
    let (api, pod) = (FakeApi::start().await, Pod::new());
    api.put(&payload_of(1, &of(&["a.demo.svc:1", "dns+b.demo.svc:1"])));
    let agent = pod.start(Some(&api), &[]).await;
    agent.applied(1).await;
    let metrics = agent.metrics().await;
    let claims =
        ["sd_agent_thanos_up", "sd_agent_thanos_missing", "sd_agent_thanos_stores", "sd_agent_dns_failing"];
    let claimed: Vec<&str> =
        metrics.lines().filter(|line| claims.iter().any(|claim| line.starts_with(claim))).collect();
    assert!(claimed.is_empty(), "{claimed:?}");
    agent.reported("nothing of Thanos", |report| report.thanos.is_none()).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thanos_that_lists_no_stores_is_told_with_the_reason_and_the_file_goes_on() {
    let (address, _) = thanos(&[]).await;
    let elsewhere = format!("--thanos-stores-url=http://{address}/api/v1/stores");
    let (api, pod) = (FakeApi::start().await, Pod::new());
    api.put(&payload(1));
    let agent = pod.start(Some(&api), &[&elsewhere]).await;
    let is_told = |why: Option<&str>| why == Some("the answer is 404 Not Found");
    agent
        .reported("the reason", |report| {
            report.thanos.as_ref().is_some_and(|thanos| is_told(thanos.error.as_deref()))
        })
        .await;
    agent.counted("thanos_up", 0).await;
    api.put(&payload(2));
    agent.applied(2).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_url_of_its_stores_thanos_is_not_asked() {
    let (api, pod) = (FakeApi::start().await, Pod::new());
    api.put(&payload(1));
    let agent = pod.start(Some(&api), &[]).await;
    assert_eq!(agent.applied(1).await.applied.map(|applied| applied.owner).as_deref(), Some("owner"));
    assert_eq!(agent.report().await.thanos, None);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_cannot_be_written_is_told_with_the_step_until_it_can() {
    let (api, pod) = (FakeApi::start().await, Pod::new());
    api.put(&payload(1));
    let agent = pod.start(Some(&api), &[]).await;
    agent.applied(1).await;
    assert_eq!(agent.report().await.cannot_write, None);

    // A folder in the place of the file: nobody can rename over it, root neither.
    eventually("the place of the file is taken", async || {
        // The agent may have repaired the file in between.
        let _ = fs::remove_file(pod.output());
        fs::create_dir_all(pod.output().join("inside")).ok()
    })
    .await;
    api.put(&payload(2));
    let report = agent.reported("the step is told", |report| report.cannot_write.is_some()).await;
    let cannot = report.cannot_write.expect("told");
    assert!(!cannot.step.is_empty() && cannot.message.contains("endpoints.yaml"), "{cannot:?}");
    assert_eq!(report.applied.map(|applied| applied.generation), Some(1));

    fs::remove_dir_all(pod.output()).expect("removed");
    let report = agent.applied(2).await;
    assert_eq!(report.cannot_write, None);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_has_no_document_is_not_present_although_it_can_be_read() {
    let (api, mut pod) = (FakeApi::start().await, Pod::new());
    api.put(&payload(1));
    pod.mount.show(&payload(1));
    let agent = pod.start(Some(&api), &[]).await;
    agent.applied(1).await;
    agent.counted("source_present{source=\"api\"}", 1).await;
    agent.counted("source_present{source=\"mount\"}", 1).await;
    pod.mount.empty();
    agent.counted("source_present{source=\"mount\"}", 0).await;
    assert_eq!(pod.text(), {
        let version = sd_agent::ThanosVersion::new(0, 42, 4);
        sd_agent::render::render(&document(1, 2), version, &[]).text
    });
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_say_nothing_do_not_keep_others_out() {
    let (api, pod) = (FakeApi::start().await, Pod::new());
    api.put(&payload(1));
    let agent = pod.start(Some(&api), &[]).await;
    agent.applied(1).await;
    let mut silent = Vec::new();
    for _ in 0..AT_ONCE + 5 {
        let mut stream = TcpStream::connect(agent.address).await.expect("connected");
        // Half a request.
        stream.write_all(b"GET /status HTTP/1.1\r\nhost:").await.expect("sent");
        silent.push(stream);
    }
    eventually("it answers", async || {
        let (code, _) = crate::support::get(agent.address, "/livez").await?;
        (code == 200).then_some(())
    })
    .await;
    // The oldest ones had to go.
    let mut buffer = [0; 64];
    let end = silent[0].read(&mut buffer).await;
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_whose_head_is_too_long_is_refused() {
    let (api, pod) = (FakeApi::start().await, Pod::new());
    api.put(&payload(1));
    let agent = pod.start(Some(&api), &[]).await;
    agent.applied(1).await;
    let mut stream = TcpStream::connect(agent.address).await.expect("connected");
    let head = format!("GET /status HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "x".repeat(64 * 1024));
    // It may close before it has all.
    let _ = stream.write_all(head.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    assert!(crate::support::get(agent.address, "/livez").await.is_some_and(|(code, _)| code == 200));
    agent.stop().await;
}
