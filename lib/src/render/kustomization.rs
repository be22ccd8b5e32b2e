//! Kustomizations: which files one is built of, and what each of them is to it.
//!
//! Invariants: what leads out of the files, is missing, or would be fetched from a network is an error here, before
//! anything is built; an encrypted file is the same to everything that names it.

mod chart;
mod config;
mod generator;
mod known;
mod lay_out;
mod path;
mod plugin;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::documents::is_kustomization;
use super::open::holds_encrypted;
use super::{Files, FilesError, Role, Roles, folder_of, normalized};
use crate::format::{Format, ParseError};
use crate::tree::MetadataEntry;
use config::{Config, Field};
use lay_out::Edits;

/// What a kustomization is built of.
#[derive(Default)]
pub struct Kustomization {
    /// What the files are that are read as data.
    pub roles: Roles,
    /// All files that are read: those with roles, kustomizations, charts.
    pub files: BTreeSet<String>,
    /// The file and line that names each file with a role first; a kustomization is named by none.
    pub places: BTreeMap<String, String>,
    /// Generators, transformers and validators that are not built into Kustomize.
    pub plugins: Vec<Plugin>,
    /// Whether Helm is needed.
    pub has_charts: bool,
    /// Files that a kustomization reaches which are not below its folder: for Kustomize, which reads none such, a copy of
    /// each is laid out there. The path of each copy, and that of the file.
    pub copies: BTreeMap<String, String>,
    /// What Kustomize does, and is not done here, as it may say something else than it seems to.
    pub refused: Vec<KustomizationError>,
    /// What would be fetched from a network.
    pub remote: Vec<String>,
    /// What is written otherwise in each configuration when it is laid out.
    edits: BTreeMap<String, Edits>,
    /// The folders of the kustomizations that name each file or kustomization.
    named: BTreeMap<String, BTreeSet<String>>,
    /// The folders of components.
    components: BTreeSet<String>,
    /// The folder that is built.
    root: String,
}

/// A generator, transformer or validator that is a program of its own.
#[derive(Clone, Debug)]
pub struct Plugin {
    /// The file and line that name it.
    pub place: String,
    /// The folder of the kustomization that names it.
    pub folder: String,
    /// Its configuration.
    pub config: Json,
}

/// What becomes of what Kustomize would fetch from a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Remote {
    /// It is passed over.
    Allow,
    /// It is refused.
    #[default]
    Refuse,
}

/// Why a kustomization cannot be built. No variant holds a value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KustomizationError {
    /// An encrypted file is to be two things.
    #[error("{path}: is encrypted, and is one thing in {first} and another in {second}; use a file for each")]
    Conflict {
        /// The file.
        path: String,
        /// The place that names it first.
        first: String,
        /// The place that names it otherwise.
        second: String,
    },
    /// Charts get encrypted values.
    #[error(
        "{place}: {path} is encrypted, and Kustomize lets a chart decide by its values before they are decrypted; render the chart with `render --helm`"
    )]
    EncryptedChart {
        /// The place that names the chart.
        place: String,
        /// The file.
        path: String,
    },
    /// Files cannot be had.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// There is neither a file nor a folder.
    #[error("{place}: there is no {path}")]
    Missing {
        /// The place that names it.
        place: String,
        /// The path from the root of the files.
        path: String,
    },
    /// A folder has no kustomization.
    #[error("{folder}: there is no kustomization.yaml in this folder")]
    None {
        /// The folder.
        folder: String,
    },
    /// A path leads out of the files.
    #[error(
        "{place}: leads out of the files that are rendered; give the folder above both as the root: --root"
    )]
    Outside {
        /// The place that names it.
        place: String,
    },
    /// A kustomization cannot be parsed.
    #[error("{path}: cannot be parsed")]
    Parse {
        /// The file.
        path: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// Something would be fetched from a network.
    #[error(
        "{place}: would be fetched from a network; copy it into the repository, or allow it: --allow-network"
    )]
    Remote {
        /// The place that names it.
        place: String,
    },
    /// A folder has several kustomizations.
    #[error("{folder}: holds {first} and {second}, and only one of them can be meant; remove the other one")]
    Several {
        /// The folder.
        folder: String,
        /// One of them.
        first: String,
        /// Another one.
        second: String,
    },
    /// Something old is not supported.
    #[error("{place}: {what}")]
    Unsupported {
        /// The place.
        place: String,
        /// What it is, and what to write.
        what: &'static str,
    },
}

