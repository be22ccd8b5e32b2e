//! What may help after a failure, with the command or flag to use.

mod remedies;

use std::collections::BTreeMap;

use selkie::format::{ParseErrorKind, WriteError};
use selkie::scheme::SchemeError;
use selkie::sealed::{
    BackupError, BackupProblem, BackupProblemKind, CertError, SealedFileError, SealingError, SealingKeyError,
    SecretFileError, UnsealError, ValueError,
};
use selkie::sops::config::ConfigErrorKind;
use selkie::sops::{MetadataError, OpenError, SealError, SelectorError, WrapError};

use crate::cluster::{Asked, ClusterError};
use crate::config_file::ConfigFileError;
use crate::editor::EditError;
use crate::failure::Failure;
use crate::files;
use crate::json_value::JsonValueError;
use crate::key_server::KeyServerError;

/// Returns what the user can do about a failure, if there is something to say.
#[must_use]
pub fn hint(failure: &Failure) -> Option<String> {
    let hint = match failure {
        Failure::AlreadyEncrypted | Failure::Seal(SealError::AlreadyEncrypted) => {
            "change it with `kubectl seal edit` or `set`; bring in an edited plaintext copy with \
             `kubectl seal encrypt COPY --output FILE`; for new keys, see `kubectl seal updatekeys`"
        }
        Failure::Audit(_) => {
            "nothing was encrypted or decrypted: the administrator of this machine turned the log on in \
             /etc/sops/audit.yaml, and has to see to it that it can be written"
        }
        Failure::Backup { error: BackupError::Mixed, .. } => {
            "put keys in PEM and key Secrets into files of their own"
        }
        Failure::Backup { .. } => {
            "a file with keys is PEM, or what `kubectl seal keys backup` writes, or \
             `kubectl get secret -n kube-system -l sealedsecrets.bitnami.com/sealed-secrets-key -o yaml`"
        }
        Failure::Base { source, .. } => return self::hint(source),
        Failure::Certificate { error, .. } => return cert_hint(error),
        Failure::Cluster(error) => return cluster_hint(error),
        Failure::Config(error) => return config_hint(error),
        Failure::Edit(error) => return edit_hint(error),
        Failure::InClear { .. } => {
            "choose a path that the rule selects, or pass --in-clear if everyone may read the value"
        }
        Failure::MergeConflict(_) => {
            "`kubectl seal resolve FILE` merges both sides, or shows what is to be decided; encrypted values cannot be \
             merged by hand"
        }
        Failure::Merging(error) => return error.hint(),
        Failure::Metadata(error) => return metadata_hint(error),
        Failure::Conversion(_) => "choose another --output-type",
        Failure::Io { source, .. } if files::is_changed(source) => {
            "nothing was overwritten: look at what is there now, and run this again"
        }
        Failure::Document(_) => {
            "name the document with --document N; `kubectl seal explain FILE` shows their numbers"
        }
        Failure::Json(JsonValueError::Integer) => "put the number in quotes",
        Failure::Json(JsonValueError::Malformed { .. }) => "a text goes without --json",
        Failure::KeyServer(error) => return key_server_hint(error),
        Failure::LockedOut => {
            "keep a recipient of yours, in the rule if that names the keys, or pass --lock-out if that is meant"
        }
        Failure::LockOutUnknown(error) => {
            let rest = "pass --lock-out to go on without this check";
            let remedies = remedies::of_recovery(error).map(|remedies| format!("{remedies}; or "));
            return Some(remedies.unwrap_or_default() + rest);
        }
        Failure::Misspelled { .. } => "sops passes over such a field; correct it, or take it out",
        Failure::NoConfig => {
            "run `kubectl seal init` in the root of the repository, or name keys, such as --age age1…"
        }
        Failure::NoKeys { .. } => "add `age: age1…` to the rule, or name keys, such as --age age1…",
        Failure::NoRule { file, .. } if file.is_empty() => {
            "pass --filename NAME, for its rule and its format"
        }
        Failure::NoRule { .. } => {
            "add a rule with a path_regex that matches, or name keys, such as --age age1…; \
             `kubectl seal explain FILE` shows how rules apply"
        }
        Failure::NoRules(_) => {
            "add creation_rules, such as `kubectl seal init` makes in another folder, or name keys, such as \
             --age age1…"
        }
        Failure::NoSealingKeys => {
            "pass --sealing-key FILE, set SEALED_SECRETS_RECOVERY_PRIVATE_KEY to one, or pass --from-cluster if you \
             may read the keys of the cluster"
        }
        Failure::NotFound(_) => "`kubectl seal explain FILE` lists the paths of a file",
        Failure::Open(error) => return open_hint(error),
        Failure::Parse(error) => return parse_hint(&error.kind),
        Failure::Path { .. } => r#"write data.password, items[0].name or data["tls.crt"]"#,
        Failure::Publish(error) => return error.hint(),
        Failure::Recover(error) => return remedies::of_recovery(error),
        Failure::Scheme(error) => return scheme_hint(error),
        Failure::NoSecret => "only Secrets are sealed: `kubectl seal encrypt` encrypts other files",
        Failure::Seal(error) => return seal_hint(error),
        Failure::SealedSecret => {
            "see values with `kubectl seal view` or `unseal`, change them with `merge` or `edit`, and seal them for \
             another certificate with `reseal`"
        }
        Failure::Sealing(error) => return sealing_hint(error),
        Failure::SecretFile(error) => return secret_file_hint(error),
        Failure::Selector(error) => return selector_hint(error),
        Failure::Unnamed => "pass --filename NAME, or --input-type FORMAT",
        Failure::Unsealable { what, .. } if *what == crate::commands::LOCKED => {
            "name the key that they were sealed with, or let the controller do it with --by-controller"
        }
        Failure::Unsealable { .. } => "`kubectl seal reseal` without --check seals them",
        Failure::Unseal { error: UnsealError::Deprecated, .. } => {
            "pass --deprecated-data to unseal it all the same"
        }
        Failure::Unseal { error: UnsealError::Values(errors), .. } if templates_of(errors).is_some() => {
            return templates_of(errors).map(|keys| {
                format!(
                    "the values open, but not every template can be filled in with them: correct {keys} in \
                     spec.template.data"
                )
            });
        }
        Failure::Unseal { .. } => {
            "`kubectl seal validate --sealing-key KEYS FILE` finds out for which name, namespace and scope it was \
             sealed"
        }
        Failure::UnusableKeys { problems, .. } => return keys_hint(problems),
        Failure::Usage(_) => "see the examples of `--help`",
        Failure::Wrap(error) => return wrap_hint(error),
        Failure::Write(WriteError::ReservedKey(_)) => RESERVED,
        Failure::Write(WriteError::Unsupported { format: "ini", what }) if what.contains("section") => {
            "a key above all sections is one of DEFAULT: write DEFAULT.KEY"
        }
        Failure::Check(_)
        | Failure::Exec(_)
        | Failure::Fetch { .. }
        | Failure::Io { .. }
        | Failure::Json(_)
        | Failure::Key(_)
        | Failure::NoFile(_)
        | Failure::NotModified
        | Failure::Place { .. }
        | Failure::Refused
        | Failure::Value(_)
        | Failure::Write(_) => return None,
    };
    Some(hint.to_owned())
}

