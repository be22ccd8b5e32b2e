//! What the commands of Git show of encrypted files, and of all others.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use libtest_mimic::Failed;

use super::Case;
use super::configuration::SEALED;
use super::lab::{Lab, expect, same, text_of};

/// The tests.
pub const TRIALS: &[Case] = &[
    ("diff_shows_paths_and_no_values", diff_by_path),
    ("diff_without_a_key_shows_marks", diff_without_key),
    ("diff_shows_values_when_it_is_asked_to", diff_plain),
    ("diff_of_a_file_that_was_decrypted_shows_no_value", diff_decrypted),
    ("logs_show_marks_and_blame_does", logs),
    ("logs_show_values_when_they_are_asked_to", logs_plain),
    ("patches_for_git_are_those_of_the_file", real_patches),
    ("what_is_shown_by_path_is_no_patch", no_patch),
    ("files_that_are_not_encrypted_are_shown_as_ever", other_files),
    ("a_rotation_is_a_line_of_its_own", rotation),
    ("sealed_secrets_are_shown_with_marks", sealed),
    ("broken_files_are_shown_as_they_are", broken),
    ("a_conflict_is_shown_and_no_failure", conflict),
];

/// A value that is encrypted, before and after.
const OLD: &str = "correct-horse";
const NEW: &str = "battery-staple";

/// Makes two commits: in the second one `b` and a comment are new.
fn two_commits(lab: &Lab) -> Result<(), Failed> {
    lab.seal(&["git", "install"])?;
    lab.encrypt("db.yaml", &format!("db:\n  a: {OLD}\n  b: {OLD}\n  user_unencrypted: joe\n"))?;
    lab.commit("one")?;
    change(lab)?;
    lab.commit("two")
}

fn change(lab: &Lab) -> Result<(), Failed> {
    lab.seal(&["set", "db.yaml", "db.b", NEW])?;
    lab.seal(&["set", "--in-clear", "db.yaml", "db.user_unencrypted", "ann"]).map(drop)
}

fn diff_by_path(lab: &Lab) -> Result<(), Failed> {
    two_commits(lab)?;
    let wanted = [
        "diff --git a/db.yaml b/db.yaml\n",
        "~ db.b  changed\n",
        "~ db.user_unencrypted  \"joe\" → \"ann\"\n",
    ];
    let unwanted = [OLD, NEW, "db.a", "ENC["];
    expect(&lab.git(&["diff", "HEAD~1"])?, &wanted, &unwanted)?;
    expect(&lab.git(&["show", "--ext-diff"])?, &wanted, &unwanted)?;
    lab.git(&["reset", "-q", "--soft", "HEAD~1"])?;
    expect(&lab.git(&["diff", "--cached"])?, &wanted, &unwanted)?;
    lab.git(&["reset", "-q"])?;
    expect(&lab.git(&["diff"])?, &wanted, &unwanted)?;
    let below = lab.top().join("below");
    fs::create_dir(&below)?;
    expect(&text_of(&lab.run_in(&below, "git", &["diff"], &[])?), &wanted, &unwanted)?;
    expect(&lab.git(&["diff", "--stat"])?, &["db.yaml |"], &unwanted)?;
    lab.git(&["mv", "db.yaml", "new name.yaml"])?;
    let moved = lab.git(&["diff", "-M10", "HEAD"])?;
    expect(
        &moved,
        &["diff --git a/db.yaml b/new name.yaml\n", "rename to new name.yaml\n", "~ db.b  changed"],
        &unwanted,
    )?;
    fs::remove_file(lab.top().join("new name.yaml"))?;
    let removed = lab.git(&["diff"])?;
    expect(
        &removed,
        &["deleted file mode 100644", "- db.a\n", "- db.user_unencrypted  \"joe\"\n"],
        &unwanted[..2],
    )?;
    lab.holds_nowhere(NEW)
}

fn diff_without_key(lab: &Lab) -> Result<(), Failed> {
    two_commits(lab)?;
    let output = lab.run("git", &["diff", "HEAD~1"], &[("SOPS_AGE_KEY_FILE", "")])?;
    let wanted = ["! values are masked: ", "-  b: ENC[", "+  b: ENC[", "-  user_unencrypted: joe\n", "@@ "];
    expect(&text_of(&output), &wanted, &[OLD, NEW, "AES256_GCM", "mac:", "lastmodified"])?;
    lab.holds_nowhere(NEW)
}

