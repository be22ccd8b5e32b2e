//! From the lines of INI to a tree: a map of sections, each a map of texts.
//!
//! As in sops, the comment above a section is its first child, and the comment above a key, beside it, or
//! both, stands behind the key. Comments that sops drops, as no key or section follows, stand at the end.
//! A comment of a section spans the section's name as well, so that it can move from beside it to above it: a
//! bracket in an encrypted comment would end the name. If a comment is above a key and beside its value, it
//! spans what is above, and the value spans the rest.

use std::ops::Range;

use super::super::flat::unflatten;
use super::super::{METADATA_KEY, ParseError, ParseErrorKind};
use super::scan::{BACKQUOTE, Entry, Header, Piece, Problem, TRIPLE, Text as Scanned};
use super::scan::{first_byte, marker_length, pieces};
use crate::secret::SecretBytes;
use crate::tree::{MetadataEntry, Node, NodeId, Span, Style, Text, Tree, Value};

/// Reads a source.
///
/// # Errors
/// If it is not INI, or has something that sops would drop.
pub(super) fn read(source: SecretBytes) -> Result<Tree, ParseError> {
    let text = std::str::from_utf8(source.expose_secret()).map_err(|error| {
        let line = line_of(source.expose_secret(), error.valid_up_to());
        ParseError { line, kind: ParseErrorKind::Encoding }
    })?;
    let found = pieces(text)
        .map_err(|Problem { at, kind }| ParseError { line: line_of(text.as_bytes(), at), kind })?;
    let start = first_byte(text);
    let mut builder = Builder::new(Tree::new(source), start);
    for piece in found {
        match piece {
            Piece::Comments(block) => builder.comments = Some(block),
            Piece::Entry(entry) => builder.entry(entry),
            Piece::Header(header) => builder.header(header),
        }
    }
    let mut tree = builder.finish();
    find_metadata(&mut tree)?;
    Ok(tree)
}

/// A tree that grows piece by piece.
struct Builder {
    tree: Tree,
    root: NodeId,
    section: NodeId,
    /// The comments that what comes next belongs to.
    comments: Option<Range<usize>>,
}

impl Builder {
    /// Starts with the section for keys that stand in front of all others.
    fn new(mut tree: Tree, start: usize) -> Self {
        let end = tree.source().len();
        let root = tree.open_document(Span::new(0, end), Style::Block);
        let name = tree.intern(DEFAULT.as_bytes());
        let section = tree.push(Node::new(Value::Map, Some(name), Span::new(start, start), Style::Block));
        Self { tree, root, section, comments: None }
    }

    fn header(&mut self, header: Header) {
        let is_metadata = &self.tree.source()[header.name.clone()] == METADATA_KEY.as_bytes();
        if is_metadata {
            self.trailing_comments();
        }
        self.tree.close(self.section);
        let name = Span::new(header.name.start, header.name.end).text();
        let span = Span::new(header.start, header.end);
        self.section = self.tree.push(Node::new(Value::Map, Some(name), span, Style::Block));
        let above = self.comments.take();
        if is_metadata || above.is_none() && header.inline.is_none() {
            return;
        }
        let start = above.as_ref().map_or(header.start, |block| block.start);
        let end = header.inline.as_ref().map_or(header.name.end + 1, |inline| inline.end);
        self.comment(above, header.inline, Span::new(start, end));
    }

