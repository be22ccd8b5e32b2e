//! The files that a command works on: named ones, globs, folders with all below them, and stdin.
//!
//! What is found by a glob or in a folder passes over what `.gitignore` names, and what another run is about to
//! put in place; what the user names never does.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};
use ignore::WalkBuilder;

use crate::config_file;
use crate::failure::Failure;
use crate::report::escape;
use crate::session::Session;
use crate::successor::is_unfinished;

/// Something to work on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A file.
    File {
        /// The path, as it is shown.
        path: PathBuf,
        /// Whether the user named it, or it was found by a glob or in a folder.
        named: bool,
        /// The path from the name of the file or folder on that the user named.
        below: PathBuf,
    },
    /// The standard input.
    Stdin,
}

impl Target {
    /// Returns a file that the user named.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let below = path.file_name().unwrap_or_default().into();
        Self::File { path, named: true, below }
    }

    /// Returns whether the user named the target, so that it must not be passed over.
    #[must_use]
    pub const fn is_named(&self) -> bool {
        !matches!(self, Self::File { named: false, .. })
    }

    /// Returns the name for programs: the path as it is.
    #[must_use]
    pub fn name(&self) -> String {
        self.path().map_or_else(|| self.to_string(), |path| path.display().to_string())
    }

    /// Returns the file's path, as it is shown.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::File { path, .. } => Some(path),
            Self::Stdin => None,
        }
    }
}

/// The name as people see it, with control characters escaped.
impl std::fmt::Display for Target {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File { path, .. } => formatter.write_str(&escape(&path.display().to_string())),
            Self::Stdin => formatter.write_str("<stdin>"),
        }
    }
}

/// Returns what the arguments of a command name, each file once; `-` is stdin, and so are no arguments
/// at all if nobody is typing.
///
/// # Errors
/// If an argument names nothing.
pub fn expand(arguments: &[String], session: &Session) -> Result<Vec<Target>, Failure> {
    if arguments.is_empty() {
        return if session.stdin.is_terminal() {
            Err(Failure::Usage("no file is given".to_owned()))
        } else {
            Ok(vec![Target::Stdin])
        };
    }
    let mut targets = Vec::new();
    let mut seen = BTreeSet::new();
    for argument in arguments {
        for target in expand_one(argument, session)? {
            let path = target.path().map(|path| session.absolute(path));
            if seen.insert(path) {
                targets.push(target);
            }
        }
    }
    Ok(targets)
}

fn expand_one(argument: &str, session: &Session) -> Result<Vec<Target>, Failure> {
    if argument == "-" {
        return Ok(vec![Target::Stdin]);
    }
    let path = PathBuf::from(argument);
    let absolute = session.absolute(&path);
    if absolute.is_dir() {
        return Ok(walk(&absolute, &path, session, |_| true));
    }
    // A file whose name only looks like a glob is a file.
    if std::fs::symlink_metadata(&absolute).is_ok() || !is_glob(argument) {
        return Ok(vec![Target::file(path)]);
    }
    let (glob, folder) = parse_glob(argument)?;
    let fits = |relative: &Path| glob.is_match(relative);
    let found = walk(&session.absolute(&folder), &folder, session, fits);
    if found.is_empty() { Err(Failure::NoFile(argument.to_owned())) } else { Ok(found) }
}

/// Returns the files below a folder, in order. `shown` is how the folder is shown.
fn walk(folder: &Path, shown: &Path, session: &Session, fits: impl Fn(&Path) -> bool) -> Vec<Target> {
    // A glob may begin with a folder that is not there.
    if !folder.is_dir() {
        return Vec::new();
    }
    let mut walk = WalkBuilder::new(folder);
    walk.hidden(false).require_git(false).follow_links(false).sort_by_file_path(Path::cmp);
    walk.filter_entry(|entry| entry.file_name() != ".git");
    let mut targets = Vec::new();
    for entry in walk.build() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                session.stderr.say(format!("warning: {}", escape(&error.to_string())));
                continue;
            }
        };
        let is_file = entry.file_type().is_some_and(|kind| kind.is_file());
        let Ok(relative) = entry.path().strip_prefix(folder) else { continue };
        let is_ours = entry.file_name() == config_file::FILE_NAME || is_unfinished(entry.file_name());
        if is_file && !is_ours && fits(relative) {
            let path = if shown == Path::new(".") { relative.to_owned() } else { shown.join(relative) };
            // A folder such as `..` has a name as well; the root has none.
            let below = Path::new(folder.file_name().unwrap_or_default()).join(relative);
            targets.push(Target::File { path, named: false, below });
        }
    }
    targets
}

