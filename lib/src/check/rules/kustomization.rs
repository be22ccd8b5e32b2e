//! K8S003: a kustomization makes a Secret of what is in clear.
//!
//! Generators of Secrets are followed to the files that they read, and patches to the Secrets that they change. Patches
//! that are documents of their own kind are judged as those.

mod generators;
mod patches;

use std::ops::Range;

use super::literal::places::is_kustomization;
use super::literal::value::is_public;
use crate::check::config::Config;
use crate::check::placeholder::is_encoded_placeholder;
use crate::check::{
    Check, Context, File, Finding, Findings, Needles, Object, Rule, Severity, is_placeholder,
};

pub(super) static RULE: Rule = Rule {
    id: "K8S003",
    severity: Severity::Error,
    title: "a kustomization makes a Secret of what is in clear",
    explanation: "A generator of Secrets (`secretGenerator`) turns literals, environments and files into Secrets when the \
                  kustomization is built, and a patch puts values into one. What they are made of lies in the repository, \
                  in clear, although no Secret is to be seen.\n\n\
                  Literals and lines of environments may be empty or placeholders (`${PASSWORD}`, `changeme`, \
                  `ref+vault://…`), and files may be encrypted by SOPS, certificates, public keys, or missing. Patches may \
                  set placeholders and values that are encrypted.\n\n\
                  Encrypt the file that a generator reads (`kubectl seal encrypt -i PATH`; Flux decrypts environments and \
                  files of generators), or commit the Secret itself, encrypted or sealed, as a resource, and take the \
                  generator or the patch out. Change the secret if it was ever pushed.",
    needles: Needles::ANY_FILE,
    check: Check::File(check),
};

fn check(file: &File<'_>, context: &Context<'_>, found: &mut Findings) {
    generators::check_source(file, context, found);
    if !file.is_text()
        || !file.needles().has(Needles::KUSTOMIZE)
        || !(file.is_structured() || is_kustomization(file.name()))
    {
        return;
    }
    let may_hold = |mark: &str| file.text().contains(mark);
    if !MARKS.iter().any(|mark| may_hold(mark)) {
        return;
    }
    generators::check(file, context, found);
    patches::check(file, context, found);
}

/// Returns the folder of a path, without `/` at its end.
fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Returns a path from the top of the repository on, for one that is written in a folder of it; nothing if it is outside,
/// or is a URL.
fn resolve(folder: &str, path: &str) -> Option<String> {
    if path.is_empty() || path.starts_with('/') || path.contains("://") || path.len() > MAX_PATH {
        return None;
    }
    let mut parts: Vec<_> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Returns whether a value of a Secret is in clear; `is_encoded` if it is base64.
fn is_clear(value: &str, is_encoded: bool, config: &Config) -> bool {
    let is_hidden = is_placeholder(value, config) || is_public(value);
    !is_hidden && !(is_encoded && (is_encoded_placeholder(value, config) || is_encoded_public(value)))
}

fn is_encoded_public(value: &str) -> bool {
    // Base64 of `-----BEGIN CERTIFICATE`, which starts at the first of three bytes; and nothing of private keys.
    value.trim_start().starts_with("LS0tLS1CRUdJTiBDRVJUSUZJQ0FUR")
        && !["UFJJVkFURSBLRV", "BSSVZBVEUgS0VZ", "QUklWQVRFIEtFW"].iter().any(|key| value.contains(key))
}

/// Tells a value that is in clear.
struct Clear<'v> {
    object: Option<Object<'v>>,
    span: Range<usize>,
    pointer: String,
    message: String,
    remedy: String,
    value: &'v [u8],
    severity: Severity,
}

impl Clear<'_> {
    fn tell(self, file: &File<'_>, found: &mut Findings) {
        let label = self.object.map(Object::label).unwrap_or_default();
        let finding = Finding::new(&RULE, file, self.span, self.message).at(label, self.pointer);
        found.add(finding.value(self.value).remedy(self.remedy).severity(self.severity));
    }
}

/// What is in the text of every file that this rule may find something in.
const MARKS: &[&str] = &["ecretGenerator", "patch", "\"op\"", "op:"];

/// Longer paths are none.
const MAX_PATH: usize = 4096;

#[cfg(test)]
mod tests;
