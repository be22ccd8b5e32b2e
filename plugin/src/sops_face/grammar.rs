//! The grammar of sops's command line: that of urfave/cli v1 on Go's `flag`, driven by tables of flags.
//!
//! One or two dashes stand before a name of any length; a value follows after `=` or as the next
//! argument; a switch takes a value only after `=`; `--` ends the flags. A command finds its flags
//! anywhere among its arguments, the program itself only before the first that is none.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};

use crate::session::Environment;

/// A flag that a command takes.
#[derive(Clone, Debug)]
pub struct Flag {
    /// Its name, without dashes.
    pub name: String,
    /// Another name.
    pub alias: Option<String>,
    /// What it takes.
    pub kind: FlagKind,
    /// The variable that gives its value if it is not used.
    pub variable: Option<&'static str>,
    /// One line for the help.
    pub about: String,
    /// What it is without a value, for the help.
    pub default: &'static str,
}

/// What a flag takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagKind {
    /// An integer.
    Number,
    /// Nothing, or a truth value; false if it is not used.
    Switch,
    /// Nothing, or a truth value; true if it is not used.
    SwitchOn,
    /// A text.
    Text,
    /// A text, as often as it is used.
    Texts,
}

/// Where flags are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Among all arguments. What only looks like a flag and stands behind another argument is one itself.
    Anywhere,
    /// Before the first argument that is none.
    InFront,
}

/// What was given on the command line, or by variables in its place.
#[derive(Default)]
pub struct Given {
    values: HashMap<String, Value>,
    arguments: Vec<OsString>,
}

/// Values may stand in it.
impl std::fmt::Debug for Given {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Given").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Value {
    texts: Vec<OsString>,
    /// The name by which the flag was used, if it was.
    spelled: Option<String>,
}

/// Why a command line does not fit the grammar.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    /// A dash with nothing that could be a name.
    #[error("bad flag syntax: {0}")]
    Syntax(String),
    /// A flag is used under both its names.
    #[error("Cannot use two forms of the same flag: {0} {1}")]
    TwoForms(String, String),
    /// A flag that the command does not have.
    #[error("flag provided but not defined: -{0}")]
    Unknown(String),
    /// A value that the flag cannot take.
    #[error("invalid {what} {text:?} for {link}-{name}: parse error")]
    Value {
        /// How the value is called.
        what: &'static str,
        /// What goes before the name.
        link: &'static str,
        /// The value.
        text: String,
        /// The flag.
        name: String,
    },
    /// A variable that the flag cannot take.
    #[error("could not parse {text} as bool value for flag {name}: invalid syntax")]
    Variable {
        /// The variable's value.
        text: String,
        /// The flag.
        name: String,
    },
    /// A flag without its value.
    #[error("flag needs an argument: -{0}")]
    WithoutValue(String),
}

impl Flag {
    /// Returns a flag that is on or off.
    pub fn switch(name: &str, about: &str) -> Self {
        Self::new(name, FlagKind::Switch, about)
    }

    /// Returns a flag that takes a text.
    pub fn text(name: &str, about: &str) -> Self {
        Self::new(name, FlagKind::Text, about)
    }

    /// Returns a flag that takes a text each time it is used.
    pub fn texts(name: &str, about: &str) -> Self {
        Self::new(name, FlagKind::Texts, about)
    }

    /// Returns a flag that takes an integer.
    pub fn number(name: &str, about: &str) -> Self {
        Self { default: "0", ..Self::new(name, FlagKind::Number, about) }
    }

    /// Returns the flag that asks for help.
    pub fn help() -> Self {
        Self::switch("help", "show help").alias("h")
    }

    /// Gives the flag another name.
    pub fn alias(self, alias: &str) -> Self {
        Self { alias: Some(alias.to_owned()), ..self }
    }

    /// Gives the flag a variable.
    pub fn variable(self, variable: &'static str) -> Self {
        Self { variable: Some(variable), ..self }
    }

