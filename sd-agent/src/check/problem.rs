//! What is wrong with a file: where, what, and what to do about it.

use std::fmt;

use serde::Serialize;

/// How many problems are told; the rest is only counted.
pub const MAX_PROBLEMS: usize = 20;

/// A place in a text, both from 1; columns are characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// Where in the file.
    #[serde(flatten)]
    pub at: Position,
    /// Which key of a ConfigMap it is in, and where there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within: Option<Within>,
    /// What is wrong, and what comes of it.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

/// A place in the text of a ConfigMap's key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Within {
    /// The key.
    pub key: String,
    /// Where in its text; none when the text as a whole is meant.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub at: Option<Position>,
}

/// All that is wrong, up to [`MAX_PROBLEMS`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Problems {
    /// In the order of the file.
    #[serde(rename = "problems")]
    pub told: Vec<Problem>,
    /// How many more there are.
    pub more: usize,
}

// === impl Position ===

impl Position {
    /// Where byte `offset` of `text` is.
    pub fn of(text: &[u8], offset: usize) -> Self {
        let before = &text[..offset.min(text.len())];
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        Self { line, column: String::from_utf8_lossy(&before[line_start..]).chars().count() + 1 }
    }

    /// Where `serde_json` stopped.
    pub fn of_json(text: &str, error: &serde_json::Error) -> Self {
        // Its columns are bytes, and 0 right after a line break.
        let line = text.lines().nth(error.line().saturating_sub(1)).unwrap_or_default();
        let before = &line.as_bytes()[..error.column().saturating_sub(1).min(line.len())];
        Self { line: error.line().max(1), column: String::from_utf8_lossy(before).chars().count() + 1 }
    }
}

// === impl Problem ===

impl fmt::Display for Problem {
    /// `line:column: message`, and the remedy on a line of its own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.at.line, self.at.column)?;
        match &self.within {
            Some(Within { key, at: Some(at) }) => write!(f, "{key}:{}:{}: ", at.line, at.column)?,
            Some(Within { key, at: None }) => write!(f, "{key}: ")?,
            None => {}
        }
        write!(f, "{}\n    {}", self.message, self.remedy)
    }
}

// === impl Problems ===

impl Problems {
    /// Adds one.
    pub fn add(&mut self, at: Position, message: impl Into<String>, remedy: impl Into<String>) {
        self.push(Problem { at, within: None, message: message.into(), remedy: remedy.into() });
    }

    /// Adds those of a text that stands at `at` under `key` of a ConfigMap.
    pub fn add_within(&mut self, at: Position, key: &str, inner: Self) {
        self.more += inner.more;
        for problem in inner.told {
            let within = Within { key: key.to_owned(), at: Some(problem.at) };
            self.push(Problem { at, within: Some(within), ..problem });
        }
    }

    /// Adds one that is about a whole key of a ConfigMap.
    pub fn add_about(
        &mut self,
        at: Position,
        key: &str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let within = Within { key: key.to_owned(), at: None };
        self.push(Problem { at, within: Some(within), message: message.into(), remedy: remedy.into() });
    }

    /// Brings them into the order of the file.
    pub fn sort(&mut self) {
        let place = |problem: &Problem| (problem.at, problem.within.as_ref().and_then(|within| within.at));
        self.told.sort_by_key(place);
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    /// How many there are, told or not.
    pub fn count(&self) -> usize {
        self.told.len() + self.more
    }

    fn push(&mut self, problem: Problem) {
        if self.told.len() < MAX_PROBLEMS {
            self.told.push(problem);
        } else {
            self.more += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters_from_1() {
        let text = "a\nbä c\n";
        let at = |offset| {
            let Position { line, column } = Position::of(text.as_bytes(), offset);
            (line, column)
        };
        assert_eq!(
            [at(0), at(1), at(2), at(5), at(8), at(99)],
            [(1, 1), (1, 2), (2, 1), (2, 3), (3, 1), (3, 1)]
        );
    }

    #[test]
    fn only_the_first_problems_are_told_and_the_rest_counted() {
        let mut problems = Problems::default();
        for index in 0..MAX_PROBLEMS + 5 {
            problems.add(Position::default(), index.to_string(), "");
        }
        assert_eq!(
            (problems.told.len(), problems.more, problems.count()),
            (MAX_PROBLEMS, 5, MAX_PROBLEMS + 5)
        );
    }
}
