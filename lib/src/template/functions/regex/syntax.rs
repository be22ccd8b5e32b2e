//! Regular expressions of Go's syntax, in that of the crate `regex`.
//!
//! Both come from RE2. The classes `\d`, `\s` and `\w` and the boundary `\b` are about ASCII in Go, there is
//! no arithmetic of classes, and a brace that begins no repetition stands for itself.

use std::fmt::Write as _;

use crate::template::call::HIDDEN;

/// Why an expression is none.
pub struct Fault {
    code: &'static str,
    part: String,
}

impl Fault {
    /// Returns a fault, and the part of the expression that it is about.
    pub fn new(code: &'static str, part: &str) -> Self {
        Self { code, part: part.to_owned() }
    }

    /// Returns what Go says; without the part if the expression may be secret.
    pub fn message(&self, is_public: bool) -> String {
        let part = if is_public { &self.part } else { HIDDEN };
        format!("error parsing regexp: {}: `{part}`", self.code)
    }
}

/// An expression that means the same to the crate `regex`.
pub struct Translation {
    pub pattern: String,
    /// The names of groups and their numbers: some names of Go are none of the crate, and Go lets several
    /// groups have one.
    pub names: Vec<(String, usize)>,
}

/// Translates an expression.
pub fn translate(pattern: &[u8]) -> Result<Translation, Fault> {
    let pattern = std::str::from_utf8(pattern).map_err(|_| Fault::new("invalid UTF-8", ""))?;
    let out = String::with_capacity(pattern.len() + 16);
    let mut translator =
        Translator { pattern, rest: pattern, out, open: 0, groups: 0, names: Vec::new(), has_operand: false };
    translator.run()?;
    Ok(Translation { pattern: translator.out, names: translator.names })
}

struct Translator<'p> {
    pattern: &'p str,
    rest: &'p str,
    out: String,
    /// How many groups are open.
    open: usize,
    /// How many groups capture something.
    groups: usize,
    names: Vec<(String, usize)>,
    /// Whether there is something to repeat.
    has_operand: bool,
}

impl<'p> Translator<'p> {
    fn run(&mut self) -> Result<(), Fault> {
        let mut last_repeat: Option<&'p str> = None;
        while let Some(character) = self.rest.chars().next() {
            let start = self.rest;
            let mut repeat = None;
            match character {
                '(' => self.group()?,
                ')' => {
                    let Some(left) = self.open.checked_sub(1) else {
                        return Err(Fault::new("unexpected )", self.pattern));
                    };
                    self.open = left;
                    self.copy(1);
                    self.has_operand = true;
                }
                '|' => {
                    self.copy(1);
                    self.has_operand = false;
                }
                '*' | '+' | '?' => {
                    self.rest = &self.rest[1..];
                    self.repeat(start, last_repeat)?;
                    repeat = Some(start);
                }
                '{' => {
                    if let Some(length) = repetition(start)? {
                        self.rest = &self.rest[length..];
                        self.repeat(start, last_repeat)?;
                        repeat = Some(start);
                    } else {
                        self.literal('{');
                        self.rest = &self.rest[1..];
                    }
                }
                '[' => self.class()?,
                '\\' => self.escape()?,
                '^' | '$' | '.' => {
                    self.copy(1);
                    self.has_operand = true;
                }
                other => {
                    self.literal(other);
                    self.rest = &self.rest[other.len_utf8()..];
                }
            }
            last_repeat = repeat;
        }
        if self.open == 0 { Ok(()) } else { Err(Fault::new("missing closing )", self.pattern)) }
    }

    fn repeat(&mut self, start: &'p str, last: Option<&'p str>) -> Result<(), Fault> {
        if let Some(after) = self.rest.strip_prefix('?') {
            self.rest = after;
        }
        let operator = &start[..start.len() - self.rest.len()];
        if let Some(last) = last {
            let both = &last[..last.len() - self.rest.len()];
            return Err(Fault::new("invalid nested repetition operator", both));
        }
        if !self.has_operand {
            return Err(Fault::new("missing argument to repetition operator", operator));
        }
        self.out.push_str(operator);
        Ok(())
    }

