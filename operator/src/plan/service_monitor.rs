//! The ServiceMonitor of prometheus-operator: only the fields that are written. The kind is optional; whether a
//! cluster has it is told by [`crate::watch::OptionalKind`].

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use serde::{Deserialize, Serialize};

/// What Prometheus scrapes.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[kube(
    group = "monitoring.coreos.com",
    version = "v1",
    kind = "ServiceMonitor",
    plural = "servicemonitors",
    namespaced,
    derive = "PartialEq",
    schema = "disabled",
    doc = "Has Prometheus scrape the pods behind Services."
)]
#[serde(rename_all = "camelCase")]
pub struct ServiceMonitorSpec {
    /// Which Services.
    #[serde(default)]
    pub selector: LabelSelector,
    /// In which namespaces; none: its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<NamespaceSelector>,
    /// Which of their ports, and how.
    #[serde(default)]
    pub endpoints: Vec<ScrapedPort>,
}

/// Namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceSelector {
    /// By name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub match_names: Option<Vec<String>>,
}

/// A port that is scraped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScrapedPort {
    /// Name of the Service's port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// Where metrics are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// How often; none: as Prometheus is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<String>,
    /// When a scrape is given up; none: as Prometheus is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scrape_timeout: Option<String>,
    /// `https`; none: `http`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// How TLS is spoken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_config: Option<ScrapeTls>,
}

/// How Prometheus speaks TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScrapeTls {
    /// Who has to have signed the server's certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<TlsFile>,
    /// The certificate to show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert: Option<TlsFile>,
    /// Its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_secret: Option<KeyOfSecret>,
    /// The name that the server's certificate has to be for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Whether the server's certificate is not checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub insecure_skip_verify: Option<bool>,
}

/// Where a file of TLS comes from; others than Secrets are not written here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct TlsFile {
    /// A key of a Secret.
    #[serde(default)]
    pub secret: KeyOfSecret,
}

/// A key of a Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct KeyOfSecret {
    /// Name of the Secret.
    #[serde(default)]
    pub name: String,
    /// The key.
    #[serde(default)]
    pub key: String,
}

#[cfg(test)]
mod tests {
    use serde_json::{json, to_value};

    use super::*;

    #[test]
    fn what_is_not_set_is_not_written() {
        let spec = ServiceMonitorSpec {
            endpoints: vec![ScrapedPort { port: Some("http".into()), ..ScrapedPort::default() }],
            ..ServiceMonitorSpec::default()
        };
        assert_eq!(
            to_value(ServiceMonitor::new("a", spec)).expect("JSON"),
            json!({
                "apiVersion": "monitoring.coreos.com/v1",
                "kind": "ServiceMonitor",
                "metadata": {"name": "a"},
                "spec": {"selector": {}, "endpoints": [{"port": "http"}]},
            })
        );
    }

    #[test]
    fn one_that_others_wrote_is_read() {
        let yaml = "{apiVersion: monitoring.coreos.com/v1, kind: ServiceMonitor, metadata: {name: a}, spec: {
            jobLabel: x, selector: {matchLabels: {a: b}}, namespaceSelector: {any: true, matchNames: [demo]},
            endpoints: [{targetPort: 80, scheme: https}, {port: http, interval: 30s, scrapeTimeout: 10s}]}}";
        let monitor: ServiceMonitor = serde_saphyr::from_str(yaml).expect("a ServiceMonitor");
        assert_eq!(monitor.spec.endpoints[1].scrape_timeout.as_deref(), Some("10s"));
        let namespaces = monitor.spec.namespace_selector.and_then(|namespaces| namespaces.match_names);
        assert_eq!(namespaces.as_deref(), Some(&["demo".to_owned()][..]));
    }
}
