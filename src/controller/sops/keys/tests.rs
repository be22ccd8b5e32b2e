use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use selkie::format::Format;
use selkie::keys::age::{AgeService, Identities, IdentityLayout};
use selkie::keys::{Cause, Effort, KeyFuture, KeyGroup, KeyKind, MasterKey, ServiceError};
use selkie::keyservice::{Gate, KeyServer, Listener, Use};
use selkie::secret::SecretBytes;
use selkie::sops::Metadata;
use serde_json::{Value as Json, json};

use super::super::kit::{Cluster, World, identity, text};
use super::super::policy::Policy;
use super::*;

/// Counts what it is asked about keys of AWS and Vault; the first answers may be failures.
#[derive(Default)]
struct Counting {
    asked: AtomicUsize,
    failures: AtomicUsize,
}

impl KeyService for Counting {
    fn name(&self) -> String {
        "counting".to_owned()
    }

    fn effort(&self, _: &MasterKey) -> Effort {
        Effort::Remote
    }

    fn wrap<'a>(&'a self, _: &'a MasterKey, _: &'a SecretBytes) -> KeyFuture<'a, String> {
        Box::pin(std::future::ready(None))
    }

    fn unwrap<'a>(&'a self, _: &'a MasterKey) -> KeyFuture<'a, SecretBytes> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let fails = self.failures.load(Ordering::SeqCst) > 0;
        let answer = if fails {
            self.failures.fetch_sub(1, Ordering::SeqCst);
            Err(ServiceError::new(Cause::Unreachable, "nobody is there").into())
        } else {
            Ok(SecretBytes::from(&[7; 32][..]))
        };
        Box::pin(std::future::ready(Some(answer)))
    }
}

/// Returns metadata with one key.
fn metadata(kind: &str, fields: &Json) -> Metadata {
    let kind = KeyKind::from_name(kind).expect("a kind");
    let mut key = MasterKey::from_metadata(kind, fields.as_object().expect("an object"));
    key.set_wrapped("AQ==".to_owned(), "");
    Metadata::new(vec![KeyGroup(vec![key])])
}

fn kms() -> Metadata {
    metadata("kms", &json!({"arn": "arn:aws:kms:eu-central-1:1:key/x"}))
}

fn of_document(world: &World) -> Metadata {
    of_text(&world.encrypted("a: b\n", Format::Yaml, |_| {}))
}

fn of_text(text: &str) -> Metadata {
    let tree = Format::Yaml.read(text).expect("YAML");
    Metadata::from_entry(tree.metadata()).expect("metadata")
}

/// Returns keys with a service that counts, as a key file and as what the controller has.
fn counting(policy: &str) -> (SopsKeys, Arc<Counting>) {
    let service = Arc::new(Counting::default());
    let policy = Policy::parse(Path::new("policy"), policy.as_bytes()).expect("a policy");
    let keys = SopsKeys::new(&SopsSettings::default(), Box::new(Cluster::default()), |_| None);
    let keys = keys.expect("keys");
    let loaded = Loaded::of_service(policy, Arc::<Counting>::clone(&service));
    *keys.loaded.write().expect("no panic") = (1, Arc::new(loaded));
    (keys, service)
}

async fn reason(
    keys: &SopsKeys,
    namespace: &str,
    secret: Option<&str>,
    metadata: Metadata,
) -> Option<Reason> {
    keys.recover(namespace, secret, metadata).await.err().map(|failure| failure.reason)
}

