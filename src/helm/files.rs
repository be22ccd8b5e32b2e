//! Which files an address may name.
//!
//! Invariant: a file outside of the folder in which Helm runs, or of the Git repository around it, is read only where a
//! variable of helm-secrets allows it; here all of them deny if they are not set.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};

use selkie::secret::SecretBytes;

/// What may be read.
#[derive(Clone, Debug)]
pub struct Allowed {
    /// The folder in which Helm runs.
    pub folder: PathBuf,
    /// Whether absolute paths may be named.
    pub absolute: bool,
    /// Whether links may lead out.
    pub links: bool,
    /// Whether paths may lead out.
    pub traversal: bool,
    /// The folder below which keys lie; the repository, if nothing is said.
    pub key_prefix: Option<PathBuf>,
}

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The path is absolute.
    #[error("{0}: is an absolute path; HELM_SECRETS_VALUES_ALLOW_ABSOLUTE_PATH=true allows it")]
    Absolute(String),
    /// The system refuses.
    #[error("{0}: cannot be read")]
    Io(String, #[source] io::Error),
    /// The key is somewhere else than keys may be.
    #[error(
        "{0}: is a key that does not lie below HELM_SECRETS_KEY_LOCATION_PREFIX, or, without that, in the folder and the Git repository around it"
    )]
    KeyPrefix(String),
    /// It is larger than is read.
    #[error("{0}: is larger than {LARGEST} bytes, the most that is read")]
    Large(String),
    /// A link leads out.
    #[error(
        "{0}: a link leads out of the folder and of the Git repository around it; HELM_SECRETS_VALUES_ALLOW_SYMLINKS=true allows it"
    )]
    Link(String),
    /// It is a folder, device or the like.
    #[error("{0}: is not a regular file")]
    Special(String),
    /// The path leads out.
    #[error(
        "{0}: leads out of the folder and of the Git repository around it; HELM_SECRETS_VALUES_ALLOW_PATH_TRAVERSAL=true allows it"
    )]
    Traversal(String),
}

impl Allowed {
    /// Returns what variables allow.
    ///
    /// # Errors
    /// If the system does not know the folder of the process.
    pub fn of_environment(variable: fn(&str) -> Option<String>) -> Result<Self, FileError> {
        let folder =
            std::env::current_dir().map_err(|error| FileError::Io("the folder".to_owned(), error))?;
        let is = |name: &str| variable(name).is_some_and(|value| value == "true");
        Ok(Self {
            folder,
            absolute: is("HELM_SECRETS_VALUES_ALLOW_ABSOLUTE_PATH"),
            links: is("HELM_SECRETS_VALUES_ALLOW_SYMLINKS"),
            traversal: is("HELM_SECRETS_VALUES_ALLOW_PATH_TRAVERSAL"),
            key_prefix: variable("HELM_SECRETS_KEY_LOCATION_PREFIX")
                .filter(|prefix| !prefix.is_empty())
                .map(PathBuf::from),
        })
    }

    /// Reads a file with values; `None` if there is none.
    ///
    /// # Errors
    /// If it may not be read, or cannot be.
    pub fn read(&self, path: &str) -> Result<Option<SecretBytes>, FileError> {
        let failed = |error| FileError::Io(path.to_owned(), error);
        let named = Path::new(path);
        if named.is_absolute() && !self.absolute {
            return Err(FileError::Absolute(path.to_owned()));
        }
        let folder = self.folder.canonicalize().map_err(failed)?;
        let root = root_of(&folder);
        let joined = folder.join(named);
        let is_inside = lexical(&joined).is_some_and(|path| path.starts_with(root));
        if !named.is_absolute() && !is_inside && !self.traversal {
            return Err(FileError::Traversal(path.to_owned()));
        }
        let real = match joined.canonicalize() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            real => real.map_err(failed)?,
        };
        if is_inside && !real.starts_with(root) && !self.links {
            return Err(FileError::Link(path.to_owned()));
        }
        read(&real, path).map(Some)
    }

    /// Reads a file with a key.
    ///
    /// # Errors
    /// If it may not be read, or cannot be.
    pub fn read_key(&self, path: &str) -> Result<SecretBytes, FileError> {
        let failed = |error| FileError::Io(path.to_owned(), error);
        let refused = || FileError::KeyPrefix(path.to_owned());
        let folder = self.folder.canonicalize().map_err(failed)?;
        let prefix = match &self.key_prefix {
            None => root_of(&folder).to_owned(),
            Some(prefix) => {
                let joined = folder.join(prefix);
                joined.canonicalize().ok().or_else(|| lexical(&joined)).ok_or_else(refused)?
            }
        };
        let joined = folder.join(path);
        let Ok(real) = joined.canonicalize() else {
            // Whether there is something elsewhere is not told.
            let is_below = lexical(&joined).is_some_and(|joined| joined.starts_with(&prefix));
            return Err(if is_below { failed(io::ErrorKind::NotFound.into()) } else { refused() });
        };
        if !real.starts_with(&prefix) {
            return Err(refused());
        }
        read(&real, path)
    }
}

