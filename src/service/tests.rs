use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;

use axum::http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rand::SeedableRng as _;
use rand_chacha::ChaCha20Rng;
use selkie::format::Format;
use selkie::keys::age::{AgeService, Identities, IdentityKind, generate};
use selkie::keys::{KeyGroup, MasterKey, age};
use selkie::render::EmitMode;
use selkie::sops::Metadata;
use serde_json::Value as Json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tonic::Code;

use super::message::{ExplainResponse, Options, RequestPart, ResponsePart};
use super::*;
use crate::render::renderer::Renderer;

const SECRET: &str =
    "apiVersion: v1\nkind: Secret\nmetadata:\n    name: a\nstringData:\n    password: hunter2\n";

/// A service at a socket.
struct Lab {
    folder: TempDir,
    recipient: String,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// An answer of HTTP.
struct Answer {
    status: StatusCode,
    kind: String,
    body: String,
}

const BOUNDS: Bounds = Bounds {
    body: 1 << 20,
    memory: 8 << 20,
    at_once: 2,
    time: Duration::from_secs(600),
    pause: Duration::from_secs(30),
};

impl Lab {
    fn start(bounds: Bounds) -> Self {
        Self::start_for(bounds, Callers::default())
    }

    fn start_for(bounds: Bounds, callers: Callers) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let identity = generate(IdentityKind::X25519, &mut ChaCha20Rng::seed_from_u64(1));
        let keys = folder.path().join("key");
        fs::write(&keys, identity.secret.expose_secret()).expect("a file");
        let service = Service::new(Renderer::new(vec![keys], EmitMode::Plain), bounds);
        let socket = Socket::bind(&folder.path().join("socket"), callers).expect("a socket");
        let (stop, stops) = watch::channel(false);
        let router = http::router(Arc::new(service));
        let task = tokio::spawn(connection::serve(socket, router, PATIENCE, stops));
        Self { folder, recipient: identity.recipient, stop, task }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// Encrypts for the service.
    fn encrypt(&self, text: &str) -> String {
        encrypt(&self.recipient, text)
    }

    async fn connect(&self) -> UnixStream {
        UnixStream::connect(self.path()).await.expect("a connection")
    }

    /// Asks by HTTP/1.1.
    async fn post(&self, path: &str, kind: &str, body: impl Into<Bytes>) -> Answer {
        self.ask(request(path, kind, body)).await
    }

    async fn ask(&self, request: Request<Full<Bytes>>) -> Answer {
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(self.connect().await)).await.expect("a connection");
        let connection = tokio::spawn(connection);
        let answer = Answer::of(sender.send_request(request).await.expect("an answer")).await;
        connection.abort();
        answer
    }

    fn client(&self) -> tonic::client::Grpc<tonic::transport::Channel> {
        let path = self.path();
        let connect = tower::service_fn(move |_| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        let endpoint = tonic::transport::Endpoint::from_static("http://selkie");
        tonic::client::Grpc::new(endpoint.connect_with_connector_lazy(connect))
    }

    /// Calls a method of gRPC.
    async fn call<A: prost::Message + Default + 'static>(
        &self,
        method: &'static str,
        parts: Vec<RequestPart>,
        time: Option<Duration>,
    ) -> Result<Vec<A>, tonic::Status> {
        let mut client = self.client();
        client.ready().await.expect("a connection");
        let path = axum::http::uri::PathAndQuery::from_static(method);
        let mut request = tonic::Request::new(futures_util::stream::iter(parts));
        if let Some(time) = time {
            request.set_timeout(time);
        }
        let codec: tonic_prost::ProstCodec<RequestPart, A> = tonic_prost::ProstCodec::default();
        let mut answer = client.streaming(request, path, codec).await?.into_inner();
        let mut messages = Vec::new();
        while let Some(message) = answer.message().await? {
            messages.push(message);
        }
        Ok(messages)
    }

