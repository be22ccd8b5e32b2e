//! Two versions of a file in one, parted by the markers of Git where they differ.
//!
//! Invariant: what [`join`] wrote, [`split`] takes apart into the very same bytes. A marker is longer than any line of the
//! texts that looks like one, and says where the last line of a side has no end.

use std::collections::HashMap;

use super::plain::align;
use crate::secret::SecretBytes;

/// The names and the length of markers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Markers<'a> {
    /// What our side is called.
    pub ours: &'a str,
    /// What their side is called.
    pub theirs: &'a str,
    /// How many characters a marker has; Git says 7 unless told otherwise.
    pub length: usize,
}

/// Writes both versions into one, with markers around lines that differ. Two versions that are the same need none.
#[must_use]
pub fn join(ours: &[u8], theirs: &[u8], markers: Markers<'_>) -> SecretBytes {
    let (our_lines, their_lines) = (lines(ours), lines(theirs));
    let looks_like =
        our_lines.iter().chain(&their_lines).filter_map(|line| marker(line)).map(|marker| marker.length);
    let length =
        looks_like.map(|length| length + 1).chain([markers.length, MIN_LENGTH]).max().unwrap_or(MIN_LENGTH);
    let line_break: &[u8] = match our_lines.first().or(their_lines.first()) {
        Some(line) if line.ends_with(b"\r\n") => b"\r\n",
        _ => b"\n",
    };
    let mut joined = Joined { out: SecretBytes::new(), length, line_break, markers };
    let mut names: HashMap<&[u8], u64> = HashMap::new();
    let mut name = |line| {
        let next = names.len() as u64;
        *names.entry(line).or_insert(next)
    };
    let our_names: Vec<u64> = our_lines.iter().map(|&line| name(line)).collect();
    let their_names: Vec<u64> = their_lines.iter().map(|&line| name(line)).collect();
    let (mut at, mut their_at) = (0, 0);
    let end = std::iter::once((our_lines.len(), Some(their_lines.len())));
    for (position, other) in align(&our_names, &their_names).into_iter().enumerate().chain(end) {
        let Some(other) = other else { continue };
        if position > at || other > their_at {
            joined.differing(&our_lines[at..position], &their_lines[their_at..other]);
        }
        if let Some(line) = our_lines.get(position) {
            joined.out.extend_from_slice(line);
        }
        (at, their_at) = (position + 1, other + 1);
    }
    joined.out
}

/// Takes the two versions apart that [`join`], or a merge by Git, wrote into one; `None` if there are no markers, or they
/// do not fit each other. What markers of three sides hold of the base is left out.
#[must_use]
pub fn split(text: &[u8]) -> Option<(SecretBytes, SecretBytes)> {
    let lines = lines(text);
    let starts = lines.iter().filter_map(|line| marker(line)).filter(|marker| marker.sign == b'<');
    let mut lengths: Vec<_> = starts.map(|marker| marker.length).collect();
    lengths.sort_unstable();
    lengths.dedup();
    // A text may hold lines that look like markers, which are shorter; Git does not make its own longer for them.
    lengths.into_iter().rev().take(MAX_LENGTHS).find_map(|length| split_by(&lines, length))
}

/// A line that parts versions.
struct Marker<'a> {
    sign: u8,
    length: usize,
    label: &'a [u8],
}

/// Reads a line as a marker.
fn marker(line: &[u8]) -> Option<Marker<'_>> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let sign = *line.first().filter(|sign| b"<|=>".contains(sign))?;
    let length = line.iter().take_while(|&&byte| byte == sign).count();
    let label = &line[length..];
    let is_marker = length >= MIN_LENGTH && (label.is_empty() || label[0] == b' ');
    is_marker.then_some(Marker { sign, length, label })
}

fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|&byte| byte == b'\n').collect()
}

struct Joined<'a> {
    out: SecretBytes,
    length: usize,
    line_break: &'a [u8],
    markers: Markers<'a>,
}

