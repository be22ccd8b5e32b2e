//! Floating point numbers as Go writes them: SOPS hashes and prints that text.
//!
//! Source: the documentation of `strconv.FormatFloat`, formats `f` and `g` with the shortest precision.

/// Writes a number without an exponent (`f`, -1), as SOPS encrypts and hashes it.
#[must_use]
pub fn go_fixed(value: f64) -> String {
    not_finite(value).map_or_else(|| fixed(value, &Shortest::of(value)), str::to_owned)
}

/// Writes a number with an exponent if its decimal exponent is below `low` or at least `high`
/// (`g`, -1 has -4 and 21; `go-yaml` prints with 21 changed to 6 by the shortest form of `%g`).
#[must_use]
pub fn go_general(value: f64, low: i32, high: i32) -> String {
    general(value, &Shortest::of(value), low, high)
}

/// Writes a number of 64 bits as [`go_general`] does, with the digits that a number of 32 bits needs.
#[must_use]
pub fn go_general_single(value: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "the nearest number of 32 bits is what Go writes")]
    let value = value as f32;
    general(f64::from(value), &Shortest::of_single(value), -4, 6)
}

fn general(value: f64, shortest: &Shortest, low: i32, high: i32) -> String {
    if let Some(text) = not_finite(value) {
        return text.to_owned();
    }
    let exponent = shortest.exponent;
    if value == 0.0 || (low..high).contains(&exponent) {
        return fixed(value, shortest);
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    let (first, rest) = shortest.digits.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    format!("{}{first}{point}{rest}e{sign}{:02}", minus(value), exponent.abs())
}

/// The fewest digits that read back as a number, and the exponent of the first.
struct Shortest {
    digits: String,
    exponent: i32,
}

impl Shortest {
    fn of(value: f64) -> Self {
        let reads_back = |text: &str| text.parse() == Ok(value.abs());
        // Up to 15 digits every number has one that reads back, not two.
        let safe = if value.is_subnormal() { 0 } else { 15 };
        Self::new(value, &format!("{:e}", value.abs()), safe, reads_back)
    }

    fn of_single(value: f32) -> Self {
        let reads_back = |text: &str| text.parse() == Ok(value.abs());
        let safe = if value.is_subnormal() { 0 } else { 6 };
        Self::new(f64::from(value), &format!("{:e}", value.abs()), safe, reads_back)
    }

    /// `scientific` is a number without its sign, of which no two forms with `safe` digits are the same number.
    fn new(value: f64, scientific: &str, safe: usize, reads_back: impl Fn(&str) -> bool) -> Self {
        let Some((mantissa, exponent)) = scientific.split_once('e') else {
            return Self { digits: String::new(), exponent: 0 };
        };
        let exponent = exponent.parse().expect("`e` formats a decimal exponent");
        let digits = mantissa.replace('.', "");
        let may_be_one_of_two = is_odd(&digits) && digits.len() > safe;
        let even = may_be_one_of_two.then(|| even_of_two(value, &digits, reads_back)).flatten();
        Self { digits: even.unwrap_or(digits), exponent }
    }
}

/// Two shortest numbers may be equally near, one on each side. Rust takes the greater, Go the even one;
/// the MAC is over these digits. Returns the smaller one if `digits` is the odd one of such two.
fn even_of_two(value: f64, digits: &str, reads_back: impl Fn(&str) -> bool) -> Option<String> {
    // No exact half has more digits than the smallest number.
    let exact = format!("{:.*e}", 1074, value.abs());
    let (mantissa, exponent) = exact.split_once('e').expect("`e` formats with an exponent");
    let exact = mantissa.replace('.', "");
    let (before, after) = exact.split_at_checked(digits.len())?;
    let is_half = after.strip_prefix('5').is_some_and(|rest| rest.bytes().all(|digit| digit == b'0'));
    // Below a power of two numbers are nearer to each other, so that the smaller one may be another.
    let (first, rest) = before.split_at_checked(1)?;
    let reads_back = reads_back(&format!("{first}.{rest}e{exponent}"));
    (is_half && !is_odd(before) && reads_back).then(|| before.to_owned())
}

fn is_odd(digits: &str) -> bool {
    digits.bytes().last().is_some_and(|digit| digit % 2 == 1)
}

fn fixed(value: f64, shortest: &Shortest) -> String {
    let Shortest { digits, exponent } = shortest;
    let minus = minus(value);
    let whole = usize::try_from(exponent + 1).unwrap_or(0);
    if whole == 0 {
        let zeros = "0".repeat(exponent.unsigned_abs() as usize - 1);
        return format!("{minus}0.{zeros}{digits}");
    }
    match digits.split_at_checked(whole) {
        None => format!("{minus}{digits}{}", "0".repeat(whole - digits.len())),
        Some((whole, "")) => format!("{minus}{whole}"),
        Some((whole, rest)) => format!("{minus}{whole}.{rest}"),
    }
}

fn minus(value: f64) -> &'static str {
    if value.is_sign_negative() { "-" } else { "" }
}

fn not_finite(value: f64) -> Option<&'static str> {
    match value {
        _ if value.is_nan() => Some("NaN"),
        f64::INFINITY => Some("+Inf"),
        f64::NEG_INFINITY => Some("-Inf"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_never_has_an_exponent() {
        assert_eq!(go_fixed(1e29), "100000000000000000000000000000");
        assert_eq!(go_fixed(1.23e-10), "0.000000000123");
        assert_eq!(go_fixed(-9_223_372_036_854_775_808.0), "-9223372036854776000");
        assert_eq!(go_fixed(1.0), "1");
        assert_eq!(go_fixed(-0.0), "-0");
        assert_eq!(go_fixed(f64::NEG_INFINITY), "-Inf");
    }

    #[test]
    fn of_two_equally_near_numbers_the_even_one_is_taken() {
        assert_eq!(go_fixed(210_839_668_522_651.63), "210839668522651.62");
        assert_eq!(go_fixed(-2_078_880_221_265_979.3), "-2078880221265979.2");
        assert_eq!(go_general(210_839_668_522_651.63, -4, 6), "2.1083966852265162e+14");
        assert_eq!(go_fixed(0.3), "0.3");
        assert_eq!(go_general(2.0_f64.powi(-24), -4, 6), "5.960464477539063e-08");
    }

    #[test]
    fn fixed_is_what_rust_writes_where_no_two_are_equally_near() {
        for value in [0.0, 1.5, 123.0, 1e21, 1e-7, 0.1, f64::MAX, f64::MIN_POSITIVE, 5e-324, -42.25] {
            assert_eq!(go_fixed(value), format!("{value}"));
        }
    }

    #[test]
    fn single_precision_has_the_digits_of_32_bits() {
        for (value, text) in [
            (0.123_456_789_012_345_68, "0.12345679"),
            (123_456_789_012_345_678_901.0, "1.2345679e+20"),
            (1.5, "1.5"),
            (1e21, "1e+21"),
            (1e300, "+Inf"),
            (f64::NAN, "NaN"),
            (16_777_217.0, "1.6777216e+07"),
            (-0.0, "-0"),
        ] {
            assert_eq!(go_general_single(value), text);
        }
    }

    #[test]
    fn general_has_an_exponent_outside_its_bounds() {
        for (value, text) in [
            (100_000.0, "100000"),
            (1e6, "1e+06"),
            (1_234_567.0, "1.234567e+06"),
            (1e15, "1e+15"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1e100, "1e+100"),
            (0.0, "0"),
            (-0.0, "-0"),
        ] {
            assert_eq!(go_general(value, -4, 6), text);
        }
    }
}
