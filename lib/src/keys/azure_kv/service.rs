//! Wraps and unwraps by the REST interface of Azure Key Vault.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, RequestBuilder};
use serde_json::Value as Json;
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

use super::KIND;
use super::address::KeyAddress;
use super::credentials::{Credentials, LOG_IN};
use crate::keys::http::{Answer, Http};
use crate::keys::rest::{no_answer, object, overloaded, said_at, strange_answer, take_text};
use crate::keys::{Cause, Effort, KeyError, KeyFuture, KeyService, KeySetup, MasterKey, ServiceError};
use crate::secret::SecretBytes;

/// Returns the service for keys of Azure Key Vault.
pub(super) fn connect(setup: &KeySetup) -> Box<dyn KeyService> {
    let client = Client { setup: setup.clone(), credentials: OnceCell::new(), versions: Mutex::default() };
    Box::new(AzureService(Arc::new(client)))
}

struct AzureService(Arc<Client>);

struct Client {
    setup: KeySetup,
    credentials: OnceCell<(Http, Credentials)>,
    /// The newest version of each key that was asked for.
    versions: Mutex<HashMap<String, String>>,
}

impl KeyService for AzureService {
    fn name(&self) -> String {
        "Azure Key Vault".to_owned()
    }

    fn effort(&self, key: &MasterKey) -> Effort {
        if is_ours(key) { Effort::Remote } else { Effort::Free }
    }

    fn resolve<'a>(&'a self, key: &'a MasterKey) -> KeyFuture<'a, MasterKey> {
        Box::pin(async move {
            if is_ours(key) && key.field("version").is_empty() {
                Some(self.resolve_ours(key).await)
            } else {
                None
            }
        })
    }

    fn wrap<'a>(&'a self, key: &'a MasterKey, secret: &'a SecretBytes) -> KeyFuture<'a, String> {
        Box::pin(async move { if is_ours(key) { Some(self.wrap_ours(key, secret).await) } else { None } })
    }

    fn unwrap<'a>(&'a self, key: &'a MasterKey) -> KeyFuture<'a, SecretBytes> {
        Box::pin(async move { if is_ours(key) { Some(self.unwrap_ours(key).await) } else { None } })
    }
}

fn is_ours(key: &MasterKey) -> bool {
    key.kind().name == KIND.name
}

impl AzureService {
    async fn resolve_ours(&self, key: &MasterKey) -> Result<MasterKey, KeyError> {
        let address = KeyAddress::of(key, &self.0.setup)?;
        let client = Arc::clone(&self.0);
        let version =
            self.0.setup.remote.run(async move { Ok(client.newest_version(&address).await?) }).await?;
        let mut key = key.clone();
        key.set_field("version", version.into());
        Ok(key)
    }

    async fn wrap_ours(&self, key: &MasterKey, secret: &SecretBytes) -> Result<String, KeyError> {
        let value = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(secret.expose_secret()));
        let wrapped = self.use_key(key, Verb::Encrypt, &value).await?;
        Ok(BASE64_URL_SAFE_NO_PAD.encode(wrapped.expose_secret()))
    }

    async fn unwrap_ours(&self, key: &MasterKey) -> Result<SecretBytes, KeyError> {
        if BASE64_URL_SAFE_NO_PAD.decode(key.wrapped()).is_err() {
            return Err(KeyError::Malformed("it is not base64 as URLs have it".to_owned()));
        }
        self.use_key(key, Verb::Decrypt, key.wrapped()).await
    }

    async fn use_key(&self, key: &MasterKey, verb: Verb, value: &str) -> Result<SecretBytes, KeyError> {
        let address = KeyAddress::of(key, &self.0.setup)?;
        let body = object(&[("alg", "RSA-OAEP-256"), ("value", value)]);
        let client = Arc::clone(&self.0);
        self.0.setup.remote.run(async move { Ok(client.use_key(&address, verb, &body).await?) }).await
    }
}

/// What a key is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verb {
    Decrypt,
    Encrypt,
    Get,
}

