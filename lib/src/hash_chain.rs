//! A log in which each line holds the hash of the line before: whoever changes, drops or inserts a line, and does not
//! write all that follow anew, is found out.
//!
//! A line is JSON, `{"previous":"…","hash":"…","entry":…}`. Its hash is the SHA-256 of the previous one, a line end,
//! and the entry, byte for byte. Before the first line, the hash is all zeros.
//!
//! A line that was cut off, since the machine stopped while it was written, is followed by one whose entry holds its
//! SHA-256 as `torn`: what was cut off is never part of the chain, and never taken away. Of several in a row, `torn` is
//! what it is of those before the last, a line end, and the last, hashed together.

use std::fmt;

use sha2::{Digest, Sha256};

/// The hash of a line.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Link([u8; 32]);

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// The hash is not that of what the line says.
    #[error("the line was changed: its hash is another one")]
    Changed,
    /// The line is none of a log.
    #[error("this is no line of an audit log")]
    Malformed,
    /// The line does not follow the one above it.
    #[error("a line is missing, or was put in, above: this one follows another one")]
    Order,
}

/// How far a log was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    last: Link,
    entries: usize,
    torn: Option<Torn>,
    mended: usize,
}

/// Lines in a row that were cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Torn {
    hash: Link,
    lines: usize,
}

impl Link {
    /// What the first line follows.
    pub const FIRST: Self = Self([0; 32]);

    fn parse(text: &[u8]) -> Option<Self> {
        let mut hash = [0; 32];
        let digit = |byte: u8| char::from(byte).to_digit(16).filter(|_| !byte.is_ascii_uppercase());
        for (byte, pair) in hash.iter_mut().zip(text.chunks(2)) {
            let value = digit(pair[0])? * 16 + digit(*pair.get(1)?)?;
            *byte = u8::try_from(value).ok()?;
        }
        (text.len() == DIGITS).then_some(Self(hash))
    }

    fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    fn after(self, entry: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(self.to_string());
        hash.update(b"\n");
        hash.update(entry);
        Self(hash.finalize().into())
    }
}

impl Chain {
    /// Returns the chain of a log without lines.
    #[must_use]
    pub const fn new() -> Self {
        Self { last: Link::FIRST, entries: 0, torn: None, mended: 0 }
    }

    /// Returns the chain of a log whose end alone is at hand: lines without their ends. It begins with the first one
    /// that is whole, which is taken to follow what it says that it follows. `None` if all of them were cut off.
    ///
    /// # Errors
    /// If a line is not as it was written, or does not follow the one above; with its place, from 0.
    pub fn from_end(lines: &[&[u8]]) -> Result<Option<Self>, (usize, ChainError)> {
        let first = lines.iter().enumerate().find_map(|(at, line)| Some((at, Line::parse(line)?)));
        let Some((start, first)) = first else { return Ok(None) };
        let mut chain = Self { last: first.previous, ..Self::new() };
        // How many were cut off above it, is not at hand.
        chain.torn = first.torn().map(|hash| Torn { hash, lines: 1 });
        for (at, line) in lines.iter().enumerate().skip(start) {
            chain.take(line).map_err(|error| (at, error))?;
        }
        Ok(Some(chain))
    }

    /// Takes the next line, without its end.
    ///
    /// # Errors
    /// If it is not as it was written, or does not follow the one before.
    pub fn take(&mut self, line: &[u8]) -> Result<(), ChainError> {
        let Some(line) = Line::parse(line) else {
            self.torn = Some(Torn::after(self.torn, line));
            return Ok(());
        };
        if self.last.after(line.entry) != line.hash {
            let is_own = line.previous.after(line.entry) == line.hash;
            return Err(if is_own { ChainError::Order } else { ChainError::Changed });
        }
        if let Some(torn) = self.torn.take() {
            if line.torn() != Some(torn.hash) {
                return Err(ChainError::Malformed);
            }
            self.mended += torn.lines;
        }
        self.last = line.hash;
        self.entries += 1;
        Ok(())
    }

