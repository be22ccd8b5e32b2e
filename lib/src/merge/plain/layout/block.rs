//! Maps and lists in lines: entries, and the comments and empty lines between them.
//!
//! The lines of one side are the skeleton. An entry that goes takes no other line along, unless its side took that out
//! too; an entry of the other side comes with the lines that this side put in before it.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;

use super::super::align::align;
use super::super::matching::Same;
use super::super::plan::{Inside, Which};
use super::version::{Version, convert_breaks, ends_line, shifted};
use super::{Layout, Written, other_side};
use crate::format::Format;
use crate::secret::SecretBytes;
use crate::tree::NodeId;

/// Where the entries of a container are in each version.
pub(super) struct Regions {
    pub(super) base: Option<Range<usize>>,
    pub(super) ours: Option<Range<usize>>,
    pub(super) theirs: Option<Range<usize>>,
}

/// The lines of a merged container.
pub(super) struct Body {
    pub(super) text: SecretBytes,
    /// Whether there is no entry.
    pub(super) is_bare: bool,
}

/// A piece of the text of a container: an entry, or a line that holds none.
struct Chunk {
    item: Option<NodeId>,
    range: Range<usize>,
}

/// The text of a container in one version.
struct Block<'a> {
    version: &'a Version<'a>,
    chunks: Vec<Chunk>,
    /// How far its entries are indented.
    column: usize,
    /// Which chunk an entry is.
    places: HashMap<NodeId, usize>,
}

impl Regions {
    pub(super) fn of(&self, which: Which) -> Option<&Range<usize>> {
        match which {
            Which::Ours => self.ours.as_ref(),
            Which::Theirs => self.theirs.as_ref(),
        }
    }
}

impl<'a> Block<'a> {
    fn new(version: &'a Version<'a>, container: NodeId, region: &Range<usize>) -> Option<Self> {
        let mut block = Self { version, chunks: Vec::new(), column: 0, places: HashMap::new() };
        let mut at = region.start;
        for item in version.tree.items(container) {
            let start = version.entry_start(item).max(region.start);
            if start < at {
                return None;
            }
            if block.places.is_empty() {
                block.column = version.column(version.key_start(item));
            }
            block.lines(at..start);
            let end = version.entry_end(item).max(start).min(region.end);
            block.places.insert(item, block.chunks.len());
            block.chunks.push(Chunk { item: Some(item), range: start..end });
            at = end;
        }
        block.lines(at..region.end);
        Some(block)
    }

    fn lines(&mut self, range: Range<usize>) {
        let mut at = range.start;
        while at < range.end {
            let next = self.version.next_line(at).min(range.end);
            self.chunks.push(Chunk { item: None, range: at..next });
            at = next;
        }
    }

    fn text(&self, chunk: usize) -> &'a [u8] {
        &self.version.source()[self.chunks[chunk].range.clone()]
    }

    fn is_blank(&self, chunk: usize) -> bool {
        self.chunks[chunk].item.is_none() && self.text(chunk).trim_ascii().is_empty()
    }

    /// Names chunks such that those have the same name that are the same: entries by what the merge says, lines by
    /// their text.
    fn names(&self, pieces: &HashMap<NodeId, u64>) -> Vec<u64> {
        let name = |(at, chunk): (usize, &Chunk)| {
            let mut hash = DefaultHasher::new();
            match chunk.item {
                Some(item) => pieces.get(&item).copied().ok_or(item.index()).hash(&mut hash),
                None => self.text(at).trim_ascii().hash(&mut hash),
            }
            (chunk.item.is_some(), hash.finish()).hash(&mut hash);
            hash.finish()
        };
        self.chunks.iter().enumerate().map(name).collect()
    }
}

impl Layout<'_> {
    /// Returns the lines of a container, in the text of a side.
    pub(super) fn block(&self, at: &Same, inside: &Inside, which: Which, regions: &Regions) -> Option<Body> {
        let node = |which| if which == Which::Ours { at.ours } else { at.theirs };
        let block = |which: Which| match (node(which), regions.of(which)) {
            (Some(node), Some(region)) if !self.version(which).is_flow(node) => {
                Block::new(self.version(which), node, region).map(Some)
            }
            _ => Some(None),
        };
        let skeleton = block(which)??;
        let other = block(other_side(which))?;
        let base = match (at.base, &self.base, &regions.base) {
            (Some(node), Some(version), Some(region)) if !version.is_flow(node) => {
                Block::new(version, node, region)
            }
            _ => None,
        };
        let mut emitter = Emitter::new(self, inside, which, &skeleton, base.as_ref(), other.as_ref());
        let in_flow = |which| node(which).is_some_and(|node| self.version(which).is_flow(node));
        let mut is_bare = true;
        for piece in inside.in_order(self.decide) {
            if !piece.is_there(self.decide) {
                continue;
            }
            let place =
                |which, block: &Block<'_>| piece.of(which).and_then(|node| block.places.get(&node).copied());
            let skeleton_place = place(which, &skeleton);
            let other_place = other.as_ref().and_then(|other| place(other_side(which), other));
            emitter.lead(skeleton_place, other_place);
            let written = self.entry(piece, inside.kind, in_flow)?;
            emitter.entry(&written, piece.of(written.which));
            is_bare = false;
        }
        emitter.rest();
        if is_bare
            && self.format == Format::Yaml
            && self.version(which).tree.documents().contains(&node(which)?)
        {
            emitter.bare_document();
        }
        Some(Body { text: emitter.out, is_bare })
    }
}

