//! A document's data key with its metadata: made for new documents, recovered for encrypted ones.

use hkdf::Hkdf;
use rand_core::CryptoRngCore;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::cipher::{Cipher, Encrypted};
use super::groups::{self, RecoverError, WrapError};
use super::metadata::Metadata;
use super::opened::{OpenError, Opened};
use super::recovery;
use super::sealed::{SealError, Sealed};
use super::stash::Stash;
use crate::format::Format;
use crate::keys::{DataKey, KeyGroup, KeyService};
use crate::tree::Tree;

/// A document's data key with its metadata.
pub struct Envelope {
    metadata: Metadata,
    data_key: DataKey,
}

/// What to do with a document's MAC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MacCheck {
    /// Read the document even if its MAC is missing or wrong.
    Ignore,
    /// Refuse the document if its MAC is missing or wrong.
    #[default]
    Require,
}

impl Envelope {
    /// Draws a new data key and wraps it for the groups of `metadata`. `now` is RFC 3339.
    ///
    /// # Errors
    /// If there is no key, the threshold does not fit, or a key fails.
    pub async fn create(
        mut metadata: Metadata,
        services: &[&dyn KeyService],
        now: &str,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Self, WrapError> {
        let data_key = DataKey::generate(rng);
        groups::wrap(&data_key, &mut metadata.groups, metadata.shamir_threshold, services, now, rng).await?;
        metadata.shamir_threshold = written_threshold(metadata.shamir_threshold, metadata.groups.len());
        metadata.mark_as_wrapped();
        Ok(Self { metadata, data_key })
    }

    /// Recovers the data key of an encrypted document. In each group the kinds of `order` are tried first, one kind
    /// after the other; what is left is tried by what it takes: computations, then requests all at once, then
    /// questions to people, one by one and no more than are needed. [`BY_EFFORT`](super::BY_EFFORT) names no kind.
    ///
    /// # Errors
    /// If too few groups recover their part; the error tells what became of each key.
    pub async fn recover(
        metadata: Metadata,
        services: &[&dyn KeyService],
        order: &[&str],
    ) -> Result<Self, RecoverError> {
        let required = metadata.required_groups();
        let data_key = recovery::recover(&metadata.groups, required, services, order).await?;
        Ok(Self { metadata, data_key })
    }

    /// Wraps the same data key for other groups. Whoever knew it still does: see [`Self::renew`].
    ///
    /// # Errors
    /// If a group is empty, the threshold does not fit, or a key fails; the envelope is then unchanged.
    pub async fn rewrap(
        &mut self,
        mut groups: Vec<KeyGroup>,
        threshold: usize,
        services: &[&dyn KeyService],
        now: &str,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<(), WrapError> {
        groups::wrap(&self.data_key, &mut groups, threshold, services, now, rng).await?;
        self.metadata.shamir_threshold = written_threshold(threshold, groups.len());
        self.metadata.groups = groups;
        self.metadata.mark_as_wrapped();
        Ok(())
    }

    /// Wraps the data key for one group, or for several, as [`Self::rewrap`] does; of one group, only for keys that hold
    /// nothing yet. What the others hold has to be the same data key.
    ///
    /// # Errors
    /// As [`Self::rewrap`].
    pub(crate) async fn wrap_missing(
        &mut self,
        mut groups: Vec<KeyGroup>,
        threshold: usize,
        services: &[&dyn KeyService],
        now: &str,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<(), WrapError> {
        let [group] = groups.as_mut_slice() else {
            // Shares of one data key that were split apart from each other do not fit together.
            return self.rewrap(groups, threshold, services, now, rng).await;
        };
        let missing = group.0.iter().filter(|key| key.wrapped().is_empty());
        let mut wrapped = [KeyGroup(missing.cloned().collect())];
        if !wrapped[0].0.is_empty() {
            groups::wrap(&self.data_key, &mut wrapped, 0, services, now, rng).await?;
        }
        let [wrapped] = wrapped;
        let missing = group.0.iter_mut().filter(|key| key.wrapped().is_empty());
        missing.zip(wrapped.0).for_each(|(key, wrapped)| *key = wrapped);
        groups::check(&groups, threshold)?;
        self.metadata.shamir_threshold = written_threshold(threshold, groups.len());
        self.metadata.groups = groups;
        Ok(())
    }

    /// Returns an envelope with the same data key and other metadata, whose keys have to hold it.
    pub(crate) fn with_metadata(&self, metadata: Metadata) -> Self {
        Self { metadata, data_key: self.data_key.duplicate() }
    }

    /// Returns whether a document with this metadata has the same data key, as its MAC tells.
    pub(crate) fn fits(&self, metadata: &Metadata) -> bool {
        let mac = Encrypted::parse(metadata.mac.as_bytes());
        mac.is_some_and(|mac| self.cipher().decrypt(mac, &metadata.last_modified).is_ok())
    }

    /// Returns whether the data keys are the same.
    pub(crate) fn has_same_key(&self, other: &Self) -> bool {
        self.data_key.expose_secret().ct_eq(other.data_key.expose_secret()).into()
    }

    /// Returns an envelope with a new data key for the same groups. Values must be sealed anew, without
    /// a stash.
    ///
    /// # Errors
    /// If a key fails.
    pub async fn renew(
        &self,
        services: &[&dyn KeyService],
        now: &str,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Self, WrapError> {
        Self::create(self.metadata.clone(), services, now, rng).await
    }

    /// Decrypts a document and checks its MAC.
    ///
    /// # Errors
    /// If a value or the MAC cannot be decrypted, or the MAC is not that of the values.
    pub fn open(&self, format: Format, tree: Tree, check: MacCheck) -> Result<Opened, OpenError> {
        Opened::open(self.metadata.clone(), &self.cipher(), format, tree, check)
    }

    /// Encrypts a plain document. Values that `stash` knows keep their ciphertext. `now` is RFC 3339 and
    /// becomes the document's last modification.
    ///
    /// # Errors
    /// If the document is encrypted already, holds what SOPS cannot, or the rule selects none of its values
    /// while the stash is empty.
    pub fn seal(
        &self,
        format: Format,
        tree: Tree,
        stash: Stash,
        now: &str,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Sealed<'_>, SealError> {
        Sealed::seal(self, format, tree, stash, now, rng)
    }

    /// Returns the metadata.
    #[must_use]
    pub const fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Returns the metadata to change: what it says takes effect with the next document sealed.
    pub const fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.metadata
    }

    /// Returns a key that hangs on the data key and on what it is for, by HKDF-SHA256.
    pub(crate) fn derive(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        let hkdf = Hkdf::<Sha256>::new(None, self.data_key.expose_secret());
        hkdf.expand(purpose.as_bytes(), &mut *key).expect("HKDF has 32 bytes");
        key
    }

    pub(crate) fn cipher(&self) -> Cipher {
        Cipher::new(&self.data_key)
    }
}

/// Returns the threshold as it is written down. sops writes the number of groups in place of 0, and relies
/// on it where not all groups recover their part.
const fn written_threshold(threshold: usize, groups: usize) -> usize {
    if threshold == 0 && groups > 1 { groups } else { threshold }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::keys::{KEY_KINDS, KeyError, KeyFuture, MasterKey};
    use crate::secret::SecretBytes;
    use crate::sops::{BY_EFFORT, Selector};
    use crate::tree::MetadataEntry;
    use pollster::block_on;
    use rand::SeedableRng;
    use rand_chacha::ChaCha20Rng;
    use serde_json::json;

    pub(crate) const NOW: &str = "2026-11-23T02:23:49Z";

    /// Keeps secrets as hexadecimal digits, for the recipients that it has.
    pub(crate) struct Vault(pub(crate) &'static [&'static str]);

    impl KeyService for Vault {
        fn name(&self) -> String {
            "vault".to_owned()
        }

        fn wrap<'a>(&'a self, _key: &'a MasterKey, secret: &'a SecretBytes) -> KeyFuture<'a, String> {
            let digits = secret.expose_secret().iter().map(|byte| format!("{byte:02x}")).collect();
            Box::pin(std::future::ready(Some(Ok(digits))))
        }

        fn unwrap<'a>(&'a self, key: &'a MasterKey) -> KeyFuture<'a, SecretBytes> {
            let digits = key.wrapped().as_bytes().chunks(2).map(|pair| {
                let pair = std::str::from_utf8(pair).expect("hexadecimal digits");
                u8::from_str_radix(pair, 16).expect("hexadecimal digits")
            });
            let known = self.0.contains(&key.field("recipient"));
            let result = if known {
                Ok(digits.collect::<Vec<u8>>().into())
            } else {
                Err(KeyError::NoIdentity(Box::default()))
            };
            Box::pin(std::future::ready(Some(result)))
        }
    }

