//! Finds what Kustomize drops, or passes on encrypted, without a word.

use std::error::Error;
use std::path::{Path, PathBuf};

use selkie::format::Format;
use selkie::render::{
    Files, FilesError, Folder, Kustomization, KustomizationError, Limits, Plugin, Remote, folder_of,
    normalized,
};
use selkie::tree::MetadataEntry;
use serde_json::Value as Json;

use super::config::{Config, Role};
use super::install::{link_of, plugin_homes};
use crate::render::root::root_of;

/// Find what Kustomize would drop, or pass on encrypted, without a word
///
/// Prints a line for each, and fails if there is any.
#[derive(clap::Args)]
pub(super) struct Args {
    /// What builds the kustomization
    #[arg(long = "for", value_enum, value_name = "PROGRAM", default_value_t = Builder::Kubectl)]
    builder: Builder,
    /// What no file may lead out of; if nothing is said, the repository that the folder is in
    #[arg(long, value_name = "DIR", env = "SELKIE_ROOT")]
    root: Option<PathBuf>,
    /// The folder with the kustomization
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// What builds a kustomization.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Builder {
    /// kubectl kustomize --enable-alpha-plugins
    Kubectl,
    /// kustomize build --enable-alpha-plugins --enable-exec
    Kustomize,
    /// selkie-decryptor render --kustomize
    Render,
}

/// Why nothing can be said, or what was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
enum CheckError {
    /// Files cannot be had.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// There is something.
    #[error("{0} problems")]
    Found(usize),
    /// The system refuses.
    #[error("{path}: cannot be read", path = .0.display())]
    Io(PathBuf, #[source] std::io::Error),
    /// The kustomization cannot be built by anybody.
    #[error(transparent)]
    Kustomization(#[from] KustomizationError),
    /// The folder is not below the root.
    #[error("{path}: is not below the folder of --root", path = .0.display())]
    Root(PathBuf),
}

/// Prints what is found.
#[expect(clippy::print_stdout, reason = "what is found is what this prints")]
pub(super) fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let canonical = |path: &Path| path.canonicalize().map_err(|error| CheckError::Io(path.to_owned(), error));
    let folder = canonical(&args.folder)?;
    let root = args.root.as_deref().map(canonical).transpose()?.unwrap_or_else(|| root_of(&folder));
    let below = folder.strip_prefix(&root).map_err(|_| CheckError::Root(args.folder.clone()))?;
    let files = Folder::open(&root, &Limits::default()).map_err(CheckError::Files)?;
    let is_installed = |version: &str, kind: &str| {
        plugin_homes().iter().any(|home| home.join(link_of(version, kind)).is_file())
    };
    let problems = problems(&files, &below.to_string_lossy(), args.builder, &is_installed)?;
    problems.iter().for_each(|problem| println!("{problem}"));
    if problems.is_empty() { Ok(()) } else { Err(CheckError::Found(problems.len()).into()) }
}

/// Returns a line for everything that is dropped or passed on encrypted.
fn problems(
    files: &dyn Files,
    folder: &str,
    builder: Builder,
    is_installed: &dyn Fn(&str, &str) -> bool,
) -> Result<Vec<String>, CheckError> {
    let kustomization = Kustomization::read(files, folder, Remote::Allow)?;
    let check = Check { files, builder, is_installed, kustomization: &kustomization };
    let mut problems = Vec::new();
    let mut named = Vec::new();
    if builder == Builder::Render {
        problems.extend(kustomization.refused.iter().map(ToString::to_string));
    }
    let mut transformed = Vec::new();
    for plugin in &kustomization.plugins {
        problems.extend(check.plugin(plugin));
        if !Config::is_one(&plugin.config) {
            continue;
        }
        match Config::new(&plugin.config) {
            Ok(config) => {
                if config.role == Role::Transformer {
                    transformed.push(plugin.folder.as_str());
                }
                check.config(plugin, &config, &mut named, &mut problems);
            }
            Err(error) => problems.push(format!("{}: {error}", plugin.place)),
        }
    }
    for (path, place) in &kustomization.places {
        let is_decrypted = || builder == Builder::Render || kustomization.passes(path, &transformed);
        if !is_decrypted() && check.is_encrypted(path)? {
            problems.push(format!(
                "{place}: {path} is encrypted, and is passed on so; name it in `files` of a SopsGenerator, name it in `sources` of a SopsTransformer, or build with `selkie-decryptor render --kustomize`"
            ));
        }
    }
    problems.extend(check.unnamed(&named)?);
    Ok(problems)
}

struct Check<'a> {
    files: &'a dyn Files,
    builder: Builder,
    is_installed: &'a dyn Fn(&str, &str) -> bool,
    kustomization: &'a Kustomization,
}

