//! `sops keyservice`: lets others use the keys of this machine.

use std::path::Path;

use selkie::keyservice::{Address, Peer};

use super::failure::{Failure, cause};
use super::grammar::Flag;
use super::log::{Level, Log};
use super::services;
use super::{Action, Command, Context};
use crate::key_server::{Asked, KeyServerError, Place, Reach, Voice, serve};
use crate::key_services;
use crate::report::escape;

pub(super) static COMMAND: Command = Command {
    name: "keyservice",
    about: "let others use the keys of this machine",
    arguments: "",
    flags: || {
        vec![
            Flag { default: "tcp", ..Flag::text("network", "what to listen on: tcp or unix") }.alias("net"),
            Flag { default: "127.0.0.1:5000", ..Flag::text("address", "where to listen") }.alias("addr"),
            Flag::switch("prompt", "ask before each use of a key"),
            Flag::switch("verbose", "say more"),
        ]
    },
    action: Action::Run(run),
};

fn run(context: &Context<'_>) -> Result<(), Failure> {
    context.audit_is_there()?;
    let is_verbose =
        [Some(&context.given), context.global].into_iter().flatten().any(|given| given.switch("verbose"));
    let log = Log::new(context.session, is_verbose);
    let failed = |message: String| {
        log.error(&format!("Error running keyservice: {message}"), None);
        Failure::generic(message).logged()
    };
    let text = |name, preset: &str| context.given.text(name).unwrap_or_else(|| preset.to_owned());
    let (network, address) = (text("network", "tcp"), text("address", "127.0.0.1:5000"));
    let place = address_of(context, &network, &address)
        .and_then(|place| Place::new(place, &[], true).map_err(|error| describe(&network, &address, &error)));
    let place = place.map_err(failed)?;
    if place.reach() == Reach::Network {
        log.warn(&format!(
            "whoever reaches {network}://{address} can use your keys, and whoever is in between can read data keys: \
             nothing is encrypted, and nobody is asked who they are"
        ));
    }
    let services = key_services::of_server(context.session, &services::options_for_peers(context));
    // Where the system was to choose a port, the one that it chose.
    let shown = match &place.address {
        chosen @ Address::Tcp { .. } if address.ends_with(":0") => chosen.to_string(),
        _ => format!("{network}://{address}"),
    };
    let voice = Sops { context, log: &log, address: shown };
    serve(place, services, &voice, context.given.switch("prompt")).map_err(|error| failed(error.to_string()))
}

/// Returns what the flags name.
fn address_of(context: &Context<'_>, network: &str, address: &str) -> Result<Address, String> {
    match network {
        "tcp" | "tcp4" | "tcp6" => {
            let (host, port) = address
                .rsplit_once(':')
                .ok_or_else(|| format!("listen {network}: address {address}: missing port in address"))?;
            let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
            let port =
                port.parse().map_err(|_| format!("listen {network}: address {address}: invalid port"))?;
            Ok(Address::Tcp { host: host.to_owned(), port })
        }
        "unix" => Ok(Address::Unix { path: context.session.absolute(Path::new(address)), users: Vec::new() }),
        _ => Err(format!("listen {network}: unknown network {network}")),
    }
}

/// Returns why nobody can listen there, in the words of Go.
fn describe(network: &str, address: &str, error: &KeyServerError) -> String {
    let why = match error {
        KeyServerError::InUse(_) | KeyServerError::NotASocket(_) => "address already in use".to_owned(),
        KeyServerError::Listen { source, .. } => cause(source),
        error => error.to_string(),
    };
    format!("listen {network} {address}: bind: {why}")
}

/// Whoever started the command.
struct Sops<'a> {
    context: &'a Context<'a>,
    log: &'a Log<'a>,
    address: String,
}

impl Voice for Sops<'_> {
    fn begins(&self) {
        self.log.say(LOGGER, Level::Info, &format!("Listening on {}", self.address), &[]);
    }

    fn asks(&self, asked: &Asked) -> bool {
        let session = self.context.session;
        let question = format!(
            "\nReceived {} request using {} key, from {}: {}. Respond to request? (y/n): ",
            asked.operation,
            asked.kind,
            asked.who(),
            escape(&asked.shown_key())
        );
        loop {
            // What was typed before is no answer: nobody had seen the question.
            session.stdin.forget_typed();
            if session.stdout.write(question.as_bytes()).is_err() {
                return false;
            }
            match session.stdin.read_line() {
                Ok(Some(answer)) if answer == "y" => return true,
                Ok(Some(answer)) if answer != "n" => {}
                // Nobody answers any more, or somebody says no.
                _ => return false,
            }
        }
    }

    fn records(&self, asked: &Asked) -> bool {
        let recorded = self.context.record_use(asked);
        recorded.inspect_err(|failure| self.log.error(&failure.message, None)).is_ok()
    }

    fn used(&self, asked: &Asked, how: &str) {
        let (who, key) = (asked.who(), asked.shown_key());
        let fields = [("peer", who.as_str()), ("key", key.as_str()), ("result", how)];
        self.log.say(LOGGER, Level::Info, &format!("{} request", asked.operation), &fields);
    }

    fn turned_away(&self, peer: &Peer) {
        let message = format!("turned away {peer}: `kubectl seal keyservice --allow-uid` serves other users");
        self.log.say(LOGGER, Level::Warning, &message, &[]);
    }

    fn ends(&self, signal: i32) {
        let name = match signal {
            2 => "interrupt",
            15 => "terminated",
            1 => "hangup",
            _ => "quit",
        };
        self.log.say(LOGGER, Level::Info, &format!("Caught signal {name}: shutting down."), &[]);
    }
}

/// The part of sops that says it.
const LOGGER: &str = "KEYSERVICE";