    fn group(&mut self) -> Result<(), Fault> {
        let start = self.rest;
        if !start.starts_with("(?") {
            self.copy(1);
            self.open += 1;
            self.groups += 1;
            self.has_operand = false;
            return Ok(());
        }
        if let Some(name) = start.strip_prefix("(?P<").or_else(|| start.strip_prefix("(?<")) {
            let Some(end) = name.find('>') else {
                return Err(Fault::new("invalid named capture", start));
            };
            let whole = &start[..start.len() - name.len() + end + 1];
            let name = &name[..end];
            let is_word = |character: char| character == '_' || character.is_ascii_alphanumeric();
            if name.is_empty() || !name.chars().all(is_word) {
                return Err(Fault::new("invalid named capture", whole));
            }
            self.out.push('(');
            self.rest = &start[whole.len()..];
            self.open += 1;
            self.groups += 1;
            self.names.push((name.to_owned(), self.groups));
            self.has_operand = false;
            return Ok(());
        }
        self.flags(start)
    }

    fn flags(&mut self, start: &'p str) -> Result<(), Fault> {
        let (mut is_negated, mut saw_flag) = (false, false);
        // The crate wants each flag once.
        let (mut on, mut off) = (String::new(), String::new());
        for (at, character) in start.char_indices().skip(2) {
            match character {
                'i' | 'm' | 's' | 'U' => {
                    saw_flag = true;
                    on.retain(|flag| flag != character);
                    off.retain(|flag| flag != character);
                    if is_negated { off.push(character) } else { on.push(character) }
                }
                '-' if !is_negated => (is_negated, saw_flag) = (true, false),
                ':' | ')' if !is_negated || saw_flag => {
                    let minus = if off.is_empty() { "" } else { "-" };
                    // `(?)` changes nothing, and the crate refuses it.
                    if at > 2 || character == ':' {
                        let _ = write!(self.out, "(?{on}{minus}{off}{character}");
                    }
                    self.rest = &start[at + 1..];
                    if character == ':' {
                        self.open += 1;
                        self.has_operand = false;
                    }
                    return Ok(());
                }
                other => {
                    let part = &start[..at + other.len_utf8()];
                    return Err(Fault::new("invalid or unsupported Perl syntax", part));
                }
            }
        }
        Err(Fault::new("invalid or unsupported Perl syntax", start))
    }

    fn escape(&mut self) -> Result<(), Fault> {
        let start = self.rest;
        let kind = start[1..].chars().next();
        if kind == Some('Q') {
            let literal = &start[2..];
            let (literal, rest) = literal.split_once("\\E").unwrap_or((literal, ""));
            literal.chars().for_each(|character| self.literal(character));
            self.rest = rest;
            return Ok(());
        }
        let text = match kind {
            Some('A') => "\\A".to_owned(),
            Some('B') => "(?-u:\\B)".to_owned(),
            Some('b') => "(?-u:\\b)".to_owned(),
            Some('z') => "\\z".to_owned(),
            Some(kind @ ('d' | 's' | 'w')) => format!("[{}]", perl_class(kind)),
            Some(kind @ ('D' | 'S' | 'W')) => format!("[^{}]", perl_class(kind.to_ascii_lowercase())),
            Some('p' | 'P') => {
                let (class, length) = unicode_class(start)?;
                self.out.push_str(&class);
                self.rest = &start[length..];
                self.has_operand = true;
                return Ok(());
            }
            _ => {
                let (character, length) = escaped(start)?;
                self.literal(character);
                self.rest = &start[length..];
                return Ok(());
            }
        };
        self.out.push_str(&text);
        self.rest = &start[2..];
        self.has_operand = true;
        Ok(())
    }

