//! Durations as Go writes and reads them.

/// Returns a duration of nanoseconds as text, such as `1h2m3.5s`.
pub fn duration_text(duration: i64) -> String {
    let sign = if duration < 0 { "-" } else { "" };
    let value = duration.unsigned_abs();
    let (minute, hour) = (60 * SECOND, 3600 * SECOND);
    let text = match value {
        0 => "0s".to_owned(),
        1..1_000 => format!("{value}ns"),
        1_000..1_000_000 => format!("{}µs", fraction(value, 3)),
        1_000_000..SECOND => format!("{}ms", fraction(value, 6)),
        _ => {
            let seconds = fraction(value % minute, 9);
            let minutes = value / minute % 60;
            match value / hour {
                0 if minutes == 0 => format!("{seconds}s"),
                0 => format!("{minutes}m{seconds}s"),
                hours => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    };
    format!("{sign}{text}")
}

/// Writes `value` divided by a power of ten.
fn fraction(value: u64, digits: usize) -> String {
    let unit = 10_u64.pow(digits as u32);
    let rest = format!("{:0digits$}", value % unit);
    match rest.trim_end_matches('0') {
        "" => (value / unit).to_string(),
        rest => format!("{}.{rest}", value / unit),
    }
}

/// Why text is no duration.
#[derive(Debug, PartialEq, Eq)]
pub enum DurationFault {
    Invalid,
    MissingUnit,
    UnknownUnit(Vec<u8>),
}

/// Reads a duration.
pub fn parse_duration(text: &[u8]) -> Result<i64, DurationFault> {
    let (is_negative, mut rest) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if rest == b"0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(INVALID);
    }
    let mut total = 0_u64;
    while !rest.is_empty() {
        let whole_length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let mut value = leading(&rest[..whole_length]).ok_or(INVALID)?;
        rest = &rest[whole_length..];
        let (mut part, mut scale, mut part_length) = (0_u64, 1.0_f64, 0);
        if let [b'.', tail @ ..] = rest {
            part_length = tail.iter().take_while(|byte| byte.is_ascii_digit()).count();
            for digit in &tail[..part_length] {
                if part > (i64::MAX as u64) / 10 {
                    break;
                }
                part = part * 10 + u64::from(digit - b'0');
                scale *= 10.0;
            }
            rest = &tail[part_length..];
        }
        if whole_length == 0 && part_length == 0 {
            return Err(INVALID);
        }
        let unit_length = rest.iter().take_while(|&&byte| byte != b'.' && !byte.is_ascii_digit()).count();
        if unit_length == 0 {
            return Err(DurationFault::MissingUnit);
        }
        let name = &rest[..unit_length];
        let unit = unit(name).ok_or_else(|| DurationFault::UnknownUnit(name.to_vec()))?;
        rest = &rest[unit_length..];
        if value > LIMIT / unit {
            return Err(INVALID);
        }
        value *= unit;
        #[expect(clippy::cast_precision_loss, reason = "Go computes with the same precision")]
        if part > 0 {
            value += (part as f64 * (unit as f64 / scale)) as u64;
        }
        total = total.checked_add(value).filter(|total| *total <= LIMIT).ok_or(INVALID)?;
    }
    if is_negative {
        0_i64.checked_sub_unsigned(total).ok_or(INVALID)
    } else {
        i64::try_from(total).map_err(|_| INVALID)
    }
}

fn leading(digits: &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for digit in digits {
        value =
            value.checked_mul(10)?.checked_add(u64::from(digit - b'0')).filter(|value| *value <= LIMIT)?;
    }
    Some(value)
}

fn unit(name: &[u8]) -> Option<u64> {
    Some(match std::str::from_utf8(name).ok()? {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => SECOND,
        "m" => 60 * SECOND,
        "h" => 3600 * SECOND,
        _ => return None,
    })
}

/// Rounds a duration to a multiple of another, halves away from zero.
pub fn round_duration(duration: i64, multiple: i64) -> i64 {
    if multiple <= 0 {
        return duration;
    }
    let rest = (duration % multiple).abs();
    let is_down = (rest as u64) * 2 < multiple as u64;
    match (duration < 0, is_down) {
        (true, true) => duration + rest,
        (false, true) => duration - rest,
        (true, false) => duration.checked_sub(multiple - rest).unwrap_or(i64::MIN),
        (false, false) => duration.checked_add(multiple - rest).unwrap_or(i64::MAX),
    }
}

/// Rounds a duration towards zero to a multiple of another.
pub fn truncate_duration(duration: i64, multiple: i64) -> i64 {
    if multiple <= 0 { duration } else { duration - duration % multiple }
}

const SECOND: u64 = 1_000_000_000;
const LIMIT: u64 = 1 << 63;
const INVALID: DurationFault = DurationFault::Invalid;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        let cases = [
            ("1h2m3.5s", Ok("1h2m3.5s")),
            ("-90m", Ok("-1h30m0s")),
            ("1.5us", Ok("1.5µs")),
            ("0", Ok("0s")),
            ("1", Err(DurationFault::MissingUnit)),
            ("", Err(INVALID)),
            ("99999999999h", Err(INVALID)),
        ];
        for (text, expected) in cases {
            let read = parse_duration(text.as_bytes()).map(duration_text);
            assert_eq!(read, expected.map(str::to_owned), "{text}");
        }
    }
}
