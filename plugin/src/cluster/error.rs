//! Why a cluster did not do what it was asked for.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use kube::client::AuthError;
use serde_json::Value as Json;

use crate::report::escape;

/// Why a cluster did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// The answer is none that was to be expected.
    #[error("cannot {asked}: the answer has the status {status}")]
    Answer {
        /// What was asked for.
        asked: Asked,
        /// The status of HTTP.
        status: u16,
        /// What the API server says.
        source: Option<ServerMessage>,
    },
    /// The answer ended before its end.
    #[error("cannot {asked}: the answer broke off: {why}")]
    Broken {
        /// What was asked for.
        asked: Asked,
        /// Why.
        why: String,
    },
    /// What is to be made is there already, or was changed by others.
    #[error("cannot {asked}: it is there already")]
    Conflict {
        /// What was asked for.
        asked: Asked,
        /// What the API server says.
        source: Option<ServerMessage>,
    },
    /// Neither way to the controller of Sealed Secrets can be gone.
    #[error("the controller {namespace}/{name} cannot be reached")]
    Controller {
        /// Its namespace.
        namespace: String,
        /// The name of its Service.
        name: String,
        /// Why not through the proxy of the API server.
        proxy: Box<ClusterError>,
        /// Why not through a port that is forwarded.
        forward: Box<ClusterError>,
    },
    /// A file of the configuration is none.
    #[error("{} is not a configuration of kubectl", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A flag cannot be followed.
    #[error("{flag}: {why}")]
    Flag {
        /// The flag.
        flag: &'static str,
        /// Why not.
        why: String,
    },
    /// Who asks may not.
    #[error("not allowed to {asked}")]
    Forbidden {
        /// What was asked for.
        asked: Asked,
        /// What the API server says.
        source: Option<ServerMessage>,
    },
    /// The answer is not what it should be.
    #[error("cannot {asked}: the answer cannot be read")]
    Malformed {
        /// What was asked for.
        asked: Asked,
    },
    /// Nothing says which cluster.
    #[error("there is no configuration of a cluster")]
    NoConfiguration,
    /// The configuration has no such entry.
    #[error("the configuration has no {kind} {name:?}")]
    NoEntry {
        /// What kind of entry.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// What is asked for is not there.
    #[error("cannot {asked}: it is not there")]
    NotFound {
        /// What was asked for.
        asked: Asked,
        /// What the API server says.
        source: Option<ServerMessage>,
    },
    /// No Pod stands behind a Service.
    #[error("cannot forward a port: {0}")]
    NoPod(String),
    /// The controller is asked too much, by whomever.
    #[error("cannot {asked}: there are too many requests")]
    RateLimited {
        /// What was asked for.
        asked: Asked,
    },
    /// There was no answer in time.
    #[error("cannot {asked}: there was no answer in {} s", .after.as_secs_f32())]
    TimedOut {
        /// What was asked for.
        asked: Asked,
        /// After how long it was given up.
        after: Duration,
    },
    /// The answer is larger than it can be.
    #[error("cannot {asked}: the answer has more than {greatest} bytes")]
    TooLarge {
        /// What was asked for.
        asked: Asked,
        /// How many bytes it may have.
        greatest: usize,
    },
    /// The API server does not know who asks.
    #[error("cannot {asked}: the cluster does not know who you are")]
    Unauthorized {
        /// What was asked for.
        asked: Asked,
        /// What the API server says.
        source: Option<ServerMessage>,
    },
    /// The API server does not answer.
    #[error("cannot reach the cluster at {server}: {why}")]
    Unreachable {
        /// The API server.
        server: String,
        /// Why not.
        why: String,
    },
    /// Something that was given cannot be used.
    #[error("{what} cannot be used: {why}")]
    Unusable {
        /// What.
        what: &'static str,
        /// Why not.
        why: String,
    },
}

/// What was asked for, in the words of RBAC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// What is done: `get`, `list` or `create`.
    pub verb: &'static str,
    /// The resource, with what is below it.
    pub resource: &'static str,
    /// The namespace; none stands for all of them.
    pub namespace: Option<String>,
    /// The name of one object.
    pub name: Option<String>,
}

/// What an API server says in its own words, fit to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerMessage(String);

impl ClusterError {
    /// Returns what led to it, the nearest first.
    #[must_use]
    pub fn causes(&self) -> Vec<String> {
        let way = |name: &str, error: &Self| {
            let why: Vec<_> = std::iter::once(error.to_string()).chain(error.causes()).collect();
            format!("{name}: {}", why.join(": "))
        };
        match self {
            Self::Controller { proxy, forward, .. } => {
                vec![way("by the proxy of the API server", proxy), way("by a forwarded port", forward)]
            }
            Self::File { why, .. } => vec![why.clone()],
            error => error.source().map(ToString::to_string).into_iter().collect(),
        }
    }
}

