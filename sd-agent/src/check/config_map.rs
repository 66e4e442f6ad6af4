//! The operator's document, alone or in a ConfigMap as `kubectl get -o yaml` or `-o json` prints it.

use k8s_openapi::ByteString;

use super::{
    Found,
    problem::{Position, Problems},
    sd_file::SdFile,
    tree::{self, Field, Node},
};
use crate::{
    Address, Document, Payload, ThanosVersion,
    address::Lookup,
    document::{EndpointType, says_nothing},
    log::chain,
    payload::{DOCUMENT_KEY, DOCUMENT_LIMIT, GZIP_KEY, META_KEY, Refusal, sha256_hex},
    render::render,
    validate,
};

/// Key of the file that the kubelet gives to Thanos where there is no agent.
const FILE_KEY: &str = "endpoints.yaml";
const REFUSED: &str = "every agent refuses it and keeps the file it has";
const ANEW: &str = "do not edit it: the operator writes it anew when the key is removed";

/// The document itself, of which `root` is the tree.
pub fn document(text: &str, root: &Node, version: Option<ThanosVersion>, problems: &mut Problems) -> Found {
    let mut found = Found::new("endpoints.json");
    let before = problems.count();
    only_known(root, &["endpoints"], problems);
    let mut seen = std::collections::HashMap::new();
    for entry in root.get("endpoints").and_then(Node::sequence).unwrap_or_default() {
        found.endpoints += 1;
        endpoint(entry, &mut found, problems);
        if let Some(file) = entry.get("file")
            && let Some(address) = file.text()
            && let Some(first) = seen.insert(address, file.at)
        {
            let message = format!("{address} is there twice, first in line {}", first.line);
            problems.add(file.at, message, "remove one");
        }
    }
    // Whatever the tree did not show, the agent's own reader and writer have the last word.
    match serde_json::from_str::<Document>(text) {
        Err(error) if problems.count() == before => {
            let message = format!("the document cannot be read: {error}");
            problems.add(Position::of_json(text, &error), message, REFUSED);
        }
        Err(_) => {}
        Ok(document) => {
            let version = version.unwrap_or(ThanosVersion::new(0, 42, 0));
            let file = render(&document, version, &[]).text;
            if let Err(error) = validate::rendered(&file, version) {
                problems.add(
                    root.at,
                    format!("the file made from it is not valid: {}", chain(&error)),
                    REFUSED,
                );
            }
        }
    }
    if text.len() > DOCUMENT_LIMIT {
        let message = format!("the document has {} bytes, the limit is {DOCUMENT_LIMIT}", text.len());
        problems.add(root.at, message, "split the stores over several ThanosQuery objects");
    }
    found
}

/// A ConfigMap, or a list of objects with one in it.
pub fn manifest(root: &Node, version: Option<ThanosVersion>, problems: &mut Problems) -> Found {
    if root.get("kind").and_then(Node::text).is_some_and(|kind| kind.ends_with("List")) {
        let items = root.get("items").and_then(Node::sequence).unwrap_or_default();
        let mut found = Found::new("ConfigMap");
        let mut is_there = false;
        for item in items.iter().filter(|item| field(item, "data", META_KEY).is_some()) {
            found.add(&manifest(item, version, problems));
            is_there = true;
        }
        if !is_there {
            let message = format!("a list without a ConfigMap that has the key {META_KEY}");
            problems.add(root.at, message, "name the ConfigMap: kubectl get configmap NAME -o yaml");
        }
        return found;
    }
    let found = payload_of(root, version, problems);
    // Where there is no agent, the kubelet gives Thanos this one.
    if let Some(file) = field(root, "data", FILE_KEY) {
        match file.value.text().filter(|text| !says_nothing(text.as_bytes())) {
            Some(text) => {
                let mut inner = Problems::default();
                if let Some(root) = tree::read(text, &mut inner) {
                    SdFile::any(&root, version, &mut inner);
                }
                problems.add_within(file.at, FILE_KEY, inner);
            }
            None => problems.add_about(file.at, FILE_KEY, "says nothing: Thanos drops every endpoint", ANEW),
        }
    }
    found
}

