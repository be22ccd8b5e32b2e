//! Digests of values that were sealed on this machine, so that a value that did not change keeps its ciphertext
//! where no private key is at hand.
//!
//! One file of the user's cache holds a random key and digests under it. It is for its owner alone, and of
//! bounded size. Nothing depends on it: what cannot be read of it is as if it were not there.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rand::RngCore;
use rand::rngs::OsRng;
use selkie::sealed::{Digest, DigestKey, SealedValue};
use selkie::secret::SecretBytes;
use zeroize::Zeroizing;

use crate::cache;
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
    /// By their first bytes. Of two that have the same, one is forgotten.
    by_start: HashMap<[u8; 8], Digest>,
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
        let by_start = digests.into_iter().map(|digest| (start(&digest), digest)).collect();
        Self { path, key, known: Mutex::new(Known { by_start, new: Vec::new() }) }
    }

    /// Returns whether a value is known to be the one that an item was made of.
    pub fn knows(&self, sealed: &SealedValue<'_>) -> bool {
        let digest = self.key.digest(sealed);
        self.known().by_start.get(&start(&digest)).is_some_and(|known| *known == digest)
    }

    /// Remembers what an item was made of.
    pub fn record(&self, sealed: &SealedValue<'_>) {
        if self.path.is_none() {
            return;
        }
        let digest = self.key.digest(sealed);
        let mut known = self.known();
        if known.by_start.insert(start(&digest), digest).is_none_or(|old| old != digest) {
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
        cache::make_folder(path)?;
        let _turn = Turn::wait_for(path, &|_| ());
        if let Some(mut file) = self.room(path, new.len()) {
            // Flushed by the system at its leisure: a torn end is found out.
            return file.write_all(&bytes(new));
        }
        // What another run added meanwhile stays, unless that made a key of its own.
        let there = read(path).filter(|(key, _)| key.is_same(&self.key));
        let mut all = there.map(|(_, digests)| digests).unwrap_or_default();
        all.extend_from_slice(new);
        // With room for the next runs.
        let kept = if all.len() > MOST { &all[all.len() - KEPT..] } else { &all[..] };
        let mut text = SecretBytes::with_capacity(HEAD_LENGTH + kept.len() * Digest::LENGTH);
        text.extend_from_slice(HEAD);
        text.extend_from_slice(self.key.expose_secret());
        text.extend_from_slice(&bytes(kept));
        files::write_expecting(path, text.expose_secret(), Audience::Owner, Expected::Anything)
    }

    /// Returns the file, to write at its end, if it is whole, of the same key, and has room for more digests.
    fn room(&self, path: &Path, more: usize) -> Option<File> {
        let mut file = File::options().read(true).append(true).open(path).ok()?;
        let mut head = Zeroizing::new([0; HEAD_LENGTH]);
        file.read_exact(&mut *head).ok()?;
        let key = DigestKey::new(head.strip_prefix(HEAD)?.try_into().ok()?);
        let length = usize::try_from(file.metadata().ok()?.len()).ok()?.checked_sub(HEAD_LENGTH)?;
        let is_fit =
            key.is_same(&self.key) && length % Digest::LENGTH == 0 && length / Digest::LENGTH + more <= MOST;
        is_fit.then_some(file)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bytes(digests: &[Digest]) -> Vec<u8> {
    digests.iter().flat_map(Digest::as_bytes).copied().collect()
}

fn start(digest: &Digest) -> [u8; 8] {
    let (start, _) = digest.as_bytes().split_first_chunk().expect("a digest is longer");
    *start
}

/// Returns where the digests of the user are; none without a home.
fn path(session: &Session) -> Option<PathBuf> {
    Some(session.absolute(&cache::folder(&session.environment)?.join("digests")))
}

/// Reads a file of digests, if it is one, and its owner's alone. What a broken end leaves is passed over.
fn read(path: &Path) -> Option<(DigestKey, Vec<Digest>)> {
    if !cache::is_own(path) {
        return None;
    }
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

/// Behind the head stands the key.
const HEAD_LENGTH: usize = HEAD.len() + 32;

/// How many digests there may be: 2 MiB of them. Then the oldest go.
const MOST: usize = 1 << 16;
/// How many stay then.
const KEPT: usize = MOST / 4 * 3;

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
            remember(context, &SealedValue { key: "l", ..SEALED });
            let digests = Digests::open(context, true);
            assert!(digests.knows(&SEALED) && digests.knows(&SealedValue { key: "l", ..SEALED }));
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
            assert_eq!(fs::metadata(path).expect("it is there").len() as usize, HEAD_LENGTH + KEPT * 32);
            let digests = Digests::open(context, true);
            assert!(!digests.knows(&SEALED) && digests.knows(&SealedValue { key: "65535", ..SEALED }));
        });
    }
}