fn diff_plain(lab: &Lab) -> Result<(), Failed> {
    two_commits(lab)?;
    let line = format!("~ db.b  \"{OLD}\" → \"{NEW}\"\n");
    expect(&lab.git(&["-c", "seal.diff=plain", "diff", "HEAD~1"])?, &[&line], &[])?;
    lab.git(&["config", "seal.diff", "plian"])?;
    let said = text_of(&lab.run("git", &["diff", "HEAD~1"], &[])?);
    expect(&said, &["seal.diff of Git is neither masked nor plain"], &[NEW])?;
    lab.git(&["config", "seal.diff", "plain"])?;
    expect(&lab.git(&["diff", "HEAD~1"])?, &[&line], &[])?;
    lab.holds_nowhere(NEW)
}

fn diff_decrypted(lab: &Lab) -> Result<(), Failed> {
    two_commits(lab)?;
    lab.seal(&["decrypt", "-i", "db.yaml"])?;
    for (variable, wanted) in [
        (lab.identity().display().to_string(), "! is no longer encrypted"),
        (String::new(), "is not encrypted any more"),
    ] {
        let output = lab.run("git", &["diff"], &[("SOPS_AGE_KEY_FILE", &variable)])?;
        expect(&text_of(&output), &[wanted], &[OLD, NEW])?;
    }
    Ok(())
}

fn logs(lab: &Lab) -> Result<(), Failed> {
    two_commits(lab)?;
    let hidden = [OLD, NEW, "AES256_GCM", "lastmodified", "mac:"];
    let wanted = ["-  b: ENC[", "+  b: ENC[", "-  user_unencrypted: joe\n", " db:\n"];
    for arguments in [&["log", "-p", "-1"][..], &["show"], &["diff", "--no-ext-diff", "HEAD~1"]] {
        // No key is used.
        let output = lab.run("git", arguments, &[("SOPS_AGE_KEY_FILE", "")])?;
        expect(&text_of(&output), &wanted, &hidden)?;
    }
    let blame = lab.git(&["blame", "-s", "db.yaml"])?;
    expect(&blame, &["b: ENC[", "user_unencrypted: ann", "recipients:"], &hidden)?;
    // Lines that did not change are of the first commit.
    let of_first = blame.lines().filter(|line| line.starts_with('^')).count();
    if of_first + 2 != blame.lines().count() {
        return Err(format!("two lines changed, and not as in\n{blame}").into());
    }
    expect(&lab.git(&["log", "-p", "--word-diff", "-1"])?, &["[-joe-]{+ann+}"], &hidden)
}

fn logs_plain(lab: &Lab) -> Result<(), Failed> {
    two_commits(lab)?;
    let wanted = [format!("-  b: {OLD}\n"), format!("+  b: {NEW}\n")];
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    expect(&lab.git(&["-c", "seal.textconv=plain", "log", "-p", "-1"])?, &wanted, &["ENC[", "sops:"])?;
    let without =
        lab.run("git", &["-c", "seal.textconv=plain", "log", "-p"], &[("SOPS_AGE_KEY_FILE", "")])?;
    let said = text_of(&without);
    expect(&said, &["# values are masked: ", "+  b: ENC["], &[OLD, NEW])?;
    if !without.status.success() {
        return Err(said.into());
    }
    // The next one is masked again, as nothing was kept.
    expect(&lab.git(&["log", "-p"])?, &["ENC["], &[OLD, NEW])?;
    same(&lab.git(&["for-each-ref", "refs/notes"])?, "")?;
    lab.holds_nowhere(NEW)
}

