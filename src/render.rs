//! `render`: manifests in, decrypted, resealed, deferred or redacted ones out, as one YAML stream on standard output.
//!
//! Invariant: nothing is written unless everything could be read, decrypted and verified.

pub mod child;
pub mod helm;
pub mod kustomize;
pub mod policy;
pub mod renderer;
pub mod root;
pub mod sandbox;
pub mod settings;

use std::error::Error;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use selkie::render::{Emission, Explanation, Files, Folder, Limits, Memory, Origin};
use selkie::secret::SecretBytes;

use renderer::{Builder, Renderer, Request};
use serde_json::Value as Json;
use settings::Settings;

/// Render manifests in which secrets are encrypted, and print them as one YAML stream
///
/// What is not encrypted passes through. Nothing is printed if anything cannot be decrypted and verified.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  selkie-decryptor render --keys /keys apps/shop | kubectl apply -f -
  selkie-decryptor render --keys /keys --kustomize overlays/production | kubectl apply -f -
  kustomize build overlays/production | selkie-decryptor render --keys /keys --source . - | kubectl apply -f -")]
pub struct Args {
    #[command(flatten)]
    settings: Settings,
    /// Build the kustomization in the folder
    #[arg(long, conflicts_with = "helm")]
    kustomize: bool,
    /// Render the chart in the folder
    #[arg(long)]
    helm: bool,
    /// The name of the release, with --helm
    #[arg(long, value_name = "NAME", requires = "helm", default_value = "release-name")]
    release: String,
    /// The namespace of the release, with --helm; for a policy, that of the objects
    #[arg(long, short, value_name = "NAMESPACE", default_value = "")]
    namespace: String,
    /// A file with values, relative to the chart, with --helm
    #[arg(long, value_name = "FILE", requires = "helm")]
    values: Vec<String>,
    /// A value, as in Helm, with --helm
    #[arg(long, value_name = "NAME=VALUE", requires = "helm")]
    set: Vec<String>,
    /// A further argument of `helm template`, such as --include-crds, with --helm; --allow-random lets random values pass
    #[arg(long, value_name = "ARGUMENT", requires = "helm", allow_hyphen_values = true)]
    helm_argument: Vec<String>,
    /// Print what is encrypted, for which keys, and what would become of it, and no manifests; fails if anything would be
    /// refused
    #[arg(long, value_enum, value_name = "FORMAT", num_args = 0..=1, require_equals = true, default_missing_value = "text")]
    explain: Option<ExplainFormat>,
    /// The folder of files of which the stream on standard input was built
    #[arg(long, value_name = "DIR")]
    source: Option<PathBuf>,
    /// The root of the files that a kustomization or chart may reach; if nothing is said, the repository of Git that the
    /// folder is in, or else the folder itself
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// For whom this is rendered, for a policy: the project
    #[arg(long, value_name = "NAME", default_value = "")]
    project: String,
    /// For whom this is rendered, for a policy: the repository
    #[arg(long, value_name = "URL", default_value = "")]
    repository: String,
    /// A folder or files to render; - is a YAML stream on standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
}

/// How what is encrypted is told.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum ExplainFormat {
    /// A list in JSON
    Json,
    /// Lines for people
    Text,
}

/// Why the command line cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum ArgsError {
    /// A path is not a folder.
    #[error("{0}: is not a folder, which --kustomize and --helm ask for")]
    NotAFolder(String),
    /// The folder is not below the root.
    #[error("{0}: is not below the folder of --root")]
    Root(String),
    /// Several paths are given where one can be.
    #[error("give one folder, or files, or -")]
    Several,
    /// Something would be refused.
    #[error("{0} of these would be refused")]
    Refused(usize),
    /// Two files have the same name for what renders them.
    #[error(
        "{0}: is there twice, or is another file under the same name once ./ and ../ are taken away; give the folder"
    )]
    Twice(String),
    /// A file cannot be read.
    #[error("{0}: cannot be read")]
    Io(String, #[source] std::io::Error),
}

/// What is rendered.
enum Input {
    /// Files, of which a folder is rendered.
    Files(Box<dyn Files>, String),
    /// A stream, which was built of files.
    Stream(SecretBytes, Option<Folder>),
}

/// Renders to standard output, or tells what would become of it.
pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    sandbox::remove_at_signals()?;
    let renderer = args.settings.renderer()?;
    let mut request = args.request();
    let limits = renderer.limits_for(&request)?;
    let input = args.input(&limits)?;
    if let Input::Files(_, folder) = &input {
        request.folder.clone_from(folder);
    }
    if let Some(format) = args.explain {
        return explain(&renderer, &input, &request, format);
    }
    let emission = match &input {
        Input::Files(files, _) => renderer.render(&**files, &request)?,
        Input::Stream(stream, folder) => renderer.render_stream(stream, as_files(folder), &request)?,
    };
    write(emission.to_yaml(&limits)?.expose_secret())?;
    warn(&emission);
    Ok(())
}

/// Prints what is encrypted, and what would become of it.
fn explain(
    renderer: &Renderer,
    input: &Input,
    request: &Request,
    format: ExplainFormat,
) -> Result<(), Box<dyn Error>> {
    let found = match input {
        Input::Files(files, _) => renderer.explain(&**files, request)?,
        Input::Stream(stream, folder) => renderer.explain_stream(stream, as_files(folder), request)?,
    };
    let text = match format {
        ExplainFormat::Json => {
            let all: Json = found.iter().map(Explanation::to_json).collect();
            format!("{all:#}\n")
        }
        ExplainFormat::Text => found.iter().map(|found| format!("{found}\n")).collect(),
    };
    write(text.as_bytes())?;
    match found.iter().filter(|found| !found.passes()).count() {
        0 => Ok(()),
        count => Err(ArgsError::Refused(count).into()),
    }
}

