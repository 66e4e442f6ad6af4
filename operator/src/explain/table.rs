//! Text in columns and paragraphs. Everything that goes in is made harmless for a terminal.

use super::escape::escaped;

/// Where paragraphs are wrapped, in characters.
const WIDTH: usize = 100;
/// The widest that a column is made; the last one is never cut.
const WIDEST: usize = 60;
/// Before every row, and further before what belongs to it.
const INDENT: &str = "  ";
const DEEPER: &str = "      ";

/// Text that grows by sections.
#[derive(Default)]
pub struct Page {
    text: String,
}

/// A row of a table.
#[derive(Clone, Debug, Default)]
pub struct Row {
    cells: Vec<String>,
    below: Vec<String>,
}

// === impl Page ===

impl Page {
    /// One line.
    pub fn line(&mut self, text: &str) {
        self.text.push_str(escaped(text).trim_end());
        self.text.push('\n');
    }

    /// A heading, after an empty line.
    pub fn heading(&mut self, text: &str) {
        self.text.push('\n');
        self.line(text);
    }

    /// Sentences, each a paragraph that hangs behind a dash.
    pub fn list<'a>(&mut self, sentences: impl IntoIterator<Item = &'a String>) {
        for sentence in sentences {
            for (index, line) in wrapped(sentence, WIDTH - 4).into_iter().enumerate() {
                self.line(&format!("{INDENT}{}{line}", if index == 0 { "- " } else { "  " }));
            }
        }
    }

    /// A paragraph.
    pub fn paragraph(&mut self, text: &str) {
        wrapped(text, WIDTH - INDENT.len()).iter().for_each(|line| self.line(&format!("{INDENT}{line}")));
    }

    /// Rows in columns, the first row as their titles.
    pub fn table(&mut self, rows: &[Row]) {
        let cells: Vec<Vec<String>> = rows.iter().map(Row::shown).collect();
        let columns = cells.iter().map(Vec::len).max().unwrap_or_default();
        let width_of =
            |column: usize| cells.iter().filter_map(|row| row.get(column)).map(|cell| width(cell)).max();
        let widths: Vec<usize> = (0..columns).map(|column| width_of(column).unwrap_or_default()).collect();
        for (row, cells) in rows.iter().zip(&cells) {
            let mut line = INDENT.to_owned();
            for (cell, of_column) in cells.iter().zip(&widths) {
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', of_column - width(cell) + 2));
            }
            self.line(&line);
            for text in &row.below {
                let lines = wrapped(text, WIDTH - DEEPER.len());
                lines.iter().for_each(|line| self.line(&format!("{DEEPER}{line}")));
            }
        }
    }

    /// The text.
    pub fn into_text(self) -> String {
        self.text
    }
}

// === impl Row ===

impl Row {
    /// A row.
    pub fn of<'a>(cells: impl IntoIterator<Item = &'a str>) -> Self {
        Self { cells: cells.into_iter().map(str::to_owned).collect(), below: vec![] }
    }

    /// With paragraphs below.
    pub fn below(mut self, paragraphs: impl IntoIterator<Item = String>) -> Self {
        self.below.extend(paragraphs);
        self
    }

    fn shown(&self) -> Vec<String> {
        let last = self.cells.len().saturating_sub(1);
        let cells = self.cells.iter().map(|cell| escaped(cell)).enumerate();
        cells.map(|(index, cell)| if index == last { cell } else { cut(&cell, WIDEST) }).collect()
    }
}

/// `text` with … in its middle where it is longer than `limit` characters: names differ at their ends.
pub fn cut(text: &str, limit: usize) -> String {
    let length = width(text);
    if length <= limit {
        return text.to_owned();
    }
    let end = (limit - 1) / 2;
    let begin = limit - 1 - end;
    let head: String = text.chars().take(begin).collect();
    let tail: String = text.chars().skip(length - end).collect();
    format!("{head}…{tail}")
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// `text` in lines of at most `limit` characters; a word that is longer has a line of its own.
fn wrapped(text: &str, limit: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in escaped(text).split(' ').filter(|word| !word.is_empty()) {
        match lines.last_mut() {
            Some(line) if width(line) + 1 + width(word) <= limit => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_what_is_too_long_is_cut_in_the_middle() {
        let long = format!("namespace/{}-eu-west-1", "x".repeat(80));
        let mut page = Page::default();
        page.table(&[
            Row::of(["SERVICE", "TYPE", "ENDPOINT"]),
            Row::of([long.as_str(), "regular", "a:1"]).below(["told below".to_owned()]),
            Row::of(["größe", "group-strict", "b:1"]),
        ]);
        let text = page.into_text();
        let lines: Vec<&str> = text.lines().collect();
        let column = |line: &str, of: &str| line.split(of).next().map(width);
        assert_eq!(column(lines[0], "ENDPOINT"), column(lines[1], "a:1"));
        assert_eq!(column(lines[0], "ENDPOINT"), column(lines[3], "b:1"));
        assert!(lines[1].contains("…") && lines[1].contains("-eu-west-1 "), "{text}");
        assert_eq!(lines[2], "      told below");
    }

    #[test]
    fn paragraphs_are_wrapped_between_words() {
        let mut page = Page::default();
        page.list([&"word ".repeat(50)]);
        let text = page.into_text();
        assert!(text.lines().count() == 3 && text.lines().all(|line| width(line) <= WIDTH), "{text}");
        assert!(text.starts_with("  - word") && text.contains("\n    word"), "{text}");
    }

    #[test]
    fn nothing_that_a_terminal_obeys_gets_through() {
        let mut page = Page::default();
        page.table(&[Row::of(["a\u{1b}[31m", "b"]).below(["c\r\nd".to_owned()])]);
        page.list([&"e\u{9b}2J".to_owned()]);
        assert!(page.into_text().chars().all(|character| character == '\n' || !character.is_control()));
    }
}
