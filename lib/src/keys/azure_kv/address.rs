//! Addresses of vaults and names of keys. A document chooses the vault, and a token goes there: only to a host of
//! Azure, or to one that people trust, and then a token that is good for that host alone.

use reqwest::Url;

use crate::keys::said::said;
use crate::keys::shell::word;
use crate::keys::{Cause, KeyError, KeyParseError, KeySetup, MasterKey, ServiceError};

/// Where a key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyAddress {
    /// The URL of the vault, without a slash at the end.
    pub vault: String,
    /// The host of the vault, for people.
    pub server: String,
    pub name: String,
    /// Empty for the newest one.
    pub version: String,
    /// What a token must be good for.
    pub scope: String,
}

impl KeyAddress {
    /// Reads the address of a key.
    pub fn of(key: &MasterKey, setup: &KeySetup) -> Result<Self, KeyError> {
        let (name, version) = (key.field("name"), key.field("version"));
        let is_word = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let malformed =
            || KeyParseError::new(&key.to_string(), "a URL like `https://VAULT/keys/NAME/VERSION`");
        let url = Url::parse(key.field("vault_url")).map_err(|_| malformed())?;
        let is_plain = url.scheme() == "https"
            && url.username().is_empty()
            && url.password().is_none()
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none();
        let host = url.host_str().unwrap_or_default().to_owned();
        if !is_plain || host.is_empty() || name.is_empty() || !is_word(name) || !is_word(version) {
            return Err(malformed().into());
        }
        let vault = url.as_str().trim_end_matches('/').to_owned();
        let domain = host.split_once('.').map(|(_, domain)| domain.to_owned());
        let is_known =
            url.port().is_none() && domain.as_ref().is_some_and(|domain| DOMAINS.contains(&domain.as_str()));
        match domain.filter(|_| is_known || setup.admits(&vault)) {
            // As Azure's own clients do: a token for one domain is never sent to another one.
            Some(domain) => Ok(Self {
                scope: format!("https://{domain}/.default"),
                vault,
                server: host,
                name: name.to_owned(),
                version: version.to_owned(),
            }),
            None => Err(refusal(setup, &vault, &host).into()),
        }
    }

    /// Returns a URL below the key.
    pub fn url(&self, verb: &str) -> String {
        // An empty version is the newest one.
        let Self { vault, name, version, .. } = self;
        format!("{vault}/keys/{name}/{version}{verb}?api-version={API_VERSION}")
    }

    /// Returns the version that the identifier of a key has, if it is this one.
    pub fn version_of(&self, identifier: &str) -> Option<String> {
        let version = identifier.strip_prefix(&format!("{}/keys/{}/", self.vault, self.name))?;
        let is_word = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_alphanumeric());
        is_word.then(|| version.to_owned())
    }

    /// Returns the name of the vault as the command line of Azure has it.
    pub fn vault_name(&self) -> &str {
        word(self.server.split('.').next().unwrap_or_default(), "VAULT")
    }

    /// Returns the name of the key as the command line of Azure has it.
    pub fn key_name(&self) -> &str {
        word(&self.name, "KEY")
    }
}

fn refusal(setup: &KeySetup, vault: &str, host: &str) -> ServiceError {
    let what = format!("{host} is not a vault of Azure");
    match setup.doubted(vault) {
        Some(config) => {
            let detail = format!("{what}, and only {} names it, which may have come with the file", said(&config));
            ServiceError::new(Cause::Untrusted, detail).with_remedy(format!(
                "if {host} may have your token, say that the configuration is yours: `--config {}`",
                word(&config, "CONFIG")
            ))
        }
        None => ServiceError::new(Cause::Untrusted, what).with_remedy(
            "name the vault with an address such as https://NAME.vault.azure.net, or the key in the .sops.yaml of the \
             working directory",
        ),
    }
}

