//! Where this program finds age identities: every source that sops knows, under the same names.
//!
//! Nothing is read before a document needs it. Sources that cannot be read are no errors of their own:
//! the report of a failed decryption names them.

mod gpg_agent;
mod passphrases;
mod terminal;

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use selkie::keys::age::{AgeService, Identities, IdentityLayout, IdentitySource};
use selkie::secret::SecretBytes;

use crate::failure::Failure;
use crate::files;
use crate::session::{Environment, Session};

pub use passphrases::Passphrases;

/// Returns the service that wraps and unwraps with age: with the identities in `files`, then with those
/// that the environment names or that lie where they are looked for.
#[must_use]
pub fn age_service(session: &Session, files: &[PathBuf]) -> AgeService {
    let mut identities = Identities::new();
    for path in files {
        let file = session.directory.join(path);
        identities
            .add_source(IdentitySource::new(&path.display().to_string(), move |_| read(&file).map(Some)));
    }
    for source in sources(&session.environment, &session.directory, System::THIS) {
        identities.add_source(source);
    }
    AgeService::new(identities).with_prompt(Arc::new(Passphrases::new(&session.environment)))
}

/// Asks the person at the terminal for a text that is not shown while it is typed.
///
/// # Errors
/// If there is no terminal, or the person would rather not.
pub fn ask_secret(question: &str) -> io::Result<SecretBytes> {
    terminal::Terminal::default().secret(question)
}

/// Returns the name of the terminal of this process, for programs that open it by its name. `None` if none of its
/// streams is connected to one.
#[must_use]
pub fn terminal_name() -> Option<String> {
    terminal::name()
}

/// Makes sure that the files that the user named are there.
///
/// # Errors
/// If one is not, or cannot be looked at.
pub fn check_named(session: &Session, files: &[PathBuf]) -> Result<(), Failure> {
    files.iter().try_for_each(|path| {
        let found = std::fs::metadata(session.absolute(path));
        found.map(|_| ()).map_err(Failure::io("read", format!("the identity file {}", path.display())))
    })
}

/// Returns those of the files with identities that everyone on the system can read.
#[must_use]
pub fn exposed_files(session: &Session, files: &[PathBuf]) -> Vec<PathBuf> {
    let variable = session.environment.get("SOPS_AGE_KEY_FILE").map(PathBuf::from);
    let all = files.iter().cloned().chain(variable).chain(default_key_file(&session.environment));
    all.filter(|path| is_exposed(&session.directory.join(path))).collect()
}

/// Returns whether everyone can read a file.
#[cfg(unix)]
pub(crate) fn is_exposed(file: &Path) -> bool {
    let mode = |file: std::fs::Metadata| std::os::unix::fs::PermissionsExt::mode(&file.permissions());
    // What cannot be looked at is told when it is read. A pipe has nothing to read for others.
    std::fs::metadata(file).is_ok_and(|file| file.is_file() && mode(file) & 0o004 != 0)
}

#[cfg(not(unix))]
pub(crate) fn is_exposed(_: &Path) -> bool {
    false
}

/// Returns where identities are kept if nothing says otherwise; `None` if there is no home directory.
#[must_use]
pub fn default_key_file(environment: &Environment) -> Option<PathBuf> {
    key_file(environment, System::THIS)
}

/// Systems with different places for configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum System {
    MacOs,
    Unix,
    Windows,
}

impl System {
    const THIS: Self = if cfg!(target_os = "macos") {
        Self::MacOs
    } else if cfg!(windows) {
        Self::Windows
    } else {
        Self::Unix
    };

    fn home(self, environment: &Environment) -> Option<PathBuf> {
        let variable = if self == Self::Windows { "USERPROFILE" } else { "HOME" };
        environment.get(variable).map(PathBuf::from)
    }

