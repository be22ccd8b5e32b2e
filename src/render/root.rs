//! The root of files: what no path leads out of, if nobody says another one.

use std::path::{Path, PathBuf};

/// Returns the nearest folder above a path, or the path itself, that is a repository of Git, and the path itself if there
/// is none.
#[must_use]
pub fn root_of(path: &Path) -> PathBuf {
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let root = whole.ancestors().find(|folder| folder.join(".git").symlink_metadata().is_ok());
    root.map_or_else(|| whole.clone(), Path::to_owned)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_repository_is_the_root_of_its_folders() {
        let folder = tempfile::tempdir().expect("a folder");
        let whole = folder.path().canonicalize().expect("a path");
        let below = whole.join("a/b");
        fs::create_dir_all(&below).expect("folders");
        assert_eq!(root_of(&below), below);
        // The one of a submodule or worktree is a file.
        fs::write(whole.join(".git"), "gitdir: x").expect("a file");
        assert_eq!(root_of(&below), whole);
        fs::create_dir(below.join(".git")).expect("a folder");
        assert_eq!(root_of(&below), below);
    }
}
