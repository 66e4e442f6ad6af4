//! Schemas of Kubernetes' own types inside ours: their shape without their text, which is long and speaks of other
//! objects. With it the CRD would be too large for `kubectl apply`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

/// Durations as upstream's CRD takes them.
pub const DURATION: &str = r"^(-?(0|(([0-9]+)y)?(([0-9]+)w)?(([0-9]+)d)?(([0-9]+)h)?(([0-9]+)m)?(([0-9]+)s)?(([0-9]+)ms)?)|([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})))$";

/// Sizes as upstream's CRD takes them.
pub const SIZE: &str = r"^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$";

/// The schema of `T` without its descriptions, and as lenient as Kubernetes'.
pub fn short<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = T::json_schema(generator);
    if let Some(schema) = schema.as_object_mut() {
        strip_descriptions(schema);
        default_names(schema);
    }
    schema
}

/// A label selector: one value, although a map, as upstream has it.
pub fn selector(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = short::<LabelSelector>(generator);
    schema.insert("x-kubernetes-map-type".to_owned(), json!("atomic"));
    schema
}

/// A list of ports, whose protocol is TCP where nothing else is said.
pub fn ports<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = short::<Vec<T>>(generator);
    if let Some(protocol) = schema.pointer_mut("/items/properties/protocol").and_then(Value::as_object_mut) {
        protocol.insert("default".to_owned(), json!("TCP"));
    }
    schema
}

fn strip_descriptions(schema: &mut Map<String, Value>) {
    schema.retain(|key, value| key != "description" || !value.is_string());
    schema.values_mut().filter_map(Value::as_object_mut).for_each(strip_descriptions);
}

// A reference to a ConfigMap or Secret may leave its name out: Kubernetes takes "" then. `k8s-openapi` asks for it.
fn default_names(schema: &mut Map<String, Value>) {
    if is_reference(schema)
        && let Some(name) = schema.get_mut("properties").and_then(|fields| fields.get_mut("name"))
        && let Some(name) = name.as_object_mut()
    {
        name.insert("default".to_owned(), json!(""));
    }
    schema.values_mut().filter_map(Value::as_object_mut).for_each(default_names);
}

// Only they need a name and have nothing else, or say whether the object may be missing.
fn is_reference(schema: &Map<String, Value>) -> bool {
    let Some(fields) = schema.get("properties").and_then(Value::as_object) else { return false };
    let required = schema.get("required").and_then(Value::as_array);
    let needs_name = required.is_some_and(|required| required.iter().any(|field| field == "name"));
    needs_name && (fields.len() == 1 || fields.contains_key("optional"))
}
