//! Sealing the values of Secrets, on all cores, where those that are known not to have changed keep their
//! ciphertext.

use std::collections::{BTreeMap, HashMap};

use rand::rngs::OsRng;
use selkie::sealed::{ItemError, KeyRegistry, SealedSecret, SealedValue, SealingCert, SealingError};
use selkie::secret::SecretBytes;

use crate::certificate::CertificateFlags;
use crate::context::Context;
use crate::controller::ControllerFlags;
use crate::digests::Digests;
use crate::failure::Failure;
use crate::parallel::{self, FEW_TO_SEAL};
use crate::sealing_keys::SealingKeyFlags;

/// For whom to seal, and how to know what did not change.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct SealerFlags {
    #[command(flatten)]
    pub certificate: CertificateFlags,

    #[command(flatten)]
    pub keys: SealingKeyFlags,

    #[command(flatten)]
    pub controller: ControllerFlags,

    /// Neither keep nor use digests of what was sealed on this machine
    #[arg(long)]
    pub no_digests: bool,

    /// Seal every value anew, even one that is known not to have changed
    #[arg(long)]
    pub fresh: bool,
}

/// Seals values for a certificate.
pub struct Sealer {
    cert: SealingCert,
    bare_key: Option<String>,
    fingerprint: String,
    keys: Option<KeyRegistry>,
    digests: Digests,
    is_fresh: bool,
}

/// A SealedSecret that wants items, and their values.
pub struct Unsealed<'a> {
    /// The object, without those items.
    pub sealed: SealedSecret,
    /// The values, by key.
    pub values: &'a BTreeMap<String, SecretBytes>,
}

/// What became of a SealedSecret that was to be sealed again.
pub struct Resealing {
    /// The object, with its new items.
    pub sealed: SealedSecret,
    /// The keys of the items that are new.
    pub changed: Vec<String>,
    /// How many items stay.
    pub kept: usize,
    /// The keys of the items that no key opens.
    pub failed: Vec<(String, String)>,
}

impl Resealing {
    /// Returns the result for an object of which nothing is done yet.
    #[must_use]
    pub fn of(sealed: &SealedSecret) -> Self {
        Self { sealed: sealed.clone(), changed: Vec::new(), kept: 0, failed: Vec::new() }
    }

    /// Adds what became of an item.
    fn add(&mut self, key: &str, new: Result<Option<String>, ItemError>) {
        match new {
            Ok(Some(item)) => {
                self.sealed.encrypted_data.insert(key.to_owned(), item);
                self.changed.push(key.to_owned());
            }
            Ok(None) => self.kept += 1,
            Err(error) => self.failed.push((key.to_owned(), error.to_string())),
        }
    }
}

impl SealerFlags {
    /// Gets the certificate, and the private keys if any are named.
    ///
    /// # Errors
    /// If they cannot be had.
    pub fn load(&self, context: &Context<'_>) -> Result<Sealer, Failure> {
        let keys = self.keys.load_if_any(context, &self.controller)?;
        self.with_keys(context, keys)
    }

    /// Gets the certificate and the private keys.
    ///
    /// # Errors
    /// If no private keys are named, or something cannot be had.
    pub fn load_with_keys(&self, context: &Context<'_>) -> Result<Sealer, Failure> {
        let keys = self.keys.load(context, &self.controller)?;
        self.with_keys(context, Some(keys))
    }

    fn with_keys(&self, context: &Context<'_>, keys: Option<KeyRegistry>) -> Result<Sealer, Failure> {
        let (cert, bare_key) = match &keys {
            Some(keys) if !keys.keys().is_empty() => {
                let found = self.certificate.load_for_keys(context, keys)?;
                let bare_key = found.cert.validity().is_none().then_some(found.source);
                (found.cert, bare_key)
            }
            _ => (self.certificate.load(context, &self.controller)?, None),
        };
        let digests = Digests::open(context, !self.no_digests);
        Ok(Sealer { fingerprint: cert.fingerprint(), cert, bare_key, keys, digests, is_fresh: self.fresh })
    }
}

impl Sealer {
    /// Returns what the key is called that is sealed for, if nothing but itself says that it should be.
    pub fn bare_key(&self) -> Option<&str> {
        self.bare_key.as_deref()
    }

