//! What is on the network: keys in Secrets of a cluster, and files of web servers.
//!
//! Invariants: a key stays in memory; nothing that a server says is told, as it may hold one; no more is read than is
//! allowed, and nobody is waited for without end.

use std::time::Duration;

use http::{Request, Uri};
use http_body_util::{BodyExt, Limited};
use k8s_openapi::api::core::v1::Secret;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, Error};
use selkie::secret::SecretBytes;

use super::files::LARGEST;
use crate::runtime;

/// Why something on the network cannot be had. No variant holds what a server said.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// No cluster is known.
    #[error(
        "no cluster is known that the Secret could be in: set KUBECONFIG, or run in a Pod with a service account"
    )]
    NoCluster,
    /// The Secret has no such entry.
    #[error("the Secret {secret} has no entry {entry}")]
    NoEntry {
        /// The Secret.
        secret: String,
        /// The entry.
        entry: String,
    },
    /// There are no threads.
    #[error("the program cannot start its threads")]
    Runtime(#[from] std::io::Error),
    /// The server refuses.
    #[error("{what}: {why}")]
    Server {
        /// What was asked for.
        what: String,
        /// What is the matter.
        why: String,
    },
}

/// Returns an entry of a Secret, `None` for the namespace being that of Helm.
///
/// # Errors
/// If it cannot be had.
pub fn entry_of_secret(
    namespace: Option<&str>,
    secret: &str,
    entry: &str,
    variable: fn(&str) -> Option<String>,
) -> Result<SecretBytes, NetworkError> {
    let given = namespace.map(ToOwned::to_owned).or_else(|| variable("HELM_NAMESPACE"));
    let fetched = async {
        let config = config(variable).await?;
        let namespace =
            given.filter(|name| !name.is_empty()).unwrap_or_else(|| config.default_namespace.clone());
        let name = format!("{namespace}/{secret}");
        let client = client(config)?;
        let got = Api::<Secret>::namespaced(client, &namespace).get(secret).await;
        let got = got.map_err(|error| NetworkError::Server {
            what: format!("the Secret {name}"),
            why: told(&error),
        })?;
        let mut entries = got.data.unwrap_or_default();
        let found = entries.remove(entry).map(|bytes| SecretBytes::from(bytes.0));
        found.ok_or_else(|| NetworkError::NoEntry { secret: name, entry: entry.to_owned() })
    };
    runtime::new()?.block_on(in_time("the cluster", fetched))
}

/// Returns what a web server has at an address; `None` if it has nothing there. Redirections are not followed.
///
/// # Errors
/// If it cannot be had.
pub fn file_of_server(address: &str) -> Result<Option<SecretBytes>, NetworkError> {
    let shown = shown(address);
    let failed = |why: &str| NetworkError::Server { what: shown.clone(), why: why.to_owned() };
    let uri: Uri = address.parse().map_err(|_| failed("is no address"))?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(failed("addresses with passwords are not used"));
    }
    let parts = (uri.scheme_str().unwrap_or_default(), uri.host().unwrap_or_default(), uri.port());
    let port = parts.2.map(|port| format!(":{port}")).unwrap_or_default();
    let root: Uri =
        format!("{}://{}{port}", parts.0, parts.1).parse().map_err(|_| failed("is no address"))?;
    let fetched = async {
        let client = client(Config::new(root))?;
        let request = Request::get(path).body(Body::empty()).map_err(|_| failed("is no address"))?;
        let answer = client.send(request).await.map_err(|error| failed(&told(&error)))?;
        match answer.status().as_u16() {
            200 => {}
            404 | 410 => return Ok(None),
            status => return Err(failed(&format!("the server answers with status {status}"))),
        }
        let most = usize::try_from(LARGEST).unwrap_or(usize::MAX);
        let body = Limited::new(answer.into_body(), most).collect().await;
        let body = body.map_err(|_| failed(&format!("ends early, or is larger than {LARGEST} bytes")))?;
        Ok(Some(SecretBytes::from(&*body.to_bytes())))
    };
    runtime::new()?.block_on(in_time(&shown, fetched))
}

/// Returns an address without what may be a password in it.
fn shown(address: &str) -> String {
    let start = address.split(['?', '#']).next().unwrap_or_default();
    match start.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://{}", rest.rsplit('@').next().unwrap_or_default()),
        None => start.to_owned(),
    }
}

/// Returns how to reach the cluster that Helm is told of.
async fn config(variable: fn(&str) -> Option<String>) -> Result<Config, NetworkError> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    let context = set("HELM_KUBECONTEXT");
    if set("KUBECONFIG").is_none() && context.is_none() {
        return Config::infer().await.map_err(|_| NetworkError::NoCluster);
    }
    let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
    let file = Kubeconfig::read().map_err(|_| NetworkError::NoCluster)?;
    Config::from_custom_kubeconfig(file, &options).await.map_err(|_| NetworkError::NoCluster)
}

fn client(mut config: Config) -> Result<Client, NetworkError> {
    config.connect_timeout = Some(Duration::from_secs(10));
    Client::try_from(config).map_err(|_| NetworkError::NoCluster)
}

async fn in_time<T>(
    what: &str,
    fetched: impl Future<Output = Result<T, NetworkError>>,
) -> Result<T, NetworkError> {
    let late = NetworkError::Server { what: what.to_owned(), why: "does not answer in time".to_owned() };
    tokio::time::timeout(PATIENCE, fetched).await.unwrap_or(Err(late))
}

/// Returns what is the matter, without what the server said.
fn told(error: &Error) -> String {
    match error {
        Error::Api(status) => format!("the server answers with status {}", status.code),
        Error::SerdeError(_) => "the server answers with what is none".to_owned(),
        _ => "the server cannot be reached".to_owned(),
    }
}

/// How long anybody is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    fn served(answer: &'static str) -> String {
        let server = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = server.local_addr().expect("its address");
        thread::spawn(move || {
            let (mut stream, _) = server.accept().expect("somebody asks");
            let mut request = [0; 4096];
            let _length = stream.read(&mut request).expect("a request");
            stream.write_all(answer.as_bytes()).expect("it is answered");
        });
        format!("http://{address}/secrets.yaml?token=hush")
    }

    #[test]
    fn files_of_servers_are_fetched() {
        let address = served("HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\na: 1");
        let content = file_of_server(&address).expect("it is had").expect("it is there");
        assert_eq!(content.expose_secret(), b"a: 1");
        let address = served("HTTP/1.1 404 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        assert!(file_of_server(&address).expect("it is asked").is_none());
    }

    #[test]
    fn what_is_told_holds_no_password() {
        let address =
            served("HTTP/1.1 302 No\r\nlocation: http://x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        let error = file_of_server(&address).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.ends_with("/secrets.yaml: the server answers with status 302"), "{error}");
        let error = file_of_server("https://u:hush@h/x").err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some("https://h/x: addresses with passwords are not used"));
    }
}
