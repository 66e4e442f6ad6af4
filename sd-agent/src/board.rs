//! What the HTTP server shows, kept by the main loop.

use std::{
    fmt::Write,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use prometheus_client::{encoding::text::encode, registry::Registry};

use crate::{
    exchange::Health,
    metrics::{Metrics, label},
    report::{CannotWrite, Report},
};

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
    started: bool,
    /// What is wrong here: the folder, the file, the document.
    trouble: Option<String>,
    /// What is wrong with the sources.
    sources: Option<String>,
    progress: Instant,
}

// === impl Board ===

impl Board {
    /// Not started yet.
    pub fn new(report: Report) -> Self {
        let mut registry = Registry::with_prefix("sd_agent");
        let metrics = Metrics::register(&mut registry);
        let inner = Inner { report, started: false, trouble: None, sources: None, progress: Instant::now() };
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
        self.lock().started = true;
        self.metrics.started.set(1);
    }

    /// What hinders the agent itself, or no longer does.
    pub fn trouble(&self, why: Option<String>) {
        self.lock().trouble = why;
    }

    /// What hinders the sources, or no longer does.
    pub fn sources(&self, why: Option<String>) {
        self.lock().sources = why;
    }

    /// The file cannot be written.
    pub fn cannot_write(&self, step: &str, message: &str) {
        let cannot = CannotWrite { step: step.to_owned(), message: message.to_owned() };
        self.update(|report| report.cannot_write = Some(cannot));
    }

    /// The file can be written.
    pub fn can_write(&self) {
        self.update(|report| report.cannot_write = None);
    }

    /// Whether a source has a document. While it cannot be read, what it showed last stays.
    pub fn show_present(&self, source: &'static str, health: &Health) {
        let is_present = match health {
            Health::Up => true,
            Health::Absent { .. } => false,
            Health::Off | Health::Starting | Health::Down { .. } => return,
        };
        self.metrics.source_present.get_or_create(&label("source", source)).set(i64::from(is_present));
    }

    /// Why no file is in place, if so.
    pub fn not_started(&self) -> Option<String> {
        let inner = self.lock();
        let whys: Vec<&str> =
            [&inner.trouble, &inner.sources].into_iter().flatten().map(String::as_str).collect();
        match (inner.started, whys.is_empty()) {
            (true, _) => None,
            (false, true) => Some("starting".to_owned()),
            (false, false) => Some(whys.join("; ")),
        }
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
