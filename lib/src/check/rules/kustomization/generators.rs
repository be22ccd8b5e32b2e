//! Generators of Secrets, and what they are made of.

use std::collections::HashMap;

use zeroize::Zeroizing;

use super::super::environment_file::is_encrypted;
use super::super::environment_file::lines::assignments;
use super::super::literal::places::KUSTOMIZATIONS;
use super::super::unverified;
use super::{Clear, folder_of, is_clear, is_kustomization, resolve};
use crate::check::config::Config;
use crate::check::{
    Content, Context, Entry, File, Finding, Findings, Mode, Object, Severity, decode, is_secret_name, objects,
};
use crate::secret::SecretBytes;

/// Tells what generators of Secrets have in clear.
pub(super) fn check(file: &File<'_>, context: &Context<'_>, found: &mut Findings) {
    if !file.text().contains("ecretGenerator") {
        return;
    }
    let is_named = is_kustomization(file.name());
    let mut look = Look { file, context, known: HashMap::new(), found };
    for root in file.outline().roots().filter(|root| is_named && root.get("kind").is_none()) {
        look.generators(root, None);
    }
    for object in objects(file.outline()) {
        let is_flux = object.group() == "kustomize.toolkit.fluxcd.io";
        match object.kind() {
            "Component" | "Kustomization" if !is_flux => look.generators(object.entry, Some(object)),
            "SecretGenerator" => look.generator(object.entry, Some(object)),
            _ => {}
        }
    }
}

/// Tells a file that a generator reads which was not changed itself, and so is not looked at.
pub(super) fn check_source(file: &File<'_>, context: &Context<'_>, found: &mut Findings) {
    let Some(before) = context.before else { return };
    let mut folder = Some(folder_of(file.path()));
    for _ in 0..MAX_FOLDERS {
        let Some(at) = folder else { return };
        for name in KUSTOMIZATIONS {
            let path = if at.is_empty() { (*name).to_owned() } else { format!("{at}/{name}") };
            if !context.after.contains(&path) || !before.contains(&path) {
                continue;
            }
            // One that cannot be read is told where it is checked itself.
            let Ok(Some(new)) = context.after.read(&path) else { continue };
            let content = decode(&new);
            let kustomization = File::new(&path, &new, &content, Mode::File);
            let may_read =
                kustomization.text().contains("ecretGenerator") && kustomization.text().contains(file.name());
            if !may_read || before.read(&path).ok().flatten().as_ref() != Some(&new) {
                continue;
            }
            let Some(is_environment) = reads(&kustomization, file.path()) else { continue };
            // What is in an object is told by the rules for objects.
            let may_be_manifest = file.is_structured() && file.text().contains("kind");
            if may_be_manifest && objects(file.outline()).next().is_some() {
                return;
            }
            let source = judge(file.path(), file.bytes(), is_environment, context.config);
            if let Source::Clear(line) | Source::Doubtful(line) = source {
                let clear = Clear {
                    object: None,
                    span: file.line(line),
                    pointer: String::new(),
                    message: format!("{path} makes a Secret of this file, which is in clear"),
                    remedy: format!("kubectl seal encrypt -i {}", file.path()),
                    value: file.bytes(),
                    severity: source.severity(),
                };
                clear.tell(file, found);
            }
            return;
        }
        folder = at.rsplit_once('/').map(|(parent, _)| parent).or((!at.is_empty()).then_some(""));
    }
}

/// Returns whether a generator of a kustomization reads a file, and whether as an environment.
fn reads(kustomization: &File<'_>, path: &str) -> Option<bool> {
    let folder = folder_of(kustomization.path());
    let generators = kustomization.outline().roots().filter_map(|root| root.get("secretGenerator"));
    let mut generators = generators.flat_map(Entry::entries);
    generators.find_map(|generator| {
        let names =
            |key: &str| generator.get(key).into_iter().flat_map(Entry::entries).filter_map(Entry::text);
        let is_it = |name: &str| resolve(folder, name.trim()).as_deref() == Some(path);
        let is_environment = names("envs").chain(generator.text_at(&["env"])).any(is_it);
        let is_file =
            || names("files").any(|name| is_it(name.split_once('=').map_or(name, |(_, path)| path)));
        if is_environment { Some(true) } else { is_file().then_some(false) }
    })
}

struct Look<'f, 'a, 'c> {
    file: &'f File<'a>,
    context: &'c Context<'c>,
    /// The files that were looked at, and what was found of each.
    known: HashMap<String, Source>,
    found: &'c mut Findings,
}

/// What a file is that a generator reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// It holds values in clear, the first of them at this line.
    Clear(usize),
    /// It holds texts that need not be secret, the first of them at this line.
    Doubtful(usize),
    /// It is missing, encrypted, or holds nothing that is a secret.
    Harmless,
    /// It cannot be read.
    Unread,
}

impl Source {
    const fn severity(self) -> Severity {
        if matches!(self, Self::Doubtful(_)) { Severity::Warning } else { Severity::Error }
    }
}

