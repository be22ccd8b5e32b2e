//! Flags that name master keys and choose values. Those for keys derive from the table of key kinds.

use std::marker::PhantomData;

use clap::{Arg, ArgAction, ArgMatches, Command};
use selkie::keys::{KEY_KINDS, KeyGroup, KeyKind, KeyParseError, MasterKey};
use selkie::sops::{Selector, SelectorError};

use crate::failure::Failure;

/// Flags that name master keys: `--age`, `--pgp` and so on, behind the prefix of `P`.
#[derive(Clone, Debug)]
pub struct KeyFlags<P: Prefix> {
    keys: Vec<(&'static KeyKind, Vec<String>)>,
    options: Vec<(&'static KeyKind, &'static str, String)>,
    prefix: PhantomData<P>,
}

/// What stands before the name of a kind in a flag.
pub trait Prefix: Clone + Send + Sync + 'static {
    /// The prefix.
    const TEXT: &'static str;
    /// What naming a key does; the text goes on with the kind.
    const HELP: &'static str;
    /// Whether settings for all keys of a kind can be given.
    const HAS_OPTIONS: bool;
}

/// Names the keys of a document.
#[derive(Clone, Debug)]
pub struct Plain;

/// Names keys to add.
#[derive(Clone, Debug)]
pub struct Add;

/// Names keys to remove.
#[derive(Clone, Debug)]
pub struct Remove;

impl Prefix for Plain {
    const TEXT: &'static str = "";
    const HELP: &'static str = "Encrypt for these keys instead of those of .sops.yaml: ";
    const HAS_OPTIONS: bool = true;
}

impl Prefix for Add {
    const TEXT: &'static str = "add-";
    const HELP: &'static str = "Add these keys to the first key group: ";
    const HAS_OPTIONS: bool = true;
}

impl Prefix for Remove {
    const TEXT: &'static str = "rm-";
    const HELP: &'static str = "Remove these keys from every key group: ";
    const HAS_OPTIONS: bool = false;
}

impl<P: Prefix> KeyFlags<P> {
    /// Returns the keys that are named, in the order in which a rule would have them.
    ///
    /// # Errors
    /// If a key or a setting cannot be read.
    pub fn group(&self) -> Result<KeyGroup, KeyParseError> {
        let mut group = KeyGroup::default();
        for (kind, texts) in &self.keys {
            for text in texts {
                group.0.extend(MasterKey::parse_list(kind, text)?);
            }
        }
        for (kind, flag, text) in &self.options {
            let Some(option) = kind.options.iter().find(|option| option.flag == *flag) else { continue };
            let value = (option.parse)(text)?;
            let of_kind = group.0.iter_mut().filter(|key| key.kind().name == kind.name);
            of_kind.for_each(|key| key.set_field(option.field, value.clone()));
        }
        group.0.sort_by_key(|key| key.kind().rule_rank);
        Ok(group)
    }

    /// Makes sure that every setting is for a key that is named.
    ///
    /// # Errors
    /// If one is not: nothing would come of it.
    pub fn check_options(&self) -> Result<(), Failure> {
        let is_named = |kind: &KeyKind| {
            self.keys.iter().any(|(known, texts)| known.name == kind.name && !texts.is_empty())
        };
        match self.options.iter().find(|(kind, ..)| !is_named(kind)) {
            None => Ok(()),
            Some((kind, flag, _)) => Err(Failure::Usage(format!(
                "--{flag} is for {} keys, and --{}{} names none",
                kind.name,
                P::TEXT,
                kind.flag
            ))),
        }
    }

    /// Returns whether any key is named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.iter().all(|(_, texts)| texts.is_empty())
    }
}

impl<P: Prefix> Default for KeyFlags<P> {
    fn default() -> Self {
        Self { keys: Vec::new(), options: Vec::new(), prefix: PhantomData }
    }
}

