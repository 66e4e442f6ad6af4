//! The mount as a source: the ConfigMap as kubelet projects it, about a minute late.
//!
//! Kubelet swaps the link `..data` to a new folder; both keys are read from one such folder, so they are of one
//! snapshot. The *folder* is watched, because a watch on a file is dead after the first swap. The watch is a
//! hint: a look at the link every two seconds catches what it misses (gVisor, overflow, no inotify left).

use std::{
    fs,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::{sync::Notify, time::sleep};

use crate::{
    board::Board,
    exchange::{Exchange, Health},
    log::{Grumble, chain},
    payload::{DOCUMENT_KEY, GZIP_KEY, META_KEY, Payload},
};

/// The link that kubelet swaps.
pub const DATA_LINK: &str = "..data";
const DEBOUNCE: Duration = Duration::from_millis(20);
/// A ConfigMap holds 1 MiB; whatever is larger is no ConfigMap.
const KEY_LIMIT: u64 = 2 * 1024 * 1024;
const ATTEMPTS: usize = 5;
/// How many polls pass before a watch that could not be made is tried again.
const POLLS_PER_WATCH: usize = 15;

/// One consistent read of the folder.
#[derive(Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Where the link pointed.
    pub target: PathBuf,
    /// What was there.
    pub payload: Payload,
}

/// Why the folder could not be read.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// Not there, or not readable.
    #[error("cannot read the mount {}", path.display())]
    Read {
        /// What exactly.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A plain folder, or a file.
    #[error("{} has no {DATA_LINK}: mount the whole projected volume, not a subPath", .0.display())]
    NoLink(PathBuf),
    /// kubernetes#113242.
    #[error("the mounted folder {} was deleted by kubelet; only a restart of this container brings it back", .0.display())]
    Wiped(PathBuf),
    /// The ConfigMap is optional and does not exist, or is not ours.
    #[error("the mount {} has no {META_KEY}: the ConfigMap is missing or empty", .0.display())]
    Empty(PathBuf),
    /// Not a ConfigMap.
    #[error("{} has more than {KEY_LIMIT} bytes", .0.display())]
    TooLarge(PathBuf),
    /// It changed under every attempt.
    #[error("the mount {} changed during each of {ATTEMPTS} reads", .0.display())]
    Unsteady(PathBuf),
}

/// Follows the mount for ever.
#[derive(Debug)]
pub struct MountSource {
    folder: PathBuf,
    poll: Duration,
    inotify: bool,
    exchange: Arc<Exchange>,
    board: Arc<Board>,
    stirred: Arc<Notify>,
    grumble: Grumble,
}

// === impl MountSource ===

impl MountSource {
    /// Follows `folder`, looking every `poll` even when `inotify` says nothing (or is not to be used).
    pub fn new(
        folder: PathBuf,
        poll: Duration,
        inotify: bool,
        exchange: Arc<Exchange>,
        board: Arc<Board>,
    ) -> Self {
        let stirred = Arc::new(Notify::new());
        Self { folder, poll, inotify, exchange, board, stirred, grumble: Grumble::default() }
    }

    /// Runs until dropped.
    pub async fn run(mut self) {
        let mut watcher = None;
        let mut polls_to_next_watch = 0;
        // Where the link pointed at the last good read; none makes the next look a read.
        let mut seen: Option<PathBuf> = None;
        loop {
            if watcher.is_none() {
                if polls_to_next_watch == 0 {
                    watcher = self.watch();
                    polls_to_next_watch = POLLS_PER_WATCH;
                }
                polls_to_next_watch -= 1;
            }
            if seen.is_none() || fs::read_link(self.folder.join(DATA_LINK)).ok() != seen {
                match snapshot(&self.folder) {
                    Ok(snapshot) => {
                        self.found(snapshot.payload);
                        seen = Some(snapshot.target);
                    }
                    Err(error) => {
                        self.failed(&error);
                        seen = None;
                        if matches!(error, MountError::Wiped(_) | MountError::Read { .. }) {
                            // The watch is on a folder that is gone.
                            watcher = None;
                        }
                    }
                }
            }
            tokio::select! {
                () = self.stirred.notified() => sleep(DEBOUNCE).await,
                () = self.exchange.reread_mount.notified() => seen = None,
                () = sleep(self.poll) => {}
            }
        }
    }

    fn watch(&self) -> Option<RecommendedWatcher> {
        if !self.inotify {
            self.board.metrics.inotify_degraded.set(1);
            return None;
        }
        let stirred = Arc::clone(&self.stirred);
        let on_event = move |event: notify::Result<notify::Event>| {
            // Our own reads are events, too. An error (an overflow) is a reason to look.
            if !event.is_ok_and(|event| matches!(event.kind, EventKind::Access(_))) {
                stirred.notify_one();
            }
        };
        let watcher = notify::recommended_watcher(on_event).and_then(|mut watcher| {
            watcher.watch(&self.folder, RecursiveMode::NonRecursive)?;
            Ok(watcher)
        });
        self.board.metrics.inotify_degraded.set(i64::from(watcher.is_err()));
        match watcher {
            Ok(watcher) => Some(watcher),
            Err(error) => {
                tracing::debug!(error = chain(&error), "cannot watch the mount, it is only polled");
                None
            }
        }
    }

