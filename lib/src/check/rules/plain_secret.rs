//! K8S001: a Secret is in clear.
//!
//! Any map that calls itself a Secret is one, wherever it is: a document, an item of a list, a part of a template, a
//! text in another object. What SOPS encrypted is judged by the rules for SOPS.

mod action;
pub(super) mod layer;
mod lines;
pub(super) mod remedy;
pub(super) mod value;

use std::ops::Range;

use crate::check::{
    Check, Context, Entry, File, Finding, Findings, Fix, Needles, Object, Rule, Severity, is_secret_name,
    template,
};

use layer::{Layer, each_layer};
use remedy::remedy;
use value::{Clear, Section, Written, clear_values, judge};

pub(super) static RULE: Rule = Rule {
    id: "K8S001",
    severity: Severity::Error,
    title: "a Secret is in clear",
    explanation: "Whoever can read the repository can read the Secret, now and in its history for ever. Base64 is no \
                  encryption. How long or how random a value is does not matter: `data` and `stringData` of a Secret \
                  are there for what must not be known.\n\n\
                  Accepted are empty values, placeholders such as `${PASSWORD}`, `<path:secret/data/app#password>` or \
                  `REPLACE_ME`, what templates of Helm fill in, certificates and public keys, and Secrets that SOPS \
                  encrypted. A text that a template falls back to, as in `default \"…\"`, is a value like any \
                  other.\n\n\
                  Encrypt the file with `kubectl seal encrypt -i FILE` where `.sops.yaml` has a creation rule for \
                  it, or seal it with `kubectl seal FILE > SEALED`, and commit that. If the value was ever pushed, \
                  change it.",
    needles: Needles::SECRET,
    check: Check::File(check),
};

fn check(file: &File<'_>, context: &Context<'_>, found: &mut Findings) {
    let is_manifest = is_manifest(file);
    if !(is_manifest || is_script(file)) || !holds_word(file.text(), "Secret") {
        return;
    }
    let mut rule = Checking { file, context, found, remedy: None };
    if !is_manifest {
        return rule.script();
    }
    each_layer(file, &may_hold_object, &mut |layer| rule.layer(layer));
    rule.unread();
}

/// Returns whether a file may hold manifests: by its name, or by how it begins where its name says nothing.
pub(super) fn is_manifest(file: &File<'_>) -> bool {
    if file.is_structured() {
        return true;
    }
    let name = file.name().to_ascii_lowercase();
    if PROSE.iter().any(|end| name.ends_with(end)) {
        return false;
    }
    let says = |line: &&str| !line.trim().is_empty() && !line.starts_with(['#', '%']);
    let first = file.text().lines().take(MAX_HEAD).find(says).unwrap_or_default().trim_start();
    let keys = [
        "apiVersion",
        "kind",
        "\"apiVersion\"",
        "\"kind\"",
        "clusters",
        "contexts",
        "current-context",
        "users",
    ];
    let first = first.strip_prefix("- ").unwrap_or(first);
    first.starts_with('{')
        || first == "---"
        || first.starts_with("--- ")
        || keys
            .iter()
            .any(|key| first.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with(':')))
}

/// Returns whether a file is a script, by its name.
fn is_script(file: &File<'_>) -> bool {
    let name = file.name().to_ascii_lowercase();
    SCRIPTS.iter().any(|end| name.ends_with(end))
}

/// Returns whether a word stands in a text by itself; `List` may be behind it.
pub(super) fn holds_word(text: &str, word: &str) -> bool {
    let bytes = text.as_bytes();
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    memchr::memmem::find_iter(bytes, word.as_bytes()).any(|at| {
        let rest = &bytes[at + word.len()..];
        let rest = rest.strip_prefix(b"List").unwrap_or(rest);
        !at.checked_sub(1).is_some_and(|before| is_part(&bytes[before])) && !rest.first().is_some_and(is_part)
    })
}

/// Returns whether a text in a document may hold a Secret.
fn may_hold_object(text: &str) -> bool {
    text.contains("kind") && holds_word(text, "Secret")
}

