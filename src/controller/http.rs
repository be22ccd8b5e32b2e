//! What the controller serves over HTTP: the API of Sealed Secrets on one address, metrics on another one, probes on both.
//!
//! Every replica answers; none of it needs the leader. Invariants: what callers can cost has a bound, in bytes, time,
//! connections and work; and no answer tells more of a value than whether it opens.

mod body;
mod connection;
mod rate;
mod readiness;
mod routes;
mod sealed;
#[cfg(test)]
mod test_kit;
mod token;
mod work;

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use selkie::sealed::Unseal;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::interval;

use super::key_set::Keys;
use super::metrics::Metrics;
use super::settings::HttpSettings;

pub use readiness::Readiness;

/// All that requests are answered with.
#[derive(Clone)]
pub struct HttpContext {
    /// What is served, and to what extent.
    pub settings: HttpSettings,
    /// How SealedSecrets are opened. Templates are not rendered, whatever it says.
    pub unseal: Unseal,
    /// The sealing keys.
    pub keys: Keys,
    /// What requests are counted in, and what `/metrics` shows.
    pub metrics: Arc<Metrics>,
    /// What probes are answered from.
    pub readiness: Readiness,
    /// The way to the API server, which knows the tokens of callers.
    pub client: Option<kube::Client>,
}

/// The addresses, before anybody is answered.
pub struct HttpServer {
    api: TcpListener,
    metrics: TcpListener,
}

impl HttpServer {
    /// Takes the addresses.
    ///
    /// # Errors
    /// If one cannot be had; the error says which.
    pub async fn bind(settings: &HttpSettings) -> io::Result<Self> {
        Ok(Self { api: listener(settings.listen).await?, metrics: listener(settings.listen_metrics).await? })
    }

    /// Returns where the API is served, and where metrics are, for who took any port that was free.
    ///
    /// # Errors
    /// If the system does not know.
    #[cfg(test)]
    pub fn addresses(&self) -> io::Result<(SocketAddr, SocketAddr)> {
        Ok((self.api.local_addr()?, self.metrics.local_addr()?))
    }

    /// Answers requests until `shutdown` ends; then lets those end that are under way, for a while.
    pub async fn run(self, context: HttpContext, shutdown: impl Future<Output = ()>) {
        let (end, ends) = watch::channel(false);
        let settings = context.settings;
        let readiness = context.readiness.clone();
        let metrics =
            connection::serve(self.metrics, routes::metrics(context.clone()), settings, ends.clone());
        let api = connection::serve(self.api, routes::api(context), settings, ends);
        let ending = async {
            tokio::select! {
                () = shutdown => {}
                () = beat(&readiness) => {}
            }
            readiness.end(TASK);
            // Nobody listens if both have ended.
            let _ = end.send(true);
        };
        tokio::join!(api, metrics, ending);
    }
}

/// Says for ever that tasks get their turn.
async fn beat(readiness: &Readiness) {
    let mut interval = interval(BEAT);
    loop {
        interval.tick().await;
        readiness.beat(TASK);
    }
}

async fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let mut listener = TcpListener::bind(address).await;
    // Every address means those of IPv4 where there is nothing else.
    let has_no_v6 = |error: &io::Error| {
        matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
            || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
    };
    if address.ip() == Ipv6Addr::UNSPECIFIED && listener.as_ref().err().is_some_and(has_no_v6) {
        listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await;
    }
    listener.map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}")))
}

/// What this task is called by those who watch it.
const TASK: &str = "http";
/// How often it says that it runs.
const BEAT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