    /// Returns the folder for the user's configuration.
    fn configuration(self, environment: &Environment) -> Option<PathBuf> {
        // A relative path would name another folder in each working directory.
        let of_desktop =
            || environment.get("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        match self {
            Self::MacOs => {
                of_desktop().or_else(|| Some(self.home(environment)?.join("Library/Application Support")))
            }
            Self::Unix => of_desktop().or_else(|| Some(self.home(environment)?.join(".config"))),
            Self::Windows => environment.get("AppData").or(environment.get("APPDATA")).map(PathBuf::from),
        }
    }
}

fn key_file(environment: &Environment, system: System) -> Option<PathBuf> {
    Some(system.configuration(environment)?.join("sops").join("age").join("keys.txt"))
}

/// Returns the sources in the order in which they are tried, as far as they cost the same.
fn sources(environment: &Environment, directory: &Path, system: System) -> Vec<IdentitySource> {
    let mut sources = vec![
        of_variable(environment, "SOPS_AGE_KEY", |keys| {
            let keys = SecretBytes::from(keys);
            IdentitySource::new("SOPS_AGE_KEY", move |_| Ok(Some(keys.expose_secret().into())))
        })
        .with_layout(IdentityLayout::Words),
        of_variable(environment, "SOPS_AGE_KEY_FILE", |path| {
            of_named_file("SOPS_AGE_KEY_FILE", directory, path)
        }),
    ];
    sources.extend(key_file(environment, system).map(of_default_file));
    sources.push(
        of_variable(environment, "SOPS_AGE_SSH_PRIVATE_KEY_FILE", |path| {
            of_named_file("SOPS_AGE_SSH_PRIVATE_KEY_FILE", directory, path)
        })
        .for_ssh(),
    );
    let home = system.home(environment).map(|home| home.join(".ssh"));
    for name in ["id_ed25519", "id_rsa"] {
        sources.extend(home.as_ref().map(|home| of_default_file(home.join(name)).for_ssh()));
    }
    sources.push(of_variable(environment, "SOPS_AGE_KEY_CMD", |line| of_command("SOPS_AGE_KEY_CMD", line)));
    sources.push(
        of_variable(environment, "SOPS_AGE_SSH_PRIVATE_KEY_CMD", |line| {
            of_command("SOPS_AGE_SSH_PRIVATE_KEY_CMD", line)
        })
        .for_ssh(),
    );
    sources
}

/// Returns what a variable describes, or a source in which there is nothing.
fn of_variable(
    environment: &Environment,
    name: &str,
    source: impl FnOnce(&str) -> IdentitySource,
) -> IdentitySource {
    environment.get(name).map_or_else(|| IdentitySource::new(name, |_| Ok(None)), source)
}

/// Returns a file that the user named, and that therefore has to be there.
fn of_named_file(variable: &str, directory: &Path, path: &str) -> IdentitySource {
    let file = directory.join(path);
    IdentitySource::new(&format!("{variable} ({path})"), move |_| read(&file).map(Some))
}

/// Returns a file that may be there or not.
fn of_default_file(path: PathBuf) -> IdentitySource {
    IdentitySource::new(&path.display().to_string(), move |_| match path.try_exists() {
        Ok(false) => Ok(None),
        Ok(true) | Err(_) => read(&path).map(Some),
    })
}

fn of_command(variable: &str, line: &str) -> IdentitySource {
    let line = line.to_owned();
    IdentitySource::new(variable, move |recipient| run(&line, recipient).map(Some)).from_command()
}

fn read(path: &Path) -> Result<SecretBytes, String> {
    files::read(path).map_err(|error| format!("cannot read it: {error}"))
}

