//! What a run has from its process: variables, a working directory, streams and a clock.
//!
//! Nothing else in this crate reads them, so that whole runs can be tested in one process.

use std::collections::HashMap;
use std::env;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(crate) use seal_hook::path::clean;
use selkie::secret::SecretBytes;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use zeroize::Zeroizing;

use crate::audit;

/// What a run has from its process.
pub struct Session {
    /// The variables of the environment.
    pub environment: Environment,
    /// The working directory, absolute.
    pub directory: PathBuf,
    /// Where data comes from.
    pub stdin: Input,
    /// Where data goes.
    pub stdout: Output,
    /// Where messages for people go.
    pub stderr: Output,
    /// What time it is.
    pub clock: fn() -> OffsetDateTime,
    /// Where the administrator of the machine turns on the audit log.
    pub audit: PathBuf,
}

/// Variables of an environment; those that are not Unicode are left out.
#[derive(Clone, Debug, Default)]
pub struct Environment(HashMap<String, String>);

/// A stream that is read.
pub struct Input {
    reader: Mutex<Box<dyn BufRead + Send>>,
    is_terminal: bool,
}

/// A stream that is written, by one thread at a time. Copies are the same stream.
#[derive(Clone)]
pub struct Output {
    writer: Arc<Mutex<Box<dyn Write + Send>>>,
    is_terminal: bool,
}

impl Session {
    /// Returns what this process has.
    ///
    /// # Errors
    /// If there is no working directory.
    pub fn of_process() -> io::Result<Self> {
        Ok(Self {
            environment: env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
            directory: env::current_dir()?,
            stdin: Input::new(io::stdin(), io::stdin().is_terminal()),
            stdout: Output::new(io::stdout(), io::stdout().is_terminal()),
            stderr: Output::new(io::stderr(), io::stderr().is_terminal()),
            clock: OffsetDateTime::now_utc,
            audit: audit::CONFIGURATION.into(),
        })
    }

    /// Returns the absolute form of a path, without `.` and `..`; symbolic links stay as they are.
    #[must_use]
    pub fn absolute(&self, path: &Path) -> PathBuf {
        clean(&self.directory.join(path))
    }

    /// Returns the time as SOPS writes it: RFC 3339 in UTC, whole seconds.
    #[must_use]
    pub fn now(&self) -> String {
        let now = (self.clock)().to_offset(time::UtcOffset::UTC).replace_nanosecond(0);
        now.ok().and_then(|now| now.format(&Rfc3339).ok()).unwrap_or_else(|| EPOCH.to_owned())
    }
}

impl Environment {
    /// Returns a variable, unless it is unset or empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Returns a variable as it is set, empty or not.
    #[must_use]
    pub fn raw(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Returns all variables.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl Input {
    /// Returns a stream over `reader`.
    pub fn new(reader: impl Read + Send + 'static, is_terminal: bool) -> Self {
        Self { reader: Mutex::new(Box::new(BufReader::with_capacity(1, reader))), is_terminal }
    }

    /// Returns whether a person is typing.
    #[must_use]
    pub const fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Returns whether there is nothing to read, and never will be. Waits for what comes first.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        reader.fill_buf().is_ok_and(<[u8]>::is_empty)
    }

    /// Returns everything up to the end.
    ///
    /// # Errors
    /// If reading fails.
    pub fn read_all(&self) -> io::Result<SecretBytes> {
        let mut all = SecretBytes::new();
        let mut chunk = Zeroizing::new([0; 8192]);
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match reader.read(&mut *chunk) {
                Ok(0) => return Ok(all),
                Ok(length) => all.extend_from_slice(&chunk[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns the next line without its end; `None` at the end of the stream.
    ///
    /// # Errors
    /// If reading fails.
    pub fn read_line(&self) -> io::Result<Option<String>> {
        let mut line = Vec::new();
        let mut byte = [0];
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        while reader.read(&mut byte)? == 1 && byte[0] != b'\n' {
            line.push(byte[0]);
        }
        let at_end = byte[0] != b'\n' && line.is_empty();
        Ok((!at_end).then(|| String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned()))
    }
}

impl Input {
    /// Forgets what a person has typed up to now, before they are asked something that it is no answer to. What comes
    /// through a pipe stays.
    pub fn forget_typed(&self) {
        #[cfg(unix)]
        if self.is_terminal {
            // Where it is no terminal after all, nobody types.
            let _ = rustix::termios::tcflush(io::stdin(), rustix::termios::QueueSelector::IFlush);
        }
    }
}

impl Output {
    /// Returns a stream over `writer`.
    pub fn new(writer: impl Write + Send + 'static, is_terminal: bool) -> Self {
        Self { writer: Arc::new(Mutex::new(Box::new(writer))), is_terminal }
    }

    /// Returns whether a person is reading.
    #[must_use]
    pub const fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Returns the stream for this thread to write to.
    pub fn lock(&self) -> MutexGuard<'_, Box<dyn Write + Send>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes bytes, and does not leave them in a buffer.
    ///
    /// # Errors
    /// If writing fails.
    pub fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut writer = self.lock();
        writer.write_all(bytes)?;
        writer.flush()
    }

    /// Writes a line for people. That nobody reads it is no reason to fail.
    pub fn say(&self, line: impl std::fmt::Display) {
        self.write(format!("{line}\n").as_bytes()).unwrap_or(());
    }
}

/// What a clock that is beyond all dates shows.
const EPOCH: &str = "1970-01-01T00:00:00Z";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_one_by_one() {
        let input = Input::new(&b"one\r\n\ntwo"[..], false);
        let lines: Vec<_> =
            std::iter::from_fn(|| input.read_line().expect("a slice does not fail")).collect();
        assert_eq!(lines, ["one", "", "two"]);
    }

    #[test]
    fn an_empty_variable_is_as_if_unset() {
        let environment: Environment = [("A", ""), ("B", "b")].into_iter().collect();
        assert_eq!(environment.get("A"), None);
        assert_eq!(environment.get("B"), Some("b"));
    }
}