#[tokio::test(start_paused = true)]
async fn a_namespace_has_the_keys_of_its_own_secrets_alone() {
    let world = World::with_own_secret();
    world.cluster.put("other", "keys", "1", &[("age.agekey", &text(&identity(2).secret))]);
    let keys = world.keys();
    for (namespace, secret, expected) in [
        ("shop", Some("keys"), None),
        ("shop", Some("none"), Some(Reason::NoKey)),
        ("shop", None, Some(Reason::NoKey)),
        ("other", Some("keys"), Some(Reason::NoKey)),
        ("third", Some("keys"), Some(Reason::NoKey)),
        ("shop", Some("keys"), None),
    ] {
        let reason = reason(&keys, namespace, secret, of_document(&world)).await;
        assert_eq!(reason, expected, "{namespace} {secret:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_is_read_once_for_a_while() {
    let world = World::with_own_secret();
    let keys = world.keys();
    for (wait, reads) in [(0, 1), (14, 1), (2, 2), (400, 3)] {
        tokio::time::advance(Duration::from_secs(wait)).await;
        assert_eq!(reason(&keys, "shop", Some("keys"), of_document(&world)).await, None);
        assert_eq!(world.cluster.reads(), reads);
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_was_missed_is_told_of_once_it_is_there() {
    let world = World::new();
    let keys = world.keys();
    let mut changes = keys.changes();
    assert_eq!(reason(&keys, "shop", Some("keys"), of_document(&world)).await, Some(Reason::NoKey));
    keys.refresh().await.expect("refreshed");
    assert!(!changes.has_changed().expect("open"));
    // One with the wrong key, then one with the right one.
    for (version, seed, expected) in [("1", 2, Some(Reason::NoKey)), ("2", 1, None)] {
        world.cluster.put("shop", "keys", version, &[("age.agekey", &text(&identity(seed).secret))]);
        keys.refresh().await.expect("refreshed");
        assert!(changes.has_changed().expect("open"), "{version}");
        changes.mark_unchanged();
        assert_eq!(reason(&keys, "shop", Some("keys"), of_document(&world)).await, expected);
    }
    keys.refresh().await.expect("refreshed");
    assert!(!changes.has_changed().expect("open"), "nothing is missed any more");
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_cannot_be_used_is_told_of_once_it_is_another_one() {
    let world = World::new();
    world.cluster.put("shop", "keys", "1", &[("age.agekey", "seal")]);
    let keys = world.keys();
    let changes = keys.changes();
    assert_eq!(reason(&keys, "shop", Some("keys"), of_document(&world)).await, Some(Reason::NoKey));
    keys.refresh().await.expect("refreshed");
    assert!(!changes.has_changed().expect("open"), "it is the same");
    world.cluster.put("shop", "keys", "2", &[("age.agekey", &text(&world.identity.secret))]);
    keys.refresh().await.expect("refreshed");
    assert!(changes.has_changed().expect("open"));
    assert_eq!(reason(&keys, "shop", Some("keys"), of_document(&world)).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_document_with_too_many_keys_is_not_tried() {
    let mut many = kms();
    let key = many.groups[0].0[0].clone();
    many.groups[0].0 = vec![key; MOST_KEYS + 1];
    let (keys, service) = counting("rules: [{namespaces: [a], ambient: [kms]}]");
    assert_eq!(reason(&keys, "a", None, many).await, Some(Reason::Invalid));
    assert_eq!(service.asked.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn the_policy_says_which_secrets_and_files_are_whose() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut world = World::with_own_secret();
    let (key, policy) = (folder.path().join("shared.agekey"), folder.path().join("policy.yaml"));
    fs::write(&key, text(&world.identity.secret)).expect("a file");
    let allowed = key.display().to_string();
    let rules = json!({"rules": [
        {"namespaces": ["a"], "keyFiles": [allowed]},
        {"namespaces": ["shop"], "keySecrets": ["other"]},
        {"namespaces": ["kinds"], "keyFiles": [allowed], "kinds": ["pgp"]},
        {"namespaces": ["names"], "keyFiles": [allowed], "recipients": ["age1other*"]},
    ]});
    fs::write(&policy, rules.to_string()).expect("a file");
    world.settings.key_paths = vec![key];
    let fails = SopsKeys::new(&world.settings, Box::new(Cluster::default()), |_| None);
    assert!(matches!(fails.err(), Some(SopsError::KeysWithoutPolicy)));
    world.settings.policy = Some(policy);
    let keys = world.keys();
    for (namespace, secret, expected) in [
        ("a", None, None),
        ("shop", None, Some(Reason::NoKey)),
        ("shop", Some("keys"), Some(Reason::NotAllowed)),
        ("kinds", None, Some(Reason::NotAllowed)),
        ("names", None, Some(Reason::NotAllowed)),
        ("nobody", None, Some(Reason::NotAllowed)),
    ] {
        let reason = reason(&keys, namespace, secret, of_document(&world)).await;
        assert_eq!(reason, expected, "{namespace}");
    }
}

#[tokio::test(start_paused = true)]
async fn files_are_taken_over_as_a_whole_or_not_at_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut world = World::new();
    let (key, policy) = (folder.path().join("a.agekey"), folder.path().join("policy.yaml"));
    fs::write(&key, text(&identity(2).secret)).expect("a file");
    fs::write(&policy, "rules: [{namespaces: ['*'], keyFiles: ['*']}]").expect("a file");
    world.settings.key_paths = vec![folder.path().to_owned()];
    world.settings.policy = Some(policy.clone());
    let keys = world.keys();
    let mut changes = keys.changes();
    assert_eq!(reason(&keys, "a", None, of_document(&world)).await, Some(Reason::NoKey));
    // A good key beside a bad one.
    fs::write(folder.path().join("b.agekey"), text(&world.identity.secret)).expect("a file");
    fs::write(folder.path().join("c.agekey"), "seal").expect("a file");
    let error = keys.refresh().await.expect_err("a bad file");
    assert!(!format!("{error:?}").contains("seal"), "{error:?}");
    assert!(!changes.has_changed().expect("open"));
    assert_eq!(reason(&keys, "a", None, of_document(&world)).await, Some(Reason::NoKey));
    fs::remove_file(folder.path().join("c.agekey")).expect("a file");
    keys.refresh().await.expect("refreshed");
    assert!(changes.has_changed().expect("open"));
    changes.mark_unchanged();
    assert_eq!(reason(&keys, "a", None, of_document(&world)).await, None);
    keys.refresh().await.expect("refreshed");
    assert!(!changes.has_changed().expect("open"), "nothing changed");
    fs::write(&policy, "rules: []").expect("a file");
    keys.refresh().await.expect("refreshed");
    assert_eq!(reason(&keys, "a", None, of_document(&world)).await, Some(Reason::NotAllowed));
}

#[tokio::test(start_paused = true)]
async fn what_a_server_answered_is_remembered_for_one_namespace_and_a_while() {
    let (keys, service) = counting("rules: [{namespaces: [a, b], ambient: [kms]}]");
    for (namespace, wait, asked) in [("a", 0, 1), ("a", 100, 1), ("b", 0, 2), ("a", 250, 3), ("a", 0, 3)] {
        tokio::time::advance(Duration::from_secs(wait)).await;
        assert_eq!(reason(&keys, namespace, None, kms()).await, None);
        assert_eq!(service.asked.load(Ordering::SeqCst), asked, "{namespace} {wait}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_not_remembered() {
    let (keys, service) = counting("rules: [{namespaces: [a], ambient: [kms]}]");
    service.failures.store(1, Ordering::SeqCst);
    let failure = keys.recover("a", None, kms()).await.err().expect("nobody is there");
    assert_eq!(failure.reason, Reason::Unseal);
    assert_eq!(
        failure.message,
        "no key opens the document: kms arn:aws:kms:eu-central-1:1:key/x: nobody is there"
    );
    assert_eq!(reason(&keys, "a", None, kms()).await, None);
}

#[tokio::test(start_paused = true)]
async fn no_server_is_asked_that_the_policy_does_not_name() {
    let (keys, service) = counting(
        "rules: [{namespaces: [a], keyFiles: ['*'], addresses: ['https://vault.example.com'], ambient: [hc_vault]}]",
    );
    let vault = |address: &str| {
        metadata("hc_vault", &json!({"vault_address": address, "engine_path": "transit", "key_name": "k"}))
    };
    for address in [
        "https://evil.example",
        "http://vault.example.com",
        "https://vault.example.com@evil.example",
        "http://169.254.169.254",
        "",
    ] {
        let failure = keys.recover("a", None, vault(address)).await.err().expect("refused");
        assert_eq!(failure.reason, Reason::NotAllowed, "{address}");
    }
    assert_eq!(service.asked.load(Ordering::SeqCst), 0);
    assert_eq!(reason(&keys, "a", None, vault("https://vault.example.com")).await, None);
}

#[tokio::test(start_paused = true)]
async fn the_rights_of_the_controller_are_used_where_the_policy_says_so() {
    let (keys, service) = counting(
        "rules: [{namespaces: [a]}, {namespaces: [b], ambient: [gcp_kms]}, {namespaces: [c], keyFiles: ['/keys/*']}]",
    );
    for namespace in ["a", "b"] {
        assert_eq!(reason(&keys, namespace, None, kms()).await, Some(Reason::NoKey), "{namespace}");
    }
    let with_role = json!({"arn": "arn:aws:kms:eu-central-1:1:key/x", "role": "arn:aws:iam::1:role/admin"});
    assert_eq!(reason(&keys, "c", None, metadata("kms", &with_role)).await, Some(Reason::NotAllowed));
    assert_eq!(service.asked.load(Ordering::SeqCst), 0);
    assert_eq!(reason(&keys, "c", None, kms()).await, None);
}

/// Admits everybody, and counts them.
struct Asked(Arc<AtomicUsize>);

impl Gate for Asked {
    fn admits(&self, _: &Use<'_>) -> bool {
        self.0.fetch_add(1, Ordering::SeqCst);
        true
    }
}

/// Starts a key service with the identity of a world until the sender is dropped. Returns its address, and how often it
/// was asked.
fn key_server(world: &World) -> (String, Arc<AtomicUsize>, tokio::sync::oneshot::Sender<()>) {
    let mut identities = Identities::new();
    identities.add("test", &world.identity.secret, IdentityLayout::Lines).expect("an identity");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("tcp://{}", listener.local_addr().expect("an address"));
    let asked = Arc::<AtomicUsize>::default();
    let server = KeyServer::new(vec![Box::new(AgeService::new(identities))], Asked(Arc::clone(&asked)));
    let (end, ended) = tokio::sync::oneshot::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let ended = async move { ended.await.unwrap_or(()) };
        runtime.block_on(server.serve(Listener::Tcp(listener), ended)).expect("it serves");
    });
    (address, asked, end)
}

/// Returns keys with a policy, whose requests end after a moment.
fn with_policy(policy: &str, limit: Duration) -> SopsKeys {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("policy.yaml");
    fs::write(&path, policy).expect("a file");
    let settings = SopsSettings { policy: Some(path), ..SopsSettings::default() };
    let mut keys = SopsKeys::new(&settings, Box::new(Cluster::default()), |_| None).expect("keys");
    keys.remote = Arc::new(Remote::new(limit));
    let loaded =
        Files::read(&settings).and_then(|files| files.load(&keys.remote, |_| None)).expect("a policy");
    *keys.loaded.write().expect("no panic") = (1, Arc::new(loaded));
    keys
}

#[test]
fn a_key_service_is_asked_for_those_that_the_policy_names_it_for() {
    let world = World::new();
    let document = world.encrypted("a: b\n", Format::Yaml, |_| {});
    let (address, asked, _end) = key_server(&world);
    let keys = with_policy(
        &format!(
            "rules:\n\
             - {{namespaces: [a], keyServices: ['{address}']}}\n\
             - {{namespaces: [pgp], keyServices: ['{address}'], kinds: [pgp]}}\n\
             - {{namespaces: [other], keyServices: ['tcp://127.0.0.1:1']}}\n\
             - {{namespaces: ['*']}}\n"
        ),
        Duration::from_secs(20),
    );
    for (namespace, expected, count) in [
        ("none", Some(Reason::NoKey), 0),
        ("pgp", Some(Reason::NotAllowed), 0),
        ("other", Some(Reason::Unseal), 0),
        ("a", None, 1),
        // What it answered is remembered for the namespace.
        ("a", None, 1),
        ("none", Some(Reason::NoKey), 1),
    ] {
        let reason = pollster::block_on(reason(&keys, namespace, None, of_text(&document)));
        assert_eq!((reason, asked.load(Ordering::SeqCst)), (expected, count), "{namespace}");
    }
}

#[test]
fn a_key_service_is_sent_no_key_at_an_address_that_is_not_allowed() {
    let world = World::new();
    let (address, asked, _end) = key_server(&world);
    let keys = with_policy(
        &format!(
            "rules: [{{namespaces: [a], keyServices: ['{address}'], addresses: ['https://vault.example.com']}}]"
        ),
        Duration::from_secs(20),
    );
    let vault = json!({"vault_address": "http://169.254.169.254", "engine_path": "transit", "key_name": "k"});
    let refused = pollster::block_on(reason(&keys, "a", None, metadata("hc_vault", &vault)));
    assert_eq!((refused, asked.load(Ordering::SeqCst)), (Some(Reason::NotAllowed), 0));
}

#[test]
fn a_key_service_that_does_not_answer_is_not_waited_for_without_end() {
    let world = World::new();
    // Connections are taken, and nobody reads.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("tcp://{}", listener.local_addr().expect("an address"));
    let policy = format!("rules: [{{namespaces: [a], keyServices: ['{address}']}}]");
    let keys = with_policy(&policy, Duration::from_millis(20));
    let failure = pollster::block_on(keys.recover("a", None, of_document(&world))).err().expect("no answer");
    assert_eq!(failure.reason, Reason::Unseal);
    // Whoever notices it first.
    let told = ["did not answer in time", "there was no answer within 20 ms"];
    let is_told =
        failure.message.contains(&address) && told.iter().any(|text| failure.message.ends_with(text));
    assert!(is_told, "{}", failure.message);
}

#[tokio::test(start_paused = true)]
async fn a_document_with_too_many_keys_is_refused() {
    let keys = World::with_own_secret().keys();
    for (count, expected) in [(100, Reason::NoKey), (101, Reason::Invalid)] {
        let mut many = kms();
        many.groups[0].0 = vec![many.groups[0].0[0].clone(); count];
        assert_eq!(
            reason(&keys, "shop", Some("keys"), many).await.map(|reason| reason.word()),
            Some(expected.word())
        );
    }
}
