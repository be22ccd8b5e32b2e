//! `argocd serve`: a plugin of Argo CD on its socket, in place of the server that Argo CD brings.

use std::error::Error;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::service::{Plugin, Taken};
use super::socket::Socket;
use crate::render::settings::{SERVED_BYTES, SERVED_MEMORY, Settings};
use crate::runtime;

/// Serve the socket of a plugin, at which the repo-server asks for manifests
///
/// Repositories are unpacked in memory. Applications name the plugin, unless --discover is given.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  selkie-decryptor argocd serve --keys /keys --mode reseal --cert cert.pem --reseal-key /keys/reseal
  selkie-decryptor argocd serve --policy policy.yaml")]
pub(super) struct Args {
    #[command(flatten)]
    settings: Settings,
    /// The folder for the socket, in which the repo-server looks
    #[arg(long, value_name = "DIR", env = "ARGOCD_PLUGINSOCKFILEPATH", default_value = SOCKETS)]
    socket_dir: PathBuf,
    /// The name of the plugin
    #[arg(long, value_name = "NAME", default_value = "selkie", value_parser = name)]
    name: String,
    /// A version of the plugin, which is part of the name that applications give
    #[arg(long, value_name = "VERSION", value_parser = name)]
    plugin_version: Option<String>,
    /// Serve applications that name no plugin, if their folder holds something encrypted; the repo-server sends each
    /// repository once more for that
    #[arg(long)]
    discover: bool,
    /// How many bytes a message may have
    #[arg(long, value_name = "BYTES", default_value_t = 100 << 20)]
    max_message: usize,
    /// How many bytes the compressed archive of a repository may have
    #[arg(long, value_name = "BYTES", default_value_t = 64 << 20)]
    max_archive: u64,
    /// How many bytes the archives and unpacked files of all applications may have at once, one application aside
    #[arg(long, value_name = "BYTES", default_value_t = SERVED_MEMORY)]
    max_memory: u64,
    /// How many applications are rendered at once, those of a project in half of the places; further ones wait
    #[arg(long, value_name = "COUNT", default_value_t = 8, value_parser = at_once)]
    at_once: usize,
    /// How many seconds an answer may take, if the repo-server does not wait less
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    timeout: u64,
}

/// Why the plugin cannot serve.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    /// The socket cannot be used.
    #[error("{path}: cannot listen at a socket in this folder", path = .0.display())]
    Socket(PathBuf, #[source] io::Error),
}

/// Serves until it is told to end.
pub(super) fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let plugin = args.plugin()?;
    let runtime = runtime::new()?;
    let served = runtime.block_on(listen(args, plugin));
    // What goes on in spite of its deadline is not waited for.
    runtime.shutdown_timeout(Duration::from_secs(1));
    served
}

async fn listen(args: &Args, plugin: Plugin) -> Result<(), Box<dyn Error>> {
    let signals = Signals::new()?;
    let failed = |error| ServeError::Socket(args.socket_dir.clone(), error);
    let (listener, socket) = Socket::bind(&args.socket_dir, &args.socket()).map_err(failed)?;
    let listener = UnixListener::from_std(listener)?;
    say(&format!("serves at {}", socket.path().display()));
    drained(plugin, listener, socket, signals.wait(), Duration::from_secs(args.timeout)).await?;
    say("ended");
    Ok(())
}

impl Args {
    fn plugin(&self) -> Result<Plugin, Box<dyn Error>> {
        let mut renderer = self.settings.renderer()?;
        renderer.limits.total_bytes = SERVED_BYTES;
        let taken = Taken {
            message: self.max_message,
            archive: self.max_archive,
            at_once: self.at_once,
            memory: self.max_memory,
            time: Duration::from_secs(self.timeout),
        };
        Ok(Plugin::new(renderer, self.discover, taken))
    }

    /// Returns the name that applications give.
    fn socket(&self) -> String {
        match &self.plugin_version {
            Some(version) => format!("{}-{version}", self.name),
            None => self.name.clone(),
        }
    }
}

/// Serves until `end`, and then what is under way, for as long as any answer may take.
pub(super) async fn drained(
    plugin: Plugin,
    listener: UnixListener,
    socket: Socket,
    end: impl Future<Output = ()>,
    time: Duration,
) -> io::Result<()> {
    let (ended, wait) = tokio::sync::oneshot::channel::<()>();
    let serving = plugin.serve(listener, async move {
        end.await;
        // Nobody new comes.
        drop(socket);
        drop(ended);
    });
    let late = async {
        // It is dropped, never sent.
        drop(wait.await);
        tokio::time::sleep(time).await;
    };
    tokio::select! {
        served = serving => served,
        () = late => Ok(()),
    }
}

/// What tells the program to end.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn wait(mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Reads a name that can be that of a file.
pub(super) fn name(text: &str) -> Result<String, String> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    if !text.is_empty() && text.len() <= 60 && text.chars().all(is_part) && !text.starts_with('.') {
        Ok(text.to_owned())
    } else {
        Err("use letters, digits, dots and dashes, at most 60 of them".to_owned())
    }
}

fn at_once(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| (1..=1000).contains(count)).ok_or_else(|| "use 1 to 1000".to_owned())
}

#[expect(clippy::print_stderr, reason = "the log of this face")]
fn say(text: &str) {
    eprintln!("argocd plugin: {text}");
}

/// Where the repo-server looks for plugins.
const SOCKETS: &str = "/home/argocd/cmp-server/plugins";
