//! `kubectl seal decrypt`.

use selkie::scheme::OpenDocument;
use selkie::sops::{MacCheck, Unlocked};

use crate::batch::{self, Outcome};
use crate::commands;
use crate::context::Context;
use crate::document::{self, Document, InputFlags};
use crate::dotted;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::opening::{Opener, warn_of_mixed_up_contexts};
use crate::output::{OutputFlags, Place, Secrecy};
use crate::targets::{self, Target};

/// Decrypt files
///
/// One file goes to stdout. A new file can be read by its owner alone; one that is there keeps its mode. What
/// was encrypted here comes back byte for byte.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Files, globs or folders; - or nothing for stdin
    #[arg(value_name = "FILE")]
    files: Vec<String>,

    #[command(flatten)]
    output: OutputFlags,

    #[command(flatten)]
    reading: ReadingFlags,

    /// Write the result in this format
    #[arg(long, value_name = "FORMAT", value_parser = document::format_names())]
    output_type: Option<String>,
}

/// How strictly to read what is encrypted.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ReadingFlags {
    #[command(flatten)]
    pub input: InputFlags,

    /// Read files that were changed without their key
    #[arg(long)]
    pub ignore_mac: bool,

    /// Refuse what the MAC cannot see and a strict reader can: see `kubectl seal status --help`
    #[arg(long, conflicts_with = "ignore_mac")]
    pub strict: bool,
}

const EXAMPLES: &str = "\
Examples:
  kubectl seal decrypt db.yaml                       to stdout
  kubectl seal decrypt -i apps/                      in place, every encrypted file of the folder
  kubectl seal decrypt apps/ --output-dir /run/out   into another folder
  kubectl seal decrypt --output-type json db.yaml    as JSON
  git show HEAD:db.env | kubectl seal decrypt --filename db.env";

/// Decrypts every file.
///
/// # Errors
/// If the arguments name nothing, or do not fit each other.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit, Failure> {
    let targets = targets::expand(&args.files, context.session)?;
    args.output.check(context, &targets)?;
    Ok(batch::run(context, &targets, |target| decrypt(args, context, target)))
}

fn decrypt(args: &Args, context: &Context<'_>, target: &Target) -> Result<Outcome, Failure> {
    let place = args.output.place(context, target);
    let _turn = place.turn(context);
    let document = args.reading.input.load(context, target)?;
    if !target.is_named() && !document.looks_encrypted() {
        return Ok(Outcome::Skipped("not encrypted"));
    }
    let output = commands::output_format(context, args.output_type.as_deref(), &document, &place)?;
    let unlocked = args.reading.unlock(context, target, &document)?;
    let plaintext = if output == document.format {
        unlocked.opened.plaintext()?
    } else {
        let written = unlocked.opened.write(output, &context.write_options(output)?);
        written.map_err(Failure::Conversion)?
    };
    let read = args.output.is_in_place().then_some(&document.source);
    place.write(context, &plaintext, Secrecy::Plaintext, read)?;
    Ok(match place {
        // The data says it all.
        Place::Stdout => Outcome::Silent,
        Place::File(_) => Outcome::Done("decrypted", String::new()),
    })
}

impl ReadingFlags {
    /// Decrypts a document of SOPS as strictly as asked for.
    ///
    /// # Errors
    /// If it cannot be decrypted, or there is a doubt and none is allowed.
    pub fn unlock(
        &self,
        context: &Context<'_>,
        target: &Target,
        document: &Document,
    ) -> Result<Unlocked, Failure> {
        let unlocked = document.unlock(context, self.check())?;
        warn_of_mixed_up_contexts(context, target, &unlocked);
        self.look_at(context, target, &unlocked)?;
        Ok(unlocked)
    }

    /// Opens a document of any scheme as strictly as asked for; nothing if it is of none, and was not named.
    ///
    /// # Errors
    /// If it cannot be opened, or there is a doubt and none is allowed.
    pub fn open<'a>(
        &self,
        opener: &'a Opener<'a>,
        context: &Context<'_>,
        target: &Target,
        document: &Document,
    ) -> Result<Option<Box<dyn OpenDocument + 'a>>, Failure> {
        let Some(opened) = opener.open(target, document, self.check())? else { return Ok(None) };
        self.look_at(context, target, &*opened)?;
        Ok(Some(opened))
    }

    const fn check(&self) -> MacCheck {
        if self.ignore_mac { MacCheck::Ignore } else { MacCheck::Require }
    }

    /// Tells what could not be read, and refuses what is not strict enough.
    fn look_at(
        &self,
        context: &Context<'_>,
        target: &Target,
        opened: &dyn OpenDocument,
    ) -> Result<(), Failure> {
        let unreadable = opened.unreadable_comments();
        if unreadable > 0 {
            let (comments, stay) = match unreadable {
                1 => ("1 comment".to_owned(), "stays as it is"),
                several => (format!("{several} comments"), "stay as they are"),
            };
            context.report.warn(format!("{target}: {comments} cannot be decrypted and {stay}"));
        }
        if self.strict { refuse_doubts(opened) } else { Ok(()) }
    }
}

fn refuse_doubts(opened: &dyn OpenDocument) -> Result<(), Failure> {
    match opened.doubts().first() {
        None => Ok(()),
        Some(doubt) => {
            let (line, path) = (doubt.line, dotted::show(&doubt.path));
            Err(Failure::Check(format!("line {line}: {path}: {}", crate::doubts::describe(doubt.kind))))
        }
    }
}
