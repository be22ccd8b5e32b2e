//! What every subcommand works with: the session, the options that all of them share, configurations and
//! keys, each read once.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Once, OnceLock, PoisonError};

use selkie::format::{Format, WriteOptions};
use selkie::keys::KeyService;

use crate::audit::{AuditLog, Deed};
use crate::cli::Options;
use crate::config_file::{ConfigFile, discover};
use crate::failure::Failure;
use crate::key_server::Asked;
use crate::key_services::KeyServiceOptions;
use crate::named_addresses::NamedAddresses;
use crate::report::Report;
use crate::session::Session;
use crate::{identities, key_services};

/// What every subcommand works with.
pub struct Context<'a> {
    /// What the run has from its process.
    pub session: &'a Session,
    /// The options that all subcommands share.
    pub options: &'a Options,
    /// Where people are told what happens.
    pub report: Report<'a>,
    /// The addresses of key servers that the user named.
    pub named: NamedAddresses,
    configs: Mutex<HashMap<PathBuf, Option<Arc<ConfigFile>>>>,
    services: OnceLock<Vec<Box<dyn KeyService>>>,
    exposure: Once,
    audit: AuditLog,
}

impl<'a> Context<'a> {
    /// Returns the context of one run.
    #[must_use]
    pub fn new(session: &'a Session, options: &'a Options) -> Self {
        let report = Report::new(session, options.quiet, options.verbose, options.colour);
        let config = named_config(session, options);
        let named = NamedAddresses::new(&session.directory, config.as_deref());
        Self {
            session,
            options,
            report,
            named,
            configs: Mutex::default(),
            services: OnceLock::new(),
            exposure: Once::new(),
            audit: AuditLog::new(),
        }
    }

    /// Returns the configuration that applies to a file, given by its absolute path.
    ///
    /// What is named wins; then sops's own search, from the working directory upward; then one from the
    /// file's folder upward.
    ///
    /// # Errors
    /// If the configuration cannot be read.
    pub fn config_for(&self, file: Option<&Path>) -> Result<Option<Arc<ConfigFile>>, Failure> {
        if let Some(path) = self.named_config() {
            return self.load(&path).map(Some);
        }
        let starts = [Some(self.session.directory.as_path()), file.and_then(Path::parent)];
        for start in starts.into_iter().flatten() {
            if let Some(config) = self.discovered(start)? {
                return Ok(Some(config));
            }
        }
        Ok(None)
    }

    /// Returns the configuration nearest to a file, if it is another one than applies to it.
    #[must_use]
    pub fn config_passed_over(&self, file: &Path, used: &Path) -> Option<PathBuf> {
        if self.named_config().is_some() {
            return None;
        }
        let nearest = discover(file.parent()?).path?;
        (self.session.absolute(used) != nearest).then(|| self.shown(&nearest))
    }

    /// Returns what wraps and unwraps data keys: nothing is encrypted or decrypted without it.
    ///
    /// # Errors
    /// If the administrator of the machine wants to know of it and cannot be told, or if there is nobody to ask.
    pub fn services(&self) -> Result<Vec<&dyn KeyService>, Failure> {
        self.audit_is_there()?;
        let services = match self.services.get() {
            Some(services) => services,
            None => {
                let options = self.key_service_options()?;
                self.services.get_or_init(|| key_services::of_run(self.session, &options))
            }
        };
        if services.is_empty() {
            return Err(Failure::Usage(NO_SERVICES.to_owned()));
        }
        Ok(services.iter().map(AsRef::as_ref).collect())
    }

    /// Returns how the key services of the run are set up.
    ///
    /// # Errors
    /// If a key service that is named has no address.
    pub fn key_service_options(&self) -> Result<KeyServiceOptions, Failure> {
        let options = self.options.key_services(&self.session.environment, Arc::new(self.report.warner()))?;
        Ok(KeyServiceOptions { named: Some(self.named.clone()), ..options })
    }

    /// Tells the administrator of the machine what is about to happen to a document, which stdin may be.
    ///
    /// # Errors
    /// If the administrator wants to know of it, and cannot be told: then it must not happen.
    pub fn record(&self, deed: Deed, file: Option<&Path>) -> Result<(), Failure> {
        Ok(self.audit.record(self.session, deed, file)?)
    }

    /// Makes sure that the administrator of the machine can be told, before there is anything to tell.
    ///
    /// # Errors
    /// If the administrator wants to know of everything, and cannot be told.
    pub fn audit_is_there(&self) -> Result<(), Failure> {
        Ok(self.audit.open(self.session).map(drop)?)
    }

    /// Tells the administrator of the machine that another program is about to use a key.
    ///
    /// # Errors
    /// As of [`record()`](Self::record).
    pub fn record_use(&self, asked: &Asked) -> Result<(), Failure> {
        Ok(self.audit.record_use(self.session, asked)?)
    }

    /// Warns of files with identities that everyone can read, once in a run.
    pub fn warn_of_exposed_identities(&self) {
        self.exposure.call_once(|| {
            for path in identities::exposed_files(self.session, &self.options.identity) {
                let path = path.display();
                self.report
                    .warn(format!("everyone can read the identities in {path}: run `chmod 600 {path}`"));
            }
        });
    }

    /// Returns how documents are written anew in a format, as `stores` of the configuration says.
    ///
    /// # Errors
    /// If the configuration cannot be read.
    pub fn write_options(&self, format: Format) -> Result<WriteOptions, Failure> {
        let config = self.config_for(None)?;
        Ok(WriteOptions { indent: config.and_then(|config| config.config.stores().indent(format)) })
    }

    /// Returns a path as people see it: relative to the working directory if it is below it.
    #[must_use]
    pub fn shown(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.session.directory).unwrap_or(path).to_owned()
    }

    fn named_config(&self) -> Option<PathBuf> {
        named_config(self.session, self.options)
    }

    fn discovered(&self, start: &Path) -> Result<Option<Arc<ConfigFile>>, Failure> {
        if let Some(known) = self.known(start) {
            return Ok(known);
        }
        let found = discover(start);
        if let Some(ignored) = &found.ignored {
            let ignored = self.shown(ignored);
            self.report.warn(format!(
                "{} is not read; a configuration must be called .sops.yaml",
                ignored.display()
            ));
        }
        let config = found.path.map(|path| self.load(&self.shown(&path))).transpose()?;
        self.remember(start, config.clone());
        Ok(config)
    }

    fn load(&self, path: &Path) -> Result<Arc<ConfigFile>, Failure> {
        let absolute = self.session.absolute(path);
        if let Some(Some(known)) = self.known(&absolute) {
            return Ok(known);
        }
        let config = Arc::new(ConfigFile::load(path, &self.session.directory)?);
        for warning in config.config.warnings() {
            let line = warning.to_string();
            let text = line.strip_prefix("line ").unwrap_or(&line);
            self.report.warn(format!("{}:{text}", path.display()));
        }
        self.remember(&absolute, Some(Arc::clone(&config)));
        Ok(config)
    }

    fn known(&self, path: &Path) -> Option<Option<Arc<ConfigFile>>> {
        self.configs.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
    }

    fn remember(&self, path: &Path, config: Option<Arc<ConfigFile>>) {
        self.configs.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), config);
    }
}

fn named_config(session: &Session, options: &Options) -> Option<PathBuf> {
    let variable = || session.environment.get("SOPS_CONFIG").map(PathBuf::from);
    options.config.clone().or_else(variable)
}

const NO_SERVICES: &str =
    "no key service is left to ask: name one with --keyservice, or allow the keys of this machine";
