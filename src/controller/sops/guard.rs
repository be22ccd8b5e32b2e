//! What keeps a service from being asked about keys that a namespace may not use.

use std::future::ready;
use std::sync::Arc;

use futures_util::FutureExt as _;
use selkie::keys::{Effort, KeyFuture, KeyService, MasterKey};
use selkie::secret::SecretBytes;

use super::aside::aside;
use super::policy::{Credentials, Rule};

/// A service for one namespace: keys that its rule does not allow are not its business. It wraps nothing.
///
/// It computes aside, one key after the other, and no further one once nobody waits.
pub struct Guarded {
    service: Arc<dyn KeyService>,
    rule: Arc<Rule>,
    credentials: Credentials,
}

impl Guarded {
    /// Returns a service that asks another one about what a rule allows.
    #[must_use]
    pub fn new(service: Arc<dyn KeyService>, rule: Arc<Rule>, credentials: Credentials) -> Self {
        Self { service, rule, credentials }
    }

    fn allows(&self, key: &MasterKey) -> bool {
        self.rule.refusal(key, self.credentials).is_none()
    }
}

impl KeyService for Guarded {
    fn name(&self) -> String {
        self.service.name()
    }

    fn effort(&self, key: &MasterKey) -> Effort {
        if self.allows(key) { self.service.effort(key) } else { Effort::Free }
    }

    fn wrap<'a>(&'a self, _: &'a MasterKey, _: &'a SecretBytes) -> KeyFuture<'a, String> {
        Box::pin(ready(None))
    }

    fn unwrap<'a>(&'a self, key: &'a MasterKey) -> KeyFuture<'a, SecretBytes> {
        if !self.allows(key) {
            return Box::pin(ready(None));
        }
        if self.service.effort(key) != Effort::Free {
            return self.service.unwrap(key);
        }
        let (service, copy) = (Arc::clone(&self.service), key.clone());
        Box::pin(async move {
            // A computation has its answer at once.
            match aside(move |_| service.unwrap(&copy).now_or_never()).await {
                Some(answer) => answer,
                None => self.service.unwrap(key).await,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc;
    use std::thread::{self, ThreadId};

    use selkie::keys::{KeyGroup, age};
    use selkie::sops::{BY_EFFORT, Envelope, Metadata};
    use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

    use super::super::kit::identity;
    use super::super::policy::Policy;
    use super::*;

    /// Has no key. It tells on which thread it looks for one, and looks until the other end of `looks` is gone.
    struct Telling {
        tell: UnboundedSender<ThreadId>,
        looks: Mutex<mpsc::Receiver<()>>,
    }

    impl KeyService for Telling {
        fn name(&self) -> String {
            "telling".to_owned()
        }

        fn wrap<'a>(&'a self, _: &'a MasterKey, _: &'a SecretBytes) -> KeyFuture<'a, String> {
            Box::pin(ready(None))
        }

        fn unwrap<'a>(&'a self, _: &'a MasterKey) -> KeyFuture<'a, SecretBytes> {
            Box::pin(async {
                self.tell.send(thread::current().id()).expect("somebody listens");
                self.looks.lock().expect("no other panics").recv().expect_err("nothing is sent");
                None
            })
        }
    }

    fn guarded() -> (Guarded, UnboundedReceiver<ThreadId>, mpsc::Sender<()>) {
        let (tell, told) = unbounded_channel();
        let (until, looks) = mpsc::channel();
        let rule = Arc::clone(Policy::of_own_secrets().rule("shop").expect("a rule"));
        let telling = Telling { tell, looks: Mutex::new(looks) };
        (Guarded::new(Arc::new(telling), rule, Credentials::OfNamespace), told, until)
    }

    fn metadata(keys: u64) -> Metadata {
        let keys = (0..keys).flat_map(|seed| {
            MasterKey::parse_list(&age::KIND, &identity(seed).recipient).expect("a recipient")
        });
        Metadata::new(vec![KeyGroup(keys.collect())])
    }

    #[tokio::test]
    async fn no_thread_of_the_runtime_is_held_up() {
        let (guarded, mut told, until) = guarded();
        drop(until);
        assert!(Envelope::recover(metadata(1), &[&guarded], BY_EFFORT).await.is_err());
        assert!(told.recv().await.is_some_and(|thread| thread != thread::current().id()));
    }

    #[tokio::test]
    async fn no_further_key_is_tried_once_nobody_waits() {
        let (guarded, mut told, until) = guarded();
        let (metadata, services) = (metadata(3), [&guarded as &dyn KeyService]);
        tokio::select! {
            biased;
            first = told.recv() => assert!(first.is_some()),
            _ = Envelope::recover(metadata, &services, BY_EFFORT) => panic!("all were tried"),
        }
        drop((guarded, until));
        assert_eq!(told.recv().await, None);
    }
}
