//! `sops exec-env`: runs a command with decrypted values as variables of its environment.

use std::ffi::OsString;
use std::path::Path;

use selkie::format::append_scalar_text;
use selkie::secret::SecretBytes;
use selkie::tree::{NodeId, Tree};

use super::document::{Formats, Source};
use super::failure::Failure;
use super::grammar::Flag;
use super::services::Services;
use super::{Action, Command, Context, flags};
use crate::exec::{Run, Variable};

pub(super) static COMMAND: Command = Command {
    name: "exec-env",
    about: "run a command with the decrypted values in its environment",
    arguments: "file command",
    flags: || {
        let mut all = vec![
            Flag::switch("background", "do not wait for the command (deprecated)"),
            Flag::switch("pristine", "give the command the decrypted values and nothing else"),
            Flag::text("user", "run the command as this user"),
            Flag::switch("same-process", "become the command in place of waiting for it"),
            flags::decryption_order(),
        ];
        all.extend(flags::key_services());
        all
    },
    action: Action::Run(run),
};

fn run(context: &Context<'_>) -> Result<(), Failure> {
    let [file, command] = context.given.arguments() else {
        return Err(Failure::generic("error: missing file to decrypt"));
    };
    let background = context.given.switch("background");
    let same_process = context.given.switch("same-process");
    if background {
        context.log.warn(
            "exec-env's --background option is deprecated and will be removed in a future version of sops",
        );
        if same_process {
            let message = "Error: The --same-process flag cannot be used with --background";
            return Err(Failure::new(crate::exit::Exit::Conflict, message));
        }
    }
    let source = Source::File(context.session.absolute(Path::new(file)));
    let configuration = context.configuration()?;
    let formats = Formats::of(context, configuration, &source.name(context));
    let services = Services::of(context)?;
    let (_, opened) = source.read_encrypted(context, formats.input)?.open(context, &services)?;
    let variables = variables(opened.tree())?;
    let user = context.given.text("user");
    let pristine = context.given.switch("pristine");
    let run = Run { command, user: user.as_deref(), pristine, background };
    match same_process {
        true => run.in_place_of_this_process(variables)?,
        false => run.with_variables(variables)?,
    }
    Ok(())
}

/// Returns the values at the top of the first document.
fn variables(tree: &Tree) -> Result<Vec<Variable>, Failure> {
    let root = tree.documents().first().copied();
    root.into_iter().flat_map(|root| tree.items(root)).map(|item| variable(tree, item)).collect()
}

fn variable(tree: &Tree, item: NodeId) -> Result<Variable, Failure> {
    let key = os_string(tree.key(item).unwrap_or_default());
    let shown = key.to_string_lossy();
    if shown.contains('=') {
        return Err(Failure::generic(format!("cannot use keys with '=' in environment: {shown}")));
    }
    let mut value = SecretBytes::new();
    if !append_scalar_text(tree, tree.node(item).value, &mut value) {
        let message = format!("cannot use complex value in environment; offending key {shown}");
        return Err(Failure::generic(message));
    }
    Ok((key, os_string(value.expose_secret())))
}

#[cfg(unix)]
fn os_string(bytes: &[u8]) -> OsString {
    std::os::unix::ffi::OsStringExt::from_vec(bytes.to_vec())
}

#[cfg(not(unix))]
fn os_string(bytes: &[u8]) -> OsString {
    String::from_utf8_lossy(bytes).into_owned().into()
}

#[cfg(test)]
mod tests {
    use selkie::format::Format;

    use super::*;

    fn variables_of(document: &str) -> Result<Vec<(String, String)>, String> {
        let tree = Format::Json.read(document).expect("a document");
        let text = |text: OsString| text.into_string().expect("Unicode");
        let variables = variables(&tree).map_err(|failure| failure.message)?;
        Ok(variables.into_iter().map(|(name, value)| (text(name), text(value))).collect())
    }

    #[test]
    fn values_are_written_as_by_sops() {
        let cases = [("1", "1"), ("1.0", "1.0"), ("true", "true"), ("\"a b\"", "a b"), ("null", "<nil>")];
        for (json, expected) in cases {
            let variables = variables_of(&format!("{{\"k\": {json}}}")).expect("variables");
            assert_eq!(variables, [("k".to_owned(), expected.to_owned())], "{json}");
        }
    }

    #[test]
    fn what_no_variable_can_hold_is_refused() {
        let complex = variables_of(r#"{"k": {}}"#).expect_err("a map");
        assert_eq!(complex, "cannot use complex value in environment; offending key k");
        assert!(variables_of(r#"{"a=b": 1}"#).is_err());
    }
}
