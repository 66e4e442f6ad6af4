//! Image and release of Thanos.

use crds::common_fields::CommonFields;
use sd_agent::{ThanosVersion, version::OLDEST};

use crate::config::{DEFAULT_IMAGE, DEFAULT_VERSION};

/// The image that runs, and what is known of the release in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// As the container names it.
    pub reference: String,
    /// The release.
    pub version: ThanosVersion,
}

/// A version that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// Before the oldest one.
    #[error(
        "{field}: Thanos {version} is older than {OLDEST}, the oldest that is supported; nothing was changed"
    )]
    TooOld {
        /// Where it stands, or would.
        field: String,
        /// The release.
        version: ThanosVersion,
    },
}

// === impl Image ===

impl Image {
    /// Reads `version` and `baseImage`. Where neither says which release, it is `running`: what runs moves only when a
    /// user says so, not with the operator's default.
    ///
    /// # Errors
    /// When the release is too old; `field` says where it stands.
    pub fn of(common: &CommonFields, running: Option<&str>, field: &str) -> Result<Self, VersionError> {
        let base = common.base_image.as_deref().unwrap_or(DEFAULT_IMAGE);
        let stated = common.version.as_deref();
        let (reference, version) = match Tag::of(base) {
            Tag::None => {
                let version = stated.or(running).unwrap_or(DEFAULT_VERSION);
                (format!("{base}:{version}"), version)
            }
            Tag::Digest => (base.to_owned(), stated.unwrap_or_default()),
            Tag::Named(tag) => (base.to_owned(), stated.unwrap_or(tag)),
        };
        let version = version.parse().unwrap_or(ThanosVersion::Unknown);
        if version.is_too_old() {
            Err(VersionError::TooOld { field: format!("{field}.version"), version })
        } else {
            Ok(Self { reference, version })
        }
    }
}

/// The release in the tag of an image that runs, as it is spelt there; none when the tag names no release.
pub fn running_version(image: &str) -> Option<String> {
    match Tag::of(image) {
        Tag::Named(tag) if matches!(tag.parse(), Ok(ThanosVersion::Known(_))) => Some(tag.to_owned()),
        Tag::Named(_) | Tag::None | Tag::Digest => None,
    }
}

enum Tag<'a> {
    None,
    Named(&'a str),
    Digest,
}

// === impl Tag ===

impl<'a> Tag<'a> {
    // A colon before the last slash belongs to the port of a registry.
    fn of(image: &'a str) -> Self {
        if image.contains('@') {
            return Self::Digest;
        }
        let name = image.rsplit_once('/').map_or(image, |(_, name)| name);
        name.split_once(':').map_or(Self::None, |(_, tag)| Self::Named(tag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(base: Option<&str>, version: Option<&str>) -> (String, String) {
        let common = CommonFields {
            base_image: base.map(str::to_owned),
            version: version.map(str::to_owned),
            ..CommonFields::default()
        };
        let image = Image::of(&common, None, "spec").expect("supported");
        (image.reference, image.version.to_string())
    }

    #[test]
    fn the_version_is_the_tag_of_an_image_without_one() {
        assert_eq!(image(None, None), ("quay.io/thanos/thanos:v0.42.4".into(), "v0.42.4".into()));
        assert_eq!(image(None, Some("v0.37.2")), ("quay.io/thanos/thanos:v0.37.2".into(), "v0.37.2".into()));
        assert_eq!(
            image(Some("mirror:5000/t"), Some("v0.35.1")),
            ("mirror:5000/t:v0.35.1".into(), "v0.35.1".into())
        );
    }

    #[test]
    fn a_tag_or_digest_in_the_image_is_used_as_it_stands() {
        assert_eq!(image(Some("m/t:v0.38.0"), None), ("m/t:v0.38.0".into(), "v0.38.0".into()));
        assert_eq!(image(Some("m/t:mine"), None), ("m/t:mine".into(), "unknown".into()));
        assert_eq!(image(Some("m/t:mine"), Some("v0.41.0")), ("m/t:mine".into(), "v0.41.0".into()));
        let digest = "m/t@sha256:abc";
        assert_eq!(image(Some(digest), None), (digest.into(), "unknown".into()));
        assert_eq!(image(Some(digest), Some("v0.40.1")), (digest.into(), "v0.40.1".into()));
    }

    #[test]
    fn a_release_before_0_35_is_refused_with_the_field() {
        let common = CommonFields { version: Some("v0.34.0".into()), ..CommonFields::default() };
        let error = Image::of(&common, None, "spec").expect_err("too old").to_string();
        assert!(error.contains("spec.version") && error.contains("v0.35.0"), "{error}");
    }

    #[test]
    fn what_runs_decides_where_the_user_does_not() {
        let of = |base: Option<&str>, version: Option<&str>| {
            let common = CommonFields {
                base_image: base.map(str::to_owned),
                version: version.map(str::to_owned),
                ..CommonFields::default()
            };
            Image::of(&common, Some("v0.39.0"), "spec").expect("supported").version.to_string()
        };
        assert_eq!(of(None, None), "v0.39.0");
        assert_eq!(of(Some("mirror:5000/t"), None), "v0.39.0");
        assert_eq!(of(None, Some("v0.40.0")), "v0.40.0");
        assert_eq!(of(Some("m/t:v0.41.0"), None), "v0.41.0");
    }

    #[test]
    fn a_release_is_read_from_an_image_that_runs() {
        assert_eq!(running_version("quay.example:5000/t:v0.39.0").as_deref(), Some("v0.39.0"));
        for image in ["quay.example:5000/t", "t:latest", "t@sha256:abc", "t:v0.39.0@sha256:abc"] {
            assert_eq!(running_version(image), None, "{image}");
        }
    }
}
