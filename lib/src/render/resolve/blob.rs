//! Encrypted documents inside of a value, such as an entry of a Secret.

use super::super::Engine;
use super::super::marks::{Mark, MarkId, ValueKind};
use super::super::open::{Blob, MARK_KEY, Sources, holds_encrypted, public_key};
use super::super::verdict::{MacVerdict, RenderError, Warning};
use super::refuse_marks;
use crate::format::{Format, METADATA_KEY, WriteOptions};
use crate::tree::{MetadataEntry, Tree};

impl Engine<'_> {
    /// Opens a document inside of a value, and returns the mark for what it says decrypted; `None` if it is none.
    ///
    /// What is encrypted in one format under a key that ends like another one comes out in the latter, as in Flux.
    pub(super) fn open_blob(
        &self,
        place: &str,
        key: &str,
        bytes: &[u8],
        sources: &mut Sources,
    ) -> Result<Option<MarkId>, RenderError> {
        if !holds_encrypted(bytes) {
            return Ok(None);
        }
        refuse_marks(place, bytes)?;
        let Some((format, tree)) = parse(bytes) else { return Ok(None) };
        let wanted = format_of_key(key);
        // A document of JSON with nothing but `data` is written like bytes are: the key tells which it is.
        let format = if (format, wanted) == (Format::Binary, Format::Json) { wanted } else { format };
        let blob = Blob { original: bytes.into(), format, wanted };
        let Some(envelope) = self.recover(place, tree.metadata())? else {
            let mut mark = Mark::new(&public_key(bytes), place, "", ValueKind::Bytes, None);
            mark.length = crate::sops::without_metadata(format, &tree).map_or(0, |text| text.len());
            return Ok(Some(sources.add_blob(mark, blob)));
        };
        let again = || format.read(bytes).expect("it was read before");
        let (opened, verdict) = self.verify(place, &envelope, format, tree, again)?;
        let plaintext = if wanted == format || wanted == Format::Binary {
            opened.plaintext().map_err(|source| RenderError::Open { path: place.to_owned(), source })?
        } else {
            let written = opened.write(wanted, &WriteOptions::default());
            written.map_err(|source| RenderError::Write { path: place.to_owned(), source })?
        };
        let mark = Mark::new(&*envelope.derive(MARK_KEY), place, "", ValueKind::Bytes, Some(plaintext));
        if verdict != MacVerdict::Ok {
            let text = "the MAC is not that of the document, which the policy lets pass".to_owned();
            sources.warn(Warning { place: place.to_owned(), text });
        }
        Ok(Some(sources.add_blob(mark, blob)))
    }
}

/// Returns the format and the tree of an encrypted document.
pub(in crate::render) fn parse(bytes: &[u8]) -> Option<(Format, Tree)> {
    let is_json = bytes.trim_ascii_start().starts_with(b"{");
    let formats: &[Format] =
        if is_json { &[Format::Json] } else { &[Format::Yaml, Format::Dotenv, Format::Ini] };
    formats.iter().find_map(|&format| {
        let tree = format.read(bytes).ok()?;
        let is_encrypted =
            matches!(tree.metadata(), MetadataEntry::Present(entry) if entry.contains_key("mac"));
        let format = if is_json && holds_bytes(&tree) { Format::Binary } else { format };
        is_encrypted.then_some((format, tree))
    })
}

/// Returns whether an encrypted document of JSON has nothing but `data`, as bytes have.
fn holds_bytes(tree: &Tree) -> bool {
    let roots = tree.documents().iter();
    let mut keys = roots.flat_map(|&root| tree.items(root)).filter_map(|id| tree.key(id));
    keys.all(|key| key == b"data" || key == METADATA_KEY.as_bytes())
}

/// Returns the format that a key of a Secret asks for.
fn format_of_key(key: &str) -> Format {
    if key.ends_with(".dockerconfigjson") { Format::Json } else { Format::from_file_name(key) }
}