/// Returns the keys of the templates that fail, if nothing else does.
fn templates_of(errors: &BTreeMap<String, ValueError>) -> Option<String> {
    let is_template = |error: &ValueError| matches!(error, ValueError::Template(_));
    errors.values().all(is_template).then(|| {
        let keys: Vec<_> = errors.keys().map(String::as_str).collect();
        crate::report::escape(&keys.join(", "))
    })
}

fn cert_hint(error: &CertError) -> Option<String> {
    let hint = match error {
        CertError::Expired(_) => {
            "fetch the one in use with `kubectl seal cert --refresh`; the controller makes a new one every 30 days"
        }
        CertError::PublicKey | CertError::Missing | CertError::Malformed => {
            "`kubectl seal cert --output cert.pem` writes the certificate of the cluster"
        }
        _ => return None,
    };
    Some(hint.to_owned())
}

fn keys_hint(problems: &[BackupProblem]) -> Option<String> {
    let is = |wanted: fn(&SealingKeyError) -> bool| {
        problems.iter().any(|problem| matches!(&problem.kind, BackupProblemKind::Key(error) if wanted(error)))
    };
    let hint = if is(|error| matches!(error, SealingKeyError::Size(bits) if *bits < 2048)) {
        "pass --small-keys to use the key all the same, on a machine where nobody measures how long it takes"
    } else if is(|error| *error == SealingKeyError::Encrypted) {
        "take the passphrase off with `openssl pkey -in FILE -out KEY`, and encrypt that file with \
         `kubectl seal encrypt -i KEY`: such a file is read as well"
    } else if problems.iter().all(|problem| problem.kind == BackupProblemKind::Stray) {
        "a certificate only seals: to open values, name the private key that belongs to it"
    } else {
        return None;
    };
    Some(hint.to_owned())
}

