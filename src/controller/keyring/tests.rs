//! The keyring against an API server that is a map of Secrets.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Mutex, MutexGuard};

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use k8s_openapi::api::core::v1::Secret;
use selkie::sealed::{KEY_LABEL, KeySize, SealingCert, SealingScope};
use serde_json::{Value as Json, json};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use super::*;
use crate::controller::duty::Duty;
use crate::controller::settings::KeyOrder;

/// What the API server has, and how it behaves.
#[derive(Default)]
struct Cluster {
    secrets: BTreeMap<String, Json>,
    version: u64,
    watches: Vec<UnboundedSender<String>>,
    /// How many answers to lists are still to be failures.
    failing_lists: usize,
    /// How many answers to writes are still to be failures.
    failing_writes: usize,
    /// Whether those are written nevertheless.
    writes_nevertheless: bool,
    lists: usize,
    /// What is restored while a key is made: at this list.
    restored_at: Option<(usize, Json)>,
}

#[derive(Clone, Default)]
struct Api(Arc<Mutex<Cluster>>);

impl Api {
    fn cluster(&self) -> MutexGuard<'_, Cluster> {
        self.0.lock().expect("nobody panics with it")
    }

    fn client(&self) -> kube::Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let api = api.clone();
            async move { Ok::<_, Infallible>(api.answer(request).await) }
        });
        kube::Client::new(service, "default")
    }

    async fn answer(&self, request: Request<kube::client::Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let name =
            parts.uri.path().strip_prefix("/api/v1/namespaces/keys/secrets").expect("its own namespace");
        let body = body.collect().await.expect("a body").to_bytes();
        let mut cluster = self.cluster();
        if parts.method == http::Method::POST {
            return cluster.create(&body);
        }
        assert_eq!(parts.method, http::Method::GET, "nothing is changed or deleted");
        if query.contains("watch=") {
            let (sender, receiver) = unbounded_channel();
            cluster.watches.push(sender);
            let lines = stream::unfold(receiver, |mut receiver| async move {
                receiver.recv().await.map(|line| (Ok::<_, Infallible>(line), receiver))
            });
            return Response::new(Body::from_stream(lines));
        }
        if let Some(name) = name.strip_prefix('/') {
            return cluster.secrets.get(name).map_or_else(|| refusal(404), answer);
        }
        // Those of the watches are of metadata alone.
        if !query.contains("limit=") {
            cluster.lists += 1;
            if cluster.restored_at.as_ref().is_some_and(|(list, _)| *list == cluster.lists) {
                let (_, secret) = cluster.restored_at.take().expect("it was just there");
                cluster.put(secret);
            }
            if cluster.failing_lists > 0 {
                cluster.failing_lists -= 1;
                return refusal(500);
            }
        }
        let is_legacy = query.contains("fieldSelector");
        let is_wanted = |secret: &&Json| {
            if is_legacy {
                secret["metadata"]["name"] == PREFIX
            } else {
                secret["metadata"]["labels"].get(KEY_LABEL).is_some()
            }
        };
        let items: Vec<_> = cluster.secrets.values().filter(is_wanted).cloned().collect();
        let version = cluster.version.to_string();
        answer(&json!({
            "apiVersion": "v1", "kind": "SecretList", "metadata": {"resourceVersion": version}, "items": items,
        }))
    }

    fn put(&self, secret: Json) {
        self.cluster().put(secret);
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Json)) {
        let mut secret = self.cluster().secrets[name].clone();
        change(&mut secret);
        self.put(secret);
    }

    fn delete(&self, name: &str) {
        let mut cluster = self.cluster();
        let secret = cluster.secrets.remove(name).expect("it is there");
        cluster.version += 1;
        cluster.notify("DELETED", &secret);
    }

    fn names(&self) -> Vec<String> {
        self.cluster().secrets.keys().cloned().collect()
    }
}

impl Cluster {
    fn create(&mut self, body: &[u8]) -> Response<Body> {
        let mut secret: Json = serde_json::from_slice(body).expect("JSON");
        let fails = self.failing_writes > 0;
        if fails {
            self.failing_writes -= 1;
        }
        let name = format!(
            "{}{:05}",
            secret["metadata"]["generateName"].as_str().expect("it is asked for"),
            self.version
        );
        secret["metadata"]["name"] = name.into();
        if !fails || self.writes_nevertheless {
            self.put(secret.clone());
        }
        if fails { refusal(504) } else { answer(&secret) }
    }

