//! The tokens of a YAML source as go-yaml's scanner sees them, and the comments between them.
//!
//! Which value a comment belongs to depends on tokens that no event of a parser shows: the ends of
//! blocks, the `-` of items, the `,` of flow collections. The reader knows from the events which token
//! comes next; this finds it, and collects the comments on the way.
//!
//! Invariant: every comment of the source is in exactly one group, in the order of the source.

use std::ops::Range;

use crate::tree::Span;

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

/// Comments that stand together.
pub(super) struct Group {
    /// Where they stand, as far as the scanner can tell.
    pub kind: GroupKind,
    /// The place from which on a token takes them.
    pub due: u32,
    /// Their lines.
    pub lines: Range<u32>,
    /// Whether an empty line ends them.
    pub blank_behind: bool,
    scanned_from: u32,
    start: u32,
    start_column: u32,
    end: u32,
}

/// Where comments stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GroupKind {
    Foot,
    Head,
    Line,
}

/// One line of comment.
#[derive(Clone, Copy)]
pub(super) struct Line {
    /// The comment, from its marker to the end of the line.
    pub span: Span,
    /// Whether an empty line separates it from the one before in its group.
    pub blank_before: bool,
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
    indent: i64,
    indents: Vec<i64>,
    flow: u32,
    list: Vec<Token>,
    groups: Vec<Group>,
    lines: Vec<Line>,
}

/// A place in the source; lines and columns count from 0, columns in characters.
#[derive(Clone, Copy, Default)]
pub(super) struct Place {
    pub at: usize,
    pub line: u32,
    pub column: u32,
}

/// What was scanned.
pub(super) struct Scanned {
    pub tokens: Vec<Token>,
    pub groups: Vec<Group>,
    pub lines: Vec<Line>,
}

/// The position of no node.
pub(super) const NO_ITEM: u32 = u32::MAX;

/// go-yaml looks no further ahead for a comment.
const LOOKAHEAD: usize = 512;

impl<'a> Tokens<'a> {
    pub(super) fn new(source: &'a [u8]) -> Self {
        let start = Token { kind: TokenKind::StreamStart, at: 0, item: NO_ITEM };
        Self {
            source,
            place: Place::default(),
            origin: Place::default(),
            token_end: 0,
            newlines: 0,
            indent: -1,
            indents: Vec::new(),
            flow: 0,
            list: vec![start],
            groups: Vec::new(),
            lines: Vec::new(),
        }
    }

    /// Scans what is left, and returns everything.
    pub(super) fn finish(mut self) -> Scanned {
        self.skip_until(self.source.len());
        self.unroll(i64::from(self.place.column));
        self.origin = self.place;
        self.unroll(-1);
        self.push(TokenKind::StreamEnd, self.place.at, NO_ITEM);
        Scanned { tokens: self.list, groups: self.groups, lines: self.lines }
    }

    /// Returns where the scanner stands.
    pub(super) const fn at(&self) -> usize {
        self.place.at
    }

    /// Returns where the last token ended, before blanks and comments.
    pub(super) const fn token_end(&self) -> usize {
        self.token_end
    }

