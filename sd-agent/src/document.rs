//! The endpoint document: which endpoints a ThanosQuery has, neutral of any Thanos release.
//!
//! The operator writes it, every agent turns it into the file of its own pod ([`crate::render`]).

use serde::{Deserialize, Serialize};

use crate::address::{Address, Lookup};

/// All endpoints of one ThanosQuery, sorted by their file address and without duplicates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unsorted")]
pub struct Document {
    endpoints: Vec<Endpoint>,
}

/// One endpoint, in the form for a file and, for strict and group endpoints, in the form for a flag.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// As an ordinary entry of a file.
    pub file: Address,
    /// What Thanos shall do with it.
    #[serde(rename = "type")]
    pub endpoint_type: EndpointType,
    /// As the value of the flag of its type; none for a regular endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flag: Option<Address>,
}

/// The four ways in which Thanos uses an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum EndpointType {
    /// Asked while it is healthy.
    Regular,
    /// Asked always: a query warns or fails when it is down.
    Strict,
    /// One logical endpoint, balanced over the addresses behind its name.
    Group,
    /// Both.
    GroupStrict,
}

/// Why endpoints do not make a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// The same address twice: Thanos would count it as a duplicate at every tick.
    #[error("endpoint {0} is listed twice")]
    Duplicate(Address),
    /// A regular endpoint with a flag form, or another one without.
    #[error("endpoint {0}: a flag form belongs to strict and group endpoints only, and they need one")]
    Flag(Address),
    /// Thanos exits on a strict address that has a DNS prefix.
    #[error("endpoint {0}: a strict endpoint cannot have a DNS prefix")]
    StrictLookup(Address),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unsorted {
    endpoints: Vec<Endpoint>,
}

// === impl Document ===

impl Document {
    /// Sorts and checks `endpoints`.
    ///
    /// # Errors
    /// See [`DocumentError`].
    pub fn new(mut endpoints: Vec<Endpoint>) -> Result<Self, DocumentError> {
        endpoints.sort();
        if let Some(pair) = endpoints.windows(2).find(|pair| pair[0].file == pair[1].file) {
            return Err(DocumentError::Duplicate(pair[0].file.clone()));
        }
        for endpoint in &endpoints {
            match (endpoint.endpoint_type, &endpoint.flag) {
                (EndpointType::Regular, None)
                | (EndpointType::Group | EndpointType::GroupStrict, Some(_)) => {}
                (EndpointType::Strict, Some(flag)) if flag.lookup() == Lookup::None => {}
                (EndpointType::Strict, Some(flag)) => return Err(DocumentError::StrictLookup(flag.clone())),
                (EndpointType::Regular, Some(_)) | (_, None) => {
                    return Err(DocumentError::Flag(endpoint.file.clone()));
                }
            }
        }
        Ok(Self { endpoints })
    }

    /// Sorted by file address.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// What a Thanos with `flags` looks up: every address with a prefix, of its flags and of its file; sorted.
    pub fn looked_up_by(&self, flags: &[Address]) -> Vec<Address> {
        let in_file = self.endpoints.iter().filter(|endpoint| !endpoint.is_among(flags));
        let all = flags.iter().chain(in_file.map(|endpoint| &endpoint.file));
        let mut names: Vec<Address> = all.filter(|address| address.is_looked_up()).cloned().collect();
        names.sort();
        names.dedup();
        names
    }

    /// Every address that some Thanos may look up, as a flag or in a file.
    pub fn looked_up(&self) -> impl Iterator<Item = &Address> {
        let forms = self.endpoints.iter().flat_map(|endpoint| endpoint.flag.iter().chain([&endpoint.file]));
        forms.filter(|address| address.is_looked_up())
    }

    /// The text that goes into the ConfigMap: JSON, one endpoint a line, ending in a newline.
    pub fn to_json(&self) -> String {
        let mut text = String::from("{\"endpoints\":[");
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            text.push_str(if index == 0 { "\n" } else { ",\n" });
            // Plain strings and enums: this cannot fail, and an empty object would be refused by every reader.
            text.push_str(&serde_json::to_string(endpoint).unwrap_or_else(|_| "{}".to_owned()));
        }
        text.push_str("\n]}\n");
        text
    }
}

impl TryFrom<Unsorted> for Document {
    type Error = DocumentError;

