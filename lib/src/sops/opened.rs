//! A decrypted document, its MAC checked.

use subtle::ConstantTimeEq;

use super::cipher::{Cipher, CipherError, Encrypted, ValueType, append_plaintext};
use super::clear::InClear;
use super::envelope::MacCheck;
use super::layout::Layout;
use super::leaves::path_of;
use super::mac::Mac;
use super::metadata::Metadata;
use super::stash::Stash;
use super::walk::{Leaf, Walk};
use crate::format::{Format, MetadataEdit, Rewrite, WriteError, WriteOptions};
use crate::secret::SecretBytes;
use crate::tree::{NodeId, Style, Text, Tree, TreePath, Value, same_values};

/// A decrypted document, its MAC checked.
pub struct Opened {
    format: Format,
    tree: Tree,
    /// The nodes that were decrypted, with their encrypted text.
    decrypted: Vec<(NodeId, Text)>,
    layout: Option<Layout>,
    metadata: Metadata,
    unreadable_comments: usize,
    displaced_comments: Vec<(NodeId, Text, String)>,
    non_canonical: Vec<NodeId>,
}

/// Why a document could not be decrypted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The MAC is missing or cannot be decrypted.
    #[error("Cannot decrypt MAC: {0}")]
    Mac(CipherError),
    /// The MAC is not that of the values: the document was changed without its key.
    #[error("MAC mismatch. The values of the file are not those that it was encrypted with")]
    MacMismatch,
    /// There is no MAC.
    #[error("the file has no MAC, so that nothing tells whether it was changed")]
    MacMissing,
    /// The decrypted document cannot be written.
    #[error("the decrypted document cannot be written: {0}")]
    Write(#[from] WriteError),
    /// The decrypted document cannot be read again as what it says, so that it is not handed out.
    #[error("the decrypted document does not read back as what it holds")]
    Unfaithful,
    /// A value cannot be decrypted.
    #[error("line {line}: the value at {path} cannot be decrypted")]
    Value {
        /// The additional data: the keys on the way to the value, each followed by a colon.
        aad: String,
        /// Where the value is in its document.
        path: TreePath,
        /// The line of the value, 0 if it has none.
        line: usize,
        /// What is wrong with the value.
        source: CipherError,
    },
}

impl Opened {
    pub(crate) fn open(
        metadata: Metadata,
        cipher: &Cipher,
        format: Format,
        mut tree: Tree,
        check: MacCheck,
    ) -> Result<Self, OpenError> {
        // As in sops, the metadata rules here even over a binary document, which is written without rules.
        let mut mac = Mac::new(metadata.mac_only_encrypted);
        let mut walk = Walk::new(&metadata.selector, false);
        let mut decryption = Decryption::new(cipher);
        let mut plaintext = SecretBytes::new();
        while let Some(leaf) = walk.next(&tree) {
            decryption.decrypt(&mut tree, leaf, &walk)?;
            let value = tree.node(leaf.id).value;
            if !matches!(value, Value::Comment(_)) {
                plaintext.truncate(0);
                append_plaintext(&tree, value, &mut plaintext);
                mac.update(plaintext.expose_secret(), leaf.selected);
            }
        }
        let Decryption { decrypted, unreadable_comments, displaced_comments, non_canonical, .. } = decryption;
        check_mac(cipher, &metadata, &mac.finish(), check)?;
        let layout = metadata.layout.as_deref().and_then(|layout| Layout::decrypt(layout, cipher));
        Ok(Self {
            format,
            tree,
            decrypted,
            layout,
            metadata,
            unreadable_comments,
            displaced_comments,
            non_canonical,
        })
    }

    /// Returns the decrypted document: its source with the encrypted values and the metadata replaced.
    ///
    /// # Errors
    /// If a decrypted value cannot be written in its place.
    pub fn plaintext(&self) -> Result<SecretBytes, OpenError> {
        if self.layout.is_some() {
            let restored = self.restored()?;
            if self.holds_the_same(&restored) {
                return Ok(restored);
            }
        }
        let plaintext = self.rewrite(&[])?;
        if self.holds_the_same(&plaintext) { Ok(plaintext) } else { Err(OpenError::Unfaithful) }
    }

