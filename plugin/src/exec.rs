//! Runs a command of the user with decrypted values, as variables of its environment or as a file.
//!
//! The plaintext that is put into a file goes when the command ends, whatever signal comes.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use selkie::secret::SecretBytes;

use crate::editor::describe;
use crate::files::{self, Audience};
use crate::scratch::Scratch;
use crate::session::Environment;
use crate::signals::Watch;

/// What to run, and how.
pub struct Run<'a> {
    /// The command line, for the shell.
    pub command: &'a OsStr,
    /// The user to run it as, if not the one who runs this.
    pub user: Option<&'a str>,
    /// Whether the command gets only what is decrypted, and nothing of this process's environment.
    pub pristine: bool,
    /// Whether the command is left to itself once it runs.
    pub background: bool,
}

/// How a command gets a decrypted document as a file.
pub struct PlaintextFile<'a> {
    /// The document.
    pub content: &'a SecretBytes,
    /// What the file is called.
    pub name: Option<&'a OsStr>,
    /// Whether it is a pipe, which can be read once, in place of a regular file.
    pub pipe: bool,
}

/// A variable of the environment: its name and value.
pub type Variable = (OsString, OsString);

/// Why a command did not run, or not well.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecError {
    /// The command ended as programs do that failed. What it is called is not said by all.
    #[error("{}: {}", .program.display(), describe(*.status))]
    Ended {
        /// The first word of its line; the others may be secret.
        program: PathBuf,
        /// How it ended.
        status: ExitStatus,
    },
    /// The name for the file leads out of the folder that is made for it.
    #[error("The provided filename is not a local path.")]
    FileName,
    /// A signal came before the command was started.
    #[error("interrupted")]
    Interrupted(i32),
    /// The file for the plaintext cannot be made.
    #[error("cannot make the file for the decrypted content: {0}")]
    Plaintext(io::Error),
    /// The command cannot be started.
    #[error("cannot run the command: {0}")]
    Start(io::Error),
    /// What the command is to run as cannot be taken on.
    #[error("cannot become the user {user:?}: {why}")]
    User {
        /// The user's name.
        user: String,
        /// Why.
        why: String,
    },
}

impl Run<'_> {
    /// Runs the command with `variables`, and waits for it.
    ///
    /// # Errors
    /// If it cannot be run, or fails: then with its exit code.
    pub fn with_variables(&self, variables: Vec<Variable>) -> Result<(), ExecError> {
        let command = self.prepare(self.command, variables)?;
        self.wait_for(command, &Relay::new()?)
    }

    /// Becomes the command, with `variables`; comes back only if that fails.
    ///
    /// # Errors
    /// If it cannot be run.
    #[cfg(unix)]
    pub fn in_place_of_this_process(&self, variables: Vec<Variable>) -> Result<(), ExecError> {
        use std::os::unix::process::CommandExt;

        Err(ExecError::Start(self.prepare(self.command, variables)?.exec()))
    }

    /// Becomes the command, on systems that have such a thing.
    ///
    /// # Errors
    /// Always, on this one.
    #[cfg(not(unix))]
    pub fn in_place_of_this_process(&self, _: Vec<Variable>) -> Result<(), ExecError> {
        Err(ExecError::Start(io::ErrorKind::Unsupported.into()))
    }

    /// Runs the command with every `{}` in it replaced by the path of a file that holds the plaintext.
    ///
    /// # Errors
    /// If it cannot be run, or fails: then with its exit code.
    pub fn with_file(
        &self,
        file: &PlaintextFile<'_>,
        environment: &Environment,
        warn: &dyn Fn(&str),
    ) -> Result<(), ExecError> {
        let user = self.become_user()?;
        let scratch = Scratch::new(environment).map_err(ExecError::Plaintext)?;
        self.with_file_in(scratch, file, user, warn)
    }

    fn with_file_in(
        &self,
        scratch: Scratch,
        file: &PlaintextFile<'_>,
        user: Vec<Variable>,
        warn: &dyn Fn(&str),
    ) -> Result<(), ExecError> {
        let name = Path::new(file.name.unwrap_or(OsStr::new("tmp-file")));
        if !name.components().all(|part| matches!(part, Component::CurDir | Component::Normal(_))) {
            return Err(ExecError::FileName);
        }
        let relay = Relay::new()?;
        // What was declared last goes first: signals are watched until the folder is gone.
        let scratch = scratch;
        // What is in a pipe is in no file.
        let is_on_disk = !scratch.in_memory() && (cfg!(not(unix)) || !file.pipe);
        if is_on_disk {
            warn("No memory-backed folder was found: while the command runs, the plaintext is on the disk");
        }
        let path = scratch.path().join(name);
        file.put(&path).map_err(ExecError::Plaintext)?;
        let command = replace(self.command, OsStr::new("{}"), path.as_os_str());
        let ended = self.wait_for(self.command_for(&command, user), &relay);
        file.release(&path);
        ended
    }

    fn prepare(&self, command: &OsStr, variables: Vec<Variable>) -> Result<Command, ExecError> {
        let mut command = self.command_for(command, self.become_user()?);
        command.envs(variables);
        Ok(command)
    }

    fn command_for(&self, command: &OsStr, user: Vec<Variable>) -> Command {
        let mut shell = shell(command);
        if self.pristine {
            shell.env_clear();
        }
        if self.background {
            shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        }
        shell.envs(user);
        shell
    }

    fn become_user(&self) -> Result<Vec<Variable>, ExecError> {
        let Some(user) = self.user else { return Ok(Vec::new()) };
        become_user(user).map_err(|why| ExecError::User { user: user.to_owned(), why })
    }

    /// Runs the command until it ends. Meanwhile a keyboard's interrupt is the command's business, and
    /// what asks this process to end is passed on.
    ///
    /// That reaches the one process that was started: the shell, or the program that the shell became. A
    /// process group of their own would let it reach all that the shell starts, but it would take the
    /// terminal away from them, and hide them from whoever ends this process's group.
    fn wait_for(&self, mut command: Command, relay: &Relay) -> Result<(), ExecError> {
        let mut child = relay.start(&mut command)?;
        if self.background {
            return Ok(());
        }
        let status = relay.wait_for(&mut child).map_err(ExecError::Start)?;
        if status.success() {
            return Ok(());
        }
        Err(ExecError::Ended { program: program_of(self.command), status })
    }
}

