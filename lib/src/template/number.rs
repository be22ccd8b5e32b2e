//! Numbers as Go's `strconv` reads them.

/// Reads a signed integer; base 0 looks at a prefix, and allows `_` between digits.
pub fn parse_int(text: &str, base: u32) -> Option<i64> {
    let (is_negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let value = parse_uint_of(digits, base, text)?;
    if is_negative { 0_i64.checked_sub_unsigned(value) } else { i64::try_from(value).ok() }
}

/// Reads an unsigned integer.
pub fn parse_uint(text: &str, base: u32) -> Option<u64> {
    parse_uint_of(text, base, text)
}

fn parse_uint_of(digits: &str, base: u32, whole: &str) -> Option<u64> {
    if base != 0 {
        let is_number = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(base));
        return is_number.then(|| u64::from_str_radix(digits, base).ok()).flatten();
    }
    let (base, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', _, ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', _, ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', _, ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if !digits.contains('_') {
        return parse_uint_of(digits, base, whole);
    }
    underscores_are_right(whole).then(|| parse_uint_of(&digits.replace('_', ""), base, whole)).flatten()
}

/// Reads a floating point number; `None` for what is none, and for what is too large.
pub fn parse_float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if unsigned.eq_ignore_ascii_case("nan") {
        return (unsigned.len() == text.len()).then_some(f64::NAN);
    }
    if unsigned.eq_ignore_ascii_case("inf") || unsigned.eq_ignore_ascii_case("infinity") {
        return Some(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY });
    }
    let without;
    let mut number = text;
    if text.contains('_') {
        if !underscores_are_right(text) {
            return None;
        }
        without = text.replace('_', "");
        number = &without;
    }
    let value = if unsigned.starts_with("0x") || unsigned.starts_with("0X") {
        hexadecimal(number)?
    } else {
        let is_plain = number
            .bytes()
            .all(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E'));
        is_plain.then(|| number.parse::<f64>().ok()).flatten()?
    };
    value.is_finite().then_some(value)
}

fn hexadecimal(text: &str) -> Option<f64> {
    let is_negative = text.starts_with('-');
    let digits = &text.strip_prefix(['+', '-']).unwrap_or(text)[2..];
    let (mantissa, exponent) = digits.split_once(['p', 'P'])?;
    let exponent_digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if exponent_digits.is_empty() || !exponent_digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mut exponent: i64 = exponent_digits.parse().unwrap_or(100_000);
    if text.contains("p-") || text.contains("P-") {
        exponent = -exponent;
    }
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut value: u64 = 0;
    for (index, digit) in whole.chars().chain(fraction.chars()).enumerate() {
        let digit = u64::from(digit.to_digit(16)?);
        let is_fraction = index >= whole.len();
        if value >> 59 == 0 {
            value = value << 4 | digit;
            exponent -= if is_fraction { 4 } else { 0 };
        } else {
            // What does not fit only matters for rounding.
            value |= u64::from(digit != 0);
            exponent += if is_fraction { 0 } else { 4 };
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "this is the one rounding")]
    let mut result = value as f64;
    while exponent > 0 && result.is_finite() && result != 0.0 {
        let step = exponent.min(1000);
        result *= 2_f64.powi(step as i32);
        exponent -= step;
    }
    while exponent < 0 && result != 0.0 {
        let step = (-exponent).min(1000);
        result /= 2_f64.powi(step as i32);
        exponent += step;
    }
    Some(if is_negative { -result } else { result })
}

/// Returns whether each `_` stands between digits, or behind the prefix.
fn underscores_are_right(text: &str) -> bool {
    let text = text.strip_prefix(['+', '-']).unwrap_or(text).as_bytes();
    let (mut saw, mut is_hex, mut rest) = (b'^', false, text);
    if let [b'0', prefix @ (b'b' | b'B' | b'o' | b'O' | b'x' | b'X'), tail @ ..] = text {
        (saw, is_hex, rest) = (b'0', matches!(prefix, b'x' | b'X'), tail);
    }
    for &byte in rest {
        if byte.is_ascii_digit() || (is_hex && byte.is_ascii_hexdigit()) {
            saw = b'0';
        } else if byte == b'_' {
            if saw != b'0' {
                return false;
            }
            saw = b'_';
        } else if saw == b'_' {
            return false;
        } else {
            saw = b'!';
        }
    }
    saw != b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_have_prefixes_and_underscores() {
        let cases = [
            ("0x1F", Some(31)),
            ("-0b1_0", Some(-2)),
            ("0o17", Some(15)),
            ("017", Some(15)),
            ("1__0", None),
            ("_1", None),
            ("08", None),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_int(text, 0), expected, "{text}");
        }
    }

    #[test]
    fn floats_may_be_hexadecimal() {
        let cases = [
            ("0x1p-2", Some(0.25)),
            ("0x1.8p1", Some(3.0)),
            ("1_0.5", Some(10.5)),
            ("0x1", None),
            ("1e999", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_float(text), expected, "{text}");
        }
    }
}
