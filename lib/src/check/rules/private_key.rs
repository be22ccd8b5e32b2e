//! KEY001: a private key.

mod encoded;
mod plain;

use super::place::Places;
use crate::check::{Check, Context, File, Finding, Findings, Needles, Rule, Severity};

pub(super) use plain::{distinct, holds_key};

pub(super) static RULE: Rule = Rule {
    id: "KEY001",
    severity: Severity::Error,
    title: "a private key",
    explanation: "Whoever can read the repository, now or at any time later, can act in the name of a private key that \
                  is in it: open what was encrypted for it, log in with it, or sign with it.\n\n\
                  Found are private keys in PEM, of OpenSSH, OpenPGP, PuTTY and age, in texts and in other files, also \
                  where they are base64 once or twice. A key that is locked by a passphrase or that only tells where a \
                  key is in hardware is a warning, and so is an age key with a mistake in it. Accepted are public keys, \
                  certificates, the lines around keys without a key between them, and encrypted values.\n\n\
                  Take the key out of the file and make a new one in its place: the old one is known to everybody who \
                  has a copy of the repository. Keep the new one in a Secret, and encrypt that: `kubectl seal encrypt -i \
                  PATH`.",
    needles: Needles::KEY,
    check: Check::File(check),
};

fn check(file: &File<'_>, _context: &Context<'_>, found: &mut Findings) {
    let bytes = if file.is_text() { file.text().as_bytes() } else { file.bytes() };
    let mut keys = plain::find(bytes);
    keys.extend(encoded::find(bytes));
    if keys.is_empty() {
        return;
    }
    keys.sort_by_key(|key| key.span.start);
    let places = Places::of(file);
    let remedy = format!(
        "take it out of {} and replace it by a new key; keep that one encrypted: kubectl seal encrypt -i PATH",
        file.path()
    );
    for key in keys {
        // Places are those of a text.
        let span = if file.is_text() { key.span.clone() } else { 0..0 };
        let (object, pointer) = places.at(span.start);
        let finding = Finding::new(&RULE, file, span, key.message())
            .at(object, pointer)
            .value(&bytes[key.span.clone()])
            .severity(if key.is_doubtful() { Severity::Warning } else { Severity::Error })
            .remedy(remedy.clone());
        found.add(finding);
    }
}

#[cfg(test)]
mod tests;
