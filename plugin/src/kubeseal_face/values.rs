//! What the values of flags may be, and what Go says of those that are not so.

use selkie::sealed::SealingScope;

/// What a flag takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A file and a line.
    Location,
    /// A number of 32 bits.
    Level,
    /// Patterns and numbers.
    Module,
    /// A scope of sealing.
    Scope,
    /// The name of a severity, or its number.
    Severity,
    /// A number without a sign.
    Size,
    /// Nothing, or a truth value.
    Switch,
    /// The same, as the flag of a logger that says less of what is wrong.
    TerseSwitch,
    /// A text.
    Text,
    /// A text, as often as it is used.
    Texts,
    /// Texts between commas, as often as it is used.
    Words,
}

/// Why a flag does not take a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ValueError {
    /// A list is not written as one.
    #[error("parse error on line 1, column {column}: {what}")]
    List {
        /// The byte at which reading stopped, from 1 on.
        column: usize,
        /// What is wrong there.
        what: &'static str,
    },
    /// It is no number.
    #[error("strconv.Parse{kind}: parsing {text}: {what}")]
    Number {
        /// What was to be read.
        kind: &'static str,
        /// The value, in quotes.
        text: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Something else.
    #[error("{0}")]
    Other(&'static str),
}

impl Kind {
    pub const fn is_switch(self) -> bool {
        matches!(self, Self::Switch | Self::TerseSwitch)
    }

    pub const fn is_list(self) -> bool {
        matches!(self, Self::Texts | Self::Words)
    }

    /// Returns what the help calls a value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Location => "traceLocation",
            Self::Level => "Level",
            Self::Module => "moduleSpec",
            Self::Severity => "severity",
            Self::Size => "uint",
            Self::Switch | Self::TerseSwitch => "",
            Self::Scope | Self::Text => "string",
            Self::Texts => "stringArray",
            Self::Words => "strings",
        }
    }

    /// Returns the texts that a value stands for.
    ///
    /// # Errors
    /// If the flag does not take it.
    pub fn parse(self, text: &str) -> Result<Vec<String>, ValueError> {
        match self {
            Self::Level => integer(text).map(drop)?,
            Self::Location => location(text)?,
            Self::Module => module(text)?,
            Self::Scope => {
                let scope = text.parse::<SealingScope>();
                scope
                    .map_err(|_| ValueError::Other("must be one of: strict, namespace-wide, cluster-wide"))?;
            }
            Self::Severity if SEVERITIES.contains(&text.to_uppercase().as_str()) => {}
            Self::Severity => integer(text).map(drop)?,
            Self::Size => size(text)?,
            Self::Switch if !is_truth(text) => return Err(number("Bool", text, SYNTAX)),
            Self::TerseSwitch if !is_truth(text) => return Err(ValueError::Other("parse error")),
            Self::Switch | Self::TerseSwitch | Self::Text | Self::Texts => {}
            Self::Words => return words(text),
        }
        Ok(vec![text.to_owned()])
    }
}

/// Returns a text in quotes, as Go writes it.
pub(super) fn quoted(text: &str) -> String {
    let mut out = "\"".to_owned();
    for char in text.chars() {
        match char {
            '"' | '\\' => out.extend(['\\', char]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            char if u32::from(char) < 0x20 || char == '\x7f' => out += &format!("\\x{:02x}", u32::from(char)),
            char => out.push(char),
        }
    }
    out + "\""
}

fn is_truth(text: &str) -> bool {
    let truths = ["1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"];
    truths.contains(&text)
}

fn integer(text: &str) -> Result<i32, ValueError> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(number("Int", text, SYNTAX));
    }
    text.parse().map_err(|_| number("Int", text, "value out of range"))
}

fn size(text: &str) -> Result<(), ValueError> {
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', _, ..] => (&text[2..], 16),
        [b'0', b'o' | b'O', _, ..] => (&text[2..], 8),
        [b'0', b'b' | b'B', _, ..] => (&text[2..], 2),
        [b'0', _, ..] => (&text[1..], 8),
        _ => (text, 10),
    };
    let is_number = !digits.is_empty() && digits.chars().all(|char| char.is_digit(radix));
    match u64::from_str_radix(digits, radix) {
        Ok(_) if is_number => Ok(()),
        Err(_) if is_number => Err(ValueError::Other("value out of range")),
        _ => Err(ValueError::Other("parse error")),
    }
}

