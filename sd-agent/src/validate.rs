//! Reads an endpoint file as strictly as the strictest Thanos does, and a little more: a typed-wrong key that
//! Thanos skips in silence (and then has no endpoints) is an error here.
//!
//! Facts: reference "How `thanos query` discovers endpoints", sections 2.1, 2.2 and 2.4.

use std::borrow::Cow;

use serde::{Deserialize, Serialize, de::IgnoredAny};

use crate::{
    address::{Address, AddressError, Lookup},
    render::FileFormat,
    version::{Feature, ThanosVersion},
};

/// What a file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Found {
    /// `store.sd-files` or `endpoint.sd-config-file`.
    pub format: &'static str,
    /// All entries.
    pub endpoints: usize,
    /// Of them, those that are looked up by DNS.
    pub looked_up: usize,
    /// Of them, strict ones.
    pub strict: usize,
    /// Of them, groups.
    pub group: usize,
}

/// Why Thanos would refuse the file, or not do what it says.
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    /// Nothing is in it: Thanos drops all endpoints.
    #[error("the file is empty, and Thanos would drop every endpoint; write {0} if that is meant")]
    Empty(&'static str),
    /// Not the JSON that the agent writes.
    #[error("not the expected JSON")]
    Json(#[source] serde_json::Error),
    /// Not YAML, or of another shape.
    #[error("{message}")]
    Yaml {
        /// Line and column, from 1.
        position: Option<(u64, u64)>,
        /// What is wrong, and where.
        message: String,
    },
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
    #[error("{0} is listed twice: Thanos warns at every tick, remove one")]
    Duplicate(String),
    /// Thanos refuses the whole file.
    #[error("{0} is strict and has a DNS prefix: Thanos refuses the whole file, write the plain host:port")]
    StrictLookup(String),
    /// Thanos refuses the whole file.
    #[error("{0} has a service_config and is no group: Thanos refuses the whole file, set group: true")]
    ServiceConfig(String),
    /// Thanos refuses the whole file.
    #[error("{address}: compression {given:?} is unknown: Thanos refuses the whole file, use none or snappy")]
    Compression {
        /// Of which entry.
        address: String,
        /// What it says.
        given: String,
    },
    /// Thanos skips the key in silence.
    #[error("{key} is read from Thanos {since} on; {version} would ignore it in silence")]
    TooNew {
        /// The key.
        key: &'static str,
        /// First release that reads it.
        since: &'static str,
        /// The release in question.
        version: ThanosVersion,
    },
}

/// `--store.sd-files`: strict in Thanos, too.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TargetGroup<'a> {
    #[serde(borrow)]
    targets: Vec<Cow<'a, str>>,
    #[serde(default, rename = "labels")]
    _labels: Option<IgnoredAny>,
}

/// `--endpoint.sd-config-file`: Thanos skips unknown keys.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config<'a> {
    #[serde(borrow)]
    endpoints: Vec<Entry<'a>>,
    #[serde(default)]
    default_client_config: Option<ClientConfig>,
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
    #[serde(default)]
    service_config: Option<String>,
    #[serde(default)]
    client_config: Option<ClientConfig>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClientConfig {
    #[serde(default, rename = "tls_config")]
    _tls_config: Option<IgnoredAny>,
    #[serde(default, rename = "server_name")]
    _server_name: Option<IgnoredAny>,
    #[serde(default)]
    compression: Option<String>,
}

// === impl Invalid ===

impl Invalid {
    /// Line and column, from 1, when the text itself is wrong.
    pub fn position(&self) -> Option<(u64, u64)> {
        match self {
            Self::Yaml { position, .. } => *position,
            Self::Json(error) => Some((error.line() as u64, error.column() as u64)),
            _ => None,
        }
    }
}