    fn class(&mut self) -> Result<(), Fault> {
        let start = self.rest;
        let missing = || Fault::new("missing closing ]", start);
        let mut rest = &start[1..];
        self.out.push('[');
        if let Some(after) = rest.strip_prefix('^') {
            rest = after;
            self.out.push('^');
        }
        let mut is_first = true;
        loop {
            let character = rest.chars().next().ok_or_else(missing)?;
            if character == ']' && !is_first {
                break;
            }
            is_first = false;
            if let Some(end) = rest.strip_prefix("[:").and_then(|rest| rest.find(":]")) {
                let name = &rest[..end + 4];
                if !POSIX.contains(&name[2..end + 2].trim_start_matches('^')) {
                    return Err(Fault::new("invalid character class range", name));
                }
                self.out.push_str(name);
                rest = &rest[name.len()..];
                continue;
            }
            if rest.starts_with("\\p") || rest.starts_with("\\P") {
                let (class, length) = unicode_class(rest)?;
                self.out.push_str(&class);
                rest = &rest[length..];
                continue;
            }
            if let Some(kind) = rest.strip_prefix('\\').and_then(|rest| rest.chars().next()) {
                match kind {
                    'd' | 's' | 'w' => {
                        self.out.push_str(perl_class(kind));
                        rest = &rest[2..];
                        continue;
                    }
                    'D' | 'S' | 'W' => {
                        let _ = write!(self.out, "[^{}]", perl_class(kind.to_ascii_lowercase()));
                        rest = &rest[2..];
                        continue;
                    }
                    _ => {}
                }
            }
            let range = rest;
            let (low, length) = class_character(rest, start)?;
            rest = &rest[length..];
            let mut high = low;
            if rest.len() >= 2 && rest.starts_with('-') && !rest[1..].starts_with(']') {
                let (character, length) = class_character(&rest[1..], start)?;
                rest = &rest[1 + length..];
                high = character;
                if high < low {
                    let part = &range[..range.len() - rest.len()];
                    return Err(Fault::new("invalid character class range", part));
                }
            }
            let _ = write!(self.out, "\\x{{{:X}}}", u32::from(low));
            if high != low {
                let _ = write!(self.out, "-\\x{{{:X}}}", u32::from(high));
            }
        }
        self.out.push(']');
        self.rest = &rest[1..];
        self.has_operand = true;
        Ok(())
    }

    fn copy(&mut self, length: usize) {
        self.out.push_str(&self.rest[..length]);
        self.rest = &self.rest[length..];
    }

    fn literal(&mut self, character: char) {
        if character.is_ascii_alphanumeric()
            || !character.is_ascii()
            || matches!(character, ' ' | '_' | '"' | '/' | ',' | ':' | '=')
        {
            self.out.push(character);
        } else {
            let _ = write!(self.out, "\\x{{{:X}}}", u32::from(character));
        }
        self.has_operand = true;
    }
}

fn class_character(rest: &str, class: &str) -> Result<(char, usize), Fault> {
    match rest.chars().next() {
        None => Err(Fault::new("missing closing ]", class)),
        Some('\\') => escaped(rest),
        Some(character) => Ok((character, character.len_utf8())),
    }
}

/// Returns the character that an escape stands for, and the length of the escape.
fn escaped(text: &str) -> Result<(char, usize), Fault> {
    let Some(kind) = text[1..].chars().next() else {
        return Err(Fault::new("trailing backslash at end of expression", ""));
    };
    let after = &text[1 + kind.len_utf8()..];
    let octal = |first: &str| {
        let length = first.bytes().take(3).take_while(|byte| matches!(byte, b'0'..=b'7')).count();
        let code = u32::from_str_radix(&first[..length], 8).ok().and_then(char::from_u32);
        code.map(|character| (character, 1 + length))
    };
    let found = match kind {
        '0' => octal(&text[1..]),
        '1'..='7' if after.starts_with(|character: char| ('0'..='7').contains(&character)) => {
            octal(&text[1..])
        }
        'x' => hexadecimal(after).map(|(character, length)| (character, 2 + length)),
        'a' => Some(('\x07', 2)),
        'f' => Some(('\x0C', 2)),
        'n' => Some(('\n', 2)),
        'r' => Some(('\r', 2)),
        't' => Some(('\t', 2)),
        'v' => Some(('\x0B', 2)),
        other if other.is_ascii() && !other.is_ascii_alphanumeric() => Some((other, 2)),
        _ => None,
    };
    found.ok_or_else(|| {
        let length = match kind {
            'x' => hexadecimal_fault(after),
            _ => 1 + kind.len_utf8(),
        };
        Fault::new("invalid escape sequence", &text[..length])
    })
}

fn hexadecimal(text: &str) -> Option<(char, usize)> {
    let (digits, length) = match text.strip_prefix('{') {
        Some(braced) => {
            let end = braced.find('}')?;
            (&braced[..end], end + 2)
        }
        None => (text.get(..2)?, 2),
    };
    let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let code = is_number.then(|| u32::from_str_radix(digits, 16).ok()).flatten()?;
    Some((char::from_u32(code)?, length))
}

