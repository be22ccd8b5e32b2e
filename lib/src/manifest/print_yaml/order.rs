//! The order of keys: numbers in them count as numbers, letters stand behind everything else.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value};

/// Returns the entries of a map in the order in which go-yaml v2 writes them.
pub(super) fn sorted(fields: &Map<String, Value>) -> Vec<(&str, &Value)> {
    let mut entries: Vec<Entry<'_>> =
        fields.iter().map(|(key, value)| (key.chars().collect(), key.as_str(), value)).collect();
    sort(&mut entries);
    entries.into_iter().map(|(_, key, value)| (key, value)).collect()
}

type Entry<'a> = (Vec<char>, &'a str, &'a Value);

/// Sorts by merging, with insertion as Go does it where there are few. The order is not quite one (a run of
/// digits may be beyond all numbers), so that the sorts of the standard library could stop with a panic.
fn sort(entries: &mut [Entry<'_>]) {
    if entries.len() <= FEW {
        for end in 1..entries.len() {
            for at in (1..=end).rev() {
                if !is_before(&entries[at].0, &entries[at - 1].0) {
                    break;
                }
                entries.swap(at, at - 1);
            }
        }
        return;
    }
    let (left, right) = entries.split_at_mut(entries.len() / 2);
    sort(left);
    sort(right);
    let mut merged = Vec::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
    while let (Some(first), Some(second)) = (left.peek(), right.peek()) {
        let next = if is_before(&second.0, &first.0) { &mut right } else { &mut left };
        merged.extend(next.next().cloned());
    }
    merged.extend(left.chain(right).cloned());
    for (entry, merged) in entries.iter_mut().zip(merged) {
        *entry = merged;
    }
}

fn is_before(left: &[char], right: &[char]) -> bool {
    let Some(at) = left.iter().zip(right).position(|(left, right)| left != right) else {
        return left.len() < right.len();
    };
    let (first, second) = (left[at], right[at]);
    match (is_letter(first), is_letter(second)) {
        (true, true) => return first < second,
        (false, false) => {}
        (_, is_letter) => return is_letter,
    }
    // Behind digits that are not all zeros, a zero is no leading one.
    let before = left[..at].iter().rev().take_while(|&&char| is_digit(char));
    let is_within = (first == '0' || second == '0') && { before }.any(|&digit| digit != '0');
    let (first_number, first_end) = number(&left[at..], is_within);
    let (second_number, second_end) = number(&right[at..], is_within);
    if first_number != second_number {
        return first_number < second_number;
    }
    if first_end != second_end {
        return first_end < second_end;
    }
    first < second
}

/// Returns the number that a text begins with, and how many digits it has.
fn number(text: &[char], is_within: bool) -> (i64, usize) {
    let digits = text.iter().take_while(|&&char| is_digit(char));
    digits.fold((i64::from(is_within), 0), |(number, length), &digit| {
        let value = i64::from(u32::from(digit)) - i64::from(u32::from('0'));
        (number.wrapping_mul(10).wrapping_add(value), length + 1)
    })
}

fn is_letter(char: char) -> bool {
    static LETTER: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"^\p{L}$").expect("the pattern is constant and valid"));
    if char.is_ascii() {
        return char.is_ascii_alphabetic();
    }
    LETTER.is_match(char.encode_utf8(&mut [0; 4]))
}

fn is_digit(char: char) -> bool {
    static DIGIT: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"^\p{Nd}$").expect("the pattern is constant and valid"));
    if char.is_ascii() {
        return char.is_ascii_digit();
    }
    DIGIT.is_match(char.encode_utf8(&mut [0; 4]))
}

/// Up to here Go sorts by insertion.
const FEW: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_keys_count_as_numbers() {
        let keys = ["a10", "a9", "a09", "A", "b", "1", "", "é", "a-b", "a.b", "ab", "_", "a1b", "a1"];
        let fields: Map<_, _> = keys.iter().map(|key| ((*key).to_owned(), Value::Null)).collect();
        let order: Vec<_> = sorted(&fields).into_iter().map(|(key, _)| key).collect();
        let expected = ["", "_", "1", "A", "a-b", "a.b", "a1", "a1b", "a9", "a09", "a10", "ab", "b", "é"];
        assert_eq!(order, expected);
    }
}
