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
    report::{Applied, CannotWrite, MAX_FAILING, Refused},
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
/// What is kept of the words of one pod, in characters.
const LONGEST: usize = 300;

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
    trouble: Option<Trouble>,
    failing: Vec<DnsFailing>,
}

/// The document of one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Has {
    Document { generation: u64, sha256: String },
    Nothing,
    Unknown(Silence),
}

/// Why a pod is not known to have anything. Not more than this: the words of a broken connection differ each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Silence {
    NoAddress,
    NoAnswer,
    Nonsense,
}

/// What an agent says that hinders it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Trouble {
    why: Why,
    /// For people.
    said: String,
}

/// Why a pod is not known to have the document; the first of them is the one to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// It cannot write its file.
    CannotWrite,
    /// It does not take the document.
    Refused,
    /// It cannot read the ConfigMap.
    CannotRead,
    /// It has not come to it yet, or does not say why.
    Behind,
    /// It did not answer.
    Silent,
}

/// A pod that is not known to have the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lag<'a> {
    /// Its name.
    pub pod: &'a str,
    /// Why.
    pub why: Why,
    /// What it said, as the end of a sentence that begins with its name.
    pub said: String,
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
                has if has.is(document) => tally.synced += 1,
                Has::Document { .. } | Has::Nothing => tally.behind += 1,
                Has::Unknown(_) => tally.silent += 1,
            }
        }
        tally
    }

    /// The pods that are not known to have `document`: those that can say what hinders them first, then by name.
    pub fn lagging(&self, document: &DocumentId) -> Vec<Lag<'_>> {
        let lagging = self.pods.iter().filter(|(_, answer)| !answer.document.is(document));
        let mut lagging: Vec<Lag<'_>> = lagging
            .map(|(pod, answer)| {
                let (why, said) = answer.lag();
                Lag { pod, why, said }
            })
            .collect();
        lagging.sort_by(|a, b| (a.why, a.pod).cmp(&(b.why, b.pod)));
        lagging
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

// === impl Has ===

impl Has {
    /// Whether it is `document`, or a later write of it.
    fn is(&self, document: &DocumentId) -> bool {
        match self {
            Self::Document { generation, sha256 } => {
                *generation >= document.generation && *sha256 == document.sha256
            }
            Self::Nothing | Self::Unknown(_) => false,
        }
    }
}

// === impl Answer ===

impl Answer {
    fn silent(silence: Silence) -> Self {
        Self { document: Has::Unknown(silence), trouble: None, failing: vec![] }
    }

    /// Of an agent that said this.
    fn of(report: Report) -> Self {
        let trouble = Trouble::of(&report);
        let Report { applied, mut dns_failing, .. } = report;
        let document = applied
            .map_or(Has::Nothing, |Applied { generation, sha256, .. }| Has::Document { generation, sha256 });
        dns_failing.truncate(MAX_FAILING);
        Self { document, trouble, failing: dns_failing }
    }

    /// Why it has another document than it should, and in words.
    fn lag(&self) -> (Why, String) {
        let silent = |said: &str| (Why::Silent, said.to_owned());
        let has = match &self.document {
            Has::Unknown(Silence::NoAddress) => return silent("has no address yet"),
            Has::Unknown(Silence::NoAnswer) => return silent("did not answer"),
            Has::Unknown(Silence::Nonsense) => return silent("answers what is no report of an agent"),
            Has::Document { generation, .. } => format!("has generation {generation}"),
            Has::Nothing => "has no document yet".to_owned(),
        };
        match &self.trouble {
            Some(Trouble { why, said }) => (*why, format!("{has} and {said}")),
            None => (Why::Behind, has),
        }
    }
}

// === impl Trouble ===

impl Trouble {
    /// What of a report hinders its agent; none when nothing does.
    fn of(report: &Report) -> Option<Self> {
        let trouble = |why, said: String| Some(Self { why, said: plain(&said) });
        if let Some(CannotWrite { step, message }) = &report.cannot_write {
            return trouble(Why::CannotWrite, format!("cannot write its file ({step}): {message}"));
        }
        if let Some(Refused { reason, message, source, .. }) = &report.refused {
            let said = format!("refused the document from the {source} ({reason}): {message}");
            return trouble(Why::Refused, said);
        }
        let sources = [("the API", &report.api), ("its mount", &report.mount)];
        let errors = sources.into_iter().filter(|(_, source)| !source.up);
        let errors = errors.filter_map(|(name, source)| Some(format!("{name}: {}", source.error.as_ref()?)));
        let errors: Vec<String> = errors.collect();
        (!errors.is_empty())
            .then(|| trouble(Why::CannotRead, format!("cannot read {}", errors.join("; "))))
            .flatten()
    }
}

