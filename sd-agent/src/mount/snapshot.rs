//! One consistent read of the mounted folder.
//!
//! Kubelet never changes a file: it writes a new folder, and then moves the link `..data` to it. So the folder behind
//! the link is opened once, and every key is read through that one descriptor. The links that users see (`meta.json`
//! → `..data/meta.json`) play no part: those of new keys come after the swap.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read},
    os::unix::ffi::OsStringExt,
    path::{Component, Path, PathBuf},
};

use rustix::{
    fd::OwnedFd,
    fs::{Dir, FileType, Mode, OFlags, fstat, open, openat, readlinkat},
    io::Errno,
};

use crate::payload::{DOCUMENT_KEY, GZIP_KEY, META_KEY, Payload};

/// The link that kubelet moves.
pub const DATA_LINK: &str = "..data";
/// A ConfigMap holds 1 MiB; whatever is larger is no ConfigMap.
const KEY_LIMIT: u64 = 2 * 1024 * 1024;
const ATTEMPTS: usize = 5;

/// The mounted folder, held open.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    descriptor: OwnedFd,
    id: FolderId,
}

/// Which folder it is, whatever its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FolderId {
    device: u64,
    inode: u64,
}

/// What was behind the link.
#[derive(Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Where the link pointed.
    pub target: OsString,
    /// What was there.
    pub payload: Payload,
}

/// Why the mount could not be read.
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
    /// A single key was mounted.
    #[error(
        "the mount {} is a file: remove subPath from its entry in volumeMounts of the pod spec, a subPath is never updated",
        .0.display()
    )]
    File(PathBuf),
    /// A part of the volume was mounted, or something else.
    #[error(
        "the mount {} has no {DATA_LINK}: remove subPath from its entry in volumeMounts of the pod spec, so that the whole projected volume is mounted",
        .0.display()
    )]
    NoLink(PathBuf),
    /// Nobody but kubelet makes the link, and never like this.
    #[error("{} is no link to a folder next to it", .0.display())]
    ForeignLink(PathBuf),
    /// The folder behind the link is not there (yet).
    #[error("{} is missing, though {DATA_LINK} points there", .0.display())]
    Dangling(PathBuf),
    /// kubernetes#113242.
    #[error("the mounted folder {} was deleted by kubelet; only a restart of this container brings it back", .0.display())]
    Wiped(PathBuf),
    /// The ConfigMap is optional and does not exist, or is not ours, or is still being written.
    #[error("the mount {} has no {META_KEY}: the ConfigMap is missing or empty", .0.display())]
    Empty(PathBuf),
    /// A FIFO or a device, which could hold the agent up for ever, or a link out of the volume.
    #[error("{} is no regular file", .0.display())]
    NotAFile(PathBuf),
    /// Not a ConfigMap.
    #[error("{} has more than {KEY_LIMIT} bytes", .0.display())]
    TooLarge(PathBuf),
    /// It changed under every attempt.
    #[error("the mount {} changed during each of {ATTEMPTS} reads", .0.display())]
    Unsteady(PathBuf),
}

// === impl Folder ===

