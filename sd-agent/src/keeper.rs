//! Keeps the file right: judges what the sources show, puts it in place, remembers it, repairs it.
//!
//! Nothing here waits. What fails is kept as it was and tried again later; the last good file always stays.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use tokio::{sync::watch, time::Instant};

use crate::{
    Address, Document, Meta, Payload, ThanosVersion,
    board::Board,
    log::{Grumble, chain},
    metrics::label,
    order::{Ignored, Mark, Order, Step, Verdict, Witness},
    origin::Origin,
    publish::{LiveFile, PublishError, Published},
    render::render,
    report::{Applied, Refused, SourceReport},
    state::Kept,
    validate,
};

/// The file and everything that is known about it.
#[derive(Debug)]
pub struct Keeper {
    version: ThanosVersion,
    flags: Vec<Address>,
    output: PathBuf,
    write_retry: (Duration, Duration),
    live: LiveFile,
    order: Order,
    /// What is applied, packed as it came: enough to write the file again.
    kept: Option<Kept>,
    /// The state file does not say `kept` yet.
    unsaved: bool,
    /// The live file is valid and not what the state file says: it may be the newer of the two.
    unsure: bool,
    pending: Option<Pending>,
    /// What Thanos looks up, from its flags and its file.
    looked_up: watch::Sender<Arc<[Address]>>,
    board: Arc<Board>,
    write_trouble: Grumble,
    state_trouble: Grumble,
    refusals: Grumble,
    conflicts: Grumble,
}

/// A document that could not be written yet.
#[derive(Debug)]
struct Pending {
    generation: u64,
    payload: Payload,
    step: Step,
    origin: Origin,
    wait: Duration,
    at: Instant,
}

#[derive(Debug, thiserror::Error)]
enum PutError {
    #[error("the rendered file is not valid, which is a bug")]
    Render(#[source] validate::Invalid),
    #[error(transparent)]
    Publish(PublishError),
}

// === impl Keeper ===

impl Keeper {
    /// Of the file `output`, for a pod of `version` with `flags`.
    pub fn new(
        output: PathBuf,
        version: ThanosVersion,
        flags: Vec<Address>,
        write_retry: (Duration, Duration),
        looked_up: watch::Sender<Arc<[Address]>>,
        board: Arc<Board>,
    ) -> Self {
        Self {
            version,
            flags,
            live: LiveFile::new(output.clone()),
            output,
            write_retry,
            order: Order::default(),
            kept: None,
            unsaved: false,
            unsure: false,
            pending: None,
            looked_up,
            board,
            write_trouble: Grumble::default(),
            state_trouble: Grumble::default(),
            refusals: Grumble::default(),
            conflicts: Grumble::default(),
        }
    }

    /// The applied document.
    pub fn current(&self) -> Option<&Mark> {
        self.order.current()
    }

    /// Takes up what an agent before this one left, so that its restart changes nothing.
    pub fn restore(&mut self) {
        let kept = match Kept::load(self.folder()) {
            Ok(Some(kept)) => kept,
            Ok(None) => return,
            Err(error) => return tracing::warn!(error = chain(&error), "starting without the state file"),
        };
        let (meta, document) = match kept.payload.unpack() {
            Ok(unpacked) => unpacked,
            Err(error) => return tracing::warn!(error = chain(&error), "starting without the state file"),
        };
        let rendered = render(&document, self.version, &self.flags);
        // A kill between the rename of the file and that of the state leaves a file that is one step ahead.
        let live = fs::read_to_string(&self.output).ok().filter(|live| *live != rendered.text);
        let ahead = live.and_then(|live| validate::rendered(&live, self.version).ok());
        let in_file = match ahead {
            Some(found) => {
                self.unsure = true;
                self.show_looked_up(document.looked_up_by(&self.flags));
                found.endpoints
            }
            None => match self.put(document) {
                Ok((count, _)) => count,
                Err(error) => {
                    self.write_failed(&error);
                    let (generation, wait) = (meta.generation, self.write_retry.0);
                    return self.postpone(generation, kept.payload, Step::First, Origin::State, wait);
                }
            },
        };
        self.order = Order::restored(Mark::from(&meta), kept.mount_floor);
        self.show(&meta, in_file, Origin::State, kept.applied_at);
        tracing::info!(
            generation = meta.generation,
            endpoints = meta.count,
            in_file,
            "took up the state file"
        );
        self.kept = Some(kept);
    }

