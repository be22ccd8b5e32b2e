//! Sealing whole Secrets: each one of the input becomes a SealedSecret of the output.

use rand::rngs::OsRng;
use selkie::kubeseal;
use selkie::manifest::{ObjectKind, read_stream};
use selkie::sealed::SealingCert;

use super::failure::Failure;
use super::input::Input;
use super::options::Options;
use super::output::{Format, Output};
use crate::parallel::{self, FEW_TO_SEAL};
use crate::session::Session;

/// Seals every Secret of the input.
pub(super) fn run(
    session: &Session,
    options: &Options<'_>,
    input: Input<'_>,
    cert: &SealingCert,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let place = options.place(session);
    let choices = options.choices(&place);
    let objects = read_stream(input.read()?.expose_secret(), ObjectKind::Secret).map_err(Failure::new)?;
    let secrets = objects.into_iter().map(|object| kubeseal::secret(object, &choices));
    let secrets: Vec<_> = secrets.collect::<Result<_, _>>().map_err(Failure::new)?;
    let texts = parallel::map(secrets, FEW_TO_SEAL, |secret| {
        let sealed = kubeseal::seal(secret, &choices, cert, &mut OsRng).map_err(Failure::new)?;
        let format = Format::parse(options.output_format())?;
        Ok(format.print(&sealed.to_json(), ObjectKind::SealedSecret))
    });
    texts.into_iter().try_for_each(|text: Result<_, Failure>| output.put(text?.expose_secret()))
}
