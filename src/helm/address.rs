//! Addresses of the `secrets://` family, as helm-secrets has them.

/// An address, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The key that is used besides those at hand.
    pub key: Option<Key>,
    /// What is decrypted.
    pub target: Target,
    /// Whether the target may be missing.
    pub is_optional: bool,
}

/// Where a key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// In a file.
    File(KeyKind, String),
    /// In an entry of a Secret of a cluster.
    Kubernetes {
        /// What it is.
        kind: KeyKind,
        /// The namespace, unless it is that of Helm.
        namespace: Option<String>,
        /// The Secret.
        secret: String,
        /// The entry.
        entry: String,
    },
}

/// What a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// An identity of age.
    Age,
    /// A private key of OpenPGP.
    Pgp,
}

/// What is decrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A file.
    File(String),
    /// A document that the address itself holds.
    Literal(String),
    /// What a server on the network has.
    Url(String),
}

/// An address cannot be used. No variant holds a document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// It asks for a program, which is not run.
    #[error(
        "{0}: asks for another program to decrypt, and none is run; only what SOPS encrypted is decrypted"
    )]
    Backend(String),
    /// There is no file in it.
    #[error("{0}: names no file")]
    NoFile(String),
    /// There is no key in it.
    #[error("{0}: names no key; it is written {1}")]
    NoKey(String, &'static str),
    /// It is of a kind that is not known.
    #[error("{0}: is no address of the secrets:// family")]
    Scheme(String),
    /// The file in it is fetched in a way that is not known.
    #[error("{0}: the file is neither local nor at an address that starts with https:// or http://")]
    Transport(String),
}

impl Address {
    /// Returns whether a text looks like one.
    #[must_use]
    pub fn is_one(text: &str) -> bool {
        text.split_once("://")
            .is_some_and(|(scheme, _)| scheme == "secrets" || scheme.starts_with("secrets+"))
    }

    /// Takes an address apart.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let (scheme, rest) = text.split_once("://").ok_or_else(|| AddressError::Scheme(text.to_owned()))?;
        let (rest, is_first) = rest.strip_prefix('?').map_or((rest, false), |rest| (rest, true));
        let (kind, in_cluster) = match scheme {
            "secrets" => return Self::of_file(text, None, rest, is_first),
            // It may be a document, and is not told.
            "secrets+literal" => {
                let target = Target::Literal(rest.to_owned());
                return Ok(Self { key: None, target, is_optional: is_first });
            }
            "secrets+age-import" => (KeyKind::Age, false),
            "secrets+age-import-kubernetes" => (KeyKind::Age, true),
            "secrets+gpg-import" => (KeyKind::Pgp, false),
            "secrets+gpg-import-kubernetes" => (KeyKind::Pgp, true),
            _ => return Err(AddressError::Scheme(format!("{scheme}://"))),
        };
        let form = if in_cluster { "NAMESPACE/SECRET#ENTRY?FILE" } else { "KEY?FILE" };
        let no_key = || AddressError::NoKey(text.to_owned(), form);
        let (key, file) = rest.split_once('?').filter(|(key, _)| !key.is_empty()).ok_or_else(no_key)?;
        let key = if in_cluster {
            let (secret, entry) = key.split_once('#').ok_or_else(no_key)?;
            let (namespace, secret) = match secret.split_once('/') {
                Some((namespace, secret)) => (Some(namespace.to_owned()), secret),
                None => (None, secret),
            };
            if !is_name(secret) || !namespace.as_deref().is_none_or(is_name) || entry.is_empty() {
                return Err(no_key());
            }
            Key::Kubernetes { kind, namespace, secret: secret.to_owned(), entry: entry.to_owned() }
        } else {
            Key::File(kind, key.to_owned())
        };
        Self::of_file(text, Some(key), file, is_first)
    }

    fn of_file(text: &str, key: Option<Key>, file: &str, is_optional: bool) -> Result<Self, AddressError> {
        let (file, is_second) = file.strip_prefix('?').map_or((file, false), |file| (file, true));
        if file.is_empty() {
            return Err(AddressError::NoFile(text.to_owned()));
        }
        let target = match file.split_once("://") {
            Some(("http" | "https", _)) => Target::Url(file.to_owned()),
            Some(_) => return Err(AddressError::Transport(text.to_owned())),
            None if file.contains('!') => return Err(AddressError::Backend(text.to_owned())),
            None => Target::File(file.to_owned()),
        };
        Ok(Self { key, target, is_optional: is_optional || is_second })
    }
}

/// Returns whether a name is one that Kubernetes gives.
fn is_name(name: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    name.split('.').all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).expect("an address")
    }

    #[test]
    fn addresses_are_those_of_helm_secrets() {
        let file = |path: &str| Target::File(path.to_owned());
        let plain = |target, is_optional| Address { key: None, target, is_optional };
        assert_eq!(address("secrets://a/b.yaml"), plain(file("a/b.yaml"), false));
        assert_eq!(address("secrets://?a.yaml"), plain(file("a.yaml"), true));
        assert_eq!(address("secrets://https://h/a?b"), plain(Target::Url("https://h/a?b".to_owned()), false));
        assert_eq!(address("secrets+literal://abc"), plain(Target::Literal("abc".to_owned()), false));
        let key = |key, target| Address { key: Some(key), target, is_optional: false };
        assert_eq!(
            address("secrets+age-import:///keys/a.txt?s.yaml"),
            key(Key::File(KeyKind::Age, "/keys/a.txt".to_owned()), file("s.yaml"))
        );
        assert_eq!(
            address("secrets+gpg-import-kubernetes://ns/k#private.asc?s.yaml"),
            key(
                Key::Kubernetes {
                    kind: KeyKind::Pgp,
                    namespace: Some("ns".to_owned()),
                    secret: "k".to_owned(),
                    entry: "private.asc".to_owned()
                },
                file("s.yaml")
            )
        );
        assert!(address("secrets+age-import://k??s.yaml").is_optional);
    }

    #[test]
    fn what_is_none_is_refused() {
        type Is = fn(&AddressError) -> bool;
        let cases: [(&str, Is); 8] = [
            ("file.yaml", |error| matches!(error, AddressError::Scheme(_))),
            ("secrets+other://x", |error| matches!(error, AddressError::Scheme(_))),
            ("secrets://", |error| matches!(error, AddressError::NoFile(_))),
            ("secrets://vals!x.yaml", |error| matches!(error, AddressError::Backend(_))),
            ("secrets://./evil.sh!x.yaml", |error| matches!(error, AddressError::Backend(_))),
            ("secrets://git+ssh://h/x", |error| matches!(error, AddressError::Transport(_))),
            ("secrets+age-import://x", |error| matches!(error, AddressError::NoKey(..))),
            ("secrets+age-import-kubernetes://../x#k?f", |error| matches!(error, AddressError::NoKey(..))),
        ];
        for (text, is) in cases {
            let error = Address::parse(text).expect_err(text);
            assert!(is(&error), "{text}: {error:?}");
        }
    }
}
