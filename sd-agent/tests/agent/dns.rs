//! Look-ups that fail: against a small DNS server, and a Thanos that only has metrics.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{Router, routing::get};
use domain::{
    base::{Message, MessageBuilder, Name, Rtype, iana::Rcode},
    rdata::{A, Cname, Srv},
};
use sd_agent::{Address, DnsFailing, Document, Endpoint, dns::Resolver};
use tempfile::TempDir;
use tokio::{
    net::{TcpListener, UdpSocket},
    task::JoinHandle,
};

use crate::{
    fake_api::FakeApi,
    support::{Pod, eventually, payload_of},
};

#[derive(Clone, Debug)]
enum Says {
    Address,
    Alias(&'static str),
    Service(&'static str),
    NoRecords,
    Error(Rcode),
    Nothing,
}

/// Names with what is said of them; all others do not exist.
type Zone = Arc<Mutex<BTreeMap<String, Says>>>;

struct DnsServer {
    zone: Zone,
    folder: TempDir,
    port: u16,
    task: JoinHandle<()>,
}

impl DnsServer {
    async fn start(zone: &[(&str, Says)]) -> Self {
        let zone = zone.iter().map(|(name, says)| ((*name).to_owned(), says.clone())).collect();
        let zone: Zone = Arc::new(Mutex::new(zone));
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let port = socket.local_addr().expect("bound").port();
        let known = Arc::clone(&zone);
        let task = tokio::spawn(async move {
            let mut buffer = [0; 4096];
            loop {
                let (length, asker) = socket.recv_from(&mut buffer).await.expect("a question");
                if let Some(answer) = answer(&known, &buffer[..length]) {
                    socket.send_to(&answer, asker).await.expect("sent");
                }
            }
        });
        let folder = tempfile::tempdir().expect("a folder");
        let conf = "search demo.svc.test svc.test\nnameserver 127.0.0.1\noptions ndots:2\n";
        std::fs::write(folder.path().join("resolv.conf"), conf).expect("written");
        Self { zone, folder, port, task }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("resolv.conf")
    }

    fn resolver(&self) -> Resolver {
        Resolver { file: self.file(), port: self.port }
    }

    /// What becomes of a look-up: nothing when it succeeds.
    async fn failure(&self, address: &str) -> Option<String> {
        let address: Address = address.parse().expect("an address");
        self.resolver().look_up(&address).await.err().map(|failure| failure.to_string())
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn answer(zone: &Zone, bytes: &[u8]) -> Option<Vec<u8>> {
    let question = Message::from_octets(bytes).expect("a message");
    let asked = question.sole_question().expect("a question");
    let says = zone.lock().expect("no panic").get(&asked.qname().to_string()).cloned();
    let rcode = match &says {
        None => Rcode::NXDOMAIN,
        Some(Says::Error(code)) => *code,
        Some(Says::Nothing) => return None,
        Some(_) => Rcode::NOERROR,
    };
    let mut answer = MessageBuilder::new_vec().start_answer(&question, rcode).expect("room");
    let name = |text: &str| text.parse::<Name<Vec<u8>>>().expect("a name");
    match says {
        Some(Says::Address) if asked.qtype() == Rtype::A => {
            answer.push((asked.qname(), 1, A::from_octets(10, 0, 0, 1))).expect("room");
        }
        Some(Says::Alias(target)) => {
            answer.push((asked.qname(), 1, Cname::new(name(target)))).expect("room");
        }
        Some(Says::Service(target)) if asked.qtype() == Rtype::SRV => {
            answer.push((asked.qname(), 1, Srv::new(0, 0, 10901, name(target)))).expect("room");
        }
        _ => {}
    }
    Some(answer.finish())
}

#[tokio::test]
async fn a_name_with_addresses_without_records_or_that_does_not_exist_is_no_failure() {
    let server = DnsServer::start(&[
        ("a.demo.svc.test", Says::Address),
        ("b.demo.svc.test", Says::Alias("a.demo.svc.test")),
        ("_grpc._tcp.s.demo.svc.test", Says::Service("pod-0.s.demo.svc.test")),
        ("pod-0.s.demo.svc.test", Says::Address),
        ("empty.demo.svc.test", Says::NoRecords),
    ])
    .await;
    for address in [
        "dns+a.demo.svc.test:1",
        "dns+a:1",
        "dns+b.demo.svc.test:1",
        "dnsdualstack+a.demo.svc.test:1",
        "dnssrv+_grpc._tcp.s.demo.svc.test",
        "dnssrvnoa+_grpc._tcp.s.demo.svc.test",
        "dns+empty.demo.svc.test:1",
        "dns+nobody.demo.svc.test:1",
        "dnssrv+_grpc._tcp.nobody.demo.svc.test",
        "broken.test:1",
    ] {
        assert_eq!(server.failure(address).await, None, "{address}");
    }
}

#[tokio::test]
async fn an_error_of_the_server_is_a_failure_although_the_search_path_has_no_such_name() {
    let server = DnsServer::start(&[
        ("broken.some.test", Says::Error(Rcode::SERVFAIL)),
        ("refused.some.test", Says::Error(Rcode::REFUSED)),
        ("alias.some.test", Says::Alias("broken.some.test")),
        ("_grpc._tcp.s.demo.svc.test", Says::Service("broken.some.test")),
    ])
    .await;
    let because = |text: &str| Some(format!("127.0.0.1 answers {text}"));
    let broken = "SERVFAIL for broken.some.test.";
    assert_eq!(server.failure("dns+broken.some.test:1").await, because(broken));
    assert_eq!(server.failure("dnsdualstack+broken.some.test:1").await, because(broken));
    assert_eq!(server.failure("dns+alias.some.test:1").await, because(broken));
    assert_eq!(server.failure("dnssrv+_grpc._tcp.s.demo.svc.test").await, because(broken));
    assert_eq!(server.failure("dnssrvnoa+_grpc._tcp.s.demo.svc.test").await, None);
    let refused = because("REFUSED for refused.some.test.");
    assert_eq!(server.failure("dns+refused.some.test:1").await, refused);
}

#[tokio::test]
async fn a_server_that_says_nothing_is_a_failure() {
    let server = DnsServer::start(&[("silent.some.test", Says::Nothing)]).await;
    let failure = server.failure("dnssrvnoa+silent.some.test").await;
    assert_eq!(failure.as_deref(), Some("127.0.0.1 gives no answer for silent.some.test. within 2 s"));
}

#[tokio::test]
async fn without_a_server_every_look_up_fails() {
    let server = DnsServer::start(&[]).await;
    std::fs::write(server.file(), "options ndots:2\n").expect("written");
    let failure = server.failure("dns+a.b:1").await.expect("nobody to ask");
    assert!(failure.ends_with("names no DNS server"), "{failure}");
    std::fs::remove_file(server.file()).expect("removed");
    assert!(server.failure("dns+a.b:1").await.expect("no file").starts_with("cannot read"));
}

/// Something that has the metrics of a Thanos; its count grows with each look while it fails.
async fn thanos(step: Arc<AtomicU64>) -> SocketAddr {
    let failures = Arc::new(AtomicU64::new(7));
    let page = move || {
        let count = failures.fetch_add(step.load(Ordering::SeqCst), Ordering::SeqCst);
        let filler = "# HELP go_gc_duration_seconds A summary of the wall-time pause\n".repeat(2000);
        let page = format!("{filler}thanos_query_endpoints_dns_failures_total {count}\n{filler}");
        async move { page }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/metrics", get(page))).await });
    address
}

fn document(addresses: &[&str]) -> Document {
    let endpoints = addresses.iter().map(|text| Endpoint::regular(text.parse().expect("an address")));
    Document::new(endpoints.collect()).expect("valid")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_fails_is_told_while_it_does_and_as_long_as_it_is_an_endpoint() {
    let broken = Says::Error(Rcode::SERVFAIL);
    let good = ("good.some.test", Says::Address);
    let server = DnsServer::start(&[good, ("broken.some.test", broken.clone())]).await;
    let step = Arc::new(AtomicU64::new(0));
    let thanos = thanos(Arc::clone(&step)).await;
    let (api, pod) = (FakeApi::start().await, Pod::new());
    let both = document(&["dns+broken.some.test:1", "dns+good.some.test:1", "plain.some.test:1"]);
    api.put(&payload_of(1, &both));
    let url = format!("--thanos-metrics-url=http://{thanos}/metrics");
    let agent = pod.start_resolving(&api, &[&url], server.resolver()).await;
    agent.applied(1).await;
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert_eq!(agent.report().await.dns_failing, [], "Thanos counts none");

    step.store(1, Ordering::SeqCst);
    let error = "127.0.0.1 answers SERVFAIL for broken.some.test.".to_owned();
    let told = [DnsFailing { address: Some("dns+broken.some.test:1".into()), error }];
    agent.reported("the name is told", |report| report.dns_failing == told).await;
    agent.counted("dns_failing", 1).await;

    step.store(0, Ordering::SeqCst);
    server.zone.lock().expect("no panic").insert("broken.some.test".into(), Says::Address);
    agent.reported("it succeeds", |report| report.dns_failing.is_empty()).await;
    agent.counted("dns_failing", 0).await;

    server.zone.lock().expect("no panic").insert("broken.some.test".into(), broken);
    step.store(1, Ordering::SeqCst);
    agent.reported("it fails again", |report| report.dns_failing == told).await;
    step.store(0, Ordering::SeqCst);
    api.put(&payload_of(2, &document(&["dns+good.some.test:1"])));
    agent.reported("it is no endpoint", |report| report.dns_failing.is_empty()).await;

    // What nothing explains.
    step.store(1, Ordering::SeqCst);
    agent
        .reported("failures without a name", |report| {
            matches!(&report.dns_failing[..], [DnsFailing { address: None, .. }])
        })
        .await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thanos_that_cannot_be_asked_disturbs_nothing() {
    let server = DnsServer::start(&[]).await;
    let (api, pod) = (FakeApi::start().await, Pod::new());
    api.put(&payload_of(1, &document(&["dns+good.some.test:1"])));
    let url = "--thanos-metrics-url=http://127.0.0.1:1/metrics";
    let agent = pod.start_resolving(&api, &[url], server.resolver()).await;
    agent.applied(1).await;
    api.put(&payload_of(2, &document(&["dns+good.some.test:2"])));
    assert_eq!(agent.applied(2).await.dns_failing, []);
    eventually("it is alive", async || {
        let (code, _) = crate::support::get(agent.address, "/livez").await?;
        (code == 200).then_some(())
    })
    .await;
    agent.stop().await;
}
