//! Schemas of values, which Helm reads: what they name outside of themselves, it would fetch or open.
//!
//! Invariant: a schema that is handed to Helm names nothing but its own parts.

use std::time::Instant;

use selkie::render::{Archive, Files, Limits, RenderError};
use serde_json::Value as Json;

use super::{HelmError, in_time};

/// Why a schema is not handed to Helm.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// It is no JSON.
    #[error("{0}: is no JSON")]
    Json(String),
    /// It names something outside of itself.
    #[error(
        "{path}: {keyword} names something outside of the schema, which Helm would fetch or open; name parts of it with #, or leave schemas out: --skip-schema-validation"
    )]
    Outside {
        /// The schema.
        path: String,
        /// What names it.
        keyword: String,
    },
    /// Archives are in archives without end.
    #[error("{0}: charts are in charts deeper than is looked at")]
    Deep(String),
}

/// Makes sure that schemas among files of a chart, and of archives in it, name nothing outside of themselves.
///
/// # Errors
/// If one does, or an archive cannot be read.
pub(super) fn check<'f>(
    files: impl Iterator<Item = (&'f String, &'f [u8])>,
    limits: &Limits,
    deadline: Option<Instant>,
) -> Result<(), HelmError> {
    visit(files, limits, deadline, &mut |path, content| {
        let is_schema = path == NAME || path.ends_with(&format!("/{NAME}"));
        if is_schema { Ok(check_schema(path, content)?) } else { Ok(()) }
    })
}

/// Calls `found` for every file of a chart, those in packed charts included.
///
/// # Errors
/// If an archive cannot be read, or it takes too long.
pub(super) fn visit<'f>(
    files: impl Iterator<Item = (&'f String, &'f [u8])>,
    limits: &Limits,
    deadline: Option<Instant>,
    found: &mut Found<'_>,
) -> Result<(), HelmError> {
    let mut left = limits.total_bytes;
    for (path, content) in files {
        visit_file(path, content, limits, deadline, &mut left, 0, found)?;
    }
    Ok(())
}

/// What is told of a file and what it holds.
type Found<'f> = dyn FnMut(&str, &[u8]) -> Result<(), HelmError> + 'f;

fn visit_file(
    path: &str,
    content: &[u8],
    limits: &Limits,
    deadline: Option<Instant>,
    left: &mut u64,
    depth: usize,
    found: &mut Found<'_>,
) -> Result<(), HelmError> {
    let is_chart = path.starts_with("charts/") || path.contains("/charts/");
    if !is_chart || !content.starts_with(GZIP) {
        return found(path, content);
    }
    if depth == DEEPEST {
        return Err(SchemaError::Deep(path.to_owned()).into());
    }
    in_time(deadline)?;
    let own = Limits { total_bytes: *left, ..limits.clone() };
    let archive = Archive::unpack(content, &own).map_err(RenderError::from)?;
    for inside in archive.paths() {
        let content = archive.read(&inside).map_err(RenderError::from)?;
        *left = left.saturating_sub(content.len() as u64);
        let path = format!("{path}/{inside}");
        visit_file(&path, content.expose_secret(), limits, deadline, left, depth + 1, found)?;
    }
    Ok(())
}

fn check_schema(path: &str, content: &[u8]) -> Result<(), SchemaError> {
    let content = content.strip_prefix("\u{feff}".as_bytes()).unwrap_or(content);
    let schema = serde_json::from_slice(content).map_err(|_| SchemaError::Json(path.to_owned()))?;
    match outside(&schema) {
        None => Ok(()),
        Some(keyword) => Err(SchemaError::Outside { path: path.to_owned(), keyword: keyword.to_owned() }),
    }
}

/// Returns a keyword that names something outside.
fn outside(schema: &Json) -> Option<&str> {
    match schema {
        Json::Array(items) => items.iter().find_map(outside),
        Json::Object(entries) => entries.iter().find_map(|(key, value)| {
            let is_inside = match (key.as_str(), value.as_str()) {
                ("$ref" | "$dynamicRef" | "$recursiveRef" | "$id", Some(name)) => name.starts_with('#'),
                // It is the name of a field in many examples.
                ("id", Some(name)) => !name.contains([':', '/']),
                ("$schema", Some(name)) => DRAFTS.contains(&name.trim_end_matches('#')),
                _ => true,
            };
            if is_inside { outside(value) } else { Some(key) }
        }),
        _ => None,
    }
}

/// What a schema is called.
const NAME: &str = "values.schema.json";

/// How archives start.
const GZIP: &[u8] = &[0x1f, 0x8b];

/// How deep charts may be in charts.
const DEEPEST: usize = 8;

/// The versions of the language, which whoever reads schemas knows.
const DRAFTS: &[&str] = &[
    "http://json-schema.org/schema",
    "http://json-schema.org/draft-04/schema",
    "http://json-schema.org/draft-06/schema",
    "http://json-schema.org/draft-07/schema",
    "https://json-schema.org/schema",
    "https://json-schema.org/draft-04/schema",
    "https://json-schema.org/draft-06/schema",
    "https://json-schema.org/draft-07/schema",
    "https://json-schema.org/draft/2019-09/schema",
    "https://json-schema.org/draft/2020-12/schema",
];

#[cfg(test)]
mod tests {
    use super::super::archive::packed;
    use super::*;

    fn told(path: &str, content: &[u8]) -> Option<String> {
        let path = path.to_owned();
        let checked = check([(&path, content)].into_iter(), &Limits::default(), None);
        checked.err().map(|error| error.to_string())
    }

    #[test]
    fn schemas_name_their_own_parts() {
        let own = br##"{"$schema": "http://json-schema.org/draft-07/schema#", "$ref": "#/definitions/a",
            "properties": {"$ref": {"type": "string"}, "id": {"type": "string"}, "x": {"default": {"id": "a"}}}}"##;
        assert_eq!(told("values.schema.json", own), None);
        assert_eq!(told("charts/a/values.schema.json", own), None);
        for (text, keyword) in [
            (r#"{"$ref": "http://h/x"}"#, "$ref"),
            (r#"{"properties": {"a": [{"$ref": "file:///etc/passwd"}]}}"#, "$ref"),
            (r#"{"\u0024ref": "other.json"}"#, "$ref"),
            (r#"{"$dynamicRef": "x"}"#, "$dynamicRef"),
            (r##"{"$id": "http://h/x", "$ref": "#/a"}"##, "$id"),
            (r##"{"id": "file:///etc/passwd", "$ref": "#/a"}"##, "id"),
            (r#"{"$schema": "file:///etc/passwd"}"#, "$schema"),
        ] {
            let said = told("charts/a/values.schema.json", text.as_bytes()).unwrap_or_default();
            let expected = format!("charts/a/values.schema.json: {keyword} names something outside");
            assert!(said.starts_with(&expected), "{text}: {said}");
        }
        assert_eq!(told("values.schema.json", b"{").as_deref(), Some("values.schema.json: is no JSON"));
    }

    #[test]
    fn archives_are_looked_into() {
        let schema = br#"{"$ref": "http://h/x"}"#;
        let inner = packed([("values.schema.json", &schema[..])].into_iter());
        let outer = packed([("charts/b-1.tgz", inner.expose_secret())].into_iter());
        for archive in [&inner, &outer] {
            let said = told("charts/a-1.tgz", archive.expose_secret()).unwrap_or_default();
            assert!(said.contains("values.schema.json: $ref names"), "{said}");
        }
        assert_eq!(told("files/a.tgz", outer.expose_secret()), None, "Helm does not read it as a chart");
    }
}
