//! What the page in the browser asks of the library: sealing for a certificate, encrypting for age recipients.
//!
//! Nothing here opens anything: the page has public keys alone. It asks no network, and keeps nothing: plaintext
//! comes in by value, and is wiped with the buffers that held it.

mod bindings;
mod certificate;
mod encrypting;
mod problem;
mod sealing;

pub use bindings::{
    SecretForm, describe_certificate, encrypt, format_of, preview, seal_manifest, wipe_stack,
};
pub use certificate::{Description, Standing};
pub use encrypting::{Preview, Rule};
pub use problem::{Field, Problem};
pub use sealing::{Outcome, Place};

/// Wipes all memory that is given back.
#[cfg(target_family = "wasm")]
#[global_allocator]
static ALLOCATOR: zeroizing_alloc::ZeroAlloc<std::alloc::System> =
    zeroizing_alloc::ZeroAlloc(std::alloc::System);
