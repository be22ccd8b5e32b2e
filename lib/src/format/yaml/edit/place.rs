//! Where an entry of a block stands: its key or dash, its value, and the comment on its line.

use super::anchors::{name_length, plain_length, quoted_length};
use super::entry::end_of;
use super::lines::Lines;
use crate::tree::{NodeId, Origin, Style, Tree, Value};

/// An entry of a map or list in lines.
pub(super) struct Entry<'a> {
    /// How far its key or dash is indented.
    pub(super) column: usize,
    /// Where its key ends, behind the colon, or its dash.
    pub(super) head: usize,
    /// Where its value ends.
    pub(super) end: usize,
    /// Where the line ends on which its value does.
    pub(super) line_end: usize,
    /// Whether it is an item of a list.
    pub(super) is_item: bool,
    /// Whether its value goes on in the lines below its key.
    pub(super) is_block: bool,
    /// The comment on the line of its key or dash, with the blanks before it.
    pub(super) comment: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Returns where an entry stands, or `None` if its key is of a form that this does not know.
    pub(super) fn of(tree: &'a Tree, lines: Lines<'_>, id: NodeId) -> Option<Self> {
        let node = tree.node(id);
        let source = tree.source();
        let start = node.key_start as usize;
        let head = if node.key.is_some() {
            behind_key(source, start)?
        } else {
            (source.get(start) == Some(&b'-')).then_some(start + 1)?
        };
        let is_open = matches!(node.value, Value::List | Value::Map) && node.origin != Origin::Alias;
        let is_block =
            is_open && node.style == Style::Block || matches!(node.style, Style::Literal | Style::Folded);
        let end = end_of(tree, id).max(head);
        let line_end = lines.end(end);
        let comment = if is_block {
            let first_line = &source[head..lines.end(head).min(first_value(tree, id))];
            comment_in(first_line)
        } else {
            comment_in(&source[end..line_end])
        };
        Some(Self {
            column: lines.column(start),
            head,
            end,
            line_end,
            is_item: node.key.is_none(),
            is_block,
            comment,
        })
    }
}

/// Returns where the text of a block's first entry begins; what is before it belongs to the block's key.
fn first_value(tree: &Tree, id: NodeId) -> usize {
    let first = tree.items(id).next();
    first.map_or(usize::MAX, |first| tree.node(first).key_start as usize)
}

/// Returns the comment that a piece of a line ends with, and the blanks before it.
pub(super) fn comment_in(text: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let sign = (1..text.len()).find(|&at| text[at] == b'#' && is_blank(&text[at - 1]));
    let Some(sign) = sign else { return b"" };
    let start = text[..sign].iter().rposition(|byte| !is_blank(byte)).map_or(0, |last| last + 1);
    &text[start..]
}

/// Returns where the colon ends behind the key that begins at `start`.
fn behind_key(source: &[u8], start: usize) -> Option<usize> {
    let blanks = |at: usize, lines: bool| {
        let is_blank = |byte: &&u8| matches!(byte, b' ' | b'\t') || lines && matches!(byte, b'\r' | b'\n');
        at + source[at..].iter().take_while(is_blank).count()
    };
    let mut at = start;
    let is_explicit = source[at..].starts_with(b"? ");
    if is_explicit {
        at = blanks(at + 1, false);
    }
    while let Some(b'&' | b'!') = source.get(at) {
        at = blanks(at + name_length(&source[at..]), false);
    }
    at += match source.get(at)? {
        b'"' | b'\'' => quoted_length(&source[at..]),
        b'*' => name_length(&source[at..]),
        b'|' | b'>' => return None,
        _ => plain_length(&source[at..]),
    };
    at = blanks(at, is_explicit);
    (source.get(at) == Some(&b':')).then_some(at + 1)
}
