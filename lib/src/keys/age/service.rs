//! The key service of age.

use std::io::Read;
use std::iter;
use std::sync::Arc;

use ::age::armor::ArmoredReader;
use ::age::{DecryptError, Decryptor};

use super::identities::{Asking, Identities};
use super::passphrase::read_secret;
use super::problem_of;
use super::prompt::{NoPrompt, Prompt};
use super::recipient::{Recipient, RecipientError};
use crate::keys::{Cause, KeyError, KeyFuture, KeyParseError, KeyService, MasterKey, ServiceError};
use crate::secret::SecretBytes;

/// Wraps data keys for age recipients and unwraps them with the identities at hand.
///
/// # Examples
/// ```
/// use selkie::keys::age::{AgeService, Identities, IdentityKind, generate};
/// use selkie::keys::{KeyService, MasterKey, age};
/// use selkie::secret::SecretBytes;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let identity = generate(IdentityKind::X25519, &mut rand::rngs::OsRng);
/// let service = AgeService::new(Identities::parse("a new key", &identity.secret)?);
/// let mut keys = MasterKey::parse_list(&age::KIND, &identity.recipient)?;
/// let wrapped = pollster::block_on(service.wrap(&keys[0], &SecretBytes::from("data key")));
/// keys[0].set_wrapped(wrapped.ok_or("this is an age key")??, "2024-01-01T00:00:00Z");
/// let unwrapped = pollster::block_on(service.unwrap(&keys[0])).ok_or("this is an age key")??;
/// assert_eq!(unwrapped.expose_secret(), b"data key");
/// # Ok(())
/// # }
/// ```
pub struct AgeService {
    identities: Identities,
    prompt: Arc<dyn Prompt>,
}

impl AgeService {
    /// Returns a service that unwraps with these identities and asks nobody.
    #[must_use]
    pub fn new(identities: Identities) -> Self {
        Self { identities, prompt: Arc::new(NoPrompt) }
    }

    /// Says who is asked for passphrases.
    #[must_use]
    pub fn with_prompt(mut self, prompt: Arc<dyn Prompt>) -> Self {
        self.prompt = prompt;
        self
    }

    fn wrap_now(&self, key: &MasterKey, secret: &SecretBytes) -> Result<String, KeyError> {
        let text = key.field("recipient");
        let recipient = Recipient::parse(text).map_err(|error| match error {
            RecipientError::Malformed(problem) => {
                KeyError::Parse(KeyParseError::new(text, &format!("an age recipient: {problem}")))
            }
            RecipientError::Unsupported(what) => {
                ServiceError::new(Cause::Other, format!("this build has no support for {what}")).into()
            }
        })?;
        recipient
            .wrap(secret, &self.prompt)
            .map_err(|problem| ServiceError::new(Cause::Other, problem).into())
    }

    fn unwrap_now(&self, key: &MasterKey, asking: Asking) -> Result<SecretBytes, KeyError> {
        let malformed = |error: &DecryptError| KeyError::Malformed(problem_of(error));
        let file = read_armor(key.wrapped())?;
        let decryptor = Decryptor::new_buffered(&file[..]).map_err(|error| malformed(&error))?;
        let search = self.identities.search(key.field("recipient"), &self.prompt, asking);
        let opened = decryptor.decrypt(iter::once(&search as &dyn ::age::Identity));
        match opened {
            Ok(reader) => read_secret(reader, MAX_SECRET_LENGTH).map_err(KeyError::Malformed),
            Err(DecryptError::NoMatchingKeys) => {
                let outcome = search.into_outcome();
                let report = Box::new(outcome.report);
                Err(if outcome.has_failed {
                    KeyError::IdentityFailed(report)
                } else {
                    KeyError::NoIdentity(report)
                })
            }
            Err(error) => Err(malformed(&error)),
        }
    }
}

impl KeyService for AgeService {
    fn name(&self) -> String {
        "age".to_owned()
    }

    fn wrap<'a>(&'a self, key: &'a MasterKey, secret: &'a SecretBytes) -> KeyFuture<'a, String> {
        Box::pin(async move { is_ours(key).then(|| self.wrap_now(key, secret)) })
    }

    fn unwrap<'a>(&'a self, key: &'a MasterKey) -> KeyFuture<'a, SecretBytes> {
        Box::pin(async move { is_ours(key).then(|| self.unwrap_now(key, Asking::Nobody)) })
    }

    fn unwrap_asking<'a>(&'a self, key: &'a MasterKey) -> KeyFuture<'a, SecretBytes> {
        Box::pin(async move {
            let can_help = is_ours(key) && self.identities.may_ask();
            can_help.then(|| self.unwrap_now(key, Asking::Person))
        })
    }
}

