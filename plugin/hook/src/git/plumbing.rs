//! What `git` writes with `-z`: differences, entries and paths, read without trust.
//!
//! Invariants: with `-z` nothing is quoted, so that each path is what is between two zeros; a record that is not as it
//! should be is an error, never left out.

use std::io::BufRead;

use gix_hash::ObjectId;
use selkie::check::Mode;

/// A line of `--raw` output: a path whose entry differs from that of all parents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    /// The path, escaped by [`text`].
    pub path: String,
    /// What is there now, if there is anything.
    pub new: Option<Entry>,
    /// What the first parent has there, if it has anything.
    pub old: Option<Entry>,
    /// Whether the path is in conflict.
    pub is_unmerged: bool,
}

/// What a tree or an index has at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// What it is.
    pub kind: EntryKind,
    /// The name of its object.
    pub id: ObjectId,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryKind {
    /// A file, also one that can be run.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A commit of another repository.
    Submodule,
}

/// A record of `diff-tree --stdin`.
pub(crate) enum Record {
    /// The commit that the differences behind it are of.
    Commit(ObjectId),
    /// A difference.
    Difference(Difference),
}

impl Entry {
    /// Returns the mode of what is looked at; nothing for what is not.
    pub(crate) const fn mode(&self) -> Option<Mode> {
        match self.kind {
            EntryKind::File => Some(Mode::File),
            EntryKind::Folder | EntryKind::Submodule => None,
            EntryKind::Link => Some(Mode::Link),
        }
    }

    fn read(mode: &[u8], id: &[u8]) -> Option<Option<Self>> {
        let kind = EntryKind::of(mode)?;
        let id = ObjectId::from_hex(id).ok()?;
        Some(kind.map(|kind| Self { kind, id }))
    }
}

impl EntryKind {
    /// Reads a mode of Git in octal digits: none for zeros, which say that there is nothing.
    pub(crate) fn of(mode: &[u8]) -> Option<Option<Self>> {
        let digits = std::str::from_utf8(mode).ok()?;
        match u32::from_str_radix(digits, 8).ok()? & 0o170_000 {
            0 => Some(None),
            0o040_000 => Some(Some(Self::Folder)),
            0o100_000 => Some(Some(Self::File)),
            0o120_000 => Some(Some(Self::Link)),
            0o160_000 => Some(Some(Self::Submodule)),
            _ => None,
        }
    }
}

/// Reads the next record; nothing at the end.
///
/// # Errors
/// If it cannot be read, or is no record.
pub(crate) fn next_record(from: &mut dyn BufRead) -> Result<Option<Record>, String> {
    let Some(head) = next_field(from)? else { return Ok(None) };
    let colons = head.iter().take_while(|byte| **byte == b':').count();
    if colons == 0 {
        return ObjectId::from_hex(&head).map(|id| Some(Record::Commit(id))).map_err(|_| malformed());
    }
    let path = next_field(from)?.ok_or_else(malformed)?;
    difference(&head[colons..], colons, &path)
        .map(|difference| Some(Record::Difference(difference)))
        .ok_or_else(malformed)
}

/// Reads what `git ls-files -s -z` wrote: paths, entries and whether one is in conflict.
///
/// # Errors
/// If a record is none.
pub(crate) fn index_entries(output: &[u8]) -> Result<Vec<(String, Entry, bool)>, String> {
    let records = output.split(|byte| *byte == 0).filter(|record| !record.is_empty());
    records.map(|record| index_entry(record).ok_or_else(malformed)).collect()
}

/// Returns a path as text. A part of it that is no UTF-8 has those bytes escaped as Git does it, and its backslashes,
/// too.
pub(crate) fn text(path: &[u8]) -> String {
    match std::str::from_utf8(path) {
        Ok(text) => text.to_owned(),
        Err(_) => path.split(|byte| *byte == b'/').map(part).collect::<Vec<_>>().join("/"),
    }
}

fn part(part: &[u8]) -> String {
    if let Ok(text) = std::str::from_utf8(part) {
        return text.to_owned();
    }
    let mut escaped = String::new();
    for chunk in part.utf8_chunks() {
        escaped.push_str(&chunk.valid().replace('\\', "\\\\"));
        for byte in chunk.invalid() {
            escaped.push_str(&format!("\\{byte:03o}"));
        }
    }
    escaped
}

