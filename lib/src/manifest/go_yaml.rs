//! One YAML document as `sigs.k8s.io/yaml` reads it: YAML 1.1 by the rules of go-yaml v2, then as JSON.
//!
//! Where a text is wanted, numbers and truth values become one. That table of what becomes what is part of what
//! a manifest means: `kubectl apply` does the same, so that it must not be made better here.
//!
//! Bounds: nesting, how many nodes aliases stand for and how much text, as go-yaml has them or lower.

mod convert;
mod nodes;

use granit_parser::{ErrorKind, Event, Parser, ScanError};
use serde_json::Value;

use super::shape::Fields;

use convert::Converter;
use nodes::{Nodes, Scalar};

/// Why a document cannot be read. No variant holds a value of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum YamlError {
    /// Aliases stand for more than any honest document holds, or an anchor's value contains itself.
    #[error("aliases expand to too many values")]
    Aliases,
    /// A value that is tagged as binary is not base64, or not text where only text can stand.
    #[error("line {0}: a binary value is not base64 of a text")]
    Binary(
        /// The line.
        usize,
    ),
    /// There is a further document behind the end of the first.
    #[error("line {0}: a further document does not begin with ---")]
    Document(
        /// The line.
        usize,
    ),
    /// A key is a map, a list, null, or a number that no key can be.
    #[error("line {0}: a key is no text")]
    Key(
        /// The line.
        usize,
    ),
    /// What is to be merged is no map.
    #[error("line {0}: map merge requires map or sequence of maps as the value")]
    Merge(
        /// The line.
        usize,
    ),
    /// Maps and lists are nested deeper than is read.
    #[error("values are nested too deeply")]
    Nesting,
    /// JSON has no such number.
    #[error("line {0}: JSON has no such number")]
    Number(
        /// The line.
        usize,
    ),
    /// The text is no YAML.
    #[error("line {line}: {what}")]
    Syntax {
        /// The line.
        line: usize,
        /// What is wrong, without a value.
        what: String,
    },
    /// A scalar is not of the type that its tag says.
    #[error("line {0}: a scalar is not of the type that its tag names")]
    Tag(
        /// The line.
        usize,
    ),
}

/// Reads the only document of a text into JSON. With `fields`, texts are made of what stands where a text has to
/// be; an empty document is null.
pub(super) fn read(text: &str, fields: Option<&'static Fields>) -> Result<Value, YamlError> {
    let documents = parse(text, Further::Refuse)?;
    documents.first().map_or(Ok(Value::Null), |nodes| Converter::new(nodes).document(fields))
}

/// Reads all documents of a text into JSON.
pub(super) fn read_all(text: &str) -> Result<Vec<Value>, YamlError> {
    parse(text, Further::Take)?.iter().map(|nodes| Converter::new(nodes).document(None)).collect()
}

/// Reads the first document of a text into JSON, whatever follows it.
pub(super) fn read_first(text: &str) -> Result<Value, YamlError> {
    let documents = parse(text, Further::Ignore)?;
    documents.first().map_or(Ok(Value::Null), |nodes| Converter::new(nodes).document(None))
}

/// What to do with further documents.
#[derive(PartialEq, Eq)]
enum Further {
    Ignore,
    Refuse,
    Take,
}

fn parse(text: &str, further: Further) -> Result<Vec<Nodes>, YamlError> {
    let options = granit_parser::options! {
        block_scalar_eof_without_line_feed: true,
        emit_comments: false,
        flow_nesting_limit: MAX_NESTING,
        block_nesting_limit: MAX_NESTING,
    };
    let mut documents: Vec<Nodes> = Vec::new();
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|error| scan_error(&error))?;
        let line = span.start.line();
        if matches!(event, Event::DocumentStart(..)) {
            if further == Further::Refuse && !documents.is_empty() {
                return Err(YamlError::Document(line));
            }
            documents.push(Nodes::new());
        }
        let Some(nodes) = documents.last_mut() else { continue };
        match event {
            Event::DocumentEnd if further == Further::Ignore => break,
            Event::Alias(anchor) => nodes.alias(anchor, line)?,
            Event::MappingEnd | Event::SequenceEnd => nodes.close(),
            Event::MappingStart(_, anchor, _) => nodes.open(true, anchor, line)?,
            Event::Scalar(text, style, anchor, tag) => {
                let is_empty = span.start.byte_offset() == span.end.byte_offset();
                nodes.scalar(Scalar::new(text, style, tag.as_deref(), is_empty), anchor, line);
            }
            Event::SequenceStart(_, anchor, _) => nodes.open(false, anchor, line)?,
            _ => {}
        }
    }
    Ok(documents)
}

