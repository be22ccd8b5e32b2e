//! OpenPGP without any program: keys out of exported files, for machines without `gpg` and for servers.

mod exported;
mod message;
mod named;
mod packets;
mod selection;

use std::time::{SystemTime, UNIX_EPOCH};

use ::pgp::composed::{SignedPublicKey, SignedSecretKey};
use ::pgp::types::KeyDetails;

use super::fingerprint::Fingerprint;
use super::service::{Holder, Lack, Purpose};
use crate::keys::{Cause, Effort, KeyError, KeyFuture, MasterKey, ServiceError};
use crate::secret::SecretBytes;
pub(super) use named::Named;

/// Keys out of exported files (`gpg --export`, `gpg --export-secret-keys`), public and secret ones.
///
/// Secret keys are wiped when this is dropped, as far as the crate that reads them does so.
pub struct PgpKeys {
    certificates: Vec<SignedPublicKey>,
    secrets: Vec<SignedSecretKey>,
    problems: Vec<String>,
    /// What was read, for people.
    sources: Vec<String>,
    clock: fn() -> SystemTime,
}

/// Why what should hold exported keys adds none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PgpKeyError {
    /// There is no key in it.
    #[error("there is no OpenPGP key in it")]
    Empty,
    /// A secret key stays locked.
    #[error("the secret key {0} is protected by a passphrase, which is not given")]
    Locked(String),
    /// A key cannot be read.
    #[error("a key in it cannot be read: {0}")]
    Malformed(String),
    /// The passphrase is not that of a secret key.
    #[error("the passphrase that is given is not that of the secret key {0}")]
    Passphrase(String),
    /// It is too long.
    #[error("it is longer than {} MiB", exported::MAX_LENGTH >> 20)]
    TooLong,
}

impl PgpKeys {
    /// Returns no keys.
    #[must_use]
    pub fn new() -> Self {
        Self {
            certificates: Vec::new(),
            secrets: Vec::new(),
            problems: Vec::new(),
            sources: Vec::new(),
            clock: SystemTime::now,
        }
    }

    /// Says what time it is, for keys that expire.
    #[must_use]
    pub const fn with_clock(mut self, clock: fn() -> SystemTime) -> Self {
        self.clock = clock;
        self
    }

    /// Adds the keys of an exported file: armored or not, one or several, public or secret. The passphrase is that of
    /// the secret ones.
    ///
    /// # Errors
    /// If there is no key in it, or one that cannot be read or unlocked. All others are added nevertheless.
    pub fn add(
        &mut self,
        exported: &SecretBytes,
        passphrase: Option<&SecretBytes>,
    ) -> Result<(), PgpKeyError> {
        let (keys, mut problem) = exported::read(exported)?;
        if keys.is_empty() {
            return Err(problem.unwrap_or(PgpKeyError::Empty));
        }
        for key in keys {
            match key {
                exported::Key::Public(key) => self.add_certificate(*key),
                exported::Key::Secret(mut key) => {
                    self.add_certificate(key.to_public_key());
                    problem = problem.or(exported::unlock(&mut key, passphrase).err());
                    self.secrets.push(*key);
                }
            }
        }
        problem.map_or(Ok(()), Err)
    }

    fn add_certificate(&mut self, certificate: SignedPublicKey) {
        let same = |known: &&mut SignedPublicKey| known.fingerprint() == certificate.fingerprint();
        match self.certificates.iter_mut().find(same) {
            Some(known) => selection::merge(known, certificate),
            None => self.certificates.push(certificate),
        }
    }

    /// Wraps a data key for the key with a fingerprint; `None` if it is not among these.
    fn wrap_for(&self, fingerprint: &str, secret: &SecretBytes) -> Option<Result<String, KeyError>> {
        let wanted = match Fingerprint::parse(fingerprint) {
            Ok(wanted) => wanted,
            Err(error) => return Some(Err(error.into())),
        };
        let certificate = match self.named(&wanted)? {
            Ok(certificate) => certificate,
            Err(error) => return Some(Err(error.into())),
        };
        let chosen = match selection::choose(certificate, &wanted, self.now()) {
            Ok(chosen) => chosen,
            Err(unusable) => {
                let error = ServiceError::new(Cause::Key, unusable.to_string());
                return Some(Err(error.with_remedy(REMEDY).into()));
            }
        };
        Some(message::seal(&chosen, secret).map_err(Into::into))
    }