fn difference(head: &[u8], parents: usize, path: &[u8]) -> Option<Difference> {
    let fields: Vec<_> = head.split(|byte| *byte == b' ').collect();
    if fields.len() != 2 * (parents + 1) + 1 {
        return None;
    }
    let entry = |index: usize| Entry::read(fields[index], fields[parents + 1 + index]);
    let is_unmerged = fields.last()?.contains(&b'U');
    Some(Difference { path: text(path), new: entry(parents)?, old: entry(0)?, is_unmerged })
}

fn index_entry(record: &[u8]) -> Option<(String, Entry, bool)> {
    let tab = memchr::memchr(b'\t', record)?;
    let mut fields = record[..tab].split(|byte| *byte == b' ');
    let entry = Entry::read(fields.next()?, fields.next()?)??;
    let is_unmerged = fields.next()? != b"0";
    Some((text(&record[tab + 1..]), entry, is_unmerged))
}

fn next_field(from: &mut dyn BufRead) -> Result<Option<Vec<u8>>, String> {
    let mut field = Vec::new();
    from.read_until(0, &mut field).map_err(|error| format!("git cannot be read: {error}"))?;
    if field.is_empty() {
        return Ok(None);
    }
    if field.pop() != Some(0) {
        return Err("git stopped in the middle of a record".to_owned());
    }
    Ok(Some(field))
}

fn malformed() -> String {
    "git wrote a record that cannot be read".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "53c74cd6c8f3911ae716f60f9b79f575aab0e975";
    const NONE: &str = "0000000000000000000000000000000000000000";

    fn records(text: &str) -> Result<Vec<Difference>, String> {
        let mut from = text.as_bytes();
        let mut found = Vec::new();
        while let Some(record) = next_record(&mut from)? {
            if let Record::Difference(difference) = record {
                found.push(difference);
            }
        }
        Ok(found)
    }

    #[test]
    fn differences_from_one_and_from_two_parents_are_read() {
        let one = format!(":000000 100644 {NONE} {ID} A\0a\nb\0");
        let two = format!("{ID}\0::100644 000000 120000 {ID} {NONE} {ID} MA\0c d\0");
        let found = records(&(one + &two)).expect("both are well formed");
        assert_eq!(found[0].path, "a\nb");
        assert_eq!(found[0].old, None);
        assert_eq!(found[0].new.and_then(|entry| entry.mode()), Some(Mode::File));
        assert_eq!(found[1].old.map(|entry| entry.kind), Some(EntryKind::File));
        assert_eq!(found[1].new.and_then(|entry| entry.mode()), Some(Mode::Link));
    }

    #[test]
    fn what_is_cut_off_or_odd_is_an_error() {
        let whole = format!(":000000 100644 {NONE} {ID} A\0path\0");
        for end in 1..whole.len() {
            assert!(records(&whole[..end]).is_err(), "{end}");
        }
        assert!(records(&whole.replace("100644", "999999")).is_err());
        assert!(records(&whole.replace("100644", "050000")).is_err());
        assert!(index_entries(b"100644 12 0\tx\0").is_err());
        assert!(index_entries(b"x\0").is_err());
    }

    #[test]
    fn bytes_that_are_no_text_are_escaped_as_git_does_it() {
        assert_eq!(text("dir/ü\\\n\"".as_bytes()), "dir/ü\\\n\"");
        assert_eq!(text(b"d\\r/\xffa\\\xc3"), "d\\r/\\377a\\\\\\303");
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in "[:0-7 ]{0,40}([0a-f]{40} ){0,2}[AMU]{0,2}\0?[a\\PC\0]{0,9}", raw: Vec<u8>) {
            for mut from in [bytes.as_bytes(), &raw] {
                // That it comes back is what counts.
                drop(index_entries(from));
                while let Ok(Some(_)) = next_record(&mut from) {}
            }
            proptest::prop_assert_eq!(text(bytes.as_bytes()), bytes);
        }
    }
}