fn as_files(folder: &Option<Folder>) -> Option<&dyn Files> {
    folder.as_ref().map(|folder| folder as &dyn Files)
}

fn write(text: &[u8]) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text)?;
    stdout.flush()
}

/// Reads all of something, or one byte more than is allowed.
fn limited(from: impl Read, limit: u64) -> std::io::Result<SecretBytes> {
    let mut bytes = Vec::new();
    let read = from.take(limit.saturating_add(1)).read_to_end(&mut bytes);
    let bytes = SecretBytes::from(bytes);
    read.map(|_| bytes)
}

/// Reads the files that a user named.
fn single_files(paths: &[PathBuf], limits: &Limits) -> Result<Memory, Box<dyn Error>> {
    let (mut files, mut total) = (Memory::default(), 0);
    limits.check_files(paths.len())?;
    for path in paths {
        let name = path.display().to_string();
        let failed = |error| ArgsError::Io(name.clone(), error);
        let text = limited(std::fs::File::open(path).map_err(failed)?, limits.file_bytes).map_err(failed)?;
        limits.check_file(&name, text.len() as u64)?;
        total += text.len() as u64;
        limits.check_total(total)?;
        // What leads out of a folder is what the user named.
        let inside = name.trim_start_matches(['.', '/']);
        let before = files.paths().len();
        files.insert(inside, text)?;
        if files.paths().len() == before {
            return Err(ArgsError::Twice(name).into());
        }
    }
    Ok(files)
}

impl Args {
    fn input(&self, limits: &Limits) -> Result<Input, Box<dyn Error>> {
        if self.paths.iter().any(|path| path.as_os_str() == "-") {
            if self.paths.len() > 1 {
                return Err(ArgsError::Several.into());
            }
            let stream = limited(std::io::stdin().lock(), limits.total_bytes)?;
            limits.check_total(stream.len() as u64)?;
            let folder = self.source.as_deref().map(|path| Folder::open(path, limits)).transpose()?;
            return Ok(Input::Stream(stream, folder));
        }
        if let [path] = &self.paths[..]
            && path.is_dir()
        {
            let (root, folder) = self.folder(path)?;
            return Ok(Input::Files(Box::new(Folder::open(&root, limits)?), folder));
        }
        if self.kustomize || self.helm {
            return Err(ArgsError::NotAFolder(self.paths[0].display().to_string()).into());
        }
        Ok(Input::Files(Box::new(single_files(&self.paths, limits)?), String::new()))
    }

    fn request(&self) -> Request {
        let builder = if self.kustomize {
            Builder::Kustomize
        } else if self.helm {
            Builder::Helm(helm::Helm {
                release: self.release.clone(),
                namespace: self.namespace.clone(),
                values: self.values.clone(),
                set: self.set.clone(),
                arguments: self.helm_argument.clone(),
            })
        } else {
            Builder::None
        };
        let origin = Origin {
            project: self.project.clone(),
            namespace: self.namespace.clone(),
            repository: self.repository.clone(),
            path: self.paths[0].display().to_string(),
        };
        Request { origin, builder, ..Request::default() }
    }

    /// Returns the root of the files, and the folder below it.
    fn folder(&self, path: &Path) -> Result<(PathBuf, String), ArgsError> {
        let root = match &self.root {
            Some(root) => root.clone(),
            None if self.kustomize || self.helm => root::root_of(path),
            None => return Ok((path.to_owned(), String::new())),
        };
        let canonical = |path: &Path| {
            path.canonicalize().map_err(|error| ArgsError::Io(path.display().to_string(), error))
        };
        let (root, path) = (canonical(&root)?, canonical(path)?);
        let below = path.strip_prefix(&root).map_err(|_| ArgsError::Root(path.display().to_string()))?;
        let folder = below.to_string_lossy().into_owned();
        Ok((root, folder))
    }
}

#[expect(clippy::print_stderr, reason = "what came out nevertheless is told beside it")]
fn warn(emission: &Emission) {
    for warning in &emission.warnings {
        eprintln!("warning: {}: {}", warning.place, warning.text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_a_user_names_have_limits_and_names_of_their_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("a.yaml"), "12345").expect("a file");
        std::fs::write(path("b.yaml"), "1").expect("a file");
        let read = |names: &[&str], limits: &Limits| {
            let paths: Vec<_> = names.iter().map(|name| path(name)).collect();
            single_files(&paths, limits).map(|files| files.paths().len()).map_err(|error| error.to_string())
        };
        let limits = Limits::default();
        assert_eq!(read(&["a.yaml", "b.yaml"], &limits), Ok(2));
        let twice = read(&["a.yaml", "../x/../a.yaml"], &limits).expect_err("they are elsewhere");
        assert!(twice.contains("cannot be read"), "{twice}");
        let twice = read(&["a.yaml", "./a.yaml"], &limits).expect_err("one name");
        assert!(twice.contains("is there twice"), "{twice}");
        let large = read(&["a.yaml"], &Limits { file_bytes: 4, ..Limits::default() });
        assert!(large.expect_err("too large").contains("fileBytes"));
        let all = read(&["a.yaml", "b.yaml"], &Limits { total_bytes: 5, ..Limits::default() });
        assert!(all.expect_err("too much").contains("totalBytes"));
        assert_eq!(limited(std::io::repeat(b'a'), 3).expect("read").len(), 4);
    }
}
