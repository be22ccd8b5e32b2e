//! What stands in for values that are not known, where no keys are asked for: values of the same types.
//!
//! A mark is always a text, and always true. What hangs on the type of a value, or on which one it is, differs between
//! passes in which numbers, truth values and texts differ. Texts are marks at first, and then, one after the other, those
//! that templates compare something with. Not found is what hangs on a text that stands in no template, such as another
//! value, or on two different texts at once.
//!
//! Invariant: nothing here is a decrypted value.

use std::collections::{BTreeSet, HashMap};

use selkie::render::{Mark, Marks, Piece, ValueKind};
use selkie::secret::SecretBytes;

use super::HelmError;

/// What stands in for values, by the words of their marks.
pub(super) struct StandIns {
    values: HashMap<String, String>,
    may_fail: bool,
}

impl StandIns {
    /// Returns all that is to be tried for marks, in a chart whose templates compare with something.
    ///
    /// # Errors
    /// If templates compare texts with more than is tried.
    pub(super) fn of(marks: &Marks, compared: Compared) -> Result<Vec<Self>, HelmError> {
        let has = |wanted: &[ValueKind]| marks.iter().any(|mark| wanted.contains(&mark.kind));
        let mut all: Vec<_> = (0..TYPED).map(|round| Self::typed(marks, round)).collect();
        let texts = if has(&[ValueKind::Text]) { compared.texts.len() } else { 0 };
        let numbers = if has(&[ValueKind::Float, ValueKind::Int]) { compared.numbers.len() } else { 0 };
        let rounds = texts.max(numbers);
        if rounds > MOST {
            return Err(HelmError::Comparisons { found: rounds, most: MOST });
        }
        let texts: Vec<_> = compared.texts.into_iter().collect();
        let numbers: Vec<_> = compared.numbers.into_iter().collect();
        for round in 0..rounds {
            let mut next = Self::typed(marks, round);
            next.may_fail = true;
            for mark in marks.iter() {
                let tried = match mark.kind {
                    ValueKind::Float | ValueKind::Int => numbers.get(round).map(ToString::to_string),
                    ValueKind::Text => texts.get(round).cloned(),
                    ValueKind::Bool | ValueKind::Bytes => None,
                };
                if let Some(tried) = tried {
                    next.values.insert(mark.word().to_owned(), tried);
                }
            }
            all.push(next);
        }
        Ok(all)
    }

    /// Returns whether Helm may refuse it: a text that is tried is not like others that may stand there.
    pub(super) const fn may_fail(&self) -> bool {
        self.may_fail
    }

    /// Returns a text with what stands in for its marks.
    pub(super) fn put_into(&self, marks: &Marks, text: &[u8]) -> SecretBytes {
        let mut out = SecretBytes::with_capacity(text.len());
        for piece in marks.pieces(text).unwrap_or_else(|_| vec![Piece::Clear(text)]) {
            match piece {
                Piece::Clear(clear) => out.extend_from_slice(clear),
                Piece::Mark(id) => {
                    let mark = marks.get(id);
                    out.extend_from_slice(value_of(mark, Some(self)).unwrap_or(mark.word().as_bytes()));
                }
            }
        }
        out
    }

    fn typed(marks: &Marks, round: usize) -> Self {
        let value = |(number, mark): (usize, &Mark)| {
            let value = match mark.kind {
                // One way, the other way, and each other than its neighbour.
                ValueKind::Bool => (if round < 2 { round == 1 } else { number % 2 == 0 }).to_string(),
                ValueKind::Float if round == 0 => "0.5".to_owned(),
                ValueKind::Float => format!("{}.25", number + round),
                ValueKind::Int if round == 0 => "0".to_owned(),
                ValueKind::Int if round == 1 => "1".to_owned(),
                ValueKind::Int => (number + round).to_string(),
                ValueKind::Bytes | ValueKind::Text => mark.word().to_owned(),
            };
            (mark.word().to_owned(), value)
        };
        Self { values: marks.iter().enumerate().map(value).collect(), may_fail: false }
    }
}

/// Returns the value of a mark, or what stands in for it.
pub(super) fn value_of<'m>(mark: &'m Mark, stand_ins: Option<&'m StandIns>) -> Option<&'m [u8]> {
    match stand_ins {
        None => mark.value.as_ref().map(SecretBytes::expose_secret),
        Some(stand_ins) => stand_ins.values.get(mark.word()).map(String::as_bytes),
    }
}

