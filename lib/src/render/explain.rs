//! What is encrypted in files or a stream, for which keys, and whether it would come out: never a value.
//!
//! Invariant: what cannot be opened is an [`Explanation`] like all else, so that one broken file does not hide the others;
//! only limits and files that cannot be read end it.

mod facts;

use serde_json::Value as Json;

use super::documents::{by_name, chunks};
use super::open::{
    Sources, holds_encrypted, holds_mac, is_for_the_cluster, is_kind_for_the_cluster, nested_documents,
};
use super::resolve::{bytes_of, items, parse_blob};
use super::verdict::{MacVerdict, RenderError};
use super::{Document, Engine, Files, MacRule, Role, Roles};
use crate::format::{Format, METADATA_KEY};
use crate::manifest::read_manifests;
use crate::sealed::SealedSecret;
use crate::secret::SecretBytes;
use crate::sops::{Metadata, encrypted_parts};
use crate::tree::{MetadataEntry, Tree};

pub use facts::{Content, Recipient, SealedFacts, SopsFacts};

/// Something encrypted.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The file, or which document of a stream.
    pub path: String,
    /// The place in it; empty if it is all of it.
    pub place: String,
    /// What it is.
    pub content: Content,
    /// What becomes of it.
    pub outcome: Outcome,
}

/// What becomes of something encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is opened, and this is known of its MAC.
    Opens(MacVerdict),
    /// It stays as it is, for a controller in the cluster.
    PassedOn,
    /// It is refused, for this reason.
    Refused(String),
}

impl Explanation {
    /// Returns whether it comes out under the rule. What has no MAC does not, even if nobody has looked for it yet.
    #[must_use]
    pub fn passes(&self) -> bool {
        !matches!(self.outcome, Outcome::Refused(_))
    }

    /// Returns all of it, as an object.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let mut json = self.content.to_json();
        json["path"] = self.path.as_str().into();
        if !self.place.is_empty() {
            json["place"] = self.place.as_str().into();
        }
        json["passes"] = self.passes().into();
        match &self.outcome {
            Outcome::Opens(verdict) => json["verdict"] = verdict.name().into(),
            Outcome::PassedOn => json["verdict"] = "PassedOn".into(),
            Outcome::Refused(reason) => json["reason"] = reason.as_str().into(),
        }
        json
    }
}

/// Tells people the same.
impl std::fmt::Display for Explanation {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.path)?;
        if !self.place.is_empty() {
            write!(formatter, " {}", self.place)?;
        }
        write!(formatter, ": {}", self.content)?;
        match &self.outcome {
            Outcome::Opens(verdict) => write!(formatter, "; MAC: {}", verdict.name()),
            Outcome::PassedOn => formatter.write_str("; is passed on to the cluster"),
            Outcome::Refused(reason) => write!(formatter, "; REFUSED: {reason}"),
        }
    }
}

impl MacVerdict {
    /// Returns the word for reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "Ok",
            Self::Mismatch => "Mismatch",
            Self::SkippedByPolicy => "SkippedByPolicy",
            Self::SourceUnavailable => "SourceUnavailable",
            Self::Deferred => "Deferred",
        }
    }
}

impl Engine<'_> {
    /// Tells what is encrypted in some files, in the order of their paths.
    ///
    /// # Errors
    /// If a file cannot be read, or a limit is exceeded.
    pub fn explain(&self, files: &dyn Files, roles: &Roles) -> Result<Vec<Explanation>, RenderError> {
        self.limits.check_files(roles.len())?;
        let mut finder = Finder { engine: self, sources: &Sources::default(), found: Vec::new() };
        let mut total = 0;
        for (path, &role) in roles {
            let text = files.read(path)?;
            self.limits.check_file(path, text.len() as u64)?;
            total += text.len() as u64;
            self.limits.check_total(total)?;
            finder.text(path, &text, role)?;
        }
        Ok(finder.found)
    }

    /// Tells what is encrypted in the files that a stream was built of, and then in the stream, without the values that
    /// these files have.
    ///
    /// # Errors
    /// As [`Self::explain`].
    pub fn explain_stream(
        &self,
        stream: &SecretBytes,
        files: &dyn Files,
    ) -> Result<Vec<Explanation>, RenderError> {
        let roles = by_name(files);
        let found = self.explain(files, &roles)?;
        // Files that cannot be opened were told above; without them their values are told as what is left encrypted.
        let mut sources = self.open(files, &roles).unwrap_or_default();
        sources.mark_as_built();
        let mut finder = Finder { engine: self, sources: &sources, found };
        for (number, text) in chunks(stream.expose_secret()).into_iter().enumerate() {
            let (path, text) = (format!("document {} of the stream", number + 1), SecretBytes::from(text));
            if self.is_known(&text, &sources) {
                // Its metadata are those of a file that was verified.
                finder.objects(&path, text.expose_secret(), Role::Leaves(Format::Yaml));
                continue;
            }
            finder.text(&path, &text, Role::Leaves(Format::Yaml))?;
        }
        Ok(finder.found)
    }
}

