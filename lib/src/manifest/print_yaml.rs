//! Objects as YAML in the style of Kubernetes' tools: that of go-yaml v2 behind `sigs.k8s.io/yaml`.
//!
//! Keys are sorted, lists are not indented below their key, what YAML 1.1 takes for anything but a string
//! is quoted, long lines are folded. Three things are quoted or escaped that those tools lose or that two
//! readers read differently: U+0085, U+2028 and U+2029; control characters of U+007F and above; the key `<<`.

mod order;
mod scalar;

use serde_json::{Map, Value};

use super::number::number_text;
use crate::secret::SecretBytes;

use order::sorted;
use scalar::{Holds, Style};

/// Returns a value as YAML, with a line break at its end.
#[must_use]
pub fn print_yaml(value: &Value) -> SecretBytes {
    let mut printer = Printer::new();
    printer.node(value, Place::Root);
    printer.indent = None;
    printer.start_line();
    printer.out
}

/// Writes a document as the emitter of go-yaml v2 does.
struct Printer {
    out: SecretBytes,
    /// How many characters are on the line.
    column: usize,
    /// How far the lines of the innermost block are indented; the document itself is in no block.
    indent: Option<usize>,
    /// Whether what was written last ends with a blank.
    after_blank: bool,
    /// Whether nothing but blanks and indicators is on the line.
    at_start: bool,
}

/// What a node is part of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A list.
    Item,
    /// A map, as a key that fits on a line.
    Key,
    /// A map, as a key behind a `?`.
    LongKey,
    /// Nothing.
    Root,
    /// A map, as a value.
    Value,
}

impl Printer {
    const fn new() -> Self {
        Self { out: SecretBytes::new(), column: 0, indent: None, after_blank: true, at_start: true }
    }

    fn node(&mut self, value: &Value, place: Place) {
        match value {
            Value::Array(items) if items.is_empty() => self.word("[]"),
            Value::Array(items) => self.list(items, place),
            Value::Bool(value) => self.word(if *value { "true" } else { "false" }),
            Value::Null => self.word("null"),
            Value::Number(number) => self.word(&number_text(number)),
            Value::Object(fields) if fields.is_empty() => self.word("{}"),
            Value::Object(fields) => self.map(fields),
            Value::String(text) => self.string(text, place),
        }
    }

    fn list(&mut self, items: &[Value], place: Place) {
        let outer = self.indent;
        // Below its key, a list begins where the key does.
        if place != Place::Value || self.at_start {
            self.indent = self.deeper();
        }
        for item in items {
            self.start_line();
            self.indicator("-", true);
            self.node(item, Place::Item);
        }
        self.indent = outer;
    }

    fn map(&mut self, fields: &Map<String, Value>) {
        let outer = self.indent;
        self.indent = self.deeper();
        for (key, value) in sorted(fields) {
            self.start_line();
            if is_simple_key(key) {
                self.string(key, Place::Key);
                self.mark(":");
            } else {
                self.indicator("?", true);
                self.string(key, Place::LongKey);
                self.start_line();
                self.indicator(":", true);
            }
            self.node(value, Place::Value);
        }
        self.indent = outer;
    }

    fn string(&mut self, text: &str, place: Place) {
        let outer = self.indent;
        self.indent = Some(outer.map_or(INDENT, |indent| indent + INDENT));
        let folds = place != Place::Key;
        match scalar::choose(text, place == Place::Key, matches!(place, Place::Key | Place::LongKey)) {
            Style::DoubleQuoted => self.double_quoted(text, folds),
            Style::Literal => self.literal(text),
            Style::Plain => self.plain(text, folds),
            Style::SingleQuoted => self.single_quoted(text, folds),
        }
        self.indent = outer;
    }

    fn plain(&mut self, text: &str, folds: bool) {
        self.space();
        self.folded(text, folds, |_| false, Self::put);
        self.after_blank = false;
        self.at_start = false;
    }

    fn single_quoted(&mut self, text: &str, folds: bool) {
        self.indicator("'", false);
        let last = text.len().saturating_sub(1);
        let put = |printer: &mut Self, char| {
            if char == '\'' {
                printer.put('\'');
            }
            printer.put(char);
        };
        self.folded(text, folds, |at| at == 0 || at == last, put);
        self.mark("'");
    }

