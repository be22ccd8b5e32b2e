//! Everything of Git that merges.

use std::path::PathBuf;

use libtest_mimic::Failed;

use super::Run;
use super::conflicts::diverge;
use super::lab::{Keys, Lab, has};

pub const FLOWS: &[(&str, Run)] = &[
    ("flow::rebase", rebase),
    ("flow::rebase_with_a_conflict", rebase_with_a_conflict),
    ("flow::cherry_pick", cherry_pick),
    ("flow::revert", revert),
    ("flow::stash_pop", stash_pop),
    ("flow::octopus", octopus),
    ("flow::criss_cross", criss_cross),
    ("flow::criss_cross_of_conflicts", criss_cross_of_conflicts),
    ("flow::criss_cross_without_a_key", criss_cross_without_a_key),
    ("flow::strategy_option", strategy_option),
    ("flow::rename", rename),
    ("flow::merge_tree", merge_tree),
    ("flow::worktree", worktree),
    ("flow::subdirectory", subdirectory),
    ("flow::mailed", mailed),
    ("flow::partial_clone", partial_clone),
    ("flow::carriage_returns", carriage_returns),
];

const BASE: &str = "a: hidden-1\nb: hidden-2\nc: hidden-3\nd: hidden-4\n";
const OURS: &str = "a: hidden-ours\nb: hidden-2\nc: hidden-3\nd: hidden-4\n";
const THEIRS: &str = "a: hidden-1\nb: hidden-theirs\nc: hidden-3\nd: hidden-4\n";
const BOTH: &str = "a: hidden-ours\nb: hidden-theirs\nc: hidden-3\nd: hidden-4\n";

/// Commits versions that a merge by lines could not put together, and one that can.
fn part(lab: &Lab) -> Result<(), Failed> {
    part_at(lab, "db.yaml")
}

fn part_at(lab: &Lab, path: &str) -> Result<(), Failed> {
    lab.encrypt(path, BASE)?;
    lab.commit("base")?;
    lab.git(&["checkout", "-q", "-b", "theirs"])?;
    lab.edit(path, THEIRS)?;
    lab.commit("theirs")?;
    lab.git(&["checkout", "-q", "main"])?;
    lab.edit(path, OURS)?;
    lab.commit("ours")
}

fn rebase(lab: &Lab) -> Result<(), Failed> {
    part(lab)?;
    lab.edit("db.yaml", "a: hidden-ours\nb: hidden-2\nc: hidden-3\nd: hidden-ours\n")?;
    lab.commit("ours again")?;
    lab.git(&["rebase", "-q", "theirs"])?;
    lab.check("db.yaml", "a: hidden-ours\nb: hidden-theirs\nc: hidden-3\nd: hidden-ours\n")?;
    lab.git(&["checkout", "-q", "HEAD~1"])?;
    lab.check("db.yaml", BOTH)
}

fn rebase_with_a_conflict(lab: &Lab) -> Result<(), Failed> {
    diverge(lab)?;
    lab.git_fails(&["rebase", "theirs"], Keys::AtHand)?;
    lab.check_unmerged("db.yaml", true)?;
    // The branch that is rebased is their side.
    lab.resolve(&["--theirs"])?;
    lab.git(&["rebase", "--continue"])?;
    lab.check("db.yaml", "a: hidden-ours\nb: hidden-ours\nc: hidden-theirs\n")
}

fn cherry_pick(lab: &Lab) -> Result<(), Failed> {
    part(lab)?;
    lab.git(&["cherry-pick", "theirs"])?;
    lab.check("db.yaml", BOTH)
}

fn revert(lab: &Lab) -> Result<(), Failed> {
    lab.encrypt("db.yaml", BASE)?;
    lab.commit("base")?;
    lab.edit("db.yaml", OURS)?;
    lab.commit("ours")?;
    lab.edit("db.yaml", BOTH)?;
    lab.commit("both")?;
    lab.git(&["revert", "--no-edit", "HEAD~1"])?;
    lab.check("db.yaml", THEIRS)
}

fn stash_pop(lab: &Lab) -> Result<(), Failed> {
    part(lab)?;
    lab.git(&["checkout", "-q", "-b", "other", "HEAD~1"])?;
    lab.edit("db.yaml", OURS)?;
    lab.git(&["stash", "-q"])?;
    lab.git(&["checkout", "-q", "theirs"])?;
    lab.git(&["stash", "pop", "-q"])?;
    lab.check("db.yaml", BOTH)
}

