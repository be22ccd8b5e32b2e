//! Certificates as Go's `x509.CreateCertificate` makes them of sprig's template.

use std::net::IpAddr;

use ::der::{Decode, Encode};
use sha2::{Digest, Sha256};
use x509_cert::Certificate;

use super::der::{self, BIT_STRING, BOOLEAN, OCTET_STRING, SEQUENCE, SET};
use super::key::PrivateKey;
use crate::secret::SecretBytes;
use crate::template::call::Machine;
use crate::template::time::Time;

/// What a certificate is to say.
pub struct Request {
    pub common_name: String,
    pub addresses: Vec<IpAddr>,
    pub names: Vec<Vec<u8>>,
    pub serial: [u8; 16],
    pub not_before: Time,
    pub not_after: Time,
    pub is_authority: bool,
}

/// The certificate of who signs.
pub struct Parent {
    subject: SecretBytes,
    public: SecretBytes,
    key_identifier: Option<SecretBytes>,
}

impl Parent {
    /// Reads a certificate.
    pub fn read(der: &[u8]) -> Result<Self, &'static str> {
        let certificate =
            Certificate::from_der(der).map_err(|_| "x509: malformed certificate")?.tbs_certificate;
        let subject = certificate.subject.to_der().map_err(|_| "x509: malformed subject")?;
        let public = certificate.subject_public_key_info.to_der().map_err(|_| "x509: malformed spki")?;
        let extensions = certificate.extensions.unwrap_or_default();
        let identifier = extensions.iter().find(|extension| extension.extn_id.to_string() == "2.5.29.14");
        let identifier = identifier.and_then(|extension| extension.extn_value.as_bytes().get(2..));
        Ok(Self {
            subject: subject.into(),
            public: public.into(),
            key_identifier: identifier.map(SecretBytes::from),
        })
    }
}

impl Request {
    /// Signs a certificate for `key` with the key of `parent`, or with `key` itself.
    pub fn sign(
        &self,
        key: &PrivateKey,
        parent: Option<(&Parent, &PrivateKey)>,
        machine: &mut Machine<'_>,
    ) -> Result<SecretBytes, String> {
        const KEYS: &str = "x509: only RSA, ECDSA and Ed25519 keys supported";
        let signer = parent.map_or(key, |(_, signer)| signer);
        let algorithm = signer.signature_algorithm().ok_or(KEYS)?;
        let (public, bits) = key.public().ok_or(KEYS)?;
        let (signer_public, _) = signer.public().ok_or(KEYS)?;
        if parent.is_some_and(|(parent, _)| parent.public.expose_secret() != signer_public.expose_secret()) {
            return Err("x509: provided PrivateKey doesn't match parent's PublicKey".to_owned());
        }
        let subject = self.subject();
        let issuer = parent.map_or(&subject, |(parent, _)| &parent.subject);
        let mut serial = self.serial;
        if serial == [0; 16] {
            machine.random_bytes(&mut serial);
        }
        let validity = der::constructed(SEQUENCE, &[&time(&self.not_before)?, &time(&self.not_after)?]);
        let is_foreign = issuer.expose_secret() != subject.expose_secret();
        let identifier = parent.filter(|_| is_foreign).and_then(|(parent, _)| parent.key_identifier.as_ref());
        let extensions = self.extensions(bits.expose_secret(), identifier);
        let parts = [
            &SecretBytes::from(&[0xA0, 3, 2, 1, 2][..]),
            &der::integer(&serial),
            &algorithm,
            issuer,
            &validity,
            &subject,
            &public,
            &der::value(0xA3, extensions.expose_secret()),
        ];
        let certificate = der::constructed(SEQUENCE, &parts);
        let signature = signer.sign(certificate.expose_secret()).ok_or(KEYS)?;
        Ok(der::constructed(SEQUENCE, &[&certificate, &algorithm, &der::bits(&signature)]))
    }

    fn subject(&self) -> SecretBytes {
        const COMMON_NAME: &[u8] = &[0x06, 0x03, 0x55, 0x04, 0x03];
        if self.common_name.is_empty() {
            return der::value(SEQUENCE, &[]);
        }
        let is_printable = |byte: u8| byte.is_ascii_alphanumeric() || b" '()+,-./:=?*&".contains(&byte);
        let tag = if self.common_name.bytes().all(is_printable) { 0x13 } else { 0x0C };
        let name = der::value(tag, self.common_name.as_bytes());
        let pair = der::constructed(SEQUENCE, &[&COMMON_NAME.into(), &name]);
        let set = der::value(SET, pair.expose_secret());
        der::value(SEQUENCE, set.expose_secret())
    }

    fn extensions(&self, key: &[u8], authority: Option<&SecretBytes>) -> SecretBytes {
        let is_authority = self.is_authority;
        // Signing, encrypting keys, and signing certificates.
        let usage: &[u8] = if is_authority { &[2, 0xA4] } else { &[5, 0xA0] };
        let purposes = [1, 2].map(|number| {
            SecretBytes::from(&[0x06, 0x08, 0x2B, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, number][..])
        });
        let flag = if is_authority { der::value(BOOLEAN, &[0xFF]) } else { SecretBytes::new() };
        let mut extensions = vec![
            extension(15, true, &der::value(BIT_STRING, usage)),
            extension(37, false, &der::constructed(SEQUENCE, &[&purposes[0], &purposes[1]])),
            extension(19, true, &der::value(SEQUENCE, flag.expose_secret())),
        ];
        if is_authority {
            let hash = Sha256::digest(key);
            extensions.push(extension(14, false, &der::value(OCTET_STRING, &hash[..20])));
        }
        if let Some(identifier) = authority {
            let identifier = der::value(0x80, identifier.expose_secret());
            extensions.push(extension(35, false, &der::value(SEQUENCE, identifier.expose_secret())));
        }
        if !self.names.is_empty() || !self.addresses.is_empty() {
            let names = self.names.iter().map(|name| der::value(0x82, name));
            let addresses = self.addresses.iter().map(|address| match address {
                IpAddr::V4(address) => der::value(0x87, &address.octets()),
                // An address of the old kind has four bytes, however it is written.
                IpAddr::V6(address) => match address.to_ipv4_mapped() {
                    Some(address) => der::value(0x87, &address.octets()),
                    None => der::value(0x87, &address.octets()),
                },
            });
            let all: Vec<_> = names.chain(addresses).collect();
            let all = der::constructed(SEQUENCE, &all.iter().collect::<Vec<_>>());
            extensions.push(extension(17, self.common_name.is_empty(), &all));
        }
        der::constructed(SEQUENCE, &extensions.iter().collect::<Vec<_>>())
    }
}

fn extension(number: u8, is_critical: bool, content: &SecretBytes) -> SecretBytes {
    let name = SecretBytes::from(&[0x06, 0x03, 0x55, 0x1D, number][..]);
    let flag = if is_critical { der::value(BOOLEAN, &[0xFF]) } else { SecretBytes::new() };
    der::constructed(SEQUENCE, &[&name, &flag, &der::value(OCTET_STRING, content.expose_secret())])
}

fn time(time: &Time) -> Result<SecretBytes, String> {
    let utc = time.in_zone(0, "UTC");
    match utc.civil().year {
        1950..2050 => Ok(der::value(0x17, &utc.format(b"060102150405Z"))),
        0..10_000 => Ok(der::value(0x18, &utc.format(b"20060102150405Z"))),
        _ => Err("asn1: structure error: cannot represent time as GeneralizedTime".to_owned()),
    }
}
