//! The terminal of the person who runs the program, which is there even if the streams are redirected.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::{Mutex, PoisonError};

use selkie::secret::SecretBytes;

/// The terminal. Only one thread asks at a time.
#[derive(Default)]
pub(super) struct Terminal(Mutex<()>);

impl Terminal {
    /// Asks for a line that is not shown while it is typed.
    pub(super) fn secret(&self, question: &str) -> io::Result<SecretBytes> {
        let _turn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ask_secret(&mut device::open()?, question)
    }

    /// Asks for a line.
    pub(super) fn line(&self, question: &str) -> io::Result<String> {
        let _turn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut device = device::open()?;
        device.write_all(question.as_bytes())?;
        read_line(&mut device)
    }

    /// Shows a message; on the standard error stream if there is no terminal.
    pub(super) fn show(&self, message: &str) {
        let _turn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line = format!("{message}\n");
        // If there is nobody to see the message, nothing is lost.
        let _ = match device::open() {
            Ok(mut device) => device.write_all(line.as_bytes()),
            Err(_) => io::stderr().write_all(line.as_bytes()),
        };
    }
}

/// Returns the name of the terminal that a stream of this process is connected to.
pub(super) fn name() -> Option<String> {
    device::name()
}

/// Asks for a line that is not shown. The question comes after the terminal has stopped showing keys: whoever answers at
/// once, or pastes, would otherwise see the answer, which would then be lost.
fn ask_secret(device: &mut File, question: &str) -> io::Result<SecretBytes> {
    let answer = device::without_echo(device, |device| {
        device.write_all(question.as_bytes())?;
        read_secret(device)
    });
    device.write_all(b"\n")?;
    answer
}

/// Reads a line, as a terminal sends it that edits lines itself. One that ends without it was not meant to.
fn read_line(keys: &mut dyn Read) -> io::Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        match (keys.read(&mut byte)?, byte[0]) {
            (0, _) => return Err(io::ErrorKind::UnexpectedEof.into()),
            (_, b'\n') => return String::from_utf8(line).map_err(|_| io::ErrorKind::InvalidData.into()),
            (_, byte) => line.push(byte),
        }
    }
}

/// Reads a line key by key, as a terminal sends it that does not edit lines itself.
fn read_secret(keys: &mut dyn Read) -> io::Result<SecretBytes> {
    let mut line = SecretBytes::with_capacity(LINE_LENGTH);
    let mut key = [0];
    loop {
        match keys.read(&mut key)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ => match key[0] {
                b'\r' | b'\n' => return Ok(line),
                CONTROL_C | CONTROL_D => return Err(io::Error::new(io::ErrorKind::Interrupted, "cancelled")),
                CONTROL_U => line.truncate(0),
                BACKSPACE | DELETE => line.truncate(start_of_last_character(line.expose_secret())),
                _ if line.len() == LINE_LENGTH => return Err(io::ErrorKind::FileTooLarge.into()),
                byte => line.push(byte),
            },
        }
    }
}

fn start_of_last_character(text: &[u8]) -> usize {
    text.iter().rposition(|byte| byte & 0b1100_0000 != 0b1000_0000).unwrap_or_default()
}

#[cfg(unix)]
mod device {
    use std::fs::File;
    use std::io;

    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr, ttyname};

    pub(super) fn name() -> Option<String> {
        let mut names =
            [ttyname(io::stdin(), []), ttyname(io::stdout(), []), ttyname(io::stderr(), [])].into_iter();
        names.find_map(Result::ok)?.into_string().ok()
    }

    pub(super) fn open() -> io::Result<File> {
        File::options()
            .read(true)
            .write(true)
            .open("/dev/tty")
            .map_err(|_| io::Error::new(io::ErrorKind::NotConnected, "there is no terminal to ask for it"))
    }

    /// Turns off what the terminal does with keys, so that nothing is shown, and that the terminal is
    /// not left so when the person interrupts. What was typed before is dropped, as it answers nothing.
    pub(super) fn without_echo<T>(
        device: &mut File,
        read: impl FnOnce(&mut File) -> io::Result<T>,
    ) -> io::Result<T> {
        let before = tcgetattr(&*device)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        tcsetattr(&*device, OptionalActions::Flush, &silent)?;
        let result = read(device);
        tcsetattr(&*device, OptionalActions::Flush, &before)?;
        result
    }
}

