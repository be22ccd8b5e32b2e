//! Files that configurations name: relative to the kustomization, and never out of the root.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use selkie::render::Limits;
use selkie::secret::SecretBytes;

use super::FaceError;
use crate::render::root::root_of;

/// Where files are read from.
pub(super) struct Files<'a> {
    /// The folder of the kustomization.
    folder: PathBuf,
    /// What no path leads out of.
    root: PathBuf,
    limits: &'a Limits,
}

impl<'a> Files<'a> {
    /// Returns the files around a folder. The root is the one that is given, or the repository that the folder is in, or
    /// the folder itself.
    pub(super) fn new(folder: &Path, root: Option<&Path>, limits: &'a Limits) -> Result<Self, FaceError> {
        let failed = |what: &Path, source| FaceError::Io { what: what.display().to_string(), source };
        let folder = folder.canonicalize().map_err(|error| failed(folder, error))?;
        let root = match root {
            Some(root) => root.canonicalize().map_err(|error| failed(root, error))?,
            None => root_of(&folder),
        };
        Ok(Self { folder, root, limits })
    }

    /// Reads a file.
    pub(super) fn read(&self, path: &str) -> Result<SecretBytes, FaceError> {
        let failed = |source| FaceError::Io { what: path.to_owned(), source };
        let real = self.folder.join(path).canonicalize().map_err(failed)?;
        if !real.starts_with(&self.root) {
            let root = self.root.display().to_string();
            return Err(FaceError::Outside { path: path.to_owned(), root });
        }
        if !fs::metadata(&real).map_err(failed)?.is_file() {
            let reason = "is not a regular file".to_owned();
            return Err(FaceError::Config { place: path.to_owned(), reason });
        }
        let mut text = Vec::new();
        let most = self.limits.file_bytes;
        let file = File::open(&real).map_err(failed)?;
        let read = file.take(most.saturating_add(1)).read_to_end(&mut text);
        let text = SecretBytes::from(text);
        read.map_err(failed)?;
        self.limits.check_file(path, text.len() as u64).map_err(selkie::render::RenderError::from)?;
        Ok(text)
    }

    /// Returns the path of a file, or those of the files in a folder, whose names do not start with a dot.
    pub(super) fn list(&self, path: &str) -> Result<Vec<String>, FaceError> {
        let place = self.folder.join(path);
        if !place.is_dir() {
            return Ok(vec![path.to_owned()]);
        }
        let failed = |source| FaceError::Io { what: path.to_owned(), source };
        let mut found = Vec::new();
        for entry in fs::read_dir(place).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') {
                continue;
            }
            let below = format!("{}/{name}", path.trim_end_matches('/'));
            // Links to folders could go round for ever.
            if entry.file_type().map_err(failed)?.is_dir() {
                found.extend(self.list(&below)?);
            } else if self.folder.join(&below).is_file() {
                found.push(below);
            }
            self.limits.check_files(found.len()).map_err(selkie::render::RenderError::from)?;
        }
        found.sort();
        Ok(found)
    }
}

/// Returns the name that a file has for the engine, which passes over names with a dot at their start, and knows no `..`.
pub(super) fn name_of(path: &str) -> String {
    let names = path.split('/').filter(|name| !matches!(*name, "" | "." | ".."));
    let visible = |name: &str| if name.starts_with('.') { format!("file{name}") } else { name.to_owned() };
    names.map(visible).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_below_the_root_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        fs::create_dir_all(path("r/a/sub")).expect("folders");
        for (name, text) in [("r/x", "1"), ("r/a/sub/y", "2"), ("z", "3"), ("r/a/sub/.hidden", "4")] {
            fs::write(path(name), text).expect("a file");
        }
        std::os::unix::fs::symlink(path("z"), path("r/a/link")).expect("a link");
        let limits = Limits::default();
        let files = Files::new(&path("r/a"), Some(&path("r")), &limits).expect("files");
        assert_eq!(files.read("../x").expect("inside").expose_secret(), b"1");
        for outside in ["link", "../../z"] {
            assert!(matches!(files.read(outside), Err(FaceError::Outside { .. })), "{outside}");
        }
        assert!(matches!(files.read("sub"), Err(FaceError::Config { .. })));
        assert_eq!(files.list("sub").expect("a list"), ["sub/y"]);
        let alone = Files::new(&path("r/a"), None, &limits).expect("files");
        assert!(matches!(alone.read("../x"), Err(FaceError::Outside { .. })));
        fs::create_dir(path("r/.git")).expect("a folder");
        let repository = Files::new(&path("r/a"), None, &limits).expect("files");
        assert!(repository.read("../x").is_ok());
    }

    #[test]
    fn names_for_the_engine_are_visible() {
        assert_eq!(name_of("../a/./.env"), "a/file.env");
    }
}
