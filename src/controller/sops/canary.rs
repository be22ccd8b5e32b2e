//! What an object of SOPS has encrypted of the metadata of a Secret is told nobody, whatever the API server says of it.

use std::collections::HashSet;
use std::io::Write;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::{Method, Request, Response};
use clap::Parser;
use http_body_util::BodyExt as _;
use kube::Client;
use selkie::format::Format;
use selkie::sealed::{ObjectMeta, Secret};
use serde_json::{Value as Json, json};
use time::OffsetDateTime;
use tokio::sync::watch;

use super::kit::{self, World};
use super::own::SopsSecrets;
use crate::controller::cluster::Cluster;
use crate::controller::context::Context;
use crate::controller::duty::Duty;
use crate::controller::events::Events;
use crate::controller::existing::Existing;
use crate::controller::http::Readiness;
use crate::controller::key_set::KeySet;
use crate::controller::metrics::Metrics;
use crate::controller::plan::{Claim, Plan, plan};
use crate::controller::queue::Key;
use crate::controller::reason::Reason;
use crate::controller::reconcile::{Outcome, attempt};
use crate::controller::settings::Settings;
use crate::controller::source::Source;
use crate::controller::store::Work;
use crate::controller::{Args, Surroundings};

#[tokio::test]
async fn what_the_api_server_says_of_an_encrypted_label_is_not_repeated() {
    let (reason, told) = told(None).await;
    assert_eq!(reason, Reason::Update);
    let words = "the API server says Invalid: data (FieldValueInvalid), metadata.labels (FieldValueInvalid)";
    assert!(told.contains(words), "{told}");
    assert!(!told.contains("CANARY"), "{told}");
}

#[tokio::test]
async fn what_is_there_is_not_told_either() {
    let existing = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "CANARY/old",
        "metadata": {
            "name": "db", "namespace": "shop", "uid": "s-1", "resourceVersion": "1",
            "ownerReferences": [{
                "apiVersion": "selkie.dev/v1alpha1", "kind": "SopsSecret", "name": "db", "uid": "u-1", "controller": true,
            }],
        },
    });
    let (reason, told) = told(Some(existing)).await;
    assert_eq!(reason, Reason::Update);
    assert!(told.contains("the type of the Secret is another one"), "{told}");
    assert!(!told.contains("CANARY"), "{told}");
}

#[test]
fn no_plan_tells_a_name_that_may_be_encrypted() {
    let mut claim = Claim {
        uid: "u-1",
        kind: "SopsSecret",
        managed: "m",
        patch: None,
        adopt: false,
        may_apply: true,
        hides_metadata: true,
        reserved: None,
    };
    let mut metadata = ObjectMeta::default();
    metadata.set_field("name", "CANARY".into());
    let desired = Secret { metadata, ..Secret::default() };
    let metadata = json!({
        "name": "CANARY", "namespace": "shop", "uid": "s-1", "resourceVersion": "1",
        "deletionTimestamp": "2026-01-01T00:00:00Z",
    });
    let existing = Existing::from_json(&json!({"metadata": metadata})).expect("a Secret");
    for (adopt, hides_metadata, expected) in [
        (false, true, "failed update: Resource already exists and is not managed by SopsSecret"),
        (false, false, "failed update: Resource \"CANARY\" already exists and is not managed by SopsSecret"),
        (true, true, "the Secret is about to be deleted, and is made again when it is gone"),
        (true, false, "the Secret \"CANARY\" is about to be deleted, and is made again when it is gone"),
    ] {
        (claim.adopt, claim.hides_metadata) = (adopt, hides_metadata);
        let Plan::Refuse(failure) = plan(&claim, &desired, Some(&existing)) else { panic!("it is written") };
        assert_eq!(failure.message, expected);
    }
    (claim.reserved, claim.hides_metadata) = (Some("CANARY"), true);
    let Plan::Refuse(failure) = plan(&claim, &desired, None) else { panic!("it is written") };
    assert!(failure.message.starts_with("the Secret has the name of a sealing key"), "{failure}");
}

