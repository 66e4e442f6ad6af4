//! What the HTTP server shows, kept by the main loop.

use std::{
    fmt::Write,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use prometheus_client::{encoding::text::encode, registry::Registry};

use crate::{metrics::Metrics, report::Report};

/// A main loop that was silent for this long is stuck.
pub const STUCK_AFTER: Duration = Duration::from_secs(60);

/// The state of the agent, for others to read.
#[derive(Debug)]
pub struct Board {
    inner: Mutex<Inner>,
    registry: Registry,
    /// The counters; they need no lock.
    pub metrics: Metrics,
}

#[derive(Debug)]
struct Inner {
    report: Report,
    not_started: Option<String>,
    progress: Instant,
}

// === impl Board ===

impl Board {
    /// Not started yet, for `why`.
    pub fn new(report: Report, why: &str) -> Self {
        let mut registry = Registry::with_prefix("sd_agent");
        let metrics = Metrics::register(&mut registry);
        let inner = Inner { report, not_started: Some(why.to_owned()), progress: Instant::now() };
        Self { inner: Mutex::new(inner), registry, metrics }
    }

    /// Changes the report.
    pub fn update(&self, change: impl FnOnce(&mut Report)) {
        change(&mut self.lock().report);
    }

    /// A copy of the report.
    pub fn report(&self) -> Report {
        self.lock().report.clone()
    }

    /// A validated file is in place. Nothing takes that back: the last good file stays.
    pub fn started(&self) {
        self.lock().not_started = None;
        self.metrics.started.set(1);
    }

    /// Says why there is no file, unless there is one.
    pub fn waiting(&self, why: String) {
        if let Some(reason) = &mut self.lock().not_started {
            *reason = why;
        }
    }

    /// Why no file is in place, if so.
    pub fn not_started(&self) -> Option<String> {
        self.lock().not_started.clone()
    }

    /// The main loop lives.
    pub fn progress(&self) {
        self.lock().progress = Instant::now();
    }

    /// Since when the main loop has been silent.
    pub fn silence(&self) -> Duration {
        self.lock().progress.elapsed()
    }

    /// All series, as text.
    pub fn metrics_text(&self) -> String {
        let mut text = String::new();
        if encode(&mut text, &self.registry).is_err() {
            let _ = writeln!(text, "# incomplete");
        }
        text
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
