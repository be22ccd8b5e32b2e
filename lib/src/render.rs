//! Rendering: what a sync engine applies, from files in which secrets are encrypted.
//!
//! [`Engine::open`] reads files and decrypts them under *marks*: words that stand for decrypted values. What builds
//! manifests sees marks alone. [`Engine::documents`] takes manifests as they are written, [`Engine::built`] what
//! Kustomize or Helm made of them. [`emit()`] then puts something in the place of the marks: the values, ciphertext for a
//! cluster, or dummies.
//!
//! # Example
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use selkie::render::{EmitMode, Engine, Limits, Memory, Rule, emit, manifests};
//!
//! let mut files = Memory::default();
//! files.insert("apps/shop.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: shop}\n")?;
//!
//! let (rule, limits) = (Rule::default(), Limits::default());
//! let engine = Engine { services: Some(&[]), sealing_keys: None, rule: &rule, limits: &limits };
//! let roles = manifests(&files)?;
//! let mut sources = engine.open(&files, &roles)?;
//! let documents = engine.documents(&files, &roles, &mut sources)?;
//! let emission = emit(&rule, &limits, &sources, &documents, &EmitMode::Plain)?;
//! assert_eq!(emission.objects[0]["metadata"]["name"], "shop");
//! # Ok(())
//! # }
//! ```
//!
//! Invariants: the MAC of a document is checked over its own bytes, before anything is built of it; what is still
//! encrypted when a stream is taken is found in a document that was verified, or refused; a value comes out where it may
//! only, which is in a Secret unless the [`Rule`] says more; nothing comes out if anything is refused.

mod documents;
pub mod emit;
mod explain;
pub mod files;
mod identity;
mod kustomization;
mod limits;
mod marks;
mod open;
mod policy;
mod resolve;
#[cfg(test)]
mod tests;
mod verdict;

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::format::Format;
use crate::keys::KeyService;
use crate::sealed::KeyRegistry;

pub use documents::{by_name, is_kustomization, manifests};
pub use emit::{Defer, Emission, EmitMode, Reseal, Taint, emit};
pub use explain::{Content, Explanation, Outcome, Recipient, SealedFacts, SopsFacts};
#[cfg(feature = "archive")]
pub use files::Archive;
#[cfg(feature = "folder")]
pub use files::Folder;
pub use files::{Files, FilesError, Memory, folder_of, normalized};
pub use kustomization::{Kustomization, KustomizationError, Plugin, Remote};
pub use limits::{LimitError, Limits};
pub use marks::{Altered, Mark, MarkId, Marks, Piece, ValueKind};
pub use open::{Source, Sources};
pub use policy::{
    MacRule, Match, Origin, Policy, PolicyError, PolicyRule, Rule, TaintRule, matches, matches_any,
};
pub use verdict::{MacVerdict, RenderError, Warning};

/// Opens files and takes what is made of them.
#[derive(Clone, Copy)]
pub struct Engine<'a> {
    /// What recovers data keys. `None` asks for none: marks then stand for values that nobody knows, which suffices for
    /// [`EmitMode::Defer`], [`EmitMode::Redact`] and [`EmitMode::Fake`].
    pub services: Option<&'a [&'a dyn KeyService]>,
    /// Private keys for SealedSecrets; without them SealedSecrets stay as they are.
    pub sealing_keys: Option<&'a KeyRegistry>,
    /// What is allowed.
    pub rule: &'a Rule,
    /// How much is read.
    pub limits: &'a Limits,
}

/// What a file is to whoever builds of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A document of this format whose values are read one by one: a manifest, a patch, values, a dotenv file.
    Leaves(Format),
    /// Values for templates, of this format: read one by one, and nothing in them tells which object something is.
    Values(Format),
    /// One value as a whole; decrypted, it is a document of this format.
    Whole(Format),
}

/// What the files are, by path; files that are not named are what their names say.
pub type Roles = BTreeMap<String, Role>;

/// A manifest, in which marks stand for decrypted values.
#[derive(Clone)]
pub struct Document {
    /// The object.
    pub object: Json,
    /// The file that it is written in, if that is known.
    pub path: Option<String>,
}

impl Document {
    /// Returns the kind, namespace and name of the object, for people.
    #[must_use]
    pub fn name(&self) -> String {
        let text = |field: &Json| field.as_str().unwrap_or_default().to_owned();
        let (kind, metadata) = (text(&self.object["kind"]), &self.object["metadata"]);
        let (namespace, name) = (text(&metadata["namespace"]), text(&metadata["name"]));
        if namespace.is_empty() { format!("{kind} {name}") } else { format!("{kind} {namespace}/{name}") }
    }
}
