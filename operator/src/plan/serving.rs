//! What `server` says of a workload, as arguments, volumes and a web configuration. The Secrets are mounted as whole
//! folders, so that Thanos sees a renewed certificate; nobody here reads them.
//!
//! ```text
//!  httpTls ──► annotation of the pod ──┐
//!  Secret with the certificate ────────┴─► one projected volume ──► --http.config=/etc/thanos/http-tls/tls.yaml
//!  Secret with a web configuration ──────► a volume ──────────────► --http.config=/etc/thanos/http-config/KEY
//! ```

use crds::{
    ThanosQuerySpec,
    names::{annotations, pod},
    query_frontend::QueryFrontendSpec,
    server::{AuthoritySource, CertificateSource, HttpConfig, Scheme, ServerTls, TlsVersion},
};
use k8s_openapi::api::core::v1::{
    DownwardAPIProjection, DownwardAPIVolumeFile, KeyToPath, ObjectFieldSelector, ProjectedVolumeSource,
    SecretProjection, SecretVolumeSource, Volume, VolumeMount, VolumeProjection,
};
use sd_agent::ThanosVersion;

use super::{
    agent::mount,
    arg::Arg,
    listen::{HTTP_CONFIG, HttpAccess, last},
    thanos_args::Minor,
};

/// How a workload serves.
#[derive(Clone, Copy, Debug)]
pub struct Serving<'a> {
    grpc_tls: Option<&'a ServerTls>,
    http: Http<'a>,
    fields: &'static Fields,
    /// Whether clients over HTTP may share a connection.
    has_http2: bool,
}

/// How it serves HTTP.
#[derive(Clone, Copy, Debug)]
enum Http<'a> {
    Plain,
    Tls(&'a ServerTls),
    Config(&'a HttpConfig),
}

/// The fields of a workload, for messages.
#[derive(Debug)]
struct Fields {
    http_tls: &'static str,
    http_config: &'static str,
}

/// What a pod needs besides arguments.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Files {
    /// Volumes of the pod.
    pub volumes: Vec<Volume>,
    /// Where the container of Thanos has them.
    pub mounts: Vec<VolumeMount>,
    /// Annotations of the pod.
    pub annotations: Vec<(String, String)>,
}

const QUERIER: Fields = Fields { http_tls: "spec.server.httpTls", http_config: "spec.server.httpConfig" };
const FRONTEND: Fields = Fields {
    http_tls: "spec.queryFrontend.server.httpTls",
    http_config: "spec.queryFrontend.server.httpConfig",
};

const GRPC_TLS: &str = "spec.server.grpcTls";
const GRPC_MIN_VERSION: &str = "spec.server.grpcTls.minVersion";
const GRPC_CLIENT_CA: &str = "spec.server.grpcTls.clientCa";

/// The first minor release that lets one choose; before, it is 1.3.
const MIN_VERSION_SINCE: u32 = 37;

// === impl Serving ===

impl<'a> Serving<'a> {
    /// Of the queriers. A query frontend opens a connection for each query, to spread them; over HTTP/2 it shares one,
    /// and with it one querier: of 41 queries one after the other all met the same of two, and with this 20 the one and
    /// 21 the other.
    pub fn of_queriers(spec: &'a ThanosQuerySpec) -> Self {
        let server = spec.server.as_ref();
        Self {
            grpc_tls: server.and_then(|server| server.grpc_tls.as_ref()),
            http: Http::of(
                server.and_then(|server| server.http_tls.as_ref()),
                server.and_then(|server| server.http_config.as_ref()),
            ),
            fields: &QUERIER,
            has_http2: false,
        }
    }

    /// Of the query frontend.
    pub fn of_frontend(spec: &'a QueryFrontendSpec) -> Self {
        let server = spec.server.as_ref();
        Self {
            grpc_tls: None,
            http: Http::of(
                server.and_then(|server| server.http_tls.as_ref()),
                server.and_then(|server| server.http_config.as_ref()),
            ),
            fields: &FRONTEND,
            has_http2: true,
        }
    }

