//! Streams of manifests as Kubernetes' tools read them: YAML documents between lines of `---`, or JSON objects
//! one behind the other, or one after the other.
//!
//! What those tools pass over in silence because they cannot read it is an error here, unless there is nothing
//! else.

use serde_json::{Map, Value};

use super::go_yaml::{self, YamlError};
use super::shape::{self, Fields, TypeMismatch};
use crate::tree::MAX_SOURCE;

/// What objects are read as, whatever they say that they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectKind {
    /// `bitnami.com/v1alpha1` SealedSecrets.
    SealedSecret,
    /// `v1` Secrets.
    Secret,
}

/// Why a stream cannot be read. No variant holds a value of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// A document among others cannot be read.
    #[error("document {number} of the input cannot be read: {error}")]
    Document {
        /// Which one, from 1 on.
        number: usize,
        /// Why not.
        error: DocumentError,
    },
    /// A field of a document is of a wrong type.
    #[error("{}{mismatch}", if *.is_yaml { "error unmarshaling JSON: while decoding JSON: " } else { "" })]
    Mismatch {
        /// Which field.
        mismatch: TypeMismatch,
        /// Whether the document was made JSON first.
        is_yaml: bool,
    },
    /// There is nothing that can be read.
    #[error("no secrets found. Ensure the input is valid and UTF-8 encoded")]
    Nothing,
}

/// Why a document cannot be read. No variant holds a value of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// It is no JSON.
    #[error("line {0}: malformed JSON")]
    Json(
        /// The line, counted from the start of the stream.
        usize,
    ),
    /// It is not an object, or has none of the fields of its kind.
    #[error("it is not a Kubernetes object")]
    NotAnObject,
    /// Something else than a comment stands behind a `---`.
    #[error("invalid Yaml document separator: only a comment can follow the dashes")]
    Separator,
    /// It is no YAML that can be read.
    #[error(transparent)]
    Yaml(#[from] YamlError),
}

/// Reads all objects of a stream, as the fields of `kind`.
///
/// # Errors
/// - [`StreamError::Nothing`] if nothing in it can be read,
/// - [`StreamError::Mismatch`] if a field is of a wrong type,
/// - [`StreamError::Document`] if there are other documents, which can be read.
pub fn read_stream(source: &[u8], kind: ObjectKind) -> Result<Vec<Map<String, Value>>, StreamError> {
    let text = str::from_utf8(source).map_err(|_| StreamError::Nothing)?;
    if text.len() > MAX_SOURCE {
        return Err(StreamError::Nothing);
    }
    let mut reader = Reader { fields: kind.fields(), documents: Vec::new() };
    reader.read(text);
    let mut objects = Vec::new();
    let mut unread = None;
    for (index, document) in reader.documents.into_iter().enumerate() {
        match document {
            Document::Empty => {}
            Document::Mismatch { mismatch, is_yaml } => {
                return Err(StreamError::Mismatch { mismatch, is_yaml });
            }
            Document::Object(object) => objects.push(object),
            Document::Unread(error) => {
                unread.get_or_insert(StreamError::Document { number: index + 1, error });
            }
        }
    }
    match unread {
        _ if objects.is_empty() => Err(StreamError::Nothing),
        Some(error) => Err(error),
        None => Ok(objects),
    }
}

/// Reads the first document of a text, without making texts of other values, as an API server reads a body. An
/// empty document is null.
///
/// # Errors
/// If it is neither JSON nor YAML.
pub fn read_object(source: &[u8]) -> Result<Value, ObjectError> {
    let text = str::from_utf8(source).map_err(|_| ObjectError::Encoding)?;
    if is_json(text) { read_json(text) } else { Ok(go_yaml::read_first(text)?) }
}

/// Reads the documents of a text, without making texts of other values. Empty ones are left out; JSON has only one.
///
/// # Errors
/// If it is neither JSON nor YAML.
pub fn read_objects(source: &[u8]) -> Result<Vec<Value>, ObjectError> {
    let text = str::from_utf8(source).map_err(|_| ObjectError::Encoding)?;
    let mut objects = if is_json(text) { vec![read_json(text)?] } else { go_yaml::read_all(text)? };
    objects.retain(|object| !object.is_null());
    Ok(objects)
}

/// Reads the documents of a text as [`read_objects`] does, and as YAML what begins like JSON and is none.
///
/// # Errors
/// If it is neither JSON nor YAML.
pub fn read_manifests(source: &[u8]) -> Result<Vec<Value>, ObjectError> {
    match read_objects(source) {
        Err(ObjectError::Json | ObjectError::Trailing(_)) => {
            let text = str::from_utf8(source).map_err(|_| ObjectError::Encoding)?;
            let mut objects = go_yaml::read_all(text)?;
            objects.retain(|object| !object.is_null());
            Ok(objects)
        }
        read => read,
    }
}

