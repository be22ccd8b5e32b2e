//! A key service that asks another one only once for the same thing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use super::MasterKey;
use super::service::{Effort, KeyError, KeyFuture, KeyService};
use crate::secret::SecretBytes;

/// Asks another service only once for the same wrapped bytes, whether its answer is there or still under way, and
/// whether it is a key or a failure. What costs nothing is not remembered.
///
/// The answers are kept as long as this service: use one for a run over files, not for the life of a server.
pub struct Remembering {
    service: Box<dyn KeyService>,
    answers: Mutex<HashMap<Question, Answer>>,
}

/// The kind of a key, its name, and what it holds.
type Question = (&'static str, String, String);
type Answer = Arc<OnceCell<Option<Result<SecretBytes, KeyError>>>>;

impl Remembering {
    /// Returns a service that asks `service`.
    #[must_use]
    pub fn new(service: Box<dyn KeyService>) -> Self {
        Self { service, answers: Mutex::default() }
    }

    fn answer(&self, key: &MasterKey) -> Answer {
        let question = (key.kind().name, key.to_string(), key.wrapped().to_owned());
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(answers.entry(question).or_default())
    }
}

impl KeyService for Remembering {
    fn name(&self) -> String {
        self.service.name()
    }

    fn effort(&self, key: &MasterKey) -> Effort {
        self.service.effort(key)
    }

    fn resolve<'a>(&'a self, key: &'a MasterKey) -> KeyFuture<'a, MasterKey> {
        self.service.resolve(key)
    }

    fn wrap<'a>(&'a self, key: &'a MasterKey, secret: &'a SecretBytes) -> KeyFuture<'a, String> {
        self.service.wrap(key, secret)
    }

    fn unwrap<'a>(&'a self, key: &'a MasterKey) -> KeyFuture<'a, SecretBytes> {
        if self.effort(key) == Effort::Free {
            return self.service.unwrap(key);
        }
        let answer = self.answer(key);
        Box::pin(async move {
            // If whoever asked gives up, the next one in line asks.
            match answer.get_or_init(|| self.service.unwrap(key)).await {
                Some(Ok(secret)) => Some(Ok(secret.expose_secret().into())),
                Some(Err(error)) => Some(Err(error.clone())),
                None => None,
            }
        })
    }

    fn unwrap_asking<'a>(&'a self, key: &'a MasterKey) -> KeyFuture<'a, SecretBytes> {
        // What a person opened stays open: the service itself sees to that.
        self.service.unwrap_asking(key)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;
    use futures_util::task::noop_waker_ref;
    use pollster::block_on;

    use super::*;
    use crate::keys::{Cause, ServiceError, pgp};

    /// Counts what it is asked, and answers after having been polled some times.
    struct Slow {
        asked: Arc<AtomicUsize>,
        effort: Effort,
    }

    impl KeyService for Slow {
        fn name(&self) -> String {
            "slow".to_owned()
        }

        fn effort(&self, _: &MasterKey) -> Effort {
            self.effort
        }

        fn wrap<'a>(&'a self, _: &'a MasterKey, _: &'a SecretBytes) -> KeyFuture<'a, String> {
            Box::pin(std::future::ready(None))
        }

        fn unwrap<'a>(&'a self, key: &'a MasterKey) -> KeyFuture<'a, SecretBytes> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            Box::pin(async move {
                tokio::task::yield_now().await;
                Some(match key.wrapped() {
                    "bad" => Err(ServiceError::new(Cause::Denied, "no").into()),
                    text => Ok(text.as_bytes().into()),
                })
            })
        }
    }

    fn key(wrapped: &str) -> MasterKey {
        let mut key = MasterKey::parse_list(&pgp::KIND, "A").expect("a key").remove(0);
        key.set_wrapped(wrapped.to_owned(), "");
        key
    }

    fn service(effort: Effort) -> (Remembering, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        (Remembering::new(Box::new(Slow { asked: Arc::clone(&asked), effort })), asked)
    }

    #[test]
    fn the_same_question_is_asked_once() {
        let (service, asked) = service(Effort::Remote);
        let keys = [key("x"), key("x"), key("y"), key("bad"), key("bad")];
        for _ in 0..2 {
            let answers = block_on(join_all(keys.iter().map(|key| service.unwrap(key))));
            let texts = answers.iter().map(|answer| match answer {
                Some(Ok(secret)) => String::from_utf8_lossy(secret.expose_secret()).into_owned(),
                Some(Err(error)) => error.to_string(),
                None => "none".to_owned(),
            });
            assert_eq!(texts.collect::<Vec<_>>(), ["x", "x", "y", "no", "no"]);
        }
        assert_eq!(asked.load(Ordering::SeqCst), 3);
    }

    #[test]
    fn who_gives_up_leaves_the_question_to_the_next() {
        let (service, asked) = service(Effort::Remote);
        let key = key("x");
        let mut given_up = service.unwrap(&key);
        let mut context = std::task::Context::from_waker(noop_waker_ref());
        assert!(given_up.as_mut().poll(&mut context).is_pending());
        drop(given_up);
        assert!(matches!(block_on(service.unwrap(&key)), Some(Ok(_))));
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn what_costs_nothing_is_not_kept() {
        let (service, asked) = service(Effort::Free);
        for _ in 0..2 {
            assert!(block_on(service.unwrap(&key("x"))).is_some());
        }
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        assert!(service.answers.lock().expect("no panic").is_empty());
    }
}
