//! Texts within values, such as a file in a ConfigMap, and where their lines are in the file around them.

use std::ops::Range;

use crate::check::{Entry, Places};

/// A text within a value.
pub(in crate::check::rules) struct Embedded<'a> {
    /// The text, as it is meant.
    pub text: &'a str,
    /// Where its bytes are in the file.
    places: Places,
    /// Where the value is in the file, for texts that are not written as they are meant.
    whole: Range<usize>,
}

impl<'a> Embedded<'a> {
    /// Returns the text of a value; nothing if it is no text.
    pub(in crate::check::rules) fn new(entry: Entry<'a>) -> Option<Self> {
        let text = entry.text()?;
        Some(Self { text, places: entry.places(), whole: entry.span() })
    }

    /// Returns whether a template makes some of a part of the text.
    pub(in crate::check::rules) fn has_action(&self, part: &Range<usize>) -> bool {
        self.text.get(part.clone()).is_none_or(|text| text.contains("{{"))
    }

    /// Returns where a part of the text is in the file, or its value if that cannot be told.
    pub(in crate::check::rules) fn range(&self, part: &Range<usize>) -> Range<usize> {
        if !self.places.is_exact() {
            return self.whole.clone();
        }
        let (start, end) = (self.places.of(part.start), self.places.of(part.end).min(self.whole.end));
        if start < end { start..end } else { self.whole.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{File, Mode, decode};

    #[test]
    fn parts_are_where_they_are_written() {
        let text = "a: |\n\n  x: 1\n\n    y: 2\nb: \"x: 1\"\nc: \"x: 1\\ny: 2\"\nd: >-\n  x\n  y: 2\n";
        let content = decode(text.as_bytes());
        let file = File::new("a.yaml", text.as_bytes(), &content, Mode::File);
        let root = file.outline().roots().next().expect("a document");
        let lines = |key: &str| {
            let embedded = Embedded::new(root.get(key).expect("a value")).expect("a text");
            let at = embedded.text.find('2').or_else(|| embedded.text.find('1')).expect("a digit");
            let range = embedded.range(&(at..at + 1));
            (file.position(range.start).line, text[range].to_owned())
        };
        assert_eq!(lines("a"), (5, "2".to_owned()));
        assert_eq!(lines("b"), (6, "1".to_owned()));
        assert_eq!(lines("c").0, 7);
        assert!(lines("d").0 >= 8);
    }
}
