//! Cases that look as if a secret were in clear, and nothing is wrong with them.

mod gitops;
mod kubernetes;
mod pages;
mod sealed;
mod sops;

use super::case::Case;
use super::maker::Maker;

/// Returns all of them, with new values.
pub fn cases(make: &mut Maker) -> Vec<Case> {
    let mut cases = kubernetes::cases(make);
    cases.extend(gitops::cases(make));
    cases.extend(pages::cases(make));
    cases.extend(sealed::cases(make));
    cases.extend(sops::cases(make));
    cases
}
