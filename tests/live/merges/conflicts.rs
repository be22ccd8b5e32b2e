//! Conflicts, and how they are decided.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use libtest_mimic::Failed;

use super::Run;
use super::lab::{Keys, Lab, STRANGER, all, has};

pub const FLOWS: &[(&str, Run)] = &[
    ("conflict::ours", |lab| whole(lab, "--ours", "a: hidden-ours\nb: hidden-ours\nc: hidden-theirs\n")),
    ("conflict::theirs", |lab| {
        whole(lab, "--theirs", "a: hidden-theirs\nb: hidden-ours\nc: hidden-theirs\n")
    }),
    ("conflict::take", |lab| take(lab, "a=theirs", "a: hidden-theirs\nb: hidden-ours\nc: hidden-theirs\n")),
    ("conflict::take_base", |lab| take(lab, "a=base", "a: hidden-1\nb: hidden-ours\nc: hidden-theirs\n")),
    ("conflict::editor", in_the_editor),
    ("conflict::editor_leaves_markers", markers_are_refused),
    ("conflict::list", is_listed),
    ("conflict::left_alone", is_left_undecided),
    ("conflict::binary", of_bytes),
    ("conflict::both_add_the_file", both_add_the_file),
    ("conflict::deleted_and_changed", deleted_and_changed),
    ("conflict::rerere", with_rerere),
    ("conflict::committed_with_markers", committed_with_markers),
    ("key_absent", key_absent),
    ("base_for_strangers", base_for_strangers),
    ("tampered", tampered),
    ("one_side_in_clear", one_side_in_clear),
    ("killed", killed),
    ("by_lines", by_lines),
    ("not_encrypted", not_encrypted),
];

const BASE: &str = "a: hidden-1\nb: hidden-2\nc: hidden-3\n";

/// Commits versions that conflict in `a`, and are merged in the rest.
pub fn diverge(lab: &Lab) -> Result<(), Failed> {
    lab.encrypt("db.yaml", BASE)?;
    lab.commit("base")?;
    lab.git(&["checkout", "-q", "-b", "theirs"])?;
    lab.edit("db.yaml", "a: hidden-theirs\nb: hidden-2\nc: hidden-theirs\n")?;
    lab.commit("theirs")?;
    lab.git(&["checkout", "-q", "main"])?;
    lab.edit("db.yaml", "a: hidden-ours\nb: hidden-ours\nc: hidden-3\n")?;
    lab.commit("ours")
}

fn conflict(lab: &Lab) -> Result<(), Failed> {
    diverge(lab)?;
    let said = lab.git_fails(&["merge", "theirs"], Keys::AtHand)?;
    has(&said, "db.yaml: a was changed by both sides")?;
    has(&said, "kubectl seal resolve db.yaml")?;
    has(&lab.read("db.yaml")?, "<<<<<<< ours\n")?;
    lab.check_unmerged("db.yaml", true)
}

fn decided(lab: &Lab, text: &str) -> Result<(), Failed> {
    lab.check_unmerged("db.yaml", false)?;
    lab.check("db.yaml", text)?;
    lab.git(&["commit", "-q", "--no-edit"])
}

fn whole(lab: &Lab, side: &str, text: &str) -> Result<(), Failed> {
    conflict(lab)?;
    lab.resolve(&[side])?;
    decided(lab, text)
}

fn take(lab: &Lab, choice: &str, text: &str) -> Result<(), Failed> {
    conflict(lab)?;
    lab.resolve(&["--take", choice, "db.yaml"])?;
    decided(lab, text)
}

/// Writes an editor that is a script of the shell, and runs `resolve` with it.
fn edit(lab: &Lab, script: &str) -> Result<std::process::Output, Failed> {
    let editor = lab.beside("editor");
    fs::write(&editor, format!("#!/bin/sh\nset -eu\n{script}\n"))?;
    fs::set_permissions(&editor, fs::Permissions::from_mode(0o700))?;
    let mut command = lab.command(lab.program(), Keys::AtHand);
    lab.run(command.env("EDITOR", editor).args(["resolve", "db.yaml"]))
}

fn in_the_editor(lab: &Lab) -> Result<(), Failed> {
    conflict(lab)?;
    let seen = lab.beside("seen");
    let script = format!(
        "cp \"$1\" '{}'\nprintf 'a: hidden-both\\nb: hidden-ours\\nc: hidden-theirs\\n' > \"$1\"",
        seen.display()
    );
    let output = edit(lab, &script)?;
    if !output.status.success() {
        return Err(all(&output).into());
    }
    let expected = "<<<<<<< ours\na: hidden-ours\n=======\na: hidden-theirs\n>>>>>>> theirs\nb: hidden-ours\nc: hidden-theirs\n";
    let seen = fs::read_to_string(seen)?;
    if seen != expected {
        return Err(format!("the editor got\n{seen}").into());
    }
    decided(lab, "a: hidden-both\nb: hidden-ours\nc: hidden-theirs\n")
}

