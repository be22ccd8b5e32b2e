//! Connections to servers, as the environment wants them: made once, and kept for the requests that follow.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use reqwest::{Client, ClientBuilder, Method, Proxy, RequestBuilder, Url};
use zeroize::Zeroizing;

use super::address::Server;
use super::settings::{Environment, Settings};
use crate::keys::http::Http;
use crate::keys::service::{Cause, ServiceError};

/// Connections to servers.
pub(super) struct Connections {
    pub environment: Environment,
    pub settings: Settings,
    ways: Mutex<HashMap<Way, Http>>,
}

/// How a server is reached.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Way {
    /// Without a proxy.
    Directly,
    /// By the proxies that the environment names, if it names any.
    Usual,
    /// Under another name, which its certificate has.
    Renamed { host: String, port: u16 },
    /// By a socket of this machine.
    Socket(PathBuf),
}

impl Connections {
    pub fn new(environment: Environment) -> Result<Self, ServiceError> {
        let settings = Settings::read(&environment)?;
        Ok(Self { environment, settings, ways: Mutex::default() })
    }

    /// Begins a request to a server; the token and the namespace go with it.
    pub async fn request(
        &self,
        server: &Server,
        method: Method,
        mut url: Url,
        token: Option<&str>,
    ) -> Result<(Http, RequestBuilder), ServiceError> {
        let way = self.way(server);
        let http = self.http(&way).await?;
        let mut host = None;
        if let (Way::Renamed { .. }, Some(name)) = (&way, &self.settings.server_name) {
            host = Some(authority(server));
            url.set_host(Some(name)).map_err(|_| ServiceError::new(Cause::Other, NO_NAME))?;
        }
        let mut request = http.request(method, url.as_str()).header("X-Vault-Request", "true");
        if let Some(host) = host {
            request = request.header("Host", host);
        }
        if let Some(token) = token {
            let mut value = reqwest::header::HeaderValue::from_str(token)
                .map_err(|_| ServiceError::new(Cause::Credentials, "the token for Vault cannot be sent"))?;
            value.set_sensitive(true);
            request = request.header("X-Vault-Token", value);
        }
        if let Some(namespace) = &self.settings.namespace {
            request = request.header("X-Vault-Namespace", namespace);
        }
        Ok((http, request))
    }

    /// Returns the token, if there is one.
    pub fn token(&self) -> Result<Option<Zeroizing<String>>, ServiceError> {
        self.environment.token()
    }

    fn way(&self, server: &Server) -> Way {
        if let Some(path) = server.socket() {
            return Way::Socket(path.clone());
        }
        let (host, port) = server.host();
        let host = host.to_owned();
        match (&self.settings.server_name, server.address().starts_with("https:")) {
            (Some(name), true) if *name != host => Way::Renamed { host, port },
            // A proxy elsewhere knows nothing of this machine's servers, and need not know its tokens.
            _ if server.is_loopback() => Way::Directly,
            _ => Way::Usual,
        }
    }

    async fn http(&self, way: &Way) -> Result<Http, ServiceError> {
        let ways = || self.ways.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(http) = ways().get(way) {
            return Ok(http.clone());
        }
        let http = Http::from_builder(self.builder(way).await?)?;
        // Another request may have been quicker; its connections are as good.
        Ok(ways().entry(way.clone()).or_insert(http).clone())
    }

    async fn builder(&self, way: &Way) -> Result<ClientBuilder, ServiceError> {
        let mut builder = self.secured(Client::builder());
        if let (Way::Usual, Some(proxy)) = (way, &self.settings.proxy) {
            let proxy = Proxy::all(proxy.as_str())
                .map_err(|_| ServiceError::new(Cause::Other, "VAULT_PROXY_ADDR is not the URL of a proxy"))?;
            builder = builder.proxy(proxy);
        }
        Ok(match way {
            Way::Usual => builder,
            Way::Directly => builder.no_proxy(),
            Way::Renamed { host, port } => {
                let name = self.settings.server_name.as_deref().unwrap_or(host);
                let bare = host.trim_start_matches('[').trim_end_matches(']');
                let addresses = tokio::net::lookup_host((bare, *port)).await;
                let addresses: Vec<_> = addresses
                    .map_err(|error| ServiceError::new(Cause::Unreachable, format!("{host}: {error}")))?
                    .collect();
                // With HTTP/2 the host would be named twice, and not the same.
                builder.no_proxy().http1_only().resolve_to_addrs(name, &addresses)
            }
            Way::Socket(path) => by_socket(builder.no_proxy(), path)?,
        })
    }

    fn secured(&self, mut builder: ClientBuilder) -> ClientBuilder {
        let Settings { authorities, identity, skips_verification, .. } = &self.settings;
        if let Some(authorities) = authorities {
            builder = builder.tls_certs_only(authorities.clone());
        }
        if let Some(identity) = identity {
            builder = builder.identity(identity.clone());
        }
        if *skips_verification {
            self.environment.setup.warn(
                "VAULT_SKIP_VERIFY is set: whoever answers in place of the server gets the token for Vault",
            );
            builder = builder.tls_danger_accept_invalid_certs(true);
        }
        builder
    }
}

#[cfg(unix)]
fn by_socket(builder: ClientBuilder, path: &std::path::Path) -> Result<ClientBuilder, ServiceError> {
    Ok(builder.unix_socket(path))
}

#[cfg(not(unix))]
fn by_socket(_: ClientBuilder, _: &std::path::Path) -> Result<ClientBuilder, ServiceError> {
    Err(ServiceError::new(Cause::Other, "agents with sockets are not supported on this system"))
}

fn authority(server: &Server) -> String {
    let (host, port) = server.host();
    format!("{host}:{port}")
}

const NO_NAME: &str = "VAULT_TLS_SERVER_NAME is not the name of a host";
