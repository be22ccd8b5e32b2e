//! What a scalar without quotes means to go-yaml v3: a hybrid of YAML 1.1 and 1.2.
//!
//! Invariant: [`resolve`] gives the type and the value that sops encrypts; where YAML 1.2 disagrees,
//! sops wins.

/// What a scalar means.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scalar {
    /// `true` or `false`.
    Bool(bool),
    /// A number with a fraction, an exponent, or more digits than 64 bits hold.
    Float(f64),
    /// An integer.
    Int(i64),
    /// Nothing.
    Null,
    /// The text as it is.
    Text,
    /// A point in time, as RFC 3339 text in the form that SOPS hashes.
    Time(String),
    /// An integer above `i64::MAX`.
    Unsigned(u64),
}

/// The part of a tag's name that says it is one of YAML's own types.
pub(crate) const CORE_TAG: &str = "tag:yaml.org,2002:";

/// Returns what `text` means under a full tag name, or without one.
///
/// Returns `None` if the tag demands a type that the text does not have.
pub(super) fn resolve(tag: Option<&str>, text: &str) -> Option<Scalar> {
    let Some(tag) = tag.filter(|tag| *tag != "!") else { return Some(resolve_plain(text)) };
    let name = tag.strip_prefix(CORE_TAG).or_else(|| tag.strip_prefix("!!"));
    let untimed = || resolve_untimed(text);
    match (name, name.map(|_| untimed())) {
        (Some("bool"), Some(scalar @ Scalar::Bool(_))) => Some(scalar),
        (Some("null"), Some(Scalar::Null)) => Some(Scalar::Null),
        (Some("int"), Some(scalar @ (Scalar::Int(_) | Scalar::Unsigned(_)))) => Some(scalar),
        (Some("float"), Some(scalar @ Scalar::Float(_))) => Some(scalar),
        (Some("float"), Some(Scalar::Int(value))) => Some(Scalar::Float(value as f64)),
        (Some("timestamp"), _) => parse_time(text).map(Scalar::Time),
        (Some("bool" | "null" | "int" | "float"), _) => None,
        _ => Some(Scalar::Text),
    }
}

/// Returns what `text` means without quotes and without a tag.
pub(super) fn resolve_plain(text: &str) -> Scalar {
    parse_time(text).map_or_else(|| resolve_untimed(text), Scalar::Time)
}

/// Returns what `text` means without quotes and without a tag to go-yaml v2, which reads YAML 1.1.
pub(crate) fn resolve_v2(text: &str) -> Scalar {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => return Scalar::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => return Scalar::Bool(false),
        _ => {}
    }
    let plain = text.replace('_', "");
    let digits = plain.strip_prefix("0o");
    // A sign behind this prefix is what v3 alone reads.
    if text.starts_with('0') && digits.is_some_and(|digits| digits.starts_with(['+', '-'])) {
        return Scalar::Text;
    }
    resolve_plain(text)
}

/// Returns whether a full tag name stands for base64.
pub(super) fn is_binary(tag: &str) -> bool {
    tag.strip_prefix(CORE_TAG).or_else(|| tag.strip_prefix("!!")) == Some("binary")
}

fn resolve_untimed(text: &str) -> Scalar {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Scalar::Null,
        "true" | "True" | "TRUE" => return Scalar::Bool(true),
        "false" | "False" | "FALSE" => return Scalar::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Scalar::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Scalar::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Scalar::Float(f64::NEG_INFINITY),
        _ => {}
    }
    match text.as_bytes()[0] {
        // Go's own rule for underscores: between digits.
        b'.' if has_stray_underscore(text) => Scalar::Text,
        b'.' => parse_float(&text.replace('_', "")).map_or(Scalar::Text, Scalar::Float),
        // go-yaml's rule for them: anywhere.
        b'+' | b'-' | b'0'..=b'9' if text.contains('_') => resolve_number(&text.replace('_', "")),
        b'+' | b'-' | b'0'..=b'9' => resolve_number(text),
        _ => Scalar::Text,
    }
}

fn has_stray_underscore(text: &str) -> bool {
    let is_digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_digit);
    let bytes = text.as_bytes();
    let is_stray = |(at, byte): (usize, &u8)| {
        *byte == b'_' && !(is_digit(bytes.get(at.wrapping_sub(1))) && is_digit(bytes.get(at + 1)))
    };
    bytes.iter().enumerate().any(is_stray)
}

fn resolve_number(text: &str) -> Scalar {
    parse_integer(text)
        .or_else(|| parse_float(text).map(Scalar::Float))
        .or_else(|| parse_signed_behind_prefix(text))
        .unwrap_or(Scalar::Text)
}

