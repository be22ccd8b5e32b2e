//! `kubectl seal keys match`.

use std::path::PathBuf;

use selkie::sealed::SmallKeys;

use crate::certificate::{Certificate, CertificateFlags};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::report::escape;
use crate::sealing_keys;

/// Tell whether a certificate and a private key are a pair
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The certificate, a file or an address of the web
    #[arg(value_name = "CERT")]
    cert: String,

    /// A file with keys, of which one has to be that of the certificate
    #[arg(value_name = "KEY")]
    key: PathBuf,
}

/// Compares a certificate with keys.
///
/// # Errors
/// If one of them cannot be read, or they are no pair.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit, Failure> {
    let flags = CertificateFlags::named(Some(args.cert.clone()));
    let Some(Certificate { cert, .. }) = flags.load_if_named(context)? else {
        return Err(Failure::Usage("no certificate is named".to_owned()));
    };
    let backup = sealing_keys::read_backup(context, &args.key, SmallKeys::Allow)?;
    let (what, several) = (args.key.display().to_string(), backup.keys.len() > 1);
    let found = backup.keys.iter().find(|key| key.secret.key.fingerprint() == cert.fingerprint());
    let Some(found) = found else {
        let text = format!("{} is not the certificate of a key in {what}", args.cert);
        return Err(Failure::Check(escape(&text)));
    };
    let name = escape(&sealing_keys::name(found, &what, several));
    let text = format!("{} is the certificate of {name}: {}\n", escape(&args.cert), cert.fingerprint());
    context.session.stdout.write(text.as_bytes()).map_err(Failure::io("write", "stdout"))?;
    Ok(Exit::Success)
}
