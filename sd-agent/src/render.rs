//! From the neutral document to the bytes that one pod's Thanos reads.
//!
//! Two formats, chosen by release (reference "How `thanos query` discovers endpoints", section 2). Both are
//! written as JSON, which every YAML reader takes and which has no surprises with bare words.

use std::borrow::Cow;

use serde::Serialize;

use crate::{
    address::Address,
    document::{Document, Endpoint},
    in_file::{ClientTls, TlsSettings, TlsVersion},
    version::{Feature, ThanosVersion},
};

/// The file of one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// What Thanos reads.
    pub text: String,
    /// How many endpoints it names.
    pub count: usize,
}

/// Which of its two file formats a Thanos release is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// `--store.sd-files`: a list of `targets`.
    StoreSdFiles,
    /// `--endpoint.sd-config-file`: a map with `endpoints`.
    EndpointSdConfigFile,
}

/// One entry of `--endpoint.sd-config-file`, in Thanos' words.
#[derive(Serialize)]
struct ConfigEntry<'a> {
    address: Cow<'a, Address>,
    #[serde(skip_serializing_if = "is_off")]
    strict: bool,
    #[serde(skip_serializing_if = "is_off")]
    group: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_config: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_config: Option<ClientConfig<'a>>,
}

#[derive(Serialize)]
struct ClientConfig<'a> {
    tls_config: TlsConfig<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_name: Option<&'a str>,
}

/// `enabled` is always written out: then Thanos inherits nothing, and takes no field for another one's.
#[derive(Serialize)]
struct TlsConfig<'a> {
    enabled: bool,
    #[serde(skip_serializing_if = "is_off")]
    insecure_skip_verify: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cert_file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_version: Option<TlsVersion>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde asks for a reference
fn is_off(switch: &bool) -> bool {
    !switch
}

// === impl FileFormat ===

impl FileFormat {
    /// The format for `version`; one that is unknown gets the format that every release reads.
    pub fn of(version: ThanosVersion) -> Self {
        if version.supports(Feature::EndpointSdConfigFile) {
            Self::EndpointSdConfigFile
        } else {
            Self::StoreSdFiles
        }
    }
}

/// Renders `document` for a pod whose Thanos is `version` and was started with `flags` as endpoint flags.
///
/// What the pod has as a flag is left out; a strict or group endpoint that it does not have as a flag is
/// written as an ordinary one. So flags and file together name every endpoint exactly once.
pub fn render(document: &Document, version: ThanosVersion, flags: &[Address]) -> Rendered {
    let format = FileFormat::of(version);
    let (open, close) = match format {
        FileFormat::StoreSdFiles => ("[{\"targets\":[\n", "\n]}]\n"),
        FileFormat::EndpointSdConfigFile => ("{\"endpoints\":[\n", "\n]}\n"),
    };
    let mut text = String::new();
    let mut count = 0;
    let in_file = document.endpoints().iter().filter(|endpoint| !endpoint.is_among(flags));
    for endpoint in in_file.filter(|endpoint| is_within_reach(endpoint, version)) {
        let line = match format {
            FileFormat::StoreSdFiles => serde_json::to_string(&endpoint.file),
            FileFormat::EndpointSdConfigFile => serde_json::to_string(&ConfigEntry::of(endpoint, version)),
        };
        // Plain strings and switches: this cannot fail, and were it to, the reader would refuse the gap.
        let line = line.unwrap_or_default();
        text.push_str(if count == 0 { open } else { ",\n" });
        // Only a service config has spaces; what is read back has none, since Thanos' reader sees some in other places
        // with other eyes than JSON.
        text.push_str(&line.replace(' ', "\\u0020"));
        count += 1;
    }
    match (count, format) {
        (0, FileFormat::StoreSdFiles) => text.push_str("[]\n"),
        (0, FileFormat::EndpointSdConfigFile) => text.push_str("{\"endpoints\":[]}\n"),
        _ => text.push_str(close),
    }
    Rendered { text, count }
}

/// Whether this Thanos can connect to it as it has to be: one with TLS of its own must not be dialled without.
fn is_within_reach(endpoint: &Endpoint, version: ThanosVersion) -> bool {
    match &endpoint.in_file().tls {
        Some(ClientTls::Tls(settings)) => settings.inherited || version.supports(Feature::EndpointTls),
        Some(ClientTls::Plaintext) | None => true,
    }
}

