//! `controller`: a drop-in for the controller of Sealed Secrets, which reconciles resources of SOPS, too.
//!
//! ```text
//! watch ─► store ─► queue ─► open (source) ─► plan ─► write ─► status, event, metric
//!            ▲                 ▲
//!          duty              keys
//! ```
//!
//! Invariants: what to do is decided by `plan.rs` alone, from plain values; a Secret that is not ours is never written;
//! whatever cannot be known is left as it is.

mod args;
mod assembly;
mod client;
mod cluster;
mod context;
mod digest;
pub mod duty;
mod engine;
pub mod events;
mod existing;
mod http;
pub mod key_set;
mod keyring;
pub mod metrics;
mod observer;
mod plan;
mod queue;
pub mod reason;
mod reconcile;
mod replicas;
mod retry;
mod sealed_secrets;
pub mod settings;
pub mod sops;
pub mod source;
mod status;
mod store;
mod telemetry;
mod watch;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::sleep;

pub use args::{Args, EnvironmentError, Surroundings, with_environment};
pub use assembly::{Clients, Controller, PartStopped, World};
use http::HttpServer;
use settings::{ClientSettings, Settings};
use sops::SopsSources;
use telemetry::{Telemetry, TraceSettings};

/// Runs the controller until it is told to end.
///
/// # Errors
/// If it cannot start.
#[expect(clippy::print_stdout, reason = "the version is what was asked for")]
pub fn run(args: Args) -> Result<(), Box<dyn Error>> {
    if let Some(version) = args.version() {
        println!("{version}");
        return Ok(());
    }
    let settings = args.settings(&Surroundings::of_process())?;
    let runtime = crate::runtime::new()?;
    let result = runtime.block_on(async {
        let environment = |name: &str| std::env::var(name).ok();
        let traces = if args.has_traces() { TraceSettings::of(environment)? } else { None };
        let telemetry = Telemetry::start(&args.log(), traces.as_ref())?;
        let result = serve(&args, settings).await;
        telemetry.finish().await;
        result
    });
    runtime.shutdown_timeout(LAST_WORK);
    result
}

/// Serves HTTP and reconciles, until a signal says to end.
async fn serve(args: &Args, settings: Settings) -> Result<(), Box<dyn Error>> {
    let (kubeconfig, limit) = (args.kubeconfig(), settings.client);
    let clients = Clients {
        objects: client::connect(&limit, kubeconfig).await?,
        keys: client::connect(&limit, kubeconfig).await?,
        // There are few of them, and the other replicas go by when they come.
        leases: client::connect(&ClientSettings { qps: None, ..limit }, kubeconfig).await?,
        events: client::connect(&limit, kubeconfig).await?,
        callers: client::connect(&limit, kubeconfig).await?,
    };
    let of_sops = client::connect(&limit, kubeconfig).await?;
    let world = World { now: Arc::new(time::OffsetDateTime::now_utc), chance: Arc::new(chance) };
    let server = HttpServer::bind(&settings.http).await?;
    let sops = SopsSources::new(&settings.sops, of_sops)?;
    let controller = Controller::new(clients, settings, world).with_sops(sops);
    let (mut end, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut make_key = signal(SignalKind::user_defined1())?;
    let (http, demand) = (controller.http(), controller.demand());
    let demanded = tokio::spawn(async move {
        while make_key.recv().await.is_some() {
            demand.notify_one();
        }
    });
    let (is_ending, ending) = oneshot::channel::<()>();
    let http = tokio::spawn(server.run(http, async {
        // Who drops the other end wants an end, too.
        let _ = ending.await;
        sleep(FAREWELL).await;
    }));
    let ended = async {
        tokio::select! {
            _ = end.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("ending: what is under way is finished");
        drop(is_ending);
    };
    let result = controller.run(ended).await;
    demanded.abort();
    http.await?;
    Ok(result?)
}

/// Returns a number from 0 to 1.
fn chance() -> f64 {
    let number = rand_core::RngCore::next_u32(&mut rand_core::OsRng);
    f64::from(number) / f64::from(u32::MAX)
}

/// For how long requests are taken after it is time to end: until nobody sends any here.
const FAREWELL: Duration = Duration::from_secs(3);
/// How long the end waits for work that cannot be ended.
const LAST_WORK: Duration = Duration::from_secs(2);
