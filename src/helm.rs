//! `helm`: the plugins of Helm for `secrets://` and after rendering, and a wrapper around Helm.
//!
//! Invariants: decrypted values go to standard output, or to memory that Helm inherits, and nowhere else; what is not
//! encrypted is not taken for decrypted.

mod address;
mod decrypt;
mod files;
mod getter;
mod kubernetes;
mod plugins;
mod post_render;
mod wrap;

use std::error::Error;
use std::ffi::OsString;
use std::path::Path;

/// Bring decrypted values to Helm, and decrypt what Helm renders
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    Getter(getter::Args),
    InstallPlugins(plugins::Args),
    PostRender(Box<post_render::Args>),
    Wrap(wrap::Args),
}

/// Runs what the arguments say.
///
/// # Errors
/// If it fails; then nothing was written.
pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    match &args.command {
        Command::Getter(args) => getter::run(args),
        Command::InstallPlugins(args) => plugins::run(args),
        Command::PostRender(args) => post_render::run(args),
        Command::Wrap(args) => wrap::run(args),
    }
}

/// Makes the wrapper of a program that is started as `helm`, where a variable says which Helm is the real one.
#[must_use]
pub fn by_name(mut arguments: Vec<OsString>, has_real_one: bool) -> Vec<OsString> {
    let name = arguments.first().map(Path::new).and_then(Path::file_name);
    if has_real_one && name.is_some_and(|name| name == "helm") {
        arguments.splice(1..1, ["helm", "wrap", "--"].map(OsString::from));
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_wrapper_by_name() {
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        let as_helm = by_name(words(&["/usr/local/bin/helm", "template", "."]), true);
        assert_eq!(as_helm[1..], words(&["helm", "wrap", "--", "template", "."]));
        assert_eq!(by_name(words(&["helm", "version"]), false), words(&["helm", "version"]));
        assert_eq!(by_name(words(&["selkie-decryptor", "helm"]), true), words(&["selkie-decryptor", "helm"]));
    }
}
