//! Regular expressions.

use ::regex::bytes::{Captures, Regex, RegexBuilder};

use crate::secret::SecretBytes;
use crate::template::budget::Limit;
use crate::template::call::{Call, Failure, HIDDEN, Machine};
use crate::template::quote::{can_backquote, quoted};
use crate::template::rune;
use crate::template::value::{Element, Value};

mod syntax;

use syntax::Fault;

/// An expression, and the names of its groups.
struct Expression {
    regex: Regex,
    names: Vec<(String, usize)>,
}

type Result = std::result::Result<Value, Failure>;

pub fn matches(call: &mut Call<'_, '_>) -> Result {
    match compiled(call)? {
        Ok(expression) => Ok(expression.regex.is_match(call.text(1)).into()),
        Err(_) => Ok(Value::Bool(false)),
    }
}

pub fn must_match(call: &mut Call<'_, '_>) -> Result {
    let expression = needed(call)?;
    let regex = &expression.regex;
    Ok(regex.is_match(call.text(1)).into())
}

pub fn find(call: &mut Call<'_, '_>) -> Result {
    let expression = needed(call)?;
    let regex = &expression.regex;
    let found = SecretBytes::from(regex.find(call.text(1)).map_or(&[][..], |found| found.as_bytes()));
    call.give(found)
}

pub fn find_all(call: &mut Call<'_, '_>) -> Result {
    let expression = needed(call)?;
    let regex = &expression.regex;
    let text = call.text(1);
    let most = usize::try_from(call.int(2)).unwrap_or(usize::MAX);
    let found = all(regex, text, most, call.machine)?;
    let found: Vec<SecretBytes> = found.iter().map(|found| text_of(found, text).into()).collect();
    if found.is_empty() {
        return Ok(Machine::nil_list(Element::Text));
    }
    Ok(call.machine.texts(found)?)
}

pub fn replace_all(call: &mut Call<'_, '_>) -> Result {
    replaced(call, expand)
}

pub fn replace_all_literal(call: &mut Call<'_, '_>) -> Result {
    replaced(call, |out, _, _, replacement| out.extend_from_slice(replacement))
}

pub fn split(call: &mut Call<'_, '_>) -> Result {
    let expression = needed(call)?;
    let regex = &expression.regex;
    let (text, count) = (call.text(1), call.int(2));
    if count == 0 {
        return Ok(Machine::nil_list(Element::Text));
    }
    let most = usize::try_from(count).unwrap_or(usize::MAX);
    let pattern_is_empty = call.text(0).is_empty();
    if !pattern_is_empty && text.is_empty() {
        return Ok(call.machine.texts([SecretBytes::new()])?);
    }
    let found = all(regex, text, most, call.machine)?;
    let (mut parts, mut begin, mut end) = (Vec::new(), 0, 0);
    for captures in &found {
        if parts.len() + 1 == most {
            break;
        }
        let (start, stop) = range_of(captures);
        end = start;
        if stop != 0 {
            parts.push(SecretBytes::from(&text[begin..end]));
        }
        begin = stop;
    }
    if end != text.len() {
        parts.push(SecretBytes::from(&text[begin..]));
    }
    Ok(call.machine.texts(parts)?)
}

pub fn quote_meta(call: &mut Call<'_, '_>) -> Result {
    let mut out = SecretBytes::with_capacity(call.text(0).len());
    for &byte in call.text(0) {
        if b"\\.+*?()|[]{}^$".contains(&byte) {
            out.push(b'\\');
        }
        out.push(byte);
    }
    call.give(out)
}

/// Returns the expression, or what Go says of it.
fn needed(call: &mut Call<'_, '_>) -> std::result::Result<Expression, Failure> {
    let fault = match compiled(call)? {
        Ok(expression) => return Ok(expression),
        Err(fault) => fault,
    };
    let message = fault.message(call.is_public(0));
    if call.name.starts_with("must") {
        return Err(message.into());
    }
    let pattern = call.text(0);
    let pattern = if !call.is_public(0) {
        HIDDEN.to_owned()
    } else if can_backquote(pattern) {
        format!("`{}`", String::from_utf8_lossy(pattern))
    } else {
        quoted(pattern)
    };
    Err(format!("regexp: Compile({pattern}): {message}").into())
}