impl Folder {
    /// Opens the mount at `path`.
    ///
    /// # Errors
    /// When there is none, or when it is a file or was deleted.
    pub fn open(path: &Path) -> Result<Self, MountError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptor = open(path, flags, Mode::empty()).map_err(|errno| match errno {
            Errno::NOTDIR => MountError::File(path.to_owned()),
            _ => unreadable(path.to_owned())(errno),
        })?;
        let stat = fstat(&descriptor).map_err(unreadable(path.to_owned()))?;
        if stat.st_nlink == 0 {
            return Err(MountError::Wiped(path.to_owned()));
        }
        let id = FolderId { device: stat.st_dev, inode: stat.st_ino };
        Ok(Self { path: path.to_owned(), descriptor, id })
    }

    /// Which folder it is.
    pub fn id(&self) -> FolderId {
        self.id
    }

    /// Where the link points; none when there is no link.
    ///
    /// # Errors
    /// When that cannot be found out.
    pub fn target(&self) -> Result<Option<OsString>, MountError> {
        match readlinkat(&self.descriptor, DATA_LINK, Vec::new()) {
            Ok(target) => Ok(Some(OsString::from_vec(target.into_bytes()))),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::INVAL) => Err(MountError::ForeignLink(self.path.join(DATA_LINK))),
            Err(errno) => Err(unreadable(self.path.join(DATA_LINK))(errno)),
        }
    }

    /// Reads all keys of one snapshot.
    ///
    /// # Errors
    /// See [`MountError`].
    pub fn snapshot(&self) -> Result<Snapshot, MountError> {
        self.snapshot_while(|_| {})
    }

    /// Tells `on_key` before each key is read.
    fn snapshot_while(&self, mut on_key: impl FnMut(&str)) -> Result<Snapshot, MountError> {
        for _ in 0..ATTEMPTS {
            let target = self.target()?.ok_or_else(|| MountError::NoLink(self.path.clone()))?;
            let read = self.read(&target, &mut on_key);
            // Kubelet removes the old folder after the swap: a key that is missing then says nothing.
            if self.target()?.as_ref() == Some(&target) {
                return read.map(|payload| Snapshot { target, payload });
            }
        }
        Err(MountError::Unsteady(self.path.clone()))
    }

    fn read(&self, target: &OsStr, on_key: &mut impl FnMut(&str)) -> Result<Payload, MountError> {
        let path = self.path.join(target);
        if !matches!(Path::new(target).components().collect::<Vec<_>>()[..], [Component::Normal(_)]) {
            return Err(MountError::ForeignLink(self.path.join(DATA_LINK)));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let inside = match openat(&self.descriptor, target, flags, Mode::empty()) {
            Ok(inside) => inside,
            Err(Errno::NOENT) => return Err(MountError::Dangling(path)),
            Err(Errno::NOTDIR | Errno::LOOP) => {
                return Err(MountError::ForeignLink(self.path.join(DATA_LINK)));
            }
            Err(errno) => return Err(unreadable(path)(errno)),
        };
        let mut payload = Payload::default();
        for key in [META_KEY, DOCUMENT_KEY, GZIP_KEY] {
            on_key(key);
            let Some(bytes) = read_key(&inside, key, &path)? else { continue };
            if key == GZIP_KEY {
                payload.binary_data.insert(key.to_owned(), bytes);
            } else {
                // What is no UTF-8 does not match its hash any more, and is refused for that.
                payload.data.insert(key.to_owned(), String::from_utf8_lossy(&bytes).into_owned());
            }
        }
        if payload.data.contains_key(META_KEY) {
            Ok(payload)
        } else {
            Err(MountError::Empty(self.path.clone()))
        }
    }

    /// Whether it has entries that are not kubelet's own, all of which begin with two dots.
    pub fn has_plain_entries(&self) -> bool {
        let Ok(entries) = Dir::read_from(&self.descriptor) else { return false };
        entries.flatten().any(|entry| {
            let name = entry.file_name().to_bytes();
            name != b"." && !name.starts_with(b"..")
        })
    }
}

// === impl Snapshot ===

impl Snapshot {
    /// Whether all of it is there: an envelope, and a document as long as the envelope says.
    ///
    /// Kubelet's own swap shows nothing less. Where a copy of the volume is made for the pod (Kata), the link can
    /// come before the content.
    pub fn is_whole(&self) -> bool {
        let Ok(meta) = self.payload.meta() else { return false };
        if let Some(text) = self.payload.data.get(DOCUMENT_KEY) {
            return text.len() >= meta.bytes;
        }
        // The last four bytes of gzip data tell the length of what is packed.
        let packed = self.payload.binary_data.get(GZIP_KEY);
        let told = packed.and_then(|packed| packed.last_chunk()).map(|last| u32::from_le_bytes(*last));
        told.is_some_and(|told| u64::from(told) >= meta.bytes as u64)
    }
}

// === impl MountError ===

impl MountError {
    /// Whether it may be about to go away by itself, because the volume is being written.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::NoLink(_) | Self::Dangling(_) | Self::Empty(_) | Self::Unsteady(_))
    }
}

fn read_key(inside: &OwnedFd, key: &str, path: &Path) -> Result<Option<Vec<u8>>, MountError> {
    // Without NONBLOCK, to open a FIFO waits for a writer.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match openat(inside, key, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP | Errno::NXIO) => return Err(MountError::NotAFile(path.join(key))),
        Err(errno) => return Err(unreadable(path.join(key))(errno)),
    };
    let stat = fstat(&file).map_err(unreadable(path.join(key)))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(MountError::NotAFile(path.join(key)));
    }
    let mut bytes = Vec::new();
    let read = File::from(file).take(KEY_LIMIT + 1).read_to_end(&mut bytes);
    match read {
        Ok(length) if length as u64 > KEY_LIMIT => Err(MountError::TooLarge(path.join(key))),
        Ok(_) => Ok(Some(bytes)),
        Err(source) => Err(MountError::Read { path: path.join(key), source }),
    }
}

