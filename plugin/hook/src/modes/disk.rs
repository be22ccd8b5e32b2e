//! Files of the disk, and what is given to the program.
//!
//! Invariants: a file that was named and cannot be read is an error; of a folder, files are left out that the lists of
//! its own repository name and Git does not know, and they are counted; nothing named `.git` is read.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, OnceLock};

use ignore::WalkBuilder;
use selkie::check::{Mode, Snapshot};

use crate::change::{Change, Item, Source};
use crate::git::{GitError, Repository, text};

/// Files, and the files of folders.
pub(super) fn paths(
    repository: Option<&Repository>,
    paths: &[PathBuf],
    folder: &Path,
    visit: &mut dyn FnMut(Change) -> Result<(), GitError>,
) -> Result<(), GitError> {
    let place = Place::of(repository, folder)?;
    let mut items = BTreeMap::new();
    let mut folders = Vec::new();
    for path in paths {
        let absolute = place.absolute(path)?;
        let found = std::fs::metadata(&absolute).map_err(|error| unreadable(path, &error))?;
        if found.is_dir() {
            walk(place.listed(), &absolute, |path, kind| add(&place, path, kind, &mut items))?;
            folders.push(absolute);
        } else if found.is_file() {
            let item = place.item(&absolute, Mode::File, Source::Disk(absolute.clone()));
            items.insert(item.path.clone(), item);
        } else {
            let reason = "it is no file and no folder".to_owned();
            return Err(GitError::File { path: path.display().to_string(), reason });
        }
    }
    let mut left_out = 0;
    if let (Some(repository), false) = (repository.filter(|it| !it.is_bare()), folders.is_empty()) {
        let is_wanted = |path: &PathBuf| folders.iter().any(|folder| path.starts_with(folder));
        for path in list(repository, KNOWN)?.into_iter().filter(is_wanted) {
            if !items.contains_key(&place.path(&path)) {
                let kind = std::fs::symlink_metadata(&path).ok().map(|found| found.file_type());
                add(&place, &path, kind, &mut items)?;
            }
        }
        let ignored = list(repository, IGNORED)?.into_iter().filter(is_wanted);
        left_out = ignored.filter(|path| !items.contains_key(&place.path(path))).count();
    }
    visit(Change {
        label: String::new(),
        after: Arc::new(Disk::new(&place)),
        before: None,
        policy: None,
        others: Vec::new(),
        others_before: None,
        items: items.into_values().collect(),
        left_out,
        is_whole: false,
    })
}

/// What is given to the program, as if it were at a path.
pub(super) fn stdin(
    repository: Option<&Repository>,
    path: &str,
    folder: &Path,
    input: &mut dyn Read,
    visit: &mut dyn FnMut(Change) -> Result<(), GitError>,
) -> Result<(), GitError> {
    let place = Place::of(repository, folder)?;
    let mut content = Vec::new();
    let read = input.take(MAX_INPUT + 1).read_to_end(&mut content);
    read.map_err(|error| unreadable(Path::new("the standard input"), &error))?;
    if content.len() as u64 > MAX_INPUT {
        return Err(GitError::Unreadable("the standard input is too large".to_owned()));
    }
    let content: Arc<[u8]> = content.into();
    // From the top on: which rules hold does not depend on where somebody is.
    let absolute = place.absolute(&place.top.join(path))?;
    let item = place.item(&absolute, Mode::File, Source::Bytes(Arc::clone(&content)));
    let after = Given { path: item.path.clone(), content, others: Disk::new(&place), paths: OnceLock::new() };
    let (label, items) = (String::new(), vec![item]);
    visit(Change {
        label,
        after: Arc::new(after),
        before: None,
        items,
        is_whole: false,
        policy: None,
        others: Vec::new(),
        others_before: None,
        left_out: 0,
    })
}

/// Where paths start.
struct Place {
    folder: PathBuf,
    /// The top of the repository; without one, the folder.
    top: PathBuf,
    has_repository: bool,
}

impl Place {
    fn of(repository: Option<&Repository>, folder: &Path) -> Result<Self, GitError> {
        let folder = folder.canonicalize().map_err(|error| unreadable(folder, &error))?;
        let repository = repository.filter(|repository| !repository.is_bare());
        let top = repository.map_or_else(|| folder.clone(), |repository| repository.top().to_owned());
        Ok(Self { folder, top, has_repository: repository.is_some() })
    }

    /// Returns the folder from which on lists say what Git ignores.
    fn listed(&self) -> Option<&Path> {
        self.has_repository.then_some(self.top.as_path())
    }

    /// Returns where a path leads, with the links of its folder followed, but not its own.
    fn absolute(&self, path: &Path) -> Result<PathBuf, GitError> {
        let path = plain(&self.folder.join(path));
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(path) };
        match parent.canonicalize() {
            Ok(parent) => Ok(parent.join(name)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(path),
            Err(error) => Err(unreadable(&path, &error)),
        }
    }

    fn item(&self, absolute: &Path, mode: Mode, new: Source) -> Item {
        Item { path: self.path(absolute), mode, new, old: None }
    }

    /// Returns a path as people and rules know it.
    fn path(&self, absolute: &Path) -> String {
        let path = absolute.strip_prefix(&self.top).or_else(|_| absolute.strip_prefix(&self.folder));
        text(path.unwrap_or(absolute).as_os_str().as_bytes())
    }
}

