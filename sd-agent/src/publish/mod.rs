//! Replacing a file atomically, and noticing when someone else changed it.
//!
//! The temp file is a dot file in the same folder: the same file system, so that the rename is atomic, and below
//! Thanos 0.38 its events are what publishes a change at once (design, section 6). Thanos names one file, so
//! the dot file is never read.

pub mod files;
pub mod lock;
pub mod nudge;

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

pub use files::{Disk, Files, Stamp};
pub use lock::{FolderLock, LockError};

/// The file that Thanos reads.
#[derive(Debug)]
pub struct LiveFile {
    files: Arc<dyn Files>,
    path: PathBuf,
    /// How the file looked after the agent last wrote or read it; none when that is not known.
    known: Option<Stamp>,
}

/// What a publication did.
#[derive(Debug)]
pub enum Published {
    /// The file was replaced.
    Written,
    /// The file was replaced, but a power cut may bring the old one back.
    Unsynced(PublishError),
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
    /// Letting Thanos read it.
    MakeReadable,
    /// Bringing it to the disk.
    Sync,
    /// Reading it again, before anyone else does.
    Verify,
    /// Putting it in place.
    Rename,
    /// Bringing its new name to the disk.
    SyncFolder,
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

// === impl LiveFile ===

impl LiveFile {
    /// The file at `path`, of which nothing is known yet.
    pub fn new(files: Arc<dyn Files>, path: PathBuf) -> Self {
        Self { files, path, known: None }
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
        let (stamp, unsynced) = replace(&*self.files, &self.path, bytes)?;
        self.known = Some(stamp);
        Ok(unsynced.map_or(Published::Written, Published::Unsynced))
    }

    /// Whether the file is as the agent left it. Costs one `lstat`.
    pub fn is_untouched(&self) -> bool {
        self.known.is_some() && self.files.stamp(&self.path).is_ok_and(|now| now == self.known)
    }

    /// Whether `bytes` are in place, readable for all. If so, the file is known from now on.
    pub fn holds(&mut self, bytes: &[u8]) -> bool {
        let same = match self.files.stamp(&self.path) {
            Ok(Some(stamp)) if stamp.is_readable_with(bytes.len()) => {
                reads_as(&*self.files, &self.path, bytes)
            }
            _ => return false,
        };
        let same = same.ok().flatten();
        self.known = same.or(self.known);
        same.is_some()
    }

    /// The text of a file that someone else wrote, and that is known from now on; none when there is none, or no text,
    /// or more than `limit` bytes.
    pub fn adopt(&mut self, limit: usize) -> Option<String> {
        let (bytes, stamp) = read_whole(&*self.files, &self.path, limit).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        self.known = Some(stamp);
        Some(text)
    }
}

/// Replaces a file of the agent itself.
///
/// # Errors
/// See [`PublishError`].
pub fn write_atomic(files: &dyn Files, path: &Path, bytes: &[u8]) -> Result<Published, PublishError> {
    let (_, unsynced) = replace(files, path, bytes)?;
    Ok(unsynced.map_or(Published::Written, Published::Unsynced))
}

/// Reads a regular file of at most `limit` bytes.
///
/// # Errors
/// When it is missing, too large, no regular file or cannot be read.
pub fn read_whole(files: &dyn Files, path: &Path, limit: usize) -> io::Result<(Vec<u8>, Stamp)> {
    let (mut file, stamp) = files.open(path)?;
    let mut bytes = Vec::new();
    read_each(files, &mut file, |piece| {
        bytes.extend_from_slice(piece);
        bytes.len() <= limit
    })?;
    if bytes.len() > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {limit} bytes")));
    }
    Ok((bytes, stamp))
}

/// Removes what an agent that was killed while it wrote the file at `path` left. The next write copes with what stays.
pub fn remove_stale(files: &dyn Files, path: &Path) {
    let _ = files.remove(&temp_path(path));
}