/// Runs a command line, without a shell, and returns what it writes.
fn run(line: &str, recipient: &str) -> Result<SecretBytes, String> {
    let words = shlex::split(line).ok_or("the command line has an open quotation")?;
    let (program, arguments) = words.split_first().ok_or("the command line is empty")?;
    let failed = |error: io::Error| format!("cannot run {program}: {error}");
    let mut child = Command::new(program)
        .args(arguments)
        .env("SOPS_AGE_RECIPIENT", recipient)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut stdout = child.stdout.take().ok_or("the command has no output")?;
    let output = files::read_stream(&mut stdout, EXPECTED_OUTPUT);
    // Closed before waiting: a command that writes on without end would never end.
    drop(stdout);
    let status = child.wait().map_err(failed)?;
    if !status.success() {
        return Err(format!("{program} failed ({status})"));
    }
    output.map_err(failed)
}

const EXPECTED_OUTPUT: usize = 4096;

#[cfg(test)]
mod tests {
    use selkie::keys::age::{IdentityKind, generate};
    use selkie::keys::{IdentityReport, KeyError, KeyService, MasterKey, age};

    use super::*;
    use crate::session::{Input, Output};

    fn session(directory: &Path, variables: &[(&str, &str)]) -> Session {
        Session {
            environment: variables.iter().map(|(name, value)| (*name, *value)).collect(),
            directory: directory.to_owned(),
            stdin: Input::new(io::empty(), false),
            stdout: Output::new(io::sink(), false),
            stderr: Output::new(io::sink(), false),
            clock: time::OffsetDateTime::now_utc,
            audit: "/nonexistent".into(),
        }
    }

    /// A new identity, and a key that wraps for it.
    fn new_key() -> (String, MasterKey) {
        let identity = generate(IdentityKind::X25519, &mut rand::rngs::OsRng);
        let mut keys = MasterKey::parse_list(&age::KIND, &identity.recipient).expect("a recipient");
        let mut key = keys.pop().expect("one recipient");
        let service = AgeService::new(Identities::new());
        let wrapped = pollster::block_on(service.wrap(&key, &SecretBytes::from("secret")));
        key.set_wrapped(wrapped.expect("an age key").expect("it wraps"), "");
        let text = str::from_utf8(identity.secret.expose_secret()).expect("identities are text");
        (text.to_owned(), key)
    }

    fn unwrap(session: &Session, files: &[PathBuf], key: &MasterKey) -> Result<(), IdentityReport> {
        let service = age_service(session, files);
        match pollster::block_on(service.unwrap(key)).expect("an age key") {
            Ok(secret) => {
                assert_eq!(secret.expose_secret(), b"secret");
                Ok(())
            }
            Err(KeyError::NoIdentity(report)) => Err(*report),
            Err(error) => panic!("{error}"),
        }
    }

    fn problems(report: &IdentityReport) -> Vec<String> {
        report.problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_variable_is_looked_at() {
        let folder = tempfile::tempdir().expect("a folder");
        let (identity, key) = new_key();
        std::fs::write(folder.path().join("keys"), format!("# one\n\n{identity}\n")).expect("it is written");
        let print = format!("printf '%s\\n' '{identity}'");
        for (variable, value) in [
            ("SOPS_AGE_KEY", identity.as_str()),
            ("SOPS_AGE_KEY", &format!("{identity}\t {identity}")),
            ("SOPS_AGE_KEY_FILE", "keys"),
            ("SOPS_AGE_KEY_CMD", &print),
        ] {
            let session = session(folder.path(), &[(variable, value)]);
            assert_eq!(unwrap(&session, &[], &key), Ok(()), "{variable}");
        }
        let no_variables = session(folder.path(), &[]);
        assert_eq!(unwrap(&no_variables, &[PathBuf::from("keys")], &key), Ok(()));
        unwrap(&no_variables, &[], &key).expect_err("there are no identities");
    }

    #[test]
    fn identities_are_found_where_sops_keeps_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let (identity, key) = new_key();
        let home = folder.path().display().to_string();
        let environment: Environment = [("HOME", home.as_str())].into_iter().collect();
        let path = default_key_file(&environment).expect("there is a home directory");
        std::fs::create_dir_all(path.parent().expect("a file has a folder")).expect("it is made");
        std::fs::write(path, identity).expect("it is written");
        assert_eq!(unwrap(&session(folder.path(), &[("HOME", &home)]), &[], &key), Ok(()));
    }

