//! Pieces of a source and what stands in their place, in any order, put together at once.

use crate::secret::SecretBytes;

/// Changes to a source.
#[derive(Default)]
pub(super) struct Splice {
    changes: Vec<Change>,
    text: SecretBytes,
}

/// A piece of the source, and the text that takes its place.
struct Change {
    start: usize,
    end: usize,
    text_start: usize,
    text_end: usize,
}

impl Splice {
    /// Puts `text` in the place of the bytes from `start` to `end`.
    pub(super) fn replace(&mut self, start: usize, end: usize, text: &[u8]) {
        self.replace_with(start, end, |out| out.extend_from_slice(text));
    }

    /// Puts what `write` appends in the place of the bytes from `start` to `end`.
    pub(super) fn replace_with<T>(
        &mut self,
        start: usize,
        end: usize,
        write: impl FnOnce(&mut SecretBytes) -> T,
    ) -> T {
        let text_start = self.text.len();
        let result = write(&mut self.text);
        self.changes.push(Change { start, end, text_start, text_end: self.text.len() });
        result
    }

    /// Returns the source with all changes made. Of changes in one place the one that begins first wins,
    /// and what is put in there comes before what takes the place of something.
    pub(super) fn apply(mut self, source: &[u8]) -> SecretBytes {
        self.changes.sort_by_key(|change| (change.start, change.end));
        let text = self.text.expose_secret();
        let mut out = SecretBytes::with_capacity(source.len() + text.len());
        let mut at = 0;
        for change in self.changes {
            if change.start < at {
                continue;
            }
            out.extend_from_slice(&source[at..change.start]);
            out.extend_from_slice(&text[change.text_start..change.text_end]);
            at = change.end;
        }
        out.extend_from_slice(&source[at..]);
        out
    }
}