    /// Seals all values. An item of `known` stays, if its object is sealed under the same label, and it is known
    /// to be of the same value, for the same certificate. Returns how many stayed.
    ///
    /// # Errors
    /// If the key of the certificate is too small.
    pub fn seal(
        &self,
        objects: Vec<Unsealed<'_>>,
        known: &[SealedSecret],
    ) -> Result<(Vec<SealedSecret>, usize), SealingError> {
        let mut by_name: HashMap<_, Vec<&SealedSecret>> = HashMap::new();
        for sealed in known {
            by_name.entry((sealed.metadata.namespace(), sealed.metadata.name())).or_default().push(sealed);
        }
        let (mut sealed, mut values) = (Vec::new(), Vec::new());
        for (index, object) in objects.into_iter().enumerate() {
            let label = object.sealed.label();
            values.extend(object.values.iter().map(|(key, value)| (index, label.clone(), key, value)));
            sealed.push(object.sealed);
        }
        // To open an item, so as to see that its value is the same, takes far longer than to seal one.
        let few = if self.keys.is_some() { 1 } else { FEW_TO_SEAL };
        let items = parallel::map(values.iter().collect(), few, |(index, label, key, value)| {
            let metadata = &sealed[*index].metadata;
            let known = by_name.get(&(metadata.namespace(), metadata.name())).into_iter().flatten();
            let items = known.filter(|known| known.label() == *label);
            let items: Vec<_> = items.filter_map(|known| known.encrypted_data.get(*key)).collect();
            let item = items.into_iter().find(|item| self.is_of(label, key, value, item));
            let result = match item {
                Some(item) => Ok((item.clone(), true)),
                None => self.cert.seal_labelled(value, label, &mut OsRng).map(|item| (item, false)),
            };
            if let Ok((item, _)) = &result {
                self.record(label, key, value, item);
            }
            result
        });
        let items = items.into_iter().collect::<Result<Vec<_>, _>>()?;
        let kept = items.iter().filter(|(_, is_kept)| *is_kept).count();
        for ((index, _, key, _), (item, _)) in values.iter().zip(items) {
            sealed[*index].encrypted_data.insert((*key).clone(), item);
        }
        Ok((sealed, kept))
    }

    /// Seals a single value.
    ///
    /// # Errors
    /// If the key of the certificate is too small.
    pub fn seal_value(&self, value: &SecretBytes, label: &str) -> Result<String, SealingError> {
        self.cert.seal_labelled(value, label, &mut OsRng)
    }

    /// Seals the items of all objects again that were sealed for another certificate; with `always`, the others,
    /// too. Of an object with an item that no key opens, all stay as they are.
    ///
    /// # Errors
    /// If the key of the certificate is too small.
    pub fn reseal(&self, objects: &[&SealedSecret], always: bool) -> Result<Vec<Resealing>, SealingError> {
        let items: Vec<_> = objects
            .iter()
            .enumerate()
            .flat_map(|(index, object)| {
                let label = object.label();
                object.encrypted_data.iter().map(move |(key, item)| (index, label.clone(), key, item))
            })
            .collect();
        let new = parallel::map(items.iter().collect(), 1, |(_, label, key, item)| {
            self.reseal_item(label, key, item, always)
        });
        let new = new.into_iter().collect::<Result<Vec<_>, _>>()?;
        let mut results: Vec<_> = objects.iter().map(|object| Resealing::of(object)).collect();
        for ((index, _, key, _), new) in items.into_iter().zip(new) {
            results[index].add(key, new);
        }
        for (result, object) in results.iter_mut().zip(objects) {
            if !result.failed.is_empty() {
                result.sealed = (*object).clone();
                result.changed.clear();
            }
        }
        Ok(results)
    }

    fn reseal_item(
        &self,
        label: &str,
        key: &str,
        item: &str,
        always: bool,
    ) -> Result<Result<Option<String>, ItemError>, SealingError> {
        let opened = match self.keys.as_ref().map(|keys| keys.open(item, label)) {
            Some(Ok(opened)) => opened,
            // It may have been sealed for the new key on this machine already.
            _ if !always && self.digests.knows(&self.mark(item)) => return Ok(Ok(None)),
            Some(Err(error)) => return Ok(Err(error)),
            None => return Ok(Err(ItemError::Locked(Vec::new()))),
        };
        let is_wanted =
            self.keys.as_ref().is_some_and(|keys| keys.keys()[opened.key].fingerprint() == self.fingerprint);
        if is_wanted && !always {
            self.record(label, key, &opened.value, item);
            return Ok(Ok(None));
        }
        let new = self.cert.seal_labelled(&opened.value, label, &mut OsRng)?;
        self.record(label, key, &opened.value, &new);
        Ok(Ok(Some(new)))
    }

    /// Remembers what an item was made of, and for which certificate.
    fn record(&self, label: &str, key: &str, value: &SecretBytes, item: &str) {
        self.digests.record(&self.value(label, key, value, item));
        self.digests.record(&self.mark(item));
    }

    /// Returns what says of an item that it was sealed for the certificate, whatever its value.
    fn mark<'a>(&'a self, item: &'a str) -> SealedValue<'a> {
        // No value has such a label.
        SealedValue { label: "\0", key: "", value: b"", item, fingerprint: &self.fingerprint }
    }

    /// Writes down what was sealed, for the next run.
    pub fn keep(&self, context: &Context<'_>) {
        self.digests.keep(context);
    }

    /// Returns whether an item is known to be made of a value, for the wanted certificate.
    fn is_of(&self, label: &str, key: &str, value: &SecretBytes, item: &str) -> bool {
        if self.is_fresh {
            return false;
        }
        if self.digests.knows(&self.value(label, key, value, item)) {
            return true;
        }
        let Some(keys) = &self.keys else { return false };
        keys.open(item, label).is_ok_and(|opened| {
            keys.keys()[opened.key].fingerprint() == self.fingerprint && opened.value.is_same(value)
        })
    }

    fn value<'a>(
        &'a self,
        label: &'a str,
        key: &'a str,
        value: &'a SecretBytes,
        item: &'a str,
    ) -> SealedValue<'a> {
        SealedValue { label, key, value: value.expose_secret(), item, fingerprint: &self.fingerprint }
    }
}
