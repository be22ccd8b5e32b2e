//! What can be said of something encrypted by whoever has no keys.

use std::fmt;

use serde_json::{Value as Json, json};

use super::super::Engine;
use crate::format::Format;
use crate::sealed::SealedSecret;
use crate::sops::{LeafState, Metadata, leaves};
use crate::tree::Tree;

/// What something encrypted is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A SealedSecret.
    Sealed(SealedFacts),
    /// A document of SOPS.
    Sops(Box<SopsFacts>),
    /// Something that looks encrypted, and is nothing that can be decrypted.
    Unknown,
}

/// What a SealedSecret says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedFacts {
    /// To what its items are bound.
    pub scope: &'static str,
    /// How many items it has.
    pub items: usize,
}

/// What a document of SOPS says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SopsFacts {
    /// The format.
    pub format: &'static str,
    /// The groups of keys that it is encrypted for.
    pub groups: Vec<Vec<Recipient>>,
    /// How many groups are needed.
    pub required: usize,
    /// The rule for which values are encrypted: its field, and what that says.
    pub selector: (&'static str, String),
    /// How many values are encrypted.
    pub encrypted: usize,
    /// How many values are in clear, as the rule says.
    pub clear: usize,
    /// Whether there is a MAC.
    pub has_mac: bool,
    /// Whether the MAC covers encrypted values only.
    pub mac_only_encrypted: bool,
    /// When it was last changed.
    pub last_modified: String,
    /// The version of SOPS.
    pub version: String,
}

/// A master key that a document is encrypted for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// The kind of the key.
    pub kind: &'static str,
    /// Its name: a fingerprint, an ARN, a public key.
    pub name: String,
    /// Whether it would be tried: the rule allows it, and keys are asked for.
    pub tried: bool,
}

impl SealedFacts {
    pub(super) fn of(sealed: &SealedSecret) -> Self {
        let items = sealed.encrypted_data.len() + usize::from(sealed.deprecated_data.is_some());
        Self { scope: sealed.scope().name(), items }
    }
}

impl SopsFacts {
    pub(super) fn of(engine: &Engine<'_>, format: Format, tree: &Tree, metadata: &Metadata) -> Self {
        let leaves = leaves(format, tree, &metadata.selector);
        let count = |state| leaves.iter().filter(|leaf| leaf.state == state).count();
        let recipient = |key| Recipient::of(engine, key);
        let groups = metadata.groups.iter();
        Self {
            format: format.store().name(),
            groups: groups.map(|group| group.0.iter().map(recipient).collect()).collect(),
            required: metadata.required_groups(),
            selector: (metadata.selector.field(), metadata.selector.text().to_owned()),
            encrypted: count(LeafState::Encrypted),
            clear: count(LeafState::Clear),
            has_mac: !metadata.mac.is_empty(),
            mac_only_encrypted: metadata.mac_only_encrypted,
            last_modified: metadata.last_modified.clone(),
            version: metadata.version.clone(),
        }
    }
}

impl Recipient {
    fn of(engine: &Engine<'_>, key: &crate::keys::MasterKey) -> Self {
        let tried = engine.services.is_some() && engine.rule.allows_key(key);
        Self { kind: key.kind().name, name: key.to_string(), tried }
    }
}

impl Content {
    pub(super) fn to_json(&self) -> Json {
        match self {
            Self::Sealed(sealed) => {
                json!({"content": "SealedSecret", "scope": sealed.scope, "items": sealed.items})
            }
            Self::Sops(sops) => {
                let recipient =
                    |key: &Recipient| json!({"kind": key.kind, "name": key.name, "tried": key.tried});
                let group = |group: &Vec<Recipient>| group.iter().map(recipient).collect::<Json>();
                json!({
                    "content": "SOPS",
                    "format": sops.format,
                    "groups": sops.groups.iter().map(group).collect::<Json>(),
                    "requiredGroups": sops.required,
                    "selector": {sops.selector.0: sops.selector.1},
                    "encrypted": sops.encrypted,
                    "clear": sops.clear,
                    "mac": if sops.has_mac { "present" } else { "missing" },
                    "macOnlyEncrypted": sops.mac_only_encrypted,
                    "lastModified": sops.last_modified,
                    "version": sops.version,
                })
            }
            Self::Unknown => json!({"content": "Unknown"}),
        }
    }
}

impl fmt::Display for Content {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sealed(sealed) => {
                write!(formatter, "SealedSecret, {}, {} items", sealed.scope, sealed.items)
            }
            Self::Sops(sops) => {
                let group = |group: &Vec<Recipient>| {
                    let keys: Vec<_> = group.iter().map(|key| format!("{} {}", key.kind, key.name)).collect();
                    keys.join(" or ")
                };
                let groups: Vec<_> = sops.groups.iter().map(group).collect();
                write!(
                    formatter,
                    "SOPS {}, {} values encrypted and {} in clear ({}: {:?}), changed {}, for ",
                    sops.format,
                    sops.encrypted,
                    sops.clear,
                    sops.selector.0,
                    sops.selector.1,
                    sops.last_modified
                )?;
                if groups.len() > 1 {
                    write!(formatter, "{} groups of: ", sops.required)?;
                }
                formatter.write_str(&groups.join("; "))?;
                formatter.write_str(if sops.has_mac { "" } else { ", without a MAC" })
            }
            Self::Unknown => formatter.write_str("looks encrypted"),
        }
    }
}
