//! `helm install-plugins`: the folders of plugins that the Helm at hand reads.

use std::error::Error;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Write the plugins for secrets:// and for rendered manifests to where Helm looks for plugins
#[derive(clap::Args)]
pub struct Args {
    /// The folder of Helm's plugins; the one that Helm says, if nothing is said
    #[arg(long, value_name = "DIR")]
    plugins: Option<PathBuf>,
    /// The Helm to write plugins for
    #[arg(long, value_name = "PROGRAM", env = "HELM_BIN", default_value = "helm")]
    helm_program: PathBuf,
}

/// Why no plugins are written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PluginsError {
    /// Helm does not say what it is asked.
    #[error("{0}: does not say which version it is and where its plugins are; is it Helm 3 or 4?")]
    Helm(String),
    /// The system refuses.
    #[error("{path}: cannot be written", path = .0.display())]
    Io(PathBuf, #[source] std::io::Error),
    /// The program cannot be run.
    #[error("{0}: cannot be run")]
    Program(String, #[source] std::io::Error),
}

/// Writes the plugins, and prints where they are.
///
/// # Errors
/// If Helm cannot be asked, or a file cannot be written.
pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let version = asked(&args.helm_program, &["version", "--template", "{{.Version}}"])?;
    let plugins = match version.strip_prefix('v').and_then(|version| version.split('.').next()) {
        Some("3") => HELM_3,
        Some("4") => HELM_4,
        _ => return Err(PluginsError::Helm(args.helm_program.display().to_string()).into()),
    };
    let folder = match &args.plugins {
        Some(folder) => folder.clone(),
        None => asked(&args.helm_program, &["env", "HELM_PLUGINS"])?.into(),
    };
    let program = std::env::current_exe().map_err(|error| PluginsError::Io("the program".into(), error))?;
    let mut stdout = std::io::stdout().lock();
    for plugin in plugins {
        let folder = folder.join(plugin.name);
        write(&folder, plugin, &program)?;
        writeln!(stdout, "{}", folder.display())?;
    }
    Ok(())
}

/// A folder of a plugin.
struct Plugin {
    name: &'static str,
    manifest: &'static str,
    script: &'static str,
}

fn asked(program: &Path, arguments: &[&str]) -> Result<String, PluginsError> {
    let name = || program.display().to_string();
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| PluginsError::Program(name(), error))?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() && !said.is_empty() { Ok(said) } else { Err(PluginsError::Helm(name())) }
}

fn write(folder: &Path, plugin: &Plugin, program: &Path) -> Result<(), PluginsError> {
    let put = |name: &str, text: &str, mode| {
        let path = folder.join(name);
        let failed = |error| PluginsError::Io(path.clone(), error);
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)?;
        fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).map_err(failed)?;
        file.persist(&path).map_err(|error| PluginsError::Io(path.clone(), error.error))?;
        Ok(())
    };
    fs::create_dir_all(folder).map_err(|error| PluginsError::Io(folder.to_owned(), error))?;
    let quoted = format!("'{}'", program.to_string_lossy().replace('\'', r"'\''"));
    put("run.sh", &plugin.script.replace(NAME, &quoted), 0o755)?;
    put("plugin.yaml", plugin.manifest, 0o644)
}

/// What the scripts call the program.
const NAME: &str = "\"${SELKIE_DECRYPTOR:-selkie-decryptor}\"";

const HELM_3: &[Plugin] = &[Plugin {
    name: "selkie",
    manifest: include_str!("../../deploy/helm-plugins/helm-3/selkie/plugin.yaml"),
    script: include_str!("../../deploy/helm-plugins/helm-3/selkie/run.sh"),
}];

const HELM_4: &[Plugin] = &[
    Plugin {
        name: "selkie",
        manifest: include_str!("../../deploy/helm-plugins/helm-4/selkie/plugin.yaml"),
        script: include_str!("../../deploy/helm-plugins/helm-4/selkie/run.sh"),
    },
    Plugin {
        name: "selkie-getter",
        manifest: include_str!("../../deploy/helm-plugins/helm-4/selkie-getter/plugin.yaml"),
        script: include_str!("../../deploy/helm-plugins/helm-4/selkie-getter/run.sh"),
    },
    Plugin {
        name: "selkie-post-render",
        manifest: include_str!("../../deploy/helm-plugins/helm-4/selkie-post-render/plugin.yaml"),
        script: include_str!("../../deploy/helm-plugins/helm-4/selkie-post-render/run.sh"),
    },
];
