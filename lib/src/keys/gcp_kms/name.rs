//! Names of keys and addresses of Google Cloud KMS. Both become parts of URLs, so neither holds anything that a URL
//! could take for something else.

use std::fmt;

use crate::keys::endpoint::Endpoint;
use crate::keys::{Cause, KeyParseError, KeySetup, ServiceError};

/// The name of a key: `projects/P/locations/L/keyRings/R/cryptoKeys/K`.
pub(super) struct KeyName(String);

impl KeyName {
    /// Reads the name of a key.
    pub fn parse(text: &str) -> Result<Self, KeyParseError> {
        let parts: Vec<_> = text.split('/').collect();
        let is_word = |text: &str| !text.is_empty() && text.bytes().all(is_word_byte);
        // A project of a domain is `example.com:project`.
        let is_project = |text: &str| {
            text.starts_with(|first: char| first.is_ascii_alphanumeric())
                && text.bytes().all(|byte| is_word_byte(byte) || b".:".contains(&byte))
        };
        match parts[..] {
            ["projects", project, "locations", location, "keyRings", ring, "cryptoKeys", key]
                if is_project(project) && [location, ring, key].into_iter().all(is_word) =>
            {
                Ok(Self(text.to_owned()))
            }
            _ => Err(KeyParseError::new(
                text,
                "a key like `projects/PROJECT/locations/LOCATION/keyRings/RING/cryptoKeys/KEY`",
            )),
        }
    }

    /// Returns the project.
    pub fn project(&self) -> &str {
        self.0.split('/').nth(1).unwrap_or_default()
    }

    /// Returns the name of the key ring.
    pub fn ring(&self) -> &str {
        self.0.split_once("/cryptoKeys/").map_or("", |(ring, _)| ring)
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Finds the address of the service: `SOPS_GCP_KMS_ENDPOINT`, a host and port or a URL; else that of
/// `SOPS_GCP_KMS_UNIVERSE_DOMAIN`; else Google's.
pub(super) fn endpoint(setup: &KeySetup) -> Result<Endpoint, ServiceError> {
    if let Some(given) = setup.variable("SOPS_GCP_KMS_ENDPOINT") {
        return Endpoint::given("SOPS_GCP_KMS_ENDPOINT", &given);
    }
    let domain = setup.variable("SOPS_GCP_KMS_UNIVERSE_DOMAIN");
    let domain = domain.as_deref().unwrap_or("googleapis.com");
    if domain.contains('/') {
        return Err(ServiceError::new(Cause::Untrusted, "SOPS_GCP_KMS_UNIVERSE_DOMAIN is not a domain"));
    }
    Endpoint::given("SOPS_GCP_KMS_UNIVERSE_DOMAIN", &format!("https://cloudkms.{domain}"))
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hold_nothing_that_a_url_could_take_for_something_else() {
        let key = |project: &str, name: &str| {
            format!("projects/{project}/locations/global/keyRings/r/cryptoKeys/{name}")
        };
        for (project, name) in [("p", "k"), ("example.com:p-1", "K_1")] {
            let parsed = KeyName::parse(&key(project, name)).expect("a name");
            assert_eq!((parsed.project(), parsed.to_string()), (project, key(project, name)));
            assert_eq!(parsed.ring(), format!("projects/{project}/locations/global/keyRings/r"));
        }
        for (project, name) in [
            ("p", ""),
            ("", "k"),
            ("..", "k"),
            ("p", "."),
            ("p", "k?x"),
            ("p", "k#"),
            ("p", "k%2f"),
            ("p", "k:decrypt"),
            ("p", "k/cryptoKeyVersions/1"),
            ("p@h", "k"),
            ("p", "k "),
            ("p", "ä"),
        ] {
            assert!(KeyName::parse(&key(project, name)).is_err(), "{project} {name}");
        }
        assert!(KeyName::parse("").is_err());
    }

    #[test]
    fn the_endpoint_beats_the_universe() {
        let find = |endpoint: &'static str, universe: &'static str| {
            let setup = KeySetup::new(move |name| match name {
                "SOPS_GCP_KMS_ENDPOINT" => Some(endpoint.to_owned()),
                "SOPS_GCP_KMS_UNIVERSE_DOMAIN" => Some(universe.to_owned()),
                _ => None,
            });
            super::endpoint(&setup).map(|endpoint| endpoint.url).map_err(|error| error.cause)
        };
        assert_eq!(find("", "").as_deref(), Ok("https://cloudkms.googleapis.com"));
        assert_eq!(find("", "s3nsapis.fr").as_deref(), Ok("https://cloudkms.s3nsapis.fr"));
        assert_eq!(find("kms.example.com:444", "s3nsapis.fr").as_deref(), Ok("https://kms.example.com:444"));
        assert_eq!(find("http://127.0.0.1:1/", "").as_deref(), Ok("http://127.0.0.1:1"));
        assert_eq!(find("https://h/base", "").as_deref(), Ok("https://h/base"));
        for endpoint in ["http://kms.example.com", "ftp://h", "https://u:p@h", "https://h?q", "", " "] {
            let universe = if endpoint.trim().is_empty() { "evil.org/x?" } else { "" };
            assert_eq!(find(endpoint, universe), Err(Cause::Untrusted), "{endpoint:?}");
        }
    }
}
