//! The drivers, as Git's configuration has them.
//!
//! Git starts them by the shell, and puts quotes around the path of the file itself; a path that begins
//! with a hyphen is kept from being an option. No `merge.seal.recursive` is set: the
//! same driver merges the common ancestors of a criss-cross merge, as `binary` would take the oldest of them, by which a
//! change that one side took back comes in again.

use std::process::{Command, Stdio};

use crate::commands::git::settings;
use crate::context::Context;
use crate::failure::Failure;
use crate::git;
use crate::pasted;
use crate::report::escape;

/// Whose configuration it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// That of the user.
    Global,
    /// That of the repository.
    Local,
}

/// A setting that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub key: &'static str,
    /// What it is to be; nothing if it is to be taken out.
    pub value: Option<String>,
}

/// What there is of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing.
    Absent,
    /// Something of somebody else.
    Foreign(String),
    /// What another call of install wrote.
    Ours,
    /// What is wanted.
    Wanted,
}

impl Scope {
    const fn option(self) -> &'static str {
        match self {
            Self::Global => "--global",
            Self::Local => "--local",
        }
    }

    /// Returns where it is, for people.
    pub(super) const fn described(self) -> &'static str {
        match self {
            Self::Global => "of the user's configuration",
            Self::Local => "of this repository's configuration",
        }
    }
}

impl Setting {
    /// Returns the command that makes the setting.
    pub(super) fn command(&self, scope: Scope) -> String {
        let Some(value) = &self.value else {
            return format!("git config {} --unset-all {}", scope.option(), self.key);
        };
        format!("git config {} {} {}", scope.option(), self.key, pasted::word(value))
    }

    /// Makes the setting.
    ///
    /// # Errors
    /// If Git does not.
    pub(super) fn apply(&self, context: &Context<'_>, scope: Scope) -> Result<(), Failure> {
        let Some(value) = &self.value else { return unset(context, scope, self.key) };
        let arguments = ["config", scope.option(), "--replace-all", self.key, value];
        git::said(&context.session.directory, &arguments, &format!("{} of Git", self.key)).map(drop)
    }
}

/// Returns the settings of the drivers. With `lines`, `git diff` is left to Git.
pub(super) fn wanted(program: &str, lines: bool) -> Vec<Setting> {
    // Git has uses of its own for percent signs, in this one alone.
    let escaped = program.replace('%', "%%");
    let set = |key, value: String| Setting { key, value: Some(value) };
    vec![
        set(MERGE, format!("{escaped}{MERGE_ARGUMENTS}")),
        // Git merges nothing where a driver has a name and no command.
        set(NAME, NAME_VALUE.to_owned()),
        set(TEXTCONV, format!("{program}{TEXTCONV_ARGUMENTS}")),
        set(CACHE, CACHE_VALUE.to_owned()),
        set(HEADING, HEADING_VALUE.to_owned()),
        Setting { key: COMMAND, value: (!lines).then(|| format!("{program}{COMMAND_ARGUMENTS}")) },
    ]
}

/// Returns the settings that are to be made.
///
/// # Errors
/// If one is somebody else's, and it is not to be forced.
pub(super) fn changes(
    context: &Context<'_>,
    scope: Scope,
    wanted: &[Setting],
    force: bool,
) -> Result<Vec<Setting>, Failure> {
    let mut changes = Vec::new();
    for setting in wanted {
        match state(context, scope, setting.key, setting.value.as_deref())? {
            State::Wanted => {}
            State::Absent if setting.value.is_none() => {}
            State::Foreign(_) if setting.value.is_none() => {
                context.report.warn(format!("{} is somebody else's, and stays", setting.key));
            }
            State::Foreign(value) if !force => {
                return Err(Failure::Check(format!(
                    "{} of Git is {:?}, which is not ours: run this with --force to take its place, or \
                     `git config {} --unset-all {}`",
                    setting.key,
                    escape(&value),
                    scope.option(),
                    setting.key
                )));
            }
            State::Foreign(value) => {
                context.report.warn(format!(
                    "{} of Git is {:?}, whose place is taken; uninstall does not bring it back",
                    setting.key,
                    escape(&value)
                ));
                changes.push(setting.clone());
            }
            State::Absent | State::Ours => changes.push(setting.clone()),
        }
    }
    Ok(changes)
}

