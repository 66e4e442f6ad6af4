//! A spec that was read from the API is the same when it is written to another object and read back: a shard is compared
//! so with what its root says.

use std::fs;

use crds::ThanosQuerySpec;
use serde_json::{Value, json};

const EVERYTHING: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/samples/thanosquery-everything.yaml");

/// Adds the defaults of `schema` to `value`, as an API server does.
fn add_defaults(schema: &Value, value: &mut Value) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let Some(fields) = value.as_object_mut() else { return };
        if let Some(default) = property.get("default").filter(|_| !fields.contains_key(name)) {
            fields.insert(name.clone(), default.clone());
        }
        if let Some(field) = fields.get_mut(name) {
            add_defaults(property, field);
        }
    }
    for item in value.as_array_mut().into_iter().flatten() {
        add_defaults(&schema["items"], item);
    }
}

#[test]
fn defaults_are_added_where_a_field_is_missing() {
    let schema = json!({"properties": {"a": {"default": 1}, "b": {"default": {}, "properties": {"c": {"default": 2}}},
        "d": {"items": {"properties": {"e": {"default": 3}}}}}});
    let mut value = json!({"a": 7, "d": [{}]});
    add_defaults(&schema, &mut value);
    assert_eq!(value, json!({"a": 7, "b": {"c": 2}, "d": [{"e": 3}]}));
}

#[test]
fn a_spec_is_read_back_as_it_was_written() {
    let crd = serde_json::to_value(&crds::all()[0]).expect("JSON");
    let schema = crd.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec").expect("a schema");
    let text = fs::read_to_string(EVERYTHING).expect("the sample");
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).expect("YAML");
    for mut spec in [json!({}), json!({"queryFrontend": {}}), documents[0]["spec"].clone()] {
        add_defaults(schema, &mut spec);
        let wanted: ThanosQuerySpec = serde_json::from_value(spec).expect("a spec");
        let mut there = json!(wanted);
        add_defaults(schema, &mut there);
        let read: ThanosQuerySpec = serde_json::from_value(there.clone()).expect("readable");
        assert_eq!(read, wanted, "{there:#}");
    }
}
