//! How a check ends, as the number that Git and CI see.

use std::process::ExitCode;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Nothing was found that stops a commit.
    Clean,
    /// Something was found that does.
    Findings,
    /// The command line or the configuration cannot be used.
    Usage,
    /// Something could not be verified: it may hold a secret.
    Unverified,
    /// Something was found and mended: look at it, and commit again.
    Fixed,
}

impl Exit {
    /// Returns the number.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Clean => 0,
            Self::Findings => 1,
            Self::Usage => 2,
            Self::Unverified => 3,
            Self::Fixed => 4,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