/// Returns the Secrets among the documents.
pub(super) fn secrets<'l>(layer: &'l Layer<'_>) -> impl Iterator<Item = Entry<'l>> {
    let maps = layer.outline.nodes().filter(|entry| entry.is_map() && !entry.is_alias());
    maps.flat_map(|entry| {
        let object = Object { entry };
        let items = entry.get("items").filter(|_| object.kind() == "SecretList");
        let items = items.into_iter().flat_map(Entry::entries);
        let items = items.filter(|item| item.is_map() && item.get("kind").is_none());
        items.chain(object.is_secret().then_some(entry)).collect::<Vec<_>>()
    })
}

struct Checking<'c, 'f> {
    file: &'c File<'f>,
    context: &'c Context<'c>,
    found: &'c mut Findings,
    /// How the file is mended, once it was asked.
    remedy: Option<(Option<Fix>, String)>,
}

impl Checking<'_, '_> {
    fn layer(&mut self, layer: &Layer<'_>) {
        for secret in secrets(layer).filter(|secret| !layer.is_encrypted(*secret)) {
            for (section, entry, clear) in clear_values(secret, self.context.config) {
                let finding = self.value(layer, secret, section, entry, &clear);
                self.found.add(finding);
            }
        }
    }

    /// Returns a finding of a value.
    fn value(
        &mut self,
        layer: &Layer<'_>,
        secret: Entry<'_>,
        section: Section<'_>,
        entry: Entry<'_>,
        clear: &Clear,
    ) -> Finding {
        let key = entry.key().unwrap_or_default();
        let (value, span) = match clear {
            Clear::All => (entry.text().unwrap_or_default(), entry.span()),
            Clear::Default(range) => {
                let start = entry.span().start;
                (&entry.source()[range.clone()], start + range.start..start + range.end)
            }
            Clear::Line(range) => {
                let places = entry.places();
                (
                    &entry.text().unwrap_or_default()[range.clone()],
                    places.of(range.start)..places.of(range.end),
                )
            }
        };
        let message = message(key, section.name, section.name == "data", clear);
        let pointer = format!("{}/{}", section.map.pointer(Some(secret)), escaped(key));
        let (label, pointer) = layer.label(secret, pointer);
        let finding = Finding::new(&RULE, self.file, layer.place(span), message);
        let finding = self.mend(finding.at(label, pointer).value(value.as_bytes()), layer, secret, clear);
        if is_doubtful(key, clear) { finding.severity(Severity::Warning) } else { finding }
    }

    fn mend(&mut self, finding: Finding, layer: &Layer<'_>, secret: Entry<'_>, clear: &Clear) -> Finding {
        if matches!(clear, Clear::Default(_)) || !layer.outline.is_plain() {
            return finding.remedy(TEMPLATE_REMEDY);
        }
        if !layer.is_file() {
            return finding.remedy("put the Secret in a file of its own, and encrypt or seal that");
        }
        let (fix, remedy) = self.remedy.get_or_insert_with(|| remedy(self.file.path(), self.context)).clone();
        let finding = finding.remedy(remedy);
        // Only whole documents can be mended without a look at what is around them.
        let fix = fix.filter(|_| self.file.is_structured() && secret.parent().is_none());
        fix.into_iter().fold(finding, Finding::fix)
    }

    /// Looks at templates that are no YAML even around their actions.
    fn unread(&mut self) {
        let file = self.file;
        let outline = file.outline();
        for document in outline.documents().iter().filter(|document| document.error.is_some()) {
            let text = file.text().get(document.span.clone()).unwrap_or_default();
            if !(text.contains("{{") || text.contains("{%")) || !holds_word(text, "Secret") {
                continue;
            }
            let masked = template::mask(text);
            for line in lines::values(text, &masked.text) {
                let finding = self.line(text, document.span.start, &line);
                finding.into_iter().for_each(|finding| self.found.add(finding));
            }
        }
    }

