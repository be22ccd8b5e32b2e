//! Makes Git call the checks: hooks of Git itself, where there are none yet.
//!
//! Invariants: a hook that is somebody else's is never changed; all hooks are written or none is; a hook whose program
//! is gone stops what it guards.

mod foreign;

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::git::Repository;
use crate::path::clean;

/// What to install.
#[derive(Clone, Debug)]
pub struct Install {
    /// What people call the program, such as `seal-hook` or `kubectl seal`.
    pub program: String,
    /// The program that hooks start.
    pub executable: PathBuf,
    /// Which hooks, such as `pre-commit`; none for those that most want.
    pub hooks: Vec<String>,
    /// Whether to say what would be done, and do nothing.
    pub dry_run: bool,
}

/// Why hooks cannot be installed. Each says what to do instead.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct InstallError(pub String);

/// Installs hooks, and tells what was done. Nobody's own hook is changed: where one does not call the checks yet, the
/// lines are told that it needs. One that does is as good as ours.
///
/// # Errors
/// If a hook is unknown, is somebody else's, or cannot be written.
pub fn install(repository: &Repository, install: &Install, told: &mut dyn Write) -> Result<(), InstallError> {
    let folder = Folder::of(repository)?;
    let hooks = wanted(repository, &install.hooks)?;
    let is_shared = folder.is_shared(repository);
    let (mut scripts, mut advice, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for hook in hooks {
        let path = folder.path.join(hook.name);
        let script = hook.script(&install.executable);
        match read(&path)? {
            Some(text) if text == script => say(told, format_args!("{} is there already", path.display()))?,
            Some(text) if !is_ours(&text) && foreign::calls_checks(hook, &path, &text, repository.top()) => {
                if is_executable(&path) {
                    say(told, format_args!("{} calls the checks already", path.display()))?;
                } else {
                    advice.push(format!("Git does not call {0}: chmod +x {0}", path.display()));
                }
            }
            Some(text) if !is_ours(&text) => {
                advice.push(foreign::advice(hook, &path, &text, &install.program));
            }
            _ if is_shared => {
                advice.push(format!("{}:\n{}", path.display(), foreign::snippet(hook, &install.program)));
            }
            _ => {
                scripts.push((path, script));
                others.push(hook.name);
            }
        }
    }
    if !advice.is_empty() {
        return Err(refusal(&folder, is_shared, &advice, &others, &install.program));
    }
    for (path, script) in scripts {
        if install.dry_run {
            say(told, format_args!("would write {}", path.display()))?;
            continue;
        }
        let written = write(&path, &script);
        written.map_err(|error| InstallError(format!("{} cannot be written: {error}", path.display())))?;
        say(told, format_args!("wrote {}", path.display()))?;
    }
    Ok(())
}

/// Takes the hooks out that [`install`] wrote, and tells what was done.
///
/// # Errors
/// If one cannot be removed.
pub fn uninstall(repository: &Repository, told: &mut dyn Write) -> Result<(), InstallError> {
    let folder = Folder::of(repository)?;
    let mut found = false;
    for hook in HOOKS {
        let path = folder.path.join(hook.name);
        if read(&path)?.is_some_and(|text| is_ours(&text)) {
            let removed = fs::remove_file(&path);
            removed
                .map_err(|error| InstallError(format!("{} cannot be removed: {error}", path.display())))?;
            say(told, format_args!("removed {}", path.display()))?;
            found = true;
        }
    }
    if !found {
        say(told, format_args!("there is none of our hooks in {}", folder.path.display()))?;
    }
    Ok(())
}

/// Tells which hooks are there, and returns whether Git calls the one that guards commits, or what is received.
///
/// # Errors
/// If Git cannot tell where its hooks are, or one cannot be read.
pub fn status(repository: &Repository, told: &mut dyn Write) -> Result<bool, InstallError> {
    let folder = Folder::of(repository)?;
    say(told, format_args!("Git looks for hooks in {}", folder.path.display()))?;
    let mut is_guarded = false;
    for hook in HOOKS {
        let path = folder.path.join(hook.name);
        let Some(text) = read(&path)? else { continue };
        let is_executable = is_executable(&path);
        let calls_us = is_ours(&text) || foreign::calls_checks(hook, &path, &text, repository.top());
        let state = match (calls_us, is_executable) {
            (true, true) => "calls the checks",
            (true, false) => "is not executable, so that Git does not call it",
            (false, _) => "is somebody else's",
        };
        say(told, format_args!("{}: {state}", hook.name))?;
        let guards = if repository.is_bare() { "pre-receive" } else { "pre-commit" };
        is_guarded |= hook.name == guards && calls_us && is_executable;
    }
    if !is_guarded {
        say(told, format_args!("nothing of ours stops a commit here"))?;
    }
    Ok(is_guarded)
}

/// A hook of Git, and what it is for.
struct Hook {
    name: &'static str,
    /// What is checked, as the shell writes it.
    arguments: &'static str,
    /// Whether Git says on the standard input what it is about.
    reads_input: bool,
    /// Which repositories get it unless they ask for others.
    is_usual: fn(&Repository) -> bool,
}

impl Hook {
    /// Returns the hook's text. Its program is the one that wrote it, or one of its name on the search path.
    fn script(&self, executable: &Path) -> String {
        let quoted = format!("'{}'", executable.display().to_string().replace('\'', "'\\''"));
        let name = executable.file_name().unwrap_or_default().to_string_lossy().replace('\'', "'\\''");
        let (mark, hook, arguments) = (MARK, self.name, self.arguments);
        format!(
            "#!/bin/sh\n\
             {mark}\n\
             # No plaintext secret gets in. What it finds is explained by `check --explain RULE`.\n\
             program={quoted}\n\
             if [ ! -x \"$program\" ]; then program=$(command -v '{name}') || program=''; fi\n\
             if [ -z \"$program\" ]; then\n\
             \x20 echo '{hook}: {name} is not there any more, so that nothing can be verified: install it again' >&2\n\
             \x20 exit 3\n\
             fi\n\
             exec \"$program\" check {arguments}\n"
        )
    }
}

/// Where Git looks for hooks.
struct Folder {
    path: PathBuf,
}

impl Folder {
    fn of(repository: &Repository) -> Result<Self, InstallError> {
        let answer = repository.run(&["rev-parse", "--git-path", "hooks"], b"");
        let answer = answer.map_err(|error| InstallError(error.to_string()))?;
        let answer = String::from_utf8(answer)
            .map_err(|_| InstallError("the folder of hooks is no UTF-8".to_owned()))?;
        let path = clean(&repository.top().join(answer.trim_end_matches('\n')));
        Ok(Self { path })
    }

    /// Returns whether the folder may be that of others, too, who would be checked by surprise.
    fn is_shared(&self, repository: &Repository) -> bool {
        let own = [repository.git_dir(), repository.common_dir(), repository.top()];
        !own.iter().any(|folder| self.path.starts_with(folder))
    }
}

/// Returns the hooks that are asked for.
fn wanted(repository: &Repository, names: &[String]) -> Result<Vec<&'static Hook>, InstallError> {
    if names.is_empty() {
        return Ok(HOOKS.iter().filter(|hook| (hook.is_usual)(repository)).collect());
    }
    let hook = |name: &String| {
        let known = || HOOKS.iter().map(|hook| hook.name).collect::<Vec<_>>().join(", ");
        let found = HOOKS.iter().find(|hook| hook.name == name);
        found.ok_or_else(|| {
            InstallError(format!("there is no hook {name:?}; those that can check are {}", known()))
        })
    };
    names.iter().map(hook).collect()
}

