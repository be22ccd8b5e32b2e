//! When the index must not be changed, since what is staged now would not be what the next commits get.
//!
//! `git commit PATH` commits an index of its own: what is mended there is committed, and the plaintext stays staged in
//! the real one, for the commit after it. Hook managers put unstaged edits aside: what is mended under them collides
//! with what they put back. A clean filter makes of the worktree something else than what is staged.

use std::fs;
use std::path::{Path, PathBuf};

use super::index::{Entry, Git};

/// What a program that runs hooks put aside of the worktree, to put it back later.
pub(super) struct PutAside {
    /// Whether such a program runs this one.
    is_managed: bool,
    patches: Vec<Vec<u8>>,
}

/// Returns why the index must not be changed at all.
pub(super) fn of_index(
    git: &Git,
    folder: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Option<String> {
    let named = environment("GIT_INDEX_FILE").filter(|name| !name.is_empty())?;
    let own = folder.join("index");
    let named = git.top().join(named);
    let is_own = named == own
        || fs::canonicalize(&named)
            .ok()
            .zip(fs::canonicalize(&own).ok())
            .is_some_and(|(left, right)| left == right);
    (!is_own).then(|| {
        "this commit has an index of its own, as with `git commit -a` and `git commit PATH`: what is mended there would \
         stay in clear in the real one"
            .to_owned()
    })
}

/// Returns why an entry must not be changed.
pub(super) fn of_entry(git: &Git, entry: &Entry) -> Result<Option<String>, String> {
    if entry.is_unmerged {
        return Ok(Some("it is in conflict; resolve that and stage it".to_owned()));
    }
    if entry.is_left_alone {
        return Ok(Some(
            "Git is told to leave its copy in the worktree alone (skip-worktree, assume-unchanged)"
                .to_owned(),
        ));
    }
    let filter = git.filter(&entry.path)?;
    Ok(filter.map(|_| {
        "its attributes name a filter, which makes something else of the worktree than what is staged"
            .to_owned()
    }))
}

impl PutAside {
    /// Finds what was put aside: by pre-commit and prek for this run, by lefthook and lint-staged for this repository.
    pub fn find(folder: &Path, environment: &dyn Fn(&str) -> Option<String>, ancestors: &[u32]) -> Self {
        let is_managed = environment("PRE_COMMIT").is_some_and(|value| !value.is_empty());
        let mut files =
            vec![folder.join("info/lefthook-unstaged.patch"), folder.join("lint-staged_unstaged.patch")];
        if is_managed {
            let folders = caches(environment).into_iter().filter_map(|folder| fs::read_dir(folder).ok());
            let found = folders.flatten().filter_map(|entry| Some(entry.ok()?.path()));
            files.extend(found.filter(|path| is_of(path, ancestors)));
        }
        let patches = files.iter().filter_map(|file| fs::read(file).ok()).collect();
        Self { is_managed, patches }
    }

    /// Returns whether edits of a file are, or may be, put aside.
    pub fn has(&self, path: &str) -> bool {
        self.patches.iter().any(|patch| is_about(patch, path))
    }

    /// Returns whether a program that runs hooks runs this one.
    pub const fn is_managed(&self) -> bool {
        self.is_managed
    }
}

/// Returns the numbers of the processes that this one was started by; none where the system does not tell.
pub(super) fn ancestors() -> Vec<u32> {
    let mut found = vec![std::process::id()];
    while let Some(parent) = found.last().and_then(|&process| parent(process))
        && parent > 1
        && found.len() < MAX_ANCESTORS
    {
        found.push(parent);
    }
    found.remove(0);
    found
}

fn parent(process: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name of the program may hold anything but stands in parentheses.
    status.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// Returns the folders in which pre-commit and prek keep what they put aside.
fn caches(environment: &dyn Fn(&str) -> Option<String>) -> Vec<PathBuf> {
    let folder = |name: &str| environment(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")));
    let of = |variable: &str, name: &str| folder(variable).or_else(|| Some(cache.as_ref()?.join(name)));
    let (pre_commit, prek) = (of("PRE_COMMIT_HOME", "pre-commit"), of("PREK_HOME", "prek"));
    let patches = prek.as_ref().map(|folder| folder.join("patches"));
    [pre_commit, prek, patches].into_iter().flatten().collect()
}

/// Returns whether a file is a patch of one of these processes; of any, if they are not known.
fn is_of(path: &Path, ancestors: &[u32]) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if !(name.starts_with("patch") || name.ends_with(".patch")) {
        return false;
    }
    let mut numbers =
        name.split(|letter: char| !letter.is_ascii_digit()).filter_map(|part| part.parse().ok());
    ancestors.is_empty() || numbers.any(|number: u32| ancestors.contains(&number))
}

/// Returns whether a patch changes a file. Names in quotes are not read: they may be that of any file.
fn is_about(patch: &[u8], path: &str) -> bool {
    let headers = patch.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"diff --git "));
    let mut headers = headers.map(<[u8]>::trim_ascii_end);
    headers.any(|header| header.ends_with(path.as_bytes()) || header.ends_with(b"\""))
}

/// How many processes are looked at, one the parent of the other.
const MAX_ANCESTORS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_of_this_run_alone_are_looked_at() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = folder.path().join("pre-commit");
        fs::create_dir(&cache).expect("made");
        fs::write(cache.join("patch1700000000-77"), "diff --git a/b/s.yaml b/b/s.yaml\n").expect("written");
        let home = folder.path().display().to_string();
        let managed = |name: &str| match name {
            "PRE_COMMIT" => Some("1".to_owned()),
            "XDG_CACHE_HOME" => Some(home.clone()),
            _ => None,
        };
        let find = |ancestors: &[u32]| PutAside::find(folder.path(), &managed, ancestors);
        assert!(find(&[4, 77]).has("b/s.yaml") && find(&[]).has("b/s.yaml"));
        assert!(!find(&[78]).has("b/s.yaml") && !find(&[77]).has("b/other.yaml"));
        assert!(!PutAside::find(folder.path(), &|_| None, &[77]).has("b/s.yaml"));
    }

    #[test]
    fn patches_of_a_repository_are_found_and_quoted_names_are_any() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("info")).expect("made");
        let patch = "diff --git \"a/\\303\\244\" \"b/\\303\\244\"\n";
        fs::write(folder.path().join("info/lefthook-unstaged.patch"), patch).expect("written");
        let found = PutAside::find(folder.path(), &|_| None, &[]);
        assert!(found.has("s.yaml") && !found.is_managed());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_was_started_by_another() {
        assert!(!ancestors().is_empty() && !ancestors().contains(&std::process::id()));
    }
}