fn cluster_hint(error: &ClusterError) -> Option<String> {
    let hint = match error {
        ClusterError::Controller { proxy, .. } => {
            let of_proxy = match &**proxy {
                ClusterError::Forbidden { asked, .. } => grant_hint(asked),
                _ => "see whether its Pod is ready with `kubectl get pods`".to_owned(),
            };
            return Some(format!("{of_proxy}; or take a certificate from a file with --cert FILE"));
        }
        ClusterError::Forbidden { asked, .. } => return Some(grant_hint(asked)),
        ClusterError::NoConfiguration => {
            "set KUBECONFIG, or pass --kubeconfig FILE; what is sealed with --cert FILE needs no cluster"
        }
        ClusterError::NoEntry { known, .. } if known.is_empty() => {
            "set KUBECONFIG, or pass --kubeconfig FILE, to read another configuration"
        }
        ClusterError::NoEntry { known, .. } => return Some(format!("there are: {}", known.join(", "))),
        ClusterError::NotFound { asked, .. } if asked.resource == "services" => {
            "name the Service of the controller with --controller-name and --controller-namespace; \
             `kubectl get services --all-namespaces` lists all"
        }
        ClusterError::NotFound { asked, .. } if asked.resource == "sealedsecrets.bitnami.com" => {
            "the definition of SealedSecret is not installed in this cluster"
        }
        ClusterError::RateLimited { .. } => "wait a little, and run this again",
        ClusterError::TimedOut { .. } => "allow more time with --request-timeout, such as 2m",
        ClusterError::Unauthorized { .. } => "log in again, or choose another one with --context or --user",
        ClusterError::Unreachable { .. } => {
            "see whether `kubectl version` answers; choose a cluster with --context"
        }
        _ => return None,
    };
    Some(hint.to_owned())
}

/// Returns how an administrator allows what was forbidden.
fn grant_hint(asked: &Asked) -> String {
    let (verb, resource) = (asked.verb, asked.resource);
    let (kind, place) = match &asked.namespace {
        Some(namespace) => ("role", format!(" --namespace={namespace}")),
        None => ("clusterrole", String::new()),
    };
    // A name cannot be asked for before it is there.
    let name = asked.name.as_ref().filter(|_| verb != "create" || resource.contains('/'));
    let name = name.map(|name| format!(" --resource-name={name}")).unwrap_or_default();
    format!(
        "ask an administrator for `kubectl create {kind} NAME --verb={verb} --resource={resource}{name}{place}`, bound to you"
    )
}

fn config_hint(error: &ConfigFileError) -> Option<String> {
    let ConfigFileError::Invalid { error, .. } = error else {
        return Some("name another one with --config or SOPS_CONFIG".to_owned());
    };
    match &error.kind {
        ConfigErrorKind::Pattern { .. } => Some(PATTERN.to_owned()),
        ConfigErrorKind::Selector(error) => selector_hint(error),
        ConfigErrorKind::Key { .. } => {
            Some("a recipient of age starts with age1 or ssh-; `kubectl seal init` shows yours".to_owned())
        }
        _ => None,
    }
}