/// Says what to do where hooks are somebody else's, and how to install the others without them.
fn refusal(
    folder: &Folder,
    is_shared: bool,
    advice: &[String],
    others: &[&str],
    program: &str,
) -> InstallError {
    let mut lines = Vec::new();
    if is_shared {
        let shown = folder.path.display();
        lines.push(format!(
            "core.hooksPath leads to {shown}, which other repositories may use, too; add to the hooks there:"
        ));
    }
    lines.extend(advice.iter().cloned());
    if !others.is_empty() {
        let program = if program == "kubectl seal" { "kubectl seal hook" } else { program };
        lines.push(format!(
            "nothing is written; the others alone are installed by: {program} install {}",
            others.join(" ")
        ));
    }
    InstallError(lines.join("\n"))
}

/// Returns whether Git calls what is there.
fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o111 != 0)
}

fn is_ours(text: &str) -> bool {
    text.lines().any(|line| line == MARK)
}

/// Returns the text of a hook; what is no text is somebody's program.
fn read(path: &Path) -> Result<Option<String>, InstallError> {
    match fs::read(path) {
        Ok(text) => Ok(Some(String::from_utf8_lossy(&text).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound && path.symlink_metadata().is_err() => Ok(None),
        Err(error) => Err(InstallError(format!("{} cannot be read: {error}", path.display()))),
    }
}

/// Writes a hook so that Git never calls half of it.
fn write(path: &Path, script: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(script.as_bytes())?;
    file.as_file().set_permissions(fs::Permissions::from_mode(0o755))?;
    file.persist(path)?;
    Ok(())
}

fn say(told: &mut dyn Write, line: std::fmt::Arguments<'_>) -> Result<(), InstallError> {
    writeln!(told, "{line}").map_err(|error| InstallError(format!("the report cannot be written: {error}")))
}

/// What our hooks have in their second line.
const MARK: &str = "# seal-hook: written by `install`, replaced by it, and taken out by `uninstall`";

/// The hooks that can check, in the order in which Git calls them.
const HOOKS: &[Hook] = &[
    Hook { name: "pre-commit", arguments: "--staged", reads_input: false, is_usual: has_worktree },
    Hook { name: "pre-merge-commit", arguments: "--staged", reads_input: false, is_usual: has_worktree },
    Hook { name: "commit-msg", arguments: "--commit-msg \"$1\"", reads_input: false, is_usual: has_worktree },
    Hook {
        name: "pre-push",
        arguments: "--pre-push --remote \"$1\"",
        reads_input: true,
        is_usual: has_worktree,
    },
    Hook {
        name: "pre-receive",
        arguments: "--pre-receive",
        reads_input: true,
        is_usual: Repository::is_bare,
    },
];

const fn has_worktree(repository: &Repository) -> bool {
    !repository.is_bare()
}

#[cfg(test)]
mod tests;
