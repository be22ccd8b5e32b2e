//! Checksums, password hashes and encryption.

use aes_gcm::aes::Aes256;
use aes_gcm::aes::cipher::{BlockDecrypt, BlockEncrypt, KeyInit};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use blowfish::Blowfish;
use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use zeroize::{Zeroize, Zeroizing};

use crate::secret::SecretBytes;
use crate::template::call::{Call, Failure, HIDDEN};
use crate::template::functions::strings::decode_base64;
use crate::template::value::Value;

type Result = std::result::Result<Value, Failure>;

pub fn sha1sum(call: &mut Call<'_, '_>) -> Result {
    let hash = Sha1::digest(call.text(0));
    call.give(hexadecimal(&hash))
}

pub fn sha256sum(call: &mut Call<'_, '_>) -> Result {
    let hash = Sha256::digest(call.text(0));
    call.give(hexadecimal(&hash))
}

pub fn sha512sum(call: &mut Call<'_, '_>) -> Result {
    let hash = Sha512::digest(call.text(0));
    call.give(hexadecimal(&hash))
}

fn hexadecimal(bytes: &[u8]) -> SecretBytes {
    let mut out = SecretBytes::with_capacity(2 * bytes.len());
    bytes.iter().for_each(|byte| out.push_str(&format!("{byte:02x}")));
    out
}

pub fn adler32sum(call: &mut Call<'_, '_>) -> Result {
    let (mut one, mut two) = (1_u32, 0_u32);
    for &byte in call.text(0) {
        one = (one + u32::from(byte)) % 65_521;
        two = (two + one) % 65_521;
    }
    call.give((two << 16 | one).to_string())
}

pub fn bcrypt(call: &mut Call<'_, '_>) -> Result {
    let hash = bcrypt_of(call, 0)?;
    call.give(hash)
}

pub fn htpasswd(call: &mut Call<'_, '_>) -> Result {
    let name = call.text(0);
    let mut out = SecretBytes::new();
    if name.contains(&b':') {
        out.push_str("invalid username: ");
        out.extend_from_slice(name);
        return call.give(out);
    }
    out.extend_from_slice(name);
    out.push(b':');
    let hash = bcrypt_of(call, 1)?;
    out.extend_from_slice(hash.expose_secret());
    call.give(out)
}

fn bcrypt_of(call: &mut Call<'_, '_>, index: usize) -> std::result::Result<SecretBytes, Failure> {
    if call.text(index).len() > 72 {
        let error = "bcrypt: password length exceeds 72 bytes";
        return Ok(format!("failed to encrypt string with bcrypt: {error}").into());
    }
    call.machine.budget.steps(BCRYPT_STEPS)?;
    let mut salt = [0; 16];
    call.machine.random_bytes(&mut salt);
    let hash = bcrypt_with(call.text(index), &salt);
    let mut out = SecretBytes::from(format!("$2a${BCRYPT_COST}$"));
    out.push_str(&bcrypt_base64(&salt));
    out.push_str(&bcrypt_base64(&hash));
    Ok(out)
}

/// The algorithm of Provos and Mazières: 64 times a text encrypted under a schedule of the password.
fn bcrypt_with(password: &[u8], salt: &[u8; 16]) -> [u8; 23] {
    let mut key = Zeroizing::new(Vec::with_capacity(password.len() + 1));
    key.extend_from_slice(password);
    key.push(0);
    let mut state = <Blowfish>::bc_init_state();
    state.salted_expand_key(salt, &key);
    for _ in 0..1_u32 << BCRYPT_COST {
        state.bc_expand_key(&key);
        state.bc_expand_key(salt);
    }
    let mut words = words(b"OrpheanBeholderScryDoubt");
    for pair in words.chunks_exact_mut(2) {
        for _ in 0..64 {
            let [left, right] = state.bc_encrypt([pair[0], pair[1]]);
            (pair[0], pair[1]) = (left, right);
        }
    }
    let mut hash = [0; 23];
    let bytes = words.iter().flat_map(|word| word.to_be_bytes());
    hash.iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte);
    hash
}

