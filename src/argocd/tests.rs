//! The plugin, asked by a client that speaks as the repo-server does.

use std::path::Path;
use std::time::Duration;

use clap::{Args as _, Command, FromArgMatches};
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::future::join_all;
use futures_util::stream::{self, Stream, StreamExt};
use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use selkie::format::Format;
use selkie::keys::age::{AgeService, Identities, IdentityKind, generate};
use selkie::keys::{KeyGroup, MasterKey, age};
use selkie::sops::{Metadata, Selector};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;
use tower::service_fn;

use super::message::{
    AppStreamRequest, CheckPluginConfigurationResponse, Empty, EnvEntry, File, ManifestRequestMetadata,
    ManifestResponse, ParametersAnnouncementResponse, Part, RepositoryResponse,
};
use super::serve::drained;
use super::service::{CHECK, GENERATE, MATCH, PARAMETERS, Plugin, Taken};
use super::socket::Socket;
use crate::render::settings::Settings;

/// A plugin that serves, and a client of it.
struct Served {
    folder: tempfile::TempDir,
    channel: Channel,
    end: oneshot::Sender<()>,
    serving: JoinHandle<std::io::Result<()>>,
}

const TAKEN: Taken = Taken {
    message: 1 << 20,
    archive: 1 << 20,
    at_once: 2,
    memory: 16 << 20,
    time: Duration::from_secs(300),
};

/// The password of the Secret `db`, in base64.
const PASSWORD: &str = "Y2FuYXJ5LWRi";

/// Starts a plugin that has the key of [`encrypted`].
fn serve(flags: &[&str], taken: Taken, discovers: bool) -> Served {
    let folder = tempfile::tempdir().expect("a folder");
    let keys = folder.path().join("keys.agekey");
    std::fs::write(&keys, identity().secret.expose_secret()).expect("a file");
    let command = Settings::augment_args(Command::new("x").no_binary_name(true));
    let keys = keys.display().to_string();
    let words = ["--keys", &keys].into_iter().chain(flags.iter().copied());
    let matches = command.try_get_matches_from(words).expect("they are flags");
    let settings = Settings::from_arg_matches(&matches).expect("settings");
    let renderer = settings.renderer().expect("they can be used");
    let (listener, socket) = Socket::bind(folder.path(), "selkie").expect("a socket");
    let listener = UnixListener::from_std(listener).expect("a socket");
    let channel = channel(socket.path());
    let (end, ended) = oneshot::channel();
    let plugin = Plugin::new(renderer, discovers, taken);
    let serving = tokio::spawn(drained(plugin, listener, socket, async { drop(ended.await) }, taken.time));
    Served { folder, channel, end, serving }
}

