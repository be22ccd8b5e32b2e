//! Decimal numbers of any length, as shopspring's `decimal` computes with them.

use rsa::BigUint;

/// A number of digits times a power of ten.
#[derive(Clone)]
pub struct Decimal {
    is_negative: bool,
    digits: BigUint,
    exponent: i64,
}

impl Decimal {
    /// Returns the shortest decimal number that reads back as `value`; `None` if it is not finite.
    pub fn of(value: f64) -> Option<Self> {
        if !value.is_finite() {
            return None;
        }
        let text = crate::format::go_general(value.abs(), 0, 0);
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = BigUint::parse_bytes([whole, fraction].concat().as_bytes(), 10)?;
        let exponent = exponent.trim_start_matches('+').parse::<i64>().ok()?;
        Some(Self { is_negative: value < 0.0, digits, exponent: exponent - fraction.len() as i64 })
    }

    /// Returns the nearest floating point number.
    pub fn to_float(&self) -> f64 {
        let sign = if self.is_negative { "-" } else { "" };
        let value = format!("{sign}{}e{}", self.digits, self.exponent).parse().unwrap_or(0.0);
        // There is no negative zero among decimal numbers.
        if value == 0.0 { 0.0 } else { value }
    }

    /// Returns about how many bytes it takes to compute with it.
    pub fn size(&self) -> usize {
        self.digits.bits() / 8 + usize::try_from(self.exponent.unsigned_abs()).unwrap_or(usize::MAX) / 2
    }

    /// Returns the sum.
    pub fn add(&self, other: &Self) -> Self {
        let exponent = self.exponent.min(other.exponent);
        let (one, two) = (self.scaled(exponent), other.scaled(exponent));
        let (is_negative, digits) = if self.is_negative == other.is_negative {
            (self.is_negative, one + two)
        } else if one >= two {
            (self.is_negative, one - two)
        } else {
            (other.is_negative, two - one)
        };
        Self { is_negative, digits, exponent }
    }

    /// Returns the difference.
    pub fn subtract(&self, other: &Self) -> Self {
        self.add(&Self { is_negative: !other.is_negative, ..other.clone() })
    }

    /// Returns the product.
    pub fn multiply(&self, other: &Self) -> Self {
        Self {
            is_negative: self.is_negative != other.is_negative,
            digits: &self.digits * &other.digits,
            exponent: self.exponent + other.exponent,
        }
    }

    /// Returns the quotient, rounded to 16 digits behind the point; `None` if `other` is zero.
    pub fn divide(&self, other: &Self) -> Option<Self> {
        let zero = BigUint::from(0_u8);
        if other.digits == zero {
            return None;
        }
        let shift = self.exponent - other.exponent + PRECISION;
        let (dividend, divisor) = if shift < 0 {
            (self.digits.clone(), &other.digits * power(-shift))
        } else {
            (&self.digits * power(shift), other.digits.clone())
        };
        let mut digits = &dividend / &divisor;
        let rest = dividend - &digits * &divisor;
        if rest * 2_u8 >= divisor {
            digits += 1_u8;
        }
        Some(Self { is_negative: self.is_negative != other.is_negative, digits, exponent: -PRECISION })
    }

    /// Returns the digits as those of a smaller exponent.
    fn scaled(&self, exponent: i64) -> BigUint {
        &self.digits * power(self.exponent - exponent)
    }
}

/// Returns a power of ten; of a negative exponent, which there is none, one.
fn power(exponent: i64) -> BigUint {
    let (mut result, mut base, mut left) = (BigUint::from(1_u8), BigUint::from(10_u8), exponent.max(0));
    while left > 0 {
        if left & 1 == 1 {
            result *= &base;
        }
        left >>= 1;
        if left > 0 {
            base = &base * &base;
        }
    }
    result
}

/// How many digits a quotient has behind the point.
const PRECISION: i64 = 16;
