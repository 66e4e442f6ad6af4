//! A YAML or JSON text as a tree of which every node knows where it stands, so that every problem can be told at once.
//!
//! The text may be anything: depth and the number of nodes are bounded, aliases counted as what they stand for.

use std::{collections::BTreeMap, rc::Rc};

use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, StructureStyle, options};

use super::problem::{Position, Problems};
use crate::document::says_nothing;

/// More nodes than any file that Thanos could use; a tree of so many takes about 100 MB.
pub const MAX_NODES: usize = 1_000_000;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where it begins.
    pub at: Position,
    /// What it is.
    pub value: Rc<Value>,
    /// Itself and all below it, aliases followed.
    nodes: usize,
}

/// What a node is.
#[derive(Clone, Debug)]
pub enum Value {
    /// One text.
    Scalar {
        /// What it says, unquoted.
        text: String,
        /// Not quoted: a word may be more than a string.
        plain: bool,
    },
    /// `- a`.
    Sequence(Vec<Node>),
    /// `a: b`, merge keys (`<<`) resolved.
    Mapping(Vec<Field>),
}

/// One `key: value`.
#[derive(Clone, Debug)]
pub struct Field {
    /// Where the key begins.
    pub at: Position,
    /// The key.
    pub key: String,
    /// The value.
    pub value: Node,
}

/// Under construction.
struct Open {
    at: Position,
    style: StructureStyle,
    anchor: usize,
    content: Content,
}

enum Content {
    Sequence(Vec<Node>),
    Mapping { fields: Vec<Field>, key: Option<(Position, String)> },
}

struct Builder<'a> {
    problems: &'a mut Problems,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
    root: Option<Node>,
}

/// The text is bad beyond what was told; nothing below it can be trusted.
struct Broken;

/// Reads the first document of `text`, tells what is wrong with the text itself, and gives the tree if there is one.
/// A text that says nothing gives none.
pub fn read(text: &str, problems: &mut Problems) -> Option<Node> {
    let mut builder = Builder { problems, open: Vec::new(), anchors: BTreeMap::new(), nodes: 0, root: None };
    let mut documents = 0;
    // Of directives the readers of Thanos know fewer.
    let options = options! { disallow_directives: true, emit_anchor_events: true };
    builder.older_syntax(text);
    for event in Parser::new_from_str_with_options(text, options) {
        let step = match event {
            Ok((Event::DocumentStart(..), span)) => {
                documents += 1;
                if documents == 2 {
                    let (message, remedy) = (
                        "a second document begins: Thanos reads only the first one",
                        "keep one, without ---",
                    );
                    builder.problems.add(position(span), message, remedy);
                    break;
                }
                Ok(())
            }
            Ok((event, span)) => {
                let rest = span.end.byte_offset().and_then(|end| text.get(end..)).unwrap_or_default();
                builder.older_event(&event, rest, position(span));
                builder.take(event, position(span))
            }
            Err(error) => {
                builder.scan_error(&error);
                Err(Broken)
            }
        };
        if step.is_err() {
            return None;
        }
    }
    builder.root
}

fn is_of_a_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

fn position(span: Span) -> Position {
    Position { line: span.start.line(), column: span.start.col() + 1 }
}

