//! What the keeper tells: to logs, metrics and `/status`.

use std::{path::PathBuf, sync::Arc, time::Duration};

use jiff::Timestamp;

use super::PutError;
use crate::{
    Meta,
    board::Board,
    log::{Grumble, chain},
    metrics::label,
    order::Step,
    origin::Origin,
    publish::PublishError,
    report::{Applied, Refused, SourceReport},
};

/// Says what is news, once.
#[derive(Debug)]
pub(super) struct Teller {
    /// The live file.
    file: PathBuf,
    board: Arc<Board>,
    write_trouble: Grumble,
    sync_trouble: Grumble,
    state_trouble: Grumble,
    refusals: Grumble,
    conflicts: Grumble,
    too_old: Grumble,
}

/// What of a document the file has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Content {
    /// How many of its endpoints it names.
    pub endpoints: usize,
    /// How many it lacks because this agent is too old for them.
    pub too_new: usize,
}

/// A document in the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct InFile<'a> {
    pub meta: &'a Meta,
    pub content: Content,
    pub origin: Origin,
    pub since: Timestamp,
}

// === impl Teller ===

impl Teller {
    pub fn new(file: PathBuf, board: Arc<Board>) -> Self {
        Self {
            file,
            board,
            write_trouble: Grumble::default(),
            sync_trouble: Grumble::default(),
            state_trouble: Grumble::default(),
            refusals: Grumble::default(),
            conflicts: Grumble::default(),
            too_old: Grumble::default(),
        }
    }

    pub fn applied(&mut self, document: InFile<'_>, step: Step, took: Duration) {
        self.refusals.clear();
        self.conflicts.clear();
        self.in_file(document);
        let metrics = &self.board.metrics;
        metrics.apply_duration.observe(took.as_secs_f64());
        let InFile { meta, content: Content { endpoints: in_file, too_new: _ }, origin, since } = document;
        // The clocks of two machines: a document from the future took no time.
        metrics.propagation.observe(since.duration_since(meta.written_at).as_secs_f64().max(0.0));
        let (generation, endpoints, source) = (meta.generation, meta.count, origin.as_str());
        match step {
            Step::First | Step::Forward => {
                tracing::info!(generation, endpoints, in_file, source, ?took, "applied");
            }
            Step::Regress | Step::Conflict | Step::NewOwner => {
                tracing::warn!(generation, endpoints, in_file, source, ?took, ?step, "applied, out of order");
            }
        }
        match step {
            Step::Regress => drop(metrics.regressions.inc()),
            Step::Conflict => drop(metrics.conflicts.inc()),
            Step::First | Step::Forward | Step::NewOwner => {}
        }
    }

    pub fn restored(&mut self, document: InFile<'_>) {
        self.in_file(document);
        let InFile { meta, content: Content { endpoints: in_file, too_new: _ }, .. } = document;
        let (generation, endpoints) = (meta.generation, meta.count);
        tracing::info!(generation, endpoints, in_file, "took up the state file");
    }

    pub fn not_restored(&self, why: &dyn std::error::Error) {
        tracing::warn!(error = chain(why), "starting without the state file");
    }

    pub fn healed(&self) {
        self.board.metrics.self_heal.inc();
        tracing::warn!(file = %self.file.display(), "someone else changed the file, wrote it again");
    }

    pub fn written(&mut self) {
        self.board.can_write();
        if self.write_trouble.clear() {
            tracing::info!(file = %self.file.display(), "the file can be written again");
        }
    }

    pub fn not_written(&mut self, error: &PutError) {
        let step = match error {
            PutError::Render(_) => "render",
            PutError::Publish(error) => error.step.as_str(),
        };
        self.count_error(step);
        let why = chain(error);
        if self.write_trouble.is_news(&why) {
            tracing::warn!(why, "cannot write the file, the old one stays; trying again");
        }
        self.board.cannot_write(step, &why);
        self.board.trouble(Some(why));
    }

