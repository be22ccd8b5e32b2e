//! The grammar of kubeseal's command line: that of pflag, driven by a table of flags.
//!
//! Two dashes stand before a name, one before short names, of which several may follow each other; a value
//! follows after `=`, directly behind a short name, or as the next argument; a switch takes one only after `=`.
//! Flags stand anywhere, `--` ends them. Variables give values, too; those of lists are added to.

use std::collections::HashMap;

use super::flags::FLAGS;
use super::values::{Kind, ValueError};
use crate::session::Environment;

/// A flag.
pub(super) struct Flag {
    /// Its name, without dashes.
    pub name: &'static str,
    /// Its short name.
    pub short: Option<char>,
    /// What it takes.
    pub kind: Kind,
    /// What it is if nothing sets it.
    pub default: &'static str,
    /// What the help says.
    pub about: &'static str,
    /// What to use in its place; the help does not list it.
    pub deprecated: Option<&'static str>,
    /// Whether a variable may set it.
    pub has_variable: bool,
}

/// What was given on the command line, or by variables.
#[derive(Default)]
pub(super) struct Given {
    values: HashMap<&'static str, Vec<String>>,
}

/// Values may stand in it.
impl std::fmt::Debug for Given {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Given").finish_non_exhaustive()
    }
}

/// Why a command line does not fit the grammar.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum UsageError {
    /// Two dashes with nothing that could be a name.
    #[error("bad flag syntax: {0}")]
    Syntax(String),
    /// A short name that no flag has.
    #[error("unknown shorthand flag: {0:?} in -{1}")]
    UnknownShort(char, String),
    /// A name that no flag has.
    #[error("unknown flag: --{0}")]
    Unknown(String),
    /// A value that the flag cannot take.
    #[error("invalid argument {text} for \"{flag}\" flag: {source}")]
    Value {
        /// The value, in quotes.
        text: String,
        /// The flag, with its short name.
        flag: String,
        /// Why not.
        source: ValueError,
    },
    /// A value is missing.
    #[error("flag needs an argument: --{0}")]
    NoValue(&'static str),
    /// A value is missing behind a short name.
    #[error("flag needs an argument: {0:?} in -{1}")]
    NoValueShort(char, String),
}

/// What a command line asks for.
#[derive(Debug)]
pub(super) enum Parsed {
    /// A run.
    Given(Given),
    /// The help, by a short name that no flag has.
    Help,
}