fn channel(path: &Path) -> Channel {
    let path = path.to_owned();
    let connect = service_fn(move |_| {
        let path = path.clone();
        async move { tokio::net::UnixStream::connect(path).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://plugin").connect_with_connector_lazy(connect)
}

impl Served {
    async fn ask<A: prost::Message + Default + 'static>(
        &self,
        path: &'static str,
        messages: impl Stream<Item = AppStreamRequest> + Send + 'static,
    ) -> Result<A, Status> {
        let mut client = Grpc::new(self.channel.clone()).max_encoding_message_size(64 << 20);
        client.ready().await.map_err(|error| Status::from_error(error.into()))?;
        let codec = ProstCodec::default();
        let answer =
            client.client_streaming(Request::new(messages), PathAndQuery::from_static(path), codec).await;
        answer.map(tonic::Response::into_inner)
    }

    async fn generate(&self, repository: &Repository) -> Result<Vec<Json>, Status> {
        let response: ManifestResponse = self.ask(GENERATE, stream::iter(repository.messages())).await?;
        Ok(response.manifests.iter().map(|text| serde_json::from_str(text).expect("it is JSON")).collect())
    }

    async fn refused(&self, repository: &Repository) -> (Code, String) {
        let status = self.generate(repository).await.expect_err("it is refused");
        (status.code(), status.message().to_owned())
    }

    async fn end(self) {
        drop(self.end);
        drop(self.channel);
        self.serving.await.expect("it does not panic").expect("it ends well");
        assert!(!self.folder.path().join("selkie.sock").exists(), "the socket goes with the plugin");
    }
}

/// What a client sends.
struct Repository {
    metadata: ManifestRequestMetadata,
    archive: Vec<u8>,
}

impl Repository {
    fn new(app: &str, files: &[(&str, &str)]) -> Self {
        let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
        for (path, text) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, path, text.as_bytes()).expect("it is written");
        }
        Self::of(app, builder.into_inner().and_then(GzEncoder::finish).expect("it is written"))
    }

    fn of(app: &str, archive: Vec<u8>) -> Self {
        let checksum = Sha256::digest(&archive).iter().map(|byte| format!("{byte:02x}")).collect();
        let metadata = ManifestRequestMetadata {
            app_name: "cart".to_owned(),
            app_rel_path: app.to_owned(),
            checksum,
            size: i64::try_from(archive.len()).expect("it is small"),
            env: Vec::new(),
        };
        Self { metadata, archive }.with("ARGOCD_APP_NAME", "cart").with("ARGOCD_APP_PROJECT_NAME", "shop")
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.metadata.env.push(EnvEntry { name: name.to_owned(), value: value.to_owned() });
        self
    }

    fn messages(&self) -> Vec<AppStreamRequest> {
        let chunks = self.archive.chunks(1024).map(|chunk| Part::File(File { chunk: chunk.to_vec() }));
        let parts = std::iter::once(Part::Metadata(self.metadata.clone())).chain(chunks);
        parts.map(|part| AppStreamRequest { part: Some(part) }).collect()
    }
}

fn identity() -> selkie::keys::age::NewIdentity {
    generate(IdentityKind::X25519, &mut ChaCha20Rng::seed_from_u64(1))
}

/// Returns a YAML file, encrypted.
fn encrypted(text: &str) -> String {
    let keys = MasterKey::parse_list(&age::KIND, &identity().recipient).expect("a key");
    let mut metadata = Metadata::new(vec![KeyGroup(keys)]);
    let regex = |field: &str| (field == "encrypted_regex").then_some("^(data|stringData)$");
    metadata.selector = Selector::from_fields(regex).expect("a rule").expect("there is one");
    let service = AgeService::new(Identities::new());
    let (now, mut rng) = ("2026-01-02T03:04:05Z", ChaCha20Rng::seed_from_u64(7));
    let text = selkie::encrypt(text, Format::Yaml, metadata, &[&service], now, &mut rng).expect("encrypted");
    String::from_utf8(text.expose_secret().to_vec()).expect("text")
}

fn secret(name: &str) -> String {
    encrypted(&format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n    name: {name}\nstringData:\n    password: canary-{name}\n"
    ))
}

fn config(name: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  a: b\n")
}

#[tokio::test]
async fn an_application_is_rendered_from_its_folder() {
    let served = serve(&[], TAKEN, false);
    let (secret, config) = (secret("db"), config("c"));
    let files =
        [("apps/cart/b.yaml", secret.as_str()), ("apps/cart/a.yaml", &config), ("apps/other/x.yaml", "{{")];
    let objects = served.generate(&Repository::new("apps/cart", &files)).await.expect("it is rendered");
    let names: Vec<_> = objects.iter().map(|object| object["metadata"]["name"].clone()).collect();
    assert_eq!(names, ["c", "db"]);
    assert_eq!(objects[1]["data"]["password"], PASSWORD, "{}", objects[1]);
    let check: CheckPluginConfigurationResponse = {
        let mut client = Grpc::new(served.channel.clone());
        client.ready().await.expect("it is served");
        let path = PathAndQuery::from_static(CHECK);
        client
            .unary(Request::new(Empty {}), path, ProstCodec::default())
            .await
            .expect("it answers")
            .into_inner()
    };
    assert!(!check.is_discovery_configured && !check.provide_git_creds);
    served.end().await;
}

