//! What there is to say about the SealedSecrets of a file: what each value was sealed for, and whether the keys
//! at hand open it.

use std::collections::BTreeSet;

use selkie::format::Format;
use selkie::sealed::{Candidates, Diagnosis, KeyRegistry, SealedFile, SealedFileError, SealingScope};
use selkie::template;
use selkie::tree::Tree;
use serde_json::{Value as Json, json};

/// What there is to say about a SealedSecret.
pub struct SealedReport {
    /// Its name.
    pub name: String,
    /// Its namespace; empty if it names none.
    pub namespace: String,
    /// The scope that its annotations ask for.
    pub scope: SealingScope,
    /// The line at which it begins.
    pub line: usize,
    /// The names of the values that are made from templates.
    pub templates: Vec<String>,
    /// What is wrong with templates that cannot be read, by their names.
    pub broken_templates: Vec<(String, String)>,
    /// Whether its values stand in the field that kubeseal wrote before 0.7.
    pub is_deprecated: bool,
    /// Its values.
    pub items: Vec<ItemReport>,
}

/// What there is to say about a sealed value.
pub struct ItemReport {
    /// The key of the value in the Secret.
    pub key: String,
    /// The line of the value.
    pub line: usize,
    /// The size of the key that it was sealed for, in bits; `None` if it is no sealed value.
    pub bits: Option<usize>,
    /// What the keys at hand make of it; `None` if there are none.
    pub outcome: Option<Outcome>,
}

/// What the keys at hand make of a value.
pub enum Outcome {
    /// One opens it.
    Opens(KeyReport),
    /// One opens it, but only as part of another object.
    OpensAs {
        /// The key.
        key: KeyReport,
        /// What the value was sealed for.
        scope: SealingScope,
        /// The namespace that it was sealed for.
        namespace: String,
        /// The name that it was sealed for.
        name: String,
    },
    /// None does, as anything that was tried.
    Stays(String),
}

/// A key at hand.
pub struct KeyReport {
    /// Its fingerprint.
    pub fingerprint: String,
    /// Where it comes from.
    pub name: String,
    /// Whether its owner wants it gone.
    pub is_retired: bool,
}

/// Looks at the SealedSecrets of a file; nothing if it has none. What does not open is tried under the names and
/// namespaces of the file's other objects, and those of `candidates`.
///
/// # Errors
/// If an object that says it is a SealedSecret cannot be read as one.
pub fn look_at(
    format: Format,
    tree: Tree,
    keys: &KeyRegistry,
    candidates: &Candidates,
) -> Result<Vec<SealedReport>, SealedFileError> {
    let file = SealedFile::new(format, tree)?;
    let mut candidates = candidates.clone();
    add_candidates(&file, &mut candidates);
    Ok(file.objects().iter().map(|object| report(&file, object, keys, &candidates)).collect())
}

/// Adds the names and namespaces of a file's objects to what values may have been sealed for.
pub fn add_candidates(file: &SealedFile, candidates: &mut Candidates) {
    let add = |set: &mut BTreeSet<String>, text: &str| {
        if !text.is_empty() {
            set.insert(text.to_owned());
        }
    };
    for object in file.objects() {
        let template = &object.sealed.template.metadata;
        for metadata in [&object.sealed.metadata, template] {
            add(&mut candidates.names, metadata.name());
            add(&mut candidates.namespaces, metadata.namespace());
        }
    }
}

fn report(
    file: &SealedFile,
    object: &selkie::sealed::SealedObject,
    keys: &KeyRegistry,
    candidates: &Candidates,
) -> SealedReport {
    let sealed = &object.sealed;
    let has_keys = !keys.keys().is_empty();
    let diagnoses = has_keys.then(|| sealed.probe(keys, candidates));
    let items = sealed.encrypted_data.iter().enumerate().map(|(index, (key, item))| ItemReport {
        key: key.clone(),
        line: file.line_of(object, key),
        bits: selkie::sealed::key_bits(item).ok(),
        outcome: diagnoses.as_ref().map(|diagnoses| outcome(&diagnoses[index].1, keys)),
    });
    SealedReport {
        name: sealed.metadata.name().to_owned(),
        namespace: sealed.metadata.namespace().to_owned(),
        scope: sealed.scope(),
        line: object.line,
        templates: sealed.template.data.keys().cloned().collect(),
        broken_templates: sealed.template.data.iter().filter_map(broken).collect(),
        is_deprecated: sealed.deprecated_data.is_some(),
        items: items.collect(),
    }
}

/// Returns what is wrong with a template that cannot be read, with its name.
fn broken((key, text): (&String, &Option<String>)) -> Option<(String, String)> {
    let error = template::check(key, text.as_deref()?, &template::Limits::default()).err()?;
    Some((key.clone(), error.to_string()))
}