fn read_json(text: &str) -> Result<Value, ObjectError> {
    let mut objects = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let object = match objects.next() {
        Some(Ok(object)) => object,
        _ => return Err(ObjectError::Json),
    };
    match text[objects.byte_offset()..].trim_ascii_start().chars().next() {
        None => Ok(object),
        Some(next) => Err(ObjectError::Trailing(next)),
    }
}

/// Why a single object cannot be read. No variant holds a value of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectError {
    /// It is not UTF-8.
    #[error("the text is not valid UTF-8")]
    Encoding,
    /// It is no JSON.
    #[error("couldn't get version/kind; json parse error: malformed JSON")]
    Json,
    /// It has no version and kind.
    #[error("it is no object of Kubernetes: it has no apiVersion and kind")]
    Kind,
    /// Something follows the object.
    #[error("couldn't get version/kind; json parse error: invalid character {0:?} after top-level value")]
    Trailing(
        /// What it begins with.
        char,
    ),
    /// It is no YAML that can be read.
    #[error("error converting YAML to JSON: yaml: {0}")]
    Yaml(#[from] YamlError),
}

/// Checks that the fields of an object are of the types that those of `kind` have.
///
/// # Errors
/// If one is not.
pub fn check_types(object: &Value, kind: ObjectKind) -> Result<(), TypeMismatch> {
    shape::fit(object.clone(), kind.fields()).1.map_or(Ok(()), Err)
}

/// Returns an object with its entries in the order in which Kubernetes' tools print those of `kind`.
#[must_use]
pub fn arrange(object: &Value, kind: ObjectKind) -> Value {
    shape::arrange_fields(object, kind.fields())
}

impl ObjectKind {
    const fn fields(self) -> &'static Fields {
        match self {
            Self::SealedSecret => &shape::SEALED_SECRET,
            Self::Secret => &shape::SECRET,
        }
    }
}

struct Reader {
    fields: &'static Fields,
    documents: Vec<Document>,
}

/// What a document of a stream is.
enum Document {
    Empty,
    Mismatch { mismatch: TypeMismatch, is_yaml: bool },
    Object(Map<String, Value>),
    Unread(DocumentError),
}

impl Reader {
    fn read(&mut self, text: &str) {
        let start = text.as_bytes().get(..SNIFFED).unwrap_or(text.as_bytes());
        let rest = if start.utf8_chunks().next().is_some_and(|chunk| is_json(chunk.valid())) {
            self.json(text)
        } else {
            Some((text, None))
        };
        if let Some((rest, first)) = rest {
            self.yaml(rest, first);
        }
    }

    /// Reads JSON objects. Returns the text to go on with as YAML, and what its first document is as JSON, where
    /// that does not make one: with fewer than two objects before, a stream may be YAML.
    fn json<'t>(&mut self, text: &'t str) -> Option<(&'t str, Option<Document>)> {
        let mut objects = serde_json::Deserializer::from_str(text).into_iter::<Value>();
        let mut count = 0;
        loop {
            let before = objects.byte_offset();
            let document = match objects.next()? {
                Ok(value) => self.document(value, false),
                Err(_) => {
                    let line = text[..before].matches('\n').count() + 1;
                    Document::Unread(DocumentError::Json(line))
                }
            };
            let is_read = matches!(document, Document::Empty | Document::Object(_));
            if !is_read && count < 2 {
                return Some((behind_line_break(&text[before..]), Some(document)));
            }
            self.documents.push(document);
            if !is_read {
                return None;
            }
            count += 1;
        }
    }

    /// Reads YAML documents. `first` is what the first one is if it is no YAML, either.
    fn yaml(&mut self, text: &str, mut first: Option<Document>) {
        let mut chunk = String::new();
        for line in text.lines() {
            let Some(rest) = line.strip_prefix("---") else {
                chunk.push_str(line);
                chunk.push('\n');
                continue;
            };
            self.chunk(&mut chunk, &mut first);
            if !matches!(rest.trim().chars().next(), None | Some('#')) {
                self.documents.push(Document::Unread(DocumentError::Separator));
            }
        }
        self.chunk(&mut chunk, &mut first);
    }

    fn chunk(&mut self, chunk: &mut String, first: &mut Option<Document>) {
        let is_nothing = |line: &str| matches!(line.trim().chars().next(), None | Some('#' | '%'));
        if !chunk.lines().all(is_nothing) {
            let document = match go_yaml::read(chunk, Some(self.fields)) {
                Ok(value) => self.document(value, true),
                Err(error) => Document::Unread(error.into()),
            };
            let is_read = matches!(document, Document::Empty | Document::Object(_));
            self.documents.push(first.take().filter(|_| !is_read).unwrap_or(document));
        }
        zeroize::Zeroize::zeroize(chunk);
    }

    fn document(&self, value: Value, is_yaml: bool) -> Document {
        let is_nothing = value.is_null() || value.as_object().is_some_and(Map::is_empty);
        let (object, mismatch) = shape::fit(value, self.fields);
        match mismatch {
            _ if is_nothing => Document::Empty,
            // What has none of the fields is passed over by those tools, be it of another type or not.
            _ if shape::is_zero(&object, self.fields) => Document::Unread(DocumentError::NotAnObject),
            Some(mismatch) => Document::Mismatch { mismatch, is_yaml },
            None => Document::Object(object),
        }
    }
}

