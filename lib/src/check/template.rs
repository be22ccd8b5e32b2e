//! Actions of Go templates (`{{ … }}`) in a text, as in charts of Helm: they are put out of the way, so that what
//! is around them can be read as YAML, byte for byte in the same place.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memmem;

/// A text whose actions are put out of the way.
pub(super) struct Masked<'a> {
    /// The text: as long as before, with lines where they were.
    pub text: Cow<'a, str>,
    /// Where the actions are, in order.
    pub actions: Vec<Range<usize>>,
}

/// Puts the actions of a text out of the way: one with its lines for itself becomes blank, any other a word.
pub(super) fn mask(text: &str) -> Masked<'_> {
    let actions = actions(text);
    if actions.is_empty() {
        return Masked { text: Cow::Borrowed(text), actions };
    }
    let mut masked = text.as_bytes().to_vec();
    let mut index = 0;
    while index < actions.len() {
        // Several actions may share the lines that they have for themselves.
        let line_start = text[..actions[index].start].rfind('\n').map_or(0, |at| at + 1);
        let mut last = index;
        let mut line_end = line_end(text, actions[index].end);
        while let Some(next) = actions.get(last + 1).filter(|next| next.start < line_end) {
            // Many actions may share one long line: its end is looked for once.
            if next.end > line_end {
                line_end = self::line_end(text, next.end);
            }
            last += 1;
        }
        let group = &actions[index..=last];
        let alone = is_alone(text, line_start..line_end, group);
        for action in group {
            blank(&mut masked[action.clone()], alone);
        }
        index = last + 1;
    }
    let text = String::from_utf8(masked)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    Masked { text: Cow::Owned(text), actions }
}

/// Returns where the actions are. What opens and never closes is none, nor is what has lines of keys in it: so much
/// that two braces stand somewhere before a Secret, and two others behind it, does not hide it.
fn actions(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut scan = Scan { bytes: text.as_bytes(), has_raw_end: true, has_comment_end: true, unquoted: 0 };
    let mut from = 0;
    while let Some(start) = memmem::find(&scan.bytes[from..], b"{{").map(|at| from + at) {
        match scan.end(start) {
            End::At(end) => {
                if !holds_keys(&text[start..end]) {
                    found.push(start..end);
                }
                from = end;
            }
            End::Reopened(at) => from = at,
            End::Missing => break,
        }
    }
    found
}

struct Scan<'a> {
    bytes: &'a [u8],
    /// Whether texts in backticks, and comments, may still end: looked for in vain once is enough.
    has_raw_end: bool,
    has_comment_end: bool,
    /// Where the line ends in which a text in quotes was found not to end.
    unquoted: usize,
}

enum End {
    /// One past the last brace.
    At(usize),
    /// It never ends.
    Missing,
    /// Another one starts before it ends.
    Reopened(usize),
}

impl Scan<'_> {
    fn end(&mut self, start: usize) -> End {
        let mut at = start + 2;
        let inner = self.bytes[at..].strip_prefix(b"-").map_or(at, |_| at + 1);
        let spaces = self.bytes[inner..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        if self.has_comment_end && self.bytes[inner + spaces..].starts_with(b"/*") {
            match memmem::find(&self.bytes[inner + spaces..], b"*/") {
                Some(length) => at = inner + spaces + length + 2,
                None => self.has_comment_end = false,
            }
        }
        while let Some(&byte) = self.bytes.get(at) {
            let next = self.bytes.get(at + 1);
            at = match byte {
                b'}' if next == Some(&b'}') => return End::At(at + 2),
                b'{' if next == Some(&b'{') => return End::Reopened(at),
                b'"' => self.quoted(at),
                b'`' => self.raw(at),
                _ => at + 1,
            };
        }
        End::Missing
    }

    /// Returns one past a text in quotes, which has no line break; one past the quote if it does not end.
    fn quoted(&mut self, start: usize) -> usize {
        let mut at = start + 1;
        while start >= self.unquoted
            && let Some(&byte) = self.bytes.get(at)
        {
            match byte {
                b'"' => return at + 1,
                b'\n' => break,
                b'\\' => at += 2,
                _ => at += 1,
            }
        }
        self.unquoted = self.unquoted.max(at);
        start + 1
    }

    fn raw(&mut self, start: usize) -> usize {
        if self.has_raw_end {
            if let Some(length) = memchr::memchr(b'`', &self.bytes[start + 1..]) {
                return start + length + 2;
            }
            self.has_raw_end = false;
        }
        start + 1
    }
}