fn markers_are_refused(lab: &Lab) -> Result<(), Failed> {
    conflict(lab)?;
    let before = lab.read("db.yaml")?;
    let output = edit(lab, "sed -i /^=======/d \"$1\"")?;
    if output.status.success() || lab.read("db.yaml")? != before {
        return Err(format!("it was taken: {}", all(&output)).into());
    }
    has(&all(&output), "line 1: a conflict is not decided yet")?;
    lab.check_unmerged("db.yaml", true)
}

fn is_listed(lab: &Lab) -> Result<(), Failed> {
    conflict(lab)?;
    let output = lab.try_resolve(&["--list"])?;
    if output.status.code() != Some(1) {
        return Err(all(&output).into());
    }
    has(&all(&output), "db.yaml: 1 conflict")?;
    has(&all(&output), "ours: (encrypted)")?;
    let output = lab.try_resolve(&["--list", "--json", "db.yaml"])?;
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    if report[0]["conflicts"][0]["path"] != "a" || report[0]["conflicts"][0]["secret"] != true {
        return Err(report.to_string().into());
    }
    // What is asked for is not remembered by the laboratory.
    let mut command = lab.command(lab.program(), Keys::AtHand);
    let output = command.args(["resolve", "--list", "--show-values"]).output()?;
    has(&all(&output), "theirs: \"hidden-theirs\"")?;
    lab.check_unmerged("db.yaml", true)
}

fn is_left_undecided(lab: &Lab) -> Result<(), Failed> {
    conflict(lab)?;
    let before = lab.read("db.yaml")?;
    for arguments in [&["--take", "b=ours", "db.yaml"], &["--take", "sops=ours", "db.yaml"]] {
        let output = lab.try_resolve(arguments)?;
        if output.status.success() || lab.read("db.yaml")? != before {
            return Err(format!("{arguments:?}: {}", all(&output)).into());
        }
        has(&all(&output), "there is no conflict at")?;
    }
    lab.resolve(&["--no-add", "--ours", "db.yaml"])?;
    lab.check_unmerged("db.yaml", true)
}

fn of_bytes(lab: &Lab) -> Result<(), Failed> {
    lab.encrypt("key.pem", "hidden-1\nhidden-2\n")?;
    lab.commit("base")?;
    lab.git(&["checkout", "-q", "-b", "theirs"])?;
    lab.edit("key.pem", "hidden-1\nhidden-theirs\n")?;
    lab.commit("theirs")?;
    lab.git(&["checkout", "-q", "main"])?;
    lab.edit("key.pem", "hidden-ours\nhidden-2\n")?;
    lab.commit("ours")?;
    lab.git_fails(&["merge", "theirs"], Keys::AtHand)?;
    lab.resolve(&["--theirs", "key.pem"])?;
    lab.check_unmerged("key.pem", false)?;
    lab.check("key.pem", "hidden-1\nhidden-theirs\n")
}

fn both_add_the_file(lab: &Lab) -> Result<(), Failed> {
    lab.git(&["checkout", "-q", "-b", "theirs"])?;
    lab.encrypt("db.yaml", "a: hidden-1\nb: hidden-theirs\n")?;
    lab.commit("theirs")?;
    lab.git(&["checkout", "-q", "main"])?;
    lab.encrypt("db.yaml", "a: hidden-1\nb: hidden-ours\n")?;
    lab.commit("ours")?;
    lab.git_fails(&["merge", "theirs"], Keys::AtHand)?;
    lab.resolve(&["--theirs"])?;
    lab.check_unmerged("db.yaml", false)?;
    lab.check("db.yaml", "a: hidden-1\nb: hidden-theirs\n")
}

fn deleted_and_changed(lab: &Lab) -> Result<(), Failed> {
    lab.encrypt("db.yaml", BASE)?;
    lab.commit("base")?;
    lab.git(&["checkout", "-q", "-b", "theirs"])?;
    lab.git(&["rm", "-q", "db.yaml"])?;
    lab.commit("theirs")?;
    lab.git(&["checkout", "-q", "main"])?;
    lab.edit("db.yaml", "a: hidden-ours\n")?;
    lab.commit("ours")?;
    lab.git_fails(&["merge", "theirs"], Keys::AtHand)?;
    let output = lab.try_resolve(&[])?;
    has(&all(&output), "their side deleted the file, our side changed it")?;
    has(&all(&output), "git rm")?;
    lab.check_unmerged("db.yaml", true)?;
    lab.check("db.yaml", "a: hidden-ours\n")
}