    pub(crate) fn group(recipients: &[&str]) -> KeyGroup {
        let kind = KEY_KINDS.iter().find(|kind| kind.name == "age").expect("a kind");
        let key = |recipient: &&str| {
            MasterKey::from_metadata(kind, json!({"recipient": recipient}).as_object().expect("an object"))
        };
        KeyGroup(recipients.iter().map(key).collect())
    }

    pub(crate) fn rng() -> ChaCha20Rng {
        ChaCha20Rng::seed_from_u64(1)
    }

    pub(crate) fn seal(source: &str, format: Format, metadata: Metadata) -> SecretBytes {
        let tree = format.read(source).expect("a valid document");
        let envelope = block_on(Envelope::create(metadata, &[&Vault(&[])], NOW, &mut rng())).expect("wraps");
        let sealed = envelope.seal(format, tree, Stash::new(), NOW, &mut rng()).expect("seals");
        sealed.in_place().expect("writes")
    }

    pub(crate) fn recover(
        source: &SecretBytes,
        format: Format,
        known: &'static [&'static str],
    ) -> Result<(Envelope, Tree), RecoverError> {
        let tree = format.read(SecretBytes::from(source.expose_secret())).expect("a valid document");
        let metadata = Metadata::from_entry(tree.metadata()).expect("metadata");
        block_on(Envelope::recover(metadata, &[&Vault(known)], BY_EFFORT)).map(|envelope| (envelope, tree))
    }

    fn text(secret: &SecretBytes) -> String {
        String::from_utf8(secret.expose_secret().to_vec()).expect("UTF-8")
    }

    const DOCUMENT: &str = "{\"b\": {\"c\": [1, \"two\", 2.50]}, \"n\": null, \"a_unencrypted\": true}\n";

    #[test]
    fn a_document_comes_back_byte_for_byte() {
        let sealed = seal(DOCUMENT, Format::Json, Metadata::new(vec![group(&["a"])]));
        assert!(!text(&sealed).contains("two"), "a selected value is encrypted");
        assert!(text(&sealed).contains("\"a_unencrypted\": true"), "others are not");
        let (envelope, tree) = recover(&sealed, Format::Json, &["a"]).expect("recovers");
        let opened = envelope.open(Format::Json, tree, MacCheck::Require).expect("opens");
        assert_eq!(text(&opened.plaintext().expect("writes")), DOCUMENT);
    }

    #[test]
    fn threshold_is_written_where_there_are_several_groups() {
        let several = seal(DOCUMENT, Format::Json, Metadata::new(vec![group(&["a"]), group(&["b"])]));
        assert!(text(&several).contains("\"shamir_threshold\": 2"));
        let one = seal(DOCUMENT, Format::Json, Metadata::new(vec![group(&["a"])]));
        assert!(!text(&one).contains("shamir_threshold"));
    }

    #[test]
    fn two_of_three_groups_suffice_and_one_does_not() {
        let mut metadata = Metadata::new(vec![group(&["a"]), group(&["b", "c"]), group(&["d"])]);
        metadata.shamir_threshold = 2;
        let sealed = seal(DOCUMENT, Format::Json, metadata);
        assert!(recover(&sealed, Format::Json, &["a", "c"]).is_ok());
        assert!(recover(&sealed, Format::Json, &["b", "d"]).is_ok());
        let error = recover(&sealed, Format::Json, &["c"]).err().expect("one group is not enough");
        assert_eq!((error.recovered, error.required), (1, 2));
        let failed: Vec<_> = error.groups.iter().map(|group| group.failures.len()).collect();
        assert_eq!(failed, [1, 1, 1]);
    }

    #[test]
    fn a_change_without_the_key_is_refused() {
        let sealed = text(&seal(DOCUMENT, Format::Json, Metadata::new(vec![group(&["a"])])));
        let open = |source: String| {
            let (envelope, tree) = recover(&source.into(), Format::Json, &["a"]).expect("recovers");
            envelope.open(Format::Json, tree, MacCheck::Require).err()
        };
        assert_eq!(open(sealed.clone()), None);
        assert_eq!(
            open(sealed.replace("_unencrypted\": true", "_unencrypted\": false")),
            Some(OpenError::MacMismatch)
        );
        let moved = sealed.replace("\"c\":", "\"d\":");
        assert!(matches!(open(moved), Some(OpenError::Value { aad, .. }) if aad == "b:d:"));
    }

    #[test]
    fn an_unchanged_value_keeps_its_ciphertext() {
        let sealed = seal(DOCUMENT, Format::Json, Metadata::new(vec![group(&["a"])]));
        let (envelope, tree) = recover(&sealed, Format::Json, &["a"]).expect("recovers");
        let opened = envelope.open(Format::Json, tree, MacCheck::Require).expect("opens");
        let changed = Format::Json.read(DOCUMENT.replace("two", "three")).expect("valid");
        let again = envelope.seal(Format::Json, changed, opened.stash(), NOW, &mut rng()).expect("seals");
        assert_eq!((again.encrypted_count(), again.reused_count()), (3, 2));
    }

    #[test]
    fn a_rule_that_selects_nothing_is_refused() {
        let mut metadata = Metadata::new(vec![group(&["a"])]);
        metadata.selector = Selector::EncryptedSuffix("_secret".to_owned());
        let envelope = block_on(Envelope::create(metadata, &[&Vault(&[])], NOW, &mut rng())).expect("wraps");
        let tree = Format::Json.read(DOCUMENT).expect("valid");
        let error = envelope.seal(Format::Json, tree, Stash::new(), NOW, &mut rng()).err().expect("refused");
        assert_eq!(
            error,
            SealError::NothingSelected { field: "encrypted_suffix", text: "_secret".to_owned() }
        );
    }

    #[test]
    fn what_is_encrypted_is_not_encrypted_again() {
        let sealed = seal(DOCUMENT, Format::Json, Metadata::new(vec![group(&["a"])]));
        let (envelope, tree) = recover(&sealed, Format::Json, &["a"]).expect("recovers");
        assert_ne!(*tree.metadata(), MetadataEntry::Absent);
        let error = envelope.seal(Format::Json, tree, Stash::new(), NOW, &mut rng()).err();
        assert_eq!(error, Some(SealError::AlreadyEncrypted));
    }
}