    /// Returns the decrypted document written anew in a format, in the style of sops, which does not keep every
    /// type: an integral float comes out as an integer. What is written is not read back.
    ///
    /// # Errors
    /// If the format cannot hold what the document says.
    pub fn write(&self, format: Format, options: &WriteOptions) -> Result<SecretBytes, WriteError> {
        format.store().write(&self.tree, None, options)
    }

    /// Returns what every decrypted value looked like encrypted, for sealing a changed copy.
    #[must_use]
    pub fn stash(&self) -> Stash {
        let mut stash = Stash::of_document();
        let mut walk = Walk::new(&self.metadata.selector, false);
        let mut decrypted = self.decrypted.iter().peekable();
        let mut plaintext = SecretBytes::new();
        while let Some(leaf) = walk.next(&self.tree) {
            let Some(&(_, text)) = decrypted.next_if(|(id, _)| *id == leaf.id) else { continue };
            let value = self.tree.node(leaf.id).value;
            let Some(value_type) = ValueType::of(value) else { continue };
            plaintext.truncate(0);
            append_plaintext(&self.tree, value, &mut plaintext);
            let encrypted = String::from_utf8_lossy(self.tree.bytes(text)).into_owned();
            stash.insert(walk.aad(), value_type, plaintext.expose_secret(), encrypted);
        }
        stash
    }

    /// Returns what the document says in clear.
    pub(crate) fn in_clear(&self) -> InClear {
        InClear::of(&self.tree, &self.metadata.selector, self.decrypted())
    }

    /// Returns the first value or comment, in the order of the document, that is in clear here and in none of these.
    pub(crate) fn first_newly_clear(&self, known: &[InClear]) -> Option<NodeId> {
        InClear::first_beyond(known, &self.tree, &self.metadata.selector, self.decrypted())
    }

    /// Returns the decrypted tree. Its source is still the encrypted one.
    #[must_use]
    pub const fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Returns the metadata.
    #[must_use]
    pub const fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Returns the format that the document was read from.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.format
    }

    /// Returns the nodes that were encrypted.
    pub fn decrypted(&self) -> impl ExactSizeIterator<Item = NodeId> + '_ {
        self.decrypted.iter().map(|&(id, _)| id)
    }

    /// Returns how many comments look encrypted but could not be decrypted; they stay as they are.
    #[must_use]
    pub const fn unreadable_comments(&self) -> usize {
        self.unreadable_comments
    }

    /// Returns the comments that were encrypted for another place than where they are, each with its text and
    /// the additional data of where it is.
    pub(crate) fn displaced_comments(&self) -> &[(NodeId, Text, String)] {
        &self.displaced_comments
    }

    /// Returns the values whose plaintext is not how their type is written.
    pub(crate) fn non_canonical(&self) -> &[NodeId] {
        &self.non_canonical
    }

    /// Returns the bytes that the document was read from.
    #[must_use]
    pub fn into_source(self) -> SecretBytes {
        self.tree.into_source()
    }

    /// Returns the decrypted tree, and the nodes that were encrypted with their encrypted texts.
    pub(crate) fn into_parts(self) -> (Tree, Vec<(NodeId, Text)>) {
        (self.tree, self.decrypted)
    }

    /// Returns the decrypted document with its own spellings, without reading it back.
    pub(crate) fn restored(&self) -> Result<SecretBytes, WriteError> {
        match &self.layout {
            Some(layout) => Ok(layout.mended(self.rewrite(&layout.tokens(&self.tree))?)),
            None => self.rewrite(&[]),
        }
    }

    /// Writes the decrypted values into the source.
    fn rewrite(&self, verbatim: &[(NodeId, &[u8])]) -> Result<SecretBytes, WriteError> {
        let changed: Vec<_> = self.decrypted().collect();
        let metadata = MetadataEdit::Remove;
        self.format.store().rewrite(&self.tree, &Rewrite { changed: &changed, verbatim, metadata })
    }

    fn holds_the_same(&self, plaintext: &SecretBytes) -> bool {
        // Bytes are bytes: there is nothing to read.
        if self.format.store().is_single_value() {
            return true;
        }
        let copy = SecretBytes::from(plaintext.expose_secret());
        self.format.read(copy).is_ok_and(|tree| same_values(&self.tree, &tree))
    }
}

struct Decryption<'a> {
    cipher: &'a Cipher,
    decrypted: Vec<(NodeId, Text)>,
    unreadable_comments: usize,
    displaced_comments: Vec<(NodeId, Text, String)>,
    non_canonical: Vec<NodeId>,
}