impl Client {
    async fn newest_version(&self, address: &KeyAddress) -> Result<String, ServiceError> {
        let identifier = format!("{}/keys/{}", address.vault, address.name);
        let known = |versions: &HashMap<String, String>| versions.get(&identifier).cloned();
        if let Some(version) = known(&self.versions.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(version);
        }
        let (http, credentials) = self.credentials().await?;
        let request = http.request(Method::GET, &address.url(""));
        let answer = ask(http, credentials, address, Verb::Get, request).await?;
        let version =
            answer.pointer("/key/kid").and_then(Json::as_str).and_then(|kid| address.version_of(kid));
        let version =
            version.ok_or_else(|| strange_answer(&address.server, "the answer has no version of the key"))?;
        self.versions.lock().unwrap_or_else(PoisonError::into_inner).insert(identifier, version.clone());
        Ok(version)
    }

    async fn use_key(
        &self,
        address: &KeyAddress,
        verb: Verb,
        body: &[u8],
    ) -> Result<SecretBytes, ServiceError> {
        let (http, credentials) = self.credentials().await?;
        let path = if verb == Verb::Encrypt { "/encrypt" } else { "/decrypt" };
        let request = http.request(Method::POST, &address.url(path));
        let request = request.header(CONTENT_TYPE, "application/json").body(body.to_vec());
        let mut answer = ask(http, credentials, address, verb, request).await?;
        let value = BASE64_URL_SAFE_NO_PAD.decode(take_text(&mut answer, "value").trim_end_matches('='));
        match value.map(SecretBytes::from) {
            Ok(value) if !value.is_empty() => Ok(value),
            _ => Err(strange_answer(&address.server, "the answer has no value")),
        }
    }

    async fn credentials(&self) -> Result<&(Http, Credentials), ServiceError> {
        let find = async || Ok((Http::new()?, Credentials::find(&self.setup).await?));
        self.credentials.get_or_try_init(find).await
    }
}

/// Sends a request with a token and returns what is answered.
async fn ask(
    http: &Http,
    credentials: &Credentials,
    address: &KeyAddress,
    verb: Verb,
    request: RequestBuilder,
) -> Result<Json, ServiceError> {
    let token = credentials.token(&address.scope).await?;
    let bearer = Zeroizing::new(format!("Bearer {}", token.secret()));
    let mut bearer = HeaderValue::from_str(&bearer)
        .map_err(|_| strange_answer("Azure", "its token cannot be sent in a header"))?;
    bearer.set_sensitive(true);
    let request = request.header(AUTHORIZATION, bearer);
    let answer = http.send(request).await.map_err(|error| no_answer(&address.server, error))?;
    if answer.status != 200 {
        return Err(refused(address, verb, &answer));
    }
    answer.json().map_err(|error| strange_answer(&address.server, &error.detail))
}

/// Returns why a vault refused a request.
fn refused(address: &KeyAddress, verb: Verb, answer: &Answer) -> ServiceError {
    let (server, name) = (&address.server, address.key_name());
    let json = answer.json().unwrap_or_default();
    let said = said_at(&json, "/error/message");
    let inner = json.pointer("/error/innererror/code").and_then(Json::as_str).unwrap_or_default();
    let error = |cause, what: &str| ServiceError::new(cause, format!("{server}: {what}: {said}"));
    let vault = address.vault_name();
    match (answer.status, inner) {
        (401, _) => {
            let remedy = tenant_of(answer).map_or(LOG_IN.to_owned(), |tenant| {
                format!("the vault is of the tenant {tenant}: run `az login --tenant {tenant}`, or set AZURE_TENANT_ID")
            });
            error(Cause::Credentials, "the token is not valid there, or no longer").with_remedy(remedy)
        }
        (403, "KeyDisabled" | "KeyExpired" | "KeyNotYetValid") => {
            error(Cause::Key, "the key cannot be used").with_remedy(format!(
                "see whether it is enabled, and in force: `az keyvault key show --vault-name {vault} --name {name}`"
            ))
        }
        (403, "ForbiddenByFirewall" | "ForbiddenByConnection") => {
            error(Cause::Denied, "the firewall of the vault does not let this machine through").with_remedy(format!(
                "let it through: `az keyvault network-rule add --name {vault} --ip-address ADDRESS`"
            ))
        }
        (403, _) => error(Cause::Denied, "the credentials do not permit this").with_remedy(format!(
            "ask for the role Key Vault Crypto User (az role assignment create --role \"Key Vault Crypto User\"), or, in a vault \
             with access policies, for `az keyvault set-policy --name {vault} --key-permissions get encrypt decrypt`"
        )),
        (404, _) => error(Cause::Key, "there is no such key").with_remedy(format!(
            "compare the name and the version with `az keyvault key list-versions --vault-name {vault} --name {name}`"
        )),
        (400, _) if verb == Verb::Decrypt => {
            error(Cause::Ciphertext, "the data key was wrapped with another key, or changed since").with_remedy(
                "restore the file from an earlier version, such as `git checkout HEAD -- FILE`",
            )
        }
        (400, _) => error(Cause::Key, "the key cannot wrap").with_remedy(format!(
            "it must be an RSA key that permits to encrypt: `az keyvault key show --vault-name {vault} --name {name}`"
        )),
        (status, _) => overloaded(server, answer, &said).unwrap_or_else(|| {
            strange_answer(server, &format!("the status of the answer is {status}: {said}"))
        }),
    }
}

