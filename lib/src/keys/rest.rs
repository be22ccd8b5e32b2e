//! What the key services of clouds have in common: addresses, JSON that holds secrets, and failures with the name of
//! the server.

use std::time::Duration;

#[cfg(any(feature = "gcp", feature = "hckms"))]
use reqwest::Url;
use serde_json::Value as Json;
use zeroize::Zeroizing;

use super::http::Answer;
use super::said;
use super::service::{Cause, ServiceError};

/// Where requests go: an address that is fit for secrets.
#[cfg(any(feature = "gcp", feature = "hckms"))]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The URL, without a slash at the end.
    pub url: String,
    /// The host, for people.
    pub server: String,
}

#[cfg(any(feature = "gcp", feature = "hckms"))]
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
        let is_here = host == "localhost" || host == "[::1]" || host == "127.0.0.1";
        let is_safe = url.scheme() == "https" || (url.scheme() == "http" && is_here);
        let is_plain = url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        (is_safe && is_plain)
            .then(|| Self { server: host.to_owned(), url: url.as_str().trim_end_matches('/').to_owned() })
    }
}

/// Returns an object of texts as JSON.
pub fn object(fields: &[(&str, &str)]) -> Zeroizing<Vec<u8>> {
    let length = fields.iter().map(|(name, text)| name.len() + text.len() + 8).sum::<usize>();
    let mut json = Zeroizing::new(Vec::with_capacity(2 * length + 2));
    for (index, (name, text)) in fields.iter().enumerate() {
        json.push(if index == 0 { b'{' } else { b',' });
        push_text(&mut json, name);
        json.push(b':');
        push_text(&mut json, text);
    }
    json.push(b'}');
    json
}

fn push_text(json: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(json, text).expect("a vector takes what is written");
}

/// Takes a text out of an answer; empty if there is none.
pub fn take_text(answer: &mut Json, name: &str) -> Zeroizing<String> {
    match answer.get_mut(name).map(Json::take) {
        Some(Json::String(text)) => Zeroizing::new(text),
        _ => Zeroizing::default(),
    }
}

/// Returns the text at a pointer (RFC 6901) in an answer, as people may see it; empty if there is none.
pub fn said_at(answer: &Json, pointer: &str) -> String {
    answer.pointer(pointer).and_then(Json::as_str).map(said).unwrap_or_default()
}

/// Returns why there is no answer, with the name of the server.
pub fn no_answer(server: &str, error: ServiceError) -> ServiceError {
    let named = ServiceError { detail: format!("{server}: {}", error.detail), ..error };
    match named.cause {
        Cause::Unreachable => named.with_remedy(format!(
            "see whether {server} can be reached from here, through HTTPS_PROXY if there must be a proxy"
        )),
        Cause::Timeout => named.with_remedy("try again, or allow more time with `--key-timeout`"),
        _ => named,
    }
}

/// Returns the error for an answer that is not what the protocol of a server says.
pub fn strange_answer(server: &str, what: &str) -> ServiceError {
    ServiceError::new(Cause::Answer, format!("{server}: {what}"))
        .with_remedy(format!("see whether something else answers in place of {server}: a proxy, say"))
}

/// Returns the error for a server that has too much to do, or is broken, if that is what it says.
pub fn overloaded(server: &str, answer: &Answer, what: &str) -> Option<ServiceError> {
    let wait = answer.headers.get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
    let wait = wait.map(Duration::from_secs).map_or("a little".to_owned(), |wait| format!("{wait:?}"));
    match answer.status {
        429 => Some(
            ServiceError::new(Cause::Other, format!("{server}: too many requests: {what}"))
                .with_remedy(format!("wait {wait}, and run this again")),
        ),
        500.. => Some(
            ServiceError::new(Cause::Other, format!("{server}: it failed with {}: {what}", answer.status))
                .with_remedy(format!("wait {wait}, and run this again")),
        ),
        _ => None,
    }
}

/// Starts a server on this machine that answers one request after the other so, each on a connection of its own;
/// returns its address, and what it was sent.
#[cfg(all(test, any(feature = "gcp", feature = "hckms")))]
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_are_escaped() {
        let body = object(&[("a", "\"\n"), ("b", "ä")]);
        assert_eq!(serde_json::from_slice::<Json>(&body).expect("JSON"), json!({"a": "\"\n", "b": "ä"}));
    }

    #[test]
    fn texts_are_taken_out() {
        let mut answer = json!({"a": "secret", "b": 1});
        assert_eq!(take_text(&mut answer, "a").as_str(), "secret");
        assert_eq!(answer, json!({"a": null, "b": 1}));
        assert_eq!(take_text(&mut answer, "b").as_str(), "");
        assert_eq!(take_text(&mut answer, "c").as_str(), "");
    }
}
