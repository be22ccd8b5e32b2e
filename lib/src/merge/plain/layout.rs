//! Writing a merge down: the text of one side, with the pieces of the other in their places.
//!
//! What is laid out here is a proposal: who asks for it reads it again, and compares.

mod block;
mod flow;
mod version;

use std::ops::Range;

use super::lines::ends_with_break;
use super::matching::Same;
use super::plan::{How, Inside, Kind, Piece, Plan, Which};
use crate::format::Format;
use crate::merge::Sides;
use crate::secret::SecretBytes;
use crate::tree::{NodeId, Style, Tree, Value};

use block::Regions;
use version::{Version, convert_breaks, ends_line};

/// Returns the text of a merge, its conflicts decided for one side; `None` if this does not know how to write it.
pub(super) fn write(format: Format, sides: &Sides<&Tree>, plan: &Plan, decide: Which) -> Option<SecretBytes> {
    let layout = Layout {
        base: sides.base.map(|tree| Version::new(format, tree)),
        ours: Version::new(format, sides.ours),
        theirs: Version::new(format, sides.theirs),
        is_tight: is_tight(format, sides.ours),
        format,
        decide,
    };
    layout.documents(&plan.documents)
}

struct Layout<'a> {
    base: Option<Version<'a>>,
    ours: Version<'a>,
    theirs: Version<'a>,
    format: Format,
    decide: Which,
    /// Whether no space stands behind colons and commas.
    is_tight: bool,
}

/// A text, and the side whose indent and line breaks it has.
struct Written {
    text: SecretBytes,
    which: Which,
    /// How far its first line is indented, which the text is without.
    column: usize,
}

