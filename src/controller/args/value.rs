//! The values of flags.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use selkie::sealed::{Collision, KeySize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use crate::controller::settings::KeyOrder;
use crate::controller::telemetry::LogFormat;

/// A value that may be none, of a flag that has one nevertheless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given<T>(pub Option<T>);

/// Reads a truth value as Go does.
pub fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err("must be true, false, 1, 0, t or f".to_owned()),
    }
}

/// Reads what the names of key Secrets begin with. The API server puts five characters behind it.
pub fn key_prefix(text: &str) -> Result<String, String> {
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if text.is_empty() || text.len() > 245 || text.starts_with('-') || !text.bytes().all(is_allowed) {
        return Err("must be 1 to 245 lower case letters, digits and `-`, none of them first".to_owned());
    }
    Ok(text.to_owned())
}

/// Reads the size of a key.
pub fn key_size(text: &str) -> Result<KeySize, String> {
    let found = KeySize::ALL.into_iter().find(|size| size.bits().to_string() == text);
    found.ok_or_else(|| {
        let known: Vec<_> = KeySize::ALL.iter().map(|size| size.bits().to_string()).collect();
        format!("keys can have these sizes: {}", known.join(", "))
    })
}

/// Reads what tells the newest key.
pub fn key_order() -> impl TypedValueParser<Value = KeyOrder> {
    choice(&[
        ("CertNotBefore", KeyOrder::CertNotBefore),
        ("SecretCreationTimestamp", KeyOrder::SecretCreationTimestamp),
    ])
}

/// Reads what counts if an item and a template have the same name.
pub fn collision() -> impl TypedValueParser<Value = Collision> {
    choice(&[("item", Collision::Item), ("template", Collision::Template)])
}

/// Reads a level of logs.
pub fn level() -> impl TypedValueParser<Value = tracing::Level> {
    choice(&[
        ("DEBUG", tracing::Level::DEBUG),
        ("INFO", tracing::Level::INFO),
        ("WARN", tracing::Level::WARN),
        ("ERROR", tracing::Level::ERROR),
    ])
}

/// Reads a format of logs.
pub fn log_format() -> impl TypedValueParser<Value = LogFormat> {
    choice(&[("json", LogFormat::Json), ("text", LogFormat::Text)])
}

/// Reads one of some words.
fn choice<T: Copy + Send + Sync + 'static>(
    words: &'static [(&'static str, T)],
) -> impl TypedValueParser<Value = T> {
    let parser = PossibleValuesParser::new(words.iter().map(|(word, _)| PossibleValue::new(*word)));
    parser.try_map(|text| {
        let found = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(&text));
        found.map(|(_, value)| *value).ok_or("it is none of the words")
    })
}

/// Reads a time as RFC 1123 has it, with a zone in digits; nothing stands for none.
pub fn cutoff(text: &str) -> Result<Given<OffsetDateTime>, String> {
    if text.is_empty() {
        return Ok(Given(None));
    }
    let time = OffsetDateTime::parse(text, &Rfc2822);
    time.map(|time| Given(Some(time)))
        .map_err(|_| "must be a time such as Mon, 02 Jan 2006 15:04:05 -0700".to_owned())
}

/// Reads annotations.
pub fn annotations(text: &str) -> Result<BTreeMap<String, String>, String> {
    pairs(text)
}

/// Reads labels.
pub fn labels(text: &str) -> Result<BTreeMap<String, String>, String> {
    let labels = pairs(text)?;
    match labels.iter().find(|(_, value)| !value.is_empty() && !is_name(value)) {
        None => Ok(labels),
        Some((key, _)) => Err(format!("the value of {key} cannot be that of a label")),
    }
}

fn pairs(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut pairs = BTreeMap::new();
    for entry in text.split(',').filter(|_| !text.is_empty()) {
        let (key, value) = entry.split_once('=').ok_or_else(|| format!("{entry:?} has no `=`"))?;
        let (key, value) = (key.trim(), value.trim());
        if !is_key(key) {
            return Err(format!("{key:?} cannot be the key of an annotation or label"));
        }
        if pairs.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(format!("{key} is there twice"));
        }
    }
    Ok(pairs)
}

/// Returns whether Kubernetes takes a key of labels and annotations, such as `example.com/name`.
fn is_key(key: &str) -> bool {
    match key.split_once('/') {
        None => is_name(key),
        Some((domain, name)) => object_name(domain).is_ok() && is_name(name),
    }
}

