//! Floating point numbers as Go's `strconv.FormatFloat` writes them, in all its formats.

/// Writes a number in the format of `verb`; without a precision it has as few digits as read back.
pub fn format(value: f64, verb: char, precision: Option<usize>) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let sign = if value.is_sign_negative() { "-" } else { "" };
    let text = match verb {
        'b' => binary(value),
        'e' | 'E' => exponential(&Digits::new(value, precision.map(|digits| digits + 1)), precision),
        'f' => fixed(value, precision),
        'g' | 'G' => general(value, precision),
        _ => hexadecimal(value, precision),
    };
    let text = if matches!(verb, 'E' | 'G' | 'X') { text.to_uppercase() } else { text };
    format!("{sign}{text}")
}

/// The digits of a number without zeros at the end, and where the point is among them.
struct Digits {
    digits: String,
    point: i32,
}

impl Digits {
    fn new(value: f64, count: Option<usize>) -> Self {
        if value == 0.0 {
            return Self { digits: String::new(), point: 0 };
        }
        let text = match count {
            None => {
                let text = crate::format::go_general(value.abs(), 0, 0);
                text.replace("e+", "e")
            }
            Some(count) => format!("{:.*e}", count.max(1) - 1, value.abs()),
        };
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let digits = mantissa.replace('.', "");
        let digits = digits.trim_end_matches('0').to_owned();
        Self { digits, point: exponent.parse().unwrap_or(0) + 1 }
    }
}

fn exponential(digits: &Digits, precision: Option<usize>) -> String {
    let count = precision.map_or(digits.digits.len(), |precision| precision + 1).max(1);
    let padded = format!("{:0<count$}", digits.digits);
    let (first, rest) = padded.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    let exponent = if digits.digits.is_empty() { 0 } else { digits.point - 1 };
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{first}{point}{rest}e{sign}{:02}", exponent.abs())
}

fn fixed(value: f64, precision: Option<usize>) -> String {
    match precision {
        None => crate::format::go_fixed(value.abs()),
        Some(precision) => format!("{:.*}", precision, value.abs()),
    }
}

fn general(value: f64, precision: Option<usize>) -> String {
    let precision = precision.map(|precision| precision.max(1));
    let digits = Digits::new(value, precision);
    let count = i32::try_from(digits.digits.len()).unwrap_or(i32::MAX);
    let limit = match precision {
        None => SHORTEST_LIMIT,
        Some(precision) => {
            let precision = i32::try_from(precision).unwrap_or(i32::MAX);
            if precision > count && count >= digits.point { count } else { precision }
        }
    };
    let exponent = digits.point - 1;
    if exponent < -4 || exponent >= limit {
        let shown = precision.map_or(digits.digits.len(), |precision| precision.min(digits.digits.len()));
        return exponential(&digits, Some(shown.max(1) - 1));
    }
    if digits.digits.is_empty() {
        return "0".to_owned();
    }
    let point = digits.point;
    if point <= 0 {
        return format!("0.{}{}", "0".repeat(point.unsigned_abs() as usize), digits.digits);
    }
    let whole = point.unsigned_abs() as usize;
    match digits.digits.split_at_checked(whole) {
        None => format!("{:0<whole$}", digits.digits),
        Some((whole, "")) => whole.to_owned(),
        Some((whole, rest)) => format!("{whole}.{rest}"),
    }
}

/// Returns the bits of the mantissa as an integer, and the exponent of the last of them.
fn parts(value: f64) -> (u64, i32) {
    let bits = value.to_bits();
    let mantissa = bits & ((1 << 52) - 1);
    match (bits >> 52 & 0x7FF) as i32 {
        0 => (mantissa, -1074),
        exponent => (mantissa | 1 << 52, exponent - 1075),
    }
}

fn binary(value: f64) -> String {
    let (mantissa, exponent) = parts(value);
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}p{sign}{}", exponent.abs())
}

fn hexadecimal(value: f64, precision: Option<usize>) -> String {
    let (mut mantissa, mut exponent) = parts(value);
    if mantissa == 0 {
        exponent = 0;
    } else {
        exponent += 60;
        // The leading one becomes bit 60.
        let shift = mantissa.leading_zeros() - 3;
        mantissa <<= shift;
        exponent -= shift as i32;
    }
    if let Some(precision) = precision.filter(|precision| *precision < 15) {
        let shift = precision as u32 * 4;
        let extra = mantissa << shift & ((1 << 60) - 1);
        mantissa >>= 60 - shift;
        if extra | (mantissa & 1) > 1 << 59 {
            mantissa += 1;
        }
        mantissa <<= 60 - shift;
        if mantissa & 1 << 61 != 0 {
            mantissa >>= 1;
            exponent += 1;
        }
    }
    let digits = format!("{:015x}", mantissa & ((1 << 60) - 1));
    let digits = match precision {
        None => digits.trim_end_matches('0').to_owned(),
        Some(precision) if precision <= 15 => digits[..precision].to_owned(),
        Some(precision) => format!("{digits:0<precision$}"),
    };
    let point = if digits.is_empty() { "" } else { "." };
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("0x{}{point}{digits}p{sign}{:02}", mantissa >> 60 & 1, exponent.abs())
}

/// The exponent from which the shortest form has an exponent.
const SHORTEST_LIMIT: i32 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_go_does() {
        let cases = [
            (1e6, 'g', None, "1e+06"),
            (123_456.0, 'g', None, "123456"),
            (0.0, 'g', None, "0"),
            (0.00001, 'g', None, "1e-05"),
            (1.5, 'e', None, "1.5e+00"),
            (1.5, 'e', Some(3), "1.500e+00"),
            (2.5, 'f', Some(0), "2"),
            (1234.5678, 'g', Some(3), "1.23e+03"),
            (100.0, 'g', Some(5), "100"),
            (1.5, 'b', None, "6755399441055744p-52"),
            (1.5, 'x', None, "0x1.8p+00"),
            (1.0, 'x', Some(2), "0x1.00p+00"),
            (-0.0, 'f', None, "-0"),
        ];
        for (value, verb, precision, expected) in cases {
            assert_eq!(format(value, verb, precision), expected, "{value} {verb} {precision:?}");
        }
    }
}