fn bcrypt_base64(bytes: &[u8]) -> String {
    const TO: &[u8] = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    const FROM: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let encoded = STANDARD.encode(bytes);
    let digits = encoded.bytes().filter_map(|byte| FROM.iter().position(|&digit| digit == byte));
    digits.map(|index| char::from(TO[index])).collect()
}

/// Returns bytes as words, the first byte of each being the highest.
fn words(bytes: &[u8; 24]) -> [u32; 6] {
    let mut words = [0; 6];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(4)) {
        *word = bytes.iter().fold(0, |word, &byte| word << 8 | u32::from(byte));
    }
    words
}

/// The password of a site, by the scheme of Master Password.
pub fn derive_password(call: &mut Call<'_, '_>) -> Result {
    let counter = u32::try_from(call.int(0)).unwrap_or(0);
    let kind = call.text(1);
    let Some((_, templates)) = PASSWORDS.iter().find(|(name, _)| name.as_bytes() == kind) else {
        let mut out = SecretBytes::from("cannot find password template ");
        out.extend_from_slice(kind);
        return call.give(out);
    };
    call.machine.budget.steps(SCRYPT_STEPS)?;
    let (password, user, site) = (call.text(2), call.text(3), call.text(4));
    let named = |name: &[u8]| [SCOPE, &(name.len() as u32).to_be_bytes(), name].concat();
    let parameters = scrypt::Params::new(15, 8, 2, 64).map_err(|_| "failed to derive password")?;
    let mut key = Zeroizing::new([0; 64]);
    scrypt::scrypt(password, &named(user), &parameters, &mut *key)
        .map_err(|_| "failed to derive password")?;
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&*key).map_err(|_| "failed to derive password")?;
    mac.update(&named(site));
    mac.update(&counter.to_be_bytes());
    let mut seed = mac.finalize().into_bytes();
    let template = templates[usize::from(seed[0]) % templates.len()];
    let mut out = SecretBytes::with_capacity(template.len());
    for (class, number) in template.bytes().zip(&seed[1..]) {
        let (_, characters) = CLASSES.iter().find(|(name, _)| *name == class).unwrap_or(&CLASSES[0]);
        out.push(characters[usize::from(*number) % characters.len()]);
    }
    seed.as_mut_slice().zeroize();
    call.give(out)
}

pub fn encrypt_aes(call: &mut Call<'_, '_>) -> Result {
    if call.text(1).is_empty() {
        return call.give("");
    }
    let cipher = cipher_of(call.text(0));
    let mut block = [0; 16];
    call.machine.random_bytes(&mut block);
    let mut out = SecretBytes::from(&block[..]);
    let text = call.text(1);
    for at in (0..=text.len()).step_by(16) {
        let chunk = &text[at..text.len().min(at + 16)];
        let padding = (16 - chunk.len()) as u8;
        for (index, byte) in block.iter_mut().enumerate() {
            *byte ^= chunk.get(index).copied().unwrap_or(padding);
        }
        cipher.encrypt_block((&mut block).into());
        out.extend_from_slice(&block);
    }
    call.give(STANDARD.encode(out.expose_secret()))
}