impl Joined<'_> {
    fn differing(&mut self, ours: &[&[u8]], theirs: &[&[u8]]) {
        self.marker(b'<', Some(self.markers.ours), ours);
        self.lines(ours);
        self.marker(b'=', None, &[]);
        self.lines(theirs);
        self.marker(b'>', Some(self.markers.theirs), theirs);
    }

    fn marker(&mut self, sign: u8, label: Option<&str>, lines: &[&[u8]]) {
        (0..self.length).for_each(|_| self.out.push(sign));
        if let Some(label) = label {
            let label: String =
                label.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
            let mut label = label.trim();
            while let Some(shorter) = label.strip_suffix(NO_END.trim_start()) {
                label = shorter.trim_end();
            }
            if !label.is_empty() {
                self.out.push(b' ');
                self.out.push_str(label);
            }
            if lines.last().is_some_and(|line| !line.ends_with(b"\n")) {
                self.out.push_str(NO_END);
            }
        }
        self.out.extend_from_slice(self.line_break);
    }

    fn lines(&mut self, lines: &[&[u8]]) {
        for line in lines {
            self.out.extend_from_slice(line);
            if !line.ends_with(b"\n") {
                self.out.push(b'\n');
            }
        }
    }
}

/// What a line of a joined text belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    Base,
    Both,
    Ours,
    Theirs,
}

/// Takes versions apart by markers of one length.
fn split_by(lines: &[&[u8]], length: usize) -> Option<(SecretBytes, SecretBytes)> {
    let (mut ours, mut theirs) = (SecretBytes::new(), SecretBytes::new());
    let mut section = Section::Both;
    let mut our_start = 0;
    let mut their_start = 0;
    let mut is_open = false;
    for line in lines {
        let marker = marker(line).filter(|marker| marker.length == length);
        section = match (section, marker.map(|marker| (marker.sign, marker.label))) {
            (Section::Both, Some((b'<', label))) => {
                is_open = label.ends_with(NO_END.as_bytes());
                our_start = ours.len();
                Section::Ours
            }
            (Section::Ours, Some((b'|', _))) => Section::Base,
            (Section::Ours | Section::Base, Some((b'=', b""))) => {
                their_start = theirs.len();
                Section::Theirs
            }
            (Section::Theirs, Some((b'>', label))) => {
                cut(&mut ours, our_start, is_open);
                cut(&mut theirs, their_start, label.ends_with(NO_END.as_bytes()));
                Section::Both
            }
            (Section::Both, None) => {
                ours.extend_from_slice(line);
                theirs.extend_from_slice(line);
                section
            }
            (Section::Ours, None) => {
                ours.extend_from_slice(line);
                section
            }
            (Section::Theirs, None) => {
                theirs.extend_from_slice(line);
                section
            }
            (Section::Base, None) => section,
            // A line of equals signs may be a text's own.
            (Section::Both, Some((b'=' | b'|', _))) => {
                ours.extend_from_slice(line);
                theirs.extend_from_slice(line);
                section
            }
            _ => return None,
        };
    }
    (section == Section::Both).then_some((ours, theirs))
}

/// Takes the end off the last line of a version, if it has none there.
fn cut(text: &mut SecretBytes, start: usize, is_open: bool) {
    if is_open && text.len() > start && text.expose_secret().ends_with(b"\n") {
        text.truncate(text.len() - 1);
    }
}

/// How many lengths of markers are tried.
const MAX_LENGTHS: usize = 8;

/// The fewest characters that a marker has.
const MIN_LENGTH: usize = 3;

