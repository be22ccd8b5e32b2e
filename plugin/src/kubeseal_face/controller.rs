//! What the controller of a cluster is asked for: its certificate, whether it can open SealedSecrets, and to encrypt
//! them again.

use selkie::manifest::{ObjectKind, read_stream};
use selkie::sealed::{SealedSecret, rotated, rotation_request, verification_request};
use selkie::secret::SecretBytes;
use serde_json::{Map, Value as Json};

use super::failure::Failure;
use super::input::Input;
use super::merge;
use super::options::Options;
use super::output::{Format, Output};
use crate::cluster::{Cluster, ClusterError, Controller, Verdict};
use crate::session::Session;

/// Returns the certificate of the controller, as it gives it out.
pub(super) fn fetch_cert(session: &Session, options: &Options<'_>) -> Result<Vec<u8>, Failure> {
    let cluster = connect(session, options)?;
    let controller = find(&cluster, options)?;
    let cert = controller.fetch_cert();
    cert.map_err(|error| Failure::new(format!("cannot fetch certificate: {}", message(&error))))
}

/// Makes sure that the controller can open every SealedSecret of the input.
pub(super) fn validate(session: &Session, options: &Options<'_>, input: Input<'_>) -> Result<(), Failure> {
    let cluster = connect(session, options)?;
    let controller = find(&cluster, options)?;
    for (_, sealed) in read(&input.read()?)? {
        let name = sealed.metadata.name();
        match controller.verify(verification_request(&sealed).to_string().as_bytes()) {
            Ok(Verdict::Unsealable) => {}
            Ok(Verdict::NotUnsealable) => {
                return Err(Failure::new(format!("unable to decrypt sealed secret: {name}")));
            }
            Err(error) => {
                return Err(Failure::new(format!("cannot validate sealed secret: {}", message(&error))));
            }
        }
    }
    Ok(())
}

/// Has the controller encrypt every SealedSecret of the input again. Only the encrypted values are taken from its
/// answers: it knows nothing of templates, comments, and what else stands in a file.
pub(super) fn re_encrypt(
    session: &Session,
    options: &Options<'_>,
    input: Input<'_>,
    mut output: Output<'_>,
) -> Result<(), Failure> {
    let cluster = connect(session, options)?;
    let controller = find(&cluster, options)?;
    let source = input.read()?;
    let objects = read(&source)?;
    let mut rotated = Vec::new();
    for (_, sealed) in &objects {
        rotated.push(rotate(&controller, sealed)?);
    }
    let replaces_input = options.sealed_secret_file.is_none() && options.secret_file.is_some();
    if replaces_input {
        output.replaces(&source);
    }
    if replaces_input && !merge::is_printed(&source, objects.iter().map(|(object, _)| object)) {
        let items = rotated.iter().map(|sealed| &sealed.encrypted_data);
        output.put(merge::with_items(&source, items)?.expose_secret())?;
        return output.finish();
    }
    for sealed in rotated {
        let format = Format::parse(options.output_format())?;
        output.put(format.print(&sealed.to_json(), ObjectKind::SealedSecret).expose_secret())?;
    }
    output.finish()
}

/// Returns a SealedSecret with the values that the controller encrypted again.
fn rotate(controller: &Controller<'_>, sealed: &SealedSecret) -> Result<SealedSecret, Failure> {
    let failure = |why: &str| Failure::new(format!("cannot re-encrypt secret: {why}"));
    let answer = match controller.rotate(rotation_request(sealed).to_string().as_bytes()) {
        Err(ClusterError::Answer { status: 409, .. }) => return Err(Failure::new("unable to rotate secret")),
        answer => answer.map_err(|error| failure(&message(&error)))?,
    };
    let answer: Json = serde_json::from_slice(&answer).map_err(|_| failure("the answer is not JSON"))?;
    let mut rotated = rotated(sealed, &answer).map_err(|error| failure(&error.to_string()))?;
    rotated.metadata.strip();
    Ok(rotated)
}

/// Reads SealedSecrets, as they are and for what they say.
fn read(source: &SecretBytes) -> Result<Vec<(Json, SealedSecret)>, Failure> {
    let objects = read_stream(source.expose_secret(), ObjectKind::SealedSecret).map_err(Failure::new)?;
    let read = |object: Map<String, Json>| {
        let object = Json::Object(object);
        // Nothing that is no SealedSecret leaves this machine: it could be a Secret.
        let sealed = SealedSecret::from_json(&object).map_err(Failure::new)?;
        Ok((object, sealed))
    };
    objects.into_iter().map(read).collect()
}

fn connect(session: &Session, options: &Options<'_>) -> Result<Cluster, Failure> {
    Cluster::connect(&options.overrides, session).map_err(|error| Failure::new(message(&error)))
}

fn find<'a>(cluster: &'a Cluster, options: &Options<'_>) -> Result<Controller<'a>, Failure> {
    cluster.controller(options.controller_namespace, options.controller_name).map_err(|error| {
        Failure::new(format!(
            "cannot get sealed secret service: {}.\nPlease, use the flag --controller-name and \
             --controller-namespace to set up the name and namespace of the sealed secrets controller",
            message(&error)
        ))
    })
}

/// Returns what a cluster did not do, and why, in one line.
pub(super) fn message(error: &ClusterError) -> String {
    match error {
        ClusterError::Flag { .. } => return format!("invalid configuration: {error}"),
        ClusterError::NoConfiguration => return NO_CONFIGURATION.to_owned(),
        ClusterError::NoEntry { kind, name, .. } => {
            let kind = if *kind == "user" { "auth info" } else { kind };
            return format!("{kind} {name:?} does not exist");
        }
        _ => {}
    }
    std::iter::once(error.to_string()).chain(error.causes()).collect::<Vec<_>>().join(": ")
}

/// What is said where nothing tells which cluster is meant.
pub(super) const NO_CONFIGURATION: &str = "invalid configuration: no configuration has been provided, try setting KUBERNETES_MASTER environment variable";
