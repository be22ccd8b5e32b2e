//! `kubectl seal explain`.

mod sealed;

use std::cell::OnceCell;
use std::path::Path;

use selkie::format::Format;
use selkie::manifest::Manifest;
use selkie::scheme::{KeySource, Scheme, scheme_of};
use selkie::sealed::{Candidates, SealedFile, SealedSecrets};
use selkie::sops::{Forecast, LeafPlace, LeafState, Metadata, Places, Selector, leaves};
use selkie::tree::Tree;
use serde_json::{Value as Json, json};

use crate::context::Context;
use crate::document::{self, Document, InputFlags};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::opening::OpeningFlags;
use crate::report::{BAD, GOOD, STRONG, escape};
use crate::settings::{Settings, SettingsFlags};
use crate::targets::{self, Target};
use crate::{batch, commands, dotted, git, sealed_report};

/// Say which configuration and rule apply to a file, which keys, and what would be encrypted
///
/// Of SealedSecrets, say for which key, scope, name and namespace each value was sealed, as far as the keys at hand
/// tell: a value that cannot be unsealed is tried under other scopes, and under the names and namespaces of all
/// files that are named, as they are and as they were committed, and of --try-name and --try-namespace.
///
/// Of SOPS documents: no key is needed, and nothing is written. A file that does not exist yet is explained as far as its
/// name goes. Says also why `encrypt` would refuse a file, or pass over it in a folder: a Kubernetes manifest
/// without a Secret, if the rule selects data or stringData. Fails if the rule of a file cannot be used, and
/// as `encrypt` would for a file that is named.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Files, globs or folders; - or nothing for stdin
    #[arg(value_name = "FILE")]
    files: Vec<String>,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    input: InputFlags,

    #[command(flatten)]
    settings: SettingsFlags,

    /// Try whether values of SealedSecrets were sealed for this name
    #[arg(long, value_name = "NAME")]
    try_name: Vec<String>,

    /// Try whether values of SealedSecrets were sealed for this namespace
    #[arg(long, value_name = "NAMESPACE")]
    try_namespace: Vec<String>,

    #[command(flatten)]
    opening: OpeningFlags,
}

const EXAMPLES: &str = "\
Examples:
  kubectl seal explain apps/db.yaml
  kubectl seal explain --encrypted-regex '^data$' apps/db.yaml    with another rule
  kubectl seal explain --sealing-key backup.yaml sealed.yaml      why a SealedSecret cannot be unsealed
  kubectl seal explain --json apps/ | jq -r '.[] | select(.encrypted | not) | .file'";

/// What there is to say about a file.
struct Explanation {
    target: String,
    format: Format,
    /// What a new file of that name is encrypted with, or why it cannot be.
    settings: Result<Settings, Failure>,
    path_regex: Option<String>,
    passed_over: Option<String>,
    /// The metadata of a file that is encrypted.
    metadata: Option<Metadata>,
    leaves: Option<Vec<Leaf>>,
    /// What encrypting a file would do that is not encrypted.
    forecast: Option<Forecast>,
    manifest: Manifest,
}

/// Explains every file.
///
/// # Errors
/// If the arguments name nothing.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit, Failure> {
    let targets = targets::expand(&args.files, context.session)?;
    let mut all = Vec::new();
    let opener = args.opening.opener(context);
    let candidates = OnceCell::new();
    let exit = batch::one_by_one(context, &targets, |target| {
        let document = args.load(context, target)?;
        if let Some((format, tree)) = document.as_ref().map_or(Ok(None), |it| sealed_file(it, target))? {
            let candidates = candidates.get_or_init(|| args.candidates(context, &targets));
            let reports = sealed_report::look_at(format, tree, opener.registry()?, candidates)?;
            if args.json {
                all.push(sealed::to_json(&target.name(), format.store().name(), &reports));
                return Ok(true);
            }
            let text = sealed::to_text(context, &target.name(), &reports);
            return context
                .session
                .stdout
                .write(text.as_bytes())
                .map_err(Failure::io("write", "stdout"))
                .map(|()| true);
        }
        let Some(explanation) = explain(args, context, target, document.as_ref())? else { return Ok(false) };
        if args.json {
            all.push(explanation.to_json());
        } else {
            let text = explanation.to_text(context);
            context.session.stdout.write(text.as_bytes()).map_err(Failure::io("write", "stdout"))?;
        }
        explanation.into_fault(target.is_named()).map_or(Ok(true), Err)
    });
    if args.json {
        commands::print_json(context, &all.into())?;
    }
    Ok(exit)
}

