//! The endpoint document: which endpoints a ThanosQuery has, neutral of any Thanos release.
//!
//! The operator writes it, every agent turns it into the file of its own pod ([`crate::render`]).

use std::{borrow::Cow, sync::LazyLock};

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use crate::{
    address::{Address, Lookup},
    in_file::{ClientTls, InFile, InFileError, spelt},
};

/// The newest format of an entry that this reader knows; see `needs` of [`Endpoint`].
pub const ENTRY_FORMAT: u32 = 2;
/// The format in which an entry may have TLS settings of its own.
const FORMAT_WITH_TLS: u32 = 2;

/// All endpoints of one ThanosQuery, sorted by their file address and without duplicates.
///
/// Entries of a format that is too new for this reader are counted and not kept: the others are used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Unsorted")]
pub struct Document {
    endpoints: Vec<Endpoint>,
    too_new: usize,
}

/// One endpoint, in the form for a file and, for strict and group endpoints, in the form for a flag.
///
/// A reader skips the fields that it does not know: a newer operator adds only such as may be missed, or says by
/// its `needs` that they may not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// As an ordinary entry of a file.
    pub file: Address,
    /// What Thanos shall do with it.
    #[serde(rename = "type")]
    pub endpoint_type: EndpointType,
    /// As the value of the flag of its type; none for a regular endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flag: Option<Address>,
    /// What its entry in a file says besides the address, where the release of Thanos can say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    in_file: Option<Box<InFile>>,
    /// The format that a reader has to know to use this entry at all.
    #[serde(default = "oldest", skip_serializing_if = "is_oldest")]
    needs: u32,
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
    /// Thanos refuses what the entry says besides, or cannot use it.
    #[error("endpoint {address}: {source}")]
    InFile {
        /// Which.
        address: Address,
        /// What is wrong.
        #[source]
        source: InFileError,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unsorted {
    endpoints: Vec<Entry>,
}

/// An entry is looked at only when it is not too new.
struct Entry(Option<Endpoint>);

fn oldest() -> u32 {
    1
}

fn is_oldest(format: &u32) -> bool {
    *format == oldest()
}

// === impl Document ===

impl Document {
    /// Sorts and checks `endpoints`.
    ///
    /// # Errors
    /// See [`DocumentError`].
    pub fn new(endpoints: Vec<Endpoint>) -> Result<Self, DocumentError> {
        Self::with(endpoints, 0)
    }

    fn with(mut endpoints: Vec<Endpoint>, too_new: usize) -> Result<Self, DocumentError> {
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
            endpoint.check_in_file()?;
        }
        // Those that are written as they stand differ already.
        if endpoints.iter().any(|endpoint| !endpoint.in_file().is_plain()) {
            let mut written: Vec<Cow<'_, Address>> = endpoints.iter().map(Endpoint::written).collect();
            written.sort();
            if let Some(pair) = written.windows(2).find(|pair| pair[0] == pair[1]) {
                return Err(DocumentError::Duplicate(pair[0].clone().into_owned()));
            }
        }
        Ok(Self { endpoints, too_new })
    }

    /// Entries that are of a newer format than this reader knows.
    pub fn too_new(&self) -> usize {
        self.too_new
    }

    /// Sorted by file address.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// What a Thanos with `flags` looks up: every address with a prefix, of its flags and of its file; sorted.
    pub fn looked_up_by(&self, flags: &[Address]) -> Vec<Address> {
        let in_file = self.endpoints.iter().filter(|endpoint| !endpoint.is_among(flags));
        let all = flags.iter().chain(in_file.map(Endpoint::unspelt));
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
        let all = unsorted.endpoints.len();
        let known: Vec<Endpoint> = unsorted.endpoints.into_iter().filter_map(|Entry(known)| known).collect();
        let too_new = all - known.len();
        Self::with(known, too_new)
    }
}

// === impl Entry ===

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Needs {
            #[serde(default = "oldest")]
            needs: u32,
        }

        // Read twice, and never held as anything but text: a document of thousands of entries has to fit.
        let text = <&serde_json::value::RawValue>::deserialize(deserializer)?.get();
        let Needs { needs } = serde_json::from_str(text).map_err(D::Error::custom)?;
        match needs > ENTRY_FORMAT {
            true => Ok(Self(None)),
            false => {
                serde_json::from_str(text).map(|endpoint| Self(Some(endpoint))).map_err(D::Error::custom)
            }
        }
    }
}

// === impl Endpoint ===

impl Endpoint {
    /// A regular endpoint.
    pub fn regular(file: Address) -> Self {
        Self { file, endpoint_type: EndpointType::Regular, flag: None, in_file: None, needs: oldest() }
    }

    /// A strict or group endpoint.
    pub fn flagged(endpoint_type: EndpointType, file: Address, flag: Address) -> Self {
        Self { file, endpoint_type, flag: Some(flag), in_file: None, needs: oldest() }
    }

    /// The same, which says `in_file` besides its address.
    #[must_use]
    pub fn saying(self, in_file: InFile) -> Self {
        // Without its settings it would be dialled without TLS, or with that of others.
        let needs = match &in_file.tls {
            Some(ClientTls::Tls(settings)) if !settings.inherited => FORMAT_WITH_TLS,
            Some(ClientTls::Tls(_) | ClientTls::Plaintext) | None => oldest(),
        };
        let in_file = (!in_file.is_plain()).then(|| Box::new(in_file));
        Self { in_file, needs, ..self }
    }