    /// Ends the service, and waits for that.
    async fn end(self) {
        let path = self.path();
        self.stop.send(true).expect("it listens");
        self.task.await.expect("it ends well");
        assert!(!path.exists(), "the socket goes with the service");
    }
}

impl Answer {
    async fn of(response: Response<hyper::body::Incoming>) -> Self {
        let (head, body) = response.into_parts();
        let kind = head.headers.get("content-type").map(|kind| kind.to_str().expect("text").to_owned());
        let body = body.collect().await.expect("a body").to_bytes();
        let body = String::from_utf8(body.to_vec()).expect("text");
        Self { status: head.status, kind: kind.unwrap_or_default(), body }
    }

    /// Makes sure that it is a failure that tells no value.
    fn fails(&self, status: u16, code: &str) {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        assert_eq!(self.kind, "application/problem+json");
        let problem: Json = serde_json::from_str(&self.body).expect("an object");
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status);
        assert!(!self.body.contains("hunter2"), "{}", self.body);
    }
}

fn request(path: &str, kind: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let request = Request::post(path).header("host", "selkie").header("content-type", kind);
    request.body(Full::new(body.into())).expect("a request")
}

fn encrypt(recipient: &str, text: &str) -> String {
    let keys = MasterKey::parse_list(&age::KIND, recipient).expect("a key");
    let mut metadata = Metadata::new(vec![KeyGroup(keys)]);
    metadata.selector = selkie::sops::Selector::EncryptedRegex(
        selkie::sops::Pattern::parse("^(data|stringData)$").expect("a pattern"),
    );
    let service = AgeService::new(Identities::new());
    let rng = &mut ChaCha20Rng::seed_from_u64(7);
    let now = "2026-01-02T03:04:05Z";
    let encrypted = selkie::encrypt(text, Format::Yaml, metadata, &[&service], now, rng).expect("encrypted");
    String::from_utf8(encrypted.expose_secret().to_vec()).expect("text")
}

fn stream(text: &str) -> Vec<RequestPart> {
    let part = |bytes: &[u8]| part(bytes, &[]);
    text.as_bytes().chunks(1024).map(part).collect()
}

fn part(stream: &[u8], archive: &[u8]) -> RequestPart {
    RequestPart { options: None, stream: stream.to_vec(), archive: archive.to_vec() }
}

