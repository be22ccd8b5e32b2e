//! `sops set`: puts a value into an encrypted file.

use std::ffi::OsStr;
use std::path::Path;

use selkie::format::Place;
use selkie::secret::SecretBytes;
use selkie::tree::{Step, Tree, TreePath, Value};
use serde_json::Value as Json;

use super::change::change;
use super::document::{Source, marshal_failure};
use super::failure::{Failure, already_encrypted, cause, of_file};
use super::grammar::Flag;
use super::{Action, Command, Context, flags};
use crate::change::refuse_reserved;
use crate::exit::Exit;
use crate::files;
use crate::json_value::{self, JsonValueError};
use crate::reach::{Reach, nest, reach_in_first};

pub(super) static COMMAND: Command = Command {
    name: "set",
    about: "put a value, given as JSON, into an encrypted file: set file '[\"key\"][0]' '\"value\"'",
    arguments: "file index [value]",
    flags: || {
        let mut all = vec![
            Flag::switch("value-file", "take the value from the file that is named in its place"),
            Flag::switch("value-stdin", "take the value from stdin"),
            Flag::switch("idempotent", "leave the file alone if it has the value already"),
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
    let from_stdin = context.given.switch("value-stdin");
    if from_stdin && context.given.switch("value-file") {
        return Err(Failure::generic("Error: cannot use both --value-file and --value-stdin"));
    }
    let arguments = context.given.arguments();
    let (file, index, value) = match (arguments, from_stdin) {
        ([file, index], true) => (file, index, None),
        ([file, index, value], false) => (file, index, Some(value)),
        _ => return Err(wrong_arguments(from_stdin)),
    };
    context.configuration()?;
    let path = parse_path(&index.to_string_lossy(), "Invalid set index format")?;
    let value = parse_value(&read_value(context, value.map(AsRef::as_ref))?)?;
    let source = Source::File(context.session.absolute(Path::new(file)));
    set(context, &source, &path, &value)
}

/// Puts a value into a document.
pub(super) fn set(
    context: &Context<'_>,
    source: &Source,
    path: &TreePath,
    value: &Json,
) -> Result<(), Failure> {
    change(context, source, &|format, tree| {
        refuse_reserved(format, path)
            .map_err(|_| Failure::new(Exit::AlreadyEncrypted, already_encrypted()))?;
        let (place, value) = place(tree, path, value)?;
        if context.given.switch("idempotent")
            && matches!(place, Place::Node(node) if tree.to_json(node) == value)
        {
            context.log.info("File not written due to no change");
            return Ok(None);
        }
        format.store().put(tree, place, &value).map(Some).map_err(|error| marshal_failure(&error))
    })
}

/// Reads the path of a value.
pub(super) fn parse_path(text: &str, what: &str) -> Result<TreePath, Failure> {
    TreePath::parse(text).map_err(|error| Failure::new(Exit::Set, format!("{what}: {error}")))
}

/// Reads a value that is given as JSON.
pub(super) fn parse_value(text: &SecretBytes) -> Result<Json, Failure> {
    let message = |error| match error {
        JsonValueError::Integer => format!("Value for --set: {error}; put the number in quotes"),
        JsonValueError::Malformed { .. } => "Value for --set is not valid JSON".to_owned(),
        JsonValueError::Range => format!("Value for --set is not valid JSON: {error}"),
    };
    json_value::parse(text).map_err(|error| Failure::new(Exit::Set, message(error)))
}

fn read_value(context: &Context<'_>, argument: Option<&OsStr>) -> Result<SecretBytes, Failure> {
    match argument {
        None => context.session.stdin.read_all().map_err(|error| Failure::generic(cause(&error))),
        Some(file) if context.given.switch("value-file") => {
            let file = context.session.absolute(Path::new(file));
            files::read(&file).map_err(|error| Failure::generic(of_file("open", &file, &error)))
        }
        Some(value) => Ok(SecretBytes::from(value.as_encoded_bytes())),
    }
}

fn wrong_arguments(from_stdin: bool) -> Failure {
    let message = match from_stdin {
        true => {
            "Error: file specified, or index and value are missing. Need precisely 2 positional arguments \
             since --value-stdin is used."
        }
        false => {
            "Error: no file specified, or index and value are missing. Need precisely 3 positional \
             arguments."
        }
    };
    Failure::new(Exit::NoFile, message)
}

/// Finds where a value goes in the first document, and what goes there: maps and lists that are missing
/// on the way come with it.
fn place<'a>(tree: &Tree, path: &'a TreePath, value: &Json) -> Result<(Place<'a>, Json), Failure> {
    let Some(Reach { node, rest }) = reach_in_first(tree, path) else {
        return Err(Failure::new(Exit::Set, "there is no document to set a value in"));
    };
    let Some((step, below)) = rest.split_first() else {
        return match path.steps() {
            [] => Err(Failure::new(Exit::Set, "the index is empty: name the key to set")),
            _ => Ok((Place::Node(node), value.clone())),
        };
    };
    match (step, tree.node(node).value) {
        (Step::Key(key), Value::Map) => Ok((Place::Entry(node, key), nest(below, value))),
        (Step::Index(_), Value::List) => Ok((Place::Append(node), nest(below, value))),
        (Step::Key(key), Value::List) => {
            Err(Failure::new(Exit::Set, format!("cannot set ['{key}']: it is in a list, not in a map")))
        }
        (Step::Index(index), Value::Map) => {
            Err(Failure::new(Exit::Set, format!("cannot set [{index}]: it is in a map, not in a list")))
        }
        _ => Ok((Place::Node(node), nest(rest, value))),
    }
}

#[cfg(test)]
mod tests {
    use selkie::format::Format;
    use serde_json::json;

    use super::*;

    fn set_in(document: &str, path: &str, value: &Json) -> Result<String, String> {
        let tree = Format::Json.read(document).expect("a document");
        let path = TreePath::parse(path).expect("a path");
        let (place, value) = place(&tree, &path, value).map_err(|failure| failure.message)?;
        let place = match place {
            Place::Append(node) => format!("append to {}", tree.to_json(node)),
            Place::Entry(node, key) => format!("{key} in {}", tree.to_json(node)),
            Place::Node(node) => format!("at {}", tree.to_json(node)),
        };
        Ok(format!("{place}: {value}"))
    }

    #[test]
    fn value_goes_where_its_path_leads() {
        let document = r#"{"a": {"b": [1, 2]}, "c": 3}"#;
        let cases = [
            (r#"["c"]"#, "at 3: [7]"),
            (r#"["a"]["b"][1]"#, "at 2: [7]"),
            (r#"["a"]["b"][9]"#, "append to [1,2]: [7]"),
            (r#"["a"]["b"][2]["x"]"#, r#"append to [1,2]: {"x":[7]}"#),
            (r#"["a"]["x"]"#, r#"x in {"b":[1,2]}: [7]"#),
            (r#"["a"]["x"][0]["y"]"#, r#"x in {"b":[1,2]}: [{"y":[7]}]"#),
            (r#"["c"]["x"]"#, r#"at 3: {"x":[7]}"#),
            (r#"["c"][5]"#, "at 3: [[7]]"),
        ];
        for (path, expected) in cases {
            assert_eq!(set_in(document, path, &json!([7])).as_deref(), Ok(expected), "{path}");
        }
    }

    #[test]
    fn step_that_fits_no_container_is_refused() {
        let document = r#"{"a": [1]}"#;
        for path in [r#"["a"]["x"]"#, "[0]", ""] {
            assert!(set_in(document, path, &json!(1)).is_err(), "{path}");
        }
    }

    #[test]
    fn integers_stay_integers() {
        let value = parse_value(&SecretBytes::from("1234567")).expect("JSON");
        assert!(value.is_i64());
    }
}
