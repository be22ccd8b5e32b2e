//! `kubectl seal edit`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use selkie::format::Format;
use selkie::secret::SecretBytes;
use selkie::sops::MacCheck;

use crate::context::Context;
use crate::document::{self, InputFlags};
use crate::editor::{EditError, Editor};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::files;
use crate::opening::{Opener, OpeningFlags};
use crate::report::describe;
use crate::settings::SettingsFlags;
use crate::targets::{self, Target};
use crate::terminal::Terminal;
use crate::{batch, commands, pasted, sealing};

/// Edit encrypted files in your editor
///
/// The editor is what SOPS_EDITOR or EDITOR names. While you edit, the plaintext is in memory where the
/// system allows it. A text that cannot be encrypted is opened again; it is never thrown away. Values that
/// you do not change keep their ciphertext, and a file that you leave as it is stays untouched.
///
/// The values of a SealedSecret stand below stringData while you edit. They are sealed for --cert, or for the newest
/// of the keys at hand; those of an object whose name, namespace or scope you change are sealed again.
///
/// A file that does not exist yet starts as an example, and is encrypted as .sops.yaml says.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Files, globs or folders; one after the other
    #[arg(value_name = "FILE", required = true)]
    files: Vec<String>,

    /// Edit files that were changed without their key, and make them whole
    #[arg(long)]
    ignore_mac: bool,

    /// Read the file as this format, whatever its name
    #[arg(long, value_name = "FORMAT", value_parser = document::format_names())]
    input_type: Option<String>,

    #[command(flatten)]
    settings: SettingsFlags,

    #[command(flatten)]
    opening: OpeningFlags,
}

const EXAMPLES: &str = "\
Examples:
  kubectl seal edit db.yaml
  EDITOR='code --wait' kubectl seal edit db.yaml
  kubectl seal edit apps/new.yaml              a new file, encrypted as .sops.yaml says
  kubectl seal edit --sealing-key backup.yaml sealed.yaml    a SealedSecret";

/// Opens every file, one after the other.
///
/// # Errors
/// If the arguments name nothing, or there is no editor.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit, Failure> {
    let targets = targets::expand(&args.files, context.session)?;
    commands::refuse_stdin(&targets)?;
    let editor = Editor::find(&context.session.environment)?;
    let opener = args.opening.opener(context);
    Ok(batch::one_by_one(context, &targets, |target| {
        let Target::File { path, .. } = target else { return Ok(false) };
        let Some(verb) = edit(args, context, &editor, &opener, target, path)? else { return Ok(false) };
        context.report.done(verb, target, "");
        Ok(true)
    }))
}

fn edit(
    args: &Args,
    context: &Context<'_>,
    editor: &Editor,
    opener: &Opener<'_>,
    target: &Target,
    path: &Path,
) -> Result<Option<&'static str>, Failure> {
    let input = InputFlags { input_type: args.input_type.clone(), filename: None };
    if !context.session.absolute(path).exists() {
        return create(args, context, editor, &input, target, path).map(Some);
    }
    let document = input.load(context, target)?;
    let check = if args.ignore_mac { MacCheck::Ignore } else { MacCheck::Require };
    let Some(opened) = opener.open(target, &document, check)? else { return Ok(None) };
    // Before anything is typed that then could not be sealed.
    opener.cert_for(&*opened)?;
    let plaintext = opened.plaintext()?;
    let rescue = if opened.metadata().is_none() { seal_again } else { encrypt_again };
    let mut dialogue = Terminal { context, path, rescue };
    let take = |edited: SecretBytes| -> Result<&'static str, Failure> {
        match opener.seal(Some(path), &*opened, &edited)? {
            None => Ok("unchanged"),
            Some(resealed) => {
                let _turn = document::turn(context, target);
                document::replace(context, path, &document.source, &resealed)?;
                Ok("changed")
            }
        }
    };
    let name = path.file_name().unwrap_or(OsStr::new("text"));
    let edited = editor.edit(name, &plaintext, &context.session.environment, &mut dialogue, &mut |text| {
        take(text).map_err(|failure| describe(&failure, "hint:"))
    });
    match edited {
        // The file may have been opened only to be made whole.
        Err(EditError::Unchanged) if args.ignore_mac => {
            let Some(whole) = opener.make_whole(Some(path), &*opened)? else {
                return Err(Failure::NotModified);
            };
            let _turn = document::turn(context, target);
            document::replace(context, path, &document.source, &whole)?;
            Ok(Some("made whole"))
        }
        Err(EditError::Unchanged) => Err(Failure::NotModified),
        result => Ok(Some(result?)),
    }
}

fn create(
    args: &Args,
    context: &Context<'_>,
    editor: &Editor,
    input: &InputFlags,
    target: &Target,
    path: &Path,
) -> Result<&'static str, Failure> {
    // Before anything is typed that then could not be written.
    // Not once somebody has written something.
    context.audit_is_there()?;
    files::check_creation(&context.session.absolute(path))
        .map_err(Failure::io("write", path.display().to_string()))?;
    let absolute = input.path(context, target);
    let settings = args.settings.resolve(context, absolute.as_deref())?;
    let format = input.format(absolute.as_deref());
    let text = example(format, path);
    let mut dialogue = Terminal { context, path, rescue: encrypt_again };
    let take = |edited: SecretBytes| -> Result<&'static str, Failure> {
        let tree = format.read(edited)?;
        let (sealed, _) =
            sealing::seal_anew(context, absolute.as_deref(), settings.metadata(), (format, tree), format)?;
        document::create(context, path, &sealed)?;
        Ok("encrypted")
    };
    let name = path.file_name().unwrap_or(OsStr::new("text"));
    let edited = editor.edit(name, &text, &context.session.environment, &mut dialogue, &mut |text| {
        take(text).map_err(|failure| describe(&failure, "hint:"))
    });
    match edited {
        Err(EditError::Unchanged) => Err(Failure::NotModified),
        result => Ok(result?),
    }
}

/// What a new file starts as.
fn example(format: Format, path: &Path) -> SecretBytes {
    let stem = PathBuf::from(path.file_stem().unwrap_or_default());
    let name = stem.display();
    match format {
        Format::Binary => "Replace this text.\n".into(),
        Format::Dotenv => "# One variable a line.\nPASSWORD=change me\n".into(),
        Format::Ini => "[section]\npassword = change me\n".into(),
        Format::Json => "{\n  \"password\": \"change me\"\n}\n".into(),
        Format::Yaml => format!(
            "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\nstringData:\n  password: change me\n"
        )
        .into(),
    }
}

/// Says how a kept text gets into a file of SealedSecrets.
fn seal_again(path: &Path, _: &Path) -> String {
    format!("open {} again with `kubectl seal edit`, put the text in", pasted::path(path))
}

/// Says how a kept text gets into any other file.
fn encrypt_again(path: &Path, kept: &Path) -> String {
    let (file, kept) = (pasted::path(path), pasted::path(kept));
    format!("run `kubectl seal encrypt --filename {file} --output {file} {kept}`")
}
