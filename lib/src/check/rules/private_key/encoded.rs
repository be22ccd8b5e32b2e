//! Private keys in base64, and in base64 of that: how their first letters are encoded is known, wherever they start.
//!
//! What is encoded is read from such a place on, and only as far as it takes to know.

use std::sync::OnceLock;

use aho_corasick::AhoCorasick;
use memchr::memmem;

use super::plain::{self, AGE, AGE_PLUGIN, Key, NAME, PUTTY};
use crate::check::needles::base64_forms;
use crate::secret::SecretBytes;

/// Returns the private keys that are encoded in some bytes.
pub(super) fn find(bytes: &[u8]) -> Vec<Key> {
    let forms = Forms::known();
    let (mut keys, mut free, mut next) = (Vec::new(), 0, 0);
    for at in forms.automaton.find_iter(bytes) {
        if at.start() < free.max(next) {
            continue;
        }
        let form = &forms.forms[at.pattern().as_usize()];
        let Some(key) = form.reveal(&bytes[at.start()..]) else {
            // What was looked at holds no key, but for one that goes on behind it.
            next = at.start() + run(&bytes[at.start()..], form.passed());
            continue;
        };
        let start = bytes[free..at.start()].iter().rev().take_while(|byte| value(**byte).is_some()).count();
        let is_part = |byte: &&u8| value(**byte).is_some() || **byte == b'=';
        let start = at.start() - start;
        free = at.start() + bytes[at.start()..].iter().take_while(is_part).count();
        keys.push(Key { span: start..free, layers: form.layers.len(), ..key });
    }
    keys
}

/// Returns how many letters follow each other, so many at most.
fn run(bytes: &[u8], most: usize) -> usize {
    bytes.iter().take(most).take_while(|byte| value(**byte).is_some()).count()
}

struct Forms {
    automaton: AhoCorasick,
    forms: Vec<Form>,
}

/// How the beginning of a key looks in base64.
struct Form {
    /// From the outermost layer on.
    layers: Vec<Layer>,
}

/// A layer of base64.
struct Layer {
    /// What is encoded.
    text: Vec<u8>,
    /// How many bytes are before it in its group of three.
    before: usize,
}

impl Forms {
    fn known() -> &'static Self {
        static FORMS: OnceLock<Forms> = OnceLock::new();
        FORMS.get_or_init(|| {
            let (mut patterns, mut forms) = (Vec::new(), Vec::new());
            for mark in [b"-----BEGIN".as_slice(), AGE, AGE_PLUGIN, PUTTY] {
                for (before, once) in base64_forms(mark).into_iter().enumerate() {
                    let inner = || Layer { text: mark.to_vec(), before };
                    for (before, twice) in base64_forms(once.as_bytes()).into_iter().enumerate() {
                        let outer = Layer { text: once.as_bytes().to_vec(), before };
                        patterns.push(twice);
                        forms.push(Form { layers: vec![outer, inner()] });
                    }
                    patterns.push(once);
                    forms.push(Form { layers: vec![inner()] });
                }
            }
            let automaton = AhoCorasick::new(patterns).expect("the table is small");
            Self { automaton, forms }
        })
    }
}

impl Form {
    /// Returns the key that a text in this form begins with, if it is one.
    fn reveal(&self, text: &[u8]) -> Option<Key> {
        let head = self.decode(text, HEAD);
        let head = head.expose_secret();
        let is_block = head.starts_with(b"-----BEGIN");
        // Most of what begins so is a certificate.
        if is_block && memmem::find(head, NAME).is_none() {
            return None;
        }
        let text = self.decode(text, if self.is_age() { ENOUGH_OF_AGE } else { ENOUGH });
        plain::find(text.expose_secret()).into_iter().next()
    }

    /// Returns whether it is that of an identity of age, which is short.
    fn is_age(&self) -> bool {
        self.layers.last().is_some_and(|layer| layer.text == AGE)
    }

    /// Returns how many letters need not be looked at again where no key was found.
    fn passed(&self) -> usize {
        match self.layers.last() {
            // Most of a certificate is not read.
            Some(layer) if layer.text == b"-----BEGIN" => 0,
            _ if self.is_age() => PASSED_OF_AGE,
            _ => PASSED,
        }
    }

    /// Returns at most so many bytes of what is encoded.
    fn decode(&self, text: &[u8], length: usize) -> SecretBytes {
        // Lines are indented, and each layer makes four letters of three.
        let text = &text[..text.len().min(length * 4)];
        let (mut decoded, mut length) = (SecretBytes::from(text), length);
        for _ in 1..self.layers.len() {
            length = length * 4 / 3 + 8;
        }
        for layer in &self.layers {
            decoded = layer.decode(decoded.expose_secret(), length);
            length = length * 3 / 4;
        }
        decoded
    }
}

impl Layer {
    fn decode(&self, encoded: &[u8], length: usize) -> SecretBytes {
        // The first group may have begun before: what it says of the text is known.
        let lost = (3 - self.before) % 3;
        let mut decoded = SecretBytes::with_capacity(length + 3);
        decoded.extend_from_slice(&self.text[..lost]);
        decode(encoded.get(lost..).unwrap_or_default(), length, &mut decoded);
        decoded
    }
}

/// Decodes as much as there is, over the ends of lines and what they are indented by.
fn decode(encoded: &[u8], length: usize, decoded: &mut SecretBytes) {
    let (mut at, mut group, mut count) = (0, 0_u32, 0_usize);
    let mut is_line_start = false;
    while let Some(&byte) = encoded.get(at).filter(|_| decoded.len() < length) {
        match (byte, encoded.get(at + 1)) {
            (b'\\', Some(b'n' | b'r')) => at += 1,
            (b'\n' | b'\r', _) => is_line_start = true,
            (b' ' | b'\t', _) if is_line_start => {}
            _ => {
                let Some(value) = value(byte) else { break };
                is_line_start = false;
                group = group << 6 | value;
                count += 1;
                if count == 4 {
                    decoded.extend_from_slice(&group.to_be_bytes()[1..]);
                    (group, count) = (0, 0);
                }
            }
        }
        at += 1;
    }
    if count > 1 {
        let rest = (group << (6 * (4 - count))).to_be_bytes();
        decoded.extend_from_slice(&rest[1..count]);
    }
}

fn value(byte: u8) -> Option<u32> {
    match byte {
        b'A'..=b'Z' => Some(u32::from(byte - b'A')),
        b'a'..=b'z' => Some(u32::from(byte - b'a') + 26),
        b'0'..=b'9' => Some(u32::from(byte - b'0') + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

/// How many bytes tell what a block is.
const HEAD: usize = 80;
/// How many bytes tell that it is a key.
const ENOUGH: usize = 1536;
/// How many bytes tell that it is an identity of age.
const ENOUGH_OF_AGE: usize = 192;
/// How many letters are passed over where no key is.
const PASSED: usize = 400;
/// How many letters are passed over where no identity of age is: one that begins in them was read as a whole.
const PASSED_OF_AGE: usize = 120;