impl<P: Prefix> clap::FromArgMatches for KeyFlags<P> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let texts = |flag: &str| -> Vec<String> {
            matches.get_many(flag).map(|texts| texts.cloned().collect()).unwrap_or_default()
        };
        let of_kind = |kind: &&'static KeyKind| (*kind, texts(&format!("{}{}", P::TEXT, kind.flag)));
        let mut options = Vec::new();
        for kind in KEY_KINDS.iter().filter(|_| P::HAS_OPTIONS) {
            for option in kind.options {
                let given = texts(option.flag);
                options.extend(given.into_iter().map(|text| (*kind, option.flag, text)));
            }
        }
        Ok(Self { keys: KEY_KINDS.iter().map(of_kind).collect(), options, prefix: PhantomData })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl<P: Prefix> clap::Args for KeyFlags<P> {
    fn augment_args(command: Command) -> Command {
        let mut kinds = KEY_KINDS.to_vec();
        kinds.sort_by_key(|kind| kind.rule_rank);
        kinds.into_iter().fold(command, |command, kind| {
            let command = command.arg(key_flag::<P>(kind));
            let options = kind.options.iter().filter(|_| P::HAS_OPTIONS);
            options.fold(command, |command, option| {
                let help = format!("Set {} of every {} key that a flag names", option.field, kind.name);
                let flag = flag(option.flag.to_owned(), help, "VALUE").hide_short_help(true);
                command.arg(flag)
            })
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// Flags that choose which values are encrypted.
#[derive(Clone, Debug, Default)]
pub struct SelectorFlags(Vec<(&'static str, String)>);

impl SelectorFlags {
    /// Returns the selector that the flags give, if they do.
    ///
    /// # Errors
    /// If two are given, or a pattern does not compile.
    pub fn selector(&self) -> Result<Option<Selector>, SelectorError> {
        Selector::from_fields(|field| {
            self.0.iter().find(|(name, _)| *name == field).map(|(_, text)| text.as_str())
        })
    }
}

impl clap::FromArgMatches for SelectorFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let text = |field: &'static str| {
            matches.get_one::<String>(&flag_of(field)).map(|text| (field, text.clone()))
        };
        Ok(Self(Selector::FIELDS.into_iter().filter_map(text).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl clap::Args for SelectorFlags {
    fn augment_args(command: Command) -> Command {
        Selector::FIELDS.into_iter().fold(command, |command, field| {
            let (value_name, what) = match field.rsplit_once('_') {
                Some((_, "suffix")) => ("SUFFIX", "below keys that end so"),
                _ if field.contains("comment") => ("REGEX", "below comments that match"),
                _ => ("REGEX", "below keys that match"),
            };
            let help = if field.starts_with("un") {
                format!("Leave values {what} in clear, and encrypt all others")
            } else {
                format!("Encrypt only values {what}")
            };
            command.arg(flag(flag_of(field), help, value_name).action(ArgAction::Set))
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn key_flag<P: Prefix>(kind: &'static KeyKind) -> Arg {
    let name = format!("{}{}", P::TEXT, kind.flag);
    let flag = flag(name, format!("{}{}", P::HELP, kind.name), "KEY,…").hide_short_help(kind.name != "age");
    match kind.short.filter(|_| P::TEXT.is_empty()) {
        Some(short) => flag.short(short),
        None => flag,
    }
}

fn flag(name: String, help: String, value_name: &'static str) -> Arg {
    Arg::new(name.clone()).long(name).value_name(value_name).help(help).action(ArgAction::Append)
}

fn flag_of(field: &str) -> String {
    field.replace('_', "-")
}

#[cfg(test)]
mod tests {
    use clap::{Args, FromArgMatches};

    use super::*;

    fn parse<A: Args + FromArgMatches>(arguments: &[&str]) -> A {
        let command = A::augment_args(Command::new("test").no_binary_name(true));
        let matches = command.try_get_matches_from(arguments).expect("valid flags");
        A::from_arg_matches(&matches).expect("flags are read")
    }

    fn names(group: &KeyGroup) -> Vec<String> {
        group.0.iter().map(|key| format!("{}:{key}", key.kind().name)).collect()
    }

    #[test]
    fn keys_come_in_the_order_of_a_rule() {
        let arn = "arn:aws:kms:us-west-2:1:key/a";
        let flags: KeyFlags<Plain> = parse(&["--kms", arn, "--aws-profile", "me", "-p", "A,B", "--pgp", "C"]);
        assert_eq!(
            names(&flags.group().expect("keys")),
            ["pgp:A", "pgp:B", "pgp:C", &format!("kms:{arn}||me")]
        );
    }

    #[test]
    fn keys_to_add_and_to_remove_have_flags_of_their_own() {
        let flags: KeyFlags<Add> = parse(&["--add-pgp", "A"]);
        assert_eq!(names(&flags.group().expect("keys")), ["pgp:A"]);
        let flags: KeyFlags<Remove> = parse(&["--rm-pgp", "A"]);
        assert!(!flags.is_empty());
        assert!(parse::<KeyFlags<Remove>>(&[]).is_empty());
    }

    #[test]
    fn a_setting_needs_a_key() {
        let flags: KeyFlags<Plain> = parse(&["--age", "a", "--encryption-context", "a:b"]);
        let error = flags.check_options().expect_err("there is no such key").to_string();
        assert!(error.contains("--encryption-context is for kms keys, and --kms names none"), "{error}");
        let flags: KeyFlags<Add> = parse(&["--aws-profile", "x"]);
        assert!(flags.check_options().is_err());
        let flags: KeyFlags<Add> =
            parse(&["--aws-profile", "x", "--add-kms", "arn:aws:kms:us-west-2:1:key/a"]);
        assert!(flags.check_options().is_ok());
    }

    #[test]
    fn one_selector_can_be_chosen() {
        let flags: SelectorFlags = parse(&["--encrypted-regex", "^data$"]);
        let selector = flags.selector().expect("it compiles").expect("a selector");
        assert_eq!((selector.field(), selector.text()), ("encrypted_regex", "^data$"));
        assert_eq!(parse::<SelectorFlags>(&[]).selector(), Ok(None));
        let both: SelectorFlags = parse(&["--encrypted-regex", "a", "--unencrypted-suffix", "b"]);
        assert!(matches!(both.selector(), Err(SelectorError::Conflict(..))));
    }
}
