//! Wraps and unwraps by the REST interface of Huawei Cloud's key management, version 1.0.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::HeaderValue;
use reqwest::{Method, Url};
use serde_json::Value as Json;
use time::OffsetDateTime;
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

use super::address::{KeyName, iam_endpoint, is_project, kms_endpoint};
use super::credentials::{Credentials, PROVIDE};
use super::{KIND, sign};
use crate::keys::endpoint::Endpoint;
use crate::keys::http::{Answer, Http};
use crate::keys::rest::{no_answer, object, overloaded, said_at, strange_answer, take_text};
use crate::keys::{Cause, Effort, KeyError, KeyFuture, KeyService, KeySetup, MasterKey, ServiceError};
use crate::secret::SecretBytes;

/// Returns the service for keys of Huawei Cloud KMS.
pub(super) fn connect(setup: &KeySetup) -> Box<dyn KeyService> {
    let client = Client {
        setup: setup.clone(),
        http: OnceCell::new(),
        credentials: Mutex::default(),
        projects: Mutex::default(),
    };
    Box::new(HckmsService(Arc::new(client)))
}

struct HckmsService(Arc<Client>);

struct Client {
    setup: KeySetup,
    http: OnceCell<Http>,
    /// The credentials, and when they were found: temporary ones are found anew before they end.
    credentials: Mutex<Option<(Instant, Arc<Credentials>)>>,
    /// The project of each region that was asked for.
    projects: Mutex<HashMap<String, String>>,
}