fn is_name(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let has_ends = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    text.len() <= 63
        && text.bytes().all(is_inner)
        && has_ends(text.bytes().next())
        && has_ends(text.bytes().last())
}

/// Reads namespaces. The same one may be there twice, and there may be spaces, as in values of charts.
pub fn namespaces(text: &str) -> Result<BTreeSet<String>, String> {
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    names
        .map(|name| match object_name(name) {
            Ok(name) if name.len() <= 63 && !name.contains('.') => Ok(name),
            _ => Err(format!("{name:?} cannot be the name of a namespace")),
        })
        .collect()
}

/// Reads a label selector, such as `app=a,tier in (b,c),!d`.
pub fn label_selector(text: &str) -> Result<String, String> {
    let text = text.trim();
    match text.is_empty() || requirements(text).into_iter().all(is_requirement) {
        true => Ok(text.to_owned()),
        false => Err("must be a label selector, such as app=a,tier in (b,c),!d".to_owned()),
    }
}

/// Returns what a selector asks for: it has commas between its parts, and in parentheses.
fn requirements(text: &str) -> Vec<&str> {
    let mut is_inside = false;
    text.split(|letter| {
        is_inside = (is_inside || letter == '(') && letter != ')';
        letter == ',' && !is_inside
    })
    .map(str::trim)
    .collect()
}

fn is_requirement(text: &str) -> bool {
    let is_value = |value: &str| value.trim().is_empty() || is_name(value.trim());
    if let Some(key) = text.strip_prefix('!') {
        return is_key(key.trim());
    }
    if let Some((start, values)) = text.split_once('(') {
        let mut words = start.split_whitespace();
        let has_key = words.next().is_some_and(is_key);
        let has_operator = words.next().is_some_and(|word| matches!(word, "in" | "notin"));
        let values = values.strip_suffix(')');
        let has_values = values.is_some_and(|values| values.split(',').all(is_value));
        return has_key && has_operator && has_values && words.next().is_none();
    }
    for operator in ["!=", "==", "=", ">", "<"] {
        if let Some((key, value)) = text.split_once(operator) {
            return is_key(key.trim()) && is_value(value);
        }
    }
    is_key(text)
}

/// Reads the name of an object.
pub fn object_name(text: &str) -> Result<String, String> {
    let is_label = |label: &str| {
        let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !label.is_empty() && !label.starts_with('-') && !label.ends_with('-') && label.bytes().all(is_inner)
    };
    match text.len() <= 253 && text.split('.').all(is_label) {
        true => Ok(text.to_owned()),
        false => Err("must be lower case letters, digits, `-` and `.`, as names of objects are".to_owned()),
    }
}

/// Reads the name of a replica, which is part of the name of an object; nothing stands for the usual one.
pub fn identity(text: &str) -> Result<String, String> {
    if text.is_empty() { Ok(String::new()) } else { object_name(text) }
}

/// Reads how many requests there may be a second: `None` for any number. As for the client of Go, 0 is the usual.
pub fn qps(text: &str) -> Result<Given<f64>, String> {
    match text.parse::<f64>() {
        Ok(0.0) => Ok(Given(Some(5.0))),
        Ok(number) if number < 0.0 => Ok(Given(None)),
        // Fewer would wait longer than anybody does.
        Ok(number) if (0.001..=1_000_000.0).contains(&number) => Ok(Given(Some(number))),
        _ => Err("must be a number from 0.001 to 1000000, or a negative one".to_owned()),
    }
}

/// Reads an address to listen on. As for Go, one without a host is every address of this machine.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    let why = || "must be an address such as :8080, 127.0.0.1:8080 or [::1]:8080".to_owned();
    let (host, port) = text.rsplit_once(':').ok_or_else(why)?;
    let port: u16 = port.parse().map_err(|_| why())?;
    let host: IpAddr = match host {
        "" => Ipv6Addr::UNSPECIFIED.into(),
        "localhost" => IpAddr::from([127, 0, 0, 1]),
        host => match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(host) => host.parse::<Ipv6Addr>().map_err(|_| why())?.into(),
            None => host.parse::<std::net::Ipv4Addr>().map_err(|_| why())?.into(),
        },
    };
    Ok(SocketAddr::new(host, port))
}

