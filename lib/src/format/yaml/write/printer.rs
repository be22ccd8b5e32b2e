//! Lines of YAML: indentation, keys, scalars and comments, laid out as go-yaml does.

use crate::format::yaml::style::{Context, binary, choose, quoted};
use crate::secret::SecretBytes;
use crate::tree::Style;

/// Text that is being written.
pub(super) struct Printer {
    out: SecretBytes,
    /// Bytes on the line so far.
    column: usize,
    /// Whether there is nothing on the line but spaces, dashes and the like, below which more may begin.
    is_indentation: bool,
    best_indent: usize,
}

impl Printer {
    pub(super) fn new(best_indent: usize) -> Self {
        Self { out: SecretBytes::new(), column: 0, is_indentation: true, best_indent }
    }

    /// Begins a line at `column`, or goes on there in a line with nothing but dashes.
    pub(super) fn start_line(&mut self, column: usize) {
        if !self.is_indentation || self.column > column {
            self.end_line();
        }
        const SPACES: &str = "                                                                ";
        while self.column < column {
            let count = (column - self.column).min(SPACES.len());
            self.put(&SPACES[..count]);
        }
    }

    /// Ends the line, if anything is on it.
    pub(super) fn end_line(&mut self) {
        if self.column > 0 {
            self.line_break();
        }
    }

    /// Writes a line that separates documents.
    pub(super) fn marker(&mut self, marker: &str) {
        self.end_line();
        self.put(marker);
        self.line_break();
    }

    /// Writes a dash or the like, behind which a line may begin.
    pub(super) fn indicator(&mut self, indicator: &str) {
        self.put(indicator);
    }

    /// Writes a word, set off from what stands before it.
    pub(super) fn word(&mut self, word: &str) {
        self.space();
        self.put(word);
        self.is_indentation = false;
    }

    /// Writes a comment on a line of its own, at `column`.
    pub(super) fn comment(&mut self, comment: &str, column: usize) {
        for (index, line) in lines(comment).enumerate() {
            if index > 0 && line.is_empty() {
                continue;
            }
            self.start_line(column);
            self.put(if index == 0 {
                "#"
            } else if line.starts_with('#') {
                ""
            } else {
                "# "
            });
            self.put(line);
            self.line_break();
        }
    }

    /// Writes a comment behind what is on the line.
    pub(super) fn beside(&mut self, comment: Option<&str>) {
        let Some(comment) = comment else { return };
        for (index, line) in lines(comment).enumerate() {
            self.space();
            self.put(if index == 0 { "#" } else { "" });
            self.put(line);
        }
        self.is_indentation = false;
    }

    /// Writes a key and a colon; a long one, or one of several lines, with a question mark.
    pub(super) fn key(&mut self, key: &[u8], indent: usize) {
        let is_simple = key.len() <= LONGEST_SIMPLE_KEY && !holds_line_break(key);
        if is_simple {
            self.string(key, None, indent, false);
            self.put(":");
            return;
        }
        self.indicator("?");
        self.string(key, None, indent, false);
        self.start_line(indent);
        self.indicator(":");
    }

    /// Writes a string with the comment beside it, in or below a line at `indent`.
    pub(super) fn string(&mut self, bytes: &[u8], beside: Option<&str>, indent: usize, in_list: bool) {
        let encoded;
        let (text, style) = match std::str::from_utf8(bytes) {
            Ok(text) => (text, choose(text, Context::Block)),
            Err(_) => {
                self.word("!!binary");
                encoded = binary(bytes);
                let is_long = encoded.contains('\n');
                (encoded.as_str(), if is_long { Style::Literal } else { Style::Plain })
            }
        };
        self.space();
        self.is_indentation = false;
        if style == Style::Literal {
            self.literal(text, beside, indent, self.nested_indent(indent, in_list));
            return;
        }
        let start = self.out.len();
        quoted(text, style, &mut self.out);
        self.column += self.out.len() - start;
        self.beside(beside);
    }

    /// Writes the text of a block scalar at `column`, below its header.
    fn literal(&mut self, text: &str, beside: Option<&str>, indent: usize, column: usize) {
        let content = text.trim_end_matches('\n');
        self.put("|");
        if text.starts_with([' ', '\n']) {
            // go-yaml always says `best_indent`, even where the lines stand elsewhere.
            let hint = if content.is_empty() { self.best_indent } else { column - indent };
            self.put(&hint.to_string());
        }
        self.put(match text.len() - content.len() {
            0 => "-",
            1 if !content.is_empty() => "",
            _ => "+",
        });
        self.beside(beside);
        self.line_break();
        let body = text.strip_suffix('\n').unwrap_or(text);
        for line in body.split('\n') {
            if !line.is_empty() {
                self.start_line(column);
                self.put(line);
            }
            self.line_break();
        }
    }

    /// Returns where lines below a key or dash at `indent` begin.
    pub(super) fn nested_indent(&self, indent: usize, in_list: bool) -> usize {
        if in_list { indent + 2 } else { (indent + self.best_indent) / self.best_indent * self.best_indent }
    }

    /// Returns what was written.
    pub(super) fn finish(self) -> SecretBytes {
        self.out
    }

    fn space(&mut self) {
        if self.column > 0 && self.out.expose_secret().last() != Some(&b' ') {
            self.put(" ");
        }
    }

    fn line_break(&mut self) {
        self.out.push(b'\n');
        self.column = 0;
        self.is_indentation = true;
    }

    fn put(&mut self, text: &str) {
        self.out.push_str(text);
        self.column += text.len();
    }
}

/// The longest key that go-yaml writes without a question mark, in bytes.
const LONGEST_SIMPLE_KEY: usize = 128;

fn holds_line_break(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| text.contains(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']))
}

/// Returns the lines of a comment, by any of YAML's line breaks.
fn lines(comment: &str) -> impl Iterator<Item = &str> {
    comment.split(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'])
}
