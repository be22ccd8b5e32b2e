//! The `sops` entry of a document: who can read it, which values are encrypted, and the MAC.
//!
//! Source: what sops 3.0 to 3.13 write; readers are order-independent and take `"true"` for true, as the
//! flat formats have only strings.

use std::collections::HashMap;

use serde_json::{Map, Value as Json};

use super::groups::{self, WrapError};
use super::sealed::SealError;
use super::selector::{Selector, SelectorError};
use crate::format::{Format, MetadataEdit, Rewrite, WriteOptions, parse_timestamp};
use crate::keys::{KEY_KINDS, KeyGroup, MasterKey};
use crate::secret::SecretBytes;
use crate::tree::{MetadataEntry, Tree, same_values};

/// The metadata of an encrypted document.
#[derive(Clone, Debug)]
pub struct Metadata {
    /// The master keys. With one group each key recovers the data key, with more each recovers a share.
    pub groups: Vec<KeyGroup>,
    /// How many groups are needed; 0 stands for all of them.
    pub shamir_threshold: usize,
    /// When the document was last changed, RFC 3339 in UTC; the additional data of the MAC.
    pub last_modified: String,
    /// The encrypted MAC.
    pub mac: String,
    /// Which values are encrypted.
    pub selector: Selector,
    /// Whether the MAC covers encrypted values only.
    pub mac_only_encrypted: bool,
    /// The version of SOPS whose rules the document follows.
    pub version: String,
    /// How values were spelled where their plaintext does not tell, encrypted.
    pub(crate) layout: Option<String>,
    /// Whether a rule is written down; a single value has none.
    pub(super) writes_selector: bool,
    /// Fields of a newer version, written as they are. Reading leaves them out, as sops does: see
    /// [`Self::keep_unknown`].
    pub(crate) unknown: Map<String, Json>,
}

