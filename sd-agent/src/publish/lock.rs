//! One writer in a folder.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::files::{Disk, Files};

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
        let file = open(&path).map_err(|source| LockError::Io { path: path.clone(), source })?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(fs::TryLockError::WouldBlock) => Err(LockError::Held(path)),
            Err(fs::TryLockError::Error(source)) => Err(LockError::Io { path, source }),
        }
    }
}

/// Open for reading only, which is enough for a lock: so it holds back no read-only remount, and an agent of another
/// user is seen, too.
fn open(path: &Path) -> io::Result<fs::File> {
    if let Err(error) = Disk.create(path).and_then(|file| Disk.make_readable(&file))
        && error.kind() != io::ErrorKind::AlreadyExists
    {
        return Err(error);
    }
    Ok(Disk.open(path)?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_folder_has_one_agent() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = FolderLock::take(folder.path()).expect("free");
        assert!(matches!(FolderLock::take(folder.path()), Err(LockError::Held(_))));
        drop(first);
        FolderLock::take(folder.path()).expect("free again");
    }

    #[test]
    fn a_link_in_place_of_the_lock_is_refused_and_its_target_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("target");
        std::os::unix::fs::symlink(&target, folder.path().join(".lock")).expect("linked");
        assert!(matches!(FolderLock::take(folder.path()), Err(LockError::Io { .. })));
        assert!(!target.exists());
    }
}
