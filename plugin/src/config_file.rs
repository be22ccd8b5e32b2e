//! Finding `.sops.yaml` and asking it about a file.

use std::path::{Path, PathBuf};
use std::{fs, io};

use selkie::sops::config::{Config, ConfigError, CreationRule, DestinationRule};

/// A configuration and where it was found.
#[derive(Debug)]
pub struct ConfigFile {
    /// The file, as it was named or found.
    pub path: PathBuf,
    /// What it says.
    pub config: Config,
    /// The folder that rules are relative to, absolute.
    folder: PathBuf,
}

/// What a search for a configuration found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Discovery {
    /// The configuration.
    pub path: Option<PathBuf>,
    /// A file on the way that only looks like one.
    pub ignored: Option<PathBuf>,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigFileError {
    /// The file does not say what it should.
    #[error("{}:{}: {}", .path.display(), .error.line, .error.kind)]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        error: ConfigError,
    },
    /// The file cannot be read.
    #[error("could not read config file {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Looks for `.sops.yaml` in an absolute folder and those above it, as sops does: the file of the
/// wrong name `.sops.yml` is passed over, but told.
#[must_use]
pub fn discover(start: &Path) -> Discovery {
    let mut found = Discovery::default();
    for folder in start.ancestors().take(MAX_DEPTH) {
        let path = folder.join(FILE_NAME);
        if fs::metadata(&path).is_ok() {
            return Discovery { path: Some(path), ..found };
        }
        let other = folder.join(OTHER_FILE_NAME);
        if found.ignored.is_none() && fs::metadata(&other).is_ok() {
            found.ignored = Some(other);
        }
    }
    found
}

impl ConfigFile {
    /// Reads a configuration file; `folder` is the working directory, for a relative `path`.
    ///
    /// # Errors
    /// If the file cannot be read, or is not a configuration.
    pub fn load(path: &Path, working_directory: &Path) -> Result<Self, ConfigFileError> {
        let absolute = crate::session::clean(&working_directory.join(path));
        let text = fs::read(&absolute);
        let text = text.map_err(|source| ConfigFileError::Read { path: path.to_owned(), source })?;
        let config = Config::parse(&text);
        let config = config.map_err(|error| ConfigFileError::Invalid { path: path.to_owned(), error })?;
        let folder = absolute.parent().unwrap_or(Path::new("")).to_owned();
        Ok(Self { path: path.to_owned(), config, folder })
    }

    /// Returns the creation rule for a file, given by its absolute path; `None` if no rule matches.
    ///
    /// # Errors
    /// If the rule, or the pattern of one before it, cannot be read.
    pub fn rule_for(&self, file: &Path) -> Result<Option<&CreationRule>, ConfigFileError> {
        self.config.rule_for(&self.relative(file)).map_err(|error| self.invalid(error))
    }

    /// Returns the destination rule for a file, given by the path that the user wrote.
    ///
    /// # Errors
    /// If the rule, or the pattern of one before it, cannot be read.
    pub fn destination_for(&self, file: &str) -> Result<Option<&DestinationRule>, ConfigFileError> {
        self.config.destination_for(file).map_err(|error| self.invalid(error))
    }

    /// Returns the path that rules are matched with: relative to the configuration's folder, or
    /// absolute for a file outside of it.
    #[must_use]
    pub fn relative(&self, file: &Path) -> String {
        file.strip_prefix(&self.folder).unwrap_or(file).to_string_lossy().into_owned()
    }

    /// Returns an error of the configuration with the file's name.
    #[must_use]
    pub fn invalid(&self, error: ConfigError) -> ConfigFileError {
        ConfigFileError::Invalid { path: self.path.clone(), error }
    }
}

/// The name of configuration files.
pub const FILE_NAME: &str = ".sops.yaml";

/// A name that is taken for the right one.
const OTHER_FILE_NAME: &str = ".sops.yml";

/// How many folders are looked into.
const MAX_DEPTH: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir_all(folder.path().join("a/b")).expect("folders");
        for file in files {
            fs::write(folder.path().join(file), "creation_rules:\n- path_regex: ^a/b/c$\n").expect("a file");
        }
        folder
    }

    #[test]
    fn the_nearest_file_upward_is_found() {
        let folder = folder(&[".sops.yaml", "a/.sops.yaml"]);
        let found = |start: &str| discover(&folder.path().join(start)).path;
        assert_eq!(found("a/b"), Some(folder.path().join("a/.sops.yaml")));
        assert_eq!(found(""), Some(folder.path().join(".sops.yaml")));
    }

    #[test]
    fn a_file_of_the_wrong_name_is_told() {
        let folder = folder(&["a/b/.sops.yml", ".sops.yaml"]);
        let found = discover(&folder.path().join("a/b"));
        assert_eq!(found.path, Some(folder.path().join(".sops.yaml")));
        assert_eq!(found.ignored, Some(folder.path().join("a/b/.sops.yml")));
    }

    #[test]
    fn rules_are_relative_to_the_configuration() {
        let folder = folder(&[".sops.yaml"]);
        let config = ConfigFile::load(Path::new("../../.sops.yaml"), &folder.path().join("a/b"));
        let config = config.expect("a configuration");
        let inside = config.rule_for(&folder.path().join("a/b/c")).expect("the rule can be read");
        assert_eq!(inside.expect("it matches").line, 2);
        assert!(config.rule_for(&folder.path().join("a/c")).expect("the rule can be read").is_none());
        assert_eq!(config.relative(Path::new("/elsewhere")), "/elsewhere");
    }

    #[test]
    fn faults_name_file_and_line() {
        let folder = folder(&[]);
        fs::write(folder.path().join(FILE_NAME), "creation_rules:\n- path_regex: (\n").expect("a file");
        let config = ConfigFile::load(Path::new(FILE_NAME), folder.path()).expect("it parses");
        let error = config.rule_for(&folder.path().join("x")).expect_err("no pattern");
        assert!(error.to_string().starts_with(".sops.yaml:2: path_regex: "), "{error}");
        let error = ConfigFile::load(Path::new("none"), folder.path()).expect_err("no file");
        assert_eq!(error.to_string(), "could not read config file none");
    }
}