fn yaml(parts: &[ResponsePart]) -> String {
    String::from_utf8(parts.iter().flat_map(|part| part.yaml.clone()).collect()).expect("text")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_rendered_by_http() {
    let lab = Lab::start(BOUNDS);
    let text =
        format!("{}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\n", lab.encrypt(SECRET));
    let answer = lab.post("/v1/render?namespace=n", "application/yaml", text.clone()).await;
    assert_eq!(
        (answer.status, answer.kind.as_str()),
        (StatusCode::OK, "application/yaml"),
        "{}",
        answer.body
    );
    assert!(
        answer.body.contains("password: aHVudGVyMg==") && answer.body.contains("\n---\n"),
        "{}",
        answer.body
    );
    let mut lines = request("/v1/render", "application/yaml", text);
    lines.headers_mut().insert("accept", "application/x-ndjson".parse().expect("a value"));
    let answer = lab.ask(lines).await;
    let objects: Vec<Json> =
        answer.body.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
    assert_eq!((objects.len(), &objects[1]["kind"]), (2, &"ConfigMap".into()));
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_of_http_come_through_one_door() {
    let lab = Lab::start(BOUNDS);
    let get = |path: &str| {
        Request::get(format!("http://selkie{path}")).body(Full::<Bytes>::default()).expect("a request")
    };
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(lab.connect().await))
        .await
        .expect("a connection");
    let connection = tokio::spawn(connection);
    for (path, expected) in [("/healthz", "ok\n"), ("/readyz", "ok\n")] {
        let answer = Answer::of(sender.send_request(get(path)).await.expect("an answer")).await;
        assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, expected), "{path}");
    }
    let answer = lab.ask(get("/version")).await;
    let version: Json = serde_json::from_str(&answer.body).expect("an object");
    assert_eq!(version["modes"], serde_json::json!(["plain"]));
    connection.abort();
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_rendered_and_told_by_grpc() {
    let lab = Lab::start(BOUNDS);
    let text = lab.encrypt(SECRET);
    let mut parts = stream(&text);
    parts[0].options = Some(Options { mode: "plain".to_owned(), ..Options::default() });
    let answer: Vec<ResponsePart> =
        lab.call("/selkie.v1.Decryptor/DecryptStream", parts, None).await.expect("rendered");
    let report = answer[0].report.clone().expect("the report comes first");
    assert_eq!((report.mode.as_str(), report.objects), ("plain", 1));
    assert_eq!(report.taint[0].path, "stringData.password");
    assert!(yaml(&answer).contains("password: aHVudGVyMg=="), "{}", yaml(&answer));
    let told: Vec<ExplainResponse> =
        lab.call("/selkie.v1.Decryptor/Explain", stream(&text), None).await.expect("told");
    let [explanation] = &told[0].explanations[..] else { panic!("it is one: {told:?}") };
    assert_eq!((explanation.verdict.as_str(), explanation.passes, explanation.encrypted), ("Ok", true, 1));
    assert_eq!(explanation.groups[0].recipients[0].name, lab.recipient);
    assert!(!format!("{told:?}").contains("hunter2"));
    let answer = lab.post("/v1/explain", "application/yaml", text).await;
    let told: Json = serde_json::from_str(&answer.body).expect("an object");
    assert_eq!(told["explanations"][0]["verdict"], "Ok");
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_of_what_was_changed() {
    let lab = Lab::start(BOUNDS);
    // The first document is as it should be, and nothing of it comes out either.
    let changed = lab.encrypt(SECRET).replace("name: a", "name: b");
    let text = format!("{}---\n{changed}", lab.encrypt(&SECRET.replace("name: a", "name: first")));
    lab.post("/v1/render", "application/yaml", text.clone()).await.fails(403, "Refused");
    let failed = lab.call::<ResponsePart>("/selkie.v1.Decryptor/DecryptStream", stream(&text), None).await;
    let status = failed.err().expect("it is refused");
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(status.message().contains("MAC") && !status.message().contains("hunter2"), "{status}");
    let answer = lab.post("/v1/explain", "application/yaml", text).await;
    let told: Json = serde_json::from_str(&answer.body).expect("an object");
    assert_eq!([0, 1].map(|index| told["explanations"][index]["passes"] == true), [true, false], "{told}");
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_have_a_status_each() {
    let lab = Lab::start(Bounds { body: 8 << 10, ..BOUNDS });
    let text = lab.encrypt(SECRET);
    let cases: [(&str, &str, Vec<u8>, u16, &str); 12] = [
        ("/v1/render", "application/yaml", b"{".to_vec(), 400, "BadInput"),
        ("/v1/render", "application/yaml", b"".to_vec(), 403, "Refused"),
        ("/v1/render?mode=redact", "application/yaml", text.clone().into(), 403, "Refused"),
        ("/v1/render?moed=plain", "application/yaml", text.clone().into(), 400, "BadInput"),
        ("/v1/render?builder=kustomize", "application/yaml", text.clone().into(), 400, "BadInput"),
        ("/v1/render?builder=make", "application/yaml", text.clone().into(), 400, "BadInput"),
        ("/v1/render?folder=../x", "application/yaml", text.clone().into(), 400, "BadInput"),
        ("/v1/render?timeout=0", "application/yaml", text.clone().into(), 504, "Deadline"),
        ("/v1/render", "text/html", text.clone().into(), 415, "Unsupported"),
        ("/v1/rendre", "application/yaml", text.clone().into(), 404, "NotFound"),
        ("/v1/render", "application/yaml", vec![b'#'; (8 << 10) + 1], 413, "TooLarge"),
        ("/v1/render", "application/yaml", encrypt(&other(), SECRET).into(), 422, "Undecryptable"),
    ];
    for (path, kind, body, status, code) in cases {
        lab.post(path, kind, body).await.fails(status, code);
    }
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_cannot_be_read_are_unavailable() {
    let lab = Lab::start(BOUNDS);
    let text = lab.encrypt(SECRET);
    fs::remove_file(lab.folder.path().join("key")).expect("it is there");
    lab.post("/v1/render", "application/yaml", text.clone()).await.fails(503, "Unavailable");
    let failed = lab.call::<ResponsePart>("/selkie.v1.Decryptor/DecryptStream", stream(&text), None).await;
    assert_eq!(failed.err().map(|status| status.code()), Some(Code::Unavailable));
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_have_a_code_each() {
    let lab = Lab::start(Bounds { body: 8 << 10, ..BOUNDS });
    let text = lab.encrypt(SECRET);
    let archive = part(&[], &[1]);
    let mut late = part(&[], &[]);
    late.options = Some(Options::default());
    let short = Some(Duration::from_nanos(1));
    let (render, tree) = ("/selkie.v1.Decryptor/DecryptStream", "/selkie.v1.Decryptor/DecryptTree");
    let cases = [
        (render, stream(&text), short, Code::DeadlineExceeded),
        (render, stream(&"#".repeat((8 << 10) + 1)), None, Code::ResourceExhausted),
        (render, stream("{"), None, Code::InvalidArgument),
        (render, vec![RequestPart::default(), late], None, Code::InvalidArgument),
        (render, stream(&encrypt(&other(), SECRET)), None, Code::FailedPrecondition),
        (tree, stream(&text), None, Code::InvalidArgument),
        (tree, [stream(&text), vec![archive]].into_iter().flatten().collect(), None, Code::InvalidArgument),
        ("/selkie.v1.Decryptor/Encrypt", stream(&text), None, Code::Unimplemented),
    ];
    for (number, (method, parts, time, code)) in cases.into_iter().enumerate() {
        let failed = lab.call::<ResponsePart>(method, parts, time).await.err().expect("it fails");
        let is_late = code == Code::DeadlineExceeded && failed.code() == Code::Cancelled;
        assert!(failed.code() == code || is_late, "{number}: {failed}");
        assert!(!failed.message().contains("hunter2"));
    }
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_ask_at_once() {
    let lab = Arc::new(Lab::start(BOUNDS));
    let asks = (0..32).map(|number| {
        let lab = Arc::clone(&lab);
        tokio::spawn(async move {
            let text = lab.encrypt(&SECRET.replace("name: a", &format!("name: s{number}")));
            if number % 2 == 0 {
                let answer = lab.post("/v1/render", "application/yaml", text).await;
                assert!(answer.body.contains(&format!("name: s{number}\n")), "{}", answer.body);
            } else {
                let answer: Vec<ResponsePart> = lab
                    .call("/selkie.v1.Decryptor/DecryptStream", stream(&text), None)
                    .await
                    .expect("rendered");
                assert!(yaml(&answer).contains(&format!("name: s{number}\n")));
            }
        })
    });
    for ask in futures_util::future::join_all(asks).await {
        ask.expect("it is answered");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_caller_is_given_up() {
    let lab = Lab::start(BOUNDS);
    for head in [
        "",
        "P",
        "POST /v1/render HT",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n",
    ] {
        let mut stream = lab.connect().await;
        stream.write_all(head.as_bytes()).await.expect("it is taken");
        let mut rest = Vec::new();
        // Whether it is closed or torn off: it is over.
        let _ = stream.read_to_end(&mut rest).await;
        let rest = String::from_utf8_lossy(&rest);
        assert!(!rest.contains("200 OK") || head.starts_with("GET"), "{head:?}: {rest}");
    }
    let mut stream = lab.connect().await;
    let head = "POST /v1/render HTTP/1.1\r\nhost: a\r\ncontent-type: application/yaml\r\ncontent-length: 99\r\n\r\na";
    stream.write_all(head.as_bytes()).await.expect("it is taken");
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(
        String::from_utf8_lossy(&rest).starts_with("HTTP/1.1 504 "),
        "{}",
        String::from_utf8_lossy(&rest)
    );
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_hurts_nobody_else() {
    use rand::RngCore as _;

    let lab = Lab::start(BOUNDS);
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    let mut garbage: Vec<Vec<u8>> = [
        "\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "POST /v1/render HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\nzz\r\n",
        "POST /v1/render HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\u{1}\u{2}\u{3}garbage that is no frame at all",
        "\u{16}\u{3}\u{1}hello",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    garbage.push([&b"GET / HTTP/1.1\r\nx: "[..], &vec![b'x'; 256 << 10]].concat());
    for length in 0..64 {
        let mut bytes = vec![0; length * 7];
        rng.fill_bytes(&mut bytes);
        garbage.push(bytes);
    }
    for bytes in garbage {
        let mut stream = lab.connect().await;
        // It may be closed before all is written.
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        assert!(!String::from_utf8_lossy(&rest).contains(" 200 "));
    }
    let answer = lab.post("/v1/render", "application/yaml", lab.encrypt(SECRET)).await;
    assert_eq!(answer.status, StatusCode::OK);
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_away_leaves_its_turn() {
    let lab = Lab::start(Bounds { at_once: 1, ..BOUNDS });
    let text = lab.encrypt(SECRET);
    for _ in 0..8 {
        let mut stream = lab.connect().await;
        let length = text.len();
        let head = format!(
            "POST /v1/render HTTP/1.1\r\nhost: a\r\ncontent-type: application/yaml\r\ncontent-length: {length}\r\n\r\n{text}"
        );
        stream.write_all(head.as_bytes()).await.expect("it is taken");
    }
    let answer = lab.post("/v1/render", "application/yaml", text).await;
    assert_eq!(answer.status, StatusCode::OK);
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_at_the_end_is_answered() {
    let lab = Lab::start(BOUNDS);
    let text = lab.encrypt(SECRET);
    let (start, rest) = text.split_at(100);
    let mut stream = lab.connect().await;
    let length = text.len();
    let head = format!(
        "POST /v1/render HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-type: application/yaml\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("it is taken");
    let mut continued = [0; 25];
    stream.read_exact(&mut continued).await.expect("it is being read");
    assert_eq!(&continued, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(start.as_bytes()).await.expect("it is taken");
    let (end, path) = (lab.stop.clone(), lab.path());
    end.send(true).expect("it listens");
    while path.exists() {
        tokio::task::yield_now().await;
    }
    stream.write_all(rest.as_bytes()).await.expect("it is taken");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("aHVudGVyMg=="), "{answer}");
    lab.task.await.expect("it ends well");
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stderr, reason = "it tells that it could not look")]
async fn another_user_is_turned_away() {
    const STRANGER: u32 = 54_321;
    let (root, curl) = (rustix::process::geteuid().is_root(), Path::new("/usr/bin/curl"));
    if !root || !curl.exists() {
        eprintln!("skipped: another user is only to be had by root, with curl");
        return;
    }
    for (users, is_served) in [(vec![STRANGER + 1], false), (vec![STRANGER], true)] {
        let lab = Lab::start_for(BOUNDS, Callers { users, groups: Vec::new() });
        // The folder is for all; who is served is up to the service.
        fs::set_permissions(lab.folder.path(), fs::Permissions::from_mode(0o755)).expect("ours");
        let mut command = tokio::process::Command::new(curl);
        command.uid(STRANGER).gid(STRANGER).current_dir("/").arg("--silent").arg("--unix-socket");
        let ask: Pin<Box<dyn Future<Output = _> + Send>> =
            Box::pin(command.arg(lab.path()).arg("http://selkie/healthz").output());
        let output = ask.await.expect("it runs");
        assert_eq!((output.status.success(), output.stdout.as_slice() == b"ok\n"), (is_served, is_served));
        lab.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_is_rendered_and_told() {
    let lab = Lab::start(BOUNDS);
    let text = lab.encrypt(SECRET);
    let config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n";
    let archive =
        tree(&[("a/secret.yaml", text.as_bytes()), ("a/c.yaml", config.as_bytes()), ("b/x.yaml", b"{")]);
    let answer = lab.post("/v1/render?folder=a", "application/gzip", archive.clone()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert!(
        answer.body.contains("aHVudGVyMg==") && answer.body.contains("kind: ConfigMap"),
        "{}",
        answer.body
    );
    lab.post("/v1/render", "application/gzip", archive.clone()).await.fails(400, "BadInput");
    let mut parts: Vec<_> = archive.chunks(100).map(|bytes| part(&[], bytes)).collect();
    parts[0].options = Some(Options { folder: "a".to_owned(), ..Options::default() });
    let rendered: Vec<ResponsePart> =
        lab.call("/selkie.v1.Decryptor/DecryptTree", parts, None).await.expect("rendered");
    assert_eq!(yaml(&rendered), answer.body);
    let told = lab.post("/v1/explain?folder=a", "application/gzip", archive).await;
    let told: Json = serde_json::from_str(&told.body).expect("an object");
    assert_eq!(told["explanations"][0]["path"], "a/secret.yaml");
    assert_eq!(told["explanations"].as_array().map(Vec::len), Some(1), "{told}");
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_built_is_found_in_its_files() {
    let lab = Lab::start(BOUNDS);
    let text = lab.encrypt(SECRET);
    let (built, _) = text.split_once("sops:").expect("there is metadata");
    let built = built.replace("name: a", "name: a-renamed");
    lab.post("/v1/render", "application/yaml", built.clone()).await.fails(422, "Undecryptable");
    let archive = tree(&[("secret.yaml", text.as_bytes())]);
    let parts = vec![part(built.as_bytes(), &[]), part(&[], &archive)];
    let rendered: Vec<ResponsePart> =
        lab.call("/selkie.v1.Decryptor/DecryptStream", parts, None).await.expect("rendered");
    assert!(yaml(&rendered).contains("name: a-renamed") && yaml(&rendered).contains("aHVudGVyMg=="));
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_that_are_no_good_are_refused() {
    let lab = Lab::start(BOUNDS);
    let bomb = tree(&[("zeros.yaml", &vec![b'#'; 12 << 20])]);
    assert!(bomb.len() < 64 << 10, "it looks small");
    lab.post("/v1/render", "application/gzip", bomb.clone()).await.fails(413, "TooLarge");
    let text = lab.encrypt(SECRET);
    let archive = tree(&[("secret.yaml", text.as_bytes())]);
    lab.post("/v1/render", "application/gzip", archive[..archive.len() / 2].to_vec())
        .await
        .fails(400, "BadInput");
    lab.post("/v1/render", "application/gzip", text).await.fails(400, "BadInput");
    lab.post("/v1/render", "application/gzip", tree(&[])).await.fails(403, "Refused");
    let failed =
        lab.call::<ResponsePart>("/selkie.v1.Decryptor/DecryptTree", vec![part(&[], &bomb)], None).await;
    assert_eq!(failed.err().map(|status| status.code()), Some(Code::ResourceExhausted));
    lab.end().await;
}

/// Returns files as an archive.
fn tree(files: &[(&str, &[u8])]) -> Vec<u8> {
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    let mut archive = tar::Builder::new(gzip);
    for &(path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, path, bytes).expect("written");
    }
    archive.into_inner().and_then(flate2::write::GzEncoder::finish).expect("written")
}

/// Returns a recipient that the service has no key of.
fn other() -> String {
    generate(IdentityKind::X25519, &mut ChaCha20Rng::seed_from_u64(2)).recipient
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_says_the_mode_and_the_limits() {
    let folder = tempfile::tempdir().expect("a folder");
    let policy = folder.path().join("policy.yaml");
    let rules = "rules:
- {match: {projects: [a]}, modes: [redact, fake]}
- {match: {projects: [b]}, modes: [redact], limits: {outputBytes: 8}}
- {match: {projects: [c]}, modes: [redact], limits: {fileBytes: 8, totalBytes: 8}}
";
    fs::write(&policy, rules).expect("a file");
    let policy = policy.display().to_string();
    let service = |words: &[&str]| {
        let command = <Args as clap::Args>::augment_args(clap::Command::new("x").no_binary_name(true));
        let words = ["--socket", "/x", "--max-body", "1048576"].iter().chain(words);
        let matches = command.try_get_matches_from(words).expect("they are flags");
        <Args as clap::FromArgMatches>::from_arg_matches(&matches).expect("arguments").service()
    };
    let refused = service(&["--policy", &policy, "--modes", "plain"]).err();
    assert!(matches!(refused, Some(SettingsError::PolicyFlag { flag: "--modes", .. })));
    let ask = async |service: &Arc<Service>, project: &str, mode: &str, archive: Option<&[u8]>| {
        let mut body = service.content(work::Caller(1));
        let config = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
        body.push(archive.unwrap_or(config)).expect("it is small");
        let input = if archive.is_some() { work::Input::Tree(body) } else { work::Input::Stream(body, None) };
        let origin = message::Origin { project: project.to_owned(), ..Default::default() };
        let options = Options { mode: mode.to_owned(), origin: Some(origin), ..Options::default() };
        let deadline = service.deadline(None);
        let job = work::Job { input, options, deadline, caller: work::Caller(1) };
        let rendered = Arc::clone(service).render(job, work::Output::Yaml).await;
        rendered.map(|rendered| rendered.report.mode).map_err(|failure| failure.class)
    };
    let by_policy = Arc::new(service(&["--policy", &policy]).unwrap_or_else(|error| panic!("{error}")));
    assert_eq!(ask(&by_policy, "a", "", None).await.as_deref(), Ok("redact"));
    assert_eq!(ask(&by_policy, "a", "fake", None).await.as_deref(), Ok("fake"));
    let refused = Err(failure::Class::Refused);
    assert_eq!(ask(&by_policy, "a", "plain", None).await, refused);
    assert_eq!(ask(&by_policy, "d", "", None).await, refused);
    let too_large = Err(failure::Class::TooLarge);
    assert_eq!(ask(&by_policy, "b", "", None).await, too_large);
    let archive = tree(&[("a.yaml", b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n")]);
    assert_eq!(ask(&by_policy, "a", "", Some(&archive)).await.as_deref(), Ok("redact"));
    assert_eq!(ask(&by_policy, "c", "", Some(&archive)).await, too_large);
    let by_flags = Arc::new(service(&["--modes", "fake,redact"]).unwrap_or_else(|error| panic!("{error}")));
    assert_eq!(by_flags.modes(), ["fake", "redact"]);
    assert_eq!(ask(&by_flags, "", "", None).await.as_deref(), Ok("fake"));
    assert_eq!(ask(&by_flags, "", "redact", None).await.as_deref(), Ok("redact"));
    assert_eq!(ask(&by_flags, "", "plain", None).await, refused);
}

#[tokio::test]
async fn one_user_leaves_bytes_and_turns_for_others() {
    let bounds = Bounds { body: 1 << 10, memory: 4 << 10, ..BOUNDS };
    let service = Service::new(Renderer::new(Vec::new(), EmitMode::Redact), bounds);
    let push = |user: u32| {
        let mut content = service.content(work::Caller(user));
        content.push(&[b'a'; 1 << 10]).map(|()| content).map_err(|failure| failure.class)
    };
    let own = [push(1), push(1)];
    assert!(own.iter().all(Result::is_ok));
    assert_eq!(push(1).err(), Some(failure::Class::Unavailable));
    let other = [push(2), push(2)];
    assert!(other.iter().all(Result::is_ok));
    assert_eq!(push(3).err(), Some(failure::Class::Unavailable));
    drop((own, other));
    assert!(push(1).is_ok());
}
