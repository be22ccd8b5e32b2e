//! What the environment says of Vault and OpenBao: the variables that their own programs read.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use reqwest::{Certificate, Identity};
use zeroize::Zeroizing;

use crate::keys::KeySetup;
use crate::keys::service::{Cause, ServiceError};

/// The environment, as those see it who work with one of both programs.
#[derive(Clone)]
pub(super) struct Environment {
    pub setup: KeySetup,
    /// Whether the variables of OpenBao come before those of Vault.
    pub prefers_bao: bool,
}

/// What the environment says of requests.
pub(super) struct Settings {
    /// What stands in front of the servers, if anything.
    pub agent: Option<String>,
    pub namespace: Option<String>,
    /// How often a request is sent again that a server was not ready for.
    pub retries: u32,
    pub proxy: Option<String>,
    /// The authorities to trust in place of those of the system.
    pub authorities: Option<Vec<Certificate>>,
    pub identity: Option<Identity>,
    pub server_name: Option<String>,
    pub skips_verification: bool,
}

impl Environment {
    /// Returns the value of a variable whose name ends so. sops knows those of Vault alone: they come first, unless
    /// the address is OpenBao's.
    pub fn get(&self, name: &str) -> Option<String> {
        let prefixes = if self.prefers_bao { ["BAO", "VAULT"] } else { ["VAULT", "BAO"] };
        prefixes.iter().find_map(|prefix| self.setup.variable(&format!("{prefix}_{name}")))
    }

    /// Returns the token, if there is one.
    pub fn token(&self) -> Result<Option<Zeroizing<String>>, ServiceError> {
        let token = match self.get("TOKEN") {
            Some(token) => Some(Zeroizing::new(token)),
            None => self.token_of_file()?,
        };
        let token =
            token.map(|token| Zeroizing::new(token.trim().to_owned())).filter(|token| !token.is_empty());
        match token {
            Some(token) if !token.bytes().all(|byte| byte.is_ascii_graphic()) => {
                let detail = "the token for Vault has characters in it that no token has";
                Err(ServiceError::new(Cause::Credentials, detail).with_remedy(LOG_IN))
            }
            token => Ok(token),
        }
    }

    fn token_of_file(&self) -> Result<Option<Zeroizing<String>>, ServiceError> {
        let home = ["HOME", "USERPROFILE"].iter().find_map(|name| self.setup.variable(name));
        let Some(home) = home else { return Ok(None) };
        let path = Path::new(&home).join(TOKEN_FILE);
        match fs::read(&path).map(Zeroizing::new) {
            Ok(bytes) => match std::str::from_utf8(&bytes) {
                Ok(text) => Ok(Some(Zeroizing::new(text.to_owned()))),
                Err(_) => Err(unreadable(&path, "it is not a text", Cause::Credentials)),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unreadable(&path, &error.to_string(), Cause::Credentials)),
        }
    }
}

impl Settings {
    /// Reads the environment.
    pub fn read(environment: &Environment) -> Result<Self, ServiceError> {
        let get = |name| environment.get(name);
        let retries = get("MAX_RETRIES")
            .map(|text| text.trim().parse().map_err(|_| misspelled("MAX_RETRIES", "a number")));
        Ok(Self {
            agent: get("AGENT_ADDR"),
            namespace: namespace(get("NAMESPACE"))?,
            retries: retries.transpose()?.unwrap_or(DEFAULT_RETRIES),
            proxy: get("PROXY_ADDR").or_else(|| get("HTTP_PROXY")),
            authorities: authorities(get("CACERT"), get("CACERT_BYTES"), get("CAPATH"))?,
            identity: identity(get("CLIENT_CERT"), get("CLIENT_KEY"))?,
            server_name: get("TLS_SERVER_NAME"),
            skips_verification: match get("SKIP_VERIFY").as_deref() {
                None | Some("0" | "f" | "F" | "false" | "FALSE" | "False") => false,
                Some("1" | "t" | "T" | "true" | "TRUE" | "True") => true,
                Some(_) => return Err(misspelled("SKIP_VERIFY", "`true` or `false`")),
            },
        })
    }
}

fn namespace(text: Option<String>) -> Result<Option<String>, ServiceError> {
    match text {
        Some(text) if text.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Some(text)),
        Some(_) => Err(misspelled("NAMESPACE", "the path of one")),
        None => Ok(None),
    }
}

fn authorities(
    file: Option<String>,
    text: Option<String>,
    folder: Option<String>,
) -> Result<Option<Vec<Certificate>>, ServiceError> {
    if let Some(file) = file {
        let path = Path::new(&file);
        return certificates(&read(path)?, path).map(Some);
    }
    if let Some(text) = text {
        return certificates(text.as_bytes(), Path::new("VAULT_CACERT_BYTES")).map(Some);
    }
    let Some(folder) = folder else { return Ok(None) };
    let mut all = Vec::new();
    for path in files_of(Path::new(&folder))? {
        all.extend(certificates(&read(&path)?, &path)?);
    }
    Ok(Some(all))
}

