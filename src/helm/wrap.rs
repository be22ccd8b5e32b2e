//! `helm wrap`: Helm, handed decrypted values in memory wherever its arguments name encrypted files.
//!
//! Invariant: the process becomes Helm, so that signals and its exit code are its own; values are in no argument.

use std::error::Error;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use rustix::fs::{Access, access};

use super::address::Address;
use super::decrypt::{self, DecryptingError, Settings};
use super::files::{self, FileError};
use crate::render::child::Handed;

/// Run Helm with decrypted values: files of -f, --values and --set-file that are encrypted, or named with secrets://
#[derive(clap::Args)]
#[command(after_help = "Example:
  selkie-decryptor helm wrap -- upgrade --install shop ./chart -f values.yaml -f secrets.yaml")]
pub struct Args {
    #[command(flatten)]
    settings: Settings,
    /// The real Helm
    #[arg(long, value_name = "PROGRAM", env = "SELKIE_HELM_BIN", default_value = "helm")]
    helm_program: PathBuf,
    /// The arguments of Helm
    #[arg(last = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
    arguments: Vec<String>,
}

/// Why Helm is not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WrapError {
    /// A value cannot be decrypted.
    #[error(transparent)]
    Decrypting(#[from] DecryptingError),
    /// The program is this one.
    #[error(
        "{0}: is this program, which would run itself without end; name Helm itself: --helm-program, SELKIE_HELM_BIN"
    )]
    Itself(String),
    /// An encrypted file is named where it is not decrypted.
    #[error(
        "{0}: is encrypted, and named where Helm would read it as it is; name it with -f, --values or --set-file"
    )]
    Left(String),
    /// The memory cannot be had.
    #[error("there is no memory for values")]
    Memory(#[source] std::io::Error),
    /// The program cannot be run.
    #[error("{0}: cannot be run")]
    Program(String, #[source] std::io::Error),
}

/// Becomes Helm.
///
/// # Errors
/// If something cannot be decrypted, or there is no Helm.
pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let mut handed = Vec::new();
    check_other(&args.helm_program)?;
    let arguments = rewritten::<WrapError>(&args.arguments, &mut |path| {
        let Some(decrypted) = decrypted(path, &args.settings)? else { return Ok(None) };
        let memory = Handed::new(decrypted.expose_secret()).map_err(WrapError::Memory)?;
        let path = memory.path();
        handed.push(memory);
        Ok(Some(path))
    })?;
    if let Some(left) = check_left(&arguments, &mut names_encrypted)? {
        return Err(WrapError::Left(left).into());
    }
    handed.iter().try_for_each(|memory| memory.inherit(true)).map_err(WrapError::Memory)?;
    let error = Command::new(&args.helm_program).args(arguments).exec();
    Err(WrapError::Program(args.helm_program.display().to_string(), error).into())
}

/// Returns what a file holds, decrypted; `None` if Helm can read it as it is.
fn decrypted(path: &str, settings: &Settings) -> Result<Option<selkie::secret::SecretBytes>, WrapError> {
    if Address::is_one(path) {
        return Ok(Some(decrypt::address(path, settings)?));
    }
    // What is no file Helm itself tells, or fetches.
    if path == "-" || path.contains("://") || !Path::new(path).is_file() {
        return Ok(None);
    }
    let content = files::read(Path::new(path), path).map_err(DecryptingError::from)?;
    Ok(decrypt::file(path, content, settings)?)
}

/// Returns whether a word names an encrypted file.
fn names_encrypted(word: &str) -> Result<bool, WrapError> {
    let path = Path::new(word);
    if !path.is_file() {
        return Ok(false);
    }
    match files::read(path, word) {
        Ok(content) => Ok(decrypt::is_encrypted(word, &content)),
        // A chart in one file may be as large as it likes.
        Err(FileError::Large(_)) => Ok(false),
        Err(error) => Err(DecryptingError::from(error).into()),
    }
}

/// Makes sure that no argument that is left names an encrypted file.
fn check_left<E>(
    arguments: &[String],
    is_encrypted: &mut dyn FnMut(&str) -> Result<bool, E>,
) -> Result<Option<String>, E> {
    for argument in arguments {
        let behind = argument.split_once('=').map(|(_, value)| value);
        let grouped = argument
            .strip_prefix('-')
            .into_iter()
            .flat_map(|rest| rest.char_indices().skip(1).take(GROUPED).map(move |(at, _)| &rest[at..]));
        let words = [Some(argument.as_str()), behind].into_iter().flatten().chain(grouped);
        for word in words.flat_map(|word| [word].into_iter().chain(word.split(','))) {
            if is_encrypted(word)? {
                return Ok(Some(word.to_owned()));
            }
        }
    }
    Ok(None)
}

/// Makes sure that a program is not this one, which would run itself without end.
fn check_other(program: &Path) -> Result<(), WrapError> {
    let own = fs::metadata("/proc/self/exe").ok().map(|own| (own.dev(), own.ino()));
    let is_own = |path: &Path| {
        fs::metadata(path).is_ok_and(|found| found.is_file() && Some((found.dev(), found.ino())) == own)
    };
    let folders = env::var_os("PATH").unwrap_or_default();
    let found = if program.components().count() > 1 {
        Some(program.to_owned())
    } else {
        let is_program = |path: &PathBuf| path.is_file() && access(path, Access::EXEC_OK).is_ok();
        env::split_paths(&folders).map(|folder| folder.join(program)).find(is_program)
    };
    match found {
        Some(path) if is_own(&path) => Err(WrapError::Itself(path.display().to_string())),
        _ => Ok(()),
    }
}

