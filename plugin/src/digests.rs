//! Digests of values that were sealed on this machine, so that a value that did not change keeps its ciphertext
//! where no private key is at hand.
//!
//! One file of the user's cache holds a random key and digests under it. It is for its owner alone, and of
//! bounded size. Nothing depends on it: what cannot be read of it is as if it were not there.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rand::RngCore;
use rand::rngs::OsRng;
use selkie::sealed::{Digest, DigestKey, SealedValue};
use selkie::secret::SecretBytes;
use zeroize::Zeroizing;

use crate::context::Context;
use crate::files::{self, Audience, Expected};
use crate::session::Session;
use crate::turn::Turn;

/// The digests that are known.
pub struct Digests {
    /// Where they are kept; none if they are not to be.
    path: Option<PathBuf>,
    key: DigestKey,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// By their first bytes.
    by_start: HashMap<[u8; 8], Vec<Digest>>,
    /// What was sealed in this run, the oldest first.
    new: Vec<Digest>,
}

impl Digests {
    /// Reads the digests of the user, unless they are not wanted.
    pub fn open(context: &Context<'_>, wanted: bool) -> Self {
        let path = if wanted { path(context.session) } else { None };
        let (key, digests) = match path.as_deref().and_then(read) {
            Some((key, digests)) => (key, digests),
            None => {
                let mut key = Zeroizing::new([0; 32]);
                OsRng.fill_bytes(&mut *key);
                (DigestKey::new(&key), Vec::new())
            }
        };
        let mut known = Known::default();
        for digest in digests {
            known.add(digest);
        }
        Self { path, key, known: Mutex::new(known) }
    }

    /// Returns whether a value is known to be the one that an item was made of.
    pub fn knows(&self, sealed: &SealedValue<'_>) -> bool {
        let digest = self.key.digest(sealed);
        self.known().by_start.get(&start(&digest)).is_some_and(|digests| digests.contains(&digest))
    }

    /// Remembers what an item was made of.
    pub fn record(&self, sealed: &SealedValue<'_>) {
        if self.path.is_none() {
            return;
        }
        let digest = self.key.digest(sealed);
        let mut known = self.known();
        if known.add(digest) {
            known.new.push(digest);
        }
    }

    /// Writes down what was remembered. Without it, the next run seals values anew.
    pub fn keep(&self, context: &Context<'_>) {
        let Some(path) = &self.path else { return };
        let new = std::mem::take(&mut self.known().new);
        if new.is_empty() {
            return;
        }
        if let Err(error) = self.write(path, &new) {
            context.report.detail(format!("what was sealed is not remembered: {error}"));
        }
    }

    fn write(&self, path: &Path, new: &[Digest]) -> std::io::Result<()> {
        fs::create_dir_all(path.parent().unwrap_or(path))?;
        let _turn = Turn::wait_for(path, &|_| ());
        // What another run added meanwhile stays, unless that made a key of its own.
        let there = read(path).filter(|(key, _)| key.is_same(&self.key));
        let all: Vec<_> =
            there.map(|(_, digests)| digests).into_iter().flatten().chain(new.iter().copied()).collect();
        let mut text = SecretBytes::with_capacity(HEAD.len() + 32 + MOST.min(all.len()) * Digest::LENGTH);
        text.extend_from_slice(HEAD);
        text.extend_from_slice(self.key.expose_secret());
        for digest in &all[all.len().saturating_sub(MOST)..] {
            text.extend_from_slice(digest.as_bytes());
        }
        files::write_expecting(path, text.expose_secret(), Audience::Owner, Expected::Anything)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Adds a digest. Returns whether it is new.
    fn add(&mut self, digest: Digest) -> bool {
        let same = self.by_start.entry(start(&digest)).or_default();
        let is_new = !same.contains(&digest);
        if is_new {
            same.push(digest);
        }
        is_new
    }
}

fn start(digest: &Digest) -> [u8; 8] {
    let (start, _) = digest.as_bytes().split_first_chunk().expect("a digest is longer");
    *start
}

/// Returns where the digests of the user are; none without a home.
fn path(session: &Session) -> Option<PathBuf> {
    let environment = &session.environment;
    let cache = environment.get("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = cache.or_else(|| Some(PathBuf::from(environment.get("HOME")?).join(".cache")))?;
    Some(session.absolute(&cache.join("kubectl-seal/digests")))
}

/// Reads a file of digests, if it is one, and its owner's alone. What a broken end leaves is passed over.
fn read(path: &Path) -> Option<(DigestKey, Vec<Digest>)> {
    if is_open_to_others(path) {
        // Whoever read it could try guesses of values that are to come.
        fs::remove_file(path).ok()?;
        return None;
    }
    let text = files::read(path).ok()?;
    let rest = text.expose_secret().strip_prefix(HEAD)?;
    let (key, digests) = rest.split_first_chunk()?;
    let digests = digests.chunks_exact(Digest::LENGTH).filter_map(|bytes| bytes.try_into().ok());
    Some((DigestKey::new(key), digests.map(Digest::from_bytes).take(MOST).collect()))
}

#[cfg(unix)]
fn is_open_to_others(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o077 != 0)
}

#[cfg(not(unix))]
fn is_open_to_others(_: &Path) -> bool {
    false
}

const HEAD: &[u8] = b"kubectl-seal digests 1\n";

/// How many digests are kept: 2 MiB of them. The oldest go.
const MOST: usize = 1 << 16;

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::cli::Options;
    use crate::session::{Environment, Input, Output};

