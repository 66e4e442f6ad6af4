//! The CRDs as text for people. Kubernetes' own types are most of a CRD and nobody reads them there; as blocks they
//! would bury our fields and make the file too large for `kubectl apply`. Each is one line.

use serde::{Serialize, Serializer, ser::Error as _};
use serde_json::{Map, Value};
use serde_saphyr::FlowMap;

// What a schema may hold that is a schema again.
const SCHEMAS: [&str; 3] = ["additionalProperties", "items", "properties"];

/// Failed to write YAML.
pub type Error = serde_saphyr::ser::Error;

// A value, and whether it is written as a block or on one line.
#[derive(Serialize)]
#[serde(untagged)]
enum Node {
    #[serde(serialize_with = "as_map")]
    Block(Vec<(String, Self)>),
    List(Vec<Self>),
    Line(FlowMap<Map<String, Value>>),
    Scalar(Value),
}

/// Every CRD as YAML, as `thanos-operator crd` prints them and `manifests/crd.yaml` holds them.
pub fn to_yaml() -> Result<String, Error> {
    let texts = crate::all().into_iter().enumerate().map(|(index, crd)| {
        let value = serde_json::to_value(&crd).map_err(Error::custom)?;
        let text = serde_saphyr::to_string(&Node::new("", value))?;
        Ok(if index == 0 { text } else { format!("---\n{text}") })
    });
    texts.collect()
}

// === impl Node ===

impl Node {
    fn new(key: &str, value: Value) -> Self {
        match value {
            Value::Object(fields) if SCHEMAS.contains(&key) && !describes(&fields) => {
                Self::Line(FlowMap(fields))
            }
            Value::Object(fields) => Self::block(fields),
            Value::Array(items) => Self::List(items.into_iter().map(|item| Self::new("", item)).collect()),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Self::Scalar(value),
        }
    }

    // What a field is for stands before what it looks like.
    fn block(fields: Map<String, Value>) -> Self {
        let nodes = fields.into_iter().map(|(key, field)| {
            let node = Self::new(&key, field);
            (key, node)
        });
        let (mut first, rest): (Vec<_>, Vec<_>) =
            nodes.partition(|(key, node)| key == "description" && matches!(node, Self::Scalar(_)));
        first.extend(rest);
        Self::Block(first)
    }
}

fn as_map<S: Serializer>(fields: &[(String, Node)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(fields.iter().map(|(key, node)| (key, node)))
}

// Ours say what they are for; Kubernetes' own come without their text (see `schema`).
fn describes(fields: &Map<String, Value>) -> bool {
    fields.iter().any(|(key, field)| match field {
        Value::Object(fields) => describes(fields),
        Value::String(_) => key == "description",
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_the_crd() {
        let read: Vec<Value> =
            serde_saphyr::from_multiple(&to_yaml().expect("YAML")).expect("what was written");
        let made: Vec<Value> =
            crate::all().iter().map(|crd| serde_json::to_value(crd).expect("JSON")).collect();
        assert_eq!(read, made);
    }

    // The API server takes 256 KiB of annotations, and client-side apply puts the object as JSON into one.
    #[test]
    fn the_text_is_short_and_client_side_apply_can_hold_it() {
        let text = to_yaml().expect("YAML");
        assert!(text.len() < 200_000, "{} bytes", text.len());
        for crd in crate::all() {
            let json = serde_json::to_string(&crd).expect("JSON");
            assert!(json.len() < 256 * 1024, "{} bytes", json.len());
        }
    }

    #[test]
    fn every_field_of_ours_has_its_own_lines() {
        let text = to_yaml().expect("YAML");
        let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
        let mut written: Vec<&str> = lines
            .windows(2)
            .filter(|pair| pair[1].starts_with("description: "))
            .filter_map(|pair| pair[0].strip_suffix(':'))
            .collect();
        let made: Vec<Value> =
            crate::all().iter().map(|crd| serde_json::to_value(crd).expect("JSON")).collect();
        let mut fields = vec![];
        made.iter().for_each(|value| described(value, &mut fields));
        written.sort_unstable();
        fields.sort_unstable();
        assert_eq!(written, fields);
        assert!(fields.len() > 100 && fields.contains(&"refreshInterval"), "{fields:?}");
    }

    #[test]
    fn a_type_of_kubernetes_is_one_line() {
        let text = to_yaml().expect("YAML");
        let affinity = text.lines().skip_while(|line| line.trim() != "affinity:").nth(2).expect("its schema");
        assert!(affinity.trim_start().starts_with("properties: {nodeAffinity: {properties: "), "{affinity}");
        assert!(affinity.contains("podAntiAffinity"), "{affinity}");
    }

    // Names of everything that has a description.
    fn described<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        if let Value::Array(items) = value {
            items.iter().for_each(|item| described(item, found));
        }
        for (name, field) in value.as_object().into_iter().flatten() {
            if field.get("description").is_some_and(Value::is_string) {
                found.push(name);
            }
            described(field, found);
        }
    }
}