// === impl ConfigEntry ===

impl<'a> ConfigEntry<'a> {
    fn of(endpoint: &'a Endpoint, version: ThanosVersion) -> Self {
        let in_file = endpoint.in_file();
        let is_typed = in_file.typed && endpoint.flag.is_some();
        let (strict, group) =
            (is_typed && endpoint.endpoint_type.is_strict(), is_typed && endpoint.endpoint_type.is_group());
        let service_config = in_file
            .service_config
            .as_deref()
            .filter(|_| group && version.supports(Feature::GroupServiceConfig));
        let client_config =
            in_file.tls.as_ref().filter(|_| version.supports(Feature::EndpointTls)).map(ClientConfig::of);
        Self { address: endpoint.written(), strict, group, service_config, client_config }
    }
}

// === impl ClientConfig ===

impl<'a> ClientConfig<'a> {
    fn of(tls: &'a ClientTls) -> Self {
        match tls {
            ClientTls::Plaintext => Self { tls_config: TlsConfig::OFF, server_name: None },
            ClientTls::Tls(settings) => {
                let TlsSettings {
                    ca_file,
                    certificate,
                    server_name,
                    min_version,
                    insecure_skip_verify,
                    inherited: _,
                } = settings;
                let tls_config = TlsConfig {
                    enabled: true,
                    insecure_skip_verify: *insecure_skip_verify,
                    ca_file: ca_file.as_deref(),
                    cert_file: certificate.as_ref().map(|files| files.cert_file.as_str()),
                    key_file: certificate.as_ref().map(|files| files.key_file.as_str()),
                    min_version: Some(*min_version),
                };
                Self { tls_config, server_name: server_name.as_deref() }
            }
        }
    }
}

// === impl TlsConfig ===

