//! Thanos releases as families: which release understands what. Knows nothing of images or Kubernetes.
//!
//! Facts: reference "How `thanos query` discovers endpoints", sections 1, 4 and 5.

use std::{fmt, str::FromStr};

/// A Thanos release, as far as it is known.
///
/// `Unknown` is a real answer (a digest, a branch build): everything is then written in the way that every
/// supported release accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ThanosVersion {
    /// Nothing states the release; only what all releases from [`OLDEST`] on understand may be used.
    Unknown,
    /// A numbered release.
    Known(Release),
}

/// `major.minor.patch` of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Release {
    /// Always 0 so far.
    pub major: u32,
    /// The family: flags and formats change between minors.
    pub minor: u32,
    /// Fixes only.
    pub patch: u32,
}

/// The oldest release that is supported.
pub const OLDEST: Release = Release { major: 0, minor: 35, patch: 0 };

/// Something that not every supported release has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// `--endpoint.sd-config-file` and its own YAML format (0.38).
    EndpointSdConfigFile,
    /// `--query.partition-label` (0.37).
    PartitionLabels,
    /// `--query.distributed-with-overlapping-interval` (0.38).
    OverlappingShards,
    /// Groups re-resolve `dns+` and `dnssrv+` addresses and balance over them (0.37).
    BalancedGroup,
    /// A strict group may carry a DNS prefix: accepted by 0.37 only.
    BalancedStrictGroup,
    /// A query frontend is ready only when its queriers are (0.39).
    FrontendAsksDownstream,
    /// Ready only after the first endpoint update (0.40); earlier releases are ready at once, with no stores.
    ReadyAfterDiscovery,
    /// A querier that chooses among stores announces the labels of those only (0.40).
    AnnouncesSelected,
    /// A group in the file may say how gRPC balances it (0.40).
    GroupServiceConfig,
    /// TLS settings of a single endpoint in the file (0.42).
    EndpointTls,
    /// The `dnsdualstack+` prefix (0.42).
    DualStackLookup,
}

/// The text is not a release number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a Thanos version: write it like v0.42.4, or \"unknown\"")]
pub struct NotAVersion {
    /// What was given.
    pub text: String,
}

// === impl ThanosVersion ===

impl ThanosVersion {
    /// A numbered release.
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self::Known(Release { major, minor, patch })
    }

    /// Whether this release has `feature`; an unknown one has none.
    pub fn supports(self, feature: Feature) -> bool {
        let Self::Known(Release { major, minor, .. }) = self else { return false };
        let family = (major, minor);
        match feature {
            Feature::EndpointSdConfigFile | Feature::OverlappingShards => family >= (0, 38),
            Feature::BalancedGroup | Feature::PartitionLabels => family >= (0, 37),
            Feature::BalancedStrictGroup => family == (0, 37),
            Feature::FrontendAsksDownstream => family >= (0, 39),
            Feature::ReadyAfterDiscovery | Feature::AnnouncesSelected | Feature::GroupServiceConfig => {
                family >= (0, 40)
            }
            Feature::EndpointTls | Feature::DualStackLookup => family >= (0, 42),
        }
    }

    /// True for releases before [`OLDEST`], whose flags were never looked at.
    pub fn is_too_old(self) -> bool {
        matches!(self, Self::Known(release) if release < OLDEST)
    }
}

impl FromStr for ThanosVersion {
    type Err = NotAVersion;

    /// Reads `v0.42.4`, `0.42.4`, `v0.43.0-rc.1` (a pre-release counts as its release) and `unknown`.
    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        if text == "unknown" {
            return Ok(Self::Unknown);
        }
        let not = || NotAVersion { text: text.to_owned() };
        let numbers = text.strip_prefix('v').unwrap_or(text);
        let numbers = numbers.split_once(['-', '+']).map_or(numbers, |(numbers, _)| numbers);
        let mut parts = numbers.split('.').map(|part| match part.as_bytes() {
            [b'0'..=b'9', ..] => part.parse::<u32>().map_err(|_| not()),
            _ => Err(not()),
        });
        let mut next = || parts.next().unwrap_or_else(|| Err(not()));
        let version = Self::new(next()?, next()?, next()?);
        if parts.next().is_some() { Err(not()) } else { Ok(version) }
    }
}

impl fmt::Display for ThanosVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("unknown"),
            Self::Known(release) => release.fmt(f),
        }
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn release_numbers_are_read_with_and_without_v_and_with_a_suffix() {
        for text in ["v0.42.4", "0.42.4", "v0.42.4-rc.0", "v0.42.4+build"] {
            assert_eq!(text.parse(), Ok(ThanosVersion::new(0, 42, 4)), "{text}");
        }
        assert_eq!("unknown".parse(), Ok(ThanosVersion::Unknown));
    }

    #[test]
    fn what_is_not_a_release_number_is_refused() {
        for text in
            ["", "v", "latest", "0.42", "0.42.4.1", "v0.x.1", "main-2026-01-01-abc", "0.-1.2", "0.+1.2"]
        {
            assert!(text.parse::<ThanosVersion>().is_err(), "{text}");
        }
    }

    #[test]
    fn families_have_what_their_release_notes_say() {
        let has = |text: &str, feature| text.parse::<ThanosVersion>().expect(text).supports(feature);
        assert!(
            !has("v0.37.2", Feature::EndpointSdConfigFile) && has("v0.38.0", Feature::EndpointSdConfigFile)
        );
        assert!(!has("v0.36.1", Feature::BalancedGroup) && has("v0.37.0", Feature::BalancedGroup));
        assert!(
            has("v0.37.2", Feature::BalancedStrictGroup) && !has("v0.38.0", Feature::BalancedStrictGroup)
        );
        assert!(
            !has("v0.39.2", Feature::ReadyAfterDiscovery) && has("v0.40.0", Feature::ReadyAfterDiscovery)
        );
        assert!(!has("unknown", Feature::EndpointSdConfigFile));
    }

    #[test]
    fn releases_before_0_35_are_too_old() {
        assert!("v0.34.1".parse::<ThanosVersion>().expect("version").is_too_old());
        assert!(!"v0.35.0".parse::<ThanosVersion>().expect("version").is_too_old());
        assert!(!ThanosVersion::Unknown.is_too_old());
    }

    #[test]
    fn a_version_prints_as_it_is_read() {
        assert_eq!(ThanosVersion::new(0, 35, 1).to_string(), "v0.35.1");
        assert_eq!(ThanosVersion::Unknown.to_string(), "unknown");
    }
}
