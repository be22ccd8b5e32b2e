//! The files that a chart is rendered of: which they are, what is encrypted among them, and what each holds in a pass.
//!
//! Invariants: plaintext is handed out for [`Pass::Values`] and [`Pass::OtherValues`] alone; an encrypted file that cannot be decrypted is no
//! error as long as nothing of it is rendered.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use selkie::format::{Format, METADATA_KEY};
use selkie::manifest::{print_json, read_objects};
use selkie::render::{
    Engine, Files, Limits, Mark, Marks, Piece, RenderError, Role, Roles, Source, Sources, ValueKind,
};
use selkie::secret::SecretBytes;
use selkie::tree::MetadataEntry;
use serde_json::{Map, Value as Json};

use super::archive::packed;
use super::arguments::ValuesFile;
use super::files::chart_files;
use super::stand_in::{Compared, StandIns, value_of};
use super::{HelmError, in_time, schema};

/// What stands for decrypted values when a chart is rendered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    /// Marks.
    Marks,
    /// Other marks for the same.
    OtherMarks,
    /// The values, and other marks for what cannot be decrypted.
    OtherValues,
    /// What stands in for values that are not known.
    StandIn(usize),
    /// The values.
    Values,
}

/// A chart, with all that it is rendered of.
pub(super) struct Chart {
    /// The files of the chart, by their paths from its folder.
    files: BTreeMap<String, String>,
    /// What every file holds, by its path from the root.
    contents: BTreeMap<String, SecretBytes>,
    /// What is encrypted.
    pub(super) sources: Sources,
    /// Marks that mean the same as those of `sources`.
    other: Marks,
    /// Files that are encrypted and cannot be decrypted, each with its word and why.
    closed: Vec<Closed>,
    /// What stands in for values, if they are not known.
    stand_ins: Vec<StandIns>,
    /// The paths of files that hold values for templates.
    values: BTreeSet<String>,
}

/// A file that is encrypted and cannot be decrypted, and the words that stand for it.
struct Closed {
    path: String,
    word: String,
    other: String,
    error: RenderError,
}

impl Chart {
    /// Reads the chart in a folder, files with values and others, and opens what is encrypted.
    ///
    /// # Errors
    /// If a file cannot be read, or is encrypted and cannot be opened though it is certain to be used.
    pub(super) fn open(
        engine: &Engine<'_>,
        files: &dyn Files,
        folder: &str,
        values: &[&ValuesFile],
        others: &[&ValuesFile],
        deadline: Option<Instant>,
    ) -> Result<Self, HelmError> {
        let all: BTreeSet<String> = files.paths().into_iter().collect();
        let own = chart_files(files, &all, folder, engine.limits, deadline)?;
        let mut contents = BTreeMap::new();
        let mut total = 0;
        let named = values.iter().chain(others).filter(|file| !file.is_optional || all.contains(&file.path));
        for path in own.values().chain(named.map(|file| &file.path)) {
            in_time(deadline)?;
            let content = files.read(path).map_err(RenderError::from)?;
            engine.limits.check_file(path, content.len() as u64).map_err(RenderError::from)?;
            total += content.len() as u64;
            engine.limits.check_total(total).map_err(RenderError::from)?;
            contents.insert(path.clone(), content);
        }
        engine.limits.check_files(contents.len()).map_err(RenderError::from)?;
        let mut roles = Roles::new();
        let mut closed = Vec::new();
        let mut all_values: BTreeSet<String> = values.iter().map(|file| file.path.clone()).collect();
        let is_values = |path: &str| values.iter().any(|file| file.path == path);
        let mut looked_at = BTreeSet::new();
        for (inside, path) in &own {
            in_time(deadline)?;
            let content = contents[path].expose_secret();
            if is_values(path) || !holds_encrypted(content) {
                continue;
            }
            let Some(role) = role_of(inside, content) else { continue };
            if inside == "values.yaml" || inside.starts_with("charts/") && inside.ends_with("/values.yaml") {
                roles.insert(path.clone(), role);
                all_values.insert(path.clone());
                continue;
            }
            if !looked_at.insert(path) {
                continue;
            }
            // It may be for another cluster, and nothing here of it.
            match engine.open(files, &Roles::from([(path.clone(), role)])) {
                Ok(_) => {
                    roles.insert(path.clone(), role);
                }
                Err(error @ (RenderError::Key { .. } | RenderError::Recover { .. })) => {
                    let word =
                        |place| Mark::new(content, path, place, ValueKind::Bytes, None).word().to_owned();
                    closed.push(Closed { path: path.clone(), word: word(""), other: word("other"), error });
                }
                Err(error) => return Err(error.into()),
            }
        }
        for file in others.iter().filter(|file| contents.contains_key(&file.path)) {
            roles.entry(file.path.clone()).or_insert(Role::Whole(whole_format(&file.path)));
        }
        for file in values.iter().filter(|file| contents.contains_key(&file.path)) {
            // A values file by another name is YAML as well, and JSON is YAML.
            let format = match Format::from_file_name(&file.path) {
                Format::Json => Format::Json,
                _ => Format::Yaml,
            };
            roles.insert(file.path.clone(), Role::Values(format));
        }
        for (path, role) in &roles {
            let is_values = matches!(role, Role::Leaves(_) | Role::Values(_));
            if is_values && is_binary(contents[path].expose_secret()) {
                return Err(HelmError::Binary { path: path.clone() });
            }
        }
        let sources = engine.open(files, &roles)?;
        let other = sources.marks().other_words();
        let mut chart =
            Self { files: own, contents, sources, other, closed, stand_ins: Vec::new(), values: all_values };
        if engine.services.is_none() && !chart.is_clear() {
            let mut compared = Compared::default();
            schema::visit(chart.own_contents(), engine.limits, deadline, &mut |_, content| {
                compared.add_all(content);
                Ok(())
            })?;
            chart.stand_ins = StandIns::of(chart.sources.marks(), compared)?;
        }
        Ok(chart)
    }

