//! What an agent answers at `/status`: read by the operator, the tests and people.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// State of one agent. Fields are only ever added; a reader ignores what it does not know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// What the file holds; none until the first valid document.
    pub applied: Option<Applied>,
    /// Thanos release the file is rendered for.
    pub thanos_version: String,
    /// Addresses that this pod's Thanos has as flags.
    pub flagged: Vec<String>,
    /// The API watch.
    pub api: SourceReport,
    /// The mounted ConfigMap.
    pub mount: SourceReport,
    /// The last document that was not taken; stays until the next one is applied.
    pub refused: Option<Refused>,
    /// Look-ups that fail for this pod's Thanos, sorted, at most [`MAX_FAILING`]. Empty when none does, and when nobody
    /// can tell because Thanos' metrics cannot be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns_failing: Vec<DnsFailing>,
}

/// Entries of [`Report::dns_failing`] at most.
pub const MAX_FAILING: usize = 5;

/// A look-up that fails: the DNS server gives no usable answer. That a name does not exist is an answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DnsFailing {
    /// The address as Thanos has it; none when Thanos counts failures that no look-up of the agent shows.
    pub address: Option<String>,
    /// What the DNS server did, for people; at most 300 bytes, and the same as long as nothing changes.
    pub error: String,
}

/// The document that the file was rendered from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    /// `generation` of its `meta.json`.
    pub generation: u64,
    /// `sha256` of its `meta.json`.
    pub sha256: String,
    /// Endpoints in the document.
    pub endpoints: usize,
    /// Endpoints in the file: the document's, less those that are flags.
    pub in_file: usize,
    /// Where it came from: `api`, `mount` or `state` (kept over a restart of the agent).
    pub source: String,
    /// When the rename was done, by this node's clock.
    pub applied_at: Timestamp,
}

/// One source of documents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceReport {
    /// Whether it can be read now.
    pub up: bool,
    /// Generation it showed last.
    pub generation: Option<u64>,
    /// Why it is not up.
    pub error: Option<String>,
}

/// A document that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refused {
    /// One word, as in the metric.
    pub reason: String,
    /// For people.
    pub message: String,
    /// `api` or `mount`.
    pub source: String,
    /// When.
    pub at: Timestamp,
}
