//! The file of a policy, read again when it changed.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use selkie::render::{Policy, PolicyError, Warning};

/// A policy that is in a file.
pub struct PolicyFile {
    path: PathBuf,
    loaded: Mutex<Loaded>,
}

/// Why a policy cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyFileError {
    /// It cannot be read.
    #[error("{path}: cannot be read", path = .0.display())]
    Io(PathBuf, #[source] std::io::Error),
    /// It is too long.
    #[error("{path}: is longer than {} MiB", MAX_LENGTH >> 20, path = .0.display())]
    TooLong(PathBuf),
    /// It is not a policy.
    #[error("{path}: is not a policy", path = .0.display())]
    Text(PathBuf, #[source] PolicyError),
}

struct Loaded {
    policy: Arc<Policy>,
    /// What the file was when it was last looked at, unless it may have been changed since without a trace.
    stamp: Option<Stamp>,
    problem: Option<String>,
}

/// What changes with a file.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    length: u64,
    modified: Option<SystemTime>,
}

impl PolicyFile {
    /// Reads a policy.
    ///
    /// # Errors
    /// If it cannot be read, or is none.
    pub fn open(path: PathBuf) -> Result<Self, PolicyFileError> {
        let stamp = Stamp::of(&path);
        let policy = Arc::new(read(&path)?);
        let loaded = Mutex::new(Loaded { policy, stamp, problem: None });
        Ok(Self { path, loaded })
    }

    /// Returns the path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the policy as it is now, and what to tell: a file that was changed and is no policy does not count, the one
    /// before does.
    #[must_use]
    pub fn current(&self) -> (Arc<Policy>, Option<Warning>) {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = Stamp::of(&self.path);
        if stamp.is_none() || stamp != loaded.stamp {
            // Before it is read: what is written meanwhile has another one.
            loaded.stamp = stamp;
            self.read_again(&mut loaded);
        }
        let place = self.path.display().to_string();
        let warning = loaded.problem.clone().map(|text| Warning { place, text });
        (Arc::clone(&loaded.policy), warning)
    }

    fn read_again(&self, loaded: &mut Loaded) {
        match read(&self.path) {
            Ok(policy) => {
                if policy.digest() != loaded.policy.digest() {
                    tracing::info!(digest = policy.digest(), "the policy changed");
                    loaded.policy = Arc::new(policy);
                }
                loaded.problem = None;
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
                let text = format!(
                    "the policy was changed and cannot be used, so the one before counts: {error}{}",
                    cause.unwrap_or_default()
                );
                if loaded.problem.as_ref() != Some(&text) {
                    tracing::warn!("{text}");
                }
                loaded.problem = Some(text);
            }
        }
    }
}

impl Stamp {
    /// Returns that of a file; `None` if there is none, or it was changed so shortly ago that the next change may leave
    /// no trace.
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        let stamp =
            Self { inode: metadata.ino(), length: metadata.len(), modified: metadata.modified().ok() };
        let age = metadata.modified().ok()?.elapsed().ok()?;
        (age > SETTLED).then_some(stamp)
    }
}

fn read(path: &Path) -> Result<Policy, PolicyFileError> {
    let failed = |error| PolicyFileError::Io(path.to_owned(), error);
    let length = fs::metadata(path).as_ref().map(Metadata::len).unwrap_or_default();
    if length > MAX_LENGTH {
        return Err(PolicyFileError::TooLong(path.to_owned()));
    }
    let text = fs::read(path).map_err(failed)?;
    Policy::parse(&text).map_err(|error| PolicyFileError::Text(path.to_owned(), error))
}

/// How long ago a file must have been changed, for the next change to be seen by its time.
const SETTLED: Duration = Duration::from_secs(2);

/// Far more than a policy takes.
const MAX_LENGTH: u64 = 4 << 20;

#[cfg(test)]
mod tests {
    use selkie::render::Origin;

    use super::*;

    #[test]
    fn it_is_read_again_when_it_changed_and_a_broken_one_does_not_count() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("policy.yaml");
        let write = |text: &str| fs::write(&path, text).expect("a file");
        let long_ago = |hours: u64| {
            let file = fs::File::options().write(true).open(&path).expect("a file");
            let time = SystemTime::now() - Duration::from_secs(3600 * hours);
            file.set_modified(time).expect("a time");
        };
        write("rules: [{match: {}, modes: [fake]}]");
        let file = PolicyFile::open(path.clone()).expect("a policy");
        let now = || {
            let (policy, warning) = file.current();
            let mode = policy.rule(&Origin::default()).and_then(|rule| rule.mode(None));
            (mode, warning.map(|warning| warning.text))
        };
        assert_eq!(now(), (Some("fake"), None));
        write("rules: [{match: {}, modes: [defer]}]");
        assert_eq!(now(), (Some("defer"), None), "changed just now");
        long_ago(2);
        assert_eq!(now(), (Some("defer"), None));
        write("rules: [{match: {}, modes: [plane]}]");
        long_ago(1);
        for _ in 0..2 {
            let (mode, problem) = now();
            let problem = problem.expect("it is told");
            assert_eq!(mode, Some("defer"), "the one before counts");
            assert!(problem.contains("line 1: rules[0].modes[0] is not one of"), "{problem}");
        }
        fs::remove_file(&path).expect("it was there");
        let (mode, problem) = now();
        assert!(mode == Some("defer") && problem.is_some_and(|text| text.contains("cannot be read")));
        write("rules: []");
        assert_eq!(now(), (None, None));
        assert!(PolicyFile::open(folder.path().join("none")).is_err());
    }
}
