//! What keeps a service from being asked about keys that a namespace may not use.

use std::future::ready;
use std::sync::Arc;

use selkie::keys::{Effort, KeyFuture, KeyService, MasterKey};
use selkie::secret::SecretBytes;

use super::policy::{Credentials, Rule};

/// A service for one namespace: keys that its rule does not allow are not its business. It wraps nothing.
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
        if self.allows(key) { self.service.unwrap(key) } else { Box::pin(ready(None)) }
    }
}
