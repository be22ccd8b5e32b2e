//! Prints values as Go's `fmt` does.
//!
//! Invariant: what is nested is visited at the cost of a step each and as deep as the budget allows, as
//! lists may hold one list many times over, and maps themselves.

use crate::secret::SecretBytes;
use crate::template::budget::{Budget, Limit};
use crate::template::float;
use crate::template::quote;
use crate::template::rune;
use crate::template::value::{Dict, List, Text, Value};

/// Writes the value of an action.
pub fn print(out: &mut SecretBytes, value: &Value, budget: &mut Budget) -> Result<(), Limit> {
    match value {
        Value::Missing | Value::Nil => out.push_str("<no value>"),
        Value::Text(text) => {
            budget.bytes(text.bytes().len())?;
            out.extend_from_slice(text.bytes());
        }
        value => Printer::new(out, budget).any(value, 'v', 0)?,
    }
    Ok(())
}

/// Returns the text of a value, as `%v`.
pub fn text_of(value: &Value, budget: &mut Budget) -> Result<Text, Limit> {
    if let Value::Text(text) = value {
        return Ok(text.clone());
    }
    let mut out = SecretBytes::new();
    Printer::new(&mut out, budget).any(value, 'v', 0)?;
    Ok(Text::secret(out))
}

/// Returns values with spaces where neither side is text.
pub fn sprint(values: &[Value], budget: &mut Budget) -> Result<SecretBytes, Limit> {
    let mut out = SecretBytes::new();
    let mut was_text = false;
    for (index, value) in values.iter().enumerate() {
        let is_text = matches!(value, Value::Text(_));
        if index > 0 && !is_text && !was_text {
            out.push(b' ');
        }
        Printer::new(&mut out, budget).any(value, 'v', 0)?;
        was_text = is_text;
    }
    Ok(out)
}

/// Returns values with spaces between them, and a line feed.
pub fn sprintln(values: &[Value], budget: &mut Budget) -> Result<SecretBytes, Limit> {
    let mut out = SecretBytes::new();
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        Printer::new(&mut out, budget).any(value, 'v', 0)?;
    }
    out.push(b'\n');
    Ok(out)
}

/// Returns values in a format.
pub fn sprintf(format: &[u8], values: &[Value], budget: &mut Budget) -> Result<SecretBytes, Limit> {
    let mut out = SecretBytes::new();
    let mut formatter = Formatter { format, values, at: 0, next: 0, is_reordered: false, is_good: true };
    formatter.run(&mut out, budget)?;
    Ok(out)
}

struct Formatter<'f> {
    format: &'f [u8],
    values: &'f [Value],
    at: usize,
    /// The index of the next argument.
    next: usize,
    is_reordered: bool,
    /// Whether the number of the argument is one.
    is_good: bool,
}

