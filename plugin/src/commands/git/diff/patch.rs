//! Patches as Git prints them: the lines in front, and what `git diff` finds between two files.
//!
//! Invariant: a file is written only with marks in place of what is encrypted, in a folder that nobody else can enter.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anstyle::Style;
use selkie::secret::SecretBytes;

use super::Side;
use crate::commands::git::settings;
use crate::context::Context;
use crate::failure::Failure;
use crate::report::{Colour, escape};
use crate::scratch::Scratch;

/// What the lines in front of a patch say.
pub(super) struct Header<'a> {
    /// The path of the file.
    pub path: &'a OsStr,
    /// Its path in the new version.
    pub now: &'a OsStr,
    /// What Git says of a file that has another path now.
    pub told: &'a str,
    /// What was there.
    pub old: &'a Side,
    /// What is there.
    pub new: &'a Side,
}

/// Writes patches in colours, if Git would.
pub(super) struct Painter {
    is_coloured: bool,
}

impl Painter {
    /// Asks Git whether a diff is coloured, unless the options say so.
    pub(super) fn new(context: &Context<'_>) -> Self {
        let is_terminal = if context.session.stdout.is_terminal() { "true" } else { "false" };
        // Git knows of its pager, and of the terminal behind it.
        let asked = || settings::get(context.session, &["--get-colorbool", "color.diff", is_terminal]);
        let is_coloured = match context.options.colour {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => asked().as_deref() == Some("true"),
        };
        Self { is_coloured }
    }

    /// Returns whether there are colours.
    pub(super) const fn is_coloured(&self) -> bool {
        self.is_coloured
    }

    /// Returns a line in a style.
    pub(super) fn paint(&self, style: Style, line: &str) -> String {
        // As Git ends it.
        if self.is_coloured { format!("{style}{line}{RESET}\n") } else { format!("{line}\n") }
    }

    /// Returns the line with the name of a version. One with blanks ends with a tab, so that it is told from a date.
    fn side(&self, sign: &str, name: &str) -> String {
        let line = self.paint(META, &format!("{sign} {name}"));
        if name.contains(' ') { format!("{}\t\n", line.trim_end()) } else { line }
    }

    /// Returns a line that looks like the head of a hunk, so that `git apply` stops at what follows.
    pub(super) fn fragment(&self, text: &str) -> String {
        self.paint(FRAGMENT, &format!("@@ -1 +1 @@ {text}"))
    }

    /// Returns the lines in front, with the hashes of the versions.
    pub(super) fn header(&self, context: &Context<'_>, header: &Header<'_>, hashes: &str) -> String {
        let Header { path, now, told, old, new } = header;
        let names = Names::of(context, header);
        let mut lines = vec![format!("diff --git {} {}", names.old, names.new)];
        match (old.is_there(), new.is_there()) {
            (false, _) => lines.push(format!("new file mode {}", new.mode)),
            (_, false) => lines.push(format!("deleted file mode {}", old.mode)),
            _ if old.mode != new.mode => {
                lines.push(format!("old mode {}", old.mode));
                lines.push(format!("new mode {}", new.mode));
            }
            _ => {}
        }
        if path != now {
            // Git tells the hashes as well.
            lines.extend(told.lines().filter(|line| !line.starts_with("index ")).map(str::to_owned));
        }
        if !hashes.is_empty() {
            let mode = if old.mode == new.mode { format!(" {}", new.mode) } else { String::new() };
            lines.push(format!("index {hashes}{mode}"));
        }
        lines.iter().map(|line| self.paint(META, &escape(line))).collect()
    }

    /// Returns the patch between two files that may be shown.
    ///
    /// # Errors
    /// If Git cannot compare them.
    pub(super) fn patch(
        &self,
        context: &Context<'_>,
        header: &Header<'_>,
        old: &Path,
        new: &Path,
    ) -> Result<SecretBytes, Failure> {
        let found = self.compare(context, old, new)?;
        let body = Body::of(&found);
        let mut text = SecretBytes::new();
        text.push_str(&self.header(context, header, &body.hashes));
        let names = Names::of(context, header);
        let side =
            |name: &str, side: &Side| if side.is_there() { name.to_owned() } else { "/dev/null".to_owned() };
        let (old, new) = (side(&names.old, header.old), side(&names.new, header.new));
        match body.kind {
            Kind::Binary => text.push_str(&format!("Binary files {old} and {new} differ\n")),
            Kind::Lines(lines) => {
                text.push_str(&self.side("---", &old));
                text.push_str(&self.side("+++", &new));
                text.extend_from_slice(lines);
            }
            Kind::Nothing => {}
        }
        Ok(text)
    }

    /// Returns what differs between two texts with marks, below a notice.
    ///
    /// # Errors
    /// If Git cannot compare them.
    pub(super) fn texts(
        &self,
        context: &Context<'_>,
        header: &Header<'_>,
        notice: &str,
        old: Option<SecretBytes>,
        new: Option<SecretBytes>,
    ) -> Result<SecretBytes, Failure> {
        let failed = || Failure::io("write", "a temporary file");
        let scratch = Scratch::new(&context.session.environment).map_err(failed())?;
        let write = |name: &str, text: Option<SecretBytes>| -> Result<PathBuf, Failure> {
            let Some(text) = text else { return Ok(PathBuf::from("/dev/null")) };
            let path = scratch.path().join(name);
            std::fs::write(&path, text.expose_secret()).map_err(failed())?;
            Ok(path)
        };
        let (old, new) = (write("old", old)?, write("new", new)?);
        let found = self.compare(context, &old, &new)?;
        let mut text = SecretBytes::new();
        text.push_str(&self.header(context, header, &hashes(header)));
        text.push_str(notice);
        match Body::of(&found).kind {
            Kind::Lines(lines) => text.extend_from_slice(lines),
            Kind::Binary => text.push_str("Binary files differ\n"),
            Kind::Nothing => text.push_str(&self.fragment("no mark differs")),
        }
        Ok(text)
    }

