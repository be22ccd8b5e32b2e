//! Private keys as programs write them: between lines of dashes, or in a line that begins as keys of age do.
//!
//! A key is what its lines say and a body that looks like one: documents and programs are full of the lines alone.
//! Each byte is looked at a bounded number of times.

use std::ops::Range;

use memchr::memmem;

/// A private key that was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// The bytes that it is.
    pub(super) span: Range<usize>,
    /// What it is.
    pub(super) kind: Kind,
    /// What speaks against it.
    pub(super) doubt: Option<Doubt>,
    /// How often it is encoded in base64.
    pub(super) layers: usize,
}

/// What a private key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An identity of age.
    Age,
    /// An identity of a plugin of age.
    AgePlugin,
    /// A key of OpenSSH.
    OpenSsh,
    /// A key in PEM.
    Pem,
    /// A key of OpenPGP.
    Pgp,
    /// A key of PuTTY.
    Putty,
}

/// Why a private key is perhaps none, or of no use to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// Its checksum is wrong.
    Damaged,
    /// The key itself is in a device.
    Hardware,
    /// A passphrase is needed for it.
    Locked,
}

impl Key {
    /// Returns what is told of it.
    pub(super) fn message(&self) -> String {
        let kind = match self.kind {
            Kind::Age => "a private key of age",
            Kind::AgePlugin => "a private key for a plugin of age",
            Kind::OpenSsh => "a private key of OpenSSH",
            Kind::Pem => "a private key in PEM",
            Kind::Pgp => "a private key of OpenPGP",
            Kind::Putty => "a private key of PuTTY",
        };
        let layers = match self.layers {
            0 => "",
            1 => ", in base64",
            _ => ", in base64 of base64",
        };
        let doubt = match self.doubt {
            None => "",
            Some(Doubt::Damaged) => ", with a mistake in it",
            Some(Doubt::Hardware) => ", which tells where a key is in a device",
            Some(Doubt::Locked) => ", locked by a passphrase",
        };
        format!("{kind}{layers}{doubt}")
    }

    /// Returns whether it is perhaps no key, or of no use to others.
    pub(super) fn is_doubtful(&self) -> bool {
        self.doubt.is_some()
    }
}

/// Returns whether there is a private key in a text that is of use to whoever has it.
pub(in crate::check::rules) fn holds_key(text: &str) -> bool {
    find(text.as_bytes()).iter().any(|key| !key.is_doubtful())
}

/// Returns the private keys in some bytes.
pub(super) fn find(bytes: &[u8]) -> Vec<Key> {
    let mut keys = Vec::new();
    blocks(bytes, &mut keys);
    ages(bytes, &mut keys);
    putties(bytes, &mut keys);
    keys
}

fn blocks(bytes: &[u8], keys: &mut Vec<Key>) {
    let mut free = 0;
    for at in memmem::find_iter(bytes, NAME) {
        if at < free {
            continue;
        }
        let Some((start, label, end)) = opening(bytes, at) else { continue };
        let Some((body, is_locked)) = body(bytes, end) else { continue };
        let label = &bytes[label];
        let head = &bytes[body.clone()];
        let is_openssh = head.starts_with(OPENSSH);
        let is_locked = is_locked
            || memmem::find(label, b"ENCRYPTED").is_some()
            || is_openssh && !head[OPENSSH.len()..].starts_with(OPENSSH_UNLOCKED);
        let kind = if is_openssh || label.starts_with(b"OPENSSH") {
            Kind::OpenSsh
        } else if label.starts_with(b"PGP") {
            Kind::Pgp
        } else {
            Kind::Pem
        };
        free = closing(bytes, body.end);
        keys.push(Key { span: start..free, kind, doubt: is_locked.then_some(Doubt::Locked), layers: 0 });
    }
}

/// Returns where the line is that opens a key, given where it says `PRIVATE KEY`: its start, its label, and its end.
fn opening(bytes: &[u8], at: usize) -> Option<(usize, Range<usize>, usize)> {
    let is_label = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b' ';
    let before = &bytes[at.saturating_sub(MAX_LABEL)..at];
    let length = before.iter().rev().take_while(|byte| is_label(byte)).count();
    let line = before[before.len() - length..].trim_ascii_start();
    line.strip_prefix(b"BEGIN ")?;
    let label = at - line.len() + b"BEGIN ".len()..at;
    let dashes = before[..before.len() - length].iter().rev().take_while(|byte| **byte == b'-').count();
    let mut end = at + NAME.len();
    if bytes[end..].starts_with(b" BLOCK") {
        end += b" BLOCK".len();
    }
    let more = bytes[end..].iter().take(MAX_LABEL).take_while(|byte| **byte == b' ').count();
    let after = bytes[end + more..].iter().take(MAX_LABEL).take_while(|byte| **byte == b'-').count();
    (dashes >= 4 && after >= 4).then_some((at - length - dashes, label, end + more + after))
}