/// Passes signals on to a command, as long as it lives.
struct Relay {
    state: Arc<Mutex<RelayState>>,
    _watch: Watch,
}

#[derive(Clone, Copy)]
enum RelayState {
    /// The command is not started yet.
    Waiting,
    /// It is not to be started any more, as this signal came.
    Ended(i32),
    /// It ran, and its number may be that of another process.
    Over,
    /// It runs as this process.
    Running(i32),
}

impl Relay {
    fn new() -> Result<Self, ExecError> {
        let state = Arc::new(Mutex::new(RelayState::Waiting));
        let watched = Arc::clone(&state);
        let react = move |signal| {
            let mut state = watched.lock().unwrap_or_else(PoisonError::into_inner);
            match *state {
                RelayState::Over => {}
                RelayState::Running(process) => pass_on(signal, process),
                RelayState::Waiting | RelayState::Ended(_) => *state = RelayState::Ended(signal),
            }
        };
        Ok(Self { state, _watch: Watch::new(react).map_err(ExecError::Start)? })
    }

    fn start(&self, command: &mut Command) -> Result<Child, ExecError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let RelayState::Ended(signal) = *state {
            return Err(ExecError::Interrupted(signal));
        }
        let child = command.spawn().map_err(ExecError::Start)?;
        *state = RelayState::Running(i32::try_from(child.id()).unwrap_or_default());
        Ok(child)
    }

    /// Waits for the end of the command. Its number is given back only once no signal goes there any more.
    fn wait_for(&self, child: &mut Child) -> io::Result<ExitStatus> {
        wait_for_end(child);
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = RelayState::Over;
        child.wait()
    }
}

impl PlaintextFile<'_> {
    fn put(&self, path: &Path) -> io::Result<()> {
        if self.pipe && pipe(path)? {
            let (path, content) = (path.to_owned(), SecretBytes::from(self.content.expose_secret()));
            // The thread waits until somebody reads, which may be never: it is not waited for.
            std::thread::spawn(move || feed(&path, &content));
            return Ok(());
        }
        files::write(path, self.content.expose_secret(), Audience::Owner)
    }

    /// Lets go of a writer that waits for a reader still.
    fn release(&self, path: &Path) {
        #[cfg(unix)]
        if self.pipe {
            use std::os::unix::fs::OpenOptionsExt;

            let flags = nix::fcntl::OFlag::O_NONBLOCK.bits();
            // If the pipe is gone already, nobody waits.
            drop(std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path));
        }
        #[cfg(not(unix))]
        let _ = path;
    }
}

fn feed(path: &PathBuf, content: &SecretBytes) {
    // A command that does not read to the end says itself what it makes of that.
    if let Ok(mut pipe) = std::fs::OpenOptions::new().write(true).open(path) {
        drop(pipe.write_all(content.expose_secret()));
    }
}

/// Makes a named pipe; returns whether the system has such a thing.
#[cfg(unix)]
fn pipe(path: &Path) -> io::Result<bool> {
    use nix::sys::stat::Mode;

    nix::unistd::mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR)?;
    Ok(true)
}

