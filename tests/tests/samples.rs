//! The sample that shows every field really shows every field, and lacks nothing that it refers to.

use std::{collections::BTreeSet, fs};

use crds::ThanosQuery;
use serde_json::{Map, Value};

const EVERYTHING: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/samples/thanosquery-everything.yaml");

/// Fields of which the API server takes only one.
const ALTERNATIVES: [[&str; 2]; 2] = [["httpTls", "httpConfig"], ["header", "certificateField"]];

fn documents() -> Vec<Value> {
    let text = fs::read_to_string(EVERYTHING).expect("the sample");
    serde_saphyr::from_multiple(&text).expect("YAML")
}

fn spec() -> Value {
    documents().swap_remove(0)["spec"].take()
}

/// The schema of `spec` as the API server gets it.
fn schema() -> Value {
    let crd = serde_json::to_value(&crds::all()[0]).expect("JSON");
    let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";
    crd.pointer(path).expect("a schema of spec").clone()
}

#[test]
fn the_kitchen_sink_sets_every_field_and_no_other() {
    let mut problems = Vec::new();
    compare("spec", &schema(), &spec(), &mut problems);
    assert!(problems.is_empty(), "manifests/samples/thanosquery-everything.yaml: {problems:#?}");
}

/// Fields of Kubernetes' own types are not ours to show: they carry no text.
fn is_ours(properties: &Map<String, Value>) -> bool {
    properties.values().any(|property| property.get("description").is_some())
}

fn compare(path: &str, schema: &Value, sample: &Value, problems: &mut Vec<String>) {
    let Some(properties) = schema["properties"].as_object().filter(|properties| is_ours(properties)) else {
        return;
    };
    let Some(set) = sample.as_object() else {
        problems.push(format!("{path} is no object"));
        return;
    };
    let has_other = |name: &str| {
        let pair = ALTERNATIVES.iter().find(|pair| pair.contains(&name));
        pair.is_some_and(|pair| pair.iter().any(|other| set.contains_key(*other)))
    };
    for (name, property) in properties {
        match set.get(name) {
            Some(value) => compare(&format!("{path}.{name}"), property, value, problems),
            None if has_other(name) => {}
            None => problems.push(format!("{path}.{name} is not set")),
        }
    }
    let unknown = set.keys().filter(|name| !properties.contains_key(*name));
    problems.extend(unknown.map(|name| format!("{path}.{name} is no field")));
}

#[test]
fn the_walk_over_the_schema_reaches_the_fields_of_the_frontend_and_of_the_agent() {
    let mut problems = Vec::new();
    let sample = serde_json::json!({"queryFrontend": {}, "serviceDiscovery": {"agent": {}, "wrong": 1}});
    compare("spec", &schema(), &sample, &mut problems);
    for wanted in [
        "spec.replicas is not set",
        "spec.queryFrontend.compressResponses is not set",
        "spec.serviceDiscovery.agent.image is not set",
        "spec.serviceDiscovery.wrong is no field",
    ] {
        assert!(problems.iter().any(|problem| problem == wanted), "{wanted}: {problems:#?}");
    }
}

#[test]
fn the_kitchen_sink_can_be_read_and_has_what_it_refers_to() {
    let query: ThanosQuery = serde_json::from_value(documents().swap_remove(0)).expect("a ThanosQuery");
    let have: BTreeSet<(String, String)> = documents()
        .iter()
        .map(|document| (text(&document["kind"]), text(&document["metadata"]["name"])))
        .collect();
    let frontend = query.spec.query_frontend.expect("a frontend");
    for common in [&query.spec.common, &frontend.common] {
        let mut wanted: Vec<(&str, String)> = Vec::new();
        wanted.extend(common.config_maps.iter().flatten().map(|name| ("ConfigMap", name.clone())));
        wanted.extend(common.secrets.iter().flatten().map(|name| ("Secret", name.clone())));
        let registries = common.image_pull_secrets.iter().flatten();
        wanted.extend(registries.map(|secret| ("Secret", secret.name.clone())));
        wanted.extend(common.priority_class_name.iter().map(|name| ("PriorityClass", name.clone())));
        for (kind, name) in wanted {
            assert!(have.contains(&(kind.to_owned(), name.clone())), "no {kind} {name}");
        }
    }
    let cache = frontend.query_range_response_cache_config.and_then(|cache| cache.external_cache_config);
    assert!(have.contains(&("Secret".to_owned(), cache.expect("a cache").name)));
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}
