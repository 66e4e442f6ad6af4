//! One change of the machine's test cluster at a time.

use std::{
    fs::{File, TryLockError},
    io::{Read as _, Seek as _, Write as _},
    path::Path,
};

use super::{
    error::{FileContext as _, Result},
    progress::Progress,
};

/// A held lock; given back when dropped, also when the process is killed.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

// === impl Lock ===

impl Lock {
    /// Waits for the lock file at `path`, saying who holds it.
    pub fn acquire(path: &Path, progress: &Progress) -> Result<Self> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).at("create folder", parent)?;
        }
        let mut options = File::options();
        let mut file =
            options.read(true).write(true).create(true).truncate(false).open(path).at("open lock", path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder).at("read lock", path)?;
                progress
                    .line(format_args!("waiting for process {} to finish with the cluster", holder.trim()));
                file.lock().at("wait for lock", path)?;
            }
            Err(TryLockError::Error(source)) => return Err(source).at("lock", path),
        }
        file.set_len(0).at("write lock", path)?;
        file.rewind().at("write lock", path)?;
        write!(file, "{}", std::process::id()).at("write lock", path)?;
        Ok(Self { _file: file })
    }
}