/// Why a document's metadata cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// A field does not have its type.
    #[error("the field {0:?} of the sops metadata is malformed")]
    Field(&'static str),
    /// The document is not encrypted.
    #[error("sops metadata not found")]
    Missing,
    /// There is no master key.
    #[error("No keys found in file")]
    NoKeys,
    /// The entry is not a mapping.
    #[error("Found sops entry that is not a mapping")]
    NotAMapping,
    /// The rule cannot be used.
    #[error(transparent)]
    Selector(#[from] SelectorError),
    /// The version is missing, so that nothing tells how the document was written.
    #[error("Version string empty")]
    Version,
}

impl Metadata {
    /// Returns the metadata of a document that is about to be encrypted.
    #[must_use]
    pub fn new(groups: Vec<KeyGroup>) -> Self {
        Self {
            groups,
            shamir_threshold: 0,
            last_modified: String::new(),
            mac: String::new(),
            selector: Selector::default(),
            mac_only_encrypted: false,
            version: VERSION.to_owned(),
            layout: None,
            writes_selector: true,
            unknown: Map::new(),
        }
    }

    /// Reads the entry that a format found.
    ///
    /// # Errors
    /// If there is none, or a field that is needed is missing or malformed.
    pub fn from_entry(entry: &MetadataEntry) -> Result<Self, MetadataError> {
        match entry {
            MetadataEntry::Absent => Err(MetadataError::Missing),
            MetadataEntry::NotAMapping => Err(MetadataError::NotAMapping),
            MetadataEntry::Present(entry) => Self::from_json(entry),
        }
    }

    /// Reads an entry.
    ///
    /// # Errors
    /// If a field that is needed is missing or malformed.
    pub fn from_json(entry: &Map<String, Json>) -> Result<Self, MetadataError> {
        let text = |field| entry.get(field).and_then(Json::as_str);
        let required = |field| match entry.get(field) {
            None | Some(Json::Null) => Ok(String::new()),
            Some(Json::String(text)) => Ok(text.clone()),
            Some(_) => Err(MetadataError::Field(field)),
        };
        let last_modified = required("lastmodified")?;
        let last_modified = parse_timestamp(&last_modified).ok_or(MetadataError::Field("lastmodified"))?;
        let rules = rules(entry)?;
        let selector = Selector::lenient_from_fields(|field| rules.get(field).map(String::as_str))?;
        let version = entry.get("version").map_or_else(String::new, |version| match version {
            Json::String(text) => text.clone(),
            other => other.to_string(),
        });
        if version.is_empty() {
            return Err(MetadataError::Version);
        }
        let mut groups = groups(entry)?;
        if is_before_3_3(&version) {
            groups.iter_mut().flat_map(|group| &mut group.0).for_each(MasterKey::mark_as_old);
        }
        Ok(Self {
            groups,
            shamir_threshold: weak_number(entry, "shamir_threshold")?,
            last_modified,
            mac: required("mac")?,
            selector: selector.unwrap_or_default(),
            mac_only_encrypted: weak_bool(entry, "mac_only_encrypted")?,
            version,
            layout: text(LAYOUT).map(str::to_owned),
            writes_selector: true,
            unknown: Map::new(),
        })
    }

    /// Returns the entry, names in alphabetical order as sops 3.13 has them.
    #[must_use]
    pub fn to_json(&self) -> Map<String, Json> {
        let mut entries: Vec<(&str, Json)> = vec![
            ("lastmodified", self.last_modified.as_str().into()),
            ("mac", self.mac.as_str().into()),
            ("version", self.version.as_str().into()),
        ];
        if self.mac_only_encrypted {
            entries.push(("mac_only_encrypted", true.into()));
        }
        if self.shamir_threshold != 0 {
            entries.push(("shamir_threshold", self.shamir_threshold.into()));
        }
        if self.writes_selector {
            entries.push((self.selector.field(), self.selector.text().into()));
        }
        if let Some(layout) = &self.layout {
            entries.push((LAYOUT, layout.as_str().into()));
        }
        entries.extend(self.unknown.iter().map(|(name, value)| (name.as_str(), value.clone())));
        match self.groups.as_slice() {
            [group] => entries.extend(key_lists(group, false)),
            groups => {
                let group = |group| Json::Object(sorted(key_lists(group, true)));
                entries.push(("key_groups", groups.iter().map(group).collect()));
            }
        }
        sorted(entries)
    }

    /// Keeps the fields of the entry that this was read from which no version known here has.
    pub(crate) fn keep_unknown(&mut self, entry: &MetadataEntry) {
        let MetadataEntry::Present(entry) = entry else { return };
        let is_known = |name: &str| {
            FIELDS.contains(&name)
                || Selector::FIELDS.contains(&name)
                || KEY_KINDS.iter().any(|kind| kind.name == name)
        };
        let unknown = entry.iter().filter(|(name, _)| !is_known(name));
        self.unknown = unknown.map(|(name, value)| (name.clone(), value.clone())).collect();
    }

    /// Takes over the keys, with what they hold, and the version that tells how they hold it.
    pub(crate) fn take_keys_of(&mut self, other: &Self) {
        self.groups.clone_from(&other.groups);
        self.shamir_threshold = other.shamir_threshold;
        self.version.clone_from(&other.version);
    }

    /// Returns an encrypted document with this metadata in place of its own, and nothing else changed.
    ///
    /// # Errors
    /// If the metadata cannot be written, or what was written does not say the same: see [`SealError`].
    pub fn replace_in(&self, format: Format, tree: &Tree) -> Result<SecretBytes, SealError> {
        let entry = self.to_json();
        let rewrite = Rewrite { metadata: MetadataEdit::Put(&entry), ..Rewrite::default() };
        self.checked(format, tree, format.store().rewrite(tree, &rewrite)?)
    }

    /// Returns an encrypted document with this metadata written anew in a format, in the style of sops.
    ///
    /// # Errors
    /// As [`Self::replace_in`].
    pub fn write_with(
        &self,
        format: Format,
        tree: &Tree,
        options: &WriteOptions,
    ) -> Result<SecretBytes, SealError> {
        self.checked(format, tree, format.store().write(tree, Some(&self.to_json()), options)?)
    }

    /// Reads what was written, and returns it if it holds the values of `tree` and this metadata.
    fn checked(&self, format: Format, tree: &Tree, written: SecretBytes) -> Result<SecretBytes, SealError> {
        let again = format.read(written)?;
        let metadata = Self::from_entry(again.metadata()).map_err(SealError::Metadata)?;
        let is_same = metadata.to_json() == self.to_json() && same_values(tree, &again);
        if is_same { Ok(again.into_source()) } else { Err(SealError::Unfaithful) }
    }

    /// Returns how many groups must recover their share.
    #[must_use]
    pub fn required_groups(&self) -> usize {
        match self.shamir_threshold {
            0 => self.groups.len(),
            threshold => threshold,
        }
    }

    /// Returns whether keys of AWS KMS may be wrapped under another encryption context than they name, as sops before
    /// 3.3.0 did. They are unwrapped all the same; wrapped anew they are as they should be.
    #[must_use]
    pub fn has_mixed_up_contexts(&self) -> bool {
        self.groups.iter().flat_map(|group| &group.0).any(|key| !key.mistakes().is_empty())
    }

    /// Records that all keys were wrapped just now. A version before 3.3.0 would say that they may be wrapped under
    /// other contexts than they name.
    pub(super) fn mark_as_wrapped(&mut self) {
        let could_be_mistaken = |key: &MasterKey| {
            let mut old = key.clone();
            old.mark_as_old();
            !old.mistakes().is_empty()
        };
        let mut keys = self.groups.iter().flat_map(|group| &group.0);
        if is_before_3_3(&self.version) && keys.any(could_be_mistaken) {
            VERSION.clone_into(&mut self.version);
        }
    }

    /// Makes sure that a data key can be wrapped for the groups, as far as no key needs to be asked.
    ///
    /// # Errors
    /// If there is no group, one has no key, or the threshold does not fit.
    pub fn check_groups(&self) -> Result<(), WrapError> {
        groups::check(&self.groups, self.shamir_threshold)
    }
}

/// Returns whether a version is before the first one that uses the encryption contexts that keys of AWS KMS name.
fn is_before_3_3(version: &str) -> bool {
    let mut parts = version.trim_start_matches('v').split(['.', '-', '+']).map(str::parse::<u64>);
    let Some(Ok(major)) = parts.next() else { return false };
    (major, parts.next().and_then(Result::ok).unwrap_or_default()) < (3, 3)
}

/// Returns the rules of an entry, by name.
fn rules(entry: &Map<String, Json>) -> Result<HashMap<&'static str, String>, MetadataError> {
    let rule = |field: &'static str| match entry.get(field)? {
        Json::Null => None,
        Json::String(text) => Some(Ok((field, text.clone()))),
        // Text without quotes, as in `encrypted_regex: 1`.
        value @ (Json::Bool(_) | Json::Number(_)) => Some(Ok((field, value.to_string()))),
        Json::Array(_) | Json::Object(_) => Some(Err(MetadataError::Field(field))),
    };
    Selector::FIELDS.into_iter().filter_map(rule).collect()
}

