//! What a merge left in the index of Git: the versions of a file, each under its stage.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use selkie::merge::Sides;
use selkie::merge::sops::Side;
use selkie::secret::SecretBytes;

use crate::failure::Failure;
use crate::git;
use crate::merging::{self, MergingError, Versions};

/// What Git knows of a file.
pub(super) struct Index {
    /// The folder of the file.
    folder: PathBuf,
    /// Its versions, if it is unmerged.
    pub unmerged: Option<Unmerged>,
}

/// The versions of an unmerged file.
#[derive(Default)]
pub(super) struct Unmerged {
    /// The absolute path.
    pub file: PathBuf,
    /// What both sides come from.
    pub base: Option<SecretBytes>,
    /// Our side, unless it deleted the file.
    pub ours: Option<SecretBytes>,
    /// Their side, unless it deleted the file.
    pub theirs: Option<SecretBytes>,
}

impl Index {
    /// Returns what Git knows of a file, given by its absolute path. Outside of a repository that is nothing.
    ///
    /// # Errors
    /// If Git cannot tell.
    pub(super) fn of(file: &Path) -> Result<Self, Failure> {
        let folder = nearest_folder(file);
        if git::root_of(&folder).is_none() {
            return Ok(Self { folder, unmerged: None });
        }
        let path = file.to_string_lossy();
        let listed = listed(&folder, &["--", &path])?;
        let unmerged = listed.into_iter().find(|(found, _)| found == file).map(|(_, unmerged)| unmerged);
        Ok(Self { folder, unmerged })
    }

    /// Returns all unmerged files of the repository that a folder is in, with their absolute paths.
    ///
    /// # Errors
    /// If it is in none, or Git cannot tell.
    pub(super) fn unmerged(folder: &Path) -> Result<Vec<(PathBuf, Unmerged)>, Failure> {
        let top = top_of(folder)?;
        Ok(listed(&top, &[])?.into_iter().collect())
    }

    /// Tells Git that a file, given by its absolute path, is decided.
    ///
    /// # Errors
    /// If it cannot be staged.
    pub(super) fn add(&self, file: &Path) -> Result<(), Failure> {
        let path = file.to_string_lossy();
        // What was unmerged is tracked, whatever is to be ignored.
        let added = git::said(&self.folder, &["--literal-pathspecs", "add", "--force", "--", &path], &path);
        added.map(drop)
    }
}

impl Unmerged {
    /// Returns whether any version holds secrets.
    pub(super) fn is_encrypted(&self) -> bool {
        let mut all = [&self.base, &self.ours, &self.theirs].into_iter().flatten();
        let Some(first) = all.next() else { return false };
        let rest: Vec<_> = all.collect();
        let (ours, theirs) = (rest.first().unwrap_or(&first), rest.last().unwrap_or(&first));
        let format = merging::format_of_versions(&self.file, rest.iter().copied().chain([first]));
        let sides = Sides { base: Some(first), ours: *ours, theirs: *theirs };
        Versions { file: &self.file, format, sides }.kind().is_some()
    }

    /// Returns the sides, if both have the file.
    pub(super) fn sides(&self) -> Option<Sides<&SecretBytes>> {
        let (Some(ours), Some(theirs)) = (&self.ours, &self.theirs) else { return None };
        Some(Sides { base: self.base.as_ref().filter(|base| !base.is_empty()), ours, theirs })
    }

    /// Returns what there is to say if a side deleted the file: no version can stand for that.
    pub(super) fn deleted(&self) -> Option<MergingError> {
        match (&self.ours, &self.theirs) {
            (None, Some(_)) => Some(MergingError::Deleted { deleted: Side::Ours, changed: Side::Theirs }),
            (Some(_), None) => Some(MergingError::Deleted { deleted: Side::Theirs, changed: Side::Ours }),
            _ => None,
        }
    }
}

/// Returns the unmerged files that arguments name, by their absolute paths.
fn listed(folder: &Path, arguments: &[&str]) -> Result<BTreeMap<PathBuf, Unmerged>, Failure> {
    let ls_files = ["--literal-pathspecs", "ls-files", "--unmerged", "--full-name", "-z"];
    let said = git::said(folder, &[&ls_files[..], arguments].concat(), "the index of Git")?;
    let mut found = BTreeMap::new();
    if said.is_empty() {
        return Ok(found);
    }
    let top = top_of(folder)?;
    for entry in said.split(|byte| *byte == 0) {
        let Some(Entry { is_file: true, name, stage, path }) = Entry::parse(entry) else { continue };
        let file = top.join(path);
        let content = git::said(folder, &["cat-file", "blob", name], "the index of Git")?;
        let content = Some(SecretBytes::from(content));
        let unmerged = found.entry(file.clone()).or_insert_with(|| Unmerged { file, ..Unmerged::default() });
        match stage {
            "1" => unmerged.base = content,
            "2" => unmerged.ours = content,
            _ => unmerged.theirs = content,
        }
    }
    Ok(found)
}

/// What Git writes of one version.
struct Entry<'a> {
    /// Whether it is a file, and no symbolic link or submodule.
    is_file: bool,
    name: &'a str,
    stage: &'a str,
    path: &'a str,
}

impl<'a> Entry<'a> {
    /// Reads `100644 NAME STAGE<tab>PATH`.
    fn parse(entry: &'a [u8]) -> Option<Self> {
        let (head, path) = str::from_utf8(entry).ok()?.split_once('\t')?;
        let mut words = head.split(' ');
        let (mode, name, stage) = (words.next()?, words.next()?, words.next()?);
        Some(Self { is_file: mode.starts_with("100"), name, stage, path })
    }
}

/// Returns the top of the worktree that a folder is in.
fn top_of(folder: &Path) -> Result<PathBuf, Failure> {
    let said = git::said(folder, &["rev-parse", "--show-toplevel"], "the repository")?;
    let said = String::from_utf8_lossy(&said);
    let top = PathBuf::from(said.strip_suffix('\n').unwrap_or(&said));
    // As the user calls it: Git follows symbolic links.
    let named = folder.ancestors().find(|named| named.canonicalize().is_ok_and(|real| real == top));
    Ok(named.map_or(top, Path::to_owned))
}

/// Returns the folder of a file, or the nearest above it that is there.
fn nearest_folder(file: &Path) -> PathBuf {
    let is_there = |folder: &&Path| folder.is_dir();
    file.ancestors().skip(1).find(is_there).unwrap_or(Path::new("/")).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_told_by_their_stage() {
        let entry = Entry::parse(b"100644 0123abcd 2\tapps/a b.yaml").expect("an entry");
        assert_eq!(
            (entry.is_file, entry.name, entry.stage, entry.path),
            (true, "0123abcd", "2", "apps/a b.yaml")
        );
        assert!(!Entry::parse(b"160000 0123abcd 2\tsub").expect("an entry").is_file);
        assert!(Entry::parse(b"").is_none());
    }

    #[test]
    fn a_version_that_is_missing_is_a_deletion() {
        let mut unmerged = Unmerged { ours: Some("a: 1\n".into()), ..Unmerged::default() };
        let deleted = unmerged.deleted().expect("deleted");
        assert!(matches!(deleted, MergingError::Deleted { deleted: Side::Theirs, .. }));
        unmerged.theirs = Some("a: 2\n".into());
        assert!(unmerged.deleted().is_none());
    }
}
