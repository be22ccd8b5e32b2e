//! The subcommands of `kubectl seal`: one file each, and one line of [`Command`].

mod access;
mod audit;
mod cert;
mod check;
mod completions;
mod convert;
mod decrypt;
mod diff;
mod edit;
mod encrypt;
mod exec_env;
mod exec_file;
mod explain;
mod extract;
mod fix;
mod git;
mod groups;
mod hook;
mod init;
mod keys;
mod keyservice;
mod man;
mod merge;
mod publish;
mod reseal;
mod resolve;
mod rotate;
mod seal;
mod set;
mod status;
mod tour;
mod unseal;
mod unset;
mod updatekeys;
mod validate;
mod view;

pub use reseal::LOCKED;

use std::ffi::OsString;
use std::path::Path;

use selkie::format::Format;
use selkie::keys::{KeyGroup, MasterKey};
use selkie::secret::SecretBytes;
use selkie::sops::{MacCheck, Selector, Unlocked};
use selkie::tree::Tree;
use serde_json::{Value as Json, json};

use crate::batch::Outcome;
use crate::context::Context;
use crate::document::{self, Document, InputFlags};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Place;
use crate::sealing;
use crate::targets::Target;

/// What to do, in the order in which people come to need it.
// Without comments on the variants: clap would take them for the help, in place of those of `Args`.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Init(init::Args),
    Explain(explain::Args),
    Encrypt(encrypt::Args),
    Seal(seal::Args),
    Merge(merge::Args),
    Reseal(reseal::Args),
    Decrypt(decrypt::Args),
    View(view::Args),
    Edit(edit::Args),
    Set(set::Args),
    Unset(unset::Args),
    Extract(extract::Args),
    Diff(diff::Args),
    Status(status::Args),
    Access(access::Args),
    Rotate(rotate::Args),
    Updatekeys(updatekeys::Args),
    Groups(groups::Args),
    Publish(publish::Args),
    Unseal(unseal::Args),
    Validate(validate::Args),
    Check(seal_hook::cli::CheckArgs),
    Fix(seal_hook::cli::FixArgs),
    Hook(hook::Args),
    Git(git::Args),
    Resolve(resolve::Args),
    Cert(cert::Args),
    Convert(convert::Args),
    Keys(keys::Args),
    Audit(audit::Args),
    Keyservice(keyservice::Args),
    ExecEnv(exec_env::Args),
    ExecFile(exec_file::Args),
    Tour(tour::Args),
    Completions(completions::Args),
    Man(man::Args),
}

impl Command {
    /// Runs the subcommand.
    ///
    /// # Errors
    /// If it fails before it gets to files; what happens to files is reported one by one.
    pub fn run(&self, context: &Context<'_>) -> Result<Exit, Failure> {
        match self {
            Self::Access(args) => access::run(args, context),
            Self::Audit(args) => audit::run(args, context),
            Self::Cert(args) => cert::run(args, context),
            Self::Check(args) => check::run(args, context),
            Self::Completions(args) => completions::run(args, context),
            Self::Convert(args) => convert::run(args, context),
            Self::Decrypt(args) => decrypt::run(args, context),
            Self::Diff(args) => diff::run(args, context),
            Self::Edit(args) => edit::run(args, context),
            Self::Encrypt(args) => encrypt::run(args, context),
            Self::ExecEnv(args) => exec_env::run(args, context),
            Self::ExecFile(args) => exec_file::run(args, context),
            Self::Explain(args) => explain::run(args, context),
            Self::Extract(args) => extract::run(args, context),
            Self::Fix(args) => fix::run(args, context),
            Self::Git(args) => git::run(args, context),
            Self::Groups(args) => groups::run(args, context),
            Self::Hook(args) => hook::run(args, context),
            Self::Init(args) => init::run(args, context),
            Self::Keys(args) => keys::run(args, context),
            Self::Keyservice(args) => keyservice::run(args, context),
            Self::Man(args) => man::run(args, context),
            Self::Merge(args) => merge::run(args, context),
            Self::Publish(args) => publish::run(args, context),
            Self::Reseal(args) => reseal::run(args, context),
            Self::Resolve(args) => resolve::run(args, context),
            Self::Rotate(args) => rotate::run(args, context),
            Self::Seal(args) => seal::run(args, context),
            Self::Set(args) => set::run(args, context),
            Self::Status(args) => status::run(args, context),
            Self::Tour(args) => tour::run(args, context),
            Self::Unseal(args) => unseal::run(args, context),
            Self::Unset(args) => unset::run(args, context),
            Self::Updatekeys(args) => updatekeys::run(args, context),
            Self::Validate(args) => validate::run(args, context),
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
    let Some(resealed) = sealing::reseal(context, document.path.as_deref(), &unlocked, &changed)? else {
        return Ok(Outcome::Unchanged);
    };
    document::replace(context, target.path().unwrap_or(Path::new("")), &document.source, &resealed.text)?;
    Ok(Outcome::Done("changed", String::new()))
}

/// Returns the format of a result. A file whose name tells the format of the document cannot get another.
fn output_format(
    context: &Context<'_>,
    wanted: Option<&str>,
    document: &Document,
    place: &Place,
) -> Result<Format, Failure> {
    let output = wanted.and_then(Format::from_name).unwrap_or(document.format);
    let Place::File(path) = place else { return Ok(output) };
    let keeps_its_name = document.path.as_deref().and_then(Path::file_name) == path.file_name();
    if output == document.format || !keeps_its_name || document::format_of(path) == output {
        return Ok(output);
    }
    let is_in_place = document.path == Some(context.session.absolute(path));
    let text = if is_in_place {
        "a file cannot change its format in place; use --output"
    } else {
        "a file cannot change its format under its own name; use --output"
    };
    Err(Failure::Usage(text.to_owned()))
}

/// Returns the format that the name of a result stands for, if that is another name than the document has.
fn named_format(document: &Document, place: &Place) -> Option<Format> {
    let Place::File(path) = place else { return None };
    let keeps_its_name = document.path.as_deref().and_then(Path::file_name) == path.file_name();
    let format = document::format_of(path);
    (!keeps_its_name && matches!(format, Format::Json | Format::Yaml)).then_some(format)
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use crate::cli::Cli;

    #[test]
    fn every_command_has_the_help_of_its_arguments() {
        for command in Cli::command().get_subcommands() {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            // What is written in code is a whole sentence, help is not.
            assert!(!about.is_empty() && !about.ends_with('.'), "{}: {about}", command.get_name());
        }
    }
}