fn real_patches(lab: &Lab) -> Result<(), Failed> {
    two_commits(lab)?;
    let file = lab.read("db.yaml")?;
    let patch = lab.git(&["format-patch", "--stdout", "-1"])?;
    expect(&patch, &["ENC[AES256_GCM,", "lastmodified"], &[])?;
    fs::write(lab.beside("one.patch"), patch)?;
    lab.git(&["reset", "-q", "--hard", "HEAD~1"])?;
    lab.git(&["am", "-q", "../one.patch"])?;
    same(&lab.read("db.yaml")?, &file)?;
    // Hunks are picked from the file, not from what is shown of it.
    lab.git(&["reset", "-q", "HEAD~1"])?;
    let all = "yes | git add -p";
    expect(
        &text_of(&lab.run("sh", &["-c", all], &[])?),
        &["ENC[AES256_GCM,", "Stage this hunk"],
        &["db.b  changed"],
    )?;
    same(&lab.git(&["show", ":db.yaml"])?, &file)
        .or_else(|_| same(&lab.git(&["cat-file", "blob", ":db.yaml"])?, &file))?;
    lab.git(&["stash", "-q"])?;
    expect(&lab.git(&["stash", "show", "-p"])?, &["ENC[AES256_GCM,"], &[])?;
    lab.git(&["stash", "pop", "-q", "--index"])?;
    same(&lab.read("db.yaml")?, &file)?;
    // What is staged stays where hunks are stashed.
    lab.git(&["reset", "-q"])?;
    let picked = "yes | git stash push -p";
    lab.run("sh", &["-c", picked], &[])?;
    lab.git(&["stash", "pop", "-q"])?;
    same(&lab.read("db.yaml")?, &file)
}

fn no_patch(lab: &Lab) -> Result<(), Failed> {
    two_commits(lab)?;
    for name in ["by-path", "marks"] {
        let options: &[&str] = if name == "marks" { &["diff", "--no-ext-diff"] } else { &["diff"] };
        let shown = lab.git(&[options, &["HEAD~1"]].concat())?;
        fs::write(lab.beside(name), shown)?;
        lab.git(&["reset", "-q", "--hard", "HEAD~1"])?;
        let applied = lab.run("git", &["apply", &format!("../{name}")], &[])?;
        if applied.status.success() {
            return Err(format!("git apply took {name} for a patch").into());
        }
        same(&lab.git(&["status", "--short"])?, "")?;
        lab.git(&["reset", "-q", "--hard", "ORIG_HEAD"])?;
    }
    let real = lab.git(&["diff", "--no-ext-diff", "--no-textconv", "HEAD~1"])?;
    fs::write(lab.beside("real"), real)?;
    lab.git(&["apply", "--check", "-R", "../real"]).map(drop)
}

fn other_files(lab: &Lab) -> Result<(), Failed> {
    lab.write("long.yaml", (0..40).map(|line| format!("key{line}:\n  value: {line}\n")).collect::<String>())?;
    for path in ["gone.json", "moved.ini", "mode.env", "\u{fc} b.yaml", "-x.yaml", "no end.yaml"] {
        lab.write(path, format!("{{\"a\": \"{path}\",\n\"b\": 1}}\n"))?;
    }
    lab.write("bytes.env", b"\0\x01\x02")?;
    lab.write("empty.yaml", "")?;
    lab.commit("one")?;
    let long = lab.read("long.yaml")?.replace("value: 20", "value: twenty");
    lab.write("long.yaml", long)?;
    fs::remove_file(lab.top().join("gone.json"))?;
    fs::rename(lab.top().join("moved.ini"), lab.top().join("moved on.ini"))?;
    fs::set_permissions(lab.top().join("mode.env"), fs::Permissions::from_mode(0o755))?;
    lab.write("\u{fc} b.yaml", "a: 2\n")?;
    lab.write("-x.yaml", "a: 2\n")?;
    lab.write("no end.yaml", "a: 2")?;
    lab.write("bytes.env", b"\0\x01\x03")?;
    lab.write("empty.yaml", "a: 1\n")?;
    lab.write("new.yaml", "a: 1\n")?;
    lab.write("new empty.yaml", "")?;
    lab.git(&["add", "-A"])?;
    for options in [&[][..], &["-c", "color.diff=always"], &["-c", "diff.noprefix=true"]] {
        let arguments = [options, &["diff", "--cached", "-M"]].concat();
        let before = lab.git(&arguments)?;
        lab.seal(&["git", "install", "--private"])?;
        let after = lab.git(&arguments)?;
        lab.seal(&["git", "uninstall"])?;
        // Which line stands behind the place of a hunk is for the driver to say.
        let without =
            |text: &str| -> String { text.lines().map(|line| format!("{}\n", heading_cut(line))).collect() };
        same(&without(&after), &without(&before))?;
    }
    Ok(())
}

