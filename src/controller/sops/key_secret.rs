//! Key Secrets: read by their names, in the namespace of the object that names them.
//!
//! Invariant: what the API server or a parser says of one is never repeated, as it may quote it.

use futures_util::future::BoxFuture;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, Error};
use selkie::secret::SecretBytes;

use crate::controller::reason::{Failure, Reason};
use crate::keys::{KeyEntries, KeyEntryError};

/// A key Secret.
pub struct KeySecret {
    /// What changes with it.
    pub version: String,
    /// Its entries.
    pub entries: Vec<(String, SecretBytes)>,
}

/// Where key Secrets are read.
pub trait KeySecrets: Send + Sync + 'static {
    /// Returns a Secret, or `None` if there is none of that name.
    fn get<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<KeySecret>, Failure>>;
}

/// The key Secrets of a cluster.
pub struct OfCluster(pub Client);

impl KeySecrets for OfCluster {
    fn get<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<KeySecret>, Failure>> {
        Box::pin(async move {
            let api: Api<Secret> = Api::namespaced(self.0.clone(), namespace);
            match api.get_opt(name).await {
                Ok(Some(secret)) => {
                    let entries = secret.data.unwrap_or_default().into_iter();
                    let entries = entries.map(|(name, value)| (name, SecretBytes::from(value.0))).collect();
                    let version = secret.metadata.resource_version.unwrap_or_default();
                    Ok(Some(KeySecret { version, entries }))
                }
                Ok(None) => Ok(None),
                Err(error) => Err(unreadable(name, &error)),
            }
        })
    }
}

impl KeySecret {
    /// Returns its keys and credentials.
    ///
    /// # Errors
    /// If an entry is not what its name says, or there is none, or there are too many.
    pub fn keys(&self, name: &str) -> Result<KeyEntries, Failure> {
        // Before any of them is read: each is tried with every key of every document.
        let entries = self.entries.iter().filter(|(entry, _)| KeyEntries::has_name(entry));
        if entries.map(|(_, text)| count(text)).sum::<usize>() > MOST_KEYS {
            let message = format!("the key Secret {name:?} has more than {MOST_KEYS} keys");
            return Err(Failure::new(Reason::NoKey, message));
        }
        if self.entries.iter().any(|(entry, text)| entry.ends_with(".asc") && text.len() > LONGEST_PGP) {
            let message = format!(
                "the key Secret {name:?} has an entry with OpenPGP keys of more than {} KiB",
                LONGEST_PGP >> 10
            );
            return Err(Failure::new(Reason::NoKey, message));
        }
        let mut keys = KeyEntries::default();
        for (entry, text) in &self.entries {
            keys.add(entry, &format!("Secret {name}, {entry}"), text)
                .map_err(|error| of_entry(name, entry, &error))?;
        }
        if keys.is_empty() {
            let message =
                format!("the key Secret {name:?} has no entry with a name for keys, such as age.agekey");
            return Err(Failure::new(Reason::NoKey, message));
        }
        Ok(keys)
    }
}

/// Returns how many age identities an entry has; anything else counts as one.
fn count(text: &SecretBytes) -> usize {
    let lines = text.expose_secret().split(|byte| *byte == b'\n');
    lines.filter(|line| line.starts_with(b"AGE-")).count().max(1)
}

fn of_entry(name: &str, entry: &str, error: &KeyEntryError) -> Failure {
    Failure::new(Reason::NoKey, format!("the entry {entry:?} of the key Secret {name:?} {error}"))
}

fn unreadable(name: &str, error: &Error) -> Failure {
    let why = match error {
        Error::Api(status) if status.code == 403 => ": the controller may not read it",
        Error::Api(_) => ": the API server refused",
        _ => ": the API server did not answer as it should",
    };
    Failure::new(Reason::Unseal, format!("the key Secret {name:?} cannot be read{why}"))
}

/// How many keys and credentials a key Secret may have.
const MOST_KEYS: usize = 64;

/// How long an entry with OpenPGP keys may be: room for many, with all their signatures.
const LONGEST_PGP: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(entries: &[(&str, &str)]) -> Result<(), Failure> {
        let entries = entries.iter().map(|&(name, text)| (name.to_owned(), text.into())).collect();
        KeySecret { version: String::new(), entries }.keys("keys").map(|_| ())
    }

    #[test]
    fn entries_with_other_names_are_passed_over() {
        assert_eq!(keys(&[("README", "text"), ("sops.vault-token", "s.x")]), Ok(()));
    }

    #[test]
    fn what_is_wrong_is_told_without_the_entry() {
        for (entries, expected) in [
            (&[][..], "the key Secret \"keys\" has no entry with a name for keys, such as age.agekey"),
            (&[("a", "x")], "the key Secret \"keys\" has no entry with a name for keys, such as age.agekey"),
            (
                &[("a.agekey", "seal")],
                "the entry \"a.agekey\" of the key Secret \"keys\" does not hold age identities",
            ),
            (
                &[("sops.gcp-kms", "seal")],
                "the entry \"sops.gcp-kms\" of the key Secret \"keys\" is not the JSON key of a service account",
            ),
        ] {
            assert_eq!(keys(entries), Err(Failure::new(Reason::NoKey, expected)));
        }
    }

    #[test]
    fn a_secret_with_too_many_keys_is_not_read() {
        let line = "AGE-SECRET-KEY-1\n";
        let few = ("a.agekey", line.repeat(MOST_KEYS - 1));
        let refused = |entries: &[(&str, &str)]| keys(entries).expect_err("refused").message;
        let too_many = "the key Secret \"keys\" has more than 64 keys";
        assert_eq!(refused(&[("a.agekey", &line.repeat(14_000))]), too_many);
        // Comments, and what has another name, are passed over.
        let message =
            refused(&[(few.0, &format!("# AGE-\n{}", few.1)), ("x", &line.repeat(99)), ("b.agekey", "")]);
        assert_eq!(message, "the entry \"a.agekey\" of the key Secret \"keys\" does not hold age identities");
        assert_eq!(refused(&[(few.0, &few.1), ("b.agekey", ""), ("c.agekey", "")]), too_many);
        let long = "x".repeat(LONGEST_PGP + 1);
        let message = refused(&[("a.asc", &long)]);
        assert_eq!(message, "the key Secret \"keys\" has an entry with OpenPGP keys of more than 256 KiB");
    }
}
