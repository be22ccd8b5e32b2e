//! How a run ends, as the number that the caller of the program sees.
//!
//! The numbers are those of sops, and part of the interface of both `sops` and `kubectl seal`.

use std::process::ExitCode;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The input is encrypted already.
    AlreadyEncrypted,
    /// The program that was run for the user ended so.
    Child(u8),
    /// Flags, or a flag and a rule, exclude each other.
    Conflict,
    /// No key recovered the data key.
    DataKey,
    /// The editor is missing or failed.
    Editor,
    /// The encryption context is malformed.
    EncryptionContext,
    /// Whatever has no number of its own.
    Failure,
    /// The MAC is missing, or is not that of the content.
    Mac,
    /// Keys are to be changed in a file that does not exist.
    MissingFileKeys,
    /// The input has no document.
    NoDocument,
    /// No file is given, or it does not exist.
    NoFile,
    /// The user left the text as it was.
    NotModified,
    /// A kind of key is given twice in the order of decryption.
    Order,
    /// The path to extract is malformed.
    Path,
    /// The input cannot be read.
    Read,
    /// The tree cannot be written in the format.
    Serialise,
    /// What to set, or where, is malformed.
    Set,
    /// It worked.
    Success,
    /// The values cannot be decrypted.
    TreeDecryption,
    /// The values cannot be encrypted.
    TreeEncryption,
    /// The version that the metadata names is not one.
    Version,
    /// The output cannot be written.
    Write,
}

impl Exit {
    /// Whoever reads the output has enough: as a program ends that the signal stops.
    pub const BROKEN_PIPE: Self = Self::Child(128 + 13);

    /// Returns the number.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::Read => 2,
            Self::Write => 3,
            Self::Serialise => 4,
            Self::EncryptionContext => 6,
            Self::Set => 7,
            Self::Conflict => 8,
            Self::TreeEncryption => 23,
            Self::TreeDecryption => 25,
            Self::MissingFileKeys => 49,
            Self::Mac => 51,
            Self::Path => 91,
            Self::NoDocument => 92,
            Self::NoFile => 100,
            Self::Order => 112,
            Self::DataKey => 128,
            Self::NotModified => 200,
            Self::Editor => 201,
            Self::Version => 202,
            Self::AlreadyEncrypted => 203,
            Self::Child(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
