//! `helm post-render`: what Helm rendered in, decrypted or sealed out.

use std::collections::BTreeSet;
use std::error::Error;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use selkie::render::{Files, Folder, Memory, normalized};
use selkie::secret::SecretBytes;

use super::files;
use crate::render::renderer::{Origin, Request};
use crate::render::settings::Settings;

/// Decrypt the manifests that Helm rendered, from standard input to standard output, as a post-renderer of Helm
///
/// What is encrypted is looked up in the files of --source. Without it, those are the templates that Helm 4 names in
/// its annotation, if the folder is that of the chart or the one around it.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    settings: Settings,
    /// The folder of files of which the manifests were rendered
    #[arg(long, value_name = "DIR", env = "SELKIE_HELM_SOURCE")]
    source: Option<PathBuf>,
    /// For whom this is rendered, for a policy: the namespace
    #[arg(long, value_name = "NAME", default_value = "", env = "HELM_NAMESPACE")]
    namespace: String,
}

/// Renders standard input.
///
/// # Errors
/// If anything of it is refused; then nothing comes out.
pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let mut stream = Vec::new();
    std::io::stdin().lock().read_to_end(&mut stream)?;
    let stream = SecretBytes::from(stream);
    let renderer = args.settings.renderer()?;
    let origin = Origin { namespace: args.namespace.clone(), ..Origin::default() };
    let request = Request { origin, ..Request::default() };
    let emission = match &args.source {
        Some(source) => {
            renderer.render_stream(&stream, Some(&Folder::open(source, &renderer.limits)?), &request)?
        }
        None => {
            let templates = templates(&stream, &std::env::current_dir()?)?;
            let files: Option<&dyn Files> =
                if templates.paths().is_empty() { None } else { Some(&templates) };
            renderer.render_stream(&stream, files, &request)?
        }
    };
    let rendered = emission.to_yaml(&renderer.limits)?;
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(rendered.expose_secret())?;
    Ok(stdout.flush()?)
}

/// Returns the templates that are named in what was rendered, as far as they are in the chart's folder, which is `folder`
/// or in it.
fn templates(stream: &SecretBytes, folder: &Path) -> Result<Memory, Box<dyn Error>> {
    let text = String::from_utf8_lossy(stream.expose_secret());
    let named: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix(ANNOTATION)?.strip_prefix(':'))
        .filter_map(|path| normalized("", path.trim().trim_matches(['\'', '"'])))
        .collect();
    let mut found = Memory::default();
    for path in named {
        // Helm puts the name of the chart before it, which is mostly that of its folder.
        let inside = path.split_once('/').map_or("", |(_, inside)| inside);
        let candidates = [folder.join(&path), folder.join(inside)];
        if let Some(file) = candidates.iter().find(|candidate| candidate.is_file()) {
            found.insert(&path, files::read(file, &path)?)?;
        }
    }
    Ok(found)
}

/// Where Helm 4 notes which template a manifest is from.
const ANNOTATION: &str = "postrenderer.helm.sh/postrender-filename";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_found_by_the_annotation() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("templates")).expect("a folder");
        std::fs::write(folder.path().join("templates/s.yaml"), "x").expect("a file");
        let stream = format!(
            "metadata:\n  annotations:\n    {ANNOTATION}: 'demo/templates/s.yaml'\n---\n{ANNOTATION}: ../../../etc/passwd\n"
        );
        let found = templates(&stream.into(), folder.path()).expect("it can be read");
        assert_eq!(found.paths(), ["demo/templates/s.yaml"]);
    }
}