fn outcome(diagnosis: &Diagnosis, keys: &KeyRegistry) -> Outcome {
    let key = |index: usize| {
        let key = &keys.keys()[index];
        KeyReport {
            fingerprint: key.fingerprint().to_owned(),
            name: key.name.clone(),
            is_retired: key.is_retired,
        }
    };
    match diagnosis {
        Diagnosis::Opens(index) => Outcome::Opens(key(*index)),
        Diagnosis::OpensAs(fit) => Outcome::OpensAs {
            key: key(fit.key),
            scope: fit.scope,
            namespace: fit.namespace.clone(),
            name: fit.name.clone(),
        },
        Diagnosis::Unknown(error) => Outcome::Stays(why(error, keys)),
    }
}

/// Returns what is known of a value that stays shut.
fn why(error: &selkie::sealed::ItemError, keys: &KeyRegistry) -> String {
    use selkie::sealed::{ItemError, KeyCause};

    let number = keys.keys().len();
    let none =
        if number == 1 { "the key at hand".to_owned() } else { format!("none of the {number} keys at hand") };
    let opens = if number == 1 { "does not open" } else { "opens" };
    let is = if number == 1 { "is not" } else { "is" };
    match error {
        ItemError::Locked(causes) => {
            if let Some(index) = causes.iter().position(|cause| *cause == KeyCause::Changed) {
                return format!("{} fits, but {}", keys.keys()[index].fingerprint(), KeyCause::Changed);
            }
            let sizes = causes.iter().find(|cause| matches!(cause, KeyCause::Size(_)));
            match sizes.filter(|_| causes.iter().all(|cause| matches!(cause, KeyCause::Size(_)))) {
                Some(cause) => format!("{cause}, which {none} {is}"),
                None => format!("{none} {opens} it, under any scope, name or namespace that was tried"),
            }
        }
        ItemError::Short => "it is too short for a sealed value".to_owned(),
        error => error.to_string(),
    }
}

impl SealedReport {
    /// Returns the name of the object for people.
    #[must_use]
    pub fn title(&self) -> String {
        match self.namespace.as_str() {
            "" => self.name.clone(),
            namespace => format!("{namespace}/{}", self.name),
        }
    }

    /// Returns the report for programs.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let broken = |(key, why): &(String, String)| json!({"key": key, "why": why});
        json!({
            "name": self.name,
            "namespace": self.namespace,
            "scope": self.scope.name(),
            "line": self.line,
            "templates": self.templates,
            "brokenTemplates": self.broken_templates.iter().map(broken).collect::<Json>(),
            "deprecated": self.is_deprecated,
            "values": self.items.iter().map(ItemReport::to_json).collect::<Json>(),
        })
    }
}

impl ItemReport {
    /// Returns what is wrong with the value in one sentence, with how that is called; nothing if it opens.
    #[must_use]
    pub fn problem(&self) -> Option<(&'static str, String)> {
        match &self.outcome {
            _ if self.bits.is_none() => Some(("malformed", "it is no sealed value".to_owned())),
            Some(Outcome::OpensAs { scope, namespace, name, .. }) => {
                Some(("other-scope", format!("it was sealed {}", sealed_for(*scope, namespace, name))))
            }
            Some(Outcome::Stays(why)) => Some(("unreadable", why.clone())),
            Some(Outcome::Opens(key)) if key.is_retired => {
                let text =
                    format!("it was sealed for the retired key {}: see `kubectl seal reseal`", key.name);
                Some(("retired-key", text))
            }
            _ => None,
        }
    }

    fn to_json(&self) -> Json {
        let mut json = json!({"key": self.key, "line": self.line, "bits": self.bits});
        let key_of = |key: &KeyReport| json!({"fingerprint": key.fingerprint, "name": key.name, "retired": key.is_retired});
        match &self.outcome {
            None => {}
            Some(Outcome::Opens(key)) => {
                json["opens"] = true.into();
                json["sealedWith"] = key_of(key);
            }
            Some(Outcome::OpensAs { key, scope, namespace, name }) => {
                json["opens"] = false.into();
                json["sealedWith"] = key_of(key);
                json["sealedFor"] = json!({"scope": scope.name(), "namespace": namespace, "name": name});
            }
            Some(Outcome::Stays(why)) => {
                json["opens"] = false.into();
                json["why"] = why.as_str().into();
            }
        }
        json
    }
}

/// Returns for what a value was sealed, in words, and what to do about it.
fn sealed_for(scope: SealingScope, namespace: &str, name: &str) -> String {
    let annotation = scope.annotation().unwrap_or_default();
    match scope {
        SealingScope::ClusterWide => {
            format!("cluster-wide: annotate the object with {annotation}: \"true\", or seal the value again")
        }
        SealingScope::NamespaceWide => format!(
            "for all of the namespace {namespace}: let the object be there and annotate it with {annotation}: \"true\", \
             or seal the value again"
        ),
        SealingScope::Strict => format!(
            "for the name {name} in the namespace {namespace}, without annotations: call the object so, or seal the \
             value again"
        ),
    }
}
