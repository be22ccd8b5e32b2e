//! The parts of a controller, put together.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use kube::Client;
use tokio::sync::{Notify, Semaphore, oneshot, watch};
use tokio::task::JoinSet;

use super::cluster::Cluster;
use super::context::Context;
use super::duty::{Duties, Duty};
use super::engine::{Engine, Signals};
use super::events::Events;
use super::http::{HttpContext, Readiness};
use super::key_set::Keys;
use super::keyring::{Clock, Keyring};
use super::metrics::Metrics;
use super::observer::{KEYS, OBJECTS, Observer};
use super::replicas;
use super::sealed_secrets::SealedSecrets;
use super::settings::Settings;
use super::sops::SopsSources;
use super::source::Source;

/// What a controller finds outside of its API server.
#[derive(Clone)]
pub struct World {
    /// The time, in UTC.
    pub now: Clock,
    /// Numbers from 0 to 1, which spread what would come at the same time.
    pub chance: Arc<dyn Fn() -> f64 + Send + Sync>,
}

/// The ways to the API server. What must not wait for requests for objects, where these are limited, has its own.
pub struct Clients {
    /// For objects and Secrets.
    pub objects: Client,
    /// For keys.
    pub keys: Client,
    /// For Leases.
    pub leases: Client,
    /// For events.
    pub events: Client,
    /// For the tokens of those who call over HTTP.
    pub callers: Client,
}

impl From<Client> for Clients {
    fn from(client: Client) -> Self {
        Self {
            objects: client.clone(),
            keys: client.clone(),
            leases: client.clone(),
            events: client.clone(),
            callers: client,
        }
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
    duty: watch::Sender<Duty>,
    duties: Duties,
    readiness: Readiness,
    sops: Option<SopsSources>,
}

impl Controller {
    /// Returns a controller of the cluster behind a client, or behind several.
    #[must_use]
    pub fn new(clients: impl Into<Clients>, settings: Settings, world: World) -> Self {
        let clients = clients.into();
        let (duty, duties) = watch::channel(Duty::none());
        let now = Arc::clone(&world.now);
        let (keyring, keys) = Keyring::new(
            clients.keys.clone(),
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
            client: Some(self.clients.callers.clone()),
        }
    }

    /// Returns what to notify for a new sealing key to be made at once.
    #[must_use]
    pub fn demand(&self) -> Arc<Notify> {
        self.keyring.demand()
    }

    /// Works until `shutdown` ends. Then what is under way is finished, and the other replicas are told.
    ///
    /// # Errors
    /// If a part of it stops before.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), PartStopped> {
        let (stop, stopped) = watch::channel(false);
        let (has_ended, end) = oneshot::channel::<()>();
        let settings = Arc::clone(&self.settings);
        // All of them end with this one, however that ends.
        let (mut parts, mut engines, mut last) = (JoinSet::new(), JoinSet::new(), JoinSet::new());
        last.spawn(replicas::run(
            self.clients.leases,
            settings.namespace.clone(),
            settings.replicas.clone(),
            self.duty,
            async {
                // Who drops the other end wants an end, too.
                let _ = end.await;
            },
        ));
        parts.spawn(self.keyring.run());
        let (events, events_task) = Events::start(self.clients.events);
        let now = Arc::clone(&self.world.now);
        let sealed: Arc<dyn Source> =
            Arc::new(SealedSecrets::new(self.keys.clone(), settings.unseal, Arc::clone(&now)));
        let has_sops = self.sops.as_ref().is_some_and(|sops| !sops.sources().is_empty());
        let kinds = if has_sops { 2 } else { 1 };
        let places = || Arc::new(Semaphore::new(settings.places(kinds)));
        let mut sources = vec![(sealed, changes(self.keys.clone()), places())];
        if let Some(sops) = self.sops {
            parts.spawn(sops.follow());
            // Documents of SOPS may wait for servers, and SealedSecrets must not wait for them.
            let places = places();
            let source = |source| (source, changes(sops.changes()), Arc::clone(&places));
            sources.extend(sops.sources().into_iter().map(source));
        }
        let context = Arc::new(Context {
            cluster: Cluster::new(self.clients.objects.clone(), Arc::clone(&self.metrics)),
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
        let mut synced = Vec::new();
        for ((source, keys, places), task) in sources.into_iter().zip(TASKS) {
            let (engine, is_synced) = Engine::new(Arc::clone(&context), source, task, places);
            let signals = Signals { keys, shutdown: stopped.clone() };
            engines.spawn(start(engine, self.clients.objects.clone(), self.keys.clone(), signals));
            synced.push(is_synced);
        }
        parts.spawn(
            Observer {
                metrics: self.metrics,
                readiness: self.readiness,
                keys: self.keys,
                duties: self.duties,
                synced,
                events,
            }
            .run(),
        );
        let result = tokio::select! {
            () = shutdown => Ok(()),
            _ = parts.join_next() => Err(PartStopped),
            _ = engines.join_next() => Err(PartStopped),
            _ = last.join_next() => Err(PartStopped),
        };
        stop.send_replace(true);
        while engines.join_next().await.is_some() {}
        // Another replica begins as soon as it hears of it.
        drop(has_ended);
        context.events.close();
        let leases = async { while last.join_next().await.is_some() {} };
        // One that panicked has told so itself.
        let _ = tokio::join!(leases, events_task);
        result
    }
}

/// A part of the controller stopped although nobody told it to: a mistake of the program, told where it happened.
#[derive(Debug, thiserror::Error)]
#[error("a part of the controller stopped")]
pub struct PartStopped;

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
fn changes<T: Send + Sync + 'static>(keys: watch::Receiver<T>) -> BoxStream<'static, ()> {
    stream::unfold(keys, |mut keys| async move { Some((keys.changed().await.ok()?, keys)) }).fuse().boxed()
}

/// What probes know the engines as.
const TASKS: [&str; 3] = ["first engine", "second engine", "third engine"];
