//! `sops filestatus`: says whether a file is encrypted, without any key.

use selkie::format::ParseErrorKind;
use selkie::sops::{Metadata, MetadataError};

use super::document::{Formats, Source};
use super::failure::Failure;
use super::{Action, Command, Context, flags};

pub(super) static COMMAND: Command = Command {
    name: "filestatus",
    about: "say whether a file is encrypted",
    arguments: "file",
    flags: || vec![flags::input_type()],
    action: Action::Run(run),
};

fn run(context: &Context<'_>) -> Result<(), Failure> {
    let source = Source::File(Source::file(context)?);
    let configuration = context.configuration()?;
    let formats = Formats::of(context, configuration, &source.name(context));
    let is_encrypted = is_encrypted(context, &source, &formats)?;
    super::print(context.session, &format!("{{\"encrypted\":{is_encrypted}}}\n"))
}

fn is_encrypted(context: &Context<'_>, source: &Source, formats: &Formats) -> Result<bool, Failure> {
    let unusable = |why: String| {
        Failure::generic(format!("cannot check file status: cannot load encrypted file: {why}")).logged()
    };
    let text = source.read(context).map_err(|failure| unusable(failure.message))?;
    let tree = match formats.input.read(text) {
        Ok(tree) => tree,
        Err(error) if error.kind == ParseErrorKind::Empty => return Ok(false),
        Err(error) => return Err(unusable(source.describe(&error))),
    };
    match Metadata::from_entry(tree.metadata()) {
        Ok(metadata) => Ok(!metadata.mac.is_empty()),
        Err(MetadataError::Missing | MetadataError::Version) => Ok(false),
        Err(error) => Err(unusable(error.to_string())),
    }
}