/// Returns the groups of an entry: lists at its top are the one group there is.
fn groups(entry: &Map<String, Json>) -> Result<Vec<KeyGroup>, MetadataError> {
    let group = group(entry)?;
    if !group.0.is_empty() {
        return Ok(vec![group]);
    }
    let groups = match entry.get("key_groups") {
        Some(Json::Array(groups)) => groups,
        None | Some(Json::Null) => return Err(MetadataError::NoKeys),
        Some(_) => return Err(MetadataError::Field("key_groups")),
    };
    if groups.is_empty() {
        return Err(MetadataError::NoKeys);
    }
    let fields = |json: &Json| match json {
        Json::Object(fields) => self::group(fields),
        _ => Err(MetadataError::Field("key_groups")),
    };
    groups.iter().map(fields).collect()
}

fn group(lists: &Map<String, Json>) -> Result<KeyGroup, MetadataError> {
    let mut group = KeyGroup::default();
    for kind in KEY_KINDS {
        match lists.get(kind.name) {
            None | Some(Json::Null) => {}
            Some(Json::Array(keys)) => {
                for key in keys {
                    let fields = key.as_object().ok_or(MetadataError::Field(kind.name))?;
                    group.0.push(MasterKey::from_metadata(kind, fields));
                }
            }
            Some(_) => return Err(MetadataError::Field(kind.name)),
        }
    }
    Ok(group)
}

/// Returns a group's keys as one list for each kind.
fn key_lists(group: &KeyGroup, in_group: bool) -> Vec<(&'static str, Json)> {
    let list = |kind: &&'static crate::keys::KeyKind| {
        let keys = group.0.iter().filter(|key| key.kind().name == kind.name);
        (kind.name, keys.map(|key| Json::Object(key.to_metadata())).collect::<Json>())
    };
    // sops writes these two lists in a group even if they are empty.
    let is_kept = |(name, keys): &(&str, Json)| {
        keys != &Json::Array(vec![]) || (in_group && matches!(*name, "age" | "hc_vault"))
    };
    KEY_KINDS.iter().map(list).filter(is_kept).collect()
}