impl TlsConfig<'_> {
    const OFF: Self = Self {
        enabled: false,
        insecure_skip_verify: false,
        ca_file: None,
        cert_file: None,
        key_file: None,
        min_version: None,
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Endpoint, EndpointType};

    fn address(text: &str) -> Address {
        text.parse().expect(text)
    }

    fn document() -> Document {
        Document::new(vec![
            Endpoint::regular(address("a.ns.svc:80")),
            Endpoint::flagged(EndpointType::Strict, address("b.ns.svc:80"), address("b.ns.svc:80")),
            Endpoint::flagged(
                EndpointType::Group,
                address("dnssrv+_grpc._tcp.c.ns.svc"),
                address("dnssrv+_grpc._tcp.c.ns.svc"),
            ),
        ])
        .expect("valid")
    }

    #[test]
    fn below_0_38_the_file_is_a_list_of_targets() {
        let file = render(&document(), ThanosVersion::new(0, 37, 2), &[]);
        assert_eq!(
            file.text,
            "[{\"targets\":[\n\"a.ns.svc:80\",\n\"b.ns.svc:80\",\n\"dnssrv+_grpc._tcp.c.ns.svc\"\n]}]\n"
        );
        assert_eq!(file.count, 3);
        assert_eq!(render(&Document::default(), ThanosVersion::Unknown, &[]).text, "[]\n");
    }

    #[test]
    fn from_0_38_the_file_is_a_map_of_endpoints() {
        let file = render(&document(), ThanosVersion::new(0, 42, 4), &[address("b.ns.svc:80")]);
        assert_eq!(
            file.text,
            "{\"endpoints\":[\n{\"address\":\"a.ns.svc:80\"},\n{\"address\":\"dnssrv+_grpc._tcp.c.ns.svc\"}\n]}\n"
        );
        assert_eq!(
            render(&Document::default(), ThanosVersion::new(0, 38, 0), &[]).text,
            "{\"endpoints\":[]}\n"
        );
    }

    #[test]
    fn flags_and_file_together_name_every_endpoint_once() {
        let flags = [address("b.ns.svc:80"), address("c.ns.svc:10901")];
        let file = render(&document(), ThanosVersion::new(0, 35, 1), &flags);
        assert_eq!(file.text, "[{\"targets\":[\n\"a.ns.svc:80\"\n]}]\n");
    }

    #[test]
    fn an_endpoint_that_became_regular_again_stays_out_while_it_is_a_flag() {
        let again = Document::new(vec![Endpoint::regular(address("b.ns.svc:80"))]).expect("valid");
        assert_eq!(render(&again, ThanosVersion::new(0, 42, 4), &[address("b.ns.svc:80")]).count, 0);
        assert_eq!(render(&again, ThanosVersion::new(0, 42, 4), &[]).count, 1);
    }

    const NEW: ThanosVersion = ThanosVersion::new(0, 42, 4);

    /// The lines of the file for one document, with what every entry has in common taken away.
    fn lines(document: &str, version: ThanosVersion) -> Vec<String> {
        let document: Document = serde_json::from_str(document).expect("a document");
        let text = render(&document, version, &[]).text;
        crate::validate::rendered(&text, version).expect("valid for Thanos");
        let lines = text.lines().filter(|line| line.starts_with("{\"address\":") || line.starts_with('"'));
        lines.map(|line| line.trim_end_matches(',').to_owned()).collect()
    }

    #[test]
    fn what_is_typed_in_the_file_is_written_in_the_form_of_its_flag_where_the_release_knows_types() {
        let document = r#"{"endpoints":[
            {"file":"dnssrv+_grpc._tcp.g.ns.svc","type":"Group","flag":"dns+g.ns.svc:80",
             "inFile":{"typed":true,"serviceConfig":"{\"a\":\"b c\"}"}},
            {"file":"s.ns.svc:80","type":"Strict","flag":"s.ns.svc:80","inFile":{"typed":true,"spelling":1}},
            {"file":"t.ns.svc:80","type":"GroupStrict","flag":"t.ns.svc:80","inFile":{"typed":true}}]}"#;
        assert_eq!(
            lines(document, NEW),
            [
                r#"{"address":"S.ns.svc:80","strict":true}"#,
                r#"{"address":"t.ns.svc:80","strict":true,"group":true}"#,
                r#"{"address":"dns+g.ns.svc:80","group":true,"service_config":"{\"a\":\"b\u0020c\"}"}"#,
            ]
        );
        assert_eq!(
            lines(document, ThanosVersion::new(0, 38, 0))[2],
            r#"{"address":"dns+g.ns.svc:80","group":true}"#
        );
        let old = ["\"s.ns.svc:80\"", "\"t.ns.svc:80\"", "\"dnssrv+_grpc._tcp.g.ns.svc\""];
        assert_eq!(lines(document, ThanosVersion::new(0, 37, 2)), old);
    }

    #[test]
    fn tls_is_written_out_whole_and_an_older_thanos_has_only_what_its_flags_can_connect() {
        let document = r#"{"endpoints":[
            {"file":"a:1","type":"Regular","needs":2,"inFile":{"tls":{"mode":"Tls","caFile":"/c/ca.crt","minVersion":"1.2",
             "certificate":{"certFile":"/c/tls.crt","keyFile":"/c/tls.key"},"serverName":"a.example"}}},
            {"file":"b:1","type":"Regular","inFile":{"tls":{"mode":"Plaintext"}}},
            {"file":"c:1","type":"Regular",
             "inFile":{"tls":{"mode":"Tls","minVersion":"1.3","insecureSkipVerify":true,"inherited":true}}}]}"#;
        assert_eq!(
            lines(document, NEW),
            [
                r#"{"address":"a:1","client_config":{"tls_config":{"enabled":true,"ca_file":"/c/ca.crt","cert_file":"/c/tls.crt","key_file":"/c/tls.key","min_version":"1.2"},"server_name":"a.example"}}"#,
                r#"{"address":"b:1","client_config":{"tls_config":{"enabled":false}}}"#,
                r#"{"address":"c:1","client_config":{"tls_config":{"enabled":true,"insecure_skip_verify":true,"min_version":"1.3"}}}"#,
            ]
        );
        let old = [r#"{"address":"b:1"}"#, r#"{"address":"c:1"}"#];
        assert_eq!(lines(document, ThanosVersion::new(0, 41, 0)), old);
    }
}
