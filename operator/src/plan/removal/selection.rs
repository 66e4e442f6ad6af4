//! What a spec says about which Services are selected, as a hash: when it changes, what vanishes is meant to.

use crds::ThanosQuery;
use serde_json::json;

use crate::plan::inputs::template_hash;

/// The hash of what `query` says about which Services are selected, and as what they are written. Endpoints that are
/// no Services and the guard itself are not of it.
pub fn selection_hash(query: &ThanosQuery) -> String {
    let (spec, discovery) = (&query.spec, &query.spec.service_discovery);
    template_hash(&json!({
        "customStoreLabelSelector": spec.custom_store_label_selector,
        "mode": discovery.mode,
        "namespaceSelector": discovery.namespace_selector,
        "ownerSelector": discovery.owner_selector,
        "resolve": discovery.resolve,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_selects_services_changes_the_hash() {
        let hash = |spec: &str| {
            let yaml = format!(
                "{{apiVersion: monitoring.thanos.io/v1alpha1, kind: ThanosQuery, metadata: {{name: a}}, spec: {{{spec}}}}}"
            );
            selection_hash(&serde_saphyr::from_str(&yaml).expect("a ThanosQuery"))
        };
        let plain = hash("");
        for spec in [
            "replicas: 3",
            "logLevel: debug",
            "serviceDiscovery: {mode: File, resolve: DNS, refreshInterval: 6s, removalGuard: {holdFor: 1m}}",
            "serviceDiscovery: {additionalEndpoints: [{address: 'a:1'}]}",
        ] {
            assert_eq!(hash(spec), plain, "{spec}");
        }
        for spec in [
            "customStoreLabelSelector: {matchLabels: {a: b}}",
            "serviceDiscovery: {mode: Flags}",
            "serviceDiscovery: {resolve: EndpointSlice}",
            "serviceDiscovery: {namespaceSelector: {any: true}}",
            "serviceDiscovery: {ownerSelector: {kinds: [StatefulSet]}}",
        ] {
            assert_ne!(hash(spec), plain, "{spec}");
        }
    }
}
