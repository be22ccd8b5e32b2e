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
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::{self, BoxStream};
use kube::Client;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, Semaphore, oneshot, watch as channel};
use tokio::time::timeout;

pub use args::{Args, EnvironmentError, Surroundings, with_environment};
use cluster::Cluster;
use context::Context;
use duty::{Duties, Duty, Share};
use engine::{Engine, Signals};
use events::Events;
use http::{HttpContext, HttpServer, Readiness};
use key_set::Keys;
use keyring::Keyring;
use metrics::Metrics;
use sealed_secrets::{Now, SealedSecrets};
use settings::{ClientSettings, Settings};
use sops::SopsSources;
use source::Source;
use telemetry::{Telemetry, TraceSettings};

/// What a controller finds outside of its API server.
#[derive(Clone)]
pub struct World {
    /// The time, in UTC.
    pub now: Now,
    /// Numbers from 0 to 1, which spread what would come at the same time.
    pub chance: Arc<dyn Fn() -> f64 + Send + Sync>,
}

/// The ways to the API server. Leases and events have their own, so that they do not wait for requests for objects where
/// these are limited.
pub struct Clients {
    /// For objects, Secrets and keys.
    pub objects: Client,
    /// For Leases.
    pub leases: Client,
    /// For events.
    pub events: Client,
}

impl From<Client> for Clients {
    fn from(client: Client) -> Self {
        Self { objects: client.clone(), leases: client.clone(), events: client }
    }
}

/// A controller of a cluster.
pub struct Controller {
    clients: Clients,
    settings: Arc<Settings>,
    world: World,
    metrics: Arc<Metrics>,
    keyring: Keyring,
    keys: Keys,
    duty: channel::Sender<Duty>,
    duties: Duties,
    readiness: Readiness,
    sops: Option<SopsSources>,
}

impl Controller {
    /// Returns a controller of the cluster behind a client, or behind several.
    #[must_use]
    pub fn new(clients: impl Into<Clients>, settings: Settings, world: World) -> Self {
        let clients = clients.into();
        let (duty, duties) = channel::channel(Duty::none());
        let now = Arc::clone(&world.now);
        let (keyring, keys) = Keyring::new(
            clients.objects.clone(),
            &settings.namespace,
            settings.keys.clone(),
            duties.clone(),
            now,
        );
        let metrics = Arc::new(Metrics::with_objects(settings.http.object_metrics));
        let readiness = Readiness::new(&[KEYS, OBJECTS]);
        let settings = Arc::new(settings);
        Self { clients, settings, world, metrics, keyring, keys, duty, duties, readiness, sops: None }
    }

    /// Makes it reconcile resources of SOPS, too.
    #[must_use]
    pub fn with_sops(mut self, sops: SopsSources) -> Self {
        self.sops = Some(sops);
        self
    }

    /// Returns what requests over HTTP are answered with.
    #[must_use]
    pub fn http(&self) -> HttpContext {
        HttpContext {
            settings: self.settings.http,
            unseal: self.settings.unseal,
            keys: self.keys.clone(),
            metrics: Arc::clone(&self.metrics),
            readiness: self.readiness.clone(),
            client: Some(self.clients.objects.clone()),
        }
    }

    /// Returns what to notify for a new sealing key to be made at once.
    #[must_use]
    pub fn demand(&self) -> Arc<Notify> {
        self.keyring.demand()
    }

    /// Works until `shutdown` ends. Then what is under way is finished, and the other replicas are told.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let (stop, stopped) = channel::channel(false);
        let client = self.clients.objects;
        let (has_ended, end) = oneshot::channel::<()>();
        let settings = Arc::clone(&self.settings);
        let replicas = tokio::spawn(replicas::run(
            self.clients.leases,
            settings.namespace.clone(),
            settings.replicas.clone(),
            self.duty,
            async {
                // Who drops the other end wants an end, too.
                let _ = end.await;
            },
        ));
        let keyring = tokio::spawn(self.keyring.run());
        let (events, events_task) = Events::start(self.clients.events);
        let now = Arc::clone(&self.world.now);
        let sealed: Arc<dyn Source> =
            Arc::new(SealedSecrets::new(self.keys.clone(), settings.unseal, Arc::clone(&now)));
        let mut sources = vec![(sealed, changes(self.keys.clone()))];
        let mut followed = None;
        if let Some(sops) = self.sops {
            followed = Some(tokio::spawn(sops.follow()));
            sources.extend(sops.sources().into_iter().map(|source| (source, changes(sops.changes()))));
        }
        let context = Arc::new(Context {
            cluster: Cluster::new(client.clone(), Arc::clone(&self.metrics)),
            settings: Arc::clone(&settings),
            metrics: Arc::clone(&self.metrics),
            events: events.clone(),
            duties: self.duties.clone(),
            keys: self.keys.clone(),
            now,
            chance: Arc::clone(&self.world.chance),
            applying_is_forbidden: AtomicBool::new(false),
            readiness: self.readiness.clone(),
        });
        let places = Arc::new(Semaphore::new(settings.workers));
        let (mut engines, mut synced) = (Vec::new(), Vec::new());
        for ((source, keys), task) in sources.into_iter().zip(TASKS) {
            let (engine, is_synced) = Engine::new(Arc::clone(&context), source, task, Arc::clone(&places));
            let signals = Signals { keys, shutdown: stopped.clone() };
            engines.push(tokio::spawn(start(engine, client.clone(), self.keys.clone(), signals)));
            synced.push(is_synced);
        }
        let observer = Observer {
            metrics: self.metrics,
            readiness: self.readiness,
            keys: self.keys,
            duties: self.duties,
            synced,
            events,
        };
        let observer = tokio::spawn(observer.run());
        shutdown.await;
        stop.send_replace(true);
        join_all(engines).await;
        // Another replica begins as soon as it hears of it.
        drop(has_ended);
        // A task that panicked has told so itself.
        let _ = replicas.await;
        keyring.abort();
        observer.abort();
        if let Some(followed) = followed {
            followed.abort();
        }
        context.events.close();
        let _ = events_task.await;
    }
}

