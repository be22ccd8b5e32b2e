//! Changes to the text of INI in place.
//!
//! A blank line stands between a document and its metadata. It comes and goes with the metadata, and ends a
//! value whose last line asks for another.

mod place;

use super::quote::Position;
use super::scan::{Entry, Value as Scanned, entry, line_start, marker_length};
use super::write::{append_metadata, append_scalar};
use super::{NAME, unsupported};
use crate::format::splice::Splice;
use crate::format::{METADATA_KEY, MetadataEdit, Rewrite, WriteError, has_key, only_document};
use crate::secret::SecretBytes;
use crate::tree::{Node, NodeId, Origin, Span, Tree, Value};

pub(super) use place::{put, remove};

pub(super) fn rewrite(tree: &Tree, rewrite: &Rewrite<'_>) -> Result<SecretBytes, WriteError> {
    let mut editor = Editor::new(tree, *rewrite)?;
    let mut nodes: Vec<_> =
        rewrite.verbatim.iter().map(|&(id, _)| id).chain(rewrite.changed.iter().copied()).collect();
    nodes.sort_unstable();
    nodes.dedup();
    for id in nodes {
        match tree.node(id).value {
            Value::Comment(_) => editor.comment(id)?,
            _ => editor.value(id)?,
        }
    }
    editor.metadata()?;
    Ok(editor.splice.apply_to_lines(tree.source()))
}

/// Gathers changes to a source.
struct Editor<'a> {
    tree: &'a Tree,
    root: NodeId,
    source: &'a str,
    line_break: &'static str,
    rewrite: Rewrite<'a>,
    splice: Splice,
}

impl<'a> Editor<'a> {
    fn new(tree: &'a Tree, rewrite: Rewrite<'a>) -> Result<Self, WriteError> {
        let root = only_document(tree, NAME)?;
        let source = std::str::from_utf8(tree.source()).map_err(|_| unsupported(NO_TEXT))?;
        let is_windows = source.find('\n').is_some_and(|at| source[..at].ends_with('\r'));
        let line_break = if is_windows { "\r\n" } else { "\n" };
        Ok(Self { tree, root, source, line_break, rewrite, splice: Splice::default() })
    }

    /// Writes a value in its place. The comment beside it may be part of its span, and then stays if it does
    /// not change as well.
    fn value(&mut self, id: NodeId) -> Result<(), WriteError> {
        let node = *self.tree.node(id);
        if let Some(bytes) = self.verbatim(id) {
            self.splice.replace(node.span, bytes);
            return Ok(());
        }
        let scanned = self.entry(&node)?.value;
        let comment_moves = self.tree.id(id.index() + 1).is_some_and(|next| self.is_rewritten(next));
        self.replace_value(&node, &scanned, comment_moves, self.tree, node.value)
    }

    fn replace_value(
        &mut self,
        node: &Node,
        scanned: &Scanned,
        comment_moves: bool,
        tree: &Tree,
        value: Value,
    ) -> Result<(), WriteError> {
        let behind = self.behind(node, scanned);
        let goes = comment_moves && !behind.is_empty();
        let position = Position { quote: scanned.quote, is_commented: scanned.inline.is_some() && !goes };
        let behind = if goes { "" } else { behind };
        self.splice.replace_with(node.span, |out| {
            append_scalar(tree, value, position, out)?;
            out.push_str(behind);
            Ok(())
        })
    }

    /// Writes a comment in its place.
    fn comment(&mut self, id: NodeId) -> Result<(), WriteError> {
        let node = *self.tree.node(id);
        // A comment has its section in front of it, or a key.
        let Some(before) = id.index().checked_sub(1).and_then(|index| self.tree.id(index)) else {
            return Ok(());
        };
        let owner = *self.tree.node(before);
        let is_above = node.span.start < owner.key_start;
        if is_above && owner.key.is_some() && owner.value != Value::Map && !self.is_rewritten(before) {
            // What was beside the value is part of the comment now.
            let scanned = self.entry(&owner)?.value;
            let end = owner.span.end;
            self.splice.delete(Span { start: end - self.behind(&owner, &scanned).len() as u32, end });
        }
        if let Some(bytes) = self.verbatim(id) {
            self.splice.replace(node.span, bytes);
            return Ok(());
        }
        let Value::Comment(text) = node.value else { return Ok(()) };
        let text = std::str::from_utf8(self.tree.bytes(text)).map_err(|_| unsupported(NO_TEXT))?;
        let start = node.span.start as usize;
        if owner.value == Value::Map && node.span.start < owner.span.end {
            let (marker, rest) = self.section_comment(&node, before);
            let rest = rest.to_owned();
            self.splice.replace_with(node.span, |out| {
                append_comment(text, marker, out);
                out.push_str(&rest);
            });
            return Ok(());
        }
        let is_beside = !self.source[line_start(self.source, start)..start].trim().is_empty();
        if is_beside && text.contains('\n') {
            return Err(unsupported("a comment of several lines beside a value"));
        }
        let marker = marker(&self.source[start..node.span.end as usize]);
        self.splice.replace_with(node.span, |out| append_comment(text, marker, out));
        Ok(())
    }

