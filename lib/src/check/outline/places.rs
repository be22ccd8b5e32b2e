//! Where the bytes of a text are that is written in a file not as it is meant: for blocks of lines, each line is found
//! where it stands; for any other, all of it is where it begins.

/// Where the bytes of a text are.
pub struct Places {
    /// Where lines start in the text and in the file, in order.
    lines: Vec<(usize, usize)>,
    /// Whether what stands behind the start of a line does so in the file, too.
    is_exact: bool,
}

impl Places {
    /// Returns the places of a text that stands at `start` as it is meant.
    pub(super) fn verbatim(start: usize) -> Self {
        Self { lines: vec![(0, start)], is_exact: true }
    }

    /// Returns the places of a text that is written at `start` as `source`.
    pub(super) fn decoded(source: &str, start: usize, text: &str) -> Self {
        let whole = Self { lines: vec![(0, start)], is_exact: false };
        let (mut at, mut below) = (0, start);
        let mut lines = Vec::new();
        let mut sources = source.split_inclusive('\n');
        // What is written begins with the first line that says something.
        let blank = blank_lines(text).saturating_sub(blank_lines(source));
        for (number, line) in text.split_inclusive('\n').enumerate() {
            if number < blank {
                lines.push((at, start));
                at += line.len();
                continue;
            }
            // Lines of other styles are joined, or have escapes.
            let Some(source) = sources.next().filter(|source| source.trim().len() == line.trim().len())
            else {
                return whole;
            };
            let indent = source.trim_end().len().saturating_sub(line.trim_end().len());
            lines.push((at, below + indent));
            at += line.len();
            below += source.len();
        }
        if lines.is_empty() { whole } else { Self { lines, is_exact: true } }
    }

    /// Returns whether each byte of the text is known to be where it is said to be.
    #[must_use]
    pub const fn is_exact(&self) -> bool {
        self.is_exact
    }

    /// Returns where a byte of the text is.
    #[must_use]
    pub fn of(&self, at: usize) -> usize {
        let line = self.lines.partition_point(|(start, _)| *start <= at).saturating_sub(1);
        let (start, place) = self.lines.get(line).copied().unwrap_or_default();
        if self.is_exact { place + (at - start) } else { place }
    }
}

/// Returns how many lines a text begins with that say nothing.
pub(super) fn blank_lines(text: &str) -> usize {
    text.split_inclusive('\n').take_while(|line| line.trim().is_empty()).count()
}
