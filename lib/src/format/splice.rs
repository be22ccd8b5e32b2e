//! Changes to a source in place, gathered in any order and made at once.
//!
//! Invariant: every byte of the source that no change names is kept.

use crate::secret::SecretBytes;
use crate::tree::Span;

/// Changes to a source, not yet made.
#[derive(Default)]
pub(super) struct Splice {
    changes: Vec<Change>,
    text: SecretBytes,
}

/// Bytes of the source that give way to bytes of the text.
struct Change {
    span: Span,
    start: usize,
    end: usize,
}

impl Splice {
    /// Replaces the bytes in `span`. Of changes that overlap, the one that begins first counts; of the others
    /// only what they take out does.
    pub(super) fn replace(&mut self, span: Span, bytes: &[u8]) {
        self.replace_with(span, |text| text.extend_from_slice(bytes));
    }

    /// Replaces the bytes in `span` by what `write` appends.
    pub(super) fn replace_with<T>(&mut self, span: Span, write: impl FnOnce(&mut SecretBytes) -> T) -> T {
        let start = self.text.len();
        let result = write(&mut self.text);
        self.changes.push(Change { span, start, end: self.text.len() });
        result
    }

    /// Takes out the bytes in `span`.
    pub(super) fn delete(&mut self, span: Span) {
        self.replace(span, b"");
    }

    /// Returns the source with the changes made.
    pub(super) fn apply(mut self, source: &[u8]) -> SecretBytes {
        self.changes.sort_by_key(|change| change.span);
        let mut out = SecretBytes::with_capacity(source.len() + self.text.len());
        let mut position = 0;
        for change in &self.changes {
            let (start, end) = (change.span.start as usize, change.span.end as usize);
            if start >= position {
                out.extend_from_slice(&source[position..start]);
                out.extend_from_slice(&self.text.expose_secret()[change.start..change.end]);
                position = end;
            } else if change.start == change.end {
                position = position.max(end);
            }
        }
        out.extend_from_slice(&source[position..]);
        out
    }

    /// Returns the source with the changes made, where changes name whole lines, the last one with an end
    /// even if it has none. That the last line has no end then stays so.
    pub(super) fn apply_to_lines(self, source: &[u8]) -> SecretBytes {
        if source.last().is_none_or(|&byte| byte == b'\n') {
            return self.apply(source);
        }
        let mut lines = SecretBytes::with_capacity(source.len() + 1);
        lines.extend_from_slice(source);
        lines.push(b'\n');
        let mut out = self.apply(lines.expose_secret());
        out.truncate(out.len().saturating_sub(1));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_made_in_the_order_of_the_source() {
        let mut splice = Splice::default();
        splice.replace(Span::new(4, 5), b"E");
        splice.delete(Span::new(1, 3));
        splice.replace(Span::new(0, 0), b"<");
        assert_eq!(splice.apply(b"abcdef").expose_secret(), b"<adEf");
    }

    #[test]
    fn a_last_line_without_an_end_has_none_afterwards() {
        let splice = || {
            let mut splice = Splice::default();
            splice.replace(Span::new(4, 4), b"c\n");
            splice
        };
        assert_eq!(splice().apply_to_lines(b"a\nb").expose_secret(), b"a\nb\nc");
        assert_eq!(splice().apply_to_lines(b"a\nb\n").expose_secret(), b"a\nb\nc\n");
    }

    #[test]
    fn of_changes_that_overlap_the_first_counts() {
        let mut splice = Splice::default();
        splice.replace(Span::new(0, 4), b"x");
        splice.replace(Span::new(1, 2), b"z");
        splice.delete(Span::new(2, 5));
        assert_eq!(splice.apply(b"abcdef").expose_secret(), b"xf");
    }
}
