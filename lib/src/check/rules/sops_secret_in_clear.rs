//! SOPS007: a secret is in the clear part of an encrypted file.

use crate::check::sops_file::{PREFIX, SopsFile, SopsValue, places_of, secret_data};
use crate::check::{
    Check, Context, File, Findings, Fix, Needles, Outline, Rule, Severity, is_placeholder, is_secret_name,
    objects,
};
use crate::sops::{LeafState, Selector};

use super::private_key::holds_key;

pub(super) static RULE: Rule = Rule {
    id: "SOPS007",
    severity: Severity::Error,
    title: "a secret is in the clear part of an encrypted file",
    explanation: "The rule of an encrypted file leaves some of its values in clear, and this one is a secret: a private \
        key, the last applied configuration of a Secret with all that is in it, or a value whose own name says so \
        and that a suffix keeps from being encrypted.\n\n\
        It is a warning where only the name says so, as for \"password\" outside of what \"encrypted_regex\" names. \
        Accepted are names that tell where a secret is (\"secretName\", \"passwordFile\"), placeholders, truth values \
        and numbers.\n\n\
        To mend it, rename the key or widen the rule, so that the value is encrypted; take the annotation \
        kubectl.kubernetes.io/last-applied-configuration out; and change the secret where it is used, if it was ever \
        pushed.",
    needles: Needles::SOPS,
    check: Check::File(check),
};

fn check(file: &File<'_>, context: &Context<'_>, found: &mut Findings) {
    let Some(sops) = file.sops() else { return };
    let Some(tree) = sops.tree() else { return };
    let (secrets, mut next) = (secret_data(tree), 0);
    let mut places = places_of(tree);
    let clear = |value: &&SopsValue| !value.selected && value.state == LeafState::Clear;
    for value in sops.values().iter().filter(clear) {
        while secrets.get(next).is_some_and(|data| tree.node(*data).end as usize <= value.id.index()) {
            next += 1;
        }
        // Values of a Secret are judged as such.
        let is_in_secret = secrets.get(next).is_some_and(|data| *data < value.id);
        let Some(kind) = leak_of(context, sops, value, is_in_secret) else { continue };
        let finding = places.finding(&RULE, file, value, kind.message()).value(sops.bytes(value));
        let path = file.path();
        let finding = match kind {
            Leak::LastApplied => finding.fix(Fix::Strip).remedy(format!("kubectl seal fix {path}")),
            Leak::Key | Leak::Named(_) => {
                finding.remedy("rename its key, or widen the rule, so that it is encrypted")
            }
        };
        found.add(finding.severity(kind.severity()));
    }
    let mut places = places_of(tree);
    for comment in sops.comments().iter().filter(clear).filter(|comment| is_key(sops.bytes(comment))) {
        let finding = places.finding(&RULE, file, comment, "this comment holds a private key");
        found.add(finding.value(sops.bytes(comment)).remedy("take the comment out, and change the key"));
    }
}

/// What leaks.
enum Leak {
    Key,
    LastApplied,
    Named(Severity),
}

impl Leak {
    const fn message(&self) -> &'static str {
        match self {
            Self::Key => "this value holds a private key, and the file's own rule leaves it in clear",
            Self::LastApplied => "the last applied configuration holds a Secret in clear",
            Self::Named(_) => {
                "the name of this value is that of a secret, and the file's own rule leaves it in clear"
            }
        }
    }

    const fn severity(&self) -> Severity {
        match self {
            Self::Key | Self::LastApplied => Severity::Error,
            Self::Named(severity) => *severity,
        }
    }
}

fn leak_of(context: &Context<'_>, sops: &SopsFile, value: &SopsValue, is_in_secret: bool) -> Option<Leak> {
    let bytes = sops.bytes(value);
    let text = str::from_utf8(bytes).ok()?;
    let key = sops.key(value);
    if key == LAST_APPLIED {
        return holds_secret(text, context).then_some(Leak::LastApplied);
    }
    if is_key(bytes) {
        return Some(Leak::Key);
    }
    let is_text = sops.is_text(value);
    if is_in_secret
        || !is_text
        || bytes.starts_with(PREFIX)
        || is_place(text)
        || is_placeholder(text, context.config)
    {
        return None;
    }
    match sops.selector(value)? {
        Selector::UnencryptedSuffix(suffix) => {
            let bare = key.strip_suffix(suffix.as_str()).unwrap_or(key);
            is_secret_name(bare).then_some(Leak::Named(Severity::Error))
        }
        _ => is_secret_name(key).then_some(Leak::Named(Severity::Warning)),
    }
}

/// Returns whether a last applied configuration is that of a Secret that says something.
fn holds_secret(text: &str, context: &Context<'_>) -> bool {
    if !text.contains("Secret") {
        return false;
    }
    let outline = Outline::read(text);
    objects(&outline).filter(|object| object.is_secret()).any(|object| {
        let maps = ["data", "stringData"].into_iter().filter_map(|key| object.entry.get(key));
        maps.filter(|map| map.is_map()).flat_map(|map| map.entries()).any(|entry| {
            entry.text().is_some_and(|text| {
                !text.as_bytes().starts_with(PREFIX) && !is_placeholder(text, context.config)
            })
        })
    })
}

