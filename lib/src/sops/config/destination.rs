//! Destination rules: where documents are published.

use crate::sops::Pattern;
use crate::sops::config::creation::CreationRule;
use crate::sops::config::entry::Fields;
use crate::sops::config::{ConfigError, ConfigErrorKind, Warning};

/// Where a document is published, and how.
#[derive(Clone, Debug)]
pub struct DestinationRule {
    /// The 1-based position among the rules.
    pub position: usize,
    /// The 1-based line on which the rule starts.
    pub line: usize,
    /// The place.
    pub target: Target,
    /// The keys to encrypt for before publishing, if not those of the document.
    pub recreation_rule: Option<CreationRule>,
    /// Whether the extension of the file's name is left out.
    pub omit_extensions: bool,
    /// The fields of the recreation rule that nothing reads and that look like one that something does.
    pub(super) misspelled: Vec<Warning>,
}

/// A place to publish documents to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A bucket of Google Cloud Storage.
    Gcs {
        /// The bucket's name.
        bucket: String,
        /// What the names of objects start with.
        prefix: String,
    },
    /// None: the rule names no place.
    Nowhere,
    /// A bucket of Amazon S3.
    S3 {
        /// The bucket's name.
        bucket: String,
        /// What the names of objects start with.
        prefix: String,
    },
    /// A key-value store of Vault.
    Vault {
        /// The server's address; that of the environment if it is empty.
        address: String,
        /// Where the store is mounted.
        mount: String,
        /// What the paths of secrets start with.
        path: String,
        /// The store's version, 1 or 2.
        version: u8,
    },
}

impl DestinationRule {
    /// Reads the fields of a rule, except for the pattern that selects it.
    pub(super) fn read(
        fields: &mut Fields<'_>,
        position: usize,
        _: Option<&Pattern>,
    ) -> Result<Self, ConfigError> {
        let target = Target::read(fields);
        let omit_extensions = fields.flag("omit_extensions");
        let (mut recreation_rule, mut misspelled) = (None, Vec::new());
        if let Some(entry) = fields.take("recreation_rule") {
            let mut below = fields.below(entry, "recreation_rule")?;
            let rule = CreationRule::read(&mut below, position, None);
            misspelled = below.finish();
            recreation_rule = Some(rule?);
        }
        Ok(Self {
            position,
            line: fields.line,
            target: target?,
            recreation_rule,
            omit_extensions: omit_extensions?,
            misspelled,
        })
    }
}

impl Target {
    fn read(fields: &mut Fields<'_>) -> Result<Self, ConfigError> {
        let mut text = |name| fields.text(name).map(|found| found.map_or("", |(_, text)| text).to_owned());
        let s3 = Self::S3 { bucket: text("s3_bucket")?, prefix: text("s3_prefix")? };
        let gcs = Self::Gcs { bucket: text("gcs_bucket")?, prefix: text("gcs_prefix")? };
        let (path, address, mount) =
            (text("vault_path")?, text("vault_address")?, text("vault_kv_mount_name")?);
        let version = match fields.number("vault_kv_version")? {
            None | Some(0) => 2,
            Some(version @ (1 | 2)) => version,
            Some(_) => return Err(fields.fault(ConfigErrorKind::Number("vault_kv_version"))),
        };
        let mount = if mount.is_empty() { "secret/".to_owned() } else { mount };
        let vault = Self::Vault { address, mount, path, version };
        let named: Vec<_> = [("s3_bucket", s3), ("gcs_bucket", gcs), ("vault_path", vault)]
            .into_iter()
            .filter(|(_, target)| target.is_named())
            .collect();
        match &named[..] {
            [] => Ok(Self::Nowhere),
            [(_, target)] => Ok(target.clone()),
            [(first, _), (second, _), ..] => Err(fields.fault(ConfigErrorKind::Destinations(first, second))),
        }
    }

