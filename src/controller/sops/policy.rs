//! Which namespace may use which keys: the file of `--sops-policy`.
//!
//! A document of SOPS is not bound to a namespace: whoever may make a `SopsSecret` can copy a document of somebody else
//! into it, and has it decrypted if the keys that fit are theirs to use. So this says whose they are.
//!
//! Invariants: what no rule allows is not allowed; the first rule that names a namespace is the only one that counts;
//! a server or key service that no rule names is never asked.

mod read;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use selkie::keys::{MasterKey, Trust, said};
use selkie::keyservice::Address;
use selkie::render::matches_any;

#[cfg(test)]
pub use read::FIELDS;
pub use read::PolicyError;

/// Which namespace may use which keys.
#[derive(Clone, Debug)]
pub struct Policy {
    rules: Vec<Arc<Rule>>,
}

/// What some namespaces may use; nothing, if nothing is said.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    namespaces: Vec<String>,
    key_secrets: Vec<String>,
    key_files: Vec<String>,
    /// The names of the kinds of keys; `None` for all.
    kinds: Option<Vec<&'static str>>,
    /// The names of the keys; `None` for all.
    recipients: Option<Vec<String>>,
    roles: Vec<String>,
    addresses: Vec<String>,
    key_services: Vec<Address>,
    /// The kinds of keys for which the credentials of the controller may be used.
    ambient: Vec<&'static str>,
    isindir_without_mac: bool,
}

/// Whose credentials a key is used with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// Those of the controller, which others use, too.
    OfController,
    /// Those that the namespace itself handed in.
    OfNamespace,
}

impl Policy {
    /// Reads a policy. `path` is what errors call it.
    ///
    /// # Errors
    /// If the text is not a policy.
    pub fn parse(path: &Path, text: &[u8]) -> Result<Self, PolicyError> {
        read::policy(path, text)
    }

    /// Returns what holds without a policy: every namespace may use the key Secrets in it, and nothing else.
    #[must_use]
    pub fn of_own_secrets() -> Self {
        let rule =
            Rule { namespaces: vec!["*".to_owned()], key_secrets: vec!["*".to_owned()], ..Rule::default() };
        Self { rules: vec![Arc::new(rule)] }
    }

    /// Returns the rule for a namespace.
    #[must_use]
    pub fn rule(&self, namespace: &str) -> Option<&Arc<Rule>> {
        self.rules.iter().find(|rule| matches_any(&rule.namespaces, namespace))
    }

    /// Returns all addresses that some namespace may have asked.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        self.rules.iter().flat_map(|rule| rule.addresses.iter().cloned()).collect()
    }

    /// Returns all key services that some namespace may have asked, each once.
    #[must_use]
    pub fn key_services(&self) -> Vec<Address> {
        let mut seen = HashSet::new();
        let all = self.rules.iter().flat_map(|rule| &rule.key_services);
        all.filter(|address| seen.insert(*address)).cloned().collect()
    }
}

impl Rule {
    /// Returns whether a key Secret of the namespace may be used.
    #[must_use]
    pub fn allows_secret(&self, name: &str) -> bool {
        matches_any(&self.key_secrets, name)
    }

    /// Returns whether a key file may be used.
    #[must_use]
    pub fn allows_file(&self, file: &Path) -> bool {
        matches_any(&self.key_files, &file.to_string_lossy())
    }

    /// Returns whether a key service may be asked.
    #[must_use]
    pub fn allows_key_service(&self, address: &Address) -> bool {
        self.key_services.contains(address)
    }

    /// Returns whether the credentials of the controller may be used for a kind of keys.
    #[must_use]
    pub fn allows_ambient(&self, kind: &str) -> bool {
        self.ambient.contains(&kind)
    }

    /// Returns whether an object of `isindir.github.com` may be opened although nothing tells whether it was changed.
    #[must_use]
    pub const fn allows_isindir_without_mac(&self) -> bool {
        self.isindir_without_mac
    }

