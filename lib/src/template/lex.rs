//! Cuts the source of a template into tokens, as Go's `text/template/parse` does.
//!
//! Invariant: tokens are cut when they are asked for, so that the first error of lexer and parser is the
//! one that Go reports.

use crate::template::quote::quoted;
use crate::template::rune::{is_digit, is_letter, is_printable};

/// A token.
#[derive(Clone, Debug)]
pub struct Token<'s> {
    pub kind: Kind,
    pub at: usize,
    pub text: &'s str,
    pub line: usize,
    /// What is wrong, if it is an [`Kind::Error`].
    pub error: Option<String>,
}

impl Token<'_> {
    /// Returns no token.
    pub fn none() -> Self {
        Self { kind: Kind::Eof, at: 0, text: "", line: 0, error: None }
    }

    /// Returns the token as Go writes it in an error.
    pub fn describe(&self) -> String {
        match self.kind {
            Kind::Eof => "EOF".to_owned(),
            Kind::Error => self.error.clone().unwrap_or_default(),
            kind if kind >= Kind::Block => format!("<{}>", self.text),
            _ if self.text.len() > 10 => {
                let end = self.text.char_indices().nth(10).map_or(self.text.len(), |(at, _)| at);
                format!("{}...", quoted(&self.text.as_bytes()[..end]))
            }
            _ => quoted(self.text.as_bytes()),
        }
    }
}

/// What a token is. Those from `Block` on are keywords.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Assign,
    Bool,
    Char,
    CharConstant,
    Complex,
    Declare,
    Eof,
    Error,
    Field,
    Identifier,
    LeftDelimiter,
    LeftParenthesis,
    Number,
    Pipe,
    RawString,
    RightDelimiter,
    RightParenthesis,
    Space,
    String,
    Text,
    Variable,
    Block,
    Break,
    Continue,
    Define,
    Dot,
    Else,
    End,
    If,
    Nil,
    Range,
    Template,
    With,
}

/// Cuts tokens.
pub struct Lexer<'s> {
    source: &'s str,
    at: usize,
    start: usize,
    line: usize,
    start_line: usize,
    parentheses: usize,
    is_in_action: bool,
}

impl<'s> Lexer<'s> {
    /// Returns a lexer at the start of `source`.
    pub fn new(source: &'s str) -> Self {
        Self { source, at: 0, start: 0, line: 1, start_line: 1, parentheses: 0, is_in_action: false }
    }