impl KeyService for HckmsService {
    fn name(&self) -> String {
        "Huawei Cloud KMS".to_owned()
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

impl HckmsService {
    async fn wrap_ours(&self, key: &MasterKey, secret: &SecretBytes) -> Result<String, KeyError> {
        let name = KeyName::parse(key.field("key_id"))?;
        let plaintext = Zeroizing::new(BASE64_STANDARD.encode(secret.expose_secret()));
        let body =
            object(&[("key_id", &name.id), ("plain_text", &plaintext), ("encryption_algorithm", ALGORITHM)]);
        let (server, mut answer) = self.ask(name, "encrypt-data", body).await?;
        let wrapped = take_text(&mut answer, "cipher_text");
        match wrapped.is_empty() || wrapped.chars().any(char::is_control) {
            true => Err(strange_answer(&server, "the answer has no cipher_text").into()),
            false => Ok(wrapped.to_string()),
        }
    }

    async fn unwrap_ours(&self, key: &MasterKey) -> Result<SecretBytes, KeyError> {
        let name = KeyName::parse(key.field("key_id"))?;
        if key.wrapped().is_empty() {
            return Err(KeyError::Malformed("it is empty".to_owned()));
        }
        let body = object(&[
            ("cipher_text", key.wrapped()),
            ("encryption_algorithm", ALGORITHM),
            ("key_id", &name.id),
        ]);
        let (server, mut answer) = self.ask(name, "decrypt-data", body).await?;
        let plaintext = BASE64_STANDARD.decode(take_text(&mut answer, "plain_text").as_bytes());
        match plaintext.map(SecretBytes::from) {
            Ok(plaintext) if !plaintext.is_empty() => Ok(plaintext),
            _ => Err(strange_answer(&server, "the answer has no plain_text").into()),
        }
    }

    async fn ask(
        &self,
        name: KeyName,
        verb: &'static str,
        body: Zeroizing<Vec<u8>>,
    ) -> Result<(String, Json), KeyError> {
        let client = Arc::clone(&self.0);
        self.0.setup.remote.run(async move { Ok(client.ask(&name, verb, &body).await?) }).await
    }
}

impl Client {
    /// Asks a key to do something; returns the name of the server and what it answered.
    async fn ask(&self, name: &KeyName, verb: &str, body: &[u8]) -> Result<(String, Json), ServiceError> {
        let endpoint = kms_endpoint(&self.setup, &name.region)?;
        let credentials = self.credentials().await?;
        let http = self.http.get_or_try_init(async || Http::new()).await?;
        let project = self.project(http, &credentials, &name.region).await?;
        let path = format!("/v1.0/{project}/kms/{verb}");
        let extra = [("x-project-id", project.as_str())];
        let answer = send(http, Method::POST, &endpoint, &path, &extra, body, &credentials).await?;
        if answer.status != 200 {
            return Err(refused(&endpoint.server, name, verb, &answer));
        }
        let json = answer.json().map_err(|error| strange_answer(&endpoint.server, &error.detail))?;
        Ok((endpoint.server, json))
    }

    async fn credentials(&self) -> Result<Arc<Credentials>, ServiceError> {
        let known = self.credentials.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((found, credentials)) = known
            && found.elapsed() < GOOD_FOR
        {
            return Ok(credentials);
        }
        let credentials = Arc::new(Credentials::find(&self.setup).await?);
        let mut known = self.credentials.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some((Instant::now(), Arc::clone(&credentials)));
        Ok(credentials)
    }

    /// Returns the project of the credentials, else asks for the one that is named as the region.
    async fn project(
        &self,
        http: &Http,
        credentials: &Credentials,
        region: &str,
    ) -> Result<String, ServiceError> {
        let known = || self.projects.lock().unwrap_or_else(PoisonError::into_inner).get(region).cloned();
        let project = match credentials.project.clone().or_else(known) {
            Some(project) => project,
            None => self.ask_for_project(http, credentials, region).await?,
        };
        if !is_project(&project) {
            return Err(ServiceError::new(Cause::Credentials, "the project of the credentials is none")
                .with_remedy(SET_PROJECT));
        }
        let mut projects = self.projects.lock().unwrap_or_else(PoisonError::into_inner);
        projects.insert(region.to_owned(), project.clone());
        Ok(project)
    }

    async fn ask_for_project(
        &self,
        http: &Http,
        credentials: &Credentials,
        region: &str,
    ) -> Result<String, ServiceError> {
        let endpoint = iam_endpoint(&self.setup, region, credentials.iam_endpoint.as_deref())?;
        let path = format!("/v3/projects?name={region}");
        let answer = send(http, Method::GET, &endpoint, &path, &[], b"", credentials).await?;
        let json = answer.json().unwrap_or_default();
        if answer.status != 200 {
            let said = said_at(&json, "/error/message") + &said_at(&json, "/error_msg");
            let detail = format!("{}: it does not tell the project of {region}: {said}", endpoint.server);
            return Err(ServiceError::new(Cause::Credentials, detail).with_remedy(SET_PROJECT));
        }
        let projects = json.pointer("/projects").and_then(Json::as_array).map(Vec::as_slice);
        match projects.unwrap_or_default() {
            [project] => Ok(project.get("id").and_then(Json::as_str).unwrap_or_default().to_owned()),
            projects => {
                let detail =
                    format!("{}: there are {} projects of {region}", endpoint.server, projects.len());
                Err(ServiceError::new(Cause::Credentials, detail).with_remedy(SET_PROJECT))
            }
        }
    }
}

/// Signs a request and sends it.
async fn send(
    http: &Http,
    method: Method,
    endpoint: &Endpoint,
    path: &str,
    extra: &[(&'static str, &str)],
    body: &[u8],
    credentials: &Credentials,
) -> Result<Answer, ServiceError> {
    let url = Url::parse(&format!("{}{path}", endpoint.url));
    let url =
        url.map_err(|_| ServiceError::new(Cause::Other, format!("{} has no such path", endpoint.server)))?;
    let signed = sign::headers(method.as_str(), &url, extra, body, credentials, OffsetDateTime::now_utc());
    let mut request = http.request(method, url.as_str());
    for (name, value) in signed {
        let value = HeaderValue::from_str(&value);
        let mut value =
            value.map_err(|_| ServiceError::new(Cause::Credentials, format!("{name} cannot be sent")))?;
        value.set_sensitive(sign::SENSITIVE.contains(&name));
        request = request.header(name, value);
    }
    if !body.is_empty() {
        request = request.header("content-type", "application/json;charset=UTF-8").body(body.to_vec());
    }
    http.send(request).await.map_err(|error| no_answer(&endpoint.server, error))
}

/// Returns why a server refused a request: by the code of the key management, or of the gateway in front of it.
fn refused(server: &str, name: &KeyName, verb: &str, answer: &Answer) -> ServiceError {
    let json = answer.json().unwrap_or_default();
    let said = |field: &str| match said_at(&json, &format!("/error/{field}")) {
        of_gateway if of_gateway.is_empty() => said_at(&json, &format!("/{field}")),
        of_service => of_service,
    };
    let (code, message) = (said("error_code"), said("error_msg"));
    let error = |cause, what: &str| {
        ServiceError::new(cause, format!("{server}: {what}: {message} ({code})").replace(" ()", ""))
    };
    let region = &name.region;
    match (answer.status, code.as_str()) {
        (401, _) => {
            let is_late = message.contains("time") || message.contains("date");
            error(Cause::Credentials, "the credentials are not valid, or no longer").with_remedy(
                if is_late { "set the clock of this machine right, or renew the access key" } else { PROVIDE },
            )
        }
        (403, _) => error(Cause::Denied, "the credentials do not permit this").with_remedy(format!(
            "ask an administrator for a policy such as KMS CMKFullAccess in the project of {region}, or for a grant on \
             the key"
        )),
        (404, _) | (400, "KMS.0205") => error(Cause::Key, "there is no such key")
            .with_remedy(format!("compare the identifier with the keys of the region {region} in the console")),
        (400, "KMS.0209" | "KMS.0210") => error(Cause::Key, "the key cannot be used")
            .with_remedy("enable the key, or cancel its deletion, in the console"),
        (400, _) if verb == "decrypt-data" => {
            error(Cause::Ciphertext, "the data key was wrapped with another key, or changed since").with_remedy(
                "restore the file from an earlier version, such as `git checkout HEAD -- FILE`",
            )
        }
        (status, _) => overloaded(server, answer, &message).unwrap_or_else(|| {
            strange_answer(server, &format!("the status of the answer is {status}: {message}"))
        }),
    }
}

const ALGORITHM: &str = "SYMMETRIC_DEFAULT";
const SET_PROJECT: &str = "set HUAWEICLOUD_SDK_PROJECT_ID to the identifier of the project of the region";

/// How long credentials are used before they are looked for again.
const GOOD_FOR: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use pollster::block_on;

    use super::*;
    use crate::keys::endpoint::server;

    /// Returns a service that has credentials, and whose region is answered for so; `None` has no project.
    fn service(
        answers: &[(u16, &str)],
        project: Option<&'static str>,
    ) -> (Box<dyn KeyService>, std::thread::JoinHandle<Vec<String>>) {
        let answers = answers.iter().map(|&(status, body)| (status, body.to_owned())).collect();
        let (address, requests) = server(answers);
        let setup = KeySetup::new(move |name| match name {
            "HUAWEICLOUD_SDK_AK" | "HUAWEICLOUD_SDK_SK" => Some("x".to_owned()),
            "HUAWEICLOUD_SDK_PROJECT_ID" => project.map(str::to_owned),
            "HUAWEICLOUD_SDK_REGION_KMS_TR_WEST_1" | "HUAWEICLOUD_SDK_IAM_ENDPOINT" => Some(address.clone()),
            _ => None,
        });
        (connect(&setup), requests)
    }

    fn key(wrapped: &str) -> MasterKey {
        let mut key = MasterKey::parse_list(&KIND, "tr-west-1:abc").expect("a key").remove(0);
        key.set_wrapped(wrapped.to_owned(), "");
        key
    }

    #[test]
    fn a_missing_project_is_asked_for_once() {
        let plain = r#"{"plain_text": "QUI="}"#;
        let project = r#"{"projects": [{"id": "p1", "name": "tr-west-1"}]}"#;
        let (service, requests) = service(&[(200, project), (200, plain), (200, plain)], None);
        for _ in 0..2 {
            let secret = block_on(service.unwrap(&key("x"))).expect("it is ours").expect("a secret");
            assert_eq!(secret.expose_secret(), b"AB");
        }
        let requests = requests.join().expect("no panic");
        assert!(requests[0].starts_with("GET /v3/projects?name=tr-west-1 "), "{requests:?}");
        assert!(requests[2].starts_with("POST /v1.0/p1/kms/decrypt-data "), "{requests:?}");
        assert!(requests[2].contains("\r\nx-project-id: p1\r\n"), "{requests:?}");
        let body = r#"{"cipher_text":"x","encryption_algorithm":"SYMMETRIC_DEFAULT","key_id":"abc"}"#;
        assert!(requests[2].ends_with(body), "{requests:?}");
    }

    #[test]
    fn failures_are_told_apart() {
        let error = |code: &str| format!(r#"{{"error": {{"error_code": "{code}", "error_msg": "said"}}}}"#);
        for (status, body, cause, detail) in [
            (400, error("KMS.0205"), Cause::Key, "there is no such key: said (KMS.0205)"),
            (400, error("KMS.0209"), Cause::Key, "the key cannot be used: said (KMS.0209)"),
            (400, error("KMS.0204"), Cause::Ciphertext, "changed since: said (KMS.0204)"),
            (
                401,
                r#"{"error_code": "APIGW.0301", "error_msg": "said"}"#.to_owned(),
                Cause::Credentials,
                "no longer: said (APIGW.0301)",
            ),
            (403, error("KMS.0301"), Cause::Denied, "do not permit this: said (KMS.0301)"),
            (429, String::new(), Cause::Other, "too many requests"),
            (502, "<html>".to_owned(), Cause::Other, "it failed with 502"),
            (302, String::new(), Cause::Answer, "the status of the answer is 302"),
            (200, "<html>".to_owned(), Cause::Answer, "the answer is not JSON"),
            (200, "{}".to_owned(), Cause::Answer, "the answer has no plain_text"),
            (200, r#"{"plain_text": "%"}"#.to_owned(), Cause::Answer, "the answer has no plain_text"),
        ] {
            let (service, _requests) = service(&[(status, &body)], Some("p1"));
            let failed = block_on(service.unwrap(&key("x"))).expect("it is ours").err();
            let Some(KeyError::Service(error)) = failed else { panic!("{status} {body}: {failed:?}") };
            assert_eq!(error.cause, cause, "{status} {body}: {error}");
            assert!(error.detail.starts_with("127.0.0.1: ") && error.detail.contains(detail), "{error}");
            assert!(error.remedy.is_some(), "{error}");
        }
    }

    #[test]
    fn malformed_names_are_not_asked_for() {
        let setup = KeySetup::new(|_| panic!("nothing is looked for"));
        let fields = [("key_id".to_owned(), "evil.org/:abc".into())].into_iter().collect();
        let mut key = MasterKey::new(&KIND, fields);
        key.set_wrapped("x".to_owned(), "");
        let failed = block_on(connect(&setup).unwrap(&key)).expect("it is ours").err();
        assert!(matches!(failed, Some(KeyError::Parse(_))), "{failed:?}");
    }
}