/// Returns whether a text holds a private key.
pub(super) fn is_key(text: &[u8]) -> bool {
    let has = |needle: &str| memchr::memmem::find(text, needle.as_bytes()).is_some();
    let age = memchr::memmem::find(text, b"AGE-SECRET-KEY-").is_some_and(|at| {
        let rest = &text[at + 15..];
        rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'-').count() >= 40
    });
    // The line alone, within other words, is no key.
    let is_block = has("PRIVATE KEY") && text.trim_ascii_start().starts_with(b"-----BEGIN ");
    age || is_block || has("PRIVATE KEY") && str::from_utf8(text).is_ok_and(holds_key)
}

/// Returns whether a value only says where a secret is: the path of a file, or an address without one.
fn is_place(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-:~$(){}".contains(&byte);
    let is_path = ["/", "./", "../", "~/"].iter().any(|start| text.starts_with(start));
    is_path && text.matches('/').count() >= 2 && text.bytes().all(is_part)
}

/// The annotation in which kubectl keeps what was applied last.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

#[cfg(test)]
mod tests {
    use crate::check::sops_file::tests::encrypted;
    use crate::check::test_kit::Repository;
    use crate::format::Format;

    fn found(source: &str, rule: &str) -> Vec<String> {
        let text = encrypted(Format::Yaml, source, rule);
        let found = Repository::default().with("a.yaml", text).check();
        let found = found.into_iter().filter(|finding| finding.rule.id == "SOPS007");
        found
            .map(|finding| format!("{} {} {}", finding.severity.name(), finding.start.line, finding.pointer))
            .collect()
    }

    #[test]
    fn secrets_in_the_clear_part_are_found() {
        assert_eq!(found("a: b\npassword_unencrypted: horse\n", ""), ["error 2 /password_unencrypted"]);
        assert_eq!(
            found("a: b\ndb_unencrypted:\n  host: h\n  password: horse\n", ""),
            ["error 4 /db_unencrypted/password"]
        );
        assert_eq!(
            found("data: {a: b}\npassword: horse\n", "encrypted_regex=^data$"),
            ["warning 2 /password"]
        );
        let key = concat!("note_unencrypted: |\n  -----BEGIN RSA PRIV", "ATE KEY-----\n  x\nb: c\n");
        assert_eq!(found(key, ""), ["error 1 /note_unencrypted"]);
        let comment = concat!(
            "a: b\n# AGE-SECRET-",
            "KEY-1QQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQ\ndata: x\n"
        );
        assert_eq!(found(comment, "encrypted_regex=^data$"), ["error 2 "]);
    }

    #[test]
    fn a_last_applied_secret_is_found() {
        let source = |json: &str| {
            format!(
                "kind: Secret\nmetadata:\n  annotations:\n    kubectl.kubernetes.io/last-applied-configuration: |\n      \
                 {json}\ndata: {{a: b}}\n"
            )
        };
        let rule = "encrypted_regex=^(data|stringData)$";
        let json = r#"{"apiVersion":"v1","data":{"a":"Yg=="},"kind":"Secret","metadata":{}}"#;
        let pointer = "error 4 /metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration";
        assert_eq!(found(&source(json), rule), [pointer]);
        for json in [
            r#"{"apiVersion":"v1","data":{},"kind":"Secret"}"#,
            r#"{"apiVersion":"v1","data":{"a":"ENC[AES256_GCM,data:x]"},"kind":"Secret"}"#,
            r#"{"apiVersion":"v1","data":{"a":"b"},"kind":"ConfigMap"}"#,
        ] {
            assert_eq!(found(&source(json), rule), [""; 0], "{json}");
        }
    }

    #[test]
    fn other_clear_values_are_clean() {
        for (source, rule) in [
            ("name_unencrypted: x\na: b\n", ""),
            ("password_unencrypted: ''\ntoken_unencrypted: ${TOKEN}\na: b\n", ""),
            ("use_token_unencrypted: true\na: b\n", ""),
            (
                "apiVersion: v1\nkind: Secret\nmetadata: {name: db-password}\ndata: {a: b}\n",
                "encrypted_regex=^data$",
            ),
            (
                "spec: {secretName: x, existingSecret: y, passwordFile: /z}\ndata: a\n",
                "encrypted_regex=^data$",
            ),
            ("# how to find the password\ndata: a\n", "encrypted_regex=^data$"),
            (
                concat!("note: 'PEM that begins with -----BEGIN RSA PRIV", "ATE KEY-----'\ndata: a\n"),
                "encrypted_regex=^data$",
            ),
            ("token_unencrypted: /run/secrets/token\na: b\n", ""),
            ("recipient_unencrypted: age1qqqq\ncert_unencrypted: '-----BEGIN CERTIFICATE-----'\na: b\n", ""),
        ] {
            assert_eq!(found(source, rule), [""; 0], "{source}");
        }
    }
}
