//! What is allowed for what is rendered: rules, and the policy that says which of them is for whom.
//!
//! Invariants: what no rule of a policy is for is refused; the first rule that is for an origin is the only one that
//! counts; what is not known of an origin matches nothing but `*`; a server or key that no rule names is not used.

mod origin;
mod read;

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::Limits;
use crate::keys::{MasterKey, Trust};

pub use origin::{Match, Origin};
pub use read::PolicyError;

/// What is allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// What becomes of documents whose MAC cannot be had.
    pub mac: MacRule,
    /// Where decrypted values may come out besides Secrets.
    pub taint: Vec<TaintRule>,
    /// Whether it is no error that nothing is rendered.
    pub allow_empty: bool,
    /// How many Secrets, SealedSecrets and SopsSecrets must come out at least, so that no mistake takes them away.
    pub least_secrets: usize,
    /// Whether what is sealed again may be meant for more than the name and namespace of its Secret, as an annotation
    /// asks for that no MAC covers.
    pub wide_scopes: bool,
    /// The master keys that may be used, as patterns for their names; `None` for all.
    pub recipients: Option<Vec<String>>,
    /// The kinds of master keys that may be used; `None` for all.
    pub kinds: Option<Vec<&'static str>>,
    /// The addresses of the only servers that may be asked for what a document names an address of; `None` leaves it
    /// to the key services.
    pub addresses: Option<Vec<String>>,
    /// Patterns for the roles that may be taken on for a key; `None` for all, and for profiles of this machine, too.
    pub roles: Option<Vec<String>>,
    /// Whether what builds manifests may reach a network: remote bases, repositories of charts.
    pub network: bool,
    /// Whether what is built may hang on chance, so that it is another thing each time.
    pub random: bool,
}

/// What becomes of documents whose MAC cannot be checked, or is wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MacRule {
    /// They are refused.
    #[default]
    Require,
    /// They come out, and the report says so.
    Warn,
    /// They come out.
    Off,
}

/// A place outside of Secrets where decrypted values may come out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaintRule {
    /// A pattern for the kind of the object, such as `HelmRelease`.
    pub kind: String,
    /// A pattern for the place in it, such as `spec.values.*`.
    pub path: String,
}

/// Who may have what rendered, and how.
#[derive(Clone, Debug)]
pub struct Policy {
    rules: Vec<Arc<PolicyRule>>,
    digest: String,
}

/// What a policy allows some origins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRule {
    /// Which rule of the policy it is, from 1.
    pub number: usize,
    /// What it is called, if it has a name.
    pub name: String,
    /// For whom it is.
    pub origins: Match,
    /// The names of the modes that may be asked for; the first one is what comes out if nothing is said.
    pub modes: Vec<&'static str>,
    /// What the engine allows.
    pub rule: Rule,
    /// Paths of files and folders with the keys that are used.
    pub keys: Vec<String>,
    /// Paths of files with the private keys that SealedSecrets are opened with; without any they are passed on.
    pub sealing_keys: Vec<String>,
    /// The kinds of keys for which the credentials of the process itself may be used.
    pub ambient: Vec<&'static str>,
    /// How much is read.
    pub limits: Limits,
    /// How many bytes all files may have together, if the rule says so: programs that serve many take less than others.
    pub total_bytes: Option<u64>,
    /// How long it may take.
    pub seconds: Option<u64>,
}

impl Rule {
    /// Returns whether decrypted values may come out at a place of an object that is not a Secret.
    #[must_use]
    pub fn allows_taint(&self, kind: &str, path: &str) -> bool {
        self.taint.iter().any(|rule| matches(&rule.kind, kind) && matches(&rule.path, path))
    }

