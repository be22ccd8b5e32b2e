//! The loop in which a user edits a text: in their own editor, with the text off the disk where the
//! system allows it.
//!
//! Invariants: a text that the user changed and that could not be taken is never thrown away; any other
//! text does not outlive the loop, whatever signal ends the process.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use selkie::secret::SecretBytes;

use crate::files::{self, Audience};
use crate::scratch::Scratch;
use crate::session::Environment;
use crate::signals::Watch;

/// A program that edits a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Editor {
    program: OsString,
    arguments: Vec<String>,
}

/// What the loop says to the user, and asks.
pub trait Dialogue {
    /// Tells something that does not stop the loop.
    fn warn(&mut self, message: &str);

    /// Says why the text cannot be taken, and returns whether the user wants to go on editing.
    fn refused(&mut self, why: &str) -> bool;
}

/// Why a loop ended without a new text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// The editor ended as programs do that failed.
    #[error("Could not run editor: {}", describe(*.0))]
    Failed(ExitStatus),
    /// The text cannot be written for the editor, or not be read again.
    #[error("Could not {action}: {error}")]
    File {
        /// What could not be done.
        action: &'static str,
        /// Why.
        error: io::Error,
    },
    /// The variable that names the editor is not a command.
    #[error("invalid ${0}: it is not a command line")]
    Malformed(&'static str),
    /// No editor is named, and none is installed.
    #[error(
        "Could not run editor: no editor available: SOPS_EDITOR and EDITOR are not set, and none of {} could be found",
        FALLBACKS.join(", ")
    )]
    Missing,
    /// The text was not taken, and is kept.
    #[error("{why}\n\nThe edited text is kept in {}: remove it when it is no longer needed", .kept.display())]
    Refused {
        /// Why.
        why: String,
        /// The file that holds the text.
        kept: PathBuf,
    },
    /// The editor could not be started.
    #[error("Could not run editor: {0}")]
    Start(io::Error),
    /// The text is as it was before.
    #[error("File has not changed, exiting.")]
    Unchanged,
}

impl Editor {
    /// Finds the user's editor: what `SOPS_EDITOR` or `EDITOR` names, else the first that is installed.
    ///
    /// # Errors
    /// If there is none, or a variable is not a command.
    pub fn find(environment: &Environment) -> Result<Self, EditError> {
        for name in VARIABLES {
            let Some(value) = environment.get(name) else { continue };
            let words = shlex::split(value).unwrap_or_default();
            let (program, arguments) = words.split_first().ok_or(EditError::Malformed(name))?;
            return Ok(Self { program: program.into(), arguments: arguments.to_vec() });
        }
        let folders: Vec<_> =
            environment.get("PATH").map(|path| std::env::split_paths(path).collect()).unwrap_or_default();
        let installed = |name: &&&str| folders.iter().any(|folder| folder.join(name).is_file());
        let name = FALLBACKS.iter().find(installed).ok_or(EditError::Missing)?;
        Ok(Self { program: name.into(), arguments: Vec::new() })
    }

    /// Lets the user edit `text` under the name `file_name` until `take` accepts what they saved.
    ///
    /// `take` does all that is to be done with a new text, the last write included: while it fails, the
    /// user can go back to their text.
    ///
    /// # Errors
    /// If the user leaves the text as it was, or the text cannot be edited.
    pub fn edit<T>(
        &self,
        file_name: &OsStr,
        text: &SecretBytes,
        environment: &Environment,
        dialogue: &mut dyn Dialogue,
        take: &mut dyn FnMut(SecretBytes) -> Result<T, String>,
    ) -> Result<T, EditError> {
        let scratch = Scratch::new(environment).map_err(in_action("create a temporary folder"))?;
        if !scratch.in_memory() {
            dialogue
                .warn("No memory-backed folder was found: while it is edited, the plaintext is on the disk");
        }
        let path = scratch.path().join(file_name);
        files::write(&path, text.expose_secret(), Audience::Owner)
            .map_err(in_action("write the text for the editor"))?;
        let custody = Custody::new(scratch)?;
        loop {
            self.run(&path)?;
            let edited = files::read(&path).map_err(in_action("read edited file"))?;
            if edited.expose_secret() == text.expose_secret() {
                return Err(EditError::Unchanged);
            }
            custody.set_precious(true);
            match take(edited) {
                Ok(taken) => return Ok(taken),
                Err(why) if !dialogue.refused(&why) => {
                    custody.keep();
                    return Err(EditError::Refused { why, kept: path });
                }
                Err(_) => custody.set_precious(false),
            }
        }
    }

