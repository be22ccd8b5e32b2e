//! `kubectl seal init`.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rand::rngs::OsRng;
use selkie::keys::MasterKey;
use selkie::keys::age::{self, Identities, IdentityKind};
use selkie::secret::SecretBytes;

use crate::config_file::{ConfigFile, FILE_NAME, discover};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::files::{self, Audience, Expected, folder_of};
use crate::{document, git, identities, pasted};

/// Make an age key and a .sops.yaml, as far as there is none
///
/// The key goes where sops looks for it. The configuration goes into the root of the Git repository, with a
/// rule that encrypts what is below data and stringData of Kubernetes Secrets; --config names another place.
/// Nothing is overwritten. A key within a Git repository is added to its .gitignore. The recipient, which
/// others need to encrypt for you, is printed to stdout.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Where to put .sops.yaml
    #[arg(value_name = "FOLDER")]
    folder: Option<PathBuf>,

    /// Also encrypt for these recipients of age or SSH
    #[arg(short, long = "age", value_name = "RECIPIENT,…")]
    recipients: Vec<String>,

    /// Keep the key in this file instead
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,

    /// Make a key that is safe against quantum computers, for age 1.3 and later
    #[arg(long)]
    post_quantum: bool,
}

const EXAMPLES: &str = "\
Examples:
  kubectl seal init                        in a Git repository
  kubectl seal init --age age1…,age1…      for colleagues, too
  kubectl seal init --key-file key.txt .   with a key of its own, in this folder";

/// Makes what is missing, and says so.
///
/// # Errors
/// If the key or the configuration cannot be written, or an existing one cannot be read.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit, Failure> {
    let given: Vec<MasterKey> = args
        .recipients
        .iter()
        .map(|text| MasterKey::parse_list(&age::KIND, text))
        .collect::<Result<Vec<_>, _>>()?
        .concat();
    let own = own_recipients(args, context, !given.is_empty())?;
    let mut recipients = own.clone();
    recipients.extend(given.iter().map(ToString::to_string).filter(|name| !own.contains(name)));
    write_config(args, context, &recipients)?;
    let own = own.iter().map(|recipient| format!("{recipient}\n")).collect::<String>();
    context.session.stdout.write(own.as_bytes()).map_err(Failure::io("write", "stdout"))?;
    context.report.note(NEXT);
    if let Some(config) = &context.options.config {
        context.report.note(format!(
            "\nYour configuration is not where it is looked for: pass --config to these commands, or\n  \
             export SOPS_CONFIG={}",
            pasted::path(&context.session.absolute(config))
        ));
    }
    if let Some(path) = key_path(args, context).filter(|path| !is_looked_for(context, path)) {
        context.report.note(format!(
            "\nYour key is not where it is looked for:\n  export SOPS_AGE_KEY_FILE={}",
            pasted::path(&path)
        ));
    }
    Ok(Exit::Success)
}

/// Returns the recipients of the user's own key, which is made if there is none.
fn own_recipients(args: &Args, context: &Context<'_>, has_others: bool) -> Result<Vec<String>, Failure> {
    let environment = &context.session.environment;
    if let (Some(keys), None) = (environment.get("SOPS_AGE_KEY"), &args.key_file) {
        context.report.note("key: that of SOPS_AGE_KEY");
        return recipients_of("SOPS_AGE_KEY", &SecretBytes::from(keys), has_others);
    }
    let path = key_path(args, context);
    let path =
        path.ok_or_else(|| Failure::Usage("there is no home directory; pass --key-file".to_owned()))?;
    if !path.exists() {
        keep_out_of_git(context, &path)?.map_or(Ok(()), |why| Err(Failure::Check(why)))?;
        return make_key(args, context, &path).map(|recipient| vec![recipient]);
    }
    let shown = context.shown(&path).display().to_string();
    context.report.note(format!("key: {shown} is there already"));
    let text = document::read(context, &path)?;
    // One behind a passphrase may lie in a repository.
    if text.expose_secret().windows(SECRET_KEY.len()).any(|window| window == SECRET_KEY) {
        // The key is there, whatever is done about it.
        keep_out_of_git(context, &path)?.into_iter().for_each(|why| context.report.warn(why));
    }
    recipients_of(&shown, &text, has_others)
}