    /// Judges a document and applies it if it counts. True when the quorum must be asked about it.
    pub fn offer(&mut self, payload: Payload, witness: Witness) -> bool {
        let origin = match witness {
            Witness::Api { .. } => Origin::Api,
            Witness::Mount { .. } => Origin::Mount,
        };
        let meta = match payload.meta() {
            Ok(meta) => meta,
            Err(refusal) => {
                self.refuse(origin, refusal.reason(), chain(&refusal));
                return false;
            }
        };
        self.note_generation(origin, meta.generation);
        if self.pending.as_ref().is_some_and(|pending| meta.generation < pending.generation) {
            // Not in the file yet, so the order does not know it; it counts as if it were.
            match witness {
                Witness::Api { confirmed: true } => self.pending = None,
                Witness::Api { confirmed: false } => return true,
                Witness::Mount { .. } => return false,
            }
        }
        match self.order.judge(&Mark::from(&meta), witness) {
            Verdict::Apply(step) => self.apply(payload, step, origin, self.write_retry.0),
            Verdict::Confirm => return true,
            Verdict::Same if self.unsure && origin == Origin::Api => self.heal(),
            Verdict::Same => {}
            Verdict::Ignore(Ignored::Conflict) => self.conflict(&meta),
            Verdict::Ignore(why) => {
                tracing::debug!(generation = meta.generation, ?why, "the mount shows what does not count");
            }
        }
        false
    }

    /// What is to be done from time to time: repair the file, save the state.
    pub fn tick(&mut self) {
        if self.kept.is_some() && !self.unsure && self.pending.is_none() && !self.live.is_untouched() {
            self.heal();
        }
        if self.unsaved {
            self.save();
        }
    }

    /// When [`Self::retry`] is due.
    pub fn retry_at(&self) -> Option<Instant> {
        self.pending.as_ref().map(|pending| pending.at)
    }

    /// Tries again what could not be written.
    pub fn retry(&mut self) {
        if let Some(Pending { payload, step, origin, wait, .. }) = self.pending.take() {
            self.apply(payload, step, origin, (wait * 2).min(self.write_retry.1));
        }
    }

    fn apply(&mut self, payload: Payload, step: Step, origin: Origin, next_wait: Duration) {
        let begun = Instant::now();
        let (meta, document) = match payload.unpack() {
            Ok(unpacked) => unpacked,
            Err(refusal) => return self.refuse(origin, refusal.reason(), chain(&refusal)),
        };
        match self.put(document) {
            Ok((in_file, _)) => {
                self.applied(payload, &meta, step, origin, in_file, begun);
            }
            Err(error @ PutError::Render(_)) => self.refuse(origin, "render", chain(&error)),
            Err(error @ PutError::Publish(_)) => {
                self.write_failed(&error);
                self.postpone(meta.generation, payload, step, origin, next_wait);
            }
        }
    }

    fn postpone(&mut self, generation: u64, payload: Payload, step: Step, origin: Origin, wait: Duration) {
        let at = Instant::now() + wait;
        self.pending = Some(Pending { generation, payload, step, origin, wait, at });
    }

    /// Renders, reads it back as Thanos would, and puts it in place. Returns how many endpoints it names.
    fn put(&mut self, document: Document) -> Result<(usize, Published), PutError> {
        let rendered = render(&document, self.version, &self.flags);
        let looked_up = document.looked_up_by(&self.flags);
        // A large document takes as much memory as its text; what follows needs only the latter.
        drop(document);
        let found = validate::rendered(&rendered.text, self.version).map_err(PutError::Render)?;
        let published = self.live.publish(rendered.text.as_bytes()).map_err(PutError::Publish)?;
        self.show_looked_up(looked_up);
        self.board.can_write();
        if self.write_trouble.clear() {
            tracing::info!(file = %self.output.display(), "the file can be written again");
        }
        Ok((found.endpoints, published))
    }

