//! The API as a source: GET the one ConfigMap by its name, then watch it from that resourceVersion.
//!
//! That needs only `get` and `watch` on one name. Everything is under a limit: a request, a silent watch, the
//! size of an answer; the client's own retries are off, because they would hide a failure for minutes.

use std::{convert::Infallible, sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::{
    Client, Config,
    api::{GetParams, WatchParams},
    client::Body,
    core::Request,
};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::{
    api_error::{ApiError, Step},
    args::{NAMESPACE_FILE, object_name},
    backoff::{Backoff, jitter},
    board::Board,
    body::{Lines, collect},
    configmap::{Event, EventKind, OBJECT_LIMIT, Object},
    exchange::{Exchange, Health, Slots},
    log::{Grumble, chain},
    metrics::label,
    payload::Payload,
    timing::Timing,
};

const ERROR_LIMIT: usize = 64 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// However long a server asks us to stay away.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);
/// A watch that ends after this part of the time that was asked for ended in order. One that ends earlier was cut by a
/// server that stops, and so were those of all other agents.
const WHOLE_WATCH: f64 = 0.9;

/// How the agent gets at the API server.
#[derive(Clone, Default)]
pub enum Connect {
    /// A kubeconfig if there is one, else the pod's service account.
    #[default]
    Infer,
    /// With this client.
    Given(Client),
}

/// Follows the ConfigMap for ever.
pub struct ApiSource {
    /// How to connect.
    pub connect: Connect,
    /// Of the ConfigMap; the pod's own when none.
    pub namespace: Option<String>,
    /// Of the ConfigMap.
    pub name: String,
    /// The spans.
    pub timing: Timing,
    /// Where documents go.
    pub exchange: Arc<Exchange>,
    /// Where numbers go.
    pub board: Arc<Board>,
}

/// The source at work.
struct Follower {
    source: ApiSource,
    client: Option<Client>,
    /// Whether to make another client at the next try.
    client_is_suspect: bool,
    backoff: Backoff,
    grumble: Grumble,
    /// Where a watch that ended before its time is taken up again.
    resume: Option<String>,
    /// When to catch by a read what a watch might have lost.
    recheck: Instant,
    /// Someone waits for a read from the quorum.
    owes_quorum: bool,
    /// A watch was opened since the last failure.
    watching: bool,
    /// The watch said that the ConfigMap is gone.
    deleted: bool,
}

/// One connected attempt: the client and where the ConfigMap is.
struct Session {
    client: Client,
    request: Request,
    name: String,
    timing: Timing,
}

// === impl ApiSource ===

impl ApiSource {
    /// Runs until dropped.
    pub async fn run(self) {
        let exchange = Arc::clone(&self.exchange);
        let mut follower = Follower::new(self);
        loop {
            let Err(error) = follower.follow().await;
            let wait = follower.failed(&error);
            tokio::select! {
                () = sleep(wait) => {}
                () = exchange.confirm.notified() => follower.owes_quorum = true,
            }
        }
    }
}

// === impl Follower ===

impl Follower {
    fn new(source: ApiSource) -> Self {
        let (first, cap) = source.timing.api_retry;
        Self {
            source,
            client: None,
            client_is_suspect: false,
            backoff: Backoff::new(first, cap),
            grumble: Grumble::default(),
            resume: None,
            recheck: Instant::now(),
            owes_quorum: false,
            watching: false,
            deleted: false,
        }
    }

    async fn follow(&mut self) -> Result<Infallible, ApiError> {
        let session = self.connect().await?;
        let exchange = Arc::clone(&self.source.exchange);
        let timing = session.timing;
        let mut version = match self.resume.take() {
            Some(version) if !self.owes_quorum && Instant::now() < self.recheck => version,
            _ => self.read(&session).await?,
        };
        loop {
            let length = jitter(timing.watch.0, timing.watch.1);
            let mut lines = session.watch(&version, length).await?;
            self.opened();
            let opened = Instant::now();
            let mut heard = opened;
            loop {
                tokio::select! {
                    line = lines.next() => match line.map_err(|error| ApiError::body(Step::Watch, error))? {
                        None => break,
                        Some(line) => {
                            self.event(&session.name, line, &mut version)?;
                            heard = Instant::now();
                            self.backoff.reset();
                        }
                    },
                    () = sleep_until(heard + timing.silence) => {
                        return Err(ApiError::Silent(timing.silence.as_secs()));
                    }
                    () = exchange.confirm.notified() => {
                        self.owes_quorum = true;
                        self.read_besides(&session).await?;
                    }
                    () = sleep_until(self.recheck) => self.read_besides(&session).await?,
                }
            }
            let lasted = opened.elapsed();
            if lasted < length.mul_f64(WHOLE_WATCH) {
                self.resume = Some(version);
                return Err(ApiError::Ended(lasted.as_secs()));
            }
        }
    }

    /// A client with bounded patience, and where the ConfigMap is.
    async fn connect(&mut self) -> Result<Session, ApiError> {
        let client = match &self.client {
            Some(client) if !self.client_is_suspect => client.clone(),
            before => match (new_client(&self.source.connect).await, before) {
                (Ok(client), _) => {
                    self.client_is_suspect = false;
                    client
                }
                // A token file that is away for a moment: the token that was read last may still do.
                (Err(error), Some(before)) => {
                    tracing::debug!(error = chain(&error), "no new client, using the old one");
                    before.clone()
                }
                (Err(error), None) => return Err(error),
            },
        };
        self.client = Some(client.clone());
        let namespace = match &self.source.namespace {
            Some(namespace) => namespace.clone(),
            None => own_namespace()?,
        };
        let request = Request::new(format!("/api/v1/namespaces/{namespace}/configmaps"));
        Ok(Session { client, request, name: self.source.name.clone(), timing: self.source.timing })
    }

    /// Reads the ConfigMap, leaves it for the main loop, and returns its resourceVersion.
    async fn read(&mut self, session: &Session) -> Result<String, ApiError> {
        let quorum = self.owes_quorum;
        let object = session.get(quorum).await?;
        let version = object.metadata.resource_version.clone();
        if object.metadata.name != session.name || version.is_empty() {
            return Err(ApiError::NotOurs(Step::Get));
        }
        self.heard();
        self.owes_quorum = false;
        self.deleted = false;
        self.recheck = Instant::now() + jitter(session.timing.recheck.0, session.timing.recheck.1);
        let payload = object.into_payload();
        if quorum {
            self.source.exchange.leave(|slots| slots.confirm(payload));
        } else {
            self.leave(payload, |_| {});
        }
        Ok(version)
    }

    /// Reads while the watch goes on. A server that is merely busy is asked again later: the watch is worth more.
    async fn read_besides(&mut self, session: &Session) -> Result<(), ApiError> {
        match self.read(session).await {
            Err(error) if error.is_busy() => {
                tracing::debug!(error = chain(&error), "cannot read besides the watch, trying again");
                self.count(&error);
                let wait = self.backoff.next_wait() + error.retry_after(LONGEST_RETRY_AFTER);
                self.recheck = Instant::now() + wait;
                Ok(())
            }
            result => result.map(drop),
        }
    }

    fn event(&mut self, name: &str, line: Vec<u8>, version: &mut String) -> Result<(), ApiError> {
        let event: Event =
            serde_json::from_slice(&line).map_err(|source| ApiError::Json { step: Step::Watch, source })?;
        drop(line);
        self.heard();
        let object = event.object;
        if event.kind == EventKind::Error {
            let after = object.details.and_then(|details| details.retry_after_seconds);
            let message = object.message.unwrap_or_default();
            return Err(ApiError::status(Step::Watch, object.code.unwrap_or(500), message, after));
        }
        let metadata = &object.metadata;
        if event.kind != EventKind::Bookmark && metadata.name != name {
            return Ok(());
        }
        if !metadata.resource_version.is_empty() {
            version.clone_from(&metadata.resource_version);
        }
        match event.kind {
            EventKind::Added | EventKind::Modified => {
                self.deleted = false;
                self.leave(object.into_payload(), |slots| slots.api_health = Health::Up);
            }
            EventKind::Deleted => {
                tracing::warn!("the ConfigMap was deleted, the last good document stays");
                self.deleted = true;
                self.source.exchange.leave(|slots| slots.api_health = deleted());
            }
            EventKind::Bookmark | EventKind::Unknown | EventKind::Error => {}
        }
        Ok(())
    }

    /// Leaves a document that may be old.
    fn leave(&self, payload: Payload, change: impl FnOnce(&mut Slots)) {
        let exchange = &self.source.exchange;
        let hides_a_newer_one = exchange.leave(|slots| {
            change(slots);
            slots.show(payload)
        });
        if hides_a_newer_one {
            exchange.confirm.notify_one();
        }
    }

    fn heard(&self) {
        self.source.board.metrics.watch_last_activity.set(Timestamp::now().as_millisecond() as f64 / 1000.0);
    }

    fn opened(&mut self) {
        if self.grumble.clear() {
            tracing::info!("the API can be used again");
        }
        self.watching = true;
        let health = if self.deleted { deleted() } else { Health::Up };
        self.source.exchange.leave(|slots| slots.api_health = health);
    }

    /// Notes the failure and says how long to wait.
    fn failed(&mut self, error: &ApiError) -> Duration {
        let why = chain(error);
        let timing = &self.source.timing;
        self.count(error);
        // Credentials, certificates and connections are taken afresh.
        self.client_is_suspect |= error.is_about_the_client();
        if std::mem::take(&mut self.watching) && error.is_a_break() {
            self.backoff.spread(timing.reconnect);
        }
        let is_first = self.backoff.is_fresh();
        let wait = self.backoff.next_wait();
        if error.is_expired() {
            if is_first {
                tracing::debug!(why, "the watch is too old, reading again");
                return Duration::ZERO;
            }
            // A cache that is too old itself would lead here for ever.
            self.owes_quorum = true;
        }
        if self.grumble.is_news(error.kind()) {
            tracing::warn!(why, "the API cannot be used, the last good document stays");
        } else {
            tracing::debug!(why, ?wait, "the API still cannot be used");
        }
        let is_started = || self.source.board.not_started().is_none();
        self.source.exchange.leave(|slots| match error.is_not_found() {
            true => slots.api_health = Health::Absent { why },
            false => slots.api_health.fail(why),
        });
        if error.is_not_found() {
            let (waiting, serving) = timing.missing_retry;
            return wait.min(jitter(Duration::ZERO, if is_started() { serving } else { waiting }));
        }
        if error.is_unauthorized() && is_first {
            // Most likely the token was rotated, and the new one is there already.
            return Duration::ZERO;
        }
        wait + error.retry_after(LONGEST_RETRY_AFTER)
    }

    fn count(&self, error: &ApiError) {
        self.source.board.metrics.watch_restarts.get_or_create(&label("reason", error.kind())).inc();
    }
}

// === impl Session ===

impl Session {
    /// From the API server's cache, which is cheap and may be old, or from the quorum.
    async fn get(&self, quorum: bool) -> Result<Object, ApiError> {
        let params = GetParams { resource_version: (!quorum).then(|| "0".to_owned()) };
        let request =
            self.request.get(&self.name, &params).map_err(|error| ApiError::request(Step::Get, error))?;
        let read = async {
            let body = self.send(Step::Get, request).await?;
            collect(body, OBJECT_LIMIT).await.map_err(|error| ApiError::body(Step::Get, error))
        };
        let text = within(Step::Get, self.timing.request, read).await?;
        serde_json::from_slice(&text).map_err(|source| ApiError::Json { step: Step::Get, source })
    }

    async fn watch(&self, version: &str, length: Duration) -> Result<Lines, ApiError> {
        let seconds = u32::try_from(length.as_secs().max(1)).unwrap_or(u32::MAX);
        let params = WatchParams::default().fields(&format!("metadata.name={}", self.name)).timeout(seconds);
        let request =
            self.request.watch(&params, version).map_err(|error| ApiError::request(Step::Watch, error))?;
        let body = within(Step::Watch, self.timing.request, self.send(Step::Watch, request)).await?;
        Ok(Lines::new(body, OBJECT_LIMIT))
    }

    async fn send(&self, step: Step, request: http::Request<Vec<u8>>) -> Result<Body, ApiError> {
        let answer = self.client.send(request.map(Body::from)).await;
        let answer = answer.map_err(|error| ApiError::kube(step, error))?;
        if answer.status().is_success() {
            return Ok(answer.into_body());
        }
        let code = answer.status().as_u16();
        let after = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
        let text = collect(answer.into_body(), ERROR_LIMIT).await.unwrap_or_default();
        let status: Object = serde_json::from_slice(&text).unwrap_or_default();
        let after = after.or_else(|| status.details.and_then(|details| details.retry_after_seconds));
        Err(ApiError::status(step, code, status.message.unwrap_or_default(), after))
    }
}

async fn within<T>(
    step: Step,
    limit: Duration,
    work: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    timeout(limit, work)
        .await
        .unwrap_or_else(|_| Err(ApiError::Timeout { step, seconds: limit.as_secs_f32() }))
}

async fn new_client(connect: &Connect) -> Result<Client, ApiError> {
    match connect {
        Connect::Given(client) => Ok(client.clone()),
        Connect::Infer => {
            let mut config = Config::infer().await.map_err(|error| ApiError::Config(Box::new(error)))?;
            config.connect_timeout = Some(CONNECT_TIMEOUT);
            config.default_retry = false;
            Client::try_from(config).map_err(|error| ApiError::kube(Step::Connect, error))
        }
    }
}

fn deleted() -> Health {
    Health::Absent { why: "the ConfigMap was deleted".to_owned() }
}

fn own_namespace() -> Result<String, ApiError> {
    let text = std::fs::read_to_string(NAMESPACE_FILE).map_err(ApiError::Namespace)?;
    object_name(text.trim()).map_err(|error| ApiError::Namespace(std::io::Error::other(error)))
}
