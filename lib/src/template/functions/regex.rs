//! Regular expressions.

use std::ops::Range;

use ::regex::bytes::{Regex, RegexBuilder};

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
        Ok(expression) => Ok(expression.regex.is_match(Subject::of(call.text(1)).searched()).into()),
        Err(_) => Ok(Value::Bool(false)),
    }
}

pub fn must_match(call: &mut Call<'_, '_>) -> Result {
    let expression = needed(call)?;
    Ok(expression.regex.is_match(Subject::of(call.text(1)).searched()).into())
}

pub fn find(call: &mut Call<'_, '_>) -> Result {
    let expression = needed(call)?;
    let text = call.text(1);
    let found = all(&expression.regex, text, 1, call.machine)?;
    let found = SecretBytes::from(found.first().map_or(&[][..], |found| &text[found.whole()]));
    call.give(found)
}

pub fn find_all(call: &mut Call<'_, '_>) -> Result {
    let expression = needed(call)?;
    let text = call.text(1);
    let most = usize::try_from(call.int(2)).unwrap_or(usize::MAX);
    let found = all(&expression.regex, text, most, call.machine)?;
    let found: Vec<SecretBytes> = found.iter().map(|found| text[found.whole()].into()).collect();
    if found.is_empty() {
        return Ok(Machine::nil_list(Element::Text));
    }
    Ok(call.machine.texts(found)?)
}

pub fn replace_all(call: &mut Call<'_, '_>) -> Result {
    replaced(call, expand)
}

pub fn replace_all_literal(call: &mut Call<'_, '_>) -> Result {
    replaced(call, |out, _, _, _, replacement| out.extend_from_slice(replacement))
}

pub fn split(call: &mut Call<'_, '_>) -> Result {
    let expression = needed(call)?;
    let (text, count) = (call.text(1), call.int(2));
    if count == 0 {
        return Ok(Machine::nil_list(Element::Text));
    }
    let most = usize::try_from(count).unwrap_or(usize::MAX);
    let pattern_is_empty = call.text(0).is_empty();
    if !pattern_is_empty && text.is_empty() {
        return Ok(call.machine.texts([SecretBytes::new()])?);
    }
    let found = all(&expression.regex, text, most, call.machine)?;
    let (mut parts, mut begin, mut end) = (Vec::new(), 0, 0);
    for found in &found {
        if parts.len() + 1 == most {
            break;
        }
        let whole = found.whole();
        end = whole.start;
        if whole.end != 0 {
            parts.push(SecretBytes::from(&text[begin..end]));
        }
        begin = whole.end;
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
    let build = |size| {
        let mut builder = RegexBuilder::new(&translated.pattern);
        builder.size_limit(size).dfa_size_limit(LARGE).nest_limit(DEPTH).build()
    };
    let regex = match build(SMALL) {
        Err(::regex::Error::CompiledTooBig(_)) => {
            // What is this large may take its size for each byte.
            call.machine.budget.steps(2000 + text.len() / 2)?;
            build(LARGE)
        }
        regex => regex,
    };
    let regex = regex.map_err(|error| match error {
        ::regex::Error::CompiledTooBig(_) => Fault::new("expression too large", ""),
        _ => Fault::new("not supported", ""),
    });
    Ok(regex.map(|regex| Expression { regex, names: translated.names }))
}

/// A text as Go searches it: a byte that is no character counts as one that says so.
struct Subject<'t> {
    text: &'t [u8],
    /// The text without such bytes, and where each of its bytes was.
    replaced: Option<(SecretBytes, Vec<usize>)>,
}

impl<'t> Subject<'t> {
    fn of(text: &'t [u8]) -> Self {
        if std::str::from_utf8(text).is_ok() {
            return Self { text, replaced: None };
        }
        let (mut out, mut places) = (SecretBytes::with_capacity(3 * text.len()), Vec::new());
        for (at, character, _) in rune::runes(text) {
            rune::push(&mut out, character);
            places.extend((0..character.len_utf8()).map(|offset| if offset == 0 { at } else { text.len() }));
        }
        places.push(text.len());
        Self { text, replaced: Some((out, places)) }
    }