#[tokio::test]
async fn what_is_sent_is_checked() {
    let served = serve(&[], TAKEN, false);
    let config = config("c");
    let files = [("apps/cart/a.yaml", config.as_str())];
    let mut wrong = Repository::new("apps/cart", &files);
    wrong.metadata.checksum = "0".repeat(64);
    let (code, text) = served.refused(&wrong).await;
    assert!(code == Code::DataLoss && text.starts_with("file checksum validation error"), "{text}");
    for path in ["..", "../other", "apps/../../x", "/etc"] {
        let (code, text) = served.refused(&Repository::new(path, &files)).await;
        assert_eq!(code, Code::InvalidArgument);
        assert_eq!(text, format!("the path {path:?} of the application is none within its repository"));
    }
    let (code, text) = served.refused(&Repository::new("apps/ca", &files)).await;
    assert_eq!((code, text.as_str()), (Code::InvalidArgument, "apps/ca: there is no such file"));
    let (code, text) = served.refused(&Repository::of(".", b"no archive".to_vec())).await;
    assert!(code == Code::InvalidArgument && text.contains("is damaged"), "{text}");
    let (code, text) =
        served.refused(&Repository::new("apps/cart", &files).with("ARGOCD_APP_PROJECT_NAME", "admin")).await;
    assert!(
        code == Code::InvalidArgument && text.contains("ARGOCD_APP_PROJECT_NAME is there twice"),
        "{text}"
    );
    // The archive before the metadata, metadata twice, and nothing at all.
    let messages = Repository::new("apps/cart", &files).messages();
    let twice = [messages.clone(), messages[..1].to_vec()].concat();
    for (messages, expected) in [
        (messages[1..].to_vec(), "the first message has to be the metadata of the request"),
        (Vec::new(), "the first message has to be the metadata of the request"),
        (twice, "there is metadata once, before the archive"),
    ] {
        let answer: Result<ManifestResponse, _> = served.ask(GENERATE, stream::iter(messages)).await;
        let status = answer.map(drop).expect_err("it is refused");
        assert_eq!((status.code(), status.message()), (Code::InvalidArgument, expected));
    }
    served.end().await;
}

#[tokio::test]
async fn what_is_too_large_is_refused_to_its_end() {
    let served = serve(&[], Taken { archive: 64 << 10, message: 32 << 10, ..TAKEN }, false);
    for announced in [true, false] {
        // The client sends all of it, and is told why it is refused nevertheless.
        let mut large = Repository::of(".", vec![7; 4 << 20]);
        if !announced {
            large.metadata.size = 0;
        }
        let (code, text) = served.refused(&large).await;
        assert_eq!(code, Code::ResourceExhausted);
        assert!(text.contains("more than 65536 bytes") && text.contains("--max-archive"), "{text}");
    }
    let mut long = Repository::new(".", &[]).messages();
    long.push(AppStreamRequest { part: Some(Part::File(File { chunk: vec![7; 40 << 10] })) });
    let answer: Result<ManifestResponse, _> = served.ask(GENERATE, stream::iter(long)).await;
    let text = answer.map(drop).expect_err("it is refused").message().to_owned();
    assert!(text.contains("--max-message"), "{text}");
    served.end().await;
}

#[tokio::test]
async fn refusals_say_why_and_hold_nothing() {
    let served = serve(&[], TAKEN, false);
    let leak =
        encrypted("apiVersion: v1\nkind: ConfigMap\nmetadata:\n    name: c\ndata:\n    password: canary-x\n");
    let (code, text) = served.refused(&Repository::new(".", &[("a.yaml", &leak)])).await;
    assert!(code == Code::PermissionDenied && text.contains("data.password"), "{code:?} {text}");
    assert!(!text.contains("canary"), "{text}");
    let tampered = secret("db").replace("name: db", "name: other\n    labels:\n        a: b");
    let tampered = tampered.replacen("password: ENC", "second: ENC", 1);
    let (code, text) = served.refused(&Repository::new(".", &[("a.yaml", &tampered)])).await;
    assert!(code != Code::Ok && text.contains("a.yaml") && !text.contains("canary"), "{code:?} {text}");
    let (code, text) = served.refused(&Repository::new(".", &[("README.md", "nothing")])).await;
    assert!(code == Code::FailedPrecondition && text.starts_with("nothing was rendered"), "{text}");
    served.end().await;
}

