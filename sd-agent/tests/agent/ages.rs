//! An agent and an operator of different age: neither waits for the other, and what cannot be used is told.

use sd_agent::{
    Address, Document, ThanosVersion,
    payload::{DOCUMENT_KEY, FORMAT, META_KEY},
    render::render,
};
use serde_json::{Value, json};

use crate::{
    content::vouched,
    fake_api::FakeApi,
    support::{Pod, payload},
};

/// The `data` of a ConfigMap as the operator wrote it when entries had no `inFile` and no `needs` yet.
const FIRST: &str = include_str!("../fixtures/format-1.json");
/// The flags of its pods.
const FLAGS: [&str; 6] = [
    "group-strict.demo.svc.cluster.local:80",
    "dns+group.demo.svc.cluster.local:80",
    "strict-headless-0.strict-headless.demo.svc.cluster.local:10901",
    "strict-headless-1.strict-headless.demo.svc.cluster.local:10901",
    "strict.demo.svc.cluster.local:80",
    "dnssrv+_grpc._tcp.group-headless.demo.svc.cluster.local",
];

fn first() -> Value {
    serde_json::from_str(FIRST).expect("JSON")
}

#[tokio::test]
async fn what_the_first_operator_wrote_is_read_and_becomes_the_file_that_it_was() {
    let (api, pod) = (FakeApi::start().await, Pod::new());
    api.put_raw(first(), json!(null));
    let flags = FLAGS.map(|flag| format!("--flagged={flag}"));
    let agent = pod.start(Some(&api), &flags.each_ref().map(String::as_str)).await;
    let applied = agent.applied(42).await.applied.expect("applied");
    assert_eq!((applied.endpoints, applied.in_file, applied.too_new), (9, 3, 0));
    assert_eq!(
        pod.text(),
        "{\"endpoints\":[\n\
         {\"address\":\"regular.demo.svc.cluster.local:80\"},\n\
         {\"address\":\"thanos.example.org:443\"},\n\
         {\"address\":\"dnssrv+_grpc._tcp.regular-headless.demo.svc.cluster.local\"}\n\
         ]}\n"
    );
    agent.stop().await;
}

/// Else every agent would get a new document when the operator is upgraded.
#[test]
fn what_the_first_operator_wrote_is_written_the_same_today() {
    let data = first();
    let text = data[DOCUMENT_KEY].as_str().expect("a text");
    let document: Document = serde_json::from_str(text).expect("readable");
    assert_eq!(document.to_json(), text);
    let flags = FLAGS.map(|flag| flag.parse::<Address>().expect(flag));
    let rendered = render(&document, ThanosVersion::new(0, 35, 1), &flags);
    assert_eq!(
        rendered.text,
        "[{\"targets\":[\n\
         \"regular.demo.svc.cluster.local:80\",\n\
         \"thanos.example.org:443\",\n\
         \"dnssrv+_grpc._tcp.regular-headless.demo.svc.cluster.local\"\n\
         ]}]\n"
    );
}

#[tokio::test]
async fn of_a_newer_operator_the_endpoints_that_are_known_are_used_and_the_others_counted() {
    let (api, pod) = (FakeApi::start().await, Pod::new());
    let newer = concat!(
        "{\"endpoints\":[\n",
        "{\"file\":\"a.demo.svc:1\",\"type\":\"Regular\",\"weight\":3},\n",
        "{\"file\":\"b.demo.svc:1\",\"type\":\"Regular\",\"needs\":3},\n",
        "{\"file\":{\"unix\":\"/run/c\"},\"type\":\"Local\",\"needs\":4}\n",
        "]}\n"
    );
    api.put(&vouched(1, newer, 3));
    let agent = pod.start(Some(&api), &[]).await;
    let applied = agent.applied(1).await.applied.expect("applied");
    assert_eq!((applied.endpoints, applied.in_file, applied.too_new), (3, 1, 2));
    assert_eq!(pod.text(), "{\"endpoints\":[\n{\"address\":\"a.demo.svc:1\"}\n]}\n");
    agent.counted("too_new", 2).await;

    // Its own restart forgets nothing of it.
    agent.stop().await;
    let agent = pod.start(None, &[]).await;
    assert_eq!(agent.applied(1).await.applied.expect("applied").too_new, 2);
    agent.stop().await;

    let agent = pod.start(Some(&api), &[]).await;
    api.put(&payload(2));
    assert_eq!(agent.applied(2).await.applied.expect("applied").too_new, 0);
    agent.counted("too_new", 0).await;
    agent.stop().await;
}

#[tokio::test]
async fn an_envelope_of_another_format_is_refused_and_the_last_good_file_stays() {
    let (api, pod) = (FakeApi::start().await, Pod::new());
    api.put(&payload(1));
    let agent = pod.start(Some(&api), &[]).await;
    agent.applied(1).await;
    let before = pod.text();
    let mut newer = payload(2);
    let (old, new) = (format!("\"format\":{FORMAT}"), format!("\"format\":{}", FORMAT + 1));
    let meta = newer.data[META_KEY].replace(&old, &new);
    assert_ne!(meta, newer.data[META_KEY]);
    newer.data.insert(META_KEY.to_owned(), meta);
    api.put(&newer);
    let report = agent.reported("it is refused", |report| report.refused.is_some()).await;
    let refused = report.refused.expect("refused");
    assert_eq!(refused.reason, "envelope");
    assert!(refused.message.contains("operator and agent are of different versions"), "{refused:?}");
    assert_eq!((pod.text(), report.applied.expect("applied").generation), (before, 1));
    api.put(&payload(3));
    agent.applied(3).await;
    agent.stop().await;
}

#[tokio::test]
async fn an_agent_does_without_arguments_that_only_a_newer_one_knows_and_says_so() {
    let (api, pod) = (FakeApi::start().await, Pod::new());
    api.put(&payload(1));
    let agent = pod.start(Some(&api), &["--later=x"]).await;
    assert_eq!(agent.applied(1).await.ignored_arguments, ["--later=x"]);
    agent.stop().await;
}