    /// Returns the one key that is meant, if there is any.
    ///
    /// # Errors
    /// If it may be another one: two keys can be made to have the same long ID, and anybody can bind the subkey of
    /// another to a key of their own.
    fn named(&self, wanted: &Fingerprint) -> Option<Result<&SignedPublicKey, ServiceError>> {
        let is_primary = |certificate: &SignedPublicKey| wanted.is_of(&exported::name(certificate));
        let named = || self.certificates.iter().filter(|known| selection::is_named(known, wanted));
        if wanted.is_whole()
            && let Some(certificate) = named().find(|certificate| is_primary(certificate))
        {
            return Some(Ok(certificate));
        }
        let first = named().next()?;
        if named().nth(1).is_none() {
            return Some(Ok(first));
        }
        let names: Vec<_> = named().take(MAX_TOLD).map(exported::name).collect();
        let detail = format!("it may be any of several keys: {}", names.join(", "));
        Some(Err(ServiceError::new(Cause::Key, detail).with_remedy(NAME_ONE)))
    }

    /// Returns the time in seconds since 1970.
    fn now(&self) -> u64 {
        (self.clock)().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
    }
}

impl Default for PgpKeys {
    fn default() -> Self {
        Self::new()
    }
}

impl Holder for PgpKeys {
    fn effort(&self, key: &MasterKey) -> Option<Effort> {
        message::is_for(key.wrapped(), &self.secrets).then_some(Effort::Free)
    }

    fn wrap<'a>(&'a self, key: &'a MasterKey, secret: &'a SecretBytes) -> KeyFuture<'a, String> {
        Box::pin(async move { self.wrap_for(key.field("fp"), secret) })
    }

    fn unwrap<'a>(&'a self, key: &'a MasterKey) -> KeyFuture<'a, SecretBytes> {
        Box::pin(async move { message::open(key.wrapped(), &self.secrets) })
    }

    fn problems(&self) -> &[String] {
        &self.problems
    }

    fn lack(&self, key: &MasterKey, purpose: Purpose) -> Option<Lack> {
        let wanted = Fingerprint::parse(key.field("fp")).ok().filter(|_| !self.sources.is_empty())?;
        let sources = self.sources.join(", ");
        let Some(known) = self.certificates.iter().find(|known| selection::is_named(known, &wanted)) else {
            return Some(Lack { what: Some(format!("the key is not in {sources}")), remedy: None });
        };
        if purpose == Purpose::Wrap {
            return None;
        }
        match self.secrets.iter().find(|secret| secret.fingerprint() == known.fingerprint()) {
            Some(secret) => exported::is_any_locked(secret).then(|| Lack {
                what: None,
                remedy: Some(format!(
                    "put the passphrase of the key into a file, and set {} to it",
                    named::PASSPHRASE
                )),
            }),
            None => Some(Lack {
                what: Some(format!("of the key, {sources} holds the public key only")),
                remedy: Some(format!(
                    "where the secret key is, export it with `gpg --export-secret-subkeys --armor {}`",
                    exported::name(known)
                )),
            }),
        }
    }
}

const NAME_ONE: &str = "name the key by the whole fingerprint of its primary key";

/// How many keys are named that may be meant.
const MAX_TOLD: usize = 4;