impl Check<'_> {
    /// Returns what becomes of a plugin, if it is nothing good.
    fn plugin(&self, plugin: &Plugin) -> Option<String> {
        let Plugin { place, config, .. } = plugin;
        let text = |field: &Json| field.as_str().unwrap_or_default().to_owned();
        let (version, kind) = (text(&config["apiVersion"]), text(&config["kind"]));
        let annotations = &config["metadata"]["annotations"];
        let function = ["config.kubernetes.io/function", "config.k8s.io/function"]
            .iter()
            .find_map(|name| annotations[*name].as_str());
        let is_exec = function.is_some_and(is_exec);
        match (self.builder, function) {
            (Builder::Render, _) => Some(format!(
                "{place}: {kind} is a plugin, and none runs; name its encrypted files in `resources` or in `files` of a secretGenerator"
            )),
            (Builder::Kubectl, Some(_)) if is_exec => Some(format!(
                "{place}: {kind} is a function of the form exec, which kubectl drops without a word, and all that it generates; take its annotation away and run `selkie-decryptor kustomize install`, or build with kustomize and --enable-exec"
            )),
            (_, Some(_)) => None,
            (_, None) if (self.is_installed)(&version, &kind) => None,
            (_, None) => Some(format!(
                "{place}: {version} {kind} is a plugin that is not installed here{}",
                if Config::is_one(config) { "; run `selkie-decryptor kustomize install`" } else { "" }
            )),
        }
    }

    /// Looks at the files that one of our configurations names.
    fn config(&self, plugin: &Plugin, config: &Config, named: &mut Vec<String>, problems: &mut Vec<String>) {
        let of_secrets = config
            .secrets
            .iter()
            .flat_map(|secret| secret.files.iter().map(|(_, path)| path).chain(&secret.envs));
        for path in config.files.iter().chain(of_secrets) {
            let place = &plugin.place;
            let Some(inside) = normalized(&plugin.folder, path) else {
                problems.push(format!(
                    "{place}: {path} leads out of the folder that is looked through; use --root"
                ));
                continue;
            };
            match self.is_encrypted(&inside) {
                Ok(false) if config.role == Role::Generator => {
                    problems.push(format!("{place}: {path} is not encrypted, which a generator refuses"));
                }
                Err(_) if config.role == Role::Generator => {
                    problems.push(format!("{place}: {path} is missing"));
                }
                _ => {}
            }
            named.push(inside);
        }
    }

    /// Returns encrypted files beside a kustomization that nothing names.
    fn unnamed(&self, named: &[String]) -> Result<Vec<String>, CheckError> {
        let roles = &self.kustomization.roles;
        let is_named = |path: &str| {
            roles.contains_key(path)
                || named.iter().any(|named| path == named || path.starts_with(&format!("{named}/")))
        };
        let folders: Vec<&str> = roles
            .keys()
            .filter(|path| !self.kustomization.places.contains_key(*path))
            .map(|path| folder_of(path))
            .collect();
        let mut found = Vec::new();
        for path in self.files.paths() {
            if folders.contains(&folder_of(&path)) && !is_named(&path) && self.is_encrypted(&path)? {
                found.push(format!(
                    "{path}:1: is encrypted, and no kustomization names it, so that it is left out; name it, or take it away"
                ));
            }
        }
        Ok(found)
    }

    /// Returns whether a file is a document of SOPS in any format.
    fn is_encrypted(&self, path: &str) -> Result<bool, FilesError> {
        let text = self.files.read(path)?;
        let bytes = text.expose_secret();
        if !bytes.windows(ENCRYPTED.len()).any(|part| part == ENCRYPTED) {
            return Ok(false);
        }
        let formats = [Format::Yaml, Format::Json, Format::Dotenv, Format::Ini, Format::Binary];
        Ok(formats
            .iter()
            .any(|format| format.read(bytes).is_ok_and(|tree| *tree.metadata() != MetadataEntry::Absent)))
    }
}

/// Returns whether an annotation says that a function is a program. What cannot be read is taken for one.
fn is_exec(annotation: &str) -> bool {
    let Ok(tree) = Format::Yaml.read(annotation) else { return true };
    tree.documents().iter().any(|&root| !tree.to_json(root)["exec"].is_null())
}

/// How every encrypted value starts.
const ENCRYPTED: &[u8] = b"ENC[AES256_GCM,";

#[cfg(test)]
mod tests {
    use selkie::render::Memory;

    use super::*;

    const SECRET: &str =
        "kind: Secret\nstringData:\n  a: ENC[AES256_GCM,data:x]\nsops:\n  mac: ENC[AES256_GCM,data:y]\n";
    const KSOPS: &str = "apiVersion: viaduct.ai/v1\nkind: ksops\nmetadata:\n  name: a\n";
    const EXEC: &str =
        "  annotations:\n    config.kubernetes.io/function: |\n      exec:\n        path: ksops\n";

    fn found(given: &[(&str, &str)], builder: Builder, installed: bool) -> Vec<String> {
        let mut files = Memory::default();
        for (path, text) in given {
            files.insert(path, *text).expect("inside");
        }
        problems(&files, "", builder, &|_, _| installed).expect("a kustomization")
    }

