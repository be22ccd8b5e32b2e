//! SOPS012: the creation rules protect less than before.

mod gone;
mod pairs;

use crate::check::policies::{NAME, parse};
use crate::check::{Check, Context, File, Finding, Findings, Needles, Rule, Severity};
use crate::keys::{KeyGroup, MasterKey};
use crate::sops::SelectorError;
use crate::sops::config::{Config, ConfigErrorKind, CreationRule};

use super::sops_recipients::{list, missing_from};
use pairs::{Pairs, narrowed};

pub(in crate::check) use gone::gone;

pub(super) static RULE: Rule = Rule {
    id: "SOPS012",
    severity: Severity::Warning,
    title: "the creation rules protect less than before",
    explanation: "A change of .sops.yaml is small and has great effect: a rule that is gone, or whose pattern no longer \
        matches an encrypted file, lets the next edit of that file into the repository in clear; a recipient more can \
        read every file that is encrypted from now on; fewer key groups are needed than before; a selector leaves \
        values in clear that were encrypted. None of this is wrong by itself, so it is a warning, with what it \
        means.\n\n\
        A new .sops.yaml is held against the one above it, whose place it takes, and one that is taken away is told if \
        encrypted files are left that no rule matches.\n\n\
        It is an error if .sops.yaml cannot be read, or a pattern in it does not compile: then it protects nothing, \
        and no file can be held against it.\n\n\
        To mend it, take the change back, or review it as you would review who gets a key.",
    needles: Needles::ANY_FILE,
    check: Check::File(check),
};

fn check(file: &File<'_>, context: &Context<'_>, found: &mut Findings) {
    if file.name() != NAME {
        return;
    }
    let mut policy = Told { file, found };
    let new = match parse(file.text().as_bytes()) {
        Ok(config) => config,
        Err(error) => {
            let message = format!("the configuration of sops cannot be read: {}", what(&error.kind));
            return policy.tell(error.line, message, Severity::Error);
        }
    };
    for error in new.errors() {
        let is_pattern = matches!(error.kind, ConfigErrorKind::Pattern { .. });
        let severity = if is_pattern { Severity::Error } else { Severity::Warning };
        policy.tell(error.line, format!("a rule cannot be read: {}", what(&error.kind)), severity);
    }
    for warning in new.warnings() {
        // The line is where the finding is.
        let text = warning.to_string();
        let message = text.split_once(": ").map_or(text.as_str(), |(_, message)| message);
        policy.tell(warning.line, message.to_owned(), Severity::Warning);
    }
    // A policy that could not be read protected nothing.
    match file.old() {
        Some(old) => {
            if let Ok(old) = parse(old.text().as_bytes()) {
                changes(file.path(), &old, &new, context, &mut policy);
            }
        }
        None => shadows(&new, context, &mut policy),
    }
}

/// Returns what is wrong with a policy, without what is written there: somebody may have put a key in the wrong place.
fn what(kind: &ConfigErrorKind) -> String {
    match kind {
        ConfigErrorKind::Key { field, .. } => format!("what {field} names is none of its keys"),
        ConfigErrorKind::Pattern { field, error } => {
            format!("the pattern of {field} does not compile: {}", error.reason)
        }
        ConfigErrorKind::Selector(SelectorError::Pattern { field, .. }) => {
            format!("the pattern of {field} does not compile")
        }
        _ => kind.to_string(),
    }
}

/// Where findings about a policy go.
struct Told<'t, 'f> {
    file: &'t File<'f>,
    found: &'t mut Findings,
}

impl Told<'_, '_> {
    fn tell(&mut self, line: usize, message: String, severity: Severity) {
        let line = self.file.line(line.clamp(1, self.file.line_count().max(1)));
        let text = self.file.text().get(line.clone()).unwrap_or_default();
        let indent = text.len() - text.trim_start().len();
        let span = line.start + indent..line.start + text.trim_end().len().max(indent);
        let remedy = match severity {
            Severity::Error => "correct the line",
            _ => "take the change back, or have it reviewed by whoever answers for the secrets",
        };
        self.found.add(Finding::new(&RULE, self.file, span, message).severity(severity).remedy(remedy));
    }
}