/// Looks for what is encrypted.
struct Finder<'a> {
    engine: &'a Engine<'a>,
    sources: &'a Sources,
    found: Vec<Explanation>,
}

impl Finder<'_> {
    fn text(&mut self, path: &str, text: &SecretBytes, role: Role) -> Result<(), RenderError> {
        let (bytes, format) = (text.expose_secret(), role.format());
        if !holds_encrypted(bytes) {
            self.objects(path, bytes, role);
            return self.check();
        }
        let failed =
            |source| RenderError::Format { path: path.to_owned(), format: format.store().name(), source };
        let tree = match format.read(bytes) {
            Ok(tree) => tree,
            Err(error) => {
                self.refuse(path, "", &failed(Some(error)));
                return Ok(());
            }
        };
        if *tree.metadata() != MetadataEntry::Absent {
            let is_passed_on = is_for_the_cluster(&tree);
            let again = || format.read(bytes).expect("it was read before");
            self.document(path, "", format, tree, again, is_passed_on);
            return self.check();
        }
        let is_manifest = matches!((role, format), (Role::Leaves(_), Format::Json | Format::Yaml));
        let (before, maps) =
            (self.found.len(), if is_manifest { nested_documents(&tree) } else { Vec::new() });
        for (index, ((document, place), map)) in maps.into_iter().enumerate() {
            let place = if document == 0 { place.to_string() } else { format!("{document}:{place}") };
            let again = || nested_documents(&tree).swap_remove(index).1;
            self.document(path, &place, format, map, again, false);
        }
        if self.found.len() == before {
            if !is_manifest && holds_mac(bytes) {
                self.refuse(path, "", &failed(None));
            }
            self.objects(path, bytes, role);
        }
        self.check()
    }

    /// Looks into the objects of a text. What cannot be read as objects holds nothing that is found in them.
    fn objects(&mut self, path: &str, text: &[u8], role: Role) {
        if !matches!(role, Role::Leaves(Format::Json | Format::Yaml)) {
            return;
        }
        for object in read_manifests(text).unwrap_or_default() {
            match items(Document { object, path: None }) {
                Ok(documents) => documents.iter().for_each(|document| self.object(path, document)),
                Err(error) => self.refuse(path, "", &error),
            }
        }
    }

    fn object(&mut self, path: &str, document: &Document) {
        let (object, place) = (&document.object, document.name());
        if SealedSecret::is_one(object) {
            self.sealed(path, place, object);
            return;
        }
        let text = |field: &Json| field.as_str().unwrap_or_default().to_owned();
        let (version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
        if is_kind_for_the_cluster(&version, &kind) {
            return;
        }
        let has_entries = version == "v1" && matches!(kind.as_str(), "ConfigMap" | "Secret");
        let fields = [("data", kind == "Secret"), ("stringData", false), ("binaryData", true)];
        for (field, entries) in object.as_object().into_iter().flatten() {
            if field == METADATA_KEY && entries["mac"].is_string() {
                continue;
            }
            let is_base64 = fields.iter().find(|(name, _)| has_entries && name == field).map(|entry| entry.1);
            self.values(path, &mut format!("{place}: {field}"), entries, is_base64);
        }
    }

    /// Looks for documents inside of values, and for encrypted values that are in no document.
    fn values(&mut self, path: &str, place: &mut String, value: &Json, is_base64: Option<bool>) {
        let length = place.len();
        match value {
            Json::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    place.push_str(&format!("[{index}]"));
                    self.values(path, place, item, None);
                    place.truncate(length);
                }
            }
            Json::Object(entries) => {
                for (key, entry) in entries {
                    place.push('.');
                    place.push_str(key);
                    self.values(path, place, entry, is_base64);
                    place.truncate(length);
                }
            }
            Json::String(_) => {
                if let Some(bytes) = bytes_of(value, is_base64.unwrap_or_default()) {
                    self.value(path, place, bytes.expose_secret());
                }
            }
            _ => {}
        }
    }

    fn value(&mut self, path: &str, place: &str, bytes: &[u8]) {
        if !holds_encrypted(bytes) {
            return;
        }
        if let Some((format, tree)) = parse_blob(bytes) {
            let again = || format.read(bytes).expect("it was read before");
            self.document(path, place, format, tree, again, false);
            return;
        }
        let Ok(text) = str::from_utf8(bytes) else { return };
        if encrypted_parts(text).is_some() && self.sources.mark_of(text).is_none() {
            let error = RenderError::LeftEncrypted {
                place: path.to_owned(),
                path: place.to_owned(),
                reason: "no file that was verified has this value",
            };
            self.refuse(path, place, &error);
        }
    }

    fn sealed(&mut self, path: &str, place: String, object: &Json) {
        let sealed = match SealedSecret::from_json(object) {
            Ok(sealed) => sealed,
            Err(error) => {
                let reason = error.to_string();
                self.refuse(path, &place, &RenderError::Unseal { place: place.clone(), reason });
                return;
            }
        };
        let outcome = match self.engine.sealing_keys {
            None => Outcome::PassedOn,
            Some(keys) => {
                let failed = |(key, opened): (&str, Result<_, crate::sealed::ItemError>)| {
                    opened.err().map(|error| format!("encryptedData[{key:?}]: {error}"))
                };
                let reason = sealed.open_items(keys).find_map(failed);
                reason.map_or(Outcome::Opens(MacVerdict::Ok), Outcome::Refused)
            }
        };
        let content = Content::Sealed(SealedFacts::of(&sealed));
        self.found.push(Explanation { path: path.to_owned(), place, content, outcome });
    }

    /// Adds a document with metadata. `again` makes its tree once more.
    fn document(
        &mut self,
        path: &str,
        place: &str,
        format: Format,
        tree: Tree,
        again: impl FnOnce() -> Tree,
        is_passed_on: bool,
    ) {
        let label = if place.is_empty() { path.to_owned() } else { format!("{path}: {place}") };
        let metadata = match Metadata::from_entry(tree.metadata()) {
            Ok(metadata) => metadata,
            Err(source) => return self.refuse(path, place, &RenderError::Metadata { path: label, source }),
        };
        let content = Content::Sops(Box::new(SopsFacts::of(self.engine, format, &tree, &metadata)));
        let outcome = if is_passed_on {
            Outcome::PassedOn
        } else {
            let opened = match self.engine.recover(&label, tree.metadata()) {
                Ok(None) if metadata.mac.is_empty() && self.engine.rule.mac == MacRule::Require => {
                    let (verdict, reason) = (MacVerdict::Deferred, "there is no MAC".to_owned());
                    Err(RenderError::Mac { path: label.clone(), verdict, reason })
                }
                Ok(None) => Ok(MacVerdict::Deferred),
                Ok(Some(envelope)) => {
                    self.engine.verify(&label, &envelope, format, tree, again).map(|(_, verdict)| verdict)
                }
                Err(error) => Err(error),
            };
            opened.map_or_else(|error| Outcome::Refused(chain(&error)), Outcome::Opens)
        };
        self.found.push(Explanation { path: path.to_owned(), place: place.to_owned(), content, outcome });
    }

    fn refuse(&mut self, path: &str, place: &str, error: &RenderError) {
        let (path, place) = (path.to_owned(), place.to_owned());
        let outcome = Outcome::Refused(chain(error));
        self.found.push(Explanation { path, place, content: Content::Unknown, outcome });
    }

    fn check(&self) -> Result<(), RenderError> {
        Ok(self.engine.limits.check_encrypted(self.found.len())?)
    }
}

/// Returns an error with its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(all(test, feature = "age"))]
mod tests;