    /// Returns the next token.
    pub fn next(&mut self) -> Token<'s> {
        if self.is_in_action { self.inside() } else { self.text() }
    }

    fn text(&mut self) -> Token<'s> {
        loop {
            let Some(length) = self.rest().find(LEFT) else {
                self.advance(self.source.len() - self.at);
                let kind = if self.at > self.start { Kind::Text } else { Kind::Eof };
                return self.token(kind);
            };
            if length > 0 {
                let text = &self.rest()[..length];
                let is_trimmed = has_left_marker(&self.rest()[length + LEFT.len()..]);
                let kept = if is_trimmed { text.trim_end_matches(SPACES).len() } else { length };
                self.advance(kept);
                let token = self.token(Kind::Text);
                self.advance(length - kept);
                self.ignore();
                if !token.text.is_empty() {
                    return token;
                }
            }
            let start = self.at;
            let is_trimmed = has_left_marker(&self.rest()[LEFT.len()..]);
            let marker = if is_trimmed { MARKER } else { 0 };
            if self.rest()[LEFT.len() + marker..].starts_with("/*") {
                self.advance(LEFT.len() + marker);
                self.ignore();
                if let Some(error) = self.comment() {
                    return error;
                }
                continue;
            }
            self.advance(LEFT.len());
            let token = self.token(Kind::LeftDelimiter);
            debug_assert_eq!(token.at, start);
            self.is_in_action = true;
            self.advance(marker);
            self.ignore();
            self.parentheses = 0;
            return token;
        }
    }

    /// Skips a comment with its delimiter.
    fn comment(&mut self) -> Option<Token<'s>> {
        let Some(end) = self.rest()[2..].find("*/") else { return Some(self.error("unclosed comment")) };
        self.advance(2 + end + 2);
        let Some(is_trimmed) = self.right_delimiter() else {
            return Some(self.error("comment ends before closing delimiter"));
        };
        self.skip_right_delimiter(is_trimmed);
        self.ignore();
        None
    }

    fn inside(&mut self) -> Token<'s> {
        if let Some(is_trimmed) = self.right_delimiter() {
            return if self.parentheses == 0 {
                self.right(is_trimmed)
            } else {
                self.error("unclosed left paren")
            };
        }
        let Some(character) = self.peek() else { return self.error("unclosed action") };
        if is_space(character) {
            return self.space();
        }
        self.advance(character.len_utf8());
        match character {
            '=' => self.token(Kind::Assign),
            ':' => {
                if self.peek() != Some('=') {
                    return self.error("expected :=");
                }
                self.advance(1);
                self.token(Kind::Declare)
            }
            '|' => self.token(Kind::Pipe),
            '"' => self.quoted('"', Kind::String, "unterminated quoted string"),
            '`' => match self.rest().find('`') {
                None => self.error("unterminated raw quoted string"),
                Some(length) => {
                    self.advance(length + 1);
                    self.token(Kind::RawString)
                }
            },
            '$' => self.field_or_variable(Kind::Variable),
            '\'' => self.quoted('\'', Kind::CharConstant, "unterminated character constant"),
            '.' if self.peek().is_some_and(|next| !next.is_ascii_digit()) => {
                self.field_or_variable(Kind::Field)
            }
            '.' | '+' | '-' | '0'..='9' => {
                self.at = self.start;
                self.number()
            }
            '(' => {
                self.parentheses += 1;
                self.token(Kind::LeftParenthesis)
            }
            ')' => match self.parentheses.checked_sub(1) {
                None => self.error("unexpected right paren"),
                Some(left) => {
                    self.parentheses = left;
                    self.token(Kind::RightParenthesis)
                }
            },
            other if is_alphanumeric(other) => self.identifier(),
            other if other.is_ascii() && is_printable(other) => self.token(Kind::Char),
            other => self.error(&format!("unrecognized character in action: {}", codepoint(Some(other)))),
        }
    }

    fn right(&mut self, is_trimmed: bool) -> Token<'s> {
        if is_trimmed {
            self.advance(MARKER);
            self.ignore();
        }
        self.advance(RIGHT.len());
        let token = self.token(Kind::RightDelimiter);
        if is_trimmed {
            self.advance(self.rest().len() - self.rest().trim_start_matches(SPACES).len());
            self.ignore();
        }
        self.is_in_action = false;
        token
    }

    fn space(&mut self) -> Token<'s> {
        let length = self.rest().len() - self.rest().trim_start_matches(SPACES).len();
        // The last space may be part of the delimiter.
        let last = &self.rest()[length - 1..];
        let is_marker = has_right_marker(last) && last[MARKER..].starts_with(RIGHT);
        if is_marker && length == 1 {
            return self.right(true);
        }
        self.advance(length - usize::from(is_marker));
        self.token(Kind::Space)
    }

    fn identifier(&mut self) -> Token<'s> {
        self.skip_alphanumeric();
        if !self.is_at_terminator() {
            return self.bad_character();
        }
        let word = &self.source[self.start..self.at];
        let keyword = KEYWORDS.iter().find(|(name, _)| *name == word).map(|(_, kind)| *kind);
        let kind = keyword.unwrap_or(match word {
            "false" | "true" => Kind::Bool,
            _ => Kind::Identifier,
        });
        self.token(kind)
    }

    fn field_or_variable(&mut self, kind: Kind) -> Token<'s> {
        if self.is_at_terminator() {
            return self.token(if kind == Kind::Field { Kind::Dot } else { kind });
        }
        self.skip_alphanumeric();
        if self.is_at_terminator() { self.token(kind) } else { self.bad_character() }
    }

    fn skip_alphanumeric(&mut self) {
        while let Some(character) = self.peek().filter(|character| is_alphanumeric(*character)) {
            self.advance(character.len_utf8());
        }
    }

    fn quoted(&mut self, quote: char, kind: Kind, error: &str) -> Token<'s> {
        loop {
            let Some(character) = self.peek() else { return self.error(error) };
            self.advance(character.len_utf8());
            match character {
                '\n' => return self.error(error),
                '\\' => match self.peek() {
                    None | Some('\n') => return self.error(error),
                    Some(escaped) => self.advance(escaped.len_utf8()),
                },
                character if character == quote => return self.token(kind),
                _ => {}
            }
        }
    }

    fn number(&mut self) -> Token<'s> {
        let bad = |lexer: &mut Self| {
            let text = quoted(&lexer.source.as_bytes()[lexer.start..lexer.at]);
            lexer.error(&format!("bad number syntax: {text}"))
        };
        if !self.scan_number() {
            return bad(self);
        }
        if matches!(self.peek(), Some('+' | '-')) {
            if !self.scan_number() || !self.source[..self.at].ends_with('i') {
                return bad(self);
            }
            return self.token(Kind::Complex);
        }
        self.token(Kind::Number)
    }

    fn scan_number(&mut self) -> bool {
        self.accept("+-");
        let mut digits = "0123456789_";
        if self.accept("0") {
            if self.accept("xX") {
                digits = "0123456789abcdefABCDEF_";
            } else if self.accept("oO") {
                digits = "01234567_";
            } else if self.accept("bB") {
                digits = "01_";
            }
        }
        self.accept_run(digits);
        if self.accept(".") {
            self.accept_run(digits);
        }
        let exponent = match digits.len() {
            11 => "eE",
            23 => "pP",
            _ => "",
        };
        if self.accept(exponent) {
            self.accept("+-");
            self.accept_run("0123456789_");
        }
        self.accept("i");
        match self.peek().filter(|character| is_alphanumeric(*character)) {
            None => true,
            Some(character) => {
                self.advance(character.len_utf8());
                false
            }
        }
    }

    fn accept(&mut self, valid: &str) -> bool {
        let accepted = self.peek().filter(|character| valid.contains(*character));
        self.advance(accepted.map_or(0, char::len_utf8));
        accepted.is_some()
    }

    fn accept_run(&mut self, valid: &str) {
        while self.accept(valid) {}
    }

    fn is_at_terminator(&self) -> bool {
        match self.peek() {
            None | Some('.' | ',' | '|' | ':' | ')' | '(') => true,
            Some(character) => is_space(character) || self.rest().starts_with(RIGHT),
        }
    }

    /// Returns whether a delimiter comes next, and if so, whether it trims.
    fn right_delimiter(&self) -> Option<bool> {
        if has_right_marker(self.rest()) && self.rest()[MARKER..].starts_with(RIGHT) {
            return Some(true);
        }
        self.rest().starts_with(RIGHT).then_some(false)
    }

    fn skip_right_delimiter(&mut self, is_trimmed: bool) {
        self.advance(RIGHT.len() + if is_trimmed { MARKER } else { 0 });
        if is_trimmed {
            self.advance(self.rest().len() - self.rest().trim_start_matches(SPACES).len());
        }
    }

    fn bad_character(&mut self) -> Token<'s> {
        let message = format!("bad character {}", codepoint(self.peek()));
        self.error(&message)
    }

    fn error(&mut self, error: &str) -> Token<'s> {
        let (at, line) = (self.start, self.start_line);
        self.source = "";
        (self.at, self.start) = (0, 0);
        Token { kind: Kind::Error, at, text: "", line, error: Some(error.to_owned()) }
    }

    fn token(&mut self, kind: Kind) -> Token<'s> {
        let token = Token {
            kind,
            at: self.start,
            text: &self.source[self.start..self.at],
            line: self.start_line,
            error: None,
        };
        self.ignore();
        token
    }

    fn ignore(&mut self) {
        self.start = self.at;
        self.start_line = self.line;
    }

    fn advance(&mut self, length: usize) {
        let passed = &self.source.as_bytes()[self.at..self.at + length];
        self.line += passed.iter().filter(|&&byte| byte == b'\n').count();
        self.at += length;
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }
}

