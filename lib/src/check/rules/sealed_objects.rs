//! The SealedSecrets of a file, for the rules that judge them.

use memchr::memmem;

use crate::check::{File, Object, objects};

/// Returns the SealedSecrets of a file; it is read only if it speaks of them.
pub(super) fn sealed_objects<'a>(file: &'a File<'_>) -> Vec<Object<'a>> {
    let speaks = memmem::find(file.text().as_bytes(), b"SealedSecret").is_some();
    if !speaks || !file.is_structured() {
        return Vec::new();
    }
    objects(file.outline()).filter(|object| object.is_sealed_secret()).collect()
}
