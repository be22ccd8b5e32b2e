//! What people can do about keys that failed: what the services say, and where they say nothing, what is done about
//! such failures in general.

use std::borrow::Cow;

use selkie::keys::{Cause, KeyError, MasterKey};
use selkie::sops::{KeyFailure, RecoverError};

use crate::failure::identity_reports;

/// Returns what people can do when no data key is recovered, if there is something to say.
pub(super) fn of_recovery(error: &RecoverError) -> Option<String> {
    let failures = || error.groups.iter().flat_map(|group| &group.failures);
    let mut remedies = of_keys(failures());
    let has_age =
        identity_reports(error).next().is_some() || failures().any(|failure| failure.key.kind().name == AGE);
    if has_age {
        remedies.push(identity_hint(error).into());
        return Some(remedies.join("; or "));
    }
    (!remedies.is_empty()).then(|| remedies.join("; "))
}

/// Returns what people can do about keys that failed, each thing once.
pub(super) fn of_keys<'a>(failures: impl IntoIterator<Item = &'a KeyFailure>) -> Vec<Cow<'a, str>> {
    let mut remedies = Vec::new();
    for failure in failures {
        for (_, cause) in &failure.causes {
            let own = cause.remedy().map(Cow::from);
            let remedy = own.or_else(|| in_general(&failure.key, cause).map(Cow::from));
            if let Some(remedy) = remedy.filter(|remedy| !remedies.contains(remedy)) {
                remedies.push(remedy);
            }
        }
    }
    remedies
}

/// Returns what people can do about a failure whose service does not say.
fn in_general(key: &MasterKey, error: &KeyError) -> Option<&'static str> {
    let cause = match error {
        KeyError::Malformed(_) => Cause::Ciphertext,
        KeyError::Parse(_) => Cause::Key,
        KeyError::Service(error) => error.cause,
        _ => return None,
    };
    match cause {
        Cause::Ciphertext if key.kind().name == KMS => Some(
            "see with `git log -p FILE` whether the data key (`enc`) or the encryption context (`context`) of the \
             key was changed",
        ),
        Cause::Ciphertext => {
            Some("see with `git log -p FILE` whether the data key (`enc`) of the key was changed")
        }
        Cause::Answer => Some(
            "see what listens at the address: variables that name an endpoint or a proxy may lead elsewhere",
        ),
        Cause::Key => Some("check the name of the key in the file and in .sops.yaml"),
        _ => None,
    }
}

fn identity_hint(error: &RecoverError) -> &'static str {
    let mut reports = identity_reports(error).peekable();
    if identity_reports(error).any(|report| !report.problems.is_empty()) {
        "mend what is said of the identities above, or name others with --identity FILE or \
         SOPS_AGE_KEY_FILE"
    } else if reports.peek().is_some() && reports.all(|report| report.tried.is_empty()) {
        "no identity was found: set SOPS_AGE_KEY_FILE, or pass --identity FILE"
    } else {
        "set SOPS_AGE_KEY_FILE, or pass --identity FILE; or ask someone who can read the file to add \
         your recipient to .sops.yaml and run `kubectl seal updatekeys`"
    }
}

const AGE: &str = "age";
const KMS: &str = "kms";

#[cfg(test)]
mod tests {
    use selkie::keys::{IdentityReport, KeyKind, ServiceError};
    use selkie::sops::GroupReport;

    use super::*;

    const RECIPIENT: &str = "age1lzd99uklcjnc0e7d860axevet2cz99ce9pq6tzuzd05l5nr28ams36nvun";
    const ARN: &str = "arn:aws:kms:us-west-2:1:key/a";

    fn failure(kind: &str, key: &str, cause: Option<KeyError>) -> KeyFailure {
        let kind = KeyKind::from_name(kind).expect("a kind");
        let key = MasterKey::parse_list(kind, key).expect("a key").remove(0);
        KeyFailure { key, causes: cause.into_iter().map(|cause| ("here".to_owned(), cause)).collect() }
    }

    fn hint(failures: Vec<KeyFailure>) -> Option<String> {
        let groups = vec![GroupReport { recovered: false, failures }];
        of_recovery(&RecoverError { recovered: 0, required: 1, groups, combining: None })
    }

    #[test]
    fn identities_are_asked_for_only_where_a_key_needs_one() {
        let without_remedy = |cause| Some(ServiceError::new(cause, "no").into());
        assert_eq!(hint(vec![failure("pgp", "F", without_remedy(Cause::Other))]), None);
        assert_eq!(hint(vec![failure("kms", ARN, None)]), None);
        let of_age = hint(vec![failure("age", RECIPIENT, None)]).expect("a hint");
        assert!(of_age.contains("--identity FILE"), "{of_age}");
        let report = IdentityReport { tried: vec!["k".to_owned()], ..IdentityReport::default() };
        let of_both = hint(vec![
            failure("pgp", "F", Some(ServiceError::new(Cause::Denied, "no").with_remedy("ask").into())),
            failure("age", RECIPIENT, Some(KeyError::NoIdentity(Box::new(report)))),
        ]);
        assert!(of_both.is_some_and(|hint| hint.starts_with("ask; or set SOPS_AGE_KEY_FILE")));
    }

    #[test]
    fn what_a_service_leaves_out_is_said_by_the_kind_of_failure() {
        let of = |kind, key, cause| {
            hint(vec![failure(kind, key, Some(ServiceError::new(cause, "no").into()))]).unwrap_or_default()
        };
        assert!(of("kms", ARN, Cause::Ciphertext).contains("encryption context"));
        assert!(!of("pgp", "F", Cause::Ciphertext).contains("encryption context"));
        assert!(of("pgp", "F", Cause::Ciphertext).contains("git log -p FILE"));
        assert!(of("kms", ARN, Cause::Answer).contains("listens at the address"));
        assert!(of("kms", ARN, Cause::Key).contains("name of the key"));
        assert_eq!(of("kms", ARN, Cause::Other), "");
    }

    #[test]
    fn what_a_service_says_comes_first_and_once() {
        let error = ServiceError::new(Cause::Ciphertext, "no").with_remedy("do this");
        let failures = ["A", "B"].map(|key| failure("pgp", key, Some(error.clone().into())));
        assert_eq!(hint(failures.into()).as_deref(), Some("do this"));
    }
}
