//! Where files to render come from: memory, a folder, an archive.
//!
//! Paths are relative, with `/` between names, without `.`, `..` and empty names: what a source of files hands out never
//! leads out of it.

#[cfg(feature = "archive")]
mod archive;
#[cfg(feature = "folder")]
mod folder;

use std::collections::BTreeMap;

use crate::secret::SecretBytes;

#[cfg(feature = "archive")]
pub use archive::Archive;
#[cfg(feature = "folder")]
pub use folder::Folder;

/// Files to render.
pub trait Files: Sync {
    /// Returns the paths of all files, sorted. Of a link to a file inside, its own path.
    fn paths(&self) -> Vec<String>;

    /// Reads a file.
    ///
    /// # Errors
    /// If there is none, or it cannot be read.
    fn read(&self, path: &str) -> Result<SecretBytes, FilesError>;
}

/// Why files cannot be had. No variant holds anything of their content.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FilesError {
    /// The archive is none, or is damaged.
    #[error("the archive cannot be read: {0}")]
    Archive(String),
    /// The system refuses.
    #[error("{path}: cannot be read")]
    Io {
        /// The file.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// A limit is exceeded.
    #[error(transparent)]
    Limit(#[from] super::LimitError),
    /// A link or path leads out of the files.
    #[error("{path}: leads out of the files that are rendered")]
    Outside {
        /// The path.
        path: String,
    },
    /// There is no such file.
    #[error("{path}: there is no such file")]
    Missing {
        /// The path.
        path: String,
    },
    /// The system cannot tell what is below a folder while it opens it, as Linux does since 5.6.
    #[error("{path}: cannot be read safely on this system; a folder is read with Linux 5.6 or later")]
    Unsupported {
        /// The path.
        path: String,
    },
    /// It is a device, a socket or the like.
    #[error("{path}: is not a regular file")]
    Special {
        /// The path.
        path: String,
    },
}

/// Files in memory.
#[derive(Default)]
pub struct Memory(BTreeMap<String, SecretBytes>);

impl Memory {
    /// Adds a file, in place of one with the same path.
    ///
    /// # Errors
    /// If the path leads out of the files.
    pub fn insert(&mut self, path: &str, content: impl Into<SecretBytes>) -> Result<(), FilesError> {
        let inside = normalized("", path).ok_or_else(|| FilesError::Outside { path: path.to_owned() })?;
        self.0.insert(inside, content.into());
        Ok(())
    }
}

impl Files for Memory {
    fn paths(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    fn read(&self, path: &str) -> Result<SecretBytes, FilesError> {
        let content = self.0.get(path).ok_or_else(|| FilesError::Missing { path: path.to_owned() })?;
        Ok(content.expose_secret().into())
    }
}

/// Returns a path that is written in a file of `folder` as one from the root of the files; `None` if it leads out of
/// them, or is absolute.
#[must_use]
pub fn normalized(folder: &str, path: &str) -> Option<String> {
    if path.starts_with('/') || path.contains('\0') {
        return None;
    }
    let mut names: Vec<&str> = folder.split('/').filter(|name| !name.is_empty()).collect();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop()?;
            }
            name => names.push(name),
        }
    }
    Some(names.join("/"))
}

/// Returns the folder of a file, without a slash at its end.
#[must_use]
pub fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_do_not_lead_out() {
        for (folder, path, expected) in [
            ("", "a", Some("a")),
            ("a/b", "../c/./d", Some("a/c/d")),
            ("a", "..", Some("")),
            ("a", "../..", None),
            ("", "/etc/passwd", None),
            ("a", "b//c/", Some("a/b/c")),
        ] {
            assert_eq!(normalized(folder, path).as_deref(), expected, "{folder} {path}");
        }
        assert!(Memory::default().insert("../x", "").is_err());
    }
}
