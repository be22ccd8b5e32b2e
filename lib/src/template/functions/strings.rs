//! Text.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::secret::SecretBytes;
use crate::template::budget::{Budget, Limit};
use crate::template::call::{Call, Failure};
use crate::template::print::{sprint, string_of};
use crate::template::value::{Element, Text, Value};
use crate::template::{print, quote as quoting, rune};

type Result = std::result::Result<Value, Failure>;

pub fn abbrev(call: &mut Call<'_, '_>) -> Result {
    let width = call.int(0);
    let text = call.text(1);
    if width < 4 {
        return Ok(call.arg(1));
    }
    let out = abbreviate(text, 0, width as usize);
    call.give(out)
}

pub fn abbrevboth(call: &mut Call<'_, '_>) -> Result {
    let (left, right) = (call.int(0), call.int(1));
    if right < 4 || (left > 0 && right < 7) {
        return Ok(call.arg(2));
    }
    let out = abbreviate(call.text(2), left, right as usize);
    call.give(out)
}

/// Cuts text off to a width, with dots where something is missing.
fn abbreviate(text: &[u8], offset: i64, width: usize) -> SecretBytes {
    if text.len() <= width {
        return text.into();
    }
    let mut offset = offset.min(text.len() as i64);
    let inner = (width - 3) as i64;
    if text.len() as i64 - offset < inner {
        offset = text.len() as i64 - inner;
    }
    let mut out = SecretBytes::with_capacity(width);
    if offset <= 4 {
        out.extend_from_slice(&text[..width - 3]);
        out.push_str("...");
        return out;
    }
    if width < 7 {
        return out;
    }
    out.push_str("...");
    let offset = offset as usize;
    if offset + width - 3 < text.len() {
        out.extend_from_slice(abbreviate(&text[offset..], 0, width - 3).expose_secret());
    } else {
        out.extend_from_slice(&text[text.len() - (width - 3)..]);
    }
    out
}

pub fn trunc(call: &mut Call<'_, '_>) -> Result {
    let (count, text) = (call.int(0), call.text(1));
    let length = text.len() as i64;
    let kept = match count {
        0.. => &text[..count.min(length) as usize],
        _ if length.saturating_add(count) > 0 => &text[(length + count) as usize..],
        _ => text,
    };
    let kept = SecretBytes::from(kept);
    call.give(kept)
}

pub fn substr(call: &mut Call<'_, '_>) -> Result {
    let (start, end, text) = (call.int(0), call.int(1), call.text(2));
    let length = text.len() as i64;
    let bounds = |from: i64, to: i64, shown: String| {
        let out_of = (0..=to).contains(&from) && to <= length;
        out_of.then_some(from as usize..to as usize).ok_or(shown)
    };
    let number = |index: usize, value: i64| call.shown_number(index, value);
    let with_length = if call.is_public(2) { length.to_string() } else { number(2, length) };
    let range = if start < 0 {
        let behind = if end < 0 { String::new() } else { format!(" with length {with_length}") };
        bounds(0, end, format!("[:{}]{behind}", number(1, end)))
    } else if end < 0 || end > length {
        bounds(start, length, format!("[{}:{with_length}]", number(0, start)))
    } else {
        bounds(start, end, format!("[{}:{}]", number(0, start), number(1, end)))
    };
    match range {
        Ok(range) => {
            let part = SecretBytes::from(&text[range]);
            call.give(part)
        }
        Err(shown) => Err(format!("runtime error: slice bounds out of range {shown}").into()),
    }
}

pub fn trim(call: &mut Call<'_, '_>) -> Result {
    let trimmed = SecretBytes::from(trim_space(call.text(0)));
    call.give(trimmed)
}

/// Cuts white space off both ends.
pub fn trim_space(text: &[u8]) -> &[u8] {
    trim_while(text, rune::is_space)
}

pub fn trim_all(call: &mut Call<'_, '_>) -> Result {
    let cut: Vec<char> = rune::runes(call.text(0)).map(|(_, character, _)| character).collect();
    let trimmed = SecretBytes::from(trim_while(call.text(1), |character| cut.contains(&character)));
    call.give(trimmed)
}

fn trim_while(text: &[u8], is_cut: impl Fn(char) -> bool) -> &[u8] {
    let start =
        rune::runes(text).find(|(_, character, _)| !is_cut(*character)).map_or(text.len(), |(at, ..)| at);
    let text = &text[start..];
    let end = rune::runes(text).filter(|(_, character, _)| !is_cut(*character)).last();
    &text[..end.map_or(0, |(at, _, width)| at + width)]
}

