//! `sops keyservice`: would let others use the keys of this machine.

use super::failure::Failure;
use super::grammar::Flag;
use super::{Action, Command};

pub(super) static COMMAND: Command = Command {
    name: "keyservice",
    about: "serve the keys of this machine to others (not available in this build)",
    arguments: "",
    flags: || {
        vec![
            Flag::text("network", "the kind of network to listen on: tcp or unix").alias("net"),
            Flag::text("address", "the address to listen on").alias("addr"),
            Flag::switch("prompt", "ask before each use of a key"),
            Flag::switch("verbose", "say more"),
        ]
    },
    action: Action::Run(|_| Err(Failure::generic("Error: keyservice is not available in this build"))),
};
