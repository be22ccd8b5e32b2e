//! `kubectl seal exec-env`.

use std::ffi::OsString;

use selkie::format::append_scalar_text;
use selkie::secret::SecretBytes;
use selkie::tree::{NodeId, Tree, Value};

use crate::commands::decrypt::ReadingFlags;
use crate::context::Context;
use crate::exec::{Run, Variable};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::targets::{self, Target};
use crate::{batch, commands};

/// Run a command with the values of encrypted files as its environment
///
/// Each value at the top of a file becomes a variable. Of a Kubernetes Secret, the entries of stringData do,
/// and those of data, decoded. Nothing is written to a file. One argument is a command line for the shell.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Files or globs; later ones win
    #[arg(value_name = "FILE", required = true)]
    files: Vec<String>,

    /// The command and its arguments
    #[arg(value_name = "COMMAND", required = true, last = true)]
    command: Vec<String>,

    /// Give the command these variables only, and nothing of this environment
    #[arg(long)]
    pristine: bool,

    #[command(flatten)]
    reading: ReadingFlags,
}

const EXAMPLES: &str = "\
Examples:
  kubectl seal exec-env db.env -- ./server --port 8080
  kubectl seal exec-env db.yaml extra.env -- 'psql \"$DATABASE_URL\" | less'";

/// Runs the command.
///
/// # Errors
/// If a file cannot be decrypted, a value cannot be a variable, or the command fails.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit, Failure> {
    let targets = targets::expand(&args.files, context.session)?;
    let mut variables = Vec::new();
    for target in &targets {
        match batch::needed(context, target, read(args, context, target)) {
            Ok(found) => variables.extend(found),
            Err(exit) => return Ok(exit),
        }
    }
    let command = commands::command_line(&args.command)?;
    let run = Run { command: &command, user: None, pristine: args.pristine, background: false };
    run.with_variables(variables)?;
    Ok(Exit::Success)
}

/// Returns the variables of a file; none if it was found and is not encrypted.
fn read(args: &Args, context: &Context<'_>, target: &Target) -> Result<Vec<Variable>, Failure> {
    let document = args.reading.input.load(context, target)?;
    if !target.is_named() && !document.looks_encrypted() {
        return Ok(Vec::new());
    }
    variables_of(args.reading.unlock(context, target, &document)?.opened.tree())
}

/// Returns the variables that a document stands for.
fn variables_of(tree: &Tree) -> Result<Vec<Variable>, Failure> {
    let root = match tree.documents() {
        [] => return Ok(Vec::new()),
        [root] => *root,
        several => {
            let number = several.len();
            return Err(Failure::Check(format!("the file has {number} documents; variables come from one")));
        }
    };
    let entries = if is_secret(tree, root) { secret_entries(tree, root)? } else { entries(tree, root)? };
    entries.into_iter().map(|(name, value)| variable(&name, &value)).collect()
}

fn entries(tree: &Tree, map: NodeId) -> Result<Vec<(String, SecretBytes)>, Failure> {
    let mut entries = Vec::new();
    for item in tree.items(map) {
        let name = String::from_utf8_lossy(tree.key(item).unwrap_or_default()).into_owned();
        if tree.node(item).value != Value::Null {
            let value = text_of(tree, item);
            let value = value.ok_or_else(|| Failure::Value(format!("{name} is no single value")))?;
            entries.push((name, value));
        }
    }
    Ok(entries)
}

/// Returns the entries of a Kubernetes Secret as a pod would see them.
fn secret_entries(tree: &Tree, root: NodeId) -> Result<Vec<(String, SecretBytes)>, Failure> {
    let below = |name: &str| tree.items(root).find(|&id| tree.key(id) == Some(name.as_bytes()));
    let mut found = Vec::new();
    if let Some(data) = below("data") {
        for (name, value) in entries(tree, data)? {
            let decoded = crate::base64::decode(value.expose_secret());
            let decoded = decoded.ok_or_else(|| Failure::Value(format!("{name} is not base64")))?;
            found.push((name, decoded));
        }
    }
    if let Some(data) = below("stringData") {
        found.extend(entries(tree, data)?);
    }
    Ok(found)
}

fn is_secret(tree: &Tree, root: NodeId) -> bool {
    let has = |key: &str, text: &str| {
        let item = tree.items(root).find(|&id| tree.key(id) == Some(key.as_bytes()));
        item.and_then(|id| text_of(tree, id)).is_some_and(|found| found.expose_secret() == text.as_bytes())
    };
    has("apiVersion", "v1") && has("kind", "Secret")
}

/// Returns a scalar as the library writes it where there is only text.
fn text_of(tree: &Tree, id: NodeId) -> Option<SecretBytes> {
    let mut text = SecretBytes::new();
    append_scalar_text(tree, tree.node(id).value, &mut text).then_some(text)
}

fn variable(name: &str, value: &SecretBytes) -> Result<Variable, Failure> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(Failure::Value(format!("{name:?} cannot be the name of a variable")));
    }
    if value.expose_secret().contains(&0) {
        return Err(Failure::Value(format!("{name} holds a zero byte, which no variable can")));
    }
    let value =
        os_string(value.expose_secret()).ok_or_else(|| Failure::Value(format!("{name} is not a text")))?;
    Ok((name.into(), value))
}

#[cfg(unix)]
fn os_string(bytes: &[u8]) -> Option<OsString> {
    Some(std::os::unix::ffi::OsStringExt::from_vec(bytes.to_vec()))
}

#[cfg(not(unix))]
fn os_string(bytes: &[u8]) -> Option<OsString> {
    str::from_utf8(bytes).ok().map(Into::into)
}

#[cfg(test)]
mod tests {
    use selkie::format::Format;

    use super::*;

    fn variables(text: &str) -> Result<Vec<(String, String)>, Failure> {
        let tree = Format::Json.read(text).expect("the text is JSON");
        let text = |text: OsString| text.into_string().expect("a text");
        Ok(variables_of(&tree)?.into_iter().map(|(name, value)| (text(name), text(value))).collect())
    }

    fn named(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn values_at_the_top_are_variables() {
        let found = variables(r#"{"A": "x", "B": 7, "C": true, "D": null, "E": 1.0}"#);
        assert_eq!(found.expect("variables"), named(&[("A", "x"), ("B", "7"), ("C", "true"), ("E", "1.0")]));
    }

    #[test]
    fn secrets_give_their_entries() {
        let text =
            r#"{"apiVersion": "v1", "kind": "Secret", "data": {"A": "eA=="}, "stringData": {"B": "y"}}"#;
        assert_eq!(variables(text).expect("variables"), named(&[("A", "x"), ("B", "y")]));
    }

    #[test]
    fn what_cannot_be_a_variable_is_refused() {
        for text in [r#"{"a": {"b": 1}}"#, r#"{"a=b": "x"}"#, r#"{"a": "\u0000"}"#] {
            assert!(matches!(variables(text), Err(Failure::Value(_))), "{text}");
        }
    }
}
