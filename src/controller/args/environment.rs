//! The variables that stand for flags, and Go's way of writing flags with one dash.
//!
//! Invariants: a variable that begins like ours and is none stops the start, unless Kubernetes made it for a Service;
//! an error names the variable, not the flag.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

use clap::error::ContextKind;
use clap::{Arg, Args as _, Command};

use super::Args;

/// Why a variable cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvironmentError {
    /// It stands for no flag.
    #[error("the variable {name} stands for no flag{}", nearest.as_ref().map(|name| format!("; is it {name}?")).unwrap_or_default())]
    Unknown {
        /// Its name.
        name: String,
        /// One that has nearly the same name.
        nearest: Option<String>,
    },
    /// It has a value that its flag cannot have.
    #[error("the variable {name}: {why}")]
    Value {
        /// Its name.
        name: String,
        /// What is wrong with it.
        why: String,
    },
}

/// Returns the arguments of the controller, those behind its name, with what variables say in front of them, and
/// with two dashes where a flag has one.
///
/// # Errors
/// If a variable cannot be followed.
pub fn with_environment(
    arguments: impl IntoIterator<Item = OsString>,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Vec<OsString>, EnvironmentError> {
    let command = Args::augment_args(Command::new("controller"));
    let arguments: Vec<_> =
        arguments.into_iter().map(|argument| with_two_dashes(argument, &command)).collect();
    let given = flags_of(&arguments, &command);
    let ours: BTreeMap<_, _> = variables
        .into_iter()
        // A name that is not valid is none of ours.
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| name.starts_with(PREFIX))
        .collect();
    let mut all = Vec::new();
    for (name, value) in &ours {
        let Some(flag) = find(name, &command) else {
            if is_of_service(name, &ours) {
                continue;
            }
            return Err(EnvironmentError::Unknown { name: name.clone(), nearest: nearest(name, &command) });
        };
        // As for the controller of Sealed Secrets, one that is empty is as if it were not there.
        if value.is_empty() || given.contains(flag.get_id().as_str()) {
            continue;
        }
        let value = value.to_str().ok_or_else(|| EnvironmentError::Value {
            name: name.clone(),
            why: "its value is not valid UTF-8".to_owned(),
        })?;
        let argument = format!("--{}={value}", flag.get_long().unwrap_or_default());
        check(name, &argument, &command)?;
        all.push(argument.into());
    }
    all.extend(arguments);
    Ok(all)
}

/// Returns an argument with two dashes, if it is a flag with one.
fn with_two_dashes(argument: OsString, command: &Command) -> OsString {
    let Some(text) = argument.to_str() else { return argument };
    match text.strip_prefix('-') {
        Some(rest) if command.get_arguments().any(|flag| is_named(flag, name_of(rest))) => {
            format!("-{text}").into()
        }
        _ => argument,
    }
}

/// Returns the ids of the flags that arguments have.
fn flags_of(arguments: &[OsString], command: &Command) -> BTreeSet<String> {
    let names = arguments.iter().filter_map(|argument| argument.to_str()?.strip_prefix("--")).map(name_of);
    let flags = names.filter_map(|name| command.get_arguments().find(|flag| is_named(flag, name)));
    flags.map(|flag| flag.get_id().to_string()).collect()
}

fn name_of(text: &str) -> &str {
    text.split_once('=').map_or(text, |(name, _)| name)
}

fn is_named(flag: &Arg, name: &str) -> bool {
    flag.get_long() == Some(name) || flag.get_all_aliases().unwrap_or_default().contains(&name)
}

/// Returns the flag that a variable stands for.
fn find<'a>(variable: &str, command: &'a Command) -> Option<&'a Arg> {
    let name = variable.strip_prefix(PREFIX)?.to_ascii_lowercase().replace('_', "-");
    let is_upper_case = !variable.contains(|letter: char| letter.is_ascii_lowercase() || letter == '-');
    command.get_arguments().filter(|_| is_upper_case).find(|flag| is_named(flag, &name))
}

/// Returns whether Kubernetes made a variable, for a Service of the namespace whose name begins like our variables.
/// It makes some at once, so that one which only looks like them is told by the others that are missing.
fn is_of_service(variable: &str, all: &BTreeMap<String, OsString>) -> bool {
    let services = all.keys().filter_map(|name| name.strip_suffix("_SERVICE_HOST"));
    let mut rests = services.filter_map(|service| variable.strip_prefix(service)?.strip_prefix('_'));
    rests.any(|rest| {
        let is_port = |rest: &str| {
            let mut words = rest.split('_');
            words.next().is_some_and(|port| port.parse::<u16>().is_ok())
                && words.next().is_some_and(|word| matches!(word, "TCP" | "UDP" | "SCTP"))
                && words.next().is_none_or(|word| matches!(word, "ADDR" | "PORT" | "PROTO"))
                && words.next().is_none()
        };
        matches!(rest, "PORT" | "SERVICE_HOST" | "SERVICE_PORT")
            || rest.strip_prefix("SERVICE_PORT_").is_some_and(|name| !name.is_empty())
            || rest.strip_prefix("PORT_").is_some_and(is_port)
    })
}

/// Returns whether a flag takes the value that a variable has.
fn check(name: &str, argument: &str, command: &Command) -> Result<(), EnvironmentError> {
    let command = command.clone().no_binary_name(true);
    command.try_get_matches_from([argument]).map(drop).map_err(|error| {
        let source = std::error::Error::source(&error).map(ToString::to_string);
        let known = error.get(ContextKind::ValidValue).map(|known| format!("must be one of {known}"));
        let why = source.or(known).unwrap_or_else(|| "its flag cannot have this value".to_owned());
        EnvironmentError::Value { name: name.to_owned(), why }
    })
}

