//! Who decides whether a key may be used, and who hears of it.

use std::fmt;

use super::Peer;
use crate::keys::{KeyError, MasterKey};

/// Decides before each use of a key whether it may happen, and hears what came of it.
///
/// Its methods are called on threads that may wait: for a person, say.
pub trait Gate: Send + Sync {
    /// Returns whether a use of a key may happen.
    fn admits(&self, asked: &Use<'_>) -> bool {
        let _ = asked;
        true
    }

    /// Has a service ask a person for what it takes to use the key, after all that needs nobody has failed. A gate that
    /// asks as well does not do so meanwhile.
    fn help(&self, ask: &mut dyn FnMut()) {
        ask();
    }

    /// Hears how a use ended. One that was refused has no result.
    fn ended(&self, asked: &Use<'_>, result: Option<Result<(), &KeyError>>) {
        let _ = (asked, result);
    }

    /// Hears of a connection that was closed because its user is not one of those that are served.
    fn turned_away(&self, peer: &Peer) {
        let _ = peer;
    }
}

/// A gate that is open, and silent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Open;

impl Gate for Open {}

/// A use of a key that somebody asks for.
pub struct Use<'a> {
    /// What is to be done.
    pub operation: Operation,
    /// The key to do it with.
    pub key: &'a MasterKey,
    /// Who asks, if that is known.
    pub peer: Option<&'a Peer>,
    pub(super) is_awaited: &'a (dyn Fn() -> bool + Sync),
}

impl Use<'_> {
    /// Returns whether somebody still waits for the answer.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        (self.is_awaited)()
    }
}

/// What is done with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A data key is unwrapped.
    Decrypt,
    /// A data key is wrapped.
    Encrypt,
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Decrypt => "decrypt",
            Self::Encrypt => "encrypt",
        })
    }
}
