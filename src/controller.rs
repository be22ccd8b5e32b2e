//! `controller`: a drop-in for the controller of Sealed Secrets, which reconciles resources of SOPS, too.
//!
//! ```text
//! watch ─► store ─► queue ─► open (source) ─► plan ─► write ─► status, event, metric
//!            ▲                 ▲
//!          duty              keys
//! ```
//!
//! Invariants: what to do is decided by [`plan`] alone, from plain values; a Secret that is not ours is never written;
//! whatever cannot be known is left as it is.

mod args;
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
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::{self, BoxStream};
use kube::Client;
use tokio::sync::{Notify, Semaphore, oneshot, watch as channel};
use tokio::task::JoinHandle;

pub use args::{Args, EnvironmentError, Surroundings, with_environment};
use cluster::Cluster;
use context::Context;
use duty::{Duties, Duty};
use engine::{Engine, Signals};
use events::Events;
use key_set::Keys;
use keyring::Keyring;
use metrics::Metrics;
use sealed_secrets::{Now, SealedSecrets};
use settings::Settings;
use source::Source;

/// What a controller finds outside of its API server.
#[derive(Clone)]
pub struct World {
    /// The time, in UTC.
    pub now: Now,
    /// Numbers from 0 to 1, which spread what would come at the same time.
    pub chance: Arc<dyn Fn() -> f64 + Send + Sync>,
}

/// A controller of a cluster.
pub struct Controller {
    client: Client,
    settings: Arc<Settings>,
    world: World,
    metrics: Arc<Metrics>,
    keyring: Keyring,
    keys: Keys,
    duty: channel::Sender<Duty>,
    duties: Duties,
}

impl Controller {
    /// Returns a controller of the cluster behind a client.
    #[must_use]
    pub fn new(client: Client, settings: Settings, world: World) -> Self {
        let (duty, duties) = channel::channel(Duty::none());
        let now = Arc::clone(&world.now);
        let (keyring, keys) =
            Keyring::new(client.clone(), &settings.namespace, settings.keys.clone(), duties.clone(), now);
        let metrics = Arc::new(Metrics::with_objects(settings.http.object_metrics));
        Self { client, settings: Arc::new(settings), world, metrics, keyring, keys, duty, duties }
    }

    /// Returns what to notify for a new sealing key to be made at once.
    #[must_use]
    pub fn demand(&self) -> Arc<Notify> {
        self.keyring.demand()
    }

    /// Works until `shutdown` ends. Then what is under way is finished, and the other replicas are told.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let (stop, stopped) = channel::channel(false);
        let (has_ended, end) = oneshot::channel::<()>();
        let settings = Arc::clone(&self.settings);
        let replicas = tokio::spawn(replicas::run(
            self.client.clone(),
            settings.namespace.clone(),
            settings.replicas.clone(),
            self.duty,
            async {
                // Who drops the other end wants an end, too.
                let _ = end.await;
            },
        ));
        let keyring = tokio::spawn(self.keyring.run());
        let (events, events_task) = Events::start(self.client.clone());
        let now = Arc::clone(&self.world.now);
        let sources: Vec<Arc<dyn Source>> =
            vec![Arc::new(SealedSecrets::new(self.keys.clone(), settings.unseal, Arc::clone(&now)))];
        let context = Arc::new(Context {
            cluster: Cluster::new(self.client.clone()),
            settings: Arc::clone(&settings),
            metrics: Arc::clone(&self.metrics),
            events: events.clone(),
            duties: self.duties.clone(),
            keys: self.keys.clone(),
            now,
            chance: Arc::clone(&self.world.chance),
            applying_is_forbidden: AtomicBool::new(false),
        });
        let places = Arc::new(Semaphore::new(settings.workers));
        let engines: Vec<JoinHandle<()>> = sources
            .into_iter()
            .map(|source| {
                let (engine, _is_synced) = Engine::new(Arc::clone(&context), source, Arc::clone(&places));
                let signals = Signals { keys: changes(self.keys.clone()), shutdown: stopped.clone() };
                let (keys, client) = (self.keys.clone(), self.client.clone());
                tokio::spawn(start(engine, client, keys, signals))
            })
            .collect();
        shutdown.await;
        stop.send_replace(true);
        join_all(engines).await;
        // Another replica begins as soon as it hears of it.
        drop(has_ended);
        // A task that panicked has told so itself.
        let _ = replicas.await;
        keyring.abort();
        events.close();
        let _ = events_task.await;
    }
}

/// Runs an engine, but not before it is known which keys there are: what cannot be opened today could be yesterday.
async fn start(engine: Engine, client: Client, mut keys: Keys, signals: Signals) {
    let mut shutdown = signals.shutdown.clone();
    tokio::select! {
        _ = keys.wait_for(|keys| keys.generation > 0) => engine.run(client, signals).await,
        _ = shutdown.wait_for(|is_over| *is_over) => {}
    }
}

/// Tells of every change of the keys.
fn changes(keys: Keys) -> BoxStream<'static, ()> {
    stream::unfold(keys, |mut keys| async move { Some((keys.changed().await.ok()?, keys)) }).boxed()
}

/// Runs the controller until it is told to end.
///
/// # Errors
/// If it cannot start.
pub fn run(_args: Args) -> Result<(), Box<dyn Error>> {
    Err("there is no controller yet".into())
}
