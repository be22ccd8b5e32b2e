//! What wraps and unwraps data keys in a run: the keys of this machine, and key services elsewhere.

use std::fs;
use std::future::{poll_fn, ready};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use selkie::keys::{
    Effort, KEY_KINDS, KeyFuture, KeyService, KeySetup, MasterKey, Remembering, Remote, Trust,
};
use selkie::keyservice::{Address, RemoteKeyService};
use selkie::secret::SecretBytes;

use crate::identities::{age_service, terminal_name};
use crate::named_addresses::NamedAddresses;
use crate::parallel::Waiting;
use crate::session::{Environment, Session};

/// How the key services of a run are set up.
#[derive(Clone)]
pub struct KeyServiceOptions {
    /// Files with further identities.
    pub identities: Vec<PathBuf>,
    /// Which addresses of a document may be sent credentials.
    pub trust: Trust,
    /// How long a request may take.
    pub limit: Duration,
    /// Which addresses the user named, if that is known.
    pub named: Option<NamedAddresses>,
    /// Who tells people what they should know.
    pub warn: Arc<dyn Fn(&str) + Send + Sync>,
    /// Whether the keys of this machine are used.
    pub local: bool,
    /// The key services that are asked after them.
    pub services: Vec<Address>,
    /// How long a key service may take, which may ask a person.
    pub service_limit: Duration,
}

impl KeyServiceOptions {
    /// Returns options for the keys of this machine: no address of a document is sent credentials, and `warn` tells
    /// people what they should know.
    #[must_use]
    pub fn new(warn: Arc<dyn Fn(&str) + Send + Sync>) -> Self {
        Self {
            identities: Vec::new(),
            trust: Trust::Listed(Vec::new()),
            limit: Remote::DEFAULT_LIMIT,
            named: None,
            warn,
            local: true,
            services: Vec::new(),
            service_limit: Remote::DEFAULT_LIMIT,
        }
    }
}

/// Returns the services of a run, in the order in which they are asked: those for the keys of this machine, then those
/// elsewhere.
#[must_use]
pub fn of_run(session: &Session, options: &KeyServiceOptions) -> Vec<Box<dyn KeyService>> {
    of_server(session, options).into_iter().map(patient).collect()
}

/// Returns the same services for others than this run: nothing is remembered, as that would go on without end.
#[must_use]
pub fn of_server(session: &Session, options: &KeyServiceOptions) -> Vec<Box<dyn KeyService>> {
    let mut services = if options.local { own(session, options) } else { Vec::new() };
    let mut setup = setup(session, options);
    setup.remote = Arc::new(Remote::new(options.service_limit));
    for address in &options.services {
        services.push(Box::new(RemoteKeyService::new(address.clone(), &setup)));
    }
    services
}

/// Returns the services for the keys that this machine has or has credentials for: those of age, then those of each
/// kind of key that this build knows.
fn own(session: &Session, options: &KeyServiceOptions) -> Vec<Box<dyn KeyService>> {
    let setup = setup(session, options);
    let age: Box<dyn KeyService> = Box::new(age_service(session, &options.identities));
    let of_kinds = KEY_KINDS.iter().filter_map(|kind| kind.connect).map(|connect| connect(&setup));
    std::iter::once(age).chain(of_kinds).collect()
}

/// Returns what services of key kinds need of a run.
#[must_use]
pub fn setup(session: &Session, options: &KeyServiceOptions) -> KeySetup {
    let environment = session.environment.clone();
    let of_host = session.environment.clone();
    let (named, doubted, warn) = (options.named.clone(), options.named.clone(), Arc::clone(&options.warn));
    let variable = move |name: &str| {
        let set = environment.get(name).map(str::to_owned);
        // So that the agent of gpg finds where to ask, which it does not by itself.
        if set.is_none() && name == "GPG_TTY" { terminal_name() } else { set }
    };
    let mut setup = KeySetup::new(variable)
        .with_named(move || named.as_ref().map(NamedAddresses::all).unwrap_or_default())
        .with_doubted(move |address| doubted.as_ref()?.doubted(address))
        .with_warnings(move |text| warn(text))
        .with_host(move || host(&of_host));
    setup.trust = options.trust.clone();
    setup.remote = Arc::new(Remote::new(options.limit));
    setup
}