fn is_ours(key: &MasterKey) -> bool {
    key.kind().name == super::KIND.name
}

/// Takes the armor off an age file.
fn read_armor(text: &str) -> Result<Vec<u8>, KeyError> {
    let text = text.trim();
    if text.len() > MAX_WRAPPED_LENGTH {
        return Err(KeyError::Malformed(format!("it is longer than {MAX_WRAPPED_LENGTH} bytes")));
    }
    if !text.starts_with("-----BEGIN AGE ENCRYPTED FILE-----") {
        return Err(KeyError::Malformed("it is not an armored age file".to_owned()));
    }
    let mut file = Vec::new();
    ArmoredReader::new(text.as_bytes())
        .read_to_end(&mut file)
        .map_err(|error| KeyError::Malformed(format!("its armor is malformed: {error}")))?;
    Ok(file)
}

/// Far more than any recipient's stanza takes.
const MAX_WRAPPED_LENGTH: usize = 1 << 18;
/// Far more than a data key, or a share of one, takes.
const MAX_SECRET_LENGTH: usize = 1 << 10;

#[cfg(all(test, feature = "age-ssh"))]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::keys::age::prompt::tests::Answers;
    use crate::keys::age::{IdentityKind, IdentityLayout, generate};
    use crate::keys::{IdentityProblem, pgp};

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

    /// A case of `testdata/age`, which tells how it was made.
    struct Case {
        name: String,
        expect: String,
        recipient: String,
        passphrases: Vec<&'static str>,
        identity: SecretBytes,
        file: String,
    }

    impl Case {
        fn read(path: &Path) -> Self {
            let text = std::fs::read_to_string(path).expect("the case can be read");
            let (header, rest) = text.split_once("--- identity\n").expect("the case has an identity");
            let (identity, file) = rest.split_once("--- file\n").expect("the case has a file");
            let values = |wanted: &str| {
                let lines = header.lines().filter_map(|line| line.split_once(": "));
                lines
                    .filter(|(name, _)| *name == wanted)
                    .map(|(_, value)| value.to_owned())
                    .collect::<Vec<_>>()
            };
            let value = |wanted: &str| values(wanted).pop().expect("the header is complete");
            Self {
                name: path.display().to_string(),
                expect: value("expect"),
                recipient: value("recipient"),
                passphrases: values("passphrase").into_iter().map(|text| &*text.leak()).collect(),
                identity: SecretBytes::from(identity),
                file: file.to_owned(),
            }
        }

        fn all() -> Vec<Self> {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/age");
            let entries = folder.read_dir().expect("the folder can be read");
            let paths = entries.map(|entry| entry.expect("the entry can be read").path());
            let cases: Vec<_> =
                paths.filter(|path| path.extension().is_some_and(|end| end == "case")).collect();
            assert!(cases.len() > 20, "the cases are missing");
            cases.iter().map(|path| Self::read(path)).collect()
        }
    }

    fn key(recipient: &str, wrapped: &str) -> MasterKey {
        let mut keys = MasterKey::parse_list(&super::super::KIND, recipient).expect("this is a recipient");
        let mut key = keys.pop().expect("there is one recipient");
        key.set_wrapped(wrapped.to_owned(), "");
        key
    }

    fn unwrap(service: &AgeService, key: &MasterKey) -> Result<SecretBytes, KeyError> {
        let alone = pollster::block_on(service.unwrap(key)).expect("this is an age key");
        if alone.is_ok() {
            return alone;
        }
        pollster::block_on(service.unwrap_asking(key)).unwrap_or(alone)
    }

    fn wrap(service: &AgeService, key: &mut MasterKey, secret: &SecretBytes) {
        let wrapped = pollster::block_on(service.wrap(key, secret)).expect("this is an age key");
        key.set_wrapped(wrapped.expect("the recipient can be used"), "");
    }

    fn outcome(result: &Result<SecretBytes, KeyError>) -> &'static str {
        match result {
            Ok(secret) => {
                assert_eq!(secret.expose_secret(), SECRET);
                "success"
            }
            Err(KeyError::IdentityFailed(_)) => "failed",
            Err(KeyError::Malformed(_)) => "malformed",
            Err(KeyError::NoIdentity(_)) => "no match",
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn files_of_age_open_as_they_should() {
        for case in Case::all() {
            let answers = Arc::new(Answers::new(&case.passphrases));
            let Ok(identities) = Identities::parse(&case.name, &case.identity) else {
                assert_eq!(case.expect, "identity refused", "{}", case.name);
                continue;
            };
            let service = AgeService::new(identities).with_prompt(answers.clone());
            let mut key = key(&case.recipient, &case.file);
            let alone = pollster::block_on(service.unwrap(&key)).expect("this is an age key");
            if let Err(KeyError::NoIdentity(report) | KeyError::IdentityFailed(report)) = alone {
                let may_ask = !case.passphrases.is_empty();
                assert!(!may_ask || !report.unasked.is_empty(), "{}: who was not asked is told", case.name);
            }
            assert_eq!(answers.asked(), [""; 0], "{}: nobody is asked before all else failed", case.name);
            assert_eq!(outcome(&unwrap(&service, &key)), case.expect, "{}", case.name);
            let asked = answers.asked();
            let questions = asked.iter().filter(|line| !line.starts_with("forget")).count();
            assert_eq!(questions, case.passphrases.len(), "{}: {asked:?}", case.name);

            // What is open stays open, and what was refused is not asked for again.
            assert_eq!(outcome(&unwrap(&service, &key)), case.expect, "{}", case.name);
            assert_eq!(answers.asked(), asked, "{}", case.name);

            if case.expect == "success" {
                wrap(&service, &mut key, &SecretBytes::from(SECRET));
                assert_ne!(key.wrapped(), case.file);
                assert!(key.wrapped().ends_with("-----END AGE ENCRYPTED FILE-----\n"));
                assert_eq!(outcome(&unwrap(&service, &key)), "success", "{}", case.name);
            }
        }
    }

    #[test]
    fn identities_tell_their_recipients() {
        for case in Case::all().iter().filter(|case| case.expect == "success") {
            let identities = Identities::parse(&case.name, &case.identity).expect("these are identities");
            let is_protected = case.name.contains("protected-file");
            let has_it =
                identities.recipients().iter().any(|recipient| case.recipient.starts_with(recipient));
            assert_eq!(has_it, !is_protected, "{}", case.name);
        }
    }

    #[test]
    fn new_identities_open_what_is_wrapped_for_them() {
        for kind in [IdentityKind::Hybrid, IdentityKind::X25519] {
            let identity = generate(kind, &mut rand::rngs::OsRng);
            let identities = Identities::parse("new", &identity.secret).expect("this is an identity");
            assert_eq!(identities.recipients(), std::slice::from_ref(&identity.recipient));
            let service = AgeService::new(identities);
            let mut key = key(&identity.recipient, "");
            wrap(&service, &mut key, &SecretBytes::from(SECRET));
            assert_eq!(outcome(&unwrap(&service, &key)), "success");
        }
    }

    #[test]
    fn white_space_around_the_armor_is_passed_over() {
        let identity = generate(IdentityKind::X25519, &mut rand::rngs::OsRng);
        let service = AgeService::new(Identities::parse("", &identity.secret).expect("an identity"));
        let mut key = key(&identity.recipient, "");
        wrap(&service, &mut key, &SecretBytes::from(SECRET));
        let armor = key.wrapped().to_owned();
        for text in [armor.trim_end().to_owned(), format!("\n {armor}\n\n"), armor.replace('\n', "\r\n")] {
            key.set_wrapped(text, "");
            assert_eq!(outcome(&unwrap(&service, &key)), "success");
        }
    }

    #[test]
    fn other_kinds_are_left_to_others() {
        let service = AgeService::new(Identities::new());
        let keys = MasterKey::parse_list(&pgp::KIND, "A").expect("this is a fingerprint");
        assert!(pollster::block_on(service.wrap(&keys[0], &SecretBytes::new())).is_none());
        assert!(pollster::block_on(service.unwrap(&keys[0])).is_none());
    }

    #[test]
    fn long_files_are_refused() {
        let identity = generate(IdentityKind::X25519, &mut rand::rngs::OsRng);
        let service = AgeService::new(Identities::parse("", &identity.secret).expect("an identity"));
        let mut key = key(&identity.recipient, "");
        wrap(&service, &mut key, &SecretBytes::from(vec![0; MAX_SECRET_LENGTH + 1]));
        assert_eq!(outcome(&unwrap(&service, &key)), "malformed");
        key.set_wrapped("-----BEGIN AGE ENCRYPTED FILE-----\n".repeat(1 << 14), "");
        assert_eq!(outcome(&unwrap(&service, &key)), "malformed");
    }

    #[test]
    fn report_names_every_source() {
        let identity = generate(IdentityKind::X25519, &mut rand::rngs::OsRng);
        let mut identities = Identities::new();
        let stranger = generate(IdentityKind::X25519, &mut rand::rngs::OsRng);
        identities.add("given", &stranger.secret, IdentityLayout::Lines).expect("this is an identity");
        identities.add_source(super::super::IdentitySource::new("empty", |_| Ok(None)));
        identities
            .add_source(super::super::IdentitySource::new("broken", |_| Err("cannot be read".to_owned())));
        identities.add_source(super::super::IdentitySource::new("wrong", |_| Ok(Some("x".into()))));
        identities
            .add_source(super::super::IdentitySource::new("ssh", |_| panic!("it cannot fit")).for_ssh());
        let service = AgeService::new(identities);
        let mut key = key(&identity.recipient, "");
        wrap(&service, &mut key, &SecretBytes::from(SECRET));
        let Err(KeyError::NoIdentity(report)) = unwrap(&service, &key) else {
            panic!("the only identity is another");
        };
        let problem = |location: &str, problem: &str| IdentityProblem {
            location: location.to_owned(),
            problem: problem.to_owned(),
        };
        let unknown =
            "line 1 is not an age identity: it begins neither with `AGE-SECRET-KEY-` nor with `AGE-PLUGIN-`";
        assert_eq!(report.problems, [problem("broken", "cannot be read"), problem("wrong", unknown)]);
        assert_eq!((report.tried, report.empty), (vec!["given".to_owned()], vec!["empty".to_owned()]));
    }

    #[test]
    fn commands_run_once_for_each_recipient_and_only_if_needed() {
        let near = generate(IdentityKind::X25519, &mut rand::rngs::OsRng);
        let far = generate(IdentityKind::X25519, &mut rand::rngs::OsRng);
        let runs = Arc::new(std::sync::Mutex::new(Vec::new()));
        let mut identities = Identities::new();
        identities.add_source(
            super::super::IdentitySource::new("command", {
                let (runs, secret) = (Arc::clone(&runs), SecretBytes::from(far.secret.expose_secret()));
                move |recipient: &str| {
                    runs.lock().expect("no test panics").push(recipient.to_owned());
                    Ok(Some(SecretBytes::from(secret.expose_secret())))
                }
            })
            .from_command(),
        );
        identities.add("file", &near.secret, IdentityLayout::Lines).expect("this is an identity");
        let service = AgeService::new(identities);
        let (mut near_key, mut far_key) = (key(&near.recipient, ""), key(&far.recipient, ""));
        wrap(&service, &mut near_key, &SecretBytes::from(SECRET));
        wrap(&service, &mut far_key, &SecretBytes::from(SECRET));
        for key in [&near_key, &far_key, &near_key, &far_key] {
            assert_eq!(outcome(&unwrap(&service, key)), "success");
        }
        assert_eq!(*runs.lock().expect("no test panics"), [far.recipient]);
    }

    proptest! {
        #[test]
        fn any_change_of_a_file_is_noticed(place in 0_usize..10_000, byte in 1_u8..=255) {
            let identity = generate(IdentityKind::X25519, &mut rand::rngs::OsRng);
            let service = AgeService::new(Identities::parse("", &identity.secret).expect("an identity"));
            let mut key = key(&identity.recipient, "");
            wrap(&service, &mut key, &SecretBytes::from(SECRET));
            let mut file = read_armor(key.wrapped()).expect("this is an age file");
            let place = place % file.len();
            file[place] ^= byte;
            let mut armor = ::age::armor::ArmoredWriter::wrap_output(Vec::new(), ::age::armor::Format::AsciiArmor)
                .expect("writing to memory cannot fail");
            std::io::Write::write_all(&mut armor, &file).expect("writing to memory cannot fail");
            let text = armor.finish().expect("writing to memory cannot fail");
            key.set_wrapped(String::from_utf8(text).expect("the armor is text"), "");
            let result = unwrap(&service, &key);
            prop_assert!(result.is_err());
        }

        #[test]
        fn no_text_makes_the_service_panic(text in "\\PC{0,200}") {
            let service = AgeService::new(Identities::new());
            let mut key = MasterKey::new(&super::super::KIND, serde_json::Map::new());
            key.set_wrapped(format!("-----BEGIN AGE ENCRYPTED FILE-----\n{text}"), "");
            prop_assert!(unwrap(&service, &key).is_err());
        }
    }
}