/// Returns a line without what stands behind the place of a hunk.
fn heading_cut(line: &str) -> &str {
    match line.find(" @@") {
        Some(end) if line.contains("@@ -") => &line[..end + 3],
        _ => line,
    }
}

fn rotation(lab: &Lab) -> Result<(), Failed> {
    two_commits(lab)?;
    lab.seal(&["rotate", "db.yaml"])?;
    let shown = lab.git(&["diff", "--no-ext-diff"])?;
    let changed =
        |sign: char| shown.lines().filter(|line| line.starts_with(sign) && line.contains("KEY[")).count();
    if (changed('-'), changed('+')) != (1, 1) {
        return Err(format!("one line is about the data key, and not as in\n{shown}").into());
    }
    expect(&lab.git(&["diff"])?, &["the same values and keys"], &[OLD, NEW, "db.b"])
}

fn sealed(lab: &Lab) -> Result<(), Failed> {
    lab.seal(&["git", "install"])?;
    lab.write("sealed.yaml", SEALED)?;
    lab.commit("one")?;
    lab.write(
        "sealed.yaml",
        SEALED.replace("AgBy8hHF3", "AgC").replace("Opaque", "kubernetes.io/basic-auth"),
    )?;
    let wanted = ["-    password: SEALED[", "+    password: SEALED[", "+    type: kubernetes.io/basic-auth"];
    expect(&lab.git(&["diff", "--no-ext-diff"])?, &wanted, &["AgB", "AgC"])?;
    expect(
        &lab.git(&["diff"])?,
        &["! values are masked: no private sealing key is given", wanted[0], wanted[2]],
        &["AgB"],
    )
}

fn broken(lab: &Lab) -> Result<(), Failed> {
    lab.encrypt("a.yaml", "a: b\n")?;
    lab.encrypt("b.ini", "[a]\nb = c\n")?;
    lab.encrypt("c.bin", "bytes\n")?;
    let whole = [lab.read("a.yaml")?, lab.read("b.ini")?];
    let sides = |text: &str| format!("<<<<<<< ours\n{text}=======\n{text}>>>>>>> theirs\n");
    for (path, text) in [
        ("a.yaml", sides(&whole[0])),
        ("b.ini", sides(&whole[1])),
        ("a.yaml", whole[0].replace("version:", "version")),
        ("a.yaml", whole[0][..whole[0].len() / 2].to_owned()),
        ("plain.yaml", "a: [1\r\n".to_owned()),
        ("empty.json", String::new()),
    ] {
        lab.write(path, &text)?;
        same(&lab.seal(&["git", "textconv", path])?, &text)?;
        same(&lab.seal(&["git", "textconv", "--plain", path])?, &text)?;
    }
    expect(&lab.seal(&["git", "textconv", "c.bin"])?, &["\"data\": \"ENC[", "recipients"], &["AES256"])?;
    same(&lab.seal(&["git", "textconv", "--plain", "c.bin"])?, "bytes\n")?;
    lab.write("d.bin", b"\0\x1b[2J")?;
    expect(&lab.seal(&["git", "textconv", "d.bin"])?, &["binary file, 5 bytes, "], &["\x1b"])
}

fn conflict(lab: &Lab) -> Result<(), Failed> {
    two_commits(lab)?;
    lab.git(&["checkout", "-q", "-b", "side", "HEAD~1"])?;
    lab.seal(&["set", "db.yaml", "db.b", "other"])?;
    lab.commit("three")?;
    // Git itself merges the lines.
    lab.git(&["config", "--remove-section", "merge.seal"])?;
    let merged = lab.run("git", &["merge", "main"], &[])?;
    expect(&text_of(&merged), &["CONFLICT"], &[])?;
    let shown = lab.run("git", &["diff"], &[])?;
    if !shown.status.success() {
        return Err(text_of(&shown).into());
    }
    expect(&text_of(&shown), &["diff --cc db.yaml"], &[OLD, NEW])?;
    same(&lab.seal(&["git", "diff", "db.yaml"])?, "* Unmerged path db.yaml\n")
}