/// For several branches at once, Git merges by lines and asks no driver: it gives up, and leaves all as it was. One branch
/// after the other is merged.
fn octopus(lab: &Lab) -> Result<(), Failed> {
    part(lab)?;
    lab.git(&["checkout", "-q", "-b", "third", "HEAD~1"])?;
    lab.edit("db.yaml", "a: hidden-1\nb: hidden-2\nc: hidden-third\nd: hidden-4\n")?;
    lab.commit("third")?;
    lab.git(&["checkout", "-q", "main"])?;
    lab.git_fails(&["merge", "--no-edit", "theirs", "third"], Keys::AtHand)?;
    lab.git(&["reset", "-q", "--hard"])?;
    lab.check("db.yaml", OURS)?;
    for branch in ["theirs", "third"] {
        lab.git(&["merge", "-q", "--no-edit", branch])?;
    }
    lab.check("db.yaml", "a: hidden-ours\nb: hidden-theirs\nc: hidden-third\nd: hidden-4\n")
}

/// Makes two branches that were merged with each other both ways.
fn cross(lab: &Lab, ours: &str, theirs: &str) -> Result<(), Failed> {
    lab.git(&["branch", "-q", "earlier", "main"])?;
    for (branch, other, text) in [("main", "theirs", ours), ("theirs", "earlier", theirs)] {
        lab.git(&["checkout", "-q", branch])?;
        // What comes of the merge is said below, so that no driver is needed.
        lab.git(&["merge", "-q", "--no-edit", "-s", "ours", other])?;
        lab.encrypt("db.yaml", text)?;
        lab.git(&["add", "-A"])?;
        lab.git(&["commit", "-q", "--amend", "--no-edit"])?;
    }
    lab.git(&["checkout", "-q", "main"])
}

fn criss_cross(lab: &Lab) -> Result<(), Failed> {
    part(lab)?;
    let ours = "a: hidden-ours\nb: hidden-theirs\nc: hidden-new\nd: hidden-4\n";
    // Ours is taken back after it was merged: with the oldest ancestor, that would be lost.
    let theirs = "a: hidden-1\nb: hidden-theirs\nc: hidden-3\nd: hidden-4\n";
    cross(lab, ours, theirs)?;
    lab.git(&["merge", "-q", "--no-edit", "theirs"])?;
    lab.check("db.yaml", "a: hidden-1\nb: hidden-theirs\nc: hidden-new\nd: hidden-4\n")
}

/// The ancestors conflict themselves: who decided otherwise on each side is not overruled.
fn criss_cross_of_conflicts(lab: &Lab) -> Result<(), Failed> {
    diverge(lab)?;
    let ours = "a: hidden-ours\nb: hidden-ours\nc: hidden-theirs\n";
    let theirs = "a: hidden-theirs\nb: hidden-ours\nc: hidden-theirs\n";
    cross(lab, ours, theirs)?;
    lab.git_fails(&["merge", "theirs"], Keys::AtHand)?;
    lab.check_unmerged("db.yaml", true)?;
    lab.resolve(&["--theirs"])?;
    lab.check("db.yaml", theirs)
}

fn criss_cross_without_a_key(lab: &Lab) -> Result<(), Failed> {
    part(lab)?;
    let ours = "a: hidden-ours\nb: hidden-theirs\nc: hidden-new\nd: hidden-4\n";
    let theirs = "a: hidden-1\nb: hidden-theirs\nc: hidden-3\nd: hidden-4\n";
    cross(lab, ours, theirs)?;
    let before = lab.read("db.yaml")?;
    lab.git_fails(&["merge", "theirs"], Keys::Absent)?;
    if lab.read("db.yaml")? != before {
        return Err("our side was changed".into());
    }
    // The ancestor is both of its versions, of which either would be wrong.
    let output = lab.try_resolve(&["--list", "--json"])?;
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    has(&report.to_string(), "\"path\":\"a\"")?;
    lab.resolve(&["--take", "a=theirs", "--ours"])?;
    lab.check("db.yaml", "a: hidden-1\nb: hidden-theirs\nc: hidden-new\nd: hidden-4\n")
}

/// Git does not tell a driver of it: a conflict stays one.
fn strategy_option(lab: &Lab) -> Result<(), Failed> {
    diverge(lab)?;
    lab.git_fails(&["merge", "-s", "ort", "-X", "theirs", "theirs"], Keys::AtHand)?;
    lab.check_unmerged("db.yaml", true)?;
    lab.resolve(&["--theirs"])?;
    lab.check("db.yaml", "a: hidden-theirs\nb: hidden-ours\nc: hidden-theirs\n")
}

fn rename(lab: &Lab) -> Result<(), Failed> {
    part(lab)?;
    lab.git(&["checkout", "-q", "theirs"])?;
    lab.git(&["mv", "db.yaml", "renamed.yaml"])?;
    lab.commit("renamed")?;
    lab.git(&["checkout", "-q", "main"])?;
    lab.git(&["config", "merge.renameLimit", "100"])?;
    lab.git(&["merge", "-q", "--no-edit", "-X", "find-renames=20%", "theirs"])?;
    lab.check("renamed.yaml", BOTH)
}

fn merge_tree(lab: &Lab) -> Result<(), Failed> {
    part(lab)?;
    let said = lab.git_said(&["merge-tree", "--write-tree", "main", "theirs"])?;
    let tree = said.lines().next().unwrap_or_default().to_owned();
    lab.git(&["checkout", "-q", &tree, "--", "db.yaml"])?;
    lab.check("db.yaml", BOTH)
}

