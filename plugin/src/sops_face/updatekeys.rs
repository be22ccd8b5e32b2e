//! `sops updatekeys`: wraps the data keys of files for the keys that the configuration names now.

use std::path::{Path, PathBuf};

use selkie::format::Format;
use selkie::keys::KeyGroup;
use selkie::sops::resolve;

use super::config::Configuration;
use super::document::{Source, recover, rewrap, write_in_place};
use super::failure::{Failure, of_file};
use super::grammar::Flag;
use super::log::Level;
use super::services::Services;
use super::{Action, Command, Context, flags, report};
use crate::exit::Exit;
use crate::files::{Audience, Expected};
use crate::report::{Colour, escape};

pub(super) static COMMAND: Command = Command {
    name: "updatekeys",
    about: "give files the keys that the configuration names now",
    arguments: "file…",
    flags: || {
        let mut all = vec![Flag::switch("yes", "do not ask").alias("y"), flags::input_type()];
        all.extend(flags::key_services());
        all
    },
    action: Action::Run(run),
};

fn run(context: &Context<'_>) -> Result<(), Failure> {
    let configuration = context.configuration()?;
    if configuration.file().is_none() {
        return Err(Failure::generic("config file not found"));
    }
    let services = Services::of(context)?;
    match context.given.arguments() {
        [] => Err(Failure::new(Exit::NoFile, "Error: no file specified")),
        [file] => update(context, configuration, &services, Path::new(file)),
        files => {
            let mut failed = 0;
            for file in files {
                if let Err(failure) = update(context, configuration, &services, Path::new(file)) {
                    context.log.say("CMD", Level::Error, &failure.message, &[]);
                    failed += 1;
                }
            }
            match failed {
                0 => Ok(()),
                failed => Err(Failure::generic(format!("failed updating {failed} key(s)"))),
            }
        }
    }
}

fn update(
    context: &Context<'_>,
    configuration: &Configuration,
    services: &Services,
    file: &Path,
) -> Result<(), Failure> {
    let path = context.session.absolute(file);
    check_file(&path)?;
    let shown = path.display();
    let format = context.given.text(flags::INPUT_TYPE).and_then(|name| Format::from_name(&name));
    let format = format.unwrap_or_else(|| Format::from_file_name(&path.to_string_lossy()));
    note(context, &format!("Syncing keys for file {shown}"));
    let source = Source::File(path.clone());
    let _turn = source.turn(context, true);
    let encrypted = source.read_encrypted(context, format)?;
    let rule = configuration.rule(&path)?.ok_or_else(|| {
        let config = configuration.file().map(|file| file.path.display().to_string()).unwrap_or_default();
        Failure::generic(format!("The config file {config} does not contain any creation rule"))
    })?;
    // As sops does: a rule that names no version of a key means the newest one.
    let mut groups = rule.groups.clone();
    pollster::block_on(resolve(&mut groups, &services.all()))
        .map_err(|error| Failure::generic(report::of_wrapping(&error)))?;
    let change = Change::new(&encrypted.metadata, &groups);
    if change.is_none() {
        note(context, &format!("File {shown} already up to date"));
        return Ok(());
    }
    let is_coloured = Colour::Auto.applies(&context.session.stdout, &context.session.environment);
    super::print(context.session, &change.describe(is_coloured))?;
    if !context.given.switch("yes") && !is_agreed(context)? {
        note(context, &format!("File {shown} left unchanged"));
        return Ok(());
    }
    let recovered = recover(encrypted.metadata.clone(), services, &[]);
    let mut envelope = recovered
        .map_err(|(error, threshold)| Failure::new(Exit::DataKey, report::of_recovery(&error, threshold)))?;
    rewrap(context, &mut envelope, groups, change.threshold.1, services).map_err(|error| {
        Failure::generic(format!("error updating one or more master keys: {}", report::of_wrapping(&error)))
    })?;
    let expected = Expected::Content(encrypted.tree.source());
    write_in_place(context, &path, &encrypted.with_metadata(&envelope)?, Audience::Everyone, expected)?;
    note(context, &format!("File {shown} synced with new keys"));
    if change.removes() {
        note(context, "The data key is the same: whoever lost a key still knows it, until `sops rotate -i`");
    }
    Ok(())
}

fn check_file(path: &PathBuf) -> Result<(), Failure> {
    match std::fs::metadata(path) {
        Err(error) => Err(Failure::generic(of_file("stat", path, &error))),
        Ok(metadata) if metadata.is_dir() => Err(Failure::generic("can't operate on a directory")),
        Ok(_) => Ok(()),
    }
}

/// Asks until the answer is one.
fn is_agreed(context: &Context<'_>) -> Result<bool, Failure> {
    loop {
        super::print(context.session, "Is this okay? (y/n):")?;
        match context.session.stdin.read_line() {
            Ok(Some(answer)) if answer == "y" => return Ok(true),
            Ok(Some(answer)) if answer == "n" => return Ok(false),
            Ok(Some(_)) => {}
            Ok(None) => return Err(Failure::generic("unexpected newline: nobody answers; use --yes")),
            Err(error) => return Err(Failure::generic(error.to_string())),
        }
    }
}

