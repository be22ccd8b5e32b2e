//! `kubectl seal audit`.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use selkie::hash_chain::Chain;

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::report::count;

/// Check the audit log of this machine
///
/// An administrator turns it on in /etc/sops/audit.yaml, where `backends` names one log or more: `file: [{path: …}]`,
/// `syslog: [{address: tcp:HOST:PORT, facility: authpriv}]`, the socket of the machine if there is no address, and
/// `postgres: [{connection_string: …}]`, with the table of sops. Whatever document of SOPS is encrypted or decrypted,
/// and whatever key another program uses by the key service, is written to each of them before; if one does not take
/// it, nothing is done. SealedSecrets are not written down, but the backups of their keys that SOPS encrypts.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Check that no line of a log in a file was changed, dropped or put in
    Verify(Verify),
}

#[derive(Debug, clap::Args)]
struct Verify {
    /// The log
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  kubectl seal audit verify /var/log/sops-audit.jsonl

Who can write the file can write all of it anew. Note down the last hash elsewhere, or let the file be append-only
(`chattr +a`), and write to a log of another machine as well. Lines that were cut off, since the machine stopped or
its disk was full, are no fault: nothing was done that they would tell of, and the next run goes on after them.";

/// Checks the log.
///
/// # Errors
/// If it cannot be read, or a line is not as it was written.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit, Failure> {
    let Action::Verify(Verify { file }) = &args.action;
    let chain = verify(&context.session.absolute(file), file)?;
    let torn = match chain.mended() + chain.torn() {
        0 => String::new(),
        torn => format!(", {} cut off", count(torn, "line")),
    };
    let text = format!(
        "{}{torn}; the last hash is {}\n",
        count(chain.entries(), "entry").replace("entrys", "entries"),
        chain.last()
    );
    context.session.stdout.write(text.as_bytes()).map_err(Failure::io("write", "stdout"))?;
    Ok(Exit::Success)
}

fn verify(path: &Path, shown: &Path) -> Result<Chain, Failure> {
    let failed = || Failure::io("read", shown.display().to_string());
    let mut log = BufReader::new(File::open(path).map_err(failed())?);
    let (mut chain, mut line, mut number) = (Chain::new(), Vec::new(), 0);
    let mut ends_whole = false;
    loop {
        line.clear();
        if log.read_until(b'\n', &mut line).map_err(failed())? == 0 {
            // A crash leaves a line without its end. Whoever changes a line leaves the end where it was.
            if chain.torn() > 0 && ends_whole {
                let what = format!("{}: line {number} is no entry of a log", shown.display());
                return Err(Failure::Check(what));
            }
            return Ok(chain);
        }
        number += 1;
        ends_whole = line.ends_with(b"\n");
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        chain
            .take(line)
            .map_err(|error| Failure::Check(format!("{}: line {number}: {error}", shown.display())))?;
    }
}
