//! The forms of tokens: how they begin, and how long they go on.

use std::ops::Range;
use std::sync::OnceLock;

use aho_corasick::{AhoCorasick, Match, MatchKind};
use memchr::memmem;

use super::checksum::is_checked;
use crate::check::rules::private_key::distinct;
use crate::secret::SecretBytes;

/// What a kind of token looks like.
pub(super) struct Shape {
    /// How it begins.
    start: &'static str,
    /// What it is called.
    pub(super) name: &'static str,
    /// Returns how long a token is that some bytes begin with, if they do.
    pub(super) read: fn(&[u8]) -> Option<usize>,
    /// Whether it only names the secret that stands beside it.
    pub(super) is_id: bool,
}

/// A place where a token may be.
pub(super) struct Start {
    /// Where.
    pub(super) start: usize,
    /// Which.
    pub(super) shape: &'static Shape,
}

/// Returns where tokens begin, perhaps.
pub(super) fn starts(bytes: &[u8]) -> impl Iterator<Item = Start> {
    static AUTOMATON: OnceLock<AhoCorasick> = OnceLock::new();
    let automaton = AUTOMATON.get_or_init(|| {
        // `sk-ant-` is more than `sk-`.
        AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(SHAPES.iter().map(|shape| shape.start))
            .expect("the table is small")
    });
    let place = |at: Match| Start { start: at.start(), shape: &SHAPES[at.pattern().as_usize()] };
    automaton.find_iter(bytes).map(place)
}

/// Returns where the secret key is that stands near an id of AWS.
pub(super) fn aws_secret(bytes: &[u8], id: &Range<usize>) -> Option<Range<usize>> {
    let from = id.start.saturating_sub(AWS_NEAR);
    let to = bytes.len().min(id.end + AWS_NEAR);
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'+');
    let find = |range: Range<usize>| {
        let mut at = range.start;
        while at < range.end {
            let length = bytes[at..range.end].iter().take_while(|byte| is_digit(**byte)).count();
            let whole = length == 40 && !(at > 0 && is_digit(bytes[at - 1]));
            let ends = bytes.get(at + length).is_none_or(|byte| !is_digit(*byte) && *byte != b'=');
            if whole && ends && is_aws_secret(&bytes[at..at + 40]) {
                return Some(at..at + 40);
            }
            at += length.max(1);
        }
        None
    };
    // It usually follows.
    find(id.end..to).or_else(|| find(from..id.start))
}

/// Returns whether forty letters are a secret key, and not a hash in hexadecimal digits or a path.
fn is_aws_secret(secret: &[u8]) -> bool {
    has_classes(secret, 2)
        && !secret.iter().all(u8::is_ascii_hexdigit)
        && distinct(secret) >= 16
        && !is_made_up(secret)
}

