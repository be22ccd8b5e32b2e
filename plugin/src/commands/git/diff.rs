//! `kubectl seal git diff`: what Git calls in place of its own diff.
//!
//! Invariants: values that are encrypted in one of the versions are not shown unless the user asked for it, and then go to
//! stdout alone. Neither plaintext nor anything that was decrypted is written to a file. What is printed of an encrypted
//! file is nothing that `git apply` takes for a patch. Whatever cannot be opened is compared by its marks: Git would stop
//! at a failure.

mod arguments;
mod patch;

use std::ffi::{OsStr, OsString};
use std::path::Path;

use selkie::masked::masked;
use selkie::secret::SecretBytes;
use selkie::sops::MacCheck;
use selkie::tree::Tree;

use self::arguments::{Change, Side};
use self::patch::Painter;
use super::settings::{self, Shown};
use super::textconv::{Encrypted, read_encrypted, why_masked};
use crate::commands::diff::comparison::{Comparison, Content, Version};
use crate::context::Context;
use crate::document::format_of;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::opening::{Opener, OpeningFlags};
use crate::report::{BAD, Colour, Report, escape};

/// Show what differs between two versions of a file, for Git to call
///
/// An encrypted file is compared by path, as `kubectl seal diff` does: what was in clear is shown, what is encrypted is
/// masked. Without a key at hand its lines are compared, with marks in place of values. Of a file that is not encrypted
/// the patch of Git is printed; Git does not tell which options it was called with, such as -w or -U.
/// `git config seal.diff plain`, or `git -c seal.diff=plain diff` for once, has values shown.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What Git says: path, old file, its hash and mode, new file, its hash and mode
    #[arg(value_name = "ARGUMENT", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,

    #[command(flatten)]
    opening: OpeningFlags,
}

const EXAMPLES: &str = "\
Examples:
  git config diff.seal.command 'kubectl-seal git diff --'
  git diff --no-ext-diff     marks in place of values, with all options of Git";

/// Shows it.
///
/// # Errors
/// If a version cannot be read, or stdout not be written.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit, Failure> {
    let painter = Painter::new(context);
    let text: SecretBytes = match Change::read(&args.arguments)? {
        Change::Unmerged(path) => {
            format!("* Unmerged path {}\n", escape(&path.to_string_lossy())).into_bytes().into()
        }
        Change::Versions { path, now, told, old, new } => {
            let header = patch::Header { path: &path, now: &now, told: &told, old: &old, new: &new };
            let (before, after) = (old.load(context)?, new.load(context)?);
            let sides = Sides {
                old: before.as_ref().and_then(|text| read_encrypted(Path::new(&path), text)),
                new: after.as_ref().and_then(|text| read_encrypted(Path::new(&now), text)),
                sources: (before, after),
            };
            if sides.old.is_none() && sides.new.is_none() {
                let paths = (old.path(context), new.path(context));
                painter.patch(context, &header, &paths.0, &paths.1)?
            } else {
                encrypted(args, context, &painter, &header, &sides)?
            }
        }
    };
    context.session.stdout.write(text.expose_secret()).map_err(Failure::io("write", "stdout"))?;
    Ok(Exit::Success)
}

/// Two versions of a file, one of them encrypted at least.
struct Sides {
    old: Option<Encrypted>,
    new: Option<Encrypted>,
    /// What was read; nothing where the file is not there.
    sources: (Option<SecretBytes>, Option<SecretBytes>),
}

impl Sides {
    fn are_both_there(&self) -> bool {
        self.sources.0.is_some() && self.sources.1.is_some()
    }

    /// Returns whether one version is encrypted and the other is not: its values may be the ones that are hidden.
    fn is_sealed_otherwise(&self) -> bool {
        self.are_both_there() && self.old.is_some() != self.new.is_some()
    }
}

