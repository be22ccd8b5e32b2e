//! K8S002: an annotation holds a Secret in clear.
//!
//! SealedSecrets and files of SOPS that have it are told by rules of their own.

use crate::check::config::Config;
use crate::check::{
    Check, Context, Entry, File, Finding, Findings, Fix, Needles, Object, Outline, Rule, Severity,
};

use super::plain_secret::layer::{LAST_APPLIED, Layer, each_layer};
use super::plain_secret::remedy::quoted;
use super::plain_secret::value::clear_values;
use super::plain_secret::{holds_word, is_manifest};

pub(super) static RULE: Rule = Rule {
    id: "K8S002",
    severity: Severity::Error,
    title: "an annotation holds a Secret in clear",
    explanation: "`kubectl apply` writes all that it was given into the annotation \
                  `kubectl.kubernetes.io/last-applied-configuration`, with the values of `stringData` and `data`. \
                  Whoever saves a Secret from a cluster, and then encrypts or empties its values, still has them \
                  there.\n\n\
                  Accepted is the annotation of an object that is no Secret, or one whose values are placeholders.\n\n\
                  Take the annotation out with `kubectl seal fix FILE`: `kubectl` writes it anew in the cluster, and \
                  nothing else reads it.",
    needles: Needles::LAST_APPLIED,
    check: Check::File(check),
};

fn check(file: &File<'_>, context: &Context<'_>, found: &mut Findings) {
    if !is_manifest(file) || !holds_word(file.text(), "Secret") {
        return;
    }
    let is_worth = |text: &str| text.contains(LAST_APPLIED) && text.contains("annotations");
    each_layer(file, &is_worth, &mut |layer| {
        let is_applied = |entry: &Entry<'_>| entry.key().is_some_and(|key| key.ends_with(LAST_APPLIED));
        let annotations = layer.outline.nodes().filter(is_applied);
        for annotation in
            annotations.filter(|annotation| !layer.is_encrypted(*annotation)).take(MAX_LOOKED_AT)
        {
            look(file, context, layer, annotation, found);
        }
    });
}

fn look(
    file: &File<'_>,
    context: &Context<'_>,
    layer: &Layer<'_>,
    annotation: Entry<'_>,
    found: &mut Findings,
) {
    let Some(text) = annotation.text().filter(|text| holds_word(text, "Secret")) else { return };
    let Some(object) = owner(annotation) else { return };
    let applied = Outline::read(text);
    let is_unread = applied.documents().iter().any(|document| document.error.is_some());
    let (at, value, message) = match first_clear(&applied, context.config) {
        Some(value) => {
            let key = value.key().unwrap_or_default();
            let message = format!("the last applied configuration holds {key:?} of a Secret in clear");
            (value.span(), value.text().unwrap_or_default(), message)
        }
        None if is_unread && text.contains("ata\"") && !annotation.has_action() => {
            (0..text.len(), text, "the last applied configuration of a Secret cannot be read".to_owned())
        }
        None => return,
    };
    let places = annotation.places();
    let span = places.of(at.start)..places.of(at.end);
    let pointer = annotation.pointer(Some(object));
    let (label, pointer) = layer.label(object, pointer);
    let finding =
        Finding::new(&RULE, file, layer.place(span), message).at(label, pointer).value(value.as_bytes());
    found.add(if layer.is_file() && file.is_structured() && layer.outline.is_plain() {
        finding.remedy(format!("kubectl seal fix {}", quoted(file.path()))).fix(Fix::Strip)
    } else {
        finding.remedy("take the annotation out")
    });
}

/// Returns the first value in clear of the Secrets that were applied.
fn first_clear<'a>(applied: &'a Outline<'_>, config: &Config) -> Option<Entry<'a>> {
    let objects = applied.nodes().filter(|entry| entry.is_map() && Object { entry: *entry }.is_secret());
    objects.flat_map(|secret| clear_values(secret, config)).map(|(_, value, _)| value).next()
}