/// Returns arguments with other paths in the place of files with values; all else stays as it is written.
fn rewritten<E>(
    arguments: &[String],
    replace: &mut dyn FnMut(&str) -> Result<Option<String>, E>,
) -> Result<Vec<String>, E> {
    let mut out = Vec::with_capacity(arguments.len());
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        out.push(argument.clone());
        if argument == "--" {
            out.extend(rest.cloned());
            break;
        }
        let Some((length, is_set_file)) = values_flag(argument) else { continue };
        let (start, value) = if length < argument.len() {
            out.pop();
            argument.split_at(length)
        } else if let Some(value) = rest.next() {
            ("", value.as_str())
        } else {
            break;
        };
        let mut parts = Vec::new();
        for part in value.split(',') {
            let (name, path) = match part.split_once('=') {
                Some((name, path)) if is_set_file => (Some(name), path),
                _ => (None, part),
            };
            let replaced = replace(path)?;
            let path = replaced.as_deref().unwrap_or(path);
            parts.push(name.map_or_else(|| path.to_owned(), |name| format!("{name}={path}")));
        }
        out.push(format!("{start}{}", parts.join(",")));
    }
    Ok(out)
}

/// Returns how much of an argument is a flag behind which files with values are named, and whether each has a name
/// before it; `None` if it is no such flag.
fn values_flag(argument: &str) -> Option<(usize, bool)> {
    for (flag, is_set_file) in [("--values", false), ("--set-file", true)] {
        match argument.strip_prefix(flag) {
            Some("") => return Some((flag.len(), is_set_file)),
            Some(rest) if rest.starts_with('=') => return Some((flag.len() + 1, is_set_file)),
            _ => {}
        }
    }
    if argument.starts_with("--") {
        return None;
    }
    // Several flags of one letter may stand together, until one has a value.
    for (at, letter) in argument.strip_prefix('-')?.char_indices() {
        match letter {
            'f' => return Some((at + 2 + usize::from(argument[at + 2..].starts_with('=')), false)),
            letter if !letter.is_ascii_alphabetic() || WITH_VALUE.contains(letter) => return None,
            _ => {}
        }
    }
    None
}

/// Flags of one letter that have a value, where Helm is handed files with values.
const WITH_VALUE: &str = "adlmnops";

/// How many flags of one letter may stand before a path.
const GROUPED: usize = 8;

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn encrypted_files_are_replaced_wherever_they_are_named() {
        let mut replace =
            |path: &str| Ok::<_, Infallible>(path.starts_with('s').then(|| format!("/fd/{path}")));
        let words = |text: &str| text.split(' ').map(ToOwned::to_owned).collect::<Vec<_>>();
        for (given, expected) in [
            ("template x . -f a,s", "template x . -f a,/fd/s"),
            ("-fs upgrade --values=s --values s", "-f/fd/s upgrade --values=/fd/s --values /fd/s"),
            ("-f=s --set-file k=s,l=a", "-f=/fd/s --set-file k=/fd/s,l=a"),
            ("--set-file=k=secrets://s", "--set-file=k=/fd/secrets://s"),
            ("lint --set s=s s -- -f s", "lint --set s=s s -- -f s"),
            ("install -gf s . -gfs -if=s", "install -gf /fd/s . -gf/fd/s -if=/fd/s"),
            ("-nf s -n f -sf.yaml", "-nf s -n f -sf.yaml"),
            ("list -f a --filter s -af s", "list -f a --filter s -af s"),
            ("template -f", "template -f"),
        ] {
            assert_eq!(rewritten(&words(given), &mut replace), Ok(words(expected)), "{given}");
        }
    }

    #[test]
    fn an_encrypted_file_that_is_left_is_refused() {
        let left = |text: &str| {
            let words: Vec<_> = text.split(' ').map(ToOwned::to_owned).collect();
            check_left(&words, &mut |word| Ok::<_, Infallible>(word == "s")).expect("it is known")
        };
        for text in ["template s", "-xf s", "-xfs", "--valuesx=s", "-- s", "--other a,s", "-e=s"] {
            assert_eq!(left(text).as_deref(), Some("s"), "{text}");
        }
        assert_eq!(left("template x --set a=b -f /fd/s"), None);
    }

    #[test]
    fn it_does_not_run_itself() {
        let own = env::current_exe().expect("it is known");
        let folder = tempfile::tempdir().expect("a folder");
        let link = folder.path().join("helm");
        std::os::unix::fs::symlink(&own, &link).expect("a link");
        for path in [own, link] {
            assert!(matches!(check_other(&path), Err(WrapError::Itself(_))), "{path:?}");
        }
        assert!(check_other(Path::new("/bin/sh")).is_ok() && check_other(Path::new("sh")).is_ok());
    }
}
