//! Asks the agents what their files hold: after a change, until every pod has it, and a minute longer what of it Thanos
//! reaches. Then no more, or rarely while something is not reached, and while endpoints are looked up or connected to over
//! TLS: a DNS server may fail and a certificate end at any time.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use crds::names::{labels, pod};
use futures::{StreamExt, stream};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt, api::ListParams};
use tokio::{net::TcpStream, sync::Semaphore, time::timeout};

use super::agents::{Answer, Has, Silence};
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

/// Name and address of a pod.
type PodAddress = (String, Option<IpAddr>);

/// Starts the tasks that ask.
pub struct Asker {
    client: Client,
    wakes: Arc<Wakes>,
    states: Arc<QueryStates>,
    at_once: Arc<Semaphore>,
}

// === impl Asker ===

impl Asker {
    /// Asks with `client` and wakes through `wakes`.
    pub fn new(client: Client, wakes: Arc<Wakes>, states: Arc<QueryStates>) -> Self {
        Self { client, wakes, states, at_once: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Asks the pods of `query` until all have `document`, and a while longer: what Thanos
    /// reaches shows later. Then rarely, while there `may_change` something by itself.
    /// `instance` is the value of their instance label.
    pub fn ask(
        &self,
        query: &QueryRef,
        handle: &Arc<QueryHandle>,
        instance: &str,
        document: Option<&DocumentId>,
        may_change: bool,
    ) {
        {
            let mut agents = handle.agents.lock();
            agents.wanted = document.cloned();
            agents.may_change = may_change;
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
                // An agent tells what is not reached after some looks, which is within this time.
                let is_settled = agents.wanted.is_none() || delay == LONGEST_DELAY;
                if is_settled && agents.is_over() {
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
        if !is_at_rest || answers.values().any(|answer| matches!(answer.document, Has::Unknown(_))) {
            let Some(listed) = self.pods().await else { return false };
            *pods = listed;
            answers = ask_all(pods).await;
        }
        let mut known = self.handle.agents.lock();
        if is_at_rest {
            // One that is slow now keeps its file: that is no news.
            for (name, answer) in &mut answers {
                if let (Has::Unknown(_), Some(before)) = (&answer.document, known.pods.get(name)) {
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
    let Some(address) = address else { return Answer::silent(Silence::NoAddress) };
    match timeout(ANSWER_TIMEOUT, report(address)).await {
        Ok(Ok(body)) => match serde_json::from_slice(&body) {
            Ok(report) => Answer::of(report),
            Err(error) => {
                tracing::debug!(%address, %error, "an agent did not answer as expected");
                Answer::silent(Silence::Nonsense)
            }
        },
        Ok(Err(error)) => {
            tracing::debug!(%address, error = &*error, "an agent did not answer");
            Answer::silent(Silence::NoAnswer)
        }
        Err(_) => Answer::silent(Silence::NoAnswer),
    }
}

async fn report(address: IpAddr) -> Result<Bytes, Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect((address, pod::AGENT_PORT)).await?;
    let (mut sender, connection) = http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::get("/status").header("host", "sd-agent").body(Empty::new())?;
    let response = sender.send_request(request).await?;
    let body = Limited::new(response.into_body(), ANSWER_LIMIT).collect().await?.to_bytes();
    drop(sender);
    connection.abort();
    Ok(body)
}
