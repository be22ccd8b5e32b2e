//! A plugin of the old kind, which is all that `kubectl kustomize` can start: a file with a configuration, resources on
//! standard input for a transformer, resources out.

use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use selkie::manifest::{print_yaml, read_objects};
use selkie::secret::SecretBytes;
use serde_json::Value as Json;

use super::FaceError;
use super::config::{Config, Role};
use super::files::Files;
use super::function::{self, renderer};
use super::{generator, transformer};
use crate::render::renderer::Request;

/// Do what a configuration says, as a plugin that `kubectl kustomize --enable-alpha-plugins` starts
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    function: function::Args,
    /// The file with the configuration
    #[arg(value_name = "FILE")]
    config: PathBuf,
    /// What the configuration has in argsOneLiner, which says nothing here
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<OsString>,
}

/// Prints resources on standard output.
pub(super) fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let objects = answer(args)?;
    let mut stream = SecretBytes::new();
    for object in &objects {
        stream.push_str("---\n");
        stream.extend_from_slice(print_yaml(object).expose_secret());
    }
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(stream.expose_secret())?;
    Ok(stdout.flush()?)
}

fn answer(args: &Args) -> Result<Vec<Json>, FaceError> {
    let renderer = renderer(&args.function.settings)?;
    let folder = std::env::var_os("KUSTOMIZE_PLUGIN_CONFIG_ROOT").filter(|folder| !folder.is_empty());
    let folder = folder.map_or_else(|| PathBuf::from("."), PathBuf::from);
    let files = Files::new(&folder, args.function.root.as_deref(), &renderer.limits)?;
    let config = config(&args.config)?;
    let request = Request::default();
    match config.role {
        Role::Generator => generator::generate(&renderer, &files, &config, &request),
        Role::Transformer => {
            let mut input = Vec::new();
            let failed = |source| FaceError::Io { what: "standard input".to_owned(), source };
            std::io::stdin().lock().read_to_end(&mut input).map_err(failed)?;
            let failed = |source| FaceError::Object { what: "standard input".to_owned(), source };
            let objects = read_objects(SecretBytes::from(input).expose_secret()).map_err(failed)?;
            transformer::transform(&renderer, &files, &config, objects, &request)
        }
    }
}

fn config(path: &Path) -> Result<Config, FaceError> {
    let what = || "the file with the configuration".to_owned();
    let text = fs::read(path).map_err(|source| FaceError::Io { what: what(), source })?;
    let objects = read_objects(&text).map_err(|source| FaceError::Object { what: what(), source })?;
    match &objects[..] {
        [object] => Config::new(object),
        _ => Err(FaceError::Config { place: what(), reason: "holds not one configuration".to_owned() }),
    }
}
