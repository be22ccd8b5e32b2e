//! Words in `snake_case`, `kebab-case` and `CamelCase`, as xstrings 1.5 finds them.

use crate::secret::SecretBytes;
use crate::template::call::{Call, Failure};
use crate::template::rune;
use crate::template::value::Value;

type Result = std::result::Result<Value, Failure>;

pub fn camelcase(call: &mut Call<'_, '_>) -> Result {
    let text = to_pascal_case(call.text(0));
    call.give(text)
}

pub fn snakecase(call: &mut Call<'_, '_>) -> Result {
    let text = connected(call.text(0), '_');
    call.give(text)
}

pub fn kebabcase(call: &mut Call<'_, '_>) -> Result {
    let text = connected(call.text(0), '-');
    call.give(text)
}

fn to_pascal_case(text: &[u8]) -> SecretBytes {
    let mut out = SecretBytes::with_capacity(text.len());
    let mut characters = rune::runes(text).map(|(_, character, _)| character).peekable();
    // Connectors at the start stay.
    while let Some(connector) = characters.next_if(|&character| is_connector(character)) {
        if characters.peek().is_none() {
            // xstrings writes the last one twice.
            rune::push(&mut out, connector);
            rune::push(&mut out, connector);
            return out;
        }
        rune::push(&mut out, connector);
    }
    let Some(first) = characters.next() else { return out };
    let mut is_upper_word = rune::is_upper(first);
    let mut current = rune::to_upper(first);
    for next in characters {
        let before = std::mem::replace(&mut current, next);
        if is_connector(current) && is_connector(before) {
            rune::push(&mut out, before);
        } else if is_connector(before) {
            is_upper_word = rune::is_upper(current);
            current = rune::to_upper(current);
        } else {
            if is_upper_word {
                if rune::is_upper(current) {
                    current = rune::to_lower(current);
                } else {
                    is_upper_word = false;
                }
            }
            rune::push(&mut out, before);
        }
    }
    rune::push(&mut out, current);
    out
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Alphabet,
    Connector,
    Invalid,
    Number,
    Other,
    Punctuation,
    UpperCase,
}

fn connected(text: &[u8], connector: char) -> SecretBytes {
    let mut out = SecretBytes::with_capacity(text.len() + 8);
    if text.is_empty() {
        return out;
    }
    let is_word = |kind| matches!(kind, Kind::Alphabet | Kind::Number);
    let ends_word = |kind| matches!(kind, Kind::Connector | Kind::Punctuation);
    let (mut kind, mut word, mut rest) = next_word(text);
    while !rest.is_empty() {
        if kind != Kind::Connector {
            write_lower(&mut out, kind, word, connector);
        }
        let (before, last) = (kind, word);
        (kind, word, rest) = next_word(rest);
        match before {
            Kind::Number => {
                while is_word(kind) {
                    write_lower(&mut out, kind, word, connector);
                    (kind, word, rest) = next_word(rest);
                }
                if kind != Kind::Invalid && !ends_word(kind) {
                    rune::push(&mut out, connector);
                }
            }
            Kind::Connector => write_lower(&mut out, before, last, connector),
            Kind::Punctuation => {}
            _ => {
                if kind != Kind::Number {
                    if !ends_word(kind) {
                        rune::push(&mut out, connector);
                    }
                    continue;
                }
                if rest.is_empty() {
                    continue;
                }
                let last = word;
                (kind, word, rest) = next_word(rest);
                if kind != Kind::Alphabet {
                    write_lower(&mut out, Kind::Number, last, connector);
                    if !ends_word(kind) {
                        rune::push(&mut out, connector);
                    }
                    continue;
                }
                rune::push(&mut out, connector);
                write_lower(&mut out, Kind::Number, last, connector);
                while is_word(kind) {
                    write_lower(&mut out, kind, word, connector);
                    (kind, word, rest) = next_word(rest);
                }
                if kind != Kind::Invalid && !ends_word(kind) {
                    rune::push(&mut out, connector);
                }
            }
        }
    }
    write_lower(&mut out, kind, word, connector);
    out
}

fn next_word(text: &[u8]) -> (Kind, &[u8], &[u8]) {
    if text.is_empty() {
        return (Kind::Invalid, &[], &[]);
    }
    let (first, size) = next_valid(text, rune::ERROR);
    if first == rune::ERROR {
        return (Kind::Invalid, &text[..size], &text[size..]);
    }
    let run = |from: usize, previous: char, goes_on: &dyn Fn(char, usize) -> bool| {
        let (mut at, mut last) = (from, previous);
        while at < text.len() {
            let (next, width) = next_valid(&text[at..], last);
            if !goes_on(next, width) {
                break;
            }
            at += width;
            last = next;
        }
        at
    };
    let cut = |kind, at: usize| (kind, &text[..at], &text[at..]);
    if is_connector(first) {
        return cut(Kind::Connector, run(size, first, &|next, _| is_connector(next)));
    }
    if rune::is_punctuation(first) {
        return cut(Kind::Punctuation, run(size, first, &|next, _| rune::is_punctuation(next)));
    }
    let is_lower_letter = |next, _| is_alphabet(next) && !rune::is_upper(next);
    if rune::is_upper(first) {
        if size == text.len() {
            return cut(Kind::UpperCase, size);
        }
        let (second, width) = next_valid(&text[size..], first);
        if !rune::is_upper(second) {
            let end = if is_alphabet(second) { run(size + width, second, &is_lower_letter) } else { size };
            return cut(Kind::UpperCase, end);
        }
        let (mut at, mut last_width, mut next) = (size + width, width, second);
        while at < text.len() {
            let (following, width) = next_valid(&text[at..], next);
            next = following;
            if !rune::is_upper(following) {
                break;
            }
            last_width = width;
            at += width;
        }
        // The last capital belongs to the word that follows.
        if at < text.len() && is_alphabet(next) {
            at -= last_width;
        }
        return cut(Kind::UpperCase, at);
    }
    if is_alphabet(first) {
        return cut(Kind::Alphabet, run(size, first, &is_lower_letter));
    }
    if rune::is_number(first) {
        return cut(Kind::Number, run(size, first, &|next, _| rune::is_number(next)));
    }
    let is_other = |next, width| {
        width != 0
            && !is_connector(next)
            && !is_alphabet(next)
            && !rune::is_number(next)
            && !rune::is_punctuation(next)
    };
    cut(Kind::Other, run(size, first, &is_other))
}

/// Returns the next character that is one, and how many bytes it and what is before it have.
fn next_valid(text: &[u8], previous: char) -> (char, usize) {
    let mut size = 0;
    while size < text.len() {
        let (character, width) = rune::decode(&text[size..]);
        size += width;
        if character != rune::ERROR {
            return (character, size);
        }
    }
    (previous, size)
}

fn write_lower(out: &mut SecretBytes, kind: Kind, word: &[u8], connector: char) {
    if !matches!(kind, Kind::Connector | Kind::UpperCase) {
        out.extend_from_slice(word);
        return;
    }
    for (_, character, _) in rune::runes(word) {
        rune::push(
            out,
            if is_connector(character) {
                connector
            } else if rune::is_upper(character) {
                rune::to_lower(character)
            } else {
                character
            },
        );
    }
}

fn is_connector(character: char) -> bool {
    matches!(character, '-' | '_') || rune::is_space(character)
}

/// Returns whether it is a letter that is no Chinese character.
fn is_alphabet(character: char) -> bool {
    if !rune::is_letter(character) {
        return false;
    }
    !matches!(u32::from(character), 0x3400..=0x4D85 | 0x4E00..=0x9FCC | 0x2_0000..=0x2_B81D)
}
