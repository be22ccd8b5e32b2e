//! What Git tells a program that it calls in place of its own diff.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::context::Context;
use crate::failure::Failure;

/// What Git wants to have shown.
pub(super) enum Change {
    /// A file with a conflict.
    Unmerged(OsString),
    /// Two versions of a file.
    Versions {
        /// Its path.
        path: OsString,
        /// Its path in the new version.
        now: OsString,
        /// What Git says of a file that has another path now.
        told: String,
        /// What was there.
        old: Side,
        /// What is there.
        new: Side,
    },
}

/// One version of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Side {
    /// Where Git put it; `/dev/null` if the file is not there.
    file: PathBuf,
    /// The name of its blob; zeros if it is the file of the worktree.
    pub hash: String,
    /// Its mode, in octal.
    pub mode: String,
}

impl Change {
    /// Reads the arguments.
    ///
    /// # Errors
    /// If they are not those of Git.
    pub(super) fn read(arguments: &[OsString]) -> Result<Self, Failure> {
        let text = |argument: &OsString| argument.to_string_lossy().into_owned();
        match arguments {
            [path] => Ok(Self::Unmerged(path.clone())),
            [path, old, old_hash, old_mode, new, new_hash, new_mode, rest @ ..] => Ok(Self::Versions {
                path: path.clone(),
                now: rest.first().unwrap_or(path).clone(),
                told: rest.get(1).map(text).unwrap_or_default(),
                old: Side { file: old.into(), hash: text(old_hash), mode: text(old_mode) },
                new: Side { file: new.into(), hash: text(new_hash), mode: text(new_mode) },
            }),
            _ => Err(Failure::Usage(
                "Git calls this with a path, and file, hash and mode of two versions; to compare files \
                 yourself, run `kubectl seal diff`"
                    .to_owned(),
            )),
        }
    }
}

impl Side {
    /// Returns whether the file is there in this version.
    pub(super) fn is_there(&self) -> bool {
        self.mode != "."
    }

    /// Returns where the version is.
    pub(super) fn path(&self, context: &Context<'_>) -> PathBuf {
        if self.is_there() { context.session.absolute(&self.file) } else { PathBuf::from("/dev/null") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<Change, Failure> {
        Change::read(&arguments.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn a_file_that_moved_has_two_paths() {
        let arguments = ["a", "/tmp/x", "1", "100644", "/tmp/y", "2", "100755", "b", "rename from a\n"];
        let Ok(Change::Versions { path, now, told, old, new }) = read(&arguments) else { panic!("versions") };
        assert_eq!((path.to_str(), now.to_str(), told.as_str()), (Some("a"), Some("b"), "rename from a\n"));
        assert!(old.is_there() && new.is_there());
    }

    #[test]
    fn a_new_file_was_not_there() {
        let Ok(Change::Versions { old, now, .. }) = read(&["a", "/dev/null", ".", ".", "a", "2", "100644"])
        else {
            panic!("versions")
        };
        assert!(!old.is_there() && now == "a");
    }

    #[test]
    fn one_argument_is_a_conflict_and_others_are_an_error() {
        assert!(matches!(read(&["a b"]), Ok(Change::Unmerged(path)) if path == "a b"));
        assert!(matches!(read(&["a", "b"]), Err(Failure::Usage(_))));
    }
}
