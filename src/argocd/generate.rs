//! `argocd generate`: what Argo CD's own server for plugins starts in the folder of an application.

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};

use selkie::render::Folder;

use super::app::{App, Waiting};
use super::facts::Facts;
use crate::render::sandbox;
use crate::render::settings::Settings;

/// Render the application in the folder in which this is started, as a command of a plugin.yaml
///
/// The variables that Argo CD sets say for which application this is. The server that starts it logs what it prints if it
/// logs at debug: prefer `argocd serve`, or a mode other than plain.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    settings: Settings,
    /// The root of the files that the application may reach; without it, the folder above with a .git, or else the
    /// application's own
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// The folder of the application
    #[arg(default_value = ".", value_name = "DIR")]
    folder: PathBuf,
}

/// Why the command cannot be followed.
#[derive(Debug, thiserror::Error)]
enum GenerateError {
    /// A folder cannot be read.
    #[error("{path}: cannot be read", path = .0.display())]
    Io(PathBuf, #[source] std::io::Error),
    /// The folder is not below the root.
    #[error("{path}: is not below the folder of --root", path = .0.display())]
    Root(PathBuf),
    /// A name is not UTF-8.
    #[error("{path}: is not UTF-8", path = .0.display())]
    Text(PathBuf),
}

/// Prints the manifests of an application.
pub(super) fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    sandbox::remove_at_signals()?;
    let renderer = args.settings.renderer()?;
    let (root, folder) = places(&args.folder, args.root.as_deref())?;
    // What is no text is none of the variables that Argo CD sets.
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let facts = Facts::new(variables)?;
    let app = App::new(&facts, &folder, Waiting::default())?;
    let limits = app.limits(&renderer)?;
    let emission = app.render(&Folder::open(&root, &limits)?, &renderer)?;
    let stream = emission.to_yaml(&limits)?;
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(stream.expose_secret())?;
    stdout.flush()?;
    Ok(())
}

/// Returns the root of the files, and the folder below it.
fn places(folder: &Path, root: Option<&Path>) -> Result<(PathBuf, String), GenerateError> {
    let canonical =
        |path: &Path| path.canonicalize().map_err(|error| GenerateError::Io(path.to_owned(), error));
    let folder = canonical(folder)?;
    let root = match root {
        Some(root) => canonical(root)?,
        None => folder.ancestors().find(|path| path.join(".git").exists()).unwrap_or(&folder).to_owned(),
    };
    let below = folder.strip_prefix(&root).map_err(|_| GenerateError::Root(folder.clone()))?;
    let below = below.to_str().ok_or_else(|| GenerateError::Text(folder.clone()))?;
    Ok((root, below.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_root_is_the_repository() {
        let place = tempfile::tempdir().expect("a folder");
        let place = place.path().canonicalize().expect("it is there");
        let app = place.join("r/apps/cart");
        fs::create_dir_all(&app).expect("a folder");
        assert_eq!(places(&app, None).expect("it is there"), (app.clone(), String::new()));
        fs::create_dir(place.join("r/.git")).expect("a folder");
        let expected = (place.join("r"), "apps/cart".to_owned());
        assert_eq!(places(&app, None).expect("it is there"), expected);
        let narrow = (place.join("r/apps"), "cart".to_owned());
        assert_eq!(places(&app, Some(&place.join("r/apps"))).expect("it is there"), narrow);
        let outside = places(&place.join("r/apps"), Some(&app));
        assert!(matches!(outside, Err(GenerateError::Root(_))));
    }
}
