//! Generators of Secrets and ConfigMaps.

use super::config::Field;
use super::{KustomizationError, Reader, known};
use crate::format::Format;
use crate::render::Role;

impl Reader<'_> {
    /// Reads the files of a generator.
    pub(super) fn generator(&mut self, folder: &str, entry: Field<'_>) -> Result<(), KustomizationError> {
        known::check(entry)?;
        for source in entry.list("files") {
            let Some((key, name)) = key_and_path(source.text().unwrap_or_default()) else {
                let what = "is neither a path nor a key, one = and a path";
                return Err(KustomizationError::Unsupported { place: source.place(), what });
            };
            let Some(path) = self.file(folder, source, name)? else { continue };
            let wanted = Role::Whole(format_of_key(key));
            let by_name = Role::Whole(Format::from_file_name(name));
            let role = self.by_content(&path, [wanted, by_name])?;
            let before = source.text().and_then(|text| text.strip_suffix(name)).unwrap_or_default();
            self.refer(folder, &path, source, before)?;
            self.add(&path, role, source)?;
        }
        for source in entry.list("envs").chain(entry.get("env")) {
            let Some(name) = source.text() else { continue };
            let Some(path) = self.file(folder, source, name)? else { continue };
            let wanted = match Format::from_file_name(name) {
                Format::Binary => Format::Dotenv,
                format => format,
            };
            let roles = [Role::Leaves(wanted), Role::Leaves(Format::Dotenv)];
            let role = self.by_content(&path, roles)?;
            self.refer(folder, &path, source, "")?;
            self.add(&path, role, source)?;
        }
        Ok(())
    }
}

/// Returns the key and the path of an entry of `files`, as Kustomize takes it apart.
pub(super) fn key_and_path(source: &str) -> Option<(&str, &str)> {
    match source.split_once('=') {
        None if source.is_empty() => None,
        None => Some((source.rsplit('/').next().unwrap_or(source), source)),
        Some((key, path)) if key.is_empty() || path.is_empty() || path.contains('=') => None,
        Some(both) => Some(both),
    }
}

/// Returns the format that a key asks for, which is what Flux decrypts a file in.
fn format_of_key(key: &str) -> Format {
    if key.ends_with(".dockerconfigjson") { Format::Json } else { Format::from_file_name(key) }
}
