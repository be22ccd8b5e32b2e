//! Sealing certificates: the public halves, to which values are sealed, with how long they are meant to be used.

use rand_core::CryptoRngCore;
use rsa::pkcs1::der::Decode;
#[cfg(feature = "aws-lc")]
use time::Duration;
use time::OffsetDateTime;
use x509_cert::Certificate;

#[cfg(feature = "aws-lc")]
use super::key::{SealingKey, SealingKeyError};
use super::pem_block;
use super::registry::Key;
use super::rsa::PublicKey;
use super::sealed_secret::SealingError;
use super::{SealingScope, item};
use crate::secret::SecretBytes;

/// A certificate to seal for; or the public half of a key alone, if that is all there is.
#[derive(Clone)]
pub struct SealingCert {
    key: PublicKey,
    validity: Option<Validity>,
    pem: String,
}

/// How long a certificate is meant to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// From when on it is valid.
    pub not_before: OffsetDateTime,
    /// Until when it is valid.
    pub not_after: OffsetDateTime,
}

/// Why a certificate cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertError {
    /// It is not valid any more.
    #[error("the certificate expired on {}", date(*.0))]
    Expired(
        /// When it ended.
        OffsetDateTime,
    ),
    /// The PEM or the DER in it is broken.
    #[error("the certificate is malformed")]
    Malformed,
    /// There is no certificate in the PEM.
    #[error("there is no certificate in PEM")]
    Missing,
    /// Its key is for another algorithm.
    #[error("the key of the certificate is not an RSA key")]
    NotRsa,
    /// There is a public key without a certificate.
    #[error("there is a public key, where a certificate is needed")]
    PublicKey,
}

impl SealingCert {
    /// Reads the first certificate of a PEM text. Blocks of other kinds, broken ones, and those with PEM headers are
    /// passed over, as is text between blocks. Whether the certificate is still valid is another question:
    /// [`check_expiry`](Self::check_expiry).
    ///
    /// # Errors
    /// If there is no certificate, or it is not one with an RSA key.
    pub fn parse(pem: &[u8]) -> Result<Self, CertError> {
        let blocks = pem_block::blocks(pem);
        let certs = || blocks.iter().filter(|block| block.tag == "CERTIFICATE" && !block.has_headers);
        match certs().find_map(|block| block.content.as_ref()) {
            Some(der) => Self::from_der(der.expose_secret()),
            None if certs().next().is_some() => Err(CertError::Malformed),
            None if blocks.iter().any(|block| block.tag.ends_with("PUBLIC KEY")) => Err(CertError::PublicKey),
            None => Err(CertError::Missing),
        }
    }

    pub(super) fn from_der(der: &[u8]) -> Result<Self, CertError> {
        let certificate = Certificate::from_der(der).map_err(|_| CertError::Malformed)?;
        let fields = certificate.tbs_certificate;
        let key = fields.subject_public_key_info;
        if key.algorithm.oid != rsa::pkcs1::ALGORITHM_OID {
            return Err(CertError::NotRsa);
        }
        let key = key.subject_public_key.as_bytes().and_then(PublicKey::from_pkcs1);
        let time = |time: x509_cert::time::Time| {
            i64::try_from(time.to_unix_duration().as_secs())
                .ok()
                .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
                .ok_or(CertError::Malformed)
        };
        let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
        Ok(Self {
            key: key.ok_or(CertError::Malformed)?,
            validity: Some(Validity {
                not_before: time(fields.validity.not_before)?,
                not_after: time(fields.validity.not_after)?,
            }),
            pem: pem::encode_config(&pem::Pem::new("CERTIFICATE", der), config),
        })
    }

    /// Returns the public half of a key, which is meant to be used as long as its certificate, if that is known.
    #[must_use]
    pub fn of_key(key: &Key) -> Self {
        let validity = key.not_before.zip(key.not_after);
        let validity = validity.map(|(not_before, not_after)| Validity { not_before, not_after });
        let public = key.key.public();
        Self { key: public.clone(), validity, pem: public.to_pem() }
    }

