//! Reads the counters from Thanos' `/metrics`, in the same pod.

use http::Uri;

use super::counters::{Counts, Scan};
use crate::thanos::page::{self, PageError};

/// Why the counters are not known.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The page cannot be read.
    #[error(transparent)]
    Page(#[from] PageError),
    /// It is not that of Thanos.
    #[error("the answer has no counter of DNS failures")]
    NotThanos,
}

/// How many look-ups have failed, as `url` tells.
///
/// # Errors
/// See [`ReadError`].
pub async fn read(url: &Uri) -> Result<Counts, ReadError> {
    let mut scan = Scan::default();
    page::read(url, |bytes| scan.feed(bytes)).await?;
    scan.finish().ok_or(ReadError::NotThanos)
}