    /// Returns the next line, with its end, and takes it. `entry` is a JSON object in one line, with a field or more.
    pub fn append(&mut self, entry: &str) -> String {
        let entry = match (self.torn.take(), entry.strip_prefix('{')) {
            (Some(Torn { hash, .. }), Some(rest)) => format!("{{{TORN}{hash}\",{rest}"),
            _ => entry.to_owned(),
        };
        let previous = self.last;
        self.last = previous.after(entry.as_bytes());
        self.entries += 1;
        format!("{PREVIOUS}{previous}{HASH}{}{ENTRY}{entry}}}\n", self.last)
    }

    /// Returns how many lines at the end were cut off, and no whole one follows them.
    #[must_use]
    pub fn torn(&self) -> usize {
        self.torn.map_or(0, |torn| torn.lines)
    }

    /// Returns how many lines are part of the chain.
    #[must_use]
    pub const fn entries(&self) -> usize {
        self.entries
    }

    /// Returns how many lines were cut off, and followed by a whole one.
    #[must_use]
    pub const fn mended(&self) -> usize {
        self.mended
    }

    /// Returns the hash of the last line: whoever notes it down elsewhere sees later whether lines before it changed.
    #[must_use]
    pub const fn last(&self) -> Link {
        self.last
    }
}

impl Torn {
    /// Returns what was cut off with another line below it.
    fn after(above: Option<Self>, line: &[u8]) -> Self {
        match above {
            None => Self { hash: Link::of(line), lines: 1 },
            Some(above) => Self { hash: above.hash.after(line), lines: above.lines + 1 },
        }
    }
}

impl Default for Chain {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for Link {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Link({self})")
    }
}

/// A line, taken apart.
struct Line<'a> {
    previous: Link,
    hash: Link,
    entry: &'a [u8],
}

impl<'a> Line<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        let rest = line.strip_prefix(PREVIOUS.as_bytes())?;
        let (previous, rest) = rest.split_at_checked(DIGITS)?;
        let (hash, rest) = rest.strip_prefix(HASH.as_bytes())?.split_at_checked(DIGITS)?;
        let entry = rest.strip_prefix(ENTRY.as_bytes())?.strip_suffix(b"}")?;
        // What was cut off may end with a brace: that of the entry, or one in a name.
        serde_json::from_slice::<serde_json::Value>(entry).ok()?;
        Some(Self { previous: Link::parse(previous)?, hash: Link::parse(hash)?, entry })
    }

    /// Returns the hash of what was cut off above.
    fn torn(&self) -> Option<Link> {
        let rest = self.entry.strip_prefix(b"{")?.strip_prefix(TORN.as_bytes())?;
        Link::parse(rest.get(..DIGITS)?)
    }
}