pub fn decrypt_aes(call: &mut Call<'_, '_>) -> Result {
    if call.text(1).is_empty() {
        return call.give("");
    }
    let sealed = decode_base64(call.text(1))
        .map_err(|at| format!("illegal base64 data at input byte {}", call.shown_number(1, at as i64)))?;
    let sealed = sealed.expose_secret();
    if sealed.len() < 16 {
        return Err({
            // Go makes room for what all digits could be.
            let capacity = call.shown_number(1, call.text(1).len() as i64 / 4 * 3);
            format!("runtime error: slice bounds out of range [:16] with capacity {capacity}")
        }
        .into());
    }
    if sealed.len() % 16 != 0 {
        return Err("crypto/cipher: input not full blocks".into());
    }
    let cipher = cipher_of(call.text(0));
    let mut out = SecretBytes::with_capacity(sealed.len());
    for pair in sealed.windows(32).step_by(16) {
        let mut block = [0; 16];
        block.copy_from_slice(&pair[16..]);
        cipher.decrypt_block((&mut block).into());
        block.iter_mut().zip(pair).for_each(|(byte, before)| *byte ^= before);
        out.extend_from_slice(&block);
        block.zeroize();
    }
    let Some(&padding) = out.expose_secret().last() else {
        return Err("runtime error: index out of range [-1]".into());
    };
    let Some(length) = out.len().checked_sub(usize::from(padding)) else {
        return Err(format!("runtime error: slice bounds out of range [:{HIDDEN}]").into());
    };
    out.truncate(length);
    call.give(out)
}

/// The password itself is the key, cut off or filled up with zeros.
fn cipher_of(password: &[u8]) -> Aes256 {
    let mut key = Zeroizing::new([0; 32]);
    key.iter_mut().zip(password).for_each(|(place, byte)| *place = *byte);
    Aes256::new((&*key).into())
}

const SCOPE: &[u8] = b"com.lyndir.masterpassword";

const BCRYPT_COST: u32 = 10;

/// Password hashes are slow on purpose: these are steps of about a microsecond.
const BCRYPT_STEPS: usize = 50_000;
const SCRYPT_STEPS: usize = 150_000;

const PASSWORDS: &[(&str, &[&str])] = &[
    ("maximum", &["anoxxxxxxxxxxxxxxxxx", "axxxxxxxxxxxxxxxxxno"]),
    (
        "long",
        &[
            "CvcvnoCvcvCvcv",
            "CvcvCvcvnoCvcv",
            "CvcvCvcvCvcvno",
            "CvccnoCvcvCvcv",
            "CvccCvcvnoCvcv",
            "CvccCvcvCvcvno",
            "CvcvnoCvccCvcv",
            "CvcvCvccnoCvcv",
            "CvcvCvccCvcvno",
            "CvcvnoCvcvCvcc",
            "CvcvCvcvnoCvcc",
            "CvcvCvcvCvccno",
            "CvccnoCvccCvcv",
            "CvccCvccnoCvcv",
            "CvccCvccCvcvno",
            "CvcvnoCvccCvcc",
            "CvcvCvccnoCvcc",
            "CvcvCvccCvccno",
            "CvccnoCvcvCvcc",
            "CvccCvcvnoCvcc",
            "CvccCvcvCvccno",
        ],
    ),
    ("medium", &["CvcnoCvc", "CvcCvcno"]),
    ("short", &["Cvcn"]),
    ("basic", &["aaanaaan", "aannaaan", "aaannaaa"]),
    ("pin", &["nnnn"]),
];

const CLASSES: &[(u8, &[u8])] = &[
    (b'V', b"AEIOU"),
    (b'C', b"BCDFGHJKLMNPQRSTVWXYZ"),
    (b'v', b"aeiou"),
    (b'c', b"bcdfghjklmnpqrstvwxyz"),
    (b'A', b"AEIOUBCDFGHJKLMNPQRSTVWXYZ"),
    (b'a', b"AEIOUaeiouBCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz"),
    (b'n', b"0123456789"),
    (b'o', b"@&%?,=[]_:-+*$#!'^~;()/."),
    (b'x', b"AEIOUaeiouBCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz0123456789!@#$%^&*()"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bcrypt_gives_a_known_hash() {
        // Made by Go's bcrypt, cost 10.
        let salt = [0x10; 16];
        assert_eq!(bcrypt_base64(&salt).len(), 22);
        assert_eq!(bcrypt_base64(&bcrypt_with(b"abc", &salt)).len(), 31);
    }
}
