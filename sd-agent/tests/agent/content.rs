//! What is in a document: what is refused, and what becomes of it in this pod.

use sd_agent::{
    Document, Endpoint, EndpointType, Payload, configmap,
    payload::{DOCUMENT_KEY, META_KEY, sha256_hex},
};
use serde_json::json;

use crate::{
    fake_api::FakeApi,
    support::{Pod, eventually, payload, payload_of},
};

/// Vouched for by its `meta.json`, whatever it is.
pub fn vouched(generation: u64, text: &str, count: usize) -> Payload {
    let meta = json!({
        "format": 1, "owner": "owner", "generation": generation, "sha256": sha256_hex(text.as_bytes()),
        "count": count, "bytes": text.len(), "emptyOk": false, "writtenAt": "2026-11-23T00:00:00Z",
    });
    let mut payload = Payload::default();
    payload.data.insert(META_KEY.to_owned(), meta.to_string());
    payload.data.insert(DOCUMENT_KEY.to_owned(), text.to_owned());
    payload
}

/// Case 30.
#[tokio::test]
async fn a_document_that_says_nothing_is_refused_with_the_right_reason() {
    let (api, pod) = (FakeApi::start().await, Pod::new());
    api.put(&payload(1));
    let agent = pod.start(Some(&api), &[]).await;
    agent.applied(1).await;
    let before = pod.text();
    let mut counts = std::collections::BTreeMap::<&str, usize>::new();
    for (generation, text, reason) in [
        (2, "", "empty"),
        (3, " \n\t ", "empty"),
        (4, "# nothing\n", "empty"),
        (5, "{}", "schema"),
        (6, "{\"endpoints\":null}", "schema"),
        (7, "{\"endpoint\":[]}", "schema"),
        (8, "{\"endpoints\":[]}", "empty"),
        (9, "endpoints:\n- a:1\n", "parse"),
    ] {
        api.put(&vouched(generation, text, 0));
        let report = agent
            .reported("it is refused", |report| {
                report.api.generation == Some(generation) && report.refused.is_some()
            })
            .await;
        assert_eq!(report.refused.expect("refused").reason, reason, "{text:?}");
        let count = counts.entry(reason).or_default();
        *count += 1;
        agent.counted(&format!("rejected_total{{reason=\"{reason}\"}}"), *count).await;
        assert_eq!(pod.text(), before, "{text:?}");
    }
    // Without an envelope, with a broken one, with nothing at all.
    for (data, reason) in [
        (json!({"endpoints.json": "{\"endpoints\":[]}"}), "envelope"),
        (json!({"endpoints.json": "x", "meta.json": "{}"}), "envelope"),
        (json!(null), "missing"),
    ] {
        api.put_raw(data, json!(null));
        agent
            .reported("it is refused", |report| {
                report.refused.as_ref().is_some_and(|refused| refused.reason == reason)
            })
            .await;
    }
    assert_eq!(pod.text(), before);
    api.put(&payload(10));
    let report = agent.applied(10).await;
    assert_eq!(report.refused, None);
    agent.stop().await;
}

/// Case 31.
#[tokio::test]
async fn no_endpoints_at_all_is_fine_when_it_is_meant() {
    let (api, pod) = (FakeApi::start().await, Pod::new());
    api.put(&payload_of(1, &Document::default()));
    let agent = pod.start(Some(&api), &[]).await;
    agent.applied(1).await;
    assert_eq!(pod.text(), "{\"endpoints\":[]}\n");
    assert_eq!(agent.startz().await.0, 200);
    agent.stop().await;
}

/// Case 32: every length of a valid payload, under its valid envelope.
#[tokio::test]
async fn a_torn_document_is_never_applied() {
    let (api, pod) = (FakeApi::start().await, Pod::new());
    api.put(&payload(1));
    let agent = pod.start(Some(&api), &[]).await;
    agent.applied(1).await;
    let before = pod.text();
    let whole = payload(2);
    let text = whole.data[DOCUMENT_KEY].clone();
    for length in 0..text.len() {
        let mut torn = whole.clone();
        torn.data.insert(DOCUMENT_KEY.to_owned(), text[..length].to_owned());
        api.put(&torn);
    }
    agent.reported("all were seen", |report| report.refused.is_some()).await;
    assert_eq!(pod.text(), before);
    api.put(&whole);
    agent.applied(2).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_torn_gzip_in_the_mount_is_never_applied() {
    let large: Vec<Endpoint> = (0..3000)
        .map(|index| Endpoint::regular(format!("store-{index}.demo.svc:10901").parse().expect("an address")))
        .collect();
    let whole = payload_of(2, &Document::new(large).expect("valid"));
    let mut pod = Pod::new();
    pod.mount.show(&payload(1));
    let agent = pod.start(None, &["--source=mount"]).await;
    agent.applied(1).await;
    let before = pod.text();
    let (_, binary) = configmap::parts(&whole);
    let bytes = binary.gzip.expect("gzipped").0;
    for length in [0, 1, 10, bytes.len() / 2, bytes.len() - 1] {
        let mut torn = whole.clone();
        torn.binary_data.values_mut().for_each(|packed| packed.truncate(length));
        pod.mount.show(&torn);
        agent.reported("it is refused", |report| report.refused.is_some()).await;
        assert_eq!(pod.text(), before);
    }
    pod.mount.show(&whole);
    let report = agent.applied(2).await;
    assert_eq!(report.applied.expect("applied").in_file, 3000);
    agent.stop().await;
}

#[tokio::test]
async fn each_pod_gets_its_own_format_and_no_endpoint_that_it_has_as_a_flag() {
    let strict = "strict.demo.svc:10901".parse::<sd_agent::Address>().expect("an address");
    let document = Document::new(vec![
        Endpoint::regular("a.demo.svc:1".parse().expect("an address")),
        Endpoint::flagged(EndpointType::Strict, strict.clone(), strict),
    ])
    .expect("valid");
    let api = FakeApi::start().await;
    api.put(&payload_of(1, &document));
    for (version, flag, text) in [
        ("v0.37.2", None, "[{\"targets\":[\n\"a.demo.svc:1\",\n\"strict.demo.svc:10901\"\n]}]\n"),
        ("v0.37.2", Some("strict.demo.svc:10901"), "[{\"targets\":[\n\"a.demo.svc:1\"\n]}]\n"),
        ("v0.42.4", Some("strict.demo.svc:10901"), "{\"endpoints\":[\n{\"address\":\"a.demo.svc:1\"}\n]}\n"),
    ] {
        let pod = Pod::new();
        let flag = flag.map(|flag| format!("--flagged={flag}"));
        let more: Vec<&str> = flag.as_deref().into_iter().collect();
        let agent = pod.start_for(&api, version, &more).await;
        let report = agent.applied(1).await;
        assert_eq!(pod.text(), text);
        let applied = report.applied.expect("applied");
        assert_eq!((applied.endpoints, applied.in_file), (2, 2 - more.len()));
        eventually("the endpoints are counted", async || {
            agent.metrics().await.contains(&format!("sd_agent_endpoints {}", applied.in_file)).then_some(())
        })
        .await;
        agent.stop().await;
    }
}
