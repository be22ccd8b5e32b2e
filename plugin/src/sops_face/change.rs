//! Changes to the plaintext of an encrypted file, written back under the same data key.

use selkie::format::Format;
use selkie::secret::SecretBytes;
use selkie::tree::Tree;

use super::Context;
use super::document::{Formats, Source, plaintext, read_plain, seal, write_in_place};
use super::failure::Failure;
use super::services::Services;
use crate::files::{Audience, Expected};

/// Decrypts a file, lets `edit` change its text, and encrypts the result: what did not change keeps its
/// ciphertext. `None` leaves the file alone.
pub(super) fn change(
    context: &Context<'_>,
    source: &Source,
    edit: &dyn Fn(Format, &Tree) -> Result<Option<SecretBytes>, Failure>,
) -> Result<(), Failure> {
    let Source::File(path) = source else { return Err(Failure::generic("a stream cannot be changed")) };
    let configuration = context.configuration()?;
    let formats = Formats::of(context, configuration, &source.name(context));
    let services = Services::of(context)?;
    let _turn = source.turn(context, true);
    let (envelope, opened) = source.read_encrypted(context, formats.input)?.open(context, &services)?;
    let tree = read_plain(formats.input, plaintext(&opened)?)?;
    let Some(changed) = edit(formats.input, &tree)? else { return Ok(()) };
    let tree = read_plain(formats.input, changed)?;
    let sealed = seal(context, source, &envelope, (formats.input, tree), opened.stash())?;
    let content = formats.write_into_file(context, &sealed)?;
    let expected = Expected::Content(opened.tree().source());
    write_in_place(context, path, &content, Audience::Everyone, expected)
}