fn edit_hint(error: &EditError) -> Option<String> {
    match error {
        EditError::Malformed(_) | EditError::Missing | EditError::Start(_) => {
            Some("set SOPS_EDITOR or EDITOR to the command that starts your editor".to_owned())
        }
        _ => None,
    }
}

fn scheme_hint(error: &SchemeError) -> Option<String> {
    let hint = match error {
        SchemeError::NoCert => {
            "name the certificate of the cluster with --cert; `kubectl seal cert` fetches it"
        }
        SchemeError::Sealed(error) => match error {
            SealedFileError::Both { .. } => {
                "delete the encryptedData, or put the new values into stringData alone"
            }
            SealedFileError::Item { .. } => {
                "`kubectl seal explain FILE` tells the key, name, namespace and scope that a value was sealed for, \
                 as far as the keys at hand can tell"
            }
            SealedFileError::Seal { source, .. } => return sealing_hint(source),
            SealedFileError::Leak { .. } => {
                "put values below spec.stringData of a SealedSecret, or seal a Secret with `kubectl seal seal`"
            }
            SealedFileError::Missing => "make one with `kubectl seal seal SECRET`",
            _ => return None,
        },
        _ => return None,
    };
    Some(hint.to_owned())
}

fn key_server_hint(error: &KeyServerError) -> Option<String> {
    let hint = match error {
        KeyServerError::Exposed(_) => {
            "listen at a Unix socket, or pass --insecure-network if the network is yours alone"
        }
        KeyServerError::InUse(_) => "use the one that is there, or listen elsewhere with --listen",
        KeyServerError::NotASocket(_) => "remove it if nobody needs it, or listen elsewhere with --listen",
        KeyServerError::Listen { .. } => "listen elsewhere with --listen, such as unix:///tmp/keys.sock",
        KeyServerError::Serve(_) => return None,
    };
    Some(hint.to_owned())
}

fn metadata_hint(error: &MetadataError) -> Option<String> {
    let hint = match error {
        MetadataError::Missing => "the file is not encrypted; encrypt it with `kubectl seal encrypt -i FILE`",
        MetadataError::NotAMapping => RESERVED,
        MetadataError::Selector(error) => return selector_hint(error),
        _ => "compare the sops entry with an earlier version of the file, such as `git diff HEAD FILE`",
    };
    Some(hint.to_owned())
}

fn open_hint(error: &OpenError) -> Option<String> {
    let hint = match error {
        OpenError::Mac(_) | OpenError::MacMismatch | OpenError::MacMissing => {
            "somebody changed the file without its key: compare it with `git log -p FILE`. To read it \
             all the same, pass --ignore-mac; after that, `kubectl seal edit --ignore-mac` makes it whole"
        }
        OpenError::Value { .. } => {
            "the value, or a key above it, was changed by hand or by a merge: restore it from an earlier \
             version, such as `git checkout HEAD -- FILE`"
        }
        _ => return None,
    };
    Some(hint.to_owned())
}

fn parse_hint(kind: &ParseErrorKind) -> Option<String> {
    let hint = match kind {
        ParseErrorKind::NotAMap => "pass --input-type binary to encrypt the file as a whole",
        ParseErrorKind::Encoding => "convert the file to UTF-8, or pass --input-type binary",
        ParseErrorKind::Empty | ParseErrorKind::OnlyComments => {
            "put at least one key and a value into the file"
        }
        ParseErrorKind::NonStringKey => "put the key in quotes",
        // Text that is no INI or dotenv at all.
        ParseErrorKind::Syntax(what) if what.starts_with("a line without") => {
            "if the file has another format than its name says, pass --input-type, such as binary"
        }
        _ => return None,
    };
    Some(hint.to_owned())
}