    /// Returns the marker of a section's comment, and what stands between the comment and the end of the
    /// section's name.
    fn section_comment(&self, comment: &Node, section: NodeId) -> (&'a str, String) {
        let header = self.tree.node(section).span.start as usize;
        let name =
            &self.source[header..header + self.tree.key(section).unwrap_or_default().len() + "[]".len()];
        let start = comment.span.start as usize;
        if start == header {
            return (MARKER, [self.line_break, name].concat());
        }
        let block = self.source[start..header].trim_end();
        (marker(block), [&self.source[start + block.len()..header], name].concat())
    }

    /// Puts the metadata in its place, or takes it out.
    fn metadata(&mut self) -> Result<(), WriteError> {
        let old = self.metadata_section();
        match (self.rewrite.metadata, old) {
            (MetadataEdit::Keep, _) | (MetadataEdit::Remove, None) => {}
            (MetadataEdit::Remove, Some(span)) => {
                let span = self.with_blank_line(self.lines(span.start as usize, span.end as usize));
                self.splice.delete(span);
            }
            (MetadataEdit::Put(_), _) if has_key(self.tree, self.root, METADATA_KEY) => {
                return Err(WriteError::ReservedKey(METADATA_KEY.to_owned()));
            }
            (MetadataEdit::Put(metadata), old) => {
                let mut lines = SecretBytes::new();
                if old.is_none() && !self.source.is_empty() {
                    lines.push(b'\n');
                }
                append_metadata(metadata, &mut lines)?;
                let end = self.end_of_lines();
                let span = old.map_or(end, |span| self.lines(span.start as usize, span.end as usize));
                let line_break = self.line_break;
                self.splice.replace_with(span, |out| append_lines(lines.expose_secret(), line_break, out));
            }
        }
        Ok(())
    }

    /// Returns the comment beside a value, if it is part of the value's span, with the space in front of it.
    fn behind(&self, node: &Node, scanned: &Scanned) -> &'a str {
        self.source.get(scanned.token.end..node.span.end as usize).unwrap_or_default()
    }

    fn entry(&self, node: &Node) -> Result<Entry, WriteError> {
        entry(self.source, node.key_start as usize).map_err(|_| unsupported("a value without a key"))
    }

    fn verbatim(&self, id: NodeId) -> Option<&'a [u8]> {
        let verbatim = self.rewrite.verbatim;
        verbatim.binary_search_by_key(&id, |&(id, _)| id).ok().map(|index| verbatim[index].1)
    }

    /// Returns whether a node is a comment or value that is written anew.
    fn is_rewritten(&self, id: NodeId) -> bool {
        self.verbatim(id).is_some() || self.rewrite.changed.binary_search(&id).is_ok()
    }

    fn metadata_section(&self) -> Option<Span> {
        let node = |id| self.tree.node(id);
        let sections = self.tree.children(self.root).map(node);
        sections.filter(|node| node.origin == Origin::Metadata).map(|node| node.span).next()
    }

    /// Returns the lines from `start` to `end`, the last one with an end even if it has none.
    fn lines(&self, start: usize, end: usize) -> Span {
        let end = if end == self.source.len() { self.end_of_lines().end as usize } else { end };
        Span::new(line_start(self.source, start), end)
    }

    /// Returns where a line behind all others goes.
    fn end_of_lines(&self) -> Span {
        let end = self.source.len() + usize::from(!self.source.is_empty() && !self.source.ends_with('\n'));
        Span::new(end, end)
    }

    /// Returns lines with the blank line in front of them, if there is one.
    fn with_blank_line(&self, lines: Span) -> Span {
        let before = &self.source[..lines.start as usize];
        let blank = ["\r\n", "\n"].into_iter().find(|blank| before.ends_with(blank)).unwrap_or_default();
        let rest = &before[..before.len() - blank.len()];
        let is_blank = !blank.is_empty() && (rest.is_empty() || rest.ends_with('\n'));
        if is_blank { Span { start: rest.len() as u32, ..lines } } else { lines }
    }
}