pub fn trim_prefix(call: &mut Call<'_, '_>) -> Result {
    let text = call.text(1);
    let rest = SecretBytes::from(text.strip_prefix(call.text(0)).unwrap_or(text));
    call.give(rest)
}

pub fn trim_suffix(call: &mut Call<'_, '_>) -> Result {
    let text = call.text(1);
    let rest = SecretBytes::from(text.strip_suffix(call.text(0)).unwrap_or(text));
    call.give(rest)
}

pub fn upper(call: &mut Call<'_, '_>) -> Result {
    let text = changed(call.text(0), rune::to_upper, |byte| byte.is_ascii_lowercase());
    call.give(text)
}

pub fn lower(call: &mut Call<'_, '_>) -> Result {
    let text = changed(call.text(0), rune::to_lower, |byte| byte.is_ascii_uppercase());
    call.give(text)
}

/// Go leaves plain text as it is; bytes that are no characters are replaced in other text only.
fn changed(text: &[u8], change: fn(char) -> char, is_changed: fn(&u8) -> bool) -> SecretBytes {
    if text.is_ascii() && !text.iter().any(is_changed) { text.into() } else { rune::map(text, change) }
}

pub fn title(call: &mut Call<'_, '_>) -> Result {
    let mut before = ' ';
    let text = rune::map(call.text(0), |character| {
        let is_first = is_separator(before);
        before = character;
        if is_first { rune::to_title(character) } else { character }
    });
    call.give(text)
}

fn is_separator(character: char) -> bool {
    match character {
        '0'..='9' | 'a'..='z' | 'A'..='Z' | '_' => false,
        other if other.is_ascii() => true,
        other => !rune::is_letter(other) && !rune::is_digit(other) && rune::is_space(other),
    }
}

pub fn untitle(call: &mut Call<'_, '_>) -> Result {
    let mut is_first = true;
    let text = rune::map(call.text(0), |character| {
        if rune::is_space(character) {
            is_first = true;
            return character;
        }
        if std::mem::take(&mut is_first) { rune::to_lower(character) } else { character }
    });
    call.give(text)
}

pub fn swapcase(call: &mut Call<'_, '_>) -> Result {
    let mut is_behind_space = true;
    let text = rune::map(call.text(0), |character| {
        if rune::is_upper(character) || rune::is_title(character) {
            is_behind_space = false;
            rune::to_lower(character)
        } else if rune::is_lower(character) {
            if std::mem::take(&mut is_behind_space) {
                rune::to_title(character)
            } else {
                rune::to_upper(character)
            }
        } else {
            is_behind_space = rune::is_space(character);
            character
        }
    });
    call.give(text)
}

pub fn initials(call: &mut Call<'_, '_>) -> Result {
    // goutils takes each byte for a character.
    let (mut out, mut is_first) = (SecretBytes::new(), true);
    for &byte in call.text(0) {
        let character = char::from(byte);
        if rune::is_space(character) {
            is_first = true;
        } else if std::mem::take(&mut is_first) {
            rune::push(&mut out, character);
        }
    }
    call.give(out)
}

pub fn nospace(call: &mut Call<'_, '_>) -> Result {
    let text = call.text(0);
    let is_space = |&byte: &u8| rune::is_space(char::from(byte));
    if !text.iter().any(is_space) {
        return Ok(call.arg(0));
    }
    // goutils takes each byte for a character here too.
    let mut out = SecretBytes::with_capacity(text.len());
    text.iter().filter(|byte| !is_space(byte)).for_each(|&byte| rune::push(&mut out, char::from(byte)));
    call.give(out)
}

pub fn repeat(call: &mut Call<'_, '_>) -> Result {
    let (count, text) = (call.int(0), call.text(1));
    let count = usize::try_from(count).map_err(|_| Failure::from("strings: negative Repeat count"))?;
    let length = text.len().checked_mul(count).ok_or(Limit::ValueBytes)?;
    call.machine.budget.value(length)?;
    let mut out = SecretBytes::with_capacity(length);
    (0..if text.is_empty() { 0 } else { count }).for_each(|_| out.extend_from_slice(call.text(1)));
    Ok(Value::text(out))
}

pub fn replace(call: &mut Call<'_, '_>) -> Result {
    let limit = call.machine.budget.limits().value_bytes;
    let out = replaced(call.text(2), call.text(0), call.text(1), limit)?;
    call.give(out)
}

