//! A program that builds manifests: what it may read of this process, and until when it may run.
//!
//! Invariants: what is handed over is memory without a name, which nobody can change and no other child inherits that
//! is started here; nobody waits for a child beyond its deadline, and it is ended then with its group; no more of what it says is kept than is allowed.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, OFlags, SealFlags, fcntl_add_seals, fcntl_getfl, fcntl_setfl, memfd_create};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, Signal, kill_process_group};
use selkie::secret::SecretBytes;
use zeroize::Zeroizing;

/// What a program that is started here can read, and nobody else.
pub struct Handed(OwnedFd);

/// What became of a program.
pub struct Ended {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to its standard output.
    pub stdout: SecretBytes,
    /// The beginning of what it wrote to its standard error.
    pub stderr: SecretBytes,
}

/// Why nothing is known of a program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChildError {
    /// The system refuses.
    #[error("{program}: cannot be run")]
    Io {
        /// The program.
        program: String,
        /// What the system says.
        source: io::Error,
    },
    /// It wrote more than is read.
    #[error(
        "{program}: wrote more than {limit} bytes, the most that is read; the limit `outputBytes` raises it"
    )]
    Output {
        /// The program.
        program: String,
        /// How much is read.
        limit: u64,
    },
    /// It did not end in time.
    #[error("{program}: did not end in time, and was ended")]
    Timeout {
        /// The program.
        program: String,
    },
}

impl Handed {
    /// Puts bytes where a program can read them.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn new(content: &[u8]) -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let mut file = File::from(memfd_create("selkie", flags)?);
        file.write_all(content)?;
        let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
        fcntl_add_seals(&file, seals)?;
        Ok(Self(file.into()))
    }

    /// Returns the path by which the program reads them.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/proc/self/fd/{}", self.0.as_raw_fd())
    }

    /// Lets every program that is started from now on read them, or none any more.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn inherit(&self, is_inherited: bool) -> io::Result<()> {
        let flags = if is_inherited { FdFlags::empty() } else { FdFlags::CLOEXEC };
        Ok(fcntl_setfd(self.0.as_fd(), flags)?)
    }
}

/// Runs a program in a process group of its own, without input. It is ended at the deadline, and when `is_wanted` says
/// that nobody waits for it any more.
///
/// # Errors
/// If it cannot be started, writes too much, or does not end in time.
pub fn run(
    command: &mut Command,
    handed: &[&Handed],
    deadline: Option<Instant>,
    limit: u64,
    is_wanted: &dyn Fn() -> bool,
) -> Result<Ended, ChildError> {
    run_seen(command, handed, deadline, limit, &|_| {}, is_wanted)
}

/// Runs a program as [`run`] does, and tells its process group once it is started.
///
/// # Errors
/// As [`run`].
pub fn run_seen(
    command: &mut Command,
    handed: &[&Handed],
    deadline: Option<Instant>,
    limit: u64,
    started: &dyn Fn(u32),
    is_wanted: &dyn Fn() -> bool,
) -> Result<Ended, ChildError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |source| ChildError::Io { program: program.clone(), source };
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut running = Running(spawn(command, handed).map_err(failed)?);
    started(running.0.id());
    let mut out = Stream::new(running.0.stdout.take(), limit).map_err(failed)?;
    let mut err = Stream::new(running.0.stderr.take(), STDERR).map_err(failed)?;
    let mut pause = SHORTEST_PAUSE;
    loop {
        let has_read = out.read().map_err(failed)? | err.read().map_err(failed)?;
        if out.is_beyond() {
            return Err(ChildError::Output { program, limit });
        }
        if out.is_at_end() && err.is_at_end() {
            // What it started may have outlived it, and had its streams: it is ended by now in most cases.
            if let Some(status) = running.0.try_wait().map_err(failed)? {
                return Ok(Ended { status, stdout: out.kept, stderr: err.kept });
            }
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) || !is_wanted() {
            return Err(ChildError::Timeout { program });
        }
        pause = if has_read { SHORTEST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
        thread::sleep(pause);
    }
}

/// A program that runs, and is ended with its group if nobody waits for it any more.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // One that was waited for leaves its number to others.
        if let Ok(Some(_)) = self.0.try_wait() {
            return;
        }
        if let Some(group) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            // It may have ended in this moment.
            kill_process_group(group, Signal::KILL).unwrap_or(());
        }
        // It may have left its group.
        self.0.kill().unwrap_or(());
        if self.0.wait().is_err() {
            // There is nothing to wait for.
        }
    }
}

/// What a program writes, which is read without waiting: something that it started may keep the pipe open for ever.
struct Stream<P> {
    pipe: Option<P>,
    kept: SecretBytes,
    /// How much is kept, but for one byte that tells that there was more.
    most: u64,
}