/// The folder of a file that may be named without one.
pub fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// Replaces the file at `path` by one with `bytes`, readable for all. Readers see the old or the new, whole.
///
/// Besides the new file's stamp, returns why the folder did not reach the disk: the file is in place all the same.
fn replace(
    files: &dyn Files,
    path: &Path,
    bytes: &[u8],
) -> Result<(Stamp, Option<PublishError>), PublishError> {
    let temp = temp_path(path);
    let written = write_temp(files, &temp, bytes).and_then(|stamp| {
        files.rename(&temp, path).map_err(failed(Step::Rename, path))?;
        Ok(stamp)
    });
    match written {
        Ok(stamp) => {
            let folder = folder_of(path);
            Ok((stamp, files.sync_folder(folder).err().map(failed(Step::SyncFolder, folder))))
        }
        Err(error) => {
            // On a full disk its blocks are what the next try needs, and after a failed sync nobody may rely on it.
            let _ = files.remove(&temp);
            Err(error)
        }
    }
}

fn write_temp(files: &dyn Files, temp: &Path, bytes: &[u8]) -> Result<Stamp, PublishError> {
    let mut file = create_temp(files, temp).map_err(failed(Step::Create, temp))?;
    write_all(files, &mut file, bytes).map_err(failed(Step::Write, temp))?;
    files.make_readable(&file).map_err(failed(Step::MakeReadable, temp))?;
    files.sync(&file).map_err(failed(Step::Sync, temp))?;
    drop(file);
    let verified = reads_as(files, temp, bytes).map_err(failed(Step::Verify, temp))?;
    let differs = || io::Error::new(io::ErrorKind::InvalidData, "it is not what was written");
    verified.ok_or_else(differs).map_err(failed(Step::Verify, temp))
}

fn create_temp(files: &dyn Files, temp: &Path) -> io::Result<fs::File> {
    match files.create(temp) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            files.remove(temp)?;
            files.create(temp)
        }
        created => created,
    }
}

fn write_all(files: &dyn Files, file: &mut fs::File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match files.write(file, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The stamp of the file at `path` if it has just these bytes.
fn reads_as(files: &dyn Files, path: &Path, bytes: &[u8]) -> io::Result<Option<Stamp>> {
    let (mut file, stamp) = files.open(path)?;
    let mut rest = Some(bytes);
    read_each(files, &mut file, |piece| {
        rest = rest.and_then(|rest| rest.strip_prefix(piece));
        rest.is_some()
    })?;
    Ok(rest.is_some_and(<[u8]>::is_empty).then_some(stamp))
}

/// Piece by piece, so that a large file is compared without a copy of it, until `goes_on` says no.
fn read_each(
    files: &dyn Files,
    file: &mut fs::File,
    mut goes_on: impl FnMut(&[u8]) -> bool,
) -> io::Result<()> {
    let mut buffer = [0; 16 * 1024];
    loop {
        match files.read(file, &mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) if !goes_on(buffer.get(..length).unwrap_or_default()) => return Ok(()),
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            Ok(_) | Err(_) => {}
        }
    }
}

fn failed(step: Step, path: &Path) -> impl FnOnce(io::Error) -> PublishError {
    let path = path.to_owned();
    move |source| PublishError { step, path, source }
}

fn temp_path(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{}.tmp", name.trim_start_matches('.')))
}

// === impl Step ===

impl Step {
    /// A word for metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Write => "write",
            Self::MakeReadable => "make_readable",
            Self::Sync => "sync",
            Self::Verify => "verify",
            Self::Rename => "rename",
            Self::SyncFolder => "sync_folder",
        }
    }
}

impl fmt::Display for Step {
    /// As it stands before the path.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::Write => "write",
            Self::MakeReadable => "make readable",
            Self::Sync => "sync",
            Self::Verify => "read back",
            Self::Rename => "rename the temp file to",
            Self::SyncFolder => "sync the folder",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    struct Folder {
        folder: tempfile::TempDir,
        path: PathBuf,
    }

    impl Folder {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("endpoints.yaml");
            Self { folder, path }
        }

        fn live(&self) -> LiveFile {
            LiveFile::new(Arc::new(Disk), self.path.clone())
        }

