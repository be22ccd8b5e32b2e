//! Wraps and unwraps by the REST interface of Google Cloud KMS, version 1.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::Value as Json;
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

use super::KIND;
use super::crc32c::crc32c;
use super::credentials::{Credentials, LOG_IN};
use super::name::{Endpoint, KeyName};
use crate::keys::http::{Answer, Http};
use crate::keys::rest::{no_answer, object, overloaded, said_at, strange_answer, take_text};
use crate::keys::{Cause, Effort, KeyError, KeyFuture, KeyService, KeySetup, MasterKey, ServiceError};
use crate::secret::SecretBytes;

/// Returns the service for keys of Google Cloud KMS.
pub(super) fn connect(setup: &KeySetup) -> Box<dyn KeyService> {
    let client = Client { setup: setup.clone(), credentials: OnceCell::new() };
    Box::new(GcpKmsService(Arc::new(client)))
}

struct GcpKmsService(Arc<Client>);

struct Client {
    setup: KeySetup,
    credentials: OnceCell<(Http, Credentials)>,
}

impl KeyService for GcpKmsService {
    fn name(&self) -> String {
        "Google Cloud KMS".to_owned()
    }

    fn effort(&self, key: &MasterKey) -> Effort {
        if is_ours(key) { Effort::Remote } else { Effort::Free }
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

impl GcpKmsService {
    async fn wrap_ours(&self, key: &MasterKey, secret: &SecretBytes) -> Result<String, KeyError> {
        let name = KeyName::parse(key.field("resource_id"))?;
        let plaintext = Zeroizing::new(BASE64_STANDARD.encode(secret.expose_secret()));
        let checksum = crc32c(secret.expose_secret()).to_string();
        let body = object(&[("plaintext", &plaintext), ("plaintextCrc32c", &checksum)]);
        let client = Arc::clone(&self.0);
        let answer = self.0.setup.remote.run(async move { client.ask(&name, Verb::Encrypt, body).await });
        let (server, mut answer) = answer.await?;
        let ciphertext = decode(&server, &mut answer, "ciphertext")?;
        // A server that knows of checksums says whether it got what was sent.
        let is_checked = check(&server, &answer, "ciphertextCrc32c", ciphertext.expose_secret())?;
        if is_checked && answer.get("verifiedPlaintextCrc32c") != Some(&Json::Bool(true)) {
            return Err(strange_answer(&server, "the request was damaged on its way").into());
        }
        Ok(BASE64_STANDARD.encode(ciphertext.expose_secret()))
    }

    async fn unwrap_ours(&self, key: &MasterKey) -> Result<SecretBytes, KeyError> {
        let name = KeyName::parse(key.field("resource_id"))?;
        let ciphertext = BASE64_STANDARD.decode(key.wrapped());
        let ciphertext = ciphertext.map_err(|_| KeyError::Malformed("it is not base64".to_owned()))?;
        let checksum = crc32c(&ciphertext).to_string();
        let body = object(&[("ciphertext", key.wrapped()), ("ciphertextCrc32c", &checksum)]);
        let client = Arc::clone(&self.0);
        let answer = self.0.setup.remote.run(async move { client.ask(&name, Verb::Decrypt, body).await });
        let (server, mut answer) = answer.await?;
        let plaintext = decode(&server, &mut answer, "plaintext")?;
        check(&server, &answer, "plaintextCrc32c", plaintext.expose_secret())?;
        Ok(plaintext)
    }
}

/// What a key is asked to do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verb {
    Decrypt,
    Encrypt,
}

impl Client {
    /// Sends a request; returns the name of the server and what it answered.
    async fn ask(
        &self,
        name: &KeyName,
        verb: Verb,
        body: Zeroizing<Vec<u8>>,
    ) -> Result<(String, Json), KeyError> {
        let endpoint = Endpoint::find(&self.setup)?;
        let find = async || Ok::<_, ServiceError>((Http::new()?, Credentials::find(&self.setup)?));
        let (http, credentials) = self.credentials.get_or_try_init(find).await?;
        let method = if verb == Verb::Encrypt { "encrypt" } else { "decrypt" };
        let url = format!("{}/v1/{name}:{method}", endpoint.url);
        let request = http.request(Method::POST, &url).headers(credentials.headers().await?);
        let request = request.header(CONTENT_TYPE, "application/json").body(body.to_vec());
        let server = endpoint.server;
        let answer = http.send(request).await.map_err(|error| no_answer(&server, error))?;
        if answer.status != 200 {
            return Err(refused(&server, name, verb, &answer).into());
        }
        let json = answer.json().map_err(|error| strange_answer(&server, &error.detail))?;
        Ok((server, json))
    }
}

/// Returns why a server refused a request, by the error model of Google's interfaces.
fn refused(server: &str, name: &KeyName, verb: Verb, answer: &Answer) -> ServiceError {
    let json = answer.json().unwrap_or_default();
    let said = said_at(&json, "/error/message");
    let status = json.pointer("/error/status").and_then(Json::as_str).unwrap_or_default();
    let reason = json.pointer("/error/details/0/reason").and_then(Json::as_str).unwrap_or_default();
    let error = |cause, what: &str| ServiceError::new(cause, format!("{server}: {what}: {said}"));
    match (answer.status, status) {
        (401, _) => error(Cause::Credentials, "the credentials are not valid, or no longer").with_remedy(LOG_IN),
        (403, _) if reason == "SERVICE_DISABLED" => {
            error(Cause::Key, "Cloud KMS is not enabled").with_remedy(format!(
                "run `gcloud services enable cloudkms.googleapis.com --project={}`",
                name.project()
            ))
        }
        (403, _) => {
            let role = if verb == Verb::Encrypt { "Encrypter" } else { "Decrypter" };
            error(Cause::Denied, "the credentials do not permit this").with_remedy(format!(
                "ask for the role roles/cloudkms.cryptoKey{role} on the key: `gcloud kms keys \
                 add-iam-policy-binding {name} --member=MEMBER --role=roles/cloudkms.cryptoKey{role}`"
            ))
        }
        (404, _) => error(Cause::Key, "there is no such key").with_remedy(format!(
            "compare the project, the location and the name with what `gcloud kms keys list --keyring={}` says",
            name.ring()
        )),
        (400, "FAILED_PRECONDITION") => {
            error(Cause::Key, "the key cannot be used").with_remedy(format!(
                "see whether its version is disabled or destroyed: `gcloud kms keys versions list --key={name}`"
            ))
        }
        (400, _) if verb == Verb::Decrypt => {
            error(Cause::Ciphertext, "the data key was wrapped with another key, or changed since").with_remedy(
                "restore the file from an earlier version, such as `git checkout HEAD -- FILE`",
            )
        }
        (status, _) => overloaded(server, answer, &said).unwrap_or_else(|| {
            strange_answer(server, &format!("the status of the answer is {status}: {said}"))
        }),
    }
}

/// Takes bytes out of an answer.
fn decode(server: &str, answer: &mut Json, field: &str) -> Result<SecretBytes, ServiceError> {
    let text = take_text(answer, field);
    let bytes = BASE64_STANDARD.decode(text.as_bytes()).map(SecretBytes::from);
    let bytes = bytes.map_err(|_| strange_answer(server, &format!("{field} is not base64")))?;
    match bytes.is_empty() {
        true => Err(strange_answer(server, &format!("the answer has no {field}"))),
        false => Ok(bytes),
    }
}

/// Compares a checksum with the bytes that it is of; returns whether there is one.
fn check(server: &str, answer: &Json, field: &str, bytes: &[u8]) -> Result<bool, ServiceError> {
    // 64-bit numbers are texts in Google's JSON.
    let checksum = match answer.get(field) {
        None | Some(Json::Null) => return Ok(false),
        Some(Json::String(text)) => text.parse().ok(),
        Some(number) => number.as_u64(),
    };
    if checksum == Some(u64::from(crc32c(bytes))) {
        Ok(true)
    } else {
        Err(strange_answer(server, "the answer was damaged on its way"))
    }
}
