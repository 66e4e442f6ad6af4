//! The ConfigMap on the wire: the few fields that the agent uses, whether alone or in a watch event.
//!
//! A typed `ConfigMap` would copy every key, label and managed field; here the rest is skipped while parsing.

use k8s_openapi::ByteString;
use serde::{Deserialize, Serialize};

use crate::payload::{DOCUMENT_KEY, GZIP_KEY, META_KEY, Payload};

/// The largest object that is read, in bytes: the 1 MiB of a ConfigMap, doubled by escapes, and its metadata.
pub const OBJECT_LIMIT: usize = 4 * 1024 * 1024;

/// A ConfigMap, or the `Status` that an API server sends in its place.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Object {
    /// Name and version.
    #[serde(default)]
    pub metadata: Metadata,
    /// The payload.
    #[serde(default)]
    pub data: Option<Data>,
    /// The payload, gzipped.
    #[serde(default)]
    pub binary_data: Option<BinaryData>,
    /// HTTP status code of a `Status`.
    #[serde(default)]
    pub code: Option<u16>,
    /// Text of a `Status`.
    #[serde(default)]
    pub message: Option<String>,
    /// Details of a `Status`.
    #[serde(default)]
    pub details: Option<Details>,
}

/// The metadata that the agent uses.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// To tell a ConfigMap from something else.
    #[serde(default)]
    pub name: String,
    /// Where to continue watching.
    #[serde(default)]
    pub resource_version: String,
}

/// The text keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Data {
    /// [`META_KEY`].
    #[serde(rename = "meta.json", default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<String>,
    /// [`DOCUMENT_KEY`].
    #[serde(rename = "endpoints.json", default, skip_serializing_if = "Option::is_none")]
    pub document: Option<String>,
}

/// The binary key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BinaryData {
    /// [`GZIP_KEY`].
    #[serde(rename = "endpoints.json.gz", default, skip_serializing_if = "Option::is_none")]
    pub gzip: Option<ByteString>,
}

/// What a `Status` adds.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Details {
    /// How long to stay away.
    #[serde(default)]
    pub retry_after_seconds: Option<u64>,
}

/// One line of a watch.
#[derive(Debug, Deserialize)]
pub struct Event {
    /// What happened.
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// To what.
    pub object: Object,
}

/// What a line of a watch says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum EventKind {
    /// The object is there.
    Added,
    /// The object changed.
    Modified,
    /// The object is gone.
    Deleted,
    /// Nothing happened up to this resourceVersion.
    Bookmark,
    /// The watch failed, although its HTTP status said 200.
    Error,
    /// Something of a later Kubernetes.
    #[serde(other)]
    Unknown,
}

// === impl Object ===

impl Object {
    /// The keys that the agent reads.
    pub fn into_payload(self) -> Payload {
        payload(self.data.unwrap_or_default(), self.binary_data.unwrap_or_default())
    }
}

/// The same keys, from the parts.
pub fn payload(data: Data, binary_data: BinaryData) -> Payload {
    let mut payload = Payload::default();
    let texts = [(META_KEY, data.meta), (DOCUMENT_KEY, data.document)];
    payload.data.extend(texts.into_iter().filter_map(|(key, text)| Some((key.to_owned(), text?))));
    payload.binary_data.extend(binary_data.gzip.map(|ByteString(bytes)| (GZIP_KEY.to_owned(), bytes)));
    payload
}

/// And back.
pub fn parts(payload: &Payload) -> (Data, BinaryData) {
    let text = |key: &str| payload.data.get(key).cloned();
    (
        Data { meta: text(META_KEY), document: text(DOCUMENT_KEY) },
        BinaryData { gzip: payload.binary_data.get(GZIP_KEY).cloned().map(ByteString) },
    )
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{Document, Endpoint};

    fn packed(count: usize) -> Payload {
        let endpoint = |at| Endpoint::regular(format!("store-{at}.demo.svc:10901").parse().expect("address"));
        let document = Document::new((0..count).map(endpoint).collect()).expect("valid");
        Payload::pack(&document, "uid", 7, Timestamp::UNIX_EPOCH).expect("fits")
    }

    #[test]
    fn a_payload_survives_the_wire_plain_and_gzipped() {
        for count in [0, 3, 2000] {
            let payload = packed(count);
            let (data, binary) = parts(&payload);
            let text = serde_json::json!({
                "kind": "ConfigMap", "apiVersion": "v1",
                "metadata": {"name": "a", "resourceVersion": "12", "managedFields": [{"x": 1}]},
                "data": data, "binaryData": binary,
            })
            .to_string();
            let object: Object = serde_json::from_str(&text).expect("an object");
            assert_eq!(object.metadata.resource_version, "12");
            assert_eq!(object.into_payload(), payload);
        }
    }

    #[test]
    fn an_error_event_carries_its_code_and_how_long_to_wait() {
        let line = r#"{"type":"ERROR","object":{"kind":"Status","metadata":{},"code":504,"message":"Too large resource version","details":{"retryAfterSeconds":1}}}"#;
        let event: Event = serde_json::from_str(line).expect("an event");
        assert_eq!((event.kind, event.object.code), (EventKind::Error, Some(504)));
        assert_eq!(event.object.details.and_then(|details| details.retry_after_seconds), Some(1));
    }

    #[test]
    fn other_keys_and_other_events_do_no_harm() {
        let line =
            r#"{"type":"NEWKIND","object":{"metadata":{"name":"a"},"data":{"x":"y"},"binaryData":null}}"#;
        let event: Event = serde_json::from_str(line).expect("an event");
        assert_eq!(event.kind, EventKind::Unknown);
        assert_eq!(event.object.into_payload(), Payload::default());
    }
}
