//! Merging plaintexts by path, keeping the layout of the sides.
//!
//! What is true is decided by path: maps merge by key, lists by the names of their items or by what is equal in all
//! versions, documents by the Kubernetes objects that they are. What it looks like is taken from a merge of the lines of
//! the texts if that says the same; else the values of the other side are put into the text of one.
//!
//! Invariants: what is returned was read again, and says what the merge by path says. A value that one side alone
//! changed is in the result, a value that both changed is a conflict. Without conflicts both texts are the same.

mod align;
#[cfg(test)]
mod cases;
mod hashes;
mod hunks;
mod layout;
mod lines;
mod matching;
mod plan;
mod planner;
#[cfg(test)]
mod properties;

use std::hash::RandomState;

use super::{Conflict, ConflictKind, Sides};
use crate::format::Format;
use crate::secret::SecretBytes;
use crate::tree::{Tree, TreePath};

use hashes::Hashes;
use lines::merge_lines;
use plan::{Plan, Which};

pub(super) use align::align;

/// What came of a merge of plaintexts.
pub struct Merged {
    /// The document, every conflict decided for our side.
    pub ours: SecretBytes,
    /// The document, every conflict decided for their side. The same text if there is no conflict.
    pub theirs: SecretBytes,
    /// The conflicts, in the order of our side.
    pub conflicts: Vec<Conflict>,
}

/// Why plaintexts could not be merged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlainMergeError {
    /// What came of it says something else than the merge of the sides by path.
    #[error("the sides cannot be merged without a loss")]
    Loss,
}

/// Merges plain documents of one format, which hold no metadata of SOPS. The trees are as they were read.
///
/// # Errors
/// If what came of it, read again, is not what the sides say.
///
/// ```
/// use selkie::format::Format;
/// use selkie::merge::{Sides, plain::merge};
///
/// let read = |text| Format::Yaml.read(text).expect("the text is YAML");
/// let (base, ours, theirs) = (read("a: 1\nb: 2\n"), read("a: 7\nb: 2\n"), read("a: 1\nb: 8\n"));
/// let merged = merge(Format::Yaml, Sides { base: Some(&base), ours: &ours, theirs: &theirs })?;
/// assert_eq!(merged.ours.expose_secret(), b"a: 7\nb: 8\n");
/// assert!(merged.conflicts.is_empty());
/// # Ok::<(), selkie::merge::plain::PlainMergeError>(())
/// ```
pub fn merge(format: Format, sides: Sides<&Tree>) -> Result<Merged, PlainMergeError> {
    if let Some(merged) = whole(format, &sides) {
        return Ok(merged);
    }
    let keys = RandomState::new();
    let hashes = Sides {
        base: sides.base.map(|tree| Hashes::new(tree, &keys)),
        ours: Hashes::new(sides.ours, &keys),
        theirs: Hashes::new(sides.theirs, &keys),
    };
    let plan = planner::plan(&hashes, &keys);
    let expected = |which| plan::hash_of(&plan, &hashes, which, &keys);
    let check = Check { format, keys: &keys, ours: expected(Which::Ours), theirs: expected(Which::Theirs) };
    let texts = by_lines(format, &sides, &plan, &check);
    let (ours, theirs) =
        texts.or_else(|| by_path(format, &sides, &plan, &check)).ok_or(PlainMergeError::Loss)?;
    Ok(Merged { ours, theirs, conflicts: plan.conflicts })
}

/// Returns what comes of a merge of whole texts: one side changed nothing, or the texts have no parts.
fn whole(format: Format, sides: &Sides<&Tree>) -> Option<Merged> {
    let (ours, theirs) = (sides.ours.source(), sides.theirs.source());
    let base = sides.base.map(Tree::source);
    let merged = |ours: &[u8], theirs: &[u8], conflicts| {
        Some(Merged { ours: ours.into(), theirs: theirs.into(), conflicts })
    };
    match base {
        _ if ours == theirs || base == Some(theirs) => merged(ours, ours, Vec::new()),
        _ if base == Some(ours) => merged(theirs, theirs, Vec::new()),
        _ if format == Format::Binary => {
            let kind = if base.is_some() { ConflictKind::ChangedByBoth } else { ConflictKind::AddedByBoth };
            merged(ours, theirs, vec![Conflict { document: 0, path: TreePath::new(), kind }])
        }
        _ => None,
    }
}

/// What a text has to say to be the result.
struct Check<'a> {
    format: Format,
    keys: &'a RandomState,
    ours: u64,
    theirs: u64,
}

impl Check<'_> {
    fn says(&self, text: &SecretBytes, which: Which) -> bool {
        let expected = if which == Which::Ours { self.ours } else { self.theirs };
        let tree = self.format.read(text.expose_secret());
        tree.is_ok_and(|tree| Hashes::new(&tree, self.keys).of_documents(self.keys) == expected)
    }
}

/// Merges the lines of texts, if that says what the merge by path does.
fn by_lines(
    format: Format,
    sides: &Sides<&Tree>,
    plan: &Plan,
    check: &Check<'_>,
) -> Option<(SecretBytes, SecretBytes)> {
    let is_layout = |line: &[u8]| match line.trim_ascii_start().first() {
        None => true,
        Some(b'#') => matches!(format, Format::Dotenv | Format::Ini | Format::Yaml),
        Some(b';') => format == Format::Ini,
        Some(_) => false,
    };
    let is_clean = plan.conflicts.is_empty();
    let base = sides.base.map(Tree::source);
    let texts = merge_lines(base, sides.ours.source(), sides.theirs.source(), is_clean, is_layout);
    let says = texts.is_clean == is_clean
        && check.says(&texts.ours, Which::Ours)
        && (is_clean || check.says(&texts.theirs, Which::Theirs));
    says.then_some((texts.ours, texts.theirs))
}

/// Puts the values of the other side into the text of one.
fn by_path(
    format: Format,
    sides: &Sides<&Tree>,
    plan: &Plan,
    check: &Check<'_>,
) -> Option<(SecretBytes, SecretBytes)> {
    let write = |which| {
        let text = layout::write(format, sides, plan, which)?;
        if check.says(&text, which) {
            return Some(text);
        }
        // A block scalar may need the end of the last line.
        let text = with_end(text);
        check.says(&text, which).then_some(text)
    };
    let ours = write(Which::Ours)?;
    let theirs = if plan.conflicts.is_empty() { ours.expose_secret().into() } else { write(Which::Theirs)? };
    Some((ours, theirs))
}

/// Ends the last line of a text.
fn with_end(mut text: SecretBytes) -> SecretBytes {
    let bytes = text.expose_secret();
    if bytes.last().is_some_and(|&byte| byte != b'\n') {
        let is_pair =
            bytes.iter().position(|&byte| byte == b'\n').is_some_and(|at| bytes[..at].ends_with(b"\r"));
        text.push_str(if is_pair { "\r\n" } else { "\n" });
    }
    text
}
