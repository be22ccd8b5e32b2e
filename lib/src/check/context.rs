//! What rules may know beside the file that they look at.

use time::Date;

use super::config::Config;
use super::policies::Policies;
use crate::format::Format;

/// What rules may know beside the file that they look at.
pub struct Context<'a> {
    /// All files as they will be.
    pub after: &'a dyn Snapshot,
    /// All files as they were; nothing where there is no before.
    pub before: Option<&'a dyn Snapshot>,
    /// What the repository says of its checks.
    pub config: &'a Config,
    /// The creation rules of SOPS that hold after the change.
    pub policies: &'a Policies<'a>,
    /// The keys at hand, if there are any.
    pub keys: Option<&'a dyn Verifier>,
    /// The day, for what expires.
    pub today: Date,
}

/// All files of a repository at one time.
pub trait Snapshot: Sync {
    /// Returns the paths of all files in order, each from the top of the repository, parted by `/`.
    fn paths(&self) -> &[String];

    /// Returns the content of a file; `None` if there is none.
    ///
    /// # Errors
    /// If there is one and it cannot be read, with the reason.
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, String>;

    /// Returns whether there is such a file.
    fn contains(&self, path: &str) -> bool {
        self.paths().binary_search_by(|known| known.as_str().cmp(path)).is_ok()
    }
}

/// Tells whether the MAC of a document is good, with keys at hand.
pub trait Verifier: Sync {
    /// Looks at an encrypted document.
    fn verify(&self, format: Format, text: &[u8]) -> Verdict;
}

/// What keys tell of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is not as it was encrypted, for this reason, which holds no value.
    Bad(String),
    /// It is as it was encrypted.
    Good,
    /// No key at hand opens it.
    NoKey,
}

/// Files in memory.
#[derive(Debug, Default)]
pub struct Files {
    paths: Vec<String>,
    contents: Vec<Vec<u8>>,
}

impl<P: Into<String>, C: Into<Vec<u8>>> FromIterator<(P, C)> for Files {
    fn from_iter<I: IntoIterator<Item = (P, C)>>(files: I) -> Self {
        let mut files: Vec<_> =
            files.into_iter().map(|(path, content)| (path.into(), content.into())).collect();
        files.sort();
        let (paths, contents) = files.into_iter().unzip();
        Self { paths, contents }
    }
}

impl Snapshot for Files {
    fn paths(&self) -> &[String] {
        &self.paths
    }

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        let found = self.paths.binary_search_by(|known| known.as_str().cmp(path));
        Ok(found.ok().map(|index| self.contents[index].clone()))
    }
}