    fn run(&self, path: &Path) -> Result<(), EditError> {
        let status =
            Command::new(&self.program).args(&self.arguments).arg(path).status().map_err(EditError::Start)?;
        if status.success() { Ok(()) } else { Err(EditError::Failed(status)) }
    }
}

/// Says how a program ended, as sops does.
#[must_use]
pub fn describe(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exit status {code}"),
        None => signal_of(status),
    }
}

#[cfg(unix)]
fn signal_of(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;

    use signal_hook::consts;

    let name = match status.signal() {
        Some(consts::SIGABRT) => "aborted",
        Some(consts::SIGHUP) => "hangup",
        Some(consts::SIGINT) => "interrupt",
        Some(consts::SIGKILL) => "killed",
        Some(consts::SIGPIPE) => "broken pipe",
        Some(consts::SIGQUIT) => "quit",
        Some(consts::SIGSEGV) => "segmentation fault",
        Some(consts::SIGTERM) => "terminated",
        _ => return status.to_string(),
    };
    format!("signal: {name}")
}

#[cfg(not(unix))]
fn signal_of(status: ExitStatus) -> String {
    status.to_string()
}

/// Sees to it that the folder goes when the loop ends or a signal comes, unless it holds work of the
/// user that would be lost.
struct Custody {
    state: Arc<Mutex<State>>,
    _watch: Watch,
}

struct State {
    scratch: Option<Scratch>,
    /// Whether the file holds a text that the user saved and nothing else has.
    precious: bool,
}

impl Custody {
    fn new(scratch: Scratch) -> Result<Self, EditError> {
        let state = Arc::new(Mutex::new(State { scratch: Some(scratch), precious: false }));
        let watched = Arc::clone(&state);
        let watch = Watch::new(move |signal| interrupted(signal, &watched))
            .map_err(in_action("watch for signals"))?;
        Ok(Self { state, _watch: watch })
    }

    fn set_precious(&self, precious: bool) {
        lock(&self.state).precious = precious;
    }

    fn keep(&self) {
        if let Some(scratch) = lock(&self.state).scratch.take() {
            // The folder's path is known to the caller.
            drop(scratch.keep());
        }
    }
}

impl Drop for Custody {
    fn drop(&mut self) {
        // The thread that watches for signals may hold the state longer than this.
        drop(lock(&self.state).scratch.take());
    }
}

fn interrupted(signal: i32, state: &Mutex<State>) {
    let mut state = lock(state);
    // A terminal sends these to the editor too, for which they are keys like others.
    #[cfg(unix)]
    if !state.precious && [crate::signals::SIGINT, crate::signals::SIGQUIT].contains(&signal) {
        return;
    }
    let mut message = String::from("User canceled operation");
    if let (true, Some(scratch)) = (state.precious, state.scratch.take()) {
        let kept = scratch.keep();
        message += &format!("\n\nThe edited text is kept in {}", kept.display());
    }
    drop(state.scratch.take());
    // Nobody is left who could be told that this cannot be written.
    drop(io::Write::write_all(&mut io::stderr(), format!("{message}\n").as_bytes()));
    std::process::exit(crate::exit::Exit::Failure.code().into());
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // The state is whole at every moment, whatever panicked.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn in_action(action: &'static str) -> impl FnOnce(io::Error) -> EditError {
    move |error| EditError::File { action, error }
}

const VARIABLES: [&str; 2] = ["SOPS_EDITOR", "EDITOR"];