/// Returns what differs: by path if a key is at hand, else by lines with marks.
fn encrypted(
    args: &Args,
    context: &Context<'_>,
    painter: &Painter,
    header: &patch::Header<'_>,
    sides: &Sides,
) -> Result<SecretBytes, Failure> {
    let opener = args.opening.opener(context);
    let mut text = SecretBytes::new();
    match by_path(&opener, context, painter, header, sides) {
        Ok(difference) => {
            text.push_str(&painter.header(context, header, &patch::hashes(header)));
            text.push_str(&painter.fragment("by path; git diff --no-ext-diff --no-textconv prints a patch"));
            text.extend_from_slice(difference.expose_secret());
        }
        Err(failure) if sides.is_sealed_otherwise() => {
            text.push_str(&painter.header(context, header, &patch::hashes(header)));
            text.push_str(&painter.paint(BAD, &format!("! {}", why_masked(&failure))));
            text.push_str(&painter.fragment(match sides.new {
                Some(_) => "is encrypted now",
                None => "is not encrypted any more, or broken",
            }));
        }
        Err(failure) => {
            let marks = |side: &Option<Encrypted>| {
                side.as_ref().map(|encrypted| masked(encrypted.format, &encrypted.tree)).transpose()
            };
            let (Ok(old), Ok(new)) = (marks(&sides.old), marks(&sides.new)) else { return Err(failure) };
            let notice = painter.paint(BAD, &format!("! {}", why_masked(&failure)));
            text.extend_from_slice(painter.texts(context, header, &notice, old, new)?.expose_secret());
        }
    }
    Ok(text)
}

fn by_path(
    opener: &Opener<'_>,
    context: &Context<'_>,
    painter: &Painter,
    header: &patch::Header<'_>,
    sides: &Sides,
) -> Result<SecretBytes, Failure> {
    let version = |side: &Option<Encrypted>, source: &Option<SecretBytes>, path: &OsStr| {
        let source = source.as_ref().map_or_else(SecretBytes::new, |text| text.expose_secret().into());
        open(opener, side.as_ref(), source, path)
    };
    let old = version(&sides.old, &sides.sources.0, header.path)?;
    let new = version(&sides.new, &sides.sources.1, header.now)?;
    let comparison = Comparison::between(old, new, sides.are_both_there());
    let with_values = settings::shown(context, "seal.diff") == Shown::Plain;
    let colour = if painter.is_coloured() { Colour::Always } else { Colour::Never };
    let report = Report::new(context.session, context.options.quiet, context.options.verbose, colour);
    let mut text = SecretBytes::new();
    if comparison.differ() {
        text.push_str(&comparison.to_text(&report, with_values));
    } else if header.old.hash != header.new.hash {
        text.push_str("  the same values and keys; only what they are encrypted to differs\n");
    }
    Ok(text)
}

/// Opens a version. One that is not there has no values, and one that is not encrypted hides none.
fn open<'a>(
    opener: &'a Opener<'_>,
    encrypted: Option<&Encrypted>,
    source: SecretBytes,
    path: &OsStr,
) -> Result<Version<'a>, Failure> {
    let format = encrypted.map_or_else(|| format_of(Path::new(path)), |encrypted| encrypted.format);
    let name = path.to_string_lossy().into_owned();
    let Some(encrypted) = encrypted else {
        let is_there = !source.is_empty();
        let tree = if is_there {
            format.read(SecretBytes::from(source.expose_secret()))?
        } else {
            Tree::new(SecretBytes::new())
        };
        return Ok(Version { name, format, source, content: Content::Plain(tree) });
    };
    let tree = format.read(SecretBytes::from(encrypted.tree.source()))?;
    let opened = opener.open_tree(Some(Path::new(path)), format, tree, MacCheck::Require)?;
    let secret = opened.decrypted();
    Ok(Version { name, format, source, content: Content::Encrypted(opened, secret) })
}

impl Side {
    /// Reads the version; nothing if the file is not there.
    fn load(&self, context: &Context<'_>) -> Result<Option<SecretBytes>, Failure> {
        if !self.is_there() {
            return Ok(None);
        }
        let path = self.path(context);
        let content = if path.is_symlink() {
            let target = std::fs::read_link(&path);
            target.map(|target| SecretBytes::from(target.to_string_lossy().as_bytes()))
        } else {
            crate::files::read(&path)
        };
        content.map(Some).map_err(Failure::io("read", path.display().to_string()))
    }
}
