//! `sd-agent check`: what Thanos, or the agent, would make of a file. Tells everything that is wrong at once.

use std::{
    fmt::Write as _,
    fs,
    io::{self, Read},
    path::Path,
};

use serde::Serialize;

use self::{
    problem::{Position, Problems},
    sd_file::SdFile,
    tree::Node,
};
use crate::{
    args::{CheckArgs, Output},
    document::says_nothing,
    log::chain,
    version::ThanosVersion,
};

mod config_map;
pub mod problem;
mod sd_file;
pub mod tree;

/// The largest file that is read, in bytes: a ConfigMap is at most 1 MiB, its manifest a few times that.
pub const READ_LIMIT: u64 = 16 * 1024 * 1024;

/// The file cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The system says no.
    #[error("cannot read {name}")]
    Read {
        /// Which file.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Over the cap.
    #[error("{name} has more than {READ_LIMIT} bytes")]
    Size {
        /// Which file.
        name: String,
    },
}

/// What a file says, as far as it can be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Found {
    /// `store.sd-files`, `endpoint.sd-config-file`, `endpoints.json` or `ConfigMap`.
    pub format: &'static str,
    /// All entries.
    pub endpoints: usize,
    /// Of them, those that are looked up by DNS.
    pub looked_up: usize,
    /// Of them, strict ones.
    pub strict: usize,
    /// Of them, groups.
    pub group: usize,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// Whether there are no problems.
    pub valid: bool,
    /// What is in it; none when nothing of it can be read.
    #[serde(flatten)]
    pub found: Option<Found>,
    /// What is wrong.
    #[serde(flatten)]
    pub problems: Problems,
}

/// The answer with the file's name, for scripts.
#[derive(Serialize)]
struct Named<'a> {
    file: &'a str,
    #[serde(flatten)]
    answer: Option<&'a Answer>,
    #[serde(flatten)]
    unreadable: Option<Unreadable>,
}

#[derive(Serialize)]
struct Unreadable {
    valid: bool,
    error: String,
}

/// Reads the file, or standard input where it is `-`.
///
/// # Errors
/// See [`CheckError`].
pub fn check(args: &CheckArgs) -> Result<Answer, CheckError> {
    let name = name_of(args);
    let mut bytes = Vec::new();
    let read = if args.is_standard_input() {
        io::stdin().lock().take(READ_LIMIT + 1).read_to_end(&mut bytes)
    } else {
        fs::File::open(&args.file).and_then(|file| file.take(READ_LIMIT + 1).read_to_end(&mut bytes))
    };
    match read {
        Err(source) => Err(CheckError::Read { name, source }),
        Ok(length) if length as u64 > READ_LIMIT => Err(CheckError::Size { name }),
        Ok(_) => {
            let mut answer = judge(&bytes, args.thanos_version);
            if !args.is_standard_input() {
                answer.judge_name(&args.file, &bytes);
            }
            Ok(answer)
        }
    }
}

/// Judges the bytes of a file of any of the formats, for one Thanos release or for the newest.
pub fn judge(bytes: &[u8], version: Option<ThanosVersion>) -> Answer {
    let mut problems = Problems::default();
    let found = text_of(bytes, &mut problems).and_then(|text| {
        let root = tree::read(text, &mut problems)?;
        if root.is_null() {
            empty(&mut problems);
            return None;
        }
        by_format(text, &root, version, &mut problems)
    });
    problems.sort();
    Answer { valid: problems.is_empty(), found, problems }
}

/// The answer as it is printed, with a newline.
pub fn describe(args: &CheckArgs, result: &Result<Answer, CheckError>) -> String {
    let name = name_of(args);
    let mut text = String::new();
    match (args.output, result) {
        (Output::Json, result) => {
            let answer = result.as_ref().ok();
            let unreadable =
                result.as_ref().err().map(|error| Unreadable { valid: false, error: chain(error) });
            // Strings and numbers: this cannot fail.
            text = serde_json::to_string(&Named { file: &name, answer, unreadable }).unwrap_or_default();
            text.push('\n');
        }
        (Output::Text, Err(error)) => text = format!("error: {}\n", chain(error)),
        (Output::Text, Ok(answer)) => answer.print(&name, &mut text),
    }
    text
}

fn name_of(args: &CheckArgs) -> String {
    if args.is_standard_input() { "standard input".to_owned() } else { args.file.display().to_string() }
}

fn number(count: usize, of: &str) -> String {
    format!("{count} {of}{}", if count == 1 { "" } else { "s" })
}