impl Formatter<'_> {
    fn run(&mut self, out: &mut SecretBytes, budget: &mut Budget) -> Result<(), Limit> {
        while self.at < self.format.len() {
            self.is_good = true;
            let rest = &self.format[self.at..];
            let text = rest.iter().position(|&byte| byte == b'%').unwrap_or(rest.len());
            out.extend_from_slice(&rest[..text]);
            self.at += text;
            if self.at >= self.format.len() {
                break;
            }
            self.at += 1;
            budget.steps(1)?;
            let mut printer = Printer::new(out, budget);
            self.directive(&mut printer)?;
            budget.value(out.len())?;
        }
        if !self.is_reordered && self.next < self.values.len() {
            out.push_str("%!(EXTRA ");
            for (index, value) in self.values[self.next..].iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                if !value.is_nil() {
                    out.push_str(value.type_name());
                    out.push(b'=');
                }
                Printer::new(out, budget).any(value, 'v', 0)?;
            }
            out.push(b')');
        }
        Ok(())
    }

    fn directive(&mut self, printer: &mut Printer<'_, '_>) -> Result<(), Limit> {
        while let Some(&byte) = self.format.get(self.at) {
            match byte {
                b'#' => printer.sharp = true,
                b'0' => printer.zero = true,
                b'+' => printer.plus = true,
                b'-' => printer.minus = true,
                b' ' => printer.space = true,
                b'a'..=b'z' if self.next < self.values.len() => {
                    self.at += 1;
                    return self.argument(printer, char::from(byte));
                }
                _ => break,
            }
            self.at += 1;
        }
        let mut is_after_index = self.index();
        if self.format.get(self.at) == Some(&b'*') {
            self.at += 1;
            match self.int_argument() {
                None => printer.out.push_str("%!(BADWIDTH)"),
                Some(width) => {
                    printer.width = Some(width.unsigned_abs() as usize);
                    if width < 0 {
                        printer.minus = true;
                        printer.zero = false;
                    }
                }
            }
            is_after_index = false;
        } else {
            printer.width = self.number(self.format.len());
            if is_after_index && printer.width.is_some() {
                self.is_good = false;
            }
        }
        if self.at + 1 < self.format.len() && self.format[self.at] == b'.' {
            self.at += 1;
            if is_after_index {
                self.is_good = false;
            }
            is_after_index = self.index();
            if self.format.get(self.at) == Some(&b'*') {
                self.at += 1;
                match self.int_argument() {
                    Some(precision) if precision >= 0 => printer.precision = Some(precision as usize),
                    _ => printer.out.push_str("%!(BADPREC)"),
                }
                is_after_index = false;
            } else {
                printer.precision = Some(self.number(self.format.len()).unwrap_or(0));
            }
        }
        if !is_after_index {
            self.index();
        }
        if self.at >= self.format.len() {
            printer.out.push_str("%!(NOVERB)");
            return Ok(());
        }
        let (verb, width) = rune::decode(&self.format[self.at..]);
        self.at += width;
        let complaint = match verb {
            '%' => {
                printer.out.push(b'%');
                return Ok(());
            }
            _ if !self.is_good => "(BADINDEX)",
            _ if self.next >= self.values.len() => "(MISSING)",
            _ => return self.argument(printer, verb),
        };
        printer.out.push_str("%!");
        rune::push(printer.out, verb);
        printer.out.push_str(complaint);
        Ok(())
    }

    fn argument(&mut self, printer: &mut Printer<'_, '_>, verb: char) -> Result<(), Limit> {
        if matches!(verb, 'v' | 'w') {
            printer.is_go_syntax = std::mem::take(&mut printer.sharp);
            printer.has_field_names = std::mem::take(&mut printer.plus);
        }
        let value = &self.values[self.next];
        self.next += 1;
        // Before so much is written as this asks for.
        printer.budget.value(printer.width.max(printer.precision).unwrap_or(0))?;
        printer.any(value, verb, 0)
    }

    /// Reads `[n]`. Returns whether there was one.
    fn index(&mut self) -> bool {
        if self.format.get(self.at) != Some(&b'[') {
            return false;
        }
        self.is_reordered = true;
        let rest = &self.format[self.at..];
        let end = if rest.len() < 3 { None } else { rest.iter().skip(1).position(|&byte| byte == b']') };
        let Some(end) = end.map(|end| end + 1) else {
            self.is_good = false;
            self.at += 1;
            return false;
        };
        let (start, close) = (self.at, self.at + end);
        self.at += 1;
        let number = self.number(close);
        let is_whole = self.at == close;
        self.at = start + end + 1;
        match number.filter(|_| is_whole) {
            None => {
                self.is_good = false;
                false
            }
            Some(number) => {
                if (1..=self.values.len()).contains(&number) {
                    self.next = number - 1;
                } else {
                    self.is_good = false;
                }
                true
            }
        }
    }

    fn number(&mut self, end: usize) -> Option<usize> {
        if self.at >= end {
            self.at = end;
            return None;
        }
        let mut number = None;
        while let Some(digit) = self.format[..end].get(self.at).filter(|byte| byte.is_ascii_digit()) {
            let before = number.unwrap_or(0);
            if before > LARGEST {
                self.at = end;
                return None;
            }
            number = Some(before * 10 + usize::from(digit - b'0'));
            self.at += 1;
        }
        number
    }

    fn int_argument(&mut self) -> Option<i64> {
        let value = self.values.get(self.next)?;
        self.next += 1;
        let number = match value {
            Value::Unsigned(number) => i64::try_from(*number).ok(),
            other => other.as_integer(),
        };
        number.filter(|number| number.unsigned_abs() <= LARGEST as u64)
    }
}

