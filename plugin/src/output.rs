//! Where results go: into the file itself, another file, a folder, or stdout.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use selkie::secret::SecretBytes;

use crate::context::Context;
use crate::document;
use crate::failure::Failure;
use crate::files::{self, Audience, Expected};
use crate::session::Session;
use crate::targets::Target;
use crate::turn::Turn;

/// Where results go.
#[derive(Clone, Debug, clap::Args)]
pub struct OutputFlags {
    /// Replace each file with the result
    #[arg(short, long)]
    in_place: bool,

    /// Write the result to this file
    #[arg(short, long, value_name = "FILE", conflicts_with = "in_place")]
    output: Option<PathBuf>,

    /// Write the results below this folder, under the paths of their files; from outside the working
    /// directory, under the paths from the folders on that were named
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
    /// If several results would end up in one place, one would replace what is read, or stdin be replaced.
    pub fn check(&self, context: &Context<'_>, targets: &[Target]) -> Result<(), Failure> {
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
        if self.in_place { Ok(()) } else { self.check_places(context.session, targets) }
    }

    fn check_places(&self, session: &Session, targets: &[Target]) -> Result<(), Failure> {
        let identity = |path: &Path| files::identity(&session.absolute(path));
        let inputs: HashMap<_, _> =
            targets.iter().filter_map(Target::path).map(|path| (identity(path), path)).collect();
        let mut places = HashMap::new();
        for target in targets {
            let Place::File(path) = self.place_in(session, target) else { continue };
            let place = identity(&path);
            if let Some(input) = inputs.get(&place) {
                return Err(Failure::Usage(format!(
                    "{} is read, and would be replaced; pass --in-place for that, or choose another place",
                    input.display()
                )));
            }
            if let Some(other) = places.insert(place, target) {
                let path = path.display();
                return Err(Failure::Usage(format!("both {other} and {target} would be written to {path}")));
            }
        }
        Ok(())
    }

    /// Returns whether each result replaces its source.
    #[must_use]
    pub const fn is_in_place(&self) -> bool {
        self.in_place
    }

    /// Returns the place for the result of a target.
    #[must_use]
    pub fn place(&self, context: &Context<'_>, target: &Target) -> Place {
        self.place_in(context.session, target)
    }

    fn place_in(&self, session: &Session, target: &Target) -> Place {
        match (target, &self.output, &self.output_dir) {
            (_, Some(output), _) if output == Path::new("-") => Place::Stdout,
            (_, Some(output), _) => Place::File(output.clone()),
            (Target::File { path, below, .. }, None, Some(folder)) => {
                let absolute = session.absolute(path);
                let relative = absolute.strip_prefix(&session.directory);
                Place::File(folder.join(relative.unwrap_or(below)))
            }
            (Target::File { path, .. }, None, None) if self.in_place => Place::File(path.clone()),
            (_, None, _) => Place::Stdout,
        }
    }
}

impl Place {
    /// Waits for the turn to change the file.
    pub fn turn(&self, context: &Context<'_>) -> Turn {
        match self {
            Self::File(path) => document::turn_for(context, path),
            Self::Stdout => Turn::none(),
        }
    }

