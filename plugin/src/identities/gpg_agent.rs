//! The passphrase cache of gpg-agent, spoken to over its socket (the Assuan protocol).

#[cfg(unix)]
use std::io::{self, BufRead, BufReader, Read, Write};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use selkie::secret::SecretBytes;

use crate::session::Environment;

/// A connection to gpg-agent.
pub(super) struct Agent {
    #[cfg(unix)]
    stream: BufReader<UnixStream>,
}

/// Why the agent gave no passphrase.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum AgentError {
    /// The person would not tell.
    Cancelled,
    /// The agent cannot ask, or cannot be understood.
    Failed(String),
}

#[cfg(not(unix))]
impl Agent {
    pub(super) fn connect(_: &Environment) -> Option<Self> {
        None
    }

    pub(super) fn passphrase(&mut self, _: &str, _: &str, _: bool) -> Result<SecretBytes, AgentError> {
        Err(AgentError::Failed("there is no gpg-agent on this system".to_owned()))
    }

    pub(super) fn forget(&mut self, _: &str) {}
}

#[cfg(unix)]
impl Agent {
    /// Returns a connection to the agent that runs already, if one does.
    pub(super) fn connect(environment: &Environment) -> Option<Self> {
        let stream = UnixStream::connect(socket(environment)?).ok()?;
        let mut agent = Self { stream: BufReader::new(stream) };
        agent.answer().ok()?;
        for option in options(environment) {
            // An agent that does not know an option still asks.
            let _ = agent.command(&format!("OPTION {option}"));
        }
        Some(agent)
    }

    /// Returns the passphrase kept as `cache_id`; if there is none, the agent asks for it.
    pub(super) fn passphrase(
        &mut self,
        cache_id: &str,
        description: &str,
        again: bool,
    ) -> Result<SecretBytes, AgentError> {
        let error = if again { "Wrong passphrase" } else { "X" };
        let arguments = [cache_id, error, "Passphrase", description].map(escape).join(" ");
        let answer = self.command(&format!("GET_PASSPHRASE {arguments}"))?;
        decode_hex(answer.expose_secret())
            .ok_or_else(|| AgentError::Failed("its answer is no passphrase".to_owned()))
    }

    /// Makes the agent forget a passphrase.
    pub(super) fn forget(&mut self, cache_id: &str) {
        // What the agent cannot forget, it will offer again, and it will be refused again.
        let _ = self.command(&format!("CLEAR_PASSPHRASE {}", escape(cache_id)));
    }

    fn command(&mut self, line: &str) -> Result<SecretBytes, AgentError> {
        let failed = |error: io::Error| AgentError::Failed(error.to_string());
        self.stream.get_mut().write_all(format!("{line}\n").as_bytes()).map_err(failed)?;
        self.answer()
    }

    /// Reads up to the line that says how a command ended, and returns what stands behind its `OK`.
    fn answer(&mut self) -> Result<SecretBytes, AgentError> {
        loop {
            let line = self.line().map_err(|error| AgentError::Failed(error.to_string()))?;
            let bytes = line.expose_secret();
            if let Some(rest) = bytes.strip_prefix(b"OK") {
                return Ok(SecretBytes::from(rest.trim_ascii()));
            }
            if let Some(error) = bytes.strip_prefix(b"ERR ") {
                let error = String::from_utf8_lossy(error);
                let is_cancelled = error.split(' ').next() == Some(CANCELLED);
                return Err(if is_cancelled {
                    AgentError::Cancelled
                } else {
                    AgentError::Failed(error.into_owned())
                });
            }
            if bytes.is_empty() {
                return Err(AgentError::Failed("the connection ended".to_owned()));
            }
        }
    }

    fn line(&mut self) -> io::Result<SecretBytes> {
        let mut line = zeroize::Zeroizing::new(Vec::with_capacity(LINE_LENGTH));
        Read::by_ref(&mut self.stream).take(LINE_LENGTH as u64).read_until(b'\n', &mut line)?;
        Ok(SecretBytes::from(line.trim_ascii_end()))
    }
}

/// Returns where the agent listens.
fn socket(environment: &Environment) -> Option<PathBuf> {
    // Agents before version 2.1 told by this variable: the path, a colon, and more.
    if let Some(info) = environment.get("GPG_AGENT_INFO") {
        return info.split(':').next().filter(|path| !path.is_empty()).map(PathBuf::from);
    }
    let of_home = environment.get("HOME").map(|home| PathBuf::from(home).join(".gnupg/S.gpg-agent"));
    let of_run = environment.get("XDG_RUNTIME_DIR").map(|run| PathBuf::from(run).join("gnupg/S.gpg-agent"));
    of_home.filter(|path| path.exists()).or(of_run)
}

