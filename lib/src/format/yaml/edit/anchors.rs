//! Which node each alias of a source stands for.
//!
//! A tree copies what an alias stands for and does not say from where, so this reads what stands between
//! its nodes: names, keys and punctuation.

use std::collections::HashMap;

use crate::tree::{Node, NodeId, Origin, Tree, Value};

/// Returns the aliases of a tree, in order, each with the node that bears its name.
pub(super) fn aliases(tree: &Tree) -> HashMap<NodeId, NodeId> {
    if !tree.nodes().any(|(_, node)| node.origin == Origin::Alias) {
        return HashMap::new();
    }
    let mut gaps = Gaps { source: tree.source(), at: 0, named: None };
    let mut anchors: HashMap<&[u8], NodeId> = HashMap::new();
    let mut aliases = HashMap::new();
    for (id, node) in tree.nodes() {
        if node.origin == Origin::Copy || matches!(node.value, Value::Comment(_)) {
            continue;
        }
        gaps.read_to(node.span.start as usize);
        let is_open = matches!(node.value, Value::List | Value::Map);
        let end = if is_open { gaps.content_start(node) } else { node.span.end as usize };
        if node.origin == Origin::Alias {
            let name = tree.slice(node.span).strip_prefix(b"*").unwrap_or_default();
            aliases.extend(anchors.get(name).map(|&target| (id, target)));
        } else if let Some(name) = gaps.take_name(end) {
            anchors.insert(name, id);
        }
        gaps.at = gaps.at.max(if node.origin == Origin::Alias { node.span.end as usize } else { end });
        gaps.named = None;
    }
    aliases
}

/// What stands between the nodes of a source.
struct Gaps<'a> {
    source: &'a [u8],
    at: usize,
    /// The name that the next node or key bears.
    named: Option<&'a [u8]>,
}

impl<'a> Gaps<'a> {
    /// Reads up to the start of a node.
    fn read_to(&mut self, end: usize) {
        while self.at < end {
            let rest = &self.source[self.at..end];
            let is_first = self.at == 0 || self.source[self.at - 1].is_ascii_whitespace();
            let length = match rest[0] {
                b'#' if is_first => line_length(rest),
                b'&' => {
                    let length = name_length(rest);
                    self.named = Some(&rest[1..length]);
                    length
                }
                b'!' => name_length(rest),
                b'"' | b'\'' => self.key(quoted_length(rest)),
                byte if byte.is_ascii_whitespace() || b"[]{},".contains(&byte) => 1,
                b'-' | b'?' | b':' if rest.get(1).is_none_or(u8::is_ascii_whitespace) => 1,
                b':' if self.named.is_none() => 1,
                _ => self.key(plain_length(rest)),
            };
            self.at += length;
        }
    }

    /// A name before a key is that of the key.
    fn key(&mut self, length: usize) -> usize {
        self.named = None;
        length
    }

    /// Returns the name of the node that starts here and whose properties end before `end`.
    fn take_name(&mut self, end: usize) -> Option<&'a [u8]> {
        let mut name = self.named.take();
        let mut rest = self.source.get(self.at..end).unwrap_or_default();
        while let Some(b'!' | b'&') = rest.first() {
            let length = name_length(rest);
            if rest[0] == b'&' {
                name = Some(&rest[1..length]);
            }
            rest = rest[length..].trim_ascii_start();
        }
        name
    }

    /// Returns where the entries of a map or list begin, behind its tag.
    fn content_start(&self, node: &Node) -> usize {
        let (start, end) = (node.span.start as usize, node.span.end as usize);
        let mut rest = &self.source[start..end];
        // A name at the start of a block is that of its first key.
        while let Some(b'!') = rest.first() {
            rest = rest[name_length(rest)..].trim_ascii_start();
            if let Some(b'&') = rest.first() {
                rest = rest[name_length(rest)..].trim_ascii_start();
            }
        }
        end - rest.len()
    }
}

fn line_length(text: &[u8]) -> usize {
    text.iter().position(super::lines::is_break).unwrap_or(text.len())
}

/// Returns the length of a tag or of an anchor, with its sign.
pub(super) fn name_length(text: &[u8]) -> usize {
    let is_end = |byte: &u8| byte.is_ascii_whitespace() || b"[]{},".contains(byte);
    text.iter().skip(1).position(is_end).map_or(text.len(), |length| length + 1)
}

pub(super) fn quoted_length(text: &[u8]) -> usize {
    let quote = text[0];
    let mut at = 1;
    while at < text.len() && text[at] != quote {
        at += if quote == b'"' && text[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(text.len())
}

/// Returns the length of a key without quotes.
pub(super) fn plain_length(text: &[u8]) -> usize {
    let line = &text[..line_length(text)];
    let is_end = |at: usize| {
        let behind = line.get(at + 1);
        line[at] == b':' && behind.is_none_or(|byte| byte.is_ascii_whitespace() || b"[]{},".contains(byte))
    };
    (0..line.len()).find(|&at| is_end(at)).unwrap_or(line.len()).max(1)
}
