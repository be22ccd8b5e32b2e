//! Three-way merges of documents, as Git asks for them: by path, on plaintext.
//!
//! [`plain`] merges plaintexts. [`sops`] opens the sides of a SOPS document, merges them and encrypts what comes of it;
//! [`sealed`] does so for files with SealedSecrets, whose values are merged without a key where nobody has to know them.
//! [`sides`] writes two versions of a file into one with markers, and takes them apart again.
//!
//! Invariants: nothing of a side is used before its MAC has been checked. A result without conflicts is a whole file with
//! a valid MAC, and so are both sides of a result with conflicts. Where a merge cannot tell what is meant, it is a
//! conflict. No result, error or conflict holds a plaintext that was encrypted in one of the sides.

pub mod plain;
pub mod sealed;
pub mod sides;
pub mod sops;

use crate::tree::TreePath;

/// The three versions that a merge is made of.
#[derive(Clone, Copy, Debug)]
pub struct Sides<T> {
    /// What both come from; `None` if both sides added the file.
    pub base: Option<T>,
    /// The version that is changed: the branch that is merged into.
    pub ours: T,
    /// The version whose changes are taken over.
    pub theirs: T,
}

/// A place where the sides differ from their base and from each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The 0-based position of the document, in the version with our side.
    pub document: usize,
    /// Where it is. Empty for a whole document.
    pub path: TreePath,
    /// What the sides did.
    pub kind: ConflictKind,
}

/// What the sides of a conflict did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConflictKind {
    /// Both added it, differently.
    AddedByBoth,
    /// Both changed it, differently.
    ChangedByBoth,
    /// Both changed the keys that open the file, or the rule of what is encrypted; or the rule of one side would leave in
    /// clear what the other side encrypted.
    Metadata,
    /// Both changed the order of a list, or what is about a place in it.
    Order,
    /// Our side removed it, theirs changed it.
    RemovedByOurs,
    /// Their side removed it, ours changed it.
    RemovedByTheirs,
    /// It was sealed for the name, namespace or scope that the other side changed.
    SealedForOther,
}