/// Reads a regular file of usual size.
pub fn read(real: &Path, name: &str) -> Result<SecretBytes, FileError> {
    let failed = |error| FileError::Io(name.to_owned(), error);
    if !fs::metadata(real).map_err(failed)?.is_file() {
        return Err(FileError::Special(name.to_owned()));
    }
    let mut bytes = Vec::new();
    File::open(real).map_err(failed)?.take(LARGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
    let bytes = SecretBytes::from(bytes);
    if bytes.len() as u64 > LARGEST { Err(FileError::Large(name.to_owned())) } else { Ok(bytes) }
}

/// Returns the folder of the Git repository around a folder, or that folder.
fn root_of(folder: &Path) -> &Path {
    folder.ancestors().find(|folder| folder.join(".git").exists()).unwrap_or(folder)
}

/// Returns an absolute path without `.` and `..`.
fn lexical(path: &Path) -> Option<PathBuf> {
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                if !out.pop() {
                    return None;
                }
            }
            other => out.push(other),
        }
    }
    Some(out)
}

/// How much of a file is read.
pub const LARGEST: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    type Is = fn(&FileError) -> bool;

    fn folder() -> (tempfile::TempDir, Allowed) {
        let around = tempfile::tempdir().expect("a folder");
        let path = |name: &str| around.path().join(name);
        for name in ["repository/.git", "repository/chart"] {
            fs::create_dir_all(path(name)).expect("a folder");
        }
        for name in ["outside.yaml", "repository/inside.yaml", "repository/chart/own.yaml"] {
            fs::write(path(name), name).expect("a file");
        }
        symlink("../../outside.yaml", path("repository/chart/out.yaml")).expect("a link");
        symlink("../inside.yaml", path("repository/chart/in.yaml")).expect("a link");
        let folder = path("repository/chart");
        let allowed = Allowed { folder, absolute: false, links: false, traversal: false, key_prefix: None };
        (around, allowed)
    }

    #[test]
    fn files_of_the_repository_are_read() {
        let (_around, allowed) = folder();
        for path in ["own.yaml", "./own.yaml", "../inside.yaml", "in.yaml"] {
            assert!(allowed.read(path).expect("it may").is_some(), "{path}");
        }
        assert!(allowed.read("missing.yaml").expect("it may").is_none());
    }

    #[test]
    fn others_are_read_where_a_variable_says_so() {
        let (around, mut allowed) = folder();
        let absolute = around.path().join("outside.yaml").display().to_string();
        let cases: [(&str, Is); 4] = [
            ("../../outside.yaml", |error| matches!(error, FileError::Traversal(_))),
            ("../../../../../../../../../../../../x", |error| matches!(error, FileError::Traversal(_))),
            ("out.yaml", |error| matches!(error, FileError::Link(_))),
            (&absolute, |error| matches!(error, FileError::Absolute(_))),
        ];
        for (path, is) in cases {
            let error = allowed.read(path).err();
            assert!(error.as_ref().is_some_and(is), "{path}: {error:?}");
        }
        (allowed.absolute, allowed.links, allowed.traversal) = (true, true, true);
        for path in ["../../outside.yaml", "out.yaml", &absolute] {
            assert!(allowed.read(path).expect("it may").is_some(), "{path}");
        }
        assert!(matches!(allowed.read("../chart"), Err(FileError::Special(_))));
    }

    #[test]
    fn keys_lie_below_their_prefix() {
        let (around, mut allowed) = folder();
        let outside = around.path().join("outside.yaml").display().to_string();
        for path in ["own.yaml", "../inside.yaml", "in.yaml"] {
            assert!(allowed.read_key(path).is_ok(), "{path}");
        }
        assert!(matches!(allowed.read_key("missing.yaml"), Err(FileError::Io(..))));
        for path in [&outside, "../../outside.yaml", "out.yaml", "/missing"] {
            assert!(matches!(allowed.read_key(path), Err(FileError::KeyPrefix(_))), "{path}");
        }
        allowed.key_prefix = Some(around.path().to_owned());
        for path in [&outside, "out.yaml", "own.yaml"] {
            assert!(allowed.read_key(path).is_ok(), "{path}");
        }
        // The start of a name is no folder.
        allowed.key_prefix = Some(around.path().join("out"));
        assert!(matches!(allowed.read_key(&outside), Err(FileError::KeyPrefix(_))));
        allowed.key_prefix = Some("/keys/".into());
        for path in ["own.yaml", "/keys/../etc/passwd", "/other"] {
            assert!(matches!(allowed.read_key(path), Err(FileError::KeyPrefix(_))), "{path}");
        }
    }
}
