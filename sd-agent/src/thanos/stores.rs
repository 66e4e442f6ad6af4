//! Pure: the stores in Thanos' answer at `/api/v1/stores`, which comes in pieces and of which nothing else is kept.
//!
//! ```json
//! {"status":"success","data":{"sidecar":[{"name":"10.0.0.7:10901","lastError":null,"labelSets":[…], …}], …}}
//! ```
//!
//! With thousands of stores and their labels this has megabytes, more than the whole agent may take. So it is read as
//! a stream of signs, with the few places in mind where something of interest stands.
//!
//! Facts: reference "How `thanos query` discovers endpoints", section 5.1.

/// Longer texts are no names of stores.
const LONGEST_TEXT: usize = 512;

/// Deeper than this is not what Thanos writes.
const DEEPEST: usize = 16;

/// Depth of the answer itself, and of one store in it.
const ANSWER: usize = 1;
const STORE: usize = 4;

/// One store as Thanos lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Store<'a> {
    /// `host:port`; for a group with `thanos:///` or `dns:///` before it.
    pub name: &'a str,
    /// Whether Thanos can ask it.
    pub is_healthy: bool,
}

/// Finds the stores in a body that comes in pieces.
#[derive(Debug)]
pub struct Scan<F> {
    found: F,
    /// For each depth, whether it is an object; else it is a list.
    open: Vec<bool>,
    /// What the text at the place where we are means.
    awaits_key: bool,
    in_text: Option<Text>,
    text: Vec<u8>,
    in_data: bool,
    has_data: bool,
    key: Key,
    name: Vec<u8>,
    is_failing: bool,
    state: State,
}

/// A text that has begun.
#[derive(Clone, Copy, Debug)]
enum Text {
    /// As it stands.
    Plain,
    /// After a backslash.
    Escaped,
}

/// What a value belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Name,
    LastError,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing, or not all of it.
    Unfinished,
    /// The end of the answer.
    Whole,
    /// Not what Thanos writes.
    Wrong,
}

// === impl Scan ===

