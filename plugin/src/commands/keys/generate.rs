//! `kubectl seal keys generate`.

use std::path::{Path, PathBuf};

use rand::Rng;
use rand::rngs::OsRng;
use selkie::format::Format;
use selkie::sealed::{KeySecret, KeySize, SealingCert, SealingKey, to_manifest};
use selkie::secret::SecretBytes;
use time::Duration;

use super::{refuse_present, write_secret};
use crate::context::Context;
use crate::document;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::files::{Audience, Expected};

/// Make a key and its certificate, to bring to a cluster
///
/// They are like those of the controller, which uses the newest key that it finds: make the key Secret, with
/// `kubectl seal keys restore` or `kubectl apply`, and restart the controller. No file that is there is overwritten.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The size of the key
    #[arg(long, value_name = "BITS", value_parser = size, default_value = "4096")]
    bits: KeySize,

    /// How long the certificate is valid
    #[arg(long, value_name = "DAYS", default_value_t = 3650, value_parser = clap::value_parser!(u32).range(1..))]
    days: u32,

    /// The common name in the certificate; the controller's have none
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    common_name: String,

    /// Write the private key to this file
    #[arg(long, value_name = "FILE", default_value = "tls.key", conflicts_with = "manifest")]
    key_output: PathBuf,

    /// Write the certificate to this file
    #[arg(long, value_name = "FILE", default_value = "tls.crt", conflicts_with = "manifest")]
    cert_output: PathBuf,

    /// Write a key Secret to this file instead, as YAML or JSON; - for stdout
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,

    /// The name of the key Secret; made up without one
    #[arg(long, value_name = "NAME", requires = "manifest")]
    name: Option<String>,

    /// The namespace of the key Secret, which is that of the controller
    #[arg(long, value_name = "NAME", requires = "manifest", default_value = "kube-system")]
    controller_namespace: String,
}

const EXAMPLES: &str = "\
Examples:
  kubectl seal keys generate                       tls.key and tls.crt
  kubectl seal keys generate --manifest key.yaml   as a Secret for the controller";

/// Makes a key.
///
/// # Errors
/// If a file is there already, or cannot be written.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit, Failure> {
    let manifest = args.manifest.as_deref();
    let files = [Some(&*args.key_output), Some(&*args.cert_output)];
    for path in if manifest.is_some() { [manifest, None] } else { files } {
        refuse_present(context, path)?;
    }
    let failed = |error| Failure::Check(format!("{error}"));
    let key = SealingKey::generate(args.bits).map_err(failed)?;
    let (now, lifetime) = ((context.session.clock)(), Duration::days(args.days.into()));
    let cert = SealingCert::generate(&key, &args.common_name, now, lifetime, &mut OsRng).map_err(failed)?;
    let fingerprint = cert.fingerprint();
    match manifest {
        Some(path) => {
            let name = args.name.clone().unwrap_or_else(made_up_name);
            let secret = KeySecret::new(key, cert, &args.controller_namespace, &name);
            let is_json = document::format_of(path) == Format::Json;
            let text = to_manifest(&[secret], if is_json { Format::Json } else { Format::Yaml })?;
            write_secret(context, manifest, &text, false)?;
            if path != Path::new("-") {
                context.report.done("made", path.display(), &fingerprint);
            }
        }
        None => {
            write_secret(context, Some(&args.key_output), &key.to_pem(), false)?;
            document::make_folder(context, &args.cert_output, Audience::Everyone)?;
            let pem = SecretBytes::from(cert.to_pem());
            let (path, audience) = (&args.cert_output, Audience::Everyone);
            document::write_expecting(context, path, &pem, audience, Expected::Absent)?;
            context.report.done("made", args.key_output.display(), &fingerprint);
            context.report.done("made", args.cert_output.display(), "");
        }
    }
    Ok(Exit::Success)
}

/// Returns a name as the controller's are: no two keys have the same.
fn made_up_name() -> String {
    let letter = || char::from(LETTERS[OsRng.gen_range(0..LETTERS.len())]);
    format!("sealed-secrets-key{}", std::iter::repeat_with(letter).take(5).collect::<String>())
}

fn size(text: &str) -> Result<KeySize, String> {
    let sizes = KeySize::ALL.map(|size| size.bits().to_string());
    let found = KeySize::ALL.into_iter().find(|size| size.bits().to_string() == text);
    found.ok_or_else(|| format!("one of {} is needed", sizes.join(", ")))
}

/// What the API server makes names of.
const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