/// Replaces all occurrences; an empty one is before each character, and at the end.
fn replaced(text: &[u8], old: &[u8], new: &[u8], limit: usize) -> std::result::Result<SecretBytes, Limit> {
    let mut out = SecretBytes::with_capacity(text.len());
    let mut at = 0;
    while at <= text.len() {
        if out.len() > limit {
            return Err(Limit::ValueBytes);
        }
        if old.is_empty() {
            out.extend_from_slice(new);
            let (_, width) = rune::decode(&text[at..]);
            out.extend_from_slice(&text[at..at + width]);
            at += width.max(1);
        } else if let Some(next) = find(&text[at..], old) {
            out.extend_from_slice(&text[at..at + next]);
            out.extend_from_slice(new);
            at += next + old.len();
        } else {
            out.extend_from_slice(&text[at..]);
            break;
        }
    }
    Ok(out)
}

/// Returns where a text starts in another.
pub fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    if part.is_empty() {
        return Some(0);
    }
    // The worst case of a plain search would be quadratic.
    memchr::memmem::find(text, part)
}

pub fn contains(call: &mut Call<'_, '_>) -> Result {
    Ok(find(call.text(1), call.text(0)).is_some().into())
}

pub fn has_prefix(call: &mut Call<'_, '_>) -> Result {
    Ok(call.text(1).starts_with(call.text(0)).into())
}

pub fn has_suffix(call: &mut Call<'_, '_>) -> Result {
    Ok(call.text(1).ends_with(call.text(0)).into())
}

pub fn indent(call: &mut Call<'_, '_>) -> Result {
    indented(call, SecretBytes::new())
}

pub fn nindent(call: &mut Call<'_, '_>) -> Result {
    indented(call, SecretBytes::from("\n"))
}

fn indented(call: &mut Call<'_, '_>, mut out: SecretBytes) -> Result {
    let text = call.text(1);
    let spaces = usize::try_from(call.int(0)).map_err(|_| Failure::from("strings: negative Repeat count"))?;
    let lines = 1 + text.iter().filter(|&&byte| byte == b'\n').count();
    let length = lines.checked_mul(spaces).and_then(|added| added.checked_add(text.len()));
    call.machine.budget.value(length.ok_or(Limit::ValueBytes)?)?;
    let padding = " ".repeat(spaces);
    for (index, line) in call.text(1).split(|&byte| byte == b'\n').enumerate() {
        if index > 0 {
            out.push(b'\n');
        }
        out.push_str(&padding);
        out.extend_from_slice(line);
    }
    call.give(out)
}

pub fn wrap(call: &mut Call<'_, '_>) -> Result {
    wrapped(call, 1, b"\n", false)
}

pub fn wrap_with(call: &mut Call<'_, '_>) -> Result {
    let separator = call.text(1).to_vec();
    let separator = if separator.is_empty() { b"\n".to_vec() } else { separator };
    wrapped(call, 2, &separator, true)
}

fn wrapped(call: &mut Call<'_, '_>, index: usize, separator: &[u8], cuts_words: bool) -> Result {
    let width = usize::try_from(call.int(0)).unwrap_or(0).max(1);
    let text = call.text(index);
    let breaks = text.len() / width.min(text.len().max(1)) + 1;
    let length = breaks.checked_mul(separator.len()).and_then(|added| added.checked_add(text.len()));
    call.machine.budget.value(length.ok_or(Limit::ValueBytes)?)?;
    let text = call.text(index);
    let mut out = SecretBytes::with_capacity(text.len());
    let mut at = 0;
    while text.len() - at > width {
        if text[at] == b' ' {
            at += 1;
            continue;
        }
        let line = &text[at..at + width + 1];
        let (end, next) = if let Some(space) = line.iter().rposition(|&byte| byte == b' ') {
            (at + space, at + space + 1)
        } else if cuts_words {
            (at + width, at + width)
        } else if let Some(space) = text[at + width..].iter().position(|&byte| byte == b' ') {
            (at + width + space, at + width + space + 1)
        } else {
            out.extend_from_slice(&text[at..]);
            at = text.len();
            break;
        };
        out.extend_from_slice(&text[at..end]);
        out.extend_from_slice(separator);
        at = next;
    }
    out.extend_from_slice(&text[at..]);
    call.give(out)
}

pub fn quote(call: &mut Call<'_, '_>) -> Result {
    let mut out = SecretBytes::new();
    for value in call.args.iter().filter(|value| !value.is_nil()) {
        if !out.is_empty() {
            out.push(b' ');
        }
        let text = text_of(value, &mut call.machine.budget)?;
        quoting::quote(&mut out, text.bytes(), false);
    }
    call.give(out)
}