/// All files below a folder, as they are when they are asked for.
struct Disk {
    top: PathBuf,
    has_repository: bool,
    paths: OnceLock<Vec<String>>,
}

impl Disk {
    fn new(place: &Place) -> Self {
        Self { top: place.top.clone(), has_repository: place.has_repository, paths: OnceLock::new() }
    }

    fn find(&self, path: &str) -> Option<PathBuf> {
        let path = Path::new(path);
        let is_inside = path.components().all(|part| matches!(part, Component::Normal(_)));
        is_inside.then(|| self.top.join(path))
    }
}

impl Snapshot for Disk {
    fn paths(&self) -> &[String] {
        self.paths.get_or_init(|| {
            let mut paths = Vec::new();
            // A folder that cannot be listed holds no file that could be read: whoever names one is told so.
            let listed = self.has_repository.then_some(self.top.as_path());
            drop(walk(listed, &self.top, |path, _| {
                let path = path.strip_prefix(&self.top).unwrap_or(path);
                paths.push(text(path.as_os_str().as_bytes()));
                Ok(())
            }));
            paths.sort();
            paths
        })
    }

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        let Some(path) = self.find(path) else { return Ok(None) };
        if !path.is_file() {
            return Ok(None);
        }
        std::fs::read(path).map(Some).map_err(|error| error.kind().to_string())
    }

    fn contains(&self, path: &str) -> bool {
        self.find(path).is_some_and(|path| path.is_file())
    }
}

/// All files of the disk, and one that is not there.
struct Given {
    path: String,
    content: Arc<[u8]>,
    others: Disk,
    paths: OnceLock<Vec<String>>,
}

impl Snapshot for Given {
    fn paths(&self) -> &[String] {
        self.paths.get_or_init(|| {
            let mut paths = self.others.paths().to_vec();
            if let Err(index) = paths.binary_search(&self.path) {
                paths.insert(index, self.path.clone());
            }
            paths
        })
    }

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        if path == self.path { Ok(Some(self.content.to_vec())) } else { self.others.read(path) }
    }

    fn contains(&self, path: &str) -> bool {
        path == self.path || self.others.contains(path)
    }
}

/// Adds what a walk found.
fn add(
    place: &Place,
    path: &Path,
    kind: Option<std::fs::FileType>,
    items: &mut BTreeMap<String, Item>,
) -> Result<(), GitError> {
    let item = match kind {
        Some(kind) if kind.is_file() => place.item(path, Mode::File, Source::Disk(path.to_owned())),
        Some(kind) if kind.is_symlink() => {
            let target = std::fs::read_link(path).map_err(|error| unreadable(path, &error))?;
            place.item(path, Mode::Link, Source::Bytes(target.as_os_str().as_bytes().into()))
        }
        _ => return Ok(()),
    };
    items.entry(item.path.clone()).or_insert(item);
    Ok(())
}

/// Gives all files and links below a folder to `take`, but for those that Git ignores: as the lists say from the folder
/// `listed` down, and no list above it. In a folder that is itself ignored there is nothing that is not wanted.
fn walk(
    listed: Option<&Path>,
    folder: &Path,
    mut take: impl FnMut(&Path, Option<std::fs::FileType>) -> Result<(), GitError>,
) -> Result<(), GitError> {
    let listed = listed.filter(|top| folder.starts_with(top));
    let mut builder = WalkBuilder::new(listed.unwrap_or(folder));
    builder.standard_filters(false).require_git(false);
    builder.git_ignore(listed.is_some()).git_exclude(listed.is_some());
    let wanted = folder.to_owned();
    builder.filter_entry(move |entry| {
        let path = entry.path();
        entry.file_name() != ".git" && (path.starts_with(&wanted) || wanted.starts_with(path))
    });
    let mut is_found = false;
    for entry in builder.build() {
        let entry = entry.map_err(|error| GitError::Unreadable(format!("{}: {error}", folder.display())))?;
        is_found |= entry.path() == folder;
        let kind = entry.file_type();
        if kind.is_some_and(|kind| !kind.is_dir()) && entry.path() != folder {
            take(entry.path(), kind)?;
        }
    }
    if is_found || listed.is_none() { Ok(()) } else { walk(None, folder, take) }
}

/// Returns the files of the worktree that `git` lists.
fn list(repository: &Repository, arguments: &[&str]) -> Result<Vec<PathBuf>, GitError> {
    let exclude = repository.common_dir().join("info/exclude");
    let mut arguments: Vec<_> = arguments.iter().map(OsStr::new).collect();
    let mut option = std::ffi::OsString::from("--exclude-from=");
    option.push(&exclude);
    if exclude.is_file() {
        arguments.push(&option);
    }
    let output = repository.run(&arguments, b"")?;
    let paths = output.split(|byte| *byte == 0).filter(|path| !path.is_empty());
    Ok(paths.map(|path| repository.top().join(OsStr::from_bytes(path))).collect())
}

/// Returns a path without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}

fn unreadable(path: &Path, error: &std::io::Error) -> GitError {
    GitError::File { path: path.display().to_string(), reason: error.kind().to_string() }
}

/// How the files are listed that Git knows.
const KNOWN: &[&str] = &["ls-files", "-z", "-c"];

/// How the files are listed that Git does not know and ignores.
const IGNORED: &[&str] = &["ls-files", "-z", "-o", "-i", "--exclude-per-directory=.gitignore"];

/// How much may be given to the program.
const MAX_INPUT: u64 = 1 << 30;