/// It comes from a pod, and shall fit into a condition with others.
fn plain(said: &str) -> String {
    said.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect()
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

#[cfg(test)]
mod tests {
    use sd_agent::report::SourceReport;

    use super::*;

    impl AgentAnswers {
        /// Of pods that were asked, with what fails in each.
        pub fn of_failing(pods: Vec<Vec<DnsFailing>>) -> Self {
            let answer = |failing| Answer { document: Has::Nothing, trouble: None, failing };
            let pods =
                pods.into_iter().enumerate().map(|(index, failing)| (format!("{index}"), answer(failing)));
            Self { pods: pods.collect(), wanted: None, looked_up: true, asked: true }
        }
    }

    fn answers(pods: &[(&str, Has)], wanted: &DocumentId) -> AgentAnswers {
        let answer = |document: &Has| Answer { document: document.clone(), trouble: None, failing: vec![] };
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
            ("e", Has::Unknown(Silence::NoAnswer)),
        ];
        let answers = answers(&pods, &document);
        assert_eq!(answers.tally(&document), Tally { pods: 5, synced: 1, behind: 3, silent: 1 });
        assert!(!answers.is_complete());
    }

    #[test]
    fn pods_that_lag_say_why_and_those_with_a_reason_of_their_own_come_first() {
        let document = DocumentId { generation: 7, sha256: "new".into() };
        let pods = [
            ("a", Has::Unknown(Silence::NoAnswer)),
            ("b", has(6, "old")),
            ("c", has(6, "old")),
            ("d", has(7, "new")),
            ("e", Has::Nothing),
            ("f", Has::Unknown(Silence::NoAddress)),
        ];
        let mut answers = answers(&pods, &document);
        let trouble = |why, said: &str| Some(Trouble { why, said: said.to_owned() });
        let mut set = |pod: &str, trouble| answers.pods.get_mut(pod).expect("a pod").trouble = trouble;
        set("c", trouble(Why::CannotWrite, "cannot write"));
        // It has what it shall, so nothing of this matters now.
        set("d", trouble(Why::Refused, "refused"));
        set("e", trouble(Why::CannotRead, "cannot read"));
        let told: Vec<String> =
            answers.lagging(&document).iter().map(|Lag { pod, said, .. }| format!("{pod} {said}")).collect();
        assert_eq!(
            told,
            [
                "c has generation 6 and cannot write",
                "e has no document yet and cannot read",
                "b has generation 6",
                "a did not answer",
                "f has no address yet",
            ]
        );
    }

    #[test]
    fn what_hinders_an_agent_is_read_from_its_report_and_kept_short() {
        let said = |report: &Report| Trouble::of(report).map(|own| (own.why, own.said));
        let mut report = Report::default();
        // A source that is not used is not up, and nothing is wrong with it.
        assert_eq!(said(&report), None);
        report.api.error = Some("forbidden".into());
        report.mount.error = Some("empty".into());
        let text = "cannot read the API: forbidden; its mount: empty".to_owned();
        assert_eq!(said(&report), Some((Why::CannotRead, text)));
        report.mount = SourceReport { up: true, ..SourceReport::default() };
        assert_eq!(said(&report), Some((Why::CannotRead, "cannot read the API: forbidden".to_owned())));
        report.refused = Some(Refused {
            reason: "size".into(),
            message: "x".repeat(1000),
            source: "api".into(),
            at: jiff::Timestamp::UNIX_EPOCH,
        });
        let (why, text) = said(&report).expect("refused");
        assert_eq!((why, text.chars().count()), (Why::Refused, LONGEST));
        let (step, message) = ("write".to_owned(), "disk\nfull".to_owned());
        report.cannot_write = Some(CannotWrite { step, message });
        let text = "cannot write its file (write): disk full".to_owned();
        assert_eq!(said(&report), Some((Why::CannotWrite, text)));
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