/// Returns a file with SealedSecrets; nothing if it is another one.
fn sealed_file(document: &Document, target: &Target) -> Result<Option<(Format, Tree)>, Failure> {
    if !SealedSecrets.may_be_in(document.source.expose_secret()) {
        return Ok(None);
    }
    let Ok(tree) = document.tree_of(target)? else { return Ok(None) };
    let is_sealed = scheme_of(&tree).is_some_and(|scheme| scheme.key_source() == KeySource::SealingKeys);
    Ok(is_sealed.then_some((document.format, tree)))
}

impl Args {
    /// Reads a target; nothing if there is no such file yet.
    fn load(&self, context: &Context<'_>, target: &Target) -> Result<Option<Document>, Failure> {
        let path = self.input.path(context, target);
        let is_there = *target == Target::Stdin || path.as_deref().is_some_and(Path::exists);
        if is_there { self.input.load(context, target).map(Some) } else { Ok(None) }
    }

    /// Returns the names and namespaces that values may have been sealed for: those of all files that are named,
    /// as they are and as they were committed.
    fn candidates(&self, context: &Context<'_>, targets: &[Target]) -> Candidates {
        let mut candidates = Candidates {
            names: self.try_name.iter().cloned().collect(),
            namespaces: self.try_namespace.iter().cloned().collect(),
        };
        for target in targets.iter().filter(|target| **target != Target::Stdin) {
            // A file that cannot be read says so when it is its turn.
            let Ok(Some(document)) = self.load(context, target) else { continue };
            let Ok(Some((format, tree))) = sealed_file(&document, target) else { continue };
            let before = document.path.as_deref().and_then(|path| git::committed(path).ok().flatten());
            let before = before.and_then(|text| format.read(text).ok());
            for tree in [Some(tree), before].into_iter().flatten() {
                if let Ok(file) = SealedFile::new(format, tree) {
                    sealed_report::add_candidates(&file, &mut candidates);
                }
            }
        }
        candidates
    }
}

/// Returns what there is to say about a file; nothing if it was found and holds no document.
fn explain(
    args: &Args,
    context: &Context<'_>,
    target: &Target,
    document: Option<&Document>,
) -> Result<Option<Explanation>, Failure> {
    let path = args.input.path(context, target);
    let settings = args.settings.resolve(context, path.as_deref());
    let config = context.config_for(path.as_deref())?;
    let rule = match (&config, &path) {
        (Some(config), Some(path)) => config.rule_for(path).ok().flatten(),
        _ => None,
    };
    let passed_over = match (&config, &path) {
        (Some(config), Some(path)) => context.config_passed_over(path, &config.path),
        _ => None,
    };
    let mut explanation = Explanation {
        target: target.name(),
        format: args.input.format(path.as_deref()),
        settings,
        path_regex: rule.and_then(|rule| rule.path_regex.clone()),
        passed_over: passed_over.map(|path| path.display().to_string()),
        metadata: None,
        leaves: None,
        forecast: None,
        manifest: Manifest::Other,
    };
    if let Some(document) = document {
        match document.tree_of(target)? {
            Ok(tree) => {
                document.refuse_unnamed(&tree)?;
                explanation.take(&tree)?;
            }
            Err(_) => return Ok(None),
        }
    }
    Ok(Some(explanation))
}

/// A value, and what becomes of it.
struct Leaf {
    document: usize,
    path: String,
    selected: bool,
    state: LeafState,
}