fn compiled(call: &mut Call<'_, '_>) -> std::result::Result<std::result::Result<Expression, Fault>, Limit> {
    let (pattern, text) = (call.text(0), call.text(1));
    // Compiling takes far longer than a step for each byte, and matching is linear.
    call.machine.budget.steps(20 + 4 * pattern.len() + text.len() / 16)?;
    let translated = match syntax::translate(call.text(0)) {
        Ok(translated) => translated,
        Err(fault) => return Ok(Err(fault)),
    };
    let mut builder = RegexBuilder::new(&translated.pattern);
    let regex = builder.size_limit(SIZE).dfa_size_limit(SIZE).nest_limit(DEPTH).build();
    let names = translated.names;
    Ok(regex.map(|regex| Expression { regex, names }).map_err(|error| match error {
        ::regex::Error::CompiledTooBig(_) => Fault::new("expression too large", ""),
        _ => Fault::new("not supported", ""),
    }))
}

/// Writes what stands for a match.
type Write = fn(&mut SecretBytes, &[(String, usize)], &Captures<'_>, &[u8]);

fn replaced(call: &mut Call<'_, '_>, write: Write) -> Result {
    let expression = needed(call)?;
    let regex = &expression.regex;
    let (text, replacement) = (call.text(1), call.text(2));
    let limit = call.machine.budget.limits().value_bytes;
    let (mut out, mut at) = (SecretBytes::with_capacity(text.len()), 0);
    for captures in all(regex, text, usize::MAX, call.machine)? {
        let (start, end) = range_of(&captures);
        out.extend_from_slice(&text[at..start]);
        write(&mut out, &expression.names, &captures, replacement);
        at = end;
        if out.len() > limit {
            return Err(Limit::ValueBytes.into());
        }
    }
    out.extend_from_slice(&text[at..]);
    call.give(out)
}

/// Returns all matches that do not overlap. An empty one right behind another does not count.
fn all<'t>(
    regex: &Regex,
    text: &'t [u8],
    most: usize,
    machine: &mut Machine<'_>,
) -> std::result::Result<Vec<Captures<'t>>, Limit> {
    let (mut found, mut at, mut last_end) = (Vec::new(), 0, None);
    while at <= text.len() && found.len() < most {
        let Some(captures) = regex.captures_at(text, at) else { break };
        machine.budget.steps(1 + regex.captures_len() / 8)?;
        let (start, end) = range_of(&captures);
        let is_empty = start == end;
        let counts = !is_empty || last_end != Some(start);
        at = if is_empty { end + rune::decode(&text[end..]).1.max(1) } else { end };
        if !counts {
            continue;
        }
        last_end = Some(end);
        found.push(captures);
    }
    Ok(found)
}

fn range_of(captures: &Captures<'_>) -> (usize, usize) {
    captures.get(0).map_or((0, 0), |found| (found.start(), found.end()))
}

fn text_of<'t>(captures: &Captures<'_>, text: &'t [u8]) -> &'t [u8] {
    let (start, end) = range_of(captures);
    &text[start..end]
}

/// Writes a replacement with `$1`, `$name` and `${name}` in it.
fn expand(out: &mut SecretBytes, names: &[(String, usize)], captures: &Captures<'_>, replacement: &[u8]) {
    let mut rest = replacement;
    while let Some(at) = rest.iter().position(|&byte| byte == b'$') {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix(b"$") {
            out.push(b'$');
            rest = after;
            continue;
        }
        let is_braced = rest.first() == Some(&b'{');
        let name = if is_braced { &rest[1..] } else { rest };
        let is_word = |character| character == '_' || rune::is_letter(character) || rune::is_digit(character);
        let length = rune::runes(name)
            .find(|(_, character, _)| !is_word(*character))
            .map_or(name.len(), |(at, ..)| at);
        if length == 0 || (is_braced && name.get(length) != Some(&b'}')) {
            // It is malformed, and stands for itself.
            out.push(b'$');
            continue;
        }
        let group = std::str::from_utf8(&name[..length]).unwrap_or_default();
        let is_number = group.bytes().all(|byte| byte.is_ascii_digit());
        let has_zero = group.len() > 1 && group.starts_with('0');
        let found = if is_number && !has_zero {
            group.parse().ok().and_then(|index| captures.get(index))
        } else {
            let mut named = names.iter().filter(|(name, _)| name == group);
            named.find_map(|(_, index)| captures.get(*index))
        };
        out.extend_from_slice(found.map_or(&[], |found| found.as_bytes()));
        rest = &name[length + usize::from(is_braced)..];
    }
    out.extend_from_slice(rest);
}

/// How much memory an expression may take, in bytes.
const SIZE: usize = 1 << 20;

/// How deep groups of an expression may be in one another.
const DEPTH: u32 = 200;
