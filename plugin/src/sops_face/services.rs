//! The key services of a run: the keys of this machine, and those that `--keyservice` names.

use std::path::Path;
use std::sync::Arc;

use selkie::keys::{Cause, KeyError, KeyFuture, KeyService, MasterKey, ServiceError, Trust};
use selkie::secret::SecretBytes;
use selkie::sops::BY_EFFORT;

use super::failure::Failure;
use super::{Context, creation, flags};
use crate::exit::Exit;
use crate::key_services::{self, KeyServiceOptions};
use crate::named_addresses::NamedAddresses;

/// The key services of a run, and which kinds of keys they are to try first.
pub(super) struct Services {
    services: Vec<Box<dyn KeyService>>,
    order: Vec<String>,
}

impl Services {
    /// Returns the services and the order that the flags name.
    pub fn of(context: &Context<'_>) -> Result<Self, Failure> {
        let mut services: Vec<Box<dyn KeyService>> = Vec::new();
        if context.given.switch("enable-local-keyservice") {
            // As in sops: whatever address a file names is asked.
            let options = KeyServiceOptions {
                trust: Trust::All,
                named: Some(named_addresses(context)),
                warn: Arc::new(context.log.warner()),
                ..KeyServiceOptions::default()
            };
            services.extend(key_services::local(context.session, &options));
        }
        let remote = context.given.texts("keyservice").into_iter();
        services.extend(remote.map(|address| Box::new(Remote(address)) as Box<dyn KeyService>));
        Ok(Self { services, order: decryption_order(context)? })
    }

    /// Returns the services in the order in which they are asked.
    pub fn all(&self) -> Vec<&dyn KeyService> {
        self.services.iter().map(AsRef::as_ref).collect()
    }

    /// Returns the kinds of keys to try first.
    pub fn order(&self) -> Vec<&str> {
        self.order.iter().map(String::as_str).collect()
    }

    /// Fails if there is nobody to ask.
    pub fn must_exist(&self) -> Result<(), String> {
        match self.services.is_empty() {
            true => Err("[no key services provided, cannot update master keys]".to_owned()),
            false => Ok(()),
        }
    }
}

/// Returns the addresses of key servers that the user named.
fn named_addresses(context: &Context<'_>) -> NamedAddresses {
    let config = context.global().path("config").map(Path::new);
    let named = NamedAddresses::new(&context.session.directory, config);
    for front in ["", "add-"] {
        // What cannot be read is told by whoever uses it.
        named.note_keys(&creation::given_keys(context, front).unwrap_or_default());
    }
    named
}

/// Returns the kinds of keys to try first.
fn decryption_order(context: &Context<'_>) -> Result<Vec<String>, Failure> {
    let Some(order) = context.given.text(flags::DECRYPTION_ORDER) else {
        return Ok(BY_EFFORT.iter().map(|&name| name.to_owned()).collect());
    };
    let names: Vec<_> = order.split(',').map(str::to_owned).collect();
    match names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)) {
        Some((_, name)) => Err(Failure::new(Exit::Order, format!("Duplicate decryption key type: {name}"))),
        None => Ok(names),
    }
}

/// A key service elsewhere, which this build cannot ask.
struct Remote(String);

impl Remote {
    fn unavailable<T>(&self) -> Option<Result<T, KeyError>> {
        let Self(address) = self;
        let text = format!("the key service {address} was not asked: this build cannot ask any");
        Some(Err(ServiceError::new(Cause::Other, text).into()))
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
