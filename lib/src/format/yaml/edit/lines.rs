//! The lines of a source: where they begin and end, and how they are indented.

use crate::format::yaml::write::DEFAULT_INDENT;
use crate::tree::{Node, Origin, Style, Tree, Value};

/// A source, seen as lines.
#[derive(Clone, Copy)]
pub(super) struct Lines<'a> {
    source: &'a [u8],
}

impl<'a> Lines<'a> {
    pub(super) const fn new(source: &'a [u8]) -> Self {
        Self { source }
    }

    /// Returns the line break that the source uses.
    pub(super) fn line_break(self) -> &'static str {
        match self.source.iter().position(is_break) {
            Some(at) if self.source[at..].starts_with(b"\r\n") => "\r\n",
            Some(at) if self.source[at] == b'\r' => "\r",
            _ => "\n",
        }
    }

    /// Returns where the line with byte `at` begins; a byte order mark belongs to no line.
    pub(super) fn start(self, at: usize) -> usize {
        let first = if self.source.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        self.source[..at].iter().rposition(is_break).map_or(first, |line_break| line_break + 1).min(at)
    }

    /// Returns where the line with byte `at` ends, without its line break.
    pub(super) fn end(self, at: usize) -> usize {
        self.source[at..].iter().position(is_break).map_or(self.source.len(), |length| at + length)
    }

    /// Returns where the line behind the one with byte `at` begins, or the end of the source.
    pub(super) fn next(self, at: usize) -> usize {
        let end = self.end(at);
        let rest = &self.source[end..];
        end + if rest.starts_with(b"\r\n") { 2 } else { rest.len().min(1) }
    }

    /// Returns where the line break before the line that begins at `start` begins.
    pub(super) fn break_before(self, start: usize) -> usize {
        match &self.source[..start] {
            [.., b'\r', b'\n'] => start - 2,
            [.., b'\r' | b'\n'] => start - 1,
            _ => start,
        }
    }

    /// Returns how many characters stand before byte `at` on its line.
    pub(super) fn column(self, at: usize) -> usize {
        let before = &self.source[self.start(at)..at];
        before.iter().filter(|&&byte| byte & 0xc0 != 0x80).count()
    }

    /// Returns whether the source ends with a line break, or is empty.
    pub(super) fn ends_with_break(self) -> bool {
        self.source.last().is_none_or(is_break)
    }

    /// Returns whether nothing but white space stands between two places.
    pub(super) fn is_blank(self, start: usize, end: usize) -> bool {
        self.source[start..end].iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
    }

    /// Returns where the next line that ends or begins a document begins, from a place on, or the end of
    /// the source.
    pub(super) fn next_marker(self, at: usize) -> usize {
        let mut line = if at == self.start(at) { at } else { self.next(at) };
        while line < self.source.len() && !self.is_marker(line) {
            line = self.next(line);
        }
        line
    }

    /// Returns whether a line that begins at `line` starts or ends a document.
    pub(super) fn is_marker(self, line: usize) -> bool {
        let text = &self.source[line..];
        let behind = text.get(3);
        (text.starts_with(b"---") || text.starts_with(b"..."))
            && behind.is_none_or(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
    }
}

/// Returns the spaces that a document's own maps are indented by.
pub(super) fn indent_of(tree: &Tree) -> usize {
    let lines = Lines::new(tree.source());
    let column = |id| lines.column(tree.node(id).key_start as usize);
    let is_block_entry = |node: &Node| {
        let is_block_map = node.value == Value::Map && node.style == Style::Block;
        is_block_map && node.origin == Origin::Source && node.key.is_some()
    };
    let maps = tree.nodes().filter(|(_, node)| is_block_entry(node)).map(|(id, _)| id);
    let steps = maps.filter_map(|map| Some(column(tree.items(map).next()?).saturating_sub(column(map))));
    steps.into_iter().find(|step| (2..=9).contains(step)).unwrap_or(DEFAULT_INDENT)
}

/// Returns the spaces that a document's own lists are indented by below their keys, if it has any.
pub(super) fn list_indent_of(tree: &Tree) -> Option<usize> {
    let lines = Lines::new(tree.source());
    let column = |id| lines.column(tree.node(id).key_start as usize);
    let is_block_entry = |node: &Node| {
        let is_block_list = node.value == Value::List && node.style == Style::Block;
        is_block_list && node.origin == Origin::Source && node.key.is_some()
    };
    let mut lists = tree.nodes().filter(|(_, node)| is_block_entry(node)).map(|(id, _)| id);
    lists.find_map(|list| Some(column(tree.items(list).next()?).saturating_sub(column(list))))
}

pub(super) const fn is_break(byte: &u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
