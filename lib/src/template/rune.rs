//! Characters as Go reads them out of bytes, and what it calls them.

use unicode_general_category::{GeneralCategory, get_general_category};

use crate::secret::SecretBytes;

/// What stands for bytes that are no character.
pub const ERROR: char = '\u{FFFD}';

/// Returns the first character of `bytes` and how many bytes it has: `(ERROR, 1)` for a byte that is part
/// of none, `(ERROR, 0)` for nothing.
pub fn decode(bytes: &[u8]) -> (char, usize) {
    let Some(&first) = bytes.first() else { return (ERROR, 0) };
    let length = match first {
        0..=0x7F => return (char::from(first), 1),
        0xC2..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xF4 => 4,
        _ => return (ERROR, 1),
    };
    let character = bytes.get(..length).and_then(|bytes| std::str::from_utf8(bytes).ok());
    character.and_then(|text| text.chars().next()).map_or((ERROR, 1), |character| (character, length))
}

/// Returns whether what was decoded is no character.
pub fn is_invalid((character, width): (char, usize)) -> bool {
    character == ERROR && width <= 1
}

/// Returns all characters with the positions at which they start.
pub fn runes(bytes: &[u8]) -> impl Iterator<Item = (usize, char, usize)> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let (character, width) = decode(bytes.get(at..)?);
        let start = at;
        at += width;
        (width > 0).then_some((start, character, width))
    })
}

/// Returns how many characters there are.
pub fn count(bytes: &[u8]) -> usize {
    runes(bytes).count()
}

/// Writes a character.
pub fn push(out: &mut SecretBytes, character: char) {
    let mut buffer = [0; 4];
    out.push_str(character.encode_utf8(&mut buffer));
}

/// Returns text with each character changed; bytes that are none become `ERROR`.
pub fn map(bytes: &[u8], mut change: impl FnMut(char) -> char) -> SecretBytes {
    let mut out = SecretBytes::with_capacity(bytes.len());
    runes(bytes).for_each(|(_, character, _)| push(&mut out, change(character)));
    out
}

/// Returns the character in upper case, if that is one character.
pub fn to_upper(character: char) -> char {
    single(character, character.to_uppercase())
}

/// Returns the character in lower case, if that is one character.
pub fn to_lower(character: char) -> char {
    if character == '\u{130}' { 'i' } else { single(character, character.to_lowercase()) }
}

/// Returns the character as the first of a word.
pub fn to_title(character: char) -> char {
    match character {
        'Ǆ' | 'ǅ' | 'ǆ' => 'ǅ',
        'Ǉ' | 'ǈ' | 'ǉ' => 'ǈ',
        'Ǌ' | 'ǋ' | 'ǌ' => 'ǋ',
        'Ǳ' | 'ǲ' | 'ǳ' => 'ǲ',
        'ა'..='ჺ' | 'ჽ'..='ჿ' => character,
        other => to_upper(other),
    }
}

fn single(character: char, mut changed: impl ExactSizeIterator<Item = char>) -> char {
    if changed.len() == 1 { changed.next().unwrap_or(character) } else { character }
}

/// Returns whether it is white space.
pub fn is_space(character: char) -> bool {
    matches!(character, '\t'..='\r' | ' ' | '\u{85}' | '\u{A0}')
        || (!character.is_ascii() && character.is_whitespace())
}

/// Returns whether it is a letter.
pub fn is_letter(character: char) -> bool {
    use GeneralCategory as C;
    if character.is_ascii() {
        return character.is_ascii_alphabetic();
    }
    matches!(
        get_general_category(character),
        C::LowercaseLetter | C::ModifierLetter | C::OtherLetter | C::TitlecaseLetter | C::UppercaseLetter
    )
}

/// Returns whether it is a decimal digit.
pub fn is_digit(character: char) -> bool {
    if character.is_ascii() {
        return character.is_ascii_digit();
    }
    get_general_category(character) == GeneralCategory::DecimalNumber
}

/// Returns whether it is a number of any kind.
pub fn is_number(character: char) -> bool {
    use GeneralCategory as C;
    is_digit(character)
        || (!character.is_ascii()
            && matches!(get_general_category(character), C::LetterNumber | C::OtherNumber))
}

/// Returns whether it is an upper case letter.
pub fn is_upper(character: char) -> bool {
    get_general_category(character) == GeneralCategory::UppercaseLetter
}

/// Returns whether it is a lower case letter.
pub fn is_lower(character: char) -> bool {
    get_general_category(character) == GeneralCategory::LowercaseLetter
}

/// Returns whether it is a title case letter.
pub fn is_title(character: char) -> bool {
    get_general_category(character) == GeneralCategory::TitlecaseLetter
}

/// Returns whether it is punctuation.
pub fn is_punctuation(character: char) -> bool {
    use GeneralCategory as C;
    matches!(
        get_general_category(character),
        C::ClosePunctuation
            | C::ConnectorPunctuation
            | C::DashPunctuation
            | C::FinalPunctuation
            | C::InitialPunctuation
            | C::OpenPunctuation
            | C::OtherPunctuation
    )
}

/// Returns whether Go would print it as it is.
pub fn is_printable(character: char) -> bool {
    use GeneralCategory as C;
    if character.is_ascii() {
        return matches!(character, ' '..='~');
    }
    !matches!(
        get_general_category(character),
        C::Control
            | C::Format
            | C::LineSeparator
            | C::ParagraphSeparator
            | C::PrivateUse
            | C::SpaceSeparator
            | C::Surrogate
            | C::Unassigned
    )
}
