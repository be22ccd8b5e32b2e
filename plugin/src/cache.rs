//! The user's folder for what can be made or fetched again: certificates of clusters, digests of what was sealed.
//!
//! What is in it decides for whom values are sealed, and which keep their ciphertext: it is the owner's alone, and
//! nothing is used that somebody else could have written.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::files;
use crate::session::Environment;

/// Returns the folder; none without a home.
#[must_use]
pub fn folder(environment: &Environment) -> Option<PathBuf> {
    // A relative path would name another folder in each working directory.
    let named = environment.get("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let usual = || {
        environment
            .get("HOME")
            .or(environment.get("USERPROFILE"))
            .map(|home| PathBuf::from(home).join(".cache"))
    };
    Some(named.or_else(usual)?.join("kubectl-seal"))
}

/// Makes the folder of a file, for its owner alone, even if it was there before.
///
/// # Errors
/// If it cannot be made.
pub fn make_folder(path: &Path) -> io::Result<()> {
    let folder = files::folder_of(path);
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
        builder.mode(0o700).create(folder)?;
        if fs::metadata(folder)?.permissions().mode() & 0o077 != 0 {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
        }
        Ok(())
    }
    #[cfg(not(unix))]
    builder.create(folder)
}

/// Returns whether a file and its folder are the user's, and nobody else can write to them. A file that is not is
/// removed, if it can be.
#[cfg(unix)]
#[must_use]
pub fn is_own(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let user = nix::unistd::geteuid().as_raw();
    // A link that somebody else made leads to what they like.
    let is_own = |path: &Path| {
        fs::symlink_metadata(path)
            .is_ok_and(|found| found.uid() == user && (found.is_symlink() || found.mode() & 0o022 == 0))
    };
    let is_good = is_own(files::folder_of(path))
        && is_own(path)
        && fs::metadata(path).is_ok_and(|found| found.uid() == user && found.mode() & 0o022 == 0);
    if !is_good {
        // Whether or not it goes, it is not used.
        let _ = fs::remove_file(path);
    }
    is_good
}

/// Returns whether a file is the user's: who else could write to it cannot be told here.
#[cfg(not(unix))]
#[must_use]
pub fn is_own(_: &Path) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_absolute_folder_is_one() {
        let folder = |variables: &[(&str, &str)]| folder(&variables.iter().copied().collect());
        let found = folder(&[("XDG_CACHE_HOME", "x"), ("HOME", "/h")]);
        assert_eq!(found, Some("/h/.cache/kubectl-seal".into()));
        assert_eq!(folder(&[("XDG_CACHE_HOME", "/x"), ("HOME", "/h")]), Some("/x/kubectl-seal".into()));
        assert_eq!(folder(&[]), None);
    }

    #[cfg(unix)]
    #[test]
    fn what_others_could_have_written_is_removed() {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().expect("a folder");
        let path = home.path().join("a/b/copy");
        make_folder(&path).expect("it is made");
        let folder = path.parent().expect("it has one");
        let mode = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
        };
        for (folder_mode, file_mode, is_good) in
            [(0o700, 0o600, true), (0o755, 0o644, true), (0o700, 0o620, false), (0o770, 0o600, false)]
        {
            fs::write(&path, "x").expect("written");
            mode(&path, file_mode);
            mode(folder, folder_mode);
            assert_eq!((is_own(&path), path.exists()), (is_good, is_good), "{folder_mode:o} {file_mode:o}");
        }
        make_folder(&path).expect("it is there");
        assert_eq!(fs::metadata(folder).expect("it is there").permissions().mode() & 0o777, 0o700);
    }
}
