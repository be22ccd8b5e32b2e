//! Kustomize, run over marked files.
//!
//! Invariants: what Kustomize reads lies in a private folder, with marks in the place of all that is decrypted; nothing
//! else is there, and it reads nothing from elsewhere: kustomizations are printed of what was understood of them, and
//! Kustomize is never told to leave the folders of kustomizations. No plugin runs.

use std::ffi::OsString;

use selkie::render::{Engine, Files, Kustomization, KustomizationError, Piece, Remote, RenderError, Sources};
use selkie::secret::SecretBytes;

use super::renderer::{Built, Programs, Request};
use super::sandbox::{self, Sandbox, SandboxError};

/// Why Kustomize built nothing. No variant holds a value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KustomizeError {
    /// Kustomize fails.
    #[error("the kustomization cannot be built: {said}")]
    Failed {
        /// What it says.
        said: String,
    },
    /// The kustomization cannot be built.
    #[error(transparent)]
    Kustomization(#[from] KustomizationError),
    /// A plugin would be run.
    #[error(
        "{place}: {kind} is a plugin, which does not run here; name its encrypted files in `resources` or in `files` of a secretGenerator, as all of them are decrypted"
    )]
    Plugin {
        /// The place that names it.
        place: String,
        /// Its kind.
        kind: String,
    },
    /// The engine refuses.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// The program cannot be run.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
}

/// Builds the kustomization in a folder: decides what each file is to it, opens what is encrypted, lays all files out with
/// marks in them, runs the program, and returns what it says.
///
/// # Errors
/// If a file is refused, or the program fails.
pub fn build(
    engine: &Engine<'_>,
    files: &dyn Files,
    folder: &str,
    programs: &Programs,
    request: &Request,
) -> Result<Built, KustomizeError> {
    let remote = if programs.network { Remote::Allow } else { Remote::Refuse };
    let mut kustomization = Kustomization::read(files, folder, remote)?;
    if !kustomization.refused.is_empty() {
        return Err(kustomization.refused.swap_remove(0).into());
    }
    if let Some(plugin) = kustomization.plugins.first() {
        let kind = plugin.config["kind"].as_str().unwrap_or("what has no kind").to_owned();
        return Err(KustomizeError::Plugin { place: plugin.place.clone(), kind });
    }
    let sources = engine.open(files, &kustomization.roles)?;
    let build = Build { engine, programs, request, folder, kustomization: &kustomization, sources: &sources };
    let sandbox = Sandbox::new()?;
    build.lay_out(&sandbox, files)?;
    let stream = build.run(&sandbox)?;
    if stream.expose_secret().trim_ascii().is_empty() && !engine.rule.allow_empty {
        return Err(RenderError::Empty.into());
    }
    Ok(Built { stream, sources })
}

/// One build.
struct Build<'a> {
    engine: &'a Engine<'a>,
    programs: &'a Programs,
    request: &'a Request,
    folder: &'a str,
    kustomization: &'a Kustomization,
    sources: &'a Sources,
}

impl Build<'_> {
    fn lay_out(&self, sandbox: &Sandbox, files: &dyn Files) -> Result<(), KustomizeError> {
        let copies = self.kustomization.copies.iter();
        for (to, from) in self.kustomization.files.iter().map(|path| (path, path)).chain(copies) {
            let clear;
            let text = match self.sources.get(from) {
                Some(source) => source.marked(),
                None => {
                    clear = files.read(from).map_err(RenderError::from)?;
                    self.engine.limits.check_file(from, clear.len() as u64).map_err(RenderError::from)?;
                    &clear
                }
            };
            sandbox.write(to, self.kustomization.laid_out(from, text)?.expose_secret())?;
        }
        Ok(())
    }

    fn run(&self, sandbox: &Sandbox) -> Result<SecretBytes, KustomizeError> {
        let program = sandbox::find(&self.programs.kustomize, "--kustomize-program")?;
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        let mut arguments: Vec<OsString> =
            vec![if name.starts_with("kubectl") { "kustomize" } else { "build" }.into()];
        if self.kustomization.has_charts {
            let helm = sandbox::find(&self.programs.helm, "--helm-program")?;
            arguments.extend(["--enable-helm".into(), "--helm-command".into(), helm.into()]);
        }
        arguments.push(if self.folder.is_empty() { "." } else { self.folder }.into());
        let path = self.programs.network.then(|| std::env::var_os("PATH").unwrap_or_default());
        let most = self.engine.limits.output_bytes;
        let ran = sandbox
            .run(&program, &arguments, path, self.request.deadline, most, &|| self.request.is_wanted())?;
        if ran.status.success() {
            return Ok(ran.stdout);
        }
        let said = self.without_marks(&ran.stderr);
        let said =
            sandbox.with_known_paths(said.trim().trim_start_matches("Error: ").trim_start_matches("error: "));
        let copies = self.kustomization.copies.iter();
        let said = copies.fold(said, |said, (copy, path)| said.replace(copy, path));
        let said = if said.is_empty() { ran.status.to_string() } else { said };
        Err(KustomizeError::Failed { said })
    }

    /// Returns a text with a word for every mark.
    fn without_marks(&self, text: &SecretBytes) -> String {
        let Ok(pieces) = self.sources.marks().pieces(text.expose_secret()) else {
            return "it says something of a decrypted value, which is not told".to_owned();
        };
        let said = pieces.into_iter().map(|piece| match piece {
            Piece::Clear(text) => String::from_utf8_lossy(text).into_owned(),
            Piece::Mark(_) => "(decrypted value)".to_owned(),
        });
        said.collect()
    }
}
