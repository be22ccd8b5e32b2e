//! Maps and lists in brackets: items, and the commas and the space between them.

use std::ops::Range;

use super::super::matching::Same;
use super::super::plan::{How, Inside, Piece, Which};
use super::version::{Version, shifted};
use super::{Layout, other_side};
use crate::format::{Format, WriteOptions};
use crate::secret::SecretBytes;
use crate::tree::{Node, NodeId, Span, Style, Tree, Value};

/// Where the items of a container in brackets are.
struct Brackets {
    /// The opening bracket, and what is before it.
    open: Range<usize>,
    /// The space before and behind each item.
    around: Vec<(Range<usize>, Range<usize>)>,
    items: Vec<NodeId>,
    /// What is behind the last item, with the closing bracket.
    close: Range<usize>,
}

impl Brackets {
    fn new(version: &Version<'_>, container: NodeId) -> Option<Self> {
        let (source, span) = (version.source(), version.span(container));
        let bracket = source[span.clone()].iter().position(|byte| matches!(byte, b'[' | b'{'))?;
        let open = span.start..span.start + bracket + 1;
        let items: Vec<_> = version.tree.items(container).collect();
        let mut around = Vec::with_capacity(items.len());
        let mut at = open.end;
        for (position, &item) in items.iter().enumerate() {
            let (start, end) = (version.key_start(item), version.end(item).max(version.key_start(item)));
            let before = at..start;
            let behind = match items.get(position + 1) {
                Some(&next) => end..comma(source, end..version.key_start(next))?,
                None => end..end,
            };
            at = behind.end + 1;
            if before.start > before.end {
                return None;
            }
            around.push((before, behind));
        }
        let last = items.last().map_or(open.end, |&item| version.end(item));
        (last < span.end).then_some(Self { open, around, items, close: last..span.end })
    }
}

impl Layout<'_> {
    /// Returns a map or list in brackets, in the text of a side.
    pub(super) fn flow(&self, at: &Same, inside: &Inside, which: Which) -> Option<SecretBytes> {
        let version = self.version(which);
        let source = version.source();
        let node = |which| if which == Which::Ours { at.ours } else { at.theirs };
        let brackets = Brackets::new(version, node(which)?)?;
        let other = node(other_side(which)).filter(|&node| self.version(other_side(which)).is_flow(node));
        let space = self.space(which, &brackets);
        let mut out = SecretBytes::from(&source[brackets.open.clone()]);
        let pieces = inside.in_order(self.decide);
        let there: Vec<_> = pieces.into_iter().filter(|piece| piece.is_there(self.decide)).collect();
        for (position, piece) in there.iter().enumerate() {
            let place = piece.of(which).and_then(|node| brackets.items.binary_search(&node).ok());
            let around = place.map(|place| (place, &brackets.around[place]));
            match around.filter(|(place, _)| (*place == 0) == (position == 0)) {
                Some((_, (before, _))) => out.extend_from_slice(&source[before.clone()]),
                None => out.extend_from_slice(if position == 0 { space.0 } else { space.1 }),
            }
            out.extend_from_slice(self.item(piece, which, other.is_some())?.expose_secret());
            if position + 1 < there.len() {
                if let Some((_, (_, behind))) = around {
                    out.extend_from_slice(&source[behind.clone()]);
                }
                out.push(b',');
            }
        }
        if there.is_empty() {
            out.push(*source[brackets.close].last()?);
        } else {
            out.extend_from_slice(&source[brackets.close]);
        }
        Some(out)
    }

    /// Returns the space before the first item, and before the others.
    fn space<'s>(&'s self, which: Which, brackets: &Brackets) -> (&'s [u8], &'s [u8]) {
        let source = self.version(which).source();
        let is_blank = |text: &&[u8]| text.trim_ascii().is_empty();
        let before =
            |at: usize| brackets.around.get(at).map(|around| &source[around.0.clone()]).filter(is_blank);
        let first = before(0).unwrap_or_default();
        let has_lines = first.contains(&b'\n');
        let tight: &[u8] = if self.is_tight { b"" } else { b" " };
        (first, before(1).unwrap_or(if has_lines { first } else { tight }))
    }

    /// Returns an item with its key, to stand in brackets of the side `to`.
    fn item(&self, piece: &Piece, to: Which, other_is_flow: bool) -> Option<SecretBytes> {
        if let How::Inside(inside) = &piece.how {
            let framed = self.frame(&piece.at, inside)?;
            let in_flow = |which: &Which| {
                let node = piece.of(*which);
                node.is_some_and(|node| self.version(*which).is_flow(node)) && (*which == to || other_is_flow)
            };
            let which = [framed, other_side(framed)].into_iter().find(in_flow)?;
            let (version, node) = (self.version(which), piece.of(which)?);
            let mut text =
                SecretBytes::from(&version.source()[version.key_start(node)..version.span(node).start]);
            text.extend_from_slice(self.flow(&piece.at, inside, which)?.expose_secret());
            return Some(text);
        }
        let (mut which, mut node) = piece.taken(self.decide)?;
        if let (How::Same, Some(theirs)) = (&piece.how, piece.at.theirs)
            && self.is_item_as_before(&piece.at)
        {
            (which, node) = (Which::Theirs, theirs);
        }
        let version = self.version(which);
        if which != to && !other_is_flow {
            return in_one_line(version, node);
        }
        let start = version.key_start(node);
        let text = version.source().get(start..version.end(node).max(start))?;
        let places = (piece.of(to), piece.of(which));
        let column = |which: Which, node: NodeId| {
            let version = self.version(which);
            version.column(version.entry_start(node).max(version.key_start(node)))
        };
        match places {
            (Some(here), Some(there)) if which != to && text.contains(&b'\n') => {
                Some(shifted(text, column(which, there), column(to, here)))
            }
            _ => Some(text.into()),
        }
    }

    /// Returns whether our text of an item is that of the base.
    fn is_item_as_before(&self, at: &Same) -> bool {
        let text = |version: &Version<'_>, node: NodeId| {
            version.source().get(version.key_start(node)..version.end(node)).map(SecretBytes::from)
        };
        let before = at.base.zip(self.base.as_ref()).and_then(|(node, base)| text(base, node));
        let ours = at.ours.and_then(|node| text(&self.ours, node));
        before.zip(ours).is_some_and(|(before, ours)| before.expose_secret() == ours.expose_secret())
    }
}