// === impl Builder ===

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, at: Position) -> Result<(), Broken> {
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let plain = style == ScalarStyle::Plain;
                let value = Value::Scalar { text: text.into_owned(), plain };
                self.finish(Node { at, value: Rc::new(value), nodes: 1 }, anchor)
            }
            Event::SequenceStart(style, anchor, _) => {
                self.open.push(Open { at, style, anchor, content: Content::Sequence(Vec::new()) });
                Ok(())
            }
            Event::MappingStart(style, anchor, _) => {
                let content = Content::Mapping { fields: Vec::new(), key: None };
                self.open.push(Open { at, style, anchor, content });
                Ok(())
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(id) => match self.anchors.get(&id) {
                Some(node) => {
                    let node = Node { at, ..node.clone() };
                    self.finish(node, 0)
                }
                None => {
                    self.problems.add(at, "an alias within what it stands for", "write the value out");
                    Err(Broken)
                }
            },
            _ => Ok(()),
        }
    }

    /// What YAML 1.2 allows and the reader of Thanos, of YAML 1.1, does not, in one event that is followed by `rest`.
    fn older_event(&mut self, event: &Event<'_>, rest: &str, at: Position) {
        if let Event::Scalar(.., Some(tag))
        | Event::SequenceStart(.., Some(tag))
        | Event::MappingStart(.., Some(tag)) = event
        {
            // Thanos would decode !!binary, refuse a boolean that is !!str, and skip what it does not know.
            let message = format!("a tag, {tag}: what it makes of the value depends on the reader");
            self.problems.add(at, message, "write the value without it");
        }
        match event {
            Event::Scalar(text, style, ..) if self.is_in_brackets() => {
                if *style == ScalarStyle::Plain && (text.starts_with(':') || text.contains('?')) {
                    let message =
                        format!("{text:?} between brackets: Thanos' reader takes : and ? for signs there");
                    self.problems.add(at, message, "write it in quotes");
                }
                let blank = &rest[..rest.len() - rest.trim_start().len()];
                if blank.contains('\n') && rest[blank.len()..].starts_with(':') {
                    let message = "a line ends between a key and its colon: Thanos refuses the whole file";
                    self.problems.add(at, message, "write both in one line");
                }
            }
            Event::Anchor(_, name) => {
                let ends = rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n', ',', ']', '}']);
                if !ends || !name.bytes().all(is_of_a_name) {
                    let message = format!(
                        "the anchor &{name} is no word with a space after it: Thanos refuses the whole file"
                    );
                    self.problems.add(at, message, "use letters and digits, and a space after it");
                }
            }
            _ => {}
        }
    }

    /// The same, in lines.
    fn older_syntax(&mut self, text: &str) {
        let mut refused = |line: usize, column, what: &str, remedy: &str| {
            let at = Position { line: line + 1, column };
            self.problems.add(at, format!("{what}: Thanos refuses the whole file"), remedy);
        };
        for (line, content) in text.lines().enumerate() {
            let item = content.trim_start_matches(' ').strip_prefix('-').unwrap_or_default();
            let blank = &item[..item.len() - item.trim_start().len()];
            if blank.contains('\t') && blank.len() < item.len() {
                refused(line, content.len() - item.len() + 1, "a tab after -", "use spaces");
            }
        }
        // Within brackets tabs are fine, so only the lines around everything count here; the parser finds the others.
        let head = text.trim_start_matches([' ', '\n', '\r']);
        let tail = text.rsplit('\n').next().unwrap_or_default();
        let lines_before = |rest: &str| text[..text.len() - rest.len()].matches('\n').count();
        if head.starts_with('\t') {
            refused(lines_before(head), 1, "a tab where a line begins", "use spaces");
        } else if tail.contains('\t') && tail.trim().is_empty() {
            refused(lines_before(tail), 1, "a tab where a line begins", "remove it");
        }
        let first = text.lines().enumerate().find(|(_, line)| !says_nothing(line.as_bytes()));
        if let Some((line, _)) = first.filter(|(_, line)| line.starts_with("...")) {
            refused(line, 1, "a document ends before it began", "remove the dots");
        }
    }

    fn is_in_brackets(&self) -> bool {
        self.open.last().is_some_and(|open| open.style == StructureStyle::Flow)
    }

    fn close(&mut self) -> Result<(), Broken> {
        let Some(Open { at, anchor, content, .. }) = self.open.pop() else { return Ok(()) };
        let value = match content {
            Content::Sequence(nodes) => Value::Sequence(nodes),
            Content::Mapping { fields, .. } => Value::Mapping(self.merged(fields)),
        };
        let below: usize = match &value {
            Value::Scalar { .. } => 0,
            Value::Sequence(nodes) => nodes.iter().map(|node| node.nodes).sum(),
            Value::Mapping(fields) => fields.iter().map(|field| field.value.nodes).sum(),
        };
        self.finish(Node { at, value: Rc::new(value), nodes: 1 + below }, anchor)
    }

    /// Puts a whole node where it belongs.
    fn finish(&mut self, node: Node, anchor: usize) -> Result<(), Broken> {
        // What an alias stands for counts every time, or a few lines would become a tree without end.
        self.nodes += if anchor == 0 && Rc::strong_count(&node.value) > 1 { node.nodes } else { 1 };
        if self.nodes > MAX_NODES {
            let message = format!("more than {MAX_NODES} values, aliases counted as what they stand for");
            self.problems.add(
                node.at,
                message,
                "split the file, and write values out instead of using aliases",
            );
            return Err(Broken);
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.root = Some(node),
            Some(Content::Sequence(nodes)) => nodes.push(node),
            Some(Content::Mapping { fields, key }) => match key.take() {
                Some((at, key)) => fields.push(Field { at, key, value: node }),
                None => match &*node.value {
                    Value::Scalar { text, .. } => *key = Some((node.at, text.clone())),
                    Value::Sequence(_) | Value::Mapping(_) => {
                        self.problems.add(node.at, "a key that is no word", "write a plain key");
                        return Err(Broken);
                    }
                },
            },
        }
        Ok(())
    }

    /// The fields with those of `<<` added, which the mapping's own go before. A key that is there twice is told.
    fn merged(&mut self, fields: Vec<Field>) -> Vec<Field> {
        let mut own: Vec<Field> = Vec::with_capacity(fields.len());
        let mut sources = Vec::new();
        let mut seen: BTreeMap<String, Position> = BTreeMap::new();
        for field in fields {
            if field.key == "<<" {
                sources.push(field.value);
            } else if let Some(first) = seen.get(&field.key) {
                let message = format!("key {:?} is there twice, first in line {}", field.key, first.line);
                self.problems.add(field.at, message, "Thanos refuses the whole file: remove one");
            } else {
                seen.insert(field.key.clone(), field.at);
                own.push(field);
            }
        }
        for source in sources {
            let maps: Vec<Node> = match &*source.value {
                Value::Sequence(maps) => maps.clone(),
                Value::Scalar { .. } | Value::Mapping(_) => vec![source],
            };
            for map in maps {
                let Value::Mapping(more) = &*map.value else {
                    self.problems.add(
                        map.at,
                        "<< is followed by no mapping",
                        "Thanos refuses the whole file",
                    );
                    continue;
                };
                for field in more {
                    if seen.insert(field.key.clone(), field.at).is_none() {
                        own.push(field.clone());
                    }
                }
            }
        }
        own
    }

    fn scan_error(&mut self, error: &ScanError) {
        let marker = error.marker();
        let at = Position { line: marker.line().max(1), column: marker.col() + 1 };
        let message = format!("neither YAML nor JSON: {}", error.info());
        self.problems.add(
            at,
            message,
            "Thanos cannot read any of the file; check indentation, quotes and brackets",
        );
    }
}