/// Reads back what [`crate::render::render`] wrote for `version`.
///
/// # Errors
/// See [`Invalid`]; each one is a bug, and the file is not put in place.
pub fn rendered(text: &str, version: ThanosVersion) -> Result<Found, Invalid> {
    match FileFormat::of(version) {
        FileFormat::StoreSdFiles => {
            let groups: Vec<TargetGroup<'_>> = serde_json::from_str(text).map_err(Invalid::Json)?;
            targets(&groups)
        }
        FileFormat::EndpointSdConfigFile => {
            let config: Config<'_> = serde_json::from_str(text).map_err(Invalid::Json)?;
            entries(&config, Some(version))
        }
    }
}

/// Reads a file that anyone may have written, as `version` would; without one, in the format that it has.
///
/// # Errors
/// See [`Invalid`].
pub fn file(text: &str, version: Option<ThanosVersion>) -> Result<Found, Invalid> {
    let content: Vec<&str> =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let first = content.iter().find(|line| !line.starts_with("---") && !line.starts_with('%'));
    let format = match (version, first) {
        (Some(version), _) => FileFormat::of(version),
        (None, Some(line)) if line.starts_with('[') || line.starts_with('-') => FileFormat::StoreSdFiles,
        (None, _) => FileFormat::EndpointSdConfigFile,
    };
    match format {
        _ if first.is_none() => Err(Invalid::Empty(match format {
            FileFormat::StoreSdFiles => "[]",
            FileFormat::EndpointSdConfigFile => "endpoints: []",
        })),
        FileFormat::StoreSdFiles => targets(&yaml::<Vec<TargetGroup<'_>>>(text)?),
        FileFormat::EndpointSdConfigFile => entries(&yaml::<Config<'_>>(text)?, version),
    }
}

fn yaml<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Invalid> {
    serde_saphyr::from_str(text).map_err(|error| Invalid::Yaml {
        position: error.location().map(|location| (location.line(), location.column())),
        message: error.to_string(),
    })
}

fn targets(groups: &[TargetGroup<'_>]) -> Result<Found, Invalid> {
    let all: Vec<&str> = groups.iter().flat_map(|group| group.targets.iter().map(AsRef::as_ref)).collect();
    let looked_up = check_addresses(&all)?;
    Ok(Found { format: "store.sd-files", endpoints: all.len(), looked_up, strict: 0, group: 0 })
}

fn entries(config: &Config<'_>, version: Option<ThanosVersion>) -> Result<Found, Invalid> {
    let entries = &config.endpoints;
    let all: Vec<&str> = entries.iter().map(|entry| entry.address.as_ref()).collect();
    let looked_up = check_addresses(&all)?;
    let too_new = |key, since| version.map_or(Ok(()), |version| Err(Invalid::TooNew { key, since, version }));
    let tls_unread = version.is_some_and(|version| !version.supports(Feature::EndpointTls));
    if config.default_client_config.is_some() && tls_unread {
        too_new("default_client_config", "v0.42.0")?;
    }
    if let Some(client) = &config.default_client_config {
        check_client("default_client_config", client)?;
    }
    for entry in entries {
        let address = entry.address.as_ref();
        if entry.strict && address.contains('+') {
            return Err(Invalid::StrictLookup(address.to_owned()));
        }
        if entry.service_config.is_some() {
            if version.is_some_and(|version| version < ThanosVersion::new(0, 40, 0)) {
                too_new("service_config", "v0.40.0")?;
            }
            if !entry.group {
                return Err(Invalid::ServiceConfig(address.to_owned()));
            }
        }
        if let Some(client) = &entry.client_config {
            if tls_unread {
                too_new("client_config", "v0.42.0")?;
            }
            check_client(address, client)?;
        }
    }
    let count = |which: fn(&Entry<'_>) -> bool| entries.iter().filter(|entry| which(entry)).count();
    Ok(Found {
        format: "endpoint.sd-config-file",
        endpoints: all.len(),
        looked_up,
        strict: count(|entry| entry.strict),
        group: count(|entry| entry.group),
    })
}

fn check_client(address: &str, client: &ClientConfig) -> Result<(), Invalid> {
    match client.compression.as_deref() {
        None | Some("" | "none" | "snappy") => Ok(()),
        Some(given) => Err(Invalid::Compression { address: address.to_owned(), given: given.to_owned() }),
    }
}

/// Every address works and stands once; returns how many are looked up.
fn check_addresses(all: &[&str]) -> Result<usize, Invalid> {
    let mut looked_up = 0;
    for (index, text) in all.iter().enumerate() {
        let address: Address =
            text.parse().map_err(|source| Invalid::Address { entry: index + 1, source })?;
        looked_up += usize::from(address.lookup() != Lookup::None);
    }
    let mut sorted = all.to_vec();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Invalid::Duplicate(pair[0].to_owned())),
        None => Ok(looked_up),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Document, Endpoint, render::render};

    const NEW: ThanosVersion = ThanosVersion::new(0, 42, 4);
    const OLD: ThanosVersion = ThanosVersion::new(0, 37, 2);

    #[test]
    fn what_the_agent_renders_is_valid_in_both_formats_and_readers() {
        let endpoint = |at| Endpoint::regular(format!("store-{at}.demo.svc:10901").parse().expect("address"));
        for count in [0, 1, 3000] {
            let document = Document::new((0..count).map(endpoint).collect()).expect("valid");
            for version in [OLD, NEW, ThanosVersion::Unknown] {
                let text = render(&document, version, &[]).text;
                let found = rendered(&text, version).expect("valid");
                assert_eq!(found.endpoints, count);
                assert_eq!(file(&text, Some(version)).expect("valid"), found);
                assert_eq!(file(&text, None).expect("valid"), found);
            }
        }
    }

    #[test]
    fn files_of_people_are_read_in_both_formats() {
        let found =
            file("# ours\n- targets: [\"a.ns.svc:1\", 'dnssrv+_grpc._tcp.b.ns.svc']\n", None).expect("ok");
        assert_eq!((found.format, found.endpoints, found.looked_up), ("store.sd-files", 2, 1));
        let text = "endpoints:\n- {address: 'a:1', strict: true}\n- address: dns+b:1\n  group: true\n  service_config: '{}'\n";
        let found = file(text, None).expect("ok");
        assert_eq!((found.strict, found.group, found.endpoints), (1, 1, 2));
        file("default_client_config: {tls_config: {enabled: true}}\nendpoints: []\n", Some(NEW)).expect("ok");
    }

    #[test]
    fn what_thanos_refuses_or_skips_is_an_error_with_the_fix() {
        for (text, version, part) in [
            ("", None, "empty"),
            ("# nothing\n\n", Some(OLD), "write []"),
            ("{}", None, "endpoints"),
            ("endpoint:\n- address: a:1\n", None, "endpoint"),
            ("- address: a:1\n", Some(NEW), "line 1"),
            ("endpoints: []\n", Some(OLD), "line 1"),
            ("endpoints:\n- {address: 'dns+a:1', strict: true}\n", None, "plain host:port"),
            ("endpoints:\n- {address: 'a:1', service_config: '{}'}\n", None, "group: true"),
            ("endpoints:\n- {address: 'a:1', client_config: {compression: zip}}\n", None, "snappy"),
            (
                "endpoints:\n- {address: 'a:1', client_config: {}}\n",
                Some(ThanosVersion::new(0, 41, 0)),
                "v0.42.0",
            ),
            ("endpoints:\n- {address: 'a:1'}\n- {address: 'a:1'}\n", None, "twice"),
            ("endpoints:\n- {address: 'a'}\n", None, "port"),
            ("endpoints:\n- {address: 'a:1', adress: b}\n", None, "adress"),
            ("endpoints:\n- {address: 'a:1'\n", None, "line"),
            ("endpoints: []\nendpoints: []\n", None, "duplicate"),
        ] {
            let error = file(text, version).expect_err(text).to_string();
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }

    #[test]
    fn an_error_in_the_text_has_a_position() {
        let error = file("endpoints:\n- address: a:1\n  strict: maybe\n", None).expect_err("refused");
        assert_eq!(error.position().map(|(line, _)| line), Some(3));
    }
}