    fn compare(&self, context: &Context<'_>, old: &Path, new: &Path) -> Result<Vec<u8>, Failure> {
        let colour = if self.is_coloured { "--color=always" } else { "--color=never" };
        let mut command = Command::new("git");
        command.arg("-C").arg(&context.session.directory);
        command
            .args(["diff", "--no-index", "--no-ext-diff", "--no-textconv", "-p", colour, "--"])
            .arg(old)
            .arg(new);
        let output = command.stderr(Stdio::inherit()).output().map_err(Failure::io("run", "git diff"))?;
        match output.status.code() {
            Some(0 | 1) => Ok(output.stdout),
            _ => Err(Failure::Check("git diff failed".to_owned())),
        }
    }
}

/// Returns the hashes of the versions, shortened.
pub(super) fn hashes(header: &Header<'_>) -> String {
    let short = |side: &Side| match side.hash.as_str() {
        "." => "0".repeat(SHORT),
        hash => hash.chars().take(SHORT).collect(),
    };
    format!("{}..{}", short(header.old), short(header.new))
}

/// The names of the versions, as a patch has them.
struct Names {
    old: String,
    new: String,
}

impl Names {
    fn of(context: &Context<'_>, header: &Header<'_>) -> Self {
        let is_bare = settings::get(context.session, &["--type=bool", "--get", "diff.noprefix"]);
        let (old, new) = if is_bare.as_deref() == Some("true") { ("", "") } else { ("a/", "b/") };
        Self { old: quoted(old, header.path), new: quoted(new, header.now) }
    }
}

/// Returns a path as Git writes it: in quotes, with bytes in octal, where it is not plain ASCII.
fn quoted(prefix: &str, path: &OsStr) -> String {
    let path = [prefix.as_bytes(), path.as_encoded_bytes()].concat();
    let is_plain = |byte: u8| (b' '..0x7f).contains(&byte) && !matches!(byte, b'"' | b'\\');
    if path.iter().copied().all(is_plain) {
        return path.into_iter().map(char::from).collect();
    }
    let mut text = String::from("\"");
    for byte in path {
        match byte {
            b'"' | b'\\' => text.extend(['\\', char::from(byte)]),
            b'\n' => text.push_str("\\n"),
            b'\t' => text.push_str("\\t"),
            byte if is_plain(byte) => text.push(char::from(byte)),
            byte => text.push_str(&format!("\\{byte:03o}")),
        }
    }
    text.push('"');
    text
}

/// What Git printed, without the lines in front.
struct Body<'a> {
    hashes: String,
    kind: Kind<'a>,
}

enum Kind<'a> {
    /// The files are no texts.
    Binary,
    /// The hunks.
    Lines(&'a [u8]),
    /// The files are the same.
    Nothing,
}

impl<'a> Body<'a> {
    fn of(found: &'a [u8]) -> Self {
        let mut hashes = String::new();
        let mut position = 0;
        for line in found.split_inclusive(|&byte| byte == b'\n') {
            let text = without_style(line);
            if let Some(rest) = text.strip_prefix(b"index ") {
                let word = rest.split(|byte| !byte.is_ascii_hexdigit() && *byte != b'.').next();
                hashes = String::from_utf8_lossy(word.unwrap_or_default()).into_owned();
            } else if text.starts_with(b"@@ ") {
                return Self { hashes, kind: Kind::Lines(&found[position..]) };
            } else if text.starts_with(b"Binary files ") {
                return Self { hashes, kind: Kind::Binary };
            }
            position += line.len();
        }
        Self { hashes, kind: Kind::Nothing }
    }
}

/// Returns a line without the colour that it begins with.
fn without_style(mut line: &[u8]) -> &[u8] {
    while let Some(rest) = line.strip_prefix(b"\x1b[") {
        let Some(end) = rest.iter().position(|&byte| byte == b'm') else { break };
        line = &rest[end + 1..];
    }
    line
}

/// How many digits of a hash are shown.
const SHORT: usize = 7;

/// What ends a colour.
const RESET: &str = "\x1b[m";

/// As Git shows the lines in front of a patch.
const META: Style = Style::new().bold();

/// As Git shows where a hunk is.
const FRAGMENT: Style = anstyle::AnsiColor::Cyan.on_default();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_printed_is_taken_apart() {
        let found = b"\x1b[1mdiff --git a/x b/y\x1b[m\n\x1b[1mindex 12ab..34cd 100644\x1b[m\n--- a/x\n+++ b/y\n\x1b[36m@@ -1 +1 @@\x1b[m\n-a\n";
        let body = Body::of(found);
        assert_eq!(body.hashes, "12ab..34cd");
        assert!(matches!(body.kind, Kind::Lines(lines) if lines == b"\x1b[36m@@ -1 +1 @@\x1b[m\n-a\n"));
        assert!(matches!(Body::of(b"index 1..2\nBinary files x and y differ\n").kind, Kind::Binary));
        assert!(matches!(Body::of(b"").kind, Kind::Nothing));
    }

    #[test]
    fn names_are_quoted_as_git_does() {
        assert_eq!(quoted("a/", OsStr::new("b c")), "a/b c");
        assert_eq!(quoted("a/", OsStr::new("\u{fc}\"\t")), "\"a/\\303\\274\\\"\\t\"");
    }
}