impl Given {
    /// Reads arguments. `tell` is called with what is to be said of deprecated flags.
    ///
    /// # Errors
    /// If they do not fit.
    pub fn parse(
        arguments: &[String],
        environment: &Environment,
        mut tell: impl FnMut(&str),
    ) -> Result<Parsed, UsageError> {
        let mut given = Self::default();
        given.take_variables(environment);
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            if argument == "--" {
                break;
            } else if let Some(long) = argument.strip_prefix("--") {
                given.take_long(long, argument, &mut rest, &mut tell)?;
            } else if let Some(shorts) = argument.strip_prefix('-').filter(|shorts| !shorts.is_empty())
                && !given.take_shorts(shorts, &mut rest, &mut tell)?
            {
                return Ok(Parsed::Help);
            }
            // Other arguments mean nothing.
        }
        Ok(Parsed::Given(given))
    }

    /// Returns whether a switch is on.
    pub fn switch(&self, name: &str) -> bool {
        self.is_on(name) == Some(true)
    }

    /// Returns what a switch was set to, if it was.
    pub fn is_on(&self, name: &str) -> Option<bool> {
        self.value(name).map(|value| matches!(value, "1" | "t" | "T" | "TRUE" | "true" | "True"))
    }

    /// Returns a value, or what stands for it if none is given.
    pub fn text(&self, name: &str) -> &str {
        let default = FLAGS.iter().find(|flag| flag.name == name).map_or("", |flag| flag.default);
        self.value(name).unwrap_or(default)
    }

    /// Returns a value that is given and not empty.
    pub fn given(&self, name: &str) -> Option<&str> {
        self.value(name).filter(|value| !value.is_empty())
    }

    /// Returns whether a flag or a variable gives a value, be it empty.
    pub fn is_given(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Returns the values of a list.
    pub fn list(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name)?.last().map(String::as_str)
    }

    /// Takes the values of variables; those that a flag cannot take are passed over.
    fn take_variables(&mut self, environment: &Environment) {
        for flag in FLAGS.iter().filter(|flag| flag.has_variable) {
            let Some(value) = environment.raw(&flag.variable()) else { continue };
            // That a value does not fit changes nothing.
            drop(self.set(flag, value));
        }
    }

    fn take_long<'a>(
        &mut self,
        long: &'a str,
        argument: &str,
        rest: &mut impl Iterator<Item = &'a String>,
        tell: &mut impl FnMut(&str),
    ) -> Result<(), UsageError> {
        if long.starts_with(['-', '=']) {
            return Err(UsageError::Syntax(argument.to_owned()));
        }
        let (name, value) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (long, None),
        };
        let flag = FLAGS.iter().find(|flag| flag.name == name);
        let flag = flag.ok_or_else(|| UsageError::Unknown(name.to_owned()))?;
        let value = match value {
            Some(value) => value,
            None if flag.kind.is_switch() => "true",
            None => rest.next().ok_or(UsageError::NoValue(flag.name))?,
        };
        self.set_told(flag, value, tell)
    }

    /// Takes short names. Returns whether it was not the help that was asked for.
    fn take_shorts<'a>(
        &mut self,
        shorts: &'a str,
        rest: &mut impl Iterator<Item = &'a String>,
        tell: &mut impl FnMut(&str),
    ) -> Result<bool, UsageError> {
        let mut left = shorts;
        while let Some(short) = left.chars().next() {
            let all = left;
            left = &left[short.len_utf8()..];
            let Some(flag) = FLAGS.iter().find(|flag| flag.short == Some(short)) else {
                if short == 'h' {
                    return Ok(false);
                }
                return Err(UsageError::UnknownShort(short, all.to_owned()));
            };
            let value = match left.strip_prefix('=').filter(|value| !value.is_empty()) {
                Some(value) => value,
                None if !left.is_empty() => left,
                None => rest.next().ok_or_else(|| UsageError::NoValueShort(short, all.to_owned()))?,
            };
            left = "";
            self.set_told(flag, value, tell)?;
        }
        Ok(true)
    }

    fn set_told(
        &mut self,
        flag: &'static Flag,
        value: &str,
        tell: &mut impl FnMut(&str),
    ) -> Result<(), UsageError> {
        self.set(flag, value).map_err(|source| UsageError::Value {
            text: super::values::quoted(value),
            flag: flag.spelled(),
            source,
        })?;
        if let Some(instead) = flag.deprecated {
            tell(&format!("Flag --{} has been deprecated, {instead}", flag.name));
        }
        Ok(())
    }

    fn set(&mut self, flag: &'static Flag, value: &str) -> Result<(), ValueError> {
        let parsed = flag.kind.parse(value)?;
        let name = flag.stands_for();
        if flag.kind.is_list() {
            self.values.entry(name).or_default().extend(parsed);
        } else {
            self.values.insert(name, parsed);
        }
        Ok(())
    }
}

impl Flag {
    /// Returns the variable that gives its value.
    fn variable(&self) -> String {
        format!("SEALED_SECRETS_{}", self.name.to_uppercase().replace('-', "_"))
    }

    /// Returns the name that errors call it by.
    fn spelled(&self) -> String {
        self.short.map_or_else(|| format!("--{}", self.name), |short| format!("-{short}, --{}", self.name))
    }