impl<F: FnMut(Store<'_>)> Scan<F> {
    /// Gives each store to `found`.
    pub fn new(found: F) -> Self {
        Self {
            found,
            open: Vec::with_capacity(DEEPEST),
            awaits_key: false,
            in_text: None,
            text: Vec::new(),
            in_data: false,
            has_data: false,
            key: Key::Other,
            name: Vec::new(),
            is_failing: false,
            state: State::Unfinished,
        }
    }

    /// Reads the next piece.
    pub fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match self.in_text {
                Some(Text::Escaped) => {
                    self.push(*byte);
                    self.in_text = Some(Text::Plain);
                }
                Some(Text::Plain) => match byte {
                    b'\\' => {
                        self.push(*byte);
                        self.in_text = Some(Text::Escaped);
                    }
                    b'"' => {
                        self.in_text = None;
                        self.text_ends();
                    }
                    _ => self.push(*byte),
                },
                None => self.sign(*byte),
            }
        }
    }

    /// Whether that was the whole answer of a Thanos.
    pub fn finish(self) -> bool {
        self.state == State::Whole && self.has_data
    }

    fn push(&mut self, byte: u8) {
        // One byte over the limit marks a text that is too long.
        if self.text.len() <= LONGEST_TEXT {
            self.text.push(byte);
        }
    }

    fn sign(&mut self, byte: u8) {
        match byte {
            b'"' => {
                self.text.clear();
                self.in_text = Some(Text::Plain);
            }
            b'{' | b'[' => self.opens(byte == b'{'),
            b'}' | b']' => self.closes(byte == b'}'),
            b',' => self.awaits_key = self.open.last() == Some(&true),
            b':' => self.awaits_key = false,
            _ => {}
        }
    }

    fn opens(&mut self, is_object: bool) {
        if self.open.len() == STORE && self.key == Key::LastError {
            self.is_failing = true;
        }
        let is_second = self.open.is_empty() && self.state != State::Unfinished;
        if is_second || self.open.len() == DEEPEST {
            self.state = State::Wrong;
            return;
        }
        self.has_data |= self.open.len() == ANSWER && self.in_data && is_object;
        self.open.push(is_object);
        self.awaits_key = is_object;
        if self.open.len() == STORE {
            self.key = Key::Other;
            self.name.clear();
            self.is_failing = false;
        }
    }

    fn closes(&mut self, is_object: bool) {
        if self.open.pop() != Some(is_object) {
            self.state = State::Wrong;
            return;
        }
        self.awaits_key = false;
        let depth = self.open.len();
        if depth == STORE - 1
            && is_object
            && self.in_data
            && let Ok(name) = str::from_utf8(&self.name)
            && !name.is_empty()
        {
            (self.found)(Store { name, is_healthy: !self.is_failing });
        }
        if depth == 0 && self.state == State::Unfinished {
            self.state = State::Whole;
        }
    }

    fn text_ends(&mut self) {
        match (self.open.len(), self.awaits_key) {
            (ANSWER, true) => {
                self.in_data = self.text == b"data";
            }
            (STORE, true) => {
                self.key = match &self.text[..] {
                    b"name" => Key::Name,
                    b"lastError" => Key::LastError,
                    _ => Key::Other,
                };
            }
            (STORE, false) => match self.key {
                Key::Name if self.text.len() <= LONGEST_TEXT => self.name.clone_from(&self.text),
                Key::LastError => self.is_failing = !self.text.is_empty(),
                Key::Name | Key::Other => {}
            },
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // As v0.42.4 writes it, with what stands around.
    const ANSWERED: &str = r#"{"status":"success","data":{"query":[{"name":"thanos:///group.demo.svc:10901","lastCheck":"2026-01-01T00:00:00Z","lastError":null,"labelSets":[{"name":"a "quoted" {label}","lastError":"x"}],"minTime":-62167219200000,"maxTime":9223372036854775807}],"sidecar":[{"name":"10.0.0.7:10901","lastCheck":"2026-01-01T00:00:00Z","lastError":"rpc error: code = Unavailable","labelSets":[],"minTime":0,"maxTime":1},{"name":"a.demo.svc:10901","lastError":"","labelSets":null}]}}
"#;

    fn stores(text: &str, piece: usize) -> Option<Vec<(String, bool)>> {
        let mut all = Vec::new();
        let mut scan = Scan::new(|store: Store<'_>| all.push((store.name.to_owned(), store.is_healthy)));
        text.as_bytes().chunks(piece).for_each(|bytes| scan.feed(bytes));
        scan.finish().then_some(all)
    }

    #[test]
    fn the_stores_are_found_however_the_body_is_cut() {
        let expected = [
            ("thanos:///group.demo.svc:10901".to_owned(), true),
            ("10.0.0.7:10901".to_owned(), false),
            ("a.demo.svc:10901".to_owned(), true),
        ];
        for piece in [1, 7, 100, 10_000] {
            assert_eq!(stores(ANSWERED, piece).as_deref(), Some(&expected[..]), "pieces of {piece}");
        }
    }

    #[test]
    fn no_stores_is_an_answer_and_half_an_answer_is_none() {
        assert_eq!(stores(r#"{"status":"success","data":{}}"#, 5), Some(vec![]));
        for length in 0..ANSWERED.trim_end().len() {
            assert_eq!(stores(&ANSWERED[..length], 50), None, "{length} bytes");
        }
    }

    #[test]
    fn what_thanos_does_not_write_is_no_answer() {
        for text in [
            "",
            "404 page not found\n",
            "<html></html>",
            "[]",
            r#"{"status":"error","error":"data"}"#,
            r#"{"data":[]}"#,
            r#"{"data":{}}{"data":{}}"#,
            r#"{"data":{"a":[}]}"#,
        ] {
            assert_eq!(stores(text, 3), None, "{text}");
        }
        assert_eq!(stores(&"[".repeat(100_000), 1000), None);
    }

    #[test]
    fn a_store_without_a_name_or_with_one_that_is_too_long_is_left_out_and_the_next_is_not() {
        let long = "x".repeat(100_000);
        let text = format!(r#"{{"data":{{"store":[{{"name":"{long}"}},{{"name":7}},{{"name":"a:1"}}]}}}}"#);
        assert_eq!(stores(&text, 100), Some(vec![("a:1".to_owned(), true)]));
    }

    #[test]
    fn an_error_that_is_an_object_is_one_and_of_other_fields_none_counts() {
        let text = r#"{"other":{"store":[{"name":"no:1"}]},"data":{"store":[{"lastError":{},"name":"a:1"},{"name":"b:1","other":"lastError"}]}}"#;
        assert_eq!(stores(text, 9), Some(vec![("a:1".to_owned(), false), ("b:1".to_owned(), true)]));
    }
}
