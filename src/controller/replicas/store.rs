//! Where Leases are: the API server, or a stand-in for it in tests.
//!
//! Invariant: what is read is what was written last, not what some cache has; and nothing takes longer than its limit.

use std::future::Future;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{DeleteParams, ListParams, PostParams, Preconditions};
use kube::{Api, Client};
use tokio::time::timeout;

use super::record::Write;

/// Where Leases are.
pub(super) trait Leases: Sync {
    /// Returns a Lease, or `None` if there is none of that name.
    fn get(&self, name: &str) -> impl Future<Output = Result<Option<Lease>, LeaseError>> + Send;

    /// Returns all Leases that a selector of labels selects.
    fn list(&self, selector: String) -> impl Future<Output = Result<Vec<Lease>, LeaseError>> + Send;

    /// Makes a Lease, and returns it as it is then.
    fn create(&self, lease: Lease) -> impl Future<Output = Result<Lease, LeaseError>> + Send;

    /// Writes a Lease if it still has the version that is given, and returns it as it is then.
    fn update(&self, lease: Lease) -> impl Future<Output = Result<Lease, LeaseError>> + Send;

    /// Deletes a Lease if it still has the version that is given.
    fn delete(&self, lease: &Lease) -> impl Future<Output = Result<(), LeaseError>> + Send;
}

/// Why a Lease could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum LeaseError {
    /// Somebody else was quicker.
    #[error("the Lease has changed")]
    Conflict,
    /// The role of the controller does not allow it.
    #[error(
        "the role of the controller does not allow to {verb} leases.coordination.k8s.io in namespace {namespace}: \
         replicas need get, create, update, and for shards list and delete"
    )]
    Forbidden {
        /// What was forbidden.
        verb: &'static str,
        /// Where.
        namespace: String,
    },
    /// The API server did not do it.
    #[error("cannot {verb} leases")]
    Server {
        /// What it did not do.
        verb: &'static str,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// There was no answer in time.
    #[error("the API server did not answer in time when asked to {verb} leases")]
    Timeout {
        /// What it was to do.
        verb: &'static str,
    },
}

/// Does what was decided.
pub(super) async fn write<L: Leases>(leases: &L, write: Write) -> Result<Lease, LeaseError> {
    match write {
        Write::Create(lease) => leases.create(lease).await,
        Write::Update(lease) => leases.update(lease).await,
    }
}

/// The Leases of a namespace of a cluster.
pub(super) struct ClusterLeases {
    api: Api<Lease>,
    namespace: String,
    limit: Duration,
}

impl ClusterLeases {
    /// Returns the Leases of a namespace. No request takes longer than the limit.
    pub(super) fn new(client: Client, namespace: String, limit: Duration) -> Self {
        Self { api: Api::namespaced(client, &namespace), namespace, limit }
    }

    async fn ask<T>(
        &self,
        verb: &'static str,
        request: impl Future<Output = Result<T, kube::Error>> + Send,
    ) -> Result<T, LeaseError> {
        let answer = timeout(self.limit, request).await.map_err(|_| LeaseError::Timeout { verb })?;
        answer.map_err(|error| match &error {
            kube::Error::Api(status) if status.code == 403 => {
                LeaseError::Forbidden { verb, namespace: self.namespace.clone() }
            }
            // There already, changed since, or gone.
            kube::Error::Api(status) if status.code == 409 => LeaseError::Conflict,
            kube::Error::Api(status) if status.code == 404 && matches!(verb, "update" | "delete") => {
                LeaseError::Conflict
            }
            _ => LeaseError::Server { verb, source: Box::new(error) },
        })
    }
}

impl Leases for ClusterLeases {
    async fn get(&self, name: &str) -> Result<Option<Lease>, LeaseError> {
        self.ask("get", self.api.get_opt(name)).await
    }

    async fn list(&self, selector: String) -> Result<Vec<Lease>, LeaseError> {
        // Without a version, which would allow the API server to answer from a cache.
        let parameters = ListParams::default().labels(&selector);
        Ok(self.ask("list", self.api.list(&parameters)).await?.items)
    }

    async fn create(&self, lease: Lease) -> Result<Lease, LeaseError> {
        self.ask("create", self.api.create(&PostParams::default(), &lease)).await
    }

    async fn update(&self, lease: Lease) -> Result<Lease, LeaseError> {
        let name = lease.metadata.name.as_deref().unwrap_or_default();
        self.ask("update", self.api.replace(name, &PostParams::default(), &lease)).await
    }

    async fn delete(&self, lease: &Lease) -> Result<(), LeaseError> {
        let metadata = &lease.metadata;
        let preconditions =
            Preconditions { resource_version: metadata.resource_version.clone(), uid: metadata.uid.clone() };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let name = metadata.name.as_deref().unwrap_or_default();
        self.ask("delete", self.api.delete(name, &parameters)).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};

    use http::{Request, Response};
    use http_body_util::BodyExt as _;
    use k8s_openapi::jiff::Timestamp;
    use kube::client::Body;
    use serde_json::{Value as Json, json};
    use tower::service_fn;