impl Look<'_, '_, '_> {
    fn generators(&mut self, entry: Entry<'_>, object: Option<Object<'_>>) {
        let Some(generators) = entry.get("secretGenerator") else { return };
        for generator in generators.entries().filter(|_| generators.is_list()) {
            self.generator(generator, object);
        }
    }

    fn generator(&mut self, generator: Entry<'_>, object: Option<Object<'_>>) {
        if let Some(literals) = generator.get("literals") {
            for literal in literals.entries() {
                self.literal(literal, object);
            }
        }
        if let Some(env) = generator.get("env") {
            self.source(env, object, true);
        }
        for (key, is_environment) in [("envs", true), ("files", false)] {
            for entry in generator.get(key).into_iter().flat_map(Entry::entries) {
                self.source(entry, object, is_environment);
            }
        }
    }

    fn literal(&mut self, literal: Entry<'_>, object: Option<Object<'_>>) {
        let Some((name, value)) = literal.text().and_then(|text| text.split_once('=')) else { return };
        let value = value.trim_matches(['"', '\'']);
        if literal.has_action() || !is_clear(value, false, self.context.config) {
            return;
        }
        let clear = Clear {
            object,
            span: literal.span(),
            pointer: literal.pointer(object.map(|object| object.entry)),
            message: format!("a generator makes a Secret of the literal `{}`, which is in clear", shown(name)),
            remedy: "commit the Secret encrypted or sealed instead, or read the value from a file that SOPS encrypted"
                .to_owned(),
            value: value.as_bytes(),
            severity: Severity::Error,
        };
        clear.tell(self.file, self.found);
    }

    fn source(&mut self, entry: Entry<'_>, object: Option<Object<'_>>, is_environment: bool) {
        let Some(text) = entry.text() else { return };
        let path = if is_environment { text } else { text.split_once('=').map_or(text, |(_, path)| path) };
        let Some(path) = resolve(folder_of(self.file.path()), path.trim()) else { return };
        let (mut value, mut reason) = (SecretBytes::new(), String::new());
        let known = self.known.get(&path).copied();
        let source = known.unwrap_or_else(|| {
            if !self.context.after.contains(&path) {
                return Source::Harmless;
            }
            match self.context.after.read(&path) {
                Ok(None) => Source::Harmless,
                Ok(Some(bytes)) => {
                    let bytes = Zeroizing::new(bytes);
                    value = SecretBytes::from(bytes.as_slice());
                    judge(&path, &bytes, is_environment, self.context.config)
                }
                Err(error) => {
                    reason = error;
                    Source::Unread
                }
            }
        });
        self.known.insert(path.clone(), source);
        let pointer = entry.pointer(object.map(|object| object.entry));
        match source {
            Source::Clear(line) | Source::Doubtful(line) => {
                let clear = Clear {
                    object,
                    span: entry.span(),
                    pointer,
                    message: format!("a generator makes a Secret of {path}, which is in clear (line {line})"),
                    remedy: format!("kubectl seal encrypt -i {path}"),
                    value: value.expose_secret(),
                    severity: source.severity(),
                };
                clear.tell(self.file, self.found);
            }
            Source::Harmless => {}
            Source::Unread => {
                let message =
                    format!("{path}, of which a generator makes a Secret, cannot be read: {reason}");
                let finding = Finding::new(&unverified::RULE, self.file, entry.span(), message);
                let label = object.map(Object::label).unwrap_or_default();
                self.found
                    .add(finding.at(label, pointer).remedy("see that the file can be read, and check again"));
            }
        }
    }
}

/// Returns what a file is that a generator reads.
fn judge(path: &str, bytes: &[u8], is_environment: bool, config: &Config) -> Source {
    let content = decode(bytes);
    let file = File::new(path, bytes, &content, Mode::File);
    let is_pointer = bytes.starts_with(b"version https://git-lfs.github.com/");
    if is_pointer || is_encrypted(&file) {
        return Source::Harmless;
    }
    if let Content::Binary(_) = content {
        return Source::Clear(1);
    }
    if !is_environment && !is_clear(file.text(), false, config) {
        return Source::Harmless;
    }
    let is_lines =
        is_environment || [".env", ".properties", ".ini"].iter().any(|end| file.name().ends_with(end));
    if is_lines {
        let mut lines = assignments(file.text()).peekable();
        let has_lines = lines.peek().is_some();
        let first = lines.find(|line| is_clear(line.value, false, config));
        if let Some(line) = first {
            return Source::Clear(file.position(line.span.start).line);
        }
        if is_environment || has_lines {
            return Source::Harmless;
        }
    }
    if file.is_structured() && file.outline().documents().iter().all(|document| document.error.is_none()) {
        let leaves = file.outline().roots().flat_map(Entry::walk).filter(|entry| !entry.is_number_or_bool());
        let leaves = leaves.filter(|entry| entry.text().is_some_and(|text| is_clear(text, false, config)));
        let leaves: Vec<_> = leaves.collect();
        let line = |leaf: &Entry<'_>| file.position(leaf.span().start).line;
        // Not all that is in a file of settings is secret.
        let secret = leaves.iter().find(|leaf| leaf.key().is_none_or(is_secret_name));
        return match (secret, leaves.first()) {
            (Some(leaf), _) => Source::Clear(line(leaf)),
            (None, Some(leaf)) => Source::Doubtful(line(leaf)),
            (None, None) => Source::Harmless,
        };
    }
    Source::Clear(1)
}

/// Returns a name as messages show it: what is no name may be a value.
fn shown(name: &str) -> &str {
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if is_name { name } else { "…" }
}

/// How many folders, from that of a file up, a kustomization is looked for in.
const MAX_FOLDERS: usize = 3;
