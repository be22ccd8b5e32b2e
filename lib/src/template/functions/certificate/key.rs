//! Private keys: new ones, and those of PEM.

use ed25519_dalek::SigningKey as Ed25519;
use num_bigint_dig::prime::probably_prime;
use num_bigint_dig::{BigUint, RandBigInt};
use p256::SecretKey;
use p256::ecdsa::SigningKey as P256;
use p256::elliptic_curve::sec1::ToEncodedPoint;
use rand_core::CryptoRngCore;
use rsa::RsaPrivateKey;
use rsa::pkcs1::{DecodeRsaPrivateKey, EncodeRsaPrivateKey, EncodeRsaPublicKey};
use rsa::pkcs8::PrivateKeyInfo;
use rsa::signature::{SignatureEncoding, Signer};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::der::{self, INTEGER, OCTET_STRING, SEQUENCE};
use crate::secret::SecretBytes;
use crate::template::call::{Failure, Machine};

/// A private key.
pub enum PrivateKey {
    /// As DER: nothing signs with it here.
    Dsa(SecretBytes),
    Ed25519(Box<Ed25519>),
    P256(Box<SecretKey>),
    Rsa(Box<RsaPrivateKey>),
}

/// A kind of key to make.
pub enum Kind {
    Dsa,
    Ed25519,
    P256,
    /// Of so many bits.
    Rsa(usize),
}

impl PrivateKey {
    /// Makes a new key.
    pub fn generate(kind: Kind, machine: &mut Machine<'_>) -> Result<Self, Failure> {
        let steps = match kind {
            // The search for a prime takes many seconds.
            Kind::Dsa => 900_000,
            Kind::Rsa(4096..) => 250_000,
            Kind::Ed25519 | Kind::P256 => 20_000,
            Kind::Rsa(_) => 50_000,
        };
        machine.budget.steps(steps)?;
        let failed = |_| Failure::from("failed to generate private key");
        Ok(match kind {
            Kind::Dsa => Self::Dsa(generate_dsa(machine.rng)),
            Kind::Ed25519 => {
                let mut seed = Zeroizing::new([0; 32]);
                machine.random_bytes(&mut *seed);
                Self::Ed25519(Box::new(Ed25519::from_bytes(&seed)))
            }
            Kind::P256 => Self::P256(Box::new(SecretKey::random(&mut Rng(machine.rng)))),
            Kind::Rsa(bits) => {
                Self::Rsa(Box::new(RsaPrivateKey::new(&mut *machine.rng, bits).map_err(failed)?))
            }
        })
    }

    /// Reads the first block of PEM. The error is what Go says, without what it says of the DER.
    pub fn from_pem(text: &[u8]) -> Result<Self, String> {
        let block = der::from_pem(text).ok_or("no PEM data in input")?;
        let bytes = block.der.expose_secret();
        if block.label == "PRIVATE KEY" {
            return Self::from_pkcs8(bytes).ok_or_else(|| "decoding PEM as PKCS#8".to_owned());
        }
        match block.label.strip_suffix(" PRIVATE KEY") {
            None => Err(format!("no private key data in PEM block of type {}", block.label)),
            Some("DSA") if bytes.first() == Some(&SEQUENCE) => Ok(Self::Dsa(bytes.into())),
            Some("DSA") => Err("parsing DSA private key from PEM".to_owned()),
            Some("EC") => SecretKey::from_sec1_der(bytes)
                .map(|key| Self::P256(Box::new(key)))
                .map_err(|_| "parsing EC private key from PEM: only keys of P-256 are supported".to_owned()),
            Some("RSA") => RsaPrivateKey::from_pkcs1_der(bytes)
                .map(|key| Self::Rsa(Box::new(key)))
                .map_err(|_| "parsing RSA private key from PEM".to_owned()),
            Some(_) => Err(format!("invalid private key type {}", block.label)),
        }
    }

    fn from_pkcs8(bytes: &[u8]) -> Option<Self> {
        let info = PrivateKeyInfo::try_from(bytes).ok()?;
        match info.algorithm.oid.to_string().as_str() {
            "1.2.840.10045.2.1" => {
                SecretKey::from_sec1_der(info.private_key).ok().map(|key| Self::P256(Box::new(key)))
            }
            "1.2.840.113549.1.1.1" => {
                RsaPrivateKey::from_pkcs1_der(info.private_key).ok().map(|key| Self::Rsa(Box::new(key)))
            }
            "1.3.101.112" => {
                let seed: &[u8; 32] = info.private_key.strip_prefix(&[OCTET_STRING, 32])?.try_into().ok()?;
                Some(Self::Ed25519(Box::new(Ed25519::from_bytes(seed))))
            }
            _ => None,
        }
    }

    /// Writes it as sprig does.
    pub fn to_pem(&self) -> SecretBytes {
        match self {
            Self::Dsa(der) => der::to_pem("DSA PRIVATE KEY", der),
            Self::Ed25519(key) => {
                let seed = der::value(OCTET_STRING, key.as_bytes());
                let version = der::value(INTEGER, &[0]);
                let algorithm = der::value(SEQUENCE, ED25519);
                let key = der::value(OCTET_STRING, seed.expose_secret());
                der::to_pem("PRIVATE KEY", &der::constructed(SEQUENCE, &[&version, &algorithm, &key]))
            }
            Self::P256(key) => {
                let secret = Zeroizing::new(key.to_bytes());
                let version = der::value(INTEGER, &[1]);
                let curve = der::value(0xA0, CURVE);
                let public = der::bits(key.public_key().to_encoded_point(false).as_bytes());
                let parts = [
                    &version,
                    &der::value(OCTET_STRING, &secret),
                    &curve,
                    &der::value(0xA1, public.expose_secret()),
                ];
                der::to_pem("EC PRIVATE KEY", &der::constructed(SEQUENCE, &parts))
            }
            Self::Rsa(key) => {
                let der = key.to_pkcs1_der();
                // Nothing about a key that there is keeps it from being written.
                let der = der.map(|der| SecretBytes::from(der.as_bytes())).unwrap_or_default();
                der::to_pem("RSA PRIVATE KEY", &der)
            }
        }
    }

