//! Replicas of the controller: processes that are killed and come back.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Parser;
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use selkie_decryptor::controller::settings::Settings;
use selkie_decryptor::controller::{Args, Controller, Surroundings, World};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::pool::OWN;
use crate::api_server::{Actor, ApiServer};

/// The place of a replica: when the process in it dies, another one is started.
pub struct Replica {
    actor: Arc<Mutex<Arc<Actor>>>,
    task: JoinHandle<()>,
}

/// How a replica is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What its name begins with.
    pub name: String,
    /// How many seconds its clock is ahead.
    pub skew: i64,
    /// Flags, besides those that all have.
    pub flags: Vec<String>,
    /// What makes its chance.
    pub seed: u64,
}

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    args: Args,
}

impl Replica {
    /// Starts a replica, whose first process is prepared by `prepare`.
    pub fn start(server: &ApiServer, setup: Setup, prepare: impl FnOnce(&Actor)) -> Self {
        let first = Actor::new(&format!("{}-0", setup.name));
        prepare(&first);
        let actor = Arc::new(Mutex::new(Arc::clone(&first)));
        let task = tokio::spawn(supervise(server.clone(), setup, Arc::clone(&actor), first));
        Self { actor, task }
    }

    /// Returns the process of now.
    pub fn actor(&self) -> Arc<Actor> {
        Arc::clone(&self.actor.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ends it for good.
    pub fn end(&self) {
        self.actor().kill();
        self.task.abort();
    }
}

/// Returns what a replica of this name was told.
pub fn settings(name: &str, flags: &[String]) -> Settings {
    let common = ["controller", "--key-renew-period=0", "--workers=4"].map(str::to_owned);
    let flags = Flags::try_parse_from(common.into_iter().chain(flags.iter().cloned()));
    let surroundings = Surroundings {
        pod_namespace: Some(OWN.to_owned()),
        pod_name: Some(name.to_owned()),
        cores: 1,
        ..Surroundings::default()
    };
    flags.expect("these are flags").args.settings(&surroundings).expect("the flags fit each other")
}

/// Runs one process after the other.
async fn supervise(server: ApiServer, setup: Setup, place: Arc<Mutex<Arc<Actor>>>, first: Arc<Actor>) {
    let mut rng = ChaCha8Rng::seed_from_u64(setup.seed);
    let mut actor = first;
    for number in 1.. {
        let (clock, skew) = (server.clone(), time::Duration::seconds(setup.skew));
        let chance = Mutex::new(ChaCha8Rng::seed_from_u64(rng.r#gen()));
        let world = World {
            now: Arc::new(move || clock.now() + skew),
            chance: Arc::new(move || chance.lock().unwrap_or_else(PoisonError::into_inner).r#gen()),
        };
        let settings = settings(actor.name(), &setup.flags);
        let controller = Controller::new(server.client(&actor), settings, world);
        tokio::select! {
            result = controller.run(std::future::pending()) => result.expect("no part of it stops"),
            () = actor.died() => {}
        }
        sleep(Duration::from_millis(rng.gen_range(10..30_000))).await;
        actor = Actor::new(&format!("{}-{number}", setup.name));
        *place.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&actor);
    }
}
