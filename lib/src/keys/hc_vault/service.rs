//! Wrapping and unwrapping with transit keys.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;
use zeroize::Zeroizing;

use super::KIND;
use super::address::{NO_NAME, shown};
use super::client::Client;
use super::failure::of_content;
use crate::keys::service::{Cause, Effort, KeyError, KeyFuture, KeyService, ServiceError};
use crate::keys::{DataKey, KeySetup, MasterKey};
use crate::secret::SecretBytes;

/// Wraps and unwraps with the transit engine of HashiCorp Vault or OpenBao.
pub struct VaultService {
    client: Client,
}

impl VaultService {
    /// Returns a service that works with what the environment says of Vault.
    #[must_use]
    pub fn new(setup: &KeySetup) -> Self {
        Self { client: Client::new(setup) }
    }

    async fn encrypt(&self, key: &MasterKey, secret: &SecretBytes) -> Result<String, KeyError> {
        let text = Zeroizing::new(STANDARD.encode(secret.expose_secret()));
        let mut data = self.ask(key, "encrypt", "plaintext", &text).await?;
        match data.take_text("ciphertext") {
            Some(text) if !text.is_empty() => Ok(text.to_string()),
            _ => Err(data.lacks("no ciphertext")),
        }
    }

    async fn decrypt(&self, key: &MasterKey) -> Result<SecretBytes, KeyError> {
        if key.wrapped().is_empty() {
            return Err(KeyError::Malformed("it is empty".to_owned()));
        }
        let mut data = self.ask(key, "decrypt", "ciphertext", key.wrapped()).await?;
        let text = data.take_text("plaintext").ok_or_else(|| data.lacks("no plaintext"))?;
        let secret = STANDARD.decode(text.as_bytes()).map(SecretBytes::from);
        match secret {
            Ok(secret) if is_key(&secret) => Ok(secret),
            _ => Err(data.lacks("no data key")),
        }
    }

    /// Asks the server of a key, and returns what it found.
    async fn ask(&self, key: &MasterKey, verb: &str, field: &str, text: &str) -> Result<Data, KeyError> {
        let (address, name) = (key.field("vault_address"), key.field("key_name"));
        if name.is_empty() || name.contains('/') {
            let error = ServiceError::new(Cause::Key, "the name of the key is not one of a transit key");
            return Err(error.with_remedy(NO_NAME).into());
        }
        let path = format!("{}/{verb}/{name}", key.field("engine_path").trim_matches('/'));
        // What the text can hold needs no escapes, or comes from the document.
        let mut body = SecretBytes::with_capacity(text.len() + field.len() + 8);
        body.push_str("{\"");
        body.push_str(field);
        body.push_str("\":");
        body.push_str(&Zeroizing::new(Json::from(text).to_string()));
        body.push_str("}");
        let answer = self.client.compute(address, &path, body).await?;
        Ok(Data {
            json: answer.json().map_err(|_| of_content(&shown(address), "is not JSON"))?,
            server: address.to_owned(),
        })
    }
}

impl KeyService for VaultService {
    fn name(&self) -> String {
        "vault".to_owned()
    }

    fn effort(&self, key: &MasterKey) -> Effort {
        if is_ours(key) { Effort::Remote } else { Effort::Free }
    }

    fn wrap<'a>(&'a self, key: &'a MasterKey, secret: &'a SecretBytes) -> KeyFuture<'a, String> {
        Box::pin(async move { if is_ours(key) { Some(self.encrypt(key, secret).await) } else { None } })
    }

    fn unwrap<'a>(&'a self, key: &'a MasterKey) -> KeyFuture<'a, SecretBytes> {
        Box::pin(async move { if is_ours(key) { Some(self.decrypt(key).await) } else { None } })
    }
}

/// What a server answered.
struct Data {
    json: Json,
    server: String,
}

impl Data {
    /// Takes a text out of what was found; it is wiped afterwards.
    fn take_text(&mut self, field: &str) -> Option<Zeroizing<String>> {
        match self.json.get_mut("data")?.get_mut(field)? {
            Json::String(text) => Some(Zeroizing::new(std::mem::take(text))),
            _ => None,
        }
    }