/// Returns an entry of a YAML block to stand in brackets.
fn in_one_line(version: &Version<'_>, node: NodeId) -> Option<SecretBytes> {
    let value = version.tree.node(node);
    let (key, source) = (version.key_start(node), version.source());
    let is_block = matches!(value.style, Style::Block | Style::Folded | Style::Literal);
    let text = source.get(key..version.end(node).max(key))?;
    if !is_block
        && !text.contains(&b'\n')
        && (value.style != Style::Plain || !text.iter().any(|byte| b",[]{}".contains(byte)))
    {
        // An item of a list comes with its dash.
        let is_item = value.key.is_none();
        return Some(if is_item { text.strip_prefix(b"-")?.trim_ascii_start() } else { text }.into());
    }
    let mut out = SecretBytes::new();
    if let Some(key) = version.tree.key(node) {
        let key = std::str::from_utf8(key).ok()?;
        out.push_str(&serde_json::Value::from(key).to_string());
        out.push_str(": ");
    }
    // A list of the value alone: a text by itself would be written without quotes.
    let mut scratch = Tree::new(SecretBytes::new());
    let (tree, node) = match value.value {
        Value::Str(text) => {
            let list = scratch.push_json(None, &serde_json::Value::Array(Vec::new()));
            let text = Value::Str(scratch.intern(version.tree.bytes(text)));
            scratch.push(Node::new(text, None, Span::default(), Style::Plain));
            scratch.close(list);
            (&scratch, list)
        }
        _ => (version.tree, node),
    };
    // JSON has line breaks between its tokens alone.
    let json = Format::Json.store().write_value(tree, node, &WriteOptions { indent: Some(0) }).ok()?;
    let is_text = matches!(value.value, Value::Str(_));
    let json = json.expose_secret().trim_ascii();
    let json = if is_text { json.strip_prefix(b"[")?.strip_suffix(b"]")? } else { json };
    json.split(|&byte| byte == b'\n').for_each(|line| out.extend_from_slice(line));
    Some(out)
}

/// Returns where the comma is between two items. A comment may hold others.
fn comma(source: &[u8], range: Range<usize>) -> Option<usize> {
    let mut at = range.start;
    while at < range.end {
        match source[at] {
            b',' => return Some(at),
            b'#' => at += source[at..range.end].iter().position(|&byte| byte == b'\n')?,
            _ => {}
        }
        at += 1;
    }
    None
}
