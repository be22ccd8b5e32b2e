//! Addresses of clouds that people give in place of the vendors' own.

use reqwest::Url;

use super::http::is_loopback;
use super::service::{Cause, ServiceError};

/// Where requests go: an address that is fit for secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The URL, without a slash at the end.
    pub url: String,
    /// The host, for people.
    pub server: String,
}

impl Endpoint {
    /// Reads the address that a variable of the environment holds: a host and port, or a URL.
    ///
    /// # Errors
    /// If it is none, or secrets could be read on the way to it.
    pub fn given(variable: &str, text: &str) -> Result<Self, ServiceError> {
        Self::parse(text).ok_or_else(|| {
            ServiceError::new(
                Cause::Untrusted,
                format!("{variable} is not an address that is fit for secrets"),
            )
            .with_remedy("write HOST:PORT or an https URL; http is for this machine only")
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let text = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
        let url = Url::parse(&text).ok()?;
        let host = url.host_str()?;
        let is_safe = url.scheme() == "https" || (url.scheme() == "http" && is_loopback(host));
        let is_plain = url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        (is_safe && is_plain)
            .then(|| Self { server: host.to_owned(), url: url.as_str().trim_end_matches('/').to_owned() })
    }
}

/// Starts a server on this machine that answers one request after the other so, each on a connection of its own;
/// returns its address, and what it was sent.
#[cfg(test)]
pub fn server(answers: Vec<(u16, String)>) -> (String, std::thread::JoinHandle<Vec<String>>) {
    use std::io::{Read, Write};

    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let serve = move || {
        let answer = |(status, body): (u16, String)| {
            let (mut stream, _) = listener.accept().expect("a client");
            let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
            let is_whole = |request: &[u8]| {
                let request = String::from_utf8_lossy(request);
                let Some((head, body)) = request.split_once("\r\n\r\n") else { return false };
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                body.len() >= length.map_or(0, |length| length.parse().expect("a length"))
            };
            while !is_whole(&request) {
                let count = stream.read(&mut buffer).expect("a request");
                request.extend_from_slice(&buffer[..count]);
            }
            let length = body.len();
            let head =
                format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            stream.write_all(format!("{head}{body}").as_bytes()).expect("a client that listens");
            String::from_utf8(request).expect("text")
        };
        answers.into_iter().map(answer).collect()
    };
    (address, std::thread::spawn(serve))
}