/// What the operator writes for agents.
fn payload_of(root: &Node, version: Option<ThanosVersion>, problems: &mut Problems) -> Found {
    let mut found = Found::new("ConfigMap");
    let mut payload = Payload::default();
    for key in [META_KEY, DOCUMENT_KEY] {
        if let Some(value) = field(root, "data", key) {
            match value.value.text() {
                Some(text) => drop(payload.data.insert(key.to_owned(), text.to_owned())),
                None => {
                    problems.add_about(value.at, key, format!("is {}, not a text", value.value.kind()), ANEW)
                }
            }
        }
    }
    if let Some(value) = field(root, "binaryData", GZIP_KEY) {
        let text = value.value.text().unwrap_or_default();
        match serde_json::from_value::<ByteString>(serde_json::Value::from(text)) {
            Ok(ByteString(bytes)) => drop(payload.binary_data.insert(GZIP_KEY.to_owned(), bytes)),
            Err(error) => problems.add_about(value.at, GZIP_KEY, format!("is no Base64: {error}"), ANEW),
        }
    }
    let place = |key: &str| {
        field(root, "data", key).or_else(|| field(root, "binaryData", key)).map_or(root.at, |field| field.at)
    };
    let before = problems.count();
    let meta = payload.meta().map_err(|refusal| refused(place(META_KEY), META_KEY, &refusal, problems)).ok();
    let key = if payload.data.contains_key(DOCUMENT_KEY) || !payload.binary_data.contains_key(GZIP_KEY) {
        DOCUMENT_KEY
    } else {
        GZIP_KEY
    };
    let at = place(key);
    let bytes = match payload.document_text(meta.as_ref().map_or(0, |meta| meta.bytes)) {
        Ok(bytes) => bytes,
        Err(refusal) => {
            refused(at, key, &refusal, problems);
            return found;
        }
    };
    let mut mismatch = |what: &str, says: String, is: String| {
        problems.add_about(at, key, format!("{what} is {is}, {META_KEY} says {says}: {REFUSED}"), ANEW);
    };
    if let Some(meta) = &meta {
        if meta.bytes != bytes.len() {
            mismatch("its length", meta.bytes.to_string(), bytes.len().to_string());
        }
        if meta.sha256 != sha256_hex(&bytes) {
            mismatch("its SHA-256", meta.sha256.clone(), sha256_hex(&bytes));
        }
    }
    match std::str::from_utf8(&bytes) {
        Err(error) => problems.add_about(at, key, format!("is no UTF-8: {error}"), ANEW),
        Ok(text) => {
            let mut inner = Problems::default();
            if let Some(root) = tree::read(text, &mut inner) {
                found = Found { format: "ConfigMap", ..document(text, &root, version, &mut inner) };
            }
            problems.add_within(at, key, inner);
        }
    }
    if problems.count() == before
        && let Err(refusal) = payload.unpack()
    {
        refused(at, key, &refusal, problems);
    }
    found
}

fn endpoint(entry: &Node, found: &mut Found, problems: &mut Problems) {
    if entry.mapping().is_none() {
        return problems.add(entry.at, format!("{} where an endpoint belongs", entry.kind()), REFUSED);
    }
    only_known(entry, &["file", "type", "flag"], problems);
    let mut address = |key: &str| {
        let node = entry.get(key)?;
        match node.text().map(str::parse::<Address>) {
            Some(Ok(address)) => return Some((node.at, address)),
            Some(Err(error)) => problems.add(node.at, error.to_string(), "write [prefix+]host:port"),
            None => problems.add(node.at, format!("{key} is {}", node.kind()), "write an address in quotes"),
        }
        None
    };
    let (file, flag) = (address("file"), address("flag"));
    if entry.get("file").is_none() {
        problems.add(entry.at, "no key \"file\"", "add the address as it stands in a file");
    }
    found.looked_up += usize::from(file.is_some_and(|(_, file)| file.is_looked_up()));
    let types = "one of Regular, Strict, Group, GroupStrict";
    let Some(kind) = entry.get("type") else {
        return problems.add(entry.at, "no key \"type\"", format!("add {types}"));
    };
    let name = serde_json::Value::from(kind.text().unwrap_or_default());
    let Ok(endpoint_type) = serde_json::from_value::<EndpointType>(name) else {
        return problems.add(
            kind.at,
            format!("type {:?} is unknown", kind.text().unwrap_or_default()),
            types,
        );
    };
    found.strict += usize::from(matches!(endpoint_type, EndpointType::Strict | EndpointType::GroupStrict));
    found.group += usize::from(matches!(endpoint_type, EndpointType::Group | EndpointType::GroupStrict));
    match (endpoint_type, entry.get("flag"), flag) {
        (EndpointType::Regular, Some(node), _) => {
            problems.add(node.at, "a regular endpoint has a flag form", "remove flag");
        }
        (EndpointType::Strict, _, Some((at, flag))) if flag.lookup() != Lookup::None => {
            problems.add(
                at,
                format!("{flag}: a strict endpoint cannot have a DNS prefix"),
                "write the plain host:port",
            );
        }
        (EndpointType::Regular, None, _) | (_, Some(_), _) => {}
        (_, None, _) => {
            problems.add(
                entry.at,
                "no key \"flag\": strict and group endpoints need one",
                "add the address as it stands in the flag",
            );
        }
    }
}

fn refused(at: Position, key: &str, refusal: &Refusal, problems: &mut Problems) {
    let remedy = match refusal {
        Refusal::Missing(_) => "the operator writes it; is this the ConfigMap of a ThanosQuery?",
        Refusal::Size { .. } => "split the stores over several ThanosQuery objects",
        Refusal::NotMeantEmpty => "set emptyOk in meta.json if no endpoints are meant",
        Refusal::Format(_) => "give operator and agents the same version",
        _ => ANEW,
    };
    problems.add_about(at, key, format!("{}: {REFUSED}", chain(refusal)), remedy);
}

fn only_known(node: &Node, known: &[&str], problems: &mut Problems) {
    for field in node.mapping().unwrap_or_default() {
        if !known.contains(&field.key.as_str()) {
            let remedy = format!("known here: {}", known.join(", "));
            problems.add(field.at, format!("unknown key {:?}: {REFUSED}", field.key), remedy);
        }
    }
}

fn field<'a>(root: &'a Node, outer: &str, key: &str) -> Option<&'a Field> {
    root.get(outer)?.mapping()?.iter().find(|field| field.key == key)
}