impl<'a> Decryption<'a> {
    const fn new(cipher: &'a Cipher) -> Self {
        Self {
            cipher,
            decrypted: Vec::new(),
            unreadable_comments: 0,
            displaced_comments: Vec::new(),
            non_canonical: Vec::new(),
        }
    }

    /// Decrypts a leaf in its place, if it is encrypted.
    fn decrypt(&mut self, tree: &mut Tree, leaf: Leaf, walk: &Walk<'_>) -> Result<(), OpenError> {
        match tree.node(leaf.id).value {
            Value::Comment(text) => {
                self.decrypt_comment(tree, leaf.id, text, walk);
                Ok(())
            }
            _ if !leaf.selected => Ok(()),
            // Null and the empty string are written in clear. Deleting a value so is seen by the MAC.
            Value::Null => Ok(()),
            Value::Str(text) if tree.bytes(text).is_empty() => Ok(()),
            Value::Str(text) => self.decrypt_value(tree, leaf.id, text, walk.aad()),
            _ => Err(value_error(tree, leaf.id, walk.aad(), CipherError::NotEncrypted)),
        }
    }

    fn decrypt_value(&mut self, tree: &mut Tree, id: NodeId, text: Text, aad: &str) -> Result<(), OpenError> {
        let encrypted = Encrypted::parse(tree.bytes(text)).ok_or(CipherError::NotEncrypted);
        let opened = encrypted.and_then(|encrypted| self.cipher.decrypt(encrypted, aad));
        let read =
            opened.and_then(|(value_type, plaintext)| Ok((value_type.read(&plaintext, tree)?, plaintext)));
        let (value, plaintext) = read.map_err(|source| value_error(tree, id, aad, source))?;
        let mut canonical = SecretBytes::new();
        append_plaintext(tree, value, &mut canonical);
        if canonical.expose_secret() != plaintext.expose_secret() {
            self.non_canonical.push(id);
        }
        tree.set_value(id, value);
        self.decrypted.push((id, text));
        Ok(())
    }

    /// Decrypts a comment. One that cannot be is left as it is, since writers differ on what a comment
    /// belongs to, and no comment is part of the MAC.
    fn decrypt_comment(&mut self, tree: &mut Tree, id: NodeId, text: Text, walk: &Walk<'_>) {
        let Some(encrypted) = Encrypted::parse(tree.bytes(text)) else { return };
        let open = |aad: &str| {
            let opened = self.cipher.decrypt(encrypted, aad).ok()?;
            (opened.0 == ValueType::Comment).then_some(opened.1)
        };
        let here = open(walk.aad());
        let is_displaced = here.is_none();
        match here.or_else(|| walk.other_comment_aads().find_map(open)) {
            None => self.unreadable_comments += 1,
            Some(plaintext) => {
                let comment = tree.intern(plaintext.expose_secret());
                if is_displaced {
                    self.displaced_comments.push((id, comment, walk.aad().to_owned()));
                }
                tree.set_value(id, Value::Comment(comment));
                // Sops forgets that the comment stood beside a value: written anew it stands above.
                tree.node_mut(id).style = Style::Plain;
                self.decrypted.push((id, text));
            }
        }
    }
}

fn value_error(tree: &Tree, id: NodeId, aad: &str, source: CipherError) -> OpenError {
    let line = tree.line(tree.node(id).span.start);
    OpenError::Value { aad: aad.to_owned(), path: path_of(tree, id), line, source }
}

fn check_mac(cipher: &Cipher, metadata: &Metadata, computed: &str, check: MacCheck) -> Result<(), OpenError> {
    if check == MacCheck::Ignore {
        return Ok(());
    }
    if metadata.mac.is_empty() {
        return Err(OpenError::MacMissing);
    }
    let encrypted =
        Encrypted::parse(metadata.mac.as_bytes()).ok_or(OpenError::Mac(CipherError::NotEncrypted))?;
    let (_, mac) = cipher.decrypt(encrypted, &metadata.last_modified).map_err(OpenError::Mac)?;
    let equal = mac.expose_secret().ct_eq(computed.as_bytes());
    if bool::from(equal) { Ok(()) } else { Err(OpenError::MacMismatch) }
}