impl Layout<'_> {
    fn version(&self, which: Which) -> &Version<'_> {
        match which {
            Which::Ours => &self.ours,
            Which::Theirs => &self.theirs,
        }
    }

    fn documents(&self, inside: &Inside) -> Option<SecretBytes> {
        let base = match &self.base {
            Some(base) => Some(base.documents()?),
            None => None,
        };
        let (ours, theirs) = (self.ours.documents()?, self.theirs.documents()?);
        let mut out = SecretBytes::new();
        for piece in inside.in_order(self.decide) {
            let region = |ranges: &[Range<usize>], version: &Version<'_>, root: NodeId| {
                ranges.get(version.tree.document_of(root)).cloned()
            };
            let regions = Regions {
                base: piece
                    .at
                    .base
                    .zip(base.as_ref().zip(self.base.as_ref()))
                    .and_then(|(root, (ranges, version))| region(ranges, version, root)),
                ours: piece.at.ours.and_then(|root| region(&ours, &self.ours, root)),
                theirs: piece.at.theirs.and_then(|root| region(&theirs, &self.theirs, root)),
            };
            let Some(written) = self.document(piece, &regions)? else { continue };
            self.push_document(&mut out, &written);
        }
        self.end(&mut out);
        Some(out)
    }

    /// Returns the text of a document; nothing if it is not there.
    fn document(&self, piece: &Piece, regions: &Regions) -> Option<Option<Written>> {
        let slice = |which: Which, range: &Range<usize>| {
            SecretBytes::from(&self.version(which).source()[range.clone()])
        };
        let How::Inside(inside) = &piece.how else {
            let Some((mut which, _)) = piece.taken(self.decide) else { return Some(None) };
            if matches!(piece.how, How::Same) && self.is_as_before(regions) {
                which = Which::Theirs;
            }
            let text = slice(which, regions.of(which)?);
            return Some(Some(Written { text, which, column: 0 }));
        };
        let which = self.frame(&piece.at, inside)?;
        let (version, root) = (self.version(which), piece.of(which)?);
        let text = if version.is_flow(root) {
            let (region, span) = (regions.of(which)?, version.span(root));
            let mut text = slice(which, &(region.start..span.start));
            text.extend_from_slice(self.flow(&piece.at, inside, which)?.expose_secret());
            text.extend_from_slice(&version.source()[span.end..region.end]);
            text
        } else {
            self.block(&piece.at, inside, which, regions)?.text
        };
        Some(Some(Written { text, which, column: 0 }))
    }

    /// Returns whether our text of a document is that of the base.
    fn is_as_before(&self, regions: &Regions) -> bool {
        let before = self.base.as_ref().zip(regions.base.clone()).map(|(base, range)| &base.source()[range]);
        before.is_some() && before == regions.ours.clone().map(|range| &self.ours.source()[range])
    }

    fn push_document(&self, out: &mut SecretBytes, written: &Written) {
        let text = self.converted(written, Which::Ours);
        if !out.is_empty() {
            let line_break = self.ours.line_break();
            if !ends_line(out.expose_secret()) {
                out.push_str(line_break);
            }
            if !text.expose_secret().starts_with(b"---") {
                out.push_str("---");
                out.push_str(line_break);
            }
        }
        out.extend_from_slice(text.expose_secret());
    }

    /// Ends the last line, or leaves it without an end.
    fn end(&self, out: &mut SecretBytes) {
        let ends = |version: &Version<'_>| version.source().last().is_none_or(|&byte| byte == b'\n');
        let base = self.base.as_ref().is_none_or(ends);
        let has_end = ends_with_break(base, ends(&self.ours), ends(&self.theirs));
        if has_end && !ends_line(out.expose_secret()) {
            out.push_str(self.ours.line_break());
        } else if !has_end && !out.is_empty() && ends_line(out.expose_secret()) {
            let is_pair = out.expose_secret().ends_with(b"\r\n");
            out.truncate(out.len() - if is_pair { 2 } else { 1 });
        }
    }

    /// Returns the side whose text a merged map or list is written into.
    fn frame(&self, at: &Same, inside: &Inside) -> Option<Which> {
        let which = inside.skeleton(self.decide);
        let node = |which| match which {
            Which::Ours => at.ours,
            Which::Theirs => at.theirs,
        };
        let has_items =
            |which| node(which).is_some_and(|node| self.version(which).tree.items(node).next().is_some());
        let other = other_side(which);
        if !has_items(which) && has_items(other) { Some(other) } else { node(which).map(|_| which) }
    }

    /// Returns an entry of a block with its key or dash, up to the end of its last line.
    fn entry(&self, piece: &Piece, kind: Kind, in_flow: impl Fn(Which) -> bool) -> Option<Written> {
        if let How::Inside(inside) = &piece.how {
            return self.inside_entry(piece, inside, &in_flow);
        }
        let (mut which, mut node) = piece.taken(self.decide)?;
        if let (How::Same, Some(theirs)) = (&piece.how, piece.at.theirs)
            && self.is_entry_as_before(&piece.at)
        {
            (which, node) = (Which::Theirs, theirs);
        }
        let version = self.version(which);
        let start = version.key_start(node);
        let column = version.column(start);
        let mut text = SecretBytes::new();
        if in_flow(which) {
            text.push_str(if kind == Kind::List { "- " } else { "" });
            text.extend_from_slice(&version.source()[start..version.end(node)]);
            text.push_str(version.line_break());
            return Some(Written { text, which, column });
        }
        let end = version.entry_end(node);
        match self.rest_of_line(piece, which).filter(|_| !in_flow(other_side(which))) {
            Some(rest) => {
                text.extend_from_slice(&version.source()[start..version.end(node).max(start)]);
                text.extend_from_slice(rest);
            }
            None => text.extend_from_slice(&version.source()[start..end]),
        }
        Some(Written { text, which, column })
    }

    /// Returns whether our text of an entry is that of the base.
    fn is_entry_as_before(&self, at: &Same) -> bool {
        let text = |version: &Version<'_>, node: NodeId| {
            version.source().get(version.key_start(node)..version.entry_end(node)).map(SecretBytes::from)
        };
        let before = at.base.zip(self.base.as_ref()).and_then(|(node, base)| text(base, node));
        let ours = at.ours.and_then(|node| text(&self.ours, node));
        before.zip(ours).is_some_and(|(before, ours)| before.expose_secret() == ours.expose_secret())
    }

    /// Returns what stands behind a value on its line, if the side that the value is not from changed it alone.
    fn rest_of_line(&self, piece: &Piece, which: Which) -> Option<&[u8]> {
        fn rest<'v>(version: &'v Version<'_>, node: NodeId) -> Option<&'v [u8]> {
            let value = version.tree.node(node);
            let is_open = matches!(value.value, Value::List | Value::Map) && value.style == Style::Block;
            let is_block = is_open || matches!(value.style, Style::Literal | Style::Folded);
            let end = version.end(node).max(version.key_start(node));
            if is_block { None } else { version.source().get(end..version.entry_end(node)) }
        }
        let side = |which| piece.of(which).and_then(|node| rest(self.version(which), node));
        let before = piece.at.base.zip(self.base.as_ref()).and_then(|(node, base)| rest(base, node))?;
        let (mine, other) = (side(which)?, side(other_side(which))?);
        (mine.trim_ascii() == before.trim_ascii() && other.trim_ascii() != before.trim_ascii())
            .then_some(other)
    }

    /// Returns an entry whose value is merged further down.
    fn inside_entry(
        &self,
        piece: &Piece,
        inside: &Inside,
        in_flow: impl Fn(Which) -> bool,
    ) -> Option<Written> {
        let which = self.frame(&piece.at, inside)?;
        let which = if in_flow(which) { other_side(which) } else { which };
        let (version, node) = (self.version(which), piece.of(which)?);
        let start = version.key_start(node);
        let column = version.column(start);
        let mut text = SecretBytes::new();
        if version.is_flow(node) {
            let span = version.span(node);
            text.extend_from_slice(&version.source()[start..span.start]);
            text.extend_from_slice(self.flow(&piece.at, inside, which)?.expose_secret());
            text.extend_from_slice(version.source().get(span.end..version.entry_end(node))?);
            return Some(Written { text, which, column });
        }
        let regions = Regions {
            base: piece.at.base.zip(self.base.as_ref()).and_then(|(node, base)| base.region(node)),
            ours: piece.at.ours.and_then(|node| self.ours.region(node)),
            theirs: piece.at.theirs.and_then(|node| self.theirs.region(node)),
        };
        let region = regions.of(which)?;
        let head = self.head(&piece.at, which, &regions)?;
        let body = self.block(&piece.at, inside, which, &regions)?;
        if body.is_bare && self.format == Format::Yaml {
            let brackets = if inside.kind == Kind::List { " []" } else { " {}" };
            let line = head.trim_ascii_end();
            // A dash or a colon may have a comment behind it.
            let at = line.windows(2).position(|pair| pair == b" #").unwrap_or(line.len());
            text.extend_from_slice(line[..at].trim_ascii_end());
            text.push_str(brackets);
            text.extend_from_slice(&line[at..]);
            text.push_str(version.line_break());
        } else {
            text.extend_from_slice(head);
        }
        debug_assert!(region.start >= start, "what is in a value stands behind its key");
        text.extend_from_slice(body.text.expose_secret());
        Some(Written { text, which, column })
    }

    /// Returns the key of an entry with what stands behind it, as the side has it that changed it.
    fn head<'s>(&'s self, at: &Same, which: Which, regions: &Regions) -> Option<&'s [u8]> {
        fn head<'v>(
            version: &'v Version<'_>,
            node: Option<NodeId>,
            region: Option<&Range<usize>>,
        ) -> Option<&'v [u8]> {
            version.source().get(version.key_start(node?)..region?.start)
        }
        let base = self.base.as_ref().and_then(|base| head(base, at.base, regions.base.as_ref()));
        let ours = head(&self.ours, at.ours, regions.ours.as_ref());
        let theirs = head(&self.theirs, at.theirs, regions.theirs.as_ref());
        let (mine, other) = if which == Which::Ours { (ours?, theirs) } else { (theirs?, ours) };
        let has_end = |text: &[u8]| text.ends_with(b"\n");
        match (base, other) {
            (Some(base), Some(other)) if mine == base && has_end(mine) == has_end(other) => Some(other),
            _ => Some(mine),
        }
    }

    /// Returns a text with the line breaks of a side.
    fn converted(&self, written: &Written, to: Which) -> SecretBytes {
        let (from, to) = (self.version(written.which).line_break(), self.version(to).line_break());
        if from == to || self.format == Format::Dotenv {
            return written.text.expose_secret().into();
        }
        convert_breaks(written.text.expose_secret(), to)
    }
}

/// Returns whether a JSON text has no space behind its first colon.
fn is_tight(format: Format, tree: &Tree) -> bool {
    let first = tree.documents().first().and_then(|&root| tree.items(root).next());
    let before = first.and_then(|first| (tree.node(first).span.start as usize).checked_sub(1));
    format == Format::Json && before.is_some_and(|before| tree.source()[before] == b':')
}

const fn other_side(which: Which) -> Which {
    match which {
        Which::Ours => Which::Theirs,
        Which::Theirs => Which::Ours,
    }
}
