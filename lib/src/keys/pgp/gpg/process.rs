//! A run of a program that reads a little, writes a little, and complains.

use std::io::{self, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use crate::keys::{Cause, ServiceError};
use crate::secret::SecretBytes;

/// A program, and what it finds in its environment beside what this process has.
#[derive(Clone)]
pub struct Process {
    pub program: String,
    pub environment: Vec<(String, String)>,
}

/// How a run of a program ended.
pub struct Ended {
    pub status: ExitStatus,
    /// What it wrote, but for what is more than [`MAX_OUTPUT`].
    pub output: SecretBytes,
    /// Whether it would have written more.
    pub is_cut: bool,
    /// The last of what it wrote for people.
    pub complaints: Vec<u8>,
}

/// What a stream of the program had.
enum Piece {
    Output(SecretBytes, bool),
    Complaints(Vec<u8>),
}

impl Process {
    /// Runs the program and waits for its end. If it takes longer than `limit`, it is ended.
    pub fn run(
        &self,
        arguments: &[String],
        input: SecretBytes,
        limit: Option<Duration>,
    ) -> Result<Ended, ServiceError> {
        let end = limit.map(|limit| Instant::now() + limit);
        let mut command = Command::new(&self.program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let mut child = command.spawn().map_err(|error| self.not_started(&error))?;
        match attend(&mut child, input, end) {
            Ok((output, is_cut, complaints)) => {
                let status = child.wait().map_err(|error| self.error(Cause::Other, &error.to_string()))?;
                Ok(Ended { status, output, is_cut, complaints })
            }
            Err(cause) => {
                // It may have ended by itself meanwhile.
                let _ = child.kill();
                let _ = child.wait();
                Err(match cause {
                    Cause::Timeout => self
                        .error(
                            cause,
                            &format!("did not end within {} s", limit.unwrap_or_default().as_secs()),
                        )
                        .with_remedy(
                            "see whether another gpg holds a lock, or allow more time with `--key-timeout`",
                        ),
                    cause => self.error(cause, "was given up: its streams cannot be read"),
                })
            }
        }
    }

    /// Returns an error that says what became of the program.
    pub fn error(&self, cause: Cause, what: &str) -> ServiceError {
        ServiceError::new(cause, format!("{} {what}", self.program))
    }

    fn not_started(&self, error: &io::Error) -> ServiceError {
        match error.kind() {
            io::ErrorKind::NotFound => {
                let files = if cfg!(feature = "pgp-native") {
                    ", or name files with exported keys in SELKIE_PGP_KEY_FILE"
                } else {
                    ""
                };
                ServiceError::new(Cause::Unreachable, format!("there is no program {}", self.program))
                    .with_remedy(format!("install GnuPG, or name its program in SOPS_GPG_EXEC{files}"))
            }
            _ => ServiceError::new(Cause::Unreachable, format!("{} cannot be run: {error}", self.program))
                .with_remedy("name the program itself in SOPS_GPG_EXEC, without arguments"),
        }
    }
}

/// Feeds a program, and returns what it wrote until it closed its streams.
///
/// Each stream has a thread of its own, as the program may fill one while it waits for another. They end with the
/// program and whatever it started; nobody waits for them longer than for the program.
fn attend(
    child: &mut Child,
    input: SecretBytes,
    end: Option<Instant>,
) -> Result<(SecretBytes, bool, Vec<u8>), Cause> {
    let (Some(mut stdin), Some(stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(Cause::Other);
    };
    let (sender, receiver) = mpsc::channel();
    start(&sender, move || {
        // Who does not read it says why on another stream.
        let _ = stdin.write_all(input.expose_secret());
        None
    })?;
    start(&sender, move || read_output(stdout).map(|(output, is_cut)| Piece::Output(output, is_cut)).ok())?;
    start(&sender, move || read_complaints(stderr).map(Piece::Complaints).ok())?;
    drop(sender);
    let (mut output, mut complaints) = (None, None);
    loop {
        let piece = match end {
            None => receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(end) => receiver.recv_timeout(end.saturating_duration_since(Instant::now())),
        };
        match piece {
            Ok(Piece::Output(bytes, is_cut)) => output = Some((bytes, is_cut)),
            Ok(Piece::Complaints(bytes)) => complaints = Some(bytes),
            Err(RecvTimeoutError::Timeout) => return Err(Cause::Timeout),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let (output, is_cut) = output.ok_or(Cause::Other)?;
    Ok((output, is_cut, complaints.ok_or(Cause::Other)?))
}

fn start(sender: &Sender<Piece>, job: impl FnOnce() -> Option<Piece> + Send + 'static) -> Result<(), Cause> {
    let sender = sender.clone();
    let run = move || {
        if let Some(piece) = job() {
            // Nobody may wait for it any more.
            let _ = sender.send(piece);
        }
    };
    thread::Builder::new().spawn(run).map(|_| ()).map_err(|_| Cause::Other)
}

/// Reads no more than may be a data key. What would write more finds its stream closed.
fn read_output(mut stream: impl Read) -> io::Result<(SecretBytes, bool)> {
    let mut output = SecretBytes::with_capacity(MAX_OUTPUT);
    let mut chunk = Zeroizing::new([0; 4096]);
    loop {
        match stream.read(&mut *chunk) {
            Ok(0) => return Ok((output, false)),
            Ok(length) if output.len() + length > MAX_OUTPUT => return Ok((output, true)),
            Ok(length) => output.extend_from_slice(&chunk[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Reads all, and keeps the end.
fn read_complaints(mut stream: impl Read) -> io::Result<Vec<u8>> {
    let mut end = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return Ok(end),
            Ok(length) => {
                end.extend_from_slice(&chunk[..length]);
                end.drain(..end.len().saturating_sub(MAX_COMPLAINTS));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// More than a message to one recipient takes; data keys, and shares of them, are far shorter.
pub const MAX_OUTPUT: usize = 1 << 16;

const MAX_COMPLAINTS: usize = 1 << 14;

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn run(script: &str, input: &[u8], limit: Option<Duration>) -> Result<Ended, ServiceError> {
        let environment = vec![("SELKIE_TEST".to_owned(), "set".to_owned())];
        let process = Process { program: "sh".to_owned(), environment };
        process.run(&["-c".to_owned(), script.to_owned()], input.into(), limit)
    }

    fn ended(script: &str, input: &[u8]) -> Ended {
        run(script, input, None).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn a_program_reads_writes_and_has_its_environment() {
        let ended = ended("cat; printf $SELKIE_TEST; echo words >&2; exit 3", b"input ");
        assert_eq!((ended.output.expose_secret(), ended.is_cut), (&b"input set"[..], false));
        assert_eq!((ended.complaints.as_slice(), ended.status.code()), (&b"words\n"[..], Some(3)));
    }

    #[test]
    fn no_stream_waits_for_another() {
        // More than any pipe holds, before anything is read.
        let script = "head -c 1000000 /dev/zero | tr '\\0' e >&2; cat | wc -c; echo last >&2";
        let ended = ended(script, &vec![0; 300_000]);
        assert_eq!(ended.output.expose_secret().trim_ascii(), b"300000");
        assert_eq!(ended.complaints.len(), MAX_COMPLAINTS);
        assert!(ended.complaints.ends_with(b"elast\n"));
    }

    #[test]
    fn output_without_end_is_cut() {
        let ended = ended("yes", b"");
        assert!(ended.is_cut && ended.output.len() <= MAX_OUTPUT);
    }

    #[test]
    fn what_does_not_read_its_input_may_end() {
        assert!(ended("exit 0", &vec![0; 300_000]).status.success());
    }

    #[test]
    fn what_takes_too_long_is_ended() {
        // What it started holds its streams for longer than it lives.
        let error =
            run("sleep 20 & wait", b"", Some(Duration::from_millis(50))).err().expect("it takes too long");
        assert_eq!((error.cause, error.detail.as_str()), (Cause::Timeout, "sh did not end within 0 s"));
        assert!(error.remedy.is_some());
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let process = Process { program: "/nonexistent/gpg".to_owned(), environment: Vec::new() };
        let error = process.run(&[], SecretBytes::new(), None).err().expect("it is not there");
        assert_eq!(
            (error.cause, error.detail.as_str()),
            (Cause::Unreachable, "there is no program /nonexistent/gpg")
        );
        assert!(error.remedy.is_some_and(|remedy| remedy.contains("SOPS_GPG_EXEC")));
    }
}
