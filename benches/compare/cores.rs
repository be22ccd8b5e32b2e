//! Items per second of the library on all cores, beside the bare RSA of aws-lc-rs on as many threads.

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{
    KeySize, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PrivateDecryptingKey,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand_core::OsRng;
use selkie::sealed::{Key, KeyRegistry, SealingCert, SealingKey, SmallKeys};
use selkie::secret::SecretBytes;

use crate::Result;
use crate::bench::Bench;
use crate::manifests::value;
use crate::page::Page;

pub fn measure(_: &Bench, page: &mut Page) -> Result<()> {
    let about = "Items per second of the library, opened with `KeyRegistry::open` and sealed with\n\
                 `SealingCert::seal_labelled`, beside the RSA-OAEP of aws-lc-rs alone: the same key of 4096 bits, on all\n\
                 cores, in turns.";
    page.section("All cores", about);
    page.line("| | Selkie | aws-lc-rs | Selkie / aws-lc-rs |");
    page.line("|---|---:|---:|---:|");
    let pair = Pair::new()?;
    let item = pair.cert.seal_labelled(&value(1).into(), LABEL, &mut OsRng)?;
    let wrapped = STANDARD.decode(&item)?[2..2 + pair.private.key_size_bytes()].to_vec();
    let (open, decrypt) = in_turns(
        || drop(black_box(pair.keys.open(&item, LABEL).expect("it was sealed for the key"))),
        || pair.decrypt(&wrapped),
    );
    row(page, "open", open, decrypt);
    let value = SecretBytes::from(value(1));
    let (seal, encrypt) = in_turns(
        || drop(black_box(pair.cert.seal_labelled(&value, LABEL, &mut OsRng).expect("the key is large"))),
        || pair.encrypt(),
    );
    row(page, "seal", seal, encrypt);
    Ok(())
}

/// The same key, for us and for aws-lc-rs.
struct Pair {
    keys: KeyRegistry,
    cert: SealingCert,
    private: OaepPrivateDecryptingKey,
    public: OaepPublicEncryptingKey,
}

impl Pair {
    fn new() -> Result<Self> {
        let private = PrivateDecryptingKey::generate(KeySize::Rsa4096)?;
        let der = STANDARD.encode(private.as_der()?.as_ref());
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n");
        let key = Key::new(SealingKey::parse(&pem.into(), SmallKeys::Refuse)?, "made here");
        let cert = SealingCert::of_key(&key);
        let mut keys = KeyRegistry::new();
        keys.add(key);
        let public = OaepPublicEncryptingKey::new(private.public_key())?;
        Ok(Self { keys, cert, private: OaepPrivateDecryptingKey::new(private)?, public })
    }

    fn decrypt(&self, wrapped: &[u8]) {
        let mut out = vec![0; self.private.min_output_size()];
        let label = Some(LABEL.as_bytes());
        let session = self.private.decrypt(&OAEP_SHA256_MGF1SHA256, wrapped, &mut out, label);
        black_box(session.expect("it was encrypted to the key"));
    }

    fn encrypt(&self) {
        let mut out = vec![0; self.public.ciphertext_size()];
        let label = Some(LABEL.as_bytes());
        let wrapped = self.public.encrypt(&OAEP_SHA256_MGF1SHA256, &[7; 32], &mut out, label);
        black_box(wrapped.expect("the key is large"));
    }
}

/// Returns how often two things can be done in a second on all cores. They take turns, so that what else the machine
/// does hits them alike.
fn in_turns(ours: impl Fn() + Sync, theirs: impl Fn() + Sync) -> (f64, f64) {
    let (mut of_ours, mut of_theirs) = (0.0, 0.0);
    for _ in 0..TURNS {
        of_ours += per_second(&ours);
        of_theirs += per_second(&theirs);
    }
    (of_ours / f64::from(TURNS), of_theirs / f64::from(TURNS))
}

fn per_second(job: &(impl Fn() + Sync)) -> f64 {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let start = || {
            scope.spawn(|| {
                let (start, mut count) = (Instant::now(), 0.0);
                while start.elapsed() < TURN {
                    job();
                    count += 1.0;
                }
                count / start.elapsed().as_secs_f64()
            })
        };
        let threads: Vec<_> = (0..threads).map(|_| start()).collect();
        threads.into_iter().map(|thread| thread.join().expect("jobs do not panic")).sum()
    })
}

fn row(page: &mut Page, what: &str, ours: f64, theirs: f64) {
    page.line(&format!("| {what} | {ours:.0} | {theirs:.0} | {:.0} % |", ours / theirs * 100.0));
}

const LABEL: &str = "team-1/app-1";
const TURN: Duration = Duration::from_millis(250);
const TURNS: u32 = 24;
