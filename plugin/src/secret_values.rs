//! Values of Secrets from the command line, by the rules of `kubectl create secret`: literals, files, folders,
//! files of variables, stdin, and what a person types.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::path::{Path, PathBuf};

use selkie::sealed::{ObjectMeta, Secret};
use selkie::secret::SecretBytes;

use crate::context::Context;
use crate::failure::Failure;
use crate::identities::ask_secret;
use crate::{document, files};

/// Values, and what goes with them.
#[derive(Clone, Default, clap::Args)]
#[command(next_help_heading = "Values, as for kubectl create secret")]
pub struct ValueFlags {
    /// A value as it is; everyone on this machine can see it while this runs: see --from-prompt
    #[arg(long, value_name = "KEY=VALUE")]
    pub from_literal: Vec<String>,

    /// The content of a file, or of each file of a folder; the key is the name of the file if none is given
    #[arg(long, value_name = "[KEY=]PATH")]
    pub from_file: Vec<String>,

    /// Lines of KEY=VALUE of a file; lines with a key alone take the variable of that name
    #[arg(long, value_name = "FILE")]
    pub from_env_file: Vec<PathBuf>,

    /// All of stdin, its last line's end included
    #[arg(long, value_name = "KEY")]
    pub from_stdin: Option<String>,

    /// What you type, which is not shown; may be repeated
    #[arg(long, value_name = "KEY")]
    pub from_prompt: Vec<String>,

    /// Take one line's end off what comes from stdin
    #[arg(long)]
    pub trim: bool,

    /// The type of the Secret
    #[arg(long = "type", value_name = "TYPE")]
    pub type_: Option<String>,

    /// A label of the Secret; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub labels: Vec<String>,

    /// An annotation of the Secret; may be repeated
    #[arg(long = "annotation", value_name = "KEY=VALUE")]
    pub annotations: Vec<String>,

    /// Make the Secret one that cannot be changed
    #[arg(long)]
    pub immutable: bool,
}

impl ValueFlags {
    /// Returns whether any value is given.
    #[must_use]
    pub const fn is_given(&self) -> bool {
        !(self.from_literal.is_empty()
            && self.from_file.is_empty()
            && self.from_env_file.is_empty()
            && self.from_prompt.is_empty()
            && self.from_stdin.is_none())
    }

    /// Returns whether anything but values is given.
    #[must_use]
    pub const fn describes(&self) -> bool {
        self.type_.is_some() || self.immutable || !self.labels.is_empty() || !self.annotations.is_empty()
    }

    /// Returns the Secret with these values, and a name and namespace that may be empty.
    ///
    /// # Errors
    /// If a value cannot be had, or two have the same key.
    pub fn secret(&self, context: &Context<'_>, namespace: &str, name: &str) -> Result<Secret, Failure> {
        let mut metadata = ObjectMeta::named(namespace, name);
        for label in &self.labels {
            let (key, value) = pair(label, "--label")?;
            metadata.set_label(key, value);
        }
        for annotation in &self.annotations {
            let (key, value) = pair(annotation, "--annotation")?;
            metadata.set_annotation(key, value);
        }
        let data = self.values(context)?;
        Ok(Secret { metadata, type_: self.type_.clone(), immutable: self.immutable.then_some(true), data })
    }

    /// Returns the values.
    ///
    /// # Errors
    /// If one cannot be had, or two have the same key.
    pub fn values(&self, context: &Context<'_>) -> Result<BTreeMap<String, SecretBytes>, Failure> {
        let mut values = Values::default();
        let is_alone = self.from_file.is_empty() && self.from_literal.is_empty();
        if !self.from_env_file.is_empty() && !is_alone {
            return Err(usage("--from-env-file does not go with --from-file and --from-literal"));
        }
        for path in &self.from_file {
            values.add_path(context, path)?;
        }
        for literal in &self.from_literal {
            let (key, value) = pair(literal, "--from-literal")?;
            values.add(key, value.into())?;
        }
        for path in &self.from_env_file {
            values.add_variables(context, path)?;
        }
        if let Some(key) = &self.from_stdin {
            let value = context.session.stdin.read_all().map_err(Failure::io("read", "stdin"))?;
            values.add(key, if self.trim { without_line_end(value) } else { value })?;
        }
        for key in &self.from_prompt {
            check_key(key)?;
            let value = ask_secret(&format!("{}: ", crate::report::escape(key)));
            values.add(key, value.map_err(Failure::io("read", "the terminal"))?)?;
        }
        Ok(values.0)
    }
}