/// The domains below which Azure has its vaults and its managed hardware.
const DOMAINS: [&str; 8] = [
    "managedhsm.azure.cn",
    "managedhsm.azure.net",
    "managedhsm.microsoftazure.de",
    "managedhsm.usgovcloudapi.net",
    "vault.azure.cn",
    "vault.azure.net",
    "vault.microsoftazure.de",
    "vault.usgovcloudapi.net",
];
const API_VERSION: &str = "7.4";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Trust;
    use crate::keys::azure_kv::KIND;

    fn address(vault: &str, name: &str, version: &str, trust: &Trust) -> Result<KeyAddress, KeyError> {
        let fields = [("vault_url", vault), ("name", name), ("version", version)];
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
        let mut setup = KeySetup::new(|_| None)
            .with_named(|| vec!["https://named.vault.example.com".to_owned()])
            .with_doubted(|address| (address == "https://v.doubted.org").then(|| "x/.sops.yaml".to_owned()));
        setup.trust = trust.clone();
        KeyAddress::of(&MasterKey::new(&KIND, fields), &setup)
    }

    fn nothing() -> Trust {
        Trust::Listed(Vec::new())
    }

    #[test]
    fn tokens_are_good_for_the_domain_of_the_vault() {
        for (vault, scope) in [
            ("https://v.vault.azure.net", "https://vault.azure.net/.default"),
            ("https://v.vault.azure.net/", "https://vault.azure.net/.default"),
            ("https://V.managedhsm.usgovcloudapi.net", "https://managedhsm.usgovcloudapi.net/.default"),
        ] {
            let address = address(vault, "k", "1", &nothing()).expect("an address");
            assert_eq!(address.scope, scope);
        }
        let address = address("https://v.vault.azure.net/", "k", "1", &nothing()).expect("an address");
        assert_eq!(address.url("/encrypt"), "https://v.vault.azure.net/keys/k/1/encrypt?api-version=7.4");
    }

    #[test]
    fn no_other_host_gets_a_token_unless_it_is_trusted() {
        let cause = |vault: &str, trust: &Trust| match address(vault, "k", "1", trust) {
            Ok(address) => Ok(address.scope),
            Err(KeyError::Service(error)) => Err(Some(error.cause)),
            Err(_) => Err(None),
        };
        for vault in [
            "https://evil.org",
            "https://vault.azure.net",
            "https://v.vault.azure.net.evil.org",
            "https://a.v.vault.azure.net",
            "https://v.vault.azure.net:8443",
            "https://evilvault.azure.net",
            "https://127.0.0.1:1",
        ] {
            assert_eq!(cause(vault, &nothing()), Err(Some(Cause::Untrusted)), "{vault}");
        }
        let trusted = Trust::Listed(vec!["https://v.vault.example.com:1".to_owned()]);
        assert_eq!(
            cause("https://v.vault.example.com:1", &trusted),
            Ok("https://vault.example.com/.default".into())
        );
        // Whoever trusts everybody still has no token for Azure stolen.
        assert_eq!(cause("https://v.evil.org", &Trust::All), Ok("https://evil.org/.default".into()));
        for vault in
            ["http://v.vault.azure.net", "https://u@v.vault.azure.net", "https://v.vault.azure.net/x", "?"]
        {
            assert_eq!(cause(vault, &Trust::All), Err(None), "{vault}");
        }
    }

    #[test]
    fn what_the_user_named_is_admitted_and_what_came_with_the_file_is_not() {
        let named = address("https://named.vault.example.com", "k", "1", &nothing()).expect("an address");
        assert_eq!(named.scope, "https://vault.example.com/.default");
        let Err(KeyError::Service(error)) = address("https://v.doubted.org", "k", "1", &nothing()) else {
            panic!("it is admitted")
        };
        assert_eq!(error.cause, Cause::Untrusted);
        assert!(error.detail.contains("only x/.sops.yaml names it"), "{error}");
        assert!(error.remedy.is_some_and(|remedy| remedy.contains("`--config x/.sops.yaml`")));
    }

    #[test]
    fn what_a_shell_could_run_is_no_name_of_a_vault() {
        let hostile =
            address("https://a`rm`$(rm).vault.azure.net", "-k", "1", &nothing()).expect("an address");
        assert_eq!((hostile.vault_name(), hostile.key_name()), ("VAULT", "KEY"));
    }

    #[test]
    fn names_hold_nothing_that_a_url_could_take_for_something_else() {
        for (name, version) in
            [("", ""), ("a/b", ""), ("..", "1"), ("k", "1?x"), ("k", "../secrets/x"), ("k%2f", "1")]
        {
            let failed = address("https://v.vault.azure.net", name, version, &nothing()).err();
            assert!(matches!(failed, Some(KeyError::Parse(_))), "{name} {version}: {failed:?}");
        }
    }

    #[test]
    fn versions_are_those_of_the_same_key() {
        let address = address("https://v.vault.azure.net", "k", "", &nothing()).expect("an address");
        let version = |identifier: &str| address.version_of(identifier);
        assert_eq!(version("https://v.vault.azure.net/keys/k/0a1b").as_deref(), Some("0a1b"));
        for other in [
            "https://v.vault.azure.net/keys/k/",
            "https://v.vault.azure.net/keys/k2/0a1b",
            "https://w.vault.azure.net/keys/k/0a1b",
            "https://v.vault.azure.net/keys/k/../x",
        ] {
            assert_eq!(version(other), None, "{other}");
        }
    }
}