/// Returns what there is of a setting.
///
/// # Errors
/// If Git cannot tell.
pub(super) fn state(
    context: &Context<'_>,
    scope: Scope,
    key: &str,
    wanted: Option<&str>,
) -> Result<State, Failure> {
    let mut command = Command::new("git");
    command.arg("-C").arg(&context.session.directory);
    command.args(["config", scope.option(), "--null", "--get-all", key]).stdin(Stdio::null());
    let output = command.output().map_err(Failure::io("run", "git config"))?;
    match output.status.code() {
        Some(0) => {}
        Some(1) => return Ok(State::Absent),
        _ => {
            let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(Failure::Check(format!("the configuration of Git cannot be read: {}", escape(&why))));
        }
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let values: Vec<&str> = text.split_terminator('\0').collect();
    Ok(match values.as_slice() {
        [value] if Some(*value) == wanted => State::Wanted,
        values if values.iter().all(|value| is_ours(key, value)) => State::Ours,
        values => State::Foreign(values.join(", ")),
    })
}

/// Takes a setting out.
///
/// # Errors
/// If Git does not.
pub(super) fn unset(context: &Context<'_>, scope: Scope, key: &str) -> Result<(), Failure> {
    let arguments = ["config", scope.option(), "--unset-all", key];
    git::said(&context.session.directory, &arguments, &format!("{key} of Git")).map(drop)
}

/// Returns the value of a setting that is in force.
pub(super) fn effective(context: &Context<'_>, key: &str) -> Option<String> {
    settings::get(context.session, &["--get", key])
}

/// Returns the program of a merge driver of ours, as the shell reads it.
pub(super) fn program_of(driver: &str) -> Option<String> {
    let (program, _) = driver.split_once(" git merge-file ")?;
    Some(program.replace("%%", "%"))
}

/// Returns whether a value is one that install writes, for any program.
fn is_ours(key: &str, value: &str) -> bool {
    match key {
        MERGE => value.contains(" git merge-file --ancestor "),
        TEXTCONV => without_end(value).ends_with(without_end(TEXTCONV_ARGUMENTS)),
        COMMAND => without_end(value).ends_with(without_end(COMMAND_ARGUMENTS)),
        NAME => value == NAME_VALUE,
        CACHE => value == CACHE_VALUE,
        HEADING => value == HEADING_VALUE,
        _ => false,
    }
}

/// Returns a command without the sign that ends its options, which it did not always have.
fn without_end(command: &str) -> &str {
    command.strip_suffix(" --").unwrap_or(command)
}

/// The merge driver.
pub(super) const MERGE: &str = "merge.seal.driver";

/// The program that makes texts to compare.
pub(super) const TEXTCONV: &str = "diff.seal.textconv";

/// The program that `git diff` calls.
pub(super) const COMMAND: &str = "diff.seal.command";

/// All settings.
pub(super) const KEYS: [&str; 6] = [NAME, MERGE, TEXTCONV, CACHE, HEADING, COMMAND];

const NAME: &str = "merge.seal.name";

const CACHE: &str = "diff.seal.cachetextconv";

const HEADING: &str = "diff.seal.xfuncname";

const NAME_VALUE: &str = "encrypted files, by their values";

const MERGE_ARGUMENTS: &str =
    " git merge-file --ancestor %O --ours %A --theirs %B --marker-size %L --path=%P";

const TEXTCONV_ARGUMENTS: &str = " git textconv --";

const COMMAND_ARGUMENTS: &str = " git diff --";

/// The notes of Git would hold what is shown, in clear where somebody asked for that.
const CACHE_VALUE: &str = "false";

/// A key with something below it, or a section.
const HEADING_VALUE: &str = r"^[[:space:]]*[^#[:space:]][^:]*:[[:space:]]*[[{]?$|^\[.*\]$";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_is_ours() {
        for setting in wanted("'/a b/100%'", false) {
            let value = setting.value.as_deref().expect("a value");
            assert!(is_ours(setting.key, value), "{setting:?}");
            assert!(is_ours(setting.key, without_end(value)), "{setting:?}");
            assert!(!is_ours(setting.key, "sops -d"), "{setting:?}");
        }
        assert!(is_ours(MERGE, "x git merge-file --ancestor %O --ours %A --theirs %B --path %P"));
        let driver = wanted("'/a b/100%'", true).remove(0).value.expect("a driver");
        assert_eq!(program_of(&driver).as_deref(), Some("'/a b/100%'"));
    }
}
