//! The release of the cluster's API server. Pods cannot be made of what it does not know: a native sidecar needs 1.29, a
//! pause before a container is stopped 1.30. An older one takes such a pod, leaves out what it does not know, and the pod
//! never starts.

use std::fmt;

use k8s_openapi::apimachinery::pkg::version::Info;

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

/// It is no release number.
#[derive(Debug, thiserror::Error)]
#[error("{major:?} and {minor:?} are no numbers")]
pub struct Unreadable {
    /// What stands for the first number.
    major: String,
    /// What stands for the second.
    minor: String,
}

// === impl ClusterVersion ===

impl ClusterVersion {
    /// Of what the API server says; some add a sign to the second number.
    ///
    /// # Errors
    /// When these are no numbers.
    pub fn of(info: &Info) -> Result<Self, Unreadable> {
        let number = |text: &str| {
            let digits = text.find(|c: char| !c.is_ascii_digit()).map_or(text, |end| &text[..end]);
            digits.parse().ok()
        };
        match (number(&info.major), number(&info.minor)) {
            (Some(major), Some(minor)) => Ok(Self::Release { major, minor }),
            _ => Err(Unreadable { major: info.major.clone(), minor: info.minor.clone() }),
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
}
