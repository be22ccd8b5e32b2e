//! The controller of Sealed Secrets in a cluster: its certificate, and what only its keys can do.
//!
//! It is reached through the proxy of the API server, as kubeseal does it; where that is not allowed or does not
//! work, through a port that is forwarded to one of its Pods.

use std::cell::Cell;
use std::time::Duration;

use http::{Method, StatusCode};
use k8s_openapi::api::core::v1::Service;
use selkie::secret::SecretBytes;

use super::{Answer, Asked, Cluster, ClusterError, GREATEST_OBJECT, JSON, Question, segment};

/// The controller of Sealed Secrets in a cluster.
pub struct Controller<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) service: Service,
    way: Cell<Way>,
}

/// Whether a controller can decrypt a SealedSecret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No key of the controller decrypts all of it.
    NotUnsealable,
    /// The controller decrypts it.
    Unsealable,
}

/// How the controller was reached the last time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Forward,
    Proxy,
}

impl Cluster {
    /// Returns the controller behind a Service, which must be there.
    ///
    /// # Errors
    /// If the Service cannot be read.
    pub fn controller(&self, namespace: &str, name: &str) -> Result<Controller<'_>, ClusterError> {
        let asked = Asked::one("get", "services", namespace, name);
        let path = format!("/api/v1/namespaces/{}/services/{}", segment(namespace)?, segment(name)?);
        let answer = self.ask(&asked, Question::get(path))?;
        let service =
            serde_json::from_slice(answer.expose_secret()).map_err(|_| ClusterError::Malformed { asked })?;
        Ok(Controller {
            cluster: self,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            service,
            way: Cell::new(Way::Proxy),
        })
    }
}

impl Controller<'_> {
    /// Returns the certificate to seal with, in PEM, as it is given out.
    ///
    /// # Errors
    /// If the controller cannot be reached, or has no certificate.
    pub fn fetch_cert(&self) -> Result<Vec<u8>, ClusterError> {
        let answer = self.request(&Method::GET, "v1/cert.pem", CERTIFICATE, &[])?;
        self.expect_success("get", answer).map(|body| body.expose_secret().to_vec())
    }

    /// Returns whether the controller can decrypt a SealedSecret, given as JSON or YAML.
    ///
    /// # Errors
    /// If the controller cannot be reached, or cannot read what it is given.
    pub fn verify(&self, sealed_secret: &[u8]) -> Result<Verdict, ClusterError> {
        let answer = self.request(&Method::POST, "v1/verify", JSON, sealed_secret)?;
        match answer.status {
            StatusCode::CONFLICT => Ok(Verdict::NotUnsealable),
            _ => self.expect_success("create", answer).map(|_| Verdict::Unsealable),
        }
    }

    /// Returns a SealedSecret, given as JSON or YAML, encrypted with the latest key of the controller, as JSON.
    ///
    /// # Errors
    /// If the controller cannot be reached, or cannot decrypt what it is given.
    pub fn rotate(&self, sealed_secret: &[u8]) -> Result<Vec<u8>, ClusterError> {
        let answer = self.request(&Method::POST, "v1/rotate", JSON, sealed_secret)?;
        self.expect_success("create", answer).map(|body| body.expose_secret().to_vec())
    }

    /// Returns the name under which the API server knows the way to the controller.
    pub(super) fn target(&self) -> String {
        let port = self.service.spec.iter().flat_map(|spec| spec.ports.iter().flatten()).next();
        format!("http:{}:{}", self.name, port.and_then(|port| port.name.as_deref()).unwrap_or_default())
    }

    fn expect_success(&self, verb: &'static str, answer: Answer) -> Result<SecretBytes, ClusterError> {
        if answer.status.is_success() {
            return Ok(answer.body);
        }
        let asked = Asked::one(verb, PROXY, &self.namespace, &self.target());
        Err(ClusterError::Answer { asked, status: answer.status.as_u16(), source: None })
    }

    /// Asks once more, a few times, while the controller says that it is asked too much.
    fn request(
        &self,
        method: &Method,
        path: &str,
        accept: &'static str,
        body: &[u8],
    ) -> Result<Answer, ClusterError> {
        for _ in 0..ATTEMPTS {
            let answer = self.request_once(method, path, accept, body)?;
            if answer.status != StatusCode::TOO_MANY_REQUESTS {
                return Ok(answer);
            }
            let pause = answer.retry_after.unwrap_or(PAUSE).min(LONGEST_PAUSE);
            std::thread::sleep(pause);
        }
        let verb = if *method == Method::GET { "get" } else { "create" };
        let asked = Asked::one(verb, PROXY, &self.namespace, &self.target());
        Err(ClusterError::RateLimited { asked })
    }

    fn request_once(
        &self,
        method: &Method,
        path: &str,
        accept: &'static str,
        body: &[u8],
    ) -> Result<Answer, ClusterError> {
        let question = |path: String| Question {
            method: method.clone(),
            path,
            accept,
            body: body.into(),
            greatest: GREATEST_OBJECT,
        };
        let proxy = match self.way.get() {
            Way::Forward => return self.forward(question(format!("/{path}"))),
            Way::Proxy => match self.by_proxy(path, &question) {
                Err(error) if is_no_way(&error) => error,
                answered => return answered,
            },
        };
        match self.forward(question(format!("/{path}"))) {
            Ok(answer) => {
                self.way.set(Way::Forward);
                Ok(answer)
            }
            Err(forward) => Err(ClusterError::Controller {
                namespace: self.namespace.clone(),
                name: self.name.clone(),
                proxy: Box::new(proxy),
                forward: Box::new(forward),
            }),
        }
    }

    /// Returns what the controller answers. What the API server answers in its place is an error.
    fn by_proxy(&self, path: &str, question: &impl Fn(String) -> Question) -> Result<Answer, ClusterError> {
        let (namespace, target) = (segment(&self.namespace)?, segment(&self.target())?);
        let question = question(format!("/api/v1/namespaces/{namespace}/services/{target}/proxy/{path}"));
        let verb = if question.method == Method::GET { "get" } else { "create" };
        let asked = Asked::one(verb, PROXY, &self.namespace, &self.target());
        self.cluster.wait(&asked, async {
            let answer = self.cluster.send(&asked, question).await?;
            let is_of_gateway = matches!(answer.status.as_u16(), 502..=504);
            if is_of_gateway || answer.message().is_some() {
                Err(answer.into_error(&asked))
            } else {
                Ok(answer)
            }
        })
    }
}

