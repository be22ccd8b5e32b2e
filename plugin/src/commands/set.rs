//! `kubectl seal set`.

use std::path::PathBuf;

use selkie::secret::SecretBytes;
use selkie::sops::MacCheck;
use selkie::tree::TreePath;
use serde_json::Value as Json;

use crate::batch::{self, Outcome};
use crate::change::DocumentFlag;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::targets::{self, Target};
use crate::{change, commands, document, dotted, json_value};

/// Change one value of encrypted files
///
/// The value is a text, unless --json says otherwise. Files are replaced, and nothing but the value and
/// the metadata changes in them; one that has the value already stays untouched. A value that starts with a
/// hyphen goes behind --, unless it is a number.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, override_usage = "kubectl seal set [OPTIONS] <FILE>... <PATH> <VALUE>")]
pub struct Args {
    /// Files, globs or folders; then the path, such as data.password; then the value
    #[arg(value_name = "FILE... PATH VALUE", required = true, num_args = 1.., allow_negative_numbers = true)]
    arguments: Vec<String>,

    /// Read the value as JSON: a number, true, null, a list, a map
    #[arg(short, long, conflicts_with = "base64")]
    json: bool,

    /// Keep the value in base64, as `data` of a Kubernetes Secret has it
    #[arg(long)]
    base64: bool,

    /// Take the value from this file instead
    #[arg(long, value_name = "FILE", conflicts_with = "value_stdin")]
    value_file: Option<PathBuf>,

    /// Take the value from stdin instead, without its last line's end
    #[arg(long)]
    value_stdin: bool,

    #[command(flatten)]
    document: DocumentFlag,

    /// Allow a path that the rule of the file leaves in clear
    #[arg(long)]
    in_clear: bool,

    /// Change files that were changed without their key
    #[arg(long)]
    ignore_mac: bool,
}

const EXAMPLES: &str = "\
Examples:
  kubectl seal set db.yaml stringData.password x             a text
  kubectl seal set db.yaml data.password x --base64          a text, in base64
  kubectl seal set db.yaml 'stringData[\"tls.key\"]' --value-file k.pem
  pass db | kubectl seal set db.yaml stringData.password --value-stdin
  kubectl seal set db.yaml stringData.password -- -x         a text that starts with a hyphen
  kubectl seal set --json values.yaml replicas 3             a number
  kubectl seal set --json values.yaml 'hosts[0]' '{\"a\": 1}'  a map, in a list";

/// Changes every file.
///
/// # Errors
/// If the arguments do not fit each other, or the value cannot be read.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit, Failure> {
    let (files, path, value) = args.split(context)?;
    let targets = targets::expand(files, context.session)?;
    commands::refuse_stdin(&targets)?;
    commands::refuse_missing(context, &targets)?;
    Ok(batch::run(context, &targets, |target| set(args, context, target, &path, &value)))
}

impl Args {
    /// Tells files, path and value apart.
    fn split(&self, context: &Context<'_>) -> Result<(&[String], TreePath, Json), Failure> {
        let from_elsewhere = self.value_stdin || self.value_file.is_some();
        let (value, rest) = match self.arguments.split_last() {
            Some((value, rest)) if !from_elsewhere => (Some(value), rest),
            _ => (None, self.arguments.as_slice()),
        };
        let missing = || Failure::Usage("a file, a path and a value are needed".to_owned());
        let (path, files) = rest.split_last().ok_or_else(missing)?;
        if files.is_empty() {
            return Err(missing());
        }
        let text = match value {
            Some(value) => SecretBytes::from(value.as_str()),
            None => self.read_value(context)?,
        };
        Ok((files, dotted::parse(path)?, self.value(&text)?))
    }

    fn read_value(&self, context: &Context<'_>) -> Result<SecretBytes, Failure> {
        if let Some(path) = &self.value_file {
            return document::read(context, path);
        }
        let mut text = context.session.stdin.read_all().map_err(Failure::io("read", "stdin"))?;
        for end in [b'\n', b'\r'] {
            if text.expose_secret().last() == Some(&end) {
                text.truncate(text.len() - 1);
            }
        }
        Ok(text)
    }

    fn value(&self, text: &SecretBytes) -> Result<Json, Failure> {
        let malformed = |why: &str| Failure::Value(format!("the value {why}"));
        if self.json {
            return Ok(json_value::parse(text)?);
        }
        if self.base64 {
            return Ok(crate::base64::encode(text).into());
        }
        let text = str::from_utf8(text.expose_secret());
        text.map(Json::from).map_err(|_| malformed("is not UTF-8; --base64 keeps any bytes"))
    }
}

fn set(
    args: &Args,
    context: &Context<'_>,
    target: &Target,
    path: &TreePath,
    value: &Json,
) -> Result<Outcome, Failure> {
    commands::change_in_place(context, target, mac_check(args.ignore_mac), |format, tree, unlocked| {
        change::refuse_reserved(format, path)?;
        let root = args.document.taking(tree, path)?;
        let changed = change::set(format, tree, root, path, value)?;
        let again = format.read(SecretBytes::from(changed.expose_secret()))?;
        for alias in change::written_out(tree, &again, path) {
            let alias = dotted::show(&alias);
            context.report.note(format!("{target}: {alias} was an alias, and keeps the value it had"));
        }
        if !args.in_clear {
            let root = again.documents().get(tree.document_of(root)).copied();
            let root = root.ok_or_else(|| Failure::NotFound(path.clone()))?;
            change::refuse_clear(format, &again, &unlocked.envelope.metadata().selector, root, path)?;
        }
        Ok(changed)
    })
}

const fn mac_check(ignore: bool) -> MacCheck {
    if ignore { MacCheck::Ignore } else { MacCheck::Require }
}