    /// Makes sure that the schemas of the chart, and of charts in it, name nothing outside of themselves.
    ///
    /// # Errors
    /// If one does, or an archive in the chart cannot be read.
    pub(super) fn check_schemas(&self, limits: &Limits, deadline: Option<Instant>) -> Result<(), HelmError> {
        schema::check(self.own_contents(), limits, deadline)
    }

    /// Returns what stands in for values that are not known.
    pub(super) fn stand_ins(&self) -> &[StandIns] {
        &self.stand_ins
    }

    /// Returns the files of the chart, and what they hold.
    fn own_contents(&self) -> impl Iterator<Item = (&String, &[u8])> {
        self.files.iter().map(|(inside, path)| (inside, self.contents[path].expose_secret()))
    }

    /// Returns whether nothing is encrypted.
    pub(super) fn is_clear(&self) -> bool {
        self.sources.iter().len() == 0 && self.closed.is_empty()
    }

    /// Returns whether the chart has schemas for its values.
    pub(super) fn has_schema(&self) -> bool {
        self.files.keys().any(|path| path == "values.schema.json" || path.ends_with("/values.schema.json"))
    }

    /// Returns the marks of [`Pass::OtherMarks`].
    pub(super) fn other_marks(&self) -> &Marks {
        &self.other
    }

    /// Returns the archive of the chart.
    ///
    /// # Errors
    /// If a file cannot be filled in.
    pub(super) fn archive(&self, pass: Pass) -> Result<SecretBytes, HelmError> {
        let mut contents = Vec::with_capacity(self.files.len());
        for (inside, path) in &self.files {
            contents.push((inside.as_str(), self.content(path, pass)?));
        }
        Ok(packed(contents.iter().map(|(inside, content)| (*inside, content.expose_secret()))))
    }

    /// Returns what a file holds; `None` if there is no such file.
    ///
    /// # Errors
    /// If a file cannot be filled in.
    pub(super) fn named(&self, file: &ValuesFile, pass: Pass) -> Result<Option<SecretBytes>, HelmError> {
        let is_there = self.contents.contains_key(&file.path);
        is_there.then(|| self.content(&file.path, pass)).transpose()
    }

    /// Returns whether there are files that cannot be decrypted.
    pub(super) fn has_closed(&self) -> bool {
        !self.closed.is_empty()
    }

    /// Returns a file that cannot be decrypted, and why, if there is one.
    pub(super) fn into_closed(self) -> Option<(String, RenderError)> {
        self.closed.into_iter().next().map(|closed| (closed.path, closed.error))
    }