    fn put(&mut self, mut secret: Json) {
        self.version += 1;
        let name = secret["metadata"]["name"].as_str().expect("it has a name").to_owned();
        secret["metadata"]["resourceVersion"] = self.version.to_string().into();
        secret["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
        self.secrets.insert(name, secret.clone());
        self.notify("MODIFIED", &secret);
    }

    fn notify(&mut self, kind: &str, secret: &Json) {
        let object = json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": secret["metadata"],
        });
        let line = format!("{}\n", json!({"type": kind, "object": object}));
        self.watches.retain(|watch| watch.send(line.clone()).is_ok());
    }
}

fn answer(object: &Json) -> Response<Body> {
    Response::new(Body::from(object.to_string()))
}

fn refusal(code: u16) -> Response<Body> {
    let reason = if code == 404 { "NotFound" } else { "InternalError" };
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": "no",
    });
    let mut response = answer(&status);
    *response.status_mut() = StatusCode::from_u16(code).expect("a status");
    response
}

const PREFIX: &str = "sealed-secrets-key";

fn settings() -> KeySettings {
    KeySettings {
        prefix: PREFIX.to_owned(),
        size: KeySize::Rsa2048,
        lifetime: Duration::from_secs(86400 * 3650),
        common_name: String::new(),
        renew_period: Some(Duration::from_secs(86400 * 30)),
        order: KeyOrder::CertNotBefore,
        cutoff: None,
        annotations: BTreeMap::new(),
        labels: BTreeMap::new(),
    }
}

/// A key Secret whose certificate begins on a day.
fn secret(name: &str, day: i64) -> (Json, String) {
    let begin = OffsetDateTime::UNIX_EPOCH + time::Duration::days(day);
    let new = NewKey::generate(&settings(), || begin).expect("a key");
    let mut secret: Secret = new.to_secret(&settings());
    secret.metadata.generate_name = None;
    secret.metadata.name = Some(name.to_owned());
    (serde_json::to_value(secret).expect("JSON"), new.certificate().to_owned())
}

/// A keyring at work, on the day 100.
struct Run {
    keys: Keys,
    duties: watch::Sender<Duty>,
    demand: Arc<Notify>,
    day: Arc<Mutex<i64>>,
    task: JoinHandle<()>,
}

impl Drop for Run {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Run {
    fn start(api: &Api, duty: Duty) -> Self {
        Self::with(api, duty, settings())
    }

    fn with(api: &Api, duty: Duty, settings: KeySettings) -> Self {
        let (duties, receiver) = watch::channel(duty);
        let day = Arc::new(Mutex::new(100));
        let clock: Clock = Arc::new({
            let day = Arc::clone(&day);
            move || {
                OffsetDateTime::UNIX_EPOCH + time::Duration::days(*day.lock().expect("nobody panics with it"))
            }
        });
        let (keyring, keys) = Keyring::new(api.client(), "keys", settings, receiver, clock);
        let demand = keyring.demand();
        Self { keys, duties, demand, day, task: tokio::spawn(keyring.run()) }
    }

    /// Waits for keys; the clock of the test goes on as soon as there is nothing to do.
    async fn until(&mut self, is_so: impl FnMut(&KeySet) -> bool) -> Arc<KeySet> {
        let mut is_so = is_so;
        let wait = self.keys.wait_for(|set| is_so(set));
        let found = tokio::time::timeout(Duration::from_secs(3600), wait).await;
        Arc::clone(&found.expect("it comes to pass").expect("the keyring is at work"))
    }

    async fn first(&mut self) -> Arc<KeySet> {
        self.until(|set| set.generation > 0).await
    }

