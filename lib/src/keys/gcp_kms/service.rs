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
use super::name::{KeyName, endpoint};
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
        let endpoint = endpoint(&self.setup)?;
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

#[cfg(test)]
mod tests {
    use pollster::block_on;

    use super::*;
    use crate::keys::endpoint::server;

    const ID: &str = "projects/p/locations/global/keyRings/r/cryptoKeys/k";

    fn service(answers: &[(u16, &str)]) -> (Box<dyn KeyService>, std::thread::JoinHandle<Vec<String>>) {
        let answers = answers.iter().map(|&(status, body)| (status, body.to_owned())).collect();
        let (address, requests) = server(answers);
        let setup = KeySetup::new(move |name| match name {
            "GOOGLE_OAUTH_ACCESS_TOKEN" => Some("t".to_owned()),
            "SOPS_GCP_KMS_ENDPOINT" => Some(address.clone()),
            _ => None,
        });
        (connect(&setup), requests)
    }

    fn key(wrapped: &str) -> MasterKey {
        let mut key = MasterKey::parse_list(&KIND, ID).expect("a key").remove(0);
        key.set_wrapped(wrapped.to_owned(), "");
        key
    }

    fn failure<T>(result: Option<Result<T, KeyError>>) -> ServiceError {
        match result.expect("it is ours") {
            Err(KeyError::Service(error)) => error,
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("it succeeds"),
        }
    }

    #[test]
    fn requests_are_those_of_the_interface() {
        let answer = r#"{"ciphertext": "d3JhcHBlZA==", "ciphertextCrc32c": "1098444173", "verifiedPlaintextCrc32c": true}"#;
        let (service, requests) = service(&[
            (200, answer),
            (200, r#"{"plaintext": "MTIzNDU2Nzg5", "plaintextCrc32c": "3808858755"}"#),
        ]);
        let wrapped = block_on(service.wrap(&key(""), &SecretBytes::from("123456789")));

        assert_eq!(wrapped.expect("it is ours").expect("wrapped"), "d3JhcHBlZA==");
        let secret = block_on(service.unwrap(&key("d3JhcHBlZA=="))).expect("it is ours").expect("a secret");
        assert_eq!(secret.expose_secret(), b"123456789");
        let requests = requests.join().expect("no panic");
        assert!(requests[0].starts_with(&format!("POST /v1/{ID}:encrypt HTTP/1.1\r\n")), "{requests:?}");
        assert!(requests[0].contains("\r\nauthorization: Bearer t\r\n"), "{requests:?}");
        assert!(
            requests[0].ends_with(r#"{"plaintext":"MTIzNDU2Nzg5","plaintextCrc32c":"3808858755"}"#),
            "{requests:?}"
        );
        assert!(requests[1].starts_with(&format!("POST /v1/{ID}:decrypt HTTP/1.1\r\n")), "{requests:?}");
        assert!(requests[1].contains(r#"{"ciphertext":"d3JhcHBlZA==","#), "{requests:?}");
    }

    #[test]
    fn damage_on_the_way_is_noticed() {
        for (answer, detail) in [
            (r#"{"ciphertext": "QUI=", "ciphertextCrc32c": "1"}"#, "the answer was damaged"),
            (r#"{"ciphertext": "QUI=", "ciphertextCrc32c": "3180610794"}"#, "damaged on its way"),
            (r#"{"ciphertext": "?"}"#, "ciphertext is not base64"),
            (r"{}", "the answer has no ciphertext"),
            ("[", "the answer is not JSON"),
        ] {
            let (service, _requests) = service(&[(200, answer)]);
            let error = failure(block_on(service.wrap(&key(""), &SecretBytes::from("x"))));
            assert_eq!(error.cause, Cause::Answer, "{error}");
            assert!(error.detail.contains(detail), "{error}");
        }
    }

    #[test]
    fn failures_are_told_apart() {
        let error = |status: &str| format!(r#"{{"error": {{"message": "said", "status": "{status}"}}}}"#);
        let disabled = r#"{"error": {"message": "said", "details": [{"reason": "SERVICE_DISABLED"}]}}"#;
        for (status, body, cause, remedy) in [
            (401, error("UNAUTHENTICATED"), Cause::Credentials, "gcloud auth application-default login"),
            (403, error("PERMISSION_DENIED"), Cause::Denied, "roles/cloudkms.cryptoKeyDecrypter"),
            (
                403,
                disabled.to_owned(),
                Cause::Key,
                "gcloud services enable cloudkms.googleapis.com --project=p",
            ),
            (404, error("NOT_FOUND"), Cause::Key, "--keyring=projects/p/locations/global/keyRings/r`"),
            (400, error("FAILED_PRECONDITION"), Cause::Key, "gcloud kms keys versions list"),
            (400, error("INVALID_ARGUMENT"), Cause::Ciphertext, "git checkout HEAD"),
            (429, error("RESOURCE_EXHAUSTED"), Cause::Other, "wait a little"),
            (503, error("UNAVAILABLE"), Cause::Other, "wait a little"),
            (307, String::new(), Cause::Answer, "a proxy, say"),
        ] {
            let (service, _requests) = service(&[(status, &body)]);
            let error = failure(block_on(service.unwrap(&key("QUI="))));
            assert_eq!(error.cause, cause, "{status} {body}: {error}");
            assert!(error.detail.starts_with("127.0.0.1: "), "{error}");
            assert!(error.remedy.as_ref().is_some_and(|text| text.contains(remedy)), "{error:?}");
        }
    }

    #[test]
    fn what_cannot_be_asked_for_is_not() {
        let setup = KeySetup::new(|_| panic!("nothing is looked for"));
        let service = connect(&setup);
        let failed = block_on(service.unwrap(&key("?"))).expect("it is ours").err();
        assert!(matches!(failed, Some(KeyError::Malformed(_))), "{failed:?}");
        let fields = [("resource_id".to_owned(), "projects/p".into())].into_iter().collect();
        let failed = block_on(service.unwrap(&MasterKey::new(&KIND, fields))).expect("it is ours").err();
        assert!(matches!(failed, Some(KeyError::Parse(_))), "{failed:?}");
    }
}
