//! Which encrypted document a Secret is made of, and how.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json, json};

use super::super::super::Document;
use super::super::super::Role;
use super::super::super::marks::{Mark, MarkId, ValueKind};
use super::super::super::open::Source;
use super::super::super::verdict::RenderError;
use super::super::{Context, stand_in, taint};
use super::Carried;
use super::entries::{self, Entries, Entry};
use crate::format::Format;
use crate::manifest::read_objects;
use crate::sealed::ObjectMeta;
use crate::secret::SecretBytes;
use crate::tree::{MetadataEntry, Tree, Value};

/// Returns the document that a Secret is made of.
///
/// # Errors
/// If there are several, or the controller would make another Secret of it.
pub(super) fn find<'a>(context: &Context<'a>, document: &Document) -> Result<Carried<'a>, RenderError> {
    let secret = Secret { context, document, entries: entries::of(context, document, &document.object)? };
    let marks: BTreeSet<MarkId> = secret.entries.values().flat_map(|entry| entry.marks(context).0).collect();
    let files: BTreeSet<&str> = marks.iter().map(|&id| context.marks.get(id).source.as_str()).collect();
    let Some(&file) = files.first() else {
        return Err(secret.refused("holds no decrypted value"));
    };
    if files.len() > 1 {
        let files = files.into_iter().collect::<Vec<_>>().join(", ");
        return Err(secret.refused(&format!("holds values of several encrypted documents ({files})")));
    }
    if let Some(&whole) = marks.iter().find(|&&id| context.marks.get(id).place.is_empty()) {
        return secret.of_whole(whole, context.marks.get(whole));
    }
    let source = context.sources.get(file);
    let source = source.ok_or_else(|| secret.refused(&format!("holds a part of {file}")))?;
    match source.role {
        Role::Leaves(Format::Dotenv) => secret.of_dotenv(source),
        Role::Leaves(Format::Json | Format::Yaml) => secret.of_manifest(source, &marks),
        _ => Err(secret.refused(&format!("holds single values of {file}"))),
    }
}

struct Secret<'d, 'a> {
    context: &'d Context<'a>,
    document: &'d Document,
    entries: Entries,
}