/// Prints one value after the other with the same flags.
struct Printer<'p, 'b> {
    out: &'p mut SecretBytes,
    budget: &'b mut Budget,
    width: Option<usize>,
    precision: Option<usize>,
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    /// `%+v`.
    has_field_names: bool,
    /// `%#v`.
    is_go_syntax: bool,
    is_complaining: bool,
}

impl<'p, 'b> Printer<'p, 'b> {
    fn new(out: &'p mut SecretBytes, budget: &'b mut Budget) -> Self {
        Self {
            out,
            budget,
            width: None,
            precision: None,
            minus: false,
            plus: false,
            sharp: false,
            space: false,
            zero: false,
            has_field_names: false,
            is_go_syntax: false,
            is_complaining: false,
        }
    }

    fn any(&mut self, value: &Value, verb: char, depth: usize) -> Result<(), Limit> {
        self.budget.steps(1)?;
        self.budget.fits_depth(depth)?;
        if self.out.len() > self.budget.limits().value_bytes {
            return Err(Limit::ValueBytes);
        }
        if value.is_nil() {
            if depth > 0 && self.is_go_syntax {
                self.out.push_str("interface {}(nil)");
            } else if depth > 0 {
                self.out.push_str("<nil>");
            } else if matches!(verb, 'T' | 'v') {
                self.pad(b"<nil>");
            } else {
                self.complain(value, verb, depth)?;
            }
            return Ok(());
        }
        if depth == 0 && verb == 'T' {
            self.text(value.type_name().as_bytes(), 's');
            return Ok(());
        }
        match value {
            Value::Bool(value) if matches!(verb, 't' | 'v') => {
                self.pad(if *value { b"true" } else { b"false" });
                return Ok(());
            }
            Value::Certificate(certificate) if verb != 'p' => {
                let fields = [("Cert", &certificate.certificate), ("Key", &certificate.key)];
                return self.fields("sprig.certificate", &fields, verb, depth);
            }
            Value::Dict(dict) if verb != 'p' => return self.dict(dict, verb, depth),
            Value::Duration(_) | Value::Month(_) | Value::Time(_) | Value::Version(_) | Value::Weekday(_) => {
                if !self.is_complaining
                    && !self.is_go_syntax
                    && matches!(verb, 'v' | 's' | 'x' | 'X' | 'q')
                    && let Some(text) = string_of(value)
                {
                    self.text(text.as_bytes(), verb);
                    return Ok(());
                }
                if let Some(number) = value.as_integer()
                    && self.integer(number.unsigned_abs(), number < 0, true, verb)
                {
                    return Ok(());
                }
                if let (Value::Time(_) | Value::Version(_), Some(text)) = (value, string_of(value)) {
                    // Go would show what the type is made of.
                    self.text(text.as_bytes(), 's');
                    return Ok(());
                }
            }
            Value::List(list) if verb != 'p' => return self.list(list, verb, depth),
            Value::Map(map) if verb != 'p' => {
                let entries = map.iter().map(|(key, value)| (key, Value::Text(value.clone())));
                return self.map("map[string]string", entries, verb, depth);
            }
            _ => {}
        }
        let is_written = match value {
            Value::Float(value) => self.float(*value, verb),
            Value::Int(number) | Value::Int64(number) => {
                self.integer(number.unsigned_abs(), *number < 0, true, verb)
            }
            Value::Text(text) => {
                self.budget.bytes(text.bytes().len())?;
                self.text(text.bytes(), verb)
            }
            Value::Unsigned(number) => self.integer(*number, false, false, verb),
            Value::Unsigned8(number) => self.integer(u64::from(*number), false, false, verb),
            _ => false,
        };
        if is_written { Ok(()) } else { self.complain(value, verb, depth) }
    }

