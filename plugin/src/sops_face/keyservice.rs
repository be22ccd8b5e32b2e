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
            Flag { default: "tcp", ..Flag::text("network", "what to listen on: tcp or unix") }.alias("net"),
            Flag { default: "127.0.0.1:5000", ..Flag::text("address", "where to listen") }.alias("addr"),
            Flag::switch("prompt", "ask before each use of a key"),
            Flag::switch("verbose", "say more"),
        ]
    },
    action: Action::Run(|_| Err(Failure::generic("Error: keyservice is not available in this build"))),
};