    /// Writes a result, in place of what was `read` from there, if anything was.
    ///
    /// # Errors
    /// If it cannot be written, or is not as it was read; a file then has its old content.
    pub fn write(
        &self,
        context: &Context<'_>,
        content: &SecretBytes,
        secrecy: Secrecy,
        read: Option<&SecretBytes>,
    ) -> Result<(), Failure> {
        match self {
            Self::Stdout => {
                let written = context.session.stdout.write(content.expose_secret());
                written.map_err(Failure::io("write", "stdout"))
            }
            Self::File(path) => {
                let audience = match secrecy {
                    Secrecy::Encrypted => Audience::Everyone,
                    Secrecy::Plaintext => Audience::Owner,
                };
                document::make_folder(context, path, audience)?;
                let expected =
                    read.map_or(Expected::Anything, |read| Expected::Content(read.expose_secret()));
                document::write_expecting(context, path, content, audience, expected)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(in_place: bool, output: Option<&str>, output_dir: Option<&str>) -> OutputFlags {
        OutputFlags { in_place, output: output.map(Into::into), output_dir: output_dir.map(Into::into) }
    }

    fn session(directory: &Path) -> Session {
        use crate::session::{Environment, Input, Output};

        Session {
            environment: Environment::default(),
            directory: directory.to_owned(),
            stdin: Input::new(std::io::empty(), false),
            stdout: Output::new(std::io::sink(), false),
            stderr: Output::new(std::io::sink(), false),
            clock: || time::OffsetDateTime::UNIX_EPOCH,
            audit: "/nonexistent".into(),
        }
    }

    fn found(path: &str, below: &str) -> Target {
        Target::File { path: path.into(), named: false, below: below.into() }
    }

    fn check(flags: &OutputFlags, directory: &Path, targets: &[Target]) -> Result<(), Failure> {
        flags.check(&Context::new(&session(directory), &crate::cli::Options::default()), targets)
    }

    #[test]
    fn one_file_goes_to_stdout_unless_told_otherwise() {
        let session = session(Path::new("/w"));
        let target = Target::file("a/b.yaml");
        let place = |flags: OutputFlags| flags.place_in(&session, &target);
        assert_eq!(place(flags(false, None, None)), Place::Stdout);
        assert_eq!(place(flags(true, None, None)), Place::File("a/b.yaml".into()));
        assert_eq!(place(flags(false, Some("c"), None)), Place::File("c".into()));
        assert_eq!(place(flags(false, Some("-"), None)), Place::Stdout);
    }

    #[test]
    fn results_keep_their_paths_below_the_folder_they_go_to() {
        let session = session(Path::new("/w"));
        let flags = flags(false, None, Some("out"));
        let place = |target: Target| match flags.place_in(&session, &target) {
            Place::File(path) => path.display().to_string(),
            Place::Stdout => "-".to_owned(),
        };
        assert_eq!(place(Target::file("a/b.yaml")), "out/a/b.yaml");
        assert_eq!(place(Target::file("./x/../a/b.yaml")), "out/a/b.yaml");
        assert_eq!(place(found("/w/repo/dev/b.yaml", "repo/dev/b.yaml")), "out/repo/dev/b.yaml");
        assert_eq!(place(found("/srv/repo/dev/b.yaml", "repo/dev/b.yaml")), "out/repo/dev/b.yaml");
        assert_eq!(place(Target::file("../x/b.yaml")), "out/b.yaml");
    }

    #[test]
    fn several_files_need_a_place_each() {
        let folder = tempfile::tempdir().expect("a folder");
        let several = [Target::file("a"), Target::file("b")];
        let is_usage = |flags: OutputFlags, targets: &[Target]| {
            matches!(check(&flags, folder.path(), targets), Err(Failure::Usage(_)))
        };
        assert!(is_usage(flags(false, None, None), &several));
        assert!(is_usage(flags(false, Some("x"), None), &several));
        assert!(is_usage(flags(false, None, None), &[found("a", "a")]));
        assert!(is_usage(flags(true, None, None), &[Target::Stdin]));
        assert!(is_usage(flags(false, None, Some("x")), &[Target::file("../p/a"), Target::file("../q/a")]));
        assert!(!is_usage(flags(true, None, None), &several));
        assert!(!is_usage(flags(false, None, Some("x")), &several));
        assert!(!is_usage(flags(false, None, None), &[Target::Stdin]));
    }

    #[cfg(unix)]
    #[test]
    fn what_is_read_is_no_place() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("a"), "").expect("written");
        std::os::unix::fs::symlink("a", folder.path().join("link")).expect("linked");
        let one = [Target::file("a")];
        let refused = |flags: OutputFlags| check(&flags, folder.path(), &one).map_err(|why| why.to_string());
        let expected = "a is read, and would be replaced; pass --in-place for that, or choose another place";
        for output in ["a", "./x/../a", "link"] {
            assert_eq!(refused(flags(false, Some(output), None)).expect_err(output), expected);
        }
        assert_eq!(refused(flags(false, None, Some("."))).expect_err("."), expected);
        assert_eq!(refused(flags(true, None, None)), Ok(()));
    }
}
