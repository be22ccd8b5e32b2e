//! `kubectl seal status`.

mod report;

use std::path::Path;

use selkie::format::Format;
use selkie::manifest::Manifest;
use selkie::sealed::{Candidates, Flaw, KeyRegistry, flaws};
use selkie::secret::SecretBytes;
use selkie::sops::audit::{Doubt, changed_without_key, inspect, inspect_opened};
use selkie::sops::{LeafState, Metadata, leaves};
use selkie::tree::Tree;

use crate::context::Context;
use crate::document::{self, Document, InputFlags};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::opening::{Opener, OpeningFlags};
use crate::report::count;
use crate::sealed_report::{ItemReport, Outcome, SealedReport};
use crate::settings::{Settings, SettingsFlags};
use crate::spans::Span;
use crate::staleness::{DataKeyAge, Staleness};
use crate::targets::{self, Target};
use crate::{batch, commands, dotted, doubts, git, sealed_files, sealed_report, sealing};

/// Say what is encrypted, for whom, and what looks wrong
///
/// Reports what the MAC of SOPS cannot see and a strict reader can: values in clear that the rule selects
/// (in-clear), keys with a colon (ambiguous-key), changed types (non-canonical), anything that was changed
/// since the last commit without the key, such as a renamed clear key (changed-without-key). Also files in
/// clear that a rule covers (not-encrypted), and keys or rules that are not those of .sops.yaml
/// (other-keys, other-rule).
///
/// Of SealedSecrets: whatever `validate` finds without keys, such as values in clear, also of a Secret beside them
/// (in-clear), and, with private keys at hand, values that were sealed for another name, namespace or scope
/// (other-scope), for a retired key (retired-key), or for none of the keys (unreadable).
///
/// With --stale, also files whose data key is older than that (stale): it was there in a commit that long ago, or was
/// wrapped then (created_at), or the file was last changed then (lastmodified). A data key may be older than that, where
/// these do not reach back. SealedSecrets have none, and are not concerned.
///
/// Files are opened with the keys at hand, if they fit; the rest is found out without. No key server is asked, so that
/// a look at files sends nothing anywhere, nobody is asked for a passphrase, and no plugin is run. The commands of
/// SOPS_AGE_KEY_CMD and its like are.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Files, globs or folders; this folder if there is none; - for stdin
    #[arg(value_name = "FILE")]
    files: Vec<String>,

    /// Print JSON
    #[arg(long)]
    json: bool,

    /// Fail if anything looks wrong
    #[arg(long)]
    strict: bool,

    /// Also look for data keys that are older than this, such as 90d, 12w, 6mo or 1y, and fail if there is one
    #[arg(long, value_name = "SPAN")]
    stale: Option<Span>,

    /// Do not open files, nor look for keys
    #[arg(long)]
    without_keys: bool,

    #[command(flatten)]
    input: InputFlags,

    #[command(flatten)]
    opening: OpeningFlags,
}

const EXAMPLES: &str = "\
Examples:
  kubectl seal status .                               all files of the folder
  kubectl seal status --strict --without-keys .       for CI
  kubectl seal status --stale 90d .                   also whose data key is older than 90 days
  kubectl seal status --json . | jq '.[].findings'";

/// What there is to say about a file.
struct Status {
    target: String,
    format: Format,
    metadata: Option<Metadata>,
    /// Whether there are SealedSecrets in the file.
    is_sealed: bool,
    /// Those that can be read.
    sealed: Vec<SealedReport>,
    encrypted: usize,
    clear: usize,
    /// Whether the keys at hand open the file; `None` if that was not tried, or only asking would tell.
    readable: Option<bool>,
    /// How old its data key is, if that was asked.
    age: Option<DataKeyAge>,
    findings: Vec<Finding>,
}

/// Something that looks wrong.
struct Finding {
    kind: &'static str,
    line: Option<usize>,
    path: Option<String>,
    message: String,
}