    #[test]
    fn an_exec_function_is_found_where_it_is_dropped() {
        let generator = format!("{KSOPS}{EXEC}files: [s.yaml]\n");
        let given =
            [("kustomization.yaml", "generators:\n- g.yaml\n"), ("g.yaml", &*generator), ("s.yaml", SECRET)];
        let [problem] = &found(&given, Builder::Kubectl, true)[..] else { panic!("one") };
        assert!(problem.starts_with("g.yaml:1: ksops is a function of the form exec"), "{problem}");
        assert!(found(&given, Builder::Kustomize, false).is_empty());
        let [problem] = &found(&given, Builder::Render, true)[..] else { panic!("one") };
        assert!(problem.starts_with("g.yaml:1: ksops is a plugin, and none runs"), "{problem}");
    }

    #[test]
    fn a_function_is_found_however_it_is_written() {
        for (annotation, expected) in [
            (r#"{"exec": {"path": "./x"}}"#, true),
            ("{deferFailure: false, exec: {path: x}}", true),
            ("exec:\n  path: x\n", true),
            ("container: {image: exec}", false),
            ("{container: {image: x}, deferFailure: true}", false),
            ("container:\n  image: x\n  # exec: y\n", false),
            ("{exec", true),
        ] {
            assert_eq!(is_exec(annotation), expected, "{annotation}");
        }
    }

    #[test]
    fn a_transformer_counts_for_its_kustomization_and_those_below() {
        let transformer = "apiVersion: selkie.dev/v1alpha1\nkind: SopsTransformer\nmetadata: {name: a}\n";
        let given = |root: &'static str| {
            [
                ("kustomization.yaml", root),
                ("a/kustomization.yaml", "resources: [s.yaml, b]\ntransformers: [t.yaml]\n"),
                ("a/s.yaml", SECRET),
                ("a/t.yaml", transformer),
                ("a/b/kustomization.yaml", "resources: [u.yaml]\n"),
                ("a/b/u.yaml", SECRET),
                ("c/kustomization.yaml", "resources: [v.yaml]\n"),
                ("c/v.yaml", SECRET),
                ("d/kustomization.yaml", "kind: Component\ntransformers: [../a/t.yaml]\n"),
            ]
        };
        let paths = |root| {
            let problems = found(&given(root), Builder::Kubectl, true);
            let path = |problem: &String| problem.split(' ').nth(1).map(str::to_owned).unwrap_or_default();
            problems.iter().map(path).collect::<Vec<_>>()
        };
        assert_eq!(paths("resources: [a, c]\n"), ["c/v.yaml"]);
        assert_eq!(paths("resources: [a/b, c]\n"), ["a/b/u.yaml", "c/v.yaml"]);
        assert_eq!(paths("resources: [a, a/b]\n"), ["a/b/u.yaml"]);
        assert!(paths("resources: [c]\ncomponents: [d]\n").is_empty());
    }

    #[test]
    fn a_plugin_has_to_be_installed() {
        let generator = format!("{KSOPS}files: [s.yaml]\n");
        let given =
            [("kustomization.yaml", "generators: [g.yaml]\n"), ("g.yaml", &*generator), ("s.yaml", SECRET)];
        assert!(found(&given, Builder::Kubectl, true).is_empty());
        assert_eq!(
            found(&given, Builder::Kubectl, false),
            [
                "g.yaml:1: viaduct.ai/v1 ksops is a plugin that is not installed here; run `selkie-decryptor kustomize install`"
            ]
        );
    }

    #[test]
    fn encrypted_files_that_nobody_decrypts_or_names_are_found() {
        let given =
            [("kustomization.yaml", "resources:\n- s.yaml\n"), ("s.yaml", SECRET), ("t.yaml", SECRET)];
        let problems = found(&given, Builder::Kubectl, true);
        assert!(problems[0].starts_with("kustomization.yaml:2: s.yaml is encrypted, and is passed on so;"));
        assert!(problems[1].starts_with("t.yaml:1: is encrypted, and no kustomization names it"));
        let problems = found(&given, Builder::Render, true);
        assert_eq!(problems.len(), 1, "{problems:?}");
        let transformer = "apiVersion: selkie.dev/v1alpha1\nkind: SopsTransformer\nmetadata: {name: a}\nsources: [s.yaml]\n";
        let given = [
            ("kustomization.yaml", "resources: [s.yaml]\ntransformers: [t.yaml]\n"),
            ("s.yaml", SECRET),
            ("t.yaml", transformer),
        ];
        assert!(found(&given, Builder::Kubectl, true).is_empty());
    }

    #[test]
    fn files_of_a_generator_are_looked_at() {
        let generator = format!("{KSOPS}files: [clear.yaml, missing.yaml, ../out.yaml]\n");
        let given = [
            ("kustomization.yaml", "generators: [g.yaml]\n"),
            ("g.yaml", &*generator),
            ("clear.yaml", "a: 1\n"),
        ];
        assert_eq!(
            found(&given, Builder::Kubectl, true),
            [
                "g.yaml:1: clear.yaml is not encrypted, which a generator refuses",
                "g.yaml:1: missing.yaml is missing",
                "g.yaml:1: ../out.yaml leads out of the folder that is looked through; use --root",
            ]
        );
    }
}
