//! Paths in kustomizations, and what Kustomize takes for an address.

use super::config::Field;
use super::{KustomizationError, Reader, Remote};
use crate::render::normalized;

impl Reader<'_> {
    /// Returns the path of a file that is named; `None` if it would be fetched.
    pub(super) fn file(
        &mut self,
        folder: &str,
        entry: Field<'_>,
        path: &str,
    ) -> Result<Option<String>, KustomizationError> {
        let Some(path) = self.resolve(folder, entry, path)? else { return Ok(None) };
        if self.paths.contains(&path) {
            Ok(Some(path))
        } else {
            Err(KustomizationError::Missing { place: entry.place(), path })
        }
    }

    pub(super) fn path(
        &mut self,
        folder: &str,
        entry: Field<'_>,
    ) -> Result<Option<String>, KustomizationError> {
        self.resolve(folder, entry, entry.text().unwrap_or_default())
    }

    pub(super) fn resolve(
        &mut self,
        folder: &str,
        entry: Field<'_>,
        path: &str,
    ) -> Result<Option<String>, KustomizationError> {
        if is_remote(path) {
            self.fetched(entry)?;
            return Ok(None);
        }
        let place = || entry.place();
        normalized(folder, path).map(Some).ok_or_else(|| KustomizationError::Outside { place: place() })
    }

    /// Notes that something would be fetched.
    pub(super) fn fetched(&mut self, entry: Field<'_>) -> Result<(), KustomizationError> {
        match self.remote {
            Remote::Allow => {
                self.found.remote.push(entry.place());
                Ok(())
            }
            Remote::Refuse => Err(KustomizationError::Remote { place: entry.place() }),
        }
    }

    /// Returns the files below a folder.
    pub(super) fn below(&self, folder: &str) -> impl Iterator<Item = &String> {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let from = self.paths.range(prefix.clone()..);
        from.take_while(move |path| path.starts_with(&prefix))
    }

    pub(super) fn is_folder(&self, path: &str) -> bool {
        self.below(path).next().is_some()
    }
}

/// Returns whether Kustomize takes a path for an address.
fn is_remote(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    let is_scp = || {
        let (user, rest) = lower.split_once('@').unwrap_or_default();
        !user.is_empty() && !user.contains('/') && rest.contains(':')
    };
    lower.contains("://")
        || ["git::", "gh:", "github.com/", "github.com:"].iter().any(|start| lower.starts_with(start))
        || lower.contains("_git/")
        || [".git/", ".git?"].iter().any(|part| lower.contains(part))
        || lower.ends_with(".git")
        || is_scp()
}