/// What the name of a side ends with if its last line has no end.
const NO_END: &str = " (no line break at the end)";

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::*;

    const MARKERS: Markers<'static> = Markers { ours: "HEAD", theirs: "topic", length: 7 };

    fn text(bytes: &SecretBytes) -> String {
        String::from_utf8_lossy(bytes.expose_secret()).into_owned()
    }

    fn joined(ours: &str, theirs: &str) -> String {
        text(&join(ours.as_bytes(), theirs.as_bytes(), MARKERS))
    }

    fn parted(joined: &str) -> Option<(String, String)> {
        split(joined.as_bytes()).map(|(ours, theirs)| (text(&ours), text(&theirs)))
    }

    #[test]
    fn markers_are_those_of_git() {
        assert_eq!(joined("a\nb\nc\n", "a\nB\nc\n"), "a\n<<<<<<< HEAD\nb\n=======\nB\n>>>>>>> topic\nc\n");
        assert_eq!(joined("a\r\nb\r\n", "a\r\n"), "a\r\n<<<<<<< HEAD\r\nb\r\n=======\r\n>>>>>>> topic\r\n");
        assert_eq!(joined("a\n", "a\n"), "a\n");
    }

    #[test]
    fn a_last_line_without_an_end_is_told() {
        let expected = "<<<<<<< HEAD (no line break at the end)\na\n=======\na\n>>>>>>> topic\n";
        assert_eq!(joined("a", "a\n"), expected);
        assert_eq!(parted(expected), Some(("a".to_owned(), "a\n".to_owned())));
    }

    #[test]
    fn markers_are_longer_than_lines_that_look_like_them() {
        let ours = "a\n=========\n<<<<<<< x\n";
        let joined = joined(ours, "a\n");
        assert!(joined.contains("\n<<<<<<<<<< HEAD\n"));
        assert_eq!(parted(&joined), Some((ours.to_owned(), "a\n".to_owned())));
    }

    #[test]
    fn markers_of_three_sides_are_read() {
        let diff3 = "a\n<<<<<<< HEAD\nb\n||||||| 1234\nx\n=======\nc\n>>>>>>> topic\nd\n";
        assert_eq!(parted(diff3), Some(("a\nb\nd\n".to_owned(), "a\nc\nd\n".to_owned())));
        assert_eq!(
            parted(&diff3.replace('\n', "\r\n")),
            Some(("a\r\nb\r\nd\r\n".into(), "a\r\nc\r\nd\r\n".into()))
        );
    }

    #[test]
    fn any_length_is_read() {
        assert_eq!(parted("<<< a\nx\n===\ny\n>>> b\n"), Some(("x\n".to_owned(), "y\n".to_owned())));
        assert_eq!(
            parted("Title\n=======\n<<<<<<< a\n=======\ny\n>>>>>>> b\n"),
            Some(("Title\n=======\n".into(), "Title\n=======\ny\n".into()))
        );
    }

    #[test]
    fn markers_that_do_not_fit_are_none() {
        for text in [
            "a\n",
            "",
            "<<<<<<< a\nx\n",
            "<<<<<<< a\n=======\n>>>>>> b\n",
            "<<<<<<< a\n>>>>>>> b\n",
            "<< a\n==\n>> b\n",
        ] {
            assert_eq!(parted(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_joined_is_taken_apart_again(
            ours in "(([ab]|<{3,9}|={3,9}|>{3,9}|\\|{3,9})( x)?\r?\n){0,6}[ab<]{0,3}",
            theirs in "(([ab]|<{3,9}|={3,9}|>{3,9}|\\|{3,9})( x)?\r?\n){0,6}[ab<]{0,3}",
            length in 0..12_usize
        ) {
            let markers = Markers { length, ours: "x (no line break at the end)", theirs: "" };
            let joined = join(ours.as_bytes(), theirs.as_bytes(), markers);
            if ours != theirs {
                let (our, their) = split(joined.expose_secret()).expect("there are markers");
                prop_assert_eq!((text(&our), text(&their)), (ours, theirs));
            } else {
                prop_assert_eq!(joined.expose_secret(), ours.as_bytes());
            }
        }

        #[test]
        fn splitting_never_panics(text in "([<=>|]{0,5} ?[a\r]?\n?){0,12}") {
            let parts = split(text.as_bytes());
            prop_assert!(parts.is_none_or(|(ours, theirs)| ours.len() + theirs.len() <= 2 * text.len()));
        }
    }
}