const REMEDY: &str = "export the key anew into the file, or name another key";

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use pollster::block_on;

    use super::*;
    use crate::keys::{KeyService, pgp};

    const SECRET: &str = "an octopus knows eight passwords";

    /// A case of `testdata/pgp`, which tells how it was made.
    struct Case {
        name: String,
        header: String,
        keys: SecretBytes,
        message: String,
    }

    impl Case {
        fn all() -> Vec<Self> {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/pgp");
            let entries = folder.read_dir().expect("the folder can be read");
            let paths = entries.map(|entry| entry.expect("the entry can be read").path());
            let cases: Vec<_> =
                paths.filter(|path| path.extension().is_some_and(|end| end == "case")).collect();
            assert!(cases.len() > 12, "the cases are missing");
            cases.iter().map(|path| Self::read(path)).collect()
        }

        fn named(name: &str) -> Self {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/pgp").join(name);
            Self::read(&path.with_extension("case"))
        }

        fn read(path: &Path) -> Self {
            let text = std::fs::read_to_string(path).expect("the case can be read");
            let (header, rest) = text.split_once("--- keys\n").expect("the case has keys");
            let (keys, message) = rest.split_once("--- message\n").expect("the case has a message");
            Self {
                name: path.display().to_string(),
                header: header.to_owned(),
                keys: SecretBytes::from(keys),
                message: message.to_owned(),
            }
        }

        fn field(&self, wanted: &str) -> Option<&str> {
            let mut lines = self.header.lines().filter_map(|line| line.split_once(": "));
            lines.find(|(name, _)| *name == wanted).map(|(_, value)| value)
        }

        fn expected(&self, wanted: &str) -> &str {
            self.field(wanted).expect("the header is complete")
        }

        /// Returns the keys, at a time when some have expired.
        fn keys(&self) -> PgpKeys {
            let passphrase = self.field("passphrase").map(SecretBytes::from);
            let mut keys = PgpKeys::new().with_clock(|| UNIX_EPOCH + Duration::from_secs(2_000_000_000));
            keys.add(&self.keys, passphrase.as_ref()).expect("the keys can be read");
            keys
        }

        fn key(&self) -> MasterKey {
            let mut key = MasterKey::parse_list(&pgp::KIND, self.expected("fingerprint"))
                .expect("a fingerprint")
                .remove(0);
            key.set_wrapped(self.message.clone(), "");
            key
        }
    }

    fn unwrap(keys: PgpKeys, key: &MasterKey) -> Result<SecretBytes, KeyError> {
        block_on(pgp::PgpService::new().with_keys(keys).unwrap(key)).expect("an OpenPGP key")
    }

    #[test]
    fn messages_come_to_what_is_expected() {
        for case in Case::all() {
            let opened = unwrap(case.keys(), &case.key());
            let outcome = match &opened {
                Ok(secret) => {
                    let secret = String::from_utf8_lossy(secret.expose_secret()).escape_default().to_string();
                    assert_eq!(secret, case.field("secret").unwrap_or(SECRET), "{}", case.name);
                    "success".to_owned()
                }
                Err(KeyError::Service(error)) if error.cause == Cause::Credentials => "no match".to_owned(),
                Err(error) => error.to_string(),
            };
            assert!(outcome.contains(case.expected("expect")), "{}: {outcome}", case.name);
        }
    }

    #[test]
    fn what_is_wrapped_comes_back() {
        for case in Case::all() {
            let mut key = case.key();
            let secret = SecretBytes::from(SECRET);
            let wrapped = case.keys().wrap_for(key.field("fp"), &secret).expect("the key is there");
            match (case.field("wrap"), wrapped) {
                (None, Ok(wrapped)) => {
                    assert!(wrapped.starts_with("-----BEGIN PGP MESSAGE-----\n"), "{wrapped}");
                    assert!(wrapped.ends_with("\n-----END PGP MESSAGE-----"), "{wrapped}");
                    key.set_wrapped(wrapped, "");
                    let opened = unwrap(case.keys(), &key).expect("it is for the key");
                    assert!(opened.is_same(&secret), "{}", case.name);
                }
                (Some(expected), Err(error)) => {
                    assert!(error.to_string().contains(expected), "{}: {error}", case.name);
                }
                (_, other) => panic!("{}: {other:?}", case.name),
            }
        }
    }

    #[test]
    fn files_hold_several_keys_armored_or_not() {
        let (first, second) = (Case::named("rsa"), Case::named("cv25519"));
        let mut both = first.keys.expose_secret().to_vec();
        both.extend_from_slice(b"\nsome words\n");
        both.extend_from_slice(second.keys.expose_secret());
        let mut keys = PgpKeys::new();
        keys.add(&both.into(), None).expect("there are keys");
        assert_eq!((keys.certificates.len(), keys.secrets.len()), (2, 2));
        let mut binary = Vec::new();
        for key in &keys.secrets {
            ::pgp::ser::Serialize::to_writer(key, &mut binary).expect("it is written");
        }
        let mut again = PgpKeys::new();
        again.add(&binary.into(), None).expect("there are keys");
        assert_eq!((again.certificates.len(), again.secrets.len()), (2, 2));
        assert!(unwrap(again, &second.key()).is_ok());
    }

    #[test]
    fn what_holds_no_key_is_refused() {
        let add = |text: &[u8]| PgpKeys::new().add(&text.into(), None).expect_err("there is no key");
        let malformed = |text: &[u8]| assert!(matches!(add(text), PgpKeyError::Malformed(_)));
        assert_eq!(add(b""), PgpKeyError::Empty);
        assert_eq!(add(Case::named("rsa").message.as_bytes()), PgpKeyError::Empty);
        assert_eq!(
            add(b"age1lzd99uklcjnc0e7d860axevet2cz99ce9pq6tzuzd05l5nr28ams36nvun"),
            PgpKeyError::Empty
        );
        malformed(&[0x99, 1, 0, 4]);
        malformed(b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n-----END PGP PUBLIC KEY BLOCK-----\n");
        malformed(b"-----BEGIN PGP PRIVATE KEY BLOCK-----");
        assert_eq!(add(&vec![0; exported::MAX_LENGTH + 1]), PgpKeyError::TooLong);
    }

    #[test]
    fn a_passphrase_must_be_right() {
        let case = Case::named("passphrase");
        let add = |passphrase: Option<&str>| {
            let passphrase = passphrase.map(SecretBytes::from);
            PgpKeys::new().add(&case.keys, passphrase.as_ref()).err()
        };
        assert!(matches!(add(None), Some(PgpKeyError::Locked(_))));
        assert!(matches!(add(Some("wrong")), Some(PgpKeyError::Passphrase(_))));
        assert_eq!(add(case.field("passphrase")), None);
    }

    #[test]
    fn a_message_without_protection_against_changes_is_refused() {
        // The recipient of a real one, and before what is encrypted the tag of the unprotected kind.
        let case = Case::named("rsa");
        let mut packets = Vec::new();
        let mut armor = ::pgp::armor::Dearmor::new(case.message.as_bytes());
        std::io::Read::read_to_end(&mut armor, &mut packets).expect("it is armored");
        let recipient = 3 + usize::from(u16::from_be_bytes([packets[1], packets[2]]));
        let mut unprotected = packets[..recipient].to_vec();
        unprotected.extend_from_slice(&[0xC9, 20]);
        unprotected.extend_from_slice(&[7; 20]);
        let mut key = case.key();
        let armor = pem::encode(&pem::Pem::new("PGP MESSAGE", unprotected));
        key.set_wrapped(armor.replace("\r\n", "\n").replacen('\n', "\n\n", 1), "");
        let error = unwrap(case.keys(), &key).err().map(|error| error.to_string());
        let expected =
            "the wrapped data key is malformed: it is not protected against changes (it has no MDC)";
        assert_eq!(error.as_deref(), Some(expected));
    }

    /// Returns what is said if there is nothing but a file with keys.
    fn lack(case: &Case, exported: &[u8], passphrase: Option<&str>) -> (String, String) {
        let (this, text) = (std::process::id(), passphrase.unwrap_or("none"));
        let unique = format!("selkie-pgp-{this}-{text}-{}", exported.len());
        let folder = std::env::temp_dir().join(unique);
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = |name: &str| folder.join(name).display().to_string();
        std::fs::write(path("key.asc"), exported).expect("it is written");
        std::fs::write(path("passphrase"), passphrase.unwrap_or_default()).expect("it is written");
        let (file, passphrase) = (path("key.asc"), passphrase.map(|_| path("passphrase")));
        let setup = crate::keys::KeySetup::new(move |name| match name {
            "SELKIE_PGP_KEY_FILE" => Some(file.clone()),
            "SELKIE_PGP_PASSPHRASE_FILE" => passphrase.clone(),
            "SOPS_GPG_EXEC" => Some("/nonexistent/gpg".to_owned()),
            _ => None,
        });
        let answer = block_on(pgp::PgpService::from_setup(&setup).unwrap(&case.key()));
        std::fs::remove_dir_all(&folder).expect("it is removed");
        match answer.expect("an OpenPGP key").err().expect("a key is missing") {
            KeyError::Service(error) => (error.detail, error.remedy.unwrap_or_default()),
            error => panic!("{error:?}"),
        }
    }

    #[test]
    fn a_locked_key_asks_for_its_passphrase() {
        let case = Case::named("passphrase");
        for (passphrase, expected) in [(None, "which is not given"), (Some("wrong"), "is not that of")] {
            let (detail, remedy) = lack(&case, case.keys.expose_secret(), passphrase);
            assert!(detail.contains(expected), "{detail}");
            assert!(remedy.contains("SELKIE_PGP_PASSPHRASE_FILE"), "{remedy}");
            assert!(!remedy.contains("GnuPG"), "{remedy}");
        }
    }

    #[test]
    fn a_public_key_alone_is_called_so() {
        let case = Case::named("rsa");
        let public = case.keys().certificates[0].to_armored_bytes(::pgp::composed::ArmorOptions::default());
        let (detail, remedy) = lack(&case, &public.expect("it is written"), None);
        assert!(detail.ends_with("key.asc holds the public key only"), "{detail}");
        assert!(remedy.contains("gpg --export-secret-subkeys"), "{remedy}");
    }

    #[test]
    fn files_without_the_key_are_named() {
        let (detail, _) = lack(&Case::named("rsa"), Case::named("cv25519").keys.expose_secret(), None);
        assert!(detail.contains("the key is not in ") && detail.ends_with("key.asc"), "{detail}");
    }

    #[test]
    fn a_name_that_fits_several_keys_is_refused() {
        let mut keys = Case::named("rsa").keys();
        let (mine, subkey) = {
            let mine = &keys.certificates[0];
            (exported::name(mine), mine.public_subkeys[0].clone())
        };
        let of_subkey = exported::name(&subkey.key);
        keys.add(&Case::named("cv25519").keys, None).expect("a key");
        let wrap = |keys: &PgpKeys, name: &str| {
            keys.wrap_for(name, &SecretBytes::from("x")).expect("the key is there").err()
        };
        assert_eq!(wrap(&keys, &of_subkey[24..]), None);
        keys.certificates[1].public_subkeys.push(subkey);
        for name in [&of_subkey, &of_subkey[24..]] {
            let Some(KeyError::Service(error)) = wrap(&keys, name) else { panic!("{name} is taken") };
            assert!(error.cause == Cause::Key && error.detail.contains(&mine), "{error}");
            assert!(error.remedy.is_some_and(|remedy| remedy.contains("whole fingerprint")));
        }
        assert_eq!(wrap(&keys, &mine), None);
        assert_eq!(wrap(&keys, &mine[24..]), None);
    }

    #[test]
    fn a_key_that_is_not_there_is_for_others() {
        let (case, other) = (Case::named("cv25519"), Case::named("stranger"));
        assert!(case.keys().wrap_for("0123456789ABCDEF", &SecretBytes::from("x")).is_none());
        assert_eq!(case.keys().effort(&other.key()), None);
        assert_eq!(case.keys().effort(&case.key()), Some(Effort::Free));
        assert_eq!(Case::named("hidden").keys().effort(&Case::named("hidden").key()), None);
    }
}
