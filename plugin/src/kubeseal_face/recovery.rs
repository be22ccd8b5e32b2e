//! Opening SealedSecrets with the private keys of a controller, for the day on which there is no controller.

use std::path::Path;

use rand::rngs::OsRng;
use selkie::manifest::{ObjectKind, check_types, read_objects};
use selkie::sealed::{
    Backup, BackupProblemKind, KeyRegistry, SealedSecret, SealedSecretError, SmallKeys, Unseal,
};
use selkie::template::Surroundings;
use serde_json::{Map, Value as Json};

use super::failure::Failure;
use super::input::Input;
use super::options::Options;
use super::output::{Format, Output};
use crate::files;
use crate::parallel;
use crate::session::Session;

/// Opens every SealedSecret of the input; kubeseal opens the first and says nothing of the others.
pub(super) fn run(
    session: &Session,
    options: &Options<'_>,
    input: Input<'_>,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let mut keys = KeyRegistry::new();
    for file in options.private_keys {
        add(session, file, &mut keys)?;
    }
    let objects = read_objects(input.read()?.expose_secret()).map_err(Failure::new)?;
    if objects.is_empty() {
        return Err(Failure::new("there is no SealedSecret in the input"));
    }
    let objects: Vec<_> = objects.iter().map(sealed_secret).collect::<Result<_, _>>()?;
    let texts = parallel::map(objects, 1, |object| {
        let mut surroundings = Surroundings { now: (session.clock)(), rng: &mut OsRng };
        let secret = object.unseal(&keys, Unseal::default(), &mut surroundings).map_err(Failure::new)?;
        let mut secret = secret.to_json();
        // Nothing is null to kubeseal, which a Secret without a value may not have.
        for value in
            secret.get_mut("data").and_then(Json::as_object_mut).into_iter().flat_map(Map::values_mut)
        {
            if value == "" {
                *value = Json::Null;
            }
        }
        let format = Format::parse(options.output_format())?;
        Ok(format.print(&secret, ObjectKind::Secret))
    });
    texts.into_iter().try_for_each(|text: Result<_, Failure>| output.put(text?.expose_secret()))
}

/// Reads a SealedSecret. It need not say that it is one, but nothing else.
pub(super) fn sealed_secret(object: &Json) -> Result<SealedSecret, Failure> {
    if object["kind"].is_null() && object["apiVersion"].is_null() {
        check_types(object, ObjectKind::SealedSecret).map_err(Failure::new)?;
        return SealedSecret::from_any_json(object).map_err(Failure::new);
    }
    let sealed = SealedSecret::from_json(object);
    // What is of another kind has other fields.
    if !matches!(sealed, Err(SealedSecretError::Kind(_) | SealedSecretError::Version(_))) {
        check_types(object, ObjectKind::SealedSecret).map_err(Failure::new)?;
    }
    sealed.map_err(|error| match error {
        SealedSecretError::Kind(kind) if object["apiVersion"] == "v1" => {
            Failure::new(format!("converting (v1.{kind}) to (v1alpha1.SealedSecret): unknown conversion"))
        }
        other => Failure::new(other),
    })
}

/// Adds the keys of a file.
fn add(session: &Session, file: &str, keys: &mut KeyRegistry) -> Result<(), Failure> {
    let path = Path::new(file);
    let text =
        files::read(&session.absolute(path)).map_err(|error| Failure::of_file("open", path, &error))?;
    let backup = Backup::parse(text, SmallKeys::Allow);
    let backup = backup.map_err(|error| Failure::new(format!("{file}: {error}")))?;
    for problem in &backup.problems {
        let told = match &problem.kind {
            BackupProblemKind::Missing => "secret must contain a 'tls.data' key".to_owned(),
            kind => format!("{file}:{}: {kind}", problem.line),
        };
        if backup.keys.is_empty() {
            return Err(Failure::new(told));
        }
        session.stderr.say(crate::report::escape_lines(&format!("warning: {told}")));
    }
    for key in backup.keys {
        keys.add(key.secret.into_key(file));
    }
    Ok(())
}
