//! Copies of the certificates of clusters, so that sealing asks a cluster once a day, and goes on without it.
//!
//! A copy decides for whom values are sealed: it is the owner's alone, and put in place whole.

use std::fs;
use std::path::PathBuf;

use selkie::sealed::SealingCert;
use time::{Duration, OffsetDateTime};

use crate::cache;
use crate::files::{self, Audience};
use crate::session::Session;

/// The place of a copy.
pub struct Place(PathBuf);

/// A copy of a certificate.
pub struct Copy {
    /// The certificate.
    pub cert: SealingCert,
    /// When it was fetched.
    pub fetched: OffsetDateTime,
}

impl Copy {
    /// Returns whether the copy is not a day old yet. One from the future is of a clock that was wrong.
    #[must_use]
    pub fn is_young(&self, now: OffsetDateTime) -> bool {
        (Duration::ZERO..Duration::DAY).contains(&(now - self.fetched))
    }
}

impl Place {
    /// Returns the place for the certificate of a controller; `None` if there is no folder for such things.
    #[must_use]
    pub fn of(session: &Session, server: &str, namespace: &str, name: &str) -> Option<Self> {
        let folder = cache::folder(&session.environment)?.join("certificates");
        let file = [server, namespace, name].map(escaped).join("_");
        // A longer name is none that a file can have.
        (file.len() < 250).then(|| Self(folder.join(format!("{file}.pem"))))
    }

    /// Returns the copy, if there is one that can be read. One that somebody else could have written goes.
    #[must_use]
    pub fn read(&self) -> Option<Copy> {
        if !cache::is_own(&self.0) {
            return None;
        }
        let fetched = fs::metadata(&self.0).ok()?.modified().ok()?.into();
        let text = files::read(&self.0).ok()?;
        let cert = SealingCert::parse(text.expose_secret()).ok()?;
        Some(Copy { cert, fetched })
    }

    /// Keeps a copy.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, cert: &SealingCert) -> std::io::Result<()> {
        cache::make_folder(&self.0)?;
        files::write(&self.0, cert.to_pem().as_bytes(), Audience::Owner)
    }
}

/// Returns a text as a part of a file's name that no other text has.
fn escaped(text: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    let escape = |byte: u8| if keep(byte) { char::from(byte).to_string() } else { format!("%{byte:02x}") };
    text.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_controller_has_a_place_of_its_own() {
        let place = |texts: [&str; 3]| texts.map(escaped).join("_");
        assert_eq!(place(["https://a:6443", "b", "c"]), "https%3a%2f%2fa%3a6443_b_c");
        assert_ne!(place(["a_b", "c", "d"]), place(["a", "b_c", "d"]));
    }
}
