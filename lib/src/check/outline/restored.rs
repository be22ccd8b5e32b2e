//! Texts that were decoded while the actions of templates in them were out of the way: they get them back, so that
//! documents in such texts are known for templates, too.

use std::ops::Range;

use zeroize::Zeroizing;

use super::places::blank_lines;

/// Returns a decoded text with the actions that were written in it. `masked` is how it is written without them,
/// `written` is how it is written with them, both as long as each other, and `actions` is where they are in these.
pub(super) fn restored(
    value: &str,
    masked: &str,
    written: &str,
    actions: impl Iterator<Item = Range<usize>>,
) -> Zeroizing<String> {
    by_lines(value, masked, written).unwrap_or_else(|| by_words(value, masked, written, actions))
}

/// Restores a block of lines, each of which is written in a line of its own.
fn by_lines(value: &str, masked: &str, written: &str) -> Option<Zeroizing<String>> {
    let mut restored = Zeroizing::new(String::with_capacity(written.len()));
    let (mut sources, mut at) = (masked.split_inclusive('\n'), 0);
    let blank = blank_lines(value).saturating_sub(blank_lines(masked));
    for (number, line) in value.split_inclusive('\n').enumerate() {
        if number < blank {
            restored.push('\n');
            continue;
        }
        let source = sources.next()?;
        let (from, meant) = (source.trim_end(), line.trim_end());
        if from.trim_start().len() != meant.trim_start().len() {
            return None;
        }
        let original = written.get(at..at + source.len())?;
        at += source.len();
        // An action that has its line for itself left nothing but blanks.
        let content = if meant.is_empty() {
            original.trim()
        } else {
            original.trim_end().get(from.len().checked_sub(meant.len())?..)?
        };
        restored.push_str(content);
        if line.ends_with('\n') {
            restored.push('\n');
        }
    }
    Some(restored)
}

/// Restores a text of another style: the words that stand for actions are in it, in order.
fn by_words(
    value: &str,
    masked: &str,
    written: &str,
    actions: impl Iterator<Item = Range<usize>>,
) -> Zeroizing<String> {
    let mut restored = Zeroizing::new(String::with_capacity(written.len()));
    let (is_escaped, mut rest) = (written.starts_with('"'), value);
    for action in actions {
        let (Some(word), Some(action)) = (masked.get(action.clone()), written.get(action)) else { continue };
        // What has line breaks left blanks.
        if word.trim().is_empty() {
            continue;
        }
        let Some(at) = memchr::memmem::find(rest.as_bytes(), word.as_bytes()) else { break };
        restored.push_str(&rest[..at]);
        if is_escaped {
            let plain = Zeroizing::new(action.replace("\\\"", "\""));
            restored.push_str(&plain);
        } else {
            restored.push_str(action);
        }
        rest = &rest[at + word.len()..];
    }
    restored.push_str(rest);
    restored
}
