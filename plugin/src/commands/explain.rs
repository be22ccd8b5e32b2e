//! `kubectl seal explain`.

use std::path::Path;

use selkie::format::Format;
use selkie::sops::{LeafPlace, LeafState, Metadata, Selector, leaves};
use serde_json::{Value as Json, json};

use crate::context::Context;
use crate::document::{self, InputFlags};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::report::{BAD, GOOD, STRONG};
use crate::settings::{Settings, SettingsFlags};
use crate::targets::{self, Target};
use crate::{batch, commands, dotted};

/// Say which configuration and rule apply to a file, which keys, and what would be encrypted
///
/// No key is needed, and nothing is written. A file that does not exist yet is explained as far as its
/// name goes.
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
}

const EXAMPLES: &str = "\
Examples:
  kubectl seal explain apps/db.yaml
  kubectl seal explain --encrypted-regex '^data$' apps/db.yaml    with another rule
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
    leaves: Option<Vec<LeafPlace>>,
}

/// Explains every file.
///
/// # Errors
/// If the arguments name nothing.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit, Failure> {
    let targets = targets::expand(&args.files, context.session)?;
    let mut all = Vec::new();
    let exit = batch::one_by_one(context, &targets, |target| {
        let explanation = explain(args, context, target)?;
        if args.json {
            all.push(explanation.to_json());
        } else {
            let text = explanation.to_text(context);
            context.session.stdout.write(text.as_bytes()).map_err(Failure::io("write", "stdout"))?;
        }
        Ok(true)
    });
    if args.json {
        commands::print_json(context, &all.into())?;
    }
    Ok(exit)
}

fn explain(args: &Args, context: &Context<'_>, target: &Target) -> Result<Explanation, Failure> {
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
        target: target.to_string(),
        format: args.input.format(path.as_deref()),
        settings,
        path_regex: rule.and_then(|rule| rule.path_regex.clone()),
        passed_over: passed_over.map(|path| path.display().to_string()),
        metadata: None,
        leaves: None,
    };
    if *target == Target::Stdin || path.as_deref().is_some_and(Path::exists) {
        explanation.read(args, context, target)?;
    }
    Ok(explanation)
}

impl Explanation {
    fn read(&mut self, args: &Args, context: &Context<'_>, target: &Target) -> Result<(), Failure> {
        let tree = args.input.load(context, target)?.tree()?;
        if document::is_encrypted(&tree) {
            self.metadata = Some(Metadata::from_entry(tree.metadata())?);
        }
        self.leaves = self.selector().map(|selector| leaves(self.format, &tree, &selector));
        Ok(())
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
        let mut lines = vec![context.report.paint_data(STRONG, &self.target)];
        let mut field = |name: &str, text: &str| lines.push(format!("  {name:<10} {text}"));
        field("format", self.format.store().name());
        field("encrypted", if self.metadata.is_some() { "yes" } else { "no" });
        match &self.settings {
            Ok(settings) => field("keys from", &self.source_of(settings)),
            Err(failure) => field("no keys", &failure.to_string()),
        }
        if let Some(passed_over) = &self.passed_over {
            field(
                "note",
                &format!("{passed_over} is nearer, but sops takes the one above the working directory"),
            );
        }
        for (index, group) in self.groups().iter().enumerate() {
            for (position, key) in group.0.iter().enumerate() {
                let name = if index == 0 && position == 0 { "keys" } else { "" };
                let place =
                    if self.groups().len() > 1 { format!("group {}: ", index + 1) } else { String::new() };
                field(name, &format!("{place}{} {key}", key.kind().name));
            }
        }
        if let (Some(metadata), Ok(settings)) = (&self.metadata, &self.settings) {
            if !settings.has_keys_of(metadata) {
                field("note", "the file has other keys than its rule; see `kubectl seal updatekeys`");
            }
            if !settings.selects_as(metadata) {
                field(
                    "note",
                    "the file has another choice of values than its rule; see `kubectl seal rotate --rule`",
                );
            }
        }
        if let Some(selector) = self.selector() {
            field("selects by", &format!("{} {:?}", selector.field(), selector.text()));
        }
        for leaf in self.leaves.iter().flatten() {
            lines.push(leaf_line(context, leaf, self.metadata.is_some()));
        }
        lines.join("\n") + "\n"
    }

    fn to_json(&self) -> Json {
        let leaf = |leaf: &LeafPlace| {
            json!({
                "document": leaf.document,
                "path": dotted::show(&leaf.path),
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
            "selector": self.selector().map(|selector| commands::selector_json(&selector)),
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

fn leaf_line(context: &Context<'_>, leaf: &LeafPlace, is_encrypted: bool) -> String {
    let document =
        if leaf.document > 0 { format!("document {}: ", leaf.document + 1) } else { String::new() };
    let path = dotted::show(&leaf.path);
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
