//! What is deleted beside the sealing keys, against an API server that has what it is asked for.

use std::convert::Infallible;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use axum::body::Body;
use clap::{Args as _, Command, FromArgMatches as _};
use futures_util::future::BoxFuture;
use http::{Method, Request, Response};
use kube::Client;
use kube::core::ApiResource;
use serde_json::json;
use tokio::sync::watch;

use super::*;
use crate::controller::args::{Args, Surroundings};
use crate::controller::duty::Duty;
use crate::controller::events::Events;
use crate::controller::http::Readiness;
use crate::controller::metrics::Metrics;
use crate::controller::source::Desired;

/// A kind whose objects stand for nothing any more.
struct Emptied(ApiResource);

impl Source for Emptied {
    fn resource(&self) -> &ApiResource {
        &self.0
    }

    fn essence(&self, _: &Json) -> Json {
        Json::Null
    }

    fn open<'a>(&'a self, _: &'a Json) -> BoxFuture<'a, Result<Desired, Failure>> {
        Box::pin(async { Ok(Desired { secrets: Vec::new(), prune: true, adopt: true }) })
    }

    fn status(&self, _: &Json, _: Result<(), &Failure>) -> Json {
        json!({})
    }
}

/// Has a Secret of version 7 under every name, with a label of sealing keys if the name says so.
fn client(deleted: Arc<Mutex<Vec<String>>>) -> Client {
    let service = tower::service_fn(move |request: Request<kube::client::Body>| {
        let name = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
        if *request.method() == Method::DELETE {
            deleted.lock().expect("nobody panics with it").push(name.clone());
        }
        let label = if name == "key" { json!({selkie::sealed::KEY_LABEL: "active"}) } else { json!({}) };
        let metadata = json!({"name": name, "uid": "s1", "resourceVersion": "7", "labels": label});
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata});
        async move { Ok::<_, Infallible>(Response::new(Body::from(secret.to_string()))) }
    });
    Client::new(service, "default")
}

fn context(client: Client) -> Arc<Context> {
    let command = Args::augment_args(Command::new("controller").no_binary_name(true));
    let matches = command.try_get_matches_from(["--update-status=false"]).expect("they are flags");
    let surroundings = Surroundings {
        account_namespace: Some("own".to_owned()),
        host: Some("host-1".to_owned()),
        cores: 1,
        ..Surroundings::default()
    };
    let args = Args::from_arg_matches(&matches).expect("they are flags");
    let metrics = Arc::new(Metrics::with_objects(false));
    Arc::new(Context {
        cluster: Cluster::new(client.clone(), Arc::clone(&metrics)),
        settings: Arc::new(args.settings(&surroundings).expect("they fit")),
        metrics,
        events: Events::start(client).0,
        duties: watch::channel(Duty::alone()).1,
        keys: watch::channel(Arc::default()).1,
        now: Arc::new(|| time::OffsetDateTime::UNIX_EPOCH),
        chance: Arc::new(|| 0.0),
        readiness: Readiness::new(&[]),
        applying_is_forbidden: AtomicBool::new(false),
    })
}

#[tokio::test]
async fn a_sealing_key_is_not_deleted_for_an_object_that_owns_it() {
    for (namespace, name, resource_version, is_deleted, reason) in [
        ("own", "key", "7", false, Reason::NotAllowed),
        ("own", "sealed-secrets-key", "7", false, Reason::NotAllowed),
        ("own", "other", "7", true, Reason::Ready),
        ("own", "other", "6", false, Reason::Ready),
        ("elsewhere", "key", "7", true, Reason::Ready),
    ] {
        let deleted = Arc::new(Mutex::new(Vec::new()));
        let body = json!({"metadata": {"name": "o", "namespace": namespace, "uid": "u1"}});
        let owned = Version {
            name: name.to_owned(),
            uid: "s1".to_owned(),
            resource_version: resource_version.to_owned(),
        };
        let work =
            Work { body: Some(Arc::new(body)), attempts: 0, owned: vec![owned], present: HashSet::new() };
        let kind = ApiResource {
            group: "example.com".to_owned(),
            version: "v1".to_owned(),
            api_version: "example.com/v1".to_owned(),
            kind: "Thing".to_owned(),
            plural: "things".to_owned(),
        };
        let key = Key { namespace: namespace.to_owned(), name: "o".to_owned() };
        let context = context(client(Arc::clone(&deleted)));
        let outcome = attempt(context, Arc::new(Emptied(kind)), key, work).await.outcome;
        let Outcome::Done { done, .. } = outcome else { panic!("it was worked on") };
        let deleted = deleted.lock().expect("nobody panics with it").len() == 1;
        assert_eq!((done.reason, deleted), (reason, is_deleted), "{namespace}/{name} {resource_version}");
    }
}