impl Asked {
    /// Returns what it is to do something with one object.
    pub(super) fn one(verb: &'static str, resource: &'static str, namespace: &str, name: &str) -> Self {
        Self { verb, resource, namespace: Some(namespace.to_owned()), name: Some(name.to_owned()) }
    }

    /// Returns what it is to do something with many objects.
    pub(super) fn many(verb: &'static str, resource: &'static str, namespace: Option<&str>) -> Self {
        Self { verb, resource, namespace: namespace.map(str::to_owned), name: None }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.verb, self.resource)?;
        if let Some(name) = &self.name {
            write!(formatter, " {}", escape(name))?;
        }
        match &self.namespace {
            Some(namespace) => write!(formatter, " in the namespace {}", escape(namespace)),
            None => formatter.write_str(" in all namespaces"),
        }
    }
}

impl ServerMessage {
    /// Returns the message of an answer, if the API server itself made it: what stands behind its proxies
    /// answers otherwise.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        // No such answer is long, and what is no JSON was not made by the API server.
        let status: Json = serde_json::from_slice(body.get(..body.len().min(GREATEST))?).ok()?;
        let message = status["message"].as_str().unwrap_or_default();
        (status["kind"] == "Status").then(|| Self(escape(message)))
    }
}

impl fmt::Display for ServerMessage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Error for ServerMessage {}

/// Returns why the client did not get an answer.
pub(super) fn from_client(error: &kube::Error, asked: &Asked, server: &str) -> ClusterError {
    if let kube::Error::Api(status) = error {
        let (asked, source) = (asked.clone(), Some(ServerMessage(escape(&status.message))));
        return match status.code {
            401 => ClusterError::Unauthorized { asked, source },
            403 => ClusterError::Forbidden { asked, source },
            404 => ClusterError::NotFound { asked, source },
            status => ClusterError::Answer { asked, status, source },
        };
    }
    if let Some(why) = credentials(error) {
        return ClusterError::Unusable { what: "the user of the configuration", why };
    }
    ClusterError::Unreachable { server: server.to_owned(), why: tell(error) }
}

/// Returns why there is no client.
pub(super) fn from_configuration(error: &kube::Error) -> ClusterError {
    match credentials(error) {
        Some(why) => ClusterError::Unusable { what: "the user of the configuration", why },
        None => ClusterError::Unusable { what: "the configuration", why: tell(error) },
    }
}

/// Tells what an error and its sources say, each once: most of them repeat what led to them.
pub(super) fn tell(error: &(dyn Error + 'static)) -> String {
    let all = chain(error).map(ToString::to_string);
    let mut told: Vec<String> = Vec::new();
    for text in all {
        if let Some(last) = told.last_mut()
            && let Some(before) = last.strip_suffix(&text)
        {
            *last = before.trim_end_matches([':', ' ']).to_owned();
        }
        told.push(text);
    }
    told.retain(|text| !text.is_empty());
    escape(&told.join(": "))
}

/// Returns why the program that a configuration names for credentials failed, without its arguments, its
/// variables and what it printed: all of them may hold credentials. Its standard error is that of this process.
fn credentials(error: &kube::Error) -> Option<String> {
    let error = chain(error).find_map(|error| {
        let nested = error.downcast_ref::<kube::Error>().and_then(|error| match error {
            kube::Error::Auth(error) => Some(error),
            _ => None,
        });
        nested.or_else(|| error.downcast_ref::<AuthError>())
    })?;
    Some(match error {
        AuthError::AuthExecParse(_) => "its command for credentials prints none".to_owned(),
        AuthError::AuthExecRun { out, .. } => {
            format!("its command for credentials ended with {}", out.status)
        }
        error => tell(error),
    })
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

const GREATEST: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_api_server_speaks_for_itself() {
        let message =
            ServerMessage::read(br#"{"kind":"Status","message":"no\u001b[0m"}"#).expect("it is one");
        assert!(!message.to_string().contains('\u{1b}'));
        assert_eq!(ServerMessage::read(br#"{"kind":"SealedSecret","message":"x"}"#), None);
        assert_eq!(ServerMessage::read(b"error"), None);
    }

    #[test]
    fn both_ways_are_told() {
        let asked = Asked::one("get", "services/proxy", "a", "b");
        let error = ClusterError::Controller {
            namespace: "a".to_owned(),
            name: "b".to_owned(),
            proxy: Box::new(ClusterError::Forbidden { asked, source: Some(ServerMessage("no".to_owned())) }),
            forward: Box::new(ClusterError::NoPod("none is ready".to_owned())),
        };
        assert_eq!(
            error.causes(),
            [
                "by the proxy of the API server: not allowed to get services/proxy b in the namespace a: no",
                "by a forwarded port: cannot forward a port: none is ready",
            ]
        );
    }
}