#[cfg(not(unix))]
fn pipe(_: &Path) -> io::Result<bool> {
    Ok(false)
}

/// Returns the exit code of a command, if it was not a signal that ended it.
#[must_use]
pub fn code_of(status: ExitStatus) -> Option<u8> {
    status.code().map(|code| u8::try_from(code).unwrap_or(u8::MAX))
}

/// Returns the signal that ended a command.
#[cfg(unix)]
#[must_use]
pub fn signal_of(status: ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

/// Returns the signal that ended a command: none, on this system.
#[cfg(not(unix))]
#[must_use]
pub fn signal_of(_: ExitStatus) -> Option<i32> {
    None
}

/// Returns what to call a command: its first word, unless that is only the first of several commands.
fn program_of(command: &OsStr) -> PathBuf {
    let line = command.to_string_lossy();
    let words = shlex::split(&line).unwrap_or_default();
    let is_one_program = line.starts_with("exec ") || !line.contains([';', '|', '&', '\n', '(', '`']);
    if !is_one_program {
        return "the shell command".into();
    }
    words.into_iter().find(|word| word != "exec").unwrap_or_else(|| "the command".to_owned()).into()
}

#[cfg(unix)]
fn shell(command: &OsStr) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(command);
    shell
}

#[cfg(not(unix))]
fn shell(command: &OsStr) -> Command {
    let mut shell = Command::new("cmd.exe");
    shell.arg("/C").arg(command);
    shell
}

#[cfg(unix)]
fn pass_on(signal: i32, process: i32) {
    use rustix::process::{Pid, Signal, kill_process};

    let signal = match signal {
        crate::signals::SIGHUP => Signal::HUP,
        crate::signals::SIGTERM => Signal::TERM,
        // The terminal sends these to the command as well.
        _ => return,
    };
    if let Some(process) = Pid::from_raw(process) {
        // The process may have ended just now.
        kill_process(process, signal).unwrap_or(());
    }
}

#[cfg(not(unix))]
fn pass_on(_: i32, _: i32) {}

/// Waits until a process has ended, and leaves its status to be asked for.
#[cfg(any(target_os = "android", target_os = "freebsd", target_os = "linux", target_vendor = "apple"))]
fn wait_for_end(child: &mut Child) {
    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    let process = WaitId::Pid(Pid::from_child(child));
    if rustix::io::retry_on_intr(|| waitid(process.clone(), options)).is_err() {
        // Whoever asks for the status gets the error.
        drop(child.wait());
    }
}

#[cfg(not(any(target_os = "android", target_os = "freebsd", target_os = "linux", target_vendor = "apple")))]
fn wait_for_end(child: &mut Child) {
    // Whoever asks for the status gets it again, or the error.
    drop(child.wait());
}

/// Makes this process one of another user, for good; returns the variables that tell of the user.
#[cfg(all(unix, not(target_vendor = "apple")))]
fn become_user(name: &str) -> Result<Vec<Variable>, String> {
    use std::ffi::CString;

    use nix::unistd::{User, getgrouplist, setgid, setgroups, setuid};

    let text = |error: nix::Error| error.desc().to_owned();
    let user = User::from_name(name).map_err(text)?.ok_or("there is no such user")?;
    let c_name = CString::new(name).map_err(|error| error.to_string())?;
    setgroups(&getgrouplist(&c_name, user.gid).map_err(text)?).map_err(text)?;
    setgid(user.gid).map_err(text)?;
    setuid(user.uid).map_err(text)?;
    let variable = |name: &str, value: OsString| (OsString::from(name), value);
    Ok(vec![
        variable("HOME", user.dir.into_os_string()),
        variable("USER", user.name.clone().into()),
        variable("LOGNAME", user.name.into()),
    ])
}

#[cfg(not(all(unix, not(target_vendor = "apple"))))]
fn become_user(_: &str) -> Result<Vec<Variable>, String> {
    Err("this system does not support it".to_owned())
}

/// Returns `text` with every `pattern` replaced.
#[cfg(unix)]
fn replace(text: &OsStr, pattern: &OsStr, replacement: &OsStr) -> OsString {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};

    let (text, pattern) = (text.as_bytes(), pattern.as_bytes());
    let (mut replaced, mut at) = (Vec::new(), 0);
    while at < text.len() {
        if text[at..].starts_with(pattern) {
            replaced.extend_from_slice(replacement.as_bytes());
            at += pattern.len();
        } else {
            replaced.push(text[at]);
            at += 1;
        }
    }
    OsString::from_vec(replaced)
}