fn scan_error(error: &ScanError) -> YamlError {
    let what = match error.kind() {
        ErrorKind::RecursionLimitExceeded => return YamlError::Nesting,
        // The parser's own text cites the character.
        ErrorKind::UnexpectedCharacter { .. } => "unexpected character".to_owned(),
        kind => kind.to_string(),
    };
    YamlError::Syntax { line: error.marker().line(), what }
}

/// How deep maps and lists may be nested: no manifest comes near it, and reading JSON has the same bound.
const MAX_NESTING: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::shape::SECRET;
    use serde_json::json;

    #[test]
    fn texts_are_made_where_a_text_has_to_be() {
        let source =
            "stringData: {a: 1, b: yes, c: 1.50, d: ~, on: off, 12: x}\nimmutable: yes\nother: {y: 1e3}\n";
        let expected = json!({
            "stringData": {"a": "1", "b": "true", "c": "1.5", "d": null, "true": "false", "12": "x"},
            "immutable": true,
            "other": {"true": 1000.0},
        });
        assert_eq!(read(source, Some(&SECRET)), Ok(expected));
        assert_eq!(read("a: 017\nb: 0o17\nc: '017'\n", None), Ok(json!({"a": 15, "b": 15, "c": "017"})));
    }

    #[test]
    fn merged_maps_win_over_what_stands_before_them() {
        let source = "x: &x {a: 1, b: 2}\nw:\n  a: 0\n  <<: *x\n  b: 3\nz: {\"<<\": 1}\n";
        let expected = json!({"x": {"a": 1, "b": 2}, "w": {"a": 1, "b": 3}, "z": {"<<": 1}});
        assert_eq!(read(source, None), Ok(expected));
        assert_eq!(read("<<: 1\n", None), Err(YamlError::Merge(1)));
    }

    #[test]
    fn bombs_are_refused() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let item = format!("*a{}, ", level - 1);
            bomb += &format!("a{level}: &a{level} [{}]\n", item.repeat(10));
        }
        assert_eq!(read(&bomb, None), Err(YamlError::Aliases));
        let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), "*a, ".repeat(100));
        assert_eq!(read(&long, None), Err(YamlError::Aliases));
        assert_eq!(read("a: &a [*a]\n", None), Err(YamlError::Aliases));
        assert_eq!(read(&"[".repeat(200), None), Err(YamlError::Nesting));
        assert_eq!(read(&"- ".repeat(200), None), Err(YamlError::Nesting));
    }

    #[test]
    fn what_json_cannot_say_is_refused() {
        assert_eq!(read("{a: .nan}", None), Err(YamlError::Number(1)));
        assert_eq!(read("? [a]\n: b\n", None), Err(YamlError::Key(1)));
        assert_eq!(read("~: b\n", None), Err(YamlError::Key(1)));
        assert_eq!(read("a: !!int x\n", None), Err(YamlError::Tag(1)));
        assert_eq!(read("a: !!binary /w==\n", None), Err(YamlError::Binary(1)));
        assert_eq!(read("a: 1\n...\nb: 2\n", None), Err(YamlError::Document(3)));
        assert_eq!(read_all("a: 1\n---\n{}\n"), Ok(vec![json!({"a": 1}), json!({})]));
        assert_eq!(read_first("a: 1\n---\nb: [\n"), Ok(json!({"a": 1})));
        assert_eq!(read("# nothing\n", None), Ok(Value::Null));
    }
}