/// Looks at every file.
///
/// # Errors
/// If the arguments name nothing, or stdout cannot be written.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit, Failure> {
    let files = if args.files.is_empty() { vec![".".to_owned()] } else { args.files.clone() };
    let targets = targets::expand(&files, context.session)?;
    let opener = args.opening.opener(context);
    let staleness = args.stale.map(|span| Staleness::read(context, span, &files)).transpose()?;
    let statuses =
        batch::map(context, &targets, |target| look_at(args, &opener, staleness.as_ref(), context, target));
    let (mut exits, mut all, mut looked) = (Vec::new(), Vec::new(), false);
    for (target, status) in targets.iter().zip(statuses) {
        match status {
            Ok(None) => {}
            Ok(Some(status)) => {
                looked = true;
                let is_stale = status.age.is_some_and(|age| age.is_stale);
                if is_stale || args.strict && !status.findings.is_empty() {
                    exits.push(Exit::Failure);
                }
                if args.json {
                    all.push(status.to_json());
                } else {
                    let text = status.to_text(context);
                    context.session.stdout.write(text.as_bytes()).map_err(Failure::io("write", "stdout"))?;
                }
            }
            Err(failure) => {
                looked = true;
                context.report.failure(Some(&target.to_string()), &failure);
                exits.push(failure.exit());
            }
        }
    }
    if args.json {
        commands::print_json(context, &all.into())?;
    } else if !looked {
        context.report.note("there are no encrypted files, and none that a rule covers");
    }
    Ok(batch::exit_of(&exits))
}

/// Returns what there is to say about a file; nothing if it is no concern of ours.
fn look_at(
    args: &Args,
    opener: &Opener<'_>,
    staleness: Option<&Staleness>,
    context: &Context<'_>,
    target: &Target,
) -> Result<Option<Status>, Failure> {
    let mut document = args.input.load(context, target)?;
    let may_have_sealed = sealed_files::may_have_some(&document, target);
    if may_have_sealed && !target.is_named() && !document.looks_encrypted() {
        sealed_files::settle_format(&mut document, &args.input);
    }
    // A file without a rule has no settings to compare with.
    let settings = SettingsFlags::default().resolve_if_any(context, document.path.as_deref())?;
    let is_ours = may_have_sealed || document.may_hold_secrets();
    if !target.is_named() && !is_ours && !is_covered(&document, settings.as_ref()) {
        return Ok(None);
    }
    let Ok(tree) = sealed_files::tree_of(&document, target)? else { return Ok(None) };
    document.refuse_unnamed(&tree)?;
    if !document::is_encrypted(&tree) {
        // Also of those that are too broken to be of the scheme.
        let (count, flaws) = flaws(&tree, None, None);
        if count > 0 {
            return Status::of_sealed(args, opener, target, document.format, tree, flaws).map(Some);
        }
        let status = status_in_clear(target, &document, &tree, settings.as_ref());
        let concerns = target.is_named() || !status.findings.is_empty();
        return Ok(concerns.then_some(status));
    }
    let metadata = Metadata::from_entry(tree.metadata())?;
    let mut status = Status::new(target, document.format);
    let places = leaves(document.format, &tree, &metadata.selector);
    status.encrypted = places.iter().filter(|leaf| leaf.state == LeafState::Encrypted).count();
    status.clear = places.iter().filter(|leaf| leaf.state == LeafState::Clear).count();
    let mut found = inspect(document.format, &tree, &metadata);
    if let Some(path) = document.path.as_deref().filter(|_| *target != Target::Stdin) {
        found.extend(changed_since_commit(document.format, path, &tree, &metadata)?);
    }
    status.add_doubts(&found);
    if let Some(settings) = &settings {
        status.compare(settings, &metadata);
    }
    if let Some(staleness) = staleness {
        status.add_age(staleness.age(document.source.expose_secret(), &metadata));
    }
    if !args.without_keys {
        status.open(context, document.path.as_deref(), document.format, &document.source)?;
    }
    status.metadata = Some(metadata);
    Ok(Some(status))
}

fn is_covered(document: &Document, settings: Option<&Settings>) -> bool {
    settings.is_some_and(|settings| settings.is_for_path || document.format != Format::Binary)
}

fn status_in_clear(target: &Target, document: &Document, tree: &Tree, settings: Option<&Settings>) -> Status {
    let mut status = Status::new(target, document.format);
    let selector = settings.map(|settings| settings.metadata().selector).unwrap_or_default();
    let places = leaves(document.format, tree, &selector);
    status.clear = places.iter().filter(|leaf| leaf.state != LeafState::Empty).count();
    let exposed = places.iter().filter(|leaf| leaf.selected && leaf.state == LeafState::Clear).count();
    // `encrypt` passes over such files, too.
    let is_meant = Manifest::of(document.format, tree, &selector) != Manifest::NoSecret;
    if let (Some(settings), true) = (settings, exposed > 0 && is_meant && is_covered(document, settings)) {
        let are = if exposed == 1 { "is" } else { "are" };
        let message = format!("{} {are} in clear that {} selects", count(exposed, "value"), settings.source);
        status.findings.push(Finding { kind: "not-encrypted", line: None, path: None, message });
    }
    status
}

