//! `spec.serviceDiscovery.tls` and its like: how Thanos connects to StoreAPIs over TLS. Upstream has nothing of it, so
//! rules with messages of our own may stand here.
//!
//! A `///` here is what `kubectl explain` prints.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// TLS towards StoreAPI endpoints. Secrets and ConfigMaps are mounted into the queriers and never read by the operator.
/// Thanos notices new content by itself, within about a minute.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndpointTls {
    /// The authorities that may have signed the certificate of an endpoint. Default: those of the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<Authorities>,

    /// What Thanos shows of itself, where an endpoint asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<ClientCertificate>,

    /// The name that the certificate of an endpoint must have. Default: NAME.NAMESPACE.svc for a headless Service and
    /// for a group; for all others the host of the address, which for a Service of the cluster is
    /// NAME.NAMESPACE.svc.cluster.local.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = [{
        "rule": "self.matches('^[A-Za-z0-9]([-A-Za-z0-9_]*[A-Za-z0-9])?([.][A-Za-z0-9]([-A-Za-z0-9_]*[A-Za-z0-9])?)*$')",
        "message": "a host name, without a port"
    }]))]
    pub server_name: Option<String>,

    /// The lowest version of TLS that Thanos speaks: 1.0, 1.1, 1.2 or 1.3.
    #[serde(default)]
    pub min_version: MinTlsVersion,

    /// Take any certificate, and whoever answers. Only for a try.
    #[serde(default)]
    pub insecure_skip_verify: bool,

    /// Queriers start only when every Secret and ConfigMap named here is there, and keep what they have when one is
    /// deleted. Without this they start, and Thanos leaves out the endpoints whose files are missing, also the strict
    /// ones.
    #[serde(default)]
    pub required: bool,
}

/// Settings that Services choose by the annotation operator.thanos.io/tls.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TlsProfile {
    /// What the annotation says. Not off, which stands for no TLS.
    #[schemars(length(min = 1, max = 40), extend("x-kubernetes-validations" = [{
        "rule": "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$') && self != 'off'",
        "message": "a name of a-z, 0-9 and -, which begins and ends with a letter or digit, and is not off"
    }]))]
    pub name: String,

    /// The settings.
    #[serde(flatten)]
    pub tls: EndpointTls,
}

/// TLS towards one endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!self.disabled || !(has(self.ca) || has(self.certificate) || has(self.serverName) || self.insecureSkipVerify)",
    "message": "disabled: true stands alone"
}]))]
pub struct AdditionalEndpointTls {
    /// Without TLS, whatever spec.serviceDiscovery.tls says.
    #[serde(default)]
    pub disabled: bool,

    /// The settings.
    #[serde(flatten)]
    pub tls: EndpointTls,
}

/// Where certificates of authorities are: in a Secret or ConfigMap of the namespace of the ThanosQuery.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Authorities {
    /// Whether it is a Secret or a ConfigMap.
    #[serde(default)]
    pub kind: AuthoritiesKind,

    /// Its name.
    #[schemars(length(min = 1, max = 253), pattern(r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,

    /// Key of the certificates in it.
    #[serde(default = "ca_crt")]
    #[schemars(length(min = 1, max = 253), pattern(r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

/// What has certificates of authorities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[allow(missing_docs)] // a doc on a variant changes the schema and is not shown by `kubectl explain`
pub enum AuthoritiesKind {
    #[default]
    Secret,
    ConfigMap,
}

/// A certificate and its key, in a Secret of type kubernetes.io/tls of the namespace of the ThanosQuery.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientCertificate {
    /// Name of the Secret; it has the keys tls.crt and tls.key.
    #[schemars(length(min = 1, max = 253), pattern(r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub secret_name: String,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[allow(missing_docs)] // a doc on a variant changes the schema and is not shown by `kubectl explain`
pub enum MinTlsVersion {
    #[serde(rename = "1.0")]
    Tls10,
    #[serde(rename = "1.1")]
    Tls11,
    #[default]
    #[serde(rename = "1.2")]
    Tls12,
    #[serde(rename = "1.3")]
    Tls13,
}

fn ca_crt() -> String {
    "ca.crt".to_owned()
}
