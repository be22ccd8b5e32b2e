//! Generators, transformers and validators.

use std::collections::BTreeSet;

use super::config::{Config, Field};
use super::{Kustomization, KustomizationError, Plugin, Reader, known};

impl Kustomization {
    /// Returns whether all that is made of a file passes the kustomization in one of some folders, on every way to what is
    /// built.
    #[must_use]
    pub fn passes(&self, path: &str, folders: &[&str]) -> bool {
        let mut passing: BTreeSet<&str> = folders.iter().copied().collect();
        // A component works on all that those have which name it.
        let components = folders.iter().filter(|folder| self.components.contains(**folder));
        let naming = components.filter_map(|folder| self.named.get(*folder)).flatten();
        passing.extend(naming.map(String::as_str));
        let (mut left, mut seen) = (vec![path], BTreeSet::new());
        while let Some(path) = left.pop() {
            let Some(naming) = self.named.get(path) else { return false };
            for folder in naming.iter().map(String::as_str).filter(|folder| !passing.contains(folder)) {
                if folder == self.root {
                    return false;
                }
                if seen.insert(folder) {
                    left.push(folder);
                }
            }
        }
        true
    }
}

impl Reader<'_> {
    /// Reads the configurations of generators, transformers and validators.
    pub(super) fn plugins(&mut self, folder: &str, config: &Config) -> Result<(), KustomizationError> {
        for root in config.documents() {
            let text = |name| root.get(name).and_then(Field::text).unwrap_or_default();
            if text("apiVersion") == "builtin" {
                known::check(root)?;
            }
            match (text("apiVersion"), text("kind")) {
                ("builtin", "SecretGenerator" | "ConfigMapGenerator") => self.generator(folder, root)?,
                ("builtin", "HelmChartInflationGenerator") => {
                    let what = "is a generator for charts; write it as an entry of helmCharts";
                    return Err(KustomizationError::Unsupported { place: root.place(), what });
                }
                ("builtin", kind) if kind.ends_with("List") => {
                    let what = "is a list of what is built into Kustomize; write what is in it as documents";
                    return Err(KustomizationError::Unsupported { place: root.place(), what });
                }
                ("builtin", _) => {
                    for path in root.list("paths").filter(|entry| !entry.is_inline()) {
                        self.manifest(folder, path)?;
                    }
                    for path in ["path", "targetFilePath"].iter().filter_map(|name| root.get(name)) {
                        self.manifest(folder, path)?;
                    }
                    self.paths_in(folder, root.list("replacements"))?;
                }
                _ => self.found.plugins.push(Plugin {
                    place: root.place(),
                    folder: folder.to_owned(),
                    config: root.to_json(),
                }),
            }
        }
        Ok(())
    }
}
