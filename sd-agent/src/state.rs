//! What the agent remembers over its own restart: the applied payload, in a dot file next to the live file.
//!
//! It is the ConfigMap's own form, so that `meta.json` vouches for it again when it is read back.

use std::{
    io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    configmap::{self, BinaryData, Data, OBJECT_LIMIT},
    payload::Payload,
    publish::{Files, PublishError, Published, read_whole, write_atomic},
};

/// The file's name.
pub const STATE_FILE: &str = ".state.json";

/// What is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Name of the ConfigMap that the payload was in.
    pub config_map: String,
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
    /// Of an agent that followed another ConfigMap.
    #[error("{} is of ConfigMap {found}", path.display())]
    Foreign {
        /// Which file.
        path: PathBuf,
        /// The ConfigMap it names.
        found: String,
    },
}

/// Other fields are those of a newer agent, and skipped.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    config_map: String,
    applied_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mount_floor: Option<u64>,
    data: Data,
    binary_data: BinaryData,
}

// === impl Kept ===

impl Kept {
    /// What the last agent in `folder` left of `config_map`; none when there was none.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn load(files: &dyn Files, folder: &Path, config_map: &str) -> Result<Option<Self>, StateError> {
        let path = folder.join(STATE_FILE);
        let text = match read_whole(files, &path, OBJECT_LIMIT) {
            Ok((text, _)) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StateError::Read { path, source }),
        };
        let stored: Stored = match serde_json::from_slice(&text) {
            Ok(stored) => stored,
            Err(source) => return Err(StateError::Parse { path, source }),
        };
        if stored.config_map != config_map {
            return Err(StateError::Foreign { path, found: stored.config_map });
        }
        Ok(Some(Self {
            config_map: stored.config_map,
            payload: configmap::payload(stored.data, stored.binary_data),
            mount_floor: stored.mount_floor,
            applied_at: stored.applied_at,
        }))
    }

    /// Writes it, atomically.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub fn save(&self, files: &dyn Files, folder: &Path) -> Result<Published, PublishError> {
        let (data, binary_data) = configmap::parts(&self.payload);
        let config_map = self.config_map.clone();
        let (applied_at, mount_floor) = (self.applied_at, self.mount_floor);
        let stored = Stored { config_map, applied_at, mount_floor, data, binary_data };
        // Strings and numbers: this cannot fail, and an empty file is refused when read.
        let text = serde_json::to_vec(&stored).unwrap_or_default();
        write_atomic(files, &folder.join(STATE_FILE), &text)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;
    use crate::{Document, Endpoint, publish::Disk};

    fn kept(count: usize) -> Kept {
        let endpoint = |at| Endpoint::regular(format!("store-{at}.demo.svc:10901").parse().expect("address"));
        let document = Document::new((0..count).map(endpoint).collect()).expect("valid");
        let payload = Payload::pack(&document, "uid", 7, Timestamp::UNIX_EPOCH).expect("fits");
        let config_map = "demo".to_owned();
        Kept { config_map, payload, mount_floor: Some(9), applied_at: Timestamp::UNIX_EPOCH }
    }

    fn load(folder: &tempfile::TempDir) -> Result<Option<Kept>, StateError> {
        Kept::load(&Disk, folder.path(), "demo")
    }

    #[test]
    fn what_is_kept_is_read_back() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(load(&folder).expect("fine"), None);
        for count in [1, 3000] {
            let kept = kept(count);
            kept.save(&Disk, folder.path()).expect("written");
            assert_eq!(load(&folder).expect("fine"), Some(kept));
        }
    }

    #[test]
    fn a_torn_state_file_is_an_error_and_no_state() {
        let folder = tempfile::tempdir().expect("a folder");
        kept(1).save(&Disk, folder.path()).expect("written");
        let path = folder.path().join(STATE_FILE);
        let whole = fs::read(&path).expect("readable");
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).expect("written");
            assert!(load(&folder).is_err(), "{length} bytes were taken");
        }
    }

    #[test]
    fn the_state_of_another_config_map_is_not_taken_up() {
        let folder = tempfile::tempdir().expect("a folder");
        let other = Kept { config_map: "other".to_owned(), ..kept(1) };
        other.save(&Disk, folder.path()).expect("written");
        let error = load(&folder).expect_err("refused");
        assert!(error.to_string().ends_with("is of ConfigMap other"), "{error}");
    }

    #[test]
    fn a_field_of_a_newer_agent_is_skipped() {
        let folder = tempfile::tempdir().expect("a folder");
        kept(1).save(&Disk, folder.path()).expect("written");
        let path = folder.path().join(STATE_FILE);
        let text = fs::read_to_string(&path).expect("readable");
        fs::write(&path, text.replacen('{', "{\"later\":{\"a\":[1]},", 1)).expect("written");
        assert_eq!(load(&folder).expect("fine"), Some(kept(1)));
    }

    #[test]
    fn a_link_in_place_of_the_state_is_not_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        kept(1).save(&Disk, folder.path()).expect("written");
        let (path, elsewhere) = (folder.path().join(STATE_FILE), folder.path().join("elsewhere"));
        fs::rename(&path, &elsewhere).expect("moved");
        symlink(&elsewhere, &path).expect("linked");
        assert!(matches!(load(&folder), Err(StateError::Read { .. })));
        kept(2).save(&Disk, folder.path()).expect("written");
        assert_eq!(load(&folder).expect("fine"), Some(kept(2)));
        assert_ne!(fs::read(&elsewhere).expect("readable"), fs::read(&path).expect("readable"));
    }
}
