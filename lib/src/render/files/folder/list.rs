//! What is in a folder, and in those below it.

use std::os::fd::OwnedFd;
use std::rc::Rc;

use rustix::fs::{Dir, FileType, OFlags, fstat};

use super::{FilesError, failed, open_below};
use crate::render::Limits;

/// Returns the paths of all files, sorted: those below links to folders, and links that lead nowhere or out, included.
pub(super) fn files(root: &OwnedFd, limits: &Limits) -> Result<Vec<String>, FilesError> {
    let (mut files, mut seen) = (Vec::new(), 0);
    let mut folders = vec![(String::new(), None::<Rc<Within>>)];
    while let Some((path, above)) = folders.pop() {
        let folder = open_folder(root, &path)?;
        let about = fstat(&folder).map_err(|error| failed(&path, error))?;
        let id = (about.st_dev, about.st_ino);
        // A folder that is below itself by a link.
        if within(above.as_ref()).any(|within| within.id == id) {
            continue;
        }
        let here = Rc::new(Within { id, above });
        for entry in Dir::read_from(&folder).map_err(|error| failed(&path, error))? {
            let entry = entry.map_err(|error| failed(&path, error))?;
            let Some(below) = path_of(&path, entry.file_name().to_bytes())? else { continue };
            seen += 1;
            limits.check_files(seen)?;
            if is_folder(root, &below, entry.file_type())? {
                folders.push((below, Some(Rc::clone(&here))));
            } else {
                files.push(below);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// A folder by what the system calls it, and all that it is in.
struct Within {
    id: (u64, u64),
    above: Option<Rc<Within>>,
}

fn within(first: Option<&Rc<Within>>) -> impl Iterator<Item = &Within> {
    std::iter::successors(first.map(AsRef::as_ref), |within| within.above.as_deref())
}

fn open_folder(root: &OwnedFd, path: &str) -> Result<OwnedFd, FilesError> {
    let path = if path.is_empty() { "." } else { path };
    open_below(root, path, OFlags::RDONLY | OFlags::DIRECTORY)
}

/// Returns the path of an entry of a folder; `None` for what is left out.
fn path_of(folder: &str, name: &[u8]) -> Result<Option<String>, FilesError> {
    if matches!(name, b"." | b".." | b".git") {
        return Ok(None);
    }
    let join = |name: &str| if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
    match str::from_utf8(name) {
        Ok(name) => Ok(Some(join(name))),
        Err(_) => {
            let source = std::io::Error::other("its name is not UTF-8");
            Err(FilesError::Io { path: join(&String::from_utf8_lossy(name)), source })
        }
    }
}

/// Returns whether a path is a folder, or a link to one that is inside. What a link is otherwise is told when it is read.
fn is_folder(root: &OwnedFd, path: &str, kind: FileType) -> Result<bool, FilesError> {
    if !matches!(kind, FileType::Symlink | FileType::Unknown) {
        return Ok(kind == FileType::Directory);
    }
    let Ok(file) = open_below(root, path, OFlags::PATH) else { return Ok(false) };
    let about = fstat(file).map_err(|error| failed(path, error))?;
    Ok(FileType::from_raw_mode(about.st_mode) == FileType::Directory)
}
