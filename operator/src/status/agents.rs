//! Asks the agents what their files hold: after a change, until every pod has it, then no more.
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
use sd_agent::{Report, report::Applied};
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
const AT_ONCE: usize = 16;
const ANSWER_LIMIT: usize = 1024 * 1024;

/// What the pods of one ThanosQuery answered last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentAnswers {
    pods: BTreeMap<String, Answer>,
    wanted: Option<DocumentId>,
    asked: bool,
}

/// The answer of one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    Has { generation: u64, sha256: String },
    HasNothing,
    Silent,
}

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
            match answer {
                Answer::Has { generation, sha256 }
                    if *generation >= document.generation && *sha256 == document.sha256 =>
                {
                    tally.synced += 1;
                }
                Answer::Has { .. } | Answer::HasNothing => tally.behind += 1,
                Answer::Silent => tally.silent += 1,
            }
        }
        tally
    }

    /// Whether the pods were asked at all since the operator started.
    pub fn are_known(&self) -> bool {
        self.asked
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

    /// Asks the pods of `query` until all have `document`. `instance` is the value of their instance label.
    pub fn ask(
        &self,
        query: &QueryRef,
        handle: &Arc<QueryHandle>,
        instance: &str,
        document: Option<&DocumentId>,
    ) {
        handle.agents.lock().wanted = document.cloned();
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
        while self.states.knows(&self.query) {
            let changed = self.round().await;
            if changed {
                self.wakes.one(&self.query);
            }
            {
                // Under the lock that `ask` takes: a question that comes now finds either us or nobody.
                let mut noted = self.handle.noted.lock();
                if self.handle.agents.lock().is_complete() {
                    noted.asking = false;
                    return;
                }
            }
            delay = match timeout(delay, self.handle.ask.notified()).await {
                Ok(()) => FIRST_DELAY,
                Err(_) => (delay * 2).min(LONGEST_DELAY),
            };
        }
        self.handle.noted.lock().asking = false;
    }

    /// Asks every pod once; tells whether anything is new.
    async fn round(&self) -> bool {
        let Ok(_one_of_few) = self.at_once.acquire().await else { return false };
        let Some(pods) = self.pods().await else { return false };
        let answers: BTreeMap<String, Answer> = stream::iter(pods)
            .map(|(name, address)| async move { (name, ask(address).await) })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let mut known = self.handle.agents.lock();
        let is_new = known.pods != answers || !known.asked;
        known.pods = answers;
        known.asked = true;
        is_new
    }

    /// Names and addresses of the pods; none when they cannot be listed.
    async fn pods(&self) -> Option<Vec<(String, Option<IpAddr>)>> {
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

async fn ask(address: Option<IpAddr>) -> Answer {
    let Some(address) = address else { return Answer::Silent };
    match timeout(ANSWER_TIMEOUT, report(address)).await {
        Ok(Ok(Report { applied: Some(Applied { generation, sha256, .. }), .. })) => {
            Answer::Has { generation, sha256 }
        }
        Ok(Ok(Report { applied: None, .. })) => Answer::HasNothing,
        Ok(Err(error)) => {
            tracing::debug!(%address, error = &*error, "an agent did not answer as expected");
            Answer::Silent
        }
        Err(_) => Answer::Silent,
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

    #[test]
    fn pods_are_counted_by_what_they_have() {
        let document = DocumentId { generation: 7, sha256: "new".into() };
        let has = |generation, sha256: &str| Answer::Has { generation, sha256: sha256.into() };
        let answers = AgentAnswers {
            pods: [
                ("a", has(7, "new")),
                ("b", has(6, "old")),
                ("c", has(7, "other")),
                ("d", Answer::HasNothing),
                ("e", Answer::Silent),
            ]
            .map(|(name, answer)| (name.to_owned(), answer))
            .into(),
            wanted: Some(document.clone()),
            asked: true,
        };
        assert_eq!(answers.tally(&document), Tally { pods: 5, synced: 1, behind: 3, silent: 1 });
        assert!(!answers.is_complete());
    }
}