/// Returns how much of an escape Go has read when it refuses it.
fn hexadecimal_fault(after: &str) -> usize {
    let digits = after.strip_prefix('{').unwrap_or(after);
    let braced = usize::from(digits.len() != after.len());
    let most = if braced == 1 { usize::MAX } else { 2 };
    let read = digits.chars().take(most).take_while(char::is_ascii_hexdigit).count();
    let next = digits[read..].chars().next().filter(|_| read < most);
    2 + braced + read + next.map_or(0, char::len_utf8)
}

/// Returns a class of Unicode, which both write alike, and its length.
fn unicode_class(text: &str) -> Result<(String, usize), Fault> {
    let is_negated = text.starts_with("\\P");
    let Some(first) = text[2..].chars().next() else {
        return Err(Fault::new("invalid character class range", text));
    };
    let (name, length) = if first == '{' {
        let Some(end) = text.find('}') else { return Err(Fault::new("invalid character class range", text)) };
        (&text[3..end], end + 1)
    } else {
        (&text[2..2 + first.len_utf8()], 2 + first.len_utf8())
    };
    let (is_caret, name) = name.strip_prefix('^').map_or((false, name), |name| (true, name));
    let sign = if is_negated == is_caret { 'p' } else { 'P' };
    let class = format!("\\{sign}{{{name}}}");
    let is_name = !name.is_empty()
        && name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_');
    if !is_name || ::regex::Regex::new(&class).is_err() {
        return Err(Fault::new("invalid character class range", &text[..length]));
    }
    Ok((class, length))
}

fn perl_class(kind: char) -> &'static str {
    match kind {
        'd' => "0-9",
        's' => "\\t\\n\\x0C\\r\\x20",
        _ => "0-9A-Za-z_",
    }
}

/// Returns the length of `{n}`, `{n,}` or `{n,m}`, if that is what begins a text.
fn repetition(text: &str) -> Result<Option<usize>, Fault> {
    let Some(end) = text.find('}') else { return Ok(None) };
    let inner = &text[1..end];
    let (low, high) = inner.split_once(',').map_or((inner, None), |(low, high)| (low, Some(high)));
    let is_number = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_digit())
            && (text.len() == 1 || !text.starts_with('0'))
    };
    if !is_number(low) || high.is_some_and(|high| !high.is_empty() && !is_number(high)) {
        return Ok(None);
    }
    let value = |text: &str| text.parse::<u32>().unwrap_or(u32::MAX);
    let low = value(low);
    let high = high.map_or(low, |high| if high.is_empty() { low } else { value(high) });
    if low > MOST || high > MOST || low > high {
        return Err(Fault::new("invalid repeat count", &text[..=end]));
    }
    Ok(Some(end + 1))
}

/// How often something may be repeated.
const MOST: u32 = 1000;

const POSIX: &[&str] = &[
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
    "upper", "word", "xdigit",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_those_of_go() {
        let cases = [
            ("(", "missing closing ): `(`"),
            ("a)", "unexpected ): `a)`"),
            ("a**", "invalid nested repetition operator: `**`"),
            ("*", "missing argument to repetition operator: `*`"),
            ("[b-a]", "invalid character class range: `b-a`"),
            ("[a", "missing closing ]: `[a`"),
            ("a{1001}", "invalid repeat count: `{1001}`"),
            ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
            ("\\8", "invalid escape sequence: `\\8`"),
            ("\\", "trailing backslash at end of expression: ``"),
        ];
        for (pattern, expected) in cases {
            let fault = translate(pattern.as_bytes()).err().map(|fault| fault.message(true));
            assert_eq!(fault, Some(format!("error parsing regexp: {expected}")), "{pattern}");
        }
    }

    #[test]
    fn classes_are_about_ascii() {
        let Ok(done) = translate(b"^\\w[\\d\\-[]{$") else { panic!("it is a pattern") };
        let regex = ::regex::Regex::new(&done.pattern).expect("it is one of the crate, too");
        assert!(regex.is_match("a[{") && !regex.is_match("é[{"), "{}", done.pattern);
    }
}
