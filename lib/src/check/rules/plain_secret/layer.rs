//! Documents of a file, and documents in texts of these: manifests in ConfigMaps, in values of charts, in applications.
//!
//! Bound: texts within texts are read some levels deep, so that no byte is read more often than that.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::ops::Range;

use crate::check::{Entry, File, Object, Outline, Places};
use crate::sops::is_well_formed;

/// Documents that were read together: those of a file, or those of a text in it.
pub(in crate::check::rules) struct Layer<'l> {
    /// What they say.
    pub outline: &'l Outline<'l>,
    /// Where they are, if they are in a text.
    above: Option<Above<'l>>,
    /// The documents that SOPS encrypted.
    encrypted: Vec<Range<usize>>,
    depth: usize,
    /// Of the maps that findings are in: whether they say what kind they are, and what they are called.
    labels: RefCell<HashMap<(usize, usize), (bool, String)>>,
}

struct Above<'l> {
    layer: &'l Layer<'l>,
    holder: Entry<'l>,
    places: Places,
    /// What findings say of the text.
    label: OnceCell<(String, String)>,
}

/// Calls `visit` with the documents of a file, and with those in texts that are worth reading by `is_worth`. Texts
/// that SOPS knows, those in Secrets, and patches are left to others.
pub(in crate::check::rules) fn each_layer(
    file: &File<'_>,
    is_worth: &dyn Fn(&str) -> bool,
    visit: &mut dyn FnMut(&Layer<'_>),
) {
    let outline = file.outline();
    let layer =
        Layer { outline, above: None, encrypted: encrypted(outline), depth: 0, labels: RefCell::default() };
    look(&layer, is_worth, visit);
}

fn look(layer: &Layer<'_>, is_worth: &dyn Fn(&str) -> bool, visit: &mut dyn FnMut(&Layer<'_>)) {
    visit(layer);
    if layer.depth == MAX_DEPTH {
        return;
    }
    let secret = values_of_secrets(layer.outline);
    for holder in layer.outline.nodes().filter(|entry| !entry.is_alias()) {
        let Some(text) = holder.text().filter(|text| text.len() >= MIN_TEXT && is_worth(text)) else {
            continue;
        };
        if layer.is_encrypted(holder) || is_within(&secret, holder) || is_judged_elsewhere(holder) {
            continue;
        }
        let outline = Outline::read(text);
        if outline.roots().any(|root| root.text().is_none()) {
            let above = Above { layer, holder, places: holder.places(), label: OnceCell::new() };
            // Only what SOPS encrypted has its values: metadata alone are no more than words in a text.
            let has_values = text.contains("ENC[AES256_GCM,");
            let encrypted = if has_values { encrypted(&outline) } else { Vec::new() };
            let depth = layer.depth + 1;
            let labels = RefCell::default();
            look(&Layer { outline: &outline, above: Some(above), encrypted, depth, labels }, is_worth, visit);
        }
    }
}

impl Layer<'_> {
    /// Returns whether these are the documents of the file itself.
    pub(in crate::check::rules) const fn is_file(&self) -> bool {
        self.above.is_none()
    }

    /// Returns whether a value is in a document that SOPS encrypted.
    pub(in crate::check::rules) fn is_encrypted(&self, entry: Entry<'_>) -> bool {
        is_within(&self.encrypted, entry)
    }

    /// Returns the bytes of the file for some of the text of these documents.
    pub(in crate::check::rules) fn place(&self, range: Range<usize>) -> Range<usize> {
        let (mut range, mut above) = (range, self.above.as_ref());
        while let Some(next) = above {
            let start = next.places.of(range.start);
            range = start..next.places.of(range.end).max(start);
            above = next.layer.above.as_ref();
        }
        range
    }

    /// Returns what findings say of the object and the place in it: `entry` is in `top`, or the text that holds both.
    pub(in crate::check::rules) fn label(&self, top: Entry<'_>, pointer: String) -> (String, String) {
        let Some(mut above) = self.above.as_ref() else { return (self.known(top).1, pointer) };
        while let Some(next) = above.layer.above.as_ref() {
            above = next;
        }
        above.label.get_or_init(|| above.label()).clone()
    }
}

