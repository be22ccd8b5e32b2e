//! Values that stand in clear elsewhere in a text: in a comment, in another object, in an annotation.

use std::collections::HashMap;

use super::{Remains, SecretObject};
use crate::format::Format;
use crate::sealed::base64;
use crate::secret::SecretBytes;
use crate::tree::{Tree, Value};

/// Finds values in a text, both as it is written and in what its scalars stand for: the lines of a value are
/// indented in a block. Each takes one pass, however many values there are.
pub(super) fn find(secrets: &[SecretObject], format: Format, text: &[u8]) -> Vec<Remains> {
    let mut search = Search::new(secrets);
    let (mut line, mut counted) = (1, 0);
    search.look_into(text, |at| {
        line += text[counted..at].iter().filter(|&&byte| byte == b'\n').count();
        counted = at;
        line
    });
    // What is no text of this format was written anew, of SealedSecrets alone.
    if let Ok(tree) = format.read(SecretBytes::from(text)) {
        search.look_into_scalars(&tree);
    }
    search.remains()
}

struct Search<'s> {
    /// What is looked for, each value as it is and as base64.
    values: Vec<(&'s SecretObject, &'s str, SecretBytes)>,
    /// Lines, by value.
    found: Vec<Option<usize>>,
}

impl<'s> Search<'s> {
    fn new(secrets: &'s [SecretObject]) -> Self {
        let mut values: Vec<(&SecretObject, &str, SecretBytes)> = Vec::new();
        for object in secrets {
            let name = format!("{}/{}", object.secret.metadata.namespace(), object.secret.metadata.name());
            for (key, value) in &object.secret.data {
                // A block elsewhere may end without the break of its last line.
                let bytes = value.expose_secret();
                let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
                let says_nothing = name.as_bytes().windows(bytes.len().max(1)).any(|part| part == bytes);
                if bytes.len() >= START && !says_nothing {
                    values.push((object, key, bytes.into()));
                    // The last digits depend on what follows.
                    let whole = value.expose_secret();
                    values.push((object, key, base64::encode(whole).trim_end_matches('=').into()));
                }
            }
        }
        let found = vec![None; values.len()];
        Self { values, found }
    }

    /// Looks for values in a text; `line_of` is asked with positions that do not decrease.
    fn look_into(&mut self, text: &[u8], mut line_of: impl FnMut(usize) -> usize) {
        let mut by_start: HashMap<&[u8], Vec<usize>> = HashMap::new();
        for (index, (_, _, value)) in self.values.iter().enumerate() {
            by_start.entry(&value.expose_secret()[..START]).or_default().push(index);
        }
        for (at, window) in text.windows(START).enumerate() {
            for &index in by_start.get(window).into_iter().flatten() {
                if self.found[index].is_none() && text[at..].starts_with(self.values[index].2.expose_secret())
                {
                    self.found[index] = Some(line_of(at));
                }
            }
        }
    }

    fn look_into_scalars(&mut self, tree: &Tree) {
        // Between two scalars is a byte that is in no text.
        let (mut all, mut starts) = (SecretBytes::new(), Vec::new());
        for (_, node) in tree.nodes() {
            let (Value::Str(text) | Value::Comment(text)) = node.value else { continue };
            let text = tree.bytes(text);
            // What stands there as it is was found already.
            if text.len() >= START && text != tree.slice(node.span) {
                starts.push((all.len(), node.span.start));
                all.extend_from_slice(text);
                all.push(0xff);
            }
        }
        self.look_into(all.expose_secret(), |at| {
            let index = starts.partition_point(|&(start, _)| start <= at).saturating_sub(1);
            starts.get(index).map_or(1, |&(_, start)| tree.line(start))
        });
    }

    fn remains(self) -> Vec<Remains> {
        let remains = self.values.iter().zip(self.found).filter_map(|((object, key, _), line)| {
            let name = object.secret.metadata.name().to_owned();
            Some(Remains { line: line?, name, key: (*key).to_owned() })
        });
        let mut remains: Vec<_> = remains.collect();
        remains.sort_by_key(|remains| remains.line);
        remains
    }
}

/// How many bytes a value has that is looked for: shorter ones are found by chance.
const START: usize = 8;
