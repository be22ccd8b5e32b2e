//! The rules, each in a file of its own.

mod bad_configuration;
mod credential_file;
mod encrypted_kind;
mod environment_file;
mod from_literal;
mod kustomization;
mod last_applied;
mod literal;
mod place;
mod plain_secret;
mod private_key;
pub(super) mod provider_token;
mod sealed_beside_secret;
mod sealed_last_applied;
mod sealed_not_ciphertext;
mod sealed_objects;
mod sealed_rebound;
mod sealed_template;
mod sealing_key;
mod sops_broken;
mod sops_clear_value;
mod sops_comment;
mod sops_leftover;
mod sops_malformed;
mod sops_moved;
mod sops_not_encrypted;
mod sops_nothing_encrypted;
mod sops_recipients;
mod sops_secret_in_clear;
mod sops_stale_mac;
mod sops_weakened;
mod sops_wrong_mac;
mod unused_suppression;
mod unverified;
mod url_password;

use super::rule::Rule;

pub use bad_configuration::unusable;
pub(super) use sops_weakened::gone;
pub(super) use unused_suppression::suppression;
pub(super) use unverified::{too_large, unread};

/// Every rule, in the order of their names.
pub static RULES: &[&Rule] = &[
    &plain_secret::RULE,
    &last_applied::RULE,
    &kustomization::RULE,
    &credential_file::RULE,
    &encrypted_kind::RULE,
    &literal::RULE,
    &from_literal::RULE,
    &private_key::RULE,
    &unverified::RULE,
    &unused_suppression::RULE,
    &bad_configuration::RULE,
    &sealed_not_ciphertext::RULE,
    &sealed_template::RULE,
    &sealed_last_applied::RULE,
    &sealed_rebound::RULE,
    &sealed_beside_secret::RULE,
    &sealing_key::RULE,
    &sops_not_encrypted::RULE,
    &sops_clear_value::RULE,
    &sops_malformed::RULE,
    &sops_stale_mac::RULE,
    &sops_wrong_mac::RULE,
    &sops_nothing_encrypted::RULE,
    &sops_secret_in_clear::RULE,
    &sops_comment::RULE,
    &sops_moved::RULE,
    &sops_leftover::RULE,
    &sops_recipients::RULE,
    &sops_weakened::RULE,
    &sops_broken::RULE,
    &provider_token::RULE,
    &url_password::RULE,
    &environment_file::RULE,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_in_order_and_explained() {
        assert!(RULES.is_sorted_by_key(|rule| rule.id));
        for rule in RULES {
            assert!(rule.explanation.len() > 80, "{} is not explained", rule.id);
            assert!(!rule.title.ends_with('.') && rule.title.len() < 80, "{}", rule.id);
        }
    }
}
