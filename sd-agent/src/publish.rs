//! Replacing a file atomically, and noticing when someone else changed it.
//!
//! The temp file is a dot file in the same folder: the same file system, so that the rename is atomic, and below
//! Thanos 0.38 its events are what publishes a change at once (design, section 6). Thanos names one file, so
//! the dot file is never read.

use std::{
    fmt, fs, io,
    io::Write,
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// The file that Thanos reads.
#[derive(Debug)]
pub struct LiveFile {
    path: PathBuf,
    /// How the file looked after the agent last wrote or read it; none when that is not known.
    known: Option<Stamp>,
}

/// What a publication did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// The file was replaced.
    Written,
    /// The file had these bytes already, and was left alone.
    Unchanged,
}

/// A step of replacing a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Removing a temp file that a killed agent left, and making a new one.
    Create,
    /// Filling it.
    Write,
    /// Bringing it to the disk.
    Sync,
    /// Putting it in place.
    Rename,
}

/// Why a file was not replaced. It is as it was, and the temp file is gone.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step} {}", path.display())]
pub struct PublishError {
    /// Where it failed.
    pub step: Step,
    /// Which file.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// Changes whenever a file is replaced or written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

/// The right to write into a folder, as long as it lives.
#[derive(Debug)]
pub struct FolderLock {
    _file: fs::File,
}

/// Why the folder cannot be used yet.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process writes there.
    #[error("another agent holds {}: two must not share a folder", .0.display())]
    Held(PathBuf),
    /// The folder is missing or read-only.
    #[error("cannot lock {}", path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

// === impl FolderLock ===

impl FolderLock {
    /// Takes the lock, or says at once why not. The kernel drops it with the process, however that ends.
    ///
    /// # Errors
    /// See [`LockError`].
    pub fn take(folder: &Path) -> Result<Self, LockError> {
        let path = folder.join(".lock");
        let file = fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o644).open(&path);
        let file = file.map_err(|source| LockError::Io { path: path.clone(), source })?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(fs::TryLockError::WouldBlock) => Err(LockError::Held(path)),
            Err(fs::TryLockError::Error(source)) => Err(LockError::Io { path, source }),
        }
    }
}

// === impl LiveFile ===

impl LiveFile {
    /// The file at `path`, of which nothing is known yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path, known: None }
    }

    /// Puts `bytes` in place, unless they are there already.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub fn publish(&mut self, bytes: &[u8]) -> Result<Published, PublishError> {
        if self.holds(bytes) {
            return Ok(Published::Unchanged);
        }
        self.known = None;
        self.known = Some(replace(&self.path, bytes)?);
        Ok(Published::Written)
    }

    /// Whether the file is as the agent left it. Costs one `lstat`.
    pub fn is_untouched(&self) -> bool {
        self.known.is_some() && self.known == stamp(&self.path)
    }

    fn holds(&mut self, bytes: &[u8]) -> bool {
        let Some(now) = stamp(&self.path).filter(|now| now.size == bytes.len() as u64) else { return false };
        let same = fs::read(&self.path).is_ok_and(|live| live == bytes);
        if same {
            self.known = Some(now);
        }
        same
    }
}

/// Replaces the file at `path` by one with `bytes`, readable for all. Readers see the old or the new, whole.
///
/// # Errors
/// See [`PublishError`].
fn replace(path: &Path, bytes: &[u8]) -> Result<Stamp, PublishError> {
    let temp = temp_path(path);
    let written = write_temp(&temp, bytes).and_then(|stamp| {
        fs::rename(&temp, path).map_err(failed(Step::Rename, path))?;
        Ok(stamp)
    });
    if written.is_err() {
        // On a full disk its blocks are what the next try needs.
        let _ = fs::remove_file(&temp);
    } else if let Some(folder) = path.parent() {
        // The new file is in place whether or not the folder reaches the disk now.
        let _ = fs::File::open(folder).and_then(|folder| folder.sync_all());
    }
    written
}

/// Replaces a file of the agent itself.
///
/// # Errors
/// See [`PublishError`].
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), PublishError> {
    replace(path, bytes).map(|_| ())
}

fn write_temp(temp: &Path, bytes: &[u8]) -> Result<Stamp, PublishError> {
    match fs::remove_file(temp) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(failed(Step::Create, temp)(error));
        }
        _ => {}
    }
    // `create_new` is O_EXCL: it follows no symbolic link and takes over no file.
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(temp)
        .map_err(failed(Step::Create, temp))?;
    file.write_all(bytes).map_err(failed(Step::Write, temp))?;
    // Thanos runs as another user, whatever our umask is.
    file.set_permissions(fs::Permissions::from_mode(0o644)).map_err(failed(Step::Write, temp))?;
    file.sync_all().map_err(failed(Step::Sync, temp))?;
    file.metadata().map(|metadata| Stamp::of(&metadata)).map_err(failed(Step::Sync, temp))
}