    fn lacks(&self, what: &str) -> KeyError {
        of_content(&shown(&self.server), &format!("has {what} in it")).into()
    }
}

fn is_ours(key: &MasterKey) -> bool {
    key.kind().name == KIND.name
}

/// Returns whether a secret may be a data key, or a share of one, which is a byte longer.
fn is_key(secret: &SecretBytes) -> bool {
    [DataKey::LENGTH, DataKey::LENGTH + 1].contains(&secret.len())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::{Arc, Mutex};
    use std::thread;

    use super::*;
    use crate::keys::Trust;
    use crate::keys::http::Http;

    const KEY: [u8; 32] = [7; 32];

    /// A server that gives answers in turn, the last one again and again, and writes down what it is asked.
    struct Server {
        address: String,
        requests: Arc<Mutex<Vec<String>>>,
    }

    impl Server {
        fn start(answers: Vec<String>) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let address = format!("http://{}", listener.local_addr().expect("an address"));
            let requests = Arc::new(Mutex::new(Vec::new()));
            let log = Arc::clone(&requests);
            thread::spawn(move || {
                let mut answers = answers.into_iter().peekable();
                while let Ok((mut stream, _)) = listener.accept() {
                    log.lock().expect("no panic").push(read_request(&stream));
                    let Some(answer) = answers.peek().cloned() else { return };
                    // The client may have gone, as it does when an answer is too long.
                    let _ = stream.write_all(answer.as_bytes());
                    answers.next_if(|_| true);
                    if answers.peek().is_none() {
                        answers = vec![answer].into_iter().peekable();
                    }
                }
            });
            Self { address, requests }
        }

        fn requests(&self) -> Vec<String> {
            self.requests.lock().expect("no panic").clone()
        }

        fn key(&self, name: &str) -> MasterKey {
            key(&self.address, "transit", name)
        }
    }

    fn read_request(stream: &TcpStream) -> String {
        let mut reader = BufReader::new(stream);
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) <= 2 {
                break;
            }
            if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = text.trim().parse().unwrap_or(0);
            }
            head.push_str(&line);
        }
        let mut body = vec![0; length];
        let _ = reader.read_exact(&mut body);
        head + &String::from_utf8_lossy(&body)
    }

    fn answer(status: u16, body: &str) -> String {
        answer_with(status, "", body)
    }

    fn answer_with(status: u16, headers: &str, body: &str) -> String {
        let length = body.len();
        format!("HTTP/1.1 {status} X\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
    }

    fn key(address: &str, engine: &str, name: &str) -> MasterKey {
        let fields = crate::keys::text_fields(&[
            ("vault_address", address),
            ("engine_path", engine),
            ("key_name", name),
        ]);
        let mut key = MasterKey::new(&KIND, fields);
        key.set_wrapped("vault:v1:abc".to_owned(), "");
        key
    }

    fn setup(trust: Trust) -> KeySetup {
        let mut setup = KeySetup::new(|name| match name {
            "VAULT_TOKEN" => Some("s.secret".to_owned()),
            "VAULT_NAMESPACE" => Some("team/a".to_owned()),
            _ => None,
        });
        setup.trust = trust;
        setup
    }

    fn unwrap(trust: Trust, key: &MasterKey) -> Result<Vec<u8>, ServiceError> {
        let service = VaultService::new(&setup(trust));
        match pollster::block_on(service.unwrap(key)).expect("a key of Vault") {
            Ok(secret) => Ok(secret.expose_secret().to_vec()),
            Err(KeyError::Service(error)) => {
                assert!(!format!("{error:?}").contains("s.secret"), "{error:?}");
                Err(error)
            }
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn a_key_is_unwrapped_as_sops_does() {
        let server = Server::start(vec![answer(
            200,
            r#"{"data":{"plaintext":"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="}}"#,
        )]);
        assert_eq!(unwrap(Trust::All, &server.key("k")), Ok(KEY.to_vec()));
        let request = server.requests().remove(0);
        assert!(request.starts_with("PUT /v1/transit/decrypt/k HTTP/1.1\r\n"), "{request}");
        for line in
            ["x-vault-token: s.secret\r\n", "x-vault-request: true\r\n", "x-vault-namespace: team/a\r\n"]
        {
            assert!(request.to_ascii_lowercase().contains(line), "{request}");
        }
        assert!(request.ends_with(r#"{"ciphertext":"vault:v1:abc"}"#), "{request}");
    }

    #[test]
    fn a_key_is_wrapped_as_sops_does() {
        let server =
            Server::start(vec![answer(200, r#"{"data":{"ciphertext":"vault:v1:x","key_version":1}}"#)]);
        let service = VaultService::new(&setup(Trust::All));
        let secret = SecretBytes::from(&KEY[..]);
        let key = key(&server.address, "a/b/c", "k");
        let wrapped = pollster::block_on(service.wrap(&key, &secret)).expect("a key of Vault");
        assert_eq!(wrapped, Ok("vault:v1:x".to_owned()));
        let request = server.requests().remove(0);
        assert!(request.starts_with("PUT /v1/a/b/c/encrypt/k HTTP/1.1\r\n"), "{request}");
        assert!(
            request.ends_with(r#"{"plaintext":"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="}"#),
            "{request}"
        );
    }

    #[test]
    fn nobody_is_asked_whom_the_document_alone_names() {
        let server = Server::start(vec![answer(200, "{}")]);
        let error = unwrap(Trust::Listed(Vec::new()), &server.key("k")).expect_err("not trusted");
        assert_eq!(error.cause, Cause::Untrusted);
        assert!(error.detail.contains(&server.address), "{error}");
        assert_eq!(server.requests(), Vec::<String>::new());
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let server = Server::start(vec![answer(
            200,
            r#"{"data":{"plaintext":"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="}}"#,
        )]);
        for (engine, name) in
            [("transit", "../x"), ("transit", ".."), ("transit", ""), ("a/../b", "k"), ("t", "a/b")]
        {
            let error = unwrap(Trust::All, &key(&server.address, engine, name)).expect_err(name);
            assert_eq!(error.cause, Cause::Key, "{engine} {name}: {error}");
        }
        assert_eq!(server.requests(), Vec::<String>::new());
        unwrap(Trust::All, &server.key("..%2fx?y#z")).expect("a name");
        assert!(server.requests()[0].starts_with("PUT /v1/transit/decrypt/..%252fx%3Fy%23z "));
    }

    #[test]
    fn a_server_that_is_not_ready_is_asked_again() {
        let good = answer(200, r#"{"data":{"plaintext":"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="}}"#);
        let server =
            Server::start(vec![answer(503, r#"{"errors":["Vault is sealed"]}"#), answer(429, ""), good]);
        assert_eq!(unwrap(Trust::All, &server.key("k")), Ok(KEY.to_vec()));
        assert_eq!(server.requests().len(), 3);
        let sealed = Server::start(vec![answer(503, r#"{"errors":["Vault is sealed"]}"#)]);
        let error = unwrap(Trust::All, &sealed.key("k")).expect_err("sealed");
        assert_eq!(error.cause, Cause::Unreachable);
        assert!(error.detail.ends_with("is not ready (status 503): Vault is sealed"), "{error}");
    }

    #[test]
    fn a_standby_leads_to_another_server_that_is_trusted() {
        let active = Server::start(vec![answer(
            200,
            r#"{"data":{"plaintext":"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="}}"#,
        )]);
        let to = format!("Location: {}/v1/transit/decrypt/k\r\n", active.address);
        let standby = || Server::start(vec![answer_with(307, &to, "")]);
        let (first, second) = (standby(), standby());
        let both = Trust::Listed(vec![first.address.clone(), active.address.clone()]);
        assert_eq!(unwrap(both, &first.key("k")), Ok(KEY.to_vec()));
        assert_eq!(active.requests().len(), 1);
        let one = Trust::Listed(vec![second.address.clone()]);
        let error = unwrap(one, &second.key("k")).expect_err("the other one is not trusted");
        assert_eq!(error.cause, Cause::Untrusted);
        assert!(error.detail.contains("redirects") && error.detail.contains(&active.address), "{error}");
        assert_eq!(active.requests().len(), 1, "no token went there");
    }

    #[test]
    fn a_circle_of_servers_ends() {
        let place = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
        let server = Server::start(vec![answer_with(307, "Location: /v1/transit/decrypt/k\r\n", "")]);
        let error = unwrap(Trust::All, &server.key("k")).expect_err("a circle");
        assert_eq!(error.cause, Cause::Answer, "{error}");
        assert_eq!(server.requests().len(), 4);
        let error =
            unwrap(Trust::All, &key(&format!("http://{place}"), "t", "k")).expect_err("nobody is there");
        assert_eq!(error.cause, Cause::Unreachable);
    }

    #[test]
    fn a_token_that_a_server_refuses_is_looked_up() {
        let denied = answer(403, r#"{"errors":["permission denied"]}"#);
        for (lookup, cause) in [
            (answer(200, "{}"), Cause::Denied),
            (denied.clone(), Cause::Credentials),
            (answer(500, ""), Cause::Denied),
        ] {
            let server = Server::start(vec![denied.clone(), lookup]);
            let error = unwrap(Trust::All, &server.key("k")).expect_err("denied");
            assert_eq!(error.cause, cause, "{error}");
            assert!(server.requests()[1].starts_with("GET /v1/auth/token/lookup-self "));
        }
    }

    #[test]
    fn what_is_no_answer_of_vault_is_told() {
        let long = "x".repeat(Http::MAX_ANSWER + 1);
        for (body, what) in [
            ("<html>", "is not JSON"),
            ("[]", "has no plaintext in it"),
            (r#"{"data":null}"#, "has no plaintext in it"),
            (r#"{"data":{"plaintext":7}}"#, "has no plaintext in it"),
            (r#"{"data":{"plaintext":"%"}}"#, "has no data key in it"),
            (r#"{"data":{"plaintext":""}}"#, "has no data key in it"),
            (r#"{"data":{"plaintext":"AAAA"}}"#, "has no data key in it"),
            (&long, "more than 1024 KiB"),
        ] {
            let server = Server::start(vec![answer(200, body)]);
            let error = unwrap(Trust::All, &server.key("k")).expect_err(what);
            assert_eq!(error.cause, Cause::Answer, "{error}");
            assert!(error.detail.contains(what) && error.detail.contains(&server.address), "{error}");
        }
    }

    #[test]
    fn a_server_that_repeats_the_token_does_not_make_us_tell_it() {
        let server = Server::start(vec![answer(400, r#"{"errors":["bad token s.secret"]}"#)]);
        let error = unwrap(Trust::All, &server.key("k")).expect_err("refused");
        assert!(error.detail.ends_with("bad token (the token)"), "{error}");
    }

    #[test]
    fn a_connection_is_kept_for_the_next_key() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            // A second connection would find nobody.
            drop(listener);
            for _ in 0..3 {
                read_request(&stream);
                let body = r#"{"data":{"plaintext":"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="}}"#;
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                stream.write_all((head + body).as_bytes()).expect("a client");
            }
        });
        let service = VaultService::new(&setup(Trust::All));
        for _ in 0..3 {
            let secret =
                pollster::block_on(service.unwrap(&key(&address, "transit", "k"))).expect("a key of Vault");
            assert!(secret.is_ok_and(|secret| secret.expose_secret() == KEY));
        }
    }

    #[test]
    fn a_server_that_says_nothing_is_not_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let mut setup = setup(Trust::All);
        setup.remote = Arc::new(crate::keys::Remote::new(std::time::Duration::from_millis(50)));
        let service = VaultService::new(&setup);
        let answer =
            pollster::block_on(service.unwrap(&key(&address, "transit", "k"))).expect("a key of Vault");
        let Err(KeyError::Service(error)) = answer else { panic!("there is an answer") };
        assert_eq!(error.cause, Cause::Timeout);
        drop(listener);
    }

    #[test]
    fn keys_of_others_are_left_to_others() {
        let key = MasterKey::new(&crate::keys::pgp::KIND, crate::keys::KeyFields::new());
        let service = VaultService::new(&setup(Trust::All));
        assert!(pollster::block_on(service.unwrap(&key)).is_none());
    }
}