/// Returns whether it is the way that failed, so that another one may lead there.
const fn is_no_way(error: &ClusterError) -> bool {
    matches!(
        error,
        ClusterError::Answer { status: 500..=599, .. }
            | ClusterError::Broken { .. }
            | ClusterError::Forbidden { .. }
            | ClusterError::TimedOut { .. }
    )
}

const PROXY: &str = "services/proxy";

/// What kubeseal asks for.
const CERTIFICATE: &str = "application/x-pem-file, */*";

const ATTEMPTS: usize = 6;

const PAUSE: Duration = Duration::from_secs(1);

const LONGEST_PAUSE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::NEVER;
    use super::*;

    const SERVICE: &str = r#"{"spec":{"ports":[{"name":"http","port":8080}]}}"#;
    const PATH: &str = "/api/v1/namespaces/ns/services/http:name:http/proxy/v1/";

    /// Returns a cluster whose controller answers so through the proxy, and in which nothing else is allowed.
    fn cluster(status: u16, body: &'static str) -> Cluster {
        Cluster::fake(
            move |method, path, sent| match (method, path) {
                ("GET", "/api/v1/namespaces/ns/services/name") => (200, SERVICE.to_owned()),
                ("GET", path) if path == format!("{PATH}cert.pem") => (status, body.to_owned()),
                ("POST", path) if path.starts_with(PATH) && sent == b"{}" => (status, body.to_owned()),
                _ => (403, FORBIDDEN.to_owned()),
            },
            Duration::from_millis(200),
        )
    }

    const FORBIDDEN: &str = r#"{"kind":"Status","message":"no","code":403}"#;

    #[test]
    fn what_the_controller_answers_is_returned() {
        let fetch = |cluster: &Cluster| cluster.controller("ns", "name")?.fetch_cert();
        let verify = |cluster: &Cluster| cluster.controller("ns", "name")?.verify(b"{}");
        let rotate = |cluster: &Cluster| cluster.controller("ns", "name")?.rotate(b"{}");
        assert_eq!(fetch(&cluster(200, "PEM")).expect("it is given out"), b"PEM");
        assert_eq!(rotate(&cluster(200, "{1}")).expect("it is rotated"), b"{1}");
        assert_eq!(verify(&cluster(200, "")).expect("it is told"), Verdict::Unsealable);
        assert_eq!(verify(&cluster(409, "")).expect("it is told"), Verdict::NotUnsealable);
        assert!(matches!(verify(&cluster(500, "")), Err(ClusterError::Answer { status: 500, .. })));
        assert!(matches!(rotate(&cluster(409, "")), Err(ClusterError::Answer { status: 409, .. })));
        assert!(matches!(verify(&cluster(404, FORBIDDEN)), Err(ClusterError::NotFound { .. })));
        assert!(matches!(verify(&cluster(429, "")), Err(ClusterError::RateLimited { .. })));
    }

    #[test]
    fn both_ways_are_tried_before_it_fails() {
        for (status, body) in [(403, FORBIDDEN), (503, ""), (500, FORBIDDEN), (NEVER, "")] {
            let error = cluster(status, body).controller("ns", "name").and_then(|found| found.fetch_cert());
            let Err(ClusterError::Controller { proxy, forward, .. }) = error else {
                panic!("{status}: {:?}", error.map(|_| ()))
            };
            assert!(is_no_way(&proxy), "{proxy}");
            assert!(matches!(*forward, ClusterError::NoPod(_)), "{forward}");
        }
    }

    #[test]
    fn a_limit_of_requests_is_waited_for() {
        let count = AtomicUsize::new(0);
        let cluster = Cluster::fake(
            move |method, _, _| match (method, count.fetch_add(1, Ordering::Relaxed)) {
                ("GET", _) => (200, SERVICE.to_owned()),
                ("POST", number) => (if number < 3 { 429 } else { 200 }, String::new()),
                _ => (500, String::new()),
            },
            Duration::from_secs(5),
        );
        let verdict = cluster.controller("ns", "name").and_then(|found| found.verify(b"{}"));
        assert_eq!(verdict.expect("it answers in the end"), Verdict::Unsealable);
    }
}
