//! What agents say about the document becomes one condition. On the real clock, for agents are asked over the network.

use jiff::Timestamp;
use sd_agent::report::{CannotWrite, Refused};
use serde_json::Value;

use crate::fake_api::{Agent, FakeApi, Running, query, store};

const CONFIG_MAP: &str = "demo/configmaps/thanos-query-global-endpoints";

/// Two pods, of which `good` follows and `other` does as a test says.
struct Two {
    api: FakeApi,
    good: Agent,
    other: Agent,
    stores: u32,
    _operator: Running,
}

impl Two {
    /// Both have the first document.
    async fn synced() -> Self {
        let (api, good, other) = (FakeApi::new(), Agent::start().await, Agent::start().await);
        api.apply(query("global", "replicas: 2"));
        api.apply(store("a"));
        good.pod(&api, "good");
        other.pod(&api, "other");
        let operator = api.operator().await;
        api.eventually(|| api.has(CONFIG_MAP)).await;
        good.applies(&api);
        other.applies(&api);
        let two = Self { api, good, other, stores: 0, _operator: operator };
        two.condition("True", "Synced").await;
        two
    }

    /// Another document, which `good` has at once.
    async fn changed(&mut self) {
        let before = self.api.get(CONFIG_MAP)["metadata"]["resourceVersion"].clone();
        self.stores += 1;
        self.api.apply(store(&format!("more-{}", self.stores)));
        let api = &self.api;
        api.eventually(|| api.get(CONFIG_MAP)["metadata"]["resourceVersion"] != before).await;
        self.good.applies(api);
    }

    /// Waits for the condition; returns what it says.
    async fn condition(&self, status: &str, reason: &str) -> String {
        let found = || {
            let query = self.api.get("demo/thanosqueries/global");
            let conditions = query["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let mut own = conditions.into_iter().filter(|own| own["type"] == "EndpointsSynced");
            own.find(|own| own["status"] == status && own["reason"] == reason)
        };
        self.api.eventually(|| found().is_some()).await;
        found().and_then(|own| own["message"].as_str().map(str::to_owned)).unwrap_or_default()
    }

    fn synced_text(&self) -> Value {
        self.api.get("demo/thanosqueries/global")["status"]["synced"].clone()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_hinders_an_agent_is_the_reason_and_its_pod_is_named_with_what_it_said() {
    let mut two = Two::synced().await;
    let generation = two.api.get("demo/thanosqueries/global")["status"]["document"]["generation"].clone();

    two.changed().await;
    let said = two.condition("False", "Syncing").await;
    assert!(said.starts_with("1 of 2 pods have generation "), "{said}");
    assert!(said.ends_with(&format!("; other has generation {generation}")), "{said}");
    assert_eq!(two.synced_text(), "1/2");

    let message = "cannot rename /sd/.endpoints.yaml.tmp: No space left on device".to_owned();
    two.other.says(|report| report.cannot_write = Some(CannotWrite { step: "rename".into(), message }));
    two.changed().await;
    let said = two.condition("False", "CannotWrite").await;
    assert!(said.contains("; other has generation"), "{said}");
    assert!(
        said.ends_with(
            "cannot write its file (rename): cannot rename /sd/.endpoints.yaml.tmp: No space left on device"
        ),
        "{said}"
    );

    two.other.says(|report| {
        report.cannot_write = None;
        report.refused = Some(Refused {
            reason: "checksum".into(),
            message: "it is not\nwhat it was".into(),
            source: "mount".into(),
            at: Timestamp::UNIX_EPOCH,
        });
    });
    two.changed().await;
    let said = two.condition("False", "DocumentRefused").await;
    assert!(
        said.ends_with("refused the document from the mount (checksum): it is not what it was"),
        "{said}"
    );

    two.other.says(|report| {
        report.refused = None;
        report.mount.up = true;
        report.api.error = Some("configmaps is forbidden".into());
    });
    two.changed().await;
    let said = two.condition("False", "CannotRead").await;
    assert!(said.ends_with("and cannot read the API: configmaps is forbidden"), "{said}");

    two.other.says(|report| report.api.error = None);
    two.other.silent(true);
    two.changed().await;
    let said = two.condition("Unknown", "Unknown").await;
    assert!(said.ends_with("; other did not answer"), "{said}");

    two.other.silent(false);
    two.changed().await;
    two.other.applies(&two.api);
    let said = two.condition("True", "Synced").await;
    assert!(said.starts_with("2 of 2 pods have generation ") && !said.contains("other"), "{said}");
    assert_eq!(two.synced_text(), "2/2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_is_too_old_for_an_endpoint_is_told_with_the_fix() {
    let mut two = Two::synced().await;
    two.changed().await;
    two.other.applies(&two.api);
    two.other.says(|report| report.applied.as_mut().expect("applied").too_new = 1);
    let said = two.condition("False", "AgentTooOld").await;
    assert!(said.starts_with("1 of 2 pods have generation "), "{said}");
    assert!(
        said.contains("; other has generation ") && said.contains(" without 1 of its endpoints"),
        "{said}"
    );
    assert!(said.contains("spec.serviceDiscovery.agent.image"), "{said}");
    assert_eq!(two.synced_text(), "1/2");
    // Another pod comes with another agent.
    two.changed().await;
    two.other.applies(&two.api);
    two.condition("True", "Synced").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_cannot_be_asked_blocks_nothing_and_is_told_once() {
    let mut two = Two::synced().await;
    two.other.silent(true);
    two.changed().await;
    two.condition("Unknown", "Unknown").await;
    let asked = two.other.asked();
    two.api.forget_requests();
    two.api.eventually(|| two.other.asked() >= asked + 2).await;
    assert!(two.api.writes().is_empty(), "it was asked again, with nothing new: {:?}", two.api.writes());

    // The next change goes the same way.
    two.changed().await;
    two.api.eventually(|| two.api.endpoints("global").len() == 3).await;
    two.condition("Unknown", "Unknown").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_costs_at_most_two_writes_of_status_and_then_there_are_none() {
    let mut two = Two::synced().await;
    two.api.forget_requests();
    two.changed().await;
    two.other.applies(&two.api);
    let meta = two.api.get(CONFIG_MAP)["data"]["meta.json"].as_str().expect("a text").to_owned();
    let meta: Value = serde_json::from_str(&meta).expect("JSON");
    let said = format!("2 of 2 pods have generation {}", meta["generation"]);
    let written = || two.api.requests("patch", "thanosqueries").len();
    two.api
        .eventually(|| {
            let told = two.api.condition("global", "EndpointsSynced");
            told.is_some_and(|told| told == format!("True: {said}"))
        })
        .await;
    // Whatever was due a second after the last write is written by now.
    tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
    let (writes, asked) = (written(), two.other.asked());
    assert!((1..=2).contains(&writes), "{:?}", two.api.requests("patch", "thanosqueries"));
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    assert_eq!((written(), two.other.asked()), (writes, asked), "nobody is asked at rest");
}