impl Kustomization {
    /// Reads the kustomization in a folder, and all that it leads to.
    ///
    /// # Errors
    /// If there is none, it cannot be read, or something that it names is missing, out of reach, or two things at once.
    pub fn read(files: &dyn Files, folder: &str, remote: Remote) -> Result<Self, KustomizationError> {
        let paths = files.paths().into_iter().collect();
        let mut reader = Reader {
            files,
            paths,
            remote,
            found: Self::default(),
            visited: BTreeSet::new(),
            copies: BTreeMap::new(),
        };
        folder.clone_into(&mut reader.found.root);
        reader.folder(folder, Kind::Manifests)?;
        Ok(reader.found)
    }
}

/// Reads one folder after the other.
struct Reader<'a> {
    files: &'a dyn Files,
    paths: BTreeSet<String>,
    remote: Remote,
    found: Kustomization,
    visited: BTreeSet<(String, Kind)>,
    /// Numbers of copies, by the folder they are in, and what they are copies of.
    copies: BTreeMap<(String, String), usize>,
}

/// What objects are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// What comes out.
    Manifests,
    /// Configurations of generators, transformers or validators.
    Plugins,
}

impl Reader<'_> {
    fn folder(&mut self, folder: &str, kind: Kind) -> Result<(), KustomizationError> {
        if !self.visited.insert((folder.to_owned(), kind)) {
            // Kustomize tells of a loop; here it only must not go on for ever.
            return Ok(());
        }
        let path = self.kustomization(folder)?;
        let config = self.config(&path)?;
        self.found.files.insert(path.clone());
        self.found.edits.entry(path.clone()).or_default();
        self.found.roles.insert(path, Role::Leaves(Format::Yaml));
        let mut documents = config.documents().filter(|root| root.fields().next().is_some());
        let first = documents.next();
        if let Some(root) = documents.next() {
            let what = "is a second document, which Kustomize does not read; write one";
            return Err(KustomizationError::Unsupported { place: root.place(), what });
        }
        first.map_or(Ok(()), |root| self.fields(folder, root, kind))
    }

    fn fields(&mut self, folder: &str, root: Field<'_>, kind: Kind) -> Result<(), KustomizationError> {
        known::check(root)?;
        for name in ["resources", "bases", "components"] {
            for entry in root.list(name) {
                self.object(folder, entry, kind)?;
                let component = entry.text().filter(|_| name == "components");
                self.found.components.extend(component.and_then(|text| normalized(folder, text)));
            }
        }
        for name in ["generators", "transformers", "validators"] {
            for entry in root.list(name) {
                self.object(folder, entry, Kind::Plugins)?;
            }
        }
        for name in ["configurations", "crds"] {
            for entry in root.list(name) {
                self.manifest(folder, entry)?;
            }
        }
        for entry in root.list("patchesStrategicMerge").filter(|entry| !entry.is_inline()) {
            self.manifest(folder, entry)?;
        }
        for name in ["patches", "patchesJson6902", "replacements"] {
            self.paths_in(folder, root.list(name))?;
        }
        if let Some(path) = root.get("openapi").and_then(|openapi| openapi.get("path")) {
            self.manifest(folder, path)?;
        }
        for name in ["secretGenerator", "configMapGenerator"] {
            for entry in root.list(name) {
                self.generator(folder, entry)?;
            }
        }
        self.charts(folder, root)
    }

    /// Reads the files that entries of a list name.
    fn paths_in<'f>(
        &mut self,
        folder: &str,
        entries: impl Iterator<Item = Field<'f>>,
    ) -> Result<(), KustomizationError> {
        for entry in entries {
            known::check(entry)?;
            if let Some(path) = entry.get("path") {
                self.manifest(folder, path)?;
            }
        }
        Ok(())
    }

    /// Reads a manifest, or a folder of them, or what is written in place.
    fn object(&mut self, folder: &str, entry: Field<'_>, kind: Kind) -> Result<(), KustomizationError> {
        let Some(text) = entry.text() else { return Ok(()) };
        if kind == Kind::Plugins && entry.is_inline() {
            let inline = Config::new(&entry.place(), text.as_bytes().into())?;
            self.plugins(folder, &inline)?;
            return self.edit_inline(entry, &inline);
        }
        let Some(path) = self.path(folder, entry)? else { return Ok(()) };
        if !self.paths.contains(&path) {
            if !self.is_folder(&path) {
                return Err(KustomizationError::Missing { place: entry.place(), path });
            }
            if kind == Kind::Plugins {
                let what = "is a kustomization of generators, transformers or validators, in which they may be changed; name their files";
                let refused = KustomizationError::Unsupported { place: entry.place(), what };
                self.found.refused.push(refused);
            }
            self.found.named.entry(path.clone()).or_default().insert(folder.to_owned());
            return self.folder(&path, kind);
        }
        self.refer(folder, &path, entry, "")?;
        self.add(&path, manifest_role(&path), entry)?;
        match kind {
            Kind::Manifests => Ok(()),
            Kind::Plugins => {
                let config = self.config(&path)?;
                self.found.edits.entry(path).or_default();
                self.plugins(folder, &config)
            }
        }
    }

    /// Reads a file of values one by one: a manifest, a patch and the like.
    fn manifest(&mut self, folder: &str, entry: Field<'_>) -> Result<(), KustomizationError> {
        let Some(path) = self.file(folder, entry, entry.text().unwrap_or_default())? else { return Ok(()) };
        self.refer(folder, &path, entry, "")?;
        self.add(&path, manifest_role(&path), entry)
    }

    /// Adds a file that a kustomization names.
    fn add(&mut self, path: &str, role: Role, entry: Field<'_>) -> Result<(), KustomizationError> {
        self.found.files.insert(path.to_owned());
        let Some(&before) = self.found.roles.get(path) else {
            self.found.places.insert(path.to_owned(), entry.place());
            self.found.roles.insert(path.to_owned(), role);
            return Ok(());
        };
        if before == role {
            return Ok(());
        }
        if holds_encrypted(self.files.read(path)?.expose_secret()) {
            let first = self.found.places.get(path).cloned().unwrap_or_else(|| path.to_owned());
            let (path, second) = (path.to_owned(), entry.place());
            return Err(KustomizationError::Conflict { path, first, second });
        }
        if matches!(role, Role::Leaves(_)) {
            self.found.roles.insert(path.to_owned(), role);
        }
        Ok(())
    }

    /// Returns the role among two whose format a file is encrypted in, the first one if it is in neither.
    fn by_content(&self, path: &str, roles: [Role; 2]) -> Result<Role, KustomizationError> {
        let text = self.files.read(path)?;
        if !holds_encrypted(text.expose_secret()) {
            return Ok(roles[0]);
        }
        let is_encrypted = |format: Format| {
            format.read(text.expose_secret()).is_ok_and(|tree| *tree.metadata() != MetadataEntry::Absent)
        };
        Ok(roles.into_iter().find(|role| is_encrypted(role.format())).unwrap_or(roles[0]))
    }

    /// Returns the one kustomization in a folder.
    fn kustomization(&self, folder: &str) -> Result<String, KustomizationError> {
        let mut found = self.below(folder).filter(|path| folder_of(path) == folder && is_kustomization(path));
        let named = || if folder.is_empty() { ".".to_owned() } else { folder.to_owned() };
        match (found.next(), found.next()) {
            (None, _) => Err(KustomizationError::None { folder: named() }),
            (Some(path), None) => Ok(path.clone()),
            (Some(first), Some(second)) => {
                let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
                let (first, second) = (name(first), name(second));
                Err(KustomizationError::Several { folder: named(), first, second })
            }
        }
    }

    fn config(&self, path: &str) -> Result<Config, KustomizationError> {
        Config::new(path, self.files.read(path)?)
    }
}

/// Returns what a manifest is: YAML, unless its name says that it is JSON.
fn manifest_role(path: &str) -> Role {
    let format = Format::from_file_name(path);
    Role::Leaves(if format == Format::Json { Format::Json } else { Format::Yaml })
}

fn is_below(folder: &str, path: &str) -> bool {
    folder.is_empty() || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests;
