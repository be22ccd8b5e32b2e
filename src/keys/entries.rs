//! Keys and credentials under the names that Flux gives them in a Secret or a folder: `*.agekey`, `*.asc`,
//! `sops.vault-token`, `sops.aws-kms`, `sops.azure-kv`, `sops.gcp-kms`.
//!
//! Invariants: credentials are used on their own, never completed by what the environment of this program has; what
//! they say cannot send a request to a server of its own choice, or read a file of this machine; no error quotes them.

use std::sync::Arc;

use selkie::format::Format;
use selkie::keys::age::{AgeService, Identities, IdentityLayout, IdentityParseError};
#[cfg(feature = "pgp-native")]
use selkie::keys::pgp::{PgpKeyError, PgpKeys, PgpService};
use selkie::keys::{KeyKind, KeyService, KeySetup, Remote, Trust};
use selkie::secret::SecretBytes;
use serde_json::Value as Json;
use zeroize::Zeroizing;

/// Keys and credentials that were handed in.
#[derive(Default)]
pub struct KeyEntries {
    identities: Option<Identities>,
    #[cfg(feature = "pgp-native")]
    pgp: Option<PgpKeys>,
    credentials: Vec<Credentials>,
}

/// What services for credentials need besides them.
#[derive(Clone)]
pub struct Surroundings {
    /// Which addresses may be sent credentials.
    pub trust: Trust,
    /// What runs requests.
    pub remote: Arc<Remote>,
    /// Returns a variable of the environment. Only some that say how servers are reached are looked at.
    pub variable: fn(&str) -> Option<String>,
}

