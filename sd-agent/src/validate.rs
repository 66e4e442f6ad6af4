//! Reads back what the agent is about to put in place, as the strictest Thanos would: what does not pass is not written.
//!
//! The files of people, which may say more, are read by [`crate::check`]; it finds every problem, this only the first.
//! Facts: reference "How `thanos query` discovers endpoints", sections 2.1, 2.2 and 2.4.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};

use crate::{
    address::{Address, AddressError, Lookup},
    render::FileFormat,
    version::{Feature, ThanosVersion},
};

/// Why Thanos would refuse the file, or not do what it says.
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    /// JSON takes more of them than YAML does, which is what Thanos reads; the agent writes line ends only.
    #[error("there is a space or a control character other than a line end")]
    Space,
    /// Not the JSON that the agent writes.
    #[error("not the expected JSON")]
    Json(#[source] serde_json::Error),
    /// An address that cannot work.
    #[error("entry {entry}: {source}")]
    Address {
        /// Which entry, from 1.
        entry: usize,
        /// Why.
        #[source]
        source: AddressError,
    },
    /// The same address twice.
    #[error("{0} is listed twice: Thanos warns at every tick")]
    Duplicate(String),
    /// The release does not know the prefix.
    #[error("{address} is looked up from Thanos v0.42.0 on, not by {version}")]
    TooNew {
        /// Which.
        address: String,
        /// The release in question.
        version: ThanosVersion,
    },
}

/// A mapping. Without this a list of a mapping's values would do, too, which it does not for Thanos.
struct Mapping<T>(T);

/// `--store.sd-files`: a list of these.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TargetGroup<'a> {
    #[serde(borrow)]
    targets: Vec<Cow<'a, str>>,
}

/// `--endpoint.sd-config-file`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config<'a> {
    #[serde(borrow)]
    endpoints: Vec<Mapping<Entry<'a>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry<'a> {
    #[serde(borrow)]
    address: Cow<'a, str>,
}

/// Reads back what [`crate::render::render`] wrote for `version`. Returns how many endpoints it names.
///
/// # Errors
/// See [`Invalid`]; each one is a bug, and the file is not put in place.
pub fn rendered(text: &str, version: ThanosVersion) -> Result<usize, Invalid> {
    if text.bytes().any(|byte| byte != b'\n' && (byte == b' ' || byte.is_ascii_control())) {
        return Err(Invalid::Space);
    }
    match FileFormat::of(version) {
        FileFormat::StoreSdFiles => {
            let groups: Vec<Mapping<TargetGroup<'_>>> = serde_json::from_str(text).map_err(Invalid::Json)?;
            addresses(groups.iter().flat_map(|Mapping(group)| group.targets.iter()), version)
        }
        FileFormat::EndpointSdConfigFile => {
            let Mapping(config): Mapping<Config<'_>> = serde_json::from_str(text).map_err(Invalid::Json)?;
            addresses(config.endpoints.iter().map(|Mapping(entry)| &entry.address), version)
        }
    }
}

// === impl Mapping ===

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Mapping<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfAMapping<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for OfAMapping<T> {
            type Value = Mapping<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Mapping)
            }
        }

        deserializer.deserialize_map(OfAMapping(PhantomData))
    }
}

/// Every address works and stands once.
fn addresses<'a>(
    all: impl Iterator<Item = &'a Cow<'a, str>>,
    version: ThanosVersion,
) -> Result<usize, Invalid> {
    let mut sorted: Vec<&str> = Vec::new();
    for (index, text) in all.enumerate() {
        let address: Address =
            text.parse().map_err(|source| Invalid::Address { entry: index + 1, source })?;
        if address.lookup() == Lookup::DnsDualStack && !version.supports(Feature::DualStackLookup) {
            return Err(Invalid::TooNew { address: text.to_string(), version });
        }
        sorted.push(text);
    }
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Invalid::Duplicate(pair[0].to_owned())),
        None => Ok(sorted.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Document, Endpoint, check::judge, render::render};

    const NEW: ThanosVersion = ThanosVersion::new(0, 42, 4);
    const OLD: ThanosVersion = ThanosVersion::new(0, 37, 2);

    #[test]
    fn what_the_agent_renders_is_valid_for_it_and_for_check() {
        let endpoint = |at| Endpoint::regular(format!("store-{at}.demo.svc:10901").parse().expect("address"));
        for count in [0, 1, 3000] {
            let document = Document::new((0..count).map(endpoint).collect()).expect("valid");
            for version in [OLD, NEW, ThanosVersion::Unknown] {
                let text = render(&document, version, &[]).text;
                assert_eq!(rendered(&text, version).expect("valid"), count);
                for version in [Some(version), None] {
                    let answer = judge(text.as_bytes(), version);
                    assert!(answer.valid, "{answer:?}");
                    assert_eq!(answer.found.expect("read").endpoints, count);
                }
            }
        }
    }

    #[test]
    fn what_thanos_would_refuse_or_misread_is_an_error() {
        for (text, version, part) in [
            ("", NEW, "JSON"),
            ("", OLD, "JSON"),
            ("[]", NEW, "JSON"),
            ("\t[]", OLD, "space"),
            ("[\r]", OLD, "space"),
            ("{\"endpoints\": []}", NEW, "space"),
            ("[[]]", NEW, "JSON"),
            ("{\"endpoints\":[[\"a:1\"]]}", NEW, "JSON"),
            ("[[[\"a:1\"]]]", OLD, "JSON"),
            ("{}", NEW, "JSON"),
            ("{\"endpoints\":null}", NEW, "JSON"),
            ("{\"endpoints\":[]}", OLD, "JSON"),
            ("{\"endpoints\":[],\"endpoints\":[]}", NEW, "JSON"),
            ("{\"endpoints\":[{\"address\":\"a:1\",\"strict\":true}]}", NEW, "JSON"),
            ("{\"endpoints\":[{\"address\":\"a:1\"},{\"address\":\"a:1\"}]}", NEW, "twice"),
            ("{\"endpoints\":[{\"address\":\"a\"}]}", NEW, "port"),
            ("{\"endpoints\":[{\"address\":\"\"}]}", NEW, "host"),
            ("[{\"targets\":[\"a:1\"],\"labels\":{}}]", OLD, "JSON"),
            ("[{\"targets\":[\"a:1\",\"a:1\"]}]", OLD, "twice"),
            ("[{\"targets\":[\"dnsdualstack+a:1\"]}]", OLD, "v0.42.0"),
            ("{\"endpoints\":[{\"address\":\"dnsdualstack+a:1\"}]}", ThanosVersion::new(0, 41, 0), "v0.42.0"),
        ] {
            let error = rendered(text, version).expect_err(text).to_string();
            assert!(error.contains(part), "{text:?}: {error}");
        }
        rendered("{\"endpoints\":[{\"address\":\"dnsdualstack+a:1\"}]}", NEW).expect("read from 0.42 on");
    }
}
