//! `kubectl seal git install`, `uninstall` and `status`.
//!
//! Invariants: Git's configuration is changed by `git config` alone, and what is somebody else's in it stays unless the
//! user says so. Of a file with attributes only the lines between our marks are changed. Doing it again changes nothing,
//! and taking it out leaves what was there before, but for drivers whose place was taken by force. What may fail is read
//! before anything is written.

mod attributes;
mod drivers;
mod patterns;
mod repository;
mod translation;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use self::attributes::Block;
use self::drivers::{Scope, Setting, State};
use self::patterns::Patterns;
use self::repository::{Attributes, Repository};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::report::{count, escape};

/// Tell Git of the drivers, and which files they are for
///
/// The drivers go to the configuration of Git: of this repository, with all its worktrees, or of the user. Every clone
/// needs that once; without it Git merges and shows these files as it always did.
/// Which files they are for goes to .gitattributes at the top of the repository, which is committed, or to
/// .git/info/attributes. The names are those of the creation rules of .sops.yaml if these tell the ends of names, else
/// *.yaml, *.yml, *.json, *.env and *.ini; and those of encrypted files that have other names. A file that is not
/// encrypted is merged and shown by Git itself.
/// Texts for comparing are not cached (diff.seal.cachetextconv): Git would keep them in refs/notes, values included
/// where somebody asks for values.
#[derive(Debug, clap::Args)]
#[command(after_help = INSTALL_EXAMPLES)]
pub struct InstallArgs {
    /// Write the drivers to the configuration of the user, for all repositories
    #[arg(long)]
    global: bool,

    /// Write the attributes to this file
    #[arg(long, value_name = "FILE", conflicts_with = "private")]
    attributes: Option<PathBuf>,

    /// Write the attributes to .git/info/attributes, which is not committed
    #[arg(long)]
    private: bool,

    /// Let Git call this program [default: kubectl-seal]
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,

    /// Leave `git diff` to Git, which compares lines with marks in place of values: all of its options work
    #[arg(long)]
    lines: bool,

    /// Take the place of drivers that somebody else called seal; what they were is printed, and not brought back
    #[arg(long)]
    force: bool,

    /// Print what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

/// Take the drivers out of the configuration of Git again
///
/// What install wrote is taken out, and nothing else.
#[derive(Debug, clap::Args)]
#[command(after_help = UNINSTALL_EXAMPLES)]
pub struct UninstallArgs {
    /// Take the drivers out of the configuration of the user
    #[arg(long)]
    global: bool,

    /// Take the attributes out of this file, too
    #[arg(long, value_name = "FILE")]
    attributes: Option<PathBuf>,
}

/// Tell whether Git knows of the drivers
///
/// It ends with 1 if a driver is missing, its program cannot be started, or an encrypted file has other attributes.
#[derive(Debug, clap::Args)]
#[command(after_help = STATUS_EXAMPLES)]
pub struct StatusArgs {}

const INSTALL_EXAMPLES: &str = "\
Examples:
  kubectl seal git install               in every clone, once
  kubectl seal git install --dry-run     what it would write
  kubectl seal git install --private     for this clone alone
  kubectl seal git install --lines       git diff with marks, and with all options of Git";

const UNINSTALL_EXAMPLES: &str = "\
Examples:
  kubectl seal git uninstall
  kubectl seal git uninstall --global";

const STATUS_EXAMPLES: &str = "\
Examples:
  kubectl seal git status";

/// Installs the drivers.
///
/// # Errors
/// If Git's configuration cannot be changed, or holds drivers of somebody else.
pub fn install(args: &InstallArgs, context: &Context<'_>) -> Result<Exit, Failure> {
    let repository = match Repository::find(context) {
        // There need not be one for the configuration of the user.
        Err(_) if args.global && args.attributes.is_none() && !args.private => None,
        repository => Some(repository?),
    };
    let program = program(args, context)?;
    let scope = if args.global { Scope::Global } else { Scope::Local };
    let settings = drivers::wanted(&program, args.lines);
    let prepared = match &repository {
        Some(repository) => Some(Prepared::read(args, context, repository)?),
        None => None,
    };
    let changes = drivers::changes(context, scope, &settings, args.force)?;
    if !args.dry_run {
        apply(context, scope, &changes)?;
    } else {
        for setting in &changes {
            say(context, &format!("{}\n", setting.command(scope)))?;
        }
    }
    let (Some(repository), Some(prepared)) = (repository, prepared) else {
        context.report.note("no attributes were written, as this is no repository: run it in each, too");
        return Ok(Exit::Success);
    };
    prepared.write(args, context, &repository)?;
    Ok(Exit::Success)
}

fn apply(context: &Context<'_>, scope: Scope, changes: &[Setting]) -> Result<(), Failure> {
    for setting in changes {
        setting.apply(context, scope)?;
    }
    if changes.is_empty() {
        context.report.note("Git knows of the drivers already");
    } else {
        context.report.done("set", "the drivers merge=seal and diff=seal", scope.described());
    }
    Ok(())
}

/// Which files the drivers are for, before that is written.
struct Prepared {
    encrypted: Vec<PathBuf>,
    patterns: Patterns,
    block: Block,
}

impl Prepared {
    fn read(args: &InstallArgs, context: &Context<'_>, repository: &Repository) -> Result<Self, Failure> {
        let block = match &args.attributes {
            Some(path) => named_block(context, Some(repository), path)?,
            None if args.private => own_block(context, &repository.private_attributes()?)?,
            None => own_block(context, &repository.shared_attributes())?,
        };
        let encrypted = repository.encrypted()?;
        let patterns = patterns::choose(repository, &encrypted)?;
        Ok(Self { encrypted, patterns, block })
    }

