//! What is said of a document that does not open.
//!
//! Invariants: no message holds a value of a document, encrypted or not; the same failure is told in the same words.

use std::collections::BTreeSet;

use selkie::format::ParseError;
use selkie::keys::{KeyError, said};
use selkie::sops::{KeyFailure, MetadataError, OpenError, RecoverError};

use super::policy::{Credentials, Rule};
use crate::controller::reason::{Failure, Reason};

/// Returns what is said of a document that is not of its format. What is named are keys of the document at most, which
/// are never encrypted.
#[must_use]
pub fn of_parsing(what: &str, error: &ParseError) -> Failure {
    Failure::new(Reason::Invalid, format!("{what} cannot be read: {}", said(&error.to_string())))
}

/// Returns what is said of metadata that cannot be used.
#[must_use]
pub fn of_metadata(error: &MetadataError) -> Failure {
    Failure::new(Reason::Invalid, said(&error.to_string()))
}

/// Returns what is said of values that cannot be decrypted.
#[must_use]
pub fn of_opening(error: &OpenError) -> Failure {
    let reason = match error {
        OpenError::Mac(_) | OpenError::MacMismatch | OpenError::MacMissing => Reason::MacMismatch,
        _ => Reason::Unseal,
    };
    // The error of a value names its place alone; its cause is one of a few words.
    let cause = match error {
        OpenError::Value { source, .. } => format!(": {source}"),
        _ => String::new(),
    };
    Failure::new(reason, said(&format!("{error}{cause}")))
}

/// Returns what is said of a data key that no key recovers: what became of each, in alphabetical order.
#[must_use]
pub fn of_recovery(error: &RecoverError, rule: &Rule) -> Failure {
    let (mut lines, mut reason) = (BTreeSet::new(), Reason::NoKey);
    for failure in error.groups.iter().filter(|group| !group.recovered).flat_map(|group| &group.failures) {
        let (of_key, line) = of_key(failure, rule);
        lines.insert(line);
        reason = match (reason, of_key) {
            (Reason::Unseal, _) | (_, Reason::Unseal) => Reason::Unseal,
            (Reason::NotAllowed, _) | (_, Reason::NotAllowed) => Reason::NotAllowed,
            _ => Reason::NoKey,
        };
    }
    let more = lines.len().saturating_sub(MOST_KEYS);
    let mut told: Vec<_> = lines.into_iter().take(MOST_KEYS).collect();
    if more > 0 {
        told.push(format!("and {more} more"));
    }
    let (recovered, required) = (error.recovered, error.required);
    let what = match required {
        0 | 1 => "no key opens the document".to_owned(),
        _ => format!("{recovered} of {required} key groups open the document"),
    };
    let what = if told.is_empty() { what } else { format!("{what}: {}", told.join("; ")) };
    Failure::new(reason, what)
}

/// Returns what is said of a key that did not open a document.
fn of_key(failure: &KeyFailure, rule: &Rule) -> (Reason, String) {
    let key = said(&format!("{} {}", failure.key.kind().name, failure.key));
    let causes: BTreeSet<_> = failure.causes.iter().map(|(_, error)| said(&error.to_string())).collect();
    let may_work = failure.causes.iter().any(|(_, error)| !matches!(error, KeyError::NoIdentity(_)));
    if may_work {
        return (Reason::Unseal, format!("{key}: {}", causes.into_iter().collect::<Vec<_>>().join(", ")));
    }
    match rule.refusal(&failure.key, Credentials::OfController) {
        Some(refusal) => (Reason::NotAllowed, format!("{key}: {refusal}")),
        None => (Reason::NoKey, format!("{key}: no key for it is at hand")),
    }
}

/// Of how many keys is told.
const MOST_KEYS: usize = 10;

/// Why an object may have failed that other keys, or another policy, can mend.
pub const MENDED_BY_KEYS: [Reason; 4] =
    [Reason::MacMismatch, Reason::NoKey, Reason::NotAllowed, Reason::Unseal];