/// Writes entries, and between them the lines that stay and those that are new.
struct Emitter<'a> {
    layout: &'a Layout<'a>,
    which: Which,
    skeleton: &'a Block<'a>,
    other: Option<&'a Block<'a>>,
    /// Which lines of the skeleton stay.
    stays: Vec<bool>,
    /// Which entries of the skeleton are still to come.
    is_due: Vec<bool>,
    /// For each chunk of the other side, the one of the skeleton that it is.
    same: Vec<Option<usize>>,
    /// Which lines the other side put in.
    is_new: Vec<bool>,
    at: usize,
    other_at: usize,
    out: SecretBytes,
    line_break: &'static str,
    /// Whether the first chunk stands behind a dash.
    is_hanging: bool,
}

impl<'a> Emitter<'a> {
    fn new(
        layout: &'a Layout<'a>,
        inside: &Inside,
        which: Which,
        skeleton: &'a Block<'a>,
        base: Option<&Block<'_>>,
        other: Option<&'a Block<'a>>,
    ) -> Self {
        let pieces = |of: fn(&Same) -> Option<NodeId>| -> HashMap<NodeId, u64> {
            let numbered = inside.pieces.iter().enumerate();
            numbered.filter_map(|(number, piece)| Some((of(&piece.at)?, number as u64))).collect()
        };
        let of = |which| match which {
            Which::Ours => pieces(|at| at.ours),
            Which::Theirs => pieces(|at| at.theirs),
        };
        let names = skeleton.names(&of(which));
        let other_names = other.map(|other| other.names(&of(other_side(which)))).unwrap_or_default();
        let mut same: Vec<Option<usize>> = align(&other_names, &names);
        let mut stays = vec![true; names.len()];
        let mut is_new: Vec<bool> = same.iter().map(Option::is_none).collect();
        if let (Some(base), Some(_)) = (base, other) {
            let base_names = base.names(&pieces(|at| at.base));
            let in_skeleton = align(&base_names, &names);
            let in_other = align(&base_names, &other_names);
            for (here, there) in in_skeleton.iter().zip(&in_other) {
                match (here, there) {
                    (Some(here), None) => stays[*here] = false,
                    (here, Some(there)) => {
                        same[*there] = here.or(same[*there]);
                        is_new[*there] = false;
                    }
                    (None, None) => {}
                }
            }
        }
        let is_due: Vec<bool> = {
            let mut is_due = vec![false; names.len()];
            let there = inside.pieces.iter().filter(|piece| piece.is_there(layout.decide));
            let nodes = there.filter_map(|piece| piece.of(which));
            nodes.filter_map(|node| skeleton.places.get(&node)).for_each(|&place| is_due[place] = true);
            is_due
        };
        let version = skeleton.version;
        let is_hanging = skeleton
            .chunks
            .first()
            .is_some_and(|chunk| chunk.range.start != version.line_start(chunk.range.start));
        let line_break = version.line_break();
        Self {
            layout,
            which,
            skeleton,
            other,
            stays,
            is_due,
            same,
            is_new,
            at: 0,
            other_at: 0,
            out: SecretBytes::new(),
            line_break,
            is_hanging,
        }
    }

    /// Writes the lines before an entry, which is at these chunks.
    fn lead(&mut self, place: Option<usize>, other_place: Option<usize>) {
        let other_end = other_place.unwrap_or(self.other_at).max(self.other_at);
        let end = match place {
            Some(place) => place.max(self.at),
            None => self.end_for(other_end),
        };
        self.lines(end, other_end, place.is_none());
        if let Some(place) = place {
            self.is_due[place] = false;
            self.at = self.at.max(place + 1);
        }
        if let Some(place) = other_place {
            self.other_at = self.other_at.max(place + 1);
        }
    }

