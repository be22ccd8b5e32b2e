//! Where an object stands in its file, and how it is written there.

use serde_json::Value as Json;

use crate::format::Format;
use crate::manifest::{print_json, print_yaml};
use crate::secret::SecretBytes;
use crate::tree::{NodeId, Origin, Style, Tree, Value};

/// The bytes of an object, and the layout of what takes their place.
pub(super) struct Place {
    pub start: usize,
    pub end: usize,
    layout: Layout,
    is_crlf: bool,
}

enum Layout {
    /// Lines of YAML, all but the first behind so many blanks.
    Block(usize),
    /// One line of JSON.
    Line,
    /// Lines of JSON, all but the first behind these blanks.
    Lines(Vec<u8>),
}

/// Which comments on lines of their own below the last value of an object go with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comments {
    /// All that are part of it.
    All,
    /// Those that are indented deeper than its keys: a text of several lines in their place would swallow them.
    Deeper,
}

/// Returns the place of an object, if it has one of its own.
pub(super) fn of(format: Format, tree: &Tree, node: NodeId, comments: Comments) -> Option<Place> {
    let root = tree.node(node);
    if root.origin != Origin::Source {
        return None;
    }
    let source = tree.source();
    if format != Format::Yaml || root.style == Style::Flow {
        let (start, end) = (root.span.start as usize, root.span.end as usize);
        let written = source.get(start..end)?;
        let is_json = format == Format::Json && written.contains(&b'\n');
        let layout = if is_json { Layout::Lines(indent_of(source, start)) } else { Layout::Line };
        return Some(Place { start, end, layout, is_crlf: is_json && has_crlf(written) });
    }
    let start = tree.node(tree.items(node).next()?).key_start as usize;
    let line = source[..start].iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let before = source.get(line..start)?;
    let before = before.strip_prefix(b"\xef\xbb\xbf").unwrap_or(before);
    // Nothing but blanks and the hyphens of lists may stand before the first key.
    if !before.iter().all(|byte| b" -".contains(byte)) {
        return None;
    }
    let written = source.get(start..root.span.end as usize)?.trim_ascii_end();
    // A comment behind the last value goes with it.
    let rest = &source[start + written.len()..];
    let end = start + written.len() + rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
    let end = if source[..end].ends_with(b"\r") { end - 1 } else { end };
    let column = before.len() + usize::from(comments == Comments::Deeper);
    let end = end_of_comments(tree, node, end, column);
    let is_crlf =
        source[start..].split(|&byte| byte == b'\n').next().is_some_and(|line| line.ends_with(b"\r"));
    Some(Place { start, end, layout: Layout::Block(before.len()), is_crlf })
}

/// Returns the end of the last comment below `end` that is part of an object and not left of a column.
fn end_of_comments(tree: &Tree, node: NodeId, end: usize, column: usize) -> usize {
    let source = tree.source();
    let below = (node.index() + 1..tree.node(node).end as usize).filter_map(|index| tree.id(index));
    let comments = below.map(|id| tree.node(id)).filter(|comment| {
        let start = comment.span.start as usize;
        let line = source[..start].iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        matches!(comment.value, Value::Comment(_))
            && comment.origin == Origin::Source
            && start >= end
            && start - line >= column
    });
    comments.map(|comment| comment.span.end as usize).fold(end, usize::max)
}

impl Place {
    /// Appends an object, without a line break at its end.
    pub(super) fn write(&self, object: &Json, out: &mut SecretBytes) {
        let (text, indent) = match &self.layout {
            Layout::Block(indent) => (print_yaml(object), vec![b' '; *indent]),
            Layout::Line => (one_line(object), Vec::new()),
            Layout::Lines(indent) => (print_json(object), indent.clone()),
        };
        let line_break: &[u8] = if self.is_crlf { b"\r\n" } else { b"\n" };
        let text = text.expose_secret();
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
            if index > 0 {
                out.extend_from_slice(line_break);
                if !line.is_empty() {
                    out.extend_from_slice(&indent);
                }
            }
            out.extend_from_slice(line);
        }
    }
}

/// Returns JSON that is YAML, too: there, some characters break lines or may not stand as they are.
fn one_line(object: &Json) -> SecretBytes {
    let mut out = SecretBytes::new();
    for character in object.to_string().chars() {
        match character {
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            _ => out.push_str(character.encode_utf8(&mut [0; 4])),
        }
    }
    out
}

fn indent_of(source: &[u8], start: usize) -> Vec<u8> {
    let line = source[..start].iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    source[line..start].iter().take_while(|byte| b" \t".contains(byte)).copied().collect()
}

fn has_crlf(written: &[u8]) -> bool {
    written.windows(2).any(|pair| pair == b"\r\n")
}