    fn entry(&mut self, entry: Entry) {
        let key = match entry.number {
            Some(number) => self.tree.intern(format!("#{number}").as_bytes()),
            None => Span::new(entry.key.start, entry.key.end).text(),
        };
        let value = entry.value;
        let text = match value.text {
            Scanned::Verbatim(range) => Span::new(range.start, range.end).text(),
            Scanned::Joined(text) => self.tree.intern(text.expose_secret()),
        };
        let above = self.comments.take();
        let mut span = Span::new(value.token.start, value.token.end);
        if let (Some(_), Some(inline)) = (&above, &value.inline) {
            // To the end of the line: what would be left behind could pass for the space behind the delimiter.
            let line = &self.tree.source()[inline.end..value.end];
            let space = line.iter().rposition(|byte| !b"\r\n".contains(byte)).map_or(0, |last| last + 1);
            span = Span::new(value.token.start, inline.end + space);
        }
        let style = match value.quote {
            "'" => Style::SingleQuoted,
            "\"" => Style::DoubleQuoted,
            BACKQUOTE | TRIPLE => Style::Literal,
            _ => Style::Plain,
        };
        let mut node = Node::new(Value::Str(text), Some(key), span, style);
        node.key_start = Span::new(entry.start, entry.start).start;
        self.tree.push(node);
        let section = &mut self.tree.node_mut(self.section).span;
        let (start, end) =
            if section.is_empty() { (entry.start, value.end) } else { (section.start as usize, value.end) };
        *section = Span::new(start, end);
        match (above, value.inline) {
            (None, None) => {}
            (Some(above), inline) => {
                let span = self.block_span(&above);
                self.comment(Some(above), inline, span);
            }
            (None, Some(inline)) => {
                let span = Span::new(inline.start, inline.end);
                self.comment(None, Some(inline), span);
            }
        }
    }

    fn finish(mut self) -> Tree {
        self.trailing_comments();
        self.tree.close(self.section);
        self.tree.close(self.root);
        self.tree
    }

    /// Keeps comments that no key or section follows.
    fn trailing_comments(&mut self) {
        if let Some(block) = self.comments.take() {
            let span = self.block_span(&block);
            self.comment(Some(block), None, span);
        }
    }

    fn comment(&mut self, above: Option<Range<usize>>, inline: Option<Range<usize>>, span: Span) {
        let text = self.comment_text(above, inline);
        self.tree.push(Node::new(Value::Comment(text), None, span, Style::Plain));
    }

    /// Returns the text of a comment, which is all its lines, the marker of the first one stripped.
    fn comment_text(&mut self, above: Option<Range<usize>>, inline: Option<Range<usize>>) -> Text {
        let text = |range: &Range<usize>| {
            std::str::from_utf8(&self.tree.source()[range.clone()]).expect("pieces are of a text")
        };
        if let (Some(only), None) | (None, Some(only)) = (&above, &inline) {
            let trimmed = text(only).trim_end();
            if !trimmed.contains('\n') {
                let start = only.start + marker_length(trimmed);
                return Span::new(start, only.start + trimmed.len()).text();
            }
        }
        let mut joined = SecretBytes::new();
        for line in above.iter().flat_map(|block| text(block).split_inclusive('\n')).map(str::trim_start) {
            joined.push_str(line);
        }
        inline.iter().for_each(|inline| joined.push_str(text(inline)));
        let whole = std::str::from_utf8(joined.expose_secret()).expect("lines of a text are one").trim_end();
        let text = &whole.as_bytes()[marker_length(whole)..];
        if !text.starts_with(b"\n") {
            return self.tree.intern(text);
        }
        // Sops crashes where it has to write a comment whose first line is empty.
        let mut padded = SecretBytes::from(" ");
        padded.extend_from_slice(text);
        self.tree.intern(padded.expose_secret())
    }

    /// Returns where comments are, without the end of the last line.
    fn block_span(&self, block: &Range<usize>) -> Span {
        let text = std::str::from_utf8(&self.tree.source()[block.clone()]).expect("pieces are of a text");
        Span::new(block.start, block.start + text.trim_end().len())
    }
}

