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
    in_file::TlsVersion,
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
    /// The whole file is refused for it.
    #[error("{address}: a strict endpoint cannot have a DNS prefix")]
    StrictLookup {
        /// Which.
        address: String,
    },
    /// The whole file is refused for it, or it is passed over in silence.
    #[error("{address}: {what} is not for this entry, or not for {version}")]
    Misplaced {
        /// Which entry.
        address: String,
        /// Which key.
        what: &'static str,
        /// The release in question.
        version: ThanosVersion,
    },
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
    #[serde(default)]
    strict: bool,
    #[serde(default)]
    group: bool,
    #[serde(default, borrow)]
    service_config: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    client_config: Option<Mapping<ClientConfig<'a>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClientConfig<'a> {
    #[serde(borrow)]
    tls_config: Mapping<TlsConfig<'a>>,
    #[serde(default, borrow)]
    server_name: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TlsConfig<'a> {
    enabled: bool,
    #[serde(default)]
    insecure_skip_verify: bool,
    #[serde(default, borrow)]
    ca_file: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    cert_file: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    key_file: Option<Cow<'a, str>>,
    #[serde(default)]
    min_version: Option<TlsVersion>,
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
            for Mapping(entry) in &config.endpoints {
                entry.check(version)?;
            }
            addresses(config.endpoints.iter().map(|Mapping(entry)| &entry.address), version)
        }
    }
}

// === impl Entry ===

impl Entry<'_> {
    fn check(&self, version: ThanosVersion) -> Result<(), Invalid> {
        let Self { address, strict, group, service_config, client_config } = self;
        if *strict && address.contains('+') {
            return Err(Invalid::StrictLookup { address: address.to_string() });
        }
        let misplaced = |what| Err(Invalid::Misplaced { address: address.to_string(), what, version });
        let takes_service_config = *group && version.supports(Feature::GroupServiceConfig);
        if service_config.is_some() && !takes_service_config {
            return misplaced("service_config");
        }
        let Some(Mapping(ClientConfig { tls_config: Mapping(tls), server_name })) = client_config else {
            return Ok(());
        };
        // Of what Thanos looks up the addresses are dialled, with the settings of its flags.
        if !version.supports(Feature::EndpointTls) || address.contains('+') && !group {
            return misplaced("client_config");
        }
        let TlsConfig { enabled, insecure_skip_verify, ca_file, cert_file, key_file, min_version } = tls;
        let says_more = *insecure_skip_verify
            || [ca_file, cert_file, key_file, server_name].into_iter().any(Option::is_some)
            || min_version.is_some();
        if !enabled && says_more {
            return misplaced("tls_config without TLS");
        }
        match cert_file.is_some() == key_file.is_some() {
            true => Ok(()),
            false => misplaced("cert_file without key_file"),
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
            ("{\"endpoints\":[{\"address\":\"a:1\",\"strict\":1}]}", NEW, "JSON"),
            ("{\"endpoints\":[{\"address\":\"a:1\",\"more\":1}]}", NEW, "JSON"),
            ("{\"endpoints\":[{\"address\":\"dns+a:1\",\"strict\":true}]}", NEW, "DNS prefix"),
            ("{\"endpoints\":[{\"address\":\"a:1\",\"service_config\":\"{}\"}]}", NEW, "service_config"),
            (
                "{\"endpoints\":[{\"address\":\"a:1\",\"client_config\":{\"tls_config\":{\"enabled\":true,\"cert_file\":\"/c\"}}}]}",
                NEW,
                "key_file",
            ),
            (
                "{\"endpoints\":[{\"address\":\"dns+a:1\",\"client_config\":{\"tls_config\":{\"enabled\":true}}}]}",
                NEW,
                "client_config",
            ),
            (
                "{\"endpoints\":[{\"address\":\"a:1\",\"client_config\":{\"tls_config\":{\"enabled\":true}}}]}",
                ThanosVersion::new(0, 41, 0),
                "client_config",
            ),
            (
                "{\"endpoints\":[{\"address\":\"a:1\",\"client_config\":{\"tls_config\":{\"enabled\":false,\"ca_file\":\"/c\"}}}]}",
                NEW,
                "without TLS",
            ),
            (
                "{\"endpoints\":[{\"address\":\"a:1\",\"client_config\":{\"server_name\":\"a\"}}]}",
                NEW,
                "JSON",
            ),
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