const PREVIOUS: &str = "{\"previous\":\"";
const HASH: &str = "\",\"hash\":\"";
const ENTRY: &str = "\",\"entry\":";
const TORN: &str = "\"torn\":\"";
/// How many digits a hash has.
const DIGITS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn log(entries: &[&str]) -> String {
        let mut chain = Chain::new();
        entries.iter().map(|entry| chain.append(entry)).collect()
    }

    fn check(text: &str) -> Result<Chain, (usize, ChainError)> {
        let mut chain = Chain::new();
        for (at, line) in text.lines().enumerate() {
            chain.take(line.as_bytes()).map_err(|error| (at, error))?;
        }
        Ok(chain)
    }

    const ENTRIES: [&str; 3] = [r#"{"a":1}"#, r#"{"a":2}"#, r#"{"a":3}"#];

    #[test]
    fn each_line_is_json_and_follows_the_one_above() {
        let text = log(&ENTRIES);
        let last: serde_json::Value =
            serde_json::from_str(text.lines().last().expect("a line")).expect("JSON");
        assert_eq!(last["entry"]["a"], 3);
        let chain = check(&text).expect("whole");
        assert_eq!((chain.entries(), chain.torn()), (3, 0));
        assert_eq!(last["hash"], chain.last().to_string());
    }

    #[test]
    fn a_line_that_was_changed_dropped_or_put_in_is_found() {
        let text = log(&ENTRIES);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(check(&text.replace("\"a\":2", "\"a\":4")).err(), Some((1, ChainError::Changed)));
        assert_eq!(check(&[lines[0], lines[2]].join("\n")).err(), Some((1, ChainError::Order)));
        assert_eq!(check(&[lines[0], lines[0], lines[1]].join("\n")).err(), Some((1, ChainError::Order)));
        let other = log(&[r#"{"b":1}"#]);
        assert_eq!(check(&format!("{}\n{other}", lines[0])).err(), Some((1, ChainError::Order)));
        assert_eq!(check(&format!("x\ny\n{text}")).err(), Some((2, ChainError::Malformed)));
    }

    #[test]
    fn a_line_that_was_cut_off_is_mended_by_the_next() {
        let text = log(&ENTRIES);
        let cut = &text[..text.len() - 3];
        let mut chain = check(cut).expect("whole but for the end");
        assert_eq!(chain.torn(), 1);
        let mended = format!("{cut}\n{}", chain.append(r#"{"a":4}"#));
        let chain = check(&mended).expect("whole");
        assert_eq!((chain.entries(), chain.mended(), chain.torn()), (3, 1, 0));
        // The rest may not be changed, nor be put in.
        assert_eq!(check(&mended.replace("\"a\":3", "\"a\":5")).err(), Some((3, ChainError::Malformed)));
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(check(&[lines[0], "x", lines[1]].join("\n")).err(), Some((2, ChainError::Malformed)));
    }

    #[test]
    fn wherever_a_line_was_cut_off_the_log_goes_on() {
        let text = log(&[r#"{"a":1}"#, r#"{"file":"/}}/}","user":"u"}"#]);
        let first = text.find('\n').expect("two lines") + 1;
        // Of a line that lacks its end alone, nothing is lost.
        for end in first + 1..text.len() - 1 {
            let mut chain = check(&text[..end]).expect("whole but for the end");
            assert_eq!((chain.entries(), chain.torn()), (1, 1), "{}", &text[first..end]);
            let mended = format!("{}\n{}", &text[..end], chain.append(r#"{"a":3}"#));
            let chain = check(&mended).expect("whole");
            assert_eq!((chain.entries(), chain.mended()), (2, 1), "{mended}");
        }
    }

    #[test]
    fn lines_in_a_row_that_were_cut_off_are_mended_together() {
        let text = log(&ENTRIES);
        let cut = format!("{}\n\n{{\"prev\n", &text[..text.len() - 3]);
        let mut chain = check(&cut).expect("whole but for the end");
        assert_eq!((chain.entries(), chain.torn()), (2, 3));
        let mended = format!("{cut}{}{}", chain.append(r#"{"a":4}"#), chain.append(r#"{"a":5}"#));
        let chain = check(&mended).expect("whole");
        assert_eq!((chain.entries(), chain.mended(), chain.torn()), (4, 3, 0));
        // None of them may be changed, dropped or put in.
        let lines: Vec<_> = mended.lines().collect();
        for at in 2..5 {
            let dropped = [&lines[..at], &lines[at + 1..]].concat().join("\n");
            assert_eq!(check(&dropped).err(), Some((4, ChainError::Malformed)), "{at}");
        }
        assert_eq!(check(&mended.replace("\n\n", "\nx\n")).err(), Some((5, ChainError::Malformed)));
        // Wherever the end begins that is at hand, it can be gone on from.
        for start in 0..lines.len() {
            let end: Vec<_> = lines[start..].iter().map(|line| line.as_bytes()).collect();
            let from_end = Chain::from_end(&end).expect("whole").expect("a whole line");
            assert_eq!(from_end.last(), chain.last(), "{start}");
        }
    }

    #[test]
    fn the_end_alone_is_enough_to_go_on() {
        let text = log(&ENTRIES);
        let lines: Vec<_> = text.lines().skip(1).map(str::as_bytes).collect();
        let chain = Chain::from_end(&lines).expect("whole").expect("a whole line");
        assert_eq!(chain.last(), check(&text).expect("whole").last());
        assert_eq!(Chain::from_end(&[b"x", b"y"]), Ok(None));
        let changed = text.replace("\"a\":3", "\"a\":4");
        let lines: Vec<_> = changed.lines().skip(1).map(str::as_bytes).collect();
        assert_eq!(Chain::from_end(&lines).err(), Some((1, ChainError::Changed)));
    }
}
