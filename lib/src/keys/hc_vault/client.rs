//! Requests to HashiCorp Vault and OpenBao, for any path: transit keys, and stores of keys and values.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::{Method, Url};

use super::address::{Server, cleaned};
use super::admission::{admit, admit_by_agent, is_of_bao, warn_of_listeners};
use super::connection::Connections;
use super::failure::{Purpose, Token, may_pass, of_answer, of_request};
use super::settings::Environment;
use crate::keys::KeySetup;
use crate::keys::http::Answer;
use crate::keys::service::{KeyError, ServiceError};
use crate::secret::SecretBytes;

/// Sends requests to servers of Vault and OpenBao, with the token, the namespace and the certificates that the
/// environment names for the programs `vault` and `bao`.
///
/// An address that is not the user's own gets no request, see [`KeySetup::admits`]. Connections are kept, and so are
/// settings: use one client for a run. A copy shares them.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    setup: KeySetup,
    /// As users of Vault see the environment, and as those of OpenBao do.
    connections: [OnceLock<Result<Connections, ServiceError>>; 2],
}

/// A request.
struct Request {
    address: String,
    path: String,
    method: Method,
    body: Option<SecretBytes>,
    capability: &'static str,
}

impl Client {
    /// Returns a client. Nothing is read or sent before the first request.
    #[must_use]
    pub fn new(setup: &KeySetup) -> Self {
        Self(Arc::new(Inner { setup: setup.clone(), connections: Default::default() }))
    }

    /// Makes sure that a request for `path` of the server at `address` would be sent. Nothing is sent.
    ///
    /// # Errors
    /// If the address is not one that a token may be sent to, or the path is none.
    pub fn check(&self, address: &str, path: &str) -> Result<(), ServiceError> {
        self.0.server(address)?.0.url(path).map(drop)
    }