/// Returns the object that an annotation is of; none if another rule judges it.
fn owner(annotation: Entry<'_>) -> Option<Entry<'_>> {
    let mut entry = annotation;
    let mut owner = None;
    while let Some(parent) = entry.parent() {
        entry = parent;
        let object = Object { entry };
        if object.is_sealed_secret() {
            return None;
        }
        if owner.is_none() && !object.kind().is_empty() {
            owner = Some(entry);
        }
    }
    owner.or(Some(entry))
}

/// How many annotations of a file are looked at, or of a text in it: each is searched for its object.
const MAX_LOOKED_AT: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::test_kit::{METADATA, Repository, found};

    const APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

    fn found_in(text: &str) -> Vec<String> {
        found("K8S002", "a.yaml", text)
    }

    #[test]
    fn secrets_that_were_applied_are_found_in_any_style() {
        let object = "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"stringData\":{\"p\":\"hunter2\"}}";
        let block = format!(
            "kind: Secret\nmetadata:\n  annotations:\n    {APPLIED}: |\n      {object}\n  name: n\ndata: {{}}\n"
        );
        let pointer = "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration";
        assert_eq!(found_in(&block), [format!("5 {pointer}")]);
        let single = format!("kind: Secret\nmetadata:\n  annotations:\n    {APPLIED}: '{object}'\n");
        assert_eq!(found_in(&single), [format!("4 {pointer}")]);
        let json = format!(
            "{{\"kind\": \"Secret\",\n\"metadata\": {{\"annotations\": {{\n\"{APPLIED}\": \"{}\"}}}}}}\n",
            object.replace('"', "\\\"")
        );
        assert_eq!(found("K8S002", "a.json", &json), [format!("3 {pointer}")]);
        let list = format!(
            "kind: List\nitems:\n- kind: ConfigMap\n  metadata:\n    annotations:\n      {APPLIED}: '{object}'\n"
        );
        assert_eq!(found_in(&list), [format!("6 {pointer}")]);
    }

    #[test]
    fn the_fix_takes_the_annotation_out() {
        let text = format!(
            "kind: Secret\nmetadata:\n  annotations:\n    {APPLIED}: '{{\"kind\":\"Secret\",\"data\":{{\"p\":\"aHVudGVyMg==\"}}}}'\n"
        );
        let findings = Repository::default().with("a b.yaml", &text).check();
        let finding = findings.iter().find(|finding| finding.rule == &RULE).expect("a finding");
        assert_eq!(finding.fix, Some(Fix::Strip));
        assert_eq!(finding.remedy, "kubectl seal fix 'a b.yaml'");
        assert!(!format!("{} {}", finding.message, finding.pointer).contains("aHVu"));
    }

    #[test]
    fn what_was_applied_and_cannot_be_read_is_told() {
        let text = format!(
            "kind: Secret\nmetadata:\n  annotations:\n    {APPLIED}: '{{\"kind\":\"Secret\",\"data\":{{\"p\":'\n"
        );
        assert_eq!(found_in(&text).len(), 1);
    }

    #[test]
    fn other_objects_and_placeholders_are_left_alone() {
        for applied in [
            "{\"kind\":\"ConfigMap\",\"data\":{\"Secret\":\"x\"}}",
            "{\"kind\":\"Secret\",\"stringData\":{\"p\":\"${PASSWORD}\"}}",
            "{\"kind\":\"Secret\",\"stringData\":{}}",
            "{\"kind\":\"SealedSecret\",\"spec\":{\"encryptedData\":{\"p\":\"AgB\"}}}",
            "{\"kind\":\"Deployment\",\"data\":{\"kind\":\"Secret\"}}",
        ] {
            let text = format!("kind: Secret\nmetadata:\n  annotations:\n    {APPLIED}: '{applied}'\n");
            assert_eq!(found_in(&text), [""; 0], "{applied}");
        }
        let applied = "{\"kind\":\"Secret\",\"stringData\":{\"p\":\"hunter2\"}}";
        let sealed = format!(
            "kind: SealedSecret\nspec:\n  template:\n    metadata:\n      annotations:\n        {APPLIED}: '{applied}'\n"
        );
        assert_eq!(found_in(&sealed), [""; 0]);
        let sops = format!("kind: Secret\nmetadata:\n  annotations:\n    {APPLIED}: '{applied}'\n{METADATA}");
        assert_eq!(found_in(&sops), [""; 0]);
    }
}
