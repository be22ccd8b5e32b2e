//! Which node a comment belongs to, as go-yaml sees it.
//!
//! go-yaml's parser collects the comments that are due when it looks at a token, and hands them to the
//! next node that it completes. This does the same over the list of tokens.
//!
//! Invariant: every line is noted exactly once.

use std::mem::take;
use std::ops::Range;

use super::outline::Item;
use super::tokens::{GroupKind, NO_ITEM, Scanned, Token, TokenKind};

/// The comments of all nodes.
pub(super) struct Comments {
    /// Sorted by item.
    notes: Vec<(u32, Note)>,
    /// Positions of lines; the ranges of notes point here.
    order: Vec<u32>,
    rest: Range<u32>,
}

/// The comments of one node: above it, on its line, and below it.
#[derive(Clone, Default)]
pub(super) struct Note {
    pub head: Range<u32>,
    pub line: Range<u32>,
    pub foot: Range<u32>,
}

/// Goes over the tokens and notes comments.
struct Walk<'a> {
    scanned: &'a Scanned,
    items: &'a [Item],
    due: Due,
    /// How many of the comments that are due stand before the `-` just passed.
    stem: usize,
    /// The block maps and lists that are open; a list is `NO_ITEM`.
    blocks: Vec<u32>,
    /// The document that is open.
    document: Option<u32>,
    next_document: u32,
    comments: Comments,
}

/// Comments that are due and not handed out yet, as positions of lines.
#[derive(Default)]
struct Due {
    head: Vec<u32>,
    line: Vec<u32>,
    foot: Vec<u32>,
    /// Where in `head` the part behind the last empty line starts.
    paragraph: usize,
    /// Whether an empty line follows the last of `head`.
    blank_behind: bool,
    /// How many groups were due so far.
    groups: usize,
}

/// Finds out which node each comment belongs to.
pub(super) fn attribute(scanned: &Scanned, items: &[Item]) -> Comments {
    let mut walk = Walk {
        scanned,
        items,
        due: Due::default(),
        stem: 0,
        blocks: Vec::new(),
        document: None,
        next_document: 0,
        comments: Comments { notes: Vec::new(), order: Vec::new(), rest: 0..0 },
    };
    if !scanned.groups.is_empty() {
        scanned.tokens.iter().for_each(|token| walk.take(*token));
        walk.finish();
    }
    walk.comments
}

impl Comments {
    /// Returns the comments of an item.
    pub(super) fn of(&self, item: u32) -> Note {
        if self.notes.is_empty() {
            return Note::default();
        }
        let found = self.notes.binary_search_by_key(&item, |note| note.0);
        found.map_or_else(|_| Note::default(), |found| self.notes[found].1.clone())
    }

    /// Returns the comments that go-yaml drops at the end of the source.
    pub(super) fn rest(&self) -> Range<u32> {
        self.rest.clone()
    }

    /// Returns the positions of the lines in a range of a note.
    pub(super) fn lines(&self, range: Range<u32>) -> &[u32] {
        &self.order[range.start as usize..range.end as usize]
    }

    fn keep(&mut self, lines: &[u32]) -> Range<u32> {
        let start = self.order.len() as u32;
        self.order.extend_from_slice(lines);
        start..self.order.len() as u32
    }
}