/// Values may stand in it.
impl fmt::Debug for ValueFlags {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ValueFlags").finish_non_exhaustive()
    }
}

/// Values by key, of which none comes twice.
#[derive(Default)]
struct Values(BTreeMap<String, SecretBytes>);

impl Values {
    fn add(&mut self, key: &str, value: SecretBytes) -> Result<(), Failure> {
        check_key(key)?;
        match self.0.entry(key.to_owned()) {
            Entry::Vacant(entry) => {
                entry.insert(value);
                Ok(())
            }
            Entry::Occupied(_) => {
                Err(Failure::Check(format!("cannot add key {key}, another key by that name already exists")))
            }
        }
    }

    /// Adds a file, or all files of a folder, but not what is below folders in it.
    fn add_path(&mut self, context: &Context<'_>, argument: &str) -> Result<(), Failure> {
        let (key, path) = match argument.split('=').collect::<Vec<_>>()[..] {
            [path] => (None, Path::new(path)),
            ["", path] => return Err(usage(format!("key name for file path {path} missing"))),
            [key, ""] => return Err(usage(format!("file path for key name {key} missing"))),
            [key, path] => (Some(key), Path::new(path)),
            _ => return Err(usage("key names or file paths cannot contain '='")),
        };
        let absolute = context.session.absolute(path);
        let failed = |error| Failure::io("read", path.display().to_string())(error);
        if !std::fs::metadata(&absolute).map_err(failed)?.is_dir() {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            return self.add(key.unwrap_or(&name), document::read(context, path)?);
        }
        if key.is_some() {
            return Err(usage("cannot give a key name for a directory path"));
        }
        let entries = std::fs::read_dir(&absolute).map_err(failed)?;
        let mut entries = entries.collect::<Result<Vec<_>, _>>().map_err(failed)?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            // A link is no regular file to kubectl, either.
            if entry.file_type().map_err(failed)?.is_file() {
                let value = files::read(&entry.path()).map_err(failed)?;
                self.add(&entry.file_name().to_string_lossy(), value)?;
            }
        }
        Ok(())
    }

    fn add_variables(&mut self, context: &Context<'_>, path: &Path) -> Result<(), Failure> {
        let text = document::read(context, path)?;
        let text = text.expose_secret();
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
            let place = || format!("{}, line {}", path.display(), index + 1);
            let line = str::from_utf8(line.strip_suffix(b"\r").unwrap_or(line))
                .map_err(|_| Failure::Check(format!("{}: the text is not valid UTF-8", place())))?;
            let line = line.trim_start();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (key, value) = line.split_once('=').map_or((line, None), |(key, value)| (key, Some(value)));
            if !is_variable(key) {
                // A line without a key may be part of a secret.
                let what = if value.is_some() {
                    format!("{key:?} is not a valid key name")
                } else {
                    MALFORMED.to_owned()
                };
                return Err(Failure::Check(format!("{}: {what}", place())));
            }
            let variable = || context.session.environment.raw(key).unwrap_or_default();
            self.add(key, value.unwrap_or_else(variable).into())?;
        }
        Ok(())
    }
}

/// Returns the halves of `KEY=VALUE`. What is malformed is not told: it may be a secret.
fn pair<'a>(text: &'a str, flag: &str) -> Result<(&'a str, &'a str), Failure> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    pair.ok_or_else(|| usage(format!("{flag} takes KEY=VALUE")))
}

/// Makes sure that a Secret can have a key.
///
/// # Errors
/// If it cannot.
pub fn check_key(key: &str) -> Result<(), Failure> {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if !key.is_empty()
        && key.len() <= 253
        && key.bytes().all(is_known)
        && key != "."
        && !key.starts_with("..")
    {
        return Ok(());
    }
    Err(Failure::Check(format!(
        "{key:?} is not a valid key name for a Secret: letters, digits, '-', '_' and '.' are"
    )))
}

fn is_variable(key: &str) -> bool {
    !key.starts_with(|first: char| first.is_ascii_digit()) && check_key(key).is_ok()
}

