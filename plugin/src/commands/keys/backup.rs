//! `kubectl seal keys backup`.

use std::path::PathBuf;

use selkie::format::Format;
use selkie::sealed::{KeySecret, SmallKeys, to_manifest};
use selkie::sops::{Metadata, Selector};

use super::{refuse_present, write_secret};
use crate::context::Context;
use crate::controller::ControllerFlags;
use crate::document;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::key_flags::{KeyFlags, Plain};
use crate::report::count;
use crate::sealing;

/// Save the keys of the cluster, in use or not
///
/// It takes the right to read the Secrets of the controller's namespace. Encrypted for a recipient, the backup is a
/// document of SOPS: every command that takes keys reads it, as long as your identities do.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Write the keys to this file, which must not be there; without one, to stdout
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    #[command(flatten, next_help_heading = "Encrypt the backup for these keys")]
    recipients: KeyFlags<Plain>,

    #[command(flatten, next_help_heading = "Controller of Sealed Secrets")]
    controller: ControllerFlags,
}

const EXAMPLES: &str = "\
Examples:
  kubectl seal keys backup -o keys.yaml --age age1cy0su   encrypted, fit to be kept anywhere
  kubectl seal keys backup -o keys.yaml                   in clear, for its owner alone";

/// Saves the keys.
///
/// # Errors
/// If they cannot be had, or the file is there already.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit, Failure> {
    let output = args.output.as_deref();
    refuse_present(context, output)?;
    args.recipients.check_options()?;
    let group = args.recipients.group()?;
    // What is only saved is not used.
    let backup = args.controller.sealing_keys(context, SmallKeys::Allow)?;
    let secrets: Vec<KeySecret> = backup.keys.into_iter().map(|key| key.secret).collect();
    let format = output.map_or(Format::Yaml, document::format_of);
    let format = if format == Format::Json { Format::Json } else { Format::Yaml };
    let mut text = to_manifest(&secrets, format)?;
    let is_encrypted = !group.0.is_empty();
    if is_encrypted {
        let mut metadata = Metadata::new(vec![group]);
        let selector =
            Selector::from_fields(|field| (field == "encrypted_regex").then_some("^(data|stringData)$"))?;
        // Without one, everything is encrypted.
        metadata.selector = selector.unwrap_or_default();
        (text, _) = sealing::seal_anew(context, output, metadata, (format, format.read(text)?), format)?;
    }
    write_secret(context, output, &text, is_encrypted)?;
    if let Some(path) = output {
        let how = if is_encrypted { "encrypted" } else { "in clear" };
        context.report.done("saved", path.display(), &format!("{}, {how}", count(secrets.len(), "key")));
    }
    if !backup.problems.is_empty() {
        let problems = count(backup.problems.len(), "problem");
        return Err(Failure::Check(format!(
            "the backup is not whole: there was {problems} with the keys of the cluster"
        )));
    }
    Ok(Exit::Success)
}