fn aws_id(bytes: &[u8]) -> Option<usize> {
    let length = run(&bytes[4..], 17, |byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    let ends = !bytes.get(20).is_some_and(u8::is_ascii_alphanumeric);
    let is_id = length == 16 && ends && memmem::find(&bytes[..20], b"EXAMPLE").is_none();
    is_id.then_some(20)
}

fn checked(bytes: &[u8]) -> Option<usize> {
    let length = run(&bytes[4..], 37, |byte| byte.is_ascii_alphanumeric());
    let ends = bytes.get(40) != Some(&b'_');
    (length == 36 && ends && is_checked(&bytes[4..40])).then_some(40)
}

fn github_fine(bytes: &[u8]) -> Option<usize> {
    let rest = &bytes["github_pat_".len()..];
    let is_whole = run(rest, 23, |byte| byte.is_ascii_alphanumeric()) == 22
        && rest.get(22) == Some(&b'_')
        && run(&rest[23..], 60, |byte| byte.is_ascii_alphanumeric()) == 59;
    (is_whole && is_random(&rest[..82])).then_some("github_pat_".len() + 82)
}

fn gitlab(bytes: &[u8]) -> Option<usize> {
    let rest = &bytes["glpat-".len()..];
    // Newer ones say for which cell of GitLab they are, behind a dot.
    let length = run(rest, 320, |byte| is_url_digit(byte) || byte == b'.');
    let length = length - rest[..length].iter().rev().take_while(|byte| **byte == b'.').count();
    let dot = memchr::memchr(b'.', &rest[..length]);
    let is_whole = match dot {
        None => length == 20,
        Some(dot) => dot >= 20 && length - dot >= 8,
    };
    (is_whole && is_random(&rest[..length])).then_some("glpat-".len() + length)
}

fn slack(bytes: &[u8]) -> Option<usize> {
    let rest = &bytes["xoxb-".len()..];
    let length = run(rest, 200, |byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let mut parts: Vec<_> = rest[..length].split(|byte| *byte == b'-').collect();
    let last = parts.pop()?;
    let is_numbered = parts.iter().any(|part| part.len() >= 10 && part.iter().all(u8::is_ascii_digit));
    let is_secret = last.len() >= 20 && is_random(last) && !is_made_up(&rest[..length]);
    (is_numbered && is_secret).then_some("xoxb-".len() + length)
}

fn slack_hook(bytes: &[u8]) -> Option<usize> {
    let start = "hooks.slack.com/services/".len();
    let length = run(&bytes[start..], 80, |byte| byte.is_ascii_alphanumeric() || byte == b'/');
    let mut parts = bytes[start..start + length].split(|byte| *byte == b'/');
    let is_name = |part: Option<&[u8]>, first: u8| {
        part.is_some_and(|part| part.first() == Some(&first) && part.len() >= 9)
    };
    let is_named = is_name(parts.next(), b'T') && is_name(parts.next(), b'B');
    let secret = parts.next().filter(|secret| secret.len() == 24 && is_random(secret));
    (is_named && secret.is_some()).then_some(start + length)
}

fn stripe(bytes: &[u8]) -> Option<usize> {
    let rest = &bytes["sk_live_".len()..];
    let length = run(rest, 250, |byte| byte.is_ascii_alphanumeric());
    (length >= 24 && is_random(&rest[..length])).then_some("sk_live_".len() + length)
}

fn sendgrid(bytes: &[u8]) -> Option<usize> {
    let rest = &bytes["SG.".len()..];
    let is_whole = run(rest, 23, is_url_digit) == 22
        && rest.get(22) == Some(&b'.')
        && run(&rest[23..], 44, is_url_digit) == 43;
    (is_whole && is_random(&rest[..66])).then_some("SG.".len() + 66)
}

fn openai(bytes: &[u8]) -> Option<usize> {
    let length = run(bytes, 300, is_url_digit);
    let mark = memmem::find(&bytes[..length], b"T3BlbkFJ")?;
    let is_whole = mark >= "sk-".len() + 20 && length - mark >= "T3BlbkFJ".len() + 20;
    (is_whole && is_random(&bytes[3..length])).then_some(length)
}

fn anthropic(bytes: &[u8]) -> Option<usize> {
    let start = "sk-ant-".len();
    let length = run(&bytes[start..], 300, is_url_digit);
    (length >= 60 && is_random(&bytes[start..start + length])).then_some(start + length)
}

fn vault(bytes: &[u8]) -> Option<usize> {
    let rest = &bytes["hvs.".len()..];
    let length = run(rest, 500, is_url_digit);
    (length >= 24 && is_random(&rest[..length])).then_some("hvs.".len() + length)
}

/// A token of a service account; other tokens of this form are often meant to be read by everybody.
fn service_account(bytes: &[u8]) -> Option<usize> {
    let head = run(bytes, MAX_TOKEN, is_url_digit);
    let rest = bytes[head..].strip_prefix(b".")?;
    let (claims, rest) = rest.split_at(run(rest, MAX_TOKEN, is_url_digit));
    let rest = rest.strip_prefix(b".")?;
    let signature = &rest[..run(rest, MAX_TOKEN, is_url_digit)];
    let length = head + claims.len() + signature.len() + 2;
    let claims = SecretBytes::from(base64_url(claims)?);
    let names = [b"kubernetes/serviceaccount".as_slice(), b"system:serviceaccount:", b"\"kubernetes.io\""];
    let is_account = names.into_iter().any(|name| memmem::find(claims.expose_secret(), name).is_some());
    (is_account && signature.len() >= 40 && is_random(signature)).then_some(length)
}

fn base64_url(text: &[u8]) -> Option<Vec<u8>> {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).ok()
}

fn run(bytes: &[u8], most: usize, is_part: impl Fn(u8) -> bool) -> usize {
    bytes.iter().take(most).take_while(|byte| is_part(**byte)).count()
}

fn is_url_digit(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

/// Returns whether letters are varied, and not made up.
fn is_random(letters: &[u8]) -> bool {
    has_classes(letters, 2) && distinct(letters) >= 10 && !is_made_up(letters)
}

fn has_classes(letters: &[u8], wanted: usize) -> bool {
    let classes = [u8::is_ascii_uppercase, u8::is_ascii_lowercase, u8::is_ascii_digit];
    classes.into_iter().filter(|is_of| letters.iter().any(is_of)).count() >= wanted
}

/// Returns whether letters are those of an example.
fn is_made_up(letters: &[u8]) -> bool {
    let letters = letters.to_ascii_lowercase();
    MADE_UP.iter().any(|word| memmem::find(&letters, word.as_bytes()).is_some())
}

/// How far the two keys of AWS are from each other at most.
const AWS_NEAR: usize = 400;
/// How long each part of a token of a service account is at most.
const MAX_TOKEN: usize = 8192;

/// What examples have in them.
const MADE_UP: &[&str] = &[
    "00000",
    "11111",
    "123456789",
    "abcdefgh",
    "dummy",
    "example",
    "fake",
    "redacted",
    "replace",
    "secret",
    "token",
    "xxxxx",
    "your",
];

const fn shape(start: &'static str, name: &'static str, read: fn(&[u8]) -> Option<usize>) -> Shape {
    Shape { start, name, read, is_id: false }
}

static SHAPES: &[Shape] = &[
    Shape { start: "AKIA", name: "a secret key of AWS", read: aws_id, is_id: true },
    Shape { start: "ASIA", name: "a secret key of AWS", read: aws_id, is_id: true },
    shape("ghp_", "a token of GitHub", checked),
    shape("gho_", "a token of GitHub", checked),
    shape("ghu_", "a token of GitHub", checked),
    shape("ghs_", "a token of GitHub", checked),
    shape("ghr_", "a token of GitHub", checked),
    shape("github_pat_", "a token of GitHub", github_fine),
    shape("glpat-", "a token of GitLab", gitlab),
    shape("xoxa-", "a token of Slack", slack),
    shape("xoxb-", "a token of Slack", slack),
    shape("xoxp-", "a token of Slack", slack),
    shape("xoxr-", "a token of Slack", slack),
    shape("xoxs-", "a token of Slack", slack),
    shape("hooks.slack.com/services/", "an address of Slack that takes messages", slack_hook),
    shape("npm_", "a token of npm", checked),
    shape("sk_live_", "a key of Stripe", stripe),
    shape("rk_live_", "a key of Stripe", stripe),
    shape("SG.", "a key of SendGrid", sendgrid),
    shape("sk-ant-", "a key of Anthropic", anthropic),
    shape("sk-", "a key of OpenAI", openai),
    shape("hvs.", "a token of Vault", vault),
    shape("eyJhbGciOi", "a token of a service account of Kubernetes", service_account),
];
