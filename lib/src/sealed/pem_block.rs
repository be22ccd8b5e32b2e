//! PEM, block by block: texts of which each block says for itself what is wrong with it, and whose content wipes
//! itself.

use super::base64;
use crate::secret::SecretBytes;

/// A block of a PEM text.
pub(super) struct PemBlock {
    /// What stands behind `BEGIN`.
    pub tag: String,
    /// Whether headers say that the content is encrypted.
    pub is_encrypted: bool,
    /// Whether there are headers.
    pub has_headers: bool,
    /// The 1-based line of `BEGIN`.
    pub line: usize,
    /// The content; `None` if it is no base64, or the block has no end.
    pub content: Option<SecretBytes>,
}

/// Returns the blocks of a text. What stands between them is passed over.
pub(super) fn blocks(text: &[u8]) -> Vec<PemBlock> {
    let mut lines = text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii_end).enumerate().peekable();
    let mut blocks = Vec::new();
    while let Some((index, line)) = lines.next() {
        let Some(tag) = mark(line, b"-----BEGIN ") else { continue };
        let mut block = PemBlock {
            tag: tag.to_owned(),
            is_encrypted: false,
            has_headers: false,
            line: index + 1,
            content: None,
        };
        let mut content = SecretBytes::new();
        // A block that begins before the last one has ended is one of its own.
        while let Some((_, line)) = lines.next_if(|(_, line)| mark(line, b"-----BEGIN ").is_none()) {
            if let Some(end) = mark(line, b"-----END ") {
                block.content = (end == tag).then(|| base64::decode(content.expose_secret()).ok()).flatten();
                break;
            }
            if line.contains(&b':') {
                block.has_headers = true;
                block.is_encrypted |= line.starts_with(b"DEK-Info") || line.ends_with(b"ENCRYPTED");
            } else {
                content.extend_from_slice(line.trim_ascii_start());
            }
        }
        blocks.push(block);
    }
    blocks
}

/// Returns whether a block begins in a text where no block of YAML could: at the start of a line.
pub(super) fn is_pem(text: &[u8]) -> bool {
    text.split(|&byte| byte == b'\n').any(|line| mark(line.trim_ascii_end(), b"-----BEGIN ").is_some())
}

/// Returns the tag of a line that begins or ends a block.
fn mark<'a>(line: &'a [u8], start: &[u8]) -> Option<&'a str> {
    let tag = line.strip_prefix(start)?.strip_suffix(b"-----")?;
    str::from_utf8(tag).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(text: &str) -> Vec<(String, usize, Option<Vec<u8>>)> {
        let content = |content: SecretBytes| content.expose_secret().to_vec();
        blocks(text.as_bytes())
            .into_iter()
            .map(|block| (block.tag, block.line, block.content.map(content)))
            .collect()
    }

    #[test]
    fn every_block_is_found_and_broken_ones_are_told() {
        let text = "junk\r\n-----BEGIN A-----\r\nZm9v\r\nYmFy\r\n-----END A-----\n-----BEGIN B-----\n!\n-----END B-----\n\
                    -----BEGIN C-----\nZm9v\n-----BEGIN D-----\nZm9v\n-----END D-----\n-----BEGIN E-----\nZm9v";
        let found = contents(text);
        let content = |bytes: &str| Some(bytes.as_bytes().to_vec());
        assert_eq!(
            found,
            [
                ("A".to_owned(), 2, content("foobar")),
                ("B".to_owned(), 6, None),
                ("C".to_owned(), 9, None),
                ("D".to_owned(), 11, content("foo")),
                ("E".to_owned(), 14, None),
            ]
        );
    }

    #[test]
    fn headers_tell_of_encryption() {
        let text = "-----BEGIN A-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: x\n\nZm9v\n-----END A-----\n";
        assert!(blocks(text.as_bytes())[0].is_encrypted);
        assert_eq!(contents(text)[0].2, Some(b"foo".to_vec()));
    }

    #[test]
    fn an_indented_block_is_a_value_of_a_manifest() {
        assert!(is_pem(b"a\n-----BEGIN A-----\n"));
        assert!(!is_pem(b"a: |\n  -----BEGIN A-----\n"));
    }
}