/// Returns whether a text begins as a JSON object does.
fn is_json(text: &str) -> bool {
    text.trim_start().starts_with('{')
}

/// Returns a text without the blanks at its start, up to the first line break.
fn behind_line_break(text: &str) -> &str {
    let trimmed = text.trim_start();
    let blanks = &text[..text.len() - trimmed.len()];
    blanks.find('\n').map_or(trimmed, |at| &text[at + 1..])
}

/// How much of a stream is looked at to find out whether it is JSON.
const SNIFFED: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn secrets(source: &str) -> Result<Value, String> {
        let objects = read_stream(source.as_bytes(), ObjectKind::Secret);
        objects.map(|objects| json!(objects)).map_err(|error| error.to_string())
    }

    const NOTHING: &str = "no secrets found. Ensure the input is valid and UTF-8 encoded";

    #[test]
    fn documents_of_a_stream_are_read_one_by_one() {
        let both = json!([{"kind": "Secret", "type": "a"}, {"kind": "Secret", "type": "b"}]);
        for source in [
            "kind: Secret\ntype: a\n---\n# nothing\n--- # comment\nkind: Secret\ntype: b\n---\n",
            "\u{feff}---\r\nkind: Secret\r\ntype: a\r\n---\r\nkind: Secret\r\ntype: b",
            "{\"kind\":\"Secret\",\"type\":\"a\"}\n{\"kind\":\"Secret\",\"type\":\"b\"}",
            "{\"kind\":\"Secret\",\"type\":\"a\"}\n---\nkind: Secret\ntype: b\n",
            "%YAML 1.1\n---\n{\"kind\":\"Secret\",\"type\":\"a\"}\n---\n{}\n---\nKIND: Secret\nType: b\nx: y\n",
        ] {
            assert_eq!(secrets(source).as_ref(), Ok(&both), "{source}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_told_if_something_else_can() {
        let good = "kind: Secret\n";
        assert_eq!(
            secrets(&format!("{good}---\na: [b\n---\n{good}")),
            Err("document 2 of the input cannot be read: line 1: unclosed bracket '['".to_owned())
        );
        let error = |what: &str| Err(format!("document 2 of the input cannot be read: {what}"));
        assert_eq!(secrets(&format!("{good}---\nx: y\n")), error("it is not a Kubernetes object"));
        assert_eq!(secrets(&format!("{good}---\ntext\n")), error("it is not a Kubernetes object"));
        assert_eq!(
            secrets(&format!("{good}--- {{}}\n")),
            error("invalid Yaml document separator: only a comment can follow the dashes")
        );
        let objects = "{\"kind\":\"Secret\"}".repeat(2);
        let what = "document 3 of the input cannot be read: line 1: malformed JSON";
        assert_eq!(secrets(&format!("{objects}\nkind: Secret")), Err(what.to_owned()));
        for nothing in ["", "garbage", "{\"kind\":\"Secret\"", "---\n---\n", "{}", "[1]", "a: b", "\0"] {
            assert_eq!(secrets(nothing), Err(NOTHING.to_owned()), "{nothing}");
        }
        assert_eq!(read_stream(b"kind: \xff", ObjectKind::Secret), Err(StreamError::Nothing));
    }

    #[test]
    fn fields_of_wrong_types_are_named() {
        let error = |source| secrets(source).expect_err(source);
        let field =
            "json: cannot unmarshal object into Go struct field ObjectMeta.metadata.name of type string";
        assert_eq!(error("{\"kind\":\"Secret\",\"metadata\":{\"name\":{}}}"), field);
        assert_eq!(
            error("kind: Secret\nmetadata: {name: {}}\n"),
            format!("error unmarshaling JSON: while decoding JSON: {field}")
        );
        // JSON that does not fit is read again as YAML, which makes texts of numbers.
        assert_eq!(secrets("{\"stringData\":{\"a\":1.50}}"), Ok(json!([{"stringData": {"a": "1.5"}}])));
    }

    #[test]
    fn single_objects_are_read_without_making_texts() {
        assert_eq!(read_object(b"a: y\n---\nb: [\n"), Ok(json!({"a": true})));
        assert_eq!(read_object(b" {\"a\": 1}\n"), Ok(json!({"a": 1})));
        assert_eq!(read_object(b"{}{}"), Err(ObjectError::Trailing('{')));
        assert_eq!(read_object(b"{"), Err(ObjectError::Json));
        let mismatch = check_types(&json!({"metadata": {"name": false}}), ObjectKind::SealedSecret);
        assert_eq!(
            mismatch.map_err(|mismatch| mismatch.to_string()),
            Err("json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.name of type string"
                .to_owned())
        );
    }
}
