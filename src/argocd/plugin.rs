//! `argocd plugin`: the plugin.yaml for Argo CD's own server for plugins.

use std::error::Error;
use std::io::Write;

use serde_json::{Value as Json, json};

use super::parameters::announcements;
use super::serve::name;

/// Print a plugin.yaml that renders by `argocd generate`
#[derive(clap::Args)]
#[command(after_help = "Examples:
  selkie-decryptor argocd plugin -- --mode defer --key-secret sops-keys >plugin.yaml")]
pub(super) struct Args {
    /// The name of the plugin
    #[arg(long, value_name = "NAME", default_value = "selkie", value_parser = name)]
    name: String,
    /// A version of the plugin, which is part of the name that applications give
    #[arg(long, value_name = "VERSION", value_parser = name)]
    plugin_version: Option<String>,
    /// Arguments of `argocd generate`
    #[arg(last = true, value_name = "ARGUMENTS")]
    arguments: Vec<String>,
}

/// Prints the plugin.yaml.
pub(super) fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let text = selkie::manifest::print_yaml(&args.plugin());
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.expose_secret())?;
    stdout.flush()?;
    Ok(())
}

impl Args {
    fn plugin(&self) -> Json {
        let mut command = vec!["selkie-decryptor".to_owned(), "argocd".to_owned(), "generate".to_owned()];
        command.extend(self.arguments.iter().cloned());
        let parameters: Vec<_> = announcements()
            .into_iter()
            .map(|parameter| {
                json!({
                    "name": parameter.name,
                    "title": parameter.title,
                    "tooltip": parameter.tooltip,
                    "collectionType": parameter.collection_type,
                })
            })
            .collect();
        let mut spec = json!({"generate": {"command": command}, "parameters": {"static": parameters}});
        if let Some(version) = &self.plugin_version {
            spec["version"] = version.as_str().into();
        }
        json!({
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "ConfigManagementPlugin",
            "metadata": {"name": self.name},
            "spec": spec,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_starts_this_program() {
        let args = Args {
            name: "selkie".to_owned(),
            plugin_version: Some("v1".to_owned()),
            arguments: vec!["--mode=defer".to_owned()],
        };
        let plugin = args.plugin();
        assert_eq!(
            plugin["spec"]["generate"]["command"],
            json!(["selkie-decryptor", "argocd", "generate", "--mode=defer"])
        );
        assert_eq!(plugin["spec"]["version"], "v1");
        assert_eq!(plugin["spec"]["parameters"]["static"].as_array().map(Vec::len), Some(4));
    }
}
