//! The tokens of a YAML source as go-yaml's scanner sees them, and the comments between them.
//!
//! Which value a comment belongs to depends on tokens that no event of a parser shows: the ends of
//! blocks, the `-` of items, the `,` of flow collections. The reader knows from the events which token
//! comes next; this finds it, and collects the comments on the way.
//!
//! Invariant: every comment of the source is in exactly one group, in the order of the source.

mod groups;

use crate::tree::Span;

pub(super) use groups::{Group, GroupKind, Line};

/// What was scanned.
pub(super) struct Scanned {
    pub tokens: Vec<Token>,
    pub groups: Vec<Group>,
    pub lines: Vec<Line>,
}

/// One token.
#[derive(Clone, Copy)]
pub(super) struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// Where it starts; the end of a block is moved before comments that belong further out.
    pub at: u32,
    /// The position of its node in the outline, if it has one.
    pub item: u32,
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    Alias,
    BlockEnd,
    Comma,
    Directive,
    DocumentEnd,
    DocumentStart,
    Entry,
    FlowEnd,
    FlowStart,
    Key,
    MapStart,
    Property,
    Scalar,
    SequenceStart,
    StreamEnd,
    StreamStart,
    Value,
}

/// A place in the source; lines and columns count from 0, columns in characters.
#[derive(Clone, Copy, Default)]
pub(super) struct Place {
    pub at: usize,
    pub line: u32,
    pub column: u32,
}