    /// Returns up to where the lines of the skeleton go before an entry of the other side: those that are before it there.
    fn end_for(&self, other_end: usize) -> usize {
        let before = self.same[self.other_at..other_end].iter().flatten().max();
        let wanted = before.map_or(self.at, |last| last + 1).max(self.at);
        (self.at..wanted).find(|&chunk| self.is_due[chunk]).unwrap_or(wanted)
    }

    /// Writes lines up to these chunks, those of the other side behind the ones that they stand behind there. An entry that
    /// only the other side has is set off as it is there.
    fn lines(&mut self, end: usize, other_end: usize, is_others: bool) {
        let mut parts: Vec<(usize, bool, usize)> = Vec::new();
        for chunk in self.at..end {
            if self.skeleton.chunks[chunk].item.is_none() && self.stays[chunk] {
                parts.push((chunk, false, chunk));
            }
        }
        if let Some(other) = self.other {
            let mut behind = None;
            for chunk in self.other_at..other_end {
                if let Some(same) = self.same[chunk].filter(|same| (self.at..end).contains(same)) {
                    behind = Some(same);
                } else if other.chunks[chunk].item.is_none()
                    && (self.is_new[chunk] || is_others && other.is_blank(chunk))
                {
                    parts.push((behind.map_or(0, |behind| behind + 1), true, chunk));
                }
            }
        }
        // A new line goes before the line of the skeleton at its place.
        parts.sort_by_key(|&(place, is_other, _)| (place, !is_other));
        for (_, is_other, chunk) in parts {
            match self.other.filter(|_| is_other) {
                Some(other) => self.other_line(other, chunk),
                None => self.push(self.skeleton.text(chunk)),
            }
        }
        self.at = self.at.max(end);
        self.other_at = self.other_at.max(other_end);
    }

    fn rest(&mut self) {
        self.lines(
            self.skeleton.chunks.len(),
            self.other.map_or(0, |other| other.chunks.len()).max(self.other_at),
            false,
        );
    }

    fn other_line(&mut self, other: &Block<'_>, chunk: usize) {
        let text = other.text(chunk);
        if other.is_blank(chunk) && self.ends_with_blank() {
            return;
        }
        let blanks = text.iter().take_while(|&&byte| byte == b' ').count();
        let mut line = SecretBytes::new();
        if !text.trim_ascii().is_empty() && blanks > 0 {
            let column = (blanks + self.skeleton.column).saturating_sub(other.column);
            (0..column).for_each(|_| line.push(b' '));
        }
        line.extend_from_slice(&text[blanks..]);
        let line = self.converted(line, other_side(self.which));
        self.push(line.expose_secret());
    }

    /// Writes an entry, which is this node of the side that it is from.
    fn entry(&mut self, written: &Written, node: Option<NodeId>) {
        let version = self.layout.version(written.which);
        let is_first = self.out.is_empty() && self.is_hanging;
        let (from, to) = (written.column, self.skeleton.column);
        let mut text = SecretBytes::new();
        if !is_first {
            match node.filter(|_| from == to) {
                Some(node) => {
                    let (start, key) = (version.entry_start(node), version.key_start(node));
                    let indent = &version.source()[start..key];
                    if start == key {
                        (0..to).for_each(|_| text.push(b' '));
                    }
                    text.extend_from_slice(indent);
                }
                None => (0..to).for_each(|_| text.push(b' ')),
            }
        }
        match from == to {
            true => text.extend_from_slice(written.text.expose_secret()),
            false => text.extend_from_slice(shifted(written.text.expose_secret(), from, to).expose_secret()),
        }
        let text = self.converted(text, written.which);
        self.push(text.expose_secret());
    }

    fn converted(&self, text: SecretBytes, from: Which) -> SecretBytes {
        let is_same = self.layout.version(from).line_break() == self.line_break;
        if is_same || self.layout.format == Format::Dotenv {
            text
        } else {
            convert_breaks(text.expose_secret(), self.line_break)
        }
    }

    /// Returns whether an empty line is the last one, or there is none.
    fn ends_with_blank(&self) -> bool {
        let out = self.out.expose_secret();
        let line = out.strip_suffix(b"\n").unwrap_or(out);
        let start = line.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        line[start..].trim_ascii().is_empty()
    }

    fn bare_document(&mut self) {
        self.push(b"{}");
        self.push(b"");
    }

    fn push(&mut self, text: &[u8]) {
        if !ends_line(self.out.expose_secret()) {
            self.out.push_str(self.line_break);
        }
        self.out.extend_from_slice(text);
    }
}