/// Returns what this machine is called.
fn host(environment: &Environment) -> Option<String> {
    let of_kernel = fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let of_variables = || ["HOSTNAME", "COMPUTERNAME"].iter().find_map(|name| environment.get(name));
    let of_program = || Command::new("uname").arg("-n").output().ok().map(|output| output.stdout);
    let name = of_kernel.or_else(|| of_variables().map(str::to_owned));
    let name = name.or_else(|| String::from_utf8(of_program()?).ok())?;
    Some(name.trim().to_owned())
}

/// Returns a service that is asked only once for the same thing, and that others work on beside while it is waited for.
#[must_use]
pub fn patient(service: Box<dyn KeyService>) -> Box<dyn KeyService> {
    Box::new(Patient(Remembering::new(service)))
}

/// A service as it is without people, servers, devices and other programs: keys that need one are not its business. The
/// commands that the user named as the source of identities are run all the same.
pub struct AtHand<'a>(pub &'a dyn KeyService);

impl KeyService for AtHand<'_> {
    fn name(&self) -> String {
        self.0.name()
    }

    fn effort(&self, key: &MasterKey) -> Effort {
        self.0.effort(key)
    }

    fn wrap<'a>(&'a self, _: &'a MasterKey, _: &'a SecretBytes) -> KeyFuture<'a, String> {
        Box::pin(ready(None))
    }

    fn unwrap<'a>(&'a self, key: &'a MasterKey) -> KeyFuture<'a, SecretBytes> {
        if self.0.effort(key) == Effort::Free { self.0.unwrap(key) } else { Box::pin(ready(None)) }
    }
}

/// Lets another thread work while this one waits for an answer.
struct Patient(Remembering);

impl KeyService for Patient {
    fn name(&self) -> String {
        self.0.name()
    }

    fn effort(&self, key: &MasterKey) -> Effort {
        self.0.effort(key)
    }

    fn resolve<'a>(&'a self, key: &'a MasterKey) -> KeyFuture<'a, MasterKey> {
        wait(self.0.resolve(key))
    }

    fn wrap<'a>(&'a self, key: &'a MasterKey, secret: &'a SecretBytes) -> KeyFuture<'a, String> {
        wait(self.0.wrap(key, secret))
    }

    fn unwrap<'a>(&'a self, key: &'a MasterKey) -> KeyFuture<'a, SecretBytes> {
        wait(self.0.unwrap(key))
    }

    fn unwrap_asking<'a>(&'a self, key: &'a MasterKey) -> KeyFuture<'a, SecretBytes> {
        wait(self.0.unwrap_asking(key))
    }
}

fn wait<'a, T: Send + 'a>(mut answer: KeyFuture<'a, T>) -> KeyFuture<'a, T> {
    Box::pin(async move {
        let mut waiting = None;
        poll_fn(|context| {
            let polled = answer.as_mut().poll(context);
            if polled.is_pending() {
                waiting.get_or_insert_with(Waiting::new);
            } else {
                // Before the answer is worked on.
                waiting = None;
            }
            polled
        })
        .await
    })
}

#[cfg(test)]
mod tests {
    use selkie::keys::pgp;

    use super::*;

    /// Knows every key, and asks people for nothing else.
    struct Willing(Effort);

    impl KeyService for Willing {
        fn name(&self) -> String {
            "willing".to_owned()
        }

        fn effort(&self, _: &MasterKey) -> Effort {
            self.0
        }

        fn wrap<'a>(&'a self, _: &'a MasterKey, _: &'a SecretBytes) -> KeyFuture<'a, String> {
            Box::pin(ready(None))
        }

        fn unwrap<'a>(&'a self, _: &'a MasterKey) -> KeyFuture<'a, SecretBytes> {
            Box::pin(ready(Some(Ok("secret".into()))))
        }

        fn unwrap_asking<'a>(&'a self, key: &'a MasterKey) -> KeyFuture<'a, SecretBytes> {
            self.unwrap(key)
        }
    }

    #[test]
    fn what_is_at_hand_costs_nothing_and_asks_nobody() {
        let key = MasterKey::parse_list(&pgp::KIND, "A").expect("a key").remove(0);
        for (effort, opens) in [(Effort::Free, true), (Effort::Remote, false), (Effort::Person, false)] {
            let service = Willing(effort);
            let at_hand = AtHand(&service);
            assert_eq!(pollster::block_on(at_hand.unwrap(&key)).is_some(), opens, "{effort:?}");
            assert!(pollster::block_on(at_hand.unwrap_asking(&key)).is_none(), "{effort:?}");
        }
    }
}