    fn found(&mut self, payload: Payload) {
        if self.grumble.clear() {
            tracing::info!(mount = %self.folder.display(), "the mount can be read again");
        }
        self.board.metrics.mount_wiped.set(0);
        self.exchange.leave(|slots| {
            slots.mount = Some(payload);
            slots.mount_health = Health::Up;
        });
    }

    fn failed(&mut self, error: &MountError) {
        let why = chain(error);
        if self.grumble.is_news(&why) {
            tracing::warn!(why, "the mount cannot be used, the last good document stays");
        }
        self.board.metrics.mount_wiped.set(i64::from(matches!(error, MountError::Wiped(_))));
        self.exchange.leave(|slots| match error {
            MountError::Empty(_) => slots.mount_health = Health::Absent { why },
            _ => slots.mount_health.fail(why),
        });
    }
}

/// Reads all keys of one snapshot.
///
/// # Errors
/// See [`MountError`].
pub fn snapshot(folder: &Path) -> Result<Snapshot, MountError> {
    let link = folder.join(DATA_LINK);
    for _ in 0..ATTEMPTS {
        let metadata = fs::metadata(folder).map_err(unreadable(folder))?;
        if metadata.nlink() == 0 {
            return Err(MountError::Wiped(folder.to_owned()));
        }
        let target = match fs::read_link(&link) {
            Ok(target) => target,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Err(MountError::NoLink(folder.to_owned()));
            }
            Err(error) => return Err(unreadable(&link)(error)),
        };
        let inside = folder.join(&target);
        let read = read_keys(&inside);
        // Kubelet removes the old folder after the swap: a key that is missing then says nothing.
        if fs::read_link(&link).ok().as_ref() != Some(&target) || !inside.is_dir() {
            continue;
        }
        let payload = read?;
        if !payload.data.contains_key(META_KEY) {
            return Err(MountError::Empty(folder.to_owned()));
        }
        return Ok(Snapshot { target, payload });
    }
    Err(MountError::Unsteady(folder.to_owned()))
}

fn read_keys(folder: &Path) -> Result<Payload, MountError> {
    let mut payload = Payload::default();
    for key in [META_KEY, DOCUMENT_KEY] {
        if let Some(bytes) = read_key(&folder.join(key))? {
            // What is no UTF-8 does not match its hash any more, and is refused for that.
            payload.data.insert(key.to_owned(), String::from_utf8_lossy(&bytes).into_owned());
        }
    }
    if let Some(bytes) = read_key(&folder.join(GZIP_KEY))? {
        payload.binary_data.insert(GZIP_KEY.to_owned(), bytes);
    }
    Ok(payload)
}

fn read_key(path: &Path) -> Result<Option<Vec<u8>>, MountError> {
    let mut bytes = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(KEY_LIMIT + 1).read_to_end(&mut bytes));
    match read {
        Ok(length) if length as u64 > KEY_LIMIT => Err(MountError::TooLarge(path.to_owned())),
        Ok(_) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(path)(error)),
    }
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> MountError {
    let path = path.to_owned();
    move |source| MountError::Read { path, source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Kubelet's `AtomicWriter`: a new folder, then a new link over the old one, then the old folder goes.
    fn swap(mount: &Path, round: usize, keys: &[(&str, &str)]) {
        let name = format!("..2026_{round}");
        fs::create_dir(mount.join(&name)).expect("made");
        for (key, text) in keys {
            fs::write(mount.join(&name).join(key), text).expect("written");
        }
        let old = fs::read_link(mount.join(DATA_LINK)).ok();
        symlink(&name, mount.join("..data_tmp")).expect("linked");
        fs::rename(mount.join("..data_tmp"), mount.join(DATA_LINK)).expect("renamed");
        if let Some(old) = old {
            fs::remove_dir_all(mount.join(old)).expect("removed");
        }
    }

    #[test]
    fn keys_are_never_mixed_of_two_snapshots() {
        let mount = tempfile::tempdir().expect("a folder");
        let keys = |round: usize| {
            let text = round.to_string();
            swap(mount.path(), round, &[(META_KEY, &text), (DOCUMENT_KEY, &text)]);
        };
        keys(0);
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| (1..400).for_each(keys));
            while !writer.is_finished() {
                match snapshot(mount.path()) {
                    Ok(snapshot) => {
                        let data = snapshot.payload.data;
                        assert_eq!(data[META_KEY], data[DOCUMENT_KEY]);
                    }
                    Err(error) => assert!(matches!(error, MountError::Unsteady(_)), "{error}"),
                }
            }
        });
        assert_eq!(snapshot(mount.path()).expect("steady").payload.data[META_KEY], "399");
    }

    #[test]
    fn what_is_no_projected_volume_is_an_error_that_says_so() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = |path: &Path| snapshot(path).expect_err("refused").to_string();
        assert!(error(folder.path()).contains("subPath"));
        assert!(error(&folder.path().join("missing")).contains("cannot read"));
        let file = folder.path().join("file");
        fs::write(&file, "x").expect("written");
        assert!(error(&file).contains("subPath"));
        swap(folder.path(), 1, &[]);
        assert!(error(folder.path()).contains("missing or empty"));
    }
}