fn find_metadata(tree: &mut Tree) -> Result<(), ParseError> {
    let is_metadata = |&id: &NodeId| tree.key(id) == Some(METADATA_KEY.as_bytes());
    let sections: Vec<_> = tree.children(tree.documents()[0]).filter(is_metadata).collect();
    let Some(&section) = sections.first() else { return Ok(()) };
    let malformed = |id: NodeId, what| ParseError {
        line: tree.line(tree.node(id).span.start),
        kind: ParseErrorKind::Metadata(what),
    };
    if let Some(&second) = sections.get(1) {
        return Err(malformed(second, "the section is there twice"));
    }
    let text = |bytes| std::str::from_utf8(bytes).expect("the source is a text");
    let pairs = tree.items(section).filter_map(|id| match tree.node(id).value {
        Value::Str(value) => {
            Some((text(tree.key(id).unwrap_or_default()), text(tree.bytes(value)).replace("\\n", "\n")))
        }
        _ => None,
    });
    let metadata = unflatten(pairs).map_err(|error| malformed(section, error))?;
    tree.set_metadata(MetadataEntry::Present(metadata));
    tree.mark_metadata(section);
    Ok(())
}

fn line_of(source: &[u8], position: usize) -> usize {
    source[..position].iter().filter(|&&byte| byte == b'\n').count() + 1
}

/// The section of keys that stand in front of all sections.
pub(super) const DEFAULT: &str = "DEFAULT";

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the nodes below the root, a line each: key, text, and the bytes that an edit replaces.
    fn lines(source: &str) -> Vec<String> {
        let tree = read(source.into()).expect(source);
        let lossy = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let line = |(id, node): (NodeId, &Node)| match node.value {
            Value::Map => format!("[{}]", lossy(tree.key(id)?)).into(),
            Value::Str(text) => format!(
                "{} = {} < {}",
                lossy(tree.key(id)?),
                lossy(tree.bytes(text)),
                lossy(tree.slice(node.span))
            )
            .into(),
            Value::Comment(text) => {
                format!("; {} < {}", lossy(tree.bytes(text)), lossy(tree.slice(node.span))).into()
            }
            _ => None,
        };
        tree.nodes().filter_map(line).collect()
    }

    #[test]
    fn keys_stand_in_sections() {
        assert_eq!(
            lines("\u{feff}a=1\n[s]\nb : 'x'\n[DEFAULT]\n[s]\n-=1\n-=2"),
            ["[DEFAULT]", "a = 1 < 1", "[s]", "b = x < 'x'", "[DEFAULT]", "[s]", "#1 = 1 < 1", "#2 = 2 < 2"]
        );
        assert_eq!(lines(""), ["[DEFAULT]"]);
    }

    #[test]
    fn a_comment_stands_behind_its_key() {
        assert_eq!(
            lines("; a\n\n  # b \nk = v ; c\nl=w;d\n;\n; e\nm=\n;f\n"),
            [
                "[DEFAULT]",
                "k = v < v ; c",
                "; a\n# b \n; c < ; a\n\n  # b",
                "l = w < w",
                "; d < ;d",
                "m =  < ",
                ";  \n; e < ;\n; e",
                "; f < ;f",
            ]
        );
    }

    #[test]
    fn a_comment_of_a_section_comes_first() {
        assert_eq!(
            lines("; a\n\n[s]\n[t] # b\n; c\n[u];d\n; e\n[sops]\nmac=x\n"),
            [
                "[DEFAULT]",
                "[s]",
                "; a < ; a\n\n[s]",
                "[t]",
                "; b < [t] # b",
                "[u]",
                "; c\n;d < ; c\n[u];d",
                "; e < ; e",
                "[sops]",
                "mac = x < x",
            ]
        );
    }

    #[test]
    fn errors_have_their_line() {
        let error = |source: &[u8]| read(source.into()).err().map(|error| (error.line, error.kind));
        assert_eq!(error(b"a=1\n\xff=1"), Some((2, ParseErrorKind::Encoding)));
        assert_eq!(error(b"a=1\n\nb=1\na=2"), Some((4, ParseErrorKind::DuplicateKey("a".into()))));
        let metadata = |what| Some((3, ParseErrorKind::Metadata(what)));
        assert_eq!(error(b"[sops]\n\n[sops]\n"), metadata("the section is there twice"));
        assert_eq!(error(b"a=1\n\n[sops]\nx__list_1=y"), metadata("a list has gaps"));
    }
}