    /// Its address in a file that can say everything.
    pub fn written(&self) -> Cow<'_, Address> {
        spelt(self.unspelt(), self.in_file().spelling)
    }

    /// The same without any spelling of our own.
    pub fn unspelt(&self) -> &Address {
        self.flag.as_ref().filter(|_| self.in_file().typed).unwrap_or(&self.file)
    }

    fn check_in_file(&self) -> Result<(), DocumentError> {
        let in_file = self.in_file();
        let error = |source| DocumentError::InFile { address: self.file.clone(), source };
        in_file.check(self.endpoint_type.is_group()).map_err(error)?;
        let written = self.written();
        let is_group = in_file.typed && self.endpoint_type.is_group();
        if in_file.typed && self.endpoint_type.is_strict() && written.is_looked_up() {
            return Err(DocumentError::StrictLookup(written.into_owned()));
        }
        if matches!(in_file.tls, Some(ClientTls::Tls(_))) && written.is_looked_up() && !is_group {
            return Err(error(InFileError::TlsOfLookup));
        }
        Ok(())
    }

    /// What its entry in a file says besides the address.
    pub fn in_file(&self) -> &InFile {
        static PLAIN: LazyLock<InFile> = LazyLock::new(InFile::default);
        self.in_file.as_deref().unwrap_or(&PLAIN)
    }

    /// Whether one of `flags` (what a pod's Thanos was started with) names this endpoint already, also as one pod of a
    /// group that is all of them.
    pub fn is_among(&self, flags: &[Address]) -> bool {
        flags.iter().any(|flag| {
            self.flag.as_ref() == Some(flag) || self.file.covers(flag) || flag.is_whole_of(&self.file)
        })
    }
}

// === impl EndpointType ===

impl EndpointType {
    /// Whether Thanos balances over the addresses behind it.
    pub fn is_group(self) -> bool {
        matches!(self, Self::Group | Self::GroupStrict)
    }

    /// Whether Thanos asks it always.
    pub fn is_strict(self) -> bool {
        matches!(self, Self::Strict | Self::GroupStrict)
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
    use crate::in_file::{TlsSettings, TlsVersion};

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
        let typed = InFile { typed: true, ..InFile::default() };
        let group =
            Endpoint::flagged(EndpointType::Group, address("g.ns.svc:80"), address("dns+g.ns.svc:80"));
        let in_the_file = Document::new(vec![group.saying(typed)]).expect("valid");
        assert_eq!(in_the_file.looked_up_by(&[]), [address("dns+g.ns.svc:80")]);
    }

    #[test]
    fn an_empty_document_reads_back() {
        let text = Document::default().to_json();
        assert_eq!(serde_json::from_str::<Document>(&text).expect("reads back"), Document::default());
    }

    #[test]
    fn of_a_newer_operator_what_is_unknown_is_skipped_and_the_rest_is_used() {
        let text = r#"{"endpoints":[
            {"file":"a:1","type":"Regular","later":{"x":[1]},"inFile":{"later":true}},
            {"file":7,"type":"Later","needs":3},
            {"file":"b:1","type":"Regular","needs":2}]}"#;
        let document: Document = serde_json::from_str(text).expect("readable");
        let names: Vec<String> = document.endpoints().iter().map(|own| own.file.to_string()).collect();
        assert_eq!((names.join(" ").as_str(), document.too_new()), ("a:1 b:1", 1));
        assert!(serde_json::from_str::<Document>(r#"{"endpoints":[{"file":7,"type":"Later"}]}"#).is_err());
    }

    #[test]
    fn an_entry_that_must_not_be_dialled_without_its_tls_says_so_to_older_readers() {
        let settings = |inherited| TlsSettings {
            ca_file: None,
            certificate: None,
            server_name: None,
            min_version: TlsVersion::Tls12,
            insecure_skip_verify: false,
            inherited,
        };
        let json = |tls| {
            let in_file = InFile { tls: Some(tls), ..InFile::default() };
            Document::new(vec![regular("a:1").saying(in_file)]).expect("valid").to_json()
        };
        assert!(json(ClientTls::Tls(settings(false))).contains("\"needs\":2"));
        assert!(!json(ClientTls::Tls(settings(true))).contains("needs"));
        assert!(!json(ClientTls::Plaintext).contains("needs"));
        let text = json(ClientTls::Tls(settings(false)));
        assert_eq!(serde_json::from_str::<Document>(&text).expect("reads back").to_json(), text);
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
        let again = r#"{"file":"A:1","type":"Regular"}"#;
        refused(&format!(
            r#"{{"endpoints":[{again},{{"file":"a:1","type":"Regular","inFile":{{"spelling":1}}}}]}}"#
        ));
        let tls = r#""inFile":{"tls":{"mode":"Tls","minVersion":"1.2"}}"#;
        refused(&format!(r#"{{"endpoints":[{{"file":"dns+a:1","type":"Regular",{tls}}}]}}"#));
        let strict = r#""type":"GroupStrict","inFile":{"typed":true}"#;
        refused(&format!(r#"{{"endpoints":[{{"file":"a:1","flag":"dns+a:1",{strict}}}]}}"#));
        refused(r#"{}"#);
    }
}
