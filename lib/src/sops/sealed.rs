//! An encrypted document, not yet written down.

use rand_chacha::ChaCha20Rng;
use rand_core::{CryptoRngCore, RngCore, SeedableRng};

use super::cipher::{Cipher, Encrypted, IV_LENGTH, ValueType, append_plaintext};
use super::envelope::{Envelope, MacCheck};
use super::layout::Layout;
use super::mac::Mac;
use super::metadata::{Metadata, MetadataError};
use super::opened::{OpenError, Opened};
use super::selector::Selector;
use super::stash::Stash;
use super::walk::{Leaf, Walk};
use crate::format::{Format, METADATA_KEY, MetadataEdit, ParseError, Rewrite, WriteError, WriteOptions};
use crate::secret::SecretBytes;
use crate::tree::{MetadataEntry, NodeId, Origin, Tree, Value, same_values};

/// An encrypted document, not yet written down.
pub struct Sealed<'a> {
    envelope: &'a Envelope,
    format: Format,
    tree: Tree,
    encrypted: Vec<NodeId>,
    reused: usize,
    metadata: Metadata,
    layout_iv: [u8; IV_LENGTH],
}

/// Why a document could not be encrypted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The document has a `sops` entry.
    #[error("the document is encrypted already")]
    AlreadyEncrypted,
    /// An encrypted comment would match the rule that keeps values in clear, so that nobody could read it.
    #[error("line {line}: the rule unencrypted_comment_regex matches encrypted comments")]
    AmbiguousComment {
        /// The line of the comment.
        line: usize,
    },
    /// The rule has a pattern that does not compile.
    #[error("the pattern {text:?} of the rule {field} does not compile, so that it would select nothing")]
    BrokenRule {
        /// The name of the rule.
        field: &'static str,
        /// Its pattern.
        text: String,
    },
    /// The metadata that was written cannot be read again.
    #[error("the metadata does not read back: {0}")]
    Metadata(MetadataError),
    /// The rule selects no value of the document.
    #[error("the rule {field} {text:?} selects no value, so that everything would stay in clear")]
    NothingSelected {
        /// The name of the rule.
        field: &'static str,
        /// Its suffix or pattern.
        text: String,
    },
    /// What was written cannot be decrypted again.
    #[error("the encrypted document does not decrypt again: {0}")]
    Unreadable(#[from] OpenError),
    /// What was written cannot be read again.
    #[error("the encrypted document does not read back: {0}")]
    Unparsable(#[from] ParseError),
    /// What was written decrypts to something else.
    #[error("the encrypted document does not decrypt to what it was made from")]
    Unfaithful,
    /// An integer is too large for SOPS.
    #[error("line {line}: the integer is too large for SOPS")]
    Unsigned {
        /// The line of the number.
        line: usize,
    },
    /// The document cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl<'a> Sealed<'a> {
    pub(crate) fn seal(
        envelope: &'a Envelope,
        format: Format,
        mut tree: Tree,
        stash: Stash,
        now: &str,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Self, SealError> {
        if *tree.metadata() != MetadataEntry::Absent {
            return Err(SealError::AlreadyEncrypted);
        }
        // In a further document it would pass for metadata, and be lost.
        if tree.nodes().any(|(_, node)| node.origin == Origin::Metadata) {
            return Err(SealError::Write(WriteError::ReservedKey(METADATA_KEY.to_owned())));
        }
        let selector = &envelope.metadata().selector;
        if selector.is_broken() {
            return Err(SealError::BrokenRule { field: selector.field(), text: selector.text().to_owned() });
        }
        let mut metadata = envelope.metadata().clone();
        let single_value = format.store().is_single_value();
        if single_value {
            metadata.writes_selector = false;
            metadata.mac_only_encrypted = false;
        }
        let cipher = envelope.cipher();
        let mut rng = ChaCha20Rng::from_rng(rng).expect("a cryptographic generator does not fail");
        let is_new = stash.is_of_new_document();
        let mut encryption =
            Encryption { cipher: &cipher, rng: &mut rng, stash, encrypted: Vec::new(), reused: 0 };
        let mut mac = Mac::new(metadata.mac_only_encrypted);
        let in_clear = encryption.encrypt(&mut tree, &metadata.selector, single_value, &mut mac)?;
        let Encryption { encrypted, reused, .. } = encryption;
        if encrypted.is_empty() && in_clear && is_new {
            let (field, text) = (metadata.selector.field(), metadata.selector.text().to_owned());
            return Err(SealError::NothingSelected { field, text });
        }
        now.clone_into(&mut metadata.last_modified);
        metadata.mac.clear();
        let iv = random_iv(&mut rng);
        cipher.encrypt(mac.finish().as_bytes(), ValueType::Str, now, &iv, &mut metadata.mac);
        metadata.layout = None;
        let layout_iv = random_iv(&mut rng);
        Ok(Self { envelope, format, tree, encrypted, reused, metadata, layout_iv })
    }

    /// Returns the encrypted document: its source with values encrypted in their place and the metadata
    /// added. Decrypted again it is the source, byte for byte.
    ///
    /// # Errors
    /// If a value cannot be written in its place, or what was written does not decrypt to the source.
    pub fn in_place(&self) -> Result<SecretBytes, SealError> {
        let written = self.rewrite(&self.metadata)?;
        let (written, restored) = self.decrypt_again(written)?;
        if restored.expose_secret() == self.tree.source() {
            return Ok(written);
        }
        let original = self.format.read(SecretBytes::from(self.tree.source()))?;
        let restored = self.format.read(restored)?;
        if !same_values(&original, &restored) {
            return Err(SealError::Unfaithful);
        }
        let mut layout = Layout::difference(&original, &restored);
        let (mut written, mut restored) = self.with_layout(&layout)?;
        if restored.expose_secret() != self.tree.source() {
            layout.mend(self.tree.source(), restored.expose_secret());
            (written, restored) = self.with_layout(&layout)?;
        }
        if restored.expose_secret() == self.tree.source() {
            return Ok(written);
        }
        // Bytes that are no text cannot be told in the metadata; the values are all there.
        let restored = self.format.read(restored)?;
        if same_values(&original, &restored) { Ok(written) } else { Err(SealError::Unfaithful) }
    }

    /// Returns the encrypted document written anew in a format, in the style of sops; in its own style if
    /// that of sops moves a comment to where a rule makes other values of it. In another format only the MAC
    /// tells that the values are the same.
    ///
    /// # Errors
    /// If the format cannot hold the document, or what was written does not decrypt again.
    pub fn write(&self, format: Format, options: &WriteOptions) -> Result<SecretBytes, SealError> {
        let written = format.store().write(&self.tree, Some(&self.metadata.to_json()), options)?;
        match self.settled(format, written) {
            Ok(opened) if format == self.format => {
                let original = format.read(SecretBytes::from(self.tree.source()))?;
                let is_faithful = same_values(&original, opened.tree());
                if is_faithful { Ok(opened.into_source()) } else { Err(SealError::Unfaithful) }
            }
            Ok(opened) => Ok(opened.into_source()),
            Err(SealError::Unreadable(_))
                if format == self.format && self.metadata.selector.looks_at_comments() =>
            {
                self.in_place()
            }
            Err(error) => Err(error),
        }
    }

    /// Returns how many values and comments are encrypted.
    #[must_use]
    pub const fn encrypted_count(&self) -> usize {
        self.encrypted.len()
    }

    /// Returns how many of them kept the ciphertext that they had.
    #[must_use]
    pub const fn reused_count(&self) -> usize {
        self.reused
    }

    /// Returns the encrypted nodes.
    #[must_use]
    pub fn encrypted(&self) -> &[NodeId] {
        &self.encrypted
    }

    /// Returns the metadata as it will be written.
    #[must_use]
    pub const fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn rewrite(&self, metadata: &Metadata) -> Result<SecretBytes, WriteError> {
        let metadata = MetadataEdit::Put(&metadata.to_json());
        let rewrite = Rewrite { changed: &self.encrypted, verbatim: &[], metadata };
        self.format.store().rewrite(&self.tree, &rewrite)
    }
}

impl Sealed<'_> {
    /// Encrypts the document in place, with a layout in its metadata.
    fn with_layout(&self, layout: &Layout) -> Result<(SecretBytes, SecretBytes), SealError> {
        let is_empty = layout.is_empty();
        let layout = (!is_empty).then(|| layout.encrypt(&self.envelope.cipher(), &self.layout_iv));
        self.decrypt_again(self.rewrite(&Metadata { layout, ..self.metadata.clone() })?)
    }

    /// Reads and decrypts what was written; returns it with what it decrypts to.
    fn decrypt_again(&self, written: SecretBytes) -> Result<(SecretBytes, SecretBytes), SealError> {
        let opened = self.settled(self.format, written)?;
        let restored = opened.restored()?;
        Ok((opened.into_source(), restored))
    }

    /// Reads and decrypts what was written. A comment that now belongs to something else, as the last one of a
    /// document may when metadata follows, is encrypted for where it is: sops could not read it otherwise.
    fn settled(&self, format: Format, written: SecretBytes) -> Result<Opened, SealError> {
        let opened = self.reopen(format, written)?;
        if opened.displaced_comments().is_empty() {
            return Ok(opened);
        }
        let (cipher, tree) = (self.envelope.cipher(), opened.tree());
        let texts = opened.displaced_comments().iter().map(|(id, text, aad)| {
            let is_marked = tree.slice(tree.node(*id).span).starts_with(b"#");
            let mut token = if is_marked { "#".to_owned() } else { String::new() };
            let iv = cipher.nonce_for(aad, tree.bytes(*text));
            cipher.encrypt(tree.bytes(*text), ValueType::Comment, aad, &iv, &mut token);
            (*id, token)
        });
        let texts: Vec<_> = texts.collect();
        let verbatim: Vec<_> = texts.iter().map(|(id, text)| (*id, text.as_bytes())).collect();
        let rewrite = Rewrite { changed: &[], verbatim: &verbatim, metadata: MetadataEdit::Keep };
        let settled = format.store().rewrite(tree, &rewrite)?;
        self.reopen(format, settled)
    }

    fn reopen(&self, format: Format, written: SecretBytes) -> Result<Opened, SealError> {
        let tree = format.read(written)?;
        let metadata = Metadata::from_entry(tree.metadata()).map_err(SealError::Metadata)?;
        Ok(Opened::open(metadata, &self.envelope.cipher(), format, tree, MacCheck::Require)?)
    }
}

struct Encryption<'a> {
    cipher: &'a Cipher,
    rng: &'a mut ChaCha20Rng,
    stash: Stash,
    encrypted: Vec<NodeId>,
    reused: usize,
}

