//! The keys that the environment names.

use std::env;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use super::{PgpKeys, exported};
use crate::keys::pgp::service::{Holder, Lack, Purpose};
use crate::keys::{Effort, KeyFuture, KeySetup, MasterKey};
use crate::secret::SecretBytes;

/// The keys that the environment names, which are read when the first one is to be used.
pub struct Named(LazyLock<PgpKeys, Box<dyn FnOnce() -> PgpKeys + Send + Sync>>);

impl Named {
    /// Returns the keys in the files (or folders with files) that `SELKIE_PGP_KEY_FILE` names, separated as in `PATH`,
    /// and those in `SELKIE_PGP_KEY`. What cannot be read is a problem that is told when a key is missing.
    pub fn new(setup: &KeySetup) -> Self {
        let setup = setup.clone();
        Self(LazyLock::new(Box::new(move || read(&setup))))
    }
}

impl Holder for Named {
    fn effort(&self, key: &MasterKey) -> Option<Effort> {
        self.0.effort(key)
    }

    fn wrap<'a>(&'a self, key: &'a MasterKey, secret: &'a SecretBytes) -> KeyFuture<'a, String> {
        self.0.wrap(key, secret)
    }

    fn unwrap<'a>(&'a self, key: &'a MasterKey) -> KeyFuture<'a, SecretBytes> {
        self.0.unwrap(key)
    }

    fn problems(&self) -> &[String] {
        self.0.problems()
    }

    fn lack(&self, key: &MasterKey, purpose: Purpose) -> Option<Lack> {
        self.0.lack(key, purpose)
    }
}

fn read(setup: &KeySetup) -> PgpKeys {
    let mut keys = PgpKeys::new();
    let (files, text) = (setup.variable(FILES), setup.variable(TEXT));
    if files.is_none() && text.is_none() {
        return keys;
    }
    let passphrase = setup.variable(PASSPHRASE).and_then(|path| {
        let passphrase = read_file(Path::new(&path)).map(|bytes| without_line_end(&bytes));
        passphrase.map_err(|problem| keys.problems.push(format!("{PASSPHRASE} ({path}): {problem}"))).ok()
    });
    for path in files.iter().flat_map(env::split_paths).filter(|path| !path.as_os_str().is_empty()) {
        let found = key_files(&path);
        if found.is_empty() {
            keys.problems
                .push(format!("{FILES} ({}): the folder has no .asc, .gpg or .pgp file", path.display()));
        }
        for path in found {
            keys.sources.push(path.display().to_string());
            let added = read_file(&path)
                .and_then(|bytes| keys.add(&bytes, passphrase.as_ref()).map_err(|error| error.to_string()));
            if let Err(problem) = added {
                keys.problems.push(format!("{FILES} ({}): {problem}", path.display()));
            }
        }
    }
    keys.sources.extend(text.is_some().then(|| TEXT.to_owned()));
    if let Some(text) = text
        && let Err(problem) = keys.add(&SecretBytes::from(text), passphrase.as_ref())
    {
        keys.problems.push(format!("{TEXT}: {problem}"));
    }
    keys
}

/// Returns a file itself, and for a folder, such as a mounted Secret, the files with keys in it.
fn key_files(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(path) else { return vec![path.to_owned()] };
    let is_key = |path: &PathBuf| {
        path.extension().and_then(|end| end.to_str()).is_some_and(|end| ["asc", "gpg", "pgp"].contains(&end))
    };
    let mut files: Vec<_> = entries.filter_map(Result::ok).map(|entry| entry.path()).filter(is_key).collect();
    files.sort();
    files
}

fn read_file(path: &Path) -> Result<SecretBytes, String> {
    let failed = |error: std::io::Error| format!("cannot read it: {error}");
    let file = fs::File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len().min(exported::MAX_LENGTH as u64);
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default() + 1);
    // One more than may be, so that what is too long is seen to be.
    file.take(exported::MAX_LENGTH as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes.into())
}

fn without_line_end(bytes: &SecretBytes) -> SecretBytes {
    let bytes = bytes.expose_secret();
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.strip_suffix(b"\r").unwrap_or(bytes).into()
}

const FILES: &str = "SELKIE_PGP_KEY_FILE";
const TEXT: &str = "SELKIE_PGP_KEY";
/// The variable that names the file with the passphrase.
pub const PASSPHRASE: &str = "SELKIE_PGP_PASSPHRASE_FILE";