        fn place(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(self.folder.path()).expect("a folder");
            let name = |entry: io::Result<fs::DirEntry>| entry.expect("an entry").file_name().into_string();
            entries.map(|entry| name(entry).expect("a name")).collect()
        }
    }

    fn write(live: &mut LiveFile, text: &str) {
        assert!(matches!(live.publish(text.as_bytes()).expect("written"), Published::Written));
    }

    #[test]
    fn a_file_is_replaced_whole_and_readable_for_all() {
        let folder = Folder::new();
        let mut live = folder.live();
        write(&mut live, "one");
        write(&mut live, "two");
        assert_eq!(fs::read(&folder.path).expect("readable"), b"two");
        assert_eq!(fs::metadata(&folder.path).expect("there").permissions().mode() & 0o777, 0o644);
        assert_eq!(folder.names(), ["endpoints.yaml"]);
    }

    #[test]
    fn equal_bytes_are_not_written_again() {
        let folder = Folder::new();
        write(&mut folder.live(), "one");
        let before = fs::metadata(&folder.path).expect("there").ino();
        let mut live = folder.live();
        assert!(!live.is_untouched());
        assert!(matches!(live.publish(b"one").expect("fine"), Published::Unchanged));
        assert!(live.is_untouched());
        assert_eq!(fs::metadata(&folder.path).expect("there").ino(), before);
    }

    #[test]
    fn a_file_that_someone_altered_removed_or_swapped_for_a_link_is_noticed_and_repaired() {
        let folder = Folder::new();
        let (path, elsewhere) = (&folder.path, folder.place("elsewhere"));
        fs::write(&elsewhere, "one").expect("written");
        let mut live = folder.live();
        let damages: [&dyn Fn(); 4] = [
            &|| fs::write(path, "other").expect("written"),
            &|| fs::remove_file(path).expect("removed"),
            &|| fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("set"),
            &|| {
                fs::remove_file(path).expect("removed");
                symlink(&elsewhere, path).expect("linked");
            },
        ];
        write(&mut live, "one");
        for damage in damages {
            assert!(live.is_untouched());
            damage();
            assert!(!live.is_untouched());
            write(&mut live, "one");
            assert!(fs::symlink_metadata(path).expect("there").is_file());
        }
        assert_eq!(fs::read(&elsewhere).expect("readable"), b"one");
    }

    #[test]
    fn a_temp_file_or_link_that_a_killed_agent_left_is_no_obstacle() {
        let folder = Folder::new();
        let victim = folder.place("victim");
        fs::write(&victim, "precious").expect("written");
        symlink(&victim, folder.place(".endpoints.yaml.tmp")).expect("linked");
        write(&mut folder.live(), "one");
        assert_eq!(fs::read(&folder.path).expect("readable"), b"one");
        assert_eq!(fs::read(&victim).expect("readable"), b"precious");
    }

    #[test]
    fn what_a_killed_agent_left_is_removed_and_a_link_is_not_followed() {
        let folder = Folder::new();
        let victim = folder.place("victim");
        fs::write(&victim, "precious").expect("written");
        symlink(&victim, folder.place(".endpoints.yaml.tmp")).expect("linked");
        remove_stale(&Disk, &folder.path);
        assert_eq!(folder.names(), ["victim"]);
        assert_eq!(fs::read(&victim).expect("readable"), b"precious");
    }

    #[test]
    fn a_failed_rename_names_step_path_and_reason_and_leaves_no_temp_file() {
        let folder = Folder::new();
        fs::create_dir(&folder.path).expect("made");
        let error = folder.live().publish(b"one").expect_err("a folder is in the way");
        assert_eq!(error.step, Step::Rename);
        let text = crate::log::chain(&error);
        assert!(text.starts_with("cannot rename the temp file to /"), "{text}");
        assert!(text.ends_with("endpoints.yaml: Is a directory (os error 21)"), "{text}");
        assert_eq!(folder.names(), ["endpoints.yaml"]);
    }

    #[test]
    fn a_folder_in_place_of_the_temp_file_is_told_and_left_alone() {
        let folder = Folder::new();
        write(&mut folder.live(), "one");
        fs::create_dir_all(folder.place(".endpoints.yaml.tmp/inside")).expect("made");
        let error = folder.live().publish(b"two").expect_err("there is no place for the temp file");
        assert_eq!(error.step, Step::Create);
        assert!(error.to_string().ends_with(".endpoints.yaml.tmp"), "{error}");
        assert_eq!(fs::read(&folder.path).expect("readable"), b"one");
        assert!(folder.place(".endpoints.yaml.tmp/inside").is_dir());
    }

    #[test]
    fn a_file_is_read_up_to_the_limit() {
        let folder = Folder::new();
        fs::write(&folder.path, "12345").expect("written");
        assert_eq!(folder.live().adopt(5).as_deref(), Some("12345"));
        assert_eq!(folder.live().adopt(4), None);
        let mut live = folder.live();
        assert!(live.adopt(5).is_some() && live.is_untouched());
    }
}