    /// Writes a text of one line, with a line break in place of a blank that stands alone where it is too
    /// long; `keeps` tells which blanks must stay.
    fn folded(
        &mut self,
        text: &str,
        folds: bool,
        keeps: impl Fn(usize) -> bool,
        put: impl Fn(&mut Self, char),
    ) {
        let mut after_blank = false;
        for (at, char) in text.char_indices() {
            let is_alone = !after_blank && text.as_bytes().get(at + 1) != Some(&b' ');
            if char == ' ' && folds && is_alone && self.column > WIDTH && !keeps(at) {
                self.start_line();
            } else {
                put(self, char);
                self.at_start &= char == ' ';
            }
            after_blank = char == ' ';
        }
    }

    fn double_quoted(&mut self, text: &str, folds: bool) {
        self.indicator("\"", false);
        // A byte order mark at the beginning is taken for one at every place.
        let escapes_all = text.starts_with('\u{feff}');
        let last = text.len().saturating_sub(1);
        let mut after_blank = false;
        for (at, char) in text.char_indices() {
            if escapes_all || scalar::is_escaped(char) {
                self.put_escape(char);
                after_blank = false;
            } else if char == ' ' && folds && !after_blank && self.column > WIDTH && at > 0 && at < last {
                self.start_line();
                if text.as_bytes()[at + 1] == b' ' {
                    self.put('\\');
                }
                after_blank = true;
            } else {
                self.put(char);
                after_blank = char == ' ';
            }
        }
        self.mark("\"");
    }

    fn literal(&mut self, text: &str) {
        self.indicator("|", false);
        if text.starts_with([' ', '\n']) {
            self.put('2');
        }
        match text.strip_suffix('\n') {
            None => self.put('-'),
            Some(rest) if rest.is_empty() || rest.ends_with('\n') => self.put('+'),
            Some(_) => {}
        }
        self.end_line();
        self.after_blank = true;
        for line in text.split_inclusive('\n') {
            let words = line.strip_suffix('\n').unwrap_or(line);
            if !words.is_empty() {
                self.start_line();
                self.put_str(words);
                self.at_start = false;
            }
            if line.len() > words.len() {
                self.end_line();
            }
        }
    }

    /// Starts a line at the indentation of the block, unless one was just started there.
    fn start_line(&mut self) {
        let indent = self.indent.unwrap_or(0);
        if !self.at_start || self.column > indent || (self.column == indent && !self.after_blank) {
            self.end_line();
        }
        while self.column < indent {
            self.put(' ');
        }
        self.after_blank = true;
        self.at_start = true;
    }

    fn end_line(&mut self) {
        self.out.push(b'\n');
        self.column = 0;
        self.at_start = true;
    }

    /// Writes an indicator with a blank before it; behind `-`, `?` and `:` a block may begin on the line.
    fn indicator(&mut self, text: &str, leads_in: bool) {
        self.space();
        self.put_str(text);
        self.after_blank = false;
        self.at_start &= leads_in;
    }

    /// Writes an indicator without a blank before it.
    fn mark(&mut self, text: &str) {
        self.put_str(text);
        self.after_blank = false;
        self.at_start = false;
    }

    fn word(&mut self, text: &str) {
        self.space();
        self.mark(text);
    }

    fn space(&mut self) {
        if !self.after_blank {
            self.put(' ');
        }
    }

    fn put_escape(&mut self, char: char) {
        let before = self.out.len();
        scalar::escape(char, &mut self.out);
        self.column += self.out.len() - before;
    }

    fn put_str(&mut self, text: &str) {
        self.out.push_str(text);
        self.column += text.chars().count();
    }

    fn put(&mut self, char: char) {
        self.put_str(char.encode_utf8(&mut [0; 4]));
    }

    fn deeper(&self) -> Option<usize> {
        Some(self.indent.map_or(0, |indent| indent + INDENT))
    }
}

/// Returns whether a key stands before its `:` without a `?`.
fn is_simple_key(key: &str) -> bool {
    key.len() <= LONGEST_KEY && !Holds::of(key).line_break
}

/// The spaces of a level.
const INDENT: usize = 2;

/// How many bytes a key may have that is written without a `?`.
const LONGEST_KEY: usize = 128;

/// A line that is longer is folded at the next blank.
const WIDTH: usize = 80;
