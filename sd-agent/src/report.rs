//! What an agent answers at `/status`: read by the operator, the tests and people.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// State of one agent. Fields are only ever added; a reader ignores what it does not know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// What the file holds; none until the first valid document.
    pub applied: Option<Applied>,
    /// Thanos release the file is rendered for.
    pub thanos_version: String,
    /// Addresses that this pod's Thanos has as flags.
    pub flagged: Vec<String>,
    /// Arguments that this agent is too old for and does without.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored_arguments: Vec<String>,
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
    /// Why the file cannot be written, as long as it cannot: it then holds what [`Self::applied`] says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cannot_write: Option<CannotWrite>,
    /// What Thanos serves; none before it was asked, and when nobody asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thanos: Option<ThanosReport>,
}

/// A file that cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CannotWrite {
    /// One word, as in the metric; `lock` when another agent holds the folder.
    pub step: String,
    /// For people.
    pub message: String,
}

/// Entries of [`ThanosReport::missing_addresses`] at most.
pub const MAX_MISSING: usize = 5;

/// What the Thanos of this pod serves, by its own list of stores.
///
/// Only an address that stands in the file as plain `host:port` can be found there again. What is behind a name that
/// Thanos looks up is listed by its addresses: it counts in `healthy` and `unhealthy` only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ThanosReport {
    /// Why Thanos cannot be asked; all numbers are 0 then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Stores that Thanos lists and reaches, from wherever it has them.
    pub healthy: usize,
    /// Stores that Thanos lists and does not reach.
    pub unhealthy: usize,
    /// Plain addresses of the file that Thanos lists and reaches.
    pub served: usize,
    /// Plain addresses of the file that Thanos lists and does not reach.
    pub failing: usize,
    /// Plain addresses of the file that Thanos does not list: it has not read the file yet, or never reached them.
    pub missing: usize,
    /// The first of those that are missing, sorted, at most [`MAX_MISSING`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing_addresses: Vec<String>,
    /// Addresses of the file, groups among them, that were missing or failing each time in several looks in a row;
    /// sorted, at most [`MAX_UNREACHABLE`]. None before there were so many looks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreachable: Option<Vec<String>>,
}

/// Entries of [`ThanosReport::unreachable`] at most.
pub const MAX_UNREACHABLE: usize = 20;

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
    /// `owner` of its `meta.json`: the UID of the ThanosQuery. Empty from an agent that does not tell it.
    #[serde(default)]
    pub owner: String,
    /// `generation` of its `meta.json`.
    pub generation: u64,
    /// `sha256` of its `meta.json`.
    pub sha256: String,
    /// Endpoints in the document.
    pub endpoints: usize,
    /// Endpoints in the file: the document's, less those that are flags.
    pub in_file: usize,
    /// Endpoints of the document that the file lacks because this agent is too old for them.
    #[serde(default)]
    pub too_new: usize,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_of_an_older_and_of_a_newer_agent_can_be_read() {
        let source = r#"{"up":true,"generation":7,"error":null}"#;
        let of = |more: &str, of_applied: &str| {
            format!(
                r#"{{"applied":{{"generation":7,"sha256":"abc","endpoints":2,"inFile":2,"source":"api",
                "appliedAt":"2026-11-23T00:00:00Z"{of_applied}}},"thanosVersion":"v0.42.4","flagged":[],
                "api":{source},"mount":{source},"refused":null{more}}}"#
            )
        };
        let read = |text: &str| serde_json::from_str::<Report>(text).expect("readable");
        let older = read(&of("", ""));
        assert_eq!(older.applied.as_ref().map(|applied| applied.too_new), Some(0));
        assert_eq!(read(&of(r#","later":{"a":[1]}"#, r#","later":true"#)), older);
        let newer = read(&of(r#","ignoredArguments":["--later=x"]"#, r#","tooNew":2"#));
        assert_eq!(newer.applied.map(|applied| applied.too_new), Some(2));
    }
}