impl<'a> Secret<'_, 'a> {
    /// An entry is a file or a document inside of a value as a whole.
    fn of_whole(&self, id: MarkId, mark: &Mark) -> Result<Carried<'a>, RenderError> {
        let name = &mark.source;
        let mut entries = self.entries.iter();
        let (Some((key, entry)), None) = (entries.next(), entries.next()) else {
            return Err(self.refused(&format!("has other entries beside the one that is {name}")));
        };
        if !(matches!(entry, Entry::Bytes(_)) && entry.marks(self.context).1) {
            return Err(self.refused(&format!("has an entry that is more than {name}")));
        }
        let sources = self.context.sources;
        let (document, format) = match (sources.blob(id), sources.get(name)) {
            (Some(blob), _) if blob.wanted != blob.format && blob.wanted != Format::Binary => {
                let (is, wanted) = (blob.format.store().name(), blob.wanted.store().name());
                return Err(self.refused(&format!(
                    "has an entry that is encrypted as {is} under a key that asks for {wanted}, which the controller does not turn into each other"
                )));
            }
            (Some(blob), _) => (&blob.original, blob.format),
            (None, Some(source)) => (source.original(), source.role.format()),
            (None, None) => return Err(self.refused(&format!("holds {name}, which is not at hand"))),
        };
        let mut target = self.target()?;
        target.insert("layout".to_owned(), "file".into());
        target.insert("key".to_owned(), key.as_str().into());
        Ok(Carried { document, format, target })
    }

    /// The entries are the lines of a file.
    fn of_dotenv(&self, source: &'a Source) -> Result<Carried<'a>, RenderError> {
        let name = &source.path;
        let tree = self.read(Format::Dotenv, source.marked(), name)?;
        let lines = tree.documents().iter().flat_map(|&root| tree.items(root));
        let line = |id| {
            let Value::Str(text) = tree.node(id).value else { return None };
            let key = String::from_utf8_lossy(tree.key(id)?).into_owned();
            Some((key, Entry::Bytes(tree.bytes(text).to_vec())))
        };
        let lines: Entries = lines.filter_map(line).collect();
        if let Some(key) = entries::difference(&lines, &self.entries) {
            return Err(self.refused(&format!("differs from its file {name} in the entry {key:?}")));
        }
        let mut target = self.target()?;
        target.insert("layout".to_owned(), "keys".into());
        Ok(Carried { document: source.original(), format: Format::Dotenv, target })
    }

    /// The file is the Secret.
    fn of_manifest(&self, source: &'a Source, marks: &BTreeSet<MarkId>) -> Result<Carried<'a>, RenderError> {
        let (name, format) = (&source.path, source.role.format());
        if let Some((path, field)) = self.context.sources.hidden().iter().find(|(path, _)| path == name) {
            return Err(RenderError::HiddenIdentity { path: path.clone(), field: field.clone() });
        }
        let tree = self.read(format, source.original(), name)?;
        if *tree.metadata() == MetadataEntry::Absent {
            return Err(
                self.refused(&format!("is encrypted in part: {name} is no encrypted document itself"))
            );
        }
        if tree.documents().len() != 1 {
            return Err(self.refused(&format!("is not alone in {name}, as it has to be")));
        }
        let objects = read_objects(source.marked().expose_secret());
        let objects = objects.map_err(|source| RenderError::Object { place: name.clone(), source })?;
        let [file] = &objects[..] else {
            return Err(self.refused(&format!("is not alone in {name}, as it has to be")));
        };
        if !taint::is_secret(file) {
            return Err(self.refused(&format!("holds single values of {name}, which is no Secret itself")));
        }
        let is_text = |&&id: &&MarkId| self.context.marks.get(id).kind == ValueKind::Text;
        if let Some(&id) = marks.iter().find(|id| !is_text(id)) {
            let place = &self.context.marks.get(id).place;
            let reason =
                format!("{place} of {name} is no text, which the controller refuses; put it in quotes");
            return Err(stand_in::refused(self.document, &reason));
        }
        let entries = entries::of(self.context, self.document, file)?;
        if let Some(key) = entries::difference(&entries, &self.entries) {
            return Err(self.refused(&format!("differs from its file {name} in the entry {key:?}")));
        }
        let target = self.changes(name, file)?;
        Ok(Carried { document: source.original(), format, target })
    }

    /// Returns what the Secret says beside its entries that its file does not.
    fn changes(&self, name: &str, file: &Json) -> Result<Map<String, Json>, RenderError> {
        let own = stripped(&file["metadata"]).map_err(|reason| self.refused(&reason))?;
        let built = stripped(&self.document.object["metadata"]).map_err(|reason| self.refused(&reason))?;
        for (field, is, was) in
            [("name", built.name(), own.name()), ("namespace", built.namespace(), own.namespace())]
        {
            if !was.is_empty() && was != is {
                let is = if is.is_empty() { "nothing" } else { is };
                return Err(self.refused(&format!(
                    "has the {field} {was} in its file {name} and {is} in what was built, and the document is bound to the first"
                )));
            }
        }
        let mut target = Map::new();
        for field in ["type", "immutable"] {
            match (&file[field], &self.document.object[field]) {
                (was, is) if was == is => {}
                (_, Json::Null) => {
                    return Err(self.refused(&format!("has lost the {field} that its file {name} has")));
                }
                (_, is) => {
                    target.insert(field.to_owned(), is.clone());
                }
            }
        }
        for field in ["labels", "annotations"] {
            let was: BTreeMap<_, _> = stand_in::texts(&own, field).collect();
            let is: BTreeMap<_, _> = stand_in::texts(&built, field).collect();
            if let Some(lost) = was.keys().find(|key| !is.contains_key(*key)) {
                return Err(self.refused(&format!("has lost {lost} of the {field} that its file {name} has")));
            }
            let more: Map<_, _> = is
                .iter()
                .filter(|(key, value)| was.get(*key) != Some(*value))
                .map(|(&key, &value)| (key.to_owned(), value.into()))
                .collect();
            if !more.is_empty() {
                target.insert(field.to_owned(), more.into());
            }
        }
        Ok(target)
    }

    /// Returns what the Secret says beside its entries.
    fn target(&self) -> Result<Map<String, Json>, RenderError> {
        self.changes("", &json!({}))
    }

    fn read(&self, format: Format, text: &SecretBytes, name: &str) -> Result<Tree, RenderError> {
        let tree = format.read(text.expose_secret());
        tree.map_err(|source| RenderError::Parse { path: name.to_owned(), source })
    }

    fn refused(&self, reason: &str) -> RenderError {
        stand_in::refused(self.document, &format!("{reason}; {INSTEAD}"))
    }
}

/// Returns metadata without what no document hands on.
fn stripped(metadata: &Json) -> Result<ObjectMeta, String> {
    let mut metadata = ObjectMeta::parse(metadata).map_err(|error| error.to_string())?;
    metadata.strip();
    Ok(metadata)
}

const INSTEAD: &str = "a SopsSecret carries one encrypted document as it is; let the Secret be one, or one file, or use the mode reseal";
