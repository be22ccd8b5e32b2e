//! `serve`: rendering at a Unix socket, by gRPC and HTTP.
//!
//! ```text
//! socket (who is it?) ─► connection ─► http, rpc ─► work (how much, how long?) ─► renderer
//! ```
//!
//! Invariants: only named users are read a byte of; nothing of an answer is sent before all of it was verified and
//! written; what callers can cost has a bound, in bytes, time, connections and work; nothing is logged of what they send.

mod connection;
mod failure;
mod http;
mod message;
mod rpc;
mod socket;
#[cfg(test)]
mod tests;
mod work;

use std::error::Error;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::render::settings::{Mode, SERVED_BYTES, SERVED_MEMORY, Settings, SettingsError};
use crate::runtime;

use connection::Patience;
use socket::{Callers, Socket};
use work::{Bounds, Service};

/// Render for other programs, at a Unix socket, by gRPC and HTTP
///
/// Serves your own user, and those that you name. Nothing of an answer is sent before all of it was decrypted and verified.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  selkie-decryptor serve --keys /keys --socket /run/selkie/decryptor.sock
  curl --unix-socket /run/selkie/decryptor.sock http://selkie/v1/render \\
    -H 'content-type: application/yaml' --data-binary @secret.yaml")]
pub struct Args {
    #[command(flatten)]
    settings: Settings,
    /// The socket
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,
    /// Serve this user too, given by number
    #[arg(long, value_name = "UID")]
    allow_uid: Vec<u32>,
    /// Serve processes of this group too, given by number: the one that they run with, none of their others
    #[arg(long, value_name = "GID")]
    allow_gid: Vec<u32>,
    /// The modes that callers may ask for, the first for those who ask for none; without it, that of --mode alone. A policy
    /// says that itself
    #[arg(long, value_enum, value_name = "MODE", value_delimiter = ',')]
    modes: Vec<Mode>,
    /// How many bytes the body of a request may have
    #[arg(long, value_name = "BYTES", default_value_t = 64 << 20)]
    max_body: u32,
    /// How many bytes the bodies and unpacked archives of all requests may have at once, one request aside
    #[arg(long, value_name = "BYTES", default_value_t = SERVED_MEMORY)]
    max_memory: u64,
    /// How many requests are worked for at once, those of a user in half of the places; without it, as many as there are
    /// cores
    #[arg(long, value_name = "COUNT")]
    at_once: Option<NonZero<u16>>,
    /// How many seconds a request may take
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..))]
    timeout: u32,
}

/// Serves until a signal says to end.
pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let service = Arc::new(args.service()?);
    runtime::new()?.block_on(async {
        let (mut end, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let callers = Callers { users: args.allow_uid.clone(), groups: args.allow_gid.clone() };
        let socket = Socket::bind(&args.socket, callers)?;
        note(&format!("listening at {}", args.socket.display()));
        let (stop, stops) = watch::channel(false);
        let ending = async {
            tokio::select! {
                _ = end.recv() => {}
                _ = interrupt.recv() => {}
            }
            // Nobody listens if it has ended.
            let _ = stop.send(true);
        };
        tokio::join!(connection::serve(socket, http::router(service), PATIENCE, stops), ending);
        Ok(())
    })
}

impl Args {
    fn service(&self) -> Result<Service, SettingsError> {
        let mut settings = self.settings.clone();
        if settings.policy.is_some() && !self.modes.is_empty() {
            return Err(SettingsError::PolicyFlag { flag: "--modes", field: "modes" });
        }
        if let Some(&mode) = self.modes.first() {
            settings.mode = Some(mode);
        }
        self.modes.iter().try_for_each(|&mode| settings.check_mode(mode))?;
        let mut renderer = settings.renderer()?;
        renderer.limits.total_bytes = SERVED_BYTES;
        let own = settings.mode.unwrap_or(Mode::Plain);
        let offered = if self.modes.is_empty() { &[own][..] } else { &self.modes };
        renderer.offered = Some(offered.iter().copied().map(Mode::name).collect());
        let cores = || std::thread::available_parallelism().map_or(1, NonZero::get);
        let bounds = Bounds {
            body: self.max_body as usize,
            memory: self.max_memory,
            at_once: self.at_once.map_or_else(cores, |count| usize::from(count.get())),
            time: Duration::from_secs(self.timeout.into()),
            pause: PATIENCE.idle,
        };
        Ok(Service::new(renderer, bounds))
    }
}

/// Tells people something that holds nothing of what callers sent.
#[expect(clippy::print_stderr, reason = "the log of this face")]
fn note(text: &str) {
    eprintln!("{text}");
}

/// How long callers may let wait.
const PATIENCE: Patience = Patience {
    idle: Duration::from_secs(30),
    write: Duration::from_secs(30),
    grace: Duration::from_secs(20),
};
