//! What is left of a plaintext in the object store once nothing stages it any more.
//!
//! Invariant: an object is taken out only if no commit, tag, reflog, stash or index of any worktree leads to it.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use super::index::Git;

/// What became of a plaintext blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Remainder {
    /// Commits have it, by these short names.
    Committed(Vec<String>),
    /// It is gone.
    Gone,
    /// It is there, in a pack or elsewhere where it cannot be taken out alone.
    Packed,
    /// Something but a commit leads to it, such as another index.
    Referred,
}

/// Returns the commits that brought a blob in or took it out, by their short names.
pub(super) fn commits(git: &Git, blob: &str) -> Result<Vec<String>, String> {
    let find = format!("--find-object={blob}");
    let most = format!("-n{MAX_COMMITS}");
    let found =
        git.run(&["log", "--all", "--no-color", "--no-show-signature", &most, &find, "--format=%h"], None)?;
    Ok(String::from_utf8_lossy(found.expose_secret()).lines().map(str::to_owned).collect())
}

/// Takes a blob out of the object store, once it is known that nothing leads to it.
pub(super) fn take_out(git: &Git, blob: &str) -> Result<Remainder, String> {
    let (Some(folder), Some(name)) = (blob.get(..2), blob.get(2..)) else { return Ok(Remainder::Packed) };
    let path = git.objects()?.join(folder).join(name);
    // What is not loose is in a pack: that shows below.
    let _ = fs::remove_file(path);
    let is_there = git.run(&["cat-file", "-e", blob], None).is_ok();
    Ok(if is_there { Remainder::Packed } else { Remainder::Gone })
}

/// Returns those of some blobs that something leads to.
pub(super) fn referred<'b>(git: &Git, blobs: &BTreeSet<&'b str>) -> Result<BTreeSet<&'b str>, String> {
    let mut arguments =
        vec!["rev-list", "--objects", "--no-object-names", "--all", "--reflog", "--indexed-objects"];
    // What a merge or the like has begun with is in no reference.
    let begun = BEGUN.iter().filter(|name| git.run(&["rev-parse", "-q", "--verify", **name], None).is_ok());
    arguments.extend(begun);
    let failed = |error: std::io::Error| format!("git cannot be run: {error}");
    let mut child = git
        .command(&arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let lines = child.stdout.take().map(BufReader::new).into_iter().flat_map(BufRead::lines);
    let mut found = BTreeSet::new();
    for line in lines {
        found.extend(blobs.get(line.map_err(failed)?.trim_end()));
    }
    // What cannot be told is not taken out.
    if !child.wait().map_err(failed)?.success() {
        return Err("git rev-list: it cannot tell what leads to the plaintext, so it stays".to_owned());
    }
    Ok(found)
}

/// What Git remembers while something is half done.
const BEGUN: &[&str] =
    &["MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "REBASE_HEAD", "ORIG_HEAD", "FETCH_HEAD"];

/// How many commits are told at most.
const MAX_COMMITS: usize = 20;
