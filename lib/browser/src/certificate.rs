//! Certificates to seal for: what people have to see of one before they trust it.

use selkie::sealed::{CertError, SealingCert};
use serde_json::{Value as Json, json};
use time::{Date, Duration, OffsetDateTime};

use crate::problem::{Field, Problem};

/// What a certificate says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// The fingerprint of its key, as `kubectl seal cert --show` and OpenSSH show it.
    pub fingerprint: String,
    /// The size of its key.
    pub bits: usize,
    /// Who signed it; empty if it does not tell.
    pub issuer: String,
    /// From when on it is valid.
    pub not_before: Date,
    /// Until when it is valid.
    pub not_after: Date,
    /// Whether it is valid now.
    pub standing: Standing,
}

/// Whether a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It was valid once.
    Expired,
    /// It will be valid once.
    Future,
    /// It is valid for some weeks at most: the controller has made a new one, or is about to.
    Soon,
    /// It is valid.
    Valid,
}

impl Description {
    /// Reads a certificate.
    ///
    /// # Errors
    /// If it is none.
    pub fn of(pem: &[u8], now: OffsetDateTime) -> Result<Self, Problem> {
        let certificate = read(pem)?;
        let validity = certificate.validity().ok_or(CertError::Missing)?;
        let standing = if certificate.check_expiry(now).is_err() {
            Standing::Expired
        } else if now < validity.not_before {
            Standing::Future
        } else if validity.not_after - now < SOON {
            Standing::Soon
        } else {
            Standing::Valid
        };
        Ok(Self {
            fingerprint: certificate.fingerprint(),
            bits: certificate.bits(),
            issuer: certificate.issuer().unwrap_or_default(),
            not_before: validity.not_before.date(),
            not_after: validity.not_after.date(),
            standing,
        })
    }

    /// Returns the description as the page takes it.
    #[must_use]
    pub fn to_json(&self) -> Json {
        json!({
            "fingerprint": self.fingerprint,
            "bits": self.bits,
            "issuer": self.issuer,
            "notBefore": self.not_before.to_string(),
            "notAfter": self.not_after.to_string(),
            "standing": self.standing.name(),
        })
    }
}

impl Standing {
    /// Returns one word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Future => "future",
            Self::Soon => "soon",
            Self::Valid => "valid",
        }
    }
}

/// Reads a certificate to seal for; one that expired only if that is accepted.
pub fn usable(pem: &[u8], accepts_expired: bool, now: OffsetDateTime) -> Result<SealingCert, Problem> {
    let certificate = read(pem)?;
    match certificate.check_expiry(now) {
        Err(error) if !accepts_expired => Err(error.into()),
        _ => Ok(certificate),
    }
}

fn read(pem: &[u8]) -> Result<SealingCert, Problem> {
    let needle = b"PRIVATE KEY-----";
    if pem.windows(needle.len()).any(|window| window == needle) {
        return Err(Problem::PrivateKey(Field::Certificate));
    }
    Ok(SealingCert::parse(pem)?)
}

/// The controller makes a new key every thirty days, whose certificate is valid for ten years.
const SOON: Duration = Duration::days(30);
