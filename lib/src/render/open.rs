//! Opening: files that are encrypted, verified over their own bytes, with marks in place of their values.

mod document;
mod nested;

use std::collections::{BTreeMap, HashMap};

use sha2::{Digest, Sha256};

pub(super) use document::{DECRYPT, MARK_KEY, is_for_the_cluster, is_kind_for_the_cluster, object_opts_out};
pub(super) use nested::documents as nested_documents;

use super::documents::{chunks, mac_line};
use super::marks::{self, Mark, MarkId, Marks};
use super::verdict::{MacVerdict, RenderError, Warning};
use super::{Engine, Files, FilesError, MacRule, Role, Roles};
use crate::format::Format;
use crate::secret::SecretBytes;
use crate::sops::{BY_EFFORT, Envelope, MacCheck, Metadata, OpenError, Opened};
use crate::tree::{MetadataEntry, Tree};

/// An encrypted file, opened.
pub struct Source {
    /// Its path.
    pub path: String,
    /// What it is to whoever builds of it.
    pub role: Role,
    /// What is known of its MAC.
    pub verdict: MacVerdict,
    original: SecretBytes,
    marked: SecretBytes,
    plaintext: Option<SecretBytes>,
    whole: Option<MarkId>,
}

/// The encrypted files among those that were read.
#[derive(Default)]
pub struct Sources {
    sources: BTreeMap<String, Source>,
    marks: Marks,
    /// Every encrypted value of a file, as it is written there.
    leaves: HashMap<String, MarkId>,
    longest_leaf: usize,
    /// Whether what is rendered was built of the files, so that their values are where they were not written.
    is_built: bool,
    /// The documents inside of values, by the mark that stands for each.
    blobs: HashMap<MarkId, Blob>,
    hidden: Vec<(String, String)>,
    warnings: Vec<Warning>,
}

/// An encrypted document inside of a value.
pub(super) struct Blob {
    /// The document as it is, encrypted.
    pub(super) original: SecretBytes,
    /// Its format.
    pub(super) format: Format,
    /// The format that its key asks for.
    pub(super) wanted: Format,
}

/// A file that was opened, before its marks have names.
pub(super) struct Unnamed {
    pub(super) verdict: MacVerdict,
    pub(super) marked: SecretBytes,
    pub(super) plaintext: Option<SecretBytes>,
    /// The values, each with how it is written encrypted.
    pub(super) leaves: Vec<(String, Mark)>,
    pub(super) whole: Option<Mark>,
    /// The fields that tell which object it is, and cannot be known.
    pub(super) hidden: Vec<String>,
    pub(super) warnings: Vec<String>,
}

impl Source {
    /// Returns the file as it is, encrypted.
    #[must_use]
    pub fn original(&self) -> &SecretBytes {
        &self.original
    }

    /// Returns the file with marks in place of its values, and without metadata.
    #[must_use]
    pub fn marked(&self) -> &SecretBytes {
        &self.marked
    }

    /// Returns the decrypted file; `None` if no key was asked for.
    #[must_use]
    pub fn plaintext(&self) -> Option<&SecretBytes> {
        self.plaintext.as_ref()
    }

    /// Returns the mark that stands for the file as a whole.
    #[must_use]
    pub fn whole(&self) -> Option<MarkId> {
        self.whole
    }
}