fn recipients_of(name: &str, text: &SecretBytes, has_others: bool) -> Result<Vec<String>, Failure> {
    let identities = Identities::parse(name, text);
    let identities = identities.map_err(|error| Failure::Check(format!("{name}: {error}")))?;
    let recipients = identities.recipients();
    if recipients.is_empty() && !has_others {
        return Err(Failure::Check(format!(
            "{name} is protected, and does not tell its recipient without a passphrase or plugin; name it \
             with --age age1…"
        )));
    }
    Ok(recipients)
}

fn key_path(args: &Args, context: &Context<'_>) -> Option<PathBuf> {
    let environment = &context.session.environment;
    let named = args.key_file.clone().or_else(|| environment.get("SOPS_AGE_KEY_FILE").map(PathBuf::from));
    named.map(|path| context.session.absolute(&path)).or_else(|| identities::default_key_file(environment))
}

/// Returns whether commands find a key without being told.
fn is_looked_for(context: &Context<'_>, key: &Path) -> bool {
    let environment = &context.session.environment;
    let named = environment.get("SOPS_AGE_KEY_FILE").map(|path| context.session.absolute(Path::new(path)));
    // What is in the variable needs no file.
    environment.get("SOPS_AGE_KEY").is_some()
        || [named, identities::default_key_file(environment)].iter().flatten().any(|path| path == key)
}

/// Adds a key that is to lie within a repository to what Git leaves out; says what speaks against it if Git does
/// not leave it out even then.
fn keep_out_of_git(context: &Context<'_>, key: &Path) -> Result<Option<String>, Failure> {
    let Some(root) = key.parent().and_then(git::root_of) else { return Ok(None) };
    let Ok(relative) = key.strip_prefix(&root) else { return Ok(None) };
    if git::is_ignored(&root, relative) == Some(true) {
        return Ok(None);
    }
    let ignore = root.join(".gitignore");
    let shown = context.shown(&ignore).display().to_string();
    let before = match std::fs::read(&ignore) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        read => read.map_err(Failure::io("read", shown.clone()))?,
    };
    let pattern = git::pattern_for(relative);
    // The line may be there to no effect, such as for a file that was committed.
    if !before.split(|byte| *byte == b'\n').any(|line| line == pattern.as_bytes()) {
        let separator = if before.is_empty() || before.ends_with(b"\n") { "" } else { "\n" };
        let mut options = OpenOptions::new();
        let file = options.append(true).create(true).open(&ignore);
        file.and_then(|mut file| file.write_all(format!("{separator}{pattern}\n").as_bytes()))
            .map_err(Failure::io("write", shown.clone()))?;
        context.report.done("changed", &shown, "so that Git leaves out your key");
    }
    let key = context.shown(key);
    Ok((git::is_ignored(&root, relative) == Some(false))
        .then(|| format!("Git does not leave out {}, whatever {shown} says of it", key.display())))
}

fn make_key(args: &Args, context: &Context<'_>, path: &Path) -> Result<String, Failure> {
    let kind = if args.post_quantum { IdentityKind::Hybrid } else { IdentityKind::X25519 };
    let identity = age::generate(kind, &mut OsRng);
    let mut text = SecretBytes::from(format!(
        "# created: {}\n# public key: {}\n",
        context.session.now(),
        identity.recipient
    ));
    text.extend_from_slice(identity.secret.expose_secret());
    text.push(b'\n');
    write_new(&context.session.absolute(path), text.expose_secret(), Audience::Owner)
        .map_err(Failure::io("write", context.shown(path).display().to_string()))?;
    context.report.done(
        "made",
        context.shown(path).display(),
        "your age key: keep a copy of it in a safe place",
    );
    Ok(identity.recipient)
}

