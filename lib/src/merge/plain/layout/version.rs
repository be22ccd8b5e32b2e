//! Where the values of a version are written, in lines or in brackets.

use std::ops::Range;

use crate::format::Format;
use crate::secret::SecretBytes;
use crate::tree::{NodeId, Origin, Style, Tree, Value};

/// A version, and where each of its values ends.
pub(super) struct Version<'a> {
    pub(super) tree: &'a Tree,
    format: Format,
    ends: Vec<u32>,
    line_break: &'static str,
}

impl<'a> Version<'a> {
    pub(super) fn new(format: Format, tree: &'a Tree) -> Self {
        let mut ends: Vec<u32> = vec![0; tree.nodes().len()];
        for (id, node) in tree.nodes().rev() {
            let is_written = node.origin != Origin::Copy && !matches!(node.value, Value::Comment(_));
            let own = if is_written { node.span.end } else { 0 };
            let below = tree.children(id).map(|child| ends[child.index()]).max();
            ends[id.index()] = own.max(below.unwrap_or_default());
        }
        Self { tree, format, ends, line_break: line_break_of(format, tree.source()) }
    }

    pub(super) fn source(&self) -> &'a [u8] {
        self.tree.source()
    }

    /// Returns where the text of each document is, from the line that starts it to the next one's.
    pub(super) fn documents(&self) -> Option<Vec<Range<usize>>> {
        let source = self.source();
        let mut starts = vec![0];
        if self.format == Format::Yaml {
            let mut is_started = false;
            let mut at = 0;
            while at < source.len() {
                let line = &source[at..self.next_line(at)];
                let line_text = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
                if is_marker(line_text, b"---") {
                    if is_started {
                        starts.push(at);
                    }
                    is_started = true;
                } else if !line_text.starts_with(b"%")
                    && !is_marker(line_text, b"...")
                    && !is_layout(line_text)
                {
                    is_started = true;
                }
                at += line.len();
            }
        }
        let ends = starts.iter().skip(1).copied().chain([source.len()]);
        let ranges: Vec<_> = starts.iter().copied().zip(ends).map(|(start, end)| start..end).collect();
        (ranges.len() == self.tree.documents().len()).then_some(ranges)
    }

    /// Returns whether a map or list is written in brackets.
    pub(super) fn is_flow(&self, node: NodeId) -> bool {
        self.format == Format::Json || self.tree.node(node).style == Style::Flow
    }

    pub(super) fn span(&self, node: NodeId) -> Range<usize> {
        let span = self.tree.node(node).span;
        span.start as usize..span.end as usize
    }

    /// Returns where the key or dash of an entry is.
    pub(super) fn key_start(&self, node: NodeId) -> usize {
        self.tree.node(node).key_start as usize
    }

    /// Returns where a value and all below it end.
    pub(super) fn end(&self, node: NodeId) -> usize {
        self.ends[node.index()] as usize
    }

    /// Returns where the line that an entry ends on ends.
    pub(super) fn entry_end(&self, node: NodeId) -> usize {
        let (start, end) = (self.key_start(node), self.end(node));
        let value = self.tree.node(node);
        let is_nowhere = self.format == Format::Ini && value.span.is_empty() && value.value == Value::Map;
        if is_nowhere || end > start && ends_line(&self.source()[..end]) {
            return end.max(start);
        }
        self.next_line(end.max(start))
    }

    /// Returns where the line of an entry begins, or its key if that is not the first on its line.
    pub(super) fn entry_start(&self, node: NodeId) -> usize {
        let start = self.key_start(node);
        let line = self.line_start(start);
        if self.source()[line..start].iter().all(|byte| matches!(byte, b' ' | b'\t')) { line } else { start }
    }

    /// Returns where the entries of a map or list in lines are, and the lines between them.
    pub(super) fn region(&self, node: NodeId) -> Option<Range<usize>> {
        if self.is_flow(node) {
            return None;
        }
        let start = self.key_start(node);
        let Some(first) = self.tree.items(node).next() else {
            let end = self.entry_end(node);
            return Some(end..end);
        };
        let is_header = self.format != Format::Ini || self.source().get(start) == Some(&b'[');
        let first = self.entry_start(first);
        let start = match is_header {
            true if first == self.line_start(first) => self.next_line(start).min(first),
            true => first,
            false => start,
        };
        let end = self.entry_end(node);
        (start <= end).then_some(start..end)
    }

    pub(super) fn line_start(&self, at: usize) -> usize {
        let start = if self.source().starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        let before = &self.source()[..at];
        before.iter().rposition(|&byte| byte == b'\n').map_or(start, |line_break| line_break + 1).min(at)
    }

    /// Returns where the line behind the one with byte `at` begins.
    pub(super) fn next_line(&self, at: usize) -> usize {
        let rest = &self.source()[at..];
        rest.iter().position(|&byte| byte == b'\n').map_or(self.source().len(), |length| at + length + 1)
    }

    /// Returns how many characters stand before byte `at` on its line.
    pub(super) fn column(&self, at: usize) -> usize {
        let before = &self.source()[self.line_start(at)..at];
        before.iter().filter(|&&byte| byte & 0xc0 != 0x80).count()
    }

    /// Returns the line break that the text uses.
    pub(super) fn line_break(&self) -> &'static str {
        self.line_break
    }
}

fn line_break_of(format: Format, source: &[u8]) -> &'static str {
    let end = source.iter().position(|&byte| byte == b'\n');
    match end {
        // In dotenv, a carriage return belongs to the value.
        Some(end) if source[..end].ends_with(b"\r") && format != Format::Dotenv => "\r\n",
        _ => "\n",
    }
}

/// Returns whether a line holds no value: it is empty, or a comment.
pub(super) fn is_layout(line: &[u8]) -> bool {
    matches!(line.trim_ascii_start().first(), None | Some(b'#' | b';'))
}

pub(super) fn ends_line(text: &[u8]) -> bool {
    text.last().is_none_or(|&byte| byte == b'\n')
}

/// Returns a text whose lines end with `line_break`.
pub(super) fn convert_breaks(text: &[u8], line_break: &str) -> SecretBytes {
    let mut out = SecretBytes::with_capacity(text.len() + text.len() / 16);
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        match line.strip_suffix(b"\n") {
            None => out.extend_from_slice(line),
            Some(line) => {
                out.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
                out.push_str(line_break);
            }
        }
    }
    out
}

/// Returns a text whose lines but the first are indented by `to` where they were by `from`.
pub(super) fn shifted(text: &[u8], from: usize, to: usize) -> SecretBytes {
    let mut out = SecretBytes::with_capacity(text.len() + text.len() / 8);
    for (at, line) in text.split_inclusive(|&byte| byte == b'\n').enumerate() {
        let is_blank = line.trim_ascii().is_empty();
        if at == 0 || is_blank || from == to {
            out.extend_from_slice(line);
        } else if to > from {
            (from..to).for_each(|_| out.push(b' '));
            out.extend_from_slice(line);
        } else {
            let blanks = line.iter().take_while(|&&byte| byte == b' ').count();
            out.extend_from_slice(&line[blanks.min(from - to)..]);
        }
    }
    out
}

fn is_marker(line: &[u8], marker: &[u8]) -> bool {
    let behind = line.strip_prefix(marker);
    behind.is_some_and(|rest| rest.first().is_none_or(u8::is_ascii_whitespace))
}

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
