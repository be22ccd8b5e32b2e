//! TOK001: a token of a provider.

mod checksum;
mod shapes;

use std::collections::HashSet;
use std::ops::Range;

use super::place::Places;
use super::unverified;
use crate::check::{Check, Context, File, Finding, Findings, Needles, Rule, Severity};

pub(super) static RULE: Rule = Rule {
    id: "TOK001",
    severity: Severity::Error,
    title: "a token of a provider",
    explanation: "Programs look for such tokens in public repositories all the time, and use what they find within \
                  minutes; in a private repository, everybody who has a copy has the token.\n\n\
                  Found are tokens whose form leaves no doubt: of AWS (the secret key beside its id), GitHub, GitLab, \
                  Slack, npm, Stripe, SendGrid, OpenAI, Anthropic, Vault, and service accounts of Kubernetes. Where a \
                  token has a checksum, it has to be right. Accepted are the examples of the providers' documentation \
                  and what is plainly made up. This list is short on purpose: other tokens are found where they are \
                  used, in Secrets and values.\n\n\
                  Revoke the token at its provider and make a new one. Keep that in a Secret, and encrypt it: `kubectl \
                  seal encrypt -i PATH`.",
    needles: Needles::TOKEN,
    check: Check::File(check),
};

fn check(file: &File<'_>, _context: &Context<'_>, found: &mut Findings) {
    let (tokens, is_exhausted) = find(file.text().as_bytes());
    if is_exhausted {
        let message = "the file has more ids of AWS than are looked at";
        let remedy = "split the file, or say in .seal-check.yaml why it must be so";
        found.add(Finding::new(&unverified::RULE, file, 0..0, message).remedy(remedy));
    }
    if tokens.is_empty() {
        return;
    }
    let places = Places::of(file);
    for (span, name) in tokens {
        let (object, pointer) = places.at(span.start);
        let remedy = "revoke it, and keep the new one encrypted: kubectl seal encrypt -i PATH";
        let finding = Finding::new(&RULE, file, span.clone(), format!("{name} in clear"))
            .at(object, pointer)
            .value(file.text()[span].as_bytes())
            .remedy(remedy);
        found.add(finding);
    }
}

/// Returns where tokens are in some bytes, and what they are; and whether not all were looked at.
pub(in crate::check) fn find(bytes: &[u8]) -> (Vec<(Range<usize>, &'static str)>, bool) {
    let (mut found, mut free, mut ids) = (Vec::new(), 0, 0);
    let mut secrets = HashSet::new();
    for at in shapes::starts(bytes) {
        let before = at.start.checked_sub(1).map(|before| bytes[before]);
        if at.start < free || before.is_some_and(|byte| is_word(byte) && !is_escape(bytes, at.start)) {
            continue;
        }
        let Some(length) = (at.shape.read)(&bytes[at.start..]) else { continue };
        let span = at.start..at.start + length;
        free = span.end;
        if !at.shape.is_id {
            found.push((span, at.shape.name));
            continue;
        }
        ids += 1;
        if ids > MAX_IDS {
            continue;
        }
        if let Some(secret) = shapes::aws_secret(bytes, &span)
            && secrets.insert(secret.start)
        {
            // The id alone opens nothing.
            found.push((secret, at.shape.name));
        }
    }
    (found, ids > MAX_IDS)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

/// Returns whether what stands before a place is a `\n` or its like.
fn is_escape(bytes: &[u8], at: usize) -> bool {
    at >= 2 && bytes[at - 2] == b'\\' && matches!(bytes[at - 1], b'n' | b'r' | b't')
}

/// How many ids of AWS are looked around for their secrets.
const MAX_IDS: usize = 4_000;

#[cfg(test)]
mod tests;
