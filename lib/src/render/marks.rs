//! Marks: words that stand for decrypted values wherever anybody but the last step looks.
//!
//! A mark is [`PREFIX`] and hexadecimal digits, [`LENGTH`] characters together: a label of DNS, a plain text of YAML,
//! and, as its length is a multiple of three, base64 that stands in base64 as it is. The digits are an HMAC-SHA256 of the
//! place and the text of the value, by a key that hangs on the document's data key: the same value in the same place
//! has the same mark, and nobody without the data key can try out values.

use std::collections::HashMap;

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::secret::SecretBytes;

/// What every mark starts with.
pub const PREFIX: &str = "selkiex";
/// How long a mark is, in bytes.
pub const LENGTH: usize = 48;

/// Names a mark of one [`Marks`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MarkId(u32);

/// A decrypted value, and the word that stands for it.
pub struct Mark {
    word: String,
    /// The file that the value is from.
    pub source: String,
    /// The place of the value in it; empty for a file as a whole.
    pub place: String,
    /// The last key on the way to that place; empty if there is none.
    pub key: String,
    /// What the value is.
    pub kind: ValueKind,
    /// The value as text, or the bytes of a file; `None` if no key was asked for.
    pub value: Option<SecretBytes>,
    /// How many bytes the value has, or about as many if it is not known.
    pub length: usize,
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// True or false.
    Bool,
    /// What may be no text.
    Bytes,
    /// A 64-bit floating point number.
    Float,
    /// A 64-bit integer.
    Int,
    /// A text.
    Text,
}

/// All marks of what is rendered.
#[derive(Default)]
pub struct Marks {
    marks: Vec<Mark>,
    by_word: HashMap<String, MarkId>,
}

/// A part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// What stands there.
    Clear(&'a [u8]),
    /// A mark.
    Mark(MarkId),
}

/// A text holds something that begins like a mark and is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Altered;

impl Mark {
    /// Returns a mark. `key` is what nobody knows who does not have the data key, or the ciphertext where no key is at
    /// hand.
    #[must_use]
    pub fn new(key: &[u8], source: &str, place: &str, kind: ValueKind, value: Option<SecretBytes>) -> Self {
        let bytes = value.as_ref().map(SecretBytes::expose_secret).unwrap_or_default();
        let length = bytes.len();
        let word = word(key, &[source.as_bytes(), place.as_bytes(), bytes]);
        let (source, place) = (source.to_owned(), place.to_owned());
        Self { word, source, place, key: String::new(), kind, value, length }
    }

    /// Returns the mark of a value that stands under a key.
    #[must_use]
    pub fn under(mut self, key: &str) -> Self {
        key.clone_into(&mut self.key);
        self
    }

    /// Returns the word.
    #[must_use]
    pub fn word(&self) -> &str {
        &self.word
    }
}

impl Marks {
    /// Adds a mark; one with the same word stands for the same value.
    pub fn add(&mut self, mark: Mark) -> MarkId {
        if let Some(&id) = self.by_word.get(&mark.word) {
            return id;
        }
        let id = MarkId(u32::try_from(self.marks.len()).expect("limits allow fewer marks"));
        self.by_word.insert(mark.word.clone(), id);
        self.marks.push(mark);
        id
    }

    /// Returns a mark.
    #[must_use]
    pub fn get(&self, id: MarkId) -> &Mark {
        &self.marks[id.0 as usize]
    }