/// Reads an integer as Go's `ParseInt` and `ParseUint` do with base 0.
fn parse_integer(text: &str) -> Option<Scalar> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'b' | b'B', _, ..] => (2, &digits[2..]),
        [b'0', b'o' | b'O', _, ..] => (8, &digits[2..]),
        [b'0', b'x' | b'X', _, ..] => (16, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    if text.starts_with('-') {
        return 0_i64.checked_sub_unsigned(magnitude).map(Scalar::Int);
    }
    match i64::try_from(magnitude) {
        Ok(value) => Some(Scalar::Int(value)),
        Err(_) if text.starts_with('+') => None,
        Err(_) => Some(Scalar::Unsigned(magnitude)),
    }
}

/// Reads a decimal number with optional fraction and exponent; `None` for infinities as well.
fn parse_float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let is_mantissa = match mantissa.split_once('.') {
        Some((whole, fraction)) => all_digits(whole) && all_digits(fraction) && mantissa.len() > 1,
        None => all_digits(mantissa) && !mantissa.is_empty(),
    };
    let is_exponent = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        all_digits(digits) && !digits.is_empty()
    });
    (is_mantissa && is_exponent).then(|| text.parse::<f64>().ok())?.filter(|value| value.is_finite())
}

/// Reads `0b-101` and `0o-17`, whose sign stands behind the prefix: go-yaml takes them as integers.
fn parse_signed_behind_prefix(text: &str) -> Option<Scalar> {
    let (radix, digits) = match (text.strip_prefix("0b"), text.strip_prefix("0o")) {
        (Some(digits), _) => (2, digits),
        (_, Some(digits)) => (8, digits),
        _ => return None,
    };
    i64::from_str_radix(digits, radix).ok().map(Scalar::Int)
}

/// Reads the timestamps that go-yaml knows, and returns them as RFC 3339 text.
///
/// Month, day, hour, minute and second may have one digit; the fraction may follow a comma.
fn parse_time(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    // Nearly every scalar ends here.
    if bytes.get(4) != Some(&b'-') || !bytes[..4].iter().all(u8::is_ascii_digit) {
        return None;
    }
    let year: u16 = text[..4].parse().ok()?;
    let mut rest = &bytes[5..];
    let month = take_number(&mut rest)?;
    take_byte(&mut rest, b"-")?;
    let day = take_number(&mut rest)?;
    if !(1..=12).contains(&month) || day == 0 || day > days_of(year, month) {
        return None;
    }
    let date = format!("{year:04}-{month:02}-{day:02}");
    if rest.is_empty() {
        return Some(date + "T00:00:00Z");
    }
    let separator = take_byte(&mut rest, b"Tt ")?;
    if separator == b' ' {
        rest = rest.iter().position(|&byte| byte != b' ').map_or(&[], |spaces| &rest[spaces..]);
    }
    let clock = take_clock(&mut rest)?;
    let zone = if separator == b' ' { "Z".to_owned() } else { take_zone(&mut rest)? };
    rest.is_empty().then(|| format!("{date}T{clock}{zone}"))
}

fn take_clock(rest: &mut &[u8]) -> Option<String> {
    let hour = take_number(rest)?;
    take_byte(rest, b":")?;
    let minute = take_number(rest)?;
    take_byte(rest, b":")?;
    let second = take_number(rest)?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut clock = format!("{hour:02}:{minute:02}:{second:02}");
    if matches!(**rest, [b'.' | b',', b'0'..=b'9', ..]) {
        let digits = rest[1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let fraction = String::from_utf8_lossy(&rest[1..=digits.min(9)]).into_owned();
        let fraction = fraction.trim_end_matches('0');
        if !fraction.is_empty() {
            clock = clock + "." + fraction;
        }
        *rest = &rest[1 + digits..];
    }
    Some(clock)
}

fn take_zone(rest: &mut &[u8]) -> Option<String> {
    if take_byte(rest, b"Z").is_some() {
        return Some("Z".to_owned());
    }
    let [b'+' | b'-', hour_tens, hour_ones, b':', minute_tens, minute_ones] = **rest else { return None };
    let digits = [hour_tens, hour_ones, minute_tens, minute_ones];
    // Go reads offsets up to 24:60, but sops cannot write them again.
    let in_range = digits.iter().all(u8::is_ascii_digit)
        && digits[..2] <= *b"23".as_slice()
        && digits[2..] <= *b"59".as_slice();
    if !in_range {
        return None;
    }
    let zone = if digits == *b"0000" { "Z".to_owned() } else { String::from_utf8_lossy(rest).into_owned() };
    *rest = &[];
    Some(zone)
}

fn take_number(rest: &mut &[u8]) -> Option<u16> {
    let length = rest.iter().take(2).take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, others) = rest.split_at(length);
    *rest = others;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn take_byte(rest: &mut &[u8], allowed: &[u8]) -> Option<u8> {
    let (&first, others) = rest.split_first()?;
    allowed.contains(&first).then(|| {
        *rest = others;
        first
    })
}

const fn days_of(year: u16, month: u16) -> u16 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}
