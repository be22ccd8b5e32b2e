//! The controller, beside that of Sealed Secrets, on the same API server.

mod cluster;
mod process;

use std::thread;
use std::time::Duration;

use kube::core::ApiResource;
use rand_core::OsRng;
use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};
use selkie::sealed::{KeySize, SealedSecret, SealingCert, SealingKey, Secret, SmallKeys};
use selkie::secret::SecretBytes;
use serde_json::{Value as Json, json};
use time::OffsetDateTime;

use crate::Result;
use crate::bench::Bench;
use crate::manifests::{name, value};
use crate::page::{Line, Page, Plot, Unit, megabytes, seconds};
use cluster::{Cluster, NAMESPACE};
use process::{Process, Spent, Which};

pub fn measure(bench: &Bench, page: &mut Page) -> Result<()> {
    let keys = make_keys(bench)?;
    let cluster = Cluster::start()?;
    cluster.apply(
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TEAM}}).to_string().as_bytes(),
    )?;
    let scene = Scene { bench, cluster: &cluster, keys: &keys };
    scene.add_keys(0..1)?;
    let restarts = scene.new_ones(page)?;
    scene.restarts(page, restarts)
}

/// A sealing key, and its certificate.
struct Pair {
    key: SealingKey,
    cert: SealingCert,
}

/// Makes keys, each an hour older than the next; those that another part has made are used.
fn make_keys(bench: &Bench) -> Result<Vec<Pair>> {
    let make = |index: usize| -> std::result::Result<_, String> {
        let key = match bench.read(&format!("key-{index:02}.pem")) {
            Ok(pem) => SealingKey::parse(&SecretBytes::from(pem), SmallKeys::Refuse),
            Err(_) => SealingKey::generate(KeySize::Rsa4096),
        };
        let key = key.map_err(|error| error.to_string())?;
        let since = OffsetDateTime::now_utc() - time::Duration::hours((KEYS - index) as i64);
        let cert = SealingCert::generate(&key, "", since, time::Duration::days(3650), &mut OsRng);
        Ok(Pair { key, cert: cert.map_err(|error| error.to_string())? })
    };
    (0..KEYS).into_par_iter().map(make).collect::<std::result::Result<_, _>>().map_err(Into::into)
}

/// What all measurements share.
struct Scene<'a> {
    bench: &'a Bench,
    cluster: &'a Cluster,
    keys: &'a [Pair],
}

/// What both cost.
struct Both {
    ours: Spent,
    theirs: Spent,
}

