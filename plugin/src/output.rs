//! Where results go: into the file itself, another file, a folder, or stdout.

use std::path::{Component, Path, PathBuf};

use selkie::secret::SecretBytes;

use crate::context::Context;
use crate::document;
use crate::failure::Failure;
use crate::targets::Target;

/// Where results go.
#[derive(Clone, Debug, clap::Args)]
pub struct OutputFlags {
    /// Replace each file with the result
    #[arg(short, long)]
    in_place: bool,

    /// Write the result to this file
    #[arg(short, long, value_name = "FILE", conflicts_with = "in_place")]
    output: Option<PathBuf>,

    /// Write the results below this folder, under the paths of their files
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["in_place", "output"])]
    output_dir: Option<PathBuf>,
}

/// The place of one result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A file, given by its path as it is shown.
    File(PathBuf),
    /// The standard output.
    Stdout,
}

/// Whether a result can be read by everyone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrecy {
    /// It is encrypted.
    Encrypted,
    /// It is not.
    Plaintext,
}

impl OutputFlags {
    /// Makes sure that every target has a place for its result.
    ///
    /// # Errors
    /// If several results would end up in one place, or stdin be replaced.
    pub fn check(&self, targets: &[Target]) -> Result<(), Failure> {
        let is_one = matches!(targets, [target] if target.is_named());
        if self.in_place && targets.contains(&Target::Stdin) {
            return Err(Failure::Usage("stdin cannot be replaced; leave out --in-place".to_owned()));
        }
        if !is_one && self.output.is_some() {
            return Err(Failure::Usage("several files cannot go into one; use --output-dir".to_owned()));
        }
        if !is_one && !self.in_place && self.output_dir.is_none() {
            let text = "several files cannot go to stdout; use --in-place or --output-dir";
            return Err(Failure::Usage(text.to_owned()));
        }
        Ok(())
    }

    /// Returns the place for the result of a target.
    #[must_use]
    pub fn place(&self, target: &Target) -> Place {
        match (target.path(), &self.output, &self.output_dir) {
            (_, Some(output), _) if output == Path::new("-") => Place::Stdout,
            (_, Some(output), _) => Place::File(output.clone()),
            (Some(path), None, Some(folder)) => Place::File(folder.join(below(path))),
            (Some(path), None, None) if self.in_place => Place::File(path.to_owned()),
            (_, None, _) => Place::Stdout,
        }
    }
}

impl Place {
    /// Writes a result.
    ///
    /// # Errors
    /// If it cannot be written; a file then has its old content.
    pub fn write(
        &self,
        context: &Context<'_>,
        content: &SecretBytes,
        secrecy: Secrecy,
    ) -> Result<(), Failure> {
        match self {
            Self::Stdout => {
                let written = context.session.stdout.write(content.expose_secret());
                written.map_err(Failure::io("write", "stdout"))
            }
            Self::File(path) => {
                if let Some(folder) = context.session.absolute(path).parent() {
                    let made = std::fs::create_dir_all(folder);
                    made.map_err(Failure::io("write", path.display().to_string()))?;
                }
                match secrecy {
                    Secrecy::Encrypted => document::write(context, path, content),
                    Secrecy::Plaintext => document::write_plaintext(context, path, content),
                }
            }
        }
    }
}

/// Returns a path that stays below the folder it is put into.
fn below(path: &Path) -> PathBuf {
    let is_below = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if is_below { path.to_owned() } else { path.file_name().unwrap_or_default().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(in_place: bool, output: Option<&str>, output_dir: Option<&str>) -> OutputFlags {
        OutputFlags { in_place, output: output.map(Into::into), output_dir: output_dir.map(Into::into) }
    }

    fn file(path: &str, named: bool) -> Target {
        Target::File { path: path.into(), named }
    }

    #[test]
    fn one_file_goes_to_stdout_unless_told_otherwise() {
        let target = file("a/b.yaml", true);
        assert_eq!(flags(false, None, None).place(&target), Place::Stdout);
        assert_eq!(flags(true, None, None).place(&target), Place::File("a/b.yaml".into()));
        assert_eq!(flags(false, Some("c"), None).place(&target), Place::File("c".into()));
        assert_eq!(flags(false, Some("-"), None).place(&target), Place::Stdout);
        assert_eq!(flags(false, None, Some("out")).place(&target), Place::File("out/a/b.yaml".into()));
        let outside = file("../x/b.yaml", true);
        assert_eq!(flags(false, None, Some("out")).place(&outside), Place::File("out/b.yaml".into()));
    }

    #[test]
    fn several_files_need_a_place_each() {
        let several = [file("a", true), file("b", true)];
        let is_usage =
            |flags: OutputFlags, targets: &[Target]| matches!(flags.check(targets), Err(Failure::Usage(_)));
        assert!(is_usage(flags(false, None, None), &several));
        assert!(is_usage(flags(false, Some("x"), None), &several));
        assert!(is_usage(flags(false, None, None), &[file("a", false)]));
        assert!(is_usage(flags(true, None, None), &[Target::Stdin]));
        assert!(flags(true, None, None).check(&several).is_ok());
        assert!(flags(false, None, Some("x")).check(&several).is_ok());
        assert!(flags(false, None, None).check(&[Target::Stdin]).is_ok());
    }
}