    /// Writes that the verb is none for the value.
    fn complain(&mut self, value: &Value, verb: char, depth: usize) -> Result<(), Limit> {
        if self.is_complaining {
            return Ok(());
        }
        self.is_complaining = true;
        self.out.push_str("%!");
        rune::push(self.out, verb);
        self.out.push(b'(');
        if value.is_nil() {
            self.out.push_str("<nil>");
        } else {
            self.out.push_str(value.type_name());
            self.out.push(b'=');
            self.any(value, 'v', depth)?;
        }
        self.out.push(b')');
        self.is_complaining = false;
        Ok(())
    }

    fn dict(&mut self, dict: &Dict, verb: char, depth: usize) -> Result<(), Limit> {
        let entries = dict.entries();
        let entries = entries.iter().map(|(key, value)| (key, value.clone()));
        self.map("map[string]interface {}", entries, verb, depth)
    }

    fn map<'e>(
        &mut self,
        type_name: &str,
        entries: impl Iterator<Item = (&'e Text, Value)>,
        verb: char,
        depth: usize,
    ) -> Result<(), Limit> {
        let is_go = self.is_go_syntax;
        self.out.push_str(if is_go { type_name } else { "map" });
        self.out.push(if is_go { b'{' } else { b'[' });
        for (index, (key, value)) in entries.enumerate() {
            if index > 0 {
                self.out.push_str(if is_go { ", " } else { " " });
            }
            self.any(&Value::Text(key.clone()), verb, depth + 1)?;
            self.out.push(b':');
            self.any(&value, verb, depth + 1)?;
        }
        self.out.push(if is_go { b'}' } else { b']' });
        Ok(())
    }

    fn list(&mut self, list: &List, verb: char, depth: usize) -> Result<(), Limit> {
        let is_go = self.is_go_syntax;
        if is_go {
            self.out.push_str(list.element.list_name());
            if list.is_nil {
                self.out.push_str("(nil)");
                return Ok(());
            }
        }
        self.out.push(if is_go { b'{' } else { b'[' });
        for (index, value) in list.items.iter().enumerate() {
            if index > 0 {
                self.out.push_str(if is_go { ", " } else { " " });
            }
            self.any(value, verb, depth + 1)?;
        }
        self.out.push(if is_go { b'}' } else { b']' });
        Ok(())
    }

    fn fields(
        &mut self,
        type_name: &str,
        fields: &[(&str, &Text)],
        verb: char,
        depth: usize,
    ) -> Result<(), Limit> {
        if self.is_go_syntax {
            self.out.push_str(type_name);
        }
        self.out.push(b'{');
        for (index, (name, text)) in fields.iter().enumerate() {
            if index > 0 {
                self.out.push_str(if self.is_go_syntax { ", " } else { " " });
            }
            if self.is_go_syntax || self.has_field_names {
                self.out.push_str(name);
                self.out.push(b':');
            }
            self.any(&Value::Text((*text).clone()), verb, depth + 1)?;
        }
        self.out.push(b'}');
        Ok(())
    }

    /// Writes text. Returns whether the verb is one for text.
    fn text(&mut self, text: &[u8], verb: char) -> bool {
        match verb {
            's' => self.pad(self.cut(text)),
            'v' if !self.is_go_syntax => self.pad(self.cut(text)),
            'q' | 'v' => {
                let text = self.cut(text);
                let mut quoted = SecretBytes::with_capacity(text.len() + 2);
                if self.sharp && quote::can_backquote(text) {
                    quoted.push(b'`');
                    quoted.extend_from_slice(text);
                    quoted.push(b'`');
                } else {
                    quote::quote(&mut quoted, text, self.plus);
                }
                self.pad(quoted.expose_secret());
            }
            'X' => self.hexadecimal(text, b"0123456789ABCDEFX"),
            'x' => self.hexadecimal(text, b"0123456789abcdefx"),
            _ => return false,
        }
        true
    }

