//! `sops decrypt`: makes an encrypted document a plain one, or prints a part of it.

use selkie::secret::SecretBytes;
use selkie::sops::Opened;
use selkie::tree::{NodeId, Step, TreePath, Value};

use super::document::{Formats, Source, check_output, dump_failure, plaintext, write_in_place, write_output};
use super::failure::Failure;
use super::grammar::Flag;
use super::services::Services;
use super::{Action, Command, Context, flags};
use crate::exit::Exit;
use crate::files::{Audience, Expected};
use crate::reach::{Reach, reach_in_first};

pub(super) static COMMAND: Command = Command {
    name: "decrypt",
    about: "decrypt a file, or stdin, to stdout",
    arguments: "[file]",
    flags: || {
        let mut all = vec![
            Flag::text("extract", "print only the value at this path, such as '[\"key\"][0]'"),
            flags::ignore_mac(),
            flags::filename_override(),
            flags::decryption_order(),
        ];
        all.extend(flags::output());
        all.extend(flags::types());
        all.extend(flags::key_services());
        all
    },
    action: Action::Run(run),
};

fn run(context: &Context<'_>) -> Result<(), Failure> {
    let source = Source::of(context);
    if matches!(source, Source::Stdin) && context.given.switch(flags::IN_PLACE) {
        return Err(Failure::new(Exit::Conflict, "Error: cannot use --in-place when reading from stdin"));
    }
    context.warn_of_more_arguments();
    decrypt(context, &source)
}

/// Decrypts a document and writes it where it is to go.
pub(super) fn decrypt(context: &Context<'_>, source: &Source) -> Result<(), Failure> {
    check_output(context)?;
    source.must_exist()?;
    let configuration = context.configuration()?;
    let formats = Formats::of(context, configuration, &source.name(context));
    let services = Services::of(context)?;
    let path = extract_path(context)?;
    let _turn = source.turn(context, context.given.switch(flags::IN_PLACE));
    let (_, opened) = source.read_encrypted(context, formats.input)?.open(context, &services)?;
    match source {
        Source::File(file) if context.given.switch(flags::IN_PLACE) => {
            let in_place = path.steps().is_empty() && formats.input == formats.output;
            let content = if in_place { plaintext(&opened)? } else { write(&opened, &path, &formats)? };
            let expected = Expected::Content(opened.tree().source());
            write_in_place(context, file, &content, Audience::Owner, expected)
        }
        _ => write_output(context, &write(&opened, &path, &formats)?, Audience::Owner),
    }
}

/// Returns a decrypted document, or the value at `path`, as sops writes it.
pub(super) fn write(opened: &Opened, path: &TreePath, formats: &Formats) -> Result<SecretBytes, Failure> {
    if path.steps().is_empty() {
        return opened.write(formats.output, &formats.options).map_err(|error| dump_failure(&error));
    }
    let node = find(opened, path)?;
    let written = formats.output.store().write_value(opened.tree(), node, &formats.options);
    written.map_err(|error| Failure::new(Exit::Serialise, format!("Error dumping tree: {error}")))
}

fn extract_path(context: &Context<'_>) -> Result<TreePath, Failure> {
    let text = context.given.text("extract").unwrap_or_default();
    TreePath::parse(&text)
        .map_err(|error| Failure::new(Exit::Path, format!("error parsing --extract path: {error}")))
}

/// Finds a value in the first document; says at which step it is not there.
fn find(opened: &Opened, path: &TreePath) -> Result<NodeId, Failure> {
    let tree = opened.tree();
    let truncating = |why: &str| Failure::generic(format!("error truncating tree: {why}"));
    let Some(Reach { node, rest }) = reach_in_first(tree, path) else {
        return Err(truncating("there is no document"));
    };
    match (rest.first(), tree.node(node).value) {
        (None, _) => Ok(node),
        (Some(Step::Index(index)), Value::List) => {
            Err(truncating(&format!("component [{index}] accesses out of bounds")))
        }
        (Some(Step::Index(index)), _) => {
            Err(truncating(&format!("component [{index}] is integer, but tree part is not a slice")))
        }
        (Some(Step::Key(key)), _) => Err(truncating(&format!("component ['{key}'] not found"))),
    }
}
