//! `policy`: checks the file of `--policy`, and says which rule is for whom.

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;

use clap::Subcommand;
use selkie::render::{MacRule, Origin, PolicyRule};

use crate::render::policy::PolicyFile;

/// Check a policy for rendering
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Check(Check),
}

/// Check that a file is a policy, and say which of its rules is for an origin
///
/// Fails if no rule is for the origin. What is not given of it is not known, and matches `*` alone.
#[derive(clap::Args)]
struct Check {
    /// The policy
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The project
    #[arg(long, value_name = "NAME", default_value = "")]
    project: String,
    /// The namespace of the objects
    #[arg(long, value_name = "NAMESPACE", default_value = "")]
    namespace: String,
    /// The address of the repository
    #[arg(long, value_name = "URL", default_value = "")]
    repository: String,
    /// The path in the repository
    #[arg(long, value_name = "PATH", default_value = "")]
    path: String,
}

/// Why an origin gets nothing.
#[derive(Debug, thiserror::Error)]
#[error("no rule is for {0}: nothing is rendered for it")]
struct NoRule(String);

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let Command::Check(check) = &args.command;
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(check.report()?.as_bytes())?;
    Ok(stdout.flush()?)
}

impl Check {
    fn report(&self) -> Result<String, Box<dyn Error>> {
        let (policy, _) = PolicyFile::open(self.file.clone())?.current();
        let count = policy.rules().len();
        let head = format!("{}: a policy of {count} rules, {}\n", self.file.display(), policy.digest());
        let origin = Origin {
            project: self.project.clone(),
            namespace: self.namespace.clone(),
            repository: self.repository.clone(),
            path: self.path.clone(),
        };
        if origin == Origin::default() {
            return Ok(head);
        }
        let rule = policy.rule(&origin).ok_or_else(|| NoRule(origin.to_string()))?;
        Ok(format!("{head}{origin} gets {}:\n{}", rule.title(), allowed(rule)))
    }
}

/// Returns what a rule allows, for people.
fn allowed(rule: &PolicyRule) -> String {
    let list = |texts: &[String]| if texts.is_empty() { "none".to_owned() } else { texts.join(", ") };
    let names = |texts: &[&str]| if texts.is_empty() { "none".to_owned() } else { texts.join(", ") };
    let all = || "all".to_owned();
    let engine = &rule.rule;
    let taint: Vec<_> =
        engine.taint.iter().map(|taint| format!("{} at {}", taint.kind, taint.path)).collect();
    let lines = [
        ("modes", rule.modes.join(", ")),
        ("MAC", mac(engine.mac).to_owned()),
        ("outside of Secrets", list(&taint)),
        ("keys", list(&rule.keys)),
        ("sealing keys", list(&rule.sealing_keys)),
        ("own credentials for", names(&rule.ambient)),
        ("kinds", engine.kinds.as_deref().map_or_else(all, names)),
        ("recipients", engine.recipients.as_deref().map_or_else(all, list)),
        ("addresses", engine.addresses.as_deref().map_or_else(all, list)),
        ("roles", engine.roles.as_deref().map_or_else(all, list)),
        ("network", engine.network.to_string()),
        ("randomness", engine.random.to_string()),
    ];
    lines.iter().map(|(name, text)| format!("  {name}: {text}\n")).collect()
}

const fn mac(rule: MacRule) -> &'static str {
    match rule {
        MacRule::Off => "not looked at",
        MacRule::Require => "required",
        MacRule::Warn => "a wrong one is told",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, project: &str) -> Result<String, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("policy.yaml");
        std::fs::write(&file, text).expect("a file");
        let (namespace, repository, path) = <(String, String, String)>::default();
        let check = Check { file, project: project.to_owned(), namespace, repository, path };
        let report = check
            .report()
            .map_err(|error| error.source().map_or_else(|| error.to_string(), |cause| cause.to_string()));
        report.map(|text| text.replace(&folder.path().display().to_string(), ""))
    }

    #[test]
    fn it_says_which_rule_is_for_whom() {
        let text = "rules:\n- {name: shop, match: {projects: [shop]}, preset: flux, keys: [/keys/shop]}\n";
        let report = check(text, "shop").expect("a rule");
        let (head, rest) = report.split_once('\n').expect("lines");
        assert!(head.starts_with("/policy.yaml: a policy of 1 rules, sha256:"), "{head}");
        let expected = "{projects: [\"shop\"]} gets rule 1 (shop):
  modes: plain
  MAC: required
  outside of Secrets: * at *
  keys: /keys/shop
  sealing keys: none
  own credentials for: none
  kinds: all
  recipients: all
  addresses: none
  roles: none
  network: false
  randomness: false
";
        assert_eq!(rest, expected);
        assert_eq!(check(text, "").expect("a policy").lines().count(), 1);
        let refused = check(text, "other").expect_err("no rule");
        assert_eq!(refused, "no rule is for {projects: [\"other\"]}: nothing is rendered for it");
        assert_eq!(check("rules: 1", "").expect_err("no policy"), "line 1: rules is not a list");
    }
}
