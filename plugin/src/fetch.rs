//! Fetching what stands at an address of the web: certificates to seal for.
//!
//! Invariants: it ends in time, an answer has a greatest size, and no error shows what an address has of passwords.

use std::time::Duration;

use reqwest::{Client, Url};

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

/// Returns what stands at an address of http or https. Proxies are those of the environment.
///
/// # Errors
/// If it cannot be had.
pub fn fetch(address: &str) -> Result<Vec<u8>, FetchError> {
    let url = Url::parse(address).map_err(|_| FetchError::Address)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| FetchError::Connection(error.to_string()))?;
    runtime.block_on(get(url)).map_err(|error| match error {
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

async fn get(url: Url) -> Result<Vec<u8>, Ended> {
    // Another one that was installed before is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client = Client::builder().timeout(LIMIT).build()?;
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
        assert_eq!(fetch(&server(answer("200 OK", b"x"))).expect("an answer"), b"x");
    }

    #[test]
    fn other_answers_are_told() {
        let error = |answer| fetch(&server(answer)).err().map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(error(answer("404 Not Found", b"")), "the server answers with the status 404");
        assert_eq!(error(answer("200 OK", &vec![0; GREATEST + 1])), "the answer has more than 1024 KiB");
        let broken = error(Vec::new());
        assert!(!broken.contains("hush") && broken.contains("error"), "{broken}");
    }

    #[test]
    fn no_password_is_shown() {
        assert_eq!(shown("https://me:hush@host/a?token=hush"), "https://host/a");
        assert!(fetch("http://").is_err());
    }
}
