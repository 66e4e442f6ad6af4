//! The ThanosQuery API, and every name that the operator, its manifests and its tests share.

pub mod common_fields;
pub mod distributed;
pub mod endpoint_tls;
pub mod names;
pub mod query_frontend;
mod schema;
pub mod server;
pub mod service_discovery;
pub mod tenancy;
pub mod thanos_query;
pub mod thanos_query_status;
mod yaml;

pub use thanos_query::{ThanosQuery, ThanosQuerySpec};
pub use thanos_query_status::ThanosQueryStatus;
pub use yaml::{Error as YamlError, to_yaml};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{CustomResourceDefinition, JSON};
use kube::CustomResourceExt;
use serde_json::{Value, json};

/// Every CRD of the project. [`to_yaml`] writes them.
pub fn all() -> Vec<CustomResourceDefinition> {
    vec![flowing(with_optional_spec(ThanosQuery::crd()))]
}

// As upstream has it: an object may leave `spec` out, and gets all defaults.
fn with_optional_spec(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        let root = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut());
        if let Some(spec) = root.and_then(|root| root.properties.as_mut()?.get_mut("spec")) {
            spec.default = Some(JSON(json!({})));
        }
    }
    crd
}

// Our lines end where the source is wide enough; `kubectl explain` keeps such ends and then wraps again.
fn flowing(crd: CustomResourceDefinition) -> CustomResourceDefinition {
    let flowed = serde_json::to_value(&crd).map(|mut value| {
        flow(&mut value);
        value
    });
    flowed.and_then(serde_json::from_value).unwrap_or(crd)
}

fn flow(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                match field {
                    Value::String(text) if key == "description" => *text = text.replace('\n', " "),
                    _ => flow(field),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(flow),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_flow_over_line_ends() {
        let text = serde_json::to_string(&all()).expect("JSON");
        let description = "Thanos looks at its endpoints again: its DNS interval and, from v0.38, its Info interval, so a store";
        assert!(text.contains(description), "{text}");
    }

    #[test]
    fn the_columns_are_those_that_people_look_for() {
        let crd = &all()[0];
        let columns = crd.spec.versions[0].additional_printer_columns.as_ref().expect("columns");
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, ["Ready", "Mode", "Replicas", "Endpoints", "Synced", "Version", "Age"]);
        assert_eq!(crd.spec.names.short_names.as_deref(), Some(&["tq".to_owned()][..]));
    }

    #[test]
    fn what_a_user_leaves_out_has_the_default_that_the_schema_states() {
        let spec: ThanosQuerySpec = serde_json::from_str("{}").expect("a spec");
        assert_eq!(spec.replicas, 1);
        assert_eq!(spec.replica_labels, ["replica"]);
        assert_eq!(spec.service_discovery.refresh_interval, "5s");
        assert!(spec.service_discovery.agent.enabled);
        let partly: ThanosQuerySpec =
            serde_json::from_str(r#"{"serviceDiscovery":{"mode":"Flags"}}"#).expect("a spec");
        assert_eq!(partly.service_discovery.refresh_interval, "5s");
    }
}