/// Compares an encrypted document with its last committed version.
fn changed_since_commit(
    format: Format,
    path: &Path,
    tree: &Tree,
    metadata: &Metadata,
) -> Result<Option<Doubt>, Failure> {
    let Some(committed) = git::committed(path)? else { return Ok(None) };
    // A version that cannot be read, or was not encrypted, has nothing to compare with.
    let Ok(old_tree) = format.read(committed) else { return Ok(None) };
    let Ok(old) = Metadata::from_entry(old_tree.metadata()) else { return Ok(None) };
    Ok(changed_without_key((&old_tree, &old), (tree, metadata)))
}

impl Status {
    fn new(target: &Target, format: Format) -> Self {
        Self {
            target: target.name(),
            format,
            metadata: None,
            is_sealed: false,
            sealed: Vec::new(),
            encrypted: 0,
            clear: 0,
            readable: None,
            age: None,
            findings: Vec::new(),
        }
    }

    /// Returns what there is to say about a file with SealedSecrets.
    fn of_sealed(
        args: &Args,
        opener: &Opener<'_>,
        target: &Target,
        format: Format,
        tree: Tree,
        flaws: Vec<Flaw>,
    ) -> Result<Self, Failure> {
        let mut status = Self::new(target, format);
        status.is_sealed = true;
        let none = KeyRegistry::new();
        let keys = if args.without_keys { &none } else { opener.registry()? };
        status.sealed = match sealed_report::look_at(format, tree, keys, &Candidates::default()) {
            // What cannot be read was found already.
            Err(_) if !flaws.is_empty() => Vec::new(),
            reports => reports?,
        };
        let items = || status.sealed.iter().flat_map(|report| &report.items);
        status.encrypted = items().count();
        let opens = |item: &ItemReport| matches!(item.outcome, Some(Outcome::Opens(_)));
        status.readable = (!keys.keys().is_empty()).then(|| items().all(opens));
        let mut findings: Vec<_> = flaws
            .into_iter()
            .map(|flaw| Finding {
                kind: flaw.kind.name(),
                line: Some(flaw.line),
                path: Some(flaw.name).filter(|name| !name.is_empty()),
                message: flaw.kind.to_string(),
            })
            .collect();
        for report in &status.sealed {
            for item in report.items.iter().filter(|item| item.bits.is_some()) {
                if let Some((kind, message)) = item.problem() {
                    let path = Some(format!("{} {}", report.title(), item.key));
                    findings.push(Finding { kind, line: Some(item.line), path, message });
                }
            }
        }
        findings.sort_by_key(|finding| finding.line);
        status.findings = findings;
        Ok(status)
    }

    fn add_doubts(&mut self, found: &[Doubt]) {
        self.findings.extend(found.iter().map(|doubt| Finding {
            kind: doubt.kind.name(),
            line: Some(doubt.line),
            path: Some(dotted::show(&doubt.path)),
            message: doubts::describe(doubt.kind).to_owned(),
        }));
    }

    fn compare(&mut self, settings: &Settings, metadata: &Metadata) {
        let mut differ = |kind, message: String| {
            self.findings.push(Finding { kind, line: None, path: None, message });
        };
        if !settings.has_keys_of(metadata) {
            differ(
                "other-keys",
                format!("the keys are not those of {}: see `kubectl seal updatekeys`", settings.source),
            );
        }
        if self.format != Format::Binary && !settings.selects_as(metadata) {
            differ(
                "other-rule",
                format!(
                    "values are not chosen as {} says: see `kubectl seal updatekeys --rule`",
                    settings.source
                ),
            );
        }
    }

    fn add_age(&mut self, age: Option<DataKeyAge>) {
        self.age = age;
        if let Some(age) = age.filter(|age| age.is_stale) {
            let message = format!("the data key has been in use {age}: see `kubectl seal rotate --stale`");
            self.findings.push(Finding { kind: "stale", line: None, path: None, message });
        }
    }

    /// Opens the file, if the keys at hand fit. No server and no person is asked, so that a look at many
    /// files costs nothing.
    fn open(
        &mut self,
        context: &Context<'_>,
        file: Option<&Path>,
        format: Format,
        source: &SecretBytes,
    ) -> Result<(), Failure> {
        let tree = format.read(SecretBytes::from(source.expose_secret()))?;
        match sealing::unlock_at_hand(context, file, format, tree) {
            Ok(Some(unlocked)) => {
                self.readable = Some(true);
                self.add_doubts(&inspect_opened(&unlocked.opened));
            }
            Ok(None) => {}
            Err(Failure::Recover(_)) => self.readable = Some(false),
            Err(Failure::Open(error)) => {
                let message = error.to_string();
                self.findings.push(Finding { kind: "broken", line: None, path: None, message });
            }
            Err(failure) => return Err(failure),
        }
        Ok(())
    }
}
