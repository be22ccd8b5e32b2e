//! The key services of a run: the keys of this machine, and those that `--keyservice` names.

use selkie::keys::{KeyError, KeyFuture, KeyService, MasterKey};
use selkie::secret::SecretBytes;

use super::Context;
use crate::identities::age_service;

/// The key services of a run.
pub(super) struct Services(Vec<Box<dyn KeyService>>);

impl Services {
    /// Returns the services that the flags name.
    pub fn of(context: &Context<'_>) -> Self {
        let mut services: Vec<Box<dyn KeyService>> = Vec::new();
        if context.given.switch("enable-local-keyservice") {
            services.push(Box::new(age_service(context.session, &[])));
        }
        let remote = context.given.texts("keyservice").into_iter();
        services.extend(remote.map(|address| Box::new(Remote(address)) as Box<dyn KeyService>));
        Self(services)
    }

    /// Returns the services in the order in which they are asked.
    pub fn all(&self) -> Vec<&dyn KeyService> {
        self.0.iter().map(AsRef::as_ref).collect()
    }

    /// Fails if there is nobody to ask.
    pub fn must_exist(&self) -> Result<(), String> {
        match self.0.is_empty() {
            true => Err("[no key services provided, cannot update master keys]".to_owned()),
            false => Ok(()),
        }
    }
}

/// A key service elsewhere, which this build cannot ask.
struct Remote(String);

impl Remote {
    fn unavailable<T>(&self) -> Option<Result<T, KeyError>> {
        let Self(address) = self;
        let text = format!("the key service {address} was not asked: this build cannot ask any");
        Some(Err(KeyError::Service(text)))
    }
}

impl KeyService for Remote {
    fn name(&self) -> String {
        self.0.clone()
    }

    fn wrap<'a>(&'a self, _: &'a MasterKey, _: &'a SecretBytes) -> KeyFuture<'a, String> {
        Box::pin(async { self.unavailable() })
    }

    fn unwrap<'a>(&'a self, _: &'a MasterKey) -> KeyFuture<'a, SecretBytes> {
        Box::pin(async { self.unavailable() })
    }
}
