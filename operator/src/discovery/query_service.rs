//! Which query Service the frontend of a ThanosQuery asks: its own queriers, or those that its selector names.

use std::{collections::BTreeMap, sync::Arc};

use crds::{ThanosQuery, names::labels};

use super::{Selector, SelectorError};
use crate::{
    plan::{Names, Workload},
    watch::QueryService,
};

/// What the frontend asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueryServiceChoice {
    /// The queriers of the same ThanosQuery.
    Own,
    /// Another Service of its namespace.
    Other {
        /// Its name.
        name: String,
        /// Its port, or that of its pods when it is headless.
        http_port: u16,
    },
}

/// There is no single query Service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryServiceError {
    /// The selector cannot be understood.
    #[error(transparent)]
    Selector(#[from] SelectorError),
    /// It selects nothing.
    #[error(
        "{FIELD} selects no Service with the label {}={} in this namespace ({}); label one, or correct the selector; without it this object's own queriers are asked",
        labels::QUERY_API, labels::TRUE, there(.0)
    )]
    NoService(
        /// Query Services that are there and not selected.
        Vec<String>,
    ),
    /// It selects several.
    #[error("{FIELD} selects several query Services: {}; select one of them, for example by its label operator.thanos.io/owner", .0.join(", "))]
    Several(
        /// Their names.
        Vec<String>,
    ),
    /// Nothing tells on which port it answers.
    #[error(
        "{FIELD} selects Service {0}, which has neither a TCP port named http nor a single TCP port; name the port of its HTTP API http"
    )]
    NoPort(
        /// Its name.
        String,
    ),
}

const FIELD: &str = "spec.queryFrontend.queryLabelSelector";

/// Finds what the frontend of `query` asks. Without a frontend that is its own queriers, who answer anyone.
///
/// # Errors
/// When the selector cannot be understood, or selects nothing that can be asked, or more than one.
pub fn query_service(
    query: &ThanosQuery,
    services: &[Arc<QueryService>],
) -> Result<QueryServiceChoice, QueryServiceError> {
    let Some(selector) = selector_of(query)? else { return Ok(QueryServiceChoice::Own) };
    if selects_own(query, &selector) {
        return Ok(QueryServiceChoice::Own);
    }
    let mut unselected = Vec::new();
    // One ThanosQuery can have several Services for the same pods.
    let mut groups: BTreeMap<&str, Vec<&QueryService>> = BTreeMap::new();
    for service in services.iter().map(AsRef::as_ref) {
        // A part of the data is no answer.
        let is_shard = service.labels.contains_key(labels::SHARD_OF);
        if service.deleting || is_shard || is_own(query, service) {
            continue;
        }
        if query.metadata.namespace.as_deref() != Some(&service.namespace) {
            continue;
        }
        if selector.matches(&service.labels) {
            groups.entry(service.owner.as_ref().unwrap_or(&service.name)).or_default().push(service);
        } else {
            unselected.push(service.name.clone());
        }
    }
    let best: Vec<&QueryService> = groups.into_values().filter_map(best).collect();
    match &best[..] {
        [] => {
            unselected.sort();
            Err(QueryServiceError::NoService(unselected))
        }
        [only] => {
            let http_port = only.http_port.ok_or_else(|| QueryServiceError::NoPort(only.name.clone()))?;
            Ok(QueryServiceChoice::Other { name: only.name.clone(), http_port })
        }
        several => Err(QueryServiceError::Several(several.iter().map(|one| one.name.clone()).collect())),
    }
}

/// Whether the frontend of `query` may ask `service`, which is not its own.
pub fn may_ask(query: &ThanosQuery, service: &QueryService) -> bool {
    // Whoever has a bad selector is told so when it is reconciled.
    let Ok(Some(selector)) = selector_of(query) else { return false };
    query.metadata.namespace.as_deref() == Some(&service.namespace)
        && !is_own(query, service)
        && !selects_own(query, &selector)
}

// Of the query Service that the frontend asks; none without a frontend.
fn selector_of(query: &ThanosQuery) -> Result<Option<Selector>, SelectorError> {
    let frontend = query.spec.query_frontend.as_ref();
    frontend.map(|frontend| Selector::read(FIELD, frontend.query_label_selector.clone())).transpose()
}

// One that has an address of its own spreads the frontend's connections better than a list of pods.
fn best(services: Vec<&QueryService>) -> Option<&QueryService> {
    services.into_iter().min_by_key(|service| (service.http_port.is_none(), service.headless, &service.name))
}

// Asked of the labels that its query Service will have: it may not be there yet.
fn selects_own(query: &ThanosQuery, selector: &Selector) -> bool {
    let Ok(names) = Names::of(query) else { return false };
    selector.matches(&Workload::queriers(query, &names).labels())
}

fn is_own(query: &ThanosQuery, service: &QueryService) -> bool {
    service.owner.is_some()
        && service.owner == query.metadata.name
        && query.metadata.namespace.as_deref() == Some(&service.namespace)
}

