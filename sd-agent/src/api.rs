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
    exchange::{Exchange, Health},
    log::{Grumble, chain},
    metrics::label,
    timing::Timing,
};

const ERROR_LIMIT: usize = 64 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// However long a server asks us to stay away.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);

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
    grumble: Grumble,
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
        let (first, cap) = self.timing.api_retry;
        let mut backoff = Backoff::new(first, cap);
        let exchange = Arc::clone(&self.exchange);
        let mut follower = Follower { source: self, client: None, grumble: Grumble::default() };
        let mut quorum = false;
        loop {
            let Err(error) = follower.follow(&mut backoff, quorum).await;
            let wait = follower.failed(&error, &mut backoff);
            quorum = tokio::select! {
                () = sleep(wait) => false,
                () = exchange.confirm.notified() => true,
            };
        }
    }
}

// === impl Follower ===

impl Follower {
    async fn follow(&mut self, backoff: &mut Backoff, quorum: bool) -> Result<Infallible, ApiError> {
        let session = self.connect().await?;
        let exchange = Arc::clone(&self.source.exchange);
        let timing = session.timing;
        let next_recheck = || Instant::now() + jitter(timing.recheck.0, timing.recheck.1);
        let mut version = self.read(&session, quorum).await?;
        let mut recheck = next_recheck();
        loop {
            let mut lines = session.watch(&version).await?;
            self.up();
            let opened = Instant::now();
            let mut heard = opened;
            loop {
                tokio::select! {
                    line = lines.next() => match line.map_err(|error| ApiError::body(Step::Watch, error))? {
                        None => break,
                        Some(line) => {
                            self.event(&session.name, line, &mut version)?;
                            heard = Instant::now();
                            backoff.reset();
                        }
                    },
                    () = sleep_until(heard + timing.silence) => {
                        return Err(ApiError::Silent(timing.silence.as_secs()));
                    }
                    () = exchange.confirm.notified() => { self.read(&session, true).await?; }
                    () = sleep_until(recheck) => {
                        self.read(&session, false).await?;
                        recheck = next_recheck();
                    }
                }
            }
            // A watch ends when its time is over; one that ends at once must not become a busy loop.
            if opened.elapsed() < Duration::from_secs(1) && heard == opened {
                sleep(backoff.next_wait()).await;
            }
        }
    }

    /// A client with bounded patience, and where the ConfigMap is.
    async fn connect(&mut self) -> Result<Session, ApiError> {
        let client = match (&self.client, &self.source.connect) {
            (Some(client), _) | (None, Connect::Given(client)) => client.clone(),
            (None, Connect::Infer) => {
                let mut config = Config::infer().await.map_err(|error| ApiError::Config(Box::new(error)))?;
                config.connect_timeout = Some(CONNECT_TIMEOUT);
                config.default_retry = false;
                Client::try_from(config).map_err(|error| ApiError::kube(Step::Connect, error))?
            }
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
    async fn read(&self, session: &Session, quorum: bool) -> Result<String, ApiError> {
        let object = session.get(quorum).await?;
        let version = object.metadata.resource_version.clone();
        if object.metadata.name != session.name || version.is_empty() {
            return Err(ApiError::NotOurs(Step::Get));
        }
        self.heard();
        let payload = object.into_payload();
        self.source.exchange.leave(|slots| {
            let slot = if quorum { &mut slots.confirmed } else { &mut slots.api };
            *slot = Some(payload);
        });
        Ok(version)
    }

    fn event(&self, name: &str, line: Vec<u8>, version: &mut String) -> Result<(), ApiError> {
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
                let payload = object.into_payload();
                self.source.exchange.leave(|slots| {
                    slots.api = Some(payload);
                    slots.api_health = Health::Up;
                });
            }
            EventKind::Deleted => {
                tracing::warn!("the ConfigMap was deleted, the last good document stays");
                let why = "the ConfigMap was deleted".to_owned();
                self.source.exchange.leave(|slots| slots.api_health = Health::Absent { why });
            }
            EventKind::Bookmark | EventKind::Unknown | EventKind::Error => {}
        }
        Ok(())
    }

    fn heard(&self) {
        self.source.board.metrics.watch_last_activity.set(Timestamp::now().as_millisecond() as f64 / 1000.0);
    }

    fn up(&mut self) {
        if self.grumble.clear() {
            tracing::info!("the API can be used again");
        }
        self.source.exchange.leave(|slots| slots.api_health = Health::Up);
    }

    /// Notes the failure and says how long to wait.
    fn failed(&mut self, error: &ApiError, backoff: &mut Backoff) -> Duration {
        let why = chain(error);
        let kind = error.kind();
        self.source.board.metrics.watch_restarts.get_or_create(&label("reason", kind)).inc();
        if error.is_about_the_client() {
            // Credentials, certificates and connections are taken afresh.
            self.client = None;
        }
        let mut wait = backoff.next_wait();
        if error.is_expired() {
            tracing::debug!(why, "the watch is too old, reading again");
            return wait;
        }
        if self.grumble.is_news(kind) {
            tracing::warn!(why, "the API cannot be used, the last good document stays");
        } else {
            tracing::debug!(why, ?wait, "the API still cannot be used");
        }
        if error.is_not_found() {
            let (waiting, serving) = self.source.timing.missing_retry;
            let started = self.source.board.not_started().is_none();
            wait = wait.min(jitter(Duration::ZERO, if started { serving } else { waiting }));
        }
        self.source.exchange.leave(|slots| match error.is_not_found() {
            true => slots.api_health = Health::Absent { why },
            false => slots.api_health.fail(why),
        });
        wait.max(error.retry_after().unwrap_or_default().min(LONGEST_RETRY_AFTER))
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

    async fn watch(&self, version: &str) -> Result<Lines, ApiError> {
        let length = jitter(self.timing.watch.0, self.timing.watch.1).as_secs().max(1);
        let params = WatchParams::default()
            .fields(&format!("metadata.name={}", self.name))
            .timeout(u32::try_from(length).unwrap_or(u32::MAX));
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

fn own_namespace() -> Result<String, ApiError> {
    let text = std::fs::read_to_string(NAMESPACE_FILE).map_err(ApiError::Namespace)?;
    object_name(text.trim()).map_err(|error| ApiError::Namespace(std::io::Error::other(error)))
}
