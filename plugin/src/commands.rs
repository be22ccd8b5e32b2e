//! The subcommands of `kubectl seal`: one file each, and one line of [`Command`].

mod completions;
mod decrypt;
mod diff;
mod edit;
mod encrypt;
mod exec_env;
mod exec_file;
mod explain;
mod extract;
mod groups;
mod init;
mod man;
mod rotate;
mod set;
mod status;
mod tour;
mod unset;
mod updatekeys;
mod view;

use std::ffi::OsString;
use std::path::Path;

use selkie::format::Format;
use selkie::keys::{KeyGroup, MasterKey};
use selkie::secret::SecretBytes;
use selkie::sops::{MacCheck, Selector};
use selkie::tree::Tree;
use serde_json::{Value as Json, json};

use crate::batch::Outcome;
use crate::context::Context;
use crate::document::{self, InputFlags, Unlocked};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::targets::Target;

/// What to do, in the order in which people come to need it.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Makes a key and a configuration.
    Init(init::Args),
    /// Says what would be encrypted.
    Explain(explain::Args),
    /// Encrypts.
    Encrypt(encrypt::Args),
    /// Decrypts.
    Decrypt(decrypt::Args),
    /// Shows plaintext.
    View(view::Args),
    /// Opens an editor.
    Edit(edit::Args),
    /// Changes a value.
    Set(set::Args),
    /// Removes a value.
    Unset(unset::Args),
    /// Prints a value.
    Extract(extract::Args),
    /// Compares two versions.
    Diff(diff::Args),
    /// Says what is encrypted, and what looks wrong.
    Status(status::Args),
    /// Draws new data keys.
    Rotate(rotate::Args),
    /// Brings keys in line with the configuration.
    Updatekeys(updatekeys::Args),
    /// Changes key groups.
    Groups(groups::Args),
    /// Runs a command with values as variables.
    ExecEnv(exec_env::Args),
    /// Runs a command with a plaintext file.
    ExecFile(exec_file::Args),
    /// Shows the main job on an example.
    Tour(tour::Args),
    /// Prints a completion script.
    Completions(completions::Args),
    /// Writes manual pages.
    Man(man::Args),
}

impl Command {
    /// Runs the subcommand.
    ///
    /// # Errors
    /// If it fails before it gets to files; what happens to files is reported one by one.
    pub fn run(&self, context: &Context<'_>) -> Result<Exit, Failure> {
        match self {
            Self::Completions(args) => completions::run(args, context),
            Self::Decrypt(args) => decrypt::run(args, context),
            Self::Diff(args) => diff::run(args, context),
            Self::Edit(args) => edit::run(args, context),
            Self::Encrypt(args) => encrypt::run(args, context),
            Self::ExecEnv(args) => exec_env::run(args, context),
            Self::ExecFile(args) => exec_file::run(args, context),
            Self::Explain(args) => explain::run(args, context),
            Self::Extract(args) => extract::run(args, context),
            Self::Groups(args) => groups::run(args, context),
            Self::Init(args) => init::run(args, context),
            Self::Man(args) => man::run(args, context),
            Self::Rotate(args) => rotate::run(args, context),
            Self::Set(args) => set::run(args, context),
            Self::Status(args) => status::run(args, context),
            Self::Tour(args) => tour::run(args, context),
            Self::Unset(args) => unset::run(args, context),
            Self::Updatekeys(args) => updatekeys::run(args, context),
            Self::View(args) => view::run(args, context),
        }
    }
}

/// Decrypts a file, lets `change` make another plaintext of it, and replaces the file if that says
/// something else.
fn change_in_place(
    context: &Context<'_>,
    target: &Target,
    check: MacCheck,
    change: impl FnOnce(Format, &Tree, &Unlocked) -> Result<SecretBytes, Failure>,
) -> Result<Outcome, Failure> {
    let _turn = document::turn(context, target);
    let document = InputFlags::default().load(context, target)?;
    if !target.is_named() && !document.looks_encrypted() {
        return Ok(Outcome::Skipped("not encrypted"));
    }
    let unlocked = document.unlock(context, check)?;
    let plain = document.format.read(unlocked.opened.plaintext()?)?;
    let changed = change(document.format, &plain, &unlocked)?;
    let Some(resealed) = unlocked.seal_if_changed(context, &changed)? else { return Ok(Outcome::Unchanged) };
    document::replace(context, target.path().unwrap_or(Path::new("")), &document.source, &resealed.text)?;
    Ok(Outcome::Done("changed", String::new()))
}

/// For commands that replace files.
fn refuse_stdin(targets: &[Target]) -> Result<(), Failure> {
    if targets.contains(&Target::Stdin) {
        return Err(Failure::Usage("stdin cannot be changed in place; name a file".to_owned()));
    }
    Ok(())
}

/// For commands that take files and more in one list: an argument too many must not become a path that
/// is then made in the files that are there.
fn refuse_missing(context: &Context<'_>, targets: &[Target]) -> Result<(), Failure> {
    let is_missing = |path: &&Path| !context.session.absolute(path).exists();
    match targets.iter().filter_map(Target::path).find(is_missing) {
        None => Ok(()),
        Some(path) => Err(Failure::NoFile(path.display().to_string())),
    }
}

/// Returns a command for the shell: the only argument as it is, several in quotes where they need it.
///
/// Several are one program: the shell becomes it, so that it gets the signals that are passed on.
fn command_line(arguments: &[String]) -> Result<OsString, Failure> {
    match arguments {
        [line] => Ok(line.into()),
        words => {
            // `{}` stands for a path, and needs no quotes.
            let quoted: Result<Vec<_>, _> = words
                .iter()
                .map(|word| if word == "{}" { Ok(word.into()) } else { shlex::try_quote(word) })
                .collect();
            let quoted = quoted.map_err(|_| Failure::Usage("an argument holds a zero byte".to_owned()))?;
            Ok(format!("exec {}", quoted.join(" ")).into())
        }
    }
}

/// Returns key groups for reports: of each key its kind and its name.
fn groups_json(groups: &[KeyGroup]) -> Json {
    let key = |key: &MasterKey| json!({"kind": key.kind().name, "key": key.to_string()});
    groups.iter().map(|group| group.0.iter().map(key).collect::<Json>()).collect()
}

/// Returns a selector for reports.
fn selector_json(selector: &Selector) -> Json {
    json!({"field": selector.field(), "text": selector.text()})
}

/// Prints a report for programs.
fn print_json(context: &Context<'_>, report: &Json) -> Result<(), Failure> {
    let text = format!("{report:#}\n");
    context.session.stdout.write(text.as_bytes()).map_err(Failure::io("write", "stdout"))
}