    async fn wait(&self, seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }
}

fn opens(set: &KeySet, certificate: &str) -> bool {
    let cert = SealingCert::parse(certificate.as_bytes()).expect("a certificate");
    let item = cert.seal_value(&"x".into(), SealingScope::Strict, "ns", "n", &mut rand::rngs::OsRng);
    set.registry.open(&item.expect("it fits"), "ns/n").is_ok()
}

fn retire(secret: &mut Json) {
    secret["metadata"]["labels"][KEY_LABEL] = "compromised".into();
}

fn break_(secret: &mut Json) {
    secret["data"]["tls.key"] = STANDARD.encode("junk").into();
}

#[tokio::test(start_paused = true)]
async fn the_first_key_is_made_by_the_leader_and_used_by_all() {
    let api = Api::default();
    let mut follower = Run::start(&api, Duty::none());
    assert!(follower.first().await.certificate.is_none());
    let mut leader = Run::start(&api, Duty::alone());
    let set = leader.until(|set| set.certificate.is_some()).await;
    let name = &set.newest().expect("it is there").name;
    assert!(name.starts_with(PREFIX) && !name.contains("key-"), "{name}");
    let other = follower.until(|set| set.certificate.is_some()).await;
    assert_eq!(other.certificate, set.certificate);
    leader.wait(86400).await;
    assert_eq!(api.names().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn whoever_becomes_the_leader_makes_the_first_key() {
    let api = Api::default();
    let mut run = Run::start(&api, Duty::none());
    run.demand.notify_one();
    run.wait(3600).await;
    assert!(api.names().is_empty());
    run.duties.send_replace(Duty::alone());
    run.until(|set| set.certificate.is_some()).await;
    assert_eq!(api.names().len(), 1, "a demand is not kept");
}

#[tokio::test(start_paused = true)]
async fn lists_that_fail_make_no_keys_and_lose_none() {
    let (api, (key, cert)) = (Api::default(), secret("a", 99));
    api.cluster().failing_lists = 5;
    api.put(key);
    let mut run = Run::start(&api, Duty::alone());
    let set = run.first().await;
    assert_eq!(set.certificate.as_ref(), Some(&cert));
    api.cluster().failing_lists = usize::MAX;
    api.delete("a");
    run.demand.notify_one();
    run.wait(86400).await;
    assert!(api.names().is_empty());
    assert_eq!(run.keys.borrow().certificate.as_ref(), Some(&cert));
}

#[tokio::test(start_paused = true)]
async fn changes_are_seen_at_once() {
    let (api, (old, old_cert), (new, new_cert)) = (Api::default(), secret("a", 98), secret("b", 99));
    api.put(old);
    let mut run = Run::start(&api, Duty::alone());
    run.first().await;
    api.put(new);
    let set = run.until(|set| set.registry.keys().len() == 2).await;
    assert_eq!((set.certificate.as_ref(), set.generation), (Some(&new_cert), 2));
    assert_eq!(set.newest().map(|key| key.name.as_str()), Some("b"));
    assert!(opens(&set, &old_cert) && opens(&set, &new_cert));
    api.change("b", retire);
    let set = run.until(|set| set.registry.keys().len() == 1).await;
    assert_eq!(set.certificate.as_ref(), Some(&old_cert));
    assert_eq!(
        set.facts.iter().map(|facts| facts.state).collect::<Vec<_>>(),
        [KeyState::Active, KeyState::Retired]
    );
    assert!(!opens(&set, &new_cert));
    // What changes nothing about keys makes no new set.
    api.change("a", |secret| secret["metadata"]["annotations"] = json!({"a": "b"}));
    run.wait(10).await;
    assert_eq!(run.keys.borrow().generation, set.generation);
    api.change("b", |secret| secret["metadata"]["labels"][KEY_LABEL] = "active".into());
    run.until(|set| set.certificate.as_ref() == Some(&new_cert)).await;
    api.delete("b");
    run.until(|set| set.registry.keys().len() == 1).await;
    assert_eq!(api.names(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn the_key_of_before_labels_is_used() {
    let (api, (mut key, cert)) = (Api::default(), secret(PREFIX, 99));
    key["metadata"].as_object_mut().expect("a map").remove("labels");
    let (mut stranger, _) = secret("stranger", 99);
    stranger["metadata"].as_object_mut().expect("a map").remove("labels");
    api.put(key);
    api.put(stranger);
    let mut run = Run::start(&api, Duty::alone());
    let set = run.first().await;
    assert_eq!((set.certificate.as_ref(), set.facts.len()), (Some(&cert), 1));
}

#[tokio::test(start_paused = true)]
async fn a_broken_secret_stops_nothing() {
    let (api, (good, cert), (mut bad, _)) = (Api::default(), secret("a", 98), secret("b", 99));
    break_(&mut bad);
    api.put(good);
    api.put(bad);
    let mut run = Run::start(&api, Duty::alone());
    let set = run.first().await;
    assert_eq!((set.certificate.as_ref(), set.registry.is_incomplete()), (Some(&cert), true));
    assert_eq!(
        set.facts.iter().map(|facts| facts.state).collect::<Vec<_>>(),
        [KeyState::Active, KeyState::Broken]
    );
    run.wait(86400).await;
    assert_eq!(api.names(), ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn a_key_whose_secret_breaks_opens_values_and_is_not_sealed_for() {
    let (api, (key, cert)) = (Api::default(), secret("a", 99));
    api.put(key.clone());
    let mut run = Run::start(&api, Duty::alone());
    run.first().await;
    api.change("a", break_);
    let set = run.until(|set| set.certificate.as_ref().is_some_and(|new| *new != cert)).await;
    assert!(opens(&set, &cert));
    assert_eq!(api.names().len(), 2);
    api.put(key);
    let set = run.until(|set| set.facts.iter().all(|facts| facts.state == KeyState::Active)).await;
    assert_eq!(set.registry.keys().len(), 2);
    api.delete("a");
    let set = run.until(|set| set.facts.len() == 1).await;
    assert!(!opens(&set, &cert));
}

#[tokio::test(start_paused = true)]
async fn the_last_keys_open_values_until_they_are_back_or_there_is_another() {
    let (api, (key, cert)) = (Api::default(), secret("a", 99));
    api.put(key.clone());
    let mut run = Run::start(&api, Duty::alone());
    run.first().await;
    api.delete("a");
    let set = run.until(|set| set.certificate.is_none()).await;
    assert!(opens(&set, &cert) && set.facts.is_empty());
    run.wait(10).await;
    api.put(key);
    run.until(|set| set.certificate.as_ref() == Some(&cert)).await;
    run.wait(3600).await;
    assert_eq!(api.names(), ["a"]);
    api.delete("a");
    let set = run.until(|set| set.certificate.as_ref().is_some_and(|new| *new != cert)).await;
    assert!(!opens(&set, &cert));
    assert_eq!((set.registry.keys().len(), api.names().len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn keys_are_renewed_by_the_clock() {
    let (api, (key, cert)) = (Api::default(), secret("a", 99));
    api.put(key);
    let mut run = Run::start(&api, Duty::alone());
    run.first().await;
    run.wait(3600).await;
    assert_eq!(api.names().len(), 1);
    *run.day.lock().expect("nobody panics with it") = 129;
    let set = run.until(|set| set.registry.keys().len() == 2).await;
    assert!(set.certificate.as_ref() != Some(&cert) && opens(&set, &cert));
    run.wait(3600).await;
    assert_eq!(api.names().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_demand_makes_one_key_even_if_nobody_says_that_it_was_written() {
    let (api, (key, _)) = (Api::default(), secret("a", 99));
    api.put(key);
    let mut run = Run::start(&api, Duty::alone());
    run.first().await;
    run.demand.notify_one();
    run.until(|set| set.registry.keys().len() == 2).await;
    {
        let mut cluster = api.cluster();
        (cluster.failing_writes, cluster.writes_nevertheless) = (1, true);
    }
    run.demand.notify_one();
    run.until(|set| set.registry.keys().len() == 3).await;
    run.wait(3600).await;
    assert_eq!(api.names().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_written_is_tried_again() {
    let api = Api::default();
    api.cluster().failing_writes = 4;
    let mut run = Run::start(&api, Duty::alone());
    run.until(|set| set.certificate.is_some()).await;
    run.wait(3600).await;
    assert_eq!(api.names().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_restore_while_a_key_is_made_spares_that_key() {
    let (api, (key, cert)) = (Api::default(), secret("restored", 99));
    // The first list finds nothing, the second makes sure of it, the third comes after the key was computed.
    api.cluster().restored_at = Some((3, key));
    let mut run = Run::start(&api, Duty::alone());
    let set = run.until(|set| set.certificate.is_some()).await;
    assert_eq!(set.certificate.as_ref(), Some(&cert));
    run.wait(3600).await;
    assert_eq!(api.names(), ["restored"]);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_helps_nothing_is_not_made_again_and_again() {
    let api = Api::default();
    // By this clock every new key is from before its time.
    let cutoff = Some(OffsetDateTime::UNIX_EPOCH + time::Duration::days(25_000));
    let order = KeyOrder::SecretCreationTimestamp;
    let settings = KeySettings { cutoff, order, ..settings() };
    let mut run = Run::with(&api, Duty::alone(), settings);
    *run.day.lock().expect("nobody panics with it") = 30_000;
    run.first().await;
    run.wait(3600).await;
    assert!(api.names().len() <= 8, "{}", api.names().len());
}
