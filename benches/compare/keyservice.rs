//! Many files whose key is with a slow key service, beside sops.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use selkie::keys::age::{AgeService, Identities};
use selkie::keys::{Effort, KeyFuture, KeyService, MasterKey, Remote};
use selkie::keyservice::{KeyServer, Listener, Open};
use selkie::secret::SecretBytes;

use crate::Result;
use crate::bench::{Bench, Cost, one_by_one};
use crate::manifests::manifest;
use crate::page::{Page, seconds};

pub fn measure(bench: &Bench, page: &mut Page) -> Result<()> {
    let calls = Arc::new(AtomicUsize::new(0));
    let address = serve(Arc::clone(&calls))?;
    bench.write(".sops.yaml", format!("creation_rules:\n  - age: {RECIPIENT}\n"))?;
    let about = format!(
        "{FILES} files of 8 values, whose key is with a key service that takes {} ms for each answer. Selkie takes the\n\
         folder in one call; sops is started once for each file, of which {SAMPLE} were measured and the time multiplied.\n\
         Calls are what the service was asked for.",
        LATENCY.as_millis()
    );
    page.section("Many files and a slow key service", &about);
    page.line("| | Selkie | sops | time: sops / Selkie | calls: Selkie | calls: sops |");
    page.line("|---|---:|---:|---:|---:|---:|");
    let given = ["--enable-local-keyservice=false", "--keyservice", &address];
    let names =
        |folder: &str, count| (0..count).map(|index| format!("{folder}/{index:04}.yaml")).collect::<Vec<_>>();
    for (index, name) in names("ours", FILES).iter().chain(&names("theirs", SAMPLE)).enumerate() {
        bench.write(name, manifest(index, 8))?;
    }
    let counted = |run: &dyn Fn() -> Result<Cost>| {
        let before = calls.load(Ordering::SeqCst);
        run().map(|cost| (cost, calls.load(Ordering::SeqCst) - before))
    };
    let mut row = |what: &str, ours: &[&str], theirs: &[&str]| -> Result<()> {
        let (ours, ours_calls) = counted(&|| bench.run(&bench.ours, &[ours, &given, &["ours"]].concat()))?;
        let (theirs, theirs_calls) = counted(&|| {
            one_by_one(&names("theirs", SAMPLE), |name| {
                bench.run(&bench.sops, &[theirs, &given, &[name]].concat())
            })
        })?;
        let times = FILES / SAMPLE;
        let theirs = theirs.time * u32::try_from(times)?;
        let ratio = theirs.as_secs_f64() / ours.time.as_secs_f64();
        page.line(&format!(
            "| {what} | {} | {} | {ratio:.0} | {ours_calls} | {} |",
            seconds(ours.time),
            seconds(theirs),
            theirs_calls * times
        ));
        Ok(())
    };
    row("encrypt", &["encrypt", "-i"], &["encrypt", "-i"])?;
    row("rotate", &["rotate"], &["rotate", "-i"])?;
    row("show", &["view"], &["decrypt"])?;
    row("decrypt", &["decrypt", "-i"], &["decrypt", "-i"])?;
    // Copies hold the same wrapped key.
    bench.write("copy.yaml", manifest(0, 8))?;
    bench.run(&bench.ours, &[&["encrypt", "-i"], &given[..], &["copy.yaml"]].concat())?;
    let copy = bench.read("copy.yaml")?;
    names("ours", FILES)
        .iter()
        .chain(&names("theirs", SAMPLE))
        .try_for_each(|name| bench.write(name, &copy))?;
    row("decrypt copies of one file", &["decrypt", "-i"], &["decrypt", "-i"])
}

/// Serves until the process ends; returns the address.
fn serve(calls: Arc<AtomicUsize>) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = format!("tcp://{}", listener.local_addr()?);
    let identities = Identities::parse("keys.txt", &SecretBytes::from(IDENTITY))?;
    let slow = Slow { service: AgeService::new(identities), calls };
    let server = KeyServer::new(vec![Box::new(slow)], Open);
    thread::spawn(move || {
        let remote = Remote::default();
        let served = server.serve(Listener::Tcp(listener), std::future::pending());
        remote.runtime().map(|runtime| runtime.block_on(served))
    });
    Ok(address)
}

/// Uses keys of age, each time after a while.
struct Slow {
    service: AgeService,
    calls: Arc<AtomicUsize>,
}

impl Slow {
    fn wait(&self) {
        self.calls.fetch_add(1, Ordering::SeqCst);
        thread::sleep(LATENCY);
    }
}

impl KeyService for Slow {
    fn name(&self) -> String {
        "slow".to_owned()
    }

    fn effort(&self, _: &MasterKey) -> Effort {
        Effort::Remote
    }

    fn wrap<'a>(&'a self, key: &'a MasterKey, secret: &'a SecretBytes) -> KeyFuture<'a, String> {
        self.wait();
        self.service.wrap(key, secret)
    }

    fn unwrap<'a>(&'a self, key: &'a MasterKey) -> KeyFuture<'a, SecretBytes> {
        self.wait();
        self.service.unwrap(key)
    }
}

const LATENCY: Duration = Duration::from_millis(20);
const FILES: usize = 1000;
const SAMPLE: usize = 40;

const RECIPIENT: &str = "age17jf3fza89glmnzdh57m462m3uvwmmjlhrlaa8wejg63g77x0qsnstk4un8";

/// Made for tests and used nowhere else.
const IDENTITY: &str = include_str!("../../testdata/sops/keys.txt");