    /// Returns the flag's names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.name.as_str()).chain(self.alias.as_deref())
    }

    /// Returns whether a value must follow the flag.
    pub const fn takes_value(&self) -> bool {
        matches!(self.kind, FlagKind::Number | FlagKind::Text | FlagKind::Texts)
    }

    fn new(name: &str, kind: FlagKind, about: &str) -> Self {
        let (name, about) = (name.to_owned(), about.to_owned());
        Self { name, alias: None, kind, variable: None, about, default: "" }
    }

    /// Returns what the flag is if it is not used.
    fn preset(&self, environment: &Environment) -> Result<Value, UsageError> {
        let preset = self.variable.and_then(|name| environment.raw(name));
        let texts = match (self.kind, preset) {
            (FlagKind::Texts, Some(list)) => list.split(',').map(|item| item.trim().into()).collect(),
            (FlagKind::Switch | FlagKind::SwitchOn, Some(text)) => {
                // A switch whose variable is set to nothing is off.
                let text = if text.is_empty() { "false" } else { text };
                let value = parse_bool(text)
                    .ok_or_else(|| UsageError::Variable { text: text.to_owned(), name: self.name.clone() })?;
                vec![value.to_string().into()]
            }
            (FlagKind::SwitchOn, None) => vec!["true".into()],
            (_, Some(text)) => vec![text.into()],
            (_, None) => Vec::new(),
        };
        Ok(Value { texts, spelled: None })
    }

    fn check(&self, spelled: &str, text: &OsStr) -> Result<(), UsageError> {
        let lossy = text.to_string_lossy();
        let (what, link, fits) = match self.kind {
            FlagKind::Number => ("value", "flag ", parse_int(&lossy).is_some()),
            FlagKind::Switch | FlagKind::SwitchOn => ("boolean value", "", parse_bool(&lossy).is_some()),
            FlagKind::Text | FlagKind::Texts => return Ok(()),
        };
        let error = || UsageError::Value { what, link, text: lossy.into_owned(), name: spelled.to_owned() };
        if fits { Ok(()) } else { Err(error()) }
    }
}

impl Given {
    /// Reads a command line.
    ///
    /// # Errors
    /// If it does not fit the flags.
    pub fn parse(
        flags: &[Flag],
        arguments: &[OsString],
        place: Place,
        environment: &Environment,
    ) -> Result<Self, UsageError> {
        let mut given = Self::default();
        for flag in flags {
            given.values.insert(flag.name.clone(), flag.preset(environment)?);
        }
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let Some((dashes, name, value)) = split(argument) else {
                given.arguments.push(argument.clone());
                if place == Place::InFront {
                    break;
                }
                continue;
            };
            if name.is_empty() && dashes == 2 && value.is_none() {
                break;
            }
            let Some(flag) = flags.iter().find(|flag| flag.names().any(|known| known == name)) else {
                if place == Place::Anywhere && !given.arguments.is_empty() {
                    given.arguments.push(argument.clone());
                    continue;
                }
                return Err(unknown(argument, &name));
            };
            let value = match value {
                Some(value) => value,
                None if flag.takes_value() => {
                    rest.next().cloned().ok_or_else(|| UsageError::WithoutValue(name.clone()))?
                }
                None => "true".into(),
            };
            flag.check(&name, &value)?;
            given.take(flag, name, value)?;
        }
        given.arguments.extend(rest.cloned());
        Ok(given)
    }

    /// Returns what is no flag.
    pub fn arguments(&self) -> &[OsString] {
        &self.arguments
    }

    /// Returns an argument.
    pub fn argument(&self, index: usize) -> Option<&OsStr> {
        self.arguments.get(index).map(OsString::as_os_str)
    }

    /// Returns whether a flag was used on the command line.
    pub fn is_used(&self, name: &str) -> bool {
        self.values.get(name).is_some_and(|value| value.spelled.is_some())
    }

    /// Returns the names of the flags that were used on the command line.
    pub fn used(&self) -> impl Iterator<Item = &str> {
        self.values.iter().filter(|(_, value)| value.spelled.is_some()).map(|(name, _)| name.as_str())
    }

    /// Returns whether a switch is on.
    pub fn switch(&self, name: &str) -> bool {
        self.raw(name).and_then(OsStr::to_str).and_then(parse_bool).unwrap_or_default()
    }

    /// Returns the text of a flag, unless it is empty.
    pub fn text(&self, name: &str) -> Option<String> {
        self.path(name).map(|text| text.to_string_lossy().into_owned())
    }

    /// Returns the text of a flag as it was given, unless it is empty.
    pub fn path(&self, name: &str) -> Option<&OsStr> {
        self.raw(name).filter(|text| !text.is_empty())
    }

    /// Returns the texts of a flag.
    pub fn texts(&self, name: &str) -> Vec<String> {
        let texts = self.values.get(name).map(|value| value.texts.as_slice()).unwrap_or_default();
        let texts = texts.iter().map(|text| text.to_string_lossy().into_owned());
        texts.filter(|text| !text.is_empty()).collect()
    }

    /// Returns the number of a flag.
    pub fn number(&self, name: &str) -> i64 {
        self.raw(name).and_then(OsStr::to_str).and_then(parse_int).unwrap_or_default()
    }

    fn raw(&self, name: &str) -> Option<&OsStr> {
        self.values.get(name)?.texts.last().map(OsString::as_os_str)
    }

    fn take(&mut self, flag: &Flag, spelled: String, text: OsString) -> Result<(), UsageError> {
        let value = self.values.entry(flag.name.clone()).or_default();
        match &value.spelled {
            Some(other) if *other != spelled => {
                return Err(UsageError::TwoForms(spelled, other.clone()));
            }
            // The first use takes the place of what a variable gave.
            None => value.texts.clear(),
            Some(_) if flag.kind == FlagKind::Texts => {}
            Some(_) => value.texts.clear(),
        }
        value.texts.push(text);
        value.spelled = Some(spelled);
        Ok(())
    }
}

