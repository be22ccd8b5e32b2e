//! `kubectl seal keyservice`.

use selkie::keyservice::{Address, Peer};

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::key_server::{Asked, Place, Reach, Voice, serve};
use crate::key_services;
use crate::report::escape;

/// Let other programs use the keys of this machine, without giving them away
///
/// Files are encrypted and decrypted where the other program runs, be it this one or sops, started with `--keyservice`;
/// only their data keys come here. A Unix socket serves you and root alone. Ends with Control-C.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Where to listen: unix:///PATH or tcp://HOST:PORT [default: selkie-keys.sock in $XDG_RUNTIME_DIR]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<Address>,

    /// Ask on the terminal before each use of a key
    #[arg(long)]
    prompt: bool,

    /// At a Unix socket, serve this user too, given by number
    #[arg(long, value_name = "UID")]
    allow_uid: Vec<u32>,

    /// Serve other machines, though nothing is encrypted and nobody is asked who they are
    #[arg(long)]
    insecure_network: bool,
}

const EXAMPLES: &str = "\
Examples:
  kubectl seal keyservice --prompt                          ask before each use of a key
  kubectl seal keyservice --listen unix:///tmp/keys.sock    at a socket of your choice
  kubectl seal view db.yaml --keyservice unix:///tmp/keys.sock
  SOPS_KEYSERVICE=unix:///tmp/keys.sock kubectl seal sops decrypt db.yaml

Over SSH, a program on another machine uses the keys of this one:
  ssh -R /tmp/keys.sock:/tmp/keys.sock HOST";

pub(super) fn run(args: &Args, context: &Context<'_>) -> Result<Exit, Failure> {
    context.audit_is_there()?;
    let address = match args.listen.clone() {
        None => default_address(context)?,
        Some(Address::Unix { path, users }) => Address::Unix { path: context.session.absolute(&path), users },
        Some(address) => address,
    };
    let is_socket = matches!(address, Address::Unix { .. });
    if !is_socket && !args.allow_uid.is_empty() {
        return Err(Failure::Usage("--allow-uid is for Unix sockets: TCP tells no user".to_owned()));
    }
    let options = context.key_service_options()?;
    let services = key_services::of_server(context.session, &options);
    if services.is_empty() {
        return Err(Failure::Usage(
            "there are no keys to serve, as those of this machine are off".to_owned(),
        ));
    }
    let place = Place::new(address, &args.allow_uid, args.insecure_network)?;
    context.warn_of_exposed_identities();
    let report = &context.report;
    match place.reach() {
        Reach::User => {}
        Reach::Machine => report.warn(
            "every user of this machine can use your keys at this address; a Unix socket is for you alone",
        ),
        Reach::Network => report.warn(
            "whoever reaches this address can use your keys, and whoever is in between can read data keys",
        ),
    }
    let voice = Terminal { context, address: place.address.clone() };
    serve(place, services, &voice, args.prompt)?;
    Ok(Exit::Success)
}

fn default_address(context: &Context<'_>) -> Result<Address, Failure> {
    let folder = context.session.environment.get("XDG_RUNTIME_DIR").ok_or_else(|| {
        Failure::Usage("name where to listen, such as --listen unix:///tmp/keys.sock".to_owned())
    })?;
    let path = context.session.absolute(std::path::Path::new(folder)).join("selkie-keys.sock");
    Ok(Address::Unix { path, users: Vec::new() })
}

/// Whoever started the command.
struct Terminal<'a> {
    context: &'a Context<'a>,
    address: Address,
}

impl Terminal<'_> {
    fn log(&self, text: &str) {
        self.context.report.note(format!("{} {}", self.context.session.now(), escape(text)));
    }
}

impl Voice for Terminal<'_> {
    fn begins(&self) {
        self.context.report.note(format!("listening at {}; end it with Control-C", self.address));
    }

    fn asks(&self, asked: &Asked) -> bool {
        let session = self.context.session;
        let question = escape(&describe(asked));
        loop {
            // What was typed before is no answer: nobody had seen the question.
            session.stdin.forget_typed();
            if session.stderr.write(format!("{question}: allow it? [y/N] ").as_bytes()).is_err() {
                // Whoever is not asked says no.
                return false;
            }
            let Ok(Some(answer)) = session.stdin.read_line() else { return false };
            match answer.trim().to_ascii_lowercase().as_str() {
                "y" | "yes" => return true,
                "" | "n" | "no" => return false,
                // A person is asked again; a program had its say.
                _ if session.stdin.is_terminal() => {}
                _ => return false,
            }
        }
    }

    fn records(&self, asked: &Asked) -> bool {
        self.context.record_use(asked).inspect_err(|failure| self.log(&failure.to_string())).is_ok()
    }

    fn used(&self, asked: &Asked, how: &str) {
        self.log(&format!("{}: {how}", describe(asked)));
    }

    fn turned_away(&self, peer: &Peer) {
        let hint = match peer {
            Peer::Process { user, .. } => format!("; --allow-uid {user} serves that user"),
            Peer::Address(_) => String::new(),
        };
        self.log(&format!("turned away {peer}{hint}"));
    }

    fn ends(&self, _: i32) {
        self.context.report.note("ending");
    }
}

/// Returns what is asked for, in words: who asks comes first, as the key may be called whatever they like.
fn describe(asked: &Asked) -> String {
    format!("{}: {} with {} {}", asked.who(), asked.operation, asked.kind, asked.shown_key())
}
