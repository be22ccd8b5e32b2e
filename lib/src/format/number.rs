//! Floating point numbers as Go writes them: SOPS hashes and prints that text.
//!
//! Source: the documentation of `strconv.FormatFloat`, formats `f` and `g` with the shortest precision.

/// Writes a number without an exponent (`f`, -1), as SOPS encrypts and hashes it.
#[must_use]
pub fn go_fixed(value: f64) -> String {
    not_finite(value).map_or_else(|| format!("{value}"), str::to_owned)
}

/// Writes a number with an exponent if its decimal exponent is below `low` or at least `high`
/// (`g`, -1 has -4 and 21; `go-yaml` prints with 21 changed to 6 by the shortest form of `%g`).
#[must_use]
pub fn go_general(value: f64, low: i32, high: i32) -> String {
    if let Some(text) = not_finite(value) {
        return text.to_owned();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').expect("`e` formats with an exponent");
    let exponent: i32 = exponent.parse().expect("`e` formats a decimal exponent");
    if value == 0.0 || (low..high).contains(&exponent) {
        return format!("{value}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
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