const FALLBACKS: [&str; 3] = ["vim", "nano", "vi"];

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// Goes on `rounds` times.
    struct Patient {
        rounds: usize,
        refusals: Vec<String>,
    }

    impl Dialogue for Patient {
        fn warn(&mut self, _: &str) {}

        fn refused(&mut self, why: &str) -> bool {
            self.refusals.push(why.to_owned());
            self.refusals.len() <= self.rounds
        }
    }

    fn shell(script: &str) -> Editor {
        let arguments = ["-c", script, "editor"].map(String::from).to_vec();
        Editor { program: "/bin/sh".into(), arguments }
    }

    fn edit(
        editor: &Editor,
        rounds: usize,
        take: &mut dyn FnMut(SecretBytes) -> Result<Vec<u8>, String>,
    ) -> (Result<Vec<u8>, EditError>, Vec<String>) {
        let mut dialogue = Patient { rounds, refusals: Vec::new() };
        let text = SecretBytes::from("a: 1\n");
        let edited = editor.edit(OsStr::new("x.yaml"), &text, &Environment::default(), &mut dialogue, take);
        (edited, dialogue.refusals)
    }

    #[test]
    fn what_the_user_saved_is_taken() {
        let mut taken = |text: SecretBytes| Ok(text.expose_secret().to_vec());
        let (edited, _) = edit(&shell("echo b: 2 >> $1"), 0, &mut taken);
        assert_eq!(edited.expect("taken"), b"a: 1\nb: 2\n");
    }

    #[test]
    fn text_left_as_it_was_is_not_taken() {
        let (edited, _) = edit(&shell("true"), 0, &mut |_| panic!("nothing to take"));
        assert!(matches!(edited, Err(EditError::Unchanged)));
    }

    #[test]
    fn refused_text_is_opened_again_as_the_user_left_it() {
        let mut take = |text: SecretBytes| match text.len() {
            8.. => Ok(text.expose_secret().to_vec()),
            _ => Err("too short".to_owned()),
        };
        let (edited, refusals) = edit(&shell("printf x >> $1"), 5, &mut take);
        assert_eq!(edited.expect("taken"), b"a: 1\nxxx");
        assert_eq!(refusals, ["too short", "too short"]);
    }

    #[test]
    fn refused_text_is_kept_when_the_user_gives_up() {
        let (edited, _) = edit(&shell("echo '[' > $1"), 0, &mut |_| Err("broken".to_owned()));
        let Err(EditError::Refused { why, kept }) = edited else { panic!("the text was refused") };
        assert_eq!((why.as_str(), std::fs::read(&kept).expect("kept")), ("broken", b"[\n".to_vec()));
        std::fs::remove_dir_all(kept.parent().expect("a folder")).expect("removed");
    }

    #[test]
    fn editor_that_fails_leaves_nothing_behind() {
        let folder = tempfile::tempdir().expect("a folder");
        let note = folder.path().join("note");
        let script = format!("printf %s $1 > {}; exit 3", note.display());
        let (edited, _) = edit(&shell(&script), 0, &mut |_| panic!("nothing to take"));
        assert_eq!(edited.expect_err("it failed").to_string(), "Could not run editor: exit status 3");
        assert!(!Path::new(&std::fs::read_to_string(note).expect("noted")).exists());
    }

    #[test]
    fn editor_is_what_the_first_variable_names() {
        let variables = [("SOPS_EDITOR", "code --wait 'a b'"), ("EDITOR", "nano")];
        let editor = Editor::find(&variables.into_iter().collect()).expect("an editor");
        assert_eq!((editor.program, editor.arguments), ("code".into(), vec!["--wait".into(), "a b".into()]));
    }

    #[test]
    fn variable_that_is_no_command_is_an_error() {
        let unbalanced = [("EDITOR", "vim 'x")].into_iter().collect();
        assert!(matches!(Editor::find(&unbalanced), Err(EditError::Malformed("EDITOR"))));
    }

    #[test]
    fn without_variables_an_installed_editor_is_looked_for() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("nano"), "").expect("written");
        let path = [("PATH", folder.path().to_str().expect("Unicode"))].into_iter().collect();
        assert_eq!(Editor::find(&path).expect("an editor").program, "nano");
        assert!(matches!(Editor::find(&Environment::default()), Err(EditError::Missing)));
    }
}
