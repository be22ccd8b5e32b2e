//! Installs this program as plugins of the old kind, by links in the folder where Kustomize looks for them.

use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::config::KINDS;

/// Install this program as plugins for `kubectl kustomize --enable-alpha-plugins`
#[derive(clap::Args)]
pub(super) struct Args {
    /// Where Kustomize looks for plugins; if nothing is said, $XDG_CONFIG_HOME/kustomize/plugin or
    /// ~/.config/kustomize/plugin
    #[arg(long, value_name = "DIR", env = "KUSTOMIZE_PLUGIN_HOME")]
    plugin_home: Option<PathBuf>,
}

/// Why plugins cannot be installed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
enum InstallError {
    /// The system refuses.
    #[error("{path}: cannot be installed", path = .0.display())]
    Io(PathBuf, #[source] io::Error),
    /// Nobody says where.
    #[error("there is no home directory; say where Kustomize looks for plugins: --plugin-home")]
    NoHome,
    /// Something else is there.
    #[error("{path}: is there, and is no link; remove it first", path = .0.display())]
    Taken(PathBuf),
}

/// Makes the links, and prints them.
#[expect(clippy::print_stdout, reason = "what was done is what this prints")]
pub(super) fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let home =
        args.plugin_home.clone().or_else(|| plugin_homes().into_iter().next()).ok_or(InstallError::NoHome)?;
    let program = std::env::current_exe()?.canonicalize()?;
    for link in links(&home) {
        install(&program, &link)?;
        println!("{}", link.display());
    }
    Ok(())
}

/// Returns where Kustomize looks for plugins, by its order.
pub(super) fn plugin_homes() -> Vec<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value: &OsString| !value.is_empty());
    let below = |name: &str, path: &str| variable(name).map(|folder| Path::new(&folder).join(path));
    let homes = [
        below("KUSTOMIZE_PLUGIN_HOME", ""),
        below("XDG_CONFIG_HOME", "kustomize/plugin"),
        below("HOME", ".config/kustomize/plugin"),
        below("HOME", "kustomize/plugin"),
    ];
    homes.into_iter().flatten().collect()
}

/// Returns where a plugin of a kind is, below the folder of plugins.
pub(super) fn link_of(version: &str, kind: &str) -> PathBuf {
    Path::new(version).join(kind.to_lowercase()).join(kind)
}

fn links(home: &Path) -> impl Iterator<Item = PathBuf> {
    KINDS.iter().map(|kind| home.join(link_of(kind.version, kind.kind)))
}

/// Makes one link, in place of another one.
fn install(program: &Path, link: &Path) -> Result<(), InstallError> {
    let failed = |error| InstallError::Io(link.to_owned(), error);
    match fs::symlink_metadata(link) {
        Ok(there) if !there.is_symlink() => return Err(InstallError::Taken(link.to_owned())),
        Ok(_) if fs::read_link(link).is_ok_and(|there| there == program) => return Ok(()),
        _ => {}
    }
    let folder = link.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(failed)?;
    // A link is made beside, so that there is one at any time.
    let beside = tempfile::Builder::new().prefix(".selkie-").tempdir_in(folder).map_err(failed)?;
    let fresh = beside.path().join("link");
    symlink(program, &fresh).map_err(failed)?;
    fs::rename(&fresh, link).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_made_and_made_again_and_nothing_else_is_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = folder.path();
        for program in ["/bin/true", "/bin/true", "/bin/false"] {
            for link in links(home) {
                install(Path::new(program), &link).expect("installed");
                assert_eq!(fs::read_link(&link).expect("a link"), Path::new(program));
                assert_eq!(fs::read_dir(link.parent().expect("a folder")).expect("a folder").count(), 1);
            }
        }
        let ours = home.join("viaduct.ai/v1/ksops/ksops");
        fs::remove_file(&ours).expect("removed");
        fs::write(&ours, "other").expect("a file");
        assert!(matches!(install(Path::new("/bin/true"), &ours), Err(InstallError::Taken(_))));
    }
}
