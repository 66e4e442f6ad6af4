//! The API as a source: GET the one ConfigMap by its name, then watch it from that resourceVersion.
//!
//! Everything that fails is tried again, in a way that a thousand agents do not do at once; a silent watch is given up.

use std::{convert::Infallible, sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::Client;
use tokio::time::{Instant, sleep, sleep_until};

pub use crate::api_session::Connect;
use crate::{
    api_error::{ApiError, Step},
    api_session::Session,
    backoff::{Backoff, jitter},
    board::Board,
    configmap::{Event, EventKind},
    exchange::{Exchange, Health, Slots},
    log::{Grumble, chain},
    metrics::label,
    payload::Payload,
    timing::Timing,
};

/// However long a server asks us to stay away.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);
/// A watch that ends after this part of the time that was asked for ended in order. One that ends earlier was cut by a
/// server that stops, and so were those of all other agents.
const WHOLE_WATCH: f64 = 0.9;

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
    /// Since the watch last spoke, one try followed without a wait; a second one would begin a busy loop.
    hurried: bool,
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
            hurried: false,
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
                    // What was said during a read counts before the silence.
                    biased;
                    line = lines.next() => match line.map_err(|error| ApiError::body(Step::Watch, error))? {
                        None => break,
                        Some(line) => {
                            self.event(&session.name, line, &mut version)?;
                            heard = Instant::now();
                            self.backoff.reset();
                            self.hurried = false;
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
            before => match (self.source.connect.client().await, before) {
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
        Session::new(client, self.source.namespace.as_deref(), &self.source.name, self.source.timing)
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
        // The token was rotated, or the version is too old: another try knows better, unless one was just made.
        let hurries = (error.is_expired() || error.is_unauthorized()) && !self.hurried;
        self.hurried |= hurries;
        if error.is_expired() {
            if hurries {
                tracing::debug!(why, "the watch is too old, reading again");
                return Duration::ZERO;
            }
            // A cache that is too old itself would lead here for ever.
            self.owes_quorum = true;
        }
        if self.grumble.is_news(error.kind()) {
            tracing::warn!(why, "the API cannot be used, the last good document stays");
        } else {
            tracing::debug!(why, "the API still cannot be used");
        }
        self.source.exchange.leave(|slots| match error.is_not_found() {
            true => slots.api_health = Health::Absent { why },
            false => slots.api_health.fail(why),
        });
        if hurries {
            return Duration::ZERO;
        }
        let wait = self.backoff.next_wait();
        if error.is_not_found() {
            let (waiting, serving) = timing.missing_retry;
            let is_started = self.source.board.not_started().is_none();
            return wait.min(jitter(Duration::ZERO, if is_started { serving } else { waiting }));
        }
        wait + error.retry_after(LONGEST_RETRY_AFTER)
    }

    fn count(&self, error: &ApiError) {
        self.source.board.metrics.watch_restarts.get_or_create(&label("reason", error.kind())).inc();
    }
}

fn deleted() -> Health {
    Health::Absent { why: "the ConfigMap was deleted".to_owned() }
}