    /// Returns all marks in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Mark> {
        self.marks.iter()
    }

    /// Returns the same marks with other words, under the same names: what differs between two texts that were built
    /// of the one and the other hangs on a value.
    #[must_use]
    pub fn other_words(&self) -> Self {
        let other = |mark: &Mark| Mark {
            word: word(mark.word.as_bytes(), &[b"other"]),
            source: mark.source.clone(),
            place: mark.place.clone(),
            key: mark.key.clone(),
            kind: mark.kind,
            value: mark.value.as_ref().map(|value| value.expose_secret().into()),
            length: mark.length,
        };
        let marks: Vec<_> = self.marks.iter().map(other).collect();
        let by_word = marks.iter().zip(0..).map(|(mark, id)| (mark.word.clone(), MarkId(id))).collect();
        Self { marks, by_word }
    }

    /// Returns a text with the words of `other` in place of these.
    #[must_use]
    pub fn translated(&self, text: &[u8], other: &Self) -> SecretBytes {
        let mut out = SecretBytes::with_capacity(text.len());
        for piece in self.pieces(text).unwrap_or_else(|_| vec![Piece::Clear(text)]) {
            match piece {
                Piece::Clear(clear) => out.extend_from_slice(clear),
                Piece::Mark(id) => out.push_str(other.get(id).word()),
            }
        }
        out
    }

    /// Splits a text at its marks; a text without any is one clear piece, an empty one none.
    ///
    /// # Errors
    /// If the text holds a part of a mark.
    pub fn pieces<'t>(&self, text: &'t [u8]) -> Result<Vec<Piece<'t>>, Altered> {
        let mut pieces = Vec::new();
        let (mut clear, mut from) = (0, 0);
        while let Some(at) = find(&text[from..]).map(|at| from + at) {
            let word = text.get(at..at + LENGTH).and_then(|word| str::from_utf8(word).ok());
            let Some(&id) = word.and_then(|word| self.by_word.get(word)) else { return Err(Altered) };
            if clear < at {
                pieces.push(Piece::Clear(&text[clear..at]));
            }
            pieces.push(Piece::Mark(id));
            from = at + LENGTH;
            clear = from;
        }
        if clear < text.len() {
            pieces.push(Piece::Clear(&text[clear..]));
        }
        Ok(pieces)
    }
}

/// Returns where the first thing begins that looks like a mark or the start of one, whatever its case.
#[must_use]
pub fn find(text: &[u8]) -> Option<usize> {
    let (prefix, mut from) = (PREFIX.as_bytes(), 0);
    while let Some(at) = memchr::memchr2(b's', b'S', &text[from..]).map(|at| from + at) {
        let rest = &text[at..];
        let is_mark = rest.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
            && rest[prefix.len()..]
                .iter()
                .take(FEWEST_DIGITS)
                .filter(|byte| byte.is_ascii_hexdigit())
                .count()
                == FEWEST_DIGITS;
        if is_mark {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

fn word(key: &[u8], parts: &[&[u8]]) -> String {
    let mut hash = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let digits = hash.finalize().into_bytes();
    let mut word = PREFIX.to_owned();
    word.extend(
        digits
            .iter()
            .flat_map(|byte| [byte >> 4, byte & 15])
            .map(|digit| char::from_digit(u32::from(digit), 16).expect("four bits are a digit")),
    );
    word.truncate(LENGTH);
    word
}

/// How many digits make something the start of a mark.
const FEWEST_DIGITS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn marks() -> (Marks, MarkId) {
        let mut marks = Marks::default();
        let id = marks.add(Mark::new(b"key", "a.yaml", "x", ValueKind::Text, Some("hunter2".into())));
        (marks, id)
    }

    #[test]
    fn a_mark_is_a_word_that_stands_anywhere() {
        let (marks, id) = marks();
        let word = marks.get(id).word();
        assert_eq!(word.len() % 3, 0);
        assert!(
            word.len() <= 63 && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        );
        let other = Mark::new(b"other", "a.yaml", "x", ValueKind::Text, Some("hunter2".into()));
        assert_ne!(other.word(), word, "it hangs on the key");
    }

    #[test]
    fn a_text_is_split_at_its_marks() {
        let (marks, id) = marks();
        let word = marks.get(id).word();
        let text = format!("a{word}{word}b");
        let pieces = marks.pieces(text.as_bytes()).expect("marks");
        assert_eq!(pieces, [Piece::Clear(b"a"), Piece::Mark(id), Piece::Mark(id), Piece::Clear(b"b")]);
        assert_eq!(marks.pieces(b"").expect("none"), []);
        for altered in [&word[..20], &word.to_uppercase(), &word.replacen(PREFIX, "Selkiex", 1)] {
            assert_eq!(marks.pieces(altered.as_bytes()), Err(Altered), "{altered}");
        }
        assert_eq!(marks.pieces(b"selkiexpert").expect("a word"), [Piece::Clear(b"selkiexpert")]);
    }

    #[test]
    fn other_words_stand_for_the_same() {
        let (marks, id) = marks();
        let other = marks.other_words();
        let text = format!("x {} y", marks.get(id).word());
        let translated = marks.translated(text.as_bytes(), &other);
        assert_ne!(translated.expose_secret(), text.as_bytes());
        assert_eq!(
            other.pieces(translated.expose_secret()).expect("marks"),
            [Piece::Clear(b"x "), Piece::Mark(id), Piece::Clear(b" y")]
        );
    }
}