impl<P: Read + AsFd> Stream<P> {
    fn new(pipe: Option<P>, most: u64) -> io::Result<Self> {
        if let Some(pipe) = &pipe {
            fcntl_setfl(pipe, fcntl_getfl(pipe)? | OFlags::NONBLOCK)?;
        }
        Ok(Self { pipe, kept: SecretBytes::new(), most })
    }

    fn is_at_end(&self) -> bool {
        self.pipe.is_none()
    }

    fn is_beyond(&self) -> bool {
        self.kept.len() as u64 > self.most
    }

    /// Reads some of what is there, and returns whether there was something.
    fn read(&mut self) -> io::Result<bool> {
        let Some(pipe) = &mut self.pipe else { return Ok(false) };
        let mut buffer = Zeroizing::new([0; 16 << 10]);
        let mut has_read = false;
        for _ in 0..READS {
            match pipe.read(&mut *buffer) {
                Ok(0) => {
                    self.pipe = None;
                    return Ok(true);
                }
                Ok(count) => {
                    has_read = true;
                    let room = usize::try_from(self.most + 1).unwrap_or(usize::MAX);
                    let room = room.saturating_sub(self.kept.len());
                    self.kept.extend_from_slice(&buffer[..count.min(room)]);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(has_read)
    }
}

/// Starts a program that inherits what is handed over. One at a time: otherwise one would inherit what another is handed.
fn spawn(command: &mut Command, handed: &[&Handed]) -> io::Result<Child> {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let inherited = handed.iter().try_for_each(|handed| handed.inherit(true));
    let child = inherited.and_then(|()| command.spawn());
    handed.iter().try_for_each(|handed| handed.inherit(false))?;
    child
}

/// How long the first pause is after something was read.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);

/// How long a pause is at most.
const LONGEST_PAUSE: Duration = Duration::from_millis(10);

/// How often a stream is read before anything else is looked at.
const READS: usize = 64;

/// How much of the standard error is kept.
const STDERR: u64 = 16 << 10;

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_program_reads_what_it_is_handed() {
        let (handed, other) = (Handed::new(b"hunter2").expect("memory"), Handed::new(b"x").expect("memory"));
        let script = format!("cat {}; cat {} || exit 3", handed.path(), other.path());
        let ended = run(&mut shell(&script), &[&handed], None, 100, &|| true).expect("it runs");
        assert_eq!(ended.stdout.expose_secret(), b"hunter2");
        assert_eq!(ended.status.code(), Some(3), "what it is not handed it cannot read");
        assert!(!ended.stderr.is_empty());
        let script = format!("echo x >{}", handed.path());
        let ended = run(&mut shell(&script), &[&handed], None, 100, &|| true).expect("it runs");
        assert!(!ended.status.success(), "nobody changes it");
    }

    #[test]
    fn a_program_is_ended_with_its_children() {
        let deadline = Some(Instant::now() + Duration::from_millis(50));
        let error = run(&mut shell("sleep 600 & sleep 600"), &[], deadline, 100, &|| true).err();
        assert!(matches!(error, Some(ChildError::Timeout { .. })), "{error:?}");
        let error = run(&mut shell("yes"), &[], None, 100, &|| true).err();
        assert!(matches!(error, Some(ChildError::Output { limit: 100, .. })), "{error:?}");
        let ended = run(&mut shell("yes | head -c 1000000 >&2"), &[], None, 100, &|| true).expect("it runs");
        assert_eq!(ended.stderr.len() as u64, STDERR + 1);
    }

    #[test]
    fn nobody_waits_for_what_left_the_group() {
        // It keeps the pipes open longer than anybody waits.
        let script = "setsid sleep 5 & sleep 5";
        let (before, deadline) = (Instant::now(), Some(Instant::now() + Duration::from_millis(50)));
        let error = run(&mut shell(script), &[], deadline, 100, &|| true).err();
        assert!(matches!(error, Some(ChildError::Timeout { .. })), "{error:?}");
        assert!(before.elapsed() < Duration::from_secs(4));
    }

    #[test]
    fn what_nobody_waits_for_is_ended() {
        let asked = Cell::new(0);
        let is_wanted = || {
            asked.set(asked.get() + 1);
            asked.get() < 3
        };
        let error = run(&mut shell("sleep 600"), &[], None, 100, &is_wanted).err();
        assert!(matches!(error, Some(ChildError::Timeout { .. })), "{error:?}");
        assert_eq!(asked.get(), 3);
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = run(&mut Command::new("/nonexistent/helm"), &[], None, 1, &|| true)
            .err()
            .map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some("/nonexistent/helm: cannot be run"));
    }
}
