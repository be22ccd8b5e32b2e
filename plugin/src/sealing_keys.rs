//! The private keys of Sealed Secrets that are at hand: from files, and from the cluster.

use std::path::{Path, PathBuf};

use selkie::sealed::{Backup, BackupKey, BackupProblem, KeyRegistry, SmallKeys};
use selkie::sops::MacCheck;

use crate::context::Context;
use crate::controller::ControllerFlags;
use crate::document::InputFlags;
use crate::failure::Failure;
use crate::identities::is_exposed;
use crate::targets::Target;

/// Which private keys of Sealed Secrets to use.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct SealingKeyFlags {
    /// Use the private sealing keys of this file: PEM, key Secrets, or a backup of them, encrypted or not
    #[arg(id = "sealing_key", long = "sealing-key", value_name = "FILE", help_heading = HEADING)]
    files: Vec<PathBuf>,

    /// Use the private sealing keys of the cluster, which takes the right to read them
    #[arg(long, help_heading = HEADING)]
    from_cluster: bool,

    /// Use private keys below 2048 bits, too, although the time that it takes tells of them
    #[arg(long, help_heading = HEADING)]
    small_keys: bool,
}

impl SealingKeyFlags {
    /// Reads the keys.
    ///
    /// # Errors
    /// If none are named, or there are none where they are said to be.
    pub fn load(&self, context: &Context<'_>, controller: &ControllerFlags) -> Result<KeyRegistry, Failure> {
        self.load_if_any(context, controller)?.ok_or(Failure::NoSealingKeys)
    }

    /// Reads the keys, if any are named.
    ///
    /// # Errors
    /// If there are none where they are said to be.
    pub fn load_if_any(
        &self,
        context: &Context<'_>,
        controller: &ControllerFlags,
    ) -> Result<Option<KeyRegistry>, Failure> {
        let files = self.all_files(context);
        if files.is_empty() && !self.from_cluster {
            return Ok(None);
        }
        let mut keys = KeyRegistry::new();
        for file in &files {
            let backup = read_backup(context, file, self.small())?;
            add(&mut keys, backup, &file.display().to_string());
        }
        if self.from_cluster {
            let backup = controller.sealing_keys(context, self.small())?;
            add(&mut keys, backup, "the cluster");
        }
        Ok(Some(keys))
    }

    /// Returns what to do about small keys.
    #[must_use]
    pub const fn small(&self) -> SmallKeys {
        if self.small_keys { SmallKeys::Allow } else { SmallKeys::Refuse }
    }

    /// Returns the files of the flag and of the variable, which are taken together, as kubeseal does.
    fn all_files(&self, context: &Context<'_>) -> Vec<PathBuf> {
        let variable = context.session.environment.get(VARIABLE).unwrap_or_default();
        let named = variable.split(',').map(str::trim).filter(|path| !path.is_empty()).map(PathBuf::from);
        named.chain(self.files.iter().cloned()).collect()
    }
}

/// Adds the keys of a backup; those without a Secret are named by where they stand.
fn add(keys: &mut KeyRegistry, backup: Backup, what: &str) {
    let several = backup.keys.len() > 1;
    if backup.problems.iter().any(BackupProblem::hides_key) {
        keys.mark_incomplete();
    }
    for found in backup.keys {
        let name = name(&found, what, several);
        keys.add(found.secret.into_key(name));
    }
}

/// Returns what a key is called: by its Secret, or where it stands.
#[must_use]
pub fn name(found: &BackupKey, what: &str, several: bool) -> String {
    match found.secret.metadata.name() {
        "" if several => format!("{what}:{}", found.line),
        "" => what.to_owned(),
        name => name.to_owned(),
    }
}

/// Reads the keys of a file, which may be encrypted as a SOPS document, and warns of what in it gives none.
///
/// # Errors
/// If there is no key in it.
pub fn read_backup(context: &Context<'_>, path: &Path, small: SmallKeys) -> Result<Backup, Failure> {
    let (what, backup) = inspect(context, path, small)?;
    if backup.keys.is_empty() {
        return Err(Failure::UnusableKeys { what, problems: backup.problems });
    }
    for problem in &backup.problems {
        context.report.warn(format!("{what}:{}", describe(problem)));
    }
    Ok(backup)
}

/// Reads a file with keys, whatever is wrong with what is in it; `-` is stdin. Returns what the file is called, too.
///
/// # Errors
/// If it is none with keys, or no identity at hand decrypts it.
pub fn inspect(context: &Context<'_>, path: &Path, small: SmallKeys) -> Result<(String, Backup), Failure> {
    let target = if path == Path::new("-") { Target::Stdin } else { Target::file(path) };
    let document = InputFlags::default().load(context, &target)?;
    let is_encrypted = document.looks_encrypted();
    let text = if is_encrypted {
        document.unlock(context, MacCheck::Require)?.opened.plaintext()?
    } else {
        document.source
    };
    let what = target.to_string();
    let backup = Backup::parse(text, small).map_err(|error| Failure::Backup { what: what.clone(), error })?;
    if !is_encrypted && !backup.keys.is_empty() && is_exposed(&context.session.absolute(path)) {
        context.report.warn(format!("everyone can read the keys in {what}: run `chmod 600 {what}`"));
    }
    Ok((what, backup))
}

/// Says where something is wrong, and what.
#[must_use]
pub fn describe(problem: &BackupProblem) -> String {
    let name = if problem.name.is_empty() { String::new() } else { format!("{}: ", problem.name) };
    match problem.line {
        0 => format!("{name}{}", problem.kind),
        line => format!("{line}: {name}{}", problem.kind),
    }
}

/// Lists files with private keys, as for kubeseal.
const VARIABLE: &str = "SEALED_SECRETS_RECOVERY_PRIVATE_KEY";
const HEADING: &str = "Private keys of Sealed Secrets";
