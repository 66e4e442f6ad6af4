//! What the agent remembers over its own restart: the applied payload, in a dot file next to the live file.
//!
//! It is the ConfigMap's own form, so that `meta.json` vouches for it again when it is read back.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    configmap::{self, BinaryData, Data, OBJECT_LIMIT},
    payload::Payload,
    publish::{PublishError, write_atomic},
};

/// The file's name.
pub const STATE_FILE: &str = ".state.json";

/// What is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// As it came.
    pub payload: Payload,
    /// See [`crate::order::Order::mount_floor`].
    pub mount_floor: Option<u64>,
    /// When it was put in place.
    pub applied_at: Timestamp,
}

/// Why nothing is remembered.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Not readable.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Not what the agent writes.
    #[error("{} is damaged", path.display())]
    Parse {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Stored {
    applied_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mount_floor: Option<u64>,
    data: Data,
    binary_data: BinaryData,
}

// === impl Kept ===

impl Kept {
    /// What the last agent in `folder` left; none when there was none.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn load(folder: &Path) -> Result<Option<Self>, StateError> {
        let path = folder.join(STATE_FILE);
        let mut text = Vec::new();
        let read =
            fs::File::open(&path).and_then(|file| file.take(OBJECT_LIMIT as u64).read_to_end(&mut text));
        match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StateError::Read { path, source }),
            Ok(_) => {}
        }
        let stored: Stored =
            serde_json::from_slice(&text).map_err(|source| StateError::Parse { path, source })?;
        Ok(Some(Self {
            payload: configmap::payload(stored.data, stored.binary_data),
            mount_floor: stored.mount_floor,
            applied_at: stored.applied_at,
        }))
    }

    /// Writes it, atomically.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub fn save(&self, folder: &Path) -> Result<(), PublishError> {
        let (data, binary_data) = configmap::parts(&self.payload);
        let stored = Stored { applied_at: self.applied_at, mount_floor: self.mount_floor, data, binary_data };
        // Strings and numbers: this cannot fail, and an empty file is refused when read.
        let text = serde_json::to_vec(&stored).unwrap_or_default();
        write_atomic(&folder.join(STATE_FILE), &text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Document, Endpoint};

    #[test]
    fn what_is_kept_is_read_back() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(Kept::load(folder.path()).expect("fine"), None);
        let endpoint = |at| Endpoint::regular(format!("store-{at}.demo.svc:10901").parse().expect("address"));
        for count in [1, 3000] {
            let document = Document::new((0..count).map(endpoint).collect()).expect("valid");
            let payload = Payload::pack(&document, "uid", 7, Timestamp::UNIX_EPOCH).expect("fits");
            let kept = Kept { payload, mount_floor: Some(9), applied_at: Timestamp::UNIX_EPOCH };
            kept.save(folder.path()).expect("written");
            assert_eq!(Kept::load(folder.path()).expect("fine"), Some(kept));
        }
    }

    #[test]
    fn a_torn_state_file_is_an_error_and_no_state() {
        let folder = tempfile::tempdir().expect("a folder");
        let payload = Payload::pack(&Document::default(), "uid", 7, Timestamp::UNIX_EPOCH).expect("fits");
        let kept = Kept { payload, mount_floor: None, applied_at: Timestamp::UNIX_EPOCH };
        kept.save(folder.path()).expect("written");
        let path = folder.path().join(STATE_FILE);
        let whole = fs::read(&path).expect("readable");
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).expect("written");
            assert!(Kept::load(folder.path()).is_err(), "{length} bytes were taken");
        }
    }
}
