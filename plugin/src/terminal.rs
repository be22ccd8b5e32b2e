//! What is said to the person at the terminal whose text is in the editor.

use std::path::Path;

use crate::context::Context;
use crate::editor::Dialogue;
use crate::report::escape;
use crate::{pasted, signals};

/// Talks to the person at the terminal.
pub struct Terminal<'a> {
    pub context: &'a Context<'a>,
    /// The file that is edited, as it is shown.
    pub path: &'a Path,
    /// Says how a text that was kept gets into the file, of the path of the file and that of the text.
    pub rescue: fn(&Path, &Path) -> String,
}

impl Dialogue for Terminal<'_> {
    fn warn(&mut self, message: &str) {
        self.context.report.warn(message);
    }

    fn refused(&mut self, why: &str) -> bool {
        if !self.context.session.stdin.is_terminal() {
            // Nobody answers; the run ends with the same words.
            return false;
        }
        let stderr = &self.context.session.stderr;
        stderr.say(format!("{}: {why}", escape(&self.path.display().to_string())));
        stderr.say("Press Enter to go on editing, or type q to stop; your text is then kept.");
        let answer = self.context.session.stdin.read_line();
        matches!(answer, Ok(Some(answer)) if !answer.trim().eq_ignore_ascii_case("q"))
    }

    fn how_to_go_on(&self, kept: &Path) -> String {
        let folder = pasted::path(kept.parent().unwrap_or(kept));
        format!("once it is right, {}, and run `rm -r {folder}`", (self.rescue)(self.path, kept))
    }

    fn exit_code(&self, signal: i32) -> u8 {
        signals::exit_code(signal)
    }
}
