//! Asks the agents what their files hold: after a change, until every pod has it. Then no more, or rarely while endpoints
//! are looked up: a DNS server may fail at any time.
//!
//! A pod that cannot be asked is unknown and blocks nothing.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use crds::names::{labels, pod};
use futures::{StreamExt, stream};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt, api::ListParams};
use sd_agent::{
    DnsFailing, Report,
    report::{Applied, MAX_FAILING},
};
use tokio::{net::TcpStream, sync::Semaphore, time::timeout};

use crate::{
    plan::DocumentId,
    query_state::{QueryHandle, QueryStates},
    snapshot::API_TIMEOUT,
    watch::{QueryRef, Wakes},
};

const ANSWER_TIMEOUT: Duration = Duration::from_millis(200);
const FIRST_DELAY: Duration = Duration::from_millis(50);
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// From here the delay grows once every pod has the document.
const FIRST_DELAY_AT_REST: Duration = Duration::from_secs(1);
const AT_ONCE: usize = 16;
const ANSWER_LIMIT: usize = 1024 * 1024;

/// What the pods of one ThanosQuery answered last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentAnswers {
    pods: BTreeMap<String, Answer>,
    wanted: Option<DocumentId>,
    /// Whether endpoints are looked up, so that there may be news without a change.
    looked_up: bool,
    asked: bool,
}

/// The answer of one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    document: Has,
    failing: Vec<DnsFailing>,
}

/// The document of one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Has {
    Document { generation: u64, sha256: String },
    Nothing,
    Unknown,
}

/// Name and address of a pod.
type PodAddress = (String, Option<IpAddr>);

/// Pods by what they have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// All of them.
    pub pods: usize,
    /// Have the document.
    pub synced: usize,
    /// Have another one.
    pub behind: usize,
    /// Did not answer.
    pub silent: usize,
}

/// Starts the tasks that ask.
pub struct Asker {
    client: Client,
    wakes: Arc<Wakes>,
    states: Arc<QueryStates>,
    at_once: Arc<Semaphore>,
}

// === impl AgentAnswers ===

impl AgentAnswers {
    /// Counts the pods that have `document`.
    pub fn tally(&self, document: &DocumentId) -> Tally {
        let mut tally = Tally { pods: self.pods.len(), ..Tally::default() };
        for answer in self.pods.values() {
            match &answer.document {
                Has::Document { generation, sha256 }
                    if *generation >= document.generation && *sha256 == document.sha256 =>
                {
                    tally.synced += 1;
                }
                Has::Document { .. } | Has::Nothing => tally.behind += 1,
                Has::Unknown => tally.silent += 1,
            }
        }
        tally
    }

    /// Whether the pods were asked at all since the operator started.
    pub fn are_known(&self) -> bool {
        self.asked
    }

    /// How many pods there are.
    pub fn pods(&self) -> usize {
        self.pods.len()
    }

    /// For each pod, which look-ups fail.
    pub fn failing(&self) -> impl Iterator<Item = &[DnsFailing]> {
        self.pods.values().map(|answer| &answer.failing[..])
    }

    /// Whether there is nothing to ask until somebody says so.
    fn is_over(&self) -> bool {
        self.wanted.is_none() || self.is_complete() && !self.looked_up
    }

    fn is_complete(&self) -> bool {
        self.wanted.as_ref().is_some_and(|wanted| {
            let tally = self.tally(wanted);
            tally.pods > 0 && tally.synced == tally.pods
        })
    }
}

// === impl Asker ===

impl Asker {
    /// Asks with `client` and wakes through `wakes`.
    pub fn new(client: Client, wakes: Arc<Wakes>, states: Arc<QueryStates>) -> Self {
        Self { client, wakes, states, at_once: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Asks the pods of `query` until all have `document`, and then rarely if it has names that are `looked_up`.
    /// `instance` is the value of their instance label.
    pub fn ask(
        &self,
        query: &QueryRef,
        handle: &Arc<QueryHandle>,
        instance: &str,
        document: Option<&DocumentId>,
        looked_up: bool,
    ) {
        {
            let mut agents = handle.agents.lock();
            agents.wanted = document.cloned();
            agents.looked_up = looked_up;
        }
        if document.is_none() {
            return;
        }
        if std::mem::replace(&mut handle.noted.lock().asking, true) {
            handle.ask.notify_one();
            return;
        }
        let task = Task {
            client: self.client.clone(),
            wakes: Arc::clone(&self.wakes),
            states: Arc::clone(&self.states),
            at_once: Arc::clone(&self.at_once),
            handle: Arc::clone(handle),
            query: query.clone(),
            instance: instance.to_owned(),
        };
        tokio::spawn(task.run());
    }
}

struct Task {
    client: Client,
    wakes: Arc<Wakes>,
    states: Arc<QueryStates>,
    at_once: Arc<Semaphore>,
    handle: Arc<QueryHandle>,
    query: QueryRef,
    instance: String,
}

// === impl Task ===

impl Task {
    async fn run(self) {
        let mut delay = FIRST_DELAY;
        let mut pods = Vec::new();
        // Somebody asked: there may be other pods.
        let mut is_asked = true;
        while self.states.is_current(&self.query, &self.handle) {
            let is_at_rest = !is_asked && self.handle.agents.lock().is_complete();
            let changed = self.round(&mut pods, is_at_rest).await;
            if changed {
                self.wakes.one(&self.query);
            }
            {
                // Under the lock that `ask` takes: a question that comes now finds either us or nobody.
                let mut noted = self.handle.noted.lock();
                let agents = self.handle.agents.lock();
                if agents.is_over() {
                    noted.asking = false;
                    return;
                }
                if agents.is_complete() {
                    delay = delay.max(FIRST_DELAY_AT_REST);
                }
            }
            is_asked = timeout(delay, self.handle.ask.notified()).await.is_ok();
            delay = if is_asked { FIRST_DELAY } else { (delay * 2).min(LONGEST_DELAY) };
        }
        self.handle.noted.lock().asking = false;
    }

    /// Asks every pod once; tells whether anything is new. At rest the pods are listed only when one is silent.
    async fn round(&self, pods: &mut Vec<PodAddress>, is_at_rest: bool) -> bool {
        let Ok(_one_of_few) = self.at_once.acquire().await else { return false };
        let mut answers = if is_at_rest { ask_all(pods).await } else { BTreeMap::new() };
        if !is_at_rest || answers.values().any(|answer| answer.document == Has::Unknown) {
            let Some(listed) = self.pods().await else { return false };
            *pods = listed;
            answers = ask_all(pods).await;
        }
        let mut known = self.handle.agents.lock();
        if is_at_rest {
            // One that is slow now keeps its file: that is no news.
            for (name, answer) in &mut answers {
                if let (Has::Unknown, Some(before)) = (&answer.document, known.pods.get(name)) {
                    answer.clone_from(before);
                }
            }
        }
        let is_new = known.pods != answers || !known.asked;
        known.pods = answers;
        known.asked = true;
        is_new
    }

    /// Names and addresses of the pods; none when they cannot be listed.
    async fn pods(&self) -> Option<Vec<PodAddress>> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), self.query.namespace.as_deref()?);
        let selector =
            format!("{}={},{}={}", labels::INSTANCE, self.instance, labels::MANAGED_BY, labels::OPERATOR);
        let list = match timeout(API_TIMEOUT, api.list(&ListParams::default().labels(&selector))).await {
            Ok(Ok(list)) => list,
            Ok(Err(error)) => {
                tracing::debug!(query = %self.query, error = &error as &dyn std::error::Error, "failed to list pods");
                return None;
            }
            Err(_) => return None,
        };
        let is_there = |pod: &Pod| {
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            pod.metadata.deletion_timestamp.is_none() && !matches!(phase, Some("Succeeded" | "Failed"))
        };
        let address = |pod: &Pod| pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok();
        Some(
            list.items.iter().filter(|pod| is_there(pod)).map(|pod| (pod.name_any(), address(pod))).collect(),
        )
    }
}