// === impl Node ===

impl Node {
    /// The text of a scalar that is not null.
    pub fn text(&self) -> Option<&str> {
        match &*self.value {
            Value::Scalar { text, .. } if !self.is_null() => Some(text),
            _ => None,
        }
    }

    /// Nothing, or a word for it.
    pub fn is_null(&self) -> bool {
        let words = ["", "~", "null", "Null", "NULL"];
        matches!(&*self.value, Value::Scalar { text, plain: true } if words.contains(&text.as_str()))
    }

    /// As Thanos reads it where it wants a boolean: also the words of YAML 1.1, but no quotes.
    pub fn boolean(&self) -> Option<bool> {
        let Value::Scalar { text, plain: true } = &*self.value else { return None };
        match text.as_str() {
            "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" => Some(true),
            "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n" | "N" => {
                Some(false)
            }
            _ => None,
        }
    }

    /// Its items.
    pub fn sequence(&self) -> Option<&[Self]> {
        match &*self.value {
            Value::Sequence(nodes) => Some(nodes),
            _ => None,
        }
    }

    /// Its fields.
    pub fn mapping(&self) -> Option<&[Field]> {
        match &*self.value {
            Value::Mapping(fields) => Some(fields),
            _ => None,
        }
    }

    /// The value under `key`.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.mapping()?.iter().find(|field| field.key == key).map(|field| &field.value)
    }

    /// For messages.
    pub fn kind(&self) -> &'static str {
        match &*self.value {
            Value::Scalar { .. } if self.is_null() => "nothing",
            Value::Scalar { .. } => "a single value",
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> (Option<Node>, Problems) {
        let mut problems = Problems::default();
        (read(text, &mut problems), problems)
    }

    fn first_problem(text: &str) -> (String, usize) {
        let (_, problems) = tree(text);
        let first = problems.told.first().unwrap_or_else(|| unreachable!("{text:?} has no problem"));
        (first.message.clone(), first.at.line)
    }

    #[test]
    fn every_node_knows_where_it_stands_in_yaml_and_json() {
        for (text, line, column) in
            [("a:\n- {b: c}\n", 2, 7), ("{\"a\":\n [{\"b\": \"c\"}]}", 2, 9), ("a:\n  - b: 'c'\n", 2, 8)]
        {
            let (root, problems) = tree(text);
            assert!(problems.is_empty(), "{problems:?}");
            let root = root.expect("a tree");
            let item = &root.get("a").and_then(Node::sequence).expect("a list")[0];
            let found = item.get("b").expect("there");
            assert_eq!((found.text(), found.at), (Some("c"), Position { line, column }), "{text:?}");
        }
    }

    #[test]
    fn aliases_and_merge_keys_are_followed() {
        let (root, problems) = tree("a: &x {b: 1, c: 2}\nd: *x\ne: {<<: *x, b: 3}\nf: {<<: [*x, {g: 4}]}\n");
        assert!(problems.is_empty(), "{problems:?}");
        let root = root.expect("a tree");
        let text = |outer: &str, inner: &str| root.get(outer)?.get(inner)?.text().map(ToOwned::to_owned);
        assert_eq!(text("d", "b").as_deref(), Some("1"));
        assert_eq!((text("e", "b").as_deref(), text("e", "c").as_deref()), (Some("3"), Some("2")));
        assert_eq!((text("f", "g").as_deref(), text("f", "c").as_deref()), (Some("4"), Some("2")));
    }

    #[test]
    fn a_few_lines_do_not_become_a_tree_without_end() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let alias = format!("*a{}", level - 1);
            text.push_str(&format!("a{level}: &a{level} [{}]\n", [alias.as_str(); 10].join(", ")));
        }
        assert!(first_problem(&text).0.contains("aliases"));
        assert!(first_problem("a: &a [*a]\n").0.contains("alias"));
        assert!(first_problem("a: *b\n").0.contains("YAML"));
        assert!(first_problem(&"[".repeat(100_000)).0.contains("YAML"));
        assert!(first_problem(&"- ".repeat(100_000)).0.contains("YAML"));
    }

    #[test]
    fn what_is_wrong_with_the_text_is_told_with_its_line() {
        assert_eq!(
            first_problem("a: 1\nb: 2\na: 3\n"),
            ("key \"a\" is there twice, first in line 1".to_owned(), 3)
        );
        assert_eq!(first_problem("a: 1\n---\nb: 2\n").1, 2);
        assert_eq!(first_problem("a: [1\nb: 2\n").1, 2);
        assert_eq!(first_problem("? [a]\n: b\n").0, "a key that is no word");
        assert_eq!(first_problem("a:\n\t- b\n").1, 2);
        assert_eq!(first_problem("# ours\n%YAML 1.2\n---\na: 1\n").1, 2);
        assert!(first_problem("a: 1\nb: !!binary YTox\n").0.contains("tag"));
    }

    #[test]
    fn booleans_are_those_of_thanos_reader() {
        let boolean = |text: &str| tree(text).0.and_then(|root| root.boolean());
        assert_eq!(["true", "yes", "ON", "y"].map(boolean), [Some(true); 4]);
        assert_eq!(["False", "no", "off", "N"].map(boolean), [Some(false); 4]);
        assert_eq!(["'true'", "tRue", "1", "~", "[true]"].map(boolean), [None; 5]);
    }

    #[test]
    fn a_text_that_says_nothing_has_no_tree() {
        for text in ["", "\n", "# nothing\n"] {
            let (root, problems) = tree(text);
            assert!(root.is_none() && problems.is_empty(), "{text:?}: {root:?} {problems:?}");
        }
    }
}
