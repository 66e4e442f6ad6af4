//! The release of the cluster's API server. Pods cannot be made of what it does not know: a native sidecar needs 1.29, a
//! pause before a container is stopped 1.30. An older one takes such a pod, leaves out what it does not know, and the pod
//! never starts.

use std::{fmt, sync::Arc, time::Duration};

use k8s_openapi::apimachinery::pkg::version::Info;
use kube::Client;
use parking_lot::Mutex;
use tokio::time::{sleep, timeout};

use crate::snapshot::API_TIMEOUT;

/// How often it is read: an upgrade of the cluster takes longer.
const INTERVAL: Duration = Duration::from_secs(600);
/// How often while it is not known.
const RETRY: Duration = Duration::from_secs(60);

/// Release of an API server, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClusterVersion {
    /// Nobody can tell: it is taken for new enough.
    #[default]
    Unknown,
    /// Such as 1.33.
    Release {
        /// The first number.
        major: u32,
        /// The second number.
        minor: u32,
    },
}

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
    #[error("the version of the cluster cannot be read: {major:?} and {minor:?} are no numbers")]
    Unreadable {
        /// What stands for the first number.
        major: String,
        /// What stands for the second.
        minor: String,
    },
}

/// The version as it was read last, for all who plan.
#[derive(Debug, Default)]
pub struct Cluster {
    version: Mutex<Option<ClusterVersion>>,
}

// === impl ClusterVersion ===

impl ClusterVersion {
    /// Asks the API server.
    ///
    /// # Errors
    /// See [`VersionError`].
    pub async fn read(client: &Client) -> Result<Self, VersionError> {
        match timeout(API_TIMEOUT, client.apiserver_version()).await {
            Ok(Ok(info)) => Self::of(&info),
            Ok(Err(source)) => Err(VersionError::Api(Box::new(source))),
            Err(_) => Err(VersionError::Timeout),
        }
    }

    /// Of what the API server says; some add a sign to the second number.
    ///
    /// # Errors
    /// When these are no numbers.
    pub fn of(info: &Info) -> Result<Self, VersionError> {
        let number = |text: &str| {
            let digits = text.find(|c: char| !c.is_ascii_digit()).map_or(text, |end| &text[..end]);
            digits.parse().ok()
        };
        match (number(&info.major), number(&info.minor)) {
            (Some(major), Some(minor)) => Ok(Self::Release { major, minor }),
            _ => Err(VersionError::Unreadable { major: info.major.clone(), minor: info.minor.clone() }),
        }
    }

    /// Whether a container can start before the others and stay.
    pub fn has_native_sidecars(self) -> bool {
        self.is_at_least(29)
    }

    /// Whether a container can be told to sleep before it is stopped.
    pub fn has_sleep(self) -> bool {
        self.is_at_least(30)
    }

    fn is_at_least(self, wanted: u32) -> bool {
        match self {
            Self::Unknown => true,
            Self::Release { major, minor } => (major, minor) >= (1, wanted),
        }
    }
}

impl fmt::Display for ClusterVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("unknown"),
            Self::Release { major, minor } => write!(f, "v{major}.{minor}"),
        }
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
            let read = ClusterVersion::read(&client).await;
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

    fn info(major: &str, minor: &str) -> Info {
        Info { major: major.to_owned(), minor: minor.to_owned(), ..Info::default() }
    }

    fn release(minor: u32) -> ClusterVersion {
        ClusterVersion::Release { major: 1, minor }
    }

    #[test]
    fn versions_are_read_also_with_the_sign_that_some_providers_add() {
        assert_eq!(ClusterVersion::of(&info("1", "33")).expect("a version"), release(33));
        assert_eq!(ClusterVersion::of(&info("1", "28+")).expect("a version"), release(28));
        for (major, minor) in [("", ""), ("1", ""), ("one", "33"), ("1", "+33")] {
            assert!(ClusterVersion::of(&info(major, minor)).is_err(), "{major:?} {minor:?}");
        }
    }

    #[test]
    fn sidecars_come_with_1_29_and_the_pause_with_1_30_and_what_is_unknown_is_new_enough() {
        let knows = |version: ClusterVersion| (version.has_native_sidecars(), version.has_sleep());
        assert_eq!(knows(release(28)), (false, false));
        assert_eq!(knows(release(29)), (true, false));
        assert_eq!(knows(release(30)), (true, true));
        assert_eq!(knows(ClusterVersion::Release { major: 2, minor: 0 }), (true, true));
        assert_eq!(knows(ClusterVersion::Unknown), (true, true));
    }

    #[test]
    fn a_version_that_cannot_be_read_any_more_stays_as_it_was() {
        let cluster = Cluster::default();
        assert_eq!(cluster.version(), None);
        assert!(cluster.note(None));
        assert_eq!(cluster.version(), Some(ClusterVersion::Unknown));
        assert!(cluster.note(Some(release(28))));
        assert!(!cluster.note(None));
        assert_eq!(cluster.version(), Some(release(28)));
    }
}