    fn content(&self, path: &str, pass: Pass) -> Result<SecretBytes, HelmError> {
        if let Some(closed) = self.closed.iter().find(|closed| closed.path == path) {
            let is_first = matches!(pass, Pass::Marks | Pass::StandIn(_) | Pass::Values);
            return Ok(if is_first { closed.word.as_str() } else { closed.other.as_str() }.into());
        }
        let Some(source) = self.sources.get(path) else {
            return Ok(self.contents[path].expose_secret().into());
        };
        Ok(match pass {
            Pass::Marks => source.marked().expose_secret().into(),
            Pass::OtherMarks => self.sources.marks().translated(source.marked().expose_secret(), &self.other),
            Pass::OtherValues | Pass::Values => match source.plaintext() {
                Some(plaintext) => plaintext.expose_secret().into(),
                None => self.filled(source, None)?,
            },
            Pass::StandIn(number) => {
                let stand_ins = &self.stand_ins[number];
                if self.values.contains(path) && matches!(source.role, Role::Values(_)) {
                    self.filled(source, Some(stand_ins))?
                } else {
                    stand_ins.put_into(self.sources.marks(), source.marked().expose_secret())
                }
            }
        })
    }

    /// Returns a document in which maps were encrypted, with its values.
    fn filled(&self, source: &Source, stand_ins: Option<&StandIns>) -> Result<SecretBytes, HelmError> {
        let failed = |error| RenderError::Object { place: source.path.clone(), source: error };
        let documents = read_objects(source.marked().expose_secret()).map_err(failed)?;
        let mut out = SecretBytes::new();
        for document in documents {
            out.push_str("---\n");
            out.extend_from_slice(
                print_json(&filled(self.sources.marks(), stand_ins, &document)).expose_secret(),
            );
            out.push_str("\n");
        }
        Ok(out)
    }
}

/// Returns what a text of a built object stands for: typed, if it is one value as a whole. `None` if values are not known.
pub(super) fn meant(marks: &Marks, stand_ins: Option<&StandIns>, text: &str) -> Option<Json> {
    let pieces = marks.pieces(text.as_bytes()).ok()?;
    if let [Piece::Mark(id)] = pieces[..] {
        let mark = marks.get(id);
        let text = str::from_utf8(value_of(mark, stand_ins)?).ok()?;
        return Some(match mark.kind {
            ValueKind::Bool => text.parse().map_or_else(|_| text.into(), Json::Bool),
            ValueKind::Float => text.parse::<f64>().map_or_else(|_| text.into(), Json::from),
            ValueKind::Int => text.parse::<i64>().map_or_else(|_| text.into(), Json::from),
            ValueKind::Bytes | ValueKind::Text => text.into(),
        });
    }
    let mut out = String::new();
    for piece in pieces {
        out.push_str(match piece {
            Piece::Clear(clear) => str::from_utf8(clear).ok()?,
            Piece::Mark(id) => str::from_utf8(value_of(marks.get(id), stand_ins)?).ok()?,
        });
    }
    Some(out.into())
}

fn filled(marks: &Marks, stand_ins: Option<&StandIns>, node: &Json) -> Json {
    match node {
        Json::Array(items) => items.iter().map(|item| filled(marks, stand_ins, item)).collect(),
        Json::Object(entries) => entries
            .iter()
            .map(|(key, entry)| (key.clone(), filled(marks, stand_ins, entry)))
            .collect::<Map<_, _>>()
            .into(),
        Json::String(text) => meant(marks, stand_ins, text).unwrap_or_else(|| node.clone()),
        other => other.clone(),
    }
}

/// Returns what an encrypted file of a chart is to its templates; `None` if it is not for them, or is not encrypted.
fn role_of(inside: &str, content: &[u8]) -> Option<Role> {
    match Format::from_file_name(inside) {
        format @ (Format::Json | Format::Yaml) => {
            // In templates what only looks encrypted is found in what is rendered.
            let is_document = format.read(SecretBytes::from(content)).is_ok_and(|tree| {
                *tree.metadata() != MetadataEntry::Absent || holds(content, METADATA_KEY.as_bytes())
            });
            match inside.contains("templates/") {
                true => is_document.then_some(Role::Leaves(format)),
                false => Some(Role::Values(format)),
            }
        }
        format => {
            let tree = format.read(SecretBytes::from(content)).ok()?;
            (*tree.metadata() != MetadataEntry::Absent).then_some(Role::Whole(format))
        }
    }
}

/// Returns whether a document is one that SOPS encrypted as a whole, whatever its name says.
fn is_binary(content: &[u8]) -> bool {
    if !holds_encrypted(content) {
        return false;
    }
    let keys = serde_json::from_slice::<Map<String, Json>>(content).ok();
    keys.is_some_and(|keys| keys.len() == 2 && keys.contains_key("data") && keys.contains_key(METADATA_KEY))
}

/// Returns the format of a file that is one value.
fn whole_format(path: &str) -> Format {
    Format::from_file_name(path)
}

fn holds_encrypted(text: &[u8]) -> bool {
    holds(text, b"ENC[AES256_GCM,")
}

/// Returns whether a text holds a word.
fn holds(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}
