//! Bytes that must not outlive their use: buffers that wipe themselves, cannot be printed, and are
//! read by name.
//!
//! Invariant: growing a buffer never leaves a copy of its old content in freed memory.

use std::hint::black_box;
use std::ops::Range;
use std::sync::atomic::{Ordering, compiler_fence};

use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes that are wiped when they are dropped, and that have no `Debug`, `Display` or `Clone`.
#[derive(Default)]
pub struct SecretBytes(Vec<u8>);

impl SecretBytes {
    /// Returns an empty buffer.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Returns an empty buffer with room for `capacity` bytes.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    /// Returns a copy of the part of the secret in `range`, or `None` if it is out of bounds.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Option<Self> {
        self.0.get(range).map(Self::from)
    }

    /// Appends bytes, wiping the old allocation if a new one is needed.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        let needed = self.0.len() + bytes.len();
        if needed > self.0.capacity() {
            let mut grown = Vec::with_capacity(needed.max(self.0.capacity() * 2));
            grown.extend_from_slice(&self.0);
            self.zeroize();
            self.0 = grown;
        }
        self.0.extend_from_slice(bytes);
    }

    /// Appends text, wiping the old allocation if a new one is needed.
    pub fn push_str(&mut self, text: &str) {
        self.extend_from_slice(text.as_bytes());
    }

    /// Appends one byte.
    pub fn push(&mut self, byte: u8) {
        self.extend_from_slice(&[byte]);
    }

    /// Shortens the secret to `length` bytes and wipes the rest; does nothing if it is shorter.
    pub fn truncate(&mut self, length: usize) {
        if let Some(rest) = self.0.get_mut(length..) {
            wipe(rest);
            self.0.truncate(length);
        }
    }

    /// Returns the bytes. Call it as late as possible.
    #[must_use]
    pub fn expose_secret(&self) -> &[u8] {
        &self.0
    }

    /// Returns how many bytes the secret holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether two secrets are the same, in a time that depends on their lengths alone.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        subtle::ConstantTimeEq::ct_eq(self.0.as_slice(), other.0.as_slice()).into()
    }

    /// Returns whether the secret is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Zeroize for SecretBytes {
    fn zeroize(&mut self) {
        self.0.resize(self.0.capacity(), 0);
        wipe(&mut self.0);
        self.0.clear();
    }
}

impl ZeroizeOnDrop for SecretBytes {}

impl Drop for SecretBytes {
    fn drop(&mut self) {
        self.zeroize();
    }
}

/// Writes zeros, all at once: `zeroize` writes one byte after the other, which takes longer than encrypting
/// them. That the bytes are looked at keeps the writes from being left out.
fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    black_box(&*bytes);
    compiler_fence(Ordering::SeqCst);
}

impl From<Vec<u8>> for SecretBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<String> for SecretBytes {
    fn from(text: String) -> Self {
        Self(text.into_bytes())
    }
}

impl From<&[u8]> for SecretBytes {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl From<&str> for SecretBytes {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

/// Lets `write!` append to a secret.
impl std::fmt::Write for SecretBytes {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.push_str(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growing_keeps_the_content() {
        let mut secret = SecretBytes::new();
        for byte in 0..=255 {
            secret.push(byte);
        }
        assert_eq!(secret.expose_secret(), (0..=255).collect::<Vec<u8>>());
    }

    #[test]
    fn truncating_beyond_the_end_changes_nothing() {
        let mut secret = SecretBytes::from("abc");
        secret.truncate(5);
        assert_eq!(secret.expose_secret(), b"abc");
        secret.truncate(1);
        assert_eq!(secret.expose_secret(), b"a");
    }
}
