//! Sealing a single value, which is taken as it is, byte for byte.

use std::path::Path;

use rand::rngs::OsRng;
use selkie::sealed::{SealingCert, SealingScope};
use selkie::secret::SecretBytes;

use super::controller;
use super::failure::{Failure, cause};
use super::options::Options;
use super::output::Output;
use crate::cluster;
use crate::files;
use crate::session::Session;

/// Seals a value for the namespace and the name that flags give.
pub(super) fn run(
    session: &Session,
    options: &Options<'_>,
    cert: &SealingCert,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let scope = options.scope;
    let mut namespace = String::new();
    if scope != SealingScope::ClusterWide {
        let of_place = cluster::namespace(&options.overrides, session);
        let of_place = of_place.map_err(|error| Failure::new(controller::message(&error)))?;
        namespace = of_place.ok_or_else(|| Failure::new(controller::NO_CONFIGURATION))?;
        if options.name.is_none() && scope == SealingScope::Strict {
            return Err(Failure::new(format!("must provide the --name flag with --raw and --scope {scope}")));
        }
    }
    let value = read(session, options)?;
    let name = options.name.unwrap_or_default();
    let sealed = cert.seal_value(&value, scope, &namespace, name, &mut OsRng).map_err(Failure::new)?;
    output.put(sealed.as_bytes())
}

fn read(session: &Session, options: &Options<'_>) -> Result<SecretBytes, Failure> {
    match options.from_file {
        [] => {
            if session.stdin.is_terminal() {
                session.stderr.say("(tty detected: expecting a secret to encrypt in stdin)");
            }
            session
                .stdin
                .read_all()
                .map_err(|error| Failure::new(format!("read /dev/stdin: {}", cause(&error))))
        }
        [file] => {
            // A name before the first `=` means nothing.
            let path = Path::new(file.split_once('=').map_or(file.as_str(), |(_, path)| path));
            if path == Path::new("/dev/stdin") {
                return session.stdin.read_all().map_err(|error| Failure::of_file("read", path, &error));
            }
            files::read(&session.absolute(path)).map_err(|error| Failure::of_file("open", path, &error))
        }
        _ => Err(Failure::new("must provide only one --from-file when encrypting a single item with --raw")),
    }
}
