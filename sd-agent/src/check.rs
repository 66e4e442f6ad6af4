//! `sd-agent check`: what Thanos would make of a file.

use std::{fs, io, path::PathBuf};

use serde::Serialize;

use crate::{
    args::{CheckArgs, Output},
    log::chain,
    payload::DOCUMENT_LIMIT,
    validate::{self, Found, Invalid},
};

/// Why a file is no good.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Over the cap.
    #[error("{} has {bytes} bytes, the limit is {DOCUMENT_LIMIT}", path.display())]
    Size {
        /// Which.
        path: PathBuf,
        /// Bytes.
        bytes: u64,
    },
    /// Thanos would refuse it, or not do what it says.
    #[error("{} is not valid", path.display())]
    Invalid {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: Invalid,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    valid: bool,
    #[serde(flatten)]
    found: Option<Found>,
    error: Option<String>,
    line: Option<u64>,
    column: Option<u64>,
}

/// Reads the file.
///
/// # Errors
/// See [`CheckError`].
pub fn check(args: &CheckArgs) -> Result<Found, CheckError> {
    let path = || args.file.clone();
    let unreadable = |source| CheckError::Read { path: path(), source };
    let bytes = fs::metadata(&args.file).map_err(unreadable)?.len();
    if bytes > DOCUMENT_LIMIT as u64 {
        return Err(CheckError::Size { path: path(), bytes });
    }
    let text = fs::read_to_string(&args.file).map_err(unreadable)?;
    validate::file(&text, args.thanos_version).map_err(|source| CheckError::Invalid { path: path(), source })
}

/// The answer as it is printed, with a newline.
pub fn describe(result: &Result<Found, CheckError>, output: Output) -> String {
    match (output, result) {
        (Output::Text, Ok(found)) => format!(
            "valid {}: {} endpoints ({} looked up by DNS, {} strict, {} groups)\n",
            found.format, found.endpoints, found.looked_up, found.strict, found.group
        ),
        (Output::Text, Err(error)) => format!("{}\n", chain(error)),
        (Output::Json, result) => {
            let position = match result {
                Err(CheckError::Invalid { source, .. }) => source.position(),
                _ => None,
            };
            let answer = Answer {
                valid: result.is_ok(),
                found: result.as_ref().ok().cloned(),
                error: result.as_ref().err().map(|error| chain(error)),
                line: position.map(|(line, _)| line),
                column: position.map(|(_, column)| column),
            };
            format!("{}\n", serde_json::to_string(&answer).unwrap_or_default())
        }
    }
}
