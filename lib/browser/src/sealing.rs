//! Sealing what a form or a manifest says, as `kubectl seal seal` does.
//!
//! Invariant: what is handed out was looked at as `kubectl seal validate` looks at it; nothing that the API server
//! would refuse for its names is.

use std::collections::BTreeMap;

use rand_core::CryptoRngCore;
use selkie::format::Format;
use selkie::manifest::{ObjectKind, arrange, print_yaml};
use selkie::sealed::{
    FlawKind, ObjectMeta, SealedSecret, Sealing, SealingCert, SealingError, SealingScope, Secret, SecretFile,
    flaws,
};
use selkie::secret::SecretBytes;
use serde_json::{Value as Json, json};

use crate::problem::Problem;

/// Where Secrets go, as far as they do not say it themselves.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// The namespace of Secrets that name none.
    pub namespace: String,
    /// The scope in place of the one that annotations ask for.
    pub scope: Option<SealingScope>,
}

/// What was made, with what there is to know about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The encrypted text.
    pub text: String,
    /// What is as it should be, and good to know.
    pub notes: Vec<String>,
    /// What should be looked at.
    pub warnings: Vec<String>,
}

impl Outcome {
    /// Returns the outcome as the page takes it.
    #[must_use]
    pub fn to_json(&self) -> Json {
        json!({"text": self.text, "notes": self.notes, "warnings": self.warnings})
    }
}

/// Seals a Secret that was made of a form.
pub fn seal_form(
    secret: &Secret,
    scope: SealingScope,
    certificate: &SealingCert,
    rng: &mut dyn CryptoRngCore,
) -> Result<Outcome, Problem> {
    if secret.metadata.name().is_empty() {
        return Err(Problem::MissingName);
    }
    if secret.metadata.namespace().is_empty() && scope != SealingScope::ClusterWide {
        return Err(Problem::MissingNamespace);
    }
    if secret.data.is_empty() {
        return Err(Problem::EmptyForm);
    }
    let sealing = Sealing { scope: Some(scope), ..Sealing::default() };
    let sealed =
        seal(secret, &sealing, certificate, rng).map_err(|source| Problem::Seal { line: 1, source })?;
    let mut text = SecretBytes::from("---\n");
    text.extend_from_slice(print_yaml(&arrange(&sealed.to_json(), ObjectKind::SealedSecret)).expose_secret());
    outcome(Format::Yaml, &text, vec![place_of(&sealed)], Vec::new())
}

/// Seals all Secrets of a manifest, YAML or JSON, and keeps what else is in it.
pub fn seal_manifest(
    source: SecretBytes,
    place: &Place,
    certificate: &SealingCert,
    rng: &mut dyn CryptoRngCore,
) -> Result<Outcome, Problem> {
    let is_json = source.expose_secret().trim_ascii_start().starts_with(b"{");
    let format = if is_json { Format::Json } else { Format::Yaml };
    let file = SecretFile::new(format, format.read(source).map_err(selkie::sealed::SecretFileError::from)?)?;
    if file.secrets().is_empty() {
        return Err(Problem::NoSecret);
    }
    let default_namespace = Some(place.namespace.clone()).filter(|name| !name.is_empty());
    let sealing = Sealing { scope: place.scope, default_namespace, ..Sealing::default() };
    let mut sealed = Vec::new();
    for object in file.secrets() {
        let line = object.line;
        let one = seal(&object.secret, &sealing, certificate, rng);
        sealed.push(one.map_err(|source| Problem::Seal { line, source })?);
    }
    let text = file.replace(&sealed)?;
    let mut notes: Vec<_> = sealed.iter().map(place_of).collect();
    if file.comments() > 0 {
        notes.push(format!(
            "{} inside of Secrets left out, as they may tell of values",
            comments(file.comments())
        ));
    }
    let remains = file.remains(text.expose_secret());
    let warnings = remains.into_iter().map(|remains| {
        let (line, key, name) = (remains.line, remains.key, remains.name);
        format!("line {line} of the result has the value of {key} of {name} in clear")
    });
    outcome(format, &text, notes, warnings.collect())
}

fn seal(
    secret: &Secret,
    sealing: &Sealing,
    certificate: &SealingCert,
    rng: &mut dyn CryptoRngCore,
) -> Result<SealedSecret, SealingError> {
    let mut sealed = sealing.prepare(secret)?;
    let label = sealed.label();
    for (key, value) in &secret.data {
        let item = certificate.seal_labelled(value, &label, rng)?;
        sealed.encrypted_data.insert(key.clone(), item);
    }
    Ok(sealed)
}

/// Looks at what was made before anybody gets it.
fn outcome(
    format: Format,
    text: &SecretBytes,
    notes: Vec<String>,
    mut warnings: Vec<String>,
) -> Result<Outcome, Problem> {
    let tree = format.read(SecretBytes::from(text.expose_secret()))?;
    for flaw in flaws(&tree, None, None).1 {
        match flaw.kind {
            kind @ (FlawKind::Key(_) | FlawKind::Name { .. } | FlawKind::NoName | FlawKind::NoNamespace) => {
                return Err(Problem::Flaw(kind));
            }
            kind => warnings.push(format!("line {} of the result: {kind}", flaw.line)),
        }
    }
    // It was printed by the library, which writes no other bytes than it read.
    let text = String::from_utf8_lossy(text.expose_secret()).into_owned();
    Ok(Outcome { text, notes, warnings })
}

/// Says what the values of a SealedSecret are bound to.
fn place_of(sealed: &SealedSecret) -> String {
    let (name, namespace) = (sealed.metadata.name(), sealed.metadata.namespace());
    let count = match sealed.encrypted_data.len() {
        1 => "1 value".to_owned(),
        count => format!("{count} values"),
    };
    match sealed.scope() {
        SealingScope::Strict => {
            format!("{count} of {name}, for the namespace {namespace} and this name alone")
        }
        SealingScope::NamespaceWide => {
            format!("{count} of {name}, for any name in the namespace {namespace}")
        }
        SealingScope::ClusterWide => format!("{count} of {name}, for any name in any namespace"),
    }
}

fn comments(number: usize) -> String {
    if number == 1 { "1 comment".to_owned() } else { format!("{number} comments") }
}

/// Returns an empty Secret.
pub fn new_secret(name: &str, namespace: &str, type_: &str) -> Secret {
    Secret {
        metadata: ObjectMeta::named(namespace, name),
        type_: Some(type_.to_owned()).filter(|type_| !type_.is_empty()),
        immutable: None,
        data: BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_say_what_moves_and_what_does_not() {
        let mut sealed = SealedSecret::without_items(&new_secret("db", "shop", "")).expect("a SealedSecret");
        sealed.encrypted_data.insert("a".to_owned(), String::new());
        assert_eq!(place_of(&sealed), "1 value of db, for the namespace shop and this name alone");
        SealingScope::ClusterWide.annotate(&mut sealed.metadata);
        assert_eq!(place_of(&sealed), "1 value of db, for any name in any namespace");
    }
}