    fn write(
        &self,
        args: &InstallArgs,
        context: &Context<'_>,
        repository: &Repository,
    ) -> Result<(), Failure> {
        let Self { encrypted, patterns, block } = self;
        let (name, text) = (block.name(), block.with(&patterns.lines()));
        if args.dry_run {
            say(context, &format!("{name}: {}\n{}", patterns.why, attributes::block(&patterns.lines())))?;
        } else if block.is(&text) {
            context.report.note(format!("{} has the lines already", escape(name)));
        } else {
            block.write(&text)?;
            context.report.done("wrote", name, &patterns.why);
        }
        for (file, attributes) in repository.attributes(encrypted)? {
            let file = escape(&file.display().to_string());
            for (kind, value) in attributes.others(!args.dry_run) {
                context.report.warn(format!(
                    "{file}: another line says {kind}={value}, which wins: take it out for the driver to be used; \
                     `git check-attr {kind} -- {file}` tells what is in force"
                ));
            }
        }
        if !args.dry_run && !args.private && args.attributes.is_none() && !block.is(&text) {
            context.report.note(format!(
                "commit {name}; every clone runs `kubectl seal git install` once, and without it goes on as before"
            ));
        }
        Ok(())
    }
}

/// Reads the attributes that a repository has at one of its own places.
fn own_block(context: &Context<'_>, path: &Path) -> Result<Block, Failure> {
    let name = context.shown(path).display().to_string();
    attributes::check_regular(path, &name)?;
    Block::read(path, &name)
}

/// Reads the attributes of a file that the user names.
fn named_block(
    context: &Context<'_>,
    repository: Option<&Repository>,
    path: &Path,
) -> Result<Block, Failure> {
    let path = context.session.absolute(path);
    let name = context.shown(&path).display().to_string();
    if let Some(repository) = repository {
        attributes::check_below(&repository.top, &path, &name)?;
    }
    Block::read(&path, &name)
}

/// Takes them out again.
///
/// # Errors
/// If Git's configuration cannot be changed.
pub fn uninstall(args: &UninstallArgs, context: &Context<'_>) -> Result<Exit, Failure> {
    let repository = match Repository::find(context) {
        Err(_) if args.global => None,
        repository => Some(repository?),
    };
    let scope = if args.global { Scope::Global } else { Scope::Local };
    let mut blocks = Vec::new();
    if let Some(path) = &args.attributes {
        blocks.push(named_block(context, repository.as_ref(), path)?);
    }
    if let Some(repository) = repository.as_ref().filter(|_| !args.global) {
        blocks.push(own_block(context, &repository.shared_attributes())?);
        blocks.push(own_block(context, &repository.private_attributes()?)?);
    }
    let mut ours = Vec::new();
    for key in drivers::KEYS {
        match drivers::state(context, scope, key, None)? {
            State::Absent => {}
            State::Foreign(_) => context.report.warn(format!("{key} is somebody else's, and stays")),
            State::Ours | State::Wanted => ours.push(key),
        }
    }
    let mut removed = ours.len();
    for key in ours {
        drivers::unset(context, scope, key)?;
    }
    if removed > 0 {
        context.report.done("took out", "the drivers merge=seal and diff=seal", scope.described());
    }
    for block in blocks {
        if block.remove()? {
            removed += 1;
            context.report.done("took the lines out of", block.name(), "");
        }
    }
    if removed == 0 {
        context.report.note("there was nothing to take out");
    }
    Ok(Exit::Success)
}

/// Tells about them.
///
/// # Errors
/// If Git's configuration cannot be read.
pub fn status(_args: &StatusArgs, context: &Context<'_>) -> Result<Exit, Failure> {
    let repository = Repository::find(context)?;
    let mut faults: Vec<String> = Vec::new();
    let mut lines = String::new();
    let driver = drivers::effective(context, "merge.seal.driver");
    for key in [drivers::MERGE, drivers::TEXTCONV, drivers::COMMAND] {
        match drivers::effective(context, key) {
            Some(value) => lines.push_str(&format!("{key}  {}\n", escape(&value))),
            // Then Git compares the texts of the other one.
            None if key == drivers::COMMAND => {
                lines.push_str(&format!("{key}  not set: git diff compares marks\n"))
            }
            None => faults.push(format!("{key} is not set: run `kubectl seal git install`")),
        }
    }
    if let Some(program) = driver.as_deref().and_then(drivers::program_of) {
        match version(&program) {
            Some(version) => lines.push_str(&format!("program  {}\n", escape(&version))),
            None => faults.push(format!(
                "{} cannot be started: put it on the PATH, or run `kubectl seal git install --program PATH`",
                escape(&program)
            )),
        }
    }
    let encrypted = repository.encrypted()?;
    let attributes = repository.attributes(&encrypted)?;
    let total = attributes.len();
    let mut covered = 0;
    for (file, attributes) in attributes {
        covered += usize::from(attributes.are_ours());
        if !attributes.are_ours() {
            let Attributes { merge, diff } = attributes;
            faults.push(format!(
                "{}: merge is {}, diff is {}: run `kubectl seal git install`, or mend .gitattributes",
                escape(&file.display().to_string()),
                escape(&merge),
                escape(&diff)
            ));
        }
    }
    lines.push_str(&format!("files  {}, {covered} with the drivers\n", count(total, "encrypted file")));
    for fault in &faults {
        lines.push_str(&format!("! {fault}\n"));
    }
    say(context, &lines)?;
    Ok(if faults.is_empty() { Exit::Success } else { Exit::Failure })
}

fn say(context: &Context<'_>, text: &str) -> Result<(), Failure> {
    context.session.stdout.write(text.as_bytes()).map_err(Failure::io("write", "stdout"))
}

/// Returns the program that Git is to call, as the shell reads it.
fn program(args: &InstallArgs, context: &Context<'_>) -> Result<String, Failure> {
    let path = match &args.program {
        // A name is looked for on the PATH.
        Some(path) if path.components().count() > 1 => context.session.absolute(path),
        Some(path) => path.clone(),
        None if is_on_path(context, NAME) => PathBuf::from(NAME),
        None => std::env::current_exe().map_err(Failure::io("find", "this program"))?,
    };
    let text = path.display().to_string();
    let quoted = shlex::try_quote(&text).map_err(|error| Failure::Usage(format!("--program: {error}")))?;
    Ok(quoted.into_owned())
}

fn is_on_path(context: &Context<'_>, name: &str) -> bool {
    let path = context.session.environment.get("PATH").unwrap_or_default();
    std::env::split_paths(path).any(|folder| is_program(&folder.join(name)))
}

fn is_program(path: &Path) -> bool {
    path.is_file() || path.with_extension("exe").is_file()
}

/// Returns what a program says of its version, as Git would start it.
fn version(program: &str) -> Option<String> {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("{program} --version")).stdin(Stdio::null()).stderr(Stdio::null());
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// What the program is called on the PATH.
const NAME: &str = "kubectl-seal";