    fn session(home: &Path) -> Session {
        Session {
            environment: [("HOME", home.display().to_string())].into_iter().collect::<Environment>(),
            directory: home.to_owned(),
            stdin: Input::new(std::io::empty(), false),
            stdout: Output::new(std::io::sink(), false),
            stderr: Output::new(std::io::sink(), false),
            clock: || time::OffsetDateTime::UNIX_EPOCH,
            audit: "/nonexistent".into(),
        }
    }

    const SEALED: SealedValue<'_> =
        SealedValue { label: "ns/n", key: "k", value: b"value", item: "AgB", fingerprint: "SHA256:x" };

    fn in_home(test: impl Fn(&Context<'_>, &Path)) {
        let home = tempfile::tempdir().expect("a folder");
        let (session, options) = (session(home.path()), Options::default());
        test(&Context::new(&session, &options), &home.path().join(".cache/kubectl-seal/digests"));
    }

    fn remember(context: &Context<'_>, sealed: &SealedValue<'_>) {
        let digests = Digests::open(context, true);
        digests.record(sealed);
        digests.keep(context);
    }

    #[test]
    fn what_was_sealed_is_known_to_the_next_run_and_to_nobody_else() {
        in_home(|context, path| {
            remember(context, &SEALED);
            remember(context, &SealedValue { key: "l", ..SEALED });
            let digests = Digests::open(context, true);
            assert!(digests.knows(&SEALED) && digests.knows(&SealedValue { key: "l", ..SEALED }));
            assert!(!digests.knows(&SealedValue { value: b"other", ..SEALED }));
            assert!(!Digests::open(context, false).knows(&SEALED));
            let text = fs::read(path).expect("there is a file");
            assert_eq!(text.len(), HEAD.len() + 32 + 2 * 32);
            assert_eq!(fs::metadata(path).expect("it is there").permissions().mode() & 0o777, 0o600);
        });
    }

    #[test]
    fn a_broken_file_is_as_if_it_were_not_there() {
        in_home(|context, path| {
            remember(context, &SEALED);
            let text = fs::read(path).expect("there is a file");
            fs::write(path, [&text[..], b"torn"].concat()).expect("written");
            assert!(Digests::open(context, true).knows(&SEALED));
            fs::write(path, &text[..40]).expect("written");
            assert!(!Digests::open(context, true).knows(&SEALED));
            remember(context, &SEALED);
            assert!(Digests::open(context, true).knows(&SEALED));
        });
    }

    #[test]
    fn a_file_that_others_could_read_is_not_used_any_more() {
        in_home(|context, path| {
            remember(context, &SEALED);
            fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("it is ours");
            assert!(!Digests::open(context, true).knows(&SEALED));
            assert!(!path.exists());
        });
    }

    #[test]
    fn the_oldest_go() {
        in_home(|context, path| {
            let digests = Digests::open(context, true);
            digests.record(&SEALED);
            for number in 0..MOST {
                digests.record(&SealedValue { key: &number.to_string(), ..SEALED });
            }
            digests.keep(context);
            assert_eq!(fs::metadata(path).expect("it is there").len() as usize, HEAD.len() + 32 + MOST * 32);
            let digests = Digests::open(context, true);
            assert!(!digests.knows(&SEALED) && digests.knows(&SealedValue { key: "0", ..SEALED }));
        });
    }
}
