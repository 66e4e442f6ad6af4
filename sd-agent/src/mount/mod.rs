//! The mount as a source: the ConfigMap as kubelet projects it, about a minute late.
//!
//! Kubelet moves the link `..data` to a new folder. A watch of the mounted folder tells of it at once, and a look at the
//! link every two seconds catches what the watch misses (gVisor, overflow, no inotify left). Whatever is wrong with
//! the mount, the agent goes on, and takes it up again when it can be read.

mod patience;
pub mod snapshot;
pub mod watch;

#[cfg(test)]
mod tests;

use std::{ffi::OsString, path::PathBuf, sync::Arc, time::Duration};

use tokio::time::sleep;

use self::{
    patience::{Answer, Patience},
    snapshot::{Folder, FolderId, MountError},
    watch::{Stirred, Watch, WatchFolder},
};
use crate::{
    board::Board,
    exchange::{Exchange, Health},
    log::{Grumble, chain},
    payload::Payload,
};

/// From the first event of a swap to the look. It does not grow when more events come, so that a steady stream of
/// them delays nothing.
const DEBOUNCE: Duration = Duration::from_millis(20);
/// How many polls pass before a watch that could not be made is tried again.
const POLLS_PER_WATCH: u32 = 15;

/// Follows the mount for ever.
#[derive(Debug)]
pub struct MountSource {
    path: PathBuf,
    poll: Duration,
    exchange: Arc<Exchange>,
    board: Arc<Board>,
    watch: Watch,
    /// What was last read, and needs no second look.
    seen: Option<(FolderId, OsString)>,
    patience: Patience,
    grumble: Grumble,
}

// === impl MountSource ===

impl MountSource {
    /// Follows the folder at `path`, looking every `poll` even when the watch says nothing.
    pub fn new(
        path: PathBuf,
        poll: Duration,
        watching: Arc<dyn WatchFolder>,
        exchange: Arc<Exchange>,
        board: Arc<Board>,
    ) -> Self {
        let watch = Watch::new(watching, poll * POLLS_PER_WATCH);
        let (patience, grumble) = (Patience::new(poll), Grumble::default());
        Self { path, poll, exchange, board, watch, seen: None, patience, grumble }
    }

    /// Runs until dropped.
    pub async fn run(mut self) {
        loop {
            let next_look = self.look();
            tokio::select! {
                why = self.watch.stirred() => {
                    sleep(DEBOUNCE).await;
                    if why == Stirred::Lost {
                        self.forget();
                    }
                }
                () = self.exchange.reread_mount.notified() => self.forget(),
                () = sleep(next_look) => {}
            }
        }
    }

    /// Looks at the link, and reads what is behind it unless it was read before. Returns when to look again.
    fn look(&mut self) -> Duration {
        let folder = match Folder::open(&self.path) {
            Ok(folder) => folder,
            Err(error) => {
                self.watch.end();
                self.board.metrics.inotify_degraded.set(1);
                return self.failed(&error);
            }
        };
        // Before the look, so that no swap falls between the two.
        let watched = self.watch.keep_on(&self.path, folder.id());
        self.board.metrics.inotify_degraded.set(i64::from(!watched));
        let target = match folder.target() {
            Ok(target) => target,
            Err(error) => return self.failed(&error),
        };
        if let (Some((id, seen)), Some(target)) = (&self.seen, &target)
            && (*id, seen) == (folder.id(), target)
        {
            return self.poll;
        }
        self.seen = None;
        match folder.snapshot() {
            Ok(snapshot) if snapshot.is_whole() => {
                self.found(snapshot.payload);
                self.patience.end();
                self.seen = Some((folder.id(), snapshot.target));
                self.poll
            }
            Ok(snapshot) => match self.patience.ask(Some(snapshot.target)) {
                Answer::Wait(wait) => wait,
                Answer::Over => {
                    // It will be refused, with the reason.
                    self.found(snapshot.payload);
                    self.poll
                }
                Answer::OverBefore => self.poll,
            },
            Err(error @ MountError::NoLink(_)) if folder.has_plain_entries() => self.failed(&error),
            Err(error) if error.may_pass() => match self.patience.ask(target) {
                Answer::Wait(wait) => wait,
                Answer::Over | Answer::OverBefore => self.tell(&error),
            },
            Err(error) => self.failed(&error),
        }
    }

    /// What was read is read again.
    fn forget(&mut self) {
        self.seen = None;
        self.patience.end();
    }

    fn found(&mut self, payload: Payload) {
        if self.grumble.clear() {
            tracing::info!(mount = %self.path.display(), "the mount can be read again");
        }
        self.board.metrics.mount_wiped.set(0);
        self.exchange.leave(|slots| {
            slots.mount = Some(payload);
            slots.mount_health = Health::Up;
        });
    }

    /// The mount cannot be read. Returns when to look again.
    fn failed(&mut self, error: &MountError) -> Duration {
        self.forget();
        self.tell(error)
    }

    fn tell(&mut self, error: &MountError) -> Duration {
        let why = chain(error);
        if self.grumble.is_news(&why) {
            tracing::warn!(why, "the mount cannot be used, the last good document stays");
        }
        self.board.metrics.mount_wiped.set(i64::from(matches!(error, MountError::Wiped(_))));
        self.exchange.leave(|slots| match error {
            MountError::Empty(_) => slots.mount_health = Health::Absent { why },
            _ => slots.mount_health.fail(why),
        });
        self.poll
    }
}
