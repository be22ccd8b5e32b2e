//! Messages for people, in the lines that sops writes them in: logger, time, level, text and fields.

use std::fmt::Write;

use crate::report::{Colour, escape_lines};
use crate::session::Session;

/// How urgent a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Of use to those who look for a fault.
    Debug,
    /// Said only if the user wants to hear much.
    Info,
    /// Something is not as the user may think.
    Warning,
    /// Something failed, and the program goes on.
    Error,
    /// Something failed, and the program ends.
    Fatal,
}

/// Writes messages to the stream for people.
pub struct Log<'a> {
    session: &'a Session,
    threshold: Level,
}

impl<'a> Log<'a> {
    /// Returns a log that says what is a warning or worse, or everything if it is to be verbose.
    pub const fn new(session: &'a Session, is_verbose: bool) -> Self {
        Self { session, threshold: if is_verbose { Level::Debug } else { Level::Warning } }
    }

    /// Says something under the name of a part of sops.
    pub fn say(&self, logger: &str, level: Level, message: &str, fields: &[(&str, &str)]) {
        if level >= self.threshold {
            let is_coloured = Colour::Auto.applies(&self.session.stderr, &self.session.environment);
            let time = self.session.now();
            self.session.stderr.say(line(logger, level, message, fields, &time, is_coloured));
        }
    }

    /// Says what the user should know.
    pub fn warn(&self, message: &str) {
        self.say(COMMAND, Level::Warning, message, &[]);
    }

    /// Returns what warns in place of this log where that cannot be, with the time of now.
    pub fn warner(&self) -> impl Fn(&str) + Send + Sync + 'static {
        let (stderr, time) = (self.session.stderr.clone(), self.session.now());
        let is_coloured = Colour::Auto.applies(&stderr, &self.session.environment);
        move |text| stderr.say(line(COMMAND, Level::Warning, text, &[], &time, is_coloured))
    }

    /// Says what went well.
    pub fn info(&self, message: &str) {
        self.say(COMMAND, Level::Info, message, &[]);
    }

    /// Says what failed, and why.
    pub fn error(&self, message: &str, why: Option<&str>) {
        let fields: Vec<_> = why.map(|why| ("error", why)).into_iter().collect();
        self.say(COMMAND, Level::Error, message, &fields);
    }

    /// Says why the program ends.
    pub fn fatal(&self, message: &str) {
        self.say(COMMAND, Level::Fatal, message, &[]);
    }
}

fn line(
    logger: &str,
    level: Level,
    message: &str,
    fields: &[(&str, &str)],
    time: &str,
    is_coloured: bool,
) -> String {
    let mut line = if is_coloured {
        let (colour, name) = level.colour();
        let padding = if fields.is_empty() { 0 } else { 44 };
        format!(
            "\u{1b}[1m[{logger}]\u{1b}[0m\t \u{1b}[{colour}m{name}\u{1b}[0m[0000] {:padding$} ",
            escape_lines(message)
        )
    } else {
        format!("[{logger}]\t time={time:?} level={} msg={}", level.name(), quoted(message))
    };
    for (name, value) in fields {
        let separator = if line.ends_with(' ') { "" } else { " " };
        // Writing to a string does not fail.
        let _ = write!(line, "{separator}{name}={}", quoted(value));
    }
    line.trim_end().to_owned()
}

/// Quotes a text unless it is a plain word.
fn quoted(text: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-._/@^+".contains(letter);
    if !text.is_empty() && text.chars().all(is_plain) { text.to_owned() } else { format!("{text:?}") }
}

impl Level {
    const fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Fatal => "fatal",
        }
    }

    const fn colour(self) -> (u8, &'static str) {
        match self {
            Self::Debug => (37, "DEBU"),
            Self::Info => (36, "INFO"),
            Self::Warning => (33, "WARN"),
            Self::Error => (31, "ERRO"),
            Self::Fatal => (31, "FATA"),
        }
    }
}

/// The name of the part that reads the command line.
const COMMAND: &str = "CMD";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_has_the_form_of_sops() {
        assert_eq!(
            line(
                "CMD",
                Level::Warning,
                "it's \"so\"",
                &[("error", "a b"), ("n", "1.5")],
                "2026-01-01T00:00:00Z",
                false
            ),
            "[CMD]\t time=\"2026-01-01T00:00:00Z\" level=warning msg=\"it's \\\"so\\\"\" error=\"a b\" n=1.5"
        );
    }

    #[test]
    fn line_on_a_terminal_is_short() {
        assert_eq!(
            line("CMD", Level::Fatal, "no", &[], "", true),
            "\u{1b}[1m[CMD]\u{1b}[0m\t \u{1b}[31mFATA\u{1b}[0m[0000] no"
        );
        let hostile = line("CMD", Level::Fatal, "\u{1b}]0;", &[], "", true);
        assert!(hostile.ends_with("[0000] \\u{1b}]0;"), "{hostile:?}");
    }
}
