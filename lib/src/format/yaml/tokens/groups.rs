//! Comments between two tokens, in groups that stay together.
//!
//! What stands directly below a token, or further to the left than its block, belongs to what was before;
//! the last part heads what follows. Columns of comments count from 1, as they do in go-yaml.

use std::ops::Range;

use super::{Place, TokenKind, Tokens, is_blank, is_break, is_break_or_end};
use crate::tree::Span;

/// Comments that stand together.
pub(in crate::format::yaml) struct Group {
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
pub(in crate::format::yaml) enum GroupKind {
    Foot,
    Head,
    Line,
}

/// One line of comment.
#[derive(Clone, Copy)]
pub(in crate::format::yaml) struct Line {
    /// The comment, from its marker to the end of the line.
    pub span: Span,
    /// Whether an empty line separates it from the one before in its group.
    pub blank_before: bool,
}

/// The comments that are being read, as far as they are in no group yet.
struct Run {
    due: usize,
    scanned_from: usize,
    start: Place,
    first_line: u32,
    /// Whether the line just passed is empty.
    after_blank: bool,
    /// Whether no empty line was passed so far.
    may_be_foot: bool,
    /// The line on which a foot of the token before has to start.
    foot_line: Option<i64>,
    /// The column of the innermost block.
    indent: i64,
}

impl Tokens<'_> {
    /// Takes a comment behind the last token on its line.
    pub(super) fn take_line_comment(&mut self, due: usize) {
        if self.newlines > 0 {
            return;
        }
        let rest = &self.source[self.place.at..];
        let blanks = rest.iter().take(LOOKAHEAD).take_while(|&&byte| is_blank(byte)).count();
        if rest.get(blanks) == Some(&b'#') && blanks < LOOKAHEAD {
            self.place = self.place_after(blanks);
            self.take_lone_comment(GroupKind::Line, due);
        }
    }

    /// Takes one comment as a group.
    pub(super) fn take_lone_comment(&mut self, kind: GroupKind, due: usize) {
        let run = Run {
            due,
            scanned_from: self.place.at,
            start: self.place,
            first_line: self.lines.len() as u32,
            after_blank: false,
            may_be_foot: false,
            foot_line: None,
            indent: 0,
        };
        self.take_line(false);
        self.push_group(kind, &run, 0);
    }

    /// Takes the comments up to the next token, and divides them.
    pub(super) fn take_comments(&mut self) {
        let mut run = self.start_run();
        // Runs ahead of the place up to which the source is taken.
        let mut ahead = self.place;
        let mut passed = 0;
        while passed < LOOKAHEAD {
            ahead.column += 1;
            let byte = self.byte(ahead.at);
            if is_break(byte) {
                self.end_line(&mut run, ahead);
                ahead = Place { at: ahead.at, line: ahead.line + 1, column: 0 };
            } else if self.ends_comments(byte) {
                self.end_line(&mut run, ahead);
                break;
            } else if !is_blank(byte) {
                self.split_if_dedented(&mut run, ahead);
                if byte != b'#' {
                    break;
                }
                let is_first = run.first_line == self.lines.len() as u32;
                if is_first {
                    run.start = ahead;
                }
                while self.place.at < ahead.at {
                    self.step();
                }
                self.take_line(run.after_blank && !is_first);
                run.after_blank = false;
                // go-yaml skips the first byte of the line break, so that it takes the second one of CRLF
                // for an empty line, and it does not count the line.
                ahead = Place { column: 0, ..self.place };
                passed = 0;
            }
            ahead.at += 1;
            passed += 1;
        }
        if self.has_lines(&run) {
            run.due = run.start.at;
            self.push_group(GroupKind::Head, &run, ahead.at.saturating_sub(1));
        }
    }

    fn start_run(&self) -> Run {
        let prior = match self.list.as_slice() {
            [.., before, comma] if comma.kind == TokenKind::Comma => Some(before),
            list => list.last(),
        };
        // Nothing stands below the `:` of a key: what follows heads the value.
        let is_below_value = prior.is_some_and(|token| token.kind == TokenKind::Value);
        let has_foot_line = self.origin.line > 0 && !is_below_value;
        let is_behind_token = self.newlines == 0 && self.place.column > 1;
        let line = i64::from(self.place.line) - i64::from(self.newlines) + 1 + i64::from(is_behind_token);
        Run {
            due: prior.map_or(0, |token| token.at as usize),
            scanned_from: self.origin.at,
            start: Place::default(),
            first_line: self.lines.len() as u32,
            after_blank: false,
            may_be_foot: self.newlines <= 1,
            foot_line: has_foot_line.then_some(line),
            indent: self.indent.max(0),
        }
    }

    /// Decides at the end of an empty line, or before the end of a flow collection, what becomes of the
    /// lines so far.
    fn end_line(&mut self, run: &mut Run, ahead: Place) {
        let ends_flow = !is_break_or_end(self.byte(ahead.at));
        let is_outside = run.is_outside();
        let is_below = run.foot_line == Some(i64::from(run.start.line));
        let is_foot = ends_flow || !run.after_blank && run.may_be_foot && (is_below || is_outside);
        if is_foot && self.has_lines(run) {
            if is_outside {
                run.due = run.start.at;
            }
            self.split(run, ahead);
        }
        if is_break(self.byte(ahead.at)) {
            run.may_be_foot = false;
            run.after_blank = true;
        }
    }

    /// What is further to the left than the block, and not in line with the comments so far, is not of
    /// the same group.
    fn split_if_dedented(&mut self, run: &mut Run, ahead: Place) {
        let is_outside = i64::from(ahead.column) - 1 < run.indent;
        if is_outside && ahead.column != run.start.column && self.has_lines(run) {
            self.split(run, ahead);
        }
    }

    /// Makes the lines so far a foot.
    fn split(&mut self, run: &mut Run, ahead: Place) {
        self.push_group(GroupKind::Foot, run, ahead.at);
        run.scanned_from = ahead.at;
        run.due = ahead.at;
        run.first_line = self.lines.len() as u32;
    }

    fn push_group(&mut self, kind: GroupKind, run: &Run, end: usize) {
        self.groups.push(Group {
            kind,
            due: run.due as u32,
            lines: run.first_line..self.lines.len() as u32,
            blank_behind: kind == GroupKind::Head && run.after_blank,
            scanned_from: run.scanned_from as u32,
            start: run.start.at as u32,
            start_column: run.start.column,
            end: end as u32,
        });
    }

    /// Takes a comment up to the end of its line.
    fn take_line(&mut self, blank_before: bool) {
        let start = self.place.at;
        while !is_break_or_end(self.byte(self.place.at)) {
            self.step();
        }
        self.newlines = 0;
        self.lines.push(Line { span: Span::new(start, self.place.at), blank_before });
    }

    fn has_lines(&self, run: &Run) -> bool {
        run.first_line < self.lines.len() as u32
    }

    fn ends_comments(&self, byte: u8) -> bool {
        byte == 0 || self.flow > 0 && matches!(byte, b']' | b'}')
    }
}

impl Run {
    fn is_outside(&self) -> bool {
        i64::from(self.start.column) - 1 < self.indent
    }
}

/// Returns, for every column in which a group of the comments before the next token starts, that column
/// and the place of the first such group. `end` is the end of the token before.
pub(super) fn starts_back_to(end: usize, groups: &[Group]) -> Vec<(i64, usize)> {
    let mut found = Vec::new();
    let mut stop = end as u32;
    for group in groups.iter().rev() {
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

/// go-yaml looks no further ahead for a comment.
const LOOKAHEAD: usize = 512;