/// Runs an engine, but not before it is known which keys there are: what cannot be opened today could be yesterday.
async fn start(engine: Engine, client: Client, mut keys: Keys, signals: Signals) {
    let mut shutdown = signals.shutdown.clone();
    let is_over = async move { shutdown.wait_for(|is_over| *is_over).await.is_ok() };
    let is_known = async move { keys.wait_for(|keys| keys.generation > 0).await.is_ok() };
    tokio::select! {
        _ = is_over => return,
        _ = is_known => {}
    }
    engine.run(client, signals).await;
}

/// Tells of every change of the keys.
fn changes<T: Send + Sync + 'static>(keys: channel::Receiver<T>) -> BoxStream<'static, ()> {
    stream::unfold(keys, |mut keys| async move { Some((keys.changed().await.ok()?, keys)) }).boxed()
}

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
    crate::runtime::new()?.block_on(async {
        let environment = |name: &str| std::env::var(name).ok();
        let traces = if args.has_traces() { TraceSettings::of(environment)? } else { None };
        let telemetry = Telemetry::start(&args.log(), traces.as_ref())?;
        let result = serve(&args, settings).await;
        telemetry.finish().await;
        result
    })
}

/// Serves HTTP and reconciles, until a signal says to end.
async fn serve(args: &Args, settings: Settings) -> Result<(), Box<dyn Error>> {
    let (kubeconfig, limit) = (args.kubeconfig(), settings.client);
    let clients = Clients {
        objects: client::connect(&limit, kubeconfig).await?,
        // There are few of them, and the other replicas go by when they come.
        leases: client::connect(&ClientSettings { qps: None, ..limit }, kubeconfig).await?,
        events: client::connect(&limit, kubeconfig).await?,
    };
    let world = World { now: Arc::new(time::OffsetDateTime::now_utc), chance: Arc::new(chance) };
    let server = HttpServer::bind(&settings.http).await?;
    let sops = SopsSources::new(&settings.sops, clients.objects.clone())?;
    let controller = Controller::new(clients, settings, world).with_sops(sops);
    let (mut end, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut make_key = signal(SignalKind::user_defined1())?;
    let (http, demand) = (controller.http(), controller.demand());
    let demanded = tokio::spawn(async move {
        while make_key.recv().await.is_some() {
            demand.notify_one();
        }
    });
    let (has_ended, end_of_work) = oneshot::channel::<()>();
    // Callers are answered until the work has ended.
    let http = tokio::spawn(server.run(http, async {
        // Who drops the other end wants an end, too.
        let _ = end_of_work.await;
    }));
    controller
        .run(async {
            tokio::select! {
                _ = end.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("ending: what is under way is finished");
        })
        .await;
    drop(has_ended);
    demanded.abort();
    http.await?;
    Ok(())
}

/// Tells metrics and probes what changes.
struct Observer {
    metrics: Arc<Metrics>,
    readiness: Readiness,
    keys: Keys,
    duties: Duties,
    synced: Vec<channel::Receiver<bool>>,
    events: Events,
}

impl Observer {
    async fn run(mut self) {
        let mut dropped = 0;
        loop {
            {
                let keys = self.keys.borrow_and_update();
                self.metrics.keys(&keys);
                self.readiness.set(KEYS, keys.certificate.is_some());
            }
            {
                let duty = self.duties.borrow_and_update();
                self.metrics.leader(duty.is_leader && duty.is_current());
                self.metrics.members(match &duty.share {
                    Share::Of { members, .. } => members.len(),
                    Share::All => 1,
                    Share::Nothing => 0,
                });
            }
            self.readiness.set(OBJECTS, self.synced.iter().all(|synced| *synced.borrow()));
            while dropped < self.events.dropped() {
                dropped += 1;
                self.metrics.event_dropped();
            }
            let unsynced = self.synced.iter_mut().find(|synced| !*synced.borrow());
            let is_synced = async {
                let is_told = match unsynced {
                    Some(synced) => synced.changed().await.is_ok(),
                    None => false,
                };
                if !is_told {
                    // All are synced, or one that has ended never will be.
                    std::future::pending::<()>().await;
                }
            };
            // What is waited for is either told, or not so urgent.
            let changed = async {
                tokio::select! {
                    changed = self.keys.changed() => changed,
                    changed = self.duties.changed() => changed,
                    () = is_synced => Ok(()),
                }
            };
            if matches!(timeout(LOOK, changed).await, Ok(Err(_))) {
                return;
            }
        }
    }
}

/// Returns a number from 0 to 1.
fn chance() -> f64 {
    let number = rand_core::RngCore::next_u32(&mut rand_core::OsRng);
    f64::from(number) / f64::from(u32::MAX)
}

/// What probes know the engines as.
const TASKS: [&str; 3] = ["first engine", "second engine", "third engine"];
/// The condition that there is a key to seal for.
const KEYS: &str = "keys";
/// The condition that all objects are known.
const OBJECTS: &str = "objects";
/// How often to look what nobody tells.
const LOOK: Duration = Duration::from_secs(1);