pub fn squote(call: &mut Call<'_, '_>) -> Result {
    let mut out = SecretBytes::new();
    for value in call.args.iter().filter(|value| !value.is_nil()) {
        if !out.is_empty() {
            out.push(b' ');
        }
        let text = print::text_of(value, &mut call.machine.budget)?;
        out.push(b'\'');
        out.extend_from_slice(text.bytes());
        out.push(b'\'');
    }
    call.give(out)
}

pub fn cat(call: &mut Call<'_, '_>) -> Result {
    let mut out = SecretBytes::new();
    for (index, value) in call.args.iter().filter(|value| !value.is_nil()).enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        let text = print::text_of(value, &mut call.machine.budget)?;
        out.extend_from_slice(text.bytes());
    }
    call.give(out)
}

pub fn plural(call: &mut Call<'_, '_>) -> Result {
    Ok(call.arg(if call.int(2) == 1 { 0 } else { 1 }))
}

pub fn to_string(call: &mut Call<'_, '_>) -> Result {
    let value = call.arg(0);
    Ok(Value::Text(text_of(&value, &mut call.machine.budget)?))
}

pub fn to_strings(call: &mut Call<'_, '_>) -> Result {
    let value = call.arg(0);
    // sprig hands out a list of texts as it is, and a nil one stays nil.
    if matches!(&value, Value::List(list) if list.is_nil && list.element == Element::Text) {
        return Ok(value);
    }
    let texts = strings_of(&value, &mut call.machine.budget)?;
    Ok(call.machine.list(Element::Text, texts.into_iter().map(Value::Text).collect())?)
}

pub fn join(call: &mut Call<'_, '_>) -> Result {
    let value = call.arg(1);
    let texts = strings_of(&value, &mut call.machine.budget)?;
    let separator = call.text(0);
    let limit = call.machine.budget.limits().value_bytes;
    let mut out = SecretBytes::new();
    for (index, text) in texts.iter().enumerate() {
        if index > 0 {
            out.extend_from_slice(separator);
        }
        out.extend_from_slice(text.bytes());
        if out.len() > limit {
            return Err(Limit::ValueBytes.into());
        }
    }
    call.give(out)
}

/// Returns a value as text, as sprig's `strval` does.
pub fn text_of(value: &Value, budget: &mut Budget) -> std::result::Result<Text, Limit> {
    match value {
        Value::Text(text) => Ok(text.clone()),
        value => match string_of(value) {
            Some(text) => Ok(Text::secret(text)),
            None => Ok(Text::secret(sprint(std::slice::from_ref(value), budget)?)),
        },
    }
}

/// Returns a value as a list of texts, as sprig's `strslice` does.
pub fn strings_of(value: &Value, budget: &mut Budget) -> std::result::Result<Vec<Text>, Limit> {
    match value {
        Value::List(list) => {
            budget.steps(list.items.len())?;
            list.items.iter().filter(|item| !item.is_nil()).map(|item| text_of(item, budget)).collect()
        }
        value if value.is_nil() => Ok(Vec::new()),
        value => Ok(vec![text_of(value, budget)?]),
    }
}

pub fn split(call: &mut Call<'_, '_>) -> Result {
    let parts = parts_of(call.text(1), call.text(0), -1);
    map_of(call, parts)
}

pub fn splitn(call: &mut Call<'_, '_>) -> Result {
    let parts = parts_of(call.text(2), call.text(0), call.int(1));
    map_of(call, parts)
}

fn map_of(call: &mut Call<'_, '_>, parts: Vec<SecretBytes>) -> Result {
    call.machine.budget.steps(parts.len())?;
    let entries = parts.into_iter().enumerate().map(|(index, part)| {
        let key = Text::public(format!("_{index}"));
        (key, Text::secret(part))
    });
    Ok(Value::Map(std::rc::Rc::new(entries.collect())))
}

pub fn split_list(call: &mut Call<'_, '_>) -> Result {
    let parts = parts_of(call.text(1), call.text(0), -1);
    Ok(call.machine.texts(parts)?)
}

/// Cuts text at a separator, into at most `count` parts if that is not negative.
fn parts_of(text: &[u8], separator: &[u8], count: i64) -> Vec<SecretBytes> {
    let most = usize::try_from(count).unwrap_or(usize::MAX);
    let mut parts = Vec::new();
    if most == 0 {
        return parts;
    }
    let mut rest = text;
    if separator.is_empty() {
        while !rest.is_empty() && parts.len() + 1 < most {
            let (_, width) = rune::decode(rest);
            parts.push(SecretBytes::from(&rest[..width]));
            rest = &rest[width..];
        }
        if !rest.is_empty() {
            parts.push(rest.into());
        }
        return parts;
    }
    while parts.len() + 1 < most {
        let Some(at) = find(rest, separator) else { break };
        parts.push(rest[..at].into());
        rest = &rest[at + separator.len()..];
    }
    parts.push(rest.into());
    parts
}