async fn ask_all(pods: &[PodAddress]) -> BTreeMap<String, Answer> {
    stream::iter(pods.to_vec())
        .map(|(name, address)| async move { (name, ask(address).await) })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await
}

async fn ask(address: Option<IpAddr>) -> Answer {
    let unknown = Answer { document: Has::Unknown, failing: vec![] };
    let Some(address) = address else { return unknown };
    match timeout(ANSWER_TIMEOUT, report(address)).await {
        Ok(Ok(Report { applied, mut dns_failing, .. })) => {
            let document = applied.map_or(Has::Nothing, |Applied { generation, sha256, .. }| Has::Document {
                generation,
                sha256,
            });
            dns_failing.truncate(MAX_FAILING);
            Answer { document, failing: dns_failing }
        }
        Ok(Err(error)) => {
            tracing::debug!(%address, error = &*error, "an agent did not answer as expected");
            unknown
        }
        Err(_) => unknown,
    }
}

async fn report(address: IpAddr) -> Result<Report, Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect((address, pod::AGENT_PORT)).await?;
    let (mut sender, connection) = http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::get("/status").header("host", "sd-agent").body(Empty::new())?;
    let response = sender.send_request(request).await?;
    let body = Limited::new(response.into_body(), ANSWER_LIMIT).collect().await?.to_bytes();
    drop(sender);
    connection.abort();
    Ok(serde_json::from_slice(&body)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    impl AgentAnswers {
        /// Of pods that were asked, with what fails in each.
        pub fn of_failing(pods: Vec<Vec<DnsFailing>>) -> Self {
            let answer = |failing| Answer { document: Has::Nothing, failing };
            let pods =
                pods.into_iter().enumerate().map(|(index, failing)| (format!("{index}"), answer(failing)));
            Self { pods: pods.collect(), wanted: None, looked_up: true, asked: true }
        }
    }

    fn answers(pods: &[(&str, Has)], wanted: &DocumentId) -> AgentAnswers {
        let answer = |document: &Has| Answer { document: document.clone(), failing: vec![] };
        let pods = pods.iter().map(|(name, document)| ((*name).to_owned(), answer(document)));
        AgentAnswers { pods: pods.collect(), wanted: Some(wanted.clone()), looked_up: false, asked: true }
    }

    fn has(generation: u64, sha256: &str) -> Has {
        Has::Document { generation, sha256: sha256.into() }
    }

    #[test]
    fn pods_are_counted_by_what_they_have() {
        let document = DocumentId { generation: 7, sha256: "new".into() };
        let pods = [
            ("a", has(7, "new")),
            ("b", has(6, "old")),
            ("c", has(7, "other")),
            ("d", Has::Nothing),
            ("e", Has::Unknown),
        ];
        let answers = answers(&pods, &document);
        assert_eq!(answers.tally(&document), Tally { pods: 5, synced: 1, behind: 3, silent: 1 });
        assert!(!answers.is_complete());
    }

    #[test]
    fn asking_is_over_when_every_pod_has_the_document_and_nothing_is_looked_up() {
        let document = DocumentId { generation: 7, sha256: "new".into() };
        let mut answers = answers(&[("a", has(7, "new"))], &document);
        assert!(answers.is_over());
        answers.looked_up = true;
        assert!(!answers.is_over());
        answers.wanted = None;
        assert!(answers.is_over());
        let behind = AgentAnswers { wanted: Some(DocumentId { generation: 8, ..document }), ..answers };
        assert!(!behind.is_over());
    }
}
