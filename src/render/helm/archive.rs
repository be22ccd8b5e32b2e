//! A chart as an archive, which Helm reads without a file on a disk.
//!
//! Invariant: what is packed stands in memory that wipes itself.

use selkie::secret::SecretBytes;

/// Packs files into a tar in gzip form, below a folder that Helm takes off again.
pub(super) fn packed<'f>(files: impl Iterator<Item = (&'f str, &'f [u8])>) -> SecretBytes {
    let mut tar = SecretBytes::new();
    for (path, content) in files {
        let name = format!("chart/{path}");
        if name.len() > NAME {
            entry(&mut tar, b"././@LongLink", b'L', &[name.as_bytes(), b"\0"].concat());
        }
        entry(&mut tar, &name.as_bytes()[..name.len().min(NAME)], b'0', content);
    }
    tar.extend_from_slice(&[0; 2 * BLOCK]);
    zipped(tar.expose_secret())
}

fn entry(tar: &mut SecretBytes, name: &[u8], kind: u8, content: &[u8]) {
    let mut header = [0; BLOCK];
    let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
    put(0, name);
    put(100, b"0000600\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{:011o}\0", content.len()).as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, &[kind]);
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    tar.extend_from_slice(&header);
    tar.extend_from_slice(content);
    tar.extend_from_slice(&vec![0; content.len().next_multiple_of(BLOCK) - content.len()]);
}

/// Returns bytes in gzip form, as they are: whoever reads them is on this machine.
fn zipped(bytes: &[u8]) -> SecretBytes {
    let mut out = SecretBytes::with_capacity(bytes.len() + bytes.len() / STORED * 5 + 64);
    out.extend_from_slice(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
    let mut chunks = bytes.chunks(STORED).peekable();
    while let Some(chunk) = chunks.next() {
        let length = u16::try_from(chunk.len()).unwrap_or(u16::MAX);
        out.push(u8::from(chunks.peek().is_none()));
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(chunk);
    }
    out.extend_from_slice(&check_sum(bytes).to_le_bytes());
    // The format has the length as far as 32 bits hold it.
    out.extend_from_slice(&(bytes.len() as u64).to_le_bytes()[..4]);
    out
}

/// Returns the CRC-32 of gzip.
fn check_sum(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, &byte| {
        let index = (sum ^ u32::from(byte)) & 255;
        sum >> 8 ^ SUMS[index as usize]
    })
}

const fn sums() -> [u32; 256] {
    let (mut sums, mut index) = ([0; 256], 0);
    while index < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "it is below 256")]
        let (mut sum, mut bit) = (index as u32, 0);
        while bit < 8 {
            sum = if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 };
            bit += 1;
        }
        sums[index] = sum;
        index += 1;
    }
    sums
}

static SUMS: [u32; 256] = sums();
/// How long a block of a tar is.
const BLOCK: usize = 512;
/// How long a name in a header may be.
const NAME: usize = 100;
/// How much one block of gzip holds as it is.
const STORED: usize = 65_535;

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn what_is_packed_is_read_again() {
        let long = format!("templates/{}.yaml", "x".repeat(200));
        let large = vec![7; 200_000];
        let files = [("Chart.yaml", &b"name: x"[..]), (long.as_str(), b""), ("large", &large)];
        let packed = packed(files.into_iter());
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(packed.expose_secret()));
        let read = archive.entries().expect("entries").map(|entry| {
            let mut entry = entry.expect("an entry");
            let mut content = Vec::new();
            entry.read_to_end(&mut content).expect("its content");
            (entry.path().expect("its path").display().to_string(), content)
        });
        let expected = files.map(|(path, content)| (format!("chart/{path}"), content.to_vec()));
        assert_eq!(read.collect::<Vec<_>>(), expected);
    }
}
