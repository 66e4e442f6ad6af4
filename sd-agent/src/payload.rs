//! The ConfigMap as writer and reader share it: keys, `meta.json`, packing, and what makes a reader refuse it.
//!
//! What comes in may be torn, edited by hand or hostile: sizes are capped before anything is parsed, and
//! nothing counts that `meta.json` does not vouch for.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    io::{self, Read, Write},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::document::{Document, says_nothing};

/// Key of the plain document, in `data`.
pub const DOCUMENT_KEY: &str = "endpoints.json";
/// Key of the gzipped document, in `binaryData`; used above [`PLAIN_LIMIT`].
pub const GZIP_KEY: &str = "endpoints.json.gz";
/// Key of [`Meta`], in `data`.
pub const META_KEY: &str = "meta.json";
/// The only value of `format` so far. A reader refuses any other.
pub const FORMAT: u32 = 1;
/// Documents above this many bytes are gzipped.
pub const PLAIN_LIMIT: usize = 64 * 1024;
/// The largest packed document, in bytes; the API server's own limit for a ConfigMap is 1 MiB.
pub const PACKED_LIMIT: usize = 900 * 1024;
/// The largest unpacked document, in bytes: about 30,000 endpoints. A pod's memory volume holds the file made from it,
/// its successor and the packed document, and the agent's memory limit the document itself beside all that.
pub const DOCUMENT_LIMIT: usize = 3 * 1024 * 1024;
const META_LIMIT: usize = 4096;

/// What vouches for a document: who wrote it, in which order, and what exactly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Meta {
    /// [`FORMAT`].
    pub format: u32,
    /// UID of the ThanosQuery.
    pub owner: String,
    /// Grows by at least one with every change of the document.
    pub generation: u64,
    /// Of the unpacked document, lower-case hex.
    pub sha256: String,
    /// Number of endpoints.
    pub count: usize,
    /// Length of the unpacked document.
    pub bytes: usize,
    /// Whether `count: 0` is meant.
    pub empty_ok: bool,
    /// When the document was written; for people and metrics, never for ordering.
    pub written_at: Timestamp,
}

/// The `data` and `binaryData` of the ConfigMap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload {
    /// Text keys.
    pub data: BTreeMap<String, String>,
    /// Binary keys.
    pub binary_data: BTreeMap<String, Vec<u8>>,
}

/// The document is too large for a ConfigMap even when packed, or for the agents.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{count} endpoints take {bytes} bytes {form}, the limit is {limit}: split the stores over several ThanosQuery objects"
)]
pub struct TooLarge {
    /// Number of endpoints.
    pub count: usize,
    /// In which form it is too large: as text, or packed.
    pub form: &'static str,
    /// Its size in that form.
    pub bytes: usize,
    /// The most that is allowed in that form.
    pub limit: usize,
}