fn has_left_marker(text: &str) -> bool {
    let mut characters = text.chars();
    characters.next() == Some('-') && characters.next().is_some_and(is_space)
}

fn has_right_marker(text: &str) -> bool {
    let mut characters = text.chars();
    characters.next().is_some_and(is_space) && characters.next() == Some('-')
}

fn is_space(character: char) -> bool {
    SPACES.contains(&character)
}

fn is_alphanumeric(character: char) -> bool {
    character == '_' || is_letter(character) || is_digit(character)
}

/// Writes a character as `%#U` does.
fn codepoint(character: Option<char>) -> String {
    match character {
        // Go's lexer has -1 for the end, which is written as the 64 bits of it.
        None => "U+FFFFFFFFFFFFFFFF".to_owned(),
        Some(character) if is_printable(character) => {
            format!("U+{:04X} '{character}'", u32::from(character))
        }
        Some(character) => format!("U+{:04X}", u32::from(character)),
    }
}

const LEFT: &str = "{{";
const RIGHT: &str = "}}";
const SPACES: &[char] = &[' ', '\t', '\r', '\n'];

/// A trim marker: the minus and the space beside it.
const MARKER: usize = 2;

const KEYWORDS: &[(&str, Kind)] = &[
    ("block", Kind::Block),
    ("break", Kind::Break),
    ("continue", Kind::Continue),
    ("define", Kind::Define),
    ("else", Kind::Else),
    ("end", Kind::End),
    ("if", Kind::If),
    ("nil", Kind::Nil),
    ("range", Kind::Range),
    ("template", Kind::Template),
    ("with", Kind::With),
];