impl Explanation {
    fn take(&mut self, tree: &Tree) -> Result<(), Failure> {
        if document::is_encrypted(tree) {
            self.metadata = Some(Metadata::from_entry(tree.metadata())?);
        }
        let Some(selector) = self.selector() else { return Ok(()) };
        let mut places = Places::new(tree);
        let leaf = |leaf: LeafPlace| {
            let (document, path) = places.advance(leaf.id);
            Leaf { document, path: dotted::show(&path), selected: leaf.selected, state: leaf.state }
        };
        self.leaves = Some(leaves(self.format, tree, &selector).into_iter().map(leaf).collect());
        if self.metadata.is_none() {
            self.forecast = Some(Forecast::of(self.format, tree, &selector));
            self.manifest = Manifest::of(self.format, tree, &selector);
        }
        Ok(())
    }

    /// Returns why what a new file would be encrypted with cannot be used, or why a file that is named could
    /// not be encrypted. That there is no rule for a file is no fault.
    fn into_fault(self, is_named: bool) -> Option<Failure> {
        let refusal = self.forecast.and_then(|forecast| forecast.refusal).filter(|_| is_named);
        match self.settings {
            Ok(settings) => {
                let of_groups = settings.metadata().check_groups().err().map(Failure::from);
                of_groups.or(refusal.map(Failure::from))
            }
            Err(Failure::NoConfig | Failure::NoRule { .. } | Failure::NoRules(_)) => None,
            Err(failure) => Some(failure),
        }
    }

    /// Returns why `encrypt` would not encrypt the file.
    fn refusal(&self) -> Option<String> {
        let refusal = self.forecast.as_ref().and_then(|forecast| forecast.refusal.as_ref());
        let of_groups = self.settings.as_ref().ok().and_then(|it| it.metadata().check_groups().err());
        let is_new = self.metadata.is_none();
        of_groups.filter(|_| is_new).map(|error| error.to_string()).or(refusal.map(ToString::to_string))
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(passed_over) = &self.passed_over {
            notes
                .push(format!("{passed_over} is nearer, but sops takes the one above the working directory"));
        }
        if let (Some(metadata), Ok(settings)) = (&self.metadata, &self.settings) {
            if !settings.has_keys_of(metadata) {
                notes.push("the file has other keys than its rule; see `kubectl seal updatekeys`".to_owned());
            }
            if !settings.selects_as(metadata) {
                notes.push(
                    "the file has another choice of values than its rule; see `kubectl seal updatekeys --rule`"
                        .to_owned(),
                );
            }
        }
        match &self.manifest {
            Manifest::NoSecret => {
                notes
                    .push("there is no Secret in it: `encrypt` passes over it unless it is named".to_owned());
            }
            Manifest::Secrets { others } if !others.is_empty() => {
                let kinds: Vec<_> = others.iter().map(String::as_str).collect();
                notes.push(format!("the rule also selects values of {}", kinds.join(", ")));
            }
            _ => {}
        }
        notes.extend(self.refusal().map(|refusal| format!("`encrypt` would refuse: {refusal}")));
        notes
    }

    /// Returns how many groups are needed, where there are several.
    fn threshold(&self) -> Option<usize> {
        let new = || Some(self.settings.as_ref().ok()?.metadata().required_groups());
        let threshold = self.metadata.as_ref().map(Metadata::required_groups).or_else(new);
        threshold.filter(|_| self.groups().len() > 1)
    }

    /// Returns the rule that chooses values: that of the file, if it is encrypted.
    fn selector(&self) -> Option<Selector> {
        match (&self.metadata, &self.settings) {
            (Some(metadata), _) => Some(metadata.selector.clone()),
            (None, Ok(settings)) => Some(settings.metadata().selector),
            (None, Err(_)) => None,
        }
    }

