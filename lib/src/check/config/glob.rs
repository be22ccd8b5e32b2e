//! Globs, of paths and of values, as regular expressions: whatever one says, matching takes linear time.
//!
//! `*` is any text and `?` any character, but for `/` in paths; `**` is any folders; `{a,b}` is one or the other;
//! `[a-z]` and `[!a-z]` are characters; `\` takes its meaning from what follows. A glob of paths without any `/` but at
//! its end is about a name in any folder, one with `/` about the whole path; one that ends in `/` is about all below.

use std::iter::Peekable;
use std::str::Chars;

/// What a glob is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// A path from the top of a repository.
    Path,
    /// A value: `/` is a character as any other.
    Value,
}

/// Why a text is no glob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum GlobError {
    /// It says nothing.
    #[error("a glob is empty")]
    Empty,
    /// It is longer than any path.
    #[error("a glob is longer than {MAX_LENGTH} bytes")]
    Long,
    /// Alternatives are within alternatives, too often.
    #[error("a glob has braces in braces, more than {MAX_DEPTH} deep")]
    Nested,
    /// `[`, `{` or `\` has no end.
    #[error("a glob has `{0}` that nothing ends")]
    Open(char),
    /// The first character of a range is behind its last one.
    #[error("a glob has a range of characters that is the wrong way round")]
    Range,
}

/// Returns the regular expression that matches what a glob matches.
pub(super) fn expression(glob: &str, subject: Subject) -> Result<String, GlobError> {
    Ok(read(glob, subject)?.expression)
}

/// Returns how many letters and digits of its own all have that a glob matches; nothing if it is no pattern, and matches
/// what it says.
pub(super) fn letters(glob: &str, subject: Subject) -> Result<Option<usize>, GlobError> {
    let writer = read(glob, subject)?;
    Ok(writer.is_pattern.then_some(writer.letters))
}

fn read(glob: &str, subject: Subject) -> Result<Writer<'_>, GlobError> {
    if glob.is_empty() {
        return Err(GlobError::Empty);
    }
    if glob.len() > MAX_LENGTH {
        return Err(GlobError::Long);
    }
    let mut expression = String::from(r"(?s)\A");
    let mut body = glob;
    if subject == Subject::Path {
        body = glob.strip_prefix('/').unwrap_or(glob);
        if !glob.trim_end_matches('/').contains('/') {
            expression.push_str("(?:.*/)?");
        }
    }
    let mut writer = Writer {
        rest: body.chars().peekable(),
        expression,
        subject,
        depth: 0,
        before: '/',
        letters: 0,
        braces: Vec::new(),
        is_pattern: false,
    };
    writer.write()?;
    if subject == Subject::Path && body.ends_with('/') {
        writer.expression.push_str(".*");
    }
    writer.expression.push_str(r"\z");
    Ok(writer)
}

struct Writer<'g> {
    rest: Peekable<Chars<'g>>,
    expression: String,
    subject: Subject,
    depth: usize,
    /// The character before the next one, `/` at the start.
    before: char,
    /// How many letters and digits every match has, from the last brace or comma on.
    letters: usize,
    /// For each open brace, how many there are before it, and in the least of its alternatives.
    braces: Vec<(usize, usize)>,
    /// Whether anything stands for more than one text.
    is_pattern: bool,
}

impl Writer<'_> {
    fn write(&mut self) -> Result<(), GlobError> {
        while let Some(character) = self.rest.next() {
            let before = std::mem::replace(&mut self.before, character);
            self.is_pattern |= matches!(character, '*' | '?' | '[');
            match character {
                '*' => self.star(before),
                '?' => self.expression.push_str(self.any()),
                '[' => self.class()?,
                '{' => {
                    self.depth += 1;
                    if self.depth > MAX_DEPTH {
                        return Err(GlobError::Nested);
                    }
                    self.expression.push_str("(?:");
                    self.braces.push((std::mem::take(&mut self.letters), usize::MAX));
                }
                ',' if self.depth > 0 => {
                    self.expression.push('|');
                    self.end_alternative();
                    self.is_pattern = true;
                }
                '}' if self.depth > 0 => {
                    self.depth -= 1;
                    self.end_alternative();
                    self.letters = self.braces.pop().map_or(0, |(before, least)| before + least);
                    self.expression.push(')');
                }
                '\\' => {
                    let next = self.rest.next().ok_or(GlobError::Open('\\'))?;
                    self.literal(next);
                }
                other => self.literal(other),
            }
        }
        if self.depth > 0 { Err(GlobError::Open('{')) } else { Ok(()) }
    }

    fn star(&mut self, before: char) {
        let mut stars = 1;
        while self.rest.next_if_eq(&'*').is_some() {
            stars += 1;
        }
        let is_path = self.subject == Subject::Path;
        // `**` is any folders only where it stands alone between slashes.
        let is_alone = stars > 1 && before == '/' && self.rest.peek().is_none_or(|next| *next == '/');
        if !is_path {
            self.expression.push_str(".*");
        } else if is_alone && self.rest.next_if_eq(&'/').is_some() {
            self.before = '/';
            self.expression.push_str("(?:.*/)?");
        } else if is_alone {
            self.expression.push_str(".*");
        } else {
            self.expression.push_str("[^/]*");
        }
    }

    fn any(&self) -> &'static str {
        if self.subject == Subject::Path { "[^/]" } else { "." }
    }

    fn class(&mut self) -> Result<(), GlobError> {
        let is_negated = self.rest.next_if(|next| matches!(next, '!' | '^')).is_some();
        let mut ranges = Vec::new();
        loop {
            let first = self.rest.next().ok_or(GlobError::Open('['))?;
            if first == ']' && !ranges.is_empty() {
                break;
            }
            let mut last = first;
            if self.rest.peek() == Some(&'-') {
                self.rest.next();
                match self.rest.next().ok_or(GlobError::Open('['))? {
                    // A dash before the end is a dash.
                    ']' => {
                        ranges.extend([(first, first), ('-', '-')]);
                        break;
                    }
                    end => last = end,
                }
            }
            if last < first {
                return Err(GlobError::Range);
            }
            ranges.push((first, last));
        }
        // No class of a path matches what parts folders.
        let is_path = self.subject == Subject::Path;
        self.expression.push_str(if is_negated { "[[^" } else { "[[" });
        for (first, last) in ranges {
            for (part, end) in [(first, "-"), (last, "")] {
                self.expression.push_str(&format!("\\x{{{:X}}}{end}", u32::from(part)));
            }
        }
        self.expression.push_str(if is_path { "]--[/]]" } else { "]]" });
        Ok(())
    }

    fn end_alternative(&mut self) {
        let letters = std::mem::take(&mut self.letters);
        if let Some((_, least)) = self.braces.last_mut() {
            *least = letters.min(*least);
        }
    }

    fn literal(&mut self, character: char) {
        self.letters += usize::from(character.is_alphanumeric());
        self.expression.push_str(&regex::escape(character.encode_utf8(&mut [0; 4])));
    }
}