/// Returns a value without one line's end.
pub fn without_line_end(mut value: SecretBytes) -> SecretBytes {
    for end in [b'\n', b'\r'] {
        if value.expose_secret().last() == Some(&end) {
            value.truncate(value.len() - 1);
        }
    }
    value
}

fn usage(text: impl Into<String>) -> Failure {
    Failure::Usage(text.into())
}

const MALFORMED: &str = "it is not KEY=VALUE";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Options;
    use crate::session::{Environment, Input, Output, Session};

    fn values(flags: &ValueFlags, files: &[(&str, &[u8])]) -> Result<Vec<(String, String)>, String> {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, content) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
            std::fs::write(path, content).expect("written");
        }
        let session = Session {
            environment: [("HERE", "from the environment")].into_iter().collect::<Environment>(),
            directory: folder.path().to_owned(),
            stdin: Input::new(&b"typed\n"[..], false),
            stdout: Output::new(std::io::sink(), false),
            stderr: Output::new(std::io::sink(), false),
            clock: || time::OffsetDateTime::UNIX_EPOCH,
            audit: "/nonexistent".into(),
        };
        let options = Options::default();
        let values = flags.values(&Context::new(&session, &options)).map_err(|error| error.to_string())?;
        let text = |value: SecretBytes| String::from_utf8_lossy(value.expose_secret()).into_owned();
        Ok(values.into_iter().map(|(key, value)| (key, text(value))).collect())
    }

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Result<Vec<(String, String)>, String> {
        Ok(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn values_come_from_everywhere_as_for_kubectl() {
        let flags = ValueFlags {
            from_literal: owned(&["a==x='y'", "empty="]),
            from_file: owned(&["f.txt", "other=f.txt", "folder"]),
            from_stdin: Some("typed".to_owned()),
            trim: true,
            ..ValueFlags::default()
        };
        let files: &[(&str, &[u8])] =
            &[("f.txt", b"text\n"), ("folder/in", b"1"), ("folder/below/not", b"2")];
        assert_eq!(
            values(&flags, files),
            pairs(&[
                ("a", "=x='y'"),
                ("empty", ""),
                ("f.txt", "text\n"),
                ("in", "1"),
                ("other", "text\n"),
                ("typed", "typed"),
            ])
        );
    }

    #[test]
    fn variables_are_read_as_they_are() {
        let file = |text: &[u8]| {
            let flags = ValueFlags { from_env_file: vec!["e".into()], ..ValueFlags::default() };
            values(&flags, &[("e", text)])
        };
        let text = b"\xef\xbb\xbf# comment\n\n  A=b # c\r\nB=\"x\"\n\tC==\nHERE\nGONE\n";
        let expected =
            [("A", "b # c"), ("B", "\"x\""), ("C", "="), ("GONE", ""), ("HERE", "from the environment")];
        assert_eq!(file(text), pairs(&expected));
        assert_eq!(file(b"export A=b"), Err("e, line 1: \"export A\" is not a valid key name".to_owned()));
        assert_eq!(file(b"A=b\nsecret words"), Err("e, line 2: it is not KEY=VALUE".to_owned()));
        assert_eq!(
            file(b"A=b\nA=c"),
            Err("cannot add key A, another key by that name already exists".to_owned())
        );
    }

    #[test]
    fn what_is_malformed_is_refused_without_being_told() {
        let literal =
            |text: &str| values(&ValueFlags { from_literal: owned(&[text]), ..ValueFlags::default() }, &[]);
        assert_eq!(literal("secret"), Err("--from-literal takes KEY=VALUE".to_owned()));
        assert_eq!(literal("=secret"), Err("--from-literal takes KEY=VALUE".to_owned()));
        assert!(literal("a b=c").expect_err("a blank").contains("is not a valid key name for a Secret"));
        let file = |text: &str| {
            values(&ValueFlags { from_file: owned(&[text]), ..ValueFlags::default() }, &[("d/x", b"")])
        };
        assert_eq!(file("=p"), Err("key name for file path p missing".to_owned()));
        assert_eq!(file("k="), Err("file path for key name k missing".to_owned()));
        assert_eq!(file("a=b=c"), Err("key names or file paths cannot contain '='".to_owned()));
        assert_eq!(file("k=d"), Err("cannot give a key name for a directory path".to_owned()));
        assert_eq!(file("d"), pairs(&[("x", "")]));
    }
}
