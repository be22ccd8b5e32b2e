//! The commands that sentences name, such as `kubectl seal view --json`, exist, and so does every flag that is named alone.

use std::collections::BTreeSet;
use std::fs;

use clap::{Command, CommandFactory};
use kubectl_seal::cli::Cli;
use libtest_mimic::{Failed, Trial};
use pulldown_cmark::Event;

use super::{Faults, events};
use crate::documentation::page::{Page, What};
use crate::documentation::{pages, top};

/// Returns the tests.
pub fn tests() -> Vec<Trial> {
    vec![Trial::test("documentation::verbs_and_flags_are_there", verbs_and_flags_are_there)]
}

fn verbs_and_flags_are_there() -> Result<(), Failed> {
    let programs = Programs::new();
    let mut faults = Faults::default();
    for path in pages() {
        let text = fs::read_to_string(&path)?;
        let name = path.strip_prefix(top())?.display().to_string();
        // What others have and we have not is told there, too.
        let is_about_others = name == "docs/compatibility.md";
        for (event, range) in events(&text) {
            let Event::Code(code) = event else { continue };
            if let Err(what) = programs.check(&code, is_about_others) {
                faults.add(&name, &text, range.start, &what);
            }
        }
        // What is not run is looked at, at least.
        for step in Page::read(&path)?.steps {
            let What::NotRun { commands, .. } = step.what else { continue };
            for line in commands.lines() {
                let line = line.split(" #").next().unwrap_or_default();
                if let Err(what) = programs.check(line, false) {
                    faults.0.push(format!("{name}:{}: {what}", step.line));
                }
            }
        }
    }
    faults.end()
}

/// What our programs take.
struct Programs {
    seal: Command,
    decryptor: Command,
    /// Every flag of every command.
    flags: BTreeSet<String>,
}

impl Programs {
    fn new() -> Self {
        let (mut seal, mut decryptor) = (Cli::command(), selkie_decryptor::command());
        seal.build();
        decryptor.build();
        let mut flags = BTreeSet::new();
        collect(&seal, &mut flags);
        collect(&decryptor, &mut flags);
        flags.extend(OF_OTHERS.iter().map(|flag| (*flag).to_owned()));
        Self { seal, decryptor, flags }
    }

    /// Looks at a command, or at a flag alone, if it is that.
    fn check(&self, code: &str, is_about_others: bool) -> Result<(), String> {
        let mut words: Vec<_> = code.split_whitespace().collect();
        // Variables may stand in front.
        let is_variable =
            |word: &str| word.split_once('=').is_some_and(|(name, _)| name.bytes().all(is_of_name));
        while words.first().is_some_and(|word| is_variable(word)) {
            words.remove(0);
        }
        match words.as_slice() {
            ["kubectl", "seal", rest @ ..] | ["kubectl-seal", rest @ ..] => follow(&self.seal, rest, code),
            ["selkie-decryptor", rest @ ..] => follow(&self.decryptor, rest, code),
            ["seal-hook", verb @ ("check" | "fix"), rest @ ..] => {
                follow(&self.seal, &[&[*verb], rest].concat(), code)
            }
            ["seal-hook", rest @ ..] if !rest.is_empty() => {
                follow(&self.seal, &[&["hook"], rest].concat(), code)
            }
            [flag, ..] if flag.starts_with("--") && !is_about_others => {
                let flag = name_of(flag);
                let is_there = flag.bytes().all(|byte| byte == b'-') || self.flags.contains(flag);
                is_there.then_some(()).ok_or_else(|| format!("no command takes {flag}"))
            }
            _ => Ok(()),
        }
    }
}

/// Goes from command to subcommand, and looks whether each takes the flags that stand there.
fn follow(program: &Command, words: &[&str], code: &str) -> Result<(), String> {
    let mut command = program;
    for (position, word) in words.iter().copied().enumerate() {
        if word == "--" || ["|", ">", "<", "&&"].contains(&word) {
            return Ok(());
        }
        if let Some(short) = word.strip_prefix('-').filter(|word| !word.starts_with('-')) {
            let is_there =
                |letter| command.get_arguments().any(|argument| argument.get_short() == Some(letter));
            let first = short.chars().next();
            if first.is_some_and(|letter| letter.is_alphabetic() && letter != 'h' && !is_there(letter)) {
                return Err(format!("`{code}`: {} takes no -{short}", command.get_name()));
            }
        } else if word.starts_with("--") {
            let flag = name_of(word);
            if !takes(command, flag) {
                return Err(format!("`{code}`: {} takes no {flag}", command.get_name()));
            }
        } else if let Some(next) = command.find_subcommand(word) {
            command = next;
        } else if position == 0 {
            // A file means that it is to be sealed, and sops and kubeseal are whole command lines.
            let is_placeholder =
                word.contains(['.', '/', '…']) || word.chars().all(|char| !char.is_lowercase());
            let is_known = is_placeholder || ["sops", "kubeseal", "help"].contains(&word);
            return if is_known { Ok(()) } else { Err(format!("`{code}`: there is no command {word}")) };
        } else if command.has_subcommands() && word.chars().all(|char| char.is_lowercase()) {
            return Err(format!("`{code}`: {} has no command {word}", command.get_name()));
        }
    }
    Ok(())
}

fn takes(command: &Command, flag: &str) -> bool {
    let name = flag.trim_start_matches("--");
    let is_it = |argument: &clap::Arg| {
        argument.get_long() == Some(name)
            || argument.get_all_aliases().is_some_and(|aliases| aliases.contains(&name))
    };
    ["help", "version"].contains(&name) || command.get_arguments().any(is_it)
}

/// Returns a flag without its value, or what a page puts around it.
fn name_of(flag: &str) -> &str {
    let end = flag.find(|char: char| !(char.is_ascii_alphanumeric() || char == '-')).unwrap_or(flag.len());
    &flag[..end]
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_'
}

fn collect(command: &Command, flags: &mut BTreeSet<String>) {
    for argument in command.get_arguments() {
        let names = argument.get_long().into_iter().chain(argument.get_all_aliases().unwrap_or_default());
        flags.extend(names.map(|name| format!("--{name}")));
    }
    for command in command.get_subcommands() {
        collect(command, flags);
    }
}

/// Flags of others that pages name, as people come from them or meet them.
const OF_OTHERS: &[&str] = &[
    "--decryption-order",
    "--default-enforce-ownership",
    "--help",
    "--merge-into",
    "--no-cross-namespace-refs",
    "--re-encrypt",
    "--recovery-unseal",
    "--set-file",
    "--version",
];
