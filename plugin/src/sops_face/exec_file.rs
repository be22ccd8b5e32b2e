//! `sops exec-file`: runs a command with the decrypted document as a file.

use std::path::Path;

use selkie::tree::TreePath;

use super::decrypt::write;
use super::document::{Formats, Source};
use super::failure::Failure;
use super::grammar::Flag;
use super::services::Services;
use super::{Action, Command, Context, flags};
use crate::exec::{PlaintextFile, Run};

pub(super) static COMMAND: Command = Command {
    name: "exec-file",
    about: "run a command with the decrypted file in place of {}",
    arguments: "file command",
    flags: || {
        let mut all = vec![
            Flag::switch("background", "do not wait for the command (deprecated)"),
            Flag::switch("no-fifo", "give the command a regular file in place of a pipe"),
            Flag::text("user", "run the command as this user"),
            Flag::text("filename", "what the file is called (tmp-file if not given)"),
            flags::decryption_order(),
        ];
        all.extend(flags::types());
        all.extend(flags::key_services());
        all
    },
    action: Action::Run(run),
};

fn run(context: &Context<'_>) -> Result<(), Failure> {
    let [file, command] = context.given.arguments() else {
        return Err(Failure::generic("error: missing file to decrypt"));
    };
    let source = Source::File(context.session.absolute(Path::new(file)));
    let configuration = context.configuration()?;
    let formats = Formats::of(context, configuration, &source.name(context));
    let services = Services::of(context)?;
    let (_, opened) = source.read_encrypted(context, formats.input)?.open(context, &services)?;
    let content = write(&opened, &TreePath::default(), &formats)?;
    if context.given.switch("background") {
        // The file goes when this program ends, so that there would be nothing left to read.
        context.log.warn(
            "exec-file's --background option is deprecated and will be removed in a future version of sops; \
             the command is waited for",
        );
    }
    let user = context.given.text("user");
    let run = Run { command, user: user.as_deref(), pristine: false, background: false };
    let pipe = !context.given.switch("no-fifo");
    let file = PlaintextFile { content: &content, name: context.given.path("filename"), pipe };
    Ok(run.with_file(&file, &context.session.environment, &|text| context.log.warn(text))?)
}
