//! The key services of a run: the keys of this machine, and those that `--keyservice` names.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use selkie::keys::{KeyService, Trust};
use selkie::keyservice::Address;
use selkie::sops::BY_EFFORT;

use super::failure::Failure;
use super::log::Level;
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
        let options = KeyServiceOptions {
            local: context.given.switch("enable-local-keyservice"),
            services: addresses(context),
            service_limit: PATIENCE,
            ..options(context)
        };
        let services = key_services::of_run(context.session, &options);
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

/// Returns how what uses keys is set up in a run, with the keys of this machine alone. As in sops, whatever address a
/// file or a rule names is asked.
pub(super) fn options(context: &Context<'_>) -> KeyServiceOptions {
    KeyServiceOptions { trust: Trust::All, ..options_for_peers(context) }
}

/// Returns the same for keys that others name, whom the user trusts less than files: unlike with sops, they can have
/// credentials sent only where the user does.
pub(super) fn options_for_peers(context: &Context<'_>) -> KeyServiceOptions {
    KeyServiceOptions {
        named: Some(named_addresses(context)),
        ..KeyServiceOptions::new(Arc::new(context.log.warner()))
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

/// Returns where the key services are that the flags name. What is no address is passed over, as in sops.
fn addresses(context: &Context<'_>) -> Vec<Address> {
    let mut addresses = Vec::new();
    for text in context.given.texts("keyservice").iter().filter(|text| !text.is_empty()) {
        match text.parse::<Address>() {
            Ok(address) => {
                let shown = address.to_string();
                let fields = [("address", shown.as_str())];
                context.log.say("CMD", Level::Info, "Connecting to key service", &fields);
                addresses.push(address);
            }
            Err(_) => {
                let message = "Error parsing URI for keyservice, skipping";
                context.log.say("CMD", Level::Warning, message, &[("uri", text)]);
            }
        }
    }
    addresses
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

/// How long a key service may take: sops waits without end, as a person may have to answer there.
const PATIENCE: Duration = Duration::from_secs(300);
