//! Keys of the transit engine of HashiCorp Vault and OpenBao, by server, engine path and name.
//!
//! A document names the server that is asked: no token is sent to one that the document alone chose, see
//! [`Trust`](super::Trust).

#[cfg(feature = "vault")]
mod address;
#[cfg(feature = "vault")]
mod admission;
#[cfg(feature = "vault")]
mod client;
#[cfg(feature = "vault")]
mod connection;
#[cfg(feature = "vault")]
mod failure;
#[cfg(feature = "vault")]
mod service;
#[cfg(feature = "vault")]
mod settings;

use super::{
    KeyField, KeyFields, KeyKind, KeyMessage, KeyParseError, KeyService, KeySetup, text_fields, text_of,
};

#[cfg(feature = "vault")]
pub use address::shown;
#[cfg(feature = "vault")]
pub use client::Client;
#[cfg(feature = "vault")]
pub use service::VaultService;

/// Keys of a Vault transit engine.
pub static KIND: KeyKind = KeyKind {
    name: "hc_vault",
    flag: "hc-vault-transit",
    short: None,
    variable: "SOPS_VAULT_URIS",
    rule_field: "hc_vault_transit_uri",
    rule_rank: 6,
    group_field: "hc_vault",
    options: &[],
    fields: &[
        KeyField::required("engine_path"),
        KeyField::required("key_name"),
        KeyField::required("vault_address"),
    ],
    address_field: Some("vault_address"),
    has_created_at: true,
    parse,
    parse_object: |object| Err(KeyParseError::of_object(object, EXPECTED)),
    identify,
    message: KeyMessage { tag: 5, fields: &[("vault_address", 1), ("engine_path", 2), ("key_name", 3)] },
    mistakes: |_| Vec::new(),
    connect: CONNECT,
};

/// Reads `SCHEME://HOST[:PORT]/v1/ENGINE/keys/NAME`, where the engine's path may have slashes.
fn parse(text: &str) -> Result<KeyFields, KeyParseError> {
    let read = || {
        let (scheme, rest) = text.trim().split_once("://")?;
        let (host, path) = rest.split_once('/')?;
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let [version, engine @ .., _, name] = parts.as_slice() else { return None };
        let is_version = |part: &&str| {
            part.strip_prefix('v')
                .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
        };
        let is_whole = is_version(version)
            && !engine.is_empty()
            && !scheme.is_empty()
            && !parts.iter().any(|part| part.is_empty())
            && !path.contains(['?', '#']);
        is_whole.then(|| (format!("{scheme}://{host}"), engine.join("/"), *name))
    };
    match read() {
        Some((address, engine, name)) => {
            Ok(text_fields(&[("engine_path", &engine), ("key_name", name), ("vault_address", &address)]))
        }
        None => Err(KeyParseError::new(text, EXPECTED)),
    }
}

fn identify(fields: &KeyFields) -> String {
    let text = |name| text_of(fields, name);
    format!("{}/v1/{}/keys/{}", text("vault_address"), text("engine_path"), text("key_name"))
}

#[cfg(feature = "vault")]
const CONNECT: Option<fn(&KeySetup) -> Box<dyn KeyService>> =
    Some(|setup| Box::new(VaultService::new(setup)));
#[cfg(not(feature = "vault"))]
const CONNECT: Option<fn(&KeySetup) -> Box<dyn KeyService>> = None;

const EXPECTED: &str = "a URL like `https://vault.example.com:8200/v1/transit/keys/NAME`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_is_taken_apart() {
        for (url, address, engine, name) in [
            (
                "https://vault.example.com:8200/v1/transit/keys/k",
                "https://vault.example.com:8200",
                "transit",
                "k",
            ),
            ("http://127.0.0.1/v1/a/b/keys/k/", "http://127.0.0.1", "a/b", "k"),
        ] {
            let fields = parse(url).expect(url);
            let text = |name| text_of(&fields, name);
            assert_eq!(
                (text("vault_address"), text("engine_path"), text("key_name")),
                (address, engine, name)
            );
            assert_eq!(identify(&fields), url.trim_end_matches('/'));
        }
    }

    #[test]
    fn other_urls_are_refused() {
        for url in [
            "",
            "vault.example.com/v1/transit/keys/k",
            "https://vault.example.com",
            "https://vault.example.com/v1/keys/k",
            "https://vault.example.com/prefix/v1/transit/keys/k",
            "https://vault.example.com/v1/transit//keys/k",
            "https://vault.example.com/v1/transit/keys/k?version=1",
            "https://vault.example.com/transit/keys/k",
        ] {
            parse(url).expect_err(url);
        }
    }
}