fn files_of(folder: &Path) -> Result<Vec<PathBuf>, ServiceError> {
    let fail = |error: std::io::Error| unreadable(folder, &error.to_string(), Cause::Other);
    let entries = fs::read_dir(folder).map_err(fail)?.collect::<Result<Vec<_>, _>>().map_err(fail)?;
    let mut files: Vec<_> = entries.iter().map(fs::DirEntry::path).filter(|path| path.is_file()).collect();
    files.sort();
    Ok(files)
}

fn certificates(pem: &[u8], path: &Path) -> Result<Vec<Certificate>, ServiceError> {
    let none = || unreadable(path, "there is no certificate in it", Cause::Other);
    let certificates = Certificate::from_pem_bundle(pem).map_err(|_| none())?;
    if certificates.is_empty() { Err(none()) } else { Ok(certificates) }
}

fn identity(cert: Option<String>, key: Option<String>) -> Result<Option<Identity>, ServiceError> {
    let (cert, key) = match (cert, key) {
        (None, None) => return Ok(None),
        (Some(cert), Some(key)) => (cert, key),
        _ => {
            let detail =
                "VAULT_CLIENT_CERT and VAULT_CLIENT_KEY need each other, and only one of them is set";
            return Err(ServiceError::new(Cause::Credentials, detail));
        }
    };
    let mut pem = read(Path::new(&cert))?;
    pem.push(b'\n');
    pem.extend_from_slice(&read(Path::new(&key))?);
    let identity = Identity::from_pem(&pem)
        .map_err(|_| unreadable(Path::new(&cert), "it and its key are not in PEM", Cause::Credentials));
    identity.map(Some)
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, ServiceError> {
    fs::read(path).map(Zeroizing::new).map_err(|error| unreadable(path, &error.to_string(), Cause::Other))
}

fn unreadable(path: &Path, why: &str, cause: Cause) -> ServiceError {
    ServiceError::new(cause, format!("{} cannot be used: {why}", path.display()))
}

fn misspelled(name: &str, expected: &str) -> ServiceError {
    ServiceError::new(Cause::Other, format!("VAULT_{name} is not {expected}"))
}

/// What to do without a token.
pub(super) const LOG_IN: &str = "run `vault login` (or `bao login`), or set VAULT_TOKEN";

/// The file below the home directory that the programs keep the token in, both the same.
const TOKEN_FILE: &str = ".vault-token";

const DEFAULT_RETRIES: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(prefers_bao: bool, variables: &'static [(&str, &str)]) -> Environment {
        let find = |name: &str| variables.iter().find(|(known, _)| *known == name);
        let setup = KeySetup::new(move |name| find(name).map(|(_, value)| (*value).to_owned()));
        Environment { setup, prefers_bao }
    }

    fn token(environment: &Environment) -> Result<Option<String>, Cause> {
        let token = environment.token().map_err(|error| error.cause)?;
        Ok(token.map(|token| token.to_string()))
    }

    #[test]
    fn both_programs_have_their_variables() {
        let variables = &[("VAULT_TOKEN", "v"), ("BAO_TOKEN", "b"), ("BAO_NAMESPACE", "n")];
        assert_eq!(token(&environment(false, variables)), Ok(Some("v".into())));
        assert_eq!(token(&environment(true, variables)), Ok(Some("b".into())));
        assert_eq!(environment(false, variables).get("NAMESPACE").as_deref(), Some("n"));
    }

    #[test]
    fn a_token_is_one_line_of_plain_letters() {
        assert_eq!(token(&environment(false, &[("VAULT_TOKEN", " s.abc\n")])), Ok(Some("s.abc".into())));
        assert_eq!(token(&environment(false, &[("VAULT_TOKEN", "  ")])), Ok(None));
        assert_eq!(token(&environment(false, &[("VAULT_TOKEN", "a\r\nX-Evil: b")])), Err(Cause::Credentials));
        assert_eq!(token(&environment(false, &[])), Ok(None));
        assert_eq!(token(&environment(false, &[("HOME", "/nonexistent")])), Ok(None));
    }

    #[test]
    fn settings_that_say_nothing_clear_stop_the_run() {
        let problem = |variables| {
            Settings::read(&environment(false, variables)).err().map(|error| error.detail).unwrap_or_default()
        };
        assert_eq!(problem(&[("VAULT_SKIP_VERIFY", "yes")]), "VAULT_SKIP_VERIFY is not `true` or `false`");
        assert_eq!(problem(&[("VAULT_MAX_RETRIES", "-1")]), "VAULT_MAX_RETRIES is not a number");
        assert_eq!(problem(&[("VAULT_NAMESPACE", "a\nb")]), "VAULT_NAMESPACE is not the path of one");
        assert_eq!(
            problem(&[("VAULT_CACERT_BYTES", "nonsense")]),
            "VAULT_CACERT_BYTES cannot be used: there is no certificate in it"
        );
        assert!(problem(&[("VAULT_CACERT", "/nonexistent")]).starts_with("/nonexistent cannot be used: "));
        assert!(problem(&[("VAULT_CLIENT_CERT", "/nonexistent")]).contains("need each other"));
        assert_eq!(problem(&[("VAULT_SKIP_VERIFY", "0")]), "");
    }
}