impl Sources {
    /// Returns an encrypted file.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Source> {
        self.sources.get(path)
    }

    /// Returns all encrypted files, in the order of their paths.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Source> {
        self.sources.values()
    }

    /// Returns all marks.
    #[must_use]
    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    /// Returns the fields that tell which object something is, and that cannot be known without keys: file and field.
    #[must_use]
    pub fn hidden(&self) -> &[(String, String)] {
        &self.hidden
    }

    /// Returns what to tell.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Returns how long the longest encrypted value of a file is.
    pub(super) fn longest_leaf(&self) -> usize {
        self.longest_leaf
    }

    /// Returns the mark of an encrypted value that a verified file has, for what was built of the files. In a file that
    /// is rendered as it is written, a value of another one was put there by somebody who cannot read it.
    pub(super) fn mark_of(&self, encrypted: &str) -> Option<MarkId> {
        self.leaves.get(encrypted).copied().filter(|_| self.is_built)
    }

    /// Remembers that what is rendered was built of the files.
    pub(super) fn mark_as_built(&mut self) {
        self.is_built = true;
    }

    /// Adds something to tell.
    pub(super) fn warn(&mut self, warning: Warning) {
        self.warnings.push(warning);
    }

    /// Adds a document that is inside of a value.
    pub(super) fn add_blob(&mut self, mark: Mark, blob: Blob) -> MarkId {
        let id = self.marks.add(mark);
        self.blobs.insert(id, blob);
        id
    }

    /// Returns the document inside of a value that a mark stands for.
    pub(super) fn blob(&self, id: MarkId) -> Option<&Blob> {
        self.blobs.get(&id)
    }

    /// Adds a value that is in no file, such as one that was computed of others.
    pub fn add_mark(&mut self, mark: Mark) -> MarkId {
        self.marks.add(mark)
    }

    /// Adds a document of a stream: its values are known in their places, and nowhere else.
    pub(super) fn add_document(
        &mut self,
        place: &str,
        role: Role,
        original: SecretBytes,
        mut opened: Unnamed,
    ) {
        opened.leaves.drain(..).for_each(|(_, mark)| {
            self.marks.add(mark);
        });
        // No path of a file begins so.
        self.add_as(&format!("/{place}"), place, role, original, opened);
    }

    /// Returns a document of a stream.
    pub(super) fn document(&self, place: &str) -> Option<&Source> {
        self.sources.get(&format!("/{place}"))
    }

    /// Adds a file.
    pub(super) fn add(&mut self, path: &str, role: Role, original: SecretBytes, opened: Unnamed) {
        self.add_as(path, path, role, original, opened);
    }

    fn add_as(&mut self, key: &str, path: &str, role: Role, original: SecretBytes, opened: Unnamed) {
        for (encrypted, mark) in opened.leaves {
            let id = self.marks.add(mark);
            self.longest_leaf = self.longest_leaf.max(encrypted.len());
            self.leaves.entry(encrypted).or_insert(id);
        }
        let whole = opened.whole.map(|mark| self.marks.add(mark));
        let named = |text| (path.to_owned(), text);
        self.hidden.extend(opened.hidden.into_iter().map(named));
        let warning = |text| Warning { place: path.to_owned(), text };
        self.warnings.extend(opened.warnings.into_iter().map(warning));
        let Unnamed { verdict, marked, plaintext, .. } = opened;
        let source = Source { path: path.to_owned(), role, verdict, original, marked, plaintext, whole };
        self.sources.insert(key.to_owned(), source);
    }
}

