//! Which namespace may use which keys: the file of `--sops-policy`.
//!
//! A document of SOPS is not bound to a namespace: whoever may make a `SopsSecret` can copy a document of somebody else
//! into it, and has it decrypted if the keys that fit are theirs to use. So this says whose they are.
//!
//! Invariants: what no rule allows is not allowed; the first rule that names a namespace is the only one that counts;
//! a server that no rule names is never asked.

mod read;

use std::path::Path;
use std::sync::Arc;

use selkie::keys::{MasterKey, Trust, said};

use super::glob::{Glob, any};

pub use read::PolicyError;

/// Which namespace may use which keys.
#[derive(Clone, Debug)]
pub struct Policy {
    rules: Vec<Arc<Rule>>,
}

/// What some namespaces may use.
#[derive(Clone, Debug)]
pub struct Rule {
    namespaces: Vec<Glob>,
    key_secrets: Vec<Glob>,
    key_files: Vec<Glob>,
    /// The names of the kinds of keys; `None` for all.
    kinds: Option<Vec<&'static str>>,
    /// The names of the keys; `None` for all.
    recipients: Option<Vec<Glob>>,
    roles: Vec<Glob>,
    addresses: Vec<String>,
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
        let rule = Rule {
            namespaces: vec![Glob::new("*")],
            key_secrets: vec![Glob::new("*")],
            key_files: Vec::new(),
            kinds: None,
            recipients: None,
            roles: Vec::new(),
            addresses: Vec::new(),
            ambient: Vec::new(),
            isindir_without_mac: false,
        };
        Self { rules: vec![Arc::new(rule)] }
    }

    /// Returns the rule for a namespace.
    #[must_use]
    pub fn rule(&self, namespace: &str) -> Option<&Arc<Rule>> {
        self.rules.iter().find(|rule| any(&rule.namespaces, namespace))
    }

    /// Returns all addresses that some namespace may have asked.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        self.rules.iter().flat_map(|rule| rule.addresses.iter().cloned()).collect()
    }
}

impl Rule {
    /// Returns whether a key Secret of the namespace may be used.
    #[must_use]
    pub fn allows_secret(&self, name: &str) -> bool {
        any(&self.key_secrets, name)
    }

    /// Returns whether a key file may be used.
    #[must_use]
    pub fn allows_file(&self, file: &Path) -> bool {
        any(&self.key_files, &file.to_string_lossy())
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
        if self.recipients.as_ref().is_some_and(|known| !any(known, &name(key))) {
            return Some("the key is not allowed here".to_owned());
        }
        if !key.field("aws_profile").is_empty() {
            return Some("keys with an aws_profile are not allowed".to_owned());
        }
        let role = key.field("role");
        if credentials == Credentials::OfController && !role.is_empty() && !any(&self.roles, role) {
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
                "rules:\n- namespaces: [a]\n  namespaces: [b]\n",
                "policy.yaml:3: the key \"namespaces\" is given twice",
            ),
        ] {
            let error = policy(text).err().unwrap_or_else(|| panic!("{text}"));
            assert!(error.starts_with(expected), "{text:?}: {error}");
        }
    }
}