pub fn b64enc(call: &mut Call<'_, '_>) -> Result {
    call.machine.budget.value(call.text(0).len() / 3 * 4)?;
    let encoded = BASE64.encode(call.text(0));
    call.give(encoded)
}

pub fn b64dec(call: &mut Call<'_, '_>) -> Result {
    let decoded = decode_base64(call.text(0));
    let decoded = decoded.unwrap_or_else(|at| format!("illegal base64 data at input byte {at}").into());
    call.give(decoded)
}

/// Decodes standard base64 as Go does, which skips line ends; the error is the position that Go tells.
pub fn decode_base64(text: &[u8]) -> std::result::Result<SecretBytes, usize> {
    let mut plain = SecretBytes::with_capacity(text.len());
    text.iter().filter(|byte| !matches!(byte, b'\n' | b'\r')).for_each(|&byte| plain.push(byte));
    BASE64.decode(plain.expose_secret()).map(SecretBytes::from).map_err(|_| base64_fault(text))
}

/// Returns where Go finds base64 to be wrong.
fn base64_fault(text: &[u8]) -> usize {
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let mut at = 0;
    loop {
        let mut digits = 0;
        while digits < 4 {
            let Some(&byte) = text.get(at) else {
                return if digits == 0 { at } else { at - digits };
            };
            at += 1;
            if matches!(byte, b'\n' | b'\r') {
                continue;
            }
            if is_digit(byte) {
                digits += 1;
                continue;
            }
            if byte != b'=' || digits < 2 {
                return at - 1;
            }
            let skip = |mut at: usize| {
                while matches!(text.get(at), Some(b'\n' | b'\r')) {
                    at += 1;
                }
                at
            };
            if digits == 2 {
                at = skip(at);
                match text.get(at) {
                    None => return text.len(),
                    Some(b'=') => at += 1,
                    Some(_) => return at - 1,
                }
            }
            return skip(at);
        }
    }
}

pub fn b32enc(call: &mut Call<'_, '_>) -> Result {
    call.machine.budget.value(call.text(0).len() / 5 * 8)?;
    let mut out = SecretBytes::new();
    for chunk in call.text(0).chunks(5) {
        let mut block = [0; 8];
        block[3..3 + chunk.len()].copy_from_slice(chunk);
        let bits = u64::from_be_bytes(block);
        let digits = (chunk.len() * 8).div_ceil(5);
        for index in 0..8 {
            let digit = (bits >> (35 - 5 * index) & 31) as usize;
            out.push(if index < digits { BASE32[digit] } else { b'=' });
        }
    }
    call.give(out)
}

pub fn b32dec(call: &mut Call<'_, '_>) -> Result {
    let decoded = decode_base32(call.text(0));
    let decoded = decoded.unwrap_or_else(|at| format!("illegal base32 data at input byte {at}").into());
    call.give(decoded)
}

fn decode_base32(text: &[u8]) -> std::result::Result<SecretBytes, usize> {
    let mut plain = SecretBytes::with_capacity(text.len());
    text.iter().filter(|byte| !matches!(byte, b'\n' | b'\r')).for_each(|&byte| plain.push(byte));
    let text = plain.expose_secret();
    let mut out = SecretBytes::with_capacity(text.len() / 8 * 5);
    let mut at = 0;
    while at < text.len() {
        let (mut bits, mut digits) = (0_u64, 0);
        while digits < 8 {
            let Some(&byte) = text.get(at) else { return Err(at - digits) };
            at += 1;
            if byte == b'=' && digits >= 2 {
                // Enough padding must follow, and nothing behind it.
                let missing = 8 - digits - 1;
                if text.len() - at < missing {
                    return Err(text.len());
                }
                if let Some(wrong) = text[at..at + missing].iter().position(|&byte| byte != b'=') {
                    return Err(at + wrong - 1);
                }
                if matches!(digits, 3 | 6) {
                    return Err(at - 1);
                }
                if at + missing < text.len() {
                    return Err(at + missing);
                }
                at = text.len();
                break;
            }
            let digit = BASE32.iter().position(|&digit| digit == byte).ok_or(at - 1)?;
            bits |= (digit as u64) << (35 - 5 * digits);
            digits += 1;
        }
        out.extend_from_slice(&bits.to_be_bytes()[3..3 + digits * 5 / 8]);
    }
    Ok(out)
}

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// As Go: padding is needed, and bits that are not needed are not looked at.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);
