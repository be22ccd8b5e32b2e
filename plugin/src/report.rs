//! What people read: one line for what was done, warnings, errors with their causes and a hint.
//!
//! Nothing here writes to stdout: that is for data. What is told or painted may come from a hostile file: nothing
//! in it reaches the terminal as anything but letters.

use std::fmt::Display;

use anstyle::{AnsiColor, Style};

use crate::failure::Failure;
use crate::hint::hint;
use crate::session::{Environment, Output, Session};

/// When to colour what people read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Colour {
    /// Always
    Always,
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    /// Never
    Never,
}

/// Tells people what happens.
pub struct Report<'a> {
    session: &'a Session,
    quiet: bool,
    verbose: bool,
    coloured: bool,
    coloured_data: bool,
}

impl<'a> Report<'a> {
    /// Returns a report to the session's stderr.
    #[must_use]
    pub fn new(session: &'a Session, quiet: bool, verbose: bool, colour: Colour) -> Self {
        let coloured = colour.applies(&session.stderr, &session.environment);
        let coloured_data = colour.applies(&session.stdout, &session.environment);
        Self { session, quiet, verbose, coloured, coloured_data }
    }

    /// Says what was done to something.
    pub fn done(&self, verb: &str, subject: impl Display, detail: &str) {
        if !self.quiet {
            let detail = if detail.is_empty() { String::new() } else { format!(" ({detail})") };
            let subject = escape(&subject.to_string());
            self.say(format!("{} {subject}{}", self.paint(GOOD, verb), escape(&detail)));
        }
    }

    /// Says something by the way.
    pub fn note(&self, text: impl Display) {
        self.note_painted(escape_lines(&text.to_string()));
    }

    /// Says something by the way that was [painted](Self::paint).
    pub fn note_painted(&self, text: impl Display) {
        if !self.quiet {
            self.say(text);
        }
    }

    /// Says something that only matters to those who ask for every step.
    pub fn detail(&self, text: impl Display) {
        if self.verbose {
            self.note(text);
        }
    }

    /// Warns, however quiet the report is to be.
    pub fn warn(&self, text: impl Display) {
        let text = escape_lines(&text.to_string());
        self.say(format!("{} {text}", self.paint(WARNING, "warning:")));
    }

    /// Returns what warns in place of this report where that cannot be.
    pub fn warner(&self) -> impl Fn(&str) + Send + Sync + 'static {
        let (stderr, heading) = (self.session.stderr.clone(), self.paint(WARNING, "warning:"));
        move |text| stderr.say(format!("{heading} {}", escape_lines(text)))
    }

    /// Says why something failed, and what may help.
    pub fn failure(&self, subject: Option<&str>, failure: &Failure) {
        if failure.is_broken_pipe() {
            return;
        }
        // A failure to read or write something names it.
        let names = |subject: &&str| matches!(failure, Failure::Io { what, .. } if what.as_str() == *subject);
        let subject = subject.filter(|subject| !names(subject));
        let subject = subject.map(|subject| format!("{}: ", escape(subject))).unwrap_or_default();
        self.say(format!(
            "{} {subject}{}",
            self.paint(ERROR, "error:"),
            describe(failure, &self.paint(HINT, "hint:"))
        ));
    }

    /// Returns whether only failures and warnings are to be told.
    #[must_use]
    pub const fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Returns a text for stdout in a style, if data is to be coloured.
    pub fn paint_data(&self, style: Style, text: impl Display) -> String {
        let text = escape_lines(&text.to_string());
        if self.coloured_data { format!("{style}{text}{style:#}") } else { text }
    }

    /// Returns a text for stderr in a style, if messages are to be coloured.
    pub fn paint(&self, style: Style, text: impl Display) -> String {
        let text = escape_lines(&text.to_string());
        if self.coloured { format!("{style}{text}{style:#}") } else { text }
    }

    fn say(&self, text: impl Display) {
        self.session.stderr.say(text);
    }
}

impl Colour {
    /// Returns whether a stream is to be coloured.
    #[must_use]
    pub fn applies(self, output: &Output, environment: &Environment) -> bool {
        match self {
            Self::Always => true,
            Self::Auto => {
                let plain = environment.get("NO_COLOR").is_some() || environment.get("TERM") == Some("dumb");
                output.is_terminal() && !plain
            }
            Self::Never => false,
        }
    }
}

/// Returns a failure with its causes and, after this word, what may help.
#[must_use]
pub fn describe(failure: &Failure, hint_word: &str) -> String {
    let mut text = escape_lines(&failure.to_string());
    for cause in failure.causes() {
        text.push_str(&format!("\n  caused by: {}", escape_lines(&cause)));
    }
    if let Some(hint) = hint(failure) {
        text.push_str(&format!("\n{hint_word} {hint}"));
    }
    text
}

/// Returns a name without what would change the terminal, or what stands on another line.
#[must_use]
pub fn escape(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for character in name.chars() {
        match character {
            character if character.is_control() || turns(character) => {
                escaped.extend(character.escape_default());
            }
            character => escaped.push(character),
        }
    }
    escaped
}

/// Returns a text without what would change the terminal; lines and tabs stay.
#[must_use]
pub fn escape_lines(text: &str) -> String {
    text.split_inclusive(['\n', '\t'])
        .map(|part| match part.strip_suffix(['\n', '\t']) {
            Some(rest) => escape(rest) + &part[rest.len()..],
            None => escape(part),
        })
        .collect()
}

/// Returns whether a character changes the direction of what follows it, so that it reads as another text.
const fn turns(character: char) -> bool {
    matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns a number of things, in words.
#[must_use]
pub fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// For what went well, and for what was added.
pub const GOOD: Style = AnsiColor::Green.on_default();

/// For what went wrong, and for what was removed.
pub const BAD: Style = AnsiColor::Red.on_default();

/// For what may go wrong, and for what was changed.
pub const WARNING: Style = AnsiColor::Yellow.on_default().bold();

/// For what is worth a look.
pub const STRONG: Style = Style::new().bold();

const ERROR: Style = AnsiColor::Red.on_default().bold();

const HINT: Style = AnsiColor::Cyan.on_default().bold();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_write_to_the_terminal() {
        assert_eq!(escape("a\u{1b}[31m\nb é"), "a\\u{1b}[31m\\nb é");
        assert_eq!(escape_lines("\u{9b}\n\ta\u{202e}"), "\\u{9b}\n\ta\\u{202e}");
    }

    #[test]
    fn one_thing_is_no_plural() {
        assert_eq!([count(1, "value"), count(2, "value")], ["1 value", "2 values"]);
    }
}