    /// Returns as many characters as the precision says.
    fn cut<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        let Some(precision) = self.precision else { return text };
        rune::runes(text).nth(precision).map_or(text, |(at, ..)| &text[..at])
    }

    fn hexadecimal(&mut self, text: &[u8], digits: &[u8; 17]) {
        let text = &text[..self.precision.map_or(text.len(), |precision| precision.min(text.len()))];
        let mut out = SecretBytes::with_capacity(2 * text.len());
        for (index, byte) in text.iter().enumerate() {
            if index > 0 && self.space {
                out.push(b' ');
            }
            if self.sharp && (index == 0 || self.space) {
                out.extend_from_slice(&[b'0', digits[16]]);
            }
            out.extend_from_slice(&[digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]);
        }
        self.pad(out.expose_secret());
    }

    /// Writes an integer. Returns whether the verb is one for integers.
    fn integer(&mut self, magnitude: u64, is_negative: bool, is_signed: bool, verb: char) -> bool {
        match verb {
            'v' if self.is_go_syntax && !is_signed => {
                let sharp = std::mem::replace(&mut self.sharp, true);
                self.digits(format!("{magnitude:x}"), false, 'x', 16);
                self.sharp = sharp;
            }
            'd' | 'v' => self.digits(magnitude.to_string(), is_negative, verb, 10),
            'b' => self.digits(format!("{magnitude:b}"), is_negative, verb, 2),
            'o' | 'O' => self.digits(format!("{magnitude:o}"), is_negative, verb, 8),
            'x' => self.digits(format!("{magnitude:x}"), is_negative, verb, 16),
            'X' => self.digits(format!("{magnitude:X}"), is_negative, verb, 16),
            'c' | 'q' | 'U' => {
                let code = if is_negative { magnitude.wrapping_neg() } else { magnitude };
                let character = u32::try_from(code).ok().and_then(char::from_u32);
                if verb == 'U' {
                    self.code_point(code, character);
                    return true;
                }
                let mut out = SecretBytes::new();
                match verb {
                    'c' => rune::push(&mut out, character.unwrap_or(rune::ERROR)),
                    _ => quote::quote_rune(&mut out, character.unwrap_or(rune::ERROR), self.plus),
                }
                self.pad(out.expose_secret());
            }
            _ => return false,
        }
        true
    }

    fn digits(&mut self, mut digits: String, is_negative: bool, verb: char, base: u32) {
        let mut precision = 0;
        if let Some(given) = self.precision {
            if given == 0 && digits == "0" {
                let width = self.width.unwrap_or(0);
                self.out.push_str(&" ".repeat(width));
                return;
            }
            precision = given;
        } else if let Some(width) = self.width.filter(|_| self.zero && !self.minus) {
            precision = width.saturating_sub(usize::from(is_negative || self.plus || self.space));
        }
        digits = format!("{digits:0>precision$}");
        if self.sharp {
            match base {
                2 => digits.insert_str(0, "0b"),
                8 if !digits.starts_with('0') => digits.insert(0, '0'),
                16 => digits.insert_str(0, if verb == 'X' { "0X" } else { "0x" }),
                _ => {}
            }
        }
        if verb == 'O' {
            digits.insert_str(0, "0o");
        }
        let sign = if is_negative {
            "-"
        } else if self.plus {
            "+"
        } else if self.space {
            " "
        } else {
            ""
        };
        digits.insert_str(0, sign);
        self.pad_with_spaces(digits.as_bytes());
    }

    fn code_point(&mut self, code: u64, character: Option<char>) {
        let precision = self.precision.unwrap_or(4).max(4);
        let mut text = format!("U+{code:0>precision$X}");
        if let Some(character) = character.filter(|&character| self.sharp && rune::is_printable(character)) {
            text.push_str(&format!(" '{character}'"));
        }
        self.pad_with_spaces(text.as_bytes());
    }

    /// Writes a number. Returns whether the verb is one for it.
    fn float(&mut self, value: f64, verb: char) -> bool {
        let (format, default) = match verb {
            'v' => ('g', None),
            'F' => ('f', Some(6)),
            'b' | 'g' | 'G' | 'x' | 'X' => (verb, None),
            'e' | 'E' | 'f' => (verb, Some(6)),
            _ => return false,
        };
        let precision = self.precision.or(default);
        let mut text = float::format(value, format, precision);
        if !text.starts_with(['-', '+']) {
            text.insert(0, '+');
        }
        if self.space && text.starts_with('+') && !self.plus {
            text.replace_range(0..1, " ");
        }
        if !value.is_finite() {
            if value.is_nan() && !self.space && !self.plus {
                text.remove(0);
            }
            self.pad_with_spaces(text.as_bytes());
            return true;
        }
        if self.sharp && format != 'b' {
            sharpen(&mut text, format, precision);
        }
        if self.plus || !text.starts_with('+') {
            let width = self.width.unwrap_or(0);
            if self.zero && !self.minus && width > text.len() {
                self.out.push_str(&text[..1]);
                self.out.push_str(&"0".repeat(width - text.len()));
                self.out.push_str(&text[1..]);
                return true;
            }
            self.pad(text.as_bytes());
            return true;
        }
        self.pad(&text.as_bytes()[1..]);
        true
    }

    fn pad_with_spaces(&mut self, text: &[u8]) {
        let zero = std::mem::take(&mut self.zero);
        self.pad(text);
        self.zero = zero;
    }

    fn pad(&mut self, text: &[u8]) {
        let width = self.width.unwrap_or(0);
        let missing = if width == 0 { 0 } else { width.saturating_sub(rune::count(text)) };
        let padding = if self.zero && !self.minus { "0" } else { " " }.repeat(missing);
        if self.minus {
            self.out.extend_from_slice(text);
            self.out.push_str(&padding);
        } else {
            self.out.push_str(&padding);
            self.out.extend_from_slice(text);
        }
    }
}

