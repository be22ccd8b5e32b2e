//! Reads JSON as Go's `encoding/json` does, into values of templates.

use crate::secret::SecretBytes;
use crate::template::budget::Limit;
use crate::template::call::Machine;
use crate::template::quote::quoted;
use crate::template::rune;
use crate::template::value::{Element, Text, Value};

/// Why text is no JSON.
pub struct Fault {
    /// The byte that does not fit.
    byte: Option<u8>,
    /// Where it is, or what is wrong.
    context: String,
    /// Whether Go returns a value beside the error.
    pub keeps_value: bool,
}

impl Fault {
    /// Returns what Go says; without the byte if the text may be secret.
    pub fn message(&self, is_public: bool) -> String {
        let Some(byte) = self.byte else { return self.context.clone() };
        let context = &self.context;
        if !is_public {
            return format!("invalid character {context}");
        }
        let shown = match byte {
            b'"' => "'\"'".to_owned(),
            b'\'' => "'\\''".to_owned(),
            byte => {
                let quoted = quoted(char::from(byte).to_string().as_bytes());
                format!("'{}'", &quoted[1..quoted.len() - 1])
            }
        };
        format!("invalid character {shown} {context}")
    }
}

/// Reads all of a text.
pub fn read(text: &[u8], machine: &mut Machine<'_>) -> Result<(Value, Result<(), Fault>), Limit> {
    let mut reader = Reader { text, at: 0, machine, overflow: None };
    let value = match reader.document() {
        Ok(value) => value,
        Err(Stop::Fault(fault)) => return Ok((Value::Nil, Err(fault))),
        Err(Stop::Limit(limit)) => return Err(limit),
    };
    Ok((value, reader.overflow.map_or(Ok(()), Err)))
}

enum Stop {
    Fault(Fault),
    Limit(Limit),
}

impl From<Limit> for Stop {
    fn from(limit: Limit) -> Self {
        Self::Limit(limit)
    }
}

struct Reader<'r, 'm> {
    text: &'r [u8],
    at: usize,
    machine: &'r mut Machine<'m>,
    overflow: Option<Fault>,
}

type Read<T> = Result<T, Stop>;

impl Reader<'_, '_> {
    fn document(&mut self) -> Read<Value> {
        let value = self.value(1)?;
        self.skip_space();
        match self.peek() {
            None => Ok(value),
            Some(byte) => unexpected(byte, "after top-level value"),
        }
    }

    fn value(&mut self, depth: usize) -> Read<Value> {
        self.machine.budget.steps(1)?;
        self.machine.budget.fits_depth(depth)?;
        self.skip_space();
        match self.next()? {
            b'"' => Ok(Value::Text(self.string()?)),
            b'[' => self.array(depth),
            b'f' => self.literal("false", Value::Bool(false)),
            b'n' => self.literal("null", Value::Nil),
            b't' => self.literal("true", Value::Bool(true)),
            b'{' => self.object(depth),
            byte @ (b'-' | b'0'..=b'9') => self.number(byte),
            byte => unexpected(byte, "looking for beginning of value"),
        }
    }