    fn applied(
        &mut self,
        payload: Payload,
        meta: &Meta,
        step: Step,
        origin: Origin,
        in_file: usize,
        begun: Instant,
    ) {
        let now = Timestamp::now();
        let took = begun.elapsed();
        self.order.accept(Mark::from(meta), step);
        self.kept = Some(Kept { payload, mount_floor: self.order.mount_floor(), applied_at: now });
        self.unsure = false;
        self.pending = None;
        self.refusals.clear();
        self.conflicts.clear();
        self.save();
        self.show(meta, in_file, origin, now);
        let metrics = &self.board.metrics;
        metrics.apply_duration.observe(took.as_secs_f64());
        // The clocks of two machines: a document from the future took no time.
        metrics.propagation.observe(now.duration_since(meta.written_at).as_secs_f64().max(0.0));
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

    fn show(&self, meta: &Meta, in_file: usize, origin: Origin, applied_at: Timestamp) {
        self.board.update(|report| {
            report.applied = Some(Applied {
                owner: meta.owner.clone(),
                generation: meta.generation,
                sha256: meta.sha256.clone(),
                endpoints: meta.count,
                in_file,
                source: origin.as_str().to_owned(),
                applied_at,
            });
            report.refused = None;
        });
        let metrics = &self.board.metrics;
        metrics.applied_generation.set(i64::try_from(meta.generation).unwrap_or(i64::MAX));
        metrics.applied_timestamp.set(applied_at.as_millisecond() as f64 / 1000.0);
        metrics.endpoints.set(i64::try_from(in_file).unwrap_or(i64::MAX));
        for one in [Origin::Api, Origin::Mount, Origin::State] {
            let active = metrics.active_source.get_or_create(&label("source", one.as_str()));
            active.set(i64::from(one == origin));
        }
        self.board.started();
    }

    fn show_looked_up(&self, names: Vec<Address>) {
        self.looked_up.send_if_modified(|before| {
            let is_news = before[..] != names[..];
            if is_news {
                *before = names.into();
            }
            is_news
        });
    }

    /// Writes the file again from what is kept.
    fn heal(&mut self) {
        let Some(Ok((_, document))) = self.kept.as_ref().map(|kept| kept.payload.unpack()) else { return };
        match self.put(document) {
            Ok((_, Published::Written)) => {
                self.unsure = false;
                self.board.metrics.self_heal.inc();
                tracing::warn!(file = %self.output.display(), "someone else changed the file, wrote it again");
            }
            Ok((_, Published::Unchanged)) => self.unsure = false,
            Err(error) => self.write_failed(&error),
        }
    }

    /// After the data, so that the state never runs ahead of it.
    fn save(&mut self) {
        let Some(kept) = &self.kept else { return };
        match kept.save(self.folder()) {
            Ok(()) => {
                self.unsaved = false;
                self.state_trouble.clear();
            }
            Err(error) => {
                self.unsaved = true;
                self.board.metrics.apply_errors.get_or_create(&label("op", "state")).inc();
                let why = chain(&error);
                if self.state_trouble.is_news(&why) {
                    tracing::warn!(why, "cannot remember the document over a restart, trying again");
                }
            }
        }
    }

    fn write_failed(&mut self, error: &PutError) {
        let op = match error {
            PutError::Render(_) => "render",
            PutError::Publish(error) => error.step.as_str(),
        };
        self.board.metrics.apply_errors.get_or_create(&label("op", op)).inc();
        let why = chain(error);
        if self.write_trouble.is_news(&why) {
            tracing::warn!(why, "cannot write the file, the old one stays; trying again");
        }
        self.board.cannot_write(op, &why);
        self.board.trouble(Some(why));
    }

    fn refuse(&mut self, origin: Origin, reason: &'static str, message: String) {
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

    fn conflict(&mut self, meta: &Meta) {
        self.board.metrics.conflicts.inc();
        if self.conflicts.is_news(&meta.sha256) {
            let generation = meta.generation;
            tracing::warn!(generation, "the mount shows another content under the same generation, ignored");
        }
    }

    fn note_generation(&self, origin: Origin, generation: u64) {
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

    fn folder(&self) -> &Path {
        folder_of(&self.output)
    }
}

/// The folder of a file that may be named without one.
pub fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}
