//! Destination rules: where documents are published.

use crate::sops::config::creation::CreationRule;
use crate::sops::config::entry::Fields;
use crate::sops::config::{ConfigError, ConfigErrorKind};

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
    pub(super) fn read(fields: &mut Fields<'_>, position: usize) -> Result<Self, ConfigError> {
        Ok(Self {
            position,
            line: fields.line,
            target: Target::read(fields)?,
            recreation_rule: match fields.take("recreation_rule") {
                None => None,
                Some(entry) => {
                    let mut below = fields.below(entry, "recreation_rule")?;
                    let rule = CreationRule::read(&mut below, position);
                    below.finish();
                    Some(rule?)
                }
            },
            omit_extensions: fields.flag("omit_extensions")?,
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
