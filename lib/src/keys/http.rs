//! Requests by HTTP, as services of key kinds make them: no redirects, answers of limited size, errors without
//! secrets.

use std::error::Error;
use std::net::IpAddr;

use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Method, RequestBuilder, Url};

use super::service::{Cause, ServiceError};
use crate::secret::SecretBytes;

/// Sends requests to the servers of one kind of key.
#[derive(Clone, Debug)]
pub struct Http {
    client: Client,
    /// What sends requests to this machine.
    direct: Client,
}

/// What a server answered.
pub struct Answer {
    /// The status of HTTP.
    pub status: u16,
    /// The headers, for those that a redirect or a time-out needs.
    pub headers: reqwest::header::HeaderMap,
    /// The body.
    pub body: SecretBytes,
}

impl Http {
    /// How long an answer may be, in bytes: far more than any wrapped key takes.
    pub const MAX_ANSWER: usize = 1 << 20;

    /// Returns what sends requests, through the proxies that the environment names. Those to this machine go there and
    /// nowhere else: a proxy knows nothing of its servers, and need not know its secrets.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn new() -> Result<Self, ServiceError> {
        Self::of_two(Client::builder(), Client::builder().no_proxy())
    }

    /// Returns what sends requests with further settings: certificates of authorities, say. They say what goes through
    /// a proxy, and whether requests to this machine do.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn from_builder(builder: ClientBuilder) -> Result<Self, ServiceError> {
        let client = built(builder)?;
        Ok(Self { direct: client.clone(), client })
    }

    fn of_two(builder: ClientBuilder, direct: ClientBuilder) -> Result<Self, ServiceError> {
        Ok(Self { client: built(builder)?, direct: built(direct)? })
    }

    /// Begins a request.
    pub fn request(&self, method: Method, url: &str) -> RequestBuilder {
        // Read by what sends the request.
        let is_here = Url::parse(url).is_ok_and(|url| url.host_str().is_some_and(is_loopback));
        let client = if is_here { &self.direct } else { &self.client };
        client.request(method, url)
    }

    /// Sends a request and returns the answer, whatever its status.
    ///
    /// # Errors
    /// If there is no answer, or it is longer than [`Self::MAX_ANSWER`].
    pub async fn send(&self, request: RequestBuilder) -> Result<Answer, ServiceError> {
        let mut answer = request.send().await.map_err(failed)?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let mut body = SecretBytes::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > Self::MAX_ANSWER {
                let detail = format!("the answer has more than {} KiB", Self::MAX_ANSWER >> 10);
                return Err(ServiceError::new(Cause::Answer, detail));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, headers, body })
    }
}

impl Answer {
    /// Returns the body as JSON.
    ///
    /// # Errors
    /// If it is none.
    pub fn json(&self) -> Result<serde_json::Value, ServiceError> {
        // What the parser says may quote the body.
        serde_json::from_slice(self.body.expose_secret())
            .map_err(|_| ServiceError::new(Cause::Answer, "the answer is not JSON"))
    }
}

/// Sets up TLS for this library and for those of vendors that use the same.
pub fn set_up_tls() {
    // Another one that was installed before is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// Returns whether a host, as URLs have it, is this machine.
#[must_use]
pub fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

fn built(builder: ClientBuilder) -> Result<Client, ServiceError> {
    set_up_tls();
    // Credentials go where they were meant to go, and nowhere else.
    let client = builder.redirect(Policy::none()).build();
    client.map_err(|error| ServiceError::new(Cause::Other, describe(&error.without_url())))
}

fn failed(error: reqwest::Error) -> ServiceError {
    let cause = if error.is_timeout() {
        Cause::Timeout
    } else if error.is_connect() {
        Cause::Unreachable
    } else if error.is_builder() || error.is_request() {
        Cause::Other
    } else {
        Cause::Answer
    };
    ServiceError::new(cause, describe(&error.without_url()))
}

/// Returns the innermost cause, which is the one that tells something.
fn describe(error: &reqwest::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;
    use crate::keys::Remote;

    const ANSWER: &[u8] = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\n{}\n";

    /// Starts a server for one request, which it answers so; returns its address.
    fn server(answer: Vec<u8>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(&answer);
        });
        format!("http://{address}/")
    }

    fn get(url: String) -> Result<Answer, ServiceError> {
        let remote = Remote::default();
        let answer = pollster::block_on(remote.run(async move {
            let http = Http::from_builder(Client::builder().no_proxy())?;
            Ok(http.send(http.request(Method::GET, &url)).await?)
        }));
        answer.map_err(|error| match error {
            crate::keys::KeyError::Service(error) => error,
            error => panic!("{error}"),
        })
    }

    #[test]
    fn an_answer_has_its_status_and_body() {
        let answer = get(server(ANSWER.to_vec())).expect("an answer");
        assert_eq!((answer.status, answer.json()), (403, Ok(serde_json::json!({}))));
    }

    #[test]
    fn nobody_leads_credentials_elsewhere() {
        let moved = get(server(
            b"HTTP/1.1 307 Moved\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n".to_vec(),
        ));
        assert_eq!(moved.expect("an answer").status, 307);
    }

    #[test]
    fn requests_to_this_machine_go_through_no_proxy() {
        let (address, proxy) =
            (server(ANSWER.to_vec()), server(b"HTTP/1.1 502 X\r\nContent-Length: 0\r\n\r\n".to_vec()));
        let remote = Remote::default();
        let answers = pollster::block_on(remote.run(async move {
            let proxy = reqwest::Proxy::all(&proxy).expect("a proxy");
            let http = Http::of_two(Client::builder().proxy(proxy), Client::builder().no_proxy())?;
            let here = http.send(http.request(Method::GET, &address)).await?.status;
            let elsewhere = http.send(http.request(Method::GET, "http://vault.example.com/")).await?.status;
            Ok((here, elsewhere))
        }));
        assert_eq!(answers.map_err(|error| error.to_string()), Ok((403, 502)));
    }

    #[test]
    fn this_machine_is_known_by_the_host() {
        for host in ["localhost", "127.0.0.1", "127.1.2.3", "[::1]", "[::ffff:127.0.0.1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.evil.org", "127.0.0.1.evil.org", "10.0.0.1", "[::2]", ""] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn what_is_no_answer_is_told_apart() {
        let mut long =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", Http::MAX_ANSWER + 1).into_bytes();
        long.resize(long.len() + Http::MAX_ANSWER + 1, b' ');
        let cause = |url: String| get(url).err().map(|error| error.cause);
        assert_eq!(cause(server(long)), Some(Cause::Answer));
        assert_eq!(
            cause(server(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{".to_vec())),
            Some(Cause::Answer)
        );
        assert_eq!(cause("http://127.0.0.1:1/".to_owned()), Some(Cause::Unreachable));
        assert_eq!(cause("nonsense".to_owned()), Some(Cause::Other));
    }
}
