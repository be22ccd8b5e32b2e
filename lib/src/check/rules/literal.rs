//! K8S006: a secret is written out where a reference belongs.
//!
//! Only places are looked at that are known to hold settings: environments and arguments of containers, ConfigMaps, and
//! values of charts, however they are given.

pub(super) mod embedded;
mod glance;
pub(super) mod places;
pub(super) mod value;

use std::ops::Range;

use super::environment_file::lines::assignments;
use crate::check::names::is_secret_name;
use crate::check::{
    Check, Context, Entry, File, Finding, Findings, Needles, Object, Outline, Rule, Severity, objects,
};
use embedded::Embedded;
use glance::may_hold_literal;
use places::{is_chart_values, is_code, is_kustomization};
use value::is_literal;

pub(super) static RULE: Rule = Rule {
    id: "K8S006",
    severity: Severity::Warning,
    title: "a secret is written out where a reference belongs",
    explanation: "Environments and arguments of containers, ConfigMaps and values of charts are no place for secrets: whoever \
                  may read the repository, the workload or the release has them. What a Secret keeps safe is given to \
                  them by reference.\n\n\
                  What stands under the name of a secret (`DB_PASSWORD`, `auth.password`, `--api-token=…`) may be empty, \
                  a placeholder (`changeme`, `<password>`), a reference (`${PASSWORD}`, `$(PASSWORD)`, `{{ … }}`, \
                  `ref+vault://…`), a path, a URL without password, a truth value, a small number or a text for people. \
                  Names of references (`existingSecret`, `passwordFile`, `secretKeyRef`, `*Name`, `*Ref`) are accepted \
                  with whatever they say.\n\n\
                  Put the value into a Secret that is encrypted or sealed, and refer to it: `valueFrom.secretKeyRef` or \
                  `envFrom` in a workload, `existingSecret` of a chart, `valuesFrom` of a HelmRelease. Or encrypt the \
                  file of values: `kubectl seal encrypt -i PATH`. Change the secret if it was ever pushed.\n\n\
                  `strict: true`, or `rules: {K8S006: error}` in .seal-check.yaml, makes it stop a commit.",
    needles: Needles::SECRET_NAME,
    check: Check::File(check),
};

fn check(file: &File<'_>, context: &Context<'_>, found: &mut Findings) {
    if !file.is_text() || !file.is_structured() {
        return;
    }
    let is_values = is_chart_values(file.path(), context.after);
    let may_hold = |mark: &str| file.text().contains(mark);
    if !(is_values || is_kustomization(file.name()) || MARKS.iter().any(|mark| may_hold(mark))) {
        return;
    }
    if !may_hold_literal(file.text()) {
        return;
    }
    // What is in clear in an encrypted document is told by other rules.
    let is_encrypted = |root: &Entry<'_>| root.at(&["sops", "mac"]).is_some();
    if file.needles().has(Needles::SOPS) && file.outline().roots().all(|root| is_encrypted(&root)) {
        return;
    }
    let mut look = Look { file, context, object: None, label: String::new(), found };
    for root in file.outline().roots().filter(|root| !is_encrypted(root) && root.get("kind").is_none()) {
        if is_values && root.is_map() {
            look.values(root);
        }
        if is_kustomization(file.name()) {
            look.kustomization(root);
        }
    }
    for object in objects(file.outline()).filter(|object| !is_encrypted(&object.entry)) {
        (look.object, look.label) = (Some(object), object.label());
        look.object(object);
    }
}

/// What looks at a file.
struct Look<'f, 'a, 'c> {
    file: &'f File<'a>,
    context: &'c Context<'c>,
    object: Option<Object<'f>>,
    /// What findings call it.
    label: String,
    found: &'c mut Findings,
}