fn sorted(mut entries: Vec<(&str, Json)>) -> Map<String, Json> {
    entries.sort_by_key(|&(name, _)| name);
    entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn weak_bool(entry: &Map<String, Json>, field: &'static str) -> Result<bool, MetadataError> {
    match entry.get(field) {
        None | Some(Json::Null) => Ok(false),
        Some(Json::Bool(value)) => Ok(*value),
        Some(Json::Number(number)) => Ok(number.as_f64() != Some(0.0)),
        Some(Json::String(text)) => match text.as_str() {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
            "" | "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
            _ => Err(MetadataError::Field(field)),
        },
        Some(_) => Err(MetadataError::Field(field)),
    }
}

fn weak_number(entry: &Map<String, Json>, field: &'static str) -> Result<usize, MetadataError> {
    let number = match entry.get(field) {
        None | Some(Json::Null) => Some(0),
        Some(Json::Number(number)) => number.as_u64(),
        Some(Json::String(text)) if text.is_empty() => Some(0),
        Some(Json::String(text)) => text.parse().ok(),
        Some(_) => None,
    };
    number.and_then(|number| usize::try_from(number).ok()).ok_or(MetadataError::Field(field))
}

/// The version of SOPS whose files ours are.
pub const VERSION: &str = "3.13.3";
/// The fields of the metadata besides rules and keys.
const FIELDS: [&str; 7] =
    ["key_groups", "lastmodified", "mac", "mac_only_encrypted", LAYOUT, "shamir_threshold", "version"];
/// The field of the layout. SOPS passes over fields that it does not know, and drops them when it writes.
const LAYOUT: &str = "selkie_layout";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(entry: Json) -> Result<Metadata, MetadataError> {
        Metadata::from_json(entry.as_object().expect("an object"))
    }

    fn entry() -> Json {
        json!({
            "age": [{"enc": "armor", "recipient": "age1abc"}],
            "lastmodified": "2026-11-23T02:23:49Z",
            "mac": "ENC[]",
            "unencrypted_suffix": "_unencrypted",
            "version": "3.13.3",
        })
    }

    #[test]
    fn an_entry_comes_back_as_it_was_read() {
        let metadata = read(entry()).expect("a valid entry");
        assert_eq!(Json::Object(metadata.to_json()), entry());
        assert_eq!(metadata.groups.len(), 1);
        assert_eq!(metadata.required_groups(), 1);
    }

    #[test]
    fn groups_always_write_age_and_vault() {
        let mut json = entry();
        let keys = json["age"].take();
        json["key_groups"] = json!([{"age": keys, "hc_vault": []}, {"age": [], "hc_vault": [], "pgp":
            [{"created_at": "2026-11-23T02:23:49Z", "enc": "x", "fp": "ABC"}]}]);
        json["shamir_threshold"] = "2".into();
        json.as_object_mut().expect("an object").shift_remove("age");
        let metadata = read(json.clone()).expect("a valid entry");
        json["shamir_threshold"] = 2.into();
        assert_eq!(Json::Object(metadata.to_json()), json);
    }

    #[test]
    fn contexts_are_mixed_up_before_3_3_alone() {
        for (version, is_mixed_up) in [
            ("3.2.0", true),
            ("3.0.0", true),
            ("2.9", true),
            ("1.x", true),
            ("3.3.0", false),
            ("3.13.3", false),
            ("x", false),
        ] {
            let mut json = entry();
            json["version"] = version.into();
            json["kms"] = json!([{"arn": "a", "context": {"a": "x", "b": "y"}, "enc": "AQ=="}]);
            let mut metadata = read(json).expect("a valid entry");
            assert_eq!(metadata.has_mixed_up_contexts(), is_mixed_up, "{version}");
            assert_eq!(metadata.version, version);
            metadata.mark_as_wrapped();
            assert_eq!(metadata.version, if is_mixed_up { VERSION } else { version });
        }
    }

    #[test]
    fn each_fault_has_its_name() {
        let without = |field: &str| {
            let mut json = entry();
            json.as_object_mut().expect("an object").shift_remove(field);
            read(json).err()
        };
        assert_eq!(without("age"), Some(MetadataError::NoKeys));
        assert_eq!(without("lastmodified"), Some(MetadataError::Field("lastmodified")));
        assert_eq!(without("version"), Some(MetadataError::Version));
        assert_eq!(without("mac"), None);
        assert_eq!(without("unencrypted_suffix"), None);
    }
}
