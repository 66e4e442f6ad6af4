//! What `kubectl explain` prints: every field of ours says to its user what it is for.

use serde_json::{Map, Value};

// Fields whose content is a type of Kubernetes; `kubectl explain pod.spec` and its like describe that.
const KUBERNETES: [&str; 21] = [
    "additionalContainers",
    "additionalEnv",
    "additionalPorts",
    "additionalServicePorts",
    "additionalVolumeMounts",
    "additionalVolumes",
    "affinity",
    "customStoreLabelSelector",
    "dnsConfig",
    "externalCacheConfig",
    "hostAliases",
    "imagePullSecrets",
    "initContainers",
    "matchExpressions",
    "queryLabelSelector",
    "resourceRequirements",
    "resources",
    "securityContext",
    "tolerations",
    "topologySpreadConstraints",
    "conditions",
];

#[test]
fn every_field_of_ours_is_described_for_its_user() {
    let mut described = vec![];
    describe("thanosquery", &root(), &mut described);
    assert!(described.len() > 100, "{}", described.len());
    let wrong: Vec<_> = described
        .iter()
        .filter(|(_, text)| !text.ends_with('.') || text.contains(['`', '\n', '[']) || speaks_of_code(text))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_value_that_can_be_chosen_is_named_in_the_description() {
    let mut chosen = vec![];
    choices("thanosquery", &root(), &mut chosen);
    assert!(chosen.len() > 5, "{chosen:?}");
    for (path, text, value) in chosen {
        assert!(text.contains(&value), "{path}: {value} is not in {text:?}");
    }
}

// Words of those who write the operator.
fn speaks_of_code(text: &str) -> bool {
    ["TODO", "FIXME", "upstream", "serde", "schema", "Rust", "::", "Vec<", "Option<"]
        .iter()
        .any(|word| text.contains(word))
}

fn root() -> Value {
    let crd = serde_json::to_value(&crds::all()[0]).expect("JSON");
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

// Every field and its description, an empty one where there is none; not into Kubernetes' types.
fn describe(path: &str, schema: &Value, found: &mut Vec<(String, String)>) {
    found.push((path.to_owned(), text(schema)));
    let leaf = path.rsplit('.').next().unwrap_or(path);
    if KUBERNETES.contains(&leaf) {
        return;
    }
    for (field, inner) in fields(schema) {
        describe(&format!("{path}.{field}"), inner, found);
    }
    for (field, inner) in schema.get("items").into_iter().flat_map(fields) {
        describe(&format!("{path}.{field}"), inner, found);
    }
}

fn choices(path: &str, schema: &Value, found: &mut Vec<(String, String, String)>) {
    for value in schema.get("enum").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    {
        found.push((path.to_owned(), text(schema), value.to_owned()));
    }
    for (field, inner) in fields(schema) {
        choices(&format!("{path}.{field}"), inner, found);
    }
}

fn fields(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema.get("properties").and_then(Value::as_object).into_iter().flat_map(Map::iter)
}

fn text(schema: &Value) -> String {
    schema.get("description").and_then(Value::as_str).unwrap_or_default().to_owned()
}