/// Returns the variable whose name differs least, if it does not differ much.
fn nearest(name: &str, command: &Command) -> Option<String> {
    let names = command.get_arguments().filter_map(|flag| flag.get_long());
    let names = names.map(|flag| format!("{PREFIX}{}", flag.to_ascii_uppercase().replace('-', "_")));
    names
        .map(|known| (distance(name, &known), known))
        .filter(|(distance, _)| *distance <= 2)
        .min()
        .map(|found| found.1)
}

/// Returns how many letters have to be changed, added or left out to make one text of another.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, left) in left.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (place, right) in right.bytes().enumerate() {
            let above = row[place + 1];
            row[place + 1] = (diagonal + usize::from(left != right)).min(above + 1).min(row[place] + 1);
            diagonal = above;
        }
    }
    row[right.len()]
}

/// What our variables begin with.
const PREFIX: &str = "SEALED_SECRETS_";

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
        let all = with_environment(arguments.iter().map(OsString::from), variables);
        let all = all.map_err(|error| error.to_string())?;
        Ok(all.into_iter().map(|argument| argument.into_string().expect("it is text")).collect())
    }

    #[test]
    fn variables_stand_for_flags_that_are_not_there() {
        let variables = [
            ("SEALED_SECRETS_KEY_TTL", "1h"),
            ("SEALED_SECRETS_MY_CN", ""),
            ("SEALED_SECRETS_UPDATE_STATUS", "f"),
            ("SEALED_SECRETS_WORKERS", "3"),
            ("PATH", "/bin"),
        ];
        assert_eq!(
            arguments(&["--workers", "2"], &variables).expect("they can be followed"),
            ["--key-ttl=1h", "--update-status=f", "--workers", "2"]
        );
    }

    #[test]
    fn the_flag_counts_by_its_old_name_too() {
        let variables = [("SEALED_SECRETS_KEY_RENEW_PERIOD", "1h")];
        assert_eq!(arguments(&["--rotate-period=2h"], &variables).expect("yes"), ["--rotate-period=2h"]);
        let variables = [("SEALED_SECRETS_ROTATE_PERIOD", "1h")];
        assert_eq!(arguments(&[], &variables).expect("yes"), ["--key-renew-period=1h"]);
    }

    #[test]
    fn flags_may_have_one_dash() {
        let all = arguments(&["-key-ttl=1h", "-sops", "-h", "-1", "-unknown", "--my-cn", "-"], &[]);
        assert_eq!(all.expect("yes"), ["--key-ttl=1h", "--sops", "-h", "-1", "-unknown", "--my-cn", "-"]);
    }

    #[test]
    fn a_variable_that_stands_for_nothing_is_an_error() {
        let error = |name| arguments(&[], &[(name, "x")]).expect_err("it is unknown");
        assert_eq!(
            error("SEALED_SECRETS_KEY_TLT"),
            "the variable SEALED_SECRETS_KEY_TLT stands for no flag; is it SEALED_SECRETS_KEY_TTL?"
        );
        assert_eq!(error("SEALED_SECRETS_CERT"), "the variable SEALED_SECRETS_CERT stands for no flag");
        assert!(error("SEALED_SECRETS_HELP").contains("stands for no flag"));
        assert!(error("SEALED_SECRETS_key_ttl").contains("stands for no flag"));
    }

    #[test]
    fn a_variable_with_a_wrong_value_is_named() {
        for (name, value, why) in [
            ("SEALED_SECRETS_KEY_TTL", "1d", "the units are h, m, s, ms, us and ns"),
            ("SEALED_SECRETS_SOPS", "yes", "must be true, false, 1, 0, t or f"),
            ("SEALED_SECRETS_PRIVATEKEY_LABELS", "a", "\"a\" has no `=`"),
            ("SEALED_SECRETS_LOG_FORMAT", "xml", "must be one of json, text"),
        ] {
            assert_eq!(arguments(&[], &[(name, value)]), Err(format!("the variable {name}: {why}")));
        }
    }

    #[test]
    fn variables_of_services_are_left_alone() {
        let variables = [
            ("SEALED_SECRETS_PORT", "tcp://10.0.0.1:8080"),
            ("SEALED_SECRETS_SERVICE_HOST", "10.0.0.1"),
            ("SEALED_SECRETS_SERVICE_PORT", "8080"),
            ("SEALED_SECRETS_SERVICE_PORT_HTTP", "8080"),
            ("SEALED_SECRETS_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
            ("SEALED_SECRETS_CONTROLLER_METRICS_SERVICE_HOST", "10.0.0.2"),
            ("SEALED_SECRETS_CONTROLLER_METRICS_PORT_8081_TCP_ADDR", "10.0.0.2"),
            ("SEALED_SECRETS_CONTROLLER_METRICS_PORT_8081_TCP_PROTO", "tcp"),
        ];
        assert_eq!(arguments(&[], &variables), Ok(Vec::new()));
        for name in [
            "SEALED_SECRETS_CONTROLLER_PORT",
            "SEALED_SECRETS_PORTS",
            "SEALED_SECRETS_PORT_HTTP_TCP",
            "SEALED_SECRETS_PORT_8080_TCP_NAME",
            "SEALED_SECRETS_SERVICE_PORT_",
        ] {
            let mut all = variables.to_vec();
            all.push((name, "x"));
            assert!(arguments(&[], &all).is_err(), "{name}");
        }
    }
}