/// Returns the tenant that the challenge of a vault names.
fn tenant_of(answer: &Answer) -> Option<String> {
    let challenge = answer.headers.get(WWW_AUTHENTICATE)?.to_str().ok()?;
    let authority = challenge.split_once("authorization=\"")?.1.split('"').next()?;
    let tenant = authority.rsplit('/').next()?;
    let is_word = !tenant.is_empty()
        && tenant.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
    is_word.then(|| tenant.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str, challenge: Option<&str>) -> Answer {
        let challenge = challenge.map(|challenge| (WWW_AUTHENTICATE, challenge.parse().expect("a header")));
        Answer { status, headers: challenge.into_iter().collect(), body: SecretBytes::from(body) }
    }

    fn refusal(verb: Verb, answer: &Answer) -> ServiceError {
        let address = KeyAddress {
            vault: "https://v.vault.azure.net".into(),
            server: "v.vault.azure.net".into(),
            name: "k".into(),
            version: "1".into(),
            scope: "https://vault.azure.net/.default".into(),
        };
        refused(&address, verb, answer)
    }

    #[test]
    fn failures_are_told_apart() {
        let inner = |code: &str| {
            format!(r#"{{"error": {{"code": "X", "message": "said", "innererror": {{"code": "{code}"}}}}}}"#)
        };
        for (status, body, cause, remedy) in [
            (403, inner("ForbiddenByRbac"), Cause::Denied, "Key Vault Crypto User"),
            (403, inner("ForbiddenByFirewall"), Cause::Denied, "az keyvault network-rule add --name v"),
            (403, inner("KeyDisabled"), Cause::Key, "az keyvault key show --vault-name v --name k"),
            (404, inner("KeyNotFound"), Cause::Key, "az keyvault key list-versions"),
            (400, inner("BadParameter"), Cause::Ciphertext, "git checkout HEAD"),
            (429, inner("Throttled"), Cause::Other, "wait a little"),
            (500, "<html>".to_owned(), Cause::Other, "wait a little"),
            (301, String::new(), Cause::Answer, "a proxy, say"),
        ] {
            let error = refusal(Verb::Decrypt, &answer(status, &body, None));
            assert_eq!(error.cause, cause, "{error}");
            assert!(error.detail.starts_with("v.vault.azure.net: "), "{error}");
            assert!(error.remedy.as_ref().is_some_and(|text| text.contains(remedy)), "{error:?}");
        }
        let error = refusal(Verb::Encrypt, &answer(400, "{}", None));
        assert_eq!(error.cause, Cause::Key);
    }

    #[test]
    fn the_tenant_of_the_challenge_is_named() {
        let challenge = r#"Bearer authorization="https://login.microsoftonline.com/0a-1b", resource="https://vault.azure.net""#;
        let error = refusal(Verb::Get, &answer(401, "{}", Some(challenge)));
        assert_eq!(error.cause, Cause::Credentials);
        assert!(error.remedy.expect("a remedy").contains("`az login --tenant 0a-1b`"));
        let challenge = r#"Bearer authorization="https://x/`rm`""#;
        let error = refusal(Verb::Get, &answer(401, "{}", Some(challenge)));
        assert_eq!(error.remedy.as_deref(), Some(LOG_IN));
    }
}