    /// Makes a certificate for a key, as the controller makes its own: signed by itself, with `common_name` or
    /// without any, valid from `now` on for `lifetime`.
    ///
    /// # Errors
    /// If the times are beyond what certificates can say, or the key cannot sign.
    #[cfg(feature = "aws-lc")]
    pub fn generate(
        key: &SealingKey,
        common_name: &str,
        now: OffsetDateTime,
        lifetime: Duration,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Self, SealingKeyError> {
        let der = self_signed::certificate(key, common_name, now, lifetime, rng)?;
        Self::from_der(&der).map_err(|_| SealingKeyError::Generation)
    }

    /// Makes sure that the certificate is still valid at `now`. One that is not valid yet passes, as for kubeseal,
    /// and so does a bare key.
    ///
    /// # Errors
    /// If it is not.
    pub fn check_expiry(&self, now: OffsetDateTime) -> Result<(), CertError> {
        match self.validity {
            Some(Validity { not_after, .. }) if now > not_after => Err(CertError::Expired(not_after)),
            _ => Ok(()),
        }
    }

    /// Returns how long the certificate is meant to be used; `None` for a bare key.
    #[must_use]
    pub const fn validity(&self) -> Option<Validity> {
        self.validity
    }

    /// Returns who signed the certificate, as RFC 4514 writes names: empty if it does not tell, `None` for a bare key.
    #[must_use]
    pub fn issuer(&self) -> Option<String> {
        let pem = pem::parse(&self.pem).ok().filter(|_| self.validity.is_some())?;
        let certificate = Certificate::from_der(pem.contents()).ok()?;
        Some(certificate.tbs_certificate.issuer.to_string())
    }

    /// Returns the fingerprint of the key, as OpenSSH shows it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.key.fingerprint()
    }

    /// Returns the size of the key in bits.
    #[must_use]
    pub fn bits(&self) -> usize {
        self.key.bits()
    }

    /// Returns the certificate alone, as PEM; of a bare key the public key.
    #[must_use]
    pub fn to_pem(&self) -> &str {
        &self.pem
    }