fn there(names: &[String]) -> String {
    if names.is_empty() { "there is none".to_owned() } else { format!("there is: {}", names.join(", ")) }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;

    use super::*;

    const HTTP: &str = "clusterIP: 10.0.0.1, ports: [{name: grpc, port: 10901}, {name: http, port: 9090}]";
    const HEADLESS: &str = "clusterIP: None, ports: [{name: grpc, port: 10901}, {name: http, port: 9090}]";

    fn query(frontend: &str) -> ThanosQuery {
        serde_saphyr::from_str(&format!(
            "{{apiVersion: monitoring.thanos.io/v1alpha1, kind: ThanosQuery, \
             metadata: {{name: global, namespace: demo, labels: {{team: a}}}}, spec: {{queryFrontend: {{{frontend}}}}}}}"
        ))
        .expect("a ThanosQuery")
    }

    fn selecting(selector: &str) -> ThanosQuery {
        query(&format!("queryLabelSelector: {{{selector}}}"))
    }

    fn service(name: &str, labels: &str, spec: &str) -> Arc<QueryService> {
        let yaml = format!(
            "{{metadata: {{name: {name}, namespace: demo, labels: {{operator.thanos.io/query-api: 'true', {labels}}}}}, spec: {{{spec}}}}}"
        );
        Arc::new(serde_saphyr::from_str::<Service>(&yaml).expect("a Service").into())
    }

    fn made_for(owner: &str, name: &str, spec: &str) -> Arc<QueryService> {
        let labels =
            format!("app.kubernetes.io/managed-by: thanos-operator, operator.thanos.io/owner: {owner}");
        service(name, &labels, spec)
    }

    fn other(name: &str) -> QueryServiceChoice {
        QueryServiceChoice::Other { name: name.to_owned(), http_port: 9090 }
    }

    const OF_RED: &str = "matchLabels: {operator.thanos.io/owner: red}";
    const NOT_OWN: &str =
        "matchExpressions: [{key: operator.thanos.io/owner, operator: NotIn, values: [global]}]";

    #[test]
    fn a_selector_that_selects_its_own_queriers_asks_them_whatever_else_there_is() {
        let services = [made_for("red", "thanos-query-red", HEADLESS), service("mine", "", HTTP)];
        for selector in ["", "matchLabels: {operator.thanos.io/query-api: 'true'}", "matchLabels: {team: a}"]
        {
            let choice = query_service(&selecting(selector), &services);
            assert_eq!(choice, Ok(QueryServiceChoice::Own), "{selector}");
        }
        assert_eq!(query_service(&query(""), &services), Ok(QueryServiceChoice::Own));
    }

    #[test]
    fn of_the_services_of_one_query_the_one_with_an_address_is_asked() {
        let services = [
            made_for("global", "thanos-query-global", HEADLESS),
            made_for("red", "thanos-query-red", HEADLESS),
            made_for("red", "thanos-query-red-balanced", HTTP),
        ];
        for selector in [OF_RED, NOT_OWN] {
            assert_eq!(
                query_service(&selecting(selector), &services),
                Ok(other("thanos-query-red-balanced")),
                "{selector}"
            );
        }
        assert_eq!(query_service(&selecting(OF_RED), &services[..2]), Ok(other("thanos-query-red")));
    }

    #[test]
    fn several_are_named() {
        let services = [
            made_for("red", "thanos-query-red", HEADLESS),
            made_for("red", "thanos-query-red-balanced", HTTP),
            service("mine", "", HTTP),
        ];
        let error = query_service(&selecting(NOT_OWN), &services).expect_err("two");
        assert_eq!(
            error,
            QueryServiceError::Several(vec!["mine".into(), "thanos-query-red-balanced".into()])
        );
        let message = error.to_string();
        assert!(message.contains(FIELD) && message.contains("mine, thanos-query-red-balanced"), "{message}");
    }

    #[test]
    fn when_none_is_selected_those_that_are_there_are_named() {
        let services = [service("mine", "", HTTP), made_for("global", "thanos-query-global", HEADLESS)];
        let message = query_service(&selecting(OF_RED), &services).expect_err("none").to_string();
        assert!(message.contains(FIELD) && message.contains("there is: mine)"), "{message}");
        let message = query_service(&selecting(OF_RED), &[]).expect_err("none").to_string();
        assert!(message.contains("there is none"), "{message}");
    }

    #[test]
    fn one_that_goes_away_or_lives_elsewhere_does_not_count() {
        let mut going = QueryService::clone(&made_for("red", "a", HTTP));
        going.deleting = true;
        let mut elsewhere = QueryService::clone(&made_for("red", "b", HTTP));
        elsewhere.namespace = "other".into();
        let services = [going, elsewhere].map(Arc::new);
        assert_eq!(query_service(&selecting(OF_RED), &services), Err(QueryServiceError::NoService(vec![])));
    }

    #[test]
    fn a_service_without_a_port_to_ask_is_told() {
        let services = [service("mine", "", "ports: [{name: a, port: 1}, {name: b, port: 2}]")];
        let error = query_service(&selecting(NOT_OWN), &services).expect_err("no port");
        assert_eq!(error, QueryServiceError::NoPort("mine".into()));
    }

    #[test]
    fn a_bad_selector_names_its_own_field() {
        let selector = selecting("matchExpressions: [{key: a, operator: Like}]");
        let message = query_service(&selector, &[]).expect_err("refused").to_string();
        assert!(
            message.starts_with("spec.queryFrontend.queryLabelSelector.matchExpressions[0]"),
            "{message}"
        );
    }

    #[test]
    fn a_frontend_of_its_own_queriers_does_not_care_for_others() {
        let service = service("mine", "", HTTP);
        assert!(!may_ask(&query(""), &service));
        assert!(may_ask(&selecting(NOT_OWN), &service));
        assert!(!may_ask(&selecting(NOT_OWN), &made_for("global", "thanos-query-global", HEADLESS)));
    }
}
