//! Keys of the decryptor: files, or folders as a mounted Secret is, with keys and credentials under the names that Flux
//! gives them; and whatever the environment gives credentials for.

mod entries;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use selkie::keys::{KEY_KINDS, KeyService, KeySetup, Trust};
use selkie::secret::SecretBytes;

pub use entries::{KeyEntries, KeyEntryError, Surroundings};

/// Why the keys could not be read.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// A folder holds no file with a name for keys.
    #[error("{0}: no file in this folder has a name for keys, such as one that ends in .agekey")]
    Empty(PathBuf),
    /// A file does not hold what its name says.
    #[error("{path}: cannot be used", path = .path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: KeyEntryError,
    },
    /// A file cannot be read.
    #[error("{path}: cannot be read", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

/// Returns what unwraps data keys: with the keys and credentials of files and folders, and with
/// whatever the environment gives credentials for. Which servers may be sent a token, the environment says, too.
pub fn services(paths: &[PathBuf]) -> Result<Vec<Box<dyn KeyService>>, KeyFileError> {
    let setup = KeySetup::new(variable);
    // The servers that the environment names are the user's own.
    let named = ["VAULT_ADDR", "BAO_ADDR"].iter().filter_map(|name| setup.variable(name)).collect();
    let around = Surroundings { trust: Trust::Listed(named), remote: Arc::clone(&setup.remote), variable };
    let mut entries = entries(paths)?;
    if let Some(identities) = variable(AGE_KEY).filter(|text| !text.is_empty()) {
        let added = entries.add_identities(AGE_KEY, &identities.into());
        added.map_err(|source| KeyFileError::Entry { path: AGE_KEY.into(), source })?;
    }
    let of_kinds = KEY_KINDS.iter().filter_map(|kind| kind.connect).map(|connect| connect(&setup));
    Ok(entries.into_services(&around).into_iter().chain(of_kinds).collect())
}

/// Returns what unwraps data keys with the keys and credentials of files and folders, and with what the environment gives
/// credentials for, but for some kinds of keys alone. No address is sent a token but those that are listed.
pub fn granted(
    paths: &[PathBuf],
    addresses: &[String],
    kinds: &[&str],
) -> Result<Vec<Box<dyn KeyService>>, KeyFileError> {
    let trust = Trust::Listed(addresses.to_vec());
    let around = Surroundings { trust, remote: Arc::default(), variable };
    let mut services = entries(paths)?.into_services(&around);
    let of_kinds = ambient(&around).into_iter().filter(|(kind, _)| kinds.contains(kind));
    services.extend(of_kinds.map(|(_, service)| service));
    Ok(services)
}

/// Returns the services for what the environment of this process gives credentials for, each with the kind of its keys.
/// No address is sent a token but those of `around`.
pub fn ambient(around: &Surroundings) -> Vec<(&'static str, Box<dyn KeyService>)> {
    let mut setup = KeySetup::new(around.variable);
    setup.trust = around.trust.clone();
    setup.remote = Arc::clone(&around.remote);
    // What OpenPGP keys the environment names are files: those have paths of their own.
    let kinds = KEY_KINDS.iter().filter(|kind| kind.name != "pgp");
    kinds.filter_map(|kind| Some((kind.name, kind.connect?(&setup)))).collect()
}

/// Returns the keys and credentials of files and folders.
fn entries(paths: &[PathBuf]) -> Result<KeyEntries, KeyFileError> {
    let mut entries = KeyEntries::default();
    for path in paths {
        for file in key_files(path)? {
            add_file(&mut entries, &file, &read(&file)?)?;
        }
    }
    Ok(entries)
}

/// Adds the keys of a file. A file by a name of its own holds age identities.
pub fn add_file(entries: &mut KeyEntries, file: &Path, text: &SecretBytes) -> Result<(), KeyFileError> {
    let place = file.display().to_string();
    let added =
        match file.file_name().and_then(|name| name.to_str()).filter(|name| KeyEntries::has_name(name)) {
            Some(name) => entries.add(name, &place, text),
            None => entries.add_identities(&place, text),
        };
    added.map_err(|source| KeyFileError::Entry { path: file.to_owned(), source })
}

/// Returns the key files that a path stands for, in the order of their names.
pub fn key_files(path: &Path) -> Result<Vec<PathBuf>, KeyFileError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let failed = |source| KeyFileError::Io { path: path.to_owned(), source };
    let entries: Result<Vec<_>, _> = fs::read_dir(path).map_err(failed)?.collect();
    let mut files: Vec<_> = entries.map_err(failed)?.into_iter().map(|entry| entry.path()).collect();
    let has_name =
        |file: &Path| file.file_name().and_then(|name| name.to_str()).is_some_and(KeyEntries::has_name);
    files.retain(|file| has_name(file) && file.is_file());
    files.sort();
    if files.is_empty() { Err(KeyFileError::Empty(path.to_owned())) } else { Ok(files) }
}

/// Reads a file.
pub fn read(file: &Path) -> Result<SecretBytes, KeyFileError> {
    let text = fs::read(file).map(SecretBytes::from);
    text.map_err(|source| KeyFileError::Io { path: file.to_owned(), source })
}

/// Returns a variable of the environment of this process.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The variable that holds age identities, as for sops.
pub const AGE_KEY: &str = "SOPS_AGE_KEY";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_holds_keys_by_their_names() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        assert!(matches!(key_files(folder.path()), Err(KeyFileError::Empty(_))));
        for name in ["b.agekey", "README", "a.asc", "sops.vault-token", "identity"] {
            fs::write(path(name), "s.token").expect("a file");
        }
        let files = key_files(folder.path()).expect("files");
        assert_eq!(files, [path("a.asc"), path("b.agekey"), path("sops.vault-token")]);
        assert_eq!(key_files(&path("identity")).expect("a file"), [path("identity")]);
    }

    #[test]
    fn a_file_by_a_name_of_its_own_holds_identities() {
        let mut entries = KeyEntries::default();
        let token = SecretBytes::from("s.token");
        add_file(&mut entries, Path::new("/keys/sops.vault-token"), &token).expect("a token");
        let error = add_file(&mut entries, Path::new("/keys/identity"), &token).expect_err("no identity");
        assert!(matches!(error, KeyFileError::Entry { source: KeyEntryError::Age(_), .. }), "{error:?}");
        assert!(!format!("{error:?}").contains("s.token"), "{error:?}");
    }

    #[test]
    fn what_the_environment_has_is_no_pgp() {
        let around =
            Surroundings { trust: Trust::Listed(Vec::new()), remote: Arc::default(), variable: |_| None };
        assert!(ambient(&around).iter().all(|(kind, _)| *kind != "pgp"));
    }
}
