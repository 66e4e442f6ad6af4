//! `spec.server`, `spec.queryFrontend.server` and what clients of TLS servers need. Upstream has nothing of it, so rules
//! with messages of our own may stand here.
//!
//! A `///` here is what `kubectl explain` prints. Defaults of keys are no defaults of the schema: they would be written
//! into every object.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the queriers serve. Without this they speak gRPC and HTTP in plain text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!(has(self.httpTls) && has(self.httpConfig))",
    "message": "set httpTls or httpConfig, not both: the file of httpConfig says everything about HTTP"
}]))]
pub struct QuerierServer {
    /// TLS for gRPC, where other queriers ask this one. A renewed certificate is served without a restart; a new
    /// clientCa is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc_tls: Option<ServerTls>,

    /// TLS for everything over HTTP: web interface, API, metrics and probes. A renewed certificate and a new clientCa
    /// are served without a restart. While this is switched on or off the pods are replaced one at a time, and clients
    /// meet both kinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_tls: Option<ServerTls>,

    /// Instead of httpTls: a web configuration file of Prometheus' exporter-toolkit, for passwords and whatever else it
    /// knows (--http.config). A query frontend cannot send a password of its own: see the README.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_config: Option<HttpConfig>,
}

/// How the query frontend serves. Without this it speaks HTTP in plain text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!(has(self.httpTls) && has(self.httpConfig))",
    "message": "set httpTls or httpConfig, not both: the file of httpConfig says everything about HTTP"
}]))]
pub struct FrontendServer {
    /// TLS for everything over HTTP: API, metrics and probes. A renewed certificate and a new clientCa are served
    /// without a restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_tls: Option<ServerTls>,

    /// Instead of httpTls: a web configuration file of Prometheus' exporter-toolkit, for passwords and whatever else it
    /// knows (--http.config).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_config: Option<HttpConfig>,
}

/// TLS of a server.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerTls {
    /// Certificate and key of the server.
    pub certificate: CertificateSource,

    /// The authority whose certificates clients have to show. Without this they need none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<AuthoritySource>,

    /// Oldest version of TLS that is spoken, TLS12 or TLS13. Default: TLS13 for gRPC, TLS12 for HTTP. gRPC below Thanos
    /// v0.37 speaks TLS13 only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_version: Option<TlsVersion>,
}

/// How somebody asks a server that speaks TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientTls {
    /// The authority that the server's certificate is checked against. Default: the authorities in the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<AuthoritySource>,

    /// Certificate and key to show to a server that asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateSource>,

    /// The name that the server's certificate has to be for. Default: the name that is dialled; for Prometheus, which
    /// dials addresses, SERVICE.NAMESPACE.svc.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = [{
        "rule": "self.matches('^[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?$')",
        "message": "a host name of letters, digits, - and ."
    }]))]
    pub server_name: Option<String>,

    /// Do not check the server's certificate at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub insecure_skip_verify: Option<bool>,
}

/// A certificate and its key in a Secret of this namespace, such as one of type kubernetes.io/tls. The operator does not
/// read it: it is mounted into the pods.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CertificateSource {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: String,

    /// Key with the certificate and what leads from it to its authority. Default: tls.crt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub certificate_key: Option<String>,

    /// Key with the private key. Default: tls.key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub private_key_key: Option<String>,
}

/// Certificates of authorities in a Secret of this namespace. The operator does not read it: it is mounted into the pods.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuthoritySource {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: String,

    /// Key with the certificates. Default: ca.crt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub key: Option<String>,
}

/// A web configuration file in a Secret of this namespace. The operator does not read it: the whole Secret is mounted
/// into the pods, so other keys of it are files beside this one (cert_file: tls.crt).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpConfig {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: String,

    /// Key with the file. Default: web-config.yaml.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = [{
        "rule": "self.matches('^[-_A-Za-z0-9][-._A-Za-z0-9]*$')",
        "message": "a key of letters, digits, -, _ and ., which does not begin with ."
    }]))]
    pub key: Option<String>,

    /// HTTPS when the file has a tls_server_config, else HTTP. The operator cannot see it, and the query frontend and
    /// Prometheus have to be told how to ask.
    pub scheme: Scheme,
}

/// How HTTP is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs)] // a doc on a variant changes the schema and is not shown by `kubectl explain`
pub enum Scheme {
    Http,
    Https,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[allow(missing_docs)] // a doc on a variant changes the schema and is not shown by `kubectl explain`
pub enum TlsVersion {
    #[serde(rename = "TLS12")]
    V1_2,
    #[serde(rename = "TLS13")]
    V1_3,
}

// === impl CertificateSource ===

impl CertificateSource {
    /// Key with the certificate.
    pub fn certificate_key(&self) -> &str {
        self.certificate_key.as_deref().unwrap_or("tls.crt")
    }

    /// Key with the private key.
    pub fn private_key_key(&self) -> &str {
        self.private_key_key.as_deref().unwrap_or("tls.key")
    }
}

// === impl AuthoritySource ===

impl AuthoritySource {
    /// Key with the certificates.
    pub fn key(&self) -> &str {
        self.key.as_deref().unwrap_or("ca.crt")
    }
}

// === impl HttpConfig ===

impl HttpConfig {
    /// Key with the file.
    pub fn key(&self) -> &str {
        self.key.as_deref().unwrap_or("web-config.yaml")
    }
}

// === impl Scheme ===

impl Scheme {
    /// As it stands in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

// === impl TlsVersion ===

impl TlsVersion {
    /// As Thanos' flags take it.
    pub fn as_flag(self) -> &'static str {
        match self {
            Self::V1_2 => "1.2",
            Self::V1_3 => "1.3",
        }
    }

    /// As a web configuration file takes it.
    pub fn as_web_config(self) -> &'static str {
        match self {
            Self::V1_2 => "TLS12",
            Self::V1_3 => "TLS13",
        }
    }
}