    use super::super::record::{made, taken};
    use super::*;

    type Seen = Arc<Mutex<Vec<(String, Json)>>>;

    /// Leases of an API server that answers always the same.
    fn server(code: u16, answer: &Json) -> (ClusterLeases, Seen) {
        let (seen, answer) = (Seen::default(), answer.to_string());
        let log = Arc::clone(&seen);
        let service = service_fn(move |request: Request<Body>| {
            let (log, answer) = (Arc::clone(&log), answer.clone());
            async move {
                let (head, body) = request.into_parts();
                let bytes = body.collect().await.expect("it is in memory").to_bytes();
                let line = format!("{} {}", head.method, head.uri.to_string().trim_end_matches('?'));
                let body = serde_json::from_slice(&bytes).unwrap_or(Json::Null);
                log.lock().expect("nobody panicked").push((line, body));
                let answer = Response::builder().status(code).body(Body::from(answer.into_bytes()));
                Ok::<_, Infallible>(answer.expect("a response"))
            }
        });
        let client = Client::new(service, "default");
        (ClusterLeases::new(client, "selkie".to_owned(), Duration::from_secs(5)), seen)
    }

    fn failure(code: u16) -> Json {
        let reason = if code == 404 { "NotFound" } else { "x" };
        json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": "no"})
    }

    fn lease() -> Lease {
        let wall = Timestamp::from_second(1_700_000_000).expect("a time");
        let mut lease = made("l-a", &[("selkie.dev/replica-of", "l")], "a", Duration::from_secs(15), wall);
        lease.metadata.resource_version = Some("7".to_owned());
        lease.metadata.uid = Some("u".to_owned());
        lease
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_names_the_version_that_was_read() {
        let answer = serde_json::to_value(lease()).expect("it is JSON");
        let (leases, seen) = server(200, &answer);
        let read = leases.get("l-a").await.expect("an answer").expect("a Lease");
        let wall = Timestamp::from_microsecond(1_700_000_002_000_001).expect("a time");
        leases.update(taken(read.clone(), "a", Duration::from_secs(15), wall)).await.expect("an answer");
        leases.delete(&read).await.expect("an answer");
        let seen = seen.lock().expect("nobody panicked");
        let lines: Vec<_> = seen.iter().map(|(line, _)| line.as_str()).collect();
        let path = "/apis/coordination.k8s.io/v1/namespaces/selkie/leases/l-a";
        assert_eq!(lines, [format!("GET {path}"), format!("PUT {path}"), format!("DELETE {path}")]);
        assert_eq!(seen[1].1["metadata"]["resourceVersion"], "7");
        assert_eq!(
            seen[1].1["spec"],
            json!({
                "acquireTime": "2023-11-14T22:13:20.000000Z", "holderIdentity": "a", "leaseDurationSeconds": 15,
                "leaseTransitions": 0, "renewTime": "2023-11-14T22:13:22.000001Z",
            })
        );
        assert_eq!(seen[2].1["preconditions"], json!({"resourceVersion": "7", "uid": "u"}));
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_is_asked_for_by_label_and_is_the_latest() {
        let (leases, seen) = server(200, &json!({"kind": "LeaseList", "metadata": {}, "items": [lease()]}));
        let all = leases.list("selkie.dev/replica-of=l".to_owned()).await.expect("an answer");
        assert_eq!(all, [lease()]);
        let line = &seen.lock().expect("nobody panicked")[0].0;
        assert!(line.contains("leases?&labelSelector=selkie.dev%2Freplica-of%3Dl"), "{line}");
        assert!(!line.contains("resourceVersion"), "{line}");
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_are_told_apart() {
        let (leases, _) = server(403, &failure(403));
        let error = leases.get("l-a").await.expect_err("it is forbidden");
        assert_eq!(
            error.to_string(),
            "the role of the controller does not allow to get leases.coordination.k8s.io in namespace selkie: \
             replicas need get, create, update, and for shards list and delete"
        );
        let (leases, _) = server(404, &failure(404));
        assert!(matches!(leases.get("l-a").await, Ok(None)));
        assert!(matches!(leases.update(lease()).await, Err(LeaseError::Conflict)));
        // The namespace is gone.
        assert!(matches!(leases.create(lease()).await, Err(LeaseError::Server { .. })));
        let (leases, _) = server(409, &failure(409));
        assert!(matches!(leases.create(lease()).await, Err(LeaseError::Conflict)));
        assert!(matches!(leases.update(lease()).await, Err(LeaseError::Conflict)));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_waited_for_without_end() {
        let service =
            service_fn(|_: Request<Body>| std::future::pending::<Result<Response<Body>, Infallible>>());
        let client = Client::new(service, "default");
        let leases = ClusterLeases::new(client, "selkie".to_owned(), Duration::from_secs(5));
        assert!(matches!(leases.get("l-a").await, Err(LeaseError::Timeout { verb: "get" })));
    }
}
