//! What others say, as people may see it: servers, programs, libraries, and names out of documents.

/// Returns what somebody else said, on one line, without characters that control a terminal or turn the direction of
/// the text, and not too long.
#[must_use]
pub fn said(text: &str) -> String {
    let parts = text.split(|character: char| character.is_whitespace() || acts(character));
    let line = parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// Returns whether a character does something else than to be seen.
fn acts(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// How many characters of what others say are shown.
const LONGEST: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_one_short_line() {
        assert_eq!(said(" a\r\n\u{1b}[31mb\tc "), "a [31mb c");
        assert_eq!(said("a\u{2028}b\u{85}c\u{9b}d"), "a b c d");
        assert_eq!(said(&"ä".repeat(301)).chars().count(), 301);
        assert_eq!(said(&"ä".repeat(300)).chars().count(), 300);
    }

    #[test]
    fn nothing_turns_the_direction_of_a_text() {
        for character in "\u{61c}\u{200e}\u{200f}\u{202a}\u{202e}\u{2066}\u{2069}".chars() {
            assert_eq!(said(&format!("no{character}t{character}")), "no t");
        }
    }
}
