//! What Git's configuration says to the drivers.

use std::process::{Command, Stdio};

use crate::context::Context;
use crate::session::Session;

/// What is shown of encrypted values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// A mark.
    Masked,
    /// The value, if a key is at hand.
    Plain,
}

/// Returns what a setting says is shown; marks, unless it says `plain`. What else it says is told.
pub(super) fn shown(context: &Context<'_>, name: &str) -> Shown {
    match get(context.session, &["--get", name]).as_deref() {
        Some("plain") => Shown::Plain,
        None | Some("masked") => Shown::Masked,
        Some(_) => {
            context.report.warn(format!("{name} of Git is neither masked nor plain; values are masked"));
            Shown::Masked
        }
    }
}

/// Returns what `git config` says to a question; nothing if it has no answer, or there is no Git.
pub(super) fn get(session: &Session, question: &[&str]) -> Option<String> {
    let mut command = Command::new("git");
    command.arg("-C").arg(&session.directory).arg("config").args(question).stderr(Stdio::null());
    let output = command.output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.strip_suffix('\n').unwrap_or(&text).to_owned())
}