/// Returns the first line of a body of base64 that begins at a place, behind headers; and whether these say that it
/// is locked.
fn body(bytes: &[u8], from: usize) -> Option<(Range<usize>, bool)> {
    let mut at = skip(bytes, from);
    let mut is_locked = false;
    for _ in 0..MAX_HEADERS {
        let Some(end) = header(bytes, at) else { break };
        is_locked |= memmem::find(&bytes[at..end], b"ENCRYPTED").is_some();
        at = skip(bytes, end);
    }
    let line = run(bytes, at);
    looks_random(&bytes[line.clone()]).then_some((line, is_locked))
}

/// Returns the end of a line such as `Version: 1`, if there is one.
fn header(bytes: &[u8], from: usize) -> Option<usize> {
    let line = &bytes[from..bytes.len().min(from + MAX_HEADER)];
    let name = line.iter().take_while(|byte| byte.is_ascii_alphabetic() || **byte == b'-').count();
    if name < 3 || !line[name..].starts_with(b":") {
        return None;
    }
    line.iter().position(|byte| matches!(byte, b'\n' | b'\r' | b'\\')).map(|length| from + length)
}

/// Passes over what stands between the lines of a key: in YAML, in strings of programs and of JSON, in comments.
fn skip(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while at < bytes.len() && at - from < MAX_GAP {
        let next = bytes.get(at + 1).copied().unwrap_or_default();
        at += match bytes[at] {
            b'\\' if matches!(next, b'n' | b'r' | b't') => 2,
            b'/' if next == b'/' && bytes.get(at + 2) == Some(&b' ') => 2,
            b'+' if next.is_ascii_whitespace() || matches!(next, b'"' | b'\'' | b'`') => 1,
            b'"' | b'\'' | b'`' | b'\\' | b'#' | b'>' | b'*' | b'|' | b',' | b';' | b'.' | b'(' | b')' => 1,
            byte if byte.is_ascii_whitespace() => 1,
            _ => break,
        };
    }
    at
}

fn run(bytes: &[u8], from: usize) -> Range<usize> {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    from..from + bytes[from..].iter().take_while(|byte| is_digit(byte)).count()
}

/// Returns whether a line is long and varied enough to be of a key: not a word, not a row of one letter.
fn looks_random(line: &[u8]) -> bool {
    let head = &line[..line.len().min(64)];
    let classes = [u8::is_ascii_uppercase, u8::is_ascii_lowercase, u8::is_ascii_digit];
    let classes = classes.into_iter().filter(|is_of| head.iter().any(is_of)).count();
    line.len() >= MIN_LINE && classes >= 2 && distinct(head) >= 16
}

/// Returns how many different bytes there are.
pub(in crate::check::rules) fn distinct(bytes: &[u8]) -> usize {
    let mut seen = [false; 256];
    for byte in bytes {
        seen[usize::from(*byte)] = true;
    }
    seen.iter().filter(|seen| **seen).count()
}

/// Returns where a key ends whose body goes on at a place: behind the line that closes it.
fn closing(bytes: &[u8], from: usize) -> usize {
    let Some(dashes) = memmem::find(&bytes[from..], b"----").map(|at| from + at) else { return from };
    let line = bytes[dashes..].iter().take(MAX_LABEL).take_while(|byte| **byte == b'-').count() + dashes;
    let Some(rest) = bytes[line..].trim_ascii_start().strip_prefix(b"END ") else { return from };
    let label = rest.iter().take(MAX_LABEL).take_while(|byte| **byte != b'-').count();
    let after = rest[label..].iter().take(MAX_LABEL).take_while(|byte| **byte == b'-').count();
    bytes.len() - rest.len() + label + after
}

fn ages(bytes: &[u8], keys: &mut Vec<Key>) {
    for (mark, kind) in [(AGE, Kind::Age), (AGE_PLUGIN, Kind::AgePlugin)] {
        let mut free = 0;
        for at in memmem::find_iter(bytes, mark) {
            let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
            // A `\n` of JSON may stand before it.
            let is_escape = at >= 2 && bytes[at - 2] == b'\\';
            if at < free || at > 0 && is_word(bytes[at - 1]) && !is_escape {
                continue;
            }
            let is_part = |byte: &&u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || **byte == b'-';
            let length = bytes[at..].iter().take(MAX_AGE).take_while(is_part).count();
            free = at + length;
            if let Some(doubt) = age(&bytes[at..free], kind) {
                keys.push(Key { span: at..free, kind, doubt, layers: 0 });
            }
        }
    }
}