impl<'f> Look<'f, '_, '_> {
    fn object(&mut self, object: Object<'f>) {
        match object.kind() {
            // What must be encrypted is told by other rules, and what defines a kind has no values.
            "Secret"
            | "SealedSecret"
            | "SopsSecret"
            | "CustomResourceDefinition"
            | "ExternalSecret"
            | "ClusterExternalSecret"
            | "PushSecret"
            | "SecretProviderClass" => {}
            "ConfigMap" => self.config_map(object.entry),
            "Kustomization" | "Component" if object.group() == "kustomize.toolkit.fluxcd.io" => {
                self.values_at(object.entry, &["spec", "postBuild", "substitute"]);
            }
            "Kustomization" | "Component" => self.kustomization(object.entry),
            "HelmRelease" => self.values_at(object.entry, &["spec", "values"]),
            "HelmChart" | "HelmChartConfig" => {
                self.values_at(object.entry, &["spec", "set"]);
                self.embedded_values_at(object.entry, &["spec", "valuesContent"]);
            }
            "Application" | "ApplicationSet" => self.application(object.entry),
            _ => self.containers(object.entry),
        }
    }

    /// Data of a ConfigMap: values under names, and files of lines.
    fn config_map(&mut self, entry: Entry<'f>) {
        let Some(data) = entry.get("data").filter(|data| data.is_map()) else { return };
        for entry in data.entries() {
            let (Some(name), Some(text)) = (entry.key(), entry.text()) else { continue };
            if is_literal(name, text, self.context.config) {
                self.named(name, entry);
            } else if is_code(name, text) {
                continue;
            } else if !(text.trim_start().starts_with('{') && self.embedded_values(entry)) {
                self.lines(entry);
            }
        }
    }

    /// Lines of a text that give names values.
    fn lines(&mut self, entry: Entry<'f>) {
        let Some(embedded) = Embedded::new(entry) else { return };
        for line in assignments(embedded.text) {
            // What has brackets is code, and so are a comparison and the name of another setting.
            let is_code = !line.is_quoted
                && (line.value.contains(['(', '[', '{', ';', '<', '&', '|', '>'])
                    || line.value.starts_with(['=', '*'])
                    || (line.value.starts_with('!') && line.value.contains(' '))
                    || (line.value.contains('.') && is_secret_name(line.value)));
            let is_made = is_code || embedded.has_action(&line.span);
            if !is_made && is_literal(line.name, line.value, self.context.config) {
                self.tell(line.name, line.value, embedded.range(&line.span), entry.pointer(self.top()));
            }
        }
    }

    /// Generators of ConfigMaps.
    fn kustomization(&mut self, entry: Entry<'f>) {
        for chart in entry.get("helmCharts").into_iter().flat_map(Entry::entries) {
            self.values_at(chart, &["valuesInline"]);
        }
        let generators = entry.get("configMapGenerator").into_iter().flat_map(Entry::entries);
        let literals = generators.filter_map(|generator| generator.get("literals")).flat_map(Entry::entries);
        for literal in literals {
            let Some((name, value)) = literal.text().and_then(|text| text.split_once('=')) else { continue };
            let value = value.trim_matches(['"', '\'']);
            if is_literal(name, value, self.context.config) && !literal.has_action() {
                self.tell(name, value, literal.span(), literal.pointer(self.top()));
            }
        }
    }

    /// What Argo CD gives charts and plugins.
    fn application(&mut self, entry: Entry<'f>) {
        for entry in entry.walk() {
            match entry.key() {
                Some("valuesObject") => self.values(entry),
                Some("values") if entry.parent().and_then(Entry::key) == Some("helm") => {
                    self.embedded_values(entry);
                }
                Some("parameters" | "env") => self.pairs(entry),
                _ => {}
            }
        }
    }

    /// Environments and arguments, wherever an object has them.
    fn containers(&mut self, entry: Entry<'f>) {
        for entry in entry.walk() {
            match entry.key() {
                Some("env") => self.pairs(entry),
                Some("args" | "command") => self.arguments(entry),
                _ => {}
            }
        }
    }

    /// Items that have a name and a value.
    fn pairs(&mut self, list: Entry<'f>) {
        for item in list.entries().filter(|_| list.is_list()) {
            let (Some(name), Some(value)) = (item.text_at(&["name"]), item.get("value")) else { continue };
            self.named(name, value);
        }
    }

