//! The faces as programs of their own: servers that are asked again and again, and commands that are started.

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::stream;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use prost::{Message, Oneof};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;
use tower::service_fn;

use super::trees::MadeTree;

/// What came out, or what was said in its place.
pub type Answer = Result<Vec<Json>, String>;

/// All faces of one program, with one identity.
pub struct Faces {
    folder: tempfile::TempDir,
    program: PathBuf,
    runtime: Runtime,
    plugin: Channel,
    servers: Vec<Child>,
}

impl Faces {
    /// Starts the servers.
    pub fn start(program: &Path, identity: &str) -> Result<Self, Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("keys.agekey"), identity)?;
        let sockets = folder.path().join("sockets");
        std::fs::create_dir(&sockets)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let socket = sockets.join("selkie.sock");
        let plugin = {
            let _inside = runtime.enter();
            let socket = socket.clone();
            let connect = service_fn(move |_| {
                let socket = socket.clone();
                async move { UnixStream::connect(socket).await.map(TokioIo::new) }
            });
            Endpoint::from_static("http://plugin").connect_with_connector_lazy(connect)
        };
        let mut faces = Self { folder, program: program.to_owned(), runtime, plugin, servers: Vec::new() };
        let service = faces.path("service.sock");
        faces.serve(&["argocd", "serve", "--socket-dir", &sockets.display().to_string()], &socket)?;
        faces.serve(&["serve", "--socket", &service.display().to_string()], &service)?;
        Ok(faces)
    }

    /// Through the plugin of Argo CD, as the repo-server sends a repository.
    pub fn argocd(&self, tree: &MadeTree) -> Result<Answer, Box<dyn Error>> {
        let archive = archive(tree)?;
        let metadata = Metadata {
            app_name: "app".to_owned(),
            app_rel_path: ".".to_owned(),
            checksum: Sha256::digest(&archive).iter().map(|byte| format!("{byte:02x}")).collect(),
            size: archive.len() as i64,
        };
        let chunk = |chunk: &[u8]| Asked { part: Some(Part::File(Chunk { chunk: chunk.to_vec() })) };
        let mut asked = vec![Asked { part: Some(Part::Metadata(metadata)) }];
        asked.extend(archive.chunks(1024).map(chunk));
        self.runtime.block_on(async {
            let mut client = Grpc::new(self.plugin.clone());
            client.ready().await?;
            let path = "/plugin.ConfigManagementPluginService/GenerateManifest".parse()?;
            let codec = ProstCodec::<Asked, Manifests>::default();
            let asked = tonic::Request::new(stream::iter(asked));
            Ok(match client.client_streaming(asked, path, codec).await {
                Ok(answer) => {
                    let manifests = &answer.get_ref().manifests;
                    Ok(manifests.iter().map(|text| serde_json::from_str(text)).collect::<Result<_, _>>()?)
                }
                Err(status) => Err(status.message().to_owned()),
            })
        })
    }

    /// Through the service, as an archive.
    pub fn service_tree(&self, tree: &MadeTree) -> Result<Answer, Box<dyn Error>> {
        self.post("application/gzip", archive(tree)?)
    }

    /// Through the service, as a stream.
    pub fn service_stream(&self, tree: &MadeTree) -> Result<Answer, Box<dyn Error>> {
        self.post("application/yaml", tree.stream().into_bytes())
    }

    /// Through `render`, as a folder.
    pub fn render(&self, tree: &MadeTree) -> Result<Answer, Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        for (path, text) in &tree.files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().ok_or("a file is in a folder")?)?;
            std::fs::write(path, text)?;
        }
        self.run(&["render", &folder.path().display().to_string()], b"")
    }

    /// Through `helm post-render`, as a stream.
    pub fn post_render(&self, tree: &MadeTree) -> Result<Answer, Box<dyn Error>> {
        self.run(&["helm", "post-render"], tree.stream().as_bytes())
    }

    /// Returns a path in the folder of these.
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).env_clear().env("HOME", self.folder.path());
        command.env("SOPS_AGE_KEY_FILE", self.path("keys.agekey"));
        command
    }

    fn serve(&mut self, arguments: &[&str], socket: &Path) -> Result<(), Box<dyn Error>> {
        let mut command = self.command(arguments);
        self.servers.push(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
        let start = Instant::now();
        while !socket.exists() {
            if start.elapsed() > Duration::from_secs(60) {
                return Err(format!("{arguments:?} does not listen").into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn run(&self, arguments: &[&str], input: &[u8]) -> Result<Answer, Box<dyn Error>> {
        let mut command = self.command(arguments);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child?;
        child.stdin.take().ok_or("there is an input")?.write_all(input)?;
        let Output { status, stdout, stderr } = child.wait_with_output()?;
        match status.success() {
            true => Ok(Ok(selkie::manifest::read_objects(&stdout)?)),
            false if stdout.is_empty() => Ok(Err(String::from_utf8_lossy(&stderr).into_owned())),
            false => Err("it failed, and printed something nevertheless".into()),
        }
    }

    fn post(&self, kind: &str, body: Vec<u8>) -> Result<Answer, Box<dyn Error>> {
        self.runtime.block_on(async {
            let socket = UnixStream::connect(self.path("service.sock")).await?;
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
            let connection = tokio::spawn(connection);
            let request = Request::post("/v1/render")
                .header("host", "selkie")
                .header("content-type", kind)
                .header("accept", "application/x-ndjson")
                .body(Full::new(Bytes::from(body)))?;
            let answer = sender.send_request(request).await?;
            let status = answer.status();
            let text = answer.into_body().collect().await?.to_bytes();
            drop(sender);
            connection.await??;
            let text = str::from_utf8(&text)?;
            if status == StatusCode::OK {
                return Ok(Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?));
            }
            let problem: Json = serde_json::from_str(text)?;
            Ok(Err(problem["detail"].as_str().ok_or("a problem has a detail")?.to_owned()))
        })
    }
}

impl Drop for Faces {
    fn drop(&mut self) {
        for server in &mut self.servers {
            // One that ended by itself is told by the tests.
            drop(server.kill());
            drop(server.wait());
        }
    }
}

fn archive(tree: &MadeTree) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (path, text) in &tree.files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, path, text.as_bytes())?;
    }
    Ok(archive.into_inner()?.finish()?)
}

/// What the repo-server sends.
#[derive(Clone, PartialEq, Message)]
struct Asked {
    #[prost(oneof = "Part", tags = "1, 2")]
    part: Option<Part>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Part {
    #[prost(message, tag = "1")]
    Metadata(Metadata),
    #[prost(message, tag = "2")]
    File(Chunk),
}

#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(string, tag = "1")]
    app_name: String,
    #[prost(string, tag = "2")]
    app_rel_path: String,
    #[prost(string, tag = "3")]
    checksum: String,
    #[prost(int64, tag = "4")]
    size: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Chunk {
    #[prost(bytes = "vec", tag = "1")]
    chunk: Vec<u8>,
}

/// What it gets.
#[derive(Clone, PartialEq, Message)]
struct Manifests {
    #[prost(string, repeated, tag = "1")]
    manifests: Vec<String>,
}