    /// Looks at manifests in a script; what has something of the script in it is put in later.
    fn script(&mut self) {
        let text = self.file.text();
        for line in lines::values_of_script(text) {
            let is_literal = !text[line.value.clone()].contains(['$', '%', '`', '{']);
            let finding = is_literal.then(|| self.line(text, 0, &line)).flatten();
            let remedy = "let the script take the value from elsewhere";
            finding
                .into_iter()
                .map(|finding| finding.severity(Severity::Warning).remedy(remedy))
                .for_each(|finding| self.found.add(finding));
        }
    }

    fn line(&self, text: &str, base: usize, line: &lines::Line) -> Option<Finding> {
        let source = &text[line.value.clone()];
        let key = text[line.key.clone()].trim_matches(['"', '\'']);
        let has_action = source.contains("{{");
        let value = if has_action { source } else { plain(source) };
        let written = Written { key, text: value, source, is_base64: line.is_base64, has_action };
        let is_alias = !has_action && value.starts_with(['*', '&', '!', '{', '[']);
        let clear = judge(written, self.context.config).filter(|_| !is_alias && !is_null(value))?;
        let span = match &clear {
            Clear::All => line.value.clone(),
            Clear::Default(range) => line.value.start + range.start..line.value.start + range.end,
            Clear::Line(range) => {
                let start = line.value.start + (value.as_ptr() as usize - source.as_ptr() as usize);
                start + range.start..start + range.end
            }
        };
        let section = if line.is_base64 { "data" } else { "stringData" };
        let bytes = text.get(span.clone()).unwrap_or_default();
        let place: Range<usize> = base + span.start..base + span.end;
        let finding = Finding::new(&RULE, self.file, place, message(key, section, line.is_base64, &clear))
            .at("Secret", format!("/{section}/{}", escaped(key)))
            .value(bytes.as_bytes())
            .remedy(TEMPLATE_REMEDY);
        Some(if is_doubtful(key, &clear) { finding.severity(Severity::Warning) } else { finding })
    }
}

/// Returns what is wrong with a value.
fn message(key: &str, section: &str, is_base64: bool, clear: &Clear) -> String {
    match clear {
        Clear::Default(_) => format!("the template falls back to a text in clear for {key:?} of {section}"),
        Clear::All if is_base64 => format!("{key:?} of {section} is in clear: base64 is no encryption"),
        Clear::All => format!("{key:?} of {section} is in clear"),
        Clear::Line(_) => format!("a setting in {key:?} of {section} is in clear"),
    }
}

/// Returns whether a text may be none that anyone hides: what charts fall back to for the name of a user.
fn is_doubtful(key: &str, clear: &Clear) -> bool {
    matches!(clear, Clear::Default(_)) && !is_secret_name(key)
}

/// Returns a key as a step of a JSON pointer.
pub(super) fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// Returns a value without its quotes, its comment, or the mark of its lines.
fn plain(source: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(rest) = source.strip_prefix(quote) {
            return rest.find(quote).map_or(rest, |end| &rest[..end]);
        }
    }
    if source.starts_with(['|', '>']) {
        return source.split_once('\n').map_or("", |(_, lines)| lines);
    }
    let end = if source.starts_with('#') { Some(0) } else { source.find(" #") };
    end.map_or(source, |end| &source[..end]).trim_end()
}

fn is_null(value: &str) -> bool {
    matches!(value, "" | "~" | "null" | "Null" | "NULL")
}

const TEMPLATE_REMEDY: &str =
    "take the value out of the template: let it come from values that are encrypted";

/// How many lines tell what a file is whose name does not.
const MAX_HEAD: usize = 200;

/// How the names of files end that tell people about manifests.
const PROSE: &[&str] = &[".adoc", ".html", ".md", ".mdx", ".rst"];

/// How the names of files end that may write manifests and give them to a cluster.
const SCRIPTS: &[&str] =
    &[".bash", ".cmd", ".ksh", ".mk", ".ps1", ".sh", ".tf", ".zsh", "jenkinsfile", "makefile"];

#[cfg(test)]
mod tests;