impl Engine<'_> {
    /// Opens those of some files that are encrypted. Files are read by several threads, if the crate has the feature
    /// `parallel`.
    ///
    /// # Errors
    /// If a file cannot be read, is encrypted and cannot be opened or verified, or is beyond a limit.
    pub fn open(&self, files: &dyn Files, roles: &Roles) -> Result<Sources, RenderError> {
        self.open_or(files, roles, |_, error| Err(error))
    }

    /// Opens files as [`Self::open`] does, and passes over those that cannot be opened, which are returned with the
    /// reason: nothing of them is known, so that what was built of them stays encrypted, and is refused.
    ///
    /// # Errors
    /// If a limit is exceeded.
    pub fn open_lenient(
        &self,
        files: &dyn Files,
        roles: &Roles,
    ) -> Result<(Sources, Vec<(String, RenderError)>), RenderError> {
        let mut failed = Vec::new();
        let sources = self.open_or(files, roles, |path, error| match error {
            RenderError::Limit(_) | RenderError::Files(FilesError::Limit(_)) => Err(error),
            error => {
                failed.push((path.to_owned(), error));
                Ok(())
            }
        })?;
        Ok((sources, failed))
    }

    fn open_or(
        &self,
        files: &dyn Files,
        roles: &Roles,
        mut failed: impl FnMut(&str, RenderError) -> Result<(), RenderError>,
    ) -> Result<Sources, RenderError> {
        self.limits.check_files(roles.len())?;
        let mut sources = Sources::default();
        let (mut encrypted, mut total) = (0, 0);
        for (path, role, opened) in self.open_all(files, roles) {
            let (original, opened) = match opened {
                Ok(opened) => opened,
                Err(error) => {
                    failed(path, error)?;
                    continue;
                }
            };
            total += original.len() as u64;
            self.limits.check_total(total)?;
            let Some(opened) = opened else { continue };
            encrypted += opened.leaves.len();
            self.limits.check_encrypted(encrypted)?;
            sources.add(path, role, original, opened);
        }
        Ok(sources)
    }

    #[cfg(feature = "parallel")]
    fn open_all<'r>(&self, files: &dyn Files, roles: &'r Roles) -> Vec<OpenedFile<'r>> {
        use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

        let roles: Vec<_> = roles.iter().collect();
        roles
            .par_iter()
            .map(|&(path, &role)| (path.as_str(), role, self.open_file(files, path, role)))
            .collect()
    }

    #[cfg(not(feature = "parallel"))]
    fn open_all<'r>(&self, files: &dyn Files, roles: &'r Roles) -> Vec<OpenedFile<'r>> {
        roles.iter().map(|(path, &role)| (path.as_str(), role, self.open_file(files, path, role))).collect()
    }

    fn open_file(
        &self,
        files: &dyn Files,
        path: &str,
        role: Role,
    ) -> Result<(SecretBytes, Option<Unnamed>), RenderError> {
        let text = files.read(path)?;
        self.limits.check_file(path, text.len() as u64)?;
        let opened = self.open_text(path, &text, role)?;
        Ok((text, opened))
    }

    /// Opens a text, if it is encrypted.
    pub(super) fn open_text(
        &self,
        path: &str,
        text: &SecretBytes,
        role: Role,
    ) -> Result<Option<Unnamed>, RenderError> {
        let bytes = text.expose_secret();
        if marks::find(bytes).is_some() {
            return Err(RenderError::ForeignMark { place: path.to_owned() });
        }
        if !holds_encrypted(bytes) {
            return Ok(None);
        }
        let format = role.format();
        if role == Role::Leaves(Format::Yaml)
            && let Some(groups) = groups(bytes)
        {
            return self.open_groups(path, &groups, role);
        }
        let failed =
            |source| RenderError::Format { path: path.to_owned(), format: format.store().name(), source };
        let tree = format.read(bytes).map_err(|error| failed(Some(error)))?;
        if document::opts_out(path, &tree)? {
            return Ok(None);
        }
        if *tree.metadata() == MetadataEntry::Absent {
            return match (role, format) {
                (Role::Leaves(_) | Role::Values(_), Format::Json | Format::Yaml) => {
                    self.open_nested(path, format, tree)
                }
                // A MAC tells that it was encrypted, in another format.
                _ if holds_mac(bytes) => Err(failed(None)),
                _ => Ok(None),
            };
        }
        if document::is_for_the_cluster(&tree) {
            return Ok(None);
        }
        self.open_document(path, tree, role).map(Some)
    }

    /// Opens documents of one file that were not encrypted together, each with a MAC of its own or with none.
    fn open_groups(
        &self,
        path: &str,
        groups: &[Vec<u8>],
        role: Role,
    ) -> Result<Option<Unnamed>, RenderError> {
        let mut all: Option<Unnamed> = None;
        let mut marked = SecretBytes::new();
        for group in groups {
            let text = SecretBytes::from(group.as_slice());
            let opened = self.open_text(path, &text, role)?;
            if !marked.is_empty() {
                marked.push_str("---\n");
            }
            marked.extend_from_slice(opened.as_ref().map_or(&text, |opened| &opened.marked).expose_secret());
            if marked.expose_secret().last() != Some(&b'\n') {
                marked.push_str("\n");
            }
            all = match (all, opened) {
                (Some(mut all), Some(opened)) => {
                    all.verdict = all.verdict.max(opened.verdict);
                    all.leaves.extend(opened.leaves);
                    all.hidden.extend(opened.hidden);
                    all.warnings.extend(opened.warnings);
                    Some(all)
                }
                (all, opened) => all.or(opened),
            };
        }
        Ok(all.map(|all| Unnamed { marked, plaintext: None, ..all }))
    }

    /// Recovers the data key of a document.
    pub(super) fn recover(&self, path: &str, entry: &MetadataEntry) -> Result<Option<Envelope>, RenderError> {
        let failed = |source| RenderError::Metadata { path: path.to_owned(), source };
        let mut metadata = Metadata::from_entry(entry).map_err(failed)?;
        let Some(services) = self.services else { return Ok(None) };
        let keys = || metadata.groups.iter().flat_map(|group| &group.0);
        if let Some(refused) = keys().next().filter(|_| !keys().any(|key| self.rule.allows_key(key))) {
            return Err(RenderError::Key { path: path.to_owned(), key: refused.to_string() });
        }
        metadata.groups.iter_mut().for_each(|group| group.0.retain(|key| self.rule.allows_key(key)));
        let envelope = pollster::block_on(Envelope::recover(metadata, services, BY_EFFORT));
        envelope.map(Some).map_err(|source| RenderError::Recover { path: path.to_owned(), source })
    }

    /// Decrypts a document and checks its MAC, as far as the rule asks for it. `copy` makes the tree again.
    pub(super) fn verify(
        &self,
        path: &str,
        envelope: &Envelope,
        format: Format,
        tree: Tree,
        copy: impl FnOnce() -> Tree,
    ) -> Result<(Opened, MacVerdict), RenderError> {
        match envelope.open(format, tree, MacCheck::Require) {
            Ok(opened) => Ok((opened, MacVerdict::Ok)),
            Err(error @ (OpenError::Mac(_) | OpenError::MacMismatch | OpenError::MacMissing)) => {
                let verdict = match self.rule.mac {
                    MacRule::Require => {
                        let (verdict, reason) = (MacVerdict::Mismatch, error.to_string());
                        return Err(RenderError::Mac { path: path.to_owned(), verdict, reason });
                    }
                    MacRule::Warn => MacVerdict::Mismatch,
                    MacRule::Off => MacVerdict::SkippedByPolicy,
                };
                let opened = envelope.open(format, copy(), MacCheck::Ignore);
                let opened = opened.map_err(|source| RenderError::Open { path: path.to_owned(), source })?;
                Ok((opened, verdict))
            }
            Err(source) => Err(RenderError::Open { path: path.to_owned(), source }),
        }
    }
}