fn worktree(lab: &Lab) -> Result<(), Failed> {
    diverge(lab)?;
    let place: PathBuf = lab.top().join("another tree");
    lab.git(&["worktree", "add", "-q", "-b", "another", &place.to_string_lossy()])?;
    let mut command = lab.command("git", Keys::AtHand);
    let output = lab.run(command.current_dir(&place).args(["merge", "theirs"]))?;
    if output.status.success() {
        return Err("there was no conflict".into());
    }
    let mut command = lab.command(lab.program(), Keys::AtHand);
    let output = lab.run(command.current_dir(&place).args(["resolve", "--theirs"]))?;
    if !output.status.success() {
        return Err(super::lab::all(&output).into());
    }
    lab.check("another tree/db.yaml", "a: hidden-theirs\nb: hidden-ours\nc: hidden-theirs\n")
}

fn subdirectory(lab: &Lab) -> Result<(), Failed> {
    let path = "apps/one app/db.yaml";
    part_at(lab, path)?;
    lab.edit(path, "a: hidden-ours\nb: hidden-ours\nc: hidden-3\nd: hidden-4\n")?;
    lab.commit("ours again")?;
    let folder = lab.top().join("apps");
    let mut command = lab.command("git", Keys::AtHand);
    let output = lab.run(command.current_dir(&folder).args(["merge", "theirs"]))?;
    has(&super::lab::all(&output), "kubectl seal resolve 'apps/one app/db.yaml'")?;
    let mut command = lab.command(lab.program(), Keys::AtHand);
    let output = lab.run(command.current_dir(&folder).args(["resolve", "--theirs"]))?;
    has(&super::lab::all(&output), "resolved one app/db.yaml")?;
    lab.check_unmerged(path, false)?;
    lab.check(path, BOTH)
}

/// What does not apply as a patch is merged, with what the patch was made of.
fn mailed(lab: &Lab) -> Result<(), Failed> {
    part(lab)?;
    let patch = lab.git_said(&["format-patch", "--stdout", "-1", "theirs"])?;
    let path = lab.beside("a.patch");
    std::fs::write(&path, patch)?;
    lab.git_fails(&["am", "-q", &path.to_string_lossy()], Keys::AtHand)?;
    lab.git(&["am", "--abort"])?;
    lab.git(&["am", "-q", "--3way", &path.to_string_lossy()])?;
    lab.check("db.yaml", BOTH)
}

/// Git fetches what the driver reads as it is needed.
fn partial_clone(lab: &Lab) -> Result<(), Failed> {
    part(lab)?;
    lab.git(&["config", "uploadpack.allowFilter", "true"])?;
    let (from, to) = (format!("file://{}", lab.top().display()), lab.top().join("another clone"));
    let run = |arguments: &[&str], keys: Keys| {
        let mut command = lab.command("git", keys);
        let output = lab.run(command.args(["-C", &to.to_string_lossy()]).args(arguments))?;
        let is_done = output.status.success();
        if is_done {
            Ok(output)
        } else {
            Err(Failed::from(format!("{arguments:?}: {}", super::lab::all(&output))))
        }
    };
    lab.git(&["clone", "-q", "--filter=blob:none", "--no-checkout", &from, &to.to_string_lossy()])?;
    let driver = lab.git_said(&["config", "merge.seal.driver"])?;
    run(&["config", "merge.seal.driver", driver.trim()], Keys::Absent)?;
    run(&["checkout", "-q", "main"], Keys::Absent)?;
    let absent = run(&["rev-list", "--objects", "--missing=print", "--all"], Keys::Absent)?;
    has(&super::lab::all(&absent), "\n?")?;
    run(&["merge", "-q", "--no-edit", "origin/theirs"], Keys::AtHand)?;
    lab.check("another clone/db.yaml", BOTH)
}

/// A worktree whose lines end as they do on Windows.
fn carriage_returns(lab: &Lab) -> Result<(), Failed> {
    lab.git(&["config", "core.autocrlf", "true"])?;
    lab.git(&["config", "core.safecrlf", "false"])?;
    diverge(lab)?;
    lab.git(&["rm", "-q", "--cached", "-r", "."])?;
    lab.git(&["reset", "-q", "--hard"])?;
    has(&lab.read("db.yaml")?, "\r\n")?;
    lab.git_fails(&["merge", "theirs"], Keys::AtHand)?;
    lab.resolve(&["--theirs"])?;
    lab.git(&["commit", "-q", "--no-edit"])?;
    let merged = lab.git_said(&["show", "HEAD:db.yaml"])?;
    if merged.contains('\r') {
        return Err("carriage returns were committed".into());
    }
    lab.git(&["config", "core.autocrlf", "false"])?;
    lab.write("db.yaml", merged)?;
    lab.check("db.yaml", "a: hidden-theirs\nb: hidden-ours\nc: hidden-theirs\n")
}
