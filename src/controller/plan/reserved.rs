//! Which Secrets no object may stand for: those of sealing keys.
//!
//! Whoever may create custom resources beside the controller, but no Secrets, could otherwise take its keys away, or bring
//! one along that it then seals for. Invariant: outside of the namespace of sealing keys, label and name mean nothing.

use selkie::sealed::{KEY_LABEL, ObjectMeta};

use crate::controller::reason::{Failure, Reason};

/// Returns why a Secret must not be made, written or deleted for an object of a kind, if it is, or would be, one of a
/// sealing key. `name` is that of the key of before 0.9; `None` outside of the namespace of sealing keys. The failure
/// names the Secret, unless `hides_metadata`.
#[must_use]
pub fn reserved(
    name: Option<&str>,
    kind: &str,
    hides_metadata: bool,
    metadata: &ObjectMeta,
) -> Option<Failure> {
    let name = name?;
    let found = if metadata.label(KEY_LABEL).is_some() {
        format!("the label {KEY_LABEL}")
    } else if metadata.name() == name {
        "the name".to_owned()
    } else {
        return None;
    };
    let named = if hides_metadata { String::new() } else { format!(" {:?}", metadata.name()) };
    let message = format!(
        "the Secret{named} has {found} of a sealing key of this controller, which no {kind} may make, change or delete: \
         apply Secrets of sealing keys themselves, or use another name and no such label",
    );
    Some(Failure::new(Reason::NotAllowed, message))
}