#[cfg(not(unix))]
fn replace(text: &OsStr, pattern: &OsStr, replacement: &OsStr) -> OsString {
    let text = text.to_string_lossy();
    text.replace(&*pattern.to_string_lossy(), &replacement.to_string_lossy()).into()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn run(command: &str) -> Run<'_> {
        Run { command: OsStr::new(command), user: None, pristine: false, background: false }
    }

    fn file<'a>(content: &'a SecretBytes, pipe: bool) -> PlaintextFile<'a> {
        PlaintextFile { content, name: Some(OsStr::new("a b.yaml")), pipe }
    }

    #[test]
    fn command_sees_the_variables() {
        let variables = || vec![("SECRET".into(), "it's one".into())];
        run("[ \"$SECRET\" = \"it's one\" ] && [ -n \"$PATH\" ]")
            .with_variables(variables())
            .expect("it ran");
        let pristine = Run { pristine: true, ..run("[ \"$(/usr/bin/env | grep -c CARGO)\" = 0 ]") };
        pristine.with_variables(variables()).expect("it ran");
    }

    #[test]
    fn exit_code_of_the_command_is_passed_on() {
        let ended = run("exit 42").with_variables(Vec::new()).expect_err("it failed");
        assert_eq!(ended.to_string(), "exit: exit status 42");
        assert!(matches!(ended, ExecError::Ended { status, .. } if code_of(status) == Some(42)));
    }

    #[test]
    fn command_that_is_killed_has_a_signal_for_a_code() {
        let ended = run("kill -9 $$").with_variables(Vec::new()).expect_err("it failed");
        assert_eq!(ended.to_string(), "kill: signal: killed");
        let ExecError::Ended { status, .. } = ended else { panic!("it was started") };
        assert_eq!((code_of(status), signal_of(status)), (None, Some(9)));
    }

    #[test]
    fn command_is_not_started_once_a_signal_came() {
        let relay = Relay::new().expect("signals are watched");
        *relay.state.lock().expect("nothing panicked") = RelayState::Ended(15);
        let ended = run("true").wait_for(shell(OsStr::new("true")), &relay);
        assert!(matches!(ended, Err(ExecError::Interrupted(15))));
    }

    #[test]
    fn command_reads_the_file_under_its_name() {
        let content = SecretBytes::from("secret");
        for pipe in [true, false] {
            let kind = if pipe { "-p" } else { "-f" };
            let command = format!(
                "[ {kind} '{{}}' ] && [ $(cat '{{}}') = secret ] && case '{{}}' in */'a b.yaml') ;; *) false;; esac"
            );
            run(&command).with_file(&file(&content, pipe), &Environment::default(), &|_| ()).expect("it ran");
        }
    }

    #[test]
    fn nothing_is_passed_on_once_the_command_has_ended() {
        let relay = Relay::new().expect("signals are watched");
        let run = run("exit 3");
        let ended = run.wait_for(run.command_for(run.command, Vec::new()), &relay);
        assert!(matches!(ended, Err(ExecError::Ended { status, .. }) if status.code() == Some(3)));
        assert!(matches!(*relay.state.lock().expect("no panic"), RelayState::Over));
    }

    #[test]
    fn file_goes_when_the_command_ends() {
        let folder = tempfile::tempdir().expect("a folder");
        let note = folder.path().join("note");
        for pipe in [true, false] {
            let command = format!("printf %s '{{}}' > '{}'", note.display());
            run(&command)
                .with_file(&file(&SecretBytes::from("x"), pipe), &Environment::default(), &|_| ())
                .expect("it ran");
            assert!(!Path::new(&std::fs::read_to_string(&note).expect("noted")).exists());
        }
    }

    #[test]
    fn plaintext_on_the_disk_is_told_of() {
        let folder = tempfile::tempdir().expect("a folder");
        let content = SecretBytes::from("x");
        for (in_memory, pipe, expected) in
            [(false, false, 1), (false, true, 0), (true, false, 0), (true, true, 0)]
        {
            let warnings = std::cell::Cell::new(0);
            let scratch = Scratch::in_folder(folder.path(), in_memory).expect("a folder");
            run("true")
                .with_file_in(scratch, &file(&content, pipe), Vec::new(), &|_| {
                    warnings.set(warnings.get() + 1)
                })
                .expect("it ran");
            assert_eq!(warnings.get(), expected);
        }
    }

    #[test]
    fn name_must_not_lead_out_of_the_folder() {
        let content = SecretBytes::new();
        for name in ["/etc/x", "../x", "a/../../x"] {
            let file = PlaintextFile { content: &content, name: Some(OsStr::new(name)), pipe: false };
            let refused = run("true").with_file(&file, &Environment::default(), &|_| ());
            assert!(matches!(refused, Err(ExecError::FileName)), "{name}");
        }
    }

    #[test]
    fn user_who_does_not_exist_is_an_error() {
        let nobody = Run { user: Some("no such user"), ..run("true") };
        assert!(matches!(nobody.with_variables(Vec::new()), Err(ExecError::User { .. })));
    }
}
