//! Agents that tell of look-ups that fail. On the real clock, for agents are asked over the network.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use crds::names::{labels, pod::AGENT_PORT};
use sd_agent::{
    DnsFailing, Report,
    report::{Applied, SourceReport},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::fake_api::{FakeApi, query, store};

const ADDRESS: &str = "dnssrv+_grpc._tcp.a.demo.svc.cluster.local";

/// A pod's agent. Each has an address of its own on the loopback interface, for its port is fixed.
struct Agent {
    address: Ipv4Addr,
    report: Arc<Mutex<Report>>,
    asked: Arc<AtomicUsize>,
}

impl Agent {
    async fn start(number: u8) -> Self {
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let address = Ipv4Addr::new(127, high, low, 100 + number);
        let listener = TcpListener::bind((address, AGENT_PORT)).await.expect("a port");
        let report = Arc::new(Mutex::new(Report {
            applied: None,
            thanos_version: "v0.42.4".into(),
            flagged: vec![],
            api: SourceReport::default(),
            mount: SourceReport::default(),
            refused: None,
            dns_failing: vec![],
        }));
        let asked = Arc::new(AtomicUsize::new(0));
        let (told, count) = (Arc::clone(&report), Arc::clone(&asked));
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.expect("somebody asks");
                count.fetch_add(1, Ordering::SeqCst);
                let body = serde_json::to_string(&*told.lock().expect("no panic")).expect("JSON");
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self { address, report, asked }
    }

    /// Has what `api` shows.
    fn applies(&self, api: &FakeApi) {
        let document = &api.get("demo/thanosqueries/global")["status"]["document"];
        let applied = Applied {
            generation: document["generation"].as_u64().expect("a number"),
            sha256: document["sha256"].as_str().expect("a hash").to_owned(),
            endpoints: 1,
            in_file: 1,
            source: "api".into(),
            applied_at: "2026-01-01T00:00:00Z".parse().expect("a time"),
        };
        self.report.lock().expect("no panic").applied = Some(applied);
    }

    fn fails(&self, address: &str) {
        let error = "10.96.0.10 answers SERVFAIL".to_owned();
        let failing = DnsFailing { address: Some(address.to_owned()), error };
        self.report.lock().expect("no panic").dns_failing = vec![failing];
    }

    /// The pod that it is in.
    fn pod(&self, api: &FakeApi, name: &str) {
        let (instance, managed_by, operator) = (labels::INSTANCE, labels::MANAGED_BY, labels::OPERATOR);
        api.apply(format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: demo, labels: {{{instance}: \
             thanos-query-global, {managed_by}: {operator}}}}}}}"
        ));
        let status = json!({"phase": "Running", "podIP": self.address.to_string()});
        api.edit_as(&format!("demo/pods/{name}"), "kubelet", Some("status"), |pod| pod["status"] = status);
    }
}

fn condition(api: &FakeApi, type_: &str) -> Option<Value> {
    let query = api.get("demo/thanosqueries/global");
    let conditions = query["status"]["conditions"].as_array()?;
    conditions.iter().find(|condition| condition["type"] == type_).cloned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn look_ups_that_begin_to_fail_at_rest_are_told_without_listing_pods_again() {
    let (api, one, other) = (FakeApi::new(), Agent::start(1).await, Agent::start(2).await);
    let headless = store("a").replace("spec: {", "spec: {clusterIP: None, ");
    // The only Service goes at the end, and that is meant.
    api.apply(query("global", "replicas: 2, serviceDiscovery: {removalGuard: {holdFor: 0s}}"));
    api.apply(&headless);
    one.pod(&api, "one");
    other.pod(&api, "other");
    let _operator = api.operator().await;
    api.eventually(|| !api.get("demo/thanosqueries/global")["status"]["document"].is_null()).await;
    one.applies(&api);
    other.applies(&api);
    api.eventually(|| api.get("demo/thanosqueries/global")["status"]["synced"] == "2/2").await;
    assert_eq!(condition(&api, "DnsFailing"), None);

    let asked = one.asked.load(Ordering::SeqCst);
    api.eventually(|| one.asked.load(Ordering::SeqCst) > asked).await;
    api.forget_requests();
    one.fails(ADDRESS);
    other.fails(ADDRESS);
    api.eventually(|| condition(&api, "DnsFailing").is_some()).await;
    let told = condition(&api, "DnsFailing").expect("there is one");
    let message = told["message"].as_str().expect("a text");
    let failing = format!("look-up fails: {ADDRESS} (10.96.0.10 answers SERVFAIL, in 2 of 2 pods); ");
    assert!(message.starts_with(&failing), "{message}");
    assert_eq!((&told["status"], &told["reason"]), (&"True".into(), &"LookupFailed".into()));
    assert!(api.requests("list", "pods").is_empty(), "{:?}", api.requests("list", "pods"));

    // It is no endpoint any more, so nobody has to be asked.
    api.delete("demo/services/a");
    api.eventually(|| condition(&api, "DnsFailing").is_none()).await;
}
