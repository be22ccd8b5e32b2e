//! Packets whose length is told in parts, put together.
//!
//! sops before 3.7 wrote its messages by the OpenPGP of Go, which begins with parts that are shorter than the standard
//! allows. gpg reads them, and so must we; the crate that reads packets does not.

use std::borrow::Cow;

use zeroize::Zeroizing;

/// Returns packets none of which has a length in parts. What is cut off, or is no packet, stays as it is.
pub fn whole(packets: &[u8]) -> Cow<'_, [u8]> {
    let mut at = 0;
    while let Some(packet) = Packet::read(packets, at) {
        if packet.is_in_parts {
            return Cow::Owned(put_together(packets));
        }
        at = packet.end;
    }
    Cow::Borrowed(packets)
}

fn put_together(packets: &[u8]) -> Vec<u8> {
    // A packet of 4 octets becomes one of 7. What a message holds is secret, and must not be left behind when
    // the buffer grows.
    let mut result = Vec::with_capacity(2 * packets.len());
    let mut at = 0;
    while let Some(packet) = Packet::read(packets, at) {
        if packet.is_in_parts {
            result.extend_from_slice(&[packets[at], FIVE_OCTETS]);
            // Shorter than the packets themselves, which are no more than some KiB.
            result.extend_from_slice(&u32::try_from(packet.body.len()).unwrap_or(u32::MAX).to_be_bytes());
            result.extend_from_slice(&packet.body);
        } else {
            result.extend_from_slice(&packets[at..packet.end]);
        }
        at = packet.end;
    }
    result.extend_from_slice(&packets[at..]);
    result
}

struct Packet {
    /// The body, for one in parts.
    body: Zeroizing<Vec<u8>>,
    end: usize,
    is_in_parts: bool,
}

impl Packet {
    /// Reads the packet that begins at `start`.
    fn read(packets: &[u8], start: usize) -> Option<Self> {
        let tag = *packets.get(start)?;
        match tag & 0xC0 {
            0xC0 => Self::read_new(packets, start + 1),
            0x80 => Self::read_old(packets, start + 1, tag & 3),
            _ => None,
        }
    }

    fn read_new(packets: &[u8], mut at: usize) -> Option<Self> {
        let mut body = Zeroizing::new(Vec::with_capacity(packets.len()));
        let mut is_in_parts = false;
        loop {
            let first = *packets.get(at)?;
            let (header, length) = match first {
                0..=191 => (1, usize::from(first)),
                192..=223 => {
                    (2, ((usize::from(first) - 192) << 8) + usize::from(*packets.get(at + 1)?) + 192)
                }
                224..=254 => (1, 1_usize.checked_shl(u32::from(first & 0x1F))?),
                FIVE_OCTETS => (5, number(packets.get(at + 1..at + 5)?)?),
            };
            let begin = at + header;
            let end = begin.checked_add(length)?;
            let part = packets.get(begin..end)?;
            at = end;
            let is_last = !(224..=254).contains(&first);
            is_in_parts |= !is_last;
            if is_in_parts {
                body.extend_from_slice(part);
            }
            if is_last {
                return Some(Self { body, end, is_in_parts });
            }
        }
    }

    /// Reads one with a header as it was before RFC 2440.
    fn read_old(packets: &[u8], at: usize, kind: u8) -> Option<Self> {
        let header = match kind {
            0 => 1,
            1 => 2,
            2 => 4,
            // It goes on to the end.
            _ => return Some(Self { body: Zeroizing::default(), end: packets.len(), is_in_parts: false }),
        };
        let end = number(packets.get(at..at + header)?)?.checked_add(at + header)?;
        (end <= packets.len()).then(|| Self { body: Zeroizing::default(), end, is_in_parts: false })
    }
}

fn number(octets: &[u8]) -> Option<usize> {
    octets.iter().try_fold(0_usize, |number, &octet| Some(number.checked_mul(256)? + usize::from(octet)))
}

const FIVE_OCTETS: u8 = 255;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parts_are_put_together() {
        // A literal packet in parts of 1, 2 and 1 octets, between others.
        let packets = [0xC1, 1, 7, 0xCB, 224, b'a', 225, b'b', b'c', 1, b'd', 0x84, 1, 9];
        let expected = [0xC1, 1, 7, 0xCB, 255, 0, 0, 0, 4, b'a', b'b', b'c', b'd', 0x84, 1, 9];
        assert_eq!(whole(&packets).as_ref(), expected);
        assert!(matches!(whole(&expected), Cow::Borrowed(same) if same == expected));
    }

    #[test]
    fn what_is_cut_off_stays() {
        for cut in
            [&[0xCB, 224, b'a'][..], &[0xCB, 225, b'a'], &[0xCB], &[0xCB, 255, 0, 0], &[0x84, 5, 0], &[1, 2]]
        {
            assert_eq!(whole(cut).as_ref(), cut);
        }
        let after = [0xCB, 224, b'a', 0, 0xCB, 230];
        assert_eq!(whole(&after).as_ref(), [0xCB, 255, 0, 0, 0, 1, b'a', 0xCB, 230]);
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_looked_at(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let once = whole(&bytes).into_owned();
            let twice = whole(&once).into_owned();
            prop_assert_eq!(twice, once);
        }
    }
}
