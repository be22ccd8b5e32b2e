//! The checksum at the end of tokens of GitHub and npm: CRC-32 of what is before it, in six digits of base 62.

/// Returns whether the last six letters of a token are the checksum of those before them.
pub(super) fn is_checked(token: &[u8]) -> bool {
    let Some((random, sum)) = token.split_last_chunk::<6>() else { return false };
    let mut rest = crc32(random);
    let mut digits = [0; 6];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[rest as usize % DIGITS.len()];
        rest /= 62;
    }
    digits == *sum
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |sum: u32, byte: &u8| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| sum >> 1 ^ if sum & 1 == 1 { 0xedb8_8320 } else { 0 })
    };
    !bytes.iter().fold(!0, step)
}

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_github() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        // A revoked token of an article on this checksum.
        assert!(is_checked(b"zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq17"));
        assert!(!is_checked(b"zQWBuTSOoRi4A9spHcVY5ncnsDkxkK0mLq17"));
        assert!(!is_checked(b"0mLq1"));
    }
}