impl Layer<'_> {
    /// Returns whether a map says what kind it is, and what it is called; each is looked at once.
    fn known(&self, map: Entry<'_>) -> (bool, String) {
        let span = map.span();
        let mut labels = self.labels.borrow_mut();
        let known = labels
            .entry((span.start, span.end))
            .or_insert_with(|| (map.text_at(&["kind"]).is_some(), Object { entry: map }.label()));
        known.clone()
    }
}

impl Above<'_> {
    fn label(&self) -> (String, String) {
        let mut object = self.holder;
        while let Some(parent) = object.parent() {
            object = parent;
            if object.is_map() && self.layer.known(object).0 {
                break;
            }
        }
        (self.layer.known(object).1, self.holder.pointer(Some(object)))
    }
}

/// Returns whether another rule judges a text: of patches, or of what was last applied.
fn is_judged_elsewhere(holder: Entry<'_>) -> bool {
    let mut entry = Some(holder);
    while let Some(next) = entry {
        let key = next.key().unwrap_or_default();
        let is_patch = matches!(key, "patch" | "patches" | "patchesStrategicMerge" | "patchesJson6902");
        if is_patch || key.ends_with(LAST_APPLIED) {
            return true;
        }
        entry = next.parent();
    }
    false
}

/// Returns whether a value is written in one of some ranges, which are in order and apart.
fn is_within(ranges: &[Range<usize>], entry: Entry<'_>) -> bool {
    let at = entry.written_span().start;
    let next = ranges.partition_point(|range| range.end <= at);
    ranges.get(next).is_some_and(|range| range.start <= at)
}

/// Returns where the values of Secrets are, which are judged there.
fn values_of_secrets(outline: &Outline<'_>) -> Vec<Range<usize>> {
    let secrets = outline.nodes().filter(|entry| entry.is_map() && !entry.is_alias());
    let secrets = secrets.filter(|entry| Object { entry: *entry }.is_secret());
    let values = secrets.flat_map(Entry::entries);
    let values = values.filter(|entry| matches!(entry.key(), Some("data" | "stringData")));
    let mut ranges: Vec<_> = values.map(Entry::written_span).collect();
    ranges.sort_by_key(|range| range.start);
    ranges.dedup_by(|next, last| {
        let is_joined = next.start < last.end;
        if is_joined {
            last.end = last.end.max(next.end);
        }
        is_joined
    });
    ranges
}

/// Returns where the documents are that SOPS encrypted.
fn encrypted(outline: &Outline<'_>) -> Vec<Range<usize>> {
    let documents = outline.documents().iter();
    let encrypted = documents.filter(|document| outline.root(document).is_some_and(has_metadata));
    encrypted.map(|document| document.span.clone()).collect()
}

/// Returns whether a document has the metadata of SOPS, with what sops asks for before it decrypts. Metadata that cannot
/// be used is told as such, and protects nothing.
fn has_metadata(root: Entry<'_>) -> bool {
    let mac = root.text_at(&["sops", "mac"]).filter(|_| root.at(&["sops", "lastmodified"]).is_some());
    mac.is_some_and(|mac| is_well_formed(mac.as_bytes()))
}

/// Returns whether a document says that SOPS encrypted it.
fn says_metadata(root: Entry<'_>) -> bool {
    let metadata = root.get("sops").filter(|metadata| metadata.is_map());
    metadata.is_some_and(|sops| ["lastmodified", "mac", "version"].iter().any(|key| sops.get(key).is_some()))
}

/// Returns whether a text is a file that SOPS encrypted: Flux decrypts such values of Secrets.
pub(in crate::check::rules) fn is_document(text: &str) -> bool {
    if !text.contains("ENC[AES256_GCM,") {
        return false;
    }
    text.contains("sops_mac") || text.contains("[sops]") || Outline::read(text).roots().any(says_metadata)
}

/// How the annotation is called that holds what was last applied.
pub(in crate::check::rules) const LAST_APPLIED: &str = "last-applied-configuration";

/// How deep texts with documents are in each other at most.
const MAX_DEPTH: usize = 3;

/// How long a text is at least that holds an object.
const MIN_TEXT: usize = 16;
