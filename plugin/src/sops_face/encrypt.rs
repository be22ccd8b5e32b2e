//! `sops encrypt`: makes a plain document an encrypted one.

use std::path::Path;

use selkie::format::{Format, ParseErrorKind};
use selkie::secret::SecretBytes;
use selkie::sops::Stash;
use selkie::tree::{MetadataEntry, Tree};

use super::document::{Formats, Source, check_output, seal, write_in_place, write_output};
use super::failure::{Failure, already_encrypted};
use super::services::Services;
use super::{Action, Command, Context, creation, flags};
use crate::exit::Exit;
use crate::files::{Audience, Expected};

pub(super) static COMMAND: Command = Command {
    name: "encrypt",
    about: "encrypt a file, or stdin, to stdout",
    arguments: "[file]",
    flags: || {
        let mut all = flags::keys();
        all.extend(flags::output());
        all.extend(flags::types());
        all.extend(flags::rules());
        all.extend([flags::encryption_context(), flags::threshold(), flags::filename_override()]);
        all.extend(flags::key_services());
        all
    },
    action: Action::Run(run),
};

fn run(context: &Context<'_>) -> Result<(), Failure> {
    let source = Source::of(context);
    if matches!(source, Source::Stdin) {
        check_stdin(context)?;
    }
    context.warn_of_more_arguments();
    encrypt(context, &source)
}

/// Encrypts a document and writes it where it is to go.
pub(super) fn encrypt(context: &Context<'_>, source: &Source) -> Result<(), Failure> {
    check_output(context)?;
    source.must_exist()?;
    let configuration = context.configuration()?;
    let name = source.name(context);
    let formats = Formats::of(context, configuration, &name);
    let services = Services::of(context)?;
    let metadata = creation::metadata(context, configuration, &name, formats.input)?;
    let _turn = source.turn(context, context.given.switch(flags::IN_PLACE));
    let tree = read_plain(context, source, &formats, &name)?;
    let read = SecretBytes::from(tree.source());
    let envelope =
        creation::create(context, metadata, &services).map_err(|list| creation::data_key_failure(&list))?;
    let sealed = seal(context, source, &envelope, (formats.input, tree), Stash::new())?;
    match source {
        Source::File(path) if context.given.switch(flags::IN_PLACE) => {
            let content = formats.write_into_file(context, &sealed)?;
            let expected = Expected::Content(read.expose_secret());
            write_in_place(context, path, &content, Audience::Everyone, expected)
        }
        _ => write_output(context, &formats.write_anew(&sealed)?, Audience::Everyone),
    }
}

fn read_plain(
    context: &Context<'_>,
    source: &Source,
    formats: &Formats,
    name: &Path,
) -> Result<Tree, Failure> {
    let tree = formats.input.read(source.read(context)?).map_err(|error| match error.kind {
        ParseErrorKind::Empty if formats.input == Format::Yaml => Failure::new(
            Exit::NoDocument,
            "File cannot be completely empty, it must contain at least one document",
        ),
        // sops notices when it walks over the keys.
        ParseErrorKind::NonStringKey => Failure::new(
            Exit::TreeEncryption,
            format!("Error encrypting tree: Error walking tree: {}: {error}", name.display()),
        ),
        _ => Failure::new(Exit::Read, format!("Error unmarshalling file: {}: {error}", name.display())),
    })?;
    match tree.metadata() {
        MetadataEntry::Absent => Ok(tree),
        _ => Err(Failure::new(Exit::AlreadyEncrypted, already_encrypted())),
    }
}

fn check_stdin(context: &Context<'_>) -> Result<(), Failure> {
    if context.given.switch(flags::IN_PLACE) {
        return Err(Failure::new(Exit::Conflict, "Error: cannot use --in-place when reading from stdin"));
    }
    if context.given.path(flags::FILENAME_OVERRIDE).is_none() {
        let message = "Error: must specify --filename-override when reading from stdin";
        return Err(Failure::new(Exit::Conflict, message));
    }
    Ok(())
}
