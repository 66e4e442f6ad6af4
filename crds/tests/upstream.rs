//! Our CRD against the table of upstream's API: everything that upstream's takes, ours takes, and understands the same.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

const TABLE: &str = include_str!("upstream/thanosquery.yaml");
const RULES: &str = "x-kubernetes-validations";

// What may make a schema refuse a value, besides types, enums and what is required.
const LIMITS: [&str; 14] = [
    "pattern",
    "format",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "uniqueItems",
];
// Here ours is one that any of upstream's patterns and limits passes.
const LENIENT: &str = "status.conditions";

#[test]
fn every_field_of_upstream_is_there_and_means_the_same() {
    let mut found = vec![];
    for (path, theirs) in upstream() {
        compare(&path, &theirs, &ours(&path), &mut found);
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_table_has_as_many_fields_as_upstream() {
    let counts: Vec<usize> =
        upstream().iter().map(|(_, schema)| schema["properties"].as_object().map_or(0, Map::len)).collect();
    assert_eq!(counts, [24 + 8, 24 + 10, 4]);
}

#[test]
fn an_object_without_a_spec_gets_every_default() {
    assert_eq!(ours("spec")["default"], serde_json::json!({}));
}

#[test]
fn what_is_required_in_a_field_of_ours_stands_in_ours_only() {
    let spec = ours("spec");
    assert_eq!(spec.get("required"), None);
    assert_eq!(spec["properties"]["queryFrontend"].get("required"), None);
    assert_eq!(ours("status").get("required"), None);
}

// A rule that a stored object breaks blocks every write of it, also of its status.
#[test]
fn rules_stand_only_on_fields_that_upstream_does_not_have() {
    let mut ruled = vec![];
    rules("", &root(), &mut ruled);
    assert!(!ruled.is_empty(), "no rule at all");
    for path in ruled {
        // The innermost section, and the field of it that the rule is in.
        let inner = upstream().into_iter().rev().find_map(|(section, schema)| {
            let field = path.strip_prefix(&format!(".{section}."))?.split('.').next()?.to_owned();
            Some((schema, field))
        });
        let (schema, field) = inner.unwrap_or_else(|| (Value::Null, String::new()));
        assert!(schema.is_object() && schema["properties"].get(&field).is_none(), "a rule at {path}");
    }
}

fn root() -> Value {
    let crd = serde_json::to_value(&crds::all()[0]).expect("JSON");
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

fn ours(path: &str) -> Value {
    path.split('.').fold(root(), |schema, field| schema["properties"][field].clone())
}

// The sections of the table by where they stand in ours; inner ones last.
fn upstream() -> Vec<(String, Value)> {
    let mut table: Map<String, Value> = serde_saphyr::from_str(TABLE).expect("the table");
    let common = table["common"].as_object().expect("common fields").clone();
    for section in ["spec", "queryFrontend"] {
        table[section]["properties"].as_object_mut().expect("fields").extend(common.clone());
    }
    ["spec", "queryFrontend", "status"]
        .into_iter()
        .map(|section| {
            let path = if section == "queryFrontend" { "spec.queryFrontend" } else { section };
            (path.to_owned(), table.remove(section).expect(section))
        })
        .collect()
}

fn compare(path: &str, theirs: &Value, ours: &Value, found: &mut Vec<String>) {
    if !ours.is_object() {
        found.push(format!("{path}: missing"));
        return;
    }
    let lenient = path.starts_with(LENIENT);
    for key in ["type", "default", "x-kubernetes-int-or-string", "x-kubernetes-map-type"] {
        if theirs.get(key) != ours.get(key) && !(path == "spec" && key == "default") {
            found.push(format!("{path}: {key} is {:?}, upstream's {:?}", ours.get(key), theirs.get(key)));
        }
    }
    for key in LIMITS {
        let same = number_or_value(theirs.get(key)) == number_or_value(ours.get(key));
        // An `int` of upstream has no format; ours say that they have 32 bits.
        let integer = key == "format" && theirs.get(key).is_none();
        let left_out = lenient && ours.get(key).is_none();
        if !(same || integer || left_out) {
            found.push(format!("{path}: {key} is {:?}, upstream's {:?}", ours.get(key), theirs.get(key)));
        }
    }
    match (values(theirs, "enum"), values(ours, "enum")) {
        (Some(theirs), Some(ours)) if theirs == ours => {}
        (Some(_), None) if lenient => {}
        (None, None) => {}
        (theirs, ours) => found.push(format!("{path}: enum is {ours:?}, upstream's {theirs:?}")),
    }
    let defaulted = |field: &str| ours["properties"][field].get("default").is_some();
    let theirs_required = values(theirs, "required").unwrap_or_default();
    for field in values(ours, "required").unwrap_or_default() {
        if !theirs_required.contains(&field) && !defaulted(&field) {
            found.push(format!("{path}: {field} is required"));
        }
    }
    for key in ["items", "additionalProperties"] {
        if let Some(theirs) = theirs.get(key) {
            compare(&format!("{path}[]"), theirs, &ours[key], found);
        }
    }
    for (field, theirs) in theirs.get("properties").and_then(Value::as_object).into_iter().flatten() {
        compare(&format!("{path}.{field}"), theirs, &ours["properties"][field], found);
    }
}

// 1 and 1.0 are one number.
fn number_or_value(value: Option<&Value>) -> Option<String> {
    value.map(|value| value.as_f64().map_or_else(|| value.to_string(), |number| number.to_string()))
}

// As a set. `null` belongs to `nullable`, which upstream's has nowhere.
fn values(schema: &Value, key: &str) -> Option<BTreeSet<String>> {
    let all = schema.get(key)?.as_array()?;
    Some(all.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

fn rules(path: &str, schema: &Value, found: &mut Vec<String>) {
    if schema.get(RULES).is_some() {
        found.push(path.to_owned());
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get(key) {
            rules(&format!("{path}[]"), inner, found);
        }
    }
    for (field, inner) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        rules(&format!("{path}.{field}"), inner, found);
    }
}
