//! Values that stand in clear elsewhere in a text: in a comment, in another object, in an annotation.

use std::collections::HashMap;

use super::{Remains, SecretObject};
use crate::sealed::base64;
use crate::secret::SecretBytes;

/// Finds values in a text in one pass, however many there are.
pub(super) fn find(secrets: &[SecretObject], text: &[u8]) -> Vec<Remains> {
    let mut values: Vec<(&SecretObject, &str, SecretBytes)> = Vec::new();
    for object in secrets {
        let name = format!("{}/{}", object.secret.metadata.namespace(), object.secret.metadata.name());
        for (key, value) in &object.secret.data {
            let bytes = value.expose_secret();
            let says_nothing = name.as_bytes().windows(bytes.len().max(1)).any(|part| part == bytes);
            if bytes.len() >= START && !says_nothing {
                values.push((object, key, bytes.into()));
                // The last digits depend on what follows.
                values.push((object, key, base64::encode(bytes).trim_end_matches('=').into()));
            }
        }
    }
    let mut by_start: HashMap<&[u8], Vec<usize>> = HashMap::new();
    for (index, (_, _, value)) in values.iter().enumerate() {
        by_start.entry(&value.expose_secret()[..START]).or_default().push(index);
    }
    let mut found = vec![None; values.len()];
    let mut line = 1;
    for (at, window) in text.windows(START).enumerate() {
        for &index in by_start.get(window).into_iter().flatten() {
            if found[index].is_none() && text[at..].starts_with(values[index].2.expose_secret()) {
                found[index] = Some(line);
            }
        }
        line += usize::from(text[at] == b'\n');
    }
    let remains = values.iter().zip(found).filter_map(|((object, key, _), line)| {
        let name = object.secret.metadata.name().to_owned();
        Some(Remains { line: line?, name, key: (*key).to_owned() })
    });
    let mut remains: Vec<_> = remains.collect();
    remains.sort_by_key(|remains| remains.line);
    remains
}

/// How many bytes a value has that is looked for: shorter ones are found by chance.
const START: usize = 8;
