//! Asking a person: for passphrases, and for what plugins want to know.

use crate::secret::SecretBytes;

/// Asks the person who runs the program. All methods may be called from several threads at once.
pub trait Prompt: Send + Sync {
    /// Asks for a passphrase, or takes it from where an earlier answer is kept.
    ///
    /// # Errors
    /// If nobody can be asked, or the answer is refused. Then no further attempt is made.
    fn passphrase(&self, request: &PassphraseRequest<'_>) -> Result<SecretBytes, PromptError>;

    /// Forgets an answer that was wrong.
    fn forget(&self, _request: &PassphraseRequest<'_>) {}

    /// Shows a message, such as the request to touch a hardware key.
    fn show(&self, _message: &str) {}

    /// Lets the person choose between `yes` and `no`; returns `None` if nobody can be asked.
    fn confirm(&self, _message: &str, _yes: &str, _no: Option<&str>) -> Option<bool> {
        None
    }

    /// Asks for something that is no secret; returns `None` if nobody can be asked.
    fn value(&self, _message: &str) -> Option<String> {
        None
    }
}

/// What a passphrase is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassphraseRequest<'a> {
    /// What the passphrase opens.
    pub purpose: PassphrasePurpose,
    /// The name of what it opens; for a plugin, its own words.
    pub name: &'a str,
    /// The name under which an agent may keep the passphrase.
    pub cache_id: Option<&'a str>,
    /// Which attempt this is, counted from 1; it is higher if an answer was wrong.
    pub attempt: u8,
}

/// What a passphrase opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassphrasePurpose {
    /// A file of age identities.
    IdentityFile,
    /// Something that only the plugin knows.
    Plugin,
    /// A private key of SSH.
    SshKey,
}

/// Why a passphrase could not be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PromptError(pub String);

/// Never asks, and so refuses whatever needs an answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPrompt;

impl Prompt for NoPrompt {
    fn passphrase(&self, _request: &PassphraseRequest<'_>) -> Result<SecretBytes, PromptError> {
        Err(PromptError("a passphrase is needed, and nobody can be asked for it".to_owned()))
    }
}

/// Asks for a passphrase until `open` takes it, at most three times.
///
/// `open` returns `None` for a wrong passphrase.
pub(super) fn ask_until_open<T>(
    prompt: &dyn Prompt,
    mut request: PassphraseRequest<'_>,
    mut open: impl FnMut(&SecretBytes) -> Option<Result<T, String>>,
) -> Result<T, String> {
    for attempt in 1..=ATTEMPTS {
        request.attempt = attempt;
        let passphrase = prompt.passphrase(&request).map_err(|PromptError(problem)| problem)?;
        if let Some(result) = open(&passphrase) {
            return result;
        }
        prompt.forget(&request);
    }
    Err("wrong passphrase".to_owned())
}

const ATTEMPTS: u8 = 3;

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Answers with given passphrases, one after the other, and keeps what was asked.
    #[derive(Default)]
    pub(in super::super) struct Answers {
        answers: Mutex<Vec<&'static str>>,
        pub(in super::super) asked: Mutex<Vec<String>>,
    }

    impl Answers {
        pub(in super::super) fn new(answers: &[&'static str]) -> Self {
            Self { answers: Mutex::new(answers.to_vec()), asked: Mutex::default() }
        }

        pub(in super::super) fn asked(&self) -> Vec<String> {
            self.asked.lock().expect("no test panics").clone()
        }
    }

    impl Prompt for Answers {
        fn passphrase(&self, request: &PassphraseRequest<'_>) -> Result<SecretBytes, PromptError> {
            self.asked.lock().expect("no test panics").push(format!("{} {}", request.attempt, request.name));
            let mut answers = self.answers.lock().expect("no test panics");
            if answers.is_empty() {
                return Err(PromptError("no answer is left".to_owned()));
            }
            Ok(SecretBytes::from(answers.remove(0)))
        }

        fn forget(&self, request: &PassphraseRequest<'_>) {
            self.asked.lock().expect("no test panics").push(format!("forget {}", request.name));
        }
    }

    fn request() -> PassphraseRequest<'static> {
        PassphraseRequest {
            purpose: PassphrasePurpose::IdentityFile,
            name: "keys",
            cache_id: None,
            attempt: 1,
        }
    }

    #[test]
    fn wrong_answers_are_forgotten_and_asked_again() {
        let answers = Answers::new(&["a", "b", "c"]);
        let opened = ask_until_open(&answers, request(), |passphrase| {
            (passphrase.expose_secret() == b"b").then_some(Ok(()))
        });
        assert_eq!(opened, Ok(()));
        assert_eq!(answers.asked(), ["1 keys", "forget keys", "2 keys"]);
    }

    #[test]
    fn third_wrong_answer_is_the_last() {
        let answers = Answers::new(&["a", "b", "c", "d"]);
        let opened: Result<(), _> = ask_until_open(&answers, request(), |_| None);
        assert_eq!(opened, Err("wrong passphrase".to_owned()));
        assert_eq!(answers.asked().len(), 6);
    }

    #[test]
    fn refusal_ends_the_asking() {
        let opened: Result<(), _> = ask_until_open(&NoPrompt, request(), |_| None);
        assert!(opened.expect_err("nobody can be asked").contains("nobody can be asked"));
    }
}