/// Values as secrets are: what matches one of them matches too much.
pub(super) const PROBES: &[&str] = &[
    "kqzvhwjxntbrpmgydflc",
    "QWKZJXVHTNRBPMYGDLFS",
    "84019573628157390462",
    "x7Kq2ZvR9mTb4WnJ6hLd",
    "c3f8a01e9b7d42650fe1",
];

/// How long a glob is at most, in bytes.
const MAX_LENGTH: usize = 1_000;

/// How deep braces are nested at most.
const MAX_DEPTH: usize = 8;

#[cfg(test)]
mod tests {
    use proptest::proptest;
    use regex::Regex;

    use super::*;

    fn matches(glob: &str, text: &str) -> bool {
        let expression = expression(glob, Subject::Path).expect("a glob");
        Regex::new(&expression).expect("an expression").is_match(text)
    }

    #[test]
    fn paths_match_as_in_other_tools() {
        for (glob, yes, no) in [
            ("docs/**", "docs/a/b.md", "docs"),
            ("docs/", "docs/a/b.md", "a/docs.md"),
            ("**/docs/*.md", "docs/a.md", "docs/b/a.md"),
            ("a/**/b", "a/b", "a/xb"),
            ("a/**/b", "a/x/y/b", "x/a/b"),
            ("*.md", "x/y.md", "x/y.md/z"),
            ("/*.md", "y.md", "x/y.md"),
            ("a?c/x", "abc/x", "a/c/x"),
            ("{a,b/c}/x", "b/c/x", "b/x"),
            ("v[0-9]/x", "v1/x", "va/x"),
            ("v[!0-9]/x", "va/x", "v//x"),
            ("v[]-]/x", "v-/x", "va/x"),
            (r"a\*/x", "a*/x", "ab/x"),
            ("a.b/x", "a.b/x", "aab/x"),
            ("ü*/x", "üö/x", "u/x"),
        ] {
            assert!(matches(glob, yes), "{glob} {yes}");
            assert!(!matches(glob, no), "{glob} {no}");
        }
    }

    #[test]
    fn values_have_no_folders() {
        let expression = expression("CHANGE_*", Subject::Value).expect("a glob");
        assert!(Regex::new(&expression).expect("an expression").is_match("CHANGE_a/b\nc"));
    }

    #[test]
    fn letters_of_every_match_are_counted() {
        for (glob, wanted) in [
            ("CHANGE_ME", None),
            (r"a\*", None),
            ("CHANGE_*", Some(6)),
            ("[a-zA-Z0-9]*", Some(0)),
            ("{*,aa}", Some(0)),
            ("?*[0-9a-z]", Some(0)),
            ("{ab,c}d{{e,fg},hi}*", Some(3)),
            ("{abc}*", Some(3)),
            (r"\a**", Some(1)),
        ] {
            assert_eq!(letters(glob, Subject::Value), Ok(wanted), "{glob}");
        }
    }

    #[test]
    fn what_is_no_glob_is_told() {
        for (glob, error) in [
            ("", GlobError::Empty),
            ("a[b", GlobError::Open('[')),
            ("a{b", GlobError::Open('{')),
            ("a\\", GlobError::Open('\\')),
            ("[z-a]", GlobError::Range),
            ("{{{{{{{{{a}}}}}}}}}", GlobError::Nested),
        ] {
            assert_eq!(expression(glob, Subject::Path), Err(error), "{glob}");
        }
    }

    proptest! {
        #[test]
        fn every_glob_is_an_expression_or_an_error(glob in ".{0,40}|[-*?a/{},\\[\\]!^\\\\]{0,20}") {
            for subject in [Subject::Path, Subject::Value] {
                if let Ok(expression) = expression(&glob, subject) {
                    proptest::prop_assert!(Regex::new(&expression).is_ok(), "{}", expression);
                }
            }
        }
    }
}