    /// Returns the name under which its value is kept: that of the flag that it is another name for.
    fn stands_for(&self) -> &'static str {
        if self.name == "rotate" { "re-encrypt" } else { self.name }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &str, variables: &[(&str, &str)]) -> Result<Given, String> {
        let arguments: Vec<_> = arguments.split_terminator(' ').map(str::to_owned).collect();
        let environment = variables.iter().copied().collect();
        match Given::parse(&arguments, &environment, |_| {}) {
            Ok(Parsed::Given(given)) => Ok(given),
            Ok(Parsed::Help) => Err("help".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn values_follow_names_in_every_way() {
        for arguments in ["--format yaml", "--format=yaml", "-o yaml", "-oyaml", "-o=yaml", "x -o yaml y"] {
            assert_eq!(parse(arguments, &[]).expect(arguments).text("format"), "yaml");
        }
        let given = parse("--raw -v3 -n= --from-file a,b --from-file c -- --validate", &[]).expect("flags");
        assert!(given.switch("raw") && !given.switch("validate"));
        assert_eq!(given.list("from-file"), ["a", "b", "c"]);
        assert_eq!((given.text("namespace"), given.text("format")), ("=", "json"));
        assert!(parse("--rotate", &[]).expect("a flag").switch("re-encrypt"));
        assert!(!parse("--rotate=false", &[]).expect("a flag").switch("re-encrypt"));
    }

    #[test]
    fn variables_stand_behind_flags_but_lists_grow() {
        let variables = [
            ("SEALED_SECRETS_FORMAT", "yaml"),
            ("SEALED_SECRETS_SCOPE", "bogus"),
            ("SEALED_SECRETS_FROM_FILE", "a"),
            ("SEALED_SECRETS_V", "9"),
        ];
        let given = parse("--from-file b", &variables).expect("flags");
        assert_eq!((given.text("format"), given.text("scope")), ("yaml", "strict"));
        assert_eq!(given.list("from-file"), ["a", "b"]);
        assert!(!given.is_given("v"));
        assert_eq!(parse("-o json", &variables).expect("flags").text("format"), "json");
    }

    #[test]
    fn errors_are_those_of_pflag() {
        for (arguments, error) in [
            ("--bogus", "unknown flag: --bogus"),
            (
                "--scope=bogus",
                "invalid argument \"bogus\" for \"--scope\" flag: must be one of: strict, namespace-wide, cluster-wide",
            ),
            ("-x", "unknown shorthand flag: 'x' in -x"),
            ("--cert", "flag needs an argument: --cert"),
            ("-v", "flag needs an argument: 'v' in -v"),
            (
                "-vx",
                "invalid argument \"x\" for \"-v, --v\" flag: strconv.ParseInt: parsing \"x\": invalid syntax",
            ),
            ("--log_file_max_size=x", "invalid argument \"x\" for \"--log_file_max_size\" flag: parse error"),
            (
                "--fetch-cert=maybe",
                "invalid argument \"maybe\" for \"--fetch-cert\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax",
            ),
            (
                "--raw=",
                "invalid argument \"\" for \"--raw\" flag: strconv.ParseBool: parsing \"\": invalid syntax",
            ),
            ("--logtostderr=x", "invalid argument \"x\" for \"--logtostderr\" flag: parse error"),
            (
                "--vmodule=x",
                "invalid argument \"x\" for \"--vmodule\" flag: syntax error: expect comma-separated list of filename=N",
            ),
            (
                "--log_backtrace_at=x",
                "invalid argument \"x\" for \"--log_backtrace_at\" flag: syntax error: expect file.go:234",
            ),
            ("--=x", "bad flag syntax: --=x"),
            ("---x", "bad flag syntax: ---x"),
            ("-z=3", "unknown shorthand flag: 'z' in -z=3"),
            ("-h", "help"),
        ] {
            assert_eq!(parse(arguments, &[]).expect_err(arguments), error);
        }
    }
}