fn with_rerere(lab: &Lab) -> Result<(), Failed> {
    lab.git(&["config", "rerere.enabled", "true"])?;
    lab.git(&["config", "rerere.autoUpdate", "true"])?;
    whole(lab, "--theirs", "a: hidden-theirs\nb: hidden-ours\nc: hidden-theirs\n")?;
    // The same conflict again: an earlier decision must not come back with a MAC that does not fit.
    lab.git(&["reset", "-q", "--hard", "HEAD~1"])?;
    lab.git_fails(&["merge", "theirs"], Keys::AtHand)?;
    lab.check_unmerged("db.yaml", true)?;
    lab.resolve(&["--ours"])?;
    decided(lab, "a: hidden-ours\nb: hidden-ours\nc: hidden-theirs\n")
}

/// The index knows nothing any more; the markers do.
fn committed_with_markers(lab: &Lab) -> Result<(), Failed> {
    conflict(lab)?;
    lab.commit("all of it")?;
    lab.resolve(&["--theirs", "db.yaml"])?;
    lab.check("db.yaml", "a: hidden-theirs\nb: hidden-ours\nc: hidden-theirs\n")
}

fn key_absent(lab: &Lab) -> Result<(), Failed> {
    diverge(lab)?;
    let before = lab.read("db.yaml")?;
    let said = lab.git_fails(&["merge", "theirs"], Keys::Absent)?;
    has(&said, "db.yaml: ")?;
    has(&said, "once that is mended, run `kubectl seal resolve db.yaml`")?;
    lab.check_unmerged("db.yaml", true)?;
    if lab.read("db.yaml")? != before {
        return Err("our side was changed".into());
    }
    lab.resolve(&["--take", "a=theirs"])?;
    decided(lab, "a: hidden-theirs\nb: hidden-ours\nc: hidden-theirs\n")
}

/// What both come from cannot be opened, so that every difference is for people.
fn base_for_strangers(lab: &Lab) -> Result<(), Failed> {
    lab.encrypt_for("db.yaml", BASE, &[STRANGER], &[])?;
    lab.commit("base")?;
    lab.git(&["checkout", "-q", "-b", "theirs"])?;
    lab.encrypt("db.yaml", "a: hidden-1\nb: hidden-theirs\n")?;
    lab.commit("theirs")?;
    lab.git(&["checkout", "-q", "main"])?;
    lab.encrypt("db.yaml", "a: hidden-ours\nb: hidden-2\n")?;
    lab.commit("ours")?;
    let said = lab.git_fails(&["merge", "theirs"], Keys::AtHand)?;
    has(&said, "the common ancestor")?;
    lab.resolve(&["--take", "a=ours", "--theirs"])?;
    decided(lab, "a: hidden-ours\nb: hidden-theirs\n")
}

fn tampered(lab: &Lab) -> Result<(), Failed> {
    lab.encrypt_for("db.yaml", "a: hidden-1\nb_unencrypted: x\nc: hidden-3\n", &[super::lab::ALICE.1], &[])?;
    lab.commit("base")?;
    lab.git(&["checkout", "-q", "-b", "theirs"])?;
    let changed = lab.read("db.yaml")?.replace("b_unencrypted: x", "b_unencrypted: y");
    lab.write("db.yaml", changed)?;
    lab.commit("theirs")?;
    lab.git(&["checkout", "-q", "main"])?;
    lab.edit("db.yaml", "a: hidden-ours\nb_unencrypted: x\nc: hidden-3\n")?;
    lab.commit("ours")?;
    let before = lab.read("db.yaml")?;
    let said = lab.git_fails(&["merge", "theirs"], Keys::AtHand)?;
    has(&said, "their side: MAC mismatch")?;
    lab.check_unmerged("db.yaml", true)?;
    if lab.read("db.yaml")? != before {
        return Err("our side was changed".into());
    }
    let output = lab.try_resolve(&["--theirs"])?;
    if output.status.success() {
        return Err("the tampered side was taken".into());
    }
    lab.check_unmerged("db.yaml", true)
}

