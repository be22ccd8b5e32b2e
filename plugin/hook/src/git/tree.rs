//! Trees, as Git stores them: read one by one, when somebody asks for what is in them.
//!
//! Invariants: trees may hold each other many times, so that what they name is counted and has a bound; nothing is read
//! by recursion.

use gix_hash::ObjectId;

use super::objects::Objects;
use super::plumbing::{self, Entry, EntryKind};

/// What a tree holds, by name.
#[derive(Debug, Default)]
pub(crate) struct Tree(Vec<(String, Entry)>);

impl Tree {
    /// Returns what is called so.
    fn get(&self, name: &str) -> Option<Entry> {
        let found = self.0.binary_search_by(|(known, _)| known.as_str().cmp(name));
        found.ok().map(|index| self.0[index].1)
    }
}

/// Reads a tree whose object names have so many bytes.
pub(crate) fn parse(mut content: &[u8], length: usize) -> Option<Tree> {
    let mut entries = Vec::new();
    while !content.is_empty() {
        let end = memchr::memchr(0, content)?;
        let space = memchr::memchr(b' ', &content[..end])?;
        let kind = EntryKind::of(&content[..space])??;
        let id = ObjectId::try_from(content.get(end + 1..end + 1 + length)?).ok()?;
        entries.push((plumbing::text(&content[space + 1..end]), Entry { kind, id }));
        content = &content[end + 1 + length..];
    }
    // Git sorts folders as if their names ended in a slash.
    entries.sort_by(|left, right| left.0.cmp(&right.0));
    Some(Tree(entries))
}

/// Returns what is at a path below a tree.
///
/// # Errors
/// If a tree cannot be read.
pub(crate) fn entry(objects: &Objects, tree: ObjectId, path: &str) -> Result<Option<Entry>, String> {
    let mut current = Entry { kind: EntryKind::Folder, id: tree };
    for part in path.split('/') {
        if current.kind != EntryKind::Folder {
            return Ok(None);
        }
        match objects.tree(current.id)?.get(part) {
            Some(entry) => current = entry,
            None => return Ok(None),
        }
    }
    Ok(Some(current))
}

/// Returns all files and links below a tree, by path.
///
/// # Errors
/// If a tree cannot be read, or there are too many files.
pub(crate) fn entries(objects: &Objects, tree: ObjectId) -> Result<Vec<(String, Entry)>, String> {
    let mut found = Vec::new();
    let mut folders = vec![(String::new(), tree)];
    let mut bytes = 0;
    while let Some((folder, id)) = folders.pop() {
        for (name, entry) in &objects.tree(id)?.0 {
            let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            bytes += path.len();
            if bytes > MAX_BYTES {
                return Err("there are too many files in one tree".to_owned());
            }
            match entry.kind {
                EntryKind::File | EntryKind::Link => found.push((path, *entry)),
                EntryKind::Folder => folders.push((path, entry.id)),
                EntryKind::Submodule => {}
            }
        }
    }
    found.sort_by(|left, right| left.0.cmp(&right.0));
    Ok(found)
}

/// How many bytes the paths of a tree may have together: those of some millions of files.
const MAX_BYTES: usize = 1 << 29;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_are_read_and_damaged_ones_are_not() {
        let mut content = b"100644 a.b\0".to_vec();
        content.extend_from_slice(&[7; 20]);
        content.extend_from_slice(b"40000 a\0");
        content.extend_from_slice(&[8; 20]);
        let tree = parse(&content, 20).expect("it is well formed");
        assert_eq!(tree.get("a").map(|entry| entry.kind), Some(EntryKind::Folder));
        assert_eq!(tree.get("a.b").map(|entry| entry.kind), Some(EntryKind::File));
        assert_eq!(tree.get("b"), None);
        for end in (1..content.len()).filter(|end| *end != 31) {
            assert!(parse(&content[..end], 20).is_none(), "{end}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_a_tree_or_none(bytes in "([0-7]{5,6} [a-c/\\.]{0,3}\0.{20}){0,3}.{0,9}", raw: Vec<u8>) {
            for content in [bytes.as_bytes(), &raw] {
                for length in [20, 32] {
                    // That it comes back is what counts.
                    drop(parse(content, length));
                }
            }
        }
    }
}
