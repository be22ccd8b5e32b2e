//! The lines of a file with attributes that are ours.
//!
//! Invariants: what is outside of our marks stays byte for byte. What a repository brings along does not lead out of it: a
//! link in the place of the file is not followed.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::files::{self, Audience};

/// A file with attributes, which may have our lines.
#[derive(Debug)]
pub(super) struct Block {
    path: PathBuf,
    name: String,
    /// What is in the file; nothing if there is none.
    text: Vec<u8>,
    /// Where our lines are: once, unless somebody merged them by lines.
    places: Vec<Range<usize>>,
}

impl Block {
    /// Reads the file; `name` is what people call it.
    ///
    /// # Errors
    /// If it cannot be read, or the end of our lines is missing.
    pub(super) fn read(path: &Path, name: &str) -> Result<Self, Failure> {
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(Failure::io("read", name)(error)),
        };
        let places = places(&text).map_err(|line| {
            Failure::Check(format!("{name}:{line}: the end of these lines is missing: take them out"))
        })?;
        Ok(Self { path: path.to_owned(), name: name.to_owned(), text, places })
    }

    /// Returns the text of the file with these lines as ours. New ones are put in front: what the user says below wins.
    pub(super) fn with(&self, lines: &[String]) -> Vec<u8> {
        let start = self.places.first().map_or(0, |place| place.start);
        let mut text = self.text[..start].to_vec();
        text.extend_from_slice(block(lines).as_bytes());
        text.extend(self.others(start));
        text
    }

    /// Returns whether the file has this text.
    pub(super) fn is(&self, text: &[u8]) -> bool {
        self.text == text
    }

    /// Writes the file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn write(&self, text: &[u8]) -> Result<(), Failure> {
        let failed = || Failure::io("write", self.name.clone());
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder).map_err(failed())?;
        }
        files::write(&self.path, text, Audience::Everyone).map_err(failed())
    }

    /// Takes our lines out, and the file if nothing else is in it; returns whether there were any.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn remove(&self) -> Result<bool, Failure> {
        if self.places.is_empty() {
            return Ok(false);
        }
        let text = self.others(0);
        if text.is_empty() {
            std::fs::remove_file(&self.path).map_err(Failure::io("remove", self.name.clone()))?;
        } else {
            self.write(&text)?;
        }
        Ok(true)
    }

    /// Returns what people call the file.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Returns what is not ours, from a position on.
    fn others(&self, mut position: usize) -> Vec<u8> {
        let mut text = Vec::with_capacity(self.text.len());
        for place in &self.places {
            text.extend_from_slice(&self.text[position..place.start]);
            position = place.end;
        }
        text.extend_from_slice(&self.text[position..]);
        text
    }
}

/// Makes sure that a path is that of a regular file, or of nothing.
///
/// # Errors
/// If something else is there, such as a link, or that cannot be told.
pub(super) fn check_regular(path: &Path, name: &str) -> Result<(), Failure> {
    let kind = match path.symlink_metadata() {
        Ok(metadata) if metadata.is_file() => return Ok(()),
        Ok(metadata) if metadata.is_symlink() => "a symbolic link, which may lead out of the repository",
        Ok(_) => "no regular file",
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Failure::io("read", name)(error)),
    };
    Err(Failure::Check(format!(
        "{name} is {kind}, and nothing was written: look where it came from, remove it, and run this again"
    )))
}

/// Makes sure that a path below the top of a worktree is that of a regular file, or of nothing, and that no folder on
/// the way is a link. Other paths are the user's own.
///
/// # Errors
/// If something else is there, or that cannot be told.
pub(super) fn check_below(top: &Path, path: &Path, name: &str) -> Result<(), Failure> {
    let Ok(top) = top.canonicalize() else { return Ok(()) };
    let is_top = |folder: &&Path| folder.canonicalize().is_ok_and(|folder| folder == top);
    // The outermost one: a link may lead back to the top.
    let Some(start) = path.ancestors().filter(is_top).last() else { return Ok(()) };
    for folder in path.ancestors().skip(1).take_while(|folder| *folder != start) {
        if folder.is_symlink() {
            return Err(Failure::Check(format!(
                "{name} is behind the symbolic link {}, which may lead out of the repository, and nothing was \
                 written: name the file itself",
                folder.display()
            )));
        }
    }
    check_regular(path, name)
}

/// Returns our lines with their marks.
pub(super) fn block(lines: &[String]) -> String {
    let mut text = format!("{START}\n{NOTICE}\n");
    for line in lines {
        text.push_str(line);
        text.push('\n');
    }
    text.push_str(END);
    text.push('\n');
    text
}

/// Returns where our lines are in a text; the 1-based line of a start without an end is an error.
fn places(text: &[u8]) -> Result<Vec<Range<usize>>, usize> {
    let (mut position, mut start, mut places) = (0, None, Vec::new());
    for (index, line) in text.split_inclusive(|&byte| byte == b'\n').enumerate() {
        let end = position + line.len();
        let line = line.trim_ascii_end();
        match start {
            None if line == START.as_bytes() => start = Some((position, index + 1)),
            Some((_, line_of_start)) if line == START.as_bytes() => return Err(line_of_start),
            Some((begin, _)) if line == END.as_bytes() => {
                places.push(begin..end);
                start = None;
            }
            _ => {}
        }
        position = end;
    }
    start.map_or(Ok(places), |(_, line)| Err(line))
}

const START: &str = "# >>> kubectl seal git install";

const NOTICE: &str =
    "# Encrypted files are merged and shown by their values; what is not encrypted, as ever.";

const END: &str = "# <<< kubectl seal git install";

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: impl AsRef<[u8]>) -> Block {
        let text = text.as_ref().to_vec();
        let places = places(&text).expect("an end");
        Block { path: PathBuf::new(), name: String::new(), text, places }
    }

    #[test]
    fn lines_are_put_in_once_and_leave_the_rest_alone() {
        let lines = ["*.yaml merge=seal diff=seal".to_owned()];
        let first = file("* text=auto\r\n*.png -diff").with(&lines);
        assert_eq!(first, format!("{}* text=auto\r\n*.png -diff", block(&lines)).into_bytes());
        assert_eq!(file(&first).with(&lines), first);
        let moved = [b"a \xff\n", &first[..]].concat();
        let other = file(&moved).with(&[]);
        let wanted = [b"a \xff\n", block(&[]).as_bytes(), b"* text=auto\r\n*.png -diff"].concat();
        assert_eq!(other, wanted);
    }

    #[test]
    fn all_blocks_are_ours_and_one_is_left() {
        let (ours, lines) = (block(&["a merge=seal".to_owned()]), ["b merge=seal".to_owned()]);
        let twice = file(format!("x y\n{ours}z w\n{ours}end"));
        assert_eq!(twice.with(&lines), format!("x y\n{}z w\nend", block(&lines)).into_bytes());
        assert_eq!(twice.others(0), b"x y\nz w\nend");
    }

    #[test]
    fn a_start_without_an_end_is_told() {
        assert_eq!(places(format!("a\n{START}\nb\n").as_bytes()), Err(2));
        assert_eq!(places(format!("{START}\nb\n{START}\n{END}\n").as_bytes()), Err(1));
    }
}