#[tokio::test]
async fn parameters_are_announced_and_followed() {
    let served = serve(&["--mode", "plain"], TAKEN, false);
    let config = config("c");
    let repository = || Repository::new(".", &[("a.yaml", config.as_str())]);
    let answer: ParametersAnnouncementResponse =
        served.ask(PARAMETERS, stream::iter(repository().messages())).await.expect("it answers");
    let names: Vec<_> = answer.parameter_announcements.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["builder", "mode", "release", "values"]);
    let of = |list: &str| repository().with("ARGOCD_APP_PARAMETERS", list);
    served.generate(&of(r#"[{"name":"builder","string":"directory"}]"#)).await.expect("it is rendered");
    let secret = secret("db");
    let redacted = Repository::new(".", &[("a.yaml", secret.as_str())])
        .with("ARGOCD_APP_PARAMETERS", r#"[{"name":"mode","string":"redact"}]"#);
    let objects = served.generate(&redacted).await.expect("it is rendered");
    let text = objects[0].to_string();
    assert!(text.contains("password") && !text.contains("canary") && !text.contains(PASSWORD), "{text}");
    let (code, text) = served.refused(&of(r#"[{"name":"mode","string":"reseal"}]"#)).await;
    assert!(code == Code::PermissionDenied && text.contains("the mode reseal cannot be asked for"), "{text}");
    served.end().await;
}

#[tokio::test]
async fn repositories_are_matched_where_that_is_asked_for() {
    let (secret, config) = (secret("db"), config("c"));
    let files = [("apps/cart/b.yaml", secret.as_str()), ("apps/other/a.yaml", &config)];
    for (discovers, app, expected) in
        [(false, "apps/cart", false), (true, "apps/cart", true), (true, "apps/other", false)]
    {
        let served = serve(&[], TAKEN, discovers);
        let messages = Repository::new(app, &files).messages();
        let answer: RepositoryResponse = served.ask(MATCH, stream::iter(messages)).await.expect("it answers");
        assert_eq!((answer.is_supported, answer.is_discovery_enabled), (expected, discovers), "{app}");
        served.end().await;
    }
}

/// Returns messages that somebody sends one after the other.
fn slowly() -> (mpsc::UnboundedSender<AppStreamRequest>, impl Stream<Item = AppStreamRequest> + Send + 'static)
{
    let (sender, receiver) = mpsc::unbounded_channel();
    let messages = stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|message| (message, receiver))
    });
    (sender, messages.boxed())
}

#[tokio::test]
async fn who_sends_slowly_is_told_so() {
    let served = serve(&[], Taken { time: Duration::from_millis(200), ..TAKEN }, true);
    for path in [GENERATE, MATCH, PARAMETERS] {
        let (sender, messages) = slowly();
        sender.send(Repository::new(".", &[]).messages().remove(0)).expect("it is sent");
        let answer: Result<ManifestResponse, _> = served.ask(path, messages).await;
        let status = answer.map(drop).expect_err("it takes too long");
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert!(status.message().contains("the repository is sent too slowly"), "{status}");
    }
    served.end().await;
}

#[tokio::test]
async fn whoever_goes_gives_their_place_back() {
    let served = serve(&[], Taken { at_once: 1, time: Duration::from_secs(60), ..TAKEN }, false);
    let config = config("c");
    let repository = Repository::new(".", &[("a.yaml", config.as_str())]);
    let (sender, messages) = slowly();
    sender.send(repository.messages().remove(0)).expect("it is sent");
    let mut slow = Box::pin(served.ask::<ManifestResponse>(GENERATE, messages));
    let mut waiting = Box::pin(served.generate(&repository));
    tokio::select! {
        _ = &mut slow => panic!("nothing ends it"),
        () = tokio::time::sleep(Duration::from_millis(100)) => {}
    }
    tokio::select! {
        _ = &mut waiting => panic!("the only place is taken"),
        _ = &mut slow => panic!("nothing ends it"),
        () = tokio::time::sleep(Duration::from_millis(50)) => {}
    }
    drop((slow, sender));
    assert_eq!((&mut waiting).await.expect("it is rendered").len(), 1);
    drop(waiting);
    served.end().await;
}

#[tokio::test]
async fn a_project_leaves_places_for_others() {
    let served = serve(&[], Taken { at_once: 2, time: Duration::from_secs(60), ..TAKEN }, false);
    let config = config("c");
    let repository = Repository::new(".", &[("a.yaml", config.as_str())]);
    let (sender, messages) = slowly();
    sender.send(repository.messages().remove(0)).expect("it is sent");
    let mut slow = Box::pin(served.ask::<ManifestResponse>(GENERATE, messages));
    let mut waiting = Box::pin(served.generate(&repository));
    tokio::select! {
        _ = &mut slow => panic!("nothing ends it"),
        () = tokio::time::sleep(Duration::from_millis(100)) => {}
    }
    tokio::select! {
        _ = &mut waiting => panic!("its project has half of the places"),
        _ = &mut slow => panic!("nothing ends it"),
        () = tokio::time::sleep(Duration::from_millis(50)) => {}
    }
    let mut other = Repository::new(".", &[("a.yaml", config.as_str())]);
    other.metadata.env[1].value = "other".to_owned();
    assert_eq!(served.generate(&other).await.expect("it is rendered").len(), 1);
    drop((slow, sender));
    assert_eq!((&mut waiting).await.expect("it is rendered").len(), 1);
    drop(waiting);
    served.end().await;
}

#[tokio::test]
async fn memory_is_waited_for_and_given_back() {
    // Less than one of them takes.
    let served = serve(&[], Taken { memory: 1 << 10, ..TAKEN }, false);
    let secret = secret("db");
    let repository = Repository::new(".", &[("a.yaml", secret.as_str()), ("b.txt", &"x".repeat(8 << 10))]);
    let answers = join_all((0..8).map(|_| served.generate(&repository))).await;
    for answer in answers {
        assert_eq!(answer.expect("it is rendered")[0]["data"]["password"], PASSWORD);
    }
    served.end().await;
}

#[tokio::test]
async fn many_are_served_at_once() {
    let served = serve(&[], TAKEN, false);
    let secret = secret("db");
    let repository = Repository::new(".", &[("a.yaml", secret.as_str())]);
    let answers = join_all((0..40).map(|_| served.generate(&repository))).await;
    for answer in answers {
        assert_eq!(answer.expect("it is rendered")[0]["data"]["password"], PASSWORD);
    }
    served.end().await;
}

#[tokio::test]
async fn what_is_under_way_is_ended() {
    let served = serve(&[], TAKEN, false);
    let config = config("c");
    let repository = Repository::new(".", &[("a.yaml", config.as_str())]);
    let (sender, messages) = slowly();
    let mut parts = repository.messages().into_iter();
    sender.send(parts.next().expect("metadata")).expect("it is sent");
    let Served { folder, channel, end, serving } = served;
    let client = channel.clone();
    let asking = tokio::spawn(async move {
        let mut client = Grpc::new(client);
        client.ready().await.expect("it is served");
        let path = PathAndQuery::from_static(GENERATE);
        let answer = client.client_streaming::<_, AppStreamRequest, ManifestResponse, _>(
            Request::new(messages),
            path,
            ProstCodec::default(),
        );
        answer.await
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(end);
    let socket = folder.path().join("selkie.sock");
    while socket.exists() {
        tokio::task::yield_now().await;
    }
    for part in parts {
        sender.send(part).expect("it is sent");
    }
    drop(sender);
    let answer = asking.await.expect("it does not panic").expect("it is rendered").into_inner();
    assert_eq!(answer.manifests.len(), 1);
    drop(channel);
    serving.await.expect("it does not panic").expect("it ends well");
}
