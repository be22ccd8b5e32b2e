//! Base64, as `data` of Kubernetes Secrets has it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use selkie::secret::SecretBytes;

/// Returns bytes in base64.
#[must_use]
pub fn encode(bytes: &SecretBytes) -> String {
    STANDARD.encode(bytes.expose_secret())
}

/// Returns the bytes that a text holds in base64; `None` if it does not.
#[must_use]
pub fn decode(text: &[u8]) -> Option<SecretBytes> {
    STANDARD.decode(text.trim_ascii()).ok().map(SecretBytes::from)
}