    /// The arguments. What cannot be one is told in `refused`.
    pub fn args(&self, version: ThanosVersion, refused: &mut Vec<String>) -> Vec<Arg> {
        let mut args = Vec::new();
        if let Some(tls) = self.grpc_tls {
            let file = |name| format!("{}/{name}", pod::GRPC_TLS_FOLDER);
            args.push(Arg::value("--grpc-server-tls-cert", file(pod::CERTIFICATE_FILE)).of(GRPC_TLS));
            args.push(Arg::value("--grpc-server-tls-key", file(pod::PRIVATE_KEY_FILE)).of(GRPC_TLS));
            if tls.client_ca.is_some() {
                let ca = file(pod::CLIENT_CA_FILE);
                args.push(Arg::value("--grpc-server-tls-client-ca", ca).of(GRPC_CLIENT_CA));
            }
            args.extend(min_version(tls, version, refused));
        }
        match self.http {
            Http::Plain => {}
            Http::Tls(_) => {
                args.extend(self.config_file().map(|f| Arg::value(HTTP_CONFIG, f).of(self.fields.http_tls)))
            }
            Http::Config(_) => {
                args.extend(
                    self.config_file().map(|f| Arg::value(HTTP_CONFIG, f).of(self.fields.http_config)),
                );
            }
        }
        args
    }

    /// What the pods need for these arguments.
    pub fn files(&self) -> Files {
        let mut files = Files::default();
        if let Some(tls) = self.grpc_tls {
            files.add(projected(pod::GRPC_TLS_VOLUME, secrets(tls)), pod::GRPC_TLS_FOLDER);
        }
        match self.http {
            Http::Plain => {}
            Http::Tls(tls) => {
                let mut sources = secrets(tls);
                sources.push(from_annotation(http_tls_file(tls)));
                files.add(projected(pod::HTTP_TLS_VOLUME, sources), pod::HTTP_TLS_FOLDER);
                let config = web_config(tls, self.has_http2);
                files.annotations.push((annotations::WEB_CONFIG.to_owned(), config));
            }
            Http::Config(config) => {
                let secret = SecretVolumeSource {
                    secret_name: Some(config.secret_name.clone()),
                    ..SecretVolumeSource::default()
                };
                let name = pod::HTTP_CONFIG_VOLUME.to_owned();
                let volume = Volume { name, secret: Some(secret), ..Volume::default() };
                files.add(volume, pod::HTTP_CONFIG_FOLDER);
            }
        }
        files
    }

    /// How HTTP is spoken with these arguments; none when only somebody who reads the file of a user knows.
    pub fn scheme(&self, args: &[String]) -> Option<Scheme> {
        match (HttpAccess::of(args), self.http) {
            (HttpAccess::Plain, _) => Some(Scheme::Http),
            (HttpAccess::Tls | HttpAccess::ClientTls, _) => Some(Scheme::Https),
            (HttpAccess::Unread, Http::Config(config)) => {
                (last(args, HTTP_CONFIG) == self.config_file().as_deref()).then_some(config.scheme)
            }
            (HttpAccess::Unread, Http::Plain | Http::Tls(_)) => None,
        }
    }

    /// The web configuration.
    fn config_file(&self) -> Option<String> {
        match self.http {
            Http::Plain => None,
            Http::Tls(tls) => Some(format!("{}/{}", pod::HTTP_TLS_FOLDER, http_tls_file(tls))),
            Http::Config(config) => Some(format!("{}/{}", pod::HTTP_CONFIG_FOLDER, config.key())),
        }
    }
}

// === impl Http ===

impl<'a> Http<'a> {
    // The API server takes only one of them.
    fn of(tls: Option<&'a ServerTls>, config: Option<&'a HttpConfig>) -> Self {
        match (tls, config) {
            (_, Some(config)) => Self::Config(config),
            (Some(tls), None) => Self::Tls(tls),
            (None, None) => Self::Plain,
        }
    }
}

// === impl Files ===

impl Files {
    /// Adds a volume, which Thanos has read-only in `folder`.
    pub fn add(&mut self, volume: Volume, folder: &str) {
        self.mounts.push(mount(&volume.name, folder, true));
        self.volumes.push(volume);
    }
}

