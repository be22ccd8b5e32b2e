//! The loop in which a user edits a text: in their own editor, with the text off the disk where the
//! system allows it.
//!
//! Invariants: a text that the user changed and that was not taken is never thrown away, whatever ends the
//! loop: an editor that fails, a user who gives up, a signal. Any other text does not outlive the loop.

use std::ffi::{OsStr, OsString};
use std::fmt::{Display, Formatter};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use selkie::secret::SecretBytes;

use crate::files::{self, Audience};
use crate::scratch::Scratch;
use crate::session::Environment;
use crate::signals::{self, SIGNALS, Watch};

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

    /// Returns what to do about a text that was changed, was not taken, and is kept in this file.
    fn how_to_go_on(&self, kept: &Path) -> String;

    /// Returns the exit code of a process that this signal ends.
    fn exit_code(&self, signal: i32) -> u8;
}

/// A text of the user that was not taken.
#[derive(Debug)]
pub struct Kept {
    /// The file that holds it.
    pub file: PathBuf,
    /// What to do about it.
    pub how_to_go_on: String,
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
    /// The loop ended without the text of the user, which is kept.
    #[error("{cause}\n\n{kept}")]
    Kept {
        /// Why the loop ended.
        cause: Box<EditError>,
        /// The text.
        kept: Kept,
    },
    /// The text was not taken.
    #[error("{0}")]
    Refused(String),
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
        let custody = Custody::new(scratch, &path, text, dialogue)?;
        files::write(&path, text.expose_secret(), Audience::Owner)
            .map_err(in_action("write the text for the editor"))?;
        let edited = self.edit_until_taken(&path, text, dialogue, take, &custody);
        match edited {
            Ok(_) | Err(EditError::Unchanged) => edited,
            Err(cause) => Err(match custody.keep_if_changed() {
                None => cause,
                Some(kept) => EditError::Kept { cause: Box::new(cause), kept },
            }),
        }
    }

    fn edit_until_taken<T>(
        &self,
        path: &Path,
        text: &SecretBytes,
        dialogue: &mut dyn Dialogue,
        take: &mut dyn FnMut(SecretBytes) -> Result<T, String>,
        custody: &Custody,
    ) -> Result<T, EditError> {
        loop {
            self.run(path)?;
            let edited = files::read(path).map_err(in_action("read edited file"))?;
            if edited.expose_secret() == text.expose_secret() {
                return Err(EditError::Unchanged);
            }
            let why = match take(edited) {
                Ok(taken) => return Ok(taken),
                Err(why) => why,
            };
            custody.set_asking(true);
            if !dialogue.refused(&why) {
                return Err(EditError::Refused(why));
            }
            custody.set_asking(false);
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

impl Display for Kept {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "The edited text is kept in {}: {}", self.file.display(), self.how_to_go_on)
    }
}

/// Sees to it that the folder goes when the loop ends or a signal comes, unless it holds work of the
/// user that would be lost.
struct Custody {
    state: Arc<Mutex<State>>,
    _watch: Watch,
}

struct State {
    scratch: Option<Scratch>,
    file: PathBuf,
    /// What the user was given to edit.
    given: SecretBytes,
    how_to_go_on: String,
    exit_codes: Vec<(i32, u8)>,
    /// Whether the user is asked something, and no editor runs.
    is_asking: bool,
}

impl Custody {
    fn new(
        scratch: Scratch,
        file: &Path,
        given: &SecretBytes,
        dialogue: &dyn Dialogue,
    ) -> Result<Self, EditError> {
        let state = Arc::new(Mutex::new(State {
            scratch: Some(scratch),
            file: file.to_owned(),
            given: SecretBytes::from(given.expose_secret()),
            how_to_go_on: dialogue.how_to_go_on(file),
            exit_codes: SIGNALS.iter().map(|&signal| (signal, dialogue.exit_code(signal))).collect(),
            is_asking: false,
        }));
        let watched = Arc::clone(&state);
        let watch = Watch::new(move |signal| interrupted(signal, &watched))
            .map_err(in_action("watch for signals"))?;
        Ok(Self { state, _watch: watch })
    }

