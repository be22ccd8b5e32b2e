//! Files that are fetched by HTTP: certificates, which are small and not secret.
//!
//! Invariants: there is an answer in time, of at most so many bytes; proxies are those of the variables of the
//! session; nothing else of the environment counts.

use std::time::Duration;

use reqwest::{Client, Proxy, Url, redirect};
use tokio::runtime::Builder;

use crate::session::Session;

/// Why nothing was fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The answer ended before its end.
    #[error("{0}")]
    Broken(
        /// Why.
        String,
    ),
    /// Nothing answered.
    #[error("Get {url:?}: {why}")]
    NoAnswer {
        /// What was asked for.
        url: String,
        /// Why not.
        why: String,
    },
    /// The answer is not what was asked for.
    #[error("cannot fetch {url:?}: {status}")]
    Status {
        /// What was asked for.
        url: String,
        /// The status, as a number and in words.
        status: String,
    },
    /// The answer is larger than any certificate.
    #[error("cannot fetch {0:?}: the answer has more than {MAX_BODY} bytes")]
    TooLarge(
        /// What was asked for.
        String,
    ),
}

/// Fetches what is at a URL of `http` or `https`.
///
/// # Errors
/// If there is no answer in time, or another one than `200 OK`.
pub fn fetch(url: &str, session: &Session) -> Result<Vec<u8>, FetchError> {
    let no_answer = |why: String| FetchError::NoAnswer { url: url.to_owned(), why };
    let parsed = Url::parse(url).map_err(|error| no_answer(error.to_string()))?;
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| no_answer(error.to_string()))?;
    runtime.block_on(async {
        let client = client(session).map_err(|error| no_answer(tell(&error)))?;
        let sent = client.get(parsed).send().await;
        let mut response = sent.map_err(|error| no_answer(tell(&error)))?;
        if response.status().as_u16() != 200 {
            return Err(FetchError::Status { url: url.to_owned(), status: response.status().to_string() });
        }
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.map_err(|error| FetchError::Broken(tell(&error)))? {
            if body.len() + part.len() > MAX_BODY {
                return Err(FetchError::TooLarge(url.to_owned()));
            }
            body.extend_from_slice(&part);
        }
        Ok(body)
    })
}

fn client(session: &Session) -> Result<Client, reqwest::Error> {
    // Whoever installed a provider before has installed this one.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let mut builder = Client::builder()
        .no_proxy()
        .timeout(TIME_LIMIT)
        .redirect(redirect::Policy::limited(MAX_REDIRECTS))
        .user_agent(concat!("selkie/", env!("CARGO_PKG_VERSION")));
    for (scheme, names) in PROXIES {
        let Some(proxy) = names.iter().find_map(|name| session.environment.get(name)) else { continue };
        let no_proxy = ["NO_PROXY", "no_proxy"].iter().find_map(|name| session.environment.get(name));
        let proxy = if scheme == "http" { Proxy::http(proxy) } else { Proxy::https(proxy) };
        builder = builder.proxy(proxy?.no_proxy(no_proxy.and_then(reqwest::NoProxy::from_string)));
    }
    builder.build()
}

/// Returns the innermost cause, which says what happened.
fn tell(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// The variables that name a proxy, the one that counts first.
const PROXIES: [(&str, [&str; 2]); 2] =
    [("http", ["HTTP_PROXY", "http_proxy"]), ("https", ["HTTPS_PROXY", "https_proxy"])];

const TIME_LIMIT: Duration = Duration::from_secs(30);

const MAX_REDIRECTS: usize = 10;

/// Certificates have a few thousand.
const MAX_BODY: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;
    use crate::session::{Environment, Input, Output};

    fn session(variables: &[(&str, &str)]) -> Session {
        let discard = || Output::new(std::io::sink(), false);
        Session {
            environment: variables.iter().copied().collect::<Environment>(),
            directory: "/".into(),
            stdin: Input::new(std::io::empty(), false),
            stdout: discard(),
            stderr: discard(),
            clock: || time::OffsetDateTime::UNIX_EPOCH,
            audit: "/nonexistent".into(),
        }
    }

    /// Answers one request, and returns the address and the line that came in.
    fn serve(answer: Vec<u8>) -> (String, thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound").to_string();
        let served = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("somebody connects");
            let mut lines = BufReader::new(stream.try_clone().expect("it is open")).lines();
            let first = lines.next().expect("a line").expect("text");
            while lines.next().expect("a line").is_ok_and(|line| !line.is_empty()) {}
            // Whoever asks may have read enough.
            drop(stream.write_all(&answer));
            first
        });
        (address, served)
    }

    #[test]
    fn certificate_is_fetched() {
        let (address, served) = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ncert".to_vec());
        let body = fetch(&format!("http://{address}/v1/cert.pem"), &session(&[])).expect("it answers");
        assert_eq!(body, b"cert");
        assert_eq!(served.join().expect("it ran"), "GET /v1/cert.pem HTTP/1.1");
    }

    #[test]
    fn other_answers_are_refused() {
        let (address, served) = serve(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec());
        let url = format!("http://{address}/");
        let error = fetch(&url, &session(&[])).expect_err("nothing is there");
        assert_eq!(error.to_string(), format!("cannot fetch \"{url}\": 404 Not Found"));
        served.join().expect("it ran");
        let mut large = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", MAX_BODY + 1).into_bytes();
        large.resize(large.len() + MAX_BODY + 1, b'x');
        let (address, served) = serve(large);
        let error = fetch(&format!("http://{address}/"), &session(&[])).expect_err("it is too large");
        assert!(matches!(error, FetchError::TooLarge(_)));
        served.join().expect("it ran");
    }

    #[test]
    fn proxies_are_those_of_variables() {
        let (address, served) = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec());
        let proxy = format!("http://{address}");
        let body = fetch("http://cert.invalid/x", &session(&[("HTTP_PROXY", &proxy)])).expect("it answers");
        assert_eq!(body, b"ok");
        assert_eq!(served.join().expect("it ran"), "GET http://cert.invalid/x HTTP/1.1");
        let direct = [("HTTP_PROXY", proxy.as_str()), ("NO_PROXY", "cert.invalid")];
        assert!(matches!(fetch("http://cert.invalid/x", &session(&direct)), Err(FetchError::NoAnswer { .. })));
    }
}