fn seal_hint(error: &SealError) -> Option<String> {
    let hint = match error {
        SealError::NothingSelected { .. } => {
            "nothing would be encrypted: `kubectl seal explain FILE` shows what the rule selects; choose \
             another one with --encrypted-regex, or in .sops.yaml"
        }
        SealError::Unsigned { .. } => "put the number in quotes",
        SealError::BrokenRule { .. } => PATTERN,
        SealError::AmbiguousComment { .. } => "choose a narrower unencrypted_comment_regex",
        SealError::Write(WriteError::ReservedKey(_)) => RESERVED,
        SealError::Unreadable(_) | SealError::Unfaithful | SealError::Unparsable(_) => {
            "nothing was written; this is a fault of the program: please report it, without the file"
        }
        _ => return None,
    };
    Some(hint.to_owned())
}

fn sealing_hint(error: &SealingError) -> Option<String> {
    let hint = match error {
        SealingError::Empty => "pass --allow-empty-data if the Secret is to have no values",
        SealingError::MissingName => "name it with --name",
        SealingError::MissingNamespace => {
            "name it with --namespace, or seal for every namespace with --scope cluster-wide"
        }
        SealingError::NamespaceMismatch { .. } => {
            "leave out --namespace, or seal for every namespace with --scope cluster-wide"
        }
        _ => return None,
    };
    Some(hint.to_owned())
}

fn secret_file_hint(error: &SecretFileError) -> Option<String> {
    let hint = match error {
        SecretFileError::Ambiguous { .. } => "put it in quotes",
        SecretFileError::Encrypted => {
            "`kubectl seal decrypt FILE | kubectl seal seal` seals what it holds in clear"
        }
        SecretFileError::Parse(error) => return parse_hint(&error.kind),
        SecretFileError::Unfaithful | SecretFileError::Unreadable(_) => {
            "nothing was written; this is a fault of the program: please report it, without the file"
        }
        _ => return None,
    };
    Some(hint.to_owned())
}

fn selector_hint(error: &SelectorError) -> Option<String> {
    let hint = match error {
        SelectorError::Conflict(..) => "a file has one rule; leave out all but one",
        SelectorError::Pattern { .. } => PATTERN,
        _ => return None,
    };
    Some(hint.to_owned())
}

fn wrap_hint(error: &WrapError) -> Option<String> {
    let hint = match error {
        WrapError::EmptyGroup | WrapError::NoGroups => "name keys in .sops.yaml, or with --age age1…",
        WrapError::Keys(failures) => {
            let remedies = remedies::of_keys(failures);
            return (!remedies.is_empty()).then(|| remedies.join("; "));
        }
        WrapError::Threshold(_) => "a threshold is at least 2 and at most the number of key groups",
        _ => return None,
    };
    Some(hint.to_owned())
}

const RESERVED: &str = "the key `sops` is reserved for the metadata; rename it";

const PATTERN: &str =
    "patterns are those of Go (RE2), without look-around; to leave something out, use unencrypted_regex";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_grants_no_more_than_was_asked_for() {
        let asked = |verb, resource, namespace: Option<&str>, name: Option<&str>| Asked {
            verb,
            resource,
            namespace: namespace.map(str::to_owned),
            name: name.map(str::to_owned),
        };
        for (asked, expected) in [
            (
                asked("get", "services/proxy", Some("ns"), Some("http:a:")),
                "role NAME --verb=get --resource=services/proxy --resource-name=http:a: --namespace=ns`",
            ),
            (
                asked("create", "secrets", Some("ns"), Some("a")),
                "role NAME --verb=create --resource=secrets --namespace=ns`",
            ),
            (
                asked("list", "sealedsecrets.bitnami.com", None, None),
                "clusterrole NAME --verb=list --resource=sealedsecrets.bitnami.com`",
            ),
        ] {
            let hint = grant_hint(&asked);
            assert!(hint.contains(&format!("`kubectl create {expected}")), "{hint}");
        }
    }
}