    /// Returns why a key may not be used.
    #[must_use]
    pub fn refusal(&self, key: &MasterKey, credentials: Credentials) -> Option<String> {
        let kind = key.kind().name;
        if self.kinds.as_ref().is_some_and(|kinds| !kinds.contains(&kind)) {
            return Some(format!("keys of the kind {kind} are not allowed here"));
        }
        if key.kind().address_field.is_some() {
            // A key without an address may be read as one with another.
            let address = key.address().unwrap_or_default();
            if !Trust::Listed(self.addresses.clone()).admits(address) {
                return Some(format!("the address {:?} is not allowed here", said(address)));
            }
        }
        if self.recipients.as_ref().is_some_and(|known| !matches_any(known, &name(key))) {
            return Some("the key is not allowed here".to_owned());
        }
        if !key.field("aws_profile").is_empty() {
            return Some("keys with an aws_profile are not allowed".to_owned());
        }
        let role = key.field("role");
        if credentials == Credentials::OfController && !role.is_empty() && !matches_any(&self.roles, role) {
            return Some(format!("the role {:?} is not allowed here", said(role)));
        }
        None
    }
}

/// Returns the name of a key, without the role and the context that it is used with.
fn name(key: &MasterKey) -> String {
    match key.field("arn") {
        "" => key.to_string(),
        arn => arn.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use selkie::keys::KeyKind;
    use serde_json::{Value as Json, json};

    use super::*;

    const POLICY: &str = "\
rules:
  - namespaces: [team-a, 'team-a-*']
    keySecrets: ['sops-*']
    keyFiles: [/keys/team-a/*]
    kinds: [age, kms, hc_vault]
    recipients: ['age1*', 'arn:aws:kms:eu-central-1:1:key/*', 'https://*']
    roles: ['arn:aws:iam::1:role/sops']
    addresses: ['https://vault.example.com']
    keyServices: ['tcp://keys.example.com:5000', 'unix:///run/keys.sock?uid=7']
    ambient: [kms]
  - namespaces: ['*']
    isindirWithoutMac: true
";

    fn policy(text: &str) -> Result<Policy, String> {
        Policy::parse(Path::new("policy.yaml"), text.as_bytes()).map_err(|error| error.to_string())
    }

    fn key(kind: &str, fields: &Json) -> MasterKey {
        let kind = KeyKind::from_name(kind).expect("a kind");
        MasterKey::from_metadata(kind, fields.as_object().expect("an object"))
    }

    #[test]
    fn the_first_rule_that_names_a_namespace_counts() {
        let policy = policy(POLICY).expect("a policy");
        let rule = policy.rule("team-a-dev").expect("a rule");
        assert!(rule.allows_secret("sops-age") && !rule.allows_secret("other"));
        assert!(rule.allows_file(Path::new("/keys/team-a/x.agekey")));
        assert!(!rule.allows_file(Path::new("/keys/team-b/x.agekey")));
        assert!(rule.allows_ambient("kms") && !rule.allows_ambient("gcp_kms"));
        assert!(!rule.allows_isindir_without_mac());
        let rest = policy.rule("other").expect("a rule");
        assert!(!rest.allows_secret("sops-age") && rest.allows_isindir_without_mac());
        assert_eq!(policy.addresses(), ["https://vault.example.com"]);
    }

    #[test]
    fn key_services_are_those_of_the_rule_to_the_letter() {
        let policy =
            policy(&format!("{POLICY}    keyServices: ['unix:///run/keys.sock?uid=7']\n")).expect("a policy");
        let all: Vec<_> = policy.key_services().iter().map(ToString::to_string).collect();
        assert_eq!(all, ["tcp://keys.example.com:5000", "unix:///run/keys.sock"]);
        for (address, by_team, by_rest) in [
            ("tcp://keys.example.com:5000", true, false),
            ("tcp://keys.example.com:5001", false, false),
            ("unix:///run/keys.sock?uid=7", true, true),
            ("unix:///run/keys.sock", false, false),
        ] {
            let address = address.parse().expect("an address");
            let allows = |namespace| policy.rule(namespace).expect("a rule").allows_key_service(&address);
            assert_eq!((allows("team-a"), allows("other")), (by_team, by_rest), "{address}");
        }
        assert!(Policy::of_own_secrets().key_services().is_empty());
    }

    #[test]
    fn a_namespace_that_no_rule_names_may_use_nothing() {
        assert!(policy("rules: [{namespaces: [a]}]").expect("a policy").rule("b").is_none());
        assert!(policy("rules: []").expect("a policy").rule("b").is_none());
        assert!(Policy::of_own_secrets().rule("b").expect("a rule").allows_secret("any"));
    }

    #[test]
    fn keys_are_allowed_by_kind_name_address_and_role() {
        let policy = policy(POLICY).expect("a policy");
        let rule = policy.rule("team-a").expect("a rule");
        let arn = "arn:aws:kms:eu-central-1:1:key/x";
        let vault = |address: &str| json!({"vault_address": address, "engine_path": "t", "key_name": "k"});
        for (kind, fields, allowed) in [
            ("age", json!({"recipient": "age1xyz"}), true),
            ("age", json!({"recipient": "ssh-rsa x"}), false),
            ("pgp", json!({"fp": "age1"}), false),
            ("kms", json!({"arn": arn}), true),
            ("kms", json!({"arn": "arn:aws:kms:eu-central-1:2:key/x"}), false),
            ("kms", json!({"arn": arn, "role": "arn:aws:iam::1:role/sops"}), true),
            ("kms", json!({"arn": arn, "role": "arn:aws:iam::1:role/admin"}), false),
            ("kms", json!({"arn": arn, "aws_profile": "p"}), false),
            ("hc_vault", vault("https://vault.example.com"), true),
            ("hc_vault", vault("https://vault.example.com.evil.org"), false),
            ("hc_vault", vault("https://vault.example.com@evil.org"), false),
            ("hc_vault", vault("http://169.254.169.254"), false),
            ("hc_vault", vault(""), false),
        ] {
            let key = key(kind, &fields);
            assert_eq!(rule.refusal(&key, Credentials::OfController).is_none(), allowed, "{key:?}");
        }
        let of_others = key("kms", &json!({"arn": arn, "role": "arn:aws:iam::1:role/admin"}));
        assert_eq!(rule.refusal(&of_others, Credentials::OfNamespace), None, "its own rights can do no harm");
    }

    #[test]
    fn without_a_policy_no_server_of_a_document_is_asked() {
        let policy = Policy::of_own_secrets();
        let rule = policy.rule("a").expect("a rule");
        for (kind, field) in [("hc_vault", "vault_address"), ("azure_kv", "vault_url")] {
            let key = key(kind, &json!({field: "https://x.vault.azure.net"}));
            assert!(rule.refusal(&key, Credentials::OfNamespace).is_some(), "{kind}");
        }
        assert_eq!(rule.refusal(&key("age", &json!({"recipient": "x"})), Credentials::OfNamespace), None);
    }

    #[test]
    fn what_is_not_understood_is_an_error_with_its_line() {
        for (text, expected) in [
            ("", "policy.yaml:1: there is no document in the input"),
            ("rules: [\n", "policy.yaml:1: "),
            ("rules: 1\n", "policy.yaml:1: rules is not a list"),
            ("other: 1\n", "policy.yaml:1: the field \"other\" is not known; known are rules"),
            ("rules: []\n---\nb: 1\n", "policy.yaml:3: there is more than one document"),
            ("rules:\n- 1\n", "policy.yaml:2: rules[0] is not a map"),
            ("rules:\n- keySecrets: [a]\n", "policy.yaml:2: rules[0] has no namespaces"),
            ("rules:\n- namespaces: []\n", "policy.yaml:2: rules[0].namespaces is empty"),
            (
                "rules:\n- namespaces: [a]\n  keySecret: [b]\n",
                "policy.yaml:3: the field \"keySecret\" is not known; known are namespaces, ",
            ),
            (
                "rules:\n- namespaces: [a]\n  kinds: [age, gpg]\n",
                "policy.yaml:3: rules[0].kinds[1] is not one of ",
            ),
            ("rules:\n- namespaces: [a, 1]\n", "policy.yaml:2: rules[0].namespaces[1] is not a text"),
            (
                "rules:\n- namespaces: [a]\n  isindirWithoutMac: yes please\n",
                "policy.yaml:3: rules[0].isindirWithoutMac is not true or false",
            ),
            (
                "rules:\n- namespaces: [a]\n  addresses: ['vault.example.com']\n",
                "policy.yaml:3: rules[0].addresses[0] is not an address such as https://vault.example.com",
            ),
            (
                "rules:\n- namespaces: [a]\n  addresses: ['https://*.example.com']\n",
                "policy.yaml:3: rules[0].addresses[0] is not an address such as https://vault.example.com",
            ),
            (
                "rules:\n- namespaces: [a]\n  keyServices: ['https://keys.example.com']\n",
                "policy.yaml:3: rules[0].keyServices[0] is not the address of a key service, such as tcp://host:5000",
            ),
            (
                "rules:\n- namespaces: [a]\n  keyServices:\n  - tcp://a:1\n  - unix:keys.sock\n",
                "policy.yaml:5: rules[0].keyServices[1] is not the address of a key service, such as tcp://host:5000",
            ),
            (
                "rules:\n- namespaces: [a]\n  namespaces: [b]\n",
                "policy.yaml:3: the key \"namespaces\" is given twice",
            ),
        ] {
            let error = policy(text).err().unwrap_or_else(|| panic!("{text}"));
            assert!(error.starts_with(expected), "{text:?}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_a_file_holds_is_a_policy_or_an_error_with_a_line(
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200),
            lines in proptest::collection::vec(proptest::sample::select(LINES), 0..12),
            cut in 0..40_usize,
        ) {
            let text = lines.concat();
            let end = text.char_indices().rev().nth(cut).map_or(text.len(), |(at, _)| at);
            for text in [bytes.as_slice(), text.as_bytes(), &text.as_bytes()[..end]] {
                match Policy::parse(Path::new("p"), text) {
                    Ok(policy) => {
                        let refused = policy.rule("a").map(|rule| {
                            rule.refusal(&key("hc_vault", &json!({"vault_address": ""})), Credentials::OfNamespace)
                        });
                        proptest::prop_assert!(refused != Some(None), "an address that nobody allowed");
                    }
                    Err(error) => {
                        let count = text.split(|byte| matches!(byte, b'\r' | b'\n')).count();
                        proptest::prop_assert!((1..=count).contains(&error.line), "{error}");
                    }
                }
            }
        }
    }

    /// Lines of policies, and what looks like them.
    const LINES: &[&str] = &[
        "rules:\n",
        "rules: &a []\n",
        "- namespaces: ['*']\n",
        "  - namespaces: [a, b]\n",
        "  keySecrets: *a\n",
        "  keyFiles: [{a: b}]\n",
        "  kinds: [age, kms]\n",
        "  kinds: [1, ~]\n",
        "  recipients: [\"é*\"]\n",
        "  addresses: ['https://vault.example.com']\n",
        "  keyServices: ['tcp://[::1]:1', 'unix:///a?uid=1']\n",
        "  keyServices: 'tcp://a:1'\n",
        "  ambient: []\n",
        "  isindirWithoutMac: true\n",
        "  <<: {namespaces: [a]}\n",
        "# a comment\n",
        "---\n",
        "...\n",
        "  ? [a]\n  : b\n",
        "  roles: |\n    a\n",
        "\r\n",
        "{{{{[[[[",
    ];
}