/// Writes a configuration, unless one applies already.
fn write_config(args: &Args, context: &Context<'_>, recipients: &[String]) -> Result<(), Failure> {
    let directory = &context.session.directory;
    let named = match (&args.folder, &context.options.config) {
        (Some(_), Some(_)) => {
            let text = "--config names a place for the configuration; leave out the folder";
            return Err(Failure::Usage(text.to_owned()));
        }
        (Some(folder), None) => Some(context.session.absolute(folder).join(FILE_NAME)),
        (None, Some(config)) => Some(context.session.absolute(config)),
        (None, None) => None,
    };
    let existing = match &named {
        Some(path) => named.clone().filter(|_| path.exists()),
        None => discover(directory).path,
    };
    if let Some(path) = existing {
        let shown = context.shown(&path);
        context.report.note(format!("configuration: {} is there already", shown.display()));
        return tell_if_left_out(context, &shown, recipients);
    }
    let root = || git::root_of(directory).unwrap_or_else(|| directory.clone());
    let path = named.unwrap_or_else(|| root().join(FILE_NAME));
    let shown = context.shown(&path);
    write_new(&path, config(recipients).as_bytes(), Audience::Everyone)
        .map_err(Failure::io("write", shown.display().to_string()))?;
    context.report.done(
        "made",
        shown.display(),
        "encrypts what is below data and stringData of YAML files for your recipient",
    );
    Ok(())
}

fn tell_if_left_out(context: &Context<'_>, path: &Path, recipients: &[String]) -> Result<(), Failure> {
    let config = ConfigFile::load(path, &context.session.directory)?;
    let rules = config.config.creation_rules();
    let named: Vec<String> =
        rules.flat_map(|rule| &rule.groups).flat_map(|group| &group.0).map(ToString::to_string).collect();
    for recipient in recipients.iter().filter(|recipient| !named.contains(recipient)) {
        context.report.warn(format!(
            "no rule of {} names {recipient}: add it there, and let someone who can read the files run \
             `kubectl seal updatekeys .`",
            path.display()
        ));
    }
    Ok(())
}

fn config(recipients: &[String]) -> String {
    let recipients = match recipients {
        [one] => one.clone(),
        several => format!(">-\n      {}", several.join(",\n      ")),
    };
    format!(
        "# Which values are encrypted, and for whom. `kubectl seal explain FILE` shows how that applies.\n\
         creation_rules:\n\
         \x20 # Kubernetes Secrets: what is below data and stringData of YAML files.\n\
         \x20 - path_regex: \\.ya?ml$\n\
         \x20   encrypted_regex: ^(data|stringData)$\n\
         \x20   age: {recipients}\n"
    )
}

/// Writes a file that must not exist yet, whole or not at all.
fn write_new(path: &Path, content: &[u8], audience: Audience) -> io::Result<()> {
    files::make_folder(folder_of(path), audience)?;
    files::write_expecting(path, content, audience, Expected::Absent)
}

/// How identities start that nothing protects.
const SECRET_KEY: &[u8] = b"AGE-SECRET-KEY-";

const NEXT: &str = "
What comes next:
  kubectl seal explain FILE      which values of a file would be encrypted
  kubectl seal encrypt -i FILE   encrypt it in place; then commit it, with .sops.yaml
  kubectl seal edit FILE         change it
  kubectl seal tour              see more, on an example";

#[cfg(test)]
mod tests {
    use selkie::sops::config::Config;

    use super::*;

    #[test]
    fn the_configuration_is_one() {
        for recipients in [
            vec!["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN"],
            vec![
                RECIPIENT,
                "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN",
            ],
        ] {
            let recipients: Vec<String> = recipients.into_iter().map(str::to_owned).collect();
            let config = Config::parse(config(&recipients).as_bytes()).expect("a configuration");
            assert_eq!(config.warnings(), []);
            let rule = config.rule_for("apps/db.yml").expect("a rule").expect("it matches");
            let named: Vec<_> = rule.groups[0].0.iter().map(ToString::to_string).collect();
            assert_eq!(named, recipients);
            assert!(config.rule_for("README.md").expect("no fault").is_none());
        }
    }

    const RECIPIENT: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
}
