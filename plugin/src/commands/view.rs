//! `kubectl seal view`.

use crate::commands::decrypt::ReadingFlags;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::opening::OpeningFlags;
use crate::report;
use crate::targets::{self, Target};

/// Show the plaintext of files
///
/// Nothing is written to a file. Several files are shown one after the other, each below its name. The values of
/// a SealedSecret are shown in their places, below stringData; `kubectl seal unseal` shows the Secret that it stands
/// for.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Files, globs or folders; - or nothing for stdin
    #[arg(value_name = "FILE")]
    files: Vec<String>,

    #[command(flatten)]
    reading: ReadingFlags,

    #[command(flatten)]
    opening: OpeningFlags,
}

const EXAMPLES: &str = "\
Examples:
  kubectl seal view db.yaml           one file
  kubectl seal view apps/ | less      every encrypted file of a folder
  kubectl seal view --ignore-mac x    even if somebody changed it without the key
  kubectl seal view --sealing-key backup.yaml sealed.yaml    a SealedSecret, its values called stringData";

/// Shows every file.
///
/// # Errors
/// If the arguments name nothing, or stdout cannot be written.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit, Failure> {
    let targets = targets::expand(&args.files, context.session)?;
    let opener = args.opening.opener(context);
    let is_one = matches!(targets.as_slice(), [target] if target.is_named());
    let shown = |target: &Target| {
        let document = args.reading.input.load(context, target)?;
        let Some(opened) = args.reading.open(&opener, context, target, &document)? else { return Ok(None) };
        let plaintext = opened.plaintext()?;
        let mut shown = selkie::secret::SecretBytes::new();
        if !is_one {
            let heading = context.report.paint_data(report::STRONG, format!("==> {target} <=="));
            shown.push_str(&format!("{heading}\n"));
        }
        shown.extend_from_slice(plaintext.expose_secret());
        if !is_one && !plaintext.expose_secret().ends_with(b"\n") {
            shown.push(b'\n');
        }
        Ok(Some(shown))
    };
    Ok(crate::batch::in_order(context, &targets, shown, |shown| {
        let written = context.session.stdout.write(shown.expose_secret());
        written.map_err(Failure::io("write", "stdout"))
    }))
}
