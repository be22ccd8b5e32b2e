//! Durations as Go writes them, such as `720h0m0s`.

use std::time::Duration;

/// Reads a duration.
///
/// # Errors
/// If the text is none, or one that is less than nothing.
pub fn parse(text: &str) -> Result<Duration, String> {
    nanoseconds(text).map(Duration::from_nanos)
}

/// Reads a duration of more than nothing.
///
/// # Errors
/// If the text is none.
pub fn positive(text: &str) -> Result<Duration, String> {
    let duration = parse(text)?;
    if duration.is_zero() { Err("must be more than 0s".to_owned()) } else { Ok(duration) }
}

/// Reads a duration of a second or more.
///
/// # Errors
/// If the text is none.
pub fn at_least_a_second(text: &str) -> Result<Duration, String> {
    let duration = parse(text)?;
    if duration < Duration::from_secs(1) { Err("must be 1s or more".to_owned()) } else { Ok(duration) }
}

fn nanoseconds(text: &str) -> Result<u64, String> {
    if let Some(rest) = text.strip_prefix('-') {
        return if nanoseconds(rest)? == 0 { Ok(0) } else { Err("must not be less than 0s".to_owned()) };
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(NONE.to_owned());
    }
    let mut total = 0_u64;
    while !rest.is_empty() {
        let (number, tail) = split(rest, |letter| letter.is_ascii_digit() || letter == '.');
        let (name, tail) = split(tail, |letter| !letter.is_ascii_digit() && letter != '.');
        if name.is_empty() {
            return Err("a number needs a unit behind it, such as 30s".to_owned());
        }
        let unit = unit(name).ok_or("the units are h, m, s, ms, us and ns")?;
        total = of_units(number, unit).and_then(|part| total.checked_add(part)).ok_or(NONE)?;
        rest = tail;
    }
    // The greatest one of Go.
    i64::try_from(total).map(|_| total).map_err(|_| "must be at most 2562047h".to_owned())
}

/// Returns the nanoseconds of so many units. What is less than one is left out.
fn of_units(number: &str, unit: u64) -> Option<u64> {
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && part.is_empty()) || part.contains('.') {
        return None;
    }
    let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()? };
    let mut nanoseconds = whole.checked_mul(unit)?;
    let mut place = unit;
    for digit in part.bytes() {
        place /= 10;
        nanoseconds = nanoseconds.checked_add(u64::from(digit - b'0') * place)?;
    }
    Some(nanoseconds)
}

fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|letter| !belongs(letter)).unwrap_or(text.len()))
}

fn unit(name: &str) -> Option<u64> {
    Some(match name {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60 * 1_000_000_000,
        "h" => 3_600 * 1_000_000_000,
        _ => return None,
    })
}

const NONE: &str = "must be a duration, such as 720h0m0s";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_go() {
        for (text, milliseconds) in [
            ("720h0m0s", 720 * 3_600_000),
            ("87600h0m0s", 87_600 * 3_600_000),
            ("2m", 120_000),
            ("1h2m3.5s", 3_723_500),
            ("1.5h", 5_400_000),
            (".5s", 500),
            ("5.s", 5_000),
            ("+3s", 3_000),
            ("0", 0),
            ("-0", 0),
            ("0s", 0),
            ("1500us", 1),
            ("100ms", 100),
        ] {
            assert_eq!(parse(text).map(|duration| duration.as_millis()), Ok(milliseconds), "{text}");
        }
        assert_eq!(parse("1.5µs"), Ok(Duration::from_nanos(1500)));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in
            ["", "-", "+", "30", "s", "1d", "1h2", "1..5s", ".s", "1 h", "-1s", "9999999999h", "1.5", "--1s"]
        {
            assert!(parse(text).is_err(), "{text:?}");
        }
        assert!(parse("30").is_err_and(|why| why.contains("unit")));
        assert!(parse("-1s").is_err_and(|why| why.contains("less than 0s")));
        assert!(parse("9223372036854775807ns").is_ok());
        assert!(parse("9223372036854775808ns").is_err());
    }

    #[test]
    fn some_durations_must_not_be_too_short() {
        assert_eq!(positive("0s"), Err("must be more than 0s".to_owned()));
        assert_eq!(positive("1ns"), Ok(Duration::from_nanos(1)));
        assert!(at_least_a_second("999ms").is_err());
        assert_eq!(at_least_a_second("1s"), Ok(Duration::from_secs(1)));
    }

    proptest::proptest! {
        #[test]
        fn no_text_stops_the_program(text in "[-+.0-9hmsuµnx]{0,24}") {
            drop(parse(&text));
        }

        #[test]
        fn durations_are_read_as_they_were_written(hours in 0_u64..100_000, minutes in 0_u64..60, seconds in 0_u64..60) {
            let text = format!("{hours}h{minutes}m{seconds}s");
            proptest::prop_assert_eq!(parse(&text), Ok(Duration::from_secs((hours * 60 + minutes) * 60 + seconds)));
        }
    }
}
