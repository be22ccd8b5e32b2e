//! A file that is looked at: read once, by whichever rules ask.

use std::cell::{Cell, OnceCell};
use std::ops::Range;

use super::content::Content;
use super::finding::Position;
use super::needles::Needles;
use super::outline::Outline;
use super::sops_file::SopsFile;

/// A file as Git has it.
pub struct File<'a> {
    path: &'a str,
    bytes: &'a [u8],
    mode: Mode,
    /// Empty for what is no text.
    text: &'a str,
    is_text: bool,
    needles: Needles,
    old: Option<&'a File<'a>>,
    outline: OnceCell<Outline<'a>>,
    sops: OnceCell<Option<SopsFile>>,
    /// Where lines of the text end.
    lines: OnceCell<Vec<usize>>,
    /// The last place that was asked for, in bytes and as a position: a place behind it is counted from there on, so
    /// that a long line is not counted again for each of its findings.
    last: Cell<(usize, Position)>,
}

/// What Git says that a file is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// A file, also one that can be run.
    #[default]
    File,
    /// A symbolic link; its content is where it leads to.
    Link,
}

impl<'a> File<'a> {
    /// Returns a file at a path from the top of its repository, parted by `/`. `content` is what
    /// [`super::decode`] made of its bytes.
    #[must_use]
    pub fn new(path: &'a str, bytes: &'a [u8], content: &'a Content<'a>, mode: Mode) -> Self {
        let (text, is_text) = match content {
            Content::Binary(_) => ("", false),
            Content::Text(text) => (text.as_ref(), true),
        };
        let needles = Needles::find(if is_text { text.as_bytes() } else { bytes });
        let (outline, sops, lines) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        let last = Cell::new((0, Position { line: 1, column: 1 }));
        Self { path, bytes, mode, text, is_text, needles, old: None, outline, sops, lines, last }
    }

    /// Says what was at the path before.
    #[must_use]
    pub const fn with_old(mut self, old: Option<&'a Self>) -> Self {
        self.old = old;
        self
    }

    /// Returns where it is, from the top of the repository on, parted by `/`.
    #[must_use]
    pub const fn path(&self) -> &'a str {
        self.path
    }

    /// Returns the last part of its path.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.path.rsplit('/').next().unwrap_or(self.path)
    }

    /// Returns its bytes, as Git has them.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Returns what Git says that it is.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// Returns its text, in UTF-8 whatever it is stored in; all places of findings are places of this. It is empty if
    /// the file is no text.
    #[must_use]
    pub const fn text(&self) -> &'a str {
        self.text
    }

    /// Returns whether it is a text.
    #[must_use]
    pub const fn is_text(&self) -> bool {
        self.is_text
    }

    /// Returns what one pass over it found.
    #[must_use]
    pub const fn needles(&self) -> Needles {
        self.needles
    }

    /// Returns what was at its path before, if there was anything.
    #[must_use]
    pub const fn old(&self) -> Option<&'a Self> {
        self.old
    }

    /// Returns whether its name is that of YAML or JSON, or of something in templates of charts that is.
    #[must_use]
    pub fn is_structured(&self) -> bool {
        let name = self.name().to_ascii_lowercase();
        let name = name.strip_suffix(".tpl").or_else(|| name.strip_suffix(".tmpl")).unwrap_or(&name);
        STRUCTURED.iter().any(|end| name.ends_with(end))
    }

    /// Returns what its documents say. Ask only of what is structured, or looks as if it were.
    pub fn outline(&self) -> &Outline<'a> {
        self.outline.get_or_init(|| Outline::read(self.text))
    }

    /// Returns what SOPS knows of it, if it has SOPS metadata, or says that it has.
    pub fn sops(&self) -> Option<&SopsFile> {
        self.sops.get_or_init(|| SopsFile::read(self)).as_ref()
    }

    /// Returns where a byte of its text is.
    #[must_use]
    pub fn position(&self, at: usize) -> Position {
        let ends = self.ends();
        let line = ends.partition_point(|&end| end < at);
        let start = line.checked_sub(1).map_or(0, |before| ends[before] + 1);
        let (line, (known, position)) = (line + 1, self.last.get());
        let (from, column) =
            if position.line == line && known <= at { (known, position.column) } else { (start, 1) };
        let column = column + self.text.get(from..at).unwrap_or_default().chars().count();
        self.last.set((at, Position { line, column }));
        Position { line, column }
    }

    /// Returns the line that a byte of its text is in, from 1 on.
    #[must_use]
    pub fn line_of(&self, at: usize) -> usize {
        self.ends().partition_point(|&end| end < at) + 1
    }

    /// Returns the bytes of a line of its text, from 1 on, without its end.
    #[must_use]
    pub fn line(&self, line: usize) -> Range<usize> {
        let ends = self.ends();
        let start = line.checked_sub(2).and_then(|before| ends.get(before)).map_or(0, |end| end + 1);
        start..ends.get(line.saturating_sub(1)).copied().unwrap_or(self.text.len())
    }

    /// Returns how many lines its text has.
    #[must_use]
    pub fn line_count(&self) -> usize {
        self.ends().len() + usize::from(!self.text.is_empty() && !self.text.ends_with('\n'))
    }

    fn ends(&self) -> &[usize] {
        self.lines.get_or_init(|| memchr::memchr_iter(b'\n', self.text.as_bytes()).collect())
    }
}

/// How the names of files end that are YAML or JSON.
const STRUCTURED: &[&str] = &[".yaml", ".yml", ".json", ".yaml.dec", ".yml.dec", ".json.dec"];