    fn set_asking(&self, is_asking: bool) {
        lock(&self.state).is_asking = is_asking;
    }

    fn keep_if_changed(&self) -> Option<Kept> {
        lock(&self.state).keep_if_changed()
    }
}

impl Drop for Custody {
    fn drop(&mut self) {
        // The thread that watches for signals may hold the state longer than this.
        drop(lock(&self.state).scratch.take());
    }
}

impl State {
    /// Leaves the folder behind if the file is not as the user was given it.
    fn keep_if_changed(&mut self) -> Option<Kept> {
        if !self.holds_work() {
            return None;
        }
        // The folder's path is that of the file's.
        drop(self.scratch.take()?.keep());
        Some(Kept { file: self.file.clone(), how_to_go_on: self.how_to_go_on.clone() })
    }

    fn holds_work(&self) -> bool {
        match files::read(&self.file) {
            Ok(now) => now.expose_secret() != self.given.expose_secret(),
            // An editor may have moved it out of the way to write another, and got no further.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let folder = self.scratch.as_ref().and_then(|scratch| std::fs::read_dir(scratch.path()).ok());
                folder.is_some_and(|mut entries| entries.next().is_some())
            }
            Err(_) => true,
        }
    }
}

fn interrupted(signal: i32, state: &Mutex<State>) {
    let mut state = lock(state);
    // A terminal sends these to the editor too, for which they are keys like others.
    #[cfg(unix)]
    if !state.is_asking && [signals::SIGINT, signals::SIGQUIT].contains(&signal) {
        return;
    }
    let mut message = String::from("User canceled operation");
    if let Some(kept) = state.keep_if_changed() {
        message += &format!("\n\n{kept}");
    }
    drop(state.scratch.take());
    // Nobody is left who could be told that this cannot be written.
    drop(io::Write::write_all(&mut io::stderr(), format!("{message}\n").as_bytes()));
    let exit_code = state.exit_codes.iter().find(|(other, _)| *other == signal);
    signals::exit(exit_code.map_or(crate::exit::Exit::Failure.code(), |(_, code)| *code));
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

        fn how_to_go_on(&self, _: &Path) -> String {
            "go on".to_owned()
        }

        fn exit_code(&self, _: i32) -> u8 {
            1
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

    /// Returns why a loop ended, and the text that it kept.
    fn kept(edited: Result<Vec<u8>, EditError>) -> (EditError, Vec<u8>) {
        let Err(EditError::Kept { cause, kept }) = edited else { panic!("nothing was kept") };
        assert!(kept.to_string().ends_with(": go on"));
        let text = std::fs::read(&kept.file).expect("kept");
        std::fs::remove_dir_all(kept.file.parent().expect("a folder")).expect("removed");
        (*cause, text)
    }

    #[test]
    fn refused_text_is_kept_when_the_user_gives_up() {
        let (edited, _) = edit(&shell("echo '[' > $1"), 0, &mut |_| Err("broken".to_owned()));
        let (cause, text) = kept(edited);
        assert!(matches!(cause, EditError::Refused(why) if why == "broken"));
        assert_eq!(text, b"[\n");
    }

    #[test]
    fn text_is_kept_that_was_saved_before_the_editor_failed() {
        for end in ["exit 3", "kill -9 $$"] {
            let (edited, _) = edit(&shell(&format!("echo b > $1; {end}")), 0, &mut |_| panic!("not taken"));
            let (cause, text) = kept(edited);
            assert!(matches!(cause, EditError::Failed(_)));
            assert_eq!(text, b"b\n");
        }
    }

    #[test]
    fn text_of_an_earlier_round_is_kept_when_the_editor_fails_in_a_later_one() {
        let script = "if grep -q b $1; then exit 3; else echo b > $1; fi";
        let (edited, refusals) = edit(&shell(script), 5, &mut |_| Err("broken".to_owned()));
        let (cause, text) = kept(edited);
        assert!(matches!(cause, EditError::Failed(_)));
        assert_eq!((text, refusals.len()), (b"b\n".to_vec(), 1));
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
