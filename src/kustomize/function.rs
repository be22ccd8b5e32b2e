//! A function for Kustomize and kpt: a ResourceList in, a ResourceList out.
//!
//! Invariants: the list that comes out for a failure holds none of the items, and the exit code tells of it too, as
//! Kustomize looks at nothing else.

use std::error::Error;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use selkie::manifest::{print_yaml, read_objects};
use selkie::render::EmitMode;
use selkie::secret::SecretBytes;
use serde_json::{Value as Json, json};

use super::FaceError;
use super::config::{Config, Role};
use super::files::Files;
use super::{generator, transformer};
use crate::keys;
use crate::render::renderer::{Renderer, Request};
use crate::render::settings::Settings;

/// Take a ResourceList from standard input and print it with what is generated or decrypted
///
/// For `exec` and `container` functions of Kustomize, and for kpt. The functionConfig is a SopsGenerator or a
/// SopsTransformer of selkie.dev/v1alpha1, or a ksops of viaduct.ai/v1.
#[derive(clap::Args)]
#[group(id = "function")]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) settings: Settings,
    /// What no file may lead out of; if nothing is said, the repository that the current folder is in
    #[arg(long, value_name = "DIR", env = "SELKIE_ROOT")]
    pub(super) root: Option<PathBuf>,
}

/// Answers on standard output.
pub(super) fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let mut input = Vec::new();
    let read = std::io::stdin().lock().read_to_end(&mut input);
    let input = SecretBytes::from(input);
    let failed = |source| FaceError::Io { what: "standard input".to_owned(), source };
    let result = read.map_err(failed).and_then(|_| answer(args, &input));
    let (list, result) = match result {
        Ok(list) => (list, Ok(())),
        Err(error) => (failure(&error), Err(error)),
    };
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(print_yaml(&list).expose_secret())?;
    stdout.flush()?;
    Ok(result?)
}

fn answer(args: &Args, input: &SecretBytes) -> Result<Json, FaceError> {
    let renderer = renderer(&args.settings)?;
    let files = Files::new(Path::new("."), args.root.as_deref(), &renderer.limits)?;
    function(&renderer, &files, input)
}

/// Returns what renders with some settings; without keys, with those that sops takes by itself.
pub(super) fn renderer(settings: &Settings) -> Result<Renderer, FaceError> {
    let mut renderer = settings.renderer()?;
    // Kustomize renames objects and moves them to namespaces afterwards, where what is made for a name does not fit.
    let fits = |mode: &EmitMode| !matches!(mode, EmitMode::Defer(_) | EmitMode::Reseal(_));
    if !fits(&renderer.mode) {
        let reason = "cannot be had while Kustomize builds, which may rename what comes out; render with `selkie-decryptor render --kustomize`";
        return Err(FaceError::Config {
            place: format!("--mode {}", renderer.mode.name()),
            reason: reason.to_owned(),
        });
    }
    renderer.further_modes.retain(fits);
    if renderer.key_paths.is_empty() && keys::variable(keys::AGE_KEY).is_none_or(|text| text.is_empty()) {
        let folder = |name: &str, below: &str| {
            std::env::var_os(name).filter(|path| !path.is_empty()).map(|path| Path::new(&path).join(below))
        };
        let config = folder("XDG_CONFIG_HOME", "").or_else(|| folder("HOME", ".config"));
        let keys = config.map(|config| config.join("sops/age/keys.txt"));
        renderer.key_paths.extend(keys.filter(|keys| keys.is_file()));
    }
    Ok(renderer)
}

/// Returns the list that comes out for one.
pub(super) fn function(
    renderer: &Renderer,
    files: &Files<'_>,
    input: &SecretBytes,
) -> Result<Json, FaceError> {
    let failed = |source| FaceError::Object { what: "standard input".to_owned(), source };
    let mut lists = read_objects(input.expose_secret()).map_err(failed)?;
    let (Some(mut list), true) = (lists.pop(), lists.is_empty()) else { return Err(FaceError::NotAList) };
    if list["kind"] != "ResourceList" || !(list["items"].is_null() || list["items"].is_array()) {
        return Err(FaceError::NotAList);
    }
    let given = list["functionConfig"].take();
    let items = match list["items"].take() {
        Json::Array(items) => items,
        _ => Vec::new(),
    };
    let is_given = |item: &Json| {
        let name = |object: &Json| object["metadata"]["name"].clone();
        !given.is_null()
            && item["apiVersion"] == given["apiVersion"]
            && item["kind"] == given["kind"]
            && name(item) == name(&given)
    };
    // Kustomize gives the configuration of a generator as an item, too. What is a file of a package stays in it.
    let is_config = |item: &Json| if given.is_null() { Config::is_one(item) } else { is_given(item) };
    let (configs, mut items): (Vec<Json>, Vec<Json>) = items.into_iter().partition(is_config);
    let has_file =
        |item: &&Json| !item["metadata"]["annotations"]["internal.config.kubernetes.io/path"].is_null();
    items.extend(configs.iter().filter(has_file).cloned());
    let all: Vec<_> = if given.is_null() { configs.iter().collect() } else { vec![&given] };
    if all.is_empty() {
        return Err(FaceError::NoConfig);
    }
    let request = Request::default();
    for config in all {
        let config = Config::new(config)?;
        match config.role {
            Role::Generator => items.extend(generator::generate(renderer, files, &config, &request)?),
            Role::Transformer => items = transformer::transform(renderer, files, &config, items, &request)?,
        }
    }
    let version = list["apiVersion"].as_str().filter(|version| version.starts_with("config.kubernetes.io/"));
    let mut out = json!({
        "apiVersion": version.unwrap_or("config.kubernetes.io/v1"), "kind": "ResourceList", "items": items,
    });
    if !given.is_null() {
        out["functionConfig"] = given;
    }
    Ok(out)
}

/// Returns what tells of a failure.
fn failure(error: &FaceError) -> Json {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        message.push_str(": ");
        message.push_str(&error.to_string());
        cause = error.source();
    }
    json!({
        "apiVersion": "config.kubernetes.io/v1", "kind": "ResourceList", "items": [],
        "results": [{"message": message, "severity": "error"}],
    })
}

#[cfg(test)]
mod tests;