/// Tells in which ways a new policy protects less than the one above it, which it takes the place of.
fn shadows(new: &Config, context: &Context<'_>, policy: &mut Told<'_, '_>) {
    let Some((folder, _)) = policy.file.path().rsplit_once('/') else { return };
    let Some(above) = context.policies.of(folder) else { return };
    if let Ok(old) = &above.config {
        changes(&above.path, old, new, context, policy);
    }
}

/// Tells in which ways a policy protects less than another one that it takes the place of.
fn changes(from: &str, old: &Config, new: &Config, context: &Context<'_>, policy: &mut Told<'_, '_>) {
    let pairs = Pairs::of((from, old), (policy.file.path(), new), context);
    if !pairs.unmatched.is_empty() {
        let files = shown(&pairs.unmatched);
        let message = format!("no rule matches these encrypted files any more: {files}");
        policy.tell(1, message, Severity::Warning);
    }
    for rule in &pairs.gone {
        let pattern = rule.path_regex.as_deref().unwrap_or("all files");
        policy.tell(1, format!("the creation rule for {pattern} is gone"), Severity::Warning);
    }
    for (before, after, files) in &pairs.both {
        weaker(before, after)
            .into_iter()
            .for_each(|message| policy.tell(after.line, message, Severity::Warning));
        if let Some(what) = narrowed(before, after, files, context) {
            let message = format!("the rule leaves in clear what was encrypted before: {what}");
            policy.tell(after.line, message, Severity::Warning);
        }
    }
}

/// Returns in which ways a rule lets more people read, or change, than another.
fn weaker(before: &CreationRule, after: &CreationRule) -> Vec<String> {
    let all = |rule: &CreationRule| KeyGroup(rule.groups.iter().flat_map(|group| group.0.clone()).collect());
    let (old, new) = (all(before), all(after));
    let mut told = Vec::new();
    let added: Vec<&MasterKey> = missing_from(&new, &old);
    if !added.is_empty() && !before.is_without_keys() {
        told.push(format!("these recipients can read what is encrypted from now on: {}", list(&added)));
    }
    if after.is_without_keys() && !before.is_without_keys() {
        told.push("the rule has no recipients any more, so that nothing can be encrypted by it".to_owned());
    }
    let required = |rule: &CreationRule| rule.shamir_threshold.map_or(rule.groups.len(), usize::from);
    if required(after) < required(before) {
        told.push(format!(
            "{} key groups decrypt what is encrypted from now on, and it took {} before",
            required(after),
            required(before)
        ));
    }
    if after.mac_only_encrypted && !before.mac_only_encrypted {
        told.push("the MAC covers encrypted values only: those in clear can be changed unnoticed".to_owned());
    }
    told
}

