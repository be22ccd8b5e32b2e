//! The client of the API server.
//!
//! Invariants: it asks no more often than it was told to, whoever asks; every request but a watch ends in time, with
//! its whole answer; nothing is asked twice, as whoever asks knows better when to try again.

mod limit;
mod time_out;

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::header::USER_AGENT;
use http::{HeaderValue, Request};
use kube::client::{Body, ClientBuilder};
use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

use super::settings::ClientSettings;
use limit::{Limit, LimitLayer};
use time_out::TimeOutLayer;

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The configuration cannot be used.
    #[error("the cluster cannot be reached as its configuration says: {why}")]
    Config {
        /// What is wrong with it.
        why: String,
    },
    /// The file cannot be used.
    #[error("{path}: is no configuration for reaching a cluster: {why}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// This is no Pod with an account.
    #[error("this is no Pod with a service account; --kubeconfig is for use outside of a cluster")]
    Nowhere(#[source] InClusterError),
}

/// Returns a client of the cluster that this Pod is in, or of that of a file. The cluster is not asked yet. Each
/// client has its own limits: what must not wait behind others, such as a Lease, needs one of its own.
///
/// Has to be called inside of a runtime of tokio.
///
/// # Errors
/// If nothing says how to reach a cluster, or what says so cannot be used.
pub async fn connect(settings: &ClientSettings, kubeconfig: Option<&Path>) -> Result<Client, ConnectError> {
    let mut config = match kubeconfig {
        Some(path) => of_file(path).await?,
        // Tokens and authorities are read again when they change.
        None => Config::incluster().map_err(ConnectError::Nowhere)?,
    };
    config.connect_timeout = Some(CONNECT);
    config.default_retry = false;
    config.headers.push((USER_AGENT, HeaderValue::from_static(AGENT)));
    // Which of its errors could quote a credential is not to be told from here.
    let builder = ClientBuilder::try_from(config)
        .map_err(|_| ConnectError::Config { why: "its certificates or credentials are broken".to_owned() })?;
    let limit = settings.qps.map(|qps| Limit::new(qps, settings.burst));
    Ok(builder.with_layer(&TimeOutLayer::new(ANSWER)).with_layer(&LimitLayer::new(limit)).build())
}

async fn of_file(path: &Path) -> Result<Config, ConnectError> {
    let failed = |error: KubeconfigError| ConnectError::File { path: path.to_owned(), why: told(&error) };
    let file = Kubeconfig::read_from(path).map_err(failed)?;
    Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.map_err(failed)
}

/// Returns what is wrong with a file, without what it says: that may be a token.
fn told(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::ReadConfig(error, _) => error.to_string(),
        KubeconfigError::CurrentContextNotSet => "it has no current context".to_owned(),
        KubeconfigError::LoadContext(name) => format!("it has no context {name:?}"),
        KubeconfigError::LoadClusterOfContext(name) => format!("it has no cluster {name:?}"),
        KubeconfigError::LoadCertificateAuthority(_) => "its authority cannot be read".to_owned(),
        KubeconfigError::Parse(_) => "it is no such YAML".to_owned(),
        _ => "something in it cannot be used".to_owned(),
    }
}

/// Returns whether a request is answered for as long as there are changes.
fn is_watch(request: &Request<Body>) -> bool {
    let query = request.uri().query().unwrap_or_default();
    query.split('&').any(|part| matches!(part, "watch=true" | "watch=1"))
}

/// What the API server is told of who asks.
const AGENT: &str = concat!("selkie-controller/", env!("CARGO_PKG_VERSION"));

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);

/// How long an answer may take, to its end. The API server itself gives up after a minute.
const ANSWER: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn refused(text: &str) -> String {
        let file = tempfile::NamedTempFile::new().expect("there is a file");
        std::fs::write(file.path(), text).expect("it is written");
        let settings = ClientSettings { qps: None, burst: 1 };
        match connect(&settings, Some(file.path())).await {
            Ok(_) => panic!("it can be used"),
            Err(error) => error.to_string(),
        }
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_used_is_not_quoted() {
        for (text, why) in [
            ("users: [{name: u, user: {token: [hush]}}]", "it is no such YAML"),
            ("{}", "it has no current context"),
            ("current-context: a", "it has no context \"a\""),
            (
                "current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]",
                "it has no cluster \"c\"",
            ),
        ] {
            let error = refused(text).await;
            assert!(error.ends_with(why) && !error.contains("hush"), "{error}");
        }
        let settings = ClientSettings { qps: None, burst: 1 };
        let missing =
            connect(&settings, Some(Path::new("/nonexistent"))).await.err().map(|error| error.to_string());
        assert!(missing.is_some_and(|error| error.starts_with("/nonexistent: is no configuration")));
    }

    #[tokio::test]
    async fn the_server_is_told_who_asks_and_nothing_of_traces() {
        let server = TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
        let address = server.local_addr().expect("it is known");
        let served = tokio::spawn(async move {
            let (mut stream, _) = server.accept().await.expect("somebody asks");
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                stream.read_buf(&mut head).await.expect("it can be read");
            }
            let answer = b"HTTP/1.1 503 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            stream.write_all(answer).await.expect("it is answered");
            String::from_utf8(head).expect("it is text").to_ascii_lowercase()
        });
        let file = tempfile::NamedTempFile::new().expect("there is a file");
        let text = format!(
            "current-context: a\ncontexts: [{{name: a, context: {{cluster: c, user: u}}}}]\n\
             clusters: [{{name: c, cluster: {{server: 'http://{address}'}}}}]\nusers: [{{name: u, user: {{token: t}}}}]"
        );
        std::fs::write(file.path(), text).expect("it is written");
        let settings = ClientSettings { qps: Some(5.0), burst: 1 };
        let client = connect(&settings, Some(file.path())).await.expect("it can be used");
        let request = Request::get("/version").body(Vec::new()).expect("it is a request");
        // It is not asked for again, as there would be nobody to answer.
        assert!(client.request_text(request).await.is_err());
        let head = served.await.expect("it ends");
        assert!(head.contains(&format!("user-agent: {AGENT}")), "{head}");
        assert!(head.contains("authorization: bearer t"), "{head}");
        assert!(!head.contains("traceparent"), "{head}");
    }

    #[test]
    fn watches_are_told_by_their_query() {
        let is = |uri: &str| is_watch(&Request::get(uri).body(Body::empty()).expect("it is a request"));
        assert!(is("/api/v1/secrets?watch=true&x=y") && is("/api/v1/secrets?x=y&watch=1"));
        assert!(!is("/api/v1/secrets") && !is("/api/v1/secrets/watch?watch=false") && !is("/a?unwatch=true"));
    }
}