/// Takes an argument that begins with a dash apart: the number of dashes, the name, and the value.
fn split(argument: &OsStr) -> Option<(usize, String, Option<OsString>)> {
    let bytes = argument.as_encoded_bytes();
    let dashes = bytes.iter().take(2).take_while(|&&byte| byte == b'-').count();
    if dashes == 0 || bytes == b"-" {
        return None;
    }
    let lossy = argument.to_string_lossy();
    // A name holds no `=` and no byte that is lost: what differs is no known name.
    let (name, value) = match lossy[dashes..].split_once('=') {
        None => (lossy[dashes..].to_owned(), None),
        Some((name, _)) => (name.to_owned(), Some(after_equals(argument))),
    };
    Some((dashes, name, value))
}

#[cfg(unix)]
fn after_equals(argument: &OsStr) -> OsString {
    use std::os::unix::ffi::OsStrExt;

    let bytes = argument.as_bytes();
    let start = bytes.iter().position(|&byte| byte == b'=').map_or(bytes.len(), |at| at + 1);
    OsStr::from_bytes(&bytes[start..]).to_owned()
}

#[cfg(not(unix))]
fn after_equals(argument: &OsStr) -> OsString {
    argument.to_string_lossy().split_once('=').map(|(_, value)| value.to_owned()).unwrap_or_default().into()
}

fn unknown(argument: &OsStr, name: &str) -> UsageError {
    if name.is_empty() || name.starts_with('-') {
        return UsageError::Syntax(argument.to_string_lossy().into_owned());
    }
    UsageError::Unknown(name.to_owned())
}

