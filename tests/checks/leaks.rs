//! Cases in which a secret is in clear, or will be lost.

mod gitops;
mod keys;
mod kubernetes;
mod sealed;
mod sops;

use super::case::Case;
use super::maker::Maker;

/// Returns all of them, with new values.
pub fn cases(make: &mut Maker) -> Vec<Case> {
    let mut cases = kubernetes::cases(make);
    cases.extend(gitops::cases(make));
    cases.extend(keys::cases(make));
    cases.extend(sealed::cases(make));
    cases.extend(sops::cases(make));
    cases
}