    fn to_text(&self, context: &Context<'_>) -> String {
        let mut lines = vec![context.report.paint_data(STRONG, escape(&self.target))];
        let mut field = |name: &str, text: &str| lines.push(format!("  {name:<10} {}", escape(text)));
        field("format", self.format.store().name());
        field("encrypted", if self.metadata.is_some() { "yes" } else { "no" });
        match &self.settings {
            Ok(settings) => field("keys from", &self.source_of(settings)),
            Err(failure) if self.metadata.is_some() => {
                field("keys from", &format!("the file itself; for a new one: {failure}"));
            }
            Err(failure) => field("no keys", &failure.to_string()),
        }
        let groups = self.groups();
        for (index, group) in groups.iter().enumerate() {
            let place = if groups.len() > 1 { format!("group {}: ", index + 1) } else { String::new() };
            let name = |position| if index == 0 && position == 0 { "keys" } else { "" };
            for (position, key) in group.0.iter().enumerate() {
                field(name(position), &format!("{place}{} {key}", key.kind().name));
            }
            if group.0.is_empty() {
                field(name(0), &format!("{place}none"));
            }
        }
        if let Some(threshold) = self.threshold() {
            field("needed", &format!("keys of {threshold} of {} groups", groups.len()));
        }
        for note in self.notes() {
            field("note", &note);
        }
        if let Some(selector) = self.selector() {
            field("selects by", &format!("{} {:?}", selector.field(), selector.text()));
        }
        for leaf in self.leaves.iter().flatten() {
            lines.push(leaf_line(context, leaf, self.metadata.is_some()));
        }
        for line in self.forecast.iter().flat_map(|forecast| &forecast.comments) {
            let word = context.report.paint_data(GOOD, "encrypted");
            lines.push(format!("  {word:<10} the comment on line {line}"));
        }
        lines.join("\n") + "\n"
    }

    fn to_json(&self) -> Json {
        let leaf = |leaf: &Leaf| {
            json!({
                "document": leaf.document,
                "path": leaf.path,
                "selected": leaf.selected,
                "state": state_name(leaf.state),
            })
        };
        let (source, error) = match &self.settings {
            Ok(settings) => (Some(settings.source.to_string()), None),
            Err(failure) => (None, Some(failure.to_string())),
        };
        json!({
            "file": self.target,
            "format": self.format.store().name(),
            "encrypted": self.metadata.is_some(),
            "source": source,
            "error": error,
            "pathRegex": self.path_regex,
            "groups": commands::groups_json(self.groups()),
            "threshold": self.threshold(),
            "notes": self.notes(),
            "selector": self.selector().map(|selector| commands::selector_json(&selector)),
            "comments": self.forecast.as_ref().map(|forecast| &forecast.comments),
            "values": self.leaves.as_ref().map(|leaves| leaves.iter().map(leaf).collect::<Json>()),
        })
    }

    fn groups(&self) -> &[selkie::keys::KeyGroup] {
        match (&self.metadata, &self.settings) {
            (Some(metadata), _) => &metadata.groups,
            (None, Ok(settings)) => &settings.groups,
            (None, Err(_)) => &[],
        }
    }

    fn source_of(&self, settings: &Settings) -> String {
        let pattern = self.path_regex.as_ref().map(|pattern| format!(", path_regex {pattern:?}"));
        format!("{}{}", settings.source, pattern.unwrap_or_default())
    }
}

fn leaf_line(context: &Context<'_>, leaf: &Leaf, is_encrypted: bool) -> String {
    let document =
        if leaf.document > 0 { format!("document {}: ", leaf.document + 1) } else { String::new() };
    let path = escape(&leaf.path);
    let (style, word) = match (leaf.selected, leaf.state) {
        (true, LeafState::Empty) => (STRONG, "empty"),
        (true, LeafState::Clear) if is_encrypted => (BAD, "in clear, though selected"),
        (true, _) => (GOOD, "encrypted"),
        (false, LeafState::Encrypted) => (BAD, "encrypted, though not selected"),
        (false, _) => (anstyle::Style::new(), "clear"),
    };
    format!("  {:<10} {document}{path}", context.report.paint_data(style, word))
}

const fn state_name(state: LeafState) -> &'static str {
    match state {
        LeafState::Clear => "clear",
        LeafState::Empty => "empty",
        LeafState::Encrypted => "encrypted",
    }
}
