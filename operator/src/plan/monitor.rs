//! The ServiceMonitor of either workload.

use std::collections::BTreeMap;

use crds::{
    common_fields::ServiceMonitorOptions,
    names::pod,
    server::{ClientTls, Scheme},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::{
    Workload,
    service_monitor::{
        KeyOfSecret, NamespaceSelector, ScrapeTls, ScrapedPort, ServiceMonitor, ServiceMonitorSpec, TlsFile,
    },
};

/// What is said about the ServiceMonitor.
#[derive(Clone, Debug)]
pub enum Monitor {
    /// There shall be one.
    Wanted(Box<ServiceMonitor>),
    /// There shall be none.
    Unwanted,
    /// Nothing: one that this operator made goes, one of upstream's stays, for its users rely on it.
    Unsaid,
}

/// The path of Thanos' metrics, at the root whatever the route prefix is.
const METRICS: &str = "/metrics";

/// What `workload` says, which speaks HTTP by `scheme`, if anybody knows.
pub fn monitor(workload: &Workload<'_>, scheme: Option<Scheme>) -> Monitor {
    match &workload.common.service_monitor {
        None => Monitor::Unsaid,
        Some(options) if !options.enabled => Monitor::Unwanted,
        Some(options) => Monitor::Wanted(Box::new(service_monitor(workload, options, scheme))),
    }
}

fn service_monitor(
    workload: &Workload<'_>,
    options: &ServiceMonitorOptions,
    scheme: Option<Scheme>,
) -> ServiceMonitor {
    let ServiceMonitorOptions { enabled: _, labels, interval, scrape_timeout, tls } = options;
    let is_https = match scheme {
        Some(scheme) => scheme == Scheme::Https,
        None => tls.is_some(),
    };
    let mut metadata = workload.object_meta(workload.name());
    let all = metadata.labels.get_or_insert_with(BTreeMap::new);
    all.extend(labels.clone().unwrap_or_default());
    all.extend(workload.selector());
    ServiceMonitor {
        metadata,
        spec: ServiceMonitorSpec {
            selector: LabelSelector { match_labels: Some(workload.selector()), ..LabelSelector::default() },
            namespace_selector: Some(NamespaceSelector {
                match_names: Some(vec![workload.names.namespace.clone()]),
            }),
            endpoints: vec![ScrapedPort {
                port: Some(pod::HTTP_PORT_NAME.to_owned()),
                path: Some(METRICS.to_owned()),
                interval: interval.clone(),
                scrape_timeout: scrape_timeout.clone(),
                scheme: is_https.then(|| Scheme::Https.as_str().to_owned()),
                tls_config: is_https.then(|| scrape_tls(workload, tls.as_ref())),
            }],
        },
    }
}

// Prometheus dials addresses, which few certificates are for.
fn scrape_tls(workload: &Workload<'_>, tls: Option<&ClientTls>) -> ScrapeTls {
    let nothing = ClientTls::default();
    let ClientTls { ca, certificate, server_name, insecure_skip_verify } = tls.unwrap_or(&nothing);
    let key = |name: &str, key: &str| KeyOfSecret { name: name.to_owned(), key: key.to_owned() };
    let own_name = || format!("{}.{}.svc", workload.name(), workload.names.namespace);
    ScrapeTls {
        ca: ca.as_ref().map(|ca| TlsFile { secret: key(&ca.secret_name, ca.key()) }),
        cert: certificate
            .as_ref()
            .map(|own| TlsFile { secret: key(&own.secret_name, own.certificate_key()) }),
        key_secret: certificate.as_ref().map(|own| key(&own.secret_name, own.private_key_key())),
        server_name: Some(server_name.clone().unwrap_or_else(own_name)),
        insecure_skip_verify: *insecure_skip_verify,
    }
}

#[cfg(test)]
mod tests {
    use crds::ThanosQuery;
    use serde_json::{Value, json};

    use super::*;
    use crate::plan::Names;

    fn scraped(options: &str, scheme: Option<Scheme>) -> Value {
        let yaml = format!(
            "{{apiVersion: monitoring.thanos.io/v1alpha1, kind: ThanosQuery, metadata: {{name: global, namespace: demo}}, spec: {{serviceMonitor: {{{options}}}}}}}"
        );
        let query: ThanosQuery = serde_saphyr::from_str(&yaml).expect("a ThanosQuery");
        let names = Names::of(&query).expect("valid");
        let Monitor::Wanted(monitor) = monitor(&Workload::queriers(&query, &names), scheme) else {
            unreachable!("one is asked for")
        };
        json!(monitor.spec.endpoints[0])
    }

    #[test]
    fn prometheus_asks_as_the_pods_speak() {
        assert_eq!(scraped("", Some(Scheme::Http)), json!({"port": "http", "path": "/metrics"}));
        let https = scraped("", Some(Scheme::Https));
        assert_eq!(https["scheme"], "https");
        assert_eq!(https["tlsConfig"], json!({"serverName": "thanos-query-global.demo.svc"}));
    }

    #[test]
    fn what_is_said_about_tls_is_passed_on_and_tells_the_scheme_where_nobody_knows_it() {
        let tls = "tls: {ca: {secretName: a}, certificate: {secretName: b}, serverName: c, insecureSkipVerify: true}";
        let https = scraped(tls, None);
        assert_eq!(https["scheme"], "https");
        assert_eq!(
            https["tlsConfig"],
            json!({
                "ca": {"secret": {"name": "a", "key": "ca.crt"}},
                "cert": {"secret": {"name": "b", "key": "tls.crt"}},
                "keySecret": {"name": "b", "key": "tls.key"},
                "serverName": "c",
                "insecureSkipVerify": true,
            })
        );
        assert_eq!(scraped("", None).get("scheme"), None);
        assert_eq!(scraped(tls, Some(Scheme::Http)).get("tlsConfig"), None);
    }
}
