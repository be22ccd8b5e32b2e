//! `kubectl seal groups`.

use selkie::keys::KeyGroup;
use selkie::sops::Metadata;
use serde_json::json;

use crate::batch::{self, Outcome};
use crate::commands;
use crate::context::Context;
use crate::document::{self, InputFlags};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::key_changes::KeyChanges;
use crate::key_flags::{KeyFlags, Plain};
use crate::rekeying::{DataKeyFlag, LockOutFlag, rekey};
use crate::report::escape;
use crate::sealing;
use crate::targets::{self, Target};

/// List, add and delete the key groups of encrypted files
///
/// With one group, each of its keys reads the file. With more, a key of so many groups is needed as the
/// threshold says: of all, if it says nothing. A file that is to be kept from somebody who could read it gets a new
/// data key, and its values are encrypted anew.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Add a group at the end
    Add(Add),
    /// Delete a group
    Delete(Delete),
    /// Show the groups
    List(List),
}

#[derive(Debug, clap::Args)]
struct Add {
    /// Files, globs or folders
    #[arg(value_name = "FILE", required = true)]
    files: Vec<String>,

    #[command(flatten, next_help_heading = "Keys of the group")]
    keys: KeyFlags<Plain>,

    #[command(flatten)]
    change: ChangeFlags,
}

#[derive(Debug, clap::Args)]
struct Delete {
    /// Files, globs or folders
    #[arg(value_name = "FILE", required = true)]
    files: Vec<String>,

    /// The number of the group, as `list` shows it
    #[arg(long, value_name = "NUMBER")]
    group: usize,

    #[command(flatten)]
    change: ChangeFlags,

    #[command(flatten)]
    lock_out: LockOutFlag,
}

#[derive(Debug, clap::Args)]
struct List {
    /// Files, globs or folders; - or nothing for stdin
    #[arg(value_name = "FILE")]
    files: Vec<String>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct ChangeFlags {
    /// Need so many groups to decrypt
    #[arg(long = "shamir-threshold", value_name = "NUMBER")]
    threshold: Option<u8>,

    #[command(flatten)]
    data_key: DataKeyFlag,
}

const EXAMPLES: &str = "\
Examples:
  kubectl seal groups list db.yaml
  kubectl seal groups add db.yaml --age age1… --shamir-threshold 2
  kubectl seal groups delete db.yaml --group 2";

/// Runs the action on every file.
///
/// # Errors
/// If the arguments name nothing.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit, Failure> {
    match &args.action {
        Action::Add(add) => {
            add.keys.check_options()?;
            let group = add.keys.group()?;
            context.named.note_keys(&group.0);
            if group.0.is_empty() {
                return Err(Failure::Usage("a group needs a key, such as --age age1…".to_owned()));
            }
            // Who gives part of a file to others means to need them.
            change_all(context, &add.files, &add.change, LockOutFlag::given(), |groups| {
                groups.push(group.clone());
                Ok(())
            })
        }
        Action::Delete(delete) => {
            change_all(context, &delete.files, &delete.change, delete.lock_out, |groups| {
                let index = delete.group.checked_sub(1).filter(|&index| index < groups.len());
                let missing = || Failure::Check(format!("there is no group {}", delete.group));
                groups.remove(index.ok_or_else(missing)?);
                Ok(())
            })
        }
        Action::List(list) => run_list(list, context),
    }
}

fn change_all(
    context: &Context<'_>,
    files: &[String],
    flags: &ChangeFlags,
    lock_out: LockOutFlag,
    change: impl Fn(&mut Vec<KeyGroup>) -> Result<(), Failure> + Sync,
) -> Result<Exit, Failure> {
    let targets = targets::expand(files, context.session)?;
    commands::refuse_stdin(&targets)?;
    Ok(batch::run(context, &targets, |target| {
        let _turn = document::turn(context, target);
        let document = InputFlags::default().load(context, target)?;
        if !target.is_named() && !document.looks_encrypted() {
            return Ok(Outcome::Skipped("not encrypted"));
        }
        let tree = document.tree()?;
        let mut wanted = sealing::metadata_of(&tree)?;
        let old = wanted.clone();
        change(&mut wanted.groups)?;
        let threshold = flags.threshold.map_or(wanted.shamir_threshold, usize::from);
        // With one group there is nothing to choose from.
        wanted.shamir_threshold = if wanted.groups.len() == 1 { 0 } else { threshold };
        let changes = KeyChanges::between(&old, &wanted.groups, wanted.shamir_threshold);
        let fate = flags.data_key.fate(&changes);
        let rekeyed = rekey(context, target.path(), (document.format, tree), wanted, fate, lock_out)?;
        let path = target.path().unwrap_or(std::path::Path::new(""));
        document::replace(context, path, &document.source, &rekeyed.text)?;
        Ok(Outcome::Done("updated", rekeyed.detail(fate)))
    }))
}

fn run_list(list: &List, context: &Context<'_>) -> Result<Exit, Failure> {
    let targets = targets::expand(&list.files, context.session)?;
    let mut listed = Vec::new();
    let exit = batch::one_by_one(context, &targets, |target| {
        let document = InputFlags::default().load(context, target)?;
        if !target.is_named() && !document.looks_encrypted() {
            return Ok(false);
        }
        let metadata = sealing::metadata_of(&document.tree()?)?;
        if list.json {
            listed.push(json!({
                "file": target.name(),
                "groups": commands::groups_json(&metadata.groups),
                "threshold": metadata.required_groups(),
            }));
        } else {
            print(context, target, &metadata)?;
        }
        Ok(true)
    });
    if list.json {
        commands::print_json(context, &listed.into())?;
    }
    Ok(exit)
}

fn print(context: &Context<'_>, target: &Target, metadata: &Metadata) -> Result<(), Failure> {
    let needed = match metadata.groups.len() {
        1 => "one key is needed".to_owned(),
        groups => format!("keys of {} of {groups} groups are needed", metadata.required_groups()),
    };
    let mut text = format!("{target}: {needed}\n");
    for (index, group) in metadata.groups.iter().enumerate() {
        text.push_str(&format!("  group {}\n", index + 1));
        for key in &group.0 {
            text.push_str(&format!("    {} {}\n", key.kind().name, escape(&key.to_string())));
        }
    }
    context.session.stdout.write(text.as_bytes()).map_err(Failure::io("write", "stdout"))
}
