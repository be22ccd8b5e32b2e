//! A policy that is taken away: no file of the change tells of it.
//!
//! Bound: so many encrypted files are looked at, whatever a repository has.

use crate::check::policies::{NAME, parse};
use crate::check::{Context, File, Finding, Findings, Mode, decode};

use super::pairs::{MAX_FILES, below, is_encrypted};
use super::{RULE, shown};

/// Tells the policies that were there before and that nothing takes the place of.
pub(in crate::check) fn gone(context: &Context<'_>, found: &mut Findings) {
    let Some(before) = context.before else { return };
    let is_gone = |path: &&String| path.rsplit('/').next() == Some(NAME) && !context.after.contains(path);
    let mut budget = MAX_FILES;
    for path in before.paths().iter().filter(is_gone) {
        // What could not be read protected nothing.
        let Some(text) = before.read(path).ok().flatten() else { continue };
        let Ok(old) = parse(&text) else { continue };
        let mut is_needed = |file: &&String| {
            let is_matched = below(path, file).is_some_and(|file| matches!(old.rule_for(file), Ok(Some(_))));
            if !is_matched || is_covered(context, file) || budget == 0 {
                return false;
            }
            budget -= 1;
            is_encrypted(context, file)
        };
        let files: Vec<String> =
            context.after.paths().iter().filter(|file| is_needed(file)).cloned().collect();
        if files.is_empty() {
            continue;
        }
        let message = format!(
            "this policy is gone, and no rule matches these encrypted files any more: {}",
            shown(&files)
        );
        let content = decode(b"");
        let file = File::new(path, b"", &content, Mode::File);
        let remedy = "bring the policy back, or encrypt by another one what it was for";
        found.add(Finding::new(&RULE, &file, 0..0, message).remedy(remedy));
    }
}

/// Returns whether a rule is there for a file, or may be.
fn is_covered(context: &Context<'_>, path: &str) -> bool {
    context.policies.of(path).is_some_and(|policy| match &policy.config {
        Ok(config) => !matches!(config.rule_for(policy.relative(path)), Ok(None)),
        Err(_) => true,
    })
}

#[cfg(test)]
mod tests {
    use crate::check::sops_file::tests::{RECIPIENT, encrypted};
    use crate::check::test_kit::Repository;
    use crate::format::Format;

    fn repository() -> Repository {
        let text = encrypted(Format::Yaml, "a: b\n", "");
        let policy = format!("creation_rules: [{{path_regex: a, age: {RECIPIENT}}}]\n");
        Repository::default()
            .with("x/a.yaml", &text)
            .with_old("x/a.yaml", &text)
            .with("x/plain.yaml", "a: b\n")
            .with_old("x/plain.yaml", "a: b\n")
            .with_old("x/.sops.yaml", policy)
    }

    #[test]
    fn a_policy_that_is_gone_is_told() {
        let found = repository().check();
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].warns() && found[0].path == "x/.sops.yaml");
        assert!(found[0].message.ends_with("any more: x/a.yaml"), "{found:?}");
    }

    #[test]
    fn a_policy_that_is_moved_up_is_clean() {
        let policy = format!("creation_rules: [{{age: {RECIPIENT}}}]\n");
        assert_eq!(repository().with(".sops.yaml", policy).found(), [""; 0]);
    }
}