/// Returns some paths for people.
fn shown(paths: &[String]) -> String {
    let mut shown = paths.iter().take(MAX_SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if paths.len() > MAX_SHOWN {
        shown.push_str(&format!(" and {} more", paths.len() - MAX_SHOWN));
    }
    shown
}

/// How many paths a message names at most.
const MAX_SHOWN: usize = 5;

#[cfg(test)]
mod tests {
    use crate::check::sops_file::tests::{RECIPIENT, encrypted};
    use crate::check::test_kit::Repository;
    use crate::format::Format;

    const OTHER: &str = "age1lzd99uklcjnc0e7d860axevet2cz99ce9pq6tzuzd05l5nr28ams36nvun";

    fn found(old: &str, new: &str) -> Vec<String> {
        let source = "kind: Secret\ndata: {a: b}\nstringData: {c: d}\n";
        let text = encrypted(Format::Yaml, source, "encrypted_regex=^(data|stringData)$");
        let repository = Repository::default()
            .with("x/.sops.yaml", new)
            .with("x/secrets/a.yaml", &text)
            .with_old("x/secrets/a.yaml", &text)
            .with("x/secrets/plain.txt", "a")
            .with_old("x/secrets/plain.txt", "a");
        let repository = if old.is_empty() { repository } else { repository.with_old("x/.sops.yaml", old) };
        let found = repository.check().into_iter().filter(|finding| finding.rule.id == "SOPS012");
        found
            .map(|finding| format!("{} {} {}", finding.severity.name(), finding.start.line, finding.message))
            .collect()
    }

    fn policy(path: &str, rest: &str) -> String {
        format!("creation_rules:\n- path_regex: {path}\n  {rest}\n")
    }

    #[test]
    fn weaker_rules_are_found() {
        let age = format!("age: {RECIPIENT}");
        let old = policy("secrets/", &format!("{age}\n  encrypted_regex: ^(data|stringData)$"));
        for (new, wanted) in [
            (
                policy("secret/", &age),
                "warning 1 no rule matches these encrypted files any more: x/secrets/a.yaml",
            ),
            ("creation_rules: []\n".to_owned(), "warning 1 no rule matches"),
            (old.replace("|stringData", ""), "warning 2 the rule leaves in clear"),
            (old.replace(RECIPIENT, &format!("{RECIPIENT},{OTHER}")), "warning 2 these recipients can read"),
            (format!("{old}  mac_only_encrypted: true\n"), "warning 2 the MAC covers"),
            (old.replace(&age, "pgp: ''"), "warning 2 the rule has no recipients"),
        ] {
            let found = found(&old, &new);
            assert_eq!(found.len(), 1, "{new} {found:?}");
            assert!(found[0].starts_with(wanted), "{new} {found:?}");
        }
        let groups = |threshold: usize| {
            let keys = format!(
                "key_groups:\n  - age: [{RECIPIENT}]\n  - age: [{OTHER}]\n  shamir_threshold: {threshold}"
            );
            policy("secrets/", &keys)
        };
        assert_eq!(found(&groups(2), &groups(1)).len(), 1);
        assert_eq!(found(&groups(1), &groups(2)), [""; 0]);
        let two = format!("{old}- path_regex: other\n  {age}\n");
        assert_eq!(found(&two, &old), ["warning 1 the creation rule for other is gone"]);
    }

    #[test]
    fn a_policy_that_takes_the_place_of_another_is_compared_with_it() {
        let text = encrypted(Format::Yaml, "a: b\n", "");
        let told = |new: &str| {
            let found = Repository::default()
                .with(".sops.yaml", policy("^x/.*", &format!("age: {RECIPIENT}")))
                .with_old(".sops.yaml", policy("^x/.*", &format!("age: {RECIPIENT}")))
                .with("x/a.yaml", &text)
                .with_old("x/a.yaml", &text)
                .with("x/.sops.yaml", new)
                .check();
            let found = found.into_iter().filter(|finding| finding.rule.id == "SOPS012");
            found.map(|finding| finding.message).collect::<Vec<_>>()
        };
        assert_eq!(
            told("creation_rules: []\n"),
            ["no rule matches these encrypted files any more: x/a.yaml"]
        );
        assert_eq!(told(&policy("^a", &format!("age: {RECIPIENT}"))), [""; 0]);
    }

    #[test]
    fn what_cannot_be_read_is_found() {
        assert!(found("", "creation_rules: [\n")[0].starts_with("error"));
        assert!(found("", "creation_rules: 1\n")[0].starts_with("error"));
        assert!(found("", "creation_rules:\n- path_regex: '('\n  age: x\n")[0].starts_with("error 2"));
    }

    #[test]
    fn nothing_that_is_written_there_is_told() {
        for new in [
            "creation_rules:\n- age: horse\n",
            "creation_rules:\n- hc_vault_transit_uri: horse\n",
            "creation_rules:\n- key_groups:\n  - age: [horse]\n",
            "creation_rules:\n- path_regex: '(horse'\n",
            "creation_rules:\n- encrypted_regex: '(horse'\n",
            "creation_rules: \"horse\n",
            "creation_rules: [{path_regex: horse}, {shamir_threshold: horse}]\n",
        ] {
            let told = found("", new);
            assert!(!told.join("").contains("horse"), "{new} {told:?}");
        }
    }

    #[test]
    fn other_changes_are_clean() {
        let age = format!("age: {RECIPIENT}");
        let old = policy("secrets/", &format!("{age}\n  encrypted_regex: ^(data|stringData)$"));
        for new in [
            old.clone(),
            format!("# note\n{old}"),
            old.replace("secrets/", "secrets/.*"),
            old.replace("^(data|stringData)$", "^(data|stringData|more)$"),
            old.replace("encrypted_regex: ^(data|stringData)$", "unencrypted_suffix: _clear"),
            format!("{old}- path_regex: other\n  {age}\n"),
        ] {
            assert_eq!(found(&old, &new), [""; 0], "{new}");
            assert_eq!(found("", &new), [""; 0], "{new}");
        }
    }
}