    fn try_from(unsorted: Unsorted) -> Result<Self, DocumentError> {
        Self::new(unsorted.endpoints)
    }
}

// === impl Endpoint ===

impl Endpoint {
    /// A regular endpoint.
    pub fn regular(file: Address) -> Self {
        Self { file, endpoint_type: EndpointType::Regular, flag: None }
    }

    /// A strict or group endpoint.
    pub fn flagged(endpoint_type: EndpointType, file: Address, flag: Address) -> Self {
        Self { file, endpoint_type, flag: Some(flag) }
    }

    /// Whether one of `flags` (what a pod's Thanos was started with) names this endpoint already.
    pub fn is_among(&self, flags: &[Address]) -> bool {
        flags.iter().any(|flag| self.flag.as_ref() == Some(flag) || self.file.covers(flag))
    }
}

/// Whether a text holds nothing but white space and comments. Thanos would take it for "no endpoints".
pub fn says_nothing(text: &[u8]) -> bool {
    text.split(|byte| matches!(byte, b'\n' | b'\r'))
        .map(<[u8]>::trim_ascii)
        .all(|line| matches!(line, [] | [b'#', ..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regular(text: &str) -> Endpoint {
        Endpoint::regular(text.parse().expect(text))
    }

    #[test]
    fn a_document_is_sorted_and_reads_back_as_it_was_written() {
        let strict = Endpoint::flagged(
            EndpointType::Strict,
            "b.ns.svc:80".parse().expect("address"),
            "b.ns.svc:80".parse().expect("address"),
        );
        let document =
            Document::new(vec![regular("c.ns.svc:1"), strict, regular("a.ns.svc:1")]).expect("valid");
        let text = document.to_json();
        assert_eq!(
            text,
            "{\"endpoints\":[\n{\"file\":\"a.ns.svc:1\",\"type\":\"Regular\"},\n{\"file\":\"b.ns.svc:80\",\"type\":\"Strict\",\"flag\":\"b.ns.svc:80\"},\n{\"file\":\"c.ns.svc:1\",\"type\":\"Regular\"}\n]}\n"
        );
        assert_eq!(serde_json::from_str::<Document>(&text).expect("reads back"), document);
    }

    #[test]
    fn what_is_looked_up_has_a_prefix_and_depends_on_the_flags_of_the_pod() {
        let address = |text: &str| text.parse::<Address>().expect("address");
        let (file, flag) = (address("g.ns.svc:80"), address("dns+g.ns.svc:80"));
        let group = Endpoint::flagged(EndpointType::Group, file, flag.clone());
        let headless = "dnssrv+_grpc._tcp.h.ns.svc";
        let document = Document::new(vec![group, regular("a.ns.svc:1"), regular(headless)]).expect("valid");
        assert_eq!(document.looked_up_by(&[]), [address(headless)]);
        assert_eq!(document.looked_up_by(std::slice::from_ref(&flag)), [flag, address(headless)]);
        assert_eq!(document.looked_up().count(), 2);
        assert_eq!(Document::new(vec![regular("a.ns.svc:1")]).expect("valid").looked_up().count(), 0);
    }

    #[test]
    fn an_empty_document_reads_back() {
        let text = Document::default().to_json();
        assert_eq!(serde_json::from_str::<Document>(&text).expect("reads back"), Document::default());
    }

    #[test]
    fn documents_that_thanos_would_refuse_cannot_be_made() {
        let refused = |text: &str| assert!(serde_json::from_str::<Document>(text).is_err(), "{text}");
        refused(r#"{"endpoints":[{"file":"a:1","type":"Regular"},{"file":"a:1","type":"Regular"}]}"#);
        refused(r#"{"endpoints":[{"file":"a:1","type":"Strict","flag":"dns+a:1"}]}"#);
        refused(r#"{"endpoints":[{"file":"a:1","type":"Strict"}]}"#);
        refused(r#"{"endpoints":[{"file":"a:1","type":"Regular","flag":"a:1"}]}"#);
        refused(r#"{"endpoints":[{"file":"a","type":"Regular"}]}"#);
        refused(r#"{"endpoint":[]}"#);
        refused(r#"{"endpoints":[],"more":1}"#);
        refused(r#"{}"#);
    }
}
