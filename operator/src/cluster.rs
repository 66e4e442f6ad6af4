//! Follows the release of the cluster, for all who plan.

use std::{sync::Arc, time::Duration};

use kube::Client;
use parking_lot::Mutex;
use tokio::time::{sleep, timeout};

use crate::{
    cluster_version::{ClusterVersion, Unreadable},
    snapshot::API_TIMEOUT,
};

/// How often it is read: an upgrade of the cluster takes longer.
const INTERVAL: Duration = Duration::from_secs(600);
/// How often while it is not known.
const RETRY: Duration = Duration::from_secs(60);

/// Why it is not known.
#[derive(Debug, thiserror::Error)]
pub enum VersionError {
    /// The API refused.
    #[error("failed to read the version of the cluster")]
    Api(#[source] Box<kube::Error>),
    /// The API did not answer.
    #[error("failed to read the version of the cluster: no answer within {API_TIMEOUT:?}")]
    Timeout,
    /// It is no release number.
    #[error("the version of the cluster cannot be read")]
    Unreadable(#[from] Unreadable),
}

/// The version as it was read last, for all who plan.
#[derive(Debug, Default)]
pub struct Cluster {
    version: Mutex<Option<ClusterVersion>>,
}

/// Asks the API server.
///
/// # Errors
/// See [`VersionError`].
pub async fn cluster_version(client: &Client) -> Result<ClusterVersion, VersionError> {
    match timeout(API_TIMEOUT, client.apiserver_version()).await {
        Ok(Ok(info)) => Ok(ClusterVersion::of(&info)?),
        Ok(Err(source)) => Err(VersionError::Api(Box::new(source))),
        Err(_) => Err(VersionError::Timeout),
    }
}

// === impl Cluster ===

impl Cluster {
    /// What is known; none before the first answer, on which nothing may be planned yet.
    pub fn version(&self) -> Option<ClusterVersion> {
        *self.version.lock()
    }

    /// Reads it for ever, and calls `wake` when it is another one.
    pub async fn follow(self: Arc<Self>, client: Client, wake: impl Fn()) {
        let mut is_told = false;
        loop {
            let read = cluster_version(&client).await;
            if let Err(error) = &read
                && !std::mem::replace(&mut is_told, true)
            {
                tracing::warn!(
                    error = error as &dyn std::error::Error,
                    "the cluster is taken for new enough for agents (1.29) and for a pause before a pod ends (1.30)"
                );
            }
            let wait = if read.is_ok() { INTERVAL } else { RETRY };
            if self.note(read.ok()) {
                wake();
            }
            sleep(wait).await;
        }
    }

    /// Takes what was read, nothing when it could not be: then it is what it was. Tells whether that is news.
    fn note(&self, read: Option<ClusterVersion>) -> bool {
        let mut version = self.version.lock();
        let now = read.or(*version).unwrap_or_default();
        let is_news = *version != Some(now);
        if let (true, ClusterVersion::Release { .. }) = (is_news, now) {
            tracing::info!(cluster = %now, "the cluster's version");
        }
        *version = Some(now);
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_that_cannot_be_read_any_more_stays_as_it_was() {
        const OLD: ClusterVersion = ClusterVersion::Release { major: 1, minor: 28 };
        let cluster = Cluster::default();
        assert_eq!(cluster.version(), None);
        assert!(cluster.note(None));
        assert_eq!(cluster.version(), Some(ClusterVersion::Unknown));
        assert!(cluster.note(Some(OLD)));
        assert!(!cluster.note(None));
        assert_eq!(cluster.version(), Some(OLD));
    }
}
