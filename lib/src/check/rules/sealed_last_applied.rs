//! SEAL003: a SealedSecret carries its Secret in an annotation.

use super::sealed_objects::sealed_objects;
use crate::check::{
    Check, Context, Entry, File, Finding, Findings, Fix, Needles, Outline, Rule, Severity, is_placeholder,
    objects,
};

pub(super) static RULE: Rule = Rule {
    id: "SEAL003",
    severity: Severity::Error,
    title: "a SealedSecret carries its Secret in an annotation",
    explanation: "`kubectl apply` writes what it applies into the annotation `last-applied-configuration`: of a Secret, all \
                  its values. Who seals a Secret that was read from a cluster may seal the values and leave that \
                  annotation in clear, in the object or in its template.\n\n\
                  Accepted is the annotation of the SealedSecret itself, whose values are sealed.\n\n\
                  Take the annotation out: `kubectl seal fix PATH`. Change the values, as they were in clear.",
    needles: Needles::LAST_APPLIED,
    check: Check::File(check),
};

fn check(file: &File<'_>, context: &Context<'_>, found: &mut Findings) {
    for object in sealed_objects(file) {
        let places: [&[&str]; 2] = [&["metadata"], &["spec", "template", "metadata"]];
        for place in places {
            let annotation =
                object.entry.at(place).and_then(|metadata| metadata.at(&["annotations", ANNOTATION]));
            let Some(annotation) = annotation.filter(|annotation| holds_secret(*annotation, context)) else {
                continue;
            };
            let mut span = annotation.span();
            // A block of lines begins behind its mark.
            span.start += file.text()[span.clone()].find('{').unwrap_or_default();
            let message =
                "the annotation with the last applied configuration holds the values of a Secret in clear";
            let finding = Finding::new(&RULE, file, span, message)
                .at(object.label(), annotation.pointer(Some(object.entry)))
                .value(annotation.text().unwrap_or_default().as_bytes())
                .remedy(format!("kubectl seal fix {}", file.path()))
                .fix(Fix::Strip);
            found.add(finding);
        }
    }
}

/// Returns whether an annotation holds a Secret with values.
fn holds_secret(annotation: Entry<'_>, context: &Context<'_>) -> bool {
    let text = annotation.text().unwrap_or_default();
    if !text.contains("Secret") {
        return false;
    }
    let outline = Outline::read(text);
    let is_secret =
        |field: &&str, entry: Entry<'_>| entry.get(field).is_some_and(|values| holds_value(values, context));
    let holds = objects(&outline)
        .filter(|object| object.is_secret())
        .any(|object| ["data", "stringData"].iter().any(|field| is_secret(field, object.entry)));
    // What cannot be read may be cut off, and is not sealed for that.
    let is_broken = outline.documents().iter().any(|document| document.error.is_some());
    let compact = || text.split_ascii_whitespace().collect::<String>();
    holds || is_broken && !annotation.has_action() && compact().contains("\"kind\":\"Secret\"")
}

fn holds_value(values: Entry<'_>, context: &Context<'_>) -> bool {
    let is_value = |entry: &Entry<'_>| {
        let text = entry.text();
        text.is_some_and(|text| !entry.is_null() && !is_placeholder(text, context.config))
    };
    values.walk().iter().any(is_value)
}

const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::test_kit::{Repository, found};

    const SECRET: &str =
        r#"{"apiVersion":"v1","data":{"p":"aHVudGVyMg=="},"kind":"Secret","metadata":{"name":"a"}}"#;

    fn sealed(annotation: &str) -> String {
        format!(
            "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata:\n  name: a\n  annotations:\n    \
             {ANNOTATION}: {annotation}\n"
        )
    }

    fn in_template(annotation: &str) -> String {
        format!(
            "kind: SealedSecret\nmetadata: {{name: a}}\nspec:\n  template:\n    metadata:\n      annotations:\n        \
             {ANNOTATION}: {annotation}\n"
        )
    }

    #[test]
    fn secrets_in_annotations_are_found() {
        let pointer = "annotations/kubectl.kubernetes.io~1last-applied-configuration";
        let quoted = format!("'{SECRET}'");
        assert_eq!(found("SEAL003", "a.yaml", &sealed(&quoted)), [format!("6 /metadata/{pointer}")]);
        let block = format!("|\n          {SECRET}");
        let wanted = [format!("8 /spec/template/metadata/{pointer}")];
        assert_eq!(found("SEAL003", "a.yaml", &in_template(&block)), wanted);
        let cut = format!("'{}'", &SECRET[..SECRET.len() - 20]);
        assert_eq!(found("SEAL003", "a.yaml", &sealed(&cut)).len(), 1);
        let found = Repository::default().with("a.yaml", sealed(&quoted)).check();
        let finding = found.iter().find(|finding| finding.rule == &RULE).expect("a finding");
        assert_eq!((finding.fix, finding.remedy.as_str()), (Some(Fix::Strip), "kubectl seal fix a.yaml"));
    }

    #[test]
    fn annotations_without_values_are_clean() {
        let clean = [
            r#"'{"kind":"SealedSecret","apiVersion":"bitnami.com/v1alpha1","spec":{"encryptedData":{"a":"AgB"}}}'"#,
            r#"'{"kind":"Secret","apiVersion":"v1","metadata":{"name":"a"}}'"#,
            r#"'{"kind":"Secret","apiVersion":"v1","data":{"a":"${A}","b":null,"c":""}}'"#,
            "''",
            "",
            "'{{ .Values.applied }}'",
        ];
        for annotation in clean {
            assert_eq!(found("SEAL003", "a.yaml", &sealed(annotation)), [""; 0], "{annotation}");
            assert_eq!(found("SEAL003", "a.yaml", &in_template(annotation)), [""; 0], "{annotation}");
        }
        let other =
            sealed(&format!("'{SECRET}'")).replace("SealedSecret", "A").replace("bitnami.com/v1alpha1", "v1");
        assert_eq!(found("SEAL003", "a.yaml", &other), [""; 0]);
    }
}