impl Scene<'_> {
    /// Measures new objects, and returns what it took to start again with those that were the most.
    fn new_ones(&self, page: &mut Page) -> Result<Both> {
        let about = format!(
            "SealedSecrets with 3 values each, for a key of 4096 bits, that are in the cluster when a controller is started:\n\
             from its start until there are all Secrets and every status says so. The same API server and the same service\n\
             account for both, one after the other, and all of it on this one machine. As shipped, Selkie leaves the rate of\n\
             requests to the API server; Sealed Secrets makes 5 in a second, of which {SAMPLE} objects were measured and the\n\
             time multiplied. Without limit it has `--kubeclient-qps=-1 --kubeclient-burst=10000`."
        );
        page.section("The controller: new SealedSecrets", &about);
        page.line(HEAD);
        page.line("|---|---:|---:|---:|---:|---:|---:|---:|");
        let shipped = self.shipped()?;
        self.create(0..MANY)?;
        let theirs = self.time_new(Which::Theirs, UNLIMITED, MANY)?;
        let again = self.time_again(Which::Theirs, MANY as u64)?.0;
        self.clear()?;
        self.create(0..MANY)?;
        let ours = self.time_new(Which::Ours, OURS, MANY)?;
        let restarts = Both { ours: self.time_again(Which::Ours, MANY as u64)?.0, theirs: again };
        row(page, &format!("{MANY}, as shipped"), &Both { ours, theirs: shipped });
        row(page, &format!("{MANY}, without limit"), &Both { ours, theirs });
        self.clear()?;
        let mut count = 0;
        let (mut of_ours, mut of_theirs) = (Line::new("Selkie"), Line::new("Sealed Secrets"));
        for keys in [1, 5, KEYS] {
            self.add_keys(count.max(1)..keys)?;
            count = keys;
            let cost = |which, flags| {
                self.create(0..SOME)?;
                let spent = self.time_new(which, flags, SOME)?;
                self.clear()?;
                Ok::<_, Box<dyn std::error::Error>>(spent)
            };
            let both = Both { theirs: cost(Which::Theirs, UNLIMITED)?, ours: cost(Which::Ours, OURS)? };
            of_ours.seconds(keys, both.ours.time);
            of_theirs.seconds(keys, both.theirs.time);
            let keys =
                if keys == 1 { "1 key".to_owned() } else { format!("{keys} keys, sealed for the oldest") };
            row(page, &format!("{SOME}, {keys}"), &both);
        }
        page.plot(Plot {
            name: "controller-keys".to_owned(),
            title: format!("{SOME} new SealedSecrets, sealed for the oldest key"),
            size: "keys of the cluster".to_owned(),
            cost: Unit::Seconds,
            lines: vec![of_ours, of_theirs],
        });
        Ok(restarts)
    }

    /// Measures what it takes to start again, when nothing has changed.
    fn restarts(&self, page: &mut Page, restarts: Both) -> Result<()> {
        self.cluster.clear(&key_secrets(), NAMESPACE)?;
        self.add_keys(0..1)?;
        let mut process = Process::start(self.bench, self.cluster, Which::Ours, OURS)?;
        self.create(0..ALL)?;
        process.until(|_| self.is_done(ALL))?;
        process.end()?;
        let (ours, ours_settled) = self.time_again(Which::Ours, ALL as u64)?;
        let (theirs, theirs_settled) = self.time_again(Which::Theirs, MANY as u64)?;
        let times = u32::try_from(ALL / MANY)?;
        let theirs = Spent {
            time: theirs.time * times,
            cpu: theirs.cpu * times,
            opened: theirs.opened * u64::from(times),
            ..theirs
        };
        let about = format!(
            "A controller is started in a cluster whose SealedSecrets and Secrets are as they should be: the time until it is\n\
             ready and knows that of each of them. Sealed Secrets does not know, but opens them all again: the time until it\n\
             has; with {ALL} objects, until it has opened {MANY}, multiplied. An RSA operation is the decryption of one value."
        );
        page.section("The controller: starting again", &about);
        page.line(
            "| | Selkie | Sealed Secrets | time: Sealed Secrets / Selkie | RSA operations: Selkie | RSA operations: Sealed Secrets |",
        );
        page.line("|---|---:|---:|---:|---:|---:|");
        let all = Both { ours, theirs };
        for (count, both) in [(MANY, &restarts), (ALL, &all)] {
            let Both { ours, theirs } = both;
            let ratio = theirs.time.as_secs_f64() / ours.time.as_secs_f64();
            page.line(&format!(
                "| {count} unchanged | {} | {} | {ratio:.0} | {} | {} |",
                seconds(ours.time),
                seconds(theirs.time),
                ours.opened * VALUES,
                theirs.opened * VALUES,
            ));
        }
        let about = format!(
            "Of the same runs with {ALL} objects: the most that a process had, and what it has when it has been ready for a\n\
             while; of Sealed Secrets, while it opens them."
        );
        page.section("The controller: memory", &about);
        page.line("| | Selkie | Sealed Secrets | Sealed Secrets / Selkie |");
        page.line("|---|---:|---:|---:|");
        for (what, ours, theirs) in
            [("the most", all.ours.peak, all.theirs.peak), ("afterwards", ours_settled, theirs_settled)]
        {
            let ratio = theirs as f64 / ours as f64;
            page.line(&format!("| {what} | {} | {} | {ratio:.1} |", megabytes(ours), megabytes(theirs)));
        }
        Ok(())
    }

    /// Measures a few objects with the limit that Sealed Secrets has unless one says otherwise.
    fn shipped(&self) -> Result<Spent> {
        self.create(0..SAMPLE)?;
        let spent = self.time_new(Which::Theirs, &[], SAMPLE)?;
        self.clear()?;
        let times = MANY as f64 / SAMPLE as f64;
        Ok(Spent { time: spent.time.mul_f64(times), cpu: spent.cpu.mul_f64(times), ..spent })
    }

    /// Starts a controller, and returns what it cost until there are all Secrets.
    fn time_new(&self, which: Which, flags: &[&str], count: usize) -> Result<Spent> {
        let mut process = Process::start(self.bench, self.cluster, which, flags)?;
        let spent = process.until(|_| self.is_done(count))?;
        process.end()?;
        Ok(spent)
    }

    /// Starts a controller when there is nothing to do for it, and returns what it cost until it knows, and the memory that
    /// it has a while later.
    fn time_again(&self, which: Which, count: u64) -> Result<(Spent, u64)> {
        let flags = if which == Which::Ours { OURS } else { UNLIMITED };
        let mut process = Process::start(self.bench, self.cluster, which, flags)?;
        let spent = process.until(|process| match which {
            Which::Ours => Ok(process.is_ready() && process.metric("selkie_skipped_total") >= Some(count)),
            Which::Theirs => {
                Ok(process.metric("sealed_secrets_controller_unseal_requests_total") >= Some(count))
            }
        })?;
        thread::sleep(A_WHILE);
        let settled = process.memory("VmRSS")?;
        process.end()?;
        Ok((spent, settled))
    }

    /// Returns whether there are so many Secrets, and every status says so.
    fn is_done(&self, count: usize) -> Result<bool> {
        if self.cluster.count(&secrets(), TEAM)? < count {
            return Ok(false);
        }
        let statuses = self.cluster.statuses(&sealed_secrets(), TEAM)?;
        Ok(statuses.len() == count && statuses.iter().all(is_synced))
    }

    fn create(&self, seeds: std::ops::Range<usize>) -> Result<()> {
        let cert = &self.keys[0].cert;
        let seal = |seed| sealed(seed, cert).map_err(|error| error.to_string());
        let objects: std::result::Result<_, _> = seeds.into_par_iter().map(seal).collect();
        self.cluster.create(&sealed_secrets(), TEAM, objects?)
    }

    fn clear(&self) -> Result<()> {
        self.cluster.clear(&sealed_secrets(), TEAM)?;
        self.cluster.clear(&secrets(), TEAM)?;
        self.cluster.clear(&ApiResource::erase::<k8s_openapi::api::core::v1::Event>(&()), TEAM)
    }

    /// Lets controllers find more keys.
    fn add_keys(&self, indices: std::ops::Range<usize>) -> Result<()> {
        let secret = |index: usize| {
            let Pair { key, cert } = &self.keys[index];
            let key = String::from_utf8(key.to_pem().expose_secret().to_vec())?;
            Ok::<_, std::string::FromUtf8Error>(json!({
                "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
                "metadata": {
                    "namespace": NAMESPACE, "name": format!("sealed-secrets-key{index:02}"),
                    "labels": {"sealedsecrets.bitnami.com/sealed-secrets-key": "active"},
                },
                "stringData": {"tls.key": key, "tls.crt": cert.to_pem()},
            }))
        };
        let secrets: std::result::Result<_, _> = indices.map(secret).collect();
        self.cluster.create(&key_secrets(), NAMESPACE, secrets?)
    }
}

