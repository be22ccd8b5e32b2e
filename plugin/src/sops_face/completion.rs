//! `sops completion`: scripts that let a shell complete command lines, and what the scripts ask.

use std::ffi::OsString;

use super::failure::Failure;
use super::grammar::Flag;
use super::{Action, COMMANDS, Command, Context, print, root};
use crate::session::Session;

pub(super) static COMMAND: Command = Command {
    name: "completion",
    about: "print a script that lets a shell complete command lines",
    arguments: "bash|zsh",
    flags: Vec::new,
    action: Action::Group(&[&BASH, &ZSH]),
};

static BASH: Command = Command {
    name: "bash",
    about: "for bash: source <(sops completion bash)",
    arguments: "",
    flags: Vec::new,
    action: Action::Run(|context| print_script(context, BASH_SCRIPT)),
};

static ZSH: Command = Command {
    name: "zsh",
    about: "for zsh: source <(sops completion zsh)",
    arguments: "",
    flags: Vec::new,
    action: Action::Run(|context| print_script(context, ZSH_SCRIPT)),
};

/// The last argument of a command line that is to be completed.
pub(super) const REQUEST: &str = "--generate-bash-completion";

/// Prints what may stand next on a command line.
pub(super) fn suggest(session: &Session, arguments: &[OsString]) -> Result<(), Failure> {
    let words: Vec<_> = arguments.iter().map(|word| word.to_string_lossy()).collect();
    let mut commands = COMMANDS;
    let mut flags = root::flags();
    for word in &words {
        if let Some(command) = commands.iter().find(|command| command.name == *word) {
            flags = (command.flags)();
            commands = match command.action {
                Action::Group(below) => below,
                Action::Run(_) => &[],
            };
        }
    }
    let last = words.last().map(AsRef::as_ref).unwrap_or_default();
    if last.starts_with('-') {
        return print(session, &matching(&flags, last, &words));
    }
    let is_described = session.environment.get("_CLI_ZSH_AUTOCOMPLETE_HACK") == Some("1");
    let line = |command: &&Command| match is_described {
        true => format!("{}:{}\n", command.name, command.about),
        false => format!("{}\n", command.name),
    };
    print(session, &commands.iter().map(line).collect::<String>())
}

/// Returns the flags that begin with `start` and do not stand on the line yet.
fn matching(flags: &[Flag], start: &str, words: &[impl AsRef<str>]) -> String {
    let dashed = |name: &str| format!("{}{name}", if name.len() == 1 { "-" } else { "--" });
    let is_new =
        |flag: &&Flag| !flag.names().any(|name| words.iter().any(|word| *word.as_ref() == dashed(name)));
    let names = flags.iter().filter(is_new).flat_map(Flag::names).map(dashed);
    let start = start.trim_start_matches('-');
    names
        .filter(|name| name.trim_start_matches('-').starts_with(start))
        .map(|name| format!("{name}\n"))
        .collect()
}

fn print_script(context: &Context<'_>, script: &str) -> Result<(), Failure> {
    print(context.session, script)
}

const BASH_SCRIPT: &str = r#"# bash completion for sops
_sops_complete() {
  local word="${COMP_WORDS[COMP_CWORD]}" line=("${COMP_WORDS[@]:0:COMP_CWORD}")
  [[ "$word" == -* ]] && line+=("$word")
  mapfile -t COMPREPLY < <(compgen -W "$("${line[@]}" --generate-bash-completion 2>/dev/null)" -- "$word")
}
complete -o bashdefault -o default -F _sops_complete sops
"#;

const ZSH_SCRIPT: &str = r#"#compdef sops
_sops_complete() {
  local -a line answers
  line=("${(@)words[1,CURRENT-1]}")
  [[ "${words[CURRENT]}" == -* ]] && line+=("${words[CURRENT]}")
  answers=("${(@f)$(_CLI_ZSH_AUTOCOMPLETE_HACK=1 "${line[@]}" --generate-bash-completion 2>/dev/null)}")
  if [[ -n "${answers[1]}" ]]; then
    _describe 'sops' answers
  else
    _files
  fi
}
compdef _sops_complete sops
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_on_the_line_are_not_suggested_again() {
        let flags = [Flag::text("input-type", ""), Flag::switch("in-place", "").alias("i")];
        assert_eq!(matching(&flags, "--in", &["--in"]), "--input-type\n--in-place\n");
        assert_eq!(matching(&flags, "--in", &["-i", "--in"]), "--input-type\n");
        assert_eq!(matching(&flags, "-", &["-"]), "--input-type\n--in-place\n-i\n");
    }
}