fn location(text: &str) -> Result<(), ValueError> {
    let expected = ValueError::Other("syntax error: expect file.go:234");
    if text.is_empty() {
        return Ok(());
    }
    let [file, line] = text.split(':').collect::<Vec<_>>()[..] else { return Err(expected) };
    match integer(line) {
        Ok(_) if !file.contains('.') => Err(expected),
        Ok(line) if line <= 0 => Err(ValueError::Other("negative or zero value for level")),
        Ok(_) => Ok(()),
        Err(_) => Err(expected),
    }
}

fn module(text: &str) -> Result<(), ValueError> {
    for pattern in text.split(',').filter(|pattern| !pattern.is_empty()) {
        let expected = ValueError::Other("syntax error: expect comma-separated list of filename=N");
        match pattern.split('=').collect::<Vec<_>>()[..] {
            [name, level] if !name.is_empty() && !level.is_empty() => match integer(level) {
                Ok(..0) => return Err(ValueError::Other("negative value for vmodule level")),
                Ok(_) => {}
                Err(_) => return Err(expected),
            },
            _ => return Err(expected),
        }
    }
    Ok(())
}

/// Reads one line of comma-separated values.
fn words(text: &str) -> Result<Vec<String>, ValueError> {
    let mut words = Vec::new();
    let mut rest = text;
    if text.is_empty() {
        return Ok(words);
    }
    loop {
        let column = text.len() - rest.len() + 1;
        let end = match rest.strip_prefix('"') {
            Some(quoted) => {
                let (word, behind) = quoted_word(quoted, column + 1)?;
                words.push(word);
                behind
            }
            None => {
                let (word, behind) = rest.split_at(rest.find(',').unwrap_or(rest.len()));
                if let Some(at) = word.find('"') {
                    let what = "bare \" in non-quoted field";
                    return Err(ValueError::List { column: column + at, what });
                }
                words.push(word.to_owned());
                behind
            }
        };
        match end.strip_prefix(',') {
            Some(more) => rest = more,
            None => return Ok(words),
        }
    }
}

/// Reads a word up to its closing quote; two of them stand for one.
fn quoted_word(mut rest: &str, mut column: usize) -> Result<(String, &str), ValueError> {
    let what = "extraneous or missing \" in quoted-field";
    let mut word = String::new();
    loop {
        let at = rest.find('"').ok_or(ValueError::List { column: column + rest.len(), what })?;
        word.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        column += at + 1;
        match rest.chars().next() {
            Some('"') => {
                word.push('"');
                rest = &rest[1..];
                column += 1;
            }
            None | Some(',') => return Ok((word, rest)),
            Some(_) => return Err(ValueError::List { column: column - 1, what }),
        }
    }
}

fn number(kind: &'static str, text: &str, what: &'static str) -> ValueError {
    ValueError::Number { kind, text: quoted(text), what }
}

const SEVERITIES: [&str; 4] = ["ERROR", "FATAL", "INFO", "WARNING"];

const SYNTAX: &str = "invalid syntax";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_comma_separated_values() {
        let words = |text: &str| Kind::Words.parse(text).map_err(|error| error.to_string());
        assert_eq!(words("a,b c,"), Ok(vec!["a".to_owned(), "b c".to_owned(), String::new()]));
        assert_eq!(words("\"a,\"\"b\",c"), Ok(vec!["a,\"b".to_owned(), "c".to_owned()]));
        assert_eq!(words(""), Ok(Vec::new()));
        assert_eq!(
            words("a\"b"),
            Err("parse error on line 1, column 2: bare \" in non-quoted field".to_owned())
        );
    }

    #[test]
    fn numbers_are_bounded() {
        let parse = |kind: Kind, text: &str| kind.parse(text).err().map(|error| error.to_string());
        assert_eq!(parse(Kind::Severity, "warning"), None);
        assert_eq!(parse(Kind::Severity, "4"), None);
        assert_eq!(parse(Kind::Size, "0x10"), None);
        assert_eq!(parse(Kind::Size, "-1").as_deref(), Some("parse error"));
        assert_eq!(
            parse(Kind::Level, "99999999999").as_deref(),
            Some("strconv.ParseInt: parsing \"99999999999\": value out of range")
        );
        assert_eq!(parse(Kind::Location, "a.go:5"), None);
        assert_eq!(parse(Kind::Module, "a=1,b*=2"), None);
    }
}