/// Returns how an attempt went at an object with an encrypted label that is none, and all that was told of it: in its
/// status, in events and in the log.
async fn told(existing: Option<Json>) -> (Reason, String) {
    let world = World::with_own_secret();
    let document = "apiVersion: v1\nkind: Secret\nmetadata: {labels: {team: CANARY is none}}\ntype: CANARY/new\n\
                    stringData: {a: CANARY}\n";
    let spec = world.spec(document, Format::Yaml, json!({}));
    let object = kit::object("selkie.dev/v1alpha1", &spec);
    let source: Arc<dyn Source> = Arc::new(SopsSecrets::new(world.keys()));
    let told = Told::default();
    let subscriber = tracing_subscriber::fmt().with_writer({
        let told = told.clone();
        move || told.clone()
    });
    let _log = tracing::subscriber::set_default(subscriber.finish());
    let present: HashSet<_> = existing.iter().map(|_| "db".to_owned()).collect();
    let client = client(&told, existing);
    let (events, sent) = Events::start(client.clone());
    let context = context(client, events.clone());
    let key = Key { namespace: "shop".to_owned(), name: "db".to_owned() };
    let work = Work { body: Some(Arc::new(object)), attempts: 0, owned: Vec::new(), present };
    let attempt = attempt(context, source, key, work).await;
    events.close();
    sent.await.expect("it ends");
    let Outcome::Done { done, .. } = attempt.outcome else { panic!("it was not worked on") };
    let told = String::from_utf8(told.0.lock().expect("no panic").clone()).expect("text");
    // All three were heard.
    for part in ["\"status\":{", "\"kind\":\"Event\"", "cannot be reconciled"] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
    (done.reason, told)
}

/// All that was told.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<u8>>>);

impl Write for Told {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A way to an API server that has a Secret or none, takes none, and quotes what it was sent. What it is told besides is
/// noted.
fn client(told: &Told, existing: Option<Json>) -> Client {
    let told = told.clone();
    let service = tower::service_fn(move |request: Request<kube::client::Body>| {
        let (mut told, existing) = (told.clone(), existing.clone());
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.expect("a body").to_bytes();
            let is_of_secrets = head.uri.path().contains("/secrets");
            let (code, answer) = match existing {
                Some(existing) if is_of_secrets && head.method == Method::GET => (200, existing),
                _ if is_of_secrets => {
                    let sent: Json = serde_json::from_slice(&body).expect("JSON");
                    (422, refusal(&sent["metadata"]["labels"]["team"]))
                }
                _ => {
                    told.write_all(&body).expect("it is noted");
                    (200, serde_json::from_slice(&body).expect("JSON"))
                }
            };
            let response = Response::builder().status(code).body(Body::from(answer.to_string()));
            Ok::<_, std::convert::Infallible>(response.expect("a response"))
        }
    });
    Client::new(service, "default")
}

/// What an API server says of a label that is none.
fn refusal(label: &Json) -> Json {
    assert!(label.as_str().is_some_and(|label| label.contains("CANARY")), "{label}");
    let message = format!("Invalid value: {label}: a valid label must be an empty string or consist of …");
    let causes = json!([
        {"reason": "FieldValueInvalid", "message": message, "field": "metadata.labels"},
        {"reason": "FieldValueInvalid", "message": message, "field": format!("data[{label}]")},
        {"reason": format!("{label}"), "message": message, "field": "metadata.annotations"},
        {"reason": "FieldValueInvalid", "message": message, "field": format!("metadata.{label}")},
    ]);
    json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": 422, "reason": "Invalid",
        "message": format!("Secret \"db\" is invalid: metadata.labels: {message}"),
        "details": {"name": format!("{label}"), "kind": "Secret", "causes": causes},
    })
}

fn context(client: Client, events: Events) -> Arc<Context> {
    let metrics = Arc::new(Metrics::new());
    Arc::new(Context {
        cluster: Cluster::new(client, Arc::clone(&metrics)),
        settings: Arc::new(settings()),
        metrics,
        events,
        // A receiver keeps what its sender had last.
        duties: watch::channel(Duty::alone()).1,
        keys: watch::channel(Arc::new(KeySet::default())).1,
        now: Arc::new(|| OffsetDateTime::UNIX_EPOCH),
        chance: Arc::new(|| 0.0),
        readiness: Readiness::new(&[]),
        applying_is_forbidden: AtomicBool::new(false),
    })
}

fn settings() -> Settings {
    let arguments: [&str; 0] = [];
    let surroundings = Surroundings {
        account_namespace: Some("kube-system".to_owned()),
        cores: 1,
        ..Surroundings::default()
    };
    let program = Program::try_parse_from(arguments).expect("no flags");
    program.args.settings(&surroundings).expect("defaults")
}

#[derive(Parser)]
#[command(no_binary_name = true)]
struct Program {
    #[command(flatten)]
    args: Args,
}
