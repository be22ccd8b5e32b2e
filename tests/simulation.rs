//! The controller in simulated clusters: users, faults and kills by chance, and time that passes as fast as it can.
//!
//! Every schedule is drawn from a seed. The order of tasks in the runtime and of maps in the controller is not: a seed
//! that failed once may have to be run a few times to fail again. `SELKIE_SEED` runs one seed alone, `SELKIE_LONG` says
//! how many times as many seeds are run.

mod cases;
mod model;
mod pool;
mod replica;
mod users;

use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use tokio::time::{Instant, sleep};

use crate::api_server::{ApiServer, Faults};
use model::{check_history, check_state, told};
use pool::{NAMESPACES, POOL};
use replica::{Replica, Setup};

/// Returns the trials.
pub fn tests() -> Vec<Trial> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let scale = number("SELKIE_LONG").unwrap_or(1).max(1);
    let only = number("SELKIE_SEED");
    let schedules = (0..GROUPS).map(move |group| {
        let seeds = move || match only {
            Some(seed) => seed..seed + u64::from(group == 0),
            None => group * SEEDS * scale..(group + 1) * SEEDS * scale,
        };
        Trial::test(format!("simulation::schedules::{group}"), move || seeds().try_for_each(schedule))
    });
    schedules.chain(cases::tests()).collect()
}

/// Runs a schedule.
fn schedule(seed: u64) -> Result<(), Failed> {
    in_paused_time(async {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let server = cluster(seed);
        let replicas = start(&server, &mut rng);
        server.faults(|faults| {
            faults.rate = rng.gen_range(0.0..0.3);
            faults.latency = Duration::from_millis(rng.gen_range(1..200));
            faults.lag = Duration::from_millis(rng.gen_range(0..3000));
            faults.watch_life = rng.gen_bool(0.5).then(|| Duration::from_secs(rng.gen_range(1..200)));
        });
        for _ in 0..rng.gen_range(10..40) {
            users::act(&server, &replicas, &mut rng);
            sleep(users::pause(&mut rng)).await;
        }
        server.faults(Faults::end);
        let result = settle(&server).await;
        replicas.iter().for_each(Replica::end);
        result.and_then(|()| check_history(&server.history())).map_err(|problem| {
            let writes = server.history();
            let last =
                writes.iter().filter(|write| write.key.plural != "leases" && write.key.plural != "events");
            let last: Vec<String> = last.map(told).collect();
            let lines = last[last.len().saturating_sub(40)..].join("\n");
            format!("SELKIE_SEED={seed}: {problem}\n{lines}")
        })
    })
}

/// Returns a cluster with the namespaces of users and the first key.
fn cluster(seed: u64) -> ApiServer {
    let server = ApiServer::new(seed);
    NAMESPACES.iter().for_each(|namespace| server.make_namespace(namespace));
    server.create(POOL.key(0)).expect("a key Secret can be made");
    server
}

/// Starts one or two replicas, of whatever sort.
fn start(server: &ApiServer, rng: &mut ChaCha8Rng) -> Vec<Replica> {
    let flag = ["single", "leader", "leader", "sharded"][rng.gen_range(0..4)];
    let count = if flag == "single" { 1 } else { 2 };
    let one = |index: u64| {
        let skew = rng.gen_range(-7200..7200);
        let flags = vec![format!("--replicas={flag}")];
        let setup = Setup { name: format!("replica-{index}"), skew, flags, seed: rng.r#gen() };
        Replica::start(server, setup, |_| {})
    };
    (0..count).map(one).collect()
}

/// Waits until all is as it should be, and for as long as it may take at most.
async fn settle(server: &ApiServer) -> Result<(), String> {
    let start = Instant::now();
    loop {
        sleep(STEP).await;
        server.collect_garbage();
        match check_state(server) {
            Ok(()) => return Ok(()),
            Err(problem) if start.elapsed() > BOUND => return Err(problem),
            Err(_) => {}
        }
    }
}

/// Runs something in a runtime of its own, whose time passes as fast as it can.
fn in_paused_time(test: impl Future<Output = Result<(), String>>) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    let result = runtime.block_on(test);
    runtime.shutdown_background();
    result.map_err(Failed::from)
}

/// In how many trials the schedules are run.
const GROUPS: u64 = 10;
/// How many schedules there are in one, at least.
const SEEDS: u64 = 100;
/// How often it is looked whether all is as it should be.
const STEP: Duration = Duration::from_secs(15);
/// How long it may take until all is as it should be, after nothing goes wrong any more: the longest wait between two
/// attempts, and that of a watch.
const BOUND: Duration = Duration::from_secs(900);
