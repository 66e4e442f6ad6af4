//! Keeps the file right: judges what the sources show, puts it in place, remembers it, repairs it.
//!
//! Nothing here waits. What fails is kept as it was and tried again later; the last good file always stays.

mod pending;
mod telling;

use std::{path::PathBuf, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{sync::watch, time::Instant};

use self::{
    pending::{Candidate, Pending, Retry, Unwritten},
    telling::{Content, InFile, Teller},
};
use crate::{
    Address, Document, Meta, Payload, ThanosVersion,
    board::Board,
    log::chain,
    order::{Ignored, Mark, Order, Verdict, Witness},
    origin::Origin,
    payload::DOCUMENT_LIMIT,
    publish::{Files, LiveFile, PublishError, Published, folder_of, nudge::Nudges, remove_stale},
    render::{Rendered, TlsFiles, render_for},
    state::{Kept, STATE_FILE},
    timing::Timing,
    validate,
};

/// What is kept right, and for whom.
#[derive(Clone, Debug)]
pub struct Target {
    /// The file that Thanos reads; the agent's own files are beside it.
    pub file: PathBuf,
    /// Name of the ConfigMap that the documents come from.
    pub config_map: String,
    /// Release of the Thanos that reads the file.
    pub version: ThanosVersion,
    /// What that Thanos has as flags.
    pub flags: Vec<Address>,
    /// Where it has files of TLS.
    pub tls_folders: Vec<String>,
}

/// The file and everything that is known about it.
#[derive(Debug)]
pub struct Keeper {
    target: Target,
    files: Arc<dyn Files>,
    live: LiveFile,
    order: Order,
    held: Option<Held>,
    /// The state file does not say what is held yet.
    unsaved: bool,
    /// The live file is valid and not what the state file says: it may be the newer of the two.
    unsure: bool,
    retry: Retry,
    nudges: Nudges,
    /// What Thanos looks up, from its flags and its file.
    looked_up: watch::Sender<Arc<[Address]>>,
    teller: Teller,
}

/// The document that the order stands at.
#[derive(Debug)]
struct Held {
    /// Packed as it came: enough to write the file again.
    kept: Kept,
    origin: Origin,
    /// It was in the file once. Only a start that cannot write has something that was not.
    was_in_file: bool,
}

#[derive(Debug, thiserror::Error)]
enum PutError {
    #[error("the rendered file is not valid, which is a bug")]
    Render(#[source] validate::Invalid),
    #[error(transparent)]
    Publish(PublishError),
}

// === impl Target ===

impl Target {
    /// What the file shall hold of `document`.
    fn rendered(&self, document: &Document) -> Rendered {
        render_for(document, self.version, &self.flags, TlsFiles::In(&self.tls_folders))
    }
}

// === impl Keeper ===

impl Keeper {
    /// Of `target`, of which nothing is known yet.
    pub fn new(
        files: Arc<dyn Files>,
        target: Target,
        timing: &Timing,
        looked_up: watch::Sender<Arc<[Address]>>,
        board: Arc<Board>,
    ) -> Self {
        Self {
            live: LiveFile::new(Arc::clone(&files), target.file.clone()),
            files,
            order: Order::default(),
            held: None,
            unsaved: false,
            unsure: false,
            retry: Retry::new(timing.write_retry),
            nudges: Nudges::new(folder_of(&target.file), target.version, &timing.nudges),
            looked_up,
            teller: Teller::new(target.file.clone(), board),
            target,
        }
    }

    /// The applied document, or the one that is to be applied as soon as the file can be written.
    pub fn current(&self) -> Option<&Mark> {
        self.order.current()
    }

    /// Takes up what an agent before this one left, so that its restart changes nothing.
    pub fn restore(&mut self) {
        let folder = folder_of(&self.target.file);
        for path in [&self.target.file, &folder.join(STATE_FILE)] {
            remove_stale(&*self.files, path);
        }
        self.nudges.remove_stale(&*self.files);
        let kept = match Kept::load(&*self.files, folder, &self.target.config_map) {
            Ok(Some(kept)) => kept,
            Ok(None) => return,
            Err(error) => return self.teller.not_restored(&error),
        };
        let (meta, document) = match kept.payload.unpack() {
            Ok(unpacked) => unpacked,
            Err(error) => return self.teller.not_restored(&error),
        };
        // Before the file: what was known counts also when the file cannot be written now.
        self.order = Order::restored(Mark::from(&meta), kept.mount_floor);
        self.held = Some(Held { kept, origin: Origin::State, was_in_file: false });
        match self.endpoints_ahead(&document) {
            Some(endpoints) => {
                self.unsure = true;
                self.show_looked_up(document.looked_up_by(&self.target.flags));
                self.restored(&meta, Content { endpoints, too_new: document.too_new() });
            }
            None => self.write_kept(self.retry.first_wait()),
        }
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
                self.teller.refused(origin, refusal.reason(), chain(&refusal));
                return false;
            }
        };
        let generation = meta.generation;
        self.teller.shown(origin, generation);
        if self.retry.pending().is_some_and(|pending| pending.is_after(generation)) {
            // Not in the file yet, so the order does not know it; it counts as if it were.
            match witness {
                Witness::Api { confirmed: true } => self.retry.clear(),
                Witness::Api { confirmed: false } => return true,
                Witness::Mount { .. } => return false,
            }
        }
        match self.order.judge(&Mark::from(&meta), witness) {
            Verdict::Apply(step) => {
                let candidate = Candidate { payload, generation, step, origin };
                self.apply(candidate, self.retry.first_wait());
            }
            Verdict::Confirm => return true,
            Verdict::Same if self.unsure && origin == Origin::Api => {
                self.write_kept(self.retry.first_wait());
            }
            Verdict::Same => {}
            Verdict::Ignore(Ignored::Conflict) => self.teller.conflict(&meta),
            Verdict::Ignore(why) => {
                tracing::debug!(generation, ?why, "the mount shows what does not count");
            }
        }
        false
    }

    /// What is to be done from time to time: repair the file, save the state.
    pub fn tick(&mut self) {
        if self.held.is_some() && self.retry.pending().is_none() && !self.live.is_untouched() {
            self.write_kept(self.retry.first_wait());
        }
        if self.unsaved {
            self.save();
        }
    }

    /// When [`Self::do_due`] has something to do.
    pub fn due_at(&self) -> Option<Instant> {
        let retry = self.retry.pending().map(|pending: &Pending| pending.at);
        retry.into_iter().chain(self.nudges.due_at()).min()
    }

    /// Tries again what could not be written, and gives Thanos the events that it needs.
    pub fn do_due(&mut self) {
        let now = Instant::now();
        if let Err(error) = self.nudges.give(now, &*self.files) {
            self.teller.not_nudged(&error);
        }
        match self.retry.take_due(now) {
            Some((Unwritten::Kept, next_wait)) => self.write_kept(next_wait),
            Some((Unwritten::Document(candidate), next_wait)) => self.apply(candidate, next_wait),
            None => {}
        }
    }

    /// The number of endpoints in a live file that may be newer than the state's `document`.
    ///
    /// A kill between the rename of the file and that of the state leaves a file that is one step ahead.
    fn endpoints_ahead(&mut self, document: &Document) -> Option<usize> {
        let rendered = self.target.rendered(document);
        if self.live.holds(rendered.text.as_bytes()) {
            return None;
        }
        drop(rendered);
        let live = self.live.adopt(DOCUMENT_LIMIT)?;
        validate::rendered(&live, self.target.version).ok()
    }

    fn apply(&mut self, candidate: Candidate, next_wait: Duration) {
        let begun = Instant::now();
        let (meta, document) = match candidate.payload.unpack() {
            Ok(unpacked) => unpacked,
            Err(refusal) => return self.teller.refused(candidate.origin, refusal.reason(), chain(&refusal)),
        };
        match self.put(document) {
            Ok((content, _)) => self.applied(candidate, &meta, content, begun),
            Err(error @ PutError::Render(_)) => {
                self.teller.refused(candidate.origin, "render", chain(&error));
            }
            Err(error @ PutError::Publish(_)) => {
                self.teller.not_written(&error);
                self.retry.postpone(Unwritten::Document(candidate), next_wait);
            }
        }
    }

    /// Renders, reads it back as Thanos would, and puts it in place. Returns what of the document the file has.
    fn put(&mut self, document: Document) -> Result<(Content, Published), PutError> {
        let Target { version, flags, .. } = &self.target;
        let rendered = self.target.rendered(&document);
        let looked_up = document.looked_up_by(flags);
        let too_new = document.too_new();
        // A large document takes as much memory as its text; what follows needs only the latter.
        drop(document);
        let endpoints = validate::rendered(&rendered.text, *version).map_err(PutError::Render)?;
        let published = self.live.publish(rendered.text.as_bytes()).map_err(PutError::Publish)?;
        match &published {
            Published::Written => self.nudges.written(Instant::now()),
            Published::Unsynced(error) => {
                self.nudges.written(Instant::now());
                self.teller.unsynced(error);
            }
            Published::Unchanged => {}
        }
        self.show_looked_up(looked_up);
        self.teller.written();
        Ok((Content { endpoints, too_new }, published))
    }

    fn applied(&mut self, candidate: Candidate, meta: &Meta, content: Content, begun: Instant) {
        let Candidate { payload, step, origin, .. } = candidate;
        let (now, took) = (Timestamp::now(), begun.elapsed());
        self.order.accept(Mark::from(meta), step);
        let config_map = self.target.config_map.clone();
        let kept = Kept { config_map, payload, mount_floor: self.order.mount_floor(), applied_at: now };
        self.held = Some(Held { kept, origin, was_in_file: true });
        self.unsure = false;
        self.retry.clear();
        self.save();
        self.teller.applied(InFile { meta, content, origin, since: now }, step, took);
    }

    /// Writes the file again from what is held.
    fn write_kept(&mut self, next_wait: Duration) {
        let Some(held) = &self.held else { return };
        let was_in_file = held.was_in_file;
        // It was unpacked before, so it can be again.
        let Ok((meta, document)) = held.kept.payload.unpack() else { return };
        match self.put(document) {
            Ok((content, published)) => {
                self.unsure = false;
                self.retry.clear();
                match published {
                    _ if !was_in_file => self.restored(&meta, content),
                    Published::Written | Published::Unsynced(_) => self.teller.healed(),
                    Published::Unchanged => {}
                }
            }
            Err(error) => {
                self.teller.not_written(&error);
                self.retry.postpone(Unwritten::Kept, next_wait);
            }
        }
    }

    fn restored(&mut self, meta: &Meta, content: Content) {
        let Some(held) = &mut self.held else { return };
        held.was_in_file = true;
        let since = held.kept.applied_at;
        self.teller.restored(InFile { meta, content, origin: held.origin, since });
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

    /// After the data, so that the state never runs ahead of it.
    fn save(&mut self) {
        let Some(held) = &self.held else { return };
        let saved = held.kept.save(&*self.files, folder_of(&self.target.file));
        self.unsaved = saved.is_err();
        match saved {
            Ok(Published::Unsynced(error)) => self.teller.unsynced(&error),
            Ok(Published::Written | Published::Unchanged) => self.teller.state_saved(),
            Err(error) => self.teller.state_not_saved(&error),
        }
    }
}
