//! `helm getter`: what Helm runs for an address of the `secrets://` family.

use std::error::Error;
use std::io::Write;

use super::decrypt::{self, Settings};

/// Print what an address of the secrets:// family stands for, decrypted, as a downloader plugin of Helm
#[derive(clap::Args)]
#[command(after_help = "Addresses:
  secrets://FILE
  secrets+age-import://KEY?FILE
  secrets+gpg-import://KEY?FILE
  secrets+age-import-kubernetes://[NAMESPACE/]SECRET#ENTRY?FILE
  secrets+gpg-import-kubernetes://[NAMESPACE/]SECRET#ENTRY?FILE
  secrets+literal://DOCUMENT
A question mark before FILE lets it be missing. FILE is below the folder, or an address of https or http.")]
pub struct Args {
    #[command(flatten)]
    settings: Settings,
    /// What Helm gives: certificate, key and authority, which are not used, and the address
    #[arg(required = true, num_args = 1..=4, value_name = "ADDRESS")]
    words: Vec<String>,
}

/// Prints what an address stands for.
///
/// # Errors
/// If it cannot be decrypted; then nothing is printed.
pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let address = args.words.last().map(String::as_str).unwrap_or_default();
    let decrypted = decrypt::address(address, &args.settings)?;
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(decrypted.expose_secret())?;
    Ok(stdout.flush()?)
}