fn failed(step: Step, path: &Path) -> impl FnOnce(io::Error) -> PublishError {
    let path = path.to_owned();
    move |source| PublishError { step, path, source }
}

fn temp_path(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{}.tmp", name.trim_start_matches('.')))
}

/// None when nothing, or no regular file, is there.
fn stamp(path: &Path) -> Option<Stamp> {
    fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file).map(|metadata| Stamp::of(&metadata))
}

// === impl Stamp ===

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Self {
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        Self { inode: metadata.ino(), size: metadata.size(), modified }
    }
}

// === impl Step ===

impl Step {
    /// A word for metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Write => "write",
            Self::Sync => "sync",
            Self::Rename => "rename",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a folder")
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("a folder");
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_file_is_replaced_whole_and_readable_for_all() {
        let folder = folder();
        let path = folder.path().join("endpoints.yaml");
        let mut live = LiveFile::new(path.clone());
        assert_eq!(live.publish(b"one").expect("written"), Published::Written);
        assert_eq!(live.publish(b"two").expect("written"), Published::Written);
        assert_eq!(fs::read(&path).expect("readable"), b"two");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o644);
        assert_eq!(names(folder.path()), ["endpoints.yaml"]);
    }

    #[test]
    fn equal_bytes_are_not_written_again() {
        let folder = folder();
        let path = folder.path().join("endpoints.yaml");
        LiveFile::new(path.clone()).publish(b"one").expect("written");
        let before = fs::metadata(&path).expect("there").ino();
        let mut live = LiveFile::new(path.clone());
        assert!(!live.is_untouched());
        assert_eq!(live.publish(b"one").expect("ok"), Published::Unchanged);
        assert!(live.is_untouched());
        assert_eq!(fs::metadata(&path).expect("there").ino(), before);
    }

    #[test]
    fn a_file_that_someone_altered_removed_or_swapped_for_a_link_is_noticed_and_repaired() {
        let folder = folder();
        let path = folder.path().join("endpoints.yaml");
        let elsewhere = folder.path().join("elsewhere");
        fs::write(&elsewhere, "one").expect("written");
        let mut live = LiveFile::new(path.clone());
        let damages: [&dyn Fn(); 3] = [
            &|| fs::write(&path, "other").expect("written"),
            &|| fs::remove_file(&path).expect("removed"),
            &|| {
                fs::remove_file(&path).expect("removed");
                std::os::unix::fs::symlink(&elsewhere, &path).expect("linked");
            },
        ];
        for damage in damages {
            live.publish(b"one").expect("written");
            assert!(live.is_untouched());
            damage();
            assert!(!live.is_untouched());
            assert_eq!(live.publish(b"one").expect("written"), Published::Written);
            assert!(fs::symlink_metadata(&path).expect("there").is_file());
        }
        assert_eq!(fs::read(&elsewhere).expect("readable"), b"one");
    }

    #[test]
    fn a_temp_file_or_link_that_a_killed_agent_left_is_no_obstacle() {
        let folder = folder();
        let path = folder.path().join("endpoints.yaml");
        let victim = folder.path().join("victim");
        fs::write(&victim, "precious").expect("written");
        std::os::unix::fs::symlink(&victim, folder.path().join(".endpoints.yaml.tmp")).expect("linked");
        LiveFile::new(path.clone()).publish(b"one").expect("written");
        assert_eq!(fs::read(&path).expect("readable"), b"one");
        assert_eq!(fs::read(&victim).expect("readable"), b"precious");
    }

    #[test]
    fn a_failed_rename_names_the_step_and_leaves_no_temp_file() {
        let folder = folder();
        let path = folder.path().join("endpoints.yaml");
        fs::create_dir(&path).expect("made");
        let error = LiveFile::new(path).publish(b"one").expect_err("a folder is in the way");
        assert_eq!(error.step, Step::Rename);
        assert!(error.to_string().contains("cannot rename"), "{error}");
        assert_eq!(names(folder.path()), ["endpoints.yaml"]);
    }

    #[test]
    fn one_folder_has_one_agent() {
        let folder = folder();
        let first = FolderLock::take(folder.path()).expect("free");
        assert!(matches!(FolderLock::take(folder.path()), Err(LockError::Held(_))));
        drop(first);
        FolderLock::take(folder.path()).expect("free again");
    }
}