impl Encryption<'_> {
    /// Encrypts the selected values in their places; returns whether others stay in clear.
    fn encrypt(
        &mut self,
        tree: &mut Tree,
        selector: &Selector,
        single_value: bool,
        mac: &mut Mac,
    ) -> Result<bool, SealError> {
        let mut walk = Walk::new(selector, single_value);
        let mut plaintext = SecretBytes::new();
        let mut in_clear = false;
        while let Some(leaf) = walk.next(tree) {
            let value = tree.node(leaf.id).value;
            if let Value::Unsigned(_) = value {
                return Err(SealError::Unsigned { line: line_of(tree, leaf.id) });
            }
            plaintext.truncate(0);
            append_plaintext(tree, value, &mut plaintext);
            let is_comment = matches!(value, Value::Comment(_));
            if !is_comment {
                mac.update(plaintext.expose_secret(), leaf.selected);
                in_clear |= !leaf.selected && !plaintext.is_empty();
            }
            // An empty text cannot be encrypted: an encrypted value has at least one byte of data.
            if leaf.selected && !plaintext.is_empty() {
                self.encrypt_leaf(tree, leaf, walk.aad(), &plaintext, selector)?;
            }
        }
        Ok(in_clear)
    }

    fn encrypt_leaf(
        &mut self,
        tree: &mut Tree,
        leaf: Leaf,
        aad: &str,
        plaintext: &SecretBytes,
        selector: &Selector,
    ) -> Result<(), SealError> {
        let value = tree.node(leaf.id).value;
        let Some(value_type) = ValueType::of(value) else { return Ok(()) };
        let is_comment = value_type == ValueType::Comment;
        // A comment that nobody could decrypt is still the ciphertext it was.
        if is_comment && Encrypted::parse(plaintext.expose_secret()).is_some() {
            return Ok(());
        }
        let encrypted = self.encrypted_text(aad, value_type, plaintext.expose_secret());
        if let (true, Selector::UnencryptedCommentRegex(pattern)) = (is_comment, selector)
            && pattern.is_match(&encrypted)
        {
            return Err(SealError::AmbiguousComment { line: line_of(tree, leaf.id) });
        }
        let text = tree.intern(encrypted.as_bytes());
        tree.set_value(leaf.id, if is_comment { Value::Comment(text) } else { Value::Str(text) });
        self.encrypted.push(leaf.id);
        Ok(())
    }

    fn encrypted_text(&mut self, aad: &str, value_type: ValueType, plaintext: &[u8]) -> String {
        if let Some(known) = self.stash.take(aad, value_type, plaintext) {
            self.reused += 1;
            return known;
        }
        let mut encrypted = String::new();
        self.cipher.encrypt(plaintext, value_type, aad, &random_iv(self.rng), &mut encrypted);
        encrypted
    }
}

fn random_iv(rng: &mut ChaCha20Rng) -> [u8; IV_LENGTH] {
    let mut iv = [0; IV_LENGTH];
    rng.fill_bytes(&mut iv);
    iv
}

fn line_of(tree: &Tree, id: NodeId) -> usize {
    tree.line(tree.node(id).span.start)
}