/// Why an entry cannot be used. No variant holds anything of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyEntryError {
    /// It holds no age identities.
    #[error("does not hold age identities")]
    Age(#[source] IdentityParseError),
    /// It is not of the form that its name says.
    #[error("is not {0}")]
    Malformed(&'static str),
    /// It holds no OpenPGP keys that can be used.
    #[cfg(feature = "pgp-native")]
    #[error("does not hold OpenPGP keys that can be used")]
    Pgp(#[source] PgpKeyError),
    /// It asks for something that is not done here.
    #[error("{0}")]
    Refused(&'static str),
    /// It is too long.
    #[error("is longer than {} KiB", MAX_LENGTH >> 10)]
    TooLong,
}

/// The credentials for one kind of key, as variables of an environment.
struct Credentials {
    kind: &'static str,
    variables: Vec<(&'static str, Zeroizing<String>)>,
}

impl KeyEntries {
    /// Returns whether keys or credentials are expected under a name.
    #[must_use]
    pub fn has_name(name: &str) -> bool {
        name.ends_with(AGE) || name.ends_with(PGP) || CREDENTIALS.iter().any(|(known, ..)| *known == name)
    }

    /// Adds what stands under a name; anything under another name is passed over. `place` is what reports call it.
    ///
    /// # Errors
    /// If it is not what its name says.
    pub fn add(&mut self, name: &str, place: &str, text: &SecretBytes) -> Result<(), KeyEntryError> {
        if !Self::has_name(name) {
            return Ok(());
        }
        if text.len() > MAX_LENGTH {
            return Err(KeyEntryError::TooLong);
        }
        if let Some((_, kind, read)) = CREDENTIALS.iter().find(|(known, ..)| *known == name) {
            let variables = read(text)?;
            self.credentials.push(Credentials { kind, variables });
            return Ok(());
        }
        if name.ends_with(PGP) {
            return self.add_pgp(text);
        }
        // Whoever may write a Secret must not have a program run by that.
        let is_plugin = |window: &[u8]| window.eq_ignore_ascii_case(PLUGIN);
        if text.expose_secret().windows(PLUGIN.len()).any(is_plugin) {
            return Err(KeyEntryError::Refused("holds an identity of a plugin, which is a program"));
        }
        self.add_identities(place, text)
    }

    /// Adds age identities.
    ///
    /// # Errors
    /// If there are none in the text.
    pub fn add_identities(&mut self, place: &str, text: &SecretBytes) -> Result<(), KeyEntryError> {
        let identities = self.identities.get_or_insert_default();
        identities.add(place, text, IdentityLayout::Lines).map_err(KeyEntryError::Age)
    }

    #[cfg(feature = "pgp-native")]
    fn add_pgp(&mut self, text: &SecretBytes) -> Result<(), KeyEntryError> {
        self.pgp.get_or_insert_with(PgpKeys::new).add(text, None).map_err(KeyEntryError::Pgp)
    }

    #[cfg(not(feature = "pgp-native"))]
    fn add_pgp(&mut self, _: &SecretBytes) -> Result<(), KeyEntryError> {
        Err(KeyEntryError::Refused("holds OpenPGP keys, which this build cannot use"))
    }

    /// Returns whether there is nothing here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        #[cfg(feature = "pgp-native")]
        if self.pgp.is_some() {
            return false;
        }
        self.identities.is_none() && self.credentials.is_empty()
    }

    /// Returns what unwraps data keys with all of this, and with nothing else.
    #[must_use]
    pub fn into_services(self, around: &Surroundings) -> Vec<Box<dyn KeyService>> {
        let mut services: Vec<Box<dyn KeyService>> = Vec::new();
        if let Some(identities) = self.identities {
            services.push(Box::new(AgeService::new(identities)));
        }
        #[cfg(feature = "pgp-native")]
        if let Some(keys) = self.pgp {
            services.push(Box::new(PgpService::new().with_keys(keys)));
        }
        services.extend(self.credentials.into_iter().filter_map(|credentials| credentials.connect(around)));
        services
    }
}

impl Credentials {
    /// Returns the service; `None` if this build has none for the kind.
    fn connect(self, around: &Surroundings) -> Option<Box<dyn KeyService>> {
        let connect = KeyKind::from_name(self.kind)?.connect?;
        let (variables, of_environment) = (self.variables, around.variable);
        let find = move |name: &str| {
            let own = variables.iter().find(|(known, _)| *known == name);
            match own {
                Some((_, value)) => Some(value.to_string()),
                None if TRANSPORT.contains(&name) => of_environment(name),
                None => None,
            }
        };
        let mut setup = KeySetup::new(find).isolated();
        setup.trust = around.trust.clone();
        setup.remote = Arc::clone(&around.remote);
        Some(connect(&setup))
    }
}

type Variables = Vec<(&'static str, Zeroizing<String>)>;
type Read = fn(&SecretBytes) -> Result<Variables, KeyEntryError>;

/// Reads the access key of AWS.
fn aws(text: &SecretBytes) -> Result<Variables, KeyEntryError> {
    const FORM: KeyEntryError =
        KeyEntryError::Malformed("a map with aws_access_key_id and aws_secret_access_key");
    let fields = fields(text).ok_or(FORM)?;
    let field = |name| take(&fields, &[name]);
    let mut variables = vec![
        ("AWS_ACCESS_KEY_ID", field("aws_access_key_id").ok_or(FORM)?),
        ("AWS_SECRET_ACCESS_KEY", field("aws_secret_access_key").ok_or(FORM)?),
    ];
    variables.extend(field("aws_session_token").map(|token| ("AWS_SESSION_TOKEN", token)));
    Ok(variables)
}

/// Reads the credentials of an application of Azure, as Flux takes them and as `az` prints them.
fn azure(text: &SecretBytes) -> Result<Variables, KeyEntryError> {
    const FORM: KeyEntryError = KeyEntryError::Malformed("a map with tenantId, clientId and clientSecret");
    let fields = fields(text).ok_or(FORM)?;
    if take(&fields, &["clientCertificate"]).is_some() {
        return Err(KeyEntryError::Refused(
            "has a clientCertificate, which is not supported: use a clientSecret",
        ));
    }
    if take(&fields, &["authorityHost"]).is_some_and(|host| host.trim_end_matches('/') != AUTHORITY) {
        return Err(KeyEntryError::Refused("has another authorityHost than that of the public cloud"));
    }
    let tenant = take(&fields, &["tenantId", "tenant"]);
    let secret = take(&fields, &["clientSecret", "password"]);
    if tenant.is_none() && secret.is_none() && take(&fields, &["clientId"]).is_some() {
        return Err(KeyEntryError::Refused(
            "asks for the managed identity of the controller, which is not its to give",
        ));
    }
    Ok(vec![
        ("AZURE_TENANT_ID", tenant.ok_or(FORM)?),
        ("AZURE_CLIENT_ID", take(&fields, &["clientId", "appId"]).ok_or(FORM)?),
        ("AZURE_CLIENT_SECRET", secret.ok_or(FORM)?),
        // Nothing that this machine has instead.
        ("AZURE_TOKEN_CREDENTIALS", Zeroizing::new("environmentcredential".to_owned())),
    ])
}

/// Reads the key of a service account of Google. Other types of credentials name files to read and servers to ask.
fn gcp(text: &SecretBytes) -> Result<Variables, KeyEntryError> {
    const FORM: KeyEntryError = KeyEntryError::Malformed("the JSON key of a service account");
    let json: Json = serde_json::from_slice(text.expose_secret()).map_err(|_| FORM)?;
    let is = |name: &str, expected: &str| json.get(name).is_none_or(|value| value == expected);
    if !json.is_object() || json.get("type").is_none_or(|kind| kind != "service_account") {
        return Err(FORM);
    }
    if !is("token_uri", "https://oauth2.googleapis.com/token") || !is("universe_domain", "googleapis.com") {
        return Err(KeyEntryError::Refused("names another server for tokens than Google's own"));
    }
    let text = str::from_utf8(text.expose_secret()).map_err(|_| FORM)?;
    Ok(vec![("GOOGLE_CREDENTIALS", Zeroizing::new(text.to_owned()))])
}

/// Reads a token of Vault.
fn vault(text: &SecretBytes) -> Result<Variables, KeyEntryError> {
    let token = str::from_utf8(text.expose_secret()).map(str::trim).unwrap_or_default();
    match !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(vec![("VAULT_TOKEN", Zeroizing::new(token.to_owned()))]),
        false => Err(KeyEntryError::Malformed("a token of Vault")),
    }
}

/// Reads a map of texts, in YAML or JSON, in UTF-8 or UTF-16.
fn fields(text: &SecretBytes) -> Option<Json> {
    let source = match text.expose_secret() {
        [0xff, 0xfe, rest @ ..] => utf_16(rest, u16::from_le_bytes)?,
        [0xfe, 0xff, rest @ ..] => utf_16(rest, u16::from_be_bytes)?,
        [0xef, 0xbb, 0xbf, rest @ ..] => rest.into(),
        rest => rest.into(),
    };
    let tree = Format::Yaml.read(source).ok()?;
    let [root] = tree.documents() else { return None };
    Some(tree.to_json(*root))
}

fn utf_16(bytes: &[u8], read: fn([u8; 2]) -> u16) -> Option<SecretBytes> {
    let (pairs, rest) = bytes.as_chunks();
    let units: Zeroizing<Vec<u16>> = Zeroizing::new(pairs.iter().map(|pair| read(*pair)).collect());
    rest.is_empty().then(|| String::from_utf16(&units).ok().map(SecretBytes::from))?
}

/// Returns the first of some fields that is a text with something in it.
fn take(fields: &Json, names: &[&str]) -> Option<Zeroizing<String>> {
    let texts = names.iter().filter_map(|name| fields.get(name)?.as_str());
    let mut texts = texts.filter(|text| !text.is_empty());
    texts.next().map(|text| Zeroizing::new(text.to_owned()))
}

const AGE: &str = ".agekey";
const PGP: &str = ".asc";

/// What identities of age plugins begin with.
const PLUGIN: &[u8] = b"AGE-PLUGIN-";

/// The names of credentials, the kind of key that each is for, and what reads it.
const CREDENTIALS: [(&str, &str, Read); 4] = [
    ("sops.aws-kms", "kms", aws),
    ("sops.azure-kv", "azure_kv", azure),
    ("sops.gcp-kms", "gcp_kms", gcp),
    ("sops.vault-token", "hc_vault", vault),
];

/// The server that gives tokens in the public cloud of Azure.
const AUTHORITY: &str = "https://login.microsoftonline.com";

/// Variables that say how servers are reached, and give nobody any rights.
const TRANSPORT: [&str; 14] = [
    "BAO_CACERT",
    "BAO_CACERT_BYTES",
    "BAO_CAPATH",
    "BAO_HTTP_PROXY",
    "BAO_PROXY_ADDR",
    "BAO_TLS_SERVER_NAME",
    "SOPS_GCP_KMS_ENDPOINT",
    "SOPS_GCP_KMS_UNIVERSE_DOMAIN",
    "VAULT_CACERT",
    "VAULT_CACERT_BYTES",
    "VAULT_CAPATH",
    "VAULT_HTTP_PROXY",
    "VAULT_PROXY_ADDR",
    "VAULT_TLS_SERVER_NAME",
];

/// Far more than keys take: what a Secret of Kubernetes may hold.
const MAX_LENGTH: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn add(name: &str, text: impl Into<SecretBytes>) -> Result<KeyEntries, String> {
        let mut entries = KeyEntries::default();
        entries.add(name, "a place", &text.into()).map_err(|error| error.to_string())?;
        Ok(entries)
    }

    fn variables(name: &str, text: impl Into<SecretBytes>) -> Result<Vec<String>, String> {
        let entries = add(name, text)?;
        let variables = entries.credentials.iter().flat_map(|credentials| &credentials.variables);
        Ok(variables.map(|(name, value)| format!("{name}={}", **value)).collect())
    }

    #[test]
    fn credentials_are_read_as_flux_has_them() {
        let aws = "aws_access_key_id: id\naws_secret_access_key: key\naws_session_token: token\n";
        let expected = ["AWS_ACCESS_KEY_ID=id", "AWS_SECRET_ACCESS_KEY=key", "AWS_SESSION_TOKEN=token"];
        assert_eq!(variables("sops.aws-kms", aws).expect("credentials"), expected);
        let azure = r#"{"tenantId": "t", "clientId": "c", "clientSecret": "s"}"#;
        let of_az = "tenant: t\nappId: c\npassword: s\n";
        let utf_16: Vec<u8> =
            [0xff, 0xfe].into_iter().chain(of_az.encode_utf16().flat_map(u16::to_le_bytes)).collect();
        let expected = [
            "AZURE_TENANT_ID=t",
            "AZURE_CLIENT_ID=c",
            "AZURE_CLIENT_SECRET=s",
            "AZURE_TOKEN_CREDENTIALS=environmentcredential",
        ];
        assert_eq!(variables("sops.azure-kv", azure).expect("credentials"), expected);
        assert_eq!(variables("sops.azure-kv", of_az).expect("credentials"), expected);
        assert_eq!(variables("sops.azure-kv", utf_16).expect("credentials"), expected);
        assert_eq!(variables("sops.vault-token", " s.token\n").expect("a token"), ["VAULT_TOKEN=s.token"]);
        let gcp = r#"{"type": "service_account", "private_key": "x"}"#;
        assert_eq!(variables("sops.gcp-kms", gcp).expect("a key"), [format!("GOOGLE_CREDENTIALS={gcp}")]);
    }

    #[test]
    fn credentials_that_reach_further_than_they_should_are_refused() {
        for (name, text) in [
            ("sops.gcp-kms", r#"{"type": "external_account", "token_url": "https://evil.example"}"#),
            ("sops.gcp-kms", r#"{"type": "service_account", "token_uri": "https://evil.example"}"#),
            ("sops.gcp-kms", r#"{"type": "service_account", "universe_domain": "evil.example"}"#),
            ("sops.gcp-kms", "/var/run/secrets/kubernetes.io/serviceaccount/token"),
            ("sops.azure-kv", "clientId: c\n"),
            (
                "sops.azure-kv",
                "{tenantId: t, clientId: c, clientSecret: s, authorityHost: 'https://evil.example'}",
            ),
            ("sops.azure-kv", "{tenantId: t, clientId: c, clientCertificate: s}"),
            ("sops.vault-token", "a token\nwith a line"),
            ("sops.vault-token", ""),
            ("sops.aws-kms", "aws_access_key_id: evil.example"),
            ("sops.aws-kms", "[evil.example"),
            ("x.agekey", "evil.example"),
            ("x.agekey", "# evil.example\nage-plugin-EVIL-1QQPQYGP6XG0"),
            ("x.asc", "evil.example"),
        ] {
            let error = add(name, text).err().unwrap_or_else(|| panic!("{name}: {text}"));
            assert!(!error.contains("evil.example"), "{error}");
        }
    }

    #[test]
    fn other_names_are_passed_over() {
        assert!(add("README", "text").expect("passed over").is_empty());
        assert!(!KeyEntries::has_name("agekey") && KeyEntries::has_name("a.agekey"));
    }

    #[test]
    fn nothing_of_the_environment_completes_credentials() {
        let around = Surroundings {
            trust: Trust::Listed(Vec::new()),
            remote: Arc::default(),
            variable: |name| panic!("{name} was asked for"),
        };
        let entries =
            add("sops.azure-kv", "{tenantId: t, clientId: c, clientSecret: s}").expect("credentials");
        let expected = usize::from(cfg!(feature = "azure"));
        assert_eq!(entries.into_services(&around).len(), expected);
    }
}
