//! `kustomize`: what Kustomize starts while it builds, and what one needs around that.
//!
//! `fn` is a function that takes and gives a ResourceList; `plugin` is what `kubectl kustomize` starts, by links that
//! `install` makes; `check` finds what Kustomize would drop or pass on encrypted without a word.
//!
//! Invariants: whatever cannot be decrypted and verified is an error and an exit code, as Kustomize looks at nothing
//! else; no message holds anything of what was handed in.

mod check;
mod config;
mod files;
mod function;
mod generator;
mod godotenv;
mod install;
mod plugin;
mod transformer;

use std::error::Error;
use std::ffi::{OsStr, OsString};

use selkie::manifest::ObjectError;
use selkie::render::RenderError;

use crate::render::renderer::RendererError;
use crate::render::settings::SettingsError;

/// Generate and decrypt resources while Kustomize builds
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    Check(check::Args),
    Fn(function::Args),
    Install(install::Args),
    Plugin(plugin::Args),
}

/// Why Kustomize gets nothing. No variant holds anything of what was handed in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FaceError {
    /// Something is wrong with a configuration.
    #[error("{place}: {reason}")]
    Config {
        /// The configuration.
        place: String,
        /// What is wrong, and what to write.
        reason: String,
    },
    /// A file is not encrypted, where only encrypted ones are named.
    #[error("{path}: is not encrypted; encrypt it with `kubectl seal encrypt`, or name it in `resources`")]
    Clear {
        /// The file.
        path: String,
    },
    /// A generator comes to nothing.
    #[error(
        "{place}: generates nothing, which would take away what was there; if that is meant, allow it: SELKIE_ALLOW_EMPTY=true"
    )]
    Empty {
        /// The configuration.
        place: String,
    },
    /// What is read cannot be read.
    #[error("{what}: cannot be read")]
    Io {
        /// What it is.
        what: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// There is no configuration for us.
    #[error("the ResourceList has no functionConfig of the kind SopsGenerator, SopsTransformer or ksops")]
    NoConfig,
    /// It is not what Kustomize says to functions.
    #[error("standard input is no ResourceList")]
    NotAList,
    /// What was handed in cannot be read.
    #[error("{what}: cannot be read")]
    Object {
        /// What it is.
        what: String,
        /// What is wrong with it.
        source: ObjectError,
    },
    /// A file leads out of the folder that files are read from.
    #[error("{path}: leads out of {root}; name the folder above both: SELKIE_ROOT")]
    Outside {
        /// The file.
        path: String,
        /// The folder.
        root: String,
    },
    /// It is refused.
    #[error("{place}")]
    Render {
        /// The configuration.
        place: String,
        /// Why.
        source: Box<RendererError>,
    },
    /// Too much comes out.
    #[error(transparent)]
    Output(#[from] RenderError),
    /// The settings cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

/// Does what is asked.
pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    match &args.command {
        Command::Check(args) => check::run(args),
        Command::Fn(args) => function::run(args),
        Command::Install(args) => install::run(args),
        Command::Plugin(args) => plugin::run(args),
    }
}

/// Returns the words that Kustomize means when it starts the program by a name of a plugin: with a file it is one, and
/// without any it is a function.
#[must_use]
pub fn words_for(name: &OsStr, arguments: usize) -> Option<[OsString; 2]> {
    let is_plugin = config::KINDS.iter().any(|kind| name == kind.kind);
    is_plugin.then(|| ["kustomize".into(), if arguments == 0 { "fn" } else { "plugin" }.into()])
}
