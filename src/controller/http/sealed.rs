//! What is done with the SealedSecrets of callers: finding out whether they open, and sealing them again.
//!
//! Whoever calls may know a SealedSecret without being allowed to know what is in it. So neither an answer nor the time
//! that it takes may depend on a value. Invariants: no template is rendered; every item is tried, whatever became of
//! those before; nothing that was opened is read, except for what calls itself a Secret in the deprecated field
//! `data`, which cannot be sealed again otherwise; the scope is that of the object itself, never that of its template.

use rand_core::CryptoRngCore;
use selkie::manifest::read_objects;
use selkie::sealed::{KeyRegistry, SealedSecret, SealingCert, SealingScope, Secret, Unseal};

use super::super::key_set::KeySet;
use super::work::Stop;

/// Why there is nothing to tell of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// There is no certificate to seal for.
    #[error("there is no sealing key")]
    NoCertificate,
    /// The body is not one SealedSecret.
    #[error("the body is not one SealedSecret")]
    NotOne,
    /// It cannot be opened.
    #[error("the SealedSecret cannot be opened")]
    Sealed,
    /// Nobody waits for it any more.
    #[error("the work was given up")]
    Stopped,
}

/// Returns whether a SealedSecret can be opened.
///
/// # Errors
/// If the body is not one, or nobody waits any more.
pub(super) fn verify(keys: &KeySet, how: Unseal, body: &[u8], stop: &Stop) -> Result<bool, Refusal> {
    let sealed = read(body)?;
    if let Some(data) = &sealed.deprecated_data {
        let is_taken = how.deprecated_data && sealed.encrypted_data.is_empty();
        // Whether a Secret is in it is not said: it may be a value of another object.
        return Ok(is_taken && keys.registry.open(data, &sealed.label()).is_ok());
    }
    let mut opens = true;
    for (_, opened) in sealed.open_items(&keys.registry) {
        opens &= opened.is_ok();
        stop.check()?;
    }
    Ok(opens)
}

/// Returns a SealedSecret that was sealed again for the newest key, as JSON.
///
/// # Errors
/// If the body is not one, it cannot be opened or sealed, or nobody waits any more.
pub(super) fn rotate(
    keys: &KeySet,
    how: Unseal,
    body: &[u8],
    rng: &mut dyn CryptoRngCore,
    stop: &Stop,
) -> Result<Vec<u8>, Refusal> {
    let mut sealed = read(body)?;
    let cert = certificate(keys)?;
    match sealed.deprecated_data.take() {
        Some(data) if how.deprecated_data && sealed.encrypted_data.is_empty() => {
            convert(&mut sealed, &data, &keys.registry, &cert, rng)?;
        }
        Some(_) => return Err(Refusal::Sealed),
        None => reseal(&mut sealed, &keys.registry, &cert, rng, stop)?,
    }
    sealed.metadata.strip();
    agree(&mut sealed);
    Ok(sealed.to_json().to_string().into_bytes())
}

/// Reads the only object of a body.
fn read(body: &[u8]) -> Result<SealedSecret, Refusal> {
    let objects = read_objects(body).map_err(|_| Refusal::NotOne)?;
    let [object] = &objects[..] else { return Err(Refusal::NotOne) };
    SealedSecret::from_json(object).map_err(|_| Refusal::NotOne)
}

/// Returns the certificate that callers are given.
fn certificate(keys: &KeySet) -> Result<SealingCert, Refusal> {
    let pem = keys.certificate.as_ref().ok_or(Refusal::NoCertificate)?;
    SealingCert::parse(pem.as_bytes()).map_err(|_| Refusal::NoCertificate)
}

/// Seals every item again.
fn reseal(
    sealed: &mut SealedSecret,
    keys: &KeyRegistry,
    cert: &SealingCert,
    rng: &mut dyn CryptoRngCore,
    stop: &Stop,
) -> Result<(), Refusal> {
    let label = sealed.label();
    let mut opens = true;
    for item in sealed.encrypted_data.values_mut() {
        match keys.open(item, &label) {
            Ok(opened) => {
                let resealed = cert.seal_labelled(&opened.value, &label, rng);
                *item = resealed.map_err(|_| Refusal::NoCertificate)?;
            }
            Err(_) => opens = false,
        }
        stop.check()?;
    }
    if opens { Ok(()) } else { Err(Refusal::Sealed) }
}

/// Makes items, and a template, of a Secret that was sealed as a whole.
fn convert(
    sealed: &mut SealedSecret,
    data: &str,
    keys: &KeyRegistry,
    cert: &SealingCert,
    rng: &mut dyn CryptoRngCore,
) -> Result<(), Refusal> {
    let opened = keys.open(data, &sealed.label()).map_err(|_| Refusal::Sealed)?;
    let object = serde_json::from_slice(opened.value.expose_secret()).map_err(|_| Refusal::Sealed)?;
    // It has to call itself a Secret: else a single value of another object, which happens to be JSON with fields such
    // as `type`, could be put there to have them told.
    let mut secret = Secret::from_json(&object).map_err(|_| Refusal::Sealed)?;
    secret.metadata.set_name(sealed.metadata.name());
    secret.metadata.set_namespace(sealed.metadata.namespace());
    // Its own annotations may ask for a wider scope than it was sealed for.
    sealed.scope().annotate(&mut secret.metadata);
    let mut converted = SealedSecret::seal(&secret, cert, rng).map_err(|_| Refusal::Sealed)?;
    std::mem::swap(&mut converted.metadata, &mut sealed.metadata);
    *sealed = converted;
    Ok(())
}

/// Lets the template agree with the object, wherever both say for which name, namespace and scope it is: what reads the
/// template must not take it for one of another scope. Whatever else it says is kept.
fn agree(sealed: &mut SealedSecret) {
    let (outer, template) = (&sealed.metadata, &mut sealed.template.metadata);
    let scope = SealingScope::of(outer);
    if scope != SealingScope::of(template) {
        scope.annotate(template);
    }
    if !template.name().is_empty() {
        template.set_name(outer.name());
    }
    if !template.namespace().is_empty() {
        template.set_namespace(outer.namespace());
    }
}
