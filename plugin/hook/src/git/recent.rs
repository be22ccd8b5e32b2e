//! What was read of packs not long ago: versions of a file are stored as differences from each other, so that reading
//! one after the other would read the first of them again and again.
//!
//! Invariant: it has a fixed number of places, and none for what is large.

use gix_object::Kind;
use gix_odb::pack::cache::DecodeEntry;

/// Objects of packs, by their places.
pub(super) struct Recent(Vec<Option<Known>>);

/// An object of a pack.
struct Known {
    pack: u32,
    offset: u64,
    kind: Kind,
    packed: usize,
    content: Vec<u8>,
}

impl Default for Recent {
    fn default() -> Self {
        Self(std::iter::repeat_with(|| None).take(PLACES).collect())
    }
}

impl DecodeEntry for Recent {
    fn put(&mut self, pack: u32, offset: u64, data: &[u8], kind: Kind, packed: usize) {
        if data.len() <= MAX_SIZE {
            let mut content = Vec::with_capacity(data.len());
            content.extend_from_slice(data);
            self.0[place(pack, offset)] = Some(Known { pack, offset, kind, packed, content });
        }
    }

    fn get(&mut self, pack: u32, offset: u64, out: &mut Vec<u8>) -> Option<(Kind, usize)> {
        let known = self.0[place(pack, offset)].as_ref()?;
        if (known.pack, known.offset) != (pack, offset) {
            return None;
        }
        out.clear();
        out.extend_from_slice(&known.content);
        Some((known.kind, known.packed))
    }
}

/// Returns where an object is kept: neighbours in a pack have places of their own.
fn place(pack: u32, offset: u64) -> usize {
    let mixed = (offset ^ u64::from(pack) << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> (u64::BITS - PLACES.trailing_zeros())) as usize
}

/// How many objects are kept.
const PLACES: usize = 128;

/// How large an object may be that is kept.
const MAX_SIZE: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_told_by_its_place_alone() {
        let mut recent = Recent::default();
        let mut out = b"other".to_vec();
        for offset in 0..1000 {
            recent.put(1, offset, &offset.to_be_bytes(), Kind::Blob, 3);
            assert_eq!(recent.get(2, offset, &mut out), None);
        }
        assert_eq!(recent.get(1, 999, &mut out), Some((Kind::Blob, 3)));
        assert_eq!(out, 999_u64.to_be_bytes());
        recent.put(1, 5000, &vec![0; MAX_SIZE + 1], Kind::Blob, 3);
        assert_eq!(recent.get(1, 5000, &mut out), None);
    }
}
