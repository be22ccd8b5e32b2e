//! What mends a Secret in clear: encrypting its file where a creation rule is for it, or sealing it.

use crate::check::{Context, Fix};

/// Returns how a file with an object in clear is mended, and what says so.
pub(in crate::check::rules) fn remedy(path: &str, context: &Context<'_>) -> (Option<Fix>, String) {
    let encrypt = format!("kubectl seal encrypt -i {}", quoted(path));
    let seal = format!("kubectl seal {} > {}", quoted(path), quoted(&sealed(path)));
    if has_creation_rule(path, context) {
        (Some(Fix::Encrypt), encrypt)
    } else if context.config.sealing_cert().is_some() {
        (Some(Fix::Seal), seal)
    } else {
        (None, seal)
    }
}

/// Returns the same for what can only be encrypted.
pub(in crate::check::rules) fn encryption(path: &str, context: &Context<'_>) -> (Option<Fix>, String) {
    let encrypt = format!("kubectl seal encrypt -i {}", quoted(path));
    (has_creation_rule(path, context).then_some(Fix::Encrypt), encrypt)
}

/// Returns a path as shells take it.
pub(in crate::check::rules) fn quoted(path: &str) -> String {
    let is_plain = |letter: char| letter.is_alphanumeric() || "-_./+@=,:%".contains(letter);
    if !path.starts_with('-') && !path.is_empty() && path.chars().all(is_plain) {
        return path.to_owned();
    }
    let prefix = if path.starts_with('-') { "./" } else { "" };
    format!("'{prefix}{}'", path.replace('\'', "'\\''"))
}

/// Returns the path beside a file for what is sealed of it.
fn sealed(path: &str) -> String {
    let (folder, name) = path.rsplit_once('/').map_or(("", path), |(folder, name)| (folder, name));
    let separator = if folder.is_empty() { "" } else { "/" };
    format!("{folder}{separator}sealed-{name}")
}

fn has_creation_rule(path: &str, context: &Context<'_>) -> bool {
    let Some(policy) = context.policies.of(path) else { return false };
    // A policy that cannot be read is told by its own rule.
    policy.config.as_ref().is_ok_and(|config| matches!(config.rule_for(policy.relative(path)), Ok(Some(_))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_for_shells() {
        assert_eq!(quoted("a/b-c.yaml"), "a/b-c.yaml");
        assert_eq!(quoted("a b's.yaml"), "'a b'\\''s.yaml'");
        assert_eq!(quoted("-i"), "'./-i'");
        assert_eq!(
            (sealed("a/b.yaml"), sealed("b.yaml")),
            ("a/sealed-b.yaml".into(), "sealed-b.yaml".into())
        );
    }
}