    /// Seals a single value for a scope, as `kubeseal --raw` does.
    ///
    /// # Errors
    /// If the key is too small.
    pub fn seal_value(
        &self,
        value: &SecretBytes,
        scope: SealingScope,
        namespace: &str,
        name: &str,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<String, SealingError> {
        self.seal_labelled(value, &scope.label(namespace, name), rng)
    }

    /// Seals a single value under a label: see [`SealedSecret::label`](super::SealedSecret::label).
    ///
    /// # Errors
    /// If the key is too small.
    pub fn seal_labelled(
        &self,
        value: &SecretBytes,
        label: &str,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<String, SealingError> {
        item::seal(&self.key, label, value.expose_secret(), rng).map_err(|_| SealingError::KeyTooSmall)
    }

    /// Seals a single value under a label so that the same value at the same `place` always gives the same item, as
    /// long as `secret` is the same. Who has the secret can try out values.
    ///
    /// # Errors
    /// If the key is too small.
    pub(super) fn seal_repeatably(
        &self,
        value: &SecretBytes,
        label: &str,
        place: &[&str],
        secret: &[u8; 32],
    ) -> Result<String, SealingError> {
        let item = item::seal_repeatably(&self.key, label, place, value.expose_secret(), secret);
        item.map_err(|_| SealingError::KeyTooSmall)
    }
}

/// A date for people, such as `January 2, 2006`.
fn date(moment: OffsetDateTime) -> String {
    let moment = moment.to_offset(time::UtcOffset::UTC);
    format!("{} {}, {}", moment.month(), moment.day(), moment.year())
}

#[cfg(feature = "aws-lc")]
mod self_signed {
    //! Certificates that are signed by the key that they are for.

    use const_oid::db::rfc4519::COMMON_NAME;
    use const_oid::db::rfc5280::{ID_CE_BASIC_CONSTRAINTS, ID_CE_KEY_USAGE, ID_CE_SUBJECT_KEY_IDENTIFIER};
    use const_oid::db::rfc5912::SHA_256_WITH_RSA_ENCRYPTION;
    use der::asn1::{Any, BitString, Null, ObjectIdentifier, OctetString, SetOfVec, Utf8StringRef};
    use der::{DateTime, Encode};
    use sha2::{Digest, Sha256};
    use x509_cert::attr::AttributeTypeAndValue;
    use x509_cert::ext::Extension;
    use x509_cert::ext::pkix::{BasicConstraints, KeyUsage, KeyUsages, SubjectKeyIdentifier};
    use x509_cert::name::{Name, RelativeDistinguishedName};
    use x509_cert::serial_number::SerialNumber;
    use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
    use x509_cert::time::{Time, Validity};
    use x509_cert::{Certificate, TbsCertificate, Version};

    use super::{CryptoRngCore, Duration, OffsetDateTime, SealingKeyError};
    use crate::sealed::SealingKey;

    pub(super) fn certificate(
        key: &SealingKey,
        common_name: &str,
        now: OffsetDateTime,
        lifetime: Duration,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Vec<u8>, SealingKeyError> {
        let fields = fields(key, common_name, now, lifetime, rng).map_err(|error| match error.kind() {
            der::ErrorKind::DateTime => SealingKeyError::Validity,
            _ => SealingKeyError::Generation,
        })?;
        let message = fields.to_der().map_err(|_| SealingKeyError::Generation)?;
        let signature =
            BitString::from_bytes(&key.sign(&message)?).map_err(|_| SealingKeyError::Generation)?;
        let certificate =
            Certificate { signature_algorithm: fields.signature.clone(), tbs_certificate: fields, signature };
        certificate.to_der().map_err(|_| SealingKeyError::Generation)
    }

    fn fields(
        key: &SealingKey,
        common_name: &str,
        now: OffsetDateTime,
        lifetime: Duration,
        rng: &mut dyn CryptoRngCore,
    ) -> der::Result<TbsCertificate> {
        let public = key.public().to_pkcs1();
        let name = name(common_name)?;
        let mut serial = [0; 16];
        rng.fill_bytes(&mut serial);
        let not_after = now.checked_add(lifetime).ok_or(der::ErrorKind::DateTime)?;
        Ok(TbsCertificate {
            version: Version::V3,
            serial_number: SerialNumber::new(&serial)?,
            signature: algorithm(SHA_256_WITH_RSA_ENCRYPTION),
            issuer: name.clone(),
            validity: Validity { not_before: time(now)?, not_after: time(not_after)? },
            subject: name,
            subject_public_key_info: SubjectPublicKeyInfoOwned {
                algorithm: algorithm(rsa::pkcs1::ALGORITHM_OID),
                subject_public_key: BitString::from_bytes(&public)?,
            },
            issuer_unique_id: None,
            subject_unique_id: None,
            extensions: Some(extensions(&public)?),
        })
    }

    /// What the controller puts into its certificates.
    fn extensions(public: &[u8]) -> der::Result<Vec<Extension>> {
        let identifier = Sha256::digest(public)[..20].to_vec();
        let usage = KeyUsage(KeyUsages::EncipherOnly.into());
        let constraints = BasicConstraints { ca: true, path_len_constraint: None };
        let identifier = SubjectKeyIdentifier(OctetString::new(identifier)?);
        Ok(vec![
            extension(ID_CE_KEY_USAGE, true, &usage)?,
            extension(ID_CE_BASIC_CONSTRAINTS, true, &constraints)?,
            extension(ID_CE_SUBJECT_KEY_IDENTIFIER, false, &identifier)?,
        ])
    }

    fn extension(extn_id: ObjectIdentifier, critical: bool, value: &impl Encode) -> der::Result<Extension> {
        Ok(Extension { extn_id, critical, extn_value: OctetString::new(value.to_der()?)? })
    }

    fn name(common_name: &str) -> der::Result<Name> {
        if common_name.is_empty() {
            return Ok(Name::default());
        }
        let value = Any::from(Utf8StringRef::new(common_name)?);
        let attribute = AttributeTypeAndValue { oid: COMMON_NAME, value };
        Ok(vec![RelativeDistinguishedName::from(SetOfVec::try_from(vec![attribute])?)].into())
    }

    fn algorithm(oid: ObjectIdentifier) -> AlgorithmIdentifierOwned {
        AlgorithmIdentifierOwned { oid, parameters: Some(Any::from(Null)) }
    }

    /// Times until the end of 2049 are written in two digits of the year, later ones in four.
    fn time(moment: OffsetDateTime) -> der::Result<Time> {
        let seconds = u64::try_from(moment.unix_timestamp()).map_err(|_| der::ErrorKind::DateTime)?;
        let moment = DateTime::from_unix_duration(std::time::Duration::from_secs(seconds))?;
        Ok(match der::asn1::UtcTime::from_date_time(moment) {
            Ok(time) => Time::UtcTime(time),
            Err(_) => Time::GeneralTime(der::asn1::GeneralizedTime::from_date_time(moment)),
        })
    }
}
