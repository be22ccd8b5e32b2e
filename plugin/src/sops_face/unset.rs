//! `sops unset`: takes a value out of an encrypted file.

use std::path::Path;

use selkie::tree::{NodeId, Step, Tree, TreePath, Value};

use super::change::change;
use super::document::{Source, marshal_failure};
use super::failure::Failure;
use super::grammar::Flag;
use super::set::parse_path;
use super::{Action, Command, Context, flags};
use crate::exit::Exit;
use crate::reach::{Reach, reach_in_first};

pub(super) static COMMAND: Command = Command {
    name: "unset",
    about: "take a value out of an encrypted file: unset file '[\"key\"][0]'",
    arguments: "file index",
    flags: || {
        let mut all = vec![
            Flag::switch("idempotent", "leave the file alone if it does not have the value"),
            flags::threshold(),
            flags::ignore_mac(),
            flags::decryption_order(),
        ];
        all.extend(flags::types());
        all.extend(flags::key_services());
        all
    },
    action: Action::Run(run),
};

fn run(context: &Context<'_>) -> Result<(), Failure> {
    let [file, index] = context.given.arguments() else {
        return Err(Failure::new(Exit::NoFile, "Error: no file specified, or index is missing"));
    };
    context.configuration()?;
    let path = parse_path(&index.to_string_lossy(), "Invalid unset index format")?;
    let source = Source::File(context.session.absolute(Path::new(file)));
    change(context, &source, &|format, tree| match find(tree, &path) {
        Ok(node) => format.store().remove(tree, node).map(Some).map_err(|error| marshal_failure(&error)),
        Err(Absence::Missing(_)) if context.given.switch("idempotent") => Ok(None),
        Err(Absence::Missing(why) | Absence::Unfit(why)) => Err(Failure::generic(why)),
    })
}

/// Why a value is not there.
#[derive(Debug, PartialEq, Eq)]
enum Absence {
    /// Nothing is at its place.
    Missing(String),
    /// Its place is in something else than the path says.
    Unfit(String),
}

fn find(tree: &Tree, path: &TreePath) -> Result<NodeId, Absence> {
    let Some(Reach { node, rest }) = reach_in_first(tree, path) else {
        return Err(Absence::Missing("there is no document".to_owned()));
    };
    match (rest.first(), tree.node(node).value) {
        (None, _) if path.steps().is_empty() => {
            Err(Absence::Unfit("the index is empty: name the key to unset".to_owned()))
        }
        (None, _) => Ok(node),
        (Some(Step::Key(key)), Value::Map) => Err(Absence::Missing(format!("Key not found: {key}"))),
        (Some(Step::Index(index)), Value::List) => {
            Err(Absence::Missing(format!("Index {index} out of bounds")))
        }
        (Some(Step::Key(key)), _) => {
            Err(Absence::Unfit(format!("Unsupported type: not a map for item '{key}'")))
        }
        (Some(Step::Index(index)), _) => {
            Err(Absence::Unfit(format!("Unsupported type: not a list for item '{index}'")))
        }
    }
}

#[cfg(test)]
mod tests {
    use selkie::format::Format;

    use super::*;

    #[test]
    fn what_is_missing_is_told_from_what_does_not_fit() {
        let tree = Format::Json.read(r#"{"a": [1], "b": 2}"#).expect("a document");
        let absence = |path| find(&tree, &TreePath::parse(path).expect("a path")).expect_err("it is absent");
        assert_eq!(absence(r#"["x"]"#), Absence::Missing("Key not found: x".into()));
        assert_eq!(absence(r#"["a"][1]"#), Absence::Missing("Index 1 out of bounds".into()));
        assert!(matches!(absence(r#"["a"]["x"]"#), Absence::Unfit(_)));
        assert!(matches!(absence(r#"["b"][0]"#), Absence::Unfit(_)));
        assert!(matches!(absence(""), Absence::Unfit(_)));
    }
}