/// Nothing of an encrypted side is merged into one that is in clear.
fn one_side_in_clear(lab: &Lab) -> Result<(), Failed> {
    lab.encrypt("db.yaml", BASE)?;
    lab.commit("base")?;
    lab.git(&["checkout", "-q", "-b", "theirs"])?;
    lab.write("db.yaml", "a: not so secret\nb: x\nc: y\n")?;
    lab.commit("theirs")?;
    lab.git(&["checkout", "-q", "main"])?;
    lab.edit("db.yaml", "a: hidden-1\nb: hidden-ours\nc: hidden-3\n")?;
    lab.commit("ours")?;
    let before = lab.read("db.yaml")?;
    let said = lab.git_fails(&["merge", "theirs"], Keys::AtHand)?;
    has(&said, "their side is not encrypted")?;
    lab.check_unmerged("db.yaml", true)?;
    (lab.read("db.yaml")? == before).then_some(()).ok_or_else(|| "our side was changed".into())
}

/// The driver is killed in the middle of a merge.
fn killed(lab: &Lab) -> Result<(), Failed> {
    diverge(lab)?;
    let before = lab.read("db.yaml")?;
    lab.git_fails(&["merge", "theirs"], Keys::Deadly)?;
    if lab.read("db.yaml")? != before {
        return Err("our side was changed".into());
    }
    // Git before 2.45 knows the file as unmerged; later ones give the merge up.
    if lab.git_said(&["ls-files", "-u"])?.is_empty() {
        return Ok(());
    }
    lab.resolve(&["--ours"])?;
    lab.check("db.yaml", "a: hidden-ours\nb: hidden-ours\nc: hidden-theirs\n")
}

/// In a clone without the driver, Git merges by lines; that is mended afterwards.
fn by_lines(lab: &Lab) -> Result<(), Failed> {
    lab.encrypt("db.yaml", BASE)?;
    lab.commit("base")?;
    lab.git(&["checkout", "-q", "-b", "theirs"])?;
    lab.edit("db.yaml", "a: hidden-1\nb: hidden-2\nc: hidden-theirs\n")?;
    lab.commit("theirs")?;
    lab.git(&["checkout", "-q", "main"])?;
    lab.edit("db.yaml", "a: hidden-ours\nb: hidden-2\nc: hidden-3\n")?;
    lab.commit("ours")?;
    lab.drive_by_lines()?;
    lab.git_fails(&["merge", "theirs"], Keys::AtHand)?;
    has(&lab.read("db.yaml")?, "<<<<<<< HEAD")?;
    has(&lab.resolve(&[])?, "merged db.yaml")?;
    decided(lab, "a: hidden-ours\nb: hidden-2\nc: hidden-theirs\n")
}

/// What is not encrypted is merged as Git does it.
fn not_encrypted(lab: &Lab) -> Result<(), Failed> {
    for style in ["merge", "diff3", "zdiff3"] {
        lab.git(&["config", "merge.conflictStyle", style])?;
        lab.write("x.yaml", "a: 1\nb: 2\nc: 3\nd: 4\ne: 5\n")?;
        lab.write("y.yaml", "a: 1\nb: 2\nc: 3\nd: 4\ne: 5\n")?;
        lab.git(&["checkout", "-q", "-B", "base"])?;
        lab.commit("base")?;
        lab.git(&["checkout", "-q", "-B", "theirs"])?;
        lab.write("x.yaml", "a: 1\nb: 2\nc: 3\nd: 4\ne: theirs\n")?;
        lab.write("y.yaml", "a: theirs\nb: 2\nc: 3\nd: 4\ne: 5\n")?;
        lab.commit("theirs")?;
        lab.git(&["checkout", "-q", "-B", "ours", "base"])?;
        lab.write("x.yaml", "a: ours\nb: 2\nc: 3\nd: 4\ne: 5\n")?;
        lab.write("y.yaml", "a: ours\nb: 2\nc: 3\nd: 4\ne: 5\n")?;
        lab.commit("ours")?;
        lab.git_fails(&["merge", "theirs"], Keys::Absent)?;
        let ours = lab.read("y.yaml")?;
        if lab.read("x.yaml")? != "a: ours\nb: 2\nc: 3\nd: 4\ne: theirs\n" {
            return Err(lab.read("x.yaml")?.into());
        }
        has(&lab.resolve(&[])?, "1 unmerged file without secrets left to you")?;
        lab.git(&["merge", "--abort"])?;
        lab.drive_by_lines()?;
        lab.git_fails(&["merge", "theirs"], Keys::Absent)?;
        let is_marker = |line: &&str| line.starts_with(['<', '>', '|']);
        let lines =
            |text: &str| text.lines().filter(|line| !is_marker(line)).map(str::to_owned).collect::<Vec<_>>();
        if lines(&lab.read("y.yaml")?) != lines(&ours) {
            return Err(format!("{style}: {ours}--- in place of\n{}", lab.read("y.yaml")?).into());
        }
        lab.git(&["merge", "--abort"])?;
        lab.drive()?;
    }
    Ok(())
}
