//! The certificate to seal for: a file, a URL, or what the controller of a cluster gives out.

use std::path::Path;

use http::StatusCode;
use selkie::kubeseal::cert_message;
use selkie::sealed::SealingCert;

use super::controller;
use super::failure::Failure;
use super::options::Options;
use crate::fetch::{self, FetchError};
use crate::files;
use crate::session::Session;

/// Returns the text of the certificate.
pub(super) fn read(session: &Session, options: &Options<'_>) -> Result<Vec<u8>, Failure> {
    let Some(place) = options.cert else { return controller::fetch_cert(session, options) };
    match scheme(place) {
        None => {
            let path = Path::new(place);
            let text = files::read(&session.absolute(path));
            let text = text.map_err(|error| Failure::of_file("open", path, &error))?;
            Ok(text.expose_secret().to_vec())
        }
        Some(scheme) if scheme.eq_ignore_ascii_case("file") => read_url(session, place),
        Some(scheme) if ["http", "https"].contains(&scheme.to_lowercase().as_str()) => {
            fetch::fetch(session, place).map_err(|error| fetch_failure(place, &error))
        }
        Some(scheme) => Err(Failure::new(format!(
            "Get {place:?}: unsupported protocol scheme {:?}",
            scheme.to_lowercase()
        ))),
    }
}

fn fetch_failure(url: &str, error: &FetchError) -> Failure {
    // What may be a password or a token is not shown.
    let shown = if url.contains(['@', '?']) { fetch::shown(url) } else { url.to_owned() };
    match error {
        FetchError::Status(status) => {
            let reason = StatusCode::from_u16(*status).ok().and_then(|status| status.canonical_reason());
            Failure::new(format!("cannot fetch {shown:?}: {status} {}", reason.unwrap_or_default()))
        }
        other => Failure::new(format!("Get {shown:?}: {other}")),
    }
}

/// Reads a certificate that can be sealed for.
pub(super) fn parse(session: &Session, text: &[u8]) -> Result<SealingCert, Failure> {
    let cert = SealingCert::parse(text).map_err(|error| Failure::new(cert_message(&error)))?;
    cert.check_expiry((session.clock)()).map_err(|error| Failure::new(cert_message(&error)))?;
    Ok(cert)
}

/// Reads the file of a URL, whose host means nothing.
fn read_url(session: &Session, url: &str) -> Result<Vec<u8>, Failure> {
    let missing = || Failure::new(format!("cannot fetch {url:?}: 404 Not Found"));
    let path = fetch::file_path(url).ok_or_else(missing)?;
    let text = files::read(&session.absolute(&path)).map_err(|_| missing())?;
    Ok(text.expose_secret().to_vec())
}

/// Returns the scheme of a URL; a single letter is a drive of Windows.
fn scheme(place: &str) -> Option<&str> {
    let (scheme, _) = place.split_once(':')?;
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    let is_scheme =
        scheme.starts_with(|first: char| first.is_ascii_alphabetic()) && scheme.bytes().all(is_allowed);
    (is_scheme && scheme.len() > 1).then_some(scheme)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_urls_have_schemes() {
        for (place, expected) in [
            ("cert.pem", None),
            ("C:\\cert.pem", None),
            ("./a:b", None),
            ("https://x/y", Some("https")),
            ("FTP://x", Some("FTP")),
        ] {
            assert_eq!(scheme(place), expected, "{place}");
        }
    }
}