/// Says what is going on, as Go's own log does.
fn note(context: &Context<'_>, message: &str) {
    let now = context.session.now();
    let (date, time) = (now[..10].replace('-', "/"), &now[11..19]);
    context.session.stderr.say(format!("{date} {time} {message}"));
}

/// How the keys of a file change.
pub(super) struct Change {
    groups: Vec<GroupChange>,
    threshold: (usize, usize),
}

/// How one group changes.
#[derive(Default)]
struct GroupChange {
    common: Vec<String>,
    added: Vec<String>,
    removed: Vec<String>,
}

impl Change {
    /// Compares the groups of a file with those of a rule, position by position. The file's threshold
    /// stays as far as there are groups enough.
    pub(super) fn new(metadata: &selkie::sops::Metadata, wanted: &[KeyGroup]) -> Self {
        let old = &metadata.groups;
        let empty = KeyGroup::default();
        let pair = |at| (old.get(at).unwrap_or(&empty), wanted.get(at).unwrap_or(&empty));
        let groups =
            (0..old.len().max(wanted.len())).map(pair).map(|(old, new)| GroupChange::new(old, new)).collect();
        let threshold = metadata.shamir_threshold;
        Self { groups, threshold: (threshold, threshold.min(wanted.len())) }
    }

    fn is_none(&self) -> bool {
        self.keeps_keys() && self.threshold.0 == self.threshold.1
    }

    /// Returns whether every group keeps its keys.
    pub(super) fn keeps_keys(&self) -> bool {
        self.groups.iter().all(|group| group.added.is_empty() && group.removed.is_empty())
    }

    fn removes(&self) -> bool {
        self.groups.iter().any(|group| !group.removed.is_empty())
    }

    fn describe(&self, is_coloured: bool) -> String {
        let paint = |code, text| paint(is_coloured, code, text);
        let (green, red) = (|text| paint(32, format!("+++ {text}")), |text| paint(31, format!("--- {text}")));
        let mut text = String::from("The following changes will be made to the file's groups:\n");
        match self.threshold {
            (old, new) if old == new && old > 0 => text += &format!("shamir_threshold: {new}\n"),
            (old, new) => {
                text += &if new > 0 { green(format!("shamir_threshold: {new}")) } else { String::new() };
                text += &if old > 0 { red(format!("shamir_threshold: {old}")) } else { String::new() };
            }
        }
        text + &self.describe_groups(is_coloured)
    }

    /// Returns the groups with their keys, each on a line of its own.
    pub(super) fn describe_groups(&self, is_coloured: bool) -> String {
        let paint = |code, text| paint(is_coloured, code, text);
        let (green, red) = (|key| paint(32, format!("+++ {key}")), |key| paint(31, format!("--- {key}")));
        let mut text = String::new();
        for (at, group) in self.groups.iter().enumerate() {
            text += &paint(4, format!("Group {}", at + 1));
            text.extend(group.common.iter().map(|key| format!("    {key}\n")));
            text.extend(group.added.iter().map(green));
            text.extend(group.removed.iter().map(red));
        }
        text
    }
}

/// Returns a line in a colour, if it is to have one.
fn paint(is_coloured: bool, code: u8, text: String) -> String {
    match is_coloured {
        true => format!("\u{1b}[{code}m{text}\u{1b}[0m\n"),
        false => format!("{text}\n"),
    }
}

impl GroupChange {
    fn new(old: &KeyGroup, new: &KeyGroup) -> Self {
        let names = |group: &KeyGroup, other: &KeyGroup, in_both: bool| {
            let keys = group.0.iter().filter(|key| other.0.contains(key) == in_both);
            keys.map(|key| escape(&key.to_string())).collect()
        };
        Self { common: names(new, old, true), added: names(new, old, false), removed: names(old, new, false) }
    }
}

#[cfg(test)]
mod tests {
    use selkie::keys::{KeyKind, MasterKey};
    use selkie::sops::Metadata;

    use super::*;

    fn group(text: &str) -> KeyGroup {
        let kind = KeyKind::from_name("pgp").expect("a kind");
        KeyGroup(MasterKey::parse_list(kind, text).expect("fingerprints"))
    }

    #[test]
    fn change_is_described_as_by_sops() {
        let mut metadata = Metadata::new(vec![group("A,B"), group("C"), group("D")]);
        metadata.shamir_threshold = 3;
        let change = Change::new(&metadata, &[group("B,X"), group("C")]);
        assert_eq!(
            change.describe(false),
            "The following changes will be made to the file's groups:\n\
             +++ shamir_threshold: 2\n--- shamir_threshold: 3\n\
             Group 1\n    B\n+++ X\n--- A\nGroup 2\n    C\nGroup 3\n--- D\n"
        );
    }

    #[test]
    fn order_of_keys_is_no_change() {
        let metadata = Metadata::new(vec![group("A,B")]);
        assert!(Change::new(&metadata, &[group("B,A")]).is_none());
        assert!(!Change::new(&metadata, &[group("B")]).is_none());
    }
}
