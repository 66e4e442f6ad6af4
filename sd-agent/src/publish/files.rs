//! Every operation on files that a write is made of and that can fail, one by one, so that tests can make each fail.

use std::{
    fmt, fs, io,
    io::{Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

/// The mode of a finished file: Thanos runs as another user.
const READABLE: u32 = 0o644;
/// The mode of a file that is being written.
const PRIVATE: u32 = 0o600;

/// Operations on files. None follows a symbolic link in place of the file.
///
/// Closing is not among them: what a file system has to say, it says when the file is synced.
pub trait Files: fmt::Debug + Send + Sync {
    /// How the regular file at `path` looks; none when nothing, or something else, is there.
    ///
    /// # Errors
    /// When the file system does not tell.
    fn stamp(&self, path: &Path) -> io::Result<Option<Stamp>>;

    /// Opens the regular file at `path` for reading.
    ///
    /// # Errors
    /// When it is missing, is no regular file or cannot be read.
    fn open(&self, path: &Path) -> io::Result<(fs::File, Stamp)>;

    /// Reads what comes next; 0 at the end.
    ///
    /// # Errors
    /// When it cannot be read.
    fn read(&self, file: &mut fs::File, buffer: &mut [u8]) -> io::Result<usize>;

    /// Makes a file where nothing may be, for the agent's eyes only.
    ///
    /// # Errors
    /// When something is there, even a link to nowhere, or the folder takes no file.
    fn create(&self, path: &Path) -> io::Result<fs::File>;

    /// Writes some of `bytes`, and says how many.
    ///
    /// # Errors
    /// When none could be written.
    fn write(&self, file: &mut fs::File, bytes: &[u8]) -> io::Result<usize>;

    /// Lets every user read the file, whatever the umask is.
    ///
    /// # Errors
    /// When the file system refuses.
    fn make_readable(&self, file: &fs::File) -> io::Result<()>;

    /// Brings a file to the disk. After an error, what was written through `file` must not be relied on.
    ///
    /// # Errors
    /// When it did not get there.
    fn sync(&self, file: &fs::File) -> io::Result<()>;

    /// Replaces `to` by `from`, at once for every reader.
    ///
    /// # Errors
    /// When `to` is as it was.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file or a link.
    ///
    /// # Errors
    /// When it is still there, or was not.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Brings the names in `folder` to the disk.
    ///
    /// # Errors
    /// When they did not get there.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
}

/// The files of this machine.
#[derive(Clone, Copy, Debug)]
pub struct Disk;

/// Changes whenever a file is replaced, written to, or made readable for others than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    mode: u32,
    modified: (i64, i64),
}

// === impl Disk ===

impl Files for Disk {
    fn stamp(&self, path: &Path) -> io::Result<Option<Stamp>> {
        match fs::symlink_metadata(path) {
            Ok(metadata) => Ok(metadata.is_file().then(|| Stamp::of(&metadata))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn open(&self, path: &Path) -> io::Result<(fs::File, Stamp)> {
        // Looked at first: opening a pipe would wait for ever.
        let named = fs::symlink_metadata(path)?;
        if !named.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let file = fs::File::open(path)?;
        let opened = file.metadata()?;
        if (opened.dev(), opened.ino()) != (named.dev(), named.ino()) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "swapped while it was opened"));
        }
        Ok((file, Stamp::of(&opened)))
    }

    fn read(&self, file: &mut fs::File, buffer: &mut [u8]) -> io::Result<usize> {
        file.read(buffer)
    }

    fn create(&self, path: &Path) -> io::Result<fs::File> {
        // `create_new` is O_EXCL, which takes over no file and, by POSIX, follows no link, as O_NOFOLLOW.
        fs::OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(path)
    }

    fn write(&self, file: &mut fs::File, bytes: &[u8]) -> io::Result<usize> {
        file.write(bytes)
    }

    fn make_readable(&self, file: &fs::File) -> io::Result<()> {
        file.set_permissions(fs::Permissions::from_mode(READABLE))
    }

    fn sync(&self, file: &fs::File) -> io::Result<()> {
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        fs::File::open(folder)?.sync_all()
    }
}

// === impl Stamp ===

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            mode: metadata.mode(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }

    /// Whether the file has `length` bytes that every user may read.
    pub fn is_readable_with(&self, length: usize) -> bool {
        self.size == length as u64 && self.mode & 0o777 == READABLE
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn nothing_but_a_regular_file_is_opened_or_has_a_stamp() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "text").expect("written");
        symlink(&file, &link).expect("linked");
        let (_, stamp) = Disk.open(&file).expect("a file");
        assert_eq!(Disk.stamp(&file).expect("told"), Some(stamp));
        for other in [&link, folder.path()] {
            assert_eq!(Disk.stamp(other).expect("told"), None);
            assert_eq!(Disk.open(other).expect_err("refused").kind(), io::ErrorKind::InvalidInput);
        }
        assert_eq!(Disk.stamp(&folder.path().join("none")).expect("told"), None);
    }

    #[test]
    fn a_new_file_takes_the_place_of_nothing_not_even_of_a_link_to_nowhere() {
        let folder = tempfile::tempdir().expect("a folder");
        let (link, target) = (folder.path().join("link"), folder.path().join("target"));
        symlink(&target, &link).expect("linked");
        assert_eq!(Disk.create(&link).expect_err("refused").kind(), io::ErrorKind::AlreadyExists);
        assert!(!target.exists());
    }

    #[test]
    fn a_file_is_private_until_it_is_finished() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let file = Disk.create(&path).expect("made");
        let mode = || fs::metadata(&path).expect("there").mode() & 0o777;
        assert_eq!(mode(), PRIVATE);
        Disk.make_readable(&file).expect("allowed");
        assert_eq!(mode(), READABLE);
    }
}
