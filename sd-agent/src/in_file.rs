//! How an endpoint is written in the file of a Thanos that can say more there than an address: its type, its spelling,
//! how gRPC balances it, and whether it is reached over TLS.
//!
//! Facts: reference "How `thanos query` discovers endpoints", sections 2.2, 3.4 and 4.2.

use std::{borrow::Cow, net::Ipv4Addr};

use serde::{Deserialize, Serialize};

use crate::address::Address;

/// Longest service config, in bytes.
pub const SERVICE_CONFIG_LIMIT: usize = 8 * 1024;
/// Longest path of a file with a certificate or a key, in bytes.
const PATH_LIMIT: usize = 512;

/// What an entry of the file says besides the address. All as the default: nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InFile {
    /// Whether a strict or group endpoint is strict or a group in the file, too (0.38), and never a flag. Otherwise it
    /// is an ordinary entry until the pod has it as a flag.
    #[serde(skip_serializing_if = "is_default")]
    pub typed: bool,
    /// How the address is spelt: see [`spelt`].
    #[serde(skip_serializing_if = "is_default")]
    pub spelling: u8,
    /// gRPC service config of a group, as JSON (0.40).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_config: Option<String>,
    /// Whether it is reached over TLS (0.42); none when the flags of the pod say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ClientTls>,
}

/// How Thanos connects to one endpoint, whatever its flags say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "mode")]
pub enum ClientTls {
    /// Without TLS.
    Plaintext,
    /// With TLS.
    Tls(TlsSettings),
}

/// TLS towards one endpoint. Thanos inherits nothing of its flags into it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TlsSettings {
    /// File with the authorities that may have signed the certificate of the endpoint; none for those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// What Thanos shows of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateFiles>,
    /// The name that the certificate of the endpoint has to have; none for the host of the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Lowest version that is spoken.
    pub min_version: TlsVersion,
    /// Whether the certificate of the endpoint is taken as it is.
    #[serde(default, skip_serializing_if = "is_default")]
    pub insecure_skip_verify: bool,
    /// Whether these are the settings for all endpoints. A Thanos before 0.42 has those as flags, so the endpoint is an
    /// entry of its file as well; one with settings of its own is left out there.
    #[serde(default, skip_serializing_if = "is_default")]
    pub inherited: bool,
}

/// A certificate and its key: both or neither.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateFiles {
    /// File with the certificate.
    pub cert_file: String,
    /// File with its key.
    pub key_file: String,
}

/// Versions of TLS as Thanos names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TlsVersion {
    /// 1.0
    #[serde(rename = "1.0")]
    Tls10,
    /// 1.1
    #[serde(rename = "1.1")]
    Tls11,
    /// 1.2
    #[serde(rename = "1.2")]
    Tls12,
    /// 1.3
    #[serde(rename = "1.3")]
    Tls13,
}

/// Why an entry cannot be written so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InFileError {
    /// Thanos refuses the whole file.
    #[error("a service config belongs to a group that is one in the file")]
    ServiceConfigOfNoGroup,
    /// gRPC could not read it.
    #[error("the service config is no JSON object of at most {SERVICE_CONFIG_LIMIT} bytes")]
    ServiceConfig,
    /// Of what Thanos looks up it dials the addresses, with the TLS of its flags.
    #[error("what is looked up cannot have TLS settings unless it is a group in the file")]
    TlsOfLookup,
    /// A path that is none.
    #[error("{0:?} is no absolute path")]
    Path(String),
    /// A name that no certificate has.
    #[error("{0:?} is no name of a server")]
    ServerName(String),
}

// === impl InFile ===

impl InFile {
    /// Whether there is nothing but the address to write.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// Whether Thanos connects in the same way as for `other`: it does not take over a change of that for an address that
    /// it has already.
    pub fn connects_as(&self, other: &Self) -> bool {
        let Self { typed: _, spelling: _, service_config, tls } = self;
        // To inherit what the flags say or to say it is the same connection.
        let settings = |tls: &Option<ClientTls>| {
            let mut tls = tls.clone();
            if let Some(ClientTls::Tls(settings)) = &mut tls {
                settings.inherited = false;
            }
            tls
        };
        *service_config == other.service_config && settings(tls) == settings(&other.tls)
    }