/// Returns a matcher for what is below a folder, and the folder: all of the glob before its first
/// component with a wildcard.
fn parse_glob(text: &str) -> Result<(GlobMatcher, PathBuf), Failure> {
    let components: Vec<&str> = text.split('/').collect();
    let first = components.iter().position(|component| is_glob(component)).unwrap_or_default();
    let folder = match components[..first].join("/") {
        root if root.is_empty() && text.starts_with('/') => PathBuf::from("/"),
        root if root.is_empty() => PathBuf::from("."),
        folder => PathBuf::from(folder),
    };
    let pattern = components[first..].join("/");
    let glob = GlobBuilder::new(&pattern).literal_separator(true).build();
    let glob = glob.map_err(|error| Failure::Usage(format!("{text:?} is not a glob: {}", error.kind())))?;
    Ok((glob.compile_matcher(), folder))
}

/// Returns whether a text has wildcards.
#[must_use]
pub fn is_glob(text: &str) -> bool {
    text.contains(['*', '?', '[', '{'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Input, Output};

    fn session(files: &[(&str, &str)]) -> (tempfile::TempDir, Session) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
            std::fs::write(path, text).expect("a file");
        }
        let session = Session {
            environment: crate::session::Environment::default(),
            directory: folder.path().to_owned(),
            stdin: Input::new(std::io::empty(), false),
            stdout: Output::new(std::io::sink(), false),
            stderr: Output::new(std::io::sink(), false),
            clock: || time::OffsetDateTime::UNIX_EPOCH,
            audit: "/nonexistent".into(),
        };
        (folder, session)
    }

    fn expand_in(session: &Session, arguments: &[&str]) -> Vec<String> {
        let arguments: Vec<_> = arguments.iter().map(ToString::to_string).collect();
        expand(&arguments, session).expect("targets").iter().map(ToString::to_string).collect()
    }

    const FILES: &[(&str, &str)] = &[
        (".sops.yaml", ""),
        ("a.yaml", ""),
        ("x/.env", ""),
        ("x/.git/config", ""),
        ("x/.gitignore", "out\n"),
        ("x/.b.yaml.AbCdEf.selkie-tmp", ""),
        ("x/b.yaml", ""),
        ("x/out/c.yaml", ""),
        ("x/y/d.yaml", ""),
    ];

    #[test]
    fn folders_give_all_below_that_git_would_see() {
        let (_folder, session) = session(FILES);
        assert_eq!(
            expand_in(&session, &["."]),
            ["a.yaml", "x/.env", "x/.gitignore", "x/b.yaml", "x/y/d.yaml"]
        );
        assert_eq!(expand_in(&session, &["x/y", "x/y/d.yaml"]), ["x/y/d.yaml"]);
        let found = expand(&["x/y".to_owned()], &session).expect("targets");
        assert!(!found[0].is_named());
    }

    #[test]
    fn globs_find_what_they_match() {
        let (_folder, session) = session(FILES);
        assert_eq!(expand_in(&session, &["*.yaml"]), ["a.yaml"]);
        assert_eq!(expand_in(&session, &["**/*.yaml"]), ["a.yaml", "x/b.yaml", "x/y/d.yaml"]);
        assert_eq!(expand_in(&session, &["x/*.yaml"]), ["x/b.yaml"]);
        assert!(!expand(&["x/*.yaml".to_owned()], &session).expect("targets")[0].is_named());
        let error = expand(&["*.json".to_owned()], &session).expect_err("nothing matches");
        assert!(matches!(error, Failure::NoFile(_)));
    }

    #[test]
    fn what_is_named_need_not_exist_and_may_be_ignored() {
        let (_folder, session) = session(FILES);
        assert_eq!(expand_in(&session, &["none", "x/out/c.yaml"]), ["none", "x/out/c.yaml"]);
    }

    #[test]
    fn stdin_is_a_dash_or_nothing() {
        let (_folder, session) = session(&[]);
        assert_eq!(expand_in(&session, &["-", "-"]), ["<stdin>"]);
        assert_eq!(expand_in(&session, &[]), ["<stdin>"]);
    }
}