fn min_version(tls: &ServerTls, version: ThanosVersion, refused: &mut Vec<String>) -> Option<Arg> {
    let wanted = tls.min_version?;
    if version == ThanosVersion::Unknown {
        refused.push(format!(
            "{GRPC_MIN_VERSION}: below v0.37 Thanos has no such choice, and which release runs is not known; set \
             spec.version. Until then it is left out"
        ));
        return None;
    }
    // That is what it speaks anyway.
    if !Minor::from(version).has(MIN_VERSION_SINCE) && wanted == TlsVersion::V1_3 {
        return None;
    }
    Some(Arg::value("--grpc-server-tls-min-version", wanted.as_flag()).of(GRPC_MIN_VERSION))
}

fn http_tls_file(tls: &ServerTls) -> &'static str {
    match tls.client_ca {
        None => pod::HTTP_TLS_FILE,
        Some(_) => pod::HTTP_CLIENT_TLS_FILE,
    }
}

// Paths are relative to the folder of this file. Nothing in it comes from a user as it stands.
fn web_config(tls: &ServerTls, has_http2: bool) -> String {
    let mut text = format!(
        "tls_server_config:\n  cert_file: {}\n  key_file: {}\n",
        pod::CERTIFICATE_FILE,
        pod::PRIVATE_KEY_FILE
    );
    if tls.client_ca.is_some() {
        text.push_str("  client_auth_type: RequireAndVerifyClientCert\n");
        text.push_str(&format!("  client_ca_file: {}\n", pod::CLIENT_CA_FILE));
    }
    if let Some(version) = tls.min_version {
        text.push_str(&format!("  min_version: {}\n", version.as_web_config()));
    }
    if !has_http2 {
        text.push_str("http_server_config:\n  http2: false\n");
    }
    text
}

fn secrets(tls: &ServerTls) -> Vec<VolumeProjection> {
    let ServerTls { certificate: own, client_ca, min_version: _ } = tls;
    let client_ca = client_ca.iter().map(|ca| authority(ca, pod::CLIENT_CA_FILE));
    std::iter::once(certificate(own)).chain(client_ca).collect()
}

/// A certificate and its key, as files of a projected volume.
pub fn certificate(source: &CertificateSource) -> VolumeProjection {
    let keys = [
        (source.certificate_key(), pod::CERTIFICATE_FILE),
        (source.private_key_key(), pod::PRIVATE_KEY_FILE),
    ];
    secret(&source.secret_name, &keys)
}

/// Certificates of authorities, as the file `name` of a projected volume.
pub fn authority(source: &AuthoritySource, name: &str) -> VolumeProjection {
    secret(&source.secret_name, &[(source.key(), name)])
}

fn secret(name: &str, keys: &[(&str, &str)]) -> VolumeProjection {
    let item = |(key, path): &(&str, &str)| KeyToPath {
        key: (*key).to_owned(),
        path: (*path).to_owned(),
        mode: None,
    };
    VolumeProjection {
        secret: Some(SecretProjection {
            name: name.to_owned(),
            items: Some(keys.iter().map(item).collect()),
            optional: None,
        }),
        ..VolumeProjection::default()
    }
}

fn from_annotation(file: &str) -> VolumeProjection {
    let item = DownwardAPIVolumeFile {
        path: file.to_owned(),
        field_ref: Some(ObjectFieldSelector {
            field_path: format!("metadata.annotations['{}']", annotations::WEB_CONFIG),
            ..ObjectFieldSelector::default()
        }),
        ..DownwardAPIVolumeFile::default()
    };
    VolumeProjection {
        downward_api: Some(DownwardAPIProjection { items: Some(vec![item]) }),
        ..VolumeProjection::default()
    }
}

/// A projected volume of these sources.
pub fn projected(name: &str, sources: Vec<VolumeProjection>) -> Volume {
    Volume {
        name: name.to_owned(),
        projected: Some(ProjectedVolumeSource { sources: Some(sources), ..ProjectedVolumeSource::default() }),
        ..Volume::default()
    }
}

#[cfg(test)]
mod tests;