    /// Returns its public key as `SubjectPublicKeyInfo`, and the bits in there; `None` for one of DSA.
    pub fn public(&self) -> Option<(SecretBytes, SecretBytes)> {
        let (algorithm, key): (_, SecretBytes) = match self {
            Self::Dsa(_) => return None,
            Self::Ed25519(key) => (der::value(SEQUENCE, ED25519), key.verifying_key().as_bytes()[..].into()),
            Self::P256(key) => {
                let algorithm = [EC, CURVE].concat();
                (der::value(SEQUENCE, &algorithm), key.public_key().to_encoded_point(false).as_bytes().into())
            }
            Self::Rsa(key) => {
                let der = key.to_public_key().to_pkcs1_der().ok()?;
                (der::value(SEQUENCE, RSA), der.as_bytes().into())
            }
        };
        Some((der::constructed(SEQUENCE, &[&algorithm, &der::bits(key.expose_secret())]), key))
    }

    /// Returns the algorithm of its signatures; `None` for a key of DSA.
    pub fn signature_algorithm(&self) -> Option<SecretBytes> {
        Some(der::value(
            SEQUENCE,
            match self {
                Self::Dsa(_) => return None,
                Self::Ed25519(_) => ED25519,
                Self::P256(_) => ECDSA_WITH_SHA256,
                Self::Rsa(_) => RSA_WITH_SHA256,
            },
        ))
    }

    /// Signs; `None` for a key of DSA.
    pub fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Dsa(_) => None,
            Self::Ed25519(key) => Some(key.sign(message).to_bytes().to_vec()),
            Self::P256(key) => {
                let signature: p256::ecdsa::Signature = P256::from(&**key).sign(message);
                Some(signature.to_der().as_bytes().to_vec())
            }
            Self::Rsa(key) => {
                let key = rsa::pkcs1v15::SigningKey::<Sha256>::new((**key).clone());
                key.try_sign(message).ok().map(|signature| signature.to_vec())
            }
        }
    }
}

/// Makes a key of 2048 and 256 bits, with parameters of its own.
fn generate_dsa(rng: &mut dyn CryptoRngCore) -> SecretBytes {
    let (zero, one) = (BigUint::from(0_u8), BigUint::from(1_u8));
    let is_prime = |number: &u32| {
        (2..*number)
            .take_while(|factor| factor * factor <= *number)
            .all(|factor| !number.is_multiple_of(factor))
    };
    let small: Vec<u32> = (3..10_000).filter(is_prime).collect();
    let mut rng = Rng(rng);
    let (modulus, order) = loop {
        let order = odd_of(256, &mut rng);
        if !probably_prime(&order, 20) {
            continue;
        }
        let found = (0..4 * 2048).find_map(|_| {
            let candidate = odd_of(2048, &mut rng);
            let rest = &candidate % (&order << 1_usize);
            let candidate = candidate - rest + &one;
            // Most are multiples of a small number, which is seen sooner.
            let is_candidate = small.iter().all(|&prime| &candidate % prime != zero);
            let is_prime = is_candidate && candidate.bits() == 2048 && probably_prime(&candidate, 20);
            is_prime.then_some(candidate)
        });
        if let Some(modulus) = found {
            break (modulus, order);
        }
    };
    let power = (&modulus - &one) / &order;
    let mut base = BigUint::from(2_u8);
    let generator = loop {
        let generator = base.modpow(&power, &modulus);
        if generator != one {
            break generator;
        }
        base += &one;
    };
    let secret = rng.gen_biguint_range(&one, &order);
    let public = generator.modpow(&secret, &modulus);
    let numbers = [&modulus, &order, &generator, &public, &secret];
    let numbers = numbers.map(|number| der::integer(&Zeroizing::new(number.to_bytes_be())));
    let version = der::value(INTEGER, &[0]);
    let mut parts = vec![&version];
    parts.extend(&numbers);
    der::constructed(SEQUENCE, &parts)
}

fn odd_of(bits: usize, rng: &mut Rng<'_>) -> BigUint {
    let top = BigUint::from(1_u8) << (bits - 1);
    let low = rng.gen_biguint(bits - 1);
    let number = top + low;
    if (&number % 2_u8) == BigUint::from(0_u8) { number + 1_u8 } else { number }
}

/// What makes keys wants to know how large its source of randomness is.
struct Rng<'r>(&'r mut dyn CryptoRngCore);

impl rand_core::CryptoRng for Rng<'_> {}

impl rand_core::RngCore for Rng<'_> {
    fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core::Error> {
        self.0.try_fill_bytes(bytes)
    }
}

// Object identifiers, with the NULL that those of RSA have behind them.

const CURVE: &[u8] = &[0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07];
const EC: &[u8] = &[0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01];
const ECDSA_WITH_SHA256: &[u8] = &[0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x02];
const ED25519: &[u8] = &[0x06, 0x03, 0x2B, 0x65, 0x70];
const RSA: &[u8] = &[0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01, 0x05, 0x00];
const RSA_WITH_SHA256: &[u8] =
    &[0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x0B, 0x05, 0x00];