impl Walk<'_> {
    fn take(&mut self, token: Token) {
        self.collect(token);
        match token.kind {
            TokenKind::StreamStart => return,
            TokenKind::DocumentStart => {
                self.end_document();
                self.start_document();
            }
            TokenKind::Directive | TokenKind::DocumentEnd | TokenKind::StreamEnd => self.end_document(),
            _ if self.document.is_none() => {
                self.start_document();
                self.note_header();
            }
            _ => {}
        }
        let stem = take(&mut self.stem);
        match token.kind {
            TokenKind::Alias | TokenKind::FlowEnd | TokenKind::FlowStart | TokenKind::Scalar => {
                self.note(token.item);
            }
            TokenKind::BlockEnd => {
                if let Some(item) = self.blocks.pop().filter(|&item| item != NO_ITEM) {
                    self.note(self.items[item as usize].end);
                }
            }
            TokenKind::Entry => self.stem = self.due.head.len(),
            TokenKind::MapStart => {
                self.note_stem(token.item, stem);
                self.blocks.push(token.item);
            }
            TokenKind::SequenceStart => {
                self.note_stem(token.item, stem);
                self.blocks.push(NO_ITEM);
            }
            _ => {}
        }
    }

    /// Collects what is due at a token. The end of a block leaves comments that head what follows.
    fn collect(&mut self, token: Token) {
        while let Some(group) = self.scanned.groups.get(self.due.groups) {
            if group.due > token.at || group.kind == GroupKind::Head && token.kind == TokenKind::BlockEnd {
                return;
            }
            self.due.groups += 1;
            match group.kind {
                GroupKind::Foot => self.due.foot.extend(group.lines.clone()),
                GroupKind::Line => self.due.line.extend(group.lines.clone()),
                GroupKind::Head => {
                    let separated = take(&mut self.due.blank_behind);
                    for line in group.lines.clone() {
                        let is_first = line == group.lines.start;
                        if self.scanned.lines[line as usize].blank_before || is_first && separated {
                            self.due.paragraph = self.due.head.len();
                        }
                        self.due.head.push(line);
                    }
                    self.due.blank_behind = group.blank_behind;
                }
            }
        }
    }

    /// Hands everything that is due to an item.
    fn note(&mut self, item: u32) {
        let head = self.take_head();
        let (line, foot) = (take(&mut self.due.line), take(&mut self.due.foot));
        self.push(item, &head, &line, &foot);
    }

    /// Hands the comments before a `-` to the map or list that starts behind it.
    fn note_stem(&mut self, item: u32, stem: usize) {
        let stem: Vec<u32> = self.due.head.drain(..stem.min(self.due.head.len())).collect();
        self.due.paragraph = self.due.paragraph.saturating_sub(stem.len());
        self.push(item, &stem, &[], &[]);
    }

    /// Hands the comments before the last empty line to a document without `---`.
    fn note_header(&mut self) {
        let Some(document) = self.document else { return };
        let length = if self.due.blank_behind { self.due.head.len() } else { self.due.paragraph };
        let header: Vec<u32> = self.due.head.drain(..length).collect();
        self.due.paragraph = 0;
        self.push(document, &header, &[], &[]);
    }

    fn start_document(&mut self) {
        self.document = self.items.get(self.next_document as usize).map(|_| self.next_document);
        if let Some(document) = self.document {
            self.next_document = self.items[document as usize].end + 1;
        }
    }

    fn end_document(&mut self) {
        let Some(document) = self.document.take() else { return };
        if self.due.foot.is_empty() {
            self.due.foot = self.take_head();
        }
        self.note(self.items[document as usize].end);
    }

    fn take_head(&mut self) -> Vec<u32> {
        self.due.paragraph = 0;
        self.due.blank_behind = false;
        take(&mut self.due.head)
    }

    fn push(&mut self, item: u32, head: &[u32], line: &[u32], foot: &[u32]) {
        if head.len() + line.len() + foot.len() > 0 && item != NO_ITEM {
            let note = Note {
                head: self.comments.keep(head),
                line: self.comments.keep(line),
                foot: self.comments.keep(foot),
            };
            self.comments.notes.push((item, note));
        }
    }

    fn finish(&mut self) {
        let mut rest = self.take_head();
        rest.append(&mut self.due.line);
        rest.append(&mut self.due.foot);
        rest.extend(self.scanned.groups[self.due.groups..].iter().flat_map(|group| group.lines.clone()));
        self.comments.rest = self.comments.keep(&rest);
        self.comments.notes.sort_by_key(|note| note.0);
    }
}
