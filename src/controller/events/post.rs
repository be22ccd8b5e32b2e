//! The task that sends events to the API server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};

use super::Notice;
use super::memory::{Memory, Step};

/// Sends events until there are no more.
pub(super) async fn run(
    client: Client,
    mut waiting: mpsc::Receiver<Notice>,
    mut closed: watch::Receiver<()>,
    dropped: Arc<AtomicU64>,
) {
    let mut poster = Poster { client, memory: Memory::new(), dropped: Arc::clone(&dropped) };
    {
        let mut work = std::pin::pin!(poster.work(&mut waiting));
        tokio::select! {
            () = &mut work => return,
            // It fails as the other side is gone, which is what it is there for.
            _ = closed.changed() => {}
        }
        if timeout(FLUSH, work).await.is_ok() {
            return;
        }
    }
    let mut left = 1;
    while waiting.try_recv().is_ok() {
        left += 1;
    }
    dropped.fetch_add(left, Ordering::Relaxed);
    tracing::debug!(left, "events were not sent before the end");
}

/// What sends events, one after the other.
struct Poster {
    client: Client,
    memory: Memory,
    dropped: Arc<AtomicU64>,
}

impl Poster {
    async fn work(&mut self, waiting: &mut mpsc::Receiver<Notice>) {
        while let Some(notice) = waiting.recv().await {
            let sent = timeout(LIMIT, self.post(&notice, Timestamp::now())).await;
            let problem = match sent {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer in time".to_owned(),
            };
            self.dropped.fetch_add(1, Ordering::Relaxed);
            let (namespace, name) = (&notice.about.namespace, &notice.about.name);
            tracing::debug!(%namespace, %name, %problem, "an event was not sent");
        }
    }

    async fn post(&mut self, notice: &Notice, now: Timestamp) -> Result<(), kube::Error> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace(notice));
        let count = match self.memory.next(notice, Instant::now()) {
            Step::Create(count) => count,
            Step::Repeat { name, count } => {
                let change = json!({"count": count, "lastTimestamp": Time(now)});
                match api.patch(&name, &PatchParams::default(), &Patch::Merge(change)).await {
                    // Events live for an hour, unless the API server was told otherwise.
                    Err(kube::Error::Api(status)) if status.code == 404 => self.memory.note(notice, None),
                    result => return result.map(drop),
                }
                count
            }
            Step::Skip => return Ok(()),
        };
        let event = event(notice, count, now);
        let name = event.metadata.name.clone();
        api.create(&PostParams::default(), &event).await?;
        self.memory.note(notice, name);
        Ok(())
    }
}

/// The namespace of an event: that of its object, or that of objects without.
fn namespace(notice: &Notice) -> &str {
    match notice.about.namespace.as_str() {
        "" => "default",
        namespace => namespace,
    }
}

/// An event as the API server gets it.
fn event(notice: &Notice, count: i32, now: Timestamp) -> Event {
    let about = &notice.about;
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let is_good = notice.reason.error_label().is_none();
    Event {
        metadata: ObjectMeta {
            name: Some(name(&about.name, now)),
            namespace: Some(namespace(notice).to_owned()),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: some(&about.api_version),
            kind: some(&about.kind),
            name: some(&about.name),
            namespace: some(&about.namespace),
            resource_version: some(&about.resource_version),
            uid: some(&about.uid),
            field_path: None,
        },
        type_: Some(if is_good { "Normal" } else { "Warning" }.to_owned()),
        reason: Some(notice.reason.event().to_owned()),
        message: Some(notice.message.clone()),
        count: Some(count),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        source: Some(EventSource { component: Some(COMPONENT.to_owned()), host: None }),
        reporting_component: Some(COMPONENT.to_owned()),
        reporting_instance: Some(String::new()),
        ..Event::default()
    }
}

/// The name of an event: that of its object, and the time. A long name of an object is cut, so that it is a name.
fn name(object: &str, now: Timestamp) -> String {
    let suffix = format!("{:x}", now.as_nanosecond());
    let mut end = object.len().min(MAX_NAME - 1 - suffix.len());
    while !object.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}.{suffix}", object[..end].trim_end_matches(['.', '-']))
}

/// Who the events are from, as of the controller of Sealed Secrets: people filter by it.
const COMPONENT: &str = "sealed-secrets";

/// How many bytes the name of an object may have.
const MAX_NAME: usize = 253;

/// How long it may take to send an event.
const LIMIT: Duration = Duration::from_secs(10);