/// Returns whether an action that is no comment has lines that are entries of a map, or part documents.
fn holds_keys(action: &str) -> bool {
    let inner = action.trim_start_matches(['{', '-']).trim_start();
    if inner.starts_with("/*") || !action.contains('\n') || action.contains('`') {
        return false;
    }
    action.lines().skip(1).any(|line| {
        let line = line.trim();
        let key =
            line.trim_start_matches(|letter: char| letter.is_alphanumeric() || "\"'_-./".contains(letter));
        let is_key = key.len() < line.len()
            && key
                .trim_start()
                .strip_prefix(':')
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(' '));
        is_key || line == "---"
    })
}

/// Returns whether there is nothing but space around actions in their lines.
fn is_alone(text: &str, lines: Range<usize>, actions: &[Range<usize>]) -> bool {
    let mut at = lines.start;
    let mut is_blank = |to: usize, next: usize| {
        let between = text[at..to].trim().is_empty();
        at = next;
        between
    };
    actions.iter().all(|action| is_blank(action.start, action.end)) && is_blank(lines.end, lines.end)
}

/// Puts a word, or blanks, in place of an action, but for its line breaks.
fn blank(action: &mut [u8], is_alone: bool) {
    let is_break = |byte: &u8| *byte == b'\n' || *byte == b'\r';
    // A line break within a word would end it.
    let letter = if is_alone || action.iter().any(is_break) { b' ' } else { WORD };
    action.iter_mut().filter(|byte| !is_break(byte)).for_each(|byte| *byte = letter);
}

fn line_end(text: &str, from: usize) -> usize {
    text[from..].find('\n').map_or(text.len(), |at| from + at)
}

/// What words are made of that stand for actions.
const WORD: u8 = b'z';

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_around_actions_stays_where_it_is() {
        let text = "{{- if .a }}\nkey: {{ .b }}\n{{- else }} {{/* x\ny */}}\nurl: http://{{ .h }}/x\n{{ end }}\n{{ open";
        let masked = mask(text);
        let wanted = "            \nkey: zzzzzzzz\n                  \n      \nurl: http://zzzzzzzz/x\n         \n{{ open";
        assert_eq!(masked.text, wanted);
        assert_eq!(masked.text.len(), text.len());
        assert_eq!(masked.actions.len(), 6);
    }

    #[test]
    fn other_letters_survive() {
        let text = "a: \"ü{{ \"ö\" }}ä\"\n";
        let masked = mask(text);
        assert_eq!(masked.text.len(), text.len());
        assert!(masked.text.starts_with("a: \"ü") && masked.text.ends_with("ä\"\n"), "{}", masked.text);
    }

    fn masked_actions(text: &str) -> Vec<&str> {
        mask(text).actions.into_iter().map(|action| &text[action]).collect()
    }

    #[test]
    fn braces_in_texts_of_actions_do_not_end_them() {
        assert_eq!(masked_actions("a: {{ \"}}\" }}\n"), ["{{ \"}}\" }}"]);
        assert_eq!(masked_actions("a: {{ `{{ $x }}` }}\n"), ["{{ `{{ $x }}` }}"]);
        assert_eq!(masked_actions("{{- /* }} */ -}}\n"), ["{{- /* }} */ -}}"]);
        assert_eq!(masked_actions("a: {{ \"open }}\n"), ["{{ \"open }}"]);
    }

    #[test]
    fn braces_far_apart_hide_nothing() {
        assert!(masked_actions("# {{ is how\nkind: Secret\n# and }}\n").is_empty());
        assert_eq!(masked_actions("# {{ is how\na: {{ .b }}\n"), ["{{ .b }}"]);
        assert_eq!(masked_actions("a: {{ .b |\n  quote }}\n").len(), 1);
    }

    #[test]
    fn long_lines_and_open_actions_take_linear_time() {
        let line = "{{ .a }} ".repeat(100_000);
        assert_eq!(mask(&line).actions.len(), 100_000);
        for open in ["{{ \"}}\" ", "{{ ` ", "{{/* ", "{{\nk: \n", "{{ ", "{{ \\\"\"\\"] {
            let _ = mask(&open.repeat(100_000));
        }
    }
}