/// Reads a truth value as Go does.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// Reads an integer as Go does: with a prefix for its base.
fn parse_int(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix(['-', '+']) {
        Some(digits) => (if text.starts_with('-') { "-" } else { "" }, digits),
        None => ("", text),
    };
    let lower = digits.to_ascii_lowercase();
    let (base, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    let digits = digits.replace('_', "");
    (!digits.starts_with(['-', '+'])).then(|| i64::from_str_radix(&format!("{sign}{digits}"), base).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags() -> Vec<Flag> {
        vec![
            Flag::switch("in-place", "").alias("i"),
            Flag { kind: FlagKind::SwitchOn, ..Flag::switch("local", "") }.variable("LOCAL"),
            Flag::text("output", ""),
            Flag::text("age", "").alias("a").variable("AGE"),
            Flag::texts("service", "").variable("SERVICES"),
            Flag::number("indent", ""),
        ]
    }

    fn parse_with(line: &[&str], place: Place, variables: &[(&str, &str)]) -> Result<Given, UsageError> {
        let arguments: Vec<OsString> = line.iter().map(Into::into).collect();
        Given::parse(&flags(), &arguments, place, &variables.iter().copied().collect())
    }

    fn parse(line: &[&str]) -> Given {
        parse_with(line, Place::Anywhere, &[]).expect("it fits")
    }

    fn error(line: &[&str]) -> String {
        parse_with(line, Place::Anywhere, &[]).expect_err("it does not fit").to_string()
    }

    #[test]
    fn one_dash_and_two_are_the_same() {
        for line in [["-output", "x"], ["--output", "x"]] {
            assert_eq!(parse(&line).text("output").as_deref(), Some("x"));
        }
        for line in [["-output=x=y"], ["--output=x=y"]] {
            assert_eq!(parse(&line).text("output").as_deref(), Some("x=y"));
        }
        assert_eq!(parse(&["-a", "r"]).text("age").as_deref(), Some("r"));
    }

    #[test]
    fn value_may_look_like_a_flag() {
        let given = parse(&["--output", "-i"]);
        assert_eq!((given.text("output").as_deref(), given.switch("in-place")), (Some("-i"), false));
    }

    #[test]
    fn switch_takes_no_argument() {
        let given = parse(&["-i", "false"]);
        assert!(given.switch("in-place"));
        assert_eq!(given.arguments(), ["false"]);
        assert!(!parse(&["-i=0"]).switch("in-place"));
        assert!(!parse(&["--local=false"]).switch("local"));
    }

    #[test]
    fn flags_are_found_behind_arguments() {
        let given = parse(&["file", "-i", "--output", "x", "other"]);
        assert!(given.switch("in-place"));
        assert_eq!(given.arguments(), ["file", "other"]);
    }

    #[test]
    fn in_front_the_first_argument_ends_the_flags() {
        let given = parse_with(&["-i", "file", "--output", "x"], Place::InFront, &[]).expect("it fits");
        assert_eq!(given.arguments(), ["file", "--output", "x"]);
    }

    #[test]
    fn two_dashes_alone_end_the_flags() {
        assert_eq!(parse(&["a", "--", "-i", "--"]).arguments(), ["a", "-i", "--"]);
        assert_eq!(parse(&["--output", "--", "x"]).text("output").as_deref(), Some("--"));
        assert_eq!(parse(&["-"]).arguments(), ["-"]);
    }

    #[test]
    fn unknown_flag_is_an_error_in_front_and_an_argument_behind() {
        assert_eq!(error(&["--foo", "file"]), "flag provided but not defined: -foo");
        assert_eq!(parse(&["file", "--foo", "-5"]).arguments(), ["file", "--foo", "-5"]);
    }

    #[test]
    fn faults_read_as_those_of_go() {
        assert_eq!(error(&["---x"]), "bad flag syntax: ---x");
        assert_eq!(error(&["-=x"]), "bad flag syntax: -=x");
        assert_eq!(error(&["--output"]), "flag needs an argument: -output");
        assert_eq!(error(&["-i=maybe"]), "invalid boolean value \"maybe\" for -i: parse error");
        assert_eq!(error(&["--indent", "x"]), "invalid value \"x\" for flag -indent: parse error");
        assert_eq!(error(&["-i", "--in-place"]), "Cannot use two forms of the same flag: in-place i");
    }

    #[test]
    fn variable_stands_in_for_a_flag_that_is_not_used() {
        let variables = [("AGE", "from variable"), ("LOCAL", ""), ("SERVICES", "a, b")];
        let given = parse_with(&[], Place::Anywhere, &variables).expect("it fits");
        assert_eq!(given.text("age").as_deref(), Some("from variable"));
        assert!(!given.switch("local") && !given.is_used("age"));
        assert_eq!(given.texts("service"), ["a", "b"]);
        let line = ["-a", "r", "--service", "c", "--service", "d"];
        let given = parse_with(&line, Place::Anywhere, &variables).expect("it fits");
        assert_eq!(given.text("age").as_deref(), Some("r"));
        assert_eq!(given.texts("service"), ["c", "d"]);
        let error = parse_with(&[], Place::Anywhere, &[("LOCAL", "maybe")]).expect_err("no truth value");
        assert_eq!(error.to_string(), "could not parse maybe as bool value for flag local: invalid syntax");
    }

    #[test]
    fn integers_are_read_as_in_go() {
        let cases = [("8", 8), ("-1", -1), ("0x10", 16), ("010", 8), ("0b11", 3), ("1_000", 1000), ("0", 0)];
        for (text, value) in cases {
            assert_eq!(parse_int(text), Some(value), "{text}");
        }
        for text in ["", "x", "1.5", "--1", "0x"] {
            assert_eq!(parse_int(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_value_or_an_argument(texts in proptest::collection::vec(".{0,9}", 0..5)) {
            let mut line: Vec<_> = texts.iter().map(|text| format!("--service={text}")).collect();
            line.push("--".to_owned());
            line.extend(texts.iter().cloned());
            let given = parse(&line.iter().map(String::as_str).collect::<Vec<_>>());
            let texts: Vec<_> = texts.iter().filter(|text| !text.is_empty()).cloned().collect();
            proptest::prop_assert_eq!(given.texts("service"), texts);
            proptest::prop_assert_eq!(given.arguments().len(), line.len() / 2);
        }

        #[test]
        fn no_line_is_too_odd(line in proptest::collection::vec("[-=aio ]{0,5}|--output", 0..6)) {
            let line: Vec<_> = line.iter().map(String::as_str).collect();
            for place in [Place::Anywhere, Place::InFront] {
                if let Ok(given) = parse_with(&line, place, &[]) {
                    proptest::prop_assert!(given.arguments().len() <= line.len());
                }
            }
        }
    }
}
