//! Opening files, of whatever scheme they are, with the keys at hand.

use std::sync::OnceLock;

use rand::rngs::OsRng;
use selkie::format::Format;
use selkie::keys::KeyService;
use selkie::scheme::{KeySource, Keys, OpenDocument, Scheme, SchemeError, scheme_of};
use selkie::sealed::{KeyRegistry, SealingCert};
use selkie::secret::SecretBytes;
use selkie::sops::{MacCheck, Metadata, MetadataError};
use selkie::template::Surroundings;
use selkie::tree::Tree;

use crate::certificate::CertificateFlags;
use crate::context::Context;
use crate::controller::ControllerFlags;
use crate::document::Document;
use crate::failure::Failure;
use crate::sealing_keys::SealingKeyFlags;
use crate::targets::Target;

/// With which keys to open SealedSecrets; SOPS documents are opened with identities.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct OpeningFlags {
    #[command(flatten)]
    keys: SealingKeyFlags,

    #[command(flatten)]
    cert: CertificateFlags,

    #[command(flatten)]
    controller: ControllerFlags,
}

/// The keys of a run, each kind looked for when the first file asks for it.
pub struct Opener<'a> {
    context: &'a Context<'a>,
    flags: &'a OpeningFlags,
    services: OnceLock<Vec<&'a dyn KeyService>>,
    registry: OnceLock<KeyRegistry>,
    cert: OnceLock<SealingCert>,
}

impl OpeningFlags {
    /// Returns what opens the files of a run.
    pub const fn opener<'a>(&'a self, context: &'a Context<'a>) -> Opener<'a> {
        Opener {
            context,
            flags: self,
            services: OnceLock::new(),
            registry: OnceLock::new(),
            cert: OnceLock::new(),
        }
    }
}

impl Opener<'_> {
    /// Opens a document; nothing if it is of no scheme, and the user did not name it.
    ///
    /// # Errors
    /// If it is of no scheme, no key at hand fits, or it was changed without one.
    pub fn open(
        &self,
        target: &Target,
        document: &Document,
        check: MacCheck,
    ) -> Result<Option<Box<dyn OpenDocument + '_>>, Failure> {
        if !target.is_named() && !document.may_hold_secrets() {
            return Ok(None);
        }
        match self.open_document(document, check) {
            Err(Failure::Metadata(MetadataError::Missing)) if !target.is_named() => Ok(None),
            opened => {
                opened.inspect(|opened| warn_of_mixed_up_contexts(self.context, target, &**opened)).map(Some)
            }
        }
    }

    fn open_document(
        &self,
        document: &Document,
        check: MacCheck,
    ) -> Result<Box<dyn OpenDocument + '_>, Failure> {
        let is_unnamed = document.is_unnamed();
        let opened = document.tree().and_then(|tree| self.open_tree(document.format, tree, check));
        match opened {
            Err(Failure::Metadata(MetadataError::Missing) | Failure::Parse(_)) if is_unnamed => {
                Err(Failure::Unnamed)
            }
            // Encrypted JSON looks like encrypted bytes until these are to be had.
            Ok(opened) if is_unnamed && opened.plaintext().is_err() => Err(Failure::Unnamed),
            opened => opened,
        }
    }

    /// Opens a document that was read already.
    ///
    /// # Errors
    /// If it is not encrypted, no key at hand fits, or it was changed without one.
    pub fn open_tree(
        &self,
        format: Format,
        tree: Tree,
        check: MacCheck,
    ) -> Result<Box<dyn OpenDocument + '_>, Failure> {
        let scheme = scheme_of(&tree).ok_or(Failure::Metadata(MetadataError::Missing))?;
        let keys = self.keys(scheme, check)?;
        Ok(scheme.open(format, tree, &keys)?)
    }

    /// Encrypts a changed text of a file, if it changed.
    ///
    /// # Errors
    /// If the text is not of the format of the file, or cannot be encrypted.
    pub fn seal(
        &self,
        opened: &dyn OpenDocument,
        plaintext: &SecretBytes,
    ) -> Result<Option<SecretBytes>, Failure> {
        let cert = self.cert_for(opened)?;
        let mut surroundings = Surroundings { now: (self.context.session.clock)(), rng: &mut OsRng };
        Ok(opened.seal(plaintext, cert, &mut surroundings)?)
    }

    /// Returns the certificate to seal changed values of a file for, if it needs one. Whoever only reads needs none.
    ///
    /// # Errors
    /// If it cannot be had, or has expired.
    pub fn cert_for(&self, opened: &dyn OpenDocument) -> Result<Option<&SealingCert>, Failure> {
        if !opened.needs_cert() {
            return Ok(None);
        }
        if let Some(cert) = self.cert.get() {
            return Ok(Some(cert));
        }
        let cert = self.flags.cert.load_for_keys(self.context, self.registry()?)?.cert;
        Ok(Some(self.cert.get_or_init(|| cert)))
    }

    /// Encrypts a file as it is, so that it is good again.
    ///
    /// # Errors
    /// If it cannot be encrypted.
    pub fn make_whole(&self, opened: &dyn OpenDocument) -> Result<Option<SecretBytes>, SchemeError> {
        let mut surroundings = Surroundings { now: (self.context.session.clock)(), rng: &mut OsRng };
        opened.make_whole(&mut surroundings)
    }

    /// Returns the private keys of controllers that are at hand.
    ///
    /// # Errors
    /// If a key that was named cannot be read.
    pub fn registry(&self) -> Result<&KeyRegistry, Failure> {
        if let Some(registry) = self.registry.get() {
            return Ok(registry);
        }
        let Self { context, flags, .. } = self;
        let registry = flags.keys.load_if_any(context, &flags.controller)?.unwrap_or_default();
        Ok(self.registry.get_or_init(|| registry))
    }

    fn keys(&self, scheme: &dyn Scheme, mac: MacCheck) -> Result<Keys<'_>, Failure> {
        Ok(match scheme.key_source() {
            KeySource::KeyServices => {
                self.context.warn_of_exposed_identities();
                if self.services.get().is_none() {
                    let services = self.context.services()?;
                    self.services.get_or_init(|| services);
                }
                let services = self.services.get().map_or(&[][..], Vec::as_slice);
                Keys { services, mac, sealing: NO_KEYS.get_or_init(KeyRegistry::new) }
            }
            KeySource::SealingKeys => {
                let registry = self.registry()?;
                if registry.keys().is_empty() {
                    return Err(Failure::NoSealingKeys);
                }
                Keys { services: &[], mac, sealing: registry }
            }
        })
    }
}

/// Says so if keys of a file may be wrapped otherwise than they say.
pub fn warn_of_mixed_up_contexts(context: &Context<'_>, target: &Target, opened: &dyn OpenDocument) {
    if opened.metadata().is_some_and(Metadata::has_mixed_up_contexts) {
        context.report.warn(format!(
            "{target}: sops before 3.3.0 mixed up the encryption contexts of AWS KMS; \
             run `kubectl seal rotate {target}` to put them right"
        ));
    }
}

static NO_KEYS: OnceLock<KeyRegistry> = OnceLock::new();