/// Why a payload is not taken. The reader keeps what it had.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// A key is not there (yet).
    #[error("key {0} is missing")]
    Missing(&'static str),
    /// There is a document that nothing vouches for.
    #[error("key {META_KEY} is missing beside a document: somebody else wrote it")]
    Unvouched,
    /// Nothing but white space and comments.
    #[error("key {0} is empty")]
    Empty(&'static str),
    /// Over a size cap.
    #[error("{what} has {bytes} bytes or more, the limit is {limit}")]
    Size {
        /// Which part.
        what: &'static str,
        /// Bytes seen.
        bytes: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// `meta.json` cannot be read.
    #[error("meta.json cannot be read")]
    Envelope(#[source] serde_json::Error),
    /// Written by another version of the operator.
    #[error("format {0} is not {FORMAT}: operator and agent are of different versions")]
    Format(u32),
    /// Torn or edited: hash, length or count are not those of `meta.json`.
    #[error("the document does not match the {0} in meta.json")]
    Checksum(&'static str),
    /// The gzip data is damaged.
    #[error("{GZIP_KEY} cannot be unpacked")]
    Gzip(#[source] io::Error),
    /// The document is no text.
    #[error("the document is not UTF-8")]
    Utf8(#[source] std::str::Utf8Error),
    /// The document is no valid document.
    #[error("the document cannot be read")]
    Document(#[source] serde_json::Error),
    /// No endpoints, and `emptyOk` does not say so.
    #[error("the document has no endpoints, and emptyOk is not set")]
    NotMeantEmpty,
}

// === impl Payload ===

impl Payload {
    /// Packs `document` for the ConfigMap.
    ///
    /// An empty document is always meant: whoever holds a document back does not pack it.
    ///
    /// # Errors
    /// [`TooLarge`] when it does not fit even gzipped.
    pub fn pack(document: &Document, owner: &str, generation: u64, now: Timestamp) -> Result<Self, TooLarge> {
        let text = document.to_json();
        let count = document.endpoints().len();
        let meta = Meta {
            format: FORMAT,
            owner: owner.to_owned(),
            generation,
            sha256: sha256_hex(text.as_bytes()),
            count,
            bytes: text.len(),
            empty_ok: count == 0,
            written_at: now,
        };
        let mut payload = Self::default();
        if text.len() > DOCUMENT_LIMIT {
            return Err(TooLarge { count, form: "as text", bytes: text.len(), limit: DOCUMENT_LIMIT });
        }
        if text.len() > PLAIN_LIMIT {
            let packed = gzip(text.as_bytes());
            if packed.len() > PACKED_LIMIT {
                return Err(TooLarge { count, form: "packed", bytes: packed.len(), limit: PACKED_LIMIT });
            }
            payload.binary_data.insert(GZIP_KEY.to_owned(), packed);
        } else {
            payload.data.insert(DOCUMENT_KEY.to_owned(), text);
        }
        // Numbers, strings and a time: this cannot fail, and a reader refuses an empty envelope.
        payload.data.insert(META_KEY.to_owned(), serde_json::to_string(&meta).unwrap_or_default());
        Ok(payload)
    }

    /// Reads and checks everything.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn unpack(&self) -> Result<(Meta, Document), Refusal> {
        let meta = self.meta()?;
        let text = self.document_text(meta.bytes)?;
        if text.len() != meta.bytes {
            return Err(Refusal::Checksum("bytes"));
        }
        if sha256_hex(&text) != meta.sha256 {
            return Err(Refusal::Checksum("sha256"));
        }
        let document = std::str::from_utf8(&text).map_err(Refusal::Utf8)?;
        let document: Document = serde_json::from_str(document).map_err(Refusal::Document)?;
        if document.endpoints().len() + document.too_new() != meta.count {
            return Err(Refusal::Checksum("count"));
        }
        if meta.count == 0 && !meta.empty_ok {
            return Err(Refusal::NotMeantEmpty);
        }
        Ok((meta, document))
    }

    /// Reads `meta.json` alone: enough to order two payloads.
    ///
    /// # Errors
    /// When the key is missing, too large, not the envelope or of another format.
    pub fn meta(&self) -> Result<Meta, Refusal> {
        let text = self.data.get(META_KEY).ok_or_else(|| {
            let is_there = self.data.contains_key(DOCUMENT_KEY) || self.binary_data.contains_key(GZIP_KEY);
            if is_there { Refusal::Unvouched } else { Refusal::Missing(META_KEY) }
        })?;
        if text.len() > META_LIMIT {
            return Err(Refusal::Size { what: META_KEY, bytes: text.len(), limit: META_LIMIT });
        }
        let meta: Meta = serde_json::from_str(text).map_err(Refusal::Envelope)?;
        if meta.format == FORMAT { Ok(meta) } else { Err(Refusal::Format(meta.format)) }
    }

    /// The document as it was before it was packed, and nothing that could not be one by its size.
    ///
    /// # Errors
    /// When the key is missing or empty, too large, or damaged.
    pub fn document_text(&self, expected: usize) -> Result<Cow<'_, [u8]>, Refusal> {
        let (key, text) = match (self.data.get(DOCUMENT_KEY), self.binary_data.get(GZIP_KEY)) {
            // A document of 1 MB is not copied.
            (Some(text), _) => (DOCUMENT_KEY, Cow::Borrowed(text.as_bytes())),
            (None, Some(packed)) if packed.is_empty() => return Err(Refusal::Empty(GZIP_KEY)),
            (None, Some(packed)) => {
                let text = gunzip(packed, DOCUMENT_LIMIT, expected).map_err(Refusal::Gzip)?;
                (GZIP_KEY, Cow::Owned(text))
            }
            (None, None) => return Err(Refusal::Missing(DOCUMENT_KEY)),
        };
        if text.len() > DOCUMENT_LIMIT {
            return Err(Refusal::Size { what: key, bytes: text.len(), limit: DOCUMENT_LIMIT });
        }
        if says_nothing(&text) { Err(Refusal::Empty(key)) } else { Ok(text) }
    }
}

// === impl Refusal ===

impl Refusal {
    /// A word for metrics; a small fixed set.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Missing(_) => "missing",
            Self::Empty(_) | Self::NotMeantEmpty => "empty",
            Self::Size { .. } => "size",
            Self::Unvouched | Self::Envelope(_) | Self::Format(_) => "envelope",
            Self::Checksum(_) | Self::Gzip(_) => "checksum",
            Self::Utf8(_) => "parse",
            Self::Document(error) if error.is_data() => "schema",
            Self::Document(_) => "parse",
        }
    }
}

/// Lower-case hex of the SHA-256 of `bytes`.
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Gzips `bytes`; the same bytes always become the same.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    // Writing into memory does not fail; were it to, the reader's checksum refuses the result.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

/// Unpacks what [`gzip`] packed: about `expected` bytes, and no more than `limit` and one, which shows that there are
/// too many.
///
/// # Errors
/// When it is damaged, or followed by something else.
pub fn gunzip(packed: &[u8], limit: usize, expected: usize) -> io::Result<Vec<u8>> {
    // As large as announced, so that it does not grow by doubling; one byte more shows that it ended.
    let mut bytes = Vec::with_capacity(expected.min(limit) + 1);
    let mut unpacked = flate2::bufread::GzDecoder::new(packed).take(limit as u64 + 1);
    unpacked.read_to_end(&mut bytes)?;
    let rest = unpacked.into_inner().into_inner();
    // Of what is too large the end was not looked for.
    if bytes.len() <= limit && !rest.is_empty() {
        let message = format!("{} bytes follow the packed text", rest.len());
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Endpoint;

    fn document(count: usize) -> Document {
        let endpoint =
            |index| Endpoint::regular(format!("store-{index}.demo.svc:10901").parse().expect("address"));
        Document::new((0..count).map(endpoint).collect()).expect("valid")
    }

    fn packed(count: usize) -> Payload {
        Payload::pack(&document(count), "uid", 7, Timestamp::UNIX_EPOCH).expect("fits")
    }

    #[test]
    fn a_document_survives_packing_plain_and_gzipped() {
        for count in [0, 1, 3, 5000] {
            let payload = packed(count);
            assert_eq!(payload.binary_data.contains_key(GZIP_KEY), count == 5000);
            let (meta, read) = payload.unpack().expect("valid");
            assert_eq!(read, document(count));
            assert_eq!((meta.count, meta.generation, meta.empty_ok), (count, 7, count == 0));
        }
    }

    #[test]
    fn a_document_cut_at_any_byte_is_refused() {
        let whole = packed(2);
        let text = whole.data[DOCUMENT_KEY].clone();
        for end in 0..text.len() {
            let mut cut = whole.clone();
            cut.data.insert(DOCUMENT_KEY.to_owned(), text[..end].to_owned());
            assert!(cut.unpack().is_err(), "cut at {end}");
        }
    }

    #[test]
    fn every_refusal_has_its_reason() {
        let with = |key: &str, value: &str| {
            let mut payload = packed(1);
            payload.data.insert(key.to_owned(), value.to_owned());
            payload.unpack().expect_err("refused").reason()
        };
        assert_eq!(with(DOCUMENT_KEY, ""), "empty");
        assert_eq!(with(DOCUMENT_KEY, " \n"), "empty");
        assert_eq!(with(DOCUMENT_KEY, "# nothing\n \n"), "empty");
        assert_eq!(with(DOCUMENT_KEY, "{}"), "checksum");
        assert_eq!(with(META_KEY, "{}"), "envelope");
        assert_eq!(with(META_KEY, &" ".repeat(5000)), "size");
        assert_eq!(Payload::default().unpack().expect_err("refused").reason(), "missing");
        let mut unvouched = packed(1);
        unvouched.data.remove(META_KEY);
        assert_eq!(unvouched.unpack().expect_err("refused").reason(), "envelope");
    }

    #[test]
    fn an_empty_document_counts_only_when_it_is_meant() {
        let mut payload = packed(0);
        assert!(payload.unpack().is_ok());
        let meta = payload.data[META_KEY].replace("\"emptyOk\":true", "\"emptyOk\":false");
        payload.data.insert(META_KEY.to_owned(), meta);
        assert_eq!(payload.unpack().expect_err("refused").reason(), "empty");
    }

    #[test]
    fn a_gzip_bomb_is_refused_at_the_cap() {
        let mut payload = packed(1);
        payload.data.remove(DOCUMENT_KEY);
        payload.binary_data.insert(GZIP_KEY.to_owned(), gzip(&vec![b' '; DOCUMENT_LIMIT + 10]));
        assert_eq!(payload.unpack().expect_err("refused").reason(), "size");
    }

    #[test]
    fn what_follows_the_packed_text_is_refused() {
        let packed = gzip(b"text");
        assert_eq!(gunzip(&packed, 4, 4).expect("whole"), b"text");
        for more in [b"\0".as_slice(), b"more", &gzip(b"a second member")] {
            assert!(gunzip(&[packed.as_slice(), more].concat(), 100, 4).is_err(), "{more:?}");
        }
        assert!(gunzip(&packed[..packed.len() - 1], 100, 4).is_err());
        assert!(gunzip(&packed[..packed.len() - 8], 4, 4).is_err());
    }

    #[test]
    fn a_document_that_does_not_fit_is_an_error_that_says_what_to_do() {
        let endpoint = |index: usize| {
            let noise = |salt| sha256_hex(&[index.to_le_bytes(), usize::to_le_bytes(salt)].concat());
            Endpoint::regular(
                format!("a{}.b{}.svc:10901", &noise(0)[..60], &noise(1)[..60]).parse().expect("address"),
            )
        };
        for (count, form) in [(17_000, "packed"), (40_000, "as text")] {
            let large = Document::new((0..count).map(endpoint).collect()).expect("valid");
            let Err(error) = Payload::pack(&large, "uid", 1, Timestamp::UNIX_EPOCH) else {
                unreachable!("{count} endpoints fit")
            };
            assert_eq!((error.count, error.form), (count, form));
            assert!(error.to_string().contains("split the stores"), "{error}");
        }
    }
}
