//! Hooks that are somebody else's: whether they call the checks, and what they need to do so.
//!
//! Invariants: what is told keeps the standard input of a hook that Git says something to, for whatever else reads it; a
//! comment calls nothing.

use std::fs;
use std::path::Path;

use super::Hook;

/// A program that writes hooks which do what its own configuration says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manager {
    Husky,
    Lefthook,
    PreCommit,
}

impl Manager {
    fn of(path: &Path, text: &str) -> Option<Self> {
        if text.contains("pre-commit.com") || text.contains("prek") {
            Some(Self::PreCommit)
        } else if text.contains("lefthook") {
            Some(Self::Lefthook)
        } else if path.components().any(|part| part.as_os_str() == ".husky") {
            Some(Self::Husky)
        } else {
            None
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Husky => "husky",
            Self::Lefthook => "lefthook",
            Self::PreCommit => "pre-commit or prek",
        }
    }

    /// Returns the files that say what it does for a hook, from the top of the worktree on.
    fn files(self, hook: &Hook) -> Vec<String> {
        let names: &[&str] = match self {
            Self::Husky => return vec![format!(".husky/{}", hook.name)],
            Self::Lefthook => &["lefthook.yml", ".lefthook.yml", "lefthook.yaml", ".lefthook.yaml"],
            Self::PreCommit => &[".pre-commit-config.yaml", ".pre-commit-config.yml", "prek.toml"],
        };
        names.iter().map(|name| (*name).to_owned()).collect()
    }
}

/// Returns whether a hook that Git calls, or what it does by its configuration, calls the checks.
pub(super) fn calls_checks(hook: &Hook, path: &Path, text: &str, top: &Path) -> bool {
    let manager = Manager::of(path, text);
    let does = |file: &String| {
        // What cannot be read is not known to call anything.
        let text = fs::read_to_string(top.join(file)).unwrap_or_default();
        is_call(hook, &text) || manager == Some(Manager::PreCommit) && has_our_id(hook, &text)
    };
    is_call(hook, text) || manager.is_some_and(|manager| manager.files(hook).iter().any(does))
}

/// Says what somebody else's hook needs.
pub(super) fn advice(hook: &Hook, path: &Path, text: &str, program: &str) -> String {
    let shown = path.display();
    let Some(manager) = Manager::of(path, text) else {
        let place = "add this at its beginning, below `#!`";
        return format!("{shown} is somebody else's; {place}:\n{}", snippet(hook, program));
    };
    let (file, lines) = match manager {
        Manager::Husky => (manager.files(hook).swap_remove(0), snippet(hook, program)),
        Manager::Lefthook => {
            let arguments = hook.arguments.replace("\"$1\"", "{1}");
            let input = if hook.reads_input { "\n    use_stdin: true" } else { "" };
            let run = format!("    run: {program} check {arguments}{input}");
            ("lefthook.yml".to_owned(), format!("{}:\n  jobs:\n  - name: seal\n{run}", hook.name))
        }
        Manager::PreCommit => {
            let (repository, version) = (env!("CARGO_PKG_REPOSITORY"), env!("CARGO_PKG_VERSION"));
            let id = our_id(hook);
            let lines = format!("- repo: {repository}\n  rev: v{version}\n  hooks:\n  - id: {id}");
            (".pre-commit-config.yaml".to_owned(), lines)
        }
    };
    format!("{shown} is that of {}; add to {file} instead:\n{lines}", manager.name())
}

/// Returns the lines that a script of the shell needs at its beginning.
pub(super) fn snippet(hook: &Hook, program: &str) -> String {
    let check = format!("{program} check {} || exit $?", hook.arguments);
    if hook.reads_input {
        // Read once and given to both: what is behind it reads what Git said, as Git LFS does.
        format!("refs=$(cat)\nprintf '%s\\n' \"$refs\" | {check}\nexec <<END\n$refs\nEND")
    } else {
        check
    }
}

/// Returns whether a script or a configuration has a line, not a comment, which starts a check that fits the hook.
fn is_call(hook: &Hook, text: &str) -> bool {
    let mode = hook.arguments.split(' ').next().unwrap_or_default();
    // Without a mode a check is that of what is staged.
    let fits = |rest: &str| mode == "--staged" && !has_other_mode(rest) || has_word(rest, &[mode, "--hook"]);
    let text = text.replace("\\\n", " ");
    text.lines().filter(|line| !line.trim_start().starts_with('#')).any(|line| {
        let calls = |name: &&str| line.find(name).map(|start| &line[start + name.len()..]);
        PROGRAMS.iter().filter_map(calls).any(|rest| has_word(rest, &["check"]) && fits(rest))
    })
}

fn has_other_mode(rest: &str) -> bool {
    has_word(rest, &["--range", "--pre-push", "--pre-receive", "--commit-msg", "--explain"])
}

fn has_word(text: &str, wanted: &[&str]) -> bool {
    text.split(|letter: char| letter.is_whitespace() || matches!(letter, '"' | '\'' | ';' | '&' | '|' | '='))
        .any(|word| wanted.contains(&word))
}

/// Returns whether a configuration of pre-commit or prek names our hook.
fn has_our_id(hook: &Hook, text: &str) -> bool {
    let wanted = our_id(hook);
    text.lines().filter(|line| !line.trim_start().starts_with('#')).any(|line| {
        let Some(place) = line.find("id") else { return false };
        let value = line[place + "id".len()..].trim_start().strip_prefix([':', '=']);
        let value = value.and_then(|value| value.split([',', '}', '#']).next());
        let value = value.map(|value| value.trim().trim_matches(['"', '\'']));
        // The others differ only in how the program is got.
        let is_ours = |value: &str| match wanted {
            "seal-check" => value.starts_with("seal-check") && value != "seal-check-commit-msg",
            wanted => value == wanted,
        };
        value.is_some_and(is_ours)
    })
}

fn our_id(hook: &Hook) -> &'static str {
    if hook.name == "commit-msg" { "seal-check-commit-msg" } else { "seal-check" }
}

/// What people call the program in scripts.
const PROGRAMS: &[&str] = &["seal-hook", "kubectl-seal", "kubectl seal"];