/// Reads how many bytes a request may have.
pub fn body_size(text: &str) -> Result<usize, String> {
    let size = text.parse().ok().filter(|size| (1024..=64 << 20).contains(size));
    size.ok_or_else(|| "must be a number from 1024 to 67108864".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truth_values_are_those_of_go() {
        assert_eq!(boolean("T"), Ok(true));
        assert_eq!(boolean("0"), Ok(false));
        for text in ["", "yes", "on", "tRue", "2"] {
            assert!(boolean(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_prefix_of_key_secrets_leaves_room_for_what_the_server_adds() {
        assert!(key_prefix(&"a".repeat(245)).is_ok());
        for text in ["", "-a", "A", "a.b", "a_b", &"a".repeat(246)] {
            assert!(key_prefix(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn sizes_of_keys_are_those_that_can_be_made() {
        assert_eq!(key_size("2048"), Ok(KeySize::Rsa2048));
        assert_eq!(key_size("1024"), Err("keys can have these sizes: 2048, 3072, 4096, 8192".to_owned()));
        assert!(key_size("04096").is_err());
    }

    #[test]
    fn times_have_a_zone_in_digits() {
        let seconds = |text| cutoff(text).map(|time| time.0.map(OffsetDateTime::unix_timestamp));
        assert_eq!(seconds("Mon, 02 Jan 2006 15:04:05 -0700"), Ok(Some(1_136_239_445)));
        assert_eq!(seconds("Fri, 24 May 2024 00:00:00 +0000"), Ok(Some(1_716_508_800)));
        assert_eq!(seconds(""), Ok(None));
        for text in ["2006-01-02T15:04:05Z", "Mon, 02 Jan 2006", "tomorrow"] {
            assert!(cutoff(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn annotations_and_labels_have_keys_and_values() {
        let pairs = annotations("a=b, example.com/c=d=e,f=").expect("they are pairs");
        let pairs: Vec<_> = pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("a", "b"), ("example.com/c", "d=e"), ("f", "")]);
        assert_eq!(annotations(""), Ok(BTreeMap::new()));
        assert_eq!(annotations("a=b,c"), Err("\"c\" has no `=`".to_owned()));
        for text in ["=b", "a b=c", "a=b,", "a=b,a=c", "a/b/c=d", "Example.com/a=b"] {
            assert!(annotations(text).is_err(), "{text:?}");
        }
        assert!(annotations("a=b c").is_ok());
        assert!(labels("a=b c").is_err_and(|why| !why.contains("b c")));
    }

    #[test]
    fn namespaces_are_a_set() {
        let names = namespaces("b, a,,b").expect("they are names");
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["a", "b"]);
        for text in ["A", "a.b", "a_b", "-a", &"a".repeat(64)] {
            assert!(namespaces(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn label_selectors_are_those_of_kubernetes() {
        for text in
            ["", "a", "!a", "a=b", "a==b,c!=d", "a in (b, c),d notin (e)", "x.io/a=b, !c", "a=", "a>1"]
        {
            assert!(label_selector(text).is_ok(), "{text:?}");
        }
        for text in
            ["=", "a=b c", "a,,b", "a in b", "a in (b", "a on (b)", "a in (b) c", "a b", "!", "a=b=c", "(a)"]
        {
            assert!(label_selector(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn how_often_the_server_is_asked_has_a_usual_value_and_an_end() {
        assert_eq!(qps("0"), Ok(Given(Some(5.0))));
        assert_eq!(qps("-1"), Ok(Given(None)));
        assert_eq!(qps("2.5"), Ok(Given(Some(2.5))));
        for text in ["NaN", "inf", "1e9", "", "fast"] {
            assert!(qps(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn addresses_without_a_host_are_all_of_them() {
        let read = |text| address(text).map(|address| address.to_string());
        assert_eq!(read(":8080").as_deref(), Ok("[::]:8080"));
        assert_eq!(read("127.0.0.1:1").as_deref(), Ok("127.0.0.1:1"));
        assert_eq!(read("[::1]:1").as_deref(), Ok("[::1]:1"));
        assert_eq!(read("localhost:0").as_deref(), Ok("127.0.0.1:0"));
        for text in ["8080", "", ":", ":http", "::1:80:", "host:80", "1.2.3.4", ":65536"] {
            assert!(read(text).is_err(), "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_stops_the_program(text in "[-a-zA-Z0-9=,()!.:/\\[\\] ]{0,24}") {
            drop((annotations(&text), label_selector(&text), address(&text), namespaces(&text), cutoff(&text)));
        }
    }
}