    /// The file is in place, so nothing hinders anyone now.
    pub fn unsynced(&mut self, error: &PublishError) {
        self.count_error(error.step.as_str());
        let why = chain(error);
        if self.sync_trouble.is_news(&why) {
            tracing::warn!(why, "a file is in place, but a power cut may bring the old one back");
        }
    }

    pub fn state_saved(&mut self) {
        self.state_trouble.clear();
    }

    pub fn state_not_saved(&mut self, error: &PublishError) {
        self.count_error("state");
        let why = chain(error);
        if self.state_trouble.is_news(&why) {
            tracing::warn!(why, "cannot remember the document over a restart, trying again");
        }
    }

    /// Thanos shows the change at its next tick instead.
    pub fn not_nudged(&self, error: &std::io::Error) {
        self.count_error("nudge");
        tracing::debug!(error = chain(error), "cannot make an event for Thanos");
    }

    pub fn refused(&mut self, origin: Origin, reason: &'static str, message: String) {
        self.board.metrics.rejected.get_or_create(&label("reason", reason)).inc();
        let source = origin.as_str();
        if self.refusals.is_news(&format!("{source} {message}")) {
            tracing::warn!(source, reason, message, "refused a document, the last good one stays");
        }
        self.board.trouble(Some(format!("the document from the {source} was refused: {message}")));
        let (reason, source) = (reason.to_owned(), source.to_owned());
        let refused = Refused { reason, message, source, at: Timestamp::now() };
        self.board.update(|report| report.refused = Some(refused));
    }

    pub fn conflict(&mut self, meta: &Meta) {
        self.board.metrics.conflicts.inc();
        if self.conflicts.is_news(&meta.sha256) {
            let generation = meta.generation;
            tracing::warn!(generation, "the mount shows another content under the same generation, ignored");
        }
    }

    pub fn shown(&self, origin: Origin, generation: u64) {
        let series = self.board.metrics.source_generation.get_or_create(&label("source", origin.as_str()));
        series.set(i64::try_from(generation).unwrap_or(i64::MAX));
        drop(series);
        self.board.update(|report| {
            let source: &mut SourceReport = match origin {
                Origin::Mount => &mut report.mount,
                Origin::Api | Origin::State => &mut report.api,
            };
            source.generation = Some(generation);
        });
    }

    fn in_file(&mut self, InFile { meta, content, origin, since }: InFile<'_>) {
        let Content { endpoints, too_new } = content;
        match too_new {
            0 => drop(self.too_old.clear()),
            _ if self.too_old.is_news(&too_new.to_string()) => {
                tracing::warn!(
                    too_new,
                    "left out endpoints that this agent is too old for: it is older than the operator"
                );
            }
            _ => {}
        }
        self.board.update(|report| {
            report.applied = Some(Applied {
                owner: meta.owner.clone(),
                generation: meta.generation,
                sha256: meta.sha256.clone(),
                endpoints: meta.count,
                in_file: endpoints,
                too_new,
                source: origin.as_str().to_owned(),
                applied_at: since,
            });
            report.refused = None;
        });
        let metrics = &self.board.metrics;
        metrics.applied_generation.set(i64::try_from(meta.generation).unwrap_or(i64::MAX));
        metrics.applied_timestamp.set(since.as_millisecond() as f64 / 1000.0);
        metrics.endpoints.set(i64::try_from(endpoints).unwrap_or(i64::MAX));
        metrics.too_new.set(i64::try_from(too_new).unwrap_or(i64::MAX));
        for one in [Origin::Api, Origin::Mount, Origin::State] {
            let active = metrics.active_source.get_or_create(&label("source", one.as_str()));
            active.set(i64::from(one == origin));
        }
        self.board.started();
    }

    fn count_error(&self, op: &'static str) {
        self.board.metrics.apply_errors.get_or_create(&label("op", op)).inc();
    }
}