fn unreadable(path: PathBuf) -> impl FnOnce(Errno) -> MountError {
    move |errno| MountError::Read { path, source: errno.into() }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink, sync::mpsc, time::Duration};

    use jiff::Timestamp;
    use rustix::fs::{CWD, mkfifoat};
    use tempfile::TempDir;

    use super::*;
    use crate::document::{Document, Endpoint};

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

    /// A swap to a snapshot of which every key holds the same number.
    fn number(mount: &Path, round: usize) {
        let text = round.to_string();
        swap(mount, round, &[(META_KEY, &text), (DOCUMENT_KEY, &text), (GZIP_KEY, &text)]);
    }

    /// The one number of all keys.
    fn number_in(snapshot: &Snapshot) -> usize {
        let (data, binary_data) = (&snapshot.payload.data, &snapshot.payload.binary_data);
        assert_eq!(data[META_KEY], data[DOCUMENT_KEY]);
        assert_eq!(data[META_KEY].as_bytes(), binary_data[GZIP_KEY]);
        data[META_KEY].parse().expect("a number")
    }

    fn mount() -> TempDir {
        tempfile::tempdir().expect("a folder")
    }

    fn snapshot(path: &Path) -> Result<Snapshot, MountError> {
        Folder::open(path)?.snapshot()
    }

    /// Case 7, under load.
    #[test]
    fn keys_are_never_mixed_of_two_snapshots() {
        let mount = mount();
        number(mount.path(), 0);
        let mut seen = 0;
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| (1..450).for_each(|round| number(mount.path(), round)));
            while !writer.is_finished() {
                match snapshot(mount.path()) {
                    Ok(snapshot) => {
                        let number = number_in(&snapshot);
                        assert!(number >= seen, "{number} after {seen}");
                        seen = number;
                    }
                    Err(error) => assert!(matches!(error, MountError::Unsteady(_)), "{error}"),
                }
            }
        });
        assert_eq!(number_in(&snapshot(mount.path()).expect("steady")), 449);
    }

    /// Case 7: kubelet takes the folder away in which half of the keys were read.
    #[test]
    fn a_swap_between_any_two_keys_is_read_again_from_the_start() {
        for swapped_before in [META_KEY, DOCUMENT_KEY, GZIP_KEY] {
            for swaps in 1..ATTEMPTS {
                let mount = mount();
                number(mount.path(), 0);
                let mut rounds = 0;
                let folder = Folder::open(mount.path()).expect("there");
                let snapshot = folder.snapshot_while(|key| {
                    if key == swapped_before && rounds < swaps {
                        rounds += 1;
                        number(mount.path(), rounds);
                    }
                });
                assert_eq!(number_in(&snapshot.expect("steady at last")), swaps, "before {swapped_before}");
            }
        }
    }

    /// Case 7: a mount that never stands still is no data error, and is not read for ever.
    #[test]
    fn a_mount_that_changes_during_every_read_is_left_for_later() {
        let mount = mount();
        number(mount.path(), 0);
        let (folder, mut rounds) = (Folder::open(mount.path()).expect("there"), 0);
        let error = folder.snapshot_while(|_| {
            rounds += 1;
            number(mount.path(), rounds);
        });
        let error = error.expect_err("unsteady");
        assert!(matches!(error, MountError::Unsteady(_)) && error.may_pass(), "{error}");
    }

    /// Case 10.
    #[test]
    fn a_sub_path_is_refused_with_the_field_to_change() {
        let folder = mount();
        let file = folder.path().join("endpoints.json");
        fs::write(&file, "x").expect("written");
        // One key, and the folder that a key with a path would be in.
        for path in [&file, folder.path()] {
            let error = Folder::open(path).and_then(|folder| folder.snapshot()).expect_err("refused");
            let text = error.to_string();
            assert!(text.contains("remove subPath from its entry in volumeMounts of the pod spec"), "{text}");
            assert!(text.contains(path.to_str().expect("plain")), "{text}");
            assert_eq!(text.lines().count(), 1);
        }
        assert!(Folder::open(folder.path()).expect("there").has_plain_entries());
    }

    #[test]
    fn a_folder_in_which_kubelet_is_at_work_is_not_taken_for_a_sub_path() {
        let mount = mount();
        assert!(!Folder::open(mount.path()).expect("there").has_plain_entries());
        fs::create_dir(mount.path().join("..2026_1")).expect("made");
        assert!(!Folder::open(mount.path()).expect("there").has_plain_entries());
        assert!(snapshot(mount.path()).expect_err("no link yet").may_pass());
    }

    #[test]
    fn what_is_no_regular_file_is_refused_and_holds_nobody_up() {
        let mount = mount();
        swap(mount.path(), 1, &[(META_KEY, "1")]);
        let key = mount.path().join(DATA_LINK).join(DOCUMENT_KEY);
        let refused = || {
            // In a thread, so that a read which never ends fails and does not hang.
            let (path, (sender, receiver)) = (mount.path().to_owned(), mpsc::channel());
            std::thread::spawn(move || sender.send(snapshot(&path)));
            let read = receiver.recv_timeout(Duration::from_secs(10)).expect("the read ends");
            let error = read.expect_err("refused");
            assert!(matches!(&error, MountError::NotAFile(path) if path.ends_with(DOCUMENT_KEY)), "{error}");
            assert!(!error.may_pass());
        };
        // Nobody will ever write into it.
        mkfifoat(CWD, &key, Mode::RUSR).expect("made");
        refused();
        fs::remove_file(&key).expect("removed");
        let socket = std::os::unix::net::UnixListener::bind(&key).expect("bound");
        refused();
        drop(socket);
        fs::remove_file(&key).expect("removed");
        symlink("/dev/zero", &key).expect("linked");
        refused();
        fs::remove_file(&key).expect("removed");
        fs::create_dir(&key).expect("made");
        refused();
    }

    #[test]
    fn a_key_that_is_too_large_is_not_read_to_its_end() {
        let mount = mount();
        swap(mount.path(), 1, &[(META_KEY, "1")]);
        let file = File::create(mount.path().join(DATA_LINK).join(DOCUMENT_KEY)).expect("made");
        file.set_len(KEY_LIMIT).expect("sparse");
        assert!(snapshot(mount.path()).is_ok());
        file.set_len(1 << 40).expect("sparse");
        assert!(matches!(snapshot(mount.path()), Err(MountError::TooLarge(_))));
    }

    #[test]
    fn a_link_that_leads_out_of_the_mount_is_not_followed() {
        let (mount, outside) = (mount(), mount());
        fs::write(outside.path().join(META_KEY), "1").expect("written");
        let link = mount.path().join(DATA_LINK);
        symlink(outside.path(), mount.path().join("..indirect")).expect("linked");
        let outside = outside.path().to_str().expect("plain");
        for target in [outside, "..", ".", "../x", "..a/../..", "..indirect"] {
            symlink(target, &link).expect("linked");
            let error = snapshot(mount.path()).expect_err("refused");
            assert!(matches!(error, MountError::ForeignLink(_)), "{target}: {error}");
            fs::remove_file(&link).expect("removed");
        }
        fs::create_dir(&link).expect("made");
        assert!(matches!(snapshot(mount.path()), Err(MountError::ForeignLink(_))));
    }

    /// Case 44: the mount point of a running container after kubelet removed what was mounted there.
    #[test]
    fn a_folder_that_was_deleted_under_its_mount_point_is_told_from_one_that_is_missing() {
        use std::os::fd::AsRawFd;

        let mount = mount();
        number(mount.path(), 1);
        // A path that leads to the folder itself, like a mount point.
        let held = File::open(mount.path()).expect("there");
        let point = PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd()));
        assert_eq!(number_in(&snapshot(&point).expect("readable")), 1);
        fs::remove_dir_all(mount.path()).expect("removed");
        assert!(matches!(snapshot(&point), Err(MountError::Wiped(_))));
        assert!(matches!(snapshot(mount.path()), Err(MountError::Read { .. })));
    }

    #[test]
    fn a_snapshot_is_whole_when_its_document_is_as_long_as_announced() {
        let endpoint = |index| Endpoint::regular(format!("s-{index}.demo.svc:1").parse().expect("address"));
        for count in [0, 1, 5000] {
            let document = Document::new((0..count).map(endpoint).collect()).expect("valid");
            let payload = Payload::pack(&document, "owner", 1, Timestamp::UNIX_EPOCH).expect("fits");
            let whole = Snapshot { target: "..2026_1".into(), payload };
            assert!(whole.is_whole(), "{count}");

            let without = |key: &str| {
                let mut payload = whole.payload.clone();
                payload.data.remove(key);
                payload.binary_data.remove(key);
                Snapshot { target: "..2026_1".into(), payload }
            };
            assert!(!without(META_KEY).is_whole());
            assert!(!without(if count == 5000 { GZIP_KEY } else { DOCUMENT_KEY }).is_whole());

            // As long as it is being copied.
            let mut part = Snapshot { target: "..2026_1".into(), payload: whole.payload.clone() };
            let keys: Vec<String> = whole.payload.data.keys().cloned().collect();
            for key in keys {
                let text = whole.payload.data[&key].clone();
                for end in 0..text.len() {
                    part.payload.data.insert(key.clone(), text[..end].to_owned());
                    assert!(!part.is_whole(), "{key} cut at {end}");
                }
                part.payload.data.insert(key, text);
            }
            assert!(part.is_whole());
            if let Some(packed) = whole.payload.binary_data.get(GZIP_KEY) {
                for end in [0, 1, 3] {
                    part.payload.binary_data.insert(GZIP_KEY.to_owned(), packed[..end].to_vec());
                    assert!(!part.is_whole(), "cut at {end}");
                }
            }
        }
    }
}
