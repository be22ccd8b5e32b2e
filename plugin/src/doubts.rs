//! What people are told of a reason to doubt a document.

use selkie::sops::audit::DoubtKind;

/// Says what is doubtful.
#[must_use]
pub const fn describe(kind: DoubtKind) -> &'static str {
    match kind {
        DoubtKind::AmbiguousKey => "the key has a colon, so that the value can be moved without its key",
        DoubtKind::BrokenRule => "the pattern of its rule does not compile, so that it matches nothing",
        DoubtKind::ChangedWithoutKey => {
            "it was changed, or a value next to it was removed, since the last commit by someone without the key"
        }
        DoubtKind::InClear => "it is in clear, although the rule selects it",
        DoubtKind::NonCanonical => "its type was changed, or written by another tool",
        _ => "something is wrong with it",
    }
}