#[cfg(not(unix))]
mod device {
    use std::fs::File;
    use std::io;

    pub(super) fn name() -> Option<String> {
        None
    }

    pub(super) fn open() -> io::Result<File> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "there is no terminal to ask for it"))
    }

    pub(super) fn without_echo<T>(_: &mut File, _: impl FnOnce(&mut File) -> io::Result<T>) -> io::Result<T> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

const CONTROL_C: u8 = 0x03;
const CONTROL_D: u8 = 0x04;
const CONTROL_U: u8 = 0x15;
const BACKSPACE: u8 = 0x08;
const DELETE: u8 = 0x7f;
const LINE_LENGTH: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &str) -> Result<String, io::ErrorKind> {
        let line = read_secret(&mut keys.as_bytes()).map_err(|error| error.kind())?;
        Ok(String::from_utf8(line.expose_secret().to_vec()).expect("the line is text"))
    }

    #[test]
    fn nobody_answers_where_the_terminal_is_gone() {
        let answer = |keys: &str| read_line(&mut keys.as_bytes()).map_err(|error| error.kind());
        assert_eq!(answer("1\n2"), Ok("1".to_owned()));
        assert_eq!(answer("\n"), Ok(String::new()));
        assert_eq!(["", "1"].map(answer), [const { Err(io::ErrorKind::UnexpectedEof) }; 2]);
    }

    #[test]
    fn line_ends_with_enter() {
        assert_eq!(typed("open sesame\rrest"), Ok("open sesame".to_owned()));
        assert_eq!(typed("\n"), Ok(String::new()));
    }

    #[test]
    fn keys_take_back_characters() {
        assert_eq!(typed("ab\u{7f}c\u{8}d\n"), Ok("ad".to_owned()));
        assert_eq!(typed("aé\u{7f}\u{7f}\u{7f}b\n"), Ok("b".to_owned()));
        assert_eq!(typed("abc\u{15}d\n"), Ok("d".to_owned()));
    }

    #[test]
    #[cfg(unix)]
    fn nothing_is_shown_from_the_question_on() {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        use rustix::termios::{LocalModes, tcgetattr};

        let mut person =
            File::from(openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("there are terminals"));
        grantpt(&person).and_then(|()| unlockpt(&person)).expect("the terminal can be opened");
        let name = ptsname(&person, []).expect("the terminal has a name");
        let name = std::path::Path::new(name.to_str().expect("the name is text"));
        let mut device = File::options().read(true).write(true).open(name).expect("the terminal opens");
        // Longer than a terminal keeps, so that its end is not written before its beginning is read.
        let question = "password? ".repeat(100_000);
        let mut seen = vec![0; question.len()];
        let asking = std::thread::spawn(move || ask_secret(&mut device, &question));
        person.read_exact(&mut seen[..1]).expect("the question comes");
        let modes = tcgetattr(&person).expect("the terminal tells").local_modes;
        assert!(!modes.contains(LocalModes::ECHO), "what is typed now would be shown");
        person.read_exact(&mut seen[1..]).expect("all of it comes");
        person.write_all(b"open sesame\r").expect("keys are sent");
        let answer = asking.join().expect("it ends").expect("it is answered");
        assert_eq!(answer.expose_secret(), b"open sesame");
    }

    #[test]
    fn asking_can_be_cancelled() {
        assert_eq!(typed("abc\u{3}"), Err(io::ErrorKind::Interrupted));
        assert_eq!(typed("abc"), Err(io::ErrorKind::UnexpectedEof));
        assert_eq!(typed(&"a".repeat(LINE_LENGTH + 1)), Err(io::ErrorKind::FileTooLarge));
    }
}
