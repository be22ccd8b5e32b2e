//! What became of each key, as sops tells it when none recovers the data key.

use std::fmt::Write;

use selkie::keys::{IdentityReport, KeyError};
use selkie::sops::{GroupReport, KeyFailure, RecoverError, WrapError};

/// Returns the report on a data key that could not be recovered.
pub(super) fn of_recovery(error: &RecoverError, threshold: usize) -> String {
    let groups: Vec<_> = error.groups.iter().enumerate().map(|(at, group)| of_group(at, group)).collect();
    let reason = match (&error.combining, threshold) {
        (Some(error), _) => format!("Recovery failed because the parts do not fit together: {error}."),
        (None, 0) => "Recovery failed because no master key was able to decrypt the file. At least one \
                      key has to succeed."
            .to_owned(),
        (None, _) => format!(
            "Recovery failed because the file was encrypted with a Shamir threshold of {threshold}, but \
             only {} part(s) were recovered. Of each group that counts, one key has to succeed.",
            error.recovered
        ),
    };
    format!(
        "Failed to get the data key required to decrypt the SOPS file.\n\n{}\n\n{}",
        groups.join("\n\n"),
        wrap(&reason, 75)
    )
}

/// Returns why a data key could not be wrapped, as a list.
pub(super) fn of_wrapping(error: &WrapError) -> String {
    let WrapError::Keys(failures) = error else { return format!("[{error}]") };
    let of_key = |failure: &KeyFailure| {
        let causes = causes(failure).join("; ");
        format!("failed to encrypt new data key with master key {:?}: {causes}", failure.key.to_string())
    };
    format!("[{}]", failures.iter().map(of_key).collect::<Vec<_>>().join(" "))
}

fn of_group(index: usize, group: &GroupReport) -> String {
    if group.recovered {
        return format!("Group {index}: SUCCESS");
    }
    let keys: Vec<_> = group.failures.iter().map(of_key).collect();
    format!("Group {index}: FAILED\n{}", prefix(&keys.join("\n\n"), "  "))
}

fn of_key(failure: &KeyFailure) -> String {
    let mut text = format!("{}: FAILED\n", failure.key);
    // The first line of a cause has a dash in front of the bar.
    let of_cause = |cause: &String| prefix(&wrap(cause, 60), "  | ").replacen("  |", "- |", 1);
    let causes: Vec<_> = causes(failure).iter().map(of_cause).collect();
    // Writing to a string does not fail.
    let _ = write!(text, "{}", prefix(&causes.join("\n\n"), "  "));
    text
}

fn causes(failure: &KeyFailure) -> Vec<String> {
    if failure.causes.is_empty() {
        return vec![format!("no key service handles {} keys", failure.key.kind().name)];
    }
    failure.causes.iter().map(|(_, error)| of_error(error)).collect()
}

fn of_error(error: &KeyError) -> String {
    match error {
        KeyError::NoIdentity(report) if report.tried.is_empty() => {
            of_identities("failed to load age identities", report)
        }
        KeyError::NoIdentity(report) => of_identities("no identity matched any of the recipients", report),
        KeyError::IdentityFailed(report) => of_identities("an identity could not be used", report),
        error => match error.remedy() {
            Some(remedy) => format!("{error}\nWhat may help: {remedy}"),
            None => error.to_string(),
        },
    }
}

/// Returns where identities were looked for, and what came of it.
fn of_identities(what: &str, report: &IdentityReport) -> String {
    let mut text = format!("{what}.");
    if !report.problems.is_empty() {
        let problems: Vec<_> = report.problems.iter().map(ToString::to_string).collect();
        text += &format!(" Errors while loading age identities: {}.", problems.join("; "));
    }
    if !report.tried.is_empty() {
        text += &format!(" Tried the identities of {}.", list(&report.tried));
    }
    if !report.empty.is_empty() {
        text += &format!(" Did not find keys in locations {}.", list(&report.empty));
    }
    text
}

fn list(names: &[String]) -> String {
    names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ")
}

/// Puts `front` in front of every line.
fn prefix(text: &str, front: &str) -> String {
    text.split('\n').map(|line| format!("{front}{line}")).collect::<Vec<_>>().join("\n")
}

