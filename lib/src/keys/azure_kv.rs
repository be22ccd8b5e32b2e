//! Keys of Azure Key Vault, by vault, name and version.
//!
//! A key may be named without its version; the service that wraps with it then finds the newest.

#[cfg(feature = "azure")]
mod address;
#[cfg(feature = "azure")]
mod credentials;
#[cfg(feature = "azure")]
mod service;

use super::{
    KeyField, KeyFields, KeyKind, KeyMessage, KeyParseError, KeyService, KeySetup, scalar_text, text_fields,
    text_of,
};

#[cfg(feature = "azure")]
const CONNECT: Option<fn(&KeySetup) -> Box<dyn KeyService>> = Some(service::connect);
#[cfg(not(feature = "azure"))]
const CONNECT: Option<fn(&KeySetup) -> Box<dyn KeyService>> = None;

/// Keys of Azure Key Vault.
pub static KIND: KeyKind = KeyKind {
    name: "azure_kv",
    flag: "azure-kv",
    short: None,
    variable: "SOPS_AZURE_KEYVAULT_URLS",
    rule_field: "azure_keyvault",
    rule_rank: 5,
    group_field: "azure_keyvault",
    options: &[],
    fields: &[KeyField::required("name"), KeyField::required("vault_url"), KeyField::resolved("version")],
    address_field: Some("vault_url"),
    has_created_at: true,
    parse,
    parse_object,
    identify,
    message: KeyMessage { tag: 4, fields: &[("vault_url", 1), ("name", 2), ("version", 3)] },
    mistakes: |_| Vec::new(),
    connect: CONNECT,
};

/// Reads `https://VAULT/keys/NAME`, with or without `/VERSION`.
fn parse(text: &str) -> Result<KeyFields, KeyParseError> {
    let read = || {
        let rest = text.trim().strip_prefix("https://")?;
        let (host, path) = rest.split_once('/')?;
        let (name, version) = match path.strip_prefix("keys/")?.split_once('/') {
            Some(parts) => parts,
            None => (path.strip_prefix("keys/")?, ""),
        };
        let is_whole = !host.is_empty() && !name.is_empty() && !version.contains('/');
        is_whole.then(|| (format!("https://{host}"), name, version))
    };
    match read() {
        Some((vault, name, version)) => {
            Ok(text_fields(&[("name", name), ("vault_url", &vault), ("version", version)]))
        }
        None => Err(KeyParseError::new(text, "a URL like `https://VAULT/keys/NAME/VERSION`")),
    }
}

fn parse_object(object: &KeyFields) -> Result<KeyFields, KeyParseError> {
    const EXPECTED: &str = "an object with `vaultUrl`, `key`, and perhaps `version`";
    let text = |name| scalar_text(object, name, EXPECTED);
    let (vault, name) = (text("vaultUrl")?, text("key")?);
    if vault.is_empty() || name.is_empty() {
        return Err(KeyParseError::of_object(object, EXPECTED));
    }
    Ok(text_fields(&[("name", &name), ("vault_url", &vault), ("version", &text("version")?)]))
}

fn identify(fields: &KeyFields) -> String {
    let text = |name| text_of(fields, name);
    format!("{}/keys/{}/{}", text("vault_url"), text("name"), text("version"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn url_is_taken_apart() {
        let url = "https://test.vault.azure.net/keys/test-key/a2a690a4fcc04166b739da342a912c90";
        let fields = parse(url).expect("this is a key");
        assert_eq!(text_of(&fields, "vault_url"), "https://test.vault.azure.net");
        assert_eq!(text_of(&fields, "name"), "test-key");
        assert_eq!(text_of(&fields, "version"), "a2a690a4fcc04166b739da342a912c90");
        assert_eq!(identify(&fields), url);
    }

    #[test]
    fn version_may_be_missing() {
        for url in ["https://v.azure.net/keys/k", "https://v.azure.net/keys/k/"] {
            let fields = parse(url).expect("this is a key");
            assert_eq!((text_of(&fields, "name"), text_of(&fields, "version")), ("k", ""));
            assert_eq!(identify(&fields), "https://v.azure.net/keys/k/");
        }
    }

    #[test]
    fn other_urls_are_refused() {
        for url in [
            "",
            "http://v/keys/k",
            "https:///keys/k",
            "https://v/key/k",
            "https://v/keys//1",
            "https://v/keys/k/1/2",
        ] {
            parse(url).expect_err(url);
        }
    }

    #[test]
    fn object_keeps_the_vault_as_it_is_written() {
        let object = json!({"vaultUrl": "https://v/", "key": "k", "version": "1"});
        let fields = parse_object(object.as_object().expect("an object")).expect("this is a key");
        assert_eq!(identify(&fields), "https://v//keys/k/1");
    }
}
