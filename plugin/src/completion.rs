//! What kubectl asks when its own completion comes to this plugin: it starts `kubectl_complete-seal` with
//! the words of the command line, the last of which is to be completed.
//!
//! The answer is that of Cobra: a line for each word, its description behind a tab, and at the end a number
//! that says whether files may follow.

use std::ffi::OsString;

use clap::{Arg, Command, CommandFactory};

use crate::cli::Cli;
use crate::exit::Exit;
use crate::session::Session;

/// The name under which kubectl asks.
pub const NAME: &str = "kubectl_complete-seal";

/// The word behind which the words to complete may stand in a call under any other name.
pub const REQUEST: &str = "__complete";

/// Prints what may stand in place of the last word.
pub fn run(session: &Session, words: &[OsString]) -> Exit {
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    match session.stdout.write(answer(&words).as_bytes()) {
        Ok(()) => Exit::Success,
        Err(_) => Exit::Failure,
    }
}

fn answer(words: &[String]) -> String {
    let (last, before) = words.split_last().map_or(("", [].as_slice()), |(last, rest)| (last.as_str(), rest));
    let mut root = Cli::command();
    root.build();
    let (command, previous) = follow(&root, before);
    let found = match previous {
        Some(option) => values(option),
        None if last.starts_with('-') => options(command),
        None => verbs(command),
    };
    let found: Vec<_> = found.into_iter().filter(|(word, _)| word.starts_with(last)).collect();
    let takes_files = found.is_empty();
    let mut text = String::new();
    for (word, about) in found {
        text += &if about.is_empty() { format!("{word}\n") } else { format!("{word}\t{about}\n") };
    }
    text + &format!(":{}\n", if takes_files { FILES } else { NO_FILES })
}

/// Returns the command that words lead to, and the option whose value comes next, if one does.
fn follow<'a>(root: &'a Command, words: &[String]) -> (&'a Command, Option<&'a Arg>) {
    let (mut command, mut pending) = (root, None);
    for word in words {
        if pending.take().is_some() {
            continue;
        }
        if word == "--" {
            return (command, None);
        } else if word.starts_with('-') {
            pending = command.get_arguments().find(|arg| takes_value(arg) && is_named(arg, word));
        } else if let Some(below) = command.find_subcommand(word) {
            command = below;
        }
    }
    (command, pending)
}

fn takes_value(arg: &Arg) -> bool {
    arg.get_action().takes_values()
}

fn is_named(arg: &Arg, word: &str) -> bool {
    let long = word.strip_prefix("--");
    let short = word.strip_prefix('-').and_then(|rest| rest.chars().next().filter(|_| rest.len() == 1));
    (long.is_some() && arg.get_long() == long) || (short.is_some() && arg.get_short() == short)
}

fn values(option: &Arg) -> Vec<(String, String)> {
    let values = option.get_possible_values();
    values.iter().map(|value| (value.get_name().to_owned(), first_line(value.get_help()))).collect()
}

fn options(command: &Command) -> Vec<(String, String)> {
    let shown = command.get_arguments().filter(|arg| !arg.is_hide_set());
    shown.filter_map(|arg| Some((format!("--{}", arg.get_long()?), first_line(arg.get_help())))).collect()
}

fn verbs(command: &Command) -> Vec<(String, String)> {
    let verb = |command: &Command| (command.get_name().to_owned(), first_line(command.get_about()));
    let verbs = command.get_subcommands().filter(|command| !command.is_hide_set()).map(verb);
    let choices = command.get_positionals().next().map(values).unwrap_or_default();
    verbs.chain(choices).collect()
}

fn first_line(text: Option<&clap::builder::StyledStr>) -> String {
    text.map(ToString::to_string).unwrap_or_default().lines().next().unwrap_or_default().to_owned()
}

/// The shell completes the names of files.
const FILES: u8 = 0;

/// The shell does not.
const NO_FILES: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        answer(&words).lines().map(|line| line.split('\t').next().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn verbs_options_values_and_files_are_told_apart() {
        assert_eq!(words("enc"), ["encrypt", ":4"]);
        assert_eq!(words("exec-"), ["exec-env", "exec-file", ":4"]);
        assert_eq!(words("groups li"), ["list", ":4"]);
        assert_eq!(words("decrypt --in"), ["--in-place", "--input-type", ":4"]);
        assert_eq!(words("decrypt --input-type js"), ["json", ":4"]);
        assert_eq!(words("completions f"), ["fish", ":4"]);
        assert_eq!(words("view apps/"), [":0"]);
        assert_eq!(words("--config "), [":0"]);
        assert_eq!(words("exec-env a.env -- x"), [":0"]);
    }

    #[test]
    fn words_are_described() {
        assert_eq!(answer(&["enc".to_owned()]), "encrypt\tEncrypt files\n:4\n");
    }
}