/// Breaks lines at blanks so that they are no longer than `width`, unless a word is.
pub(super) fn wrap(text: &str, width: usize) -> String {
    text.split('\n').map(|line| wrap_line(line, width)).collect::<Vec<_>>().join("\n")
}

fn wrap_line(line: &str, width: usize) -> String {
    let mut wrapped = String::new();
    let mut length = 0;
    for word in line.split(' ') {
        let word_length = word.chars().count();
        if length > 0 && length + 1 + word_length > width {
            wrapped.push('\n');
            length = 0;
        } else if length > 0 {
            wrapped.push(' ');
            length += 1;
        }
        wrapped.push_str(word);
        length += word_length;
    }
    wrapped
}

#[cfg(test)]
mod tests {
    use selkie::keys::{Cause, IdentityProblem, KeyKind, MasterKey, ServiceError};

    use super::*;

    fn failure(recipient: &str, causes: &[&str]) -> KeyFailure {
        let kind = KeyKind::from_name("pgp").expect("pgp is a kind");
        let key = MasterKey::parse_list(kind, recipient).expect("a recipient").remove(0);
        let cause = |text: &&str| ("local".to_owned(), ServiceError::new(Cause::Other, *text).into());
        KeyFailure { key, causes: causes.iter().map(cause).collect() }
    }

    #[test]
    fn report_has_a_block_for_each_group_and_key() {
        let long = "no identity matched any of the recipients of the file that was to be opened";
        let groups = vec![
            GroupReport { recovered: true, failures: Vec::new() },
            GroupReport {
                recovered: false,
                failures: vec![failure("A", &[long, "second"]), failure("B", &["third"])],
            },
        ];
        let error = RecoverError { recovered: 1, required: 2, groups, combining: None };
        assert_eq!(
            of_recovery(&error, 2),
            "Failed to get the data key required to decrypt the SOPS file.\n\
             \n\
             Group 0: SUCCESS\n\
             \n\
             Group 1: FAILED\n  \
               A: FAILED\n    \
                 - | no identity matched any of the recipients of the file that\n      \
                   | was to be opened\n    \
             \n    \
                 - | second\n  \
             \n  \
               B: FAILED\n    \
                 - | third\n\
             \n\
             Recovery failed because the file was encrypted with a Shamir threshold of\n\
             2, but only 1 part(s) were recovered. Of each group that counts, one key\n\
             has to succeed."
        );
    }

    #[test]
    fn report_tells_where_identities_were_looked_for() {
        let problem = IdentityProblem { location: "SOPS_AGE_KEY".into(), problem: "no key".into() };
        let mut report = IdentityReport {
            problems: vec![problem],
            tried: Vec::new(),
            empty: vec!["a".into(), "b".into()],
            unasked: Vec::new(),
        };
        assert_eq!(
            of_error(&KeyError::NoIdentity(Box::new(report.clone()))),
            "failed to load age identities. Errors while loading age identities: SOPS_AGE_KEY: no key. \
             Did not find keys in locations 'a', 'b'."
        );
        report.tried.push("keys.txt".into());
        let text = of_error(&KeyError::NoIdentity(Box::new(report)));
        assert!(text.starts_with("no identity matched any of the recipients. "), "{text}");
        assert!(text.contains("Tried the identities of 'keys.txt'."), "{text}");
    }

    #[test]
    fn what_may_help_is_a_line_of_its_own() {
        let error =
            ServiceError::new(Cause::Unreachable, "there is no program gpg").with_remedy("install GnuPG");
        assert_eq!(of_error(&error.into()), "there is no program gpg\nWhat may help: install GnuPG");
    }

    #[test]
    fn failures_to_wrap_are_a_list() {
        let error = WrapError::Keys(vec![failure("A", &["no"]), failure("B", &[])]);
        assert_eq!(
            of_wrapping(&error),
            "[failed to encrypt new data key with master key \"A\": no \
             failed to encrypt new data key with master key \"B\": no key service handles pgp keys]"
        );
        assert_eq!(of_wrapping(&WrapError::EmptyGroup), "[empty key group provided]");
    }

    #[test]
    fn words_are_not_broken() {
        assert_eq!(wrap("aa bb cccccc d", 5), "aa bb\ncccccc\nd");
        assert_eq!(wrap("aa\nbb", 5), "aa\nbb");
    }
}