    #[test]
    fn commands_learn_the_recipient() {
        let folder = tempfile::tempdir().expect("a folder");
        let (identity, key) = new_key();
        std::fs::write(folder.path().join(key.field("recipient")), identity).expect("it is written");
        let line = format!("sh -c 'cat {}/$SOPS_AGE_RECIPIENT'", folder.path().display());
        assert_eq!(unwrap(&session(folder.path(), &[("SOPS_AGE_KEY_CMD", &line)]), &[], &key), Ok(()));
    }

    #[test]
    fn broken_sources_do_not_hinder_others_and_are_reported() {
        let folder = tempfile::tempdir().expect("a folder");
        let (identity, key) = new_key();
        let variables = |key: &'static str| {
            [("SOPS_AGE_KEY", key), ("SOPS_AGE_KEY_FILE", "missing"), ("SOPS_AGE_KEY_CMD", "sh -c 'exit 3'")]
        };
        let report = unwrap(&session(folder.path(), &variables("nonsense")), &[], &key)
            .expect_err("there is no identity");
        assert_eq!(
            problems(&report),
            [
                "SOPS_AGE_KEY: line 1 is not an age identity: it begins neither with `AGE-SECRET-KEY-` \
                 nor with `AGE-PLUGIN-`",
                "SOPS_AGE_KEY_FILE (missing): cannot read it: No such file or directory (os error 2)",
                "SOPS_AGE_KEY_CMD: sh failed (exit status: 3)",
            ]
        );
        assert!(report.tried.is_empty());
        let session = session(folder.path(), &variables(identity.leak()));
        assert_eq!(unwrap(&session, &[], &key), Ok(()));
    }

    #[test]
    fn report_names_where_nothing_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let (_, key) = new_key();
        let home = folder.path().display().to_string();
        let report = unwrap(&session(folder.path(), &[("HOME", &home)]), &[], &key)
            .expect_err("there are no identities");
        let default = default_key_file(&[("HOME", home)].into_iter().collect()).expect("there is a home");
        let expected =
            ["SOPS_AGE_KEY", "SOPS_AGE_KEY_FILE", &default.display().to_string(), "SOPS_AGE_KEY_CMD"];
        assert_eq!(report.empty, expected);
    }

    #[test]
    fn malformed_command_lines_are_refused() {
        assert_eq!(run("sh 'x", "").err().as_deref(), Some("the command line has an open quotation"));
        assert_eq!(run(" ", "").err().as_deref(), Some("the command line is empty"));
        assert!(
            run("/nonexistent/program", "").is_err_and(|error| error.starts_with("cannot run /nonexistent"))
        );
    }

    #[test]
    fn each_system_has_its_place() {
        let path = |variables: &[(&str, &str)], system| {
            key_file(&variables.iter().map(|(name, value)| (*name, *value)).collect(), system)
        };
        let (home, desktop) = (("HOME", "/h"), ("XDG_CONFIG_HOME", "/x"));
        let expect = |path: &str| Some(PathBuf::from(path));
        assert_eq!(path(&[home], System::Unix), expect("/h/.config/sops/age/keys.txt"));
        assert_eq!(path(&[home, desktop], System::Unix), expect("/x/sops/age/keys.txt"));
        assert_eq!(
            path(&[home, ("XDG_CONFIG_HOME", "x")], System::Unix),
            expect("/h/.config/sops/age/keys.txt")
        );
        assert_eq!(path(&[home], System::MacOs), expect("/h/Library/Application Support/sops/age/keys.txt"));
        assert_eq!(path(&[home, desktop], System::MacOs), expect("/x/sops/age/keys.txt"));
        assert_eq!(path(&[("AppData", "/a")], System::Windows), expect("/a/sops/age/keys.txt"));
        assert_eq!(path(&[], System::Unix), None);
    }
}