    fn searched(&self) -> &[u8] {
        self.replaced.as_ref().map_or(self.text, |(text, _)| text.expose_secret())
    }

    /// Returns where in the text something is, which is at the start of a character.
    fn place(&self, at: usize) -> usize {
        self.replaced.as_ref().map_or(at, |(_, places)| places[at])
    }
}

/// Where an expression matches, and where its groups do.
struct Match(Vec<Option<Range<usize>>>);

impl Match {
    fn whole(&self) -> Range<usize> {
        self.group(0).unwrap_or_default()
    }

    fn group(&self, index: usize) -> Option<Range<usize>> {
        self.0.get(index).cloned().flatten()
    }
}

/// Writes what stands for a match.
type Write = fn(&mut SecretBytes, &Expression, &[u8], &Match, &[u8]);

fn replaced(call: &mut Call<'_, '_>, write: Write) -> Result {
    let expression = needed(call)?;
    let (text, replacement) = (call.text(1), call.text(2));
    let limit = call.machine.budget.limits().value_bytes;
    let (mut out, mut at) = (SecretBytes::with_capacity(text.len()), 0);
    for found in all(&expression.regex, text, usize::MAX, call.machine)? {
        let whole = found.whole();
        out.extend_from_slice(&text[at..whole.start]);
        write(&mut out, &expression, text, &found, replacement);
        at = whole.end;
        if out.len() > limit {
            return Err(Limit::ValueBytes.into());
        }
    }
    out.extend_from_slice(&text[at..]);
    call.give(out)
}

/// Returns all matches that do not overlap. An empty one right behind another does not count.
fn all(
    regex: &Regex,
    text: &[u8],
    most: usize,
    machine: &mut Machine<'_>,
) -> std::result::Result<Vec<Match>, Limit> {
    let subject = Subject::of(text);
    let searched = subject.searched();
    let (mut found, mut at, mut last_end) = (Vec::new(), 0, None);
    while at <= searched.len() && found.len() < most {
        // To find out that nothing longer matches, a search may look at all that is left.
        machine.budget.steps(1 + regex.captures_len() / 8 + (searched.len() - at) / 1024)?;
        let Some(captures) = regex.captures_at(searched, at) else { break };
        let groups = captures.iter().map(|group| group.map(|group| group.range()));
        let groups: Vec<Option<Range<usize>>> = groups.collect();
        let Range { start, end } = groups.first().cloned().flatten().unwrap_or_default();
        let is_empty = start == end;
        let counts = !is_empty || last_end != Some(start);
        at = if is_empty { end + rune::decode(&searched[end..]).1.max(1) } else { end };
        if counts {
            last_end = Some(end);
            let place = |range: Range<usize>| subject.place(range.start)..subject.place(range.end);
            found.push(Match(groups.into_iter().map(|group| group.map(place)).collect()));
        }
    }
    Ok(found)
}

/// Writes a replacement with `$1`, `$name` and `${name}` in it.
fn expand(out: &mut SecretBytes, expression: &Expression, text: &[u8], found: &Match, replacement: &[u8]) {
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
        let range = if is_number && !has_zero {
            group.parse().ok().and_then(|index| found.group(index))
        } else {
            let mut named = expression.names.iter().filter(|(name, _)| name == group);
            named.find_map(|(_, index)| found.group(*index))
        };
        out.extend_from_slice(&text[range.unwrap_or_default()]);
        rest = &name[length + usize::from(is_braced)..];
    }
    out.extend_from_slice(rest);
}

/// How much memory an expression may take, in bytes.
const LARGE: usize = 1 << 20;

/// How much memory most of them take at most.
const SMALL: usize = 1 << 16;

/// How deep groups of an expression may be in one another.
const DEPTH: u32 = 200;
