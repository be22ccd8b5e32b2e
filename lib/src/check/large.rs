//! Files that are too large to be read at once: pieces of them are looked at, for what needs no more than a few lines.

use std::borrow::Cow;

use super::content::{Content, decode};
use super::facts::Facts;
use super::file::{File, Mode};
use super::finding::{Finding, Findings, Position};
use super::rule::{Check, Rule};
use super::rules::too_large;
use super::{Checked, Checker, RULES};

/// Looks at a large file piece by piece.
pub struct Large<'c, 'a> {
    checker: &'c Checker<'a>,
    path: String,
    /// What was given and not looked at yet, from the start of a line on, if lines are not too long.
    piece: Vec<u8>,
    /// How many bytes of the piece were looked at already.
    known: usize,
    /// How many bytes and lines are before the piece.
    before: (usize, usize),
    found: Vec<Finding>,
}

impl<'a> Checker<'a> {
    /// How many bytes of a file are read as a whole; larger ones are for [`Checker::large`].
    pub const LARGEST: u64 = 16 << 20;

    /// Looks at a file that is larger than [`Self::LARGEST`], piece by piece.
    #[must_use]
    pub fn large(&self, path: &str) -> Large<'_, 'a> {
        let (piece, found) = (Vec::new(), Vec::new());
        Large { checker: self, path: path.to_owned(), piece, known: 0, before: (0, 0), found }
    }
}

impl Large<'_, '_> {
    /// Takes the next bytes.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(PIECE - self.piece.len()));
            self.piece.extend_from_slice(now);
            bytes = later;
            if self.piece.len() == PIECE {
                self.look();
                self.cut();
            }
        }
    }

    /// Returns what was found, once all bytes were given. A file whose structure would have to be known is told as one
    /// that cannot be verified.
    #[must_use]
    pub fn finish(mut self) -> Checked {
        self.look();
        let mut found = Findings::default();
        let content = decode(b"");
        too_large(&File::new(&self.path, b"", &content, Mode::File), self.checker.context(), &mut found);
        self.found.extend(found.into_vec());
        let (config, today) = (self.checker.context.config, self.checker.context.today);
        self.checker.allowances.apply(config, today, &self.path, &mut self.found);
        self.checker.weigh(&mut self.found);
        Checked { findings: self.found, facts: Facts { path: self.path, ..Facts::default() } }
    }

    fn look(&mut self) {
        let content = text(&self.piece);
        // Places are those of the text, which is longer or shorter than the bytes.
        let known = text(&self.piece[..self.known]).len();
        let content = Content::Text(content);
        let file = File::new(&self.path, &self.piece, &content, Mode::File);
        let mut found = Findings::default();
        for rule in RULES.iter().filter(|rule| rule.judges_pieces() && file.needles().has(rule.needles)) {
            if let Check::File(check) = rule.check {
                check(&file, self.checker.context(), &mut found);
            }
        }
        let (bytes, lines) = self.before;
        let moved = |position: Position| Position { line: position.line + lines, ..position };
        for mut finding in found.into_vec() {
            // What ends in the part that two pieces share was found in the first of them.
            if finding.span.end <= known {
                continue;
            }
            (finding.start, finding.end) = (moved(finding.start), moved(finding.end));
            finding.span = finding.span.start + bytes..finding.span.end + bytes;
            self.found.push(finding);
        }
    }

    /// Keeps the end of the piece, for what begins there.
    fn cut(&mut self) {
        let least = self.piece.len() - SHARED;
        let line = memchr::memchr(b'\n', &self.piece[least..]).map(|at| least + at + 1);
        let start = line.filter(|start| *start < self.piece.len()).unwrap_or(least);
        self.before.0 += start;
        self.before.1 += memchr::memchr_iter(b'\n', &self.piece[..start]).count();
        self.piece.drain(..start);
        self.known = self.piece.len();
    }
}

/// Returns the text of some bytes: what is no text as if it were one, as keys and tokens are looked for there, too.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    match decode(bytes) {
        Content::Binary(bytes) => String::from_utf8_lossy(bytes),
        Content::Text(text) => text,
    }
}

impl Rule {
    /// Returns whether a few lines are enough for the rule: private keys, tokens and addresses.
    #[must_use]
    pub fn judges_pieces(&self) -> bool {
        matches!(self.id, "KEY001" | "TOK001" | "TOK002")
    }
}

/// How many bytes are looked at together.
const PIECE: usize = 4 << 20;

/// How many bytes two pieces share at most: more than the longest private key has.
const SHARED: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use time::Date;

    use crate::check::baseline::Baseline;
    use crate::check::config::Config;
    use crate::check::{Checker, Context, Files, Policies};

    /// Returns the rules and lines of what is found in a file that is looked at piece by piece.
    fn found(bytes: &[u8]) -> Vec<(&'static str, usize)> {
        let (config, after) = (Config::default(), Files::default());
        let policies = Policies::new(&after);
        let today = Date::from_ordinal_date(2026, 300).expect("a day");
        let context =
            Context { after: &after, before: None, config: &config, policies: &policies, keys: None, today };
        let checker = Checker::new(context, Baseline::default());
        let mut large = checker.large("a.bin");
        large.push(bytes);
        large.finish().findings.iter().map(|finding| (finding.rule.id, finding.start.line)).collect()
    }

    #[test]
    fn tokens_are_found_in_every_piece_whatever_is_around_them() {
        let address = format!("\npostgres://app:{}@db.example.net/x\n", concat!("vXq7", "Rk2pL9"));
        let rest = super::PIECE - super::SHARED;
        for filler in [b"x\n".as_slice(), b"\0\x01\xff\xfe"] {
            for at in [100, rest + 10_000, super::PIECE + 100] {
                let mut bytes = filler.repeat(3 * super::PIECE / 2 / filler.len());
                bytes.splice(at..at, address.bytes());
                let found: Vec<_> = found(&bytes).into_iter().map(|(rule, _)| rule).collect();
                assert_eq!(found, ["TOK002"], "{at}");
            }
        }
        // In UTF-16, a text is half as long as its bytes.
        let text = "x\n".repeat(super::PIECE / 2 - 7_000) + &address;
        let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(found(&bytes).len(), 1);
    }
}