/// Appends a comment behind the marker that it had; its other lines get one where they have none.
fn append_comment(text: &str, marker: &str, out: &mut SecretBytes) {
    // A first line that is empty was given a space when it was read.
    let (marker, text) = match text.strip_prefix(' ') {
        Some(rest) if rest.starts_with('\n') => (marker.trim_end(), rest),
        _ => (marker, text),
    };
    out.push_str(marker);
    for (index, line) in text.split('\n').enumerate() {
        if index > 0 {
            out.push(b'\n');
            out.push_str(if line.starts_with(['#', ';']) { "" } else { MARKER });
        }
        out.push_str(line);
    }
}

fn append_lines(lines: &[u8], line_break: &str, out: &mut SecretBytes) {
    for line in lines.split_inclusive(|&byte| byte == b'\n') {
        out.extend_from_slice(line.strip_suffix(b"\n").unwrap_or(line));
        out.push_str(line_break);
    }
}

/// Returns the marker of a comment.
fn marker(comment: &str) -> &str {
    &comment[..marker_length(comment)]
}

const MARKER: &str = "; ";
const NO_TEXT: &str = "a text that is not UTF-8";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Format;
    use crate::format::test_kit::text;

    pub(super) fn read(source: &str) -> Tree {
        Format::Ini.read(source).expect(source)
    }

    pub(super) fn find(tree: &Tree, section: &str, key: &str) -> NodeId {
        let below = |id: NodeId, key: &str| {
            tree.items(id).find(|&id| tree.key(id) == Some(key.as_bytes())).expect("it is there")
        };
        let section = below(tree.documents()[0], section);
        if key.is_empty() { section } else { below(section, key) }
    }

    #[test]
    fn a_value_changes_without_its_comments() {
        let source = "; above\na = x  ; beside\nb = 'y' ; beside";
        let mut tree = read(source);
        let (a, b) = (find(&tree, "DEFAULT", "a"), find(&tree, "DEFAULT", "b"));
        let value = Value::Str(tree.intern(b"ENC[1]"));
        tree.set_value(a, value);
        tree.set_value(b, value);
        let written = rewrite(&tree, &Rewrite { changed: &[a, b], ..Rewrite::default() }).expect("ini");
        assert_eq!(text(&written), "; above\na = ENC[1]  ; beside\nb = 'ENC[1]' ; beside");
        let comment = tree.id(a.index() + 1).expect("a comment");
        let value = Value::Comment(tree.intern(b"ENC[2]"));
        tree.set_value(comment, value);
        let written = rewrite(&tree, &Rewrite { changed: &[comment], ..Rewrite::default() }).expect("ini");
        assert_eq!(text(&written), "; ENC[2]\na = x\nb = 'y' ; beside");
    }

    #[test]
    fn a_comment_keeps_its_marker_and_gets_more() {
        let mut tree = read("##  ENC[1]\na = x ;ENC[2]\n");
        let root = tree.documents()[0];
        let section = tree.items(root).next().expect("a section");
        let comment = tree.children(section).nth(1).expect("a comment");
        let value = Value::Comment(tree.intern(b"one\ntwo\n# three"));
        tree.set_value(comment, value);
        let written = rewrite(&tree, &Rewrite { changed: &[comment], ..Rewrite::default() }).expect("ini");
        assert_eq!(text(&written), "##  one\n; two\n# three\na = x\n");
        let mut tree = read("a = x ;ENC[2]\n");
        let comment = tree.id(tree.nodes().len() - 1).expect("a comment");
        let value = Value::Comment(tree.intern(b"one\ntwo"));
        tree.set_value(comment, value);
        let written = rewrite(&tree, &Rewrite { changed: &[comment], ..Rewrite::default() });
        assert!(matches!(written, Err(WriteError::Unsupported { .. })));
    }
}
