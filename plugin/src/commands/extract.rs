//! `kubectl seal extract`.

use selkie::format::WriteOptions;
use selkie::secret::SecretBytes;
use selkie::tree::{Step, TreePath, Value};

use crate::change::DocumentFlag;
use crate::commands::decrypt::ReadingFlags;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::{batch, dotted, report, targets};

/// Print one value of encrypted files
///
/// A text is printed as it is, without a line's end, so that it can be piped. Anything else is printed in the
/// format of the file. An empty path stands for the whole document, without its metadata.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, override_usage = "kubectl seal extract [OPTIONS] <FILE>... <PATH>")]
pub struct Args {
    /// Files, globs or folders, or - for stdin; then the path, such as data.password
    #[arg(value_name = "FILE... PATH", required = true, num_args = 1..)]
    arguments: Vec<String>,

    /// Print what the value holds in base64, as `data` of a Kubernetes Secret does
    #[arg(long)]
    base64: bool,

    #[command(flatten)]
    document: DocumentFlag,

    #[command(flatten)]
    reading: ReadingFlags,
}

const EXAMPLES: &str = "\
Examples:
  kubectl seal extract db.yaml stringData.password
  kubectl seal extract db.yaml data.password --base64      decoded
  kubectl seal extract db.yaml 'data[\"tls.crt\"]' --base64 > tls.crt
  kubectl seal extract db.yaml 'users[0]'                  a map, as YAML";

/// Prints the value of every file.
///
/// # Errors
/// If the arguments name nothing.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit, Failure> {
    let needed = || Failure::Usage("a file and a path are needed".to_owned());
    let (path, files) =
        args.arguments.split_last().filter(|(_, files)| !files.is_empty()).ok_or_else(needed)?;
    let path = dotted::parse(path)?;
    let targets = targets::expand(files, context.session)?;
    let is_one = matches!(targets.as_slice(), [target] if target.is_named());
    Ok(batch::one_by_one(context, &targets, |target| {
        let document = args.reading.input.load(context, target)?;
        if !target.is_named() && !document.looks_encrypted() {
            return Ok(false);
        }
        let unlocked = args.reading.unlock(context, target, &document)?;
        let mut value = extract(args, &unlocked, &path)?;
        if !is_one {
            let heading = context.report.paint_data(report::STRONG, format!("==> {target} <=="));
            let mut shown = SecretBytes::from(format!("{heading}\n"));
            shown.extend_from_slice(value.expose_secret());
            value = shown;
        }
        // A prompt on the same line would look like a part of the value.
        let needs_end = !is_one || context.session.stdout.is_terminal();
        if needs_end && !value.expose_secret().ends_with(b"\n") {
            value.push(b'\n');
        }
        let written = context.session.stdout.write(value.expose_secret());
        written.map_err(Failure::io("write", "stdout")).map(|()| true)
    }))
}

fn extract(args: &Args, unlocked: &selkie::sops::Unlocked, path: &TreePath) -> Result<SecretBytes, Failure> {
    let (tree, format) = (unlocked.opened.tree(), unlocked.opened.format());
    // What is not YAML, JSON and so on is one value.
    let path = if format.store().is_single_value() && path.steps().is_empty() {
        TreePath::from_iter([Step::Key("data".to_owned())])
    } else {
        path.clone()
    };
    let root = args.document.having(tree, &path)?;
    let node = tree.get(root, &path);
    let node = node.ok_or_else(|| Failure::NotFound(path.clone()))?;
    match tree.node(node).value {
        Value::Str(text) if args.base64 => crate::base64::decode(tree.bytes(text))
            .ok_or_else(|| Failure::Value(format!("{} is not base64", dotted::show(&path)))),
        _ if args.base64 => Err(Failure::Value(format!("{} is not a text", dotted::show(&path)))),
        Value::Str(text) => Ok(tree.bytes(text).into()),
        _ => Ok(format.store().write_value(tree, node, &WriteOptions::default())?),
    }
}