    fn is_named(&self) -> bool {
        match self {
            Self::Gcs { bucket, .. } | Self::S3 { bucket, .. } => !bucket.is_empty(),
            Self::Nowhere => false,
            Self::Vault { path, .. } => !path.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::sops::config::Config;

    use super::*;

    fn destination(rule: &str) -> Result<DestinationRule, ConfigError> {
        let config = Config::parse(format!("destination_rules:\n- {rule}\n").as_bytes()).expect("it parses");
        config.destination_for("a.yaml").map(|rule| rule.expect("it matches").clone())
    }

    #[test]
    fn a_rule_names_one_place() {
        let s3 = destination("{s3_bucket: b, s3_prefix: p/}").expect("a rule");
        assert_eq!(s3.target, Target::S3 { bucket: "b".into(), prefix: "p/".into() });
        let vault = destination("{vault_path: p, omit_extensions: true}").expect("a rule");
        let mount = "secret/".to_owned();
        assert_eq!(
            vault.target,
            Target::Vault { address: String::new(), mount, path: "p".into(), version: 2 }
        );
        assert!(vault.omit_extensions);
        let both = destination("{s3_bucket: b, gcs_bucket: c}").expect_err("two places");
        assert_eq!(both.kind, ConfigErrorKind::Destinations("s3_bucket", "gcs_bucket"));
    }

    #[test]
    fn a_rule_may_bring_its_own_keys() {
        let rule = destination("{s3_bucket: b, recreation_rule: {pgp: A}}").expect("a rule");
        assert_eq!(rule.recreation_rule.expect("keys").groups[0].0[0].to_string(), "A");
        assert!(destination("{s3_bucket: b}").expect("a rule").recreation_rule.is_none());
    }

    #[test]
    fn a_recreation_rule_is_a_creation_rule() {
        let rule = destination(
            "{s3_bucket: b, recreation_rule: {shamir_threshold: 2, mac_only_encrypted: true, \
             encrypted_comment_regex: x, key_groups: [{pgp: [A]}, {merge: [{pgp: [B]}], pgp: [C]}]}}",
        );
        let rule = rule.expect("a rule").recreation_rule.expect("keys");
        assert_eq!((rule.groups.len(), rule.groups[1].0.len(), rule.shamir_threshold), (2, 2, Some(2)));
        assert_eq!(rule.selector.map(|selector| selector.field()), Some("encrypted_comment_regex"));
        assert!(rule.mac_only_encrypted);
    }

    #[test]
    fn a_fault_has_its_line() {
        for (rule, expected) in [
            ("s3_bucket: b\n  recreation_rule:\n    encrypted_regex: ^(?!a)", "line 4: encrypted_regex: "),
            ("vault_path: p\n  vault_kv_version: 3", "line 2: vault_kv_version is out of range"),
            ("s3_bucket: b\n  omit_extensions: maybe", "line 3: omit_extensions is not true or false"),
            ("s3_bucket: b\n  vault_path: c", "line 2: one rule has more than one destination: "),
            ("s3_bucket: b\n  recreation_rule: x", "line 3: recreation_rule is not a map"),
        ] {
            let error = destination(rule).expect_err(rule).to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn misspelled_fields_are_known() {
        let misspelt = |rule: &str| {
            let text = format!("destination_rules:\n- {rule}\n");
            let config = Config::parse(text.as_bytes()).expect("it parses");
            config.destination_misspelling_for("a").map(|warning| warning.key.clone())
        };
        assert_eq!(
            misspelt("{s3_bucket: b, recreation_rules: {pgp: A}}").as_deref(),
            Some("recreation_rules")
        );
        let below = misspelt("{s3_bucket: b, recreation_rule: {pgp: A, encrypted_regexp: x}}");
        assert_eq!(below.as_deref(), Some("encrypted_regexp"));
        assert_eq!(misspelt("{s3_bucket: b, note: x, recreation_rule: {pgp: A}}"), None);
    }
}