/// Returns what tells the agent where to ask.
fn options(environment: &Environment) -> Vec<String> {
    let terminal = || {
        let path = std::fs::read_link("/proc/self/fd/0").ok()?;
        path.starts_with("/dev").then(|| path.display().to_string())
    };
    let terminal = environment.get("GPG_TTY").map(str::to_owned).or_else(terminal);
    let option = |name: &str, value: Option<String>| value.map(|value| format!("{name}={value}"));
    [
        option("display", environment.get("DISPLAY").map(str::to_owned)),
        option("ttyname", terminal),
        option("ttytype", environment.get("TERM").map(str::to_owned)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Escapes an argument, which must not hold blanks.
fn escape(text: &str) -> String {
    let escape_byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        b' ' => "+".to_owned(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(escape_byte).collect()
}

fn decode_hex(digits: &[u8]) -> Option<SecretBytes> {
    let mut decoded = SecretBytes::with_capacity(digits.len() / 2);
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    for pair in digits.chunks(2) {
        let [high, low] = *pair else { return None };
        decoded.push(digit(high)? << 4 | digit(low)?);
    }
    Some(decoded)
}

/// The number of libgpg-error for a request that the person refused, as its pinentry reports it.
const CANCELLED: &str = "83886179";
/// Longer than any line of Assuan, which ends after 1000 bytes.
const LINE_LENGTH: usize = 2048;

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    /// Plays the part of an agent that gives these answers, and returns what it was told.
    fn agent(answers: &'static [&'static str], talk: impl FnOnce(&mut Agent)) -> Vec<String> {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("S.gpg-agent");
        let listener = UnixListener::bind(&socket).expect("the path is free");
        let listening = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("the client comes");
            let mut lines = BufReader::new(stream.try_clone().expect("it is open")).lines();
            let mut told = Vec::new();
            for (index, answer) in answers.iter().enumerate() {
                if index > 0 {
                    told.extend(lines.next().and_then(Result::ok));
                }
                stream.write_all(answer.as_bytes()).expect("the client listens");
            }
            told
        });
        let info = format!("{}:1:1", socket.display());
        let environment =
            [("GPG_AGENT_INFO", info.as_str()), ("GPG_TTY", "/dev/pts/1")].into_iter().collect();
        talk(&mut Agent::connect(&environment).expect("the agent answers"));
        listening.join().expect("the agent does not panic")
    }

    #[test]
    fn passphrase_is_asked_for_by_its_name() {
        let told = agent(&["OK hello\n", "OK\n", "S PROGRESS\nOK 6f70656e20\n"], |agent| {
            let passphrase = agent.passphrase("SopsAgeX", "Enter 'it':", false).expect("it is given");
            assert_eq!(passphrase.expose_secret(), b"open ");
        });
        assert_eq!(
            told,
            ["OPTION ttyname=/dev/pts/1", "GET_PASSPHRASE SopsAgeX X Passphrase Enter+%27it%27%3A"]
        );
    }

    #[test]
    fn refusal_is_told_from_failure() {
        agent(
            &["OK\n", "ERR 1 no option\n", "ERR 83886179 cancelled\n", "ERR 67108949 No pinentry\n"],
            |agent| {
                assert_eq!(agent.passphrase("A", "", false).err(), Some(AgentError::Cancelled));
                let failed = AgentError::Failed("67108949 No pinentry".to_owned());
                assert_eq!(agent.passphrase("A", "", true).err(), Some(failed));
            },
        );
    }

    #[test]
    fn broken_answers_are_failures() {
        for answer in ["OK 6g\n", "OK 6\n", ""] {
            agent(Box::leak(Box::new(["OK\n", "OK\n", answer])), |agent| {
                assert!(matches!(agent.passphrase("A", "", false), Err(AgentError::Failed(_))));
            });
        }
    }

    #[test]
    fn no_agent_is_no_error() {
        let environment =
            [("HOME", "/nonexistent"), ("XDG_RUNTIME_DIR", "/nonexistent")].into_iter().collect();
        assert!(Agent::connect(&environment).is_none());
    }
}