    /// Arguments of programs.
    fn arguments(&mut self, list: Entry<'f>) {
        let mut option = None;
        for item in list.entries().filter(|_| list.is_list()) {
            let Some(text) = item.text() else { continue };
            if let Some(name) = std::mem::take(&mut option).filter(|_| !text.starts_with('-')) {
                self.named(name, item);
                continue;
            }
            let Some(flag) = text.strip_prefix('-') else { continue };
            match flag.split_once('=') {
                Some((name, value)) => {
                    let name = name.trim_start_matches('-');
                    let value_is_literal = is_literal(name, value, self.context.config) && is_word(name);
                    if value_is_literal && !item.has_action() {
                        self.tell(name, value, item.span(), item.pointer(self.top()));
                    }
                }
                None => option = Some(flag.trim_start_matches('-')).filter(|name| is_word(name)),
            }
        }
    }

    fn values_at(&mut self, entry: Entry<'f>, path: &[&str]) {
        if let Some(values) = entry.at(path) {
            self.values(values);
        }
    }

    fn embedded_values_at(&mut self, entry: Entry<'f>, path: &[&str]) {
        if let Some(values) = entry.at(path) {
            self.embedded_values(values);
        }
    }

    /// Values of a chart.
    fn values(&mut self, values: Entry<'f>) {
        for (name, entry) in secrets(values) {
            self.named(name, entry);
        }
    }

    /// Values of a chart as a text. Returns whether it could be read.
    fn embedded_values(&mut self, entry: Entry<'f>) -> bool {
        let Some(embedded) = Embedded::new(entry) else { return false };
        let outline = Outline::read(embedded.text);
        for root in outline.roots() {
            for (name, inner) in secrets(root) {
                let is_made = inner.has_action() || embedded.has_action(&inner.span());
                let Some(value) = inner.text().filter(|_| !is_made) else { continue };
                if is_literal(name, value, self.context.config) {
                    self.tell(name, value, embedded.range(&inner.span()), entry.pointer(self.top()));
                }
            }
        }
        outline.roots().next().is_some()
    }

    /// A value under a name.
    fn named(&mut self, name: &str, entry: Entry<'f>) {
        let Some(value) = entry.text().filter(|_| !entry.has_action()) else { return };
        if is_literal(name, value, self.context.config) {
            self.tell(name, value, entry.span(), entry.pointer(self.top()));
        }
    }

    fn top(&self) -> Option<Entry<'f>> {
        self.object.map(|object| object.entry)
    }

    fn tell(&mut self, name: &str, value: &str, span: Range<usize>, pointer: String) {
        let message = format!("`{name}` is a secret, and it is written out here");
        let remedy = "put the value into a Secret that is encrypted or sealed, and refer to it here";
        let finding = Finding::new(&RULE, self.file, span, message).at(self.label.as_str(), pointer);
        self.found.add(finding.value(value.as_bytes()).remedy(remedy));
    }
}

/// Returns the names and values below an entry: keys of maps, and items that have a name and a value.
fn secrets(values: Entry<'_>) -> Vec<(&str, Entry<'_>)> {
    let mut found = Vec::new();
    for entry in values.walk_unless(|entry| entry.key().is_some_and(|key| SKIPPED.contains(&key))) {
        if let Some(name) = entry.key().filter(|_| entry.text().is_some()) {
            found.push((name, entry));
        }
        if let (Some(name), Some(value)) = (entry.text_at(&["name"]), entry.get("value")) {
            found.push((name, value));
        }
    }
    found
}

/// Returns whether a text can be the name of an option.
fn is_word(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// What is in the text of every file that has a place that is looked at.
const MARKS: &[&str] =
    &["value", "Value", "ConfigMap", "configMapGenerator", "substitute", "args", "command", "HelmChart"];

/// Keys below which there are references, or descriptions of values.
const SKIPPED: &[&str] = &[
    "annotations",
    "configMapKeyRef",
    "existingSecret",
    "labels",
    "openAPIV3Schema",
    "secretKeyRef",
    "secretKeys",
    "secretRef",
    "valueFrom",
];

#[cfg(test)]
mod tests;