/// Returns a SealedSecret.
fn sealed(seed: usize, cert: &SealingCert) -> Result<Json> {
    let count = VALUES as usize;
    let values = (0..count).map(|index| (format!("KEY_{index}"), value(seed * count + index).into()));
    let secret = Secret::from_json(&json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {"name": name(seed), "namespace": TEAM},
        "stringData": values.collect::<serde_json::Map<_, _>>(),
    }))?;
    Ok(SealedSecret::seal(&secret, cert, &mut OsRng)?.to_json())
}

fn is_synced(status: &Json) -> bool {
    let conditions = status["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|condition| condition["type"] == "Synced" && condition["status"] == "True")
}

fn row(page: &mut Page, what: &str, Both { ours, theirs }: &Both) {
    let ratio = theirs.time.as_secs_f64() / ours.time.as_secs_f64();
    page.line(&format!(
        "| {what} | {} | {} | {ratio:.1} | {} | {} | {} | {} |",
        seconds(ours.time),
        seconds(theirs.time),
        seconds(ours.cpu),
        seconds(theirs.cpu),
        megabytes(ours.peak),
        megabytes(theirs.peak),
    ));
}

fn sealed_secrets() -> ApiResource {
    ApiResource {
        group: "bitnami.com".to_owned(),
        version: "v1alpha1".to_owned(),
        api_version: "bitnami.com/v1alpha1".to_owned(),
        kind: "SealedSecret".to_owned(),
        plural: "sealedsecrets".to_owned(),
    }
}

fn secrets() -> ApiResource {
    ApiResource::erase::<k8s_openapi::api::core::v1::Secret>(&())
}

/// The namespace of the controllers has no others.
fn key_secrets() -> ApiResource {
    secrets()
}

const HEAD: &str = "| | Selkie | Sealed Secrets | time: Sealed Secrets / Selkie | CPU: Selkie | CPU: Sealed Secrets | \
    memory: Selkie | memory: Sealed Secrets |";

/// As `deploy/controller.yaml` has them.
const OURS: &[&str] = &["--kubeclient-qps=-1", "--lease-name=sealed-secrets-controller", "--replicas=leader"];
const UNLIMITED: &[&str] = &["--kubeclient-qps=-1", "--kubeclient-burst=10000"];

/// The namespace of the objects.
const TEAM: &str = "team";
/// How many values a SealedSecret has.
const VALUES: u64 = 3;
/// How many keys a cluster has after some years.
const KEYS: usize = 20;
const ALL: usize = 10_000;
const MANY: usize = 1000;
const SOME: usize = 200;
/// How many objects stand for many with the limit that Sealed Secrets has.
const SAMPLE: usize = 30;
/// After how long memory is what it stays.
const A_WHILE: Duration = Duration::from_secs(5);
