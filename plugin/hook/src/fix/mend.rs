//! What becomes of the text of a file: encrypted by its rule, its Secrets sealed, an annotation taken out.
//!
//! Invariants: nothing here reads or writes a file; what is not mended stays byte for byte; what is returned was read
//! back, and what is encrypted was decrypted again.

mod rest;
mod seal;
mod strip;

use std::ops::Range;

use rand::rngs::OsRng;
use selkie::check::{Content, Fix, decode};
use selkie::format::Format;
use selkie::keys::KeyService;
use selkie::manifest::Manifest;
use selkie::sealed::SealingCert;
use selkie::secret::SecretBytes;
use selkie::sops::config::CreationRule;
use selkie::sops::{Metadata, SealError};
use selkie::tree::{MetadataEntry, Tree};
use selkie::{EncryptError, encrypt};
use time::OffsetDateTime;

use crate::keys::Keys;

use super::index::show;

/// What a finding asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    /// How it is mended.
    pub fix: Fix,
    /// The bytes of the text that it is about.
    pub span: Range<usize>,
    /// The object that it is in, as `Kind/namespace/name`; empty if it is in none.
    pub object: String,
}

/// What the repository says of how files are mended.
pub(super) trait Policy {
    /// Returns the creation rule of a path.
    ///
    /// # Errors
    /// If there is none, or it cannot be used.
    fn rule(&self, path: &str) -> Result<CreationRule, String>;

    /// Returns the certificate that Secrets are sealed for.
    ///
    /// # Errors
    /// If there is none, or it cannot be used.
    fn cert(&self) -> Result<SealingCert, String>;

    /// Returns the rules that stop a commit of a text at a path, each with whether a fix mends it. `committed` is what
    /// the last commit has there.
    fn remaining(&self, path: &str, text: &[u8], committed: Option<&[u8]>) -> Vec<(&'static str, bool)>;
}

/// Mends files.
pub(super) struct Mender<'a> {
    /// What the repository says.
    pub policy: &'a dyn Policy,
    /// The keys at hand.
    pub keys: &'a dyn Keys,
    /// The time.
    pub now: OffsetDateTime,
}

/// A file to mend.
pub(super) struct Source<'a> {
    /// Its path from the top of the repository on.
    pub path: &'a str,
    /// What is staged.
    pub text: &'a SecretBytes,
    /// What the last commit has at its path.
    pub committed: Option<&'a SecretBytes>,
}

impl Mender<'_> {
    /// Returns what becomes of a file, and adds to `notes` what people should know.
    ///
    /// # Errors
    /// If it cannot be mended, with the reason, which holds no value.
    pub fn mend(
        &self,
        source: &Source<'_>,
        wishes: &[Wish],
        notes: &mut Vec<String>,
    ) -> Result<SecretBytes, String> {
        let wants = |fix| wishes.iter().any(|wish| wish.fix == fix);
        let name = source.path.rsplit('/').next().unwrap_or(source.path);
        let format = Format::from_file_name(name);
        if format != Format::Binary {
            // Places of findings are those of the text: what is stored otherwise would be cut elsewhere.
            match decode(source.text.expose_secret()) {
                Content::Text(text) if text.as_bytes() == source.text.expose_secret() => {}
                _ => {
                    return Err("it is not stored as UTF-8 without a byte order mark; store it so".to_owned());
                }
            }
            let tree = self.read(format, source.text)?;
            if *tree.metadata() != MetadataEntry::Absent {
                return self.mend_rest(source, format, &tree, wishes);
            }
        }
        let mut text = source.text.slice(0..source.text.len()).unwrap_or_default();
        if wants(Fix::Strip) {
            let tree = self.read(format, &text)?;
            text = strip::strip(format, text, &strip::places(&tree, wishes)?)?;
        }
        if wants(Fix::Encrypt) || wants(Fix::EncryptRest) {
            text = self.encrypt(source.path, format, &text, notes)?;
        } else if wants(Fix::Seal) {
            text = self.seal(source.path, format, &text, wishes, notes)?;
        }
        Ok(text)
    }

    /// Encrypts a plain file as a whole, by its creation rule.
    fn encrypt(
        &self,
        path: &str,
        format: Format,
        text: &SecretBytes,
        notes: &mut Vec<String>,
    ) -> Result<SecretBytes, String> {
        let rule = self.policy.rule(path)?;
        if rule.is_without_keys() {
            return Err(format!("rule {} of .sops.yaml names no keys", rule.position));
        }
        let mut metadata = Metadata::new(rule.groups);
        metadata.shamir_threshold = rule.shamir_threshold.map_or(0, usize::from);
        metadata.selector = rule.selector.unwrap_or_default();
        metadata.mac_only_encrypted = rule.mac_only_encrypted;
        let tree = self.read(format, text)?;
        if let Manifest::Secrets { others } = Manifest::of(format, &tree, &metadata.selector)
            && !others.is_empty()
        {
            let kinds: Vec<_> = others.iter().map(|kind| show(kind)).collect();
            notes.push(format!("{}: the rule also encrypts values of {}", show(path), kinds.join(", ")));
        }
        let now = self.timestamp()?;
        with(self.keys, true, |services| {
            let copy = SecretBytes::from(text.expose_secret());
            encrypt(copy, format, metadata.clone(), services, &now, &mut OsRng).map_err(|error| match error {
                EncryptError::Seal(SealError::NothingSelected { field, .. }) => {
                    format!("the {field} of its rule selects nothing of it, so that all would stay in clear")
                }
                error => error.to_string(),
            })
        })
    }

    fn read(&self, format: Format, text: &SecretBytes) -> Result<Tree, String> {
        format.read(SecretBytes::from(text.expose_secret())).map_err(|error| error.to_string())
    }

    /// Returns the time as SOPS writes it.
    fn timestamp(&self) -> Result<String, String> {
        let now = self.now.to_offset(time::UtcOffset::UTC).truncate_to_second();
        let text = now.format(&time::format_description::well_known::Rfc3339);
        text.map_err(|error| format!("the clock is beyond what can be written: {error}"))
    }
}

/// Does something with the key services at hand.
fn with<T>(
    keys: &dyn Keys,
    recipients: bool,
    mut act: impl FnMut(&[&dyn KeyService]) -> Result<T, String>,
) -> Result<T, String> {
    let mut result = Err("no keys are at hand".to_owned());
    keys.with_services(recipients, &mut |services| result = act(services))?;
    result
}