impl Role {
    /// Returns what a file is by its name: manifests and the like by their values, all else as a whole.
    #[must_use]
    pub fn of_name(path: &str) -> Self {
        match Format::from_file_name(path) {
            Format::Binary => Self::Whole(Format::Binary),
            format => Self::Leaves(format),
        }
    }

    /// Returns the format.
    #[must_use]
    pub const fn format(self) -> Format {
        match self {
            Self::Leaves(format) | Self::Values(format) | Self::Whole(format) => format,
        }
    }
}

/// Returns the documents of a stream, those together that have one MAC, if there are several such groups.
fn groups(text: &[u8]) -> Option<Vec<Vec<u8>>> {
    let groups = chunks(text);
    let macs: Vec<_> = groups.iter().map(|group| mac_line(group)).collect();
    let is_several = groups.len() > 1
        && macs.iter().any(Option::is_some)
        && macs.windows(2).any(|pair| pair[0] != pair[1]);
    is_several.then_some(groups)
}

/// A file's path and role, its text, and what it is if it is encrypted.
type OpenedFile<'r> = (&'r str, Role, Result<(SecretBytes, Option<Unnamed>), RenderError>);

/// Returns whether a text holds what looks like an encrypted value.
pub(super) fn holds_encrypted(text: &[u8]) -> bool {
    memchr::memmem::find(text, ENCRYPTED).is_some()
}

/// Returns whether a text holds what looks like the MAC of SOPS, in any format.
pub(super) fn holds_mac(text: &[u8]) -> bool {
    let is_mac = |at: usize| {
        let before = text[..at].trim_ascii_end();
        let before = before.strip_suffix(b"\"").unwrap_or(before).trim_ascii_end();
        let key = before.strip_suffix(b":").or_else(|| before.strip_suffix(b"=")).unwrap_or(b"");
        let key = key.trim_ascii_end();
        key.strip_suffix(b"\"").unwrap_or(key).ends_with(b"mac")
    };
    memchr::memmem::find_iter(text, ENCRYPTED).any(is_mac)
}

/// Returns the key of a mark where no data key is known: it hangs on what is encrypted.
pub(super) fn public_key(encrypted: &[u8]) -> [u8; 32] {
    Sha256::digest(encrypted).into()
}

/// How every encrypted value starts.
pub(super) const ENCRYPTED: &[u8] = b"ENC[AES256_GCM,";