/// How long it may take at the end to send all that waits.
const FLUSH: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Mutex;

    use http::{Method, Request, Response, StatusCode};
    use http_body_util::BodyExt as _;
    use kube::client::Body;
    use serde_json::Value as Json;
    use tower::service_fn;

    use super::*;
    use crate::controller::events::{About, Events, QUEUE};
    use crate::controller::reason::Reason;

    type Seen = Arc<Mutex<Vec<(Method, String, Json)>>>;

    /// A client of an API server that answers each request with the next of some codes, and then with the last.
    fn server(codes: &[u16]) -> (Client, Seen) {
        let (seen, codes): (Seen, Vec<u16>) = (Arc::default(), codes.to_vec());
        let log = Arc::clone(&seen);
        let service = service_fn(move |request: Request<Body>| {
            let (log, codes) = (Arc::clone(&log), codes.clone());
            async move {
                let (head, body) = request.into_parts();
                let bytes = body.collect().await.expect("it is in memory").to_bytes();
                let body: Json = serde_json::from_slice(&bytes).expect("it is JSON");
                let mut seen = log.lock().expect("nobody panicked");
                let code = *codes.get(seen.len()).or(codes.last()).expect("there is a code");
                seen.push((head.method, head.uri.to_string(), body.clone()));
                let answer = match code {
                    200..300 => body,
                    _ => {
                        json!({"kind": "Status", "status": "Failure", "code": code, "reason": "x", "message": "x"})
                    }
                };
                let answer = Response::builder()
                    .status(StatusCode::from_u16(code).expect("a code"))
                    .body(Body::from(answer.to_string().into_bytes()));
                Ok::<_, Infallible>(answer.expect("a response"))
            }
        });
        (Client::new(service, "default"), seen)
    }

    fn about(name: &str) -> About {
        About {
            api_version: "bitnami.com/v1alpha1".into(),
            kind: "SealedSecret".into(),
            namespace: "team".into(),
            name: name.into(),
            uid: "0123".into(),
            resource_version: "7".into(),
        }
    }

    async fn end(events: &Events, task: tokio::task::JoinHandle<()>) {
        events.close();
        task.await.expect("it does not panic");
    }

    #[tokio::test(start_paused = true)]
    async fn events_are_sent_as_client_go_sends_them() {
        let (client, seen) = server(&[201]);
        let (events, task) = Events::start(client);
        events.send(about("a"), Reason::Ready, "SealedSecret unsealed successfully");
        events.send(about("b"), Reason::NoKey, "Failed to unseal: no key could decrypt secret");
        end(&events, task).await;
        let seen = seen.lock().expect("nobody panicked");
        let (method, uri, body) = &seen[0];
        assert_eq!((method, uri.trim_end_matches('?')), (&Method::POST, "/api/v1/namespaces/team/events"));
        assert_eq!(body["type"], "Normal");
        assert_eq!(body["reason"], "Unsealed");
        assert_eq!(body["message"], "SealedSecret unsealed successfully");
        assert_eq!(body["source"], json!({"component": "sealed-secrets"}));
        assert_eq!(body["reportingComponent"], "sealed-secrets");
        assert_eq!(body["count"], 1);
        assert_eq!(body["firstTimestamp"], body["lastTimestamp"]);
        assert_eq!(
            body["involvedObject"],
            json!({
                "apiVersion": "bitnami.com/v1alpha1", "kind": "SealedSecret", "namespace": "team", "name": "a",
                "uid": "0123", "resourceVersion": "7",
            })
        );
        assert!(body["metadata"]["name"].as_str().is_some_and(|name| name.starts_with("a.")), "{body}");
        assert_eq!(
            (&seen[1].2["type"], &seen[1].2["reason"]),
            (&json!("Warning"), &json!("ErrUnsealFailed"))
        );
        assert_eq!(events.dropped(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_happens_again_is_patched_and_what_the_server_forgot_is_made_anew() {
        let (client, seen) = server(&[201, 200, 404, 201]);
        let (events, task) = Events::start(client);
        for _ in 0..3 {
            events.send(about("a"), Reason::Ready, "well");
        }
        end(&events, task).await;
        let seen = seen.lock().expect("nobody panicked");
        let methods: Vec<_> = seen.iter().map(|(method, ..)| method.as_str()).collect();
        assert_eq!(methods, ["POST", "PATCH", "PATCH", "POST"]);
        let name = seen[0].2["metadata"]["name"].as_str().expect("a name");
        assert_eq!(seen[1].1.trim_end_matches('?'), format!("/api/v1/namespaces/team/events/{name}"));
        assert_eq!(seen[1].2["count"], 2);
        assert_eq!(seen[1].2.as_object().map(serde_json::Map::len), Some(2));
        assert_eq!(seen[3].2["count"], 3);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_and_a_full_queue_are_counted_and_end_nothing() {
        let (client, seen) = server(&[403, 201]);
        let (events, task) = Events::start(client);
        for number in 0..QUEUE + 5 {
            events.send(about(&format!("a-{number}")), Reason::Ready, "well");
        }
        end(&events, task).await;
        assert_eq!(events.dropped(), 5 + 1);
        assert_eq!(seen.lock().expect("nobody panicked").len(), QUEUE);
        events.send(about("late"), Reason::Ready, "well");
        assert_eq!(events.dropped(), 5 + 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_does_not_wait_for_a_server_that_hangs() {
        let service =
            service_fn(|_: Request<Body>| std::future::pending::<Result<Response<Body>, Infallible>>());
        let (events, task) = Events::start(Client::new(service, "default"));
        for name in ["a", "b", "c"] {
            events.send(about(name), Reason::Ready, "well");
        }
        let start = Instant::now();
        end(&events, task).await;
        assert!(start.elapsed() < LIMIT, "{:?}", start.elapsed());
        assert_eq!(events.dropped(), 3);
    }

    #[test]
    fn the_name_of_an_event_is_a_name() {
        let now = Timestamp::from_nanosecond(0x17a1_b2c3_d4e5_f607).expect("a time");
        assert_eq!(name("a", now), "a.17a1b2c3d4e5f607");
        let long = format!("{}.{}", "a".repeat(235), "b".repeat(17));
        assert_eq!(name(&long, now), format!("{}.17a1b2c3d4e5f607", "a".repeat(235)));
    }
}
