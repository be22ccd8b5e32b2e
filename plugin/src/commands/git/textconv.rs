//! `kubectl seal git textconv`: a file as a text that people can compare.
//!
//! Invariants: nothing is decrypted unless somebody asked for it. What is not encrypted, or cannot be read, comes out byte
//! for byte, so that whoever reads a history sees what is there. A file that cannot be opened is no failure: Git would
//! stop in the midst of a log.

use std::path::{Path, PathBuf};

use selkie::format::Format;
use selkie::masked::masked;
use selkie::scheme::{Scheme, may_hold_secrets};
use selkie::sealed::SealedSecrets;
use selkie::secret::SecretBytes;
use selkie::sops::{MacCheck, Sops};
use selkie::tree::Tree;

use super::settings::{self, Shown};
use crate::context::Context;
use crate::document::{conflict_line, format_of};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::files;
use crate::opening::{Opener, OpeningFlags};

/// Print a file for people to compare, its encrypted values as short marks, for Git to call
///
/// A mark changes exactly when what is encrypted does; no key is needed. Of the metadata of SOPS only those who can read
/// the file, the rule and a mark of the data key are left. What is not encrypted is printed as it is.
/// `git config seal.textconv plain`, or `git -c seal.textconv=plain log -p` for once, has values decrypted where a key
/// is at hand.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The file; the end of its name tells the format
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Print values decrypted, if a key is at hand
    #[arg(long)]
    plain: bool,

    #[command(flatten)]
    opening: OpeningFlags,
}

const EXAMPLES: &str = "\
Examples:
  kubectl seal git textconv db.yaml
  kubectl seal git textconv --plain db.yaml";

/// A file that holds something encrypted.
pub(super) struct Encrypted {
    /// What it is written in.
    pub format: Format,
    /// What it says.
    pub tree: Tree,
}

/// Prints it.
///
/// # Errors
/// If the file cannot be read, or stdout not be written.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit, Failure> {
    let name = args.file.display().to_string();
    let source = files::read(&context.session.absolute(&args.file)).map_err(Failure::io("read", name))?;
    let is_plain = args.plain || settings::shown(context, "seal.textconv") == Shown::Plain;
    let opener = args.opening.opener(context);
    let text = match read_encrypted(&args.file, &source) {
        Some(encrypted) if is_plain => plain(&opener, &args.file, encrypted),
        Some(encrypted) => masked(encrypted.format, &encrypted.tree).ok(),
        None => binary(&source),
    };
    let text = text.as_ref().unwrap_or(&source);
    context.session.stdout.write(text.expose_secret()).map_err(Failure::io("write", "stdout"))?;
    Ok(Exit::Success)
}

/// Reads a file, if it holds something encrypted and is whole.
pub(super) fn read_encrypted(path: &Path, source: &SecretBytes) -> Option<Encrypted> {
    let text = source.expose_secret();
    if !may_hold_secrets(text) || conflict_line(text).is_some() {
        return None;
    }
    let format = match format_of(path) {
        // What was encrypted as bytes is written as JSON, and manifests may have any name.
        Format::Binary if Sops.may_be_in(text) => Format::Json,
        Format::Binary => Format::Yaml,
        format => format,
    };
    let tree = format.read(SecretBytes::from(text)).ok()?;
    let is_encrypted = Sops.is_in(&tree) || SealedSecrets.is_in(&tree);
    is_encrypted.then_some(Encrypted { format, tree })
}

/// Returns a file in clear; masked, with a line that says why, if it cannot be opened.
fn plain(opener: &Opener<'_>, path: &Path, encrypted: Encrypted) -> Option<SecretBytes> {
    let Encrypted { format, tree } = encrypted;
    let source = SecretBytes::from(tree.source());
    // Bytes are to come out as bytes.
    let format = if format_of(path) == Format::Binary && Sops.is_in(&tree) { Format::Binary } else { format };
    let read = format.read(SecretBytes::from(source.expose_secret())).map_err(Failure::from);
    let opened = read.and_then(|tree| opener.open_tree(Some(path), format, tree, MacCheck::Require));
    match opened.and_then(|opened| Ok(opened.plaintext()?)) {
        Ok(plaintext) => Some(plaintext),
        Err(failure) => {
            // What is broken comes out as it is.
            let masked = masked(if format == Format::Binary { Format::Json } else { format }, &tree).ok()?;
            let mut text = SecretBytes::new();
            text.push_str(&format!("# {}\n", why_masked(&failure)));
            text.extend_from_slice(masked.expose_secret());
            Some(text)
        }
    }
}

/// Returns why values are not shown, on one line.
pub(super) fn why_masked(failure: &Failure) -> String {
    let why = crate::report::escape(&failure.to_string());
    format!("values are masked: {why}")
}

/// Returns a line in place of a file that is no text: Git would print its bytes.
fn binary(source: &SecretBytes) -> Option<SecretBytes> {
    let bytes = source.expose_secret();
    let head = &bytes[..bytes.len().min(BINARY_HEAD)];
    head.contains(&0).then(|| {
        let mut line = SecretBytes::new();
        line.push_str(&format!("binary file, {} bytes, {}\n", bytes.len(), selkie::masked::mark(bytes)));
        line
    })
}

/// How many bytes Git looks at to tell a text from something else.
const BINARY_HEAD: usize = 8000;
