//! Keys of the decryptor: files, or folders as a mounted Secret is, with age identities; and whatever the
//! environment gives credentials for.

use std::fs;
use std::path::{Path, PathBuf};

use selkie::keys::age::{AgeService, Identities, IdentityLayout, IdentityParseError};
use selkie::keys::{KEY_KINDS, KeyService, KeySetup};
use selkie::secret::SecretBytes;

/// Why the keys could not be read.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// A folder holds no file that ends in `.agekey`.
    #[error("{0}: no file in this folder ends in .agekey")]
    Empty(PathBuf),
    /// A file cannot be read.
    #[error("{path}: cannot be read", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file does not hold identities.
    #[error("{path}: does not hold age identities", path = .path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: IdentityParseError,
    },
}

/// Returns what unwraps data keys: with the age identities of files and of the `*.agekey` files of folders, and with
/// whatever the environment gives credentials for. Which servers may be sent a token, the environment says, too.
pub fn services(paths: &[PathBuf]) -> Result<Vec<Box<dyn KeyService>>, KeyFileError> {
    let setup = KeySetup::new(|name| std::env::var(name).ok());
    let age: Box<dyn KeyService> = Box::new(age_service(paths)?);
    let of_kinds = KEY_KINDS.iter().filter_map(|kind| kind.connect).map(|connect| connect(&setup));
    Ok(std::iter::once(age).chain(of_kinds).collect())
}

fn age_service(paths: &[PathBuf]) -> Result<AgeService, KeyFileError> {
    let mut identities = Identities::new();
    for path in paths {
        for file in key_files(path)? {
            let text = fs::read(&file).map(SecretBytes::from);
            let text = text.map_err(|source| KeyFileError::Io { path: file.clone(), source })?;
            let added = identities.add(&file.display().to_string(), &text, IdentityLayout::Lines);
            added.map_err(|source| KeyFileError::Parse { path: file, source })?;
        }
    }
    Ok(AgeService::new(identities))
}

/// Returns the key files that a path stands for, in the order of their names.
fn key_files(path: &Path) -> Result<Vec<PathBuf>, KeyFileError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let failed = |source| KeyFileError::Io { path: path.to_owned(), source };
    let entries: Result<Vec<_>, _> = fs::read_dir(path).map_err(failed)?.collect();
    let mut files: Vec<_> = entries.map_err(failed)?.into_iter().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "agekey") && file.is_file());
    files.sort();
    if files.is_empty() { Err(KeyFileError::Empty(path.to_owned())) } else { Ok(files) }
}