fn text_of<'a>(bytes: &'a [u8], problems: &mut Problems) -> Option<&'a str> {
    if says_nothing(bytes) {
        empty(problems);
        return None;
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let at = Position::of(bytes, error.valid_up_to());
            problems.add(at, "not UTF-8: Thanos cannot read any of the file", "save it as UTF-8 text");
            return None;
        }
    };
    // Thanos' reader takes a lone carriage return, U+0085, U+2028 and U+2029 for line breaks, others do not.
    let is_bad = |(offset, letter): &(usize, char)| match letter {
        '\n' | '\t' => false,
        '\r' => !text[offset + 1..].starts_with('\n'),
        letter => letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}'),
    };
    if let Some((offset, letter)) = text.char_indices().find(is_bad) {
        let message =
            format!("control character {letter:?}: Thanos cannot read the file, or reads something else");
        problems.add(Position::of(bytes, offset), message, "remove it");
        return None;
    }
    Some(text)
}

fn empty(problems: &mut Problems) {
    let at = Position { line: 1, column: 1 };
    let remedy = "if no endpoints are meant, write `endpoints: []`, or `[]` for store.sd-files";
    problems.add(at, "the file says nothing: Thanos drops every endpoint", remedy);
}

fn by_format(
    text: &str,
    root: &Node,
    version: Option<ThanosVersion>,
    problems: &mut Problems,
) -> Option<Found> {
    if root.sequence().is_none() && root.mapping().is_none() {
        let message = "a single value: Thanos refuses the whole file";
        problems.add(root.at, message, "write `endpoints:` with a list below it, or a list of targets");
        return None;
    }
    if ["kind", "data", "binaryData"].iter().any(|key| root.get(key).is_some()) {
        return Some(config_map::manifest(root, version, problems));
    }
    let entries = root.get("endpoints").and_then(Node::sequence).unwrap_or_default();
    let is_ours = |entry: &Node| entry.get("file").is_some() && entry.get("address").is_none();
    if entries.first().is_some_and(is_ours) {
        Some(config_map::document(text, root, version, problems))
    } else {
        Some(SdFile::any(root, version, problems))
    }
}

// === impl Found ===

impl Found {
    /// Nothing yet.
    fn new(format: &'static str) -> Self {
        Self { format, endpoints: 0, looked_up: 0, strict: 0, group: 0 }
    }

    fn add(&mut self, other: &Self) {
        self.endpoints += other.endpoints;
        self.looked_up += other.looked_up;
        self.strict += other.strict;
        self.group += other.group;
    }
}

// === impl Answer ===

impl Answer {
    /// Thanos chooses the reader of a list by the file's extension, and panics on one that it does not know.
    fn judge_name(&mut self, file: &Path, bytes: &[u8]) {
        if self.found.as_ref().is_none_or(|found| found.format != "store.sd-files") {
            return;
        }
        let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        let start = Position { line: 1, column: 1 };
        match extension.to_ascii_lowercase().as_str() {
            "yaml" | "yml" => {}
            "json" => {
                let text = String::from_utf8_lossy(bytes);
                if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(&text) {
                    let message = format!(
                        "not JSON ({error}): Thanos reads a file of this name as JSON and keeps what it had"
                    );
                    let at = Position::of_json(&text, &error);
                    self.problems.add(at, message, "write JSON, or rename it to .yaml");
                }
            }
            _ => {
                let message = "Thanos panics on a file for --store.sd-files with a name like this";
                self.problems.add(start, message, "let the name end in .yaml, .yml or .json");
            }
        }
        self.valid = self.problems.is_empty();
    }

    fn print(&self, name: &str, text: &mut String) {
        for problem in &self.problems.told {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{name}:{problem}");
        }
        let more = match self.problems.more {
            0 => String::new(),
            more => format!(", of which {more} are not shown"),
        };
        let _ = match (&self.found, self.problems.count()) {
            (Some(found), 0) => writeln!(
                text,
                "{name}: valid {}, {} ({} looked up by DNS, {} strict, {})",
                found.format,
                number(found.endpoints, "endpoint"),
                found.looked_up,
                found.strict,
                number(found.group, "group"),
            ),
            (Some(found), count) => {
                writeln!(text, "{name}: not a valid {}: {}{more}", found.format, number(count, "problem"))
            }
            (None, count) => writeln!(text, "{name}: not valid: {}{more}", number(count, "problem")),
        };
    }
}

#[cfg(test)]
mod tests;
