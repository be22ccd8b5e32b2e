//! Merges of changes to keys and rules with changes to values.

use std::fs;

use libtest_mimic::Failed;

use super::Run;
use super::lab::{ALICE, BOB, Keys, Lab, STRANGER, all};
use crate::peer::output;

pub const FLOWS: &[(&str, Run)] = &[
    ("keys::rotated_on_our_side", |lab| rotated(lab, true)),
    ("keys::rotated_on_their_side", |lab| rotated(lab, false)),
    ("keys::recipient_added", recipient_added),
    ("keys::recipients_added_on_both_sides", recipients_added_on_both_sides),
    ("keys::recipient_removed", recipient_removed),
];

const BASE: &str = "a: hidden-1\nb: hidden-2\n";
const OURS: &str = "a: hidden-ours\nb: hidden-2\n";
const THEIRS: &str = "a: hidden-1\nb: hidden-theirs\n";
const BOTH: &str = "a: hidden-ours\nb: hidden-theirs\n";

/// Runs the real sops over the file in place.
fn sops(lab: &Lab, arguments: &[&str]) -> Result<(), Failed> {
    output(lab.command(&lab.peer, Keys::AtHand).args(arguments).arg("db.yaml")).map(drop)
}

/// Lets one side do one thing, and the other another.
fn part(
    lab: &Lab,
    for_whom: &[&str],
    ours: impl FnOnce() -> Result<(), Failed>,
    theirs: impl FnOnce() -> Result<(), Failed>,
) -> Result<(), Failed> {
    lab.encrypt_for("db.yaml", BASE, for_whom, &[])?;
    lab.commit("base")?;
    lab.git(&["checkout", "-q", "-b", "theirs"])?;
    theirs()?;
    lab.commit("theirs")?;
    lab.git(&["checkout", "-q", "main"])?;
    ours()?;
    lab.commit("ours")?;
    lab.git(&["merge", "-q", "--no-edit", "theirs"])
}

/// Demands who opens the file, and who does not.
fn check_recipients(lab: &Lab, with: &[&str], without: &[&str]) -> Result<(), Failed> {
    let text = lab.read("db.yaml")?;
    let is_wrong = |recipient: &&&str| text.contains(**recipient) != with.contains(*recipient);
    match with.iter().chain(without).find(is_wrong) {
        None => Ok(()),
        Some(recipient) => Err(format!("{recipient} is not as it should be in\n{text}").into()),
    }
}

fn rotated(lab: &Lab, on_our_side: bool) -> Result<(), Failed> {
    let rotate = || sops(lab, &["rotate", "-i"]);
    let wanted = if on_our_side {
        part(lab, &[ALICE.1], rotate, || lab.edit("db.yaml", THEIRS))?;
        THEIRS
    } else {
        part(lab, &[ALICE.1], || lab.edit("db.yaml", OURS), rotate)?;
        OURS
    };
    // The merged file is under the new data key: with the old one, nothing of it opens.
    let rotated = if on_our_side { "HEAD^1" } else { "HEAD^2" };
    let key =
        |text: &str| text.lines().skip_while(|line| !line.contains("BEGIN AGE")).nth(1).map(str::to_owned);
    let of_rotated = lab.git_said(&["show", &format!("{rotated}:db.yaml")])?;
    if key(&of_rotated).is_none() || key(&of_rotated) != key(&lab.read("db.yaml")?) {
        return Err("the data key is not the new one".into());
    }
    lab.check("db.yaml", wanted)
}

fn recipient_added(lab: &Lab) -> Result<(), Failed> {
    let add = || sops(lab, &["rotate", "-i", "--add-age", BOB.1]);
    part(lab, &[ALICE.1], || lab.edit("db.yaml", OURS), add)?;
    check_recipients(lab, &[ALICE.1, BOB.1], &[])?;
    opens_for(lab, BOB.0)?;
    lab.check("db.yaml", OURS)
}

fn recipients_added_on_both_sides(lab: &Lab) -> Result<(), Failed> {
    let add_bob = || {
        sops(lab, &["rotate", "-i", "--add-age", BOB.1])?;
        lab.edit("db.yaml", OURS)
    };
    let add_stranger = || {
        sops(lab, &["rotate", "-i", "--add-age", STRANGER])?;
        lab.edit("db.yaml", THEIRS)
    };
    part(lab, &[ALICE.1], add_bob, add_stranger)?;
    check_recipients(lab, &[ALICE.1, BOB.1, STRANGER], &[])?;
    opens_for(lab, BOB.0)?;
    lab.check("db.yaml", BOTH)
}

fn recipient_removed(lab: &Lab) -> Result<(), Failed> {
    let remove = || sops(lab, &["rotate", "-i", "--rm-age", BOB.1]);
    part(lab, &[ALICE.1, BOB.1], || lab.edit("db.yaml", OURS), remove)?;
    check_recipients(lab, &[ALICE.1], &[BOB.1])?;
    lab.check("db.yaml", OURS)
}

/// Demands that the real sops opens the file with one identity alone.
fn opens_for(lab: &Lab, identity: &str) -> Result<(), Failed> {
    let file = lab.beside("one.txt");
    fs::write(&file, format!("{identity}\n"))?;
    let mut command = lab.command(&lab.peer, Keys::Absent);
    let output = command.env("SOPS_AGE_KEY_FILE", &file).args(["decrypt", "db.yaml"]).output()?;
    output.status.success().then_some(()).ok_or_else(|| all(&output).into())
}
