//! The copy of a file in the worktree: replaced only where it is what was staged.
//!
//! Invariants: links are never followed; a file is replaced in one step, by one with the same mode; a copy with edits
//! of its own, or one that cannot be written, stays as it is.

use std::fs::{self, Metadata};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use selkie::secret::SecretBytes;

use super::index::{Entry, Git, to_os};

/// A copy of a file in the worktree.
pub(super) enum Copy {
    /// There is none.
    Absent,
    /// It has edits that are not staged, or is no file.
    Edited,
    /// It is what is staged, and must not be replaced, for this reason.
    Kept(&'static str),
    /// It is what is staged: these bytes.
    Same(SecretBytes),
}

/// Looks at the copy of an entry.
pub(super) fn look(git: &Git, entry: &Entry) -> Result<Copy, String> {
    let Some(path) = place(git.top(), &entry.path) else { return Ok(Copy::Edited) };
    let metadata = match fs::symlink_metadata(&path) {
        Ok(metadata) if metadata.is_file() => metadata,
        Ok(_) => return Ok(Copy::Edited),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Copy::Absent),
        Err(error) => return Err(format!("it cannot be read: {error}")),
    };
    if metadata.len() > MAX_SIZE {
        return Ok(Copy::Edited);
    }
    let content = SecretBytes::from(fs::read(&path).map_err(|error| format!("it cannot be read: {error}"))?);
    if git.cleaned(&entry.path, content.expose_secret())? != entry.blob {
        return Ok(Copy::Edited);
    }
    Ok(match () {
        () if metadata.permissions().readonly() => Copy::Kept("it is read-only"),
        () if has_other_names(&metadata) => Copy::Kept("the file has other names, too"),
        () => Copy::Same(content),
    })
}

/// Puts a new content in the place of a copy, if that is still the old one.
pub(super) fn replace(git: &Git, entry: &Entry, old: &SecretBytes, new: &SecretBytes) -> io::Result<()> {
    let changed = || io::Error::other("it was changed meanwhile");
    let path = place(git.top(), &entry.path).ok_or_else(changed)?;
    let folder = path.parent().ok_or_else(changed)?;
    let mut file = tempfile::Builder::new().prefix(".seal-").tempfile_in(folder)?;
    file.write_all(new.expose_secret())?;
    file.as_file().set_permissions(fs::symlink_metadata(&path)?.permissions())?;
    file.as_file().sync_all()?;
    if !fs::symlink_metadata(&path)?.is_file() || fs::read(&path)? != old.expose_secret() {
        return Err(changed());
    }
    file.persist(&path).map_err(|error| error.error)?;
    Ok(())
}

/// Returns where an entry is in the worktree; nothing if a link is on the way there.
fn place(top: &Path, path: &[u8]) -> Option<PathBuf> {
    let relative = PathBuf::from(to_os(path));
    let mut folder = top.to_owned();
    for part in relative.parent()?.components() {
        folder.push(part);
        if fs::symlink_metadata(&folder).is_ok_and(|metadata| !metadata.is_dir()) {
            return None;
        }
    }
    Some(top.join(relative))
}

#[cfg(unix)]
fn has_other_names(metadata: &Metadata) -> bool {
    std::os::unix::fs::MetadataExt::nlink(metadata) > 1
}

#[cfg(not(unix))]
const fn has_other_names(_: &Metadata) -> bool {
    false
}

/// How large a copy is at most that is read.
const MAX_SIZE: u64 = 256 << 20;