/// Adds the point, and the zeros, that `#` asks for.
fn sharpen(text: &mut String, format: char, precision: Option<usize>) {
    let mut missing = match format {
        'g' | 'G' | 'x' => precision.unwrap_or(6),
        _ => 0,
    };
    let is_hexadecimal = matches!(format, 'x' | 'X');
    let tail = text
        .find(|letter| matches!(letter, 'p' | 'P') || (!is_hexadecimal && matches!(letter, 'e' | 'E')))
        .map_or_else(String::new, |at| text.split_off(at));
    let mut saw_digit = false;
    for letter in text[1..].chars().filter(|&letter| letter != '.') {
        saw_digit |= letter != '0';
        missing = missing.saturating_sub(usize::from(saw_digit));
    }
    if !text.contains('.') {
        if text.len() == 2 && text.ends_with('0') {
            missing = missing.saturating_sub(1);
        }
        text.push('.');
    }
    text.push_str(&"0".repeat(missing));
    text.push_str(&tail);
}

/// Returns what the `String` method of a value returns, if it has one.
pub fn string_of(value: &Value) -> Option<String> {
    match value {
        Value::Duration(value) => Some(crate::template::time::duration_text(*value)),
        Value::Month(month) => Some(crate::template::time::month_name(i64::from(*month))),
        Value::Time(time) => Some(time.to_string()),
        Value::Version(version) => Some(version.to_string()),
        Value::Weekday(day) => Some(crate::template::time::weekday_name(i64::from(*day))),
        _ => None,
    }
}

/// No width, precision or number of an argument is larger.
const LARGEST: usize = 1_000_000;
