//! The program `gpg`: its keyrings, its agent, its cards. It is run as sops runs it, so that whatever works there works
//! here.

mod answer;
mod process;

use std::thread;
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};

use super::fingerprint::Fingerprint;
use super::service::Holder;
use crate::keys::{Cause, Effort, KeyError, KeyFuture, KeySetup, MasterKey, ServiceError};
use crate::secret::SecretBytes;
use answer::Operation;
use process::Process;

/// Wraps and unwraps with the keys that the program `gpg` has.
///
/// It may ask people for passphrases, by its agent, and for cards.
pub struct Gpg {
    process: Process,
    limit: Duration,
    /// How long decrypting may take, if nobody at a terminal ends it.
    asking_limit: Option<Duration>,
    wrapping: Semaphore,
    unwrapping: Semaphore,
}

impl Gpg {
    /// Returns what runs the `gpg` of the search path.
    #[must_use]
    pub fn new() -> Self {
        Self::named("gpg")
    }

    /// Returns what runs a program in place of `gpg`: a name that is looked for on the search path, or a path. It is
    /// no command line.
    #[must_use]
    pub fn named(program: &str) -> Self {
        Self {
            process: Process { program: program.to_owned(), environment: Vec::new() },
            limit: LIMIT,
            asking_limit: None,
            wrapping: Semaphore::new(WRAPPING_AT_ONCE),
            unwrapping: Semaphore::new(1),
        }
    }

    /// Returns what runs the program that `SOPS_GPG_EXEC` names, or `gpg`, with what else it reads from the
    /// environment.
    ///
    /// Whoever is asked for a passphrase or a card may take their time. Without a terminal, which is without `GPG_TTY`,
    /// nobody may be there: a program that takes longer than five minutes is ended then, or one that takes longer than
    /// the limit of `setup`, where that is not the one that requests have by themselves.
    #[must_use]
    pub fn from_setup(setup: &KeySetup) -> Self {
        let program = setup.variable("SOPS_GPG_EXEC");
        let mut gpg = program.map_or_else(Self::new, |program| Self::named(&program));
        for name in PASSED_ON {
            if let Some(value) = setup.variable(name) {
                gpg = gpg.with_variable(name, &value);
            }
        }
        #[cfg(feature = "remote")]
        {
            gpg.limit = setup.remote.limit();
        }
        if setup.variable("GPG_TTY").is_none() {
            let is_chosen = gpg.limit != LIMIT;
            gpg.asking_limit = Some(if is_chosen { gpg.limit } else { ASKING_LIMIT });
        }
        gpg
    }

    /// Sets a variable of the environment for the program; all others are those of this process.
    #[must_use]
    pub fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.process.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    async fn wrap_now(&self, key: &MasterKey, secret: &SecretBytes) -> Result<String, KeyError> {
        let fingerprint = Fingerprint::parse(key.field("fp"))?;
        // Those of sops. That the key is trusted for this once keeps gpg from asking whether it belongs to whom it
        // says, and so does --batch, which sops does not have; unlike with `--trust-model always`, all else that the
        // user's trust model refuses is still refused.
        let arguments = [
            "--batch",
            "--no-default-recipient",
            "--yes",
            "--encrypt",
            "-a",
            "-r",
            &fingerprint.to_argument(),
            "--trusted-key",
            &fingerprint.to_long_id(),
            "--no-encrypt-to",
        ];
        let _turn = self.wrapping.acquire().await.map_err(|_| broken())?;
        let input = secret.expose_secret().into();
        let armor = self.run(Operation::Encrypt, &arguments, input, Some(self.limit)).await?;
        let text = str::from_utf8(armor.expose_secret()).map(str::trim);
        match text {
            Ok(text) if text.starts_with(ARMOR) => Ok(text.to_owned()),
            _ => Err(self
                .process
                .error(Cause::Answer, "wrote something that is not an armored message")
                .into()),
        }
    }

    async fn unwrap_now(&self, key: &MasterKey) -> Result<SecretBytes, KeyError> {
        if key.wrapped().len() > MAX_WRAPPED_LENGTH {
            return Err(KeyError::Malformed(format!("it is longer than {MAX_WRAPPED_LENGTH} bytes")));
        }
        // gpg does as well what others would have it do: verify, and fetch keys for that.
        if !key.wrapped().trim_start().starts_with(ARMOR) {
            return Err(KeyError::Malformed("it is not an armored OpenPGP message".to_owned()));
        }
        // One question at a time: an agent that asks does not wait long for its own turn.
        let _turn = self.unwrapping.acquire().await.map_err(|_| broken())?;
        Ok(self.run(Operation::Decrypt, &["-d"], key.wrapped().into(), self.asking_limit).await?)
    }

    /// Runs the program on a thread of its own, and returns what it wrote.
    async fn run(
        &self,
        operation: Operation,
        arguments: &[&str],
        input: SecretBytes,
        limit: Option<Duration>,
    ) -> Result<SecretBytes, ServiceError> {
        let (sender, receiver) = oneshot::channel();
        let process = self.process.clone();
        // Its reports for programs go where those for people go: the program may be a script that passes on nothing
        // else. They are told apart by how they begin.
        let arguments: Vec<String> =
            ["--status-fd", "2"].iter().chain(arguments).map(|&argument| argument.to_owned()).collect();
        let run = move || {
            // Nobody may wait for it any more.
            let _ = sender.send(process.run(&arguments, input, limit));
        };
        let started = thread::Builder::new().name("gpg".to_owned()).spawn(run);
        started.map_err(|error| self.process.error(Cause::Other, &format!("was not run: {error}")))?;
        let ended = receiver.await.map_err(|_| broken())?;
        answer::read(&self.process, operation, ended)
    }
}

impl Default for Gpg {
    fn default() -> Self {
        Self::new()
    }
}

impl Holder for Gpg {
    fn effort(&self, _: &MasterKey) -> Option<Effort> {
        Some(Effort::Person)
    }

    fn wrap<'a>(&'a self, key: &'a MasterKey, secret: &'a SecretBytes) -> KeyFuture<'a, String> {
        Box::pin(async move { Some(self.wrap_now(key, secret).await) })
    }

    fn unwrap<'a>(&'a self, key: &'a MasterKey) -> KeyFuture<'a, SecretBytes> {
        Box::pin(async move { Some(self.unwrap_now(key).await) })
    }
}

fn broken() -> ServiceError {
    ServiceError::new(Cause::Other, "gpg was given up: this is a bug")
}

/// How a message begins.
const ARMOR: &str = "-----BEGIN PGP MESSAGE-----";

/// Variables that a caller may set for a run.
const PASSED_ON: [&str; 2] = ["GNUPGHOME", "GPG_TTY"];

/// How many programs encrypt at once: each works for some milliseconds, and they wait for each other's keyrings.
const WRAPPING_AT_ONCE: usize = 4;

/// How long it may take to encrypt, which asks nobody.
const LIMIT: Duration = Duration::from_secs(30);

/// How long it may take to decrypt, where nobody may be there who is asked.
const ASKING_LIMIT: Duration = Duration::from_secs(300);

/// Far more than a message to hundreds of recipients takes.
const MAX_WRAPPED_LENGTH: usize = 1 << 18;