    /// What Thanos would refuse, or could not connect with.
    ///
    /// # Errors
    /// See [`InFileError`].
    pub(crate) fn check(&self, is_group: bool) -> Result<(), InFileError> {
        let Self { typed, spelling: _, service_config, tls } = self;
        if let Some(config) = service_config {
            if !typed || !is_group {
                return Err(InFileError::ServiceConfigOfNoGroup);
            }
            let is_object =
                || serde_json::from_str::<serde_json::Value>(config).is_ok_and(|config| config.is_object());
            if config.len() > SERVICE_CONFIG_LIMIT || !is_object() {
                return Err(InFileError::ServiceConfig);
            }
        }
        match tls {
            None | Some(ClientTls::Plaintext) => Ok(()),
            Some(ClientTls::Tls(settings)) => settings.check(),
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

// === impl TlsSettings ===

impl TlsSettings {
    fn check(&self) -> Result<(), InFileError> {
        let Self { ca_file, certificate, server_name, min_version: _, insecure_skip_verify: _, inherited: _ } =
            self;
        let certificate = certificate.iter().flat_map(|files| [&files.cert_file, &files.key_file]);
        for path in ca_file.iter().chain(certificate) {
            let is_path =
                path.starts_with('/') && path.len() <= PATH_LIMIT && !path.chars().any(char::is_control);
            if !is_path {
                return Err(InFileError::Path(path.clone()));
            }
        }
        match server_name {
            // What is a host of an address is a name of a server.
            Some(name) if Address::plain(name, 1).is_err() => Err(InFileError::ServerName(name.clone())),
            _ => Ok(()),
        }
    }
}

/// `address` in another spelling of the same: Thanos takes it for another endpoint, so old and new swap in one update.
///
/// Names keep their meaning in any case of their letters, for DNS and for certificates: those of the spelling's bits are
/// upper case. An IPv4 address is written as IPv6, where `ffff` has letters again. Spelling 0 is the address as it stands;
/// the same number is always the same text, and so are two of them where an address has few letters.
pub fn spelt(address: &Address, spelling: u8) -> Cow<'_, Address> {
    if spelling == 0 {
        return Cow::Borrowed(address);
    }
    let host = match address.host().parse::<Ipv4Addr>() {
        Ok(_) => format!("[::ffff:{}]", address.host()),
        Err(_) => address.host().to_owned(),
    };
    let mut bits = spelling;
    let spelt = host.chars().map(|letter| {
        if bits == 0 || !letter.is_ascii_lowercase() {
            return letter;
        }
        let is_upper = bits & 1 == 1;
        bits >>= 1;
        if is_upper { letter.to_ascii_uppercase() } else { letter }
    });
    let spelt: String = spelt.collect();
    match address.with_host(spelt) {
        Ok(spelt) => Cow::Owned(spelt),
        Err(_) => Cow::Borrowed(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelling(text: &str, number: u8) -> String {
        spelt(&text.parse().expect("an address"), number).to_string()
    }

    #[test]
    fn every_spelling_is_another_text_for_the_same_place() {
        let mut all: Vec<String> = (0..=255).map(|number| spelling("store.demo.svc:10901", number)).collect();
        assert_eq!(
            all[..4],
            ["store.demo.svc:10901", "Store.demo.svc:10901", "sTore.demo.svc:10901", "STore.demo.svc:10901"]
        );
        assert!(all.iter().all(|text| text.eq_ignore_ascii_case("store.demo.svc:10901")));
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 256);
    }

    #[test]
    fn an_address_without_letters_gets_some() {
        assert_eq!(spelling("10.0.0.7:10901", 0), "10.0.0.7:10901");
        assert_eq!(spelling("10.0.0.7:10901", 1), "[::Ffff:10.0.0.7]:10901");
        assert_eq!(spelling("10.0.0.7:10901", 2), "[::fFff:10.0.0.7]:10901");
        assert_eq!(spelling("[fd00::1]:1", 1), "[Fd00::1]:1");
    }

    #[test]
    fn a_prefix_and_a_port_stay() {
        assert_eq!(spelling("dnssrv+_grpc._tcp.store.demo.svc", 1), "dnssrv+_Grpc._tcp.store.demo.svc");
        assert_eq!(spelling("dns+store.demo.svc:80", 1), "dns+Store.demo.svc:80");
    }

    #[test]
    fn what_connects_otherwise_is_told_from_what_is_only_written_otherwise() {
        let tls = |server_name: &str, inherited| {
            let server_name = Some(server_name.to_owned());
            let settings = TlsSettings {
                ca_file: None,
                certificate: None,
                server_name,
                min_version: TlsVersion::Tls12,
                insecure_skip_verify: false,
                inherited,
            };
            InFile { tls: Some(ClientTls::Tls(settings)), ..InFile::default() }
        };
        assert!(tls("a", true).connects_as(&tls("a", false)));
        assert!(InFile { typed: true, spelling: 3, ..tls("a", true) }.connects_as(&tls("a", true)));
        assert!(!tls("a", true).connects_as(&tls("b", true)));
        assert!(!tls("a", true).connects_as(&InFile::default()));
        let plaintext = InFile { tls: Some(ClientTls::Plaintext), ..InFile::default() };
        assert!(!plaintext.connects_as(&InFile::default()));
    }
}