    /// Returns whether a master key may be used.
    #[must_use]
    pub fn allows_key(&self, key: &MasterKey) -> bool {
        let kind = key.kind();
        let is_kind = self.kinds.as_ref().is_none_or(|kinds| kinds.contains(&kind.name));
        let is_address = self.addresses.as_ref().is_none_or(|addresses| {
            // A key without an address may be read as one with another.
            kind.address_field.is_none()
                || Trust::Listed(addresses.clone()).admits(key.address().unwrap_or_default())
        });
        let is_role = self.roles.as_ref().is_none_or(|roles| {
            let role = key.field("role");
            key.field("aws_profile").is_empty() && (role.is_empty() || matches_any(roles, role))
        });
        let is_name = self.recipients.as_ref().is_none_or(|patterns| matches_any(patterns, &name(key)));
        is_kind && is_address && is_role && is_name
    }
}

impl Policy {
    /// Reads a policy, in YAML or JSON.
    ///
    /// # Errors
    /// If the text is not a policy: the error has the line.
    ///
    /// # Examples
    /// ```
    /// use selkie::render::{Origin, Policy};
    ///
    /// let policy = Policy::parse(b"rules:\n- match: {projects: ['team-*']}\n  modes: [reseal]\n")?;
    /// let origin = Origin { project: "team-a".to_owned(), ..Origin::default() };
    /// let rule = policy.rule(&origin).expect("the first rule is for it");
    /// assert_eq!(rule.mode(None), Some("reseal"));
    /// assert_eq!(rule.mode(Some("plain")), None);
    /// assert!(policy.rule(&Origin::default()).is_none());
    /// # Ok::<(), selkie::render::PolicyError>(())
    /// ```
    pub fn parse(text: &[u8]) -> Result<Self, PolicyError> {
        let rules = read::rules(text)?.into_iter().map(Arc::new).collect();
        let digits: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { rules, digest: format!("sha256:{digits}") })
    }

    /// Returns the rule for an origin: the first one that is for it. `None`: nothing is allowed.
    #[must_use]
    pub fn rule(&self, origin: &Origin) -> Option<&Arc<PolicyRule>> {
        self.rules.iter().find(|rule| rule.origins.is_for(origin))
    }

    /// Returns all rules, in their order.
    #[must_use]
    pub fn rules(&self) -> &[Arc<PolicyRule>] {
        &self.rules
    }

    /// Returns the SHA-256 of the text, for reports.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

impl PolicyRule {
    /// Returns the mode that is used if `wanted` is asked for, or nothing; `None` if that is not allowed.
    #[must_use]
    pub fn mode(&self, wanted: Option<&str>) -> Option<&'static str> {
        match wanted {
            None => self.modes.first().copied(),
            Some(wanted) => self.modes.iter().copied().find(|mode| *mode == wanted),
        }
    }

    /// Returns what reports call the rule.
    #[must_use]
    pub fn title(&self) -> String {
        match self.name.as_str() {
            "" => format!("rule {}", self.number),
            name => format!("rule {} ({name})", self.number),
        }
    }
}

/// Returns whether a name as a whole is one that a pattern stands for: `*` for any characters, `?` for one.
#[must_use]
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut place) = (0, 0);
    // Where the last `*` is, and where what it stands for ends.
    let mut star = None;
    while place < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, place));
                at += 1;
            }
            Some(&letter) if letter == '?' || letter == name[place] => {
                at += 1;
                place += 1;
            }
            _ => {
                let Some((of_star, end)) = star else { return false };
                star = Some((of_star, end + 1));
                at = of_star + 1;
                place = end + 1;
            }
        }
    }
    pattern[at..].iter().all(|&letter| letter == '*')
}

/// Returns whether one of some patterns stands for a name: see [`matches()`].
#[must_use]
pub fn matches_any(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, name))
}

/// Returns the name of a key, without the role and the context that it is used with.
fn name(key: &MasterKey) -> String {
    match key.field("arn") {
        "" => key.to_string(),
        arn => arn.to_owned(),
    }
}

#[cfg(test)]
mod flux;
#[cfg(test)]
mod tests;
