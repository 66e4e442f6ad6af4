//! An agent as the operator sees it: what it answers at `/status`.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering},
    },
};

use crds::names::{labels, pod::AGENT_PORT};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use sd_agent::{DnsFailing, Report, report::Applied};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::FakeApi;

/// A pod's agent. Each has an address of its own on the loopback interface, for its port is fixed.
pub struct Agent {
    address: Ipv4Addr,
    report: Arc<Mutex<Report>>,
    asked: Arc<AtomicUsize>,
    is_silent: Arc<AtomicBool>,
}

// === impl Agent ===

impl Agent {
    /// Answers, and has nothing yet.
    pub async fn start() -> Self {
        static LAST: AtomicU8 = AtomicU8::new(0);
        let number = LAST.fetch_add(1, Ordering::SeqCst) + 1;
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let address = Ipv4Addr::new(127, high, low, number);
        let listener = TcpListener::bind((address, AGENT_PORT)).await.expect("a port");
        let report = Report { thanos_version: "v0.42.4".into(), ..Report::default() };
        let report = Arc::new(Mutex::new(report));
        let (asked, is_silent) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let (told, count, mute) = (Arc::clone(&report), Arc::clone(&asked), Arc::clone(&is_silent));
        tokio::spawn(async move {
            let mut held = Vec::new();
            loop {
                let (mut stream, _) = listener.accept().await.expect("somebody asks");
                count.fetch_add(1, Ordering::SeqCst);
                if mute.load(Ordering::SeqCst) {
                    // As behind a NetworkPolicy: there is no answer, and no refusal either.
                    held.push(stream);
                    continue;
                }
                let body = serde_json::to_string(&*told.lock().expect("no panic")).expect("JSON");
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self { address, report, asked, is_silent }
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Changes what it answers.
    pub fn says(&self, change: impl FnOnce(&mut Report)) {
        change(&mut self.report.lock().expect("no panic"));
    }

    /// Does not answer any more, or does again.
    pub fn silent(&self, is_silent: bool) {
        self.is_silent.store(is_silent, Ordering::SeqCst);
    }

    /// Has what the ConfigMap of `global` has.
    pub fn applies(&self, api: &FakeApi) {
        self.applies_that_of("global", api);
    }

    /// Has what the ConfigMap of this ThanosQuery has.
    pub fn applies_that_of(&self, query: &str, api: &FakeApi) {
        let object = api.get(&format!("demo/configmaps/thanos-query-{query}-endpoints"));
        let config_map: ConfigMap = serde_json::from_value(object).expect("a ConfigMap");
        let meta = ::operator::plan::meta_of(&config_map).expect("a document");
        let applied = Applied {
            owner: meta.owner,
            generation: meta.generation,
            sha256: meta.sha256,
            endpoints: 1,
            in_file: 1,
            too_new: 0,
            source: "api".into(),
            applied_at: Timestamp::UNIX_EPOCH,
        };
        self.says(|report| report.applied = Some(applied));
    }

    /// A look-up of its Thanos fails.
    pub fn fails(&self, address: &str) {
        let error = "10.96.0.10 answers SERVFAIL".to_owned();
        let failing = DnsFailing { address: Some(address.to_owned()), error };
        self.says(|report| report.dns_failing = vec![failing]);
    }

    /// The pod of `global` that it is in.
    pub fn pod(&self, api: &FakeApi, name: &str) {
        self.pod_of("global", api, name);
    }

    /// The pod of this ThanosQuery that it is in.
    pub fn pod_of(&self, query: &str, api: &FakeApi, name: &str) {
        let (instance, managed_by, operator) = (labels::INSTANCE, labels::MANAGED_BY, labels::OPERATOR);
        api.apply(format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: demo, labels: {{{instance}: \
             thanos-query-{query}, {managed_by}: {operator}}}}}}}"
        ));
        let status = json!({"phase": "Running", "podIP": self.address.to_string()});
        api.edit_as(&format!("demo/pods/{name}"), "kubelet", Some("status"), |pod| pod["status"] = status);
    }
}