/// Returns what speaks against an identity, or nothing if it is none at all.
fn age(identity: &[u8], kind: Kind) -> Option<Option<Doubt>> {
    let middle = memchr::memrchr(b'1', identity)?;
    let (name, data) = (&identity[..middle], &identity[middle + 1..]);
    let digits: Vec<u8> = data.iter().map(|byte| digit(*byte)).collect::<Option<_>>()?;
    let is_whole = is_checked(name, &digits);
    if kind == Kind::AgePlugin {
        let plugin = name[AGE_PLUGIN.len()..].strip_suffix(b"-")?;
        let doubt = HARDWARE.contains(&plugin).then_some(Doubt::Hardware);
        return is_whole.then_some(doubt);
    }
    let is_long = matches!(&name[AGE.len()..], b"" | b"PQ-") && data.len() == AGE_DATA;
    let is_varied = distinct(data) >= 12;
    (is_long && is_varied).then_some((!is_whole).then_some(Doubt::Damaged))
}

/// Returns whether the checksum at the end of some digits of Bech32 is right.
fn is_checked(name: &[u8], digits: &[u8]) -> bool {
    let name = || name.iter().map(u8::to_ascii_lowercase);
    let values = name().map(|byte| byte >> 5).chain([0]).chain(name().map(|byte| byte & 31));
    let sum = values.chain(digits.iter().copied()).fold(1_u32, |sum, value| {
        let top = sum >> 25;
        let terms = GENERATOR.iter().enumerate().filter(|(bit, _)| top >> bit & 1 == 1);
        terms.fold((sum & 0x01ff_ffff) << 5 ^ u32::from(value), |sum, (_, term)| sum ^ term)
    });
    digits.len() >= 6 && sum == 1
}

fn digit(byte: u8) -> Option<u8> {
    let place = BECH32.iter().position(|letter| letter.eq_ignore_ascii_case(&byte))?;
    u8::try_from(place).ok()
}

fn putties(bytes: &[u8], keys: &mut Vec<Key>) {
    let starts: Vec<usize> = memmem::find_iter(bytes, PUTTY).collect();
    for (index, &start) in starts.iter().enumerate() {
        let next = starts.get(index + 1).copied().unwrap_or(bytes.len()).min(start + MAX_PUTTY);
        let text = &bytes[start..next];
        let Some(private) = memmem::find(text, b"Private-Lines:").map(|at| at + b"Private-Lines:".len())
        else {
            continue;
        };
        let number = |byte: &&u8| **byte == b' ' || byte.is_ascii_digit();
        let count = text[private..].iter().take(16).take_while(number).count();
        let line = run(text, skip(text, private + count));
        if !looks_random(&text[line.clone()]) {
            continue;
        }
        let is_locked = memmem::find(&text[..private], b"Encryption: none").is_none();
        let end = memmem::find(&text[line.end..], b"Private-MAC:").map_or(line.end, |at| line.end + at);
        let doubt = is_locked.then_some(Doubt::Locked);
        keys.push(Key { span: start..start + end, kind: Kind::Putty, doubt, layers: 0 });
    }
}

/// How identities of age begin.
pub(super) const AGE: &[u8] = b"AGE-SECRET-KEY-";
/// How identities of plugins of age begin.
pub(super) const AGE_PLUGIN: &[u8] = b"AGE-PLUGIN-";
/// How keys of PuTTY begin.
pub(super) const PUTTY: &[u8] = b"PuTTY-User-Key-File-";
/// What the line says that opens a private key.
pub(super) const NAME: &[u8] = b"PRIVATE KEY";

/// How many digits an identity of age has: 32 bytes and a checksum.
const AGE_DATA: usize = 58;
/// The digits of Bech32.
const BECH32: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
/// Plugins of age whose keys never leave a device: what they call an identity opens nothing without it.
const HARDWARE: &[&[u8]] = &[b"FIDO2-HMAC", b"FIDO2PRF", b"SE", b"TKEY", b"TPM", b"TREZOR", b"YUBIKEY"];
/// How the body of a key of OpenSSH begins.
const OPENSSH: &[u8] = b"b3BlbnNzaC1rZXktdjEAAAAA";
/// How it goes on if no passphrase is needed: the cipher is called `none`.
const OPENSSH_UNLOCKED: &[u8] = b"BG5vbmU";

const MAX_AGE: usize = 4096;
const MAX_GAP: usize = 256;
const MAX_HEADER: usize = 200;
const MAX_HEADERS: usize = 8;
const MAX_LABEL: usize = 64;
const MAX_PUTTY: usize = 32 * 1024;
/// How long the first line of a body is at least.
const MIN_LINE: usize = 40;
