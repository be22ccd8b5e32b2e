//! A private key, and a certificate for it, which are those of nobody: whoever knows the name of the object has them, too.

use const_oid::ObjectIdentifier;
use der::asn1::BitString;
use der::{DateTime, Encode};
use ed25519_dalek::{Signer, SigningKey};
use sha2::{Digest, Sha256};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::time::{Time, Validity};
use x509_cert::{Certificate, TbsCertificate, Version};

/// Returns the private key of an object as PEM.
pub(super) fn key(object: &str) -> String {
    let der = [PKCS8_START, signing_key(object).as_bytes()].concat();
    pem("PRIVATE KEY", der)
}

/// Returns the certificate for the key of an object as PEM.
pub(super) fn certificate(object: &str) -> String {
    signed(&signing_key(object)).expect("all fields are of sizes that certificates take")
}

fn signed(key: &SigningKey) -> der::Result<String> {
    let algorithm = AlgorithmIdentifierOwned { oid: ED25519, parameters: None };
    let time = |year| DateTime::new(year, 1, 1, 0, 0, 0).and_then(der::asn1::UtcTime::from_date_time);
    let fields = TbsCertificate {
        version: Version::V3,
        serial_number: SerialNumber::new(&[1])?,
        signature: algorithm.clone(),
        issuer: Name::default(),
        validity: Validity { not_before: Time::UtcTime(time(2000)?), not_after: Time::UtcTime(time(2049)?) },
        subject: Name::default(),
        subject_public_key_info: SubjectPublicKeyInfoOwned {
            algorithm: algorithm.clone(),
            subject_public_key: BitString::from_bytes(key.verifying_key().as_bytes())?,
        },
        issuer_unique_id: None,
        subject_unique_id: None,
        extensions: None,
    };
    let signature = BitString::from_bytes(&key.sign(&fields.to_der()?).to_bytes())?;
    let certificate = Certificate { tbs_certificate: fields, signature_algorithm: algorithm, signature };
    Ok(pem("CERTIFICATE", certificate.to_der()?))
}

fn pem(label: &str, der: Vec<u8>) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new(label, der), config)
}

fn signing_key(object: &str) -> SigningKey {
    let seed = Sha256::new().chain_update("selkie fake key of ").chain_update(object).finalize();
    SigningKey::from_bytes(&seed.into())
}

const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
/// What precedes the 32 bytes of an Ed25519 key in PKCS#8.
const PKCS8_START: &[u8] =
    &[0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