/// A scanner that is told which token comes next.
pub(super) struct Tokens<'a> {
    source: &'a [u8],
    place: Place,
    /// Where the search for the next token began.
    origin: Place,
    /// Where the last token ended, before blanks and comments.
    token_end: usize,
    /// Line breaks since the last character that is not blank.
    newlines: u32,
    /// The column of the innermost block, or -1.
    indent: i64,
    indents: Vec<i64>,
    /// How many flow collections are open.
    flow: u32,
    list: Vec<Token>,
    groups: Vec<Group>,
    lines: Vec<Line>,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(source: &'a [u8]) -> Self {
        let mut list = Vec::with_capacity((source.len() / 8).min(MANY));
        list.push(Token { kind: TokenKind::StreamStart, at: 0, item: NO_ITEM });
        Self {
            source,
            place: Place::default(),
            origin: Place::default(),
            token_end: 0,
            newlines: 0,
            indent: -1,
            indents: Vec::new(),
            flow: 0,
            list,
            groups: Vec::new(),
            lines: Vec::new(),
        }
    }

    /// Scans what is left, and returns everything.
    pub(super) fn finish(mut self) -> Scanned {
        self.skip_until(self.source.len());
        self.end_blocks();
        self.push(TokenKind::StreamEnd, NO_ITEM);
        Scanned { tokens: self.list, groups: self.groups, lines: self.lines }
    }

    /// Takes blanks and comments.
    pub(super) fn skip_blank(&mut self) {
        loop {
            while is_blank(self.byte(self.place.at)) || self.is_bom() {
                self.step();
            }
            if self.byte(self.place.at) == b'#' {
                self.take_comments();
            }
            if !is_break(self.byte(self.place.at)) {
                return;
            }
            self.step();
        }
    }

    /// Takes what stands before `limit` or a block scalar: blanks, comments, and the tokens that no event
    /// names.
    pub(super) fn skip_until(&mut self, limit: usize) {
        loop {
            self.skip_blank();
            if self.place.at >= limit {
                return;
            }
            match self.byte(self.place.at) {
                b'%' if self.place.column == 0 && self.flow == 0 => self.take_directive(),
                b'-' if self.is_marker(b"---") => self.take_marker(TokenKind::DocumentStart),
                b'.' if self.is_marker(b"...") => self.take_marker(TokenKind::DocumentEnd),
                b'&' | b'!' => drop(self.take_property()),
                b'-' => self.take_indicator(TokenKind::Entry, NO_ITEM),
                b'?' => self.take_indicator(TokenKind::Key, NO_ITEM),
                b':' => self.take_indicator(TokenKind::Value, NO_ITEM),
                b',' => self.take_indicator(TokenKind::Comma, NO_ITEM),
                b'|' | b'>' => return,
                _ => self.step(),
            }
        }
    }

    /// Skips blanks and comments, then takes `indicator` if it stands there on its own, before `node`.
    /// Returns where it stood.
    pub(super) fn take(
        &mut self,
        indicator: u8,
        kind: TokenKind,
        item: u32,
        node: Option<u32>,
    ) -> Option<usize> {
        self.skip_blank();
        let at = self.place.at;
        if self.byte(at) != indicator || node == Some(at as u32) {
            return None;
        }
        let stands_alone = self.flow > 0 || is_blank_break_or_end(self.byte(at + 1));
        stands_alone.then(|| {
            self.take_indicator(kind, item);
            at
        })
    }

    /// Takes an anchor or a tag, if there is one, and returns its place.
    pub(super) fn take_property(&mut self) -> Span {
        self.skip_blank();
        let start = self.place.at;
        let rest = &self.source[self.place.at..];
        let length = match rest {
            [b'!', b'<', ..] => rest.iter().position(|&byte| byte == b'>').map(|end| end + 1),
            [b'!' | b'&', ..] => rest.iter().position(|&byte| is_property_end(byte)),
            _ => Some(0),
        };
        let length = length.unwrap_or(rest.len());
        if length > 0 {
            self.take_token(TokenKind::Property, NO_ITEM, self.place_after(length));
        }
        Span::new(start, start + length)
    }

    /// Opens an entry of a block map whose key has no `?`: the key starts at the next token.
    pub(super) fn open_entry(&mut self, map: u32) {
        self.skip_blank();
        if self.flow == 0 {
            self.unroll(self.column());
            self.roll(TokenKind::MapStart, map);
            self.push(TokenKind::Key, map);
        }
    }

    /// Takes the quoted scalar, alias, bracket or indicator that ends at `end`.
    pub(super) fn take_token(&mut self, kind: TokenKind, item: u32, end: Place) {
        let due = self.start_token(kind, item);
        self.place = end;
        self.token_end = end.at;
        self.newlines = 0;
        // A comment behind a `-` heads what follows.
        if kind != TokenKind::Entry {
            self.take_line_comment(due);
        }
        self.origin = self.place;
    }

    /// Takes the plain scalar that ends at `end` and, as go-yaml does, the blanks behind it.
    pub(super) fn take_plain(&mut self, item: u32, end: Place) {
        let due = self.start_token(TokenKind::Scalar, item);
        self.place = end;
        self.token_end = end.at;
        self.newlines = 0;
        while is_blank(self.byte(self.place.at)) || is_break(self.byte(self.place.at)) {
            self.step();
        }
        self.take_line_comment(due);
        self.origin = self.place;
    }

    /// Takes a block scalar from its header on; `end` is where the next token or comment stands.
    pub(super) fn take_block_scalar(&mut self, item: u32, end: Place) {
        let due = self.start_token(TokenKind::Scalar, item);
        self.newlines = 0;
        while matches!(self.byte(self.place.at), b'|' | b'>' | b'+' | b'-' | b'0'..=b'9') {
            self.step();
        }
        self.take_line_comment(due);
        let body = self.source.get(self.place.at..end.at).unwrap_or_default();
        let last = body.iter().rposition(|&byte| !is_blank(byte) && !is_break(byte));
        self.newlines = count_breaks(&body[last.map_or(0, |last| last + 1)..]);
        self.place = end;
        self.token_end = end.at;
        self.origin = end;
    }

    /// Takes `---` or `...`.
    pub(super) fn take_marker(&mut self, kind: TokenKind) {
        self.end_blocks();
        self.push(kind, NO_ITEM);
        self.place = self.place_after(3);
        self.token_end = self.place.at;
        self.newlines = 0;
        self.origin = self.place;
    }

    /// Returns where the scanner stands.
    pub(super) const fn at(&self) -> usize {
        self.place.at
    }

    /// Returns where the last token ended, before blanks and comments.
    pub(super) const fn token_end(&self) -> usize {
        self.token_end
    }

    fn take_directive(&mut self) {
        self.end_blocks();
        self.push(TokenKind::Directive, NO_ITEM);
        let mut last = b'%';
        while !is_break_or_end(self.byte(self.place.at)) {
            let byte = self.byte(self.place.at);
            if byte == b'#' && is_blank(last) {
                self.take_lone_comment(GroupKind::Head, self.place.at);
            } else {
                last = byte;
                self.step();
            }
        }
        self.newlines = 0;
        if is_break(self.byte(self.place.at)) {
            self.step();
        }
        self.origin = self.place;
    }

    fn take_indicator(&mut self, kind: TokenKind, item: u32) {
        self.take_token(kind, item, self.place_after(1));
    }

    /// Adds the token that starts here. Returns where a comment behind it is due.
    fn start_token(&mut self, kind: TokenKind, item: u32) -> usize {
        self.unroll(self.column());
        let at = self.place.at;
        // What follows a `:` or `,` goes with the token before.
        let is_continued = match self.byte(at) {
            b':' => self.flow == 0,
            b',' => self.flow > 0,
            _ => false,
        };
        let before = self.list.last().map_or(at, |token| token.at as usize);
        match kind {
            TokenKind::FlowStart => self.flow += 1,
            TokenKind::FlowEnd => self.flow = self.flow.saturating_sub(1),
            TokenKind::Entry => self.roll(TokenKind::SequenceStart, item),
            TokenKind::Key => self.roll(TokenKind::MapStart, item),
            _ => {}
        }
        self.push(kind, item);
        if is_continued { before } else { at }
    }

    /// Opens a block if the next token is further to the right than the one that is open.
    fn roll(&mut self, kind: TokenKind, item: u32) {
        if self.flow == 0 && self.indent < self.column() {
            self.indents.push(self.indent);
            self.indent = self.column();
            self.push(kind, item);
        }
    }

    /// Ends the blocks that are further to the right than `column`.
    ///
    /// A block ends before the first of the comments just read that stands one column to the right of
    /// its keys, so that the comments from there on belong to what is further out.
    fn unroll(&mut self, column: i64) {
        if self.flow > 0 || self.indent <= column {
            return;
        }
        let mut end = self.origin.at.saturating_sub(1);
        let candidates = groups::starts_back_to(end, &self.groups);
        while self.indent > column {
            // The columns of comments count from 1.
            let wanted = self.indent + 1;
            if let Ok(found) = candidates.binary_search_by_key(&wanted, |candidate| candidate.0) {
                end = candidates[found].1;
            }
            self.list.push(Token { kind: TokenKind::BlockEnd, at: end as u32, item: NO_ITEM });
            self.indent = self.indents.pop().unwrap_or(-1);
        }
    }

    /// Ends the blocks before a marker, a directive or the end: first as any token would, then the rest.
    fn end_blocks(&mut self) {
        self.unroll(self.column());
        self.origin = self.place;
        self.unroll(-1);
    }

    fn push(&mut self, kind: TokenKind, item: u32) {
        self.list.push(Token { kind, at: self.place.at as u32, item });
    }

    /// Goes one character further, or one line break.
    fn step(&mut self) {
        let byte = self.byte(self.place.at);
        // A byte order mark at the very beginning takes no column.
        if self.place.at == 0 && self.is_bom() {
            self.place.at = length_of_character(byte);
            return;
        }
        if is_break(byte) {
            let length = if byte == b'\r' && self.byte(self.place.at + 1) == b'\n' { 2 } else { 1 };
            self.place = Place { at: self.place.at + length, line: self.place.line + 1, column: 0 };
            self.newlines += 1;
            return;
        }
        if !is_blank(byte) {
            self.newlines = 0;
        }
        self.place = self.place_after(length_of_character(byte));
    }

    /// Returns the place some bytes further on the same line.
    fn place_after(&self, bytes: usize) -> Place {
        let at = (self.place.at + bytes).min(self.source.len());
        let characters = self.source[self.place.at..at].iter().filter(|&&byte| byte & 0xC0 != 0x80).count();
        Place { at, line: self.place.line, column: self.place.column + characters as u32 }
    }

    fn column(&self) -> i64 {
        i64::from(self.place.column)
    }

    fn is_marker(&self, marker: &[u8]) -> bool {
        self.place.column == 0
            && self.flow == 0
            && self.source[self.place.at..].starts_with(marker)
            && is_blank_break_or_end(self.byte(self.place.at + 3))
    }

    fn is_bom(&self) -> bool {
        self.place.column == 0 && self.source[self.place.at..].starts_with(b"\xEF\xBB\xBF")
    }

    /// Returns a byte of the source; 0 stands for its end, as it does for go-yaml.
    fn byte(&self, at: usize) -> u8 {
        self.source.get(at).copied().unwrap_or(0)
    }
}

fn count_breaks(bytes: &[u8]) -> u32 {
    let feeds = bytes.iter().filter(|&&byte| byte == b'\n').count();
    let returns = bytes.iter().filter(|&&byte| byte == b'\r').count();
    let both = bytes.windows(2).filter(|&pair| pair == b"\r\n").count();
    (feeds + returns - both) as u32
}

const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

const fn is_break(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

const fn is_break_or_end(byte: u8) -> bool {
    is_break(byte) || byte == 0
}

const fn is_blank_break_or_end(byte: u8) -> bool {
    is_blank(byte) || is_break_or_end(byte)
}

const fn is_property_end(byte: u8) -> bool {
    is_blank_break_or_end(byte) || matches!(byte, b',' | b'[' | b']' | b'{' | b'}')
}

const fn length_of_character(lead: u8) -> usize {
    match lead {
        0..=0xBF => 1,
        0xC0..=0xDF => 2,
        0xE0..=0xEF => 3,
        _ => 4,
    }
}

/// The position of no node.
pub(super) const NO_ITEM: u32 = u32::MAX;

/// Room for as many tokens or items is reserved at once.
pub(super) const MANY: usize = 1 << 20;
