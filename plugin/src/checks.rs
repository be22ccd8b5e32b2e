//! The commands of `seal-hook` within `kubectl seal`: the same checks, with all keys that `kubectl seal` has.

use std::io::{self, Read, Write};

use seal_hook::cli::Surroundings;
use seal_hook::keys::{Keys, LocalKeys, PublicOnly, is_audited};
use selkie::keys::KeyService;

use crate::context::Context;
use crate::exit::Exit;
use crate::session::{Input, Output};

/// Which keys a command may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeysOf {
    /// All that `kubectl seal` has, those of clouds among them.
    Context,
    /// What is on this machine, so that a check asks no server and no person.
    Machine,
}

/// Runs a command of `seal-hook` with what a run of `kubectl seal` has.
pub fn run(
    context: &Context<'_>,
    keys: KeysOf,
    command: impl FnOnce(Surroundings<'_>) -> seal_hook::exit::Exit,
) -> Exit {
    let session = context.session;
    let environment = |name: &str| session.environment.raw(name).map(str::to_owned);
    let variables = session.environment.clone();
    let local = LocalKeys::new(move |name| variables.raw(name).map(str::to_owned), &session.directory);
    let all = ContextKeys(context);
    let given: &dyn Keys = match keys {
        KeysOf::Context => &all,
        KeysOf::Machine => &local,
    };
    let public = PublicOnly(given);
    let surroundings = Surroundings {
        folder: session.directory.clone(),
        environment: &environment,
        input: &mut InputReader(&session.stdin, None),
        output: &mut OutputWriter(&session.stdout),
        messages: &mut OutputWriter(&session.stderr),
        colour: context.options.colour.applies(&session.stdout, &session.environment),
        program: "kubectl seal",
        keys: if is_audited(&session.audit) { &public } else { given },
        now: (session.clock)(),
    };
    Exit::Child(command(surroundings).code())
}

/// The key services of a run of `kubectl seal`.
struct ContextKeys<'a>(&'a Context<'a>);

impl Keys for ContextKeys<'_> {
    fn with_services(
        &self,
        _recipients: bool,
        with: &mut dyn FnMut(&[&dyn KeyService]),
    ) -> Result<(), String> {
        let services = self.0.services().map_err(|failure| failure.to_string())?;
        with(&services);
        Ok(())
    }
}

/// Reads all that there is at once: who pushes waits for the checks in any case.
struct InputReader<'a>(&'a Input, Option<io::Cursor<Vec<u8>>>);

impl Read for InputReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let cursor = match &mut self.1 {
            Some(cursor) => cursor,
            empty => empty.insert(io::Cursor::new(self.0.read_all()?.expose_secret().to_vec())),
        };
        cursor.read(buffer)
    }
}

struct OutputWriter<'a>(&'a Output);

impl Write for OutputWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.lock().flush()
    }
}
