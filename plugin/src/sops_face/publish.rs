//! `sops publish`: would bring documents to the destinations of `.sops.yaml`.

use super::failure::Failure;
use super::grammar::Flag;
use super::{Action, Command, flags};

pub(super) static COMMAND: Command = Command {
    name: "publish",
    about: "bring files to the destinations of the configuration (not available in this build)",
    arguments: "path",
    flags: || {
        let mut flags = vec![
            Flag::switch("yes", "do not ask").alias("y"),
            Flag::switch("omit-extensions", "leave out the ends of names at the destination"),
            Flag::switch("recursive", "publish all that is in the folder"),
            Flag::switch("verbose", "say more"),
            flags::decryption_order(),
        ];
        flags.extend(super::flags::key_services());
        flags
    },
    action: Action::Run(|_| Err(Failure::generic("Error: publish is not available in this build"))),
};
