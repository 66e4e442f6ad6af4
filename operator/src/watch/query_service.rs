//! Services that answer queries, of any operator: what a query frontend can ask.

use std::collections::BTreeMap;

use crds::names::{labels, pod};
use k8s_openapi::{
    api::core::v1::{Service, ServicePort},
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::{Api, runtime::watcher};

use super::{Change, Indices, Look, Row, Scope, Told, feed};

/// A Service with the label `operator.thanos.io/query-api=true`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryService {
    /// Where it lives.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// All its labels; selectors may ask for any.
    pub labels: BTreeMap<String, String>,
    /// Whether it has no address of its own, only those of its pods.
    pub headless: bool,
    /// The port to ask: the TCP port named `http`, else the only one. Of a headless Service that of the pods: nobody
    /// translates it.
    pub http_port: Option<u16>,
    /// The ThanosQuery that it was made for.
    pub owner: Option<String>,
    /// Whether it is being deleted.
    pub deleting: bool,
}

// === impl QueryService ===

impl From<Service> for QueryService {
    fn from(service: Service) -> Self {
        let metadata = service.metadata;
        let spec = service.spec.unwrap_or_default();
        let labels = metadata.labels.unwrap_or_default();
        let headless = spec.cluster_ip.as_deref() == Some("None");
        let is_made = labels.get(labels::MANAGED_BY).is_some_and(|by| by == labels::OPERATOR);
        Self {
            namespace: metadata.namespace.unwrap_or_default(),
            name: metadata.name.unwrap_or_default(),
            headless,
            http_port: http_port(headless, &spec.ports.unwrap_or_default()),
            owner: labels.get(labels::OWNER).filter(|_| is_made).cloned(),
            deleting: metadata.deletion_timestamp.is_some(),
            labels,
        }
    }
}

impl Row for QueryService {
    fn namespace(&self) -> &str {
        &self.namespace
    }

    fn name(&self) -> &str {
        &self.name
    }
}

fn http_port(headless: bool, ports: &[ServicePort]) -> Option<u16> {
    let tcp: Vec<&ServicePort> = ports
        .iter()
        .filter(|port| port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP"))
        .collect();
    let named = tcp.iter().find(|port| port.name.as_deref() == Some(pod::HTTP_PORT_NAME));
    let port = named.or(if let [only] = &tcp[..] { Some(only) } else { None })?;
    let number = match &port.target_port {
        Some(IntOrString::Int(target)) if headless => *target,
        _ => port.port,
    };
    u16::try_from(number).ok()
}

// === impl Indices ===

impl Indices {
    /// Whether the list is complete that the frontend of a ThanosQuery of `namespace` needs.
    pub fn query_services_complete_for(&self, namespace: &str) -> bool {
        self.query_services.read().is_complete_for(namespace)
    }
}

/// Keeps `Indices::query_services` for ever. A change makes the ThanosQuery objects look whose frontend may ask the
/// Service before or after it.
pub async fn watch_query_services(api: Api<Service>, scope: Scope, indices: Indices, look: Look) {
    let config = watcher::Config::default().labels(&format!("{}={}", labels::QUERY_API, labels::TRUE));
    let look_at_askers = |changes: &[Change<QueryService>]| {
        for query in changes.iter().flat_map(|change| look.wakes().asking(change)) {
            look.at(&query);
        }
    };
    let tell = |news: Told<QueryService>| match news {
        Told::Changes(changes) | Told::Listed { changes, first: false } => look_at_askers(&changes),
        // Who has a frontend waits for this.
        Told::Listed { first: true, .. } => look.wakes().with_frontend(&scope),
        Told::Failed | Told::Refused => {}
    };
    feed::<Service, QueryService>(api, config, scope.clone(), indices.query_services.clone(), tell).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(yaml: &str) -> QueryService {
        serde_saphyr::from_str::<Service>(yaml).expect("a Service").into()
    }

    fn port(spec: &str) -> Option<u16> {
        parsed(&format!("{{metadata: {{name: a}}, spec: {{{spec}}}}}")).http_port
    }

    #[test]
    fn the_port_is_the_one_named_http_else_the_only_one() {
        assert_eq!(port("ports: [{name: grpc, port: 10901}, {name: http, port: 9090}]"), Some(9090));
        assert_eq!(port("ports: [{name: web, port: 80}]"), Some(80));
        assert_eq!(port("ports: [{name: web, port: 80}, {name: dns, port: 53, protocol: UDP}]"), Some(80));
        assert_eq!(port("ports: [{name: web, port: 80}, {name: grpc, port: 10901}]"), None);
        assert_eq!(port(""), None);
    }

    #[test]
    fn a_headless_service_is_asked_at_the_port_of_its_pods() {
        assert_eq!(port("clusterIP: None, ports: [{name: http, port: 80, targetPort: 9090}]"), Some(9090));
        assert_eq!(port("clusterIP: None, ports: [{name: http, port: 80, targetPort: http}]"), Some(80));
        assert_eq!(port("clusterIP: 10.0.0.1, ports: [{name: http, port: 80, targetPort: 9090}]"), Some(80));
    }

    #[test]
    fn only_what_an_operator_made_has_an_owner() {
        let owner = "operator.thanos.io/owner: global";
        let by_hand = parsed(&format!("{{metadata: {{name: a, labels: {{{owner}}}}}}}"));
        assert_eq!(by_hand.owner, None);
        let made = parsed(&format!(
            "{{metadata: {{name: a, labels: {{{owner}, app.kubernetes.io/managed-by: thanos-operator}}}}}}"
        ));
        assert_eq!(made.owner.as_deref(), Some("global"));
    }
}