    /// Skips blanks and comments, then takes `indicator` if it stands there on its own, before `node`.
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
        let stands_alone = self.flow > 0 || matches!(self.byte(at + 1), b' ' | b'\t' | b'\r' | b'\n' | 0);
        stands_alone.then(|| {
            self.take_indicator(kind, item);
            at
        })
    }

    /// Takes what stands before `limit` or a block scalar: blanks, comments, and the tokens that no event
    /// names.
    pub(super) fn skip_until(&mut self, limit: usize) {
        loop {
            self.skip_blank();
            let at = self.place.at;
            if at >= limit {
                return;
            }
            match self.byte(at) {
                b'%' if self.place.column == 0 && self.flow == 0 => self.take_directive(),
                b'-' if self.is_marker(b"---") => self.take_marker(TokenKind::DocumentStart),
                b'.' if self.is_marker(b"...") => self.take_marker(TokenKind::DocumentEnd),
                b'&' | b'!' => self.take_property(NO_ITEM),
                b'-' => self.take_indicator(TokenKind::Entry, NO_ITEM),
                b'?' => self.take_indicator(TokenKind::Key, NO_ITEM),
                b':' => self.take_indicator(TokenKind::Value, NO_ITEM),
                b',' => self.take_indicator(TokenKind::Comma, NO_ITEM),
                b'|' | b'>' => return,
                _ => self.step(),
            }
        }
    }

    /// Opens an entry of a block map whose key has no `?`: the key starts at the next token.
    pub(super) fn open_entry(&mut self, map: u32) {
        self.skip_blank();
        if self.flow == 0 {
            self.unroll(i64::from(self.place.column));
            self.roll(TokenKind::MapStart, map);
            self.push(TokenKind::Key, self.place.at, map);
        }
    }

    /// Takes an anchor or a tag.
    pub(super) fn take_property(&mut self, item: u32) {
        let rest = &self.source[self.place.at..];
        let is_end =
            |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b',' | b'[' | b']' | b'{' | b'}');
        let length = if rest.starts_with(b"!<") {
            rest.iter().position(|&byte| byte == b'>').map_or(rest.len(), |end| end + 1)
        } else {
            1 + rest[1..].iter().position(|byte| is_end(byte)).unwrap_or(rest.len() - 1)
        };
        let end = self.place_after(length);
        self.take_token(TokenKind::Property, item, end);
    }

    /// Takes the scalar, alias or bracket that ends at `end`.
    pub(super) fn take_token(&mut self, kind: TokenKind, item: u32, end: Place) {
        let at = self.place.at;
        if self.flow == 0 {
            self.unroll(i64::from(self.place.column));
        }
        let is_continued = match self.byte(at) {
            b':' => self.flow == 0,
            b',' => self.flow > 0,
            _ => false,
        };
        let before = self.list.last().map_or(at, |token| token.at as usize);
        match kind {
            TokenKind::FlowStart => self.flow += 1,
            TokenKind::FlowEnd => self.flow = self.flow.saturating_sub(1),
            TokenKind::Entry if self.flow == 0 => self.roll(TokenKind::SequenceStart, item),
            TokenKind::Key if self.flow == 0 => self.roll(TokenKind::MapStart, item),
            _ => {}
        }
        self.push(kind, at, item);
        self.place = end;
        self.token_end = end.at;
        self.newlines = 0;
        if kind != TokenKind::Entry {
            self.take_line_comment(if is_continued { before } else { at });
        }
        self.origin = self.place;
    }

    /// Takes the plain scalar that ends at `end`, and as go-yaml does, the blanks behind it.
    pub(super) fn take_plain(&mut self, item: u32, end: Place) {
        let at = self.place.at;
        if self.flow == 0 {
            self.unroll(i64::from(self.place.column));
        }
        let is_continued = self.byte(at) == b':' && self.flow == 0;
        let before = self.list.last().map_or(at, |token| token.at as usize);
        self.push(TokenKind::Scalar, at, item);
        self.place = end;
        self.token_end = end.at;
        self.newlines = 0;
        while matches!(self.byte(self.place.at), b' ' | b'\t' | b'\r' | b'\n') {
            self.step();
        }
        self.take_line_comment(if is_continued { before } else { at });
        self.origin = self.place;
    }

    /// Takes a block scalar from its header on; `end` is where the next token or comment stands.
    pub(super) fn take_block_scalar(&mut self, item: u32, end: Place) {
        let at = self.place.at;
        self.unroll(i64::from(self.place.column));
        self.push(TokenKind::Scalar, at, item);
        self.newlines = 0;
        while matches!(self.byte(self.place.at), b'|' | b'>' | b'+' | b'-' | b'0'..=b'9') {
            self.step();
        }
        self.take_line_comment(at);
        let blanks = self.source.get(self.place.at..end.at).unwrap_or_default().iter().rev();
        let blanks = blanks.take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
        let breaks = blanks.fold((0, b'\0'), |(count, next), &byte| {
            let is_break = byte == b'\n' || byte == b'\r' && next != b'\n';
            (count + u32::from(is_break), byte)
        });
        self.newlines = breaks.0;
        self.place = end;
        self.token_end = end.at;
        self.origin = self.place;
    }

    /// Takes `---` or `...`.
    pub(super) fn take_marker(&mut self, kind: TokenKind) {
        self.unroll(i64::from(self.place.column));
        self.origin = self.place;
        self.unroll(-1);
        self.push(kind, self.place.at, NO_ITEM);
        self.place = self.place_after(3);
        self.token_end = self.place.at;
        self.newlines = 0;
        self.origin = self.place;
    }

    fn take_directive(&mut self) {
        self.unroll(i64::from(self.place.column));
        self.origin = self.place;
        self.unroll(-1);
        self.push(TokenKind::Directive, self.place.at, NO_ITEM);
        let mut last = b' ';
        while !is_break_or_end(self.byte(self.place.at)) {
            let byte = self.byte(self.place.at);
            if byte == b'#' && matches!(last, b' ' | b'\t') {
                // go-yaml drops this comment: it is due never.
                let (start, line) = (self.place, self.lines.len() as u32);
                let span = self.take_comment_line();
                self.lines.push(Line { span, blank_before: false });
                self.push_group(GroupKind::Line, u32::MAX as usize, start, start, line, 0);
                break;
            }
            last = byte;
            self.step();
        }
        self.newlines = 0;
        if is_break(self.byte(self.place.at)) {
            self.step();
        }
        self.origin = self.place;
    }

    fn take_indicator(&mut self, kind: TokenKind, item: u32) {
        let end = self.place_after(1);
        self.take_token(kind, item, end);
    }

    fn push(&mut self, kind: TokenKind, at: usize, item: u32) {
        self.list.push(Token { kind, at: at as u32, item });
    }

    /// Opens a block if the next token is further to the right than the one that is open.
    fn roll(&mut self, kind: TokenKind, item: u32) {
        let column = i64::from(self.place.column);
        if self.indent < column {
            self.indents.push(self.indent);
            self.indent = column;
            self.push(kind, self.place.at, item);
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
        let candidates = self.comments_back_to(end);
        while self.indent > column {
            let wanted = self.indent + 1;
            if let Ok(found) = candidates.binary_search_by_key(&wanted, |candidate| candidate.0) {
                end = candidates[found].1;
            }
            self.push(TokenKind::BlockEnd, end, NO_ITEM);
            self.indent = self.indents.pop().unwrap_or(-1);
        }
    }

    /// Returns, for every column in which a group of the comments just read starts, the first such group.
    fn comments_back_to(&self, end: usize) -> Vec<(i64, usize)> {
        let mut found = Vec::new();
        let mut stop = end as u32;
        for group in self.groups.iter().rev() {
            if group.end < stop {
                break;
            }
            found.push((i64::from(group.start_column), group.start as usize));
            stop = group.scanned_from;
        }
        found.sort_unstable();
        found.dedup_by_key(|candidate| candidate.0);
        found
    }

    /// Takes blanks and comments.
    pub(super) fn skip_blank(&mut self) {
        loop {
            while matches!(self.byte(self.place.at), b' ' | b'\t') || self.is_bom() {
                self.step();
            }
            if self.byte(self.place.at) == b'#' {
                self.take_comments();
            }
            if !matches!(self.byte(self.place.at), b'\r' | b'\n') {
                return;
            }
            self.step();
        }
    }

    /// Takes a comment behind the last token on its line.
    fn take_line_comment(&mut self, due: usize) {
        if self.newlines > 0 {
            return;
        }
        let rest = &self.source[self.place.at..];
        let blanks = rest.iter().take(LOOKAHEAD).take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        if rest.get(blanks) != Some(&b'#') || blanks == LOOKAHEAD {
            return;
        }
        self.place = self.place_after(blanks);
        let (start, line) = (self.place, self.lines.len() as u32);
        let span = self.take_comment_line();
        self.lines.push(Line { span, blank_before: false });
        self.push_group(GroupKind::Line, due, start, start, line, 0);
    }

    /// Takes the comments up to the next token, and divides them: what stands directly below a token, or
    /// further to the left than its block, belongs to what was before; the last part heads what follows.
    fn take_comments(&mut self) {
        let prior = match self.list.as_slice() {
            [.., before, comma] if comma.kind == TokenKind::Comma => *before,
            [.., last] => *last,
            [] => return,
        };
        let indent = self.indent.max(0);
        let mut due = prior.at as usize;
        let mut scanned_from = self.origin;
        let mut start = Place::default();
        let mut first_line = self.lines.len() as u32;
        let mut after_blank = false;
        let mut may_be_foot = self.newlines <= 1;
        let foot_line = (self.origin.line > 0).then(|| {
            let behind = self.newlines == 0 && self.place.column > 1;
            i64::from(self.place.line) - i64::from(self.newlines) + 1 + i64::from(behind)
        });
        // Columns here count from 1, as go-yaml's do, and `ahead` runs before `place`.
        let mut ahead = Place { column: self.place.column, ..self.place };
        let mut peeked = 0;
        while peeked < LOOKAHEAD {
            ahead.column += 1;
            let byte = self.byte(ahead.at);
            let has_text = first_line < self.lines.len() as u32;
            let is_outside = i64::from(start.column) - 1 < indent;
            if matches!(byte, b' ' | b'\t') {
                ahead.at += 1;
                peeked += 1;
                continue;
            }
            let ends_flow = self.flow > 0 && matches!(byte, b']' | b'}');
            if ends_flow || is_break_or_end(byte) {
                if ends_flow || !after_blank {
                    let below = Some(i64::from(start.line)) == foot_line && prior.kind != TokenKind::Value;
                    if ends_flow || may_be_foot && (below || is_outside) {
                        if has_text {
                            if is_outside {
                                due = start.at;
                            }
                            self.push_group(GroupKind::Foot, due, scanned_from, start, first_line, ahead.at);
                            scanned_from = ahead;
                            due = ahead.at;
                            first_line = self.lines.len() as u32;
                        }
                    }
                }
                if !is_break(byte) {
                    break;
                }
                may_be_foot = false;
                after_blank = true;
                ahead = Place { at: ahead.at + 1, line: ahead.line + 1, column: 0 };
                peeked += 1;
                continue;
            }
            let column = i64::from(ahead.column);
            if has_text && column - 1 < indent && ahead.column != start.column {
                self.push_group(GroupKind::Foot, due, scanned_from, start, first_line, ahead.at);
                scanned_from = ahead;
                due = ahead.at;
                first_line = self.lines.len() as u32;
            }
            if byte != b'#' {
                break;
            }
            let is_first = first_line == self.lines.len() as u32;
            if is_first {
                start = ahead;
            }
            self.place = Place { column: ahead.column - 1, ..ahead };
            let span = self.take_comment_line();
            self.lines.push(Line { span, blank_before: after_blank && !is_first });
            after_blank = false;
            ahead = Place { at: self.place.at + 1, line: self.place.line, column: 0 };
            peeked = 1;
        }
        if first_line < self.lines.len() as u32 {
            self.push_group(
                GroupKind::Head,
                start.at,
                scanned_from,
                start,
                first_line,
                ahead.at.saturating_sub(1),
            );
            if let Some(group) = self.groups.last_mut() {
                group.blank_behind = after_blank;
            }
        }
    }

    fn push_group(
        &mut self,
        kind: GroupKind,
        due: usize,
        scanned_from: Place,
        start: Place,
        first_line: u32,
        end: usize,
    ) {
        self.groups.push(Group {
            kind,
            due: due as u32,
            lines: first_line..self.lines.len() as u32,
            blank_behind: false,
            scanned_from: scanned_from.at as u32,
            start: start.at as u32,
            start_column: start.column,
            end: end as u32,
        });
    }

    /// Takes a comment up to the end of its line.
    fn take_comment_line(&mut self) -> Span {
        let start = self.place.at;
        while !is_break_or_end(self.byte(self.place.at)) {
            self.step();
        }
        self.newlines = 0;
        Span::new(start, self.place.at)
    }

    /// Goes one character further, or one line break.
    fn step(&mut self) {
        let byte = self.byte(self.place.at);
        if is_break(byte) {
            let length = if byte == b'\r' && self.byte(self.place.at + 1) == b'\n' { 2 } else { 1 };
            self.place = Place { at: self.place.at + length, line: self.place.line + 1, column: 0 };
            self.newlines += 1;
            return;
        }
        if !matches!(byte, b' ' | b'\t') {
            self.newlines = 0;
        }
        self.place = self.place_after(char_length(byte));
    }

    /// Returns the place some bytes further on the same line.
    fn place_after(&self, bytes: usize) -> Place {
        let at = (self.place.at + bytes).min(self.source.len());
        let characters = self.source[self.place.at..at].iter().filter(|&&byte| byte & 0xC0 != 0x80).count();
        Place { at, line: self.place.line, column: self.place.column + characters as u32 }
    }

    fn is_marker(&self, marker: &[u8]) -> bool {
        self.place.column == 0
            && self.flow == 0
            && self.source[self.place.at..].starts_with(marker)
            && matches!(self.byte(self.place.at + 3), b' ' | b'\t' | b'\r' | b'\n' | 0)
    }

    fn is_bom(&self) -> bool {
        self.place.column == 0 && self.source[self.place.at..].starts_with(b"\xEF\xBB\xBF")
    }

    /// Returns a byte of the source; 0 stands for its end, as it does for go-yaml.
    fn byte(&self, at: usize) -> u8 {
        self.source.get(at).copied().unwrap_or(0)
    }
}

const fn is_break(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

const fn is_break_or_end(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n' | 0)
}

const fn char_length(lead: u8) -> usize {
    match lead {
        0..=0xBF => 1,
        0xC0..=0xDF => 2,
        0xE0..=0xEF => 3,
        _ => 4,
    }
}