/// What templates compare something with.
#[derive(Default)]
pub(super) struct Compared {
    texts: BTreeSet<String>,
    numbers: BTreeSet<i64>,
}

impl Compared {
    /// Adds what a template compares with.
    pub(super) fn add_all(&mut self, template: &[u8]) {
        let template = String::from_utf8_lossy(template);
        for action in template.split("{{").skip(1) {
            self.add(action.split("}}").next().unwrap_or_default());
        }
    }

    fn add(&mut self, action: &str) {
        let words = || action.split(|letter: char| !(letter.is_alphanumeric() || letter == '_'));
        if !words().any(|word| COMPARING.contains(&word)) {
            return;
        }
        // Every other part of it is in quotes.
        for quoted in action.split(['"', '`']).skip(1).step_by(2) {
            if is_simple(quoted) {
                self.texts.insert(quoted.to_owned());
            }
        }
        for number in words().filter_map(|word| word.parse::<i64>().ok()).filter(|&number| number < 1_000_000)
        {
            self.numbers.extend([number - 1, number, number + 1]);
        }
    }
}

/// Returns whether a text is the same wherever it stands, with and without quotes.
fn is_simple(text: &str) -> bool {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.' | '/');
    let is_number =
        || text.len() < 7 && (text == "0" || !text.starts_with('0')) && text.parse::<u32>().is_ok();
    let starts = text.starts_with(|letter: char| letter.is_ascii_alphabetic());
    text.chars().all(is_letter)
        && (starts || is_number())
        && !ODD.contains(&text.to_ascii_lowercase().as_str())
}

/// Functions that tell texts or numbers from others.
const COMPARING: &[&str] = &[
    "contains",
    "eq",
    "ge",
    "gt",
    "has",
    "hasPrefix",
    "hasSuffix",
    "le",
    "lt",
    "mustHas",
    "mustRegexMatch",
    "ne",
    "regexMatch",
    "semverCompare",
];

/// Words that are no texts to YAML.
const ODD: &[&str] = &["n", "no", "null", "off", "on", "y", "yes"];

/// How often numbers and truth values are tried.
const TYPED: usize = 3;

/// How many texts and numbers are tried that templates compare with.
const MOST: usize = 96;

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(template: &str) -> Compared {
        let mut compared = Compared::default();
        compared.add_all(template.as_bytes());
        compared
    }

    #[test]
    fn what_templates_compare_with_is_found() {
        let template = r#"a: "x" {{ if eq .Values.env "prod" }}{{ "y" | quote }}{{ end }}
            {{ if or (has .Values.env (list "dev" `stage`)) (gt .Values.n 5) }}{{ eq .a "no" }}{{ end }}"#;
        let found = compared(template);
        assert_eq!(found.texts.into_iter().collect::<Vec<_>>(), ["dev", "prod", "stage"]);
        assert_eq!(found.numbers.into_iter().collect::<Vec<_>>(), [4, 5, 6]);
    }

    #[test]
    fn all_that_is_tried_is_of_the_same_type() {
        let mut marks = Marks::default();
        for (place, kind) in
            [("t", ValueKind::Text), ("b", ValueKind::Bool), ("i", ValueKind::Int), ("f", ValueKind::Float)]
        {
            marks.add(Mark::new(b"key", "s.yaml", place, kind, None));
        }
        let all = StandIns::of(&marks, compared(r#"{{ eq .Values.t "prod" }}"#)).expect("they are few");
        assert_eq!(all.len(), TYPED + 1);
        let text: String = marks.iter().map(|mark| format!("{} ", mark.word())).collect();
        let word = text.split(' ').next().expect("it is there");
        let put = |number: usize| {
            let text = all[number].put_into(&marks, text.as_bytes());
            String::from_utf8_lossy(text.expose_secret()).into_owned()
        };
        assert_eq!(put(0), format!("{word} false 0 0.5 "));
        assert_eq!(put(1), format!("{word} true 1 4.25 "));
        assert_eq!(put(3), "prod false 0 0.5 ");
        let many: String = (0..100).map(|number| format!("{{{{ eq .a \"x{number}\" }}}}")).collect();
        assert!(StandIns::of(&marks, compared(&many)).is_err());
    }
}
