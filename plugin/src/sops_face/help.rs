//! The texts of help and version.

use std::ffi::OsStr;

use selkie::sops::VERSION;

use super::failure::Failure;
use super::grammar::{Flag, FlagKind};
use super::{Action, COMMANDS, Command, root};
use crate::exit::Exit;

/// Returns what `--version` prints: it begins as with sops, whose version is looked for there.
pub(super) fn version() -> String {
    format!("sops {VERSION} (selkie {})\n", env!("CARGO_PKG_VERSION"))
}

/// Returns the help of the program.
pub(super) fn program() -> String {
    format!(
        "NAME:\n   sops - encrypts files value by value, and edits what is encrypted\n\n\
         USAGE:\n   sops [global options] command [command options] file\n   sops [global options] file\n\n\
         {EXAMPLES}\nVERSION:\n   {VERSION} (selkie {})\n\n\
         COMMANDS:\n{}\nGLOBAL OPTIONS:\n{}",
        env!("CARGO_PKG_VERSION"),
        list_commands(COMMANDS),
        list_flags(root::flags()),
    )
}

/// Returns the help of a command; `path` is how it is called.
pub(super) fn command(path: &str, command: &Command) -> String {
    let mut flags = (command.flags)();
    flags.push(Flag::help());
    let commands = match command.action {
        Action::Group(commands) => format!("COMMANDS:\n{}\n", list_commands(commands)),
        Action::Run(_) => String::new(),
    };
    let verb = if command.is_group() { " command" } else { "" };
    format!(
        "NAME:\n   {path} - {}\n\nUSAGE:\n   {path}{verb} [command options] {}\n\n{commands}OPTIONS:\n{}",
        command.about,
        command.arguments,
        list_flags(flags),
    )
}

/// Returns the help on a topic.
pub(super) fn topic(name: Option<&OsStr>) -> Result<String, Failure> {
    let Some(name) = name else { return Ok(program()) };
    let name = name.to_string_lossy();
    let found = COMMANDS.iter().find(|command| command.name == name);
    found.map(|found| command(&format!("sops {name}"), found)).ok_or_else(|| no_topic(&name))
}

/// Returns that there is no help on a topic.
pub(super) fn no_topic(name: &str) -> Failure {
    Failure::new(Exit::Write, format!("No help topic for '{name}'"))
}

fn list_commands(commands: &[&Command]) -> String {
    columns(commands.iter().map(|command| (command.name.to_owned(), command.about.to_owned())).collect())
}

fn list_flags(flags: Vec<Flag>) -> String {
    columns(flags.iter().map(|flag| (usage(flag), about(flag))).collect())
}

fn usage(flag: &Flag) -> String {
    let value = if flag.takes_value() { " value" } else { "" };
    let names = flag.names().map(|name| match name.len() {
        1 => format!("-{name}{value}"),
        _ => format!("--{name}{value}"),
    });
    names.collect::<Vec<_>>().join(", ")
}

fn about(flag: &Flag) -> String {
    let default = match flag.kind {
        FlagKind::SwitchOn => " (default: true)".to_owned(),
        _ if flag.default.is_empty() => String::new(),
        _ => format!(" (default: {})", flag.default),
    };
    let variable = flag.variable.map(|variable| format!(" [${variable}]")).unwrap_or_default();
    format!("{}{default}{variable}", flag.about)
}

/// Sets texts in two columns.
fn columns(rows: Vec<(String, String)>) -> String {
    let width = rows.iter().map(|(left, _)| left.len()).max().unwrap_or_default();
    rows.iter().map(|(left, right)| format!("   {left:width$}  {right}\n")).collect()
}

const EXAMPLES: &str = "EXAMPLES:
   sops encrypt --age age1… --in-place secret.yaml
   sops edit secret.yaml
   sops decrypt --extract '[\"database\"][\"password\"]' secret.yaml
   sops set secret.yaml '[\"database\"][\"password\"]' '\"hunter2\"'
   sops rotate --in-place --add-age age1… secret.yaml
   sops updatekeys secret.yaml
   sops exec-env secret.env 'env'

   Without a command, a file is edited. Flags of the program itself stand in front of the file.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_begins_as_that_of_sops() {
        assert!(version().starts_with(&format!("sops {VERSION} ")));
    }

    #[test]
    fn every_flag_of_every_command_is_in_its_help() {
        for command in COMMANDS {
            let text = self::command("sops x", command);
            for flag in (command.flags)() {
                assert!(text.contains(&format!("--{}", flag.name)), "{} {}", command.name, flag.name);
            }
        }
    }

    #[test]
    fn names_of_flags_are_different() {
        let tables = COMMANDS.iter().map(|command| (command.flags)());
        for flags in tables.chain([root::flags()]) {
            let mut names: Vec<_> = flags.iter().flat_map(Flag::names).collect();
            let count = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), count);
        }
    }
}