    fn array(&mut self, depth: usize) -> Read<Value> {
        let mut items = Vec::new();
        self.skip_space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(self.machine.list(Element::Any, items)?);
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.skip_space();
            match self.next()? {
                b',' => {}
                b']' => return Ok(self.machine.list(Element::Any, items)?),
                byte => return unexpected(byte, "after array element"),
            }
        }
    }

    fn object(&mut self, depth: usize) -> Read<Value> {
        let dict = self.machine.dict()?;
        self.skip_space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Value::Dict(dict));
        }
        loop {
            self.skip_space();
            let key = match self.next()? {
                b'"' => self.string()?,
                byte => return unexpected(byte, "looking for beginning of object key string"),
            };
            self.skip_space();
            match self.next()? {
                b':' => {}
                byte => return unexpected(byte, "after object key"),
            }
            let value = self.value(depth + 1)?;
            dict.set(key, value);
            self.skip_space();
            match self.next()? {
                b',' => {}
                b'}' => return Ok(Value::Dict(dict)),
                byte => return unexpected(byte, "after object key:value pair"),
            }
        }
    }

    fn literal(&mut self, name: &str, value: Value) -> Read<Value> {
        for expected in name.bytes().skip(1) {
            let byte = self.next_or_space();
            if byte != expected {
                let expected = char::from(expected);
                return unexpected(byte, &format!("in literal {name} (expecting '{expected}')"));
            }
        }
        Ok(value)
    }

    fn number(&mut self, first: u8) -> Read<Value> {
        let start = self.at - 1;
        let digit = if first == b'-' { self.next_or_space() } else { first };
        match digit {
            b'0' => {}
            b'1'..=b'9' => self.digits(),
            byte => return unexpected(byte, "in numeric literal"),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.some_digits("after decimal point in numeric literal")?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.some_digits("in exponent of numeric literal")?;
        }
        let text = &self.text[start..self.at];
        let number = std::str::from_utf8(text).ok().and_then(crate::template::number::parse_float);
        if number.is_none() {
            let context = "json: cannot unmarshal number into Go value of type float64".to_owned();
            self.overflow.get_or_insert(Fault { byte: None, context, keeps_value: true });
        }
        Ok(number.map_or(Value::Nil, Value::Float))
    }

    fn digits(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
    }

    fn some_digits(&mut self, context: &str) -> Read<()> {
        match self.next_or_space() {
            byte if byte.is_ascii_digit() => {
                self.digits();
                Ok(())
            }
            byte => unexpected(byte, context),
        }
    }

    fn string(&mut self) -> Read<Text> {
        let mut out = SecretBytes::new();
        loop {
            let rest = &self.text[self.at..];
            let (character, width) = rune::decode(rest);
            self.at += width;
            match character {
                _ if width == 0 => return Err(Stop::Fault(end())),
                '"' => {
                    self.machine.budget.bytes(out.len())?;
                    return Ok(Text::secret(out));
                }
                '\\' => self.escape(&mut out)?,
                '\0'..' ' => return unexpected(rest[0], "in string literal"),
                // What is no character becomes one that says so.
                _ => rune::push(&mut out, character),
            }
        }
    }

    fn escape(&mut self, out: &mut SecretBytes) -> Read<()> {
        let character = match self.next_or_space() {
            b'"' => '"',
            b'/' => '/',
            b'\\' => '\\',
            b'b' => '\x08',
            b'f' => '\x0C',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let code = self.hexadecimal()?;
                self.unit(code)?
            }
            byte => return unexpected(byte, "in string escape code"),
        };
        rune::push(out, character);
        Ok(())
    }

    /// Returns the character of a code, which may be the first half of a pair.
    fn unit(&mut self, code: u32) -> Read<char> {
        if let Some(character) = char::from_u32(code) {
            return Ok(character);
        }
        let start = self.at;
        if code < 0xDC00 && self.text[self.at..].starts_with(b"\\u") {
            self.at += 2;
            let low = self.hexadecimal()?;
            if (0xDC00..0xE000).contains(&low) {
                let code = 0x1_0000 + ((code - 0xD800) << 10) + (low - 0xDC00);
                return Ok(char::from_u32(code).unwrap_or(rune::ERROR));
            }
            self.at = start;
        }
        Ok(rune::ERROR)
    }

    fn hexadecimal(&mut self) -> Read<u32> {
        let mut code = 0;
        for _ in 0..4 {
            let byte = self.next_or_space();
            match char::from(byte).to_digit(16) {
                None => return unexpected(byte, "in \\u hexadecimal character escape"),
                Some(digit) => code = code << 4 | digit,
            }
        }
        Ok(code)
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Returns the next byte; Go puts a space at the end of what is not complete.
    fn next_or_space(&mut self) -> u8 {
        let byte = self.peek().unwrap_or(b' ');
        self.at += 1;
        byte
    }

    fn next(&mut self) -> Read<u8> {
        let byte = self.peek().ok_or_else(|| Stop::Fault(end()))?;
        self.at += 1;
        Ok(byte)
    }
}

fn unexpected<T>(byte: u8, context: &str) -> Read<T> {
    Err(Stop::Fault(Fault { byte: Some(byte), context: context.to_owned(), keeps_value: false }))
}

fn end() -> Fault {
    Fault { byte: None, context: "unexpected end of JSON input".to_owned(), keeps_value: false }
}