    /// Returns what is at `path` of the server at `address`, or `None` if there is nothing. The path is that of the
    /// interface, without its version: `secret/data/NAME` for the second version of a store of keys and values.
    ///
    /// # Errors
    /// If the address is not one that a token may be sent to, or the server cannot be asked, or refuses.
    pub async fn read(&self, address: &str, path: &str) -> Result<Option<Answer>, KeyError> {
        let request = Request::new(Method::GET, address, path, None, r#""read""#);
        let answer = self.send(request).await?;
        Ok(answer.filter(|answer| answer.status == 200))
    }

    /// Writes JSON to `path` of the server at `address`, and returns the answer.
    ///
    /// # Errors
    /// If the address is not one that a token may be sent to, or the server cannot be asked, or refuses.
    pub async fn write(&self, address: &str, path: &str, body: SecretBytes) -> Result<Answer, KeyError> {
        let request = Request::new(Method::PUT, address, path, Some(body), r#""create", "update""#);
        self.send(request).await?.ok_or_else(|| nothing_at(address, path))
    }

    /// Has the server compute something of JSON at `path`, and returns the answer.
    pub(super) async fn compute(
        &self,
        address: &str,
        path: &str,
        body: SecretBytes,
    ) -> Result<Answer, KeyError> {
        let request = Request::new(Method::PUT, address, path, Some(body), r#""update""#);
        self.send(request).await?.ok_or_else(|| nothing_at(address, path))
    }

    /// Deletes what is at `path` of the server at `address`.
    ///
    /// # Errors
    /// If the address is not one that a token may be sent to, or the server cannot be asked, or refuses.
    pub async fn delete(&self, address: &str, path: &str) -> Result<(), KeyError> {
        let request = Request::new(Method::DELETE, address, path, None, r#""delete""#);
        self.send(request).await?.map(drop).ok_or_else(|| nothing_at(address, path))
    }

    /// Sends a request, wherever this is awaited. There is no answer if there is nothing at the path.
    async fn send(&self, request: Request) -> Result<Option<Answer>, KeyError> {
        let inner = Arc::clone(&self.0);
        self.0.setup.remote.run(async move { Ok(inner.send(request).await?) }).await
    }
}

impl Request {
    fn new(
        method: Method,
        address: &str,
        path: &str,
        body: Option<SecretBytes>,
        capability: &'static str,
    ) -> Self {
        Self { address: address.to_owned(), path: path.to_owned(), method, body, capability }
    }
}

impl Inner {
    async fn send(&self, request: Request) -> Result<Option<Answer>, ServiceError> {
        let (mut server, connections) = self.server(&request.address)?;
        let token = connections.token()?;
        let token = token.as_ref().map(|token| token.as_str());
        let mut url = server.url(&request.path)?;
        let (mut redirects, mut retries) = (0, 0);
        loop {
            let answer = exchange(connections, &server, &request, &url, token)
                .await
                .map_err(|error| of_request(error, &server.name()))?;
            match location(&answer) {
                Some(location) if redirects < MAX_REDIRECTS => {
                    server = self.redirected(&server, &url, location)?;
                    url = server.url(&request.path)?;
                    redirects += 1;
                }
                None if may_pass(&answer) && retries < connections.settings.retries.min(MAX_RETRIES) => {
                    tokio::time::sleep(pause(&answer, retries)).await;
                    retries += 1;
                }
                _ if is_success(&answer) => return Ok(Some(answer)),
                _ if is_nothing(&answer) => return Ok(None),
                _ => {
                    let known = self.token(connections, &server, token, &answer).await;
                    let (server, path) = (server.name(), request.path.as_str());
                    let purpose = Purpose { server: &server, path, capability: request.capability };
                    return Err(without(token, of_answer(&answer, purpose, known)));
                }
            }
        }
    }

    /// Returns the server that is asked for one at an address, if a token may be sent there.
    fn server(&self, address: &str) -> Result<(Server, &Connections), ServiceError> {
        let mut server = Server::parse(address)?;
        let connections = self.connections(&server)?;
        match &connections.settings.agent {
            None => admit(&self.setup, &server)?,
            Some(agent) => {
                admit_by_agent(&self.setup, &server)?;
                server = Server::parse_agent(agent)?;
                warn_of_listeners(&self.setup, &server);
            }
        }
        Ok((server, connections))
    }

    fn connections(&self, server: &Server) -> Result<&Connections, ServiceError> {
        let prefers_bao = is_of_bao(&self.setup, server.address());
        let made = self.connections[usize::from(prefers_bao)]
            .get_or_init(|| Connections::new(Environment { setup: self.setup.clone(), prefers_bao }));
        made.as_ref().map_err(Clone::clone)
    }

    /// Returns the server that another one leads to: one that a token may be sent to as well.
    fn redirected(&self, server: &Server, url: &Url, location: &str) -> Result<Server, ServiceError> {
        let next = server.redirected(url, location)?;
        if next.address() != server.address() {
            admit(&self.setup, &next).map_err(|error| {
                let detail = format!("{} redirects the request: {}", server.name(), error.detail);
                ServiceError { detail, ..error }
            })?;
        }
        Ok(next)
    }

    /// Finds out about a token that a server refused.
    async fn token(
        &self,
        connections: &Connections,
        server: &Server,
        token: Option<&str>,
        answer: &Answer,
    ) -> Token {
        if token.is_none() {
            return Token::Missing;
        }
        if !matches!(answer.status, 401 | 403) {
            return Token::Known;
        }
        let request = Request::new(Method::GET, "", LOOKUP, None, r#""read""#);
        let Ok(url) = server.url(LOOKUP) else { return Token::Unclear };
        match exchange(connections, server, &request, &url, token).await.map(|answer| answer.status) {
            Ok(200) => Token::Known,
            Ok(403) => Token::Refused,
            _ => Token::Unclear,
        }
    }
}

/// Sends one request.
async fn exchange(
    connections: &Connections,
    server: &Server,
    request: &Request,
    url: &Url,
    token: Option<&str>,
) -> Result<Answer, ServiceError> {
    let (http, mut builder) = connections.request(server, request.method.clone(), url.clone(), token).await?;
    if let Some(body) = &request.body {
        let body = body.expose_secret().to_vec();
        builder = builder.header("Content-Type", "application/json").body(body);
    }
    http.send(builder).await
}

fn location(answer: &Answer) -> Option<&str> {
    let is_redirect = matches!(answer.status, 301 | 302 | 307 | 308);
    answer.headers.get("Location").filter(|_| is_redirect)?.to_str().ok()
}

/// Returns how long to wait before a request is sent again.
fn pause(answer: &Answer, retries: u32) -> Duration {
    let wanted = answer.headers.get("Retry-After").and_then(|value| value.to_str().ok()?.parse().ok());
    let own = FIRST_PAUSE * 2_u32.pow(retries);
    wanted.map_or(own, |seconds| own.max(Duration::from_secs(seconds))).min(LONGEST_PAUSE)
}

const fn is_success(answer: &Answer) -> bool {
    matches!(answer.status, 200..=299)
}

/// Returns whether there is nothing at the path. If no engine is there either, the server says so.
fn is_nothing(answer: &Answer) -> bool {
    answer.status == 404 && super::failure::said(answer).is_empty()
}

fn nothing_at(address: &str, path: &str) -> KeyError {
    let detail = format!("{} has nothing at {}", cleaned(address), cleaned(path));
    ServiceError::new(crate::keys::Cause::Key, detail).into()
}

/// Takes the token out of what a server says, should it say it.
fn without(token: Option<&str>, error: ServiceError) -> ServiceError {
    match token {
        Some(token) if error.detail.contains(token) => {
            let detail = error.detail.replace(token, "(the token)");
            ServiceError { detail, ..error }
        }
        _ => error,
    }
}

const LOOKUP: &str = "auth/token/lookup-self";

/// A standby leads to the server that is active; that one leads nowhere.
const MAX_REDIRECTS: usize = 3;

/// Whatever the environment says: nobody waits for more.
const MAX_RETRIES: u32 = 8;

const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// However long a server wants to be left alone.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_pause_is_longer_than_people_wait() {
        let pause = |after: &'static str, retries| {
            let mut headers = reqwest::header::HeaderMap::new();
            headers.insert("Retry-After", reqwest::header::HeaderValue::from_static(after));
            pause(&Answer { status: 429, headers, body: SecretBytes::new() }, retries)
        };
        assert_eq!(pause("", 0), FIRST_PAUSE);
        assert_eq!(pause("1", 0), Duration::from_secs(1));
        assert_eq!(pause("3600", 0), LONGEST_PAUSE);
        assert_eq!(pause("", MAX_RETRIES - 1), LONGEST_PAUSE);
    }
}
