//! Fetching what stands at an address of the web: certificates to seal for.
//!
//! Invariants: it ends in time, an answer has a greatest size, and no error shows what an address has of passwords.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Proxy, Url};

use crate::cluster::proxy;
use crate::session::{Environment, Session};

/// Why nothing was fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The address is none.
    #[error("the address is malformed")]
    Address,
    /// The server cannot be reached, or broke off.
    #[error("{0}")]
    Connection(String),
    /// The server does not give it.
    #[error("the server answers with the status {0}")]
    Status(u16),
    /// There is more than is read.
    #[error("the answer has more than {} KiB", GREATEST >> 10)]
    TooLarge,
}

/// Returns what stands at an address of http or https. Proxies are those of the session's environment.
///
/// # Errors
/// If it cannot be had.
pub fn fetch(session: &Session, address: &str) -> Result<Vec<u8>, FetchError> {
    let url = Url::parse(address).map_err(|_| FetchError::Address)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| FetchError::Connection(error.to_string()))?;
    runtime.block_on(get(url, session.environment.clone())).map_err(|error| match error {
        Ended::Fetch(error) => error,
        Ended::Reqwest(error) => FetchError::Connection(tell(&error.without_url())),
    })
}

/// Returns an address without a user and a password, for people.
#[must_use]
pub fn shown(address: &str) -> String {
    let Ok(mut url) = Url::parse(address) else { return "the address".to_owned() };
    // An address that can have neither has neither.
    let _ = url.set_password(None);
    let _ = url.set_username("");
    // What stands behind the path may be a token.
    url.set_query(None);
    url.to_string()
}

enum Ended {
    Fetch(FetchError),
    Reqwest(reqwest::Error),
}

impl From<reqwest::Error> for Ended {
    fn from(error: reqwest::Error) -> Self {
        Self::Reqwest(error)
    }
}

async fn get(url: Url, environment: Environment) -> Result<Vec<u8>, Ended> {
    // Another one that was installed before is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let proxy = Proxy::custom(move |url| proxy_of(url, &environment));
    let client = Client::builder().timeout(LIMIT).no_proxy().proxy(proxy).redirect(redirects()).build()?;
    let mut answer = client.get(url).send().await?;
    if answer.status() != reqwest::StatusCode::OK {
        return Err(Ended::Fetch(FetchError::Status(answer.status().as_u16())));
    }
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await? {
        if body.len() + piece.len() > GREATEST {
            return Err(Ended::Fetch(FetchError::TooLarge));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// Returns the proxy that leads to an address. One that is no address is left out, as reqwest does.
fn proxy_of(url: &Url, environment: &Environment) -> Option<String> {
    let server = url.as_str().parse().ok()?;
    proxy::of(None, &server, environment).ok()?.map(|proxy| proxy.to_string())
}

/// Follows servers to other addresses, but not to where anybody on the way could put something else.
fn redirects() -> Policy {
    Policy::custom(|attempt| {
        if is_downgrade(attempt.previous(), attempt.url()) {
            attempt.error(Downgrade)
        } else {
            Policy::default().redirect(attempt)
        }
    })
}

fn is_downgrade(previous: &[Url], next: &Url) -> bool {
    next.scheme() != "https" && previous.iter().any(|url| url.scheme() == "https")
}

/// A server leads from https to http.
#[derive(Debug, thiserror::Error)]
#[error("it leads to an address that nothing protects")]
struct Downgrade;

/// Returns the path that an address with the scheme `file` means, whose host means nothing.
#[must_use]
pub fn file_path(address: &str) -> Option<PathBuf> {
    let (_, rest) = address.split_once(':')?;
    let path = rest.strip_prefix("//").map_or(rest, |rest| rest.find('/').map_or("", |at| &rest[at..]));
    Some(decoded(path)?.into())
}

/// Returns a path of an address without its escapes.
fn decoded(path: &str) -> Option<String> {
    let mut parts = path.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).ok()
}

/// Returns an error with what led to it.
fn tell(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text.push_str(&format!(": {error}"));
        next = error.source();
    }
    text
}

/// After how long a request is given up.
const LIMIT: Duration = Duration::from_secs(30);
/// How many bytes an answer may have.
const GREATEST: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;
    use crate::session::{Input, Output};

    fn session(variables: &[(&str, &str)]) -> Session {
        Session {
            environment: variables.iter().copied().collect(),
            directory: "/".into(),
            stdin: Input::new(std::io::empty(), false),
            stdout: Output::new(std::io::sink(), false),
            stderr: Output::new(std::io::sink(), false),
            clock: || time::OffsetDateTime::UNIX_EPOCH,
            audit: "/nonexistent".into(),
        }
    }

    /// Answers one request, and returns the address to ask.
    fn server(answer: Vec<u8>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it has one");
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("somebody asks");
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(&answer);
        });
        format!("http://{address}/cert.pem?token=hush")
    }

    fn answer(status: &str, body: &[u8]) -> Vec<u8> {
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
        [head.as_bytes(), body].concat()
    }

    #[test]
    fn what_stands_at_an_address_is_had() {
        assert_eq!(fetch(&session(&[]), &server(answer("200 OK", b"x"))).expect("an answer"), b"x");
    }

    #[test]
    fn other_answers_are_told() {
        let error = |answer| {
            fetch(&session(&[]), &server(answer)).err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert_eq!(error(answer("404 Not Found", b"")), "the server answers with the status 404");
        assert_eq!(error(answer("200 OK", &vec![0; GREATEST + 1])), "the answer has more than 1024 KiB");
        let broken = error(Vec::new());
        assert!(!broken.contains("hush") && broken.contains("error"), "{broken}");
    }

    #[test]
    fn no_password_is_shown() {
        assert_eq!(shown("https://me:hush@host/a?token=hush"), "https://host/a");
        assert!(fetch(&session(&[]), "http://").is_err());
    }

    #[test]
    fn nobody_leads_from_https_to_http() {
        let url = |text: &str| Url::parse(text).expect("an address");
        let (safe, open) = (url("https://host/a"), url("http://host/b"));
        assert!(is_downgrade(std::slice::from_ref(&safe), &open));
        assert!(is_downgrade(&[safe.clone(), safe.clone()], &open));
        assert!(!is_downgrade(std::slice::from_ref(&open), &open));
        assert!(!is_downgrade(&[open, safe.clone()], &safe));
    }

    #[test]
    fn proxies_are_those_of_the_session() {
        let proxy = server(answer("200 OK", b"of the proxy"));
        let proxy = proxy.trim_end_matches("/cert.pem?token=hush");
        let found = fetch(&session(&[("HTTP_PROXY", proxy)]), "http://host.invalid/cert.pem");
        assert_eq!(found.expect("an answer"), b"of the proxy");
    }

    #[test]
    fn a_file_is_named_with_and_without_a_host() {
        for address in ["file:/a%20b", "file:///a%20b", "FILE://localhost/a%20b"] {
            assert_eq!(file_path(address), Some("/a b".into()), "{address}");
        }
        assert_eq!(file_path("file:a"), Some("a".into()));
        assert_eq!(file_path("file:/a%2"), None);
    }
}
