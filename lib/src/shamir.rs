//! Shamir's secret sharing over GF(2^8) with the polynomial 0x11B, as Vault and SOPS use it.
//!
//! A share is one byte `f(x)` for every byte of the secret, followed by `x`. Multiplication takes the
//! same time for all values, so that no table look-up depends on a secret.

use rand_core::CryptoRngCore;
use zeroize::{Zeroize, Zeroizing};

use crate::secret::SecretBytes;

/// The most shares that a secret can be split into.
pub const MAX_SHARES: usize = 255;

/// Why a secret could not be split or combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShamirError {
    /// Two shares have the same `x`.
    #[error("two shares are the same part of the secret")]
    DuplicateShare,
    /// The shares are empty or of different lengths.
    #[error("the shares do not have the same length")]
    Length,
    /// What was recovered is not as long as a data key.
    #[error("what was recovered is not as long as a data key")]
    Secret,
    /// Fewer than two shares, more than 255, or a threshold above the number of shares.
    #[error("a threshold of {threshold} is not possible with {shares} shares")]
    Threshold {
        /// How many shares were asked to suffice.
        threshold: usize,
        /// How many shares there are.
        shares: usize,
    },
}

/// Splits a secret into `shares` parts of which any `threshold` recover it.
///
/// # Errors
/// If not `2 ≤ threshold ≤ shares ≤ 255`.
pub fn split(
    secret: &SecretBytes,
    shares: usize,
    threshold: usize,
    rng: &mut dyn CryptoRngCore,
) -> Result<Vec<SecretBytes>, ShamirError> {
    check(shares, threshold)?;
    let mut parts: Vec<_> = (0..shares).map(|_| SecretBytes::with_capacity(secret.len() + 1)).collect();
    let mut coefficients = Zeroizing::new(vec![0; threshold]);
    for &byte in secret.expose_secret() {
        coefficients[0] = byte;
        rng.fill_bytes(&mut coefficients[1..]);
        for (x, part) in (1..=u8::MAX).zip(&mut parts) {
            part.push(evaluate(&coefficients, x));
        }
    }
    for (x, part) in (1..=u8::MAX).zip(&mut parts) {
        part.push(x);
    }
    Ok(parts)
}

/// Makes sure that a secret can be split so.
///
/// # Errors
/// If not `2 ≤ threshold ≤ shares ≤ 255`.
pub const fn check(shares: usize, threshold: usize) -> Result<(), ShamirError> {
    if threshold < 2 || threshold > shares || shares > MAX_SHARES {
        return Err(ShamirError::Threshold { threshold, shares });
    }
    Ok(())
}

/// Recovers a secret from its parts; with fewer than the threshold the result is noise.
///
/// # Errors
/// If there are fewer than two parts, two are the same, or their lengths differ.
pub fn combine(parts: &[SecretBytes]) -> Result<SecretBytes, ShamirError> {
    let shares = parts.len();
    if !(2..=MAX_SHARES).contains(&shares) {
        return Err(ShamirError::Threshold { threshold: 2, shares });
    }
    let length = parts[0].len();
    if length < 2 || parts.iter().any(|part| part.len() != length) {
        return Err(ShamirError::Length);
    }
    let positions: Vec<u8> = parts.iter().map(|part| part.expose_secret()[length - 1]).collect();
    let is_duplicate = |(index, x): (usize, &u8)| positions[..index].contains(x);
    if positions.iter().enumerate().any(is_duplicate) {
        return Err(ShamirError::DuplicateShare);
    }
    let weights: Vec<u8> = (0..shares).map(|index| weight_at_zero(&positions, index)).collect();
    let mut secret = SecretBytes::with_capacity(length - 1);
    for position in 0..length - 1 {
        let terms = parts.iter().zip(&weights);
        secret.push(
            terms.fold(0, |sum, (part, &weight)| sum ^ multiply(part.expose_secret()[position], weight)),
        );
    }
    Ok(secret)
}

/// Evaluates a polynomial at `x`, lowest coefficient first.
fn evaluate(coefficients: &[u8], x: u8) -> u8 {
    coefficients.iter().rev().fold(0, |sum, &coefficient| multiply(sum, x) ^ coefficient)
}

/// Returns the Lagrange basis polynomial of one share, at 0.
fn weight_at_zero(positions: &[u8], index: usize) -> u8 {
    let own = positions[index];
    let others = positions.iter().enumerate().filter(|&(other, _)| other != index);
    others.fold(1, |product, (_, &x)| multiply(product, multiply(x, invert(x ^ own))))
}

/// Multiplies in GF(2^8), in constant time.
fn multiply(mut left: u8, mut right: u8) -> u8 {
    let mut product = 0;
    for _ in 0..8 {
        product ^= left & 0_u8.wrapping_sub(right & 1);
        let overflow = 0_u8.wrapping_sub(left >> 7);
        left = (left << 1) ^ (overflow & REDUCTION);
        right >>= 1;
    }
    left.zeroize();
    product
}

/// Inverts in GF(2^8) by raising to 254.
fn invert(value: u8) -> u8 {
    let square = |value| multiply(value, value);
    let (mut power, mut result) = (square(value), 1);
    for _ in 0..7 {
        result = multiply(result, power);
        power = square(power);
    }
    result
}

/// The field's polynomial x^8 + x^4 + x^3 + x + 1 without its highest term.
const REDUCTION: u8 = 0x1B;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};
    use rand::SeedableRng;
    use rand_chacha::ChaCha20Rng;

    proptest! {
        #[test]
        fn any_threshold_of_the_parts_recovers_the_secret(
            secret in proptest::collection::vec(any::<u8>(), 1..40),
            threshold in 2_usize..6,
            more in 0_usize..4,
            first in 0_usize..4,
        ) {
            let mut rng = ChaCha20Rng::seed_from_u64(7);
            let secret = SecretBytes::from(secret);
            let mut parts = split(&secret, threshold + more, threshold, &mut rng).expect("valid numbers");
            parts.rotate_left(first % (threshold + more));
            parts.truncate(threshold);
            let recovered = combine(&parts).expect("valid parts");
            assert_eq!(recovered.expose_secret(), secret.expose_secret());
        }
    }

    #[test]
    fn the_field_is_that_of_aes() {
        // The worked example of FIPS 197, section 4.2.
        assert_eq!(multiply(0x57, 0x83), 0xC1);
        assert!((1..=255).all(|value| multiply(value, invert(value)) == 1));
    }

    #[test]
    fn unusable_parts_are_refused() {
        let part = |bytes: &[u8]| SecretBytes::from(bytes);
        let refused = |parts: &[SecretBytes]| combine(parts).err();
        assert_eq!(refused(&[part(&[1, 1])]), Some(ShamirError::Threshold { threshold: 2, shares: 1 }));
        assert_eq!(refused(&[part(&[1, 1]), part(&[1, 1])]), Some(ShamirError::DuplicateShare));
        assert_eq!(refused(&[part(&[1, 1]), part(&[1, 2, 3])]), Some(ShamirError::Length));
    }
}
