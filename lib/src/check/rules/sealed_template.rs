//! SEAL002: the template of a SealedSecret holds a secret in clear.

use super::private_key::holds_key;
use super::sealed_objects::sealed_objects;
use crate::check::{
    Check, Context, Entry, File, Finding, Findings, Needles, Rule, Severity, is_placeholder, is_secret_name,
};

pub(super) static RULE: Rule = Rule {
    id: "SEAL002",
    severity: Severity::Error,
    title: "the template of a SealedSecret holds a secret in clear",
    explanation: "What is in the template of a SealedSecret is not sealed: it is copied into the Secret as it is written, \
                  and everybody who reads the repository reads it, too.\n\n\
                  Accepted are templates that take their secrets from the sealed values, such as `password: {{ index . \
                  \"password\" }}` in a configuration file, and placeholders. A value without such a reference is an \
                  error if its name is that of a secret, if it holds a private key, or if it is in `stringData`, which \
                  no controller reads; any other is a warning.\n\n\
                  Put the value into the Secret that is sealed, and refer to it in the template: `kubectl seal SECRET > \
                  SEALED`.",
    needles: Needles::SECRET,
    check: Check::File(check),
};

fn check(file: &File<'_>, context: &Context<'_>, found: &mut Findings) {
    for object in sealed_objects(file) {
        let Some(template) = object.entry.at(&["spec", "template"]) else { continue };
        for (field, is_read) in [("data", true), ("stringData", false)] {
            let values = template.get(field).map(Entry::walk).unwrap_or_default();
            for value in values {
                let Some((message, severity)) = judge(file, value, is_read, context) else { continue };
                let span = leak(file, value);
                let finding = Finding::new(&RULE, file, span, message)
                    .at(object.label(), value.pointer(Some(object.entry)))
                    .value(value.text().unwrap_or_default().as_bytes())
                    .severity(severity)
                    .remedy(format!(
                        "seal the value, and refer to it in the template: kubectl seal SECRET > {}",
                        file.path()
                    ));
                found.add(finding);
            }
        }
    }
}

/// Returns what is wrong with a value of a template, and how bad that is.
fn judge(
    file: &File<'_>,
    value: Entry<'_>,
    is_read: bool,
    context: &Context<'_>,
) -> Option<(&'static str, Severity)> {
    let text = value.text()?;
    let is_secret = value.key().is_some_and(is_secret_name);
    if holds_key(text) {
        return Some(("a private key is in clear in the template", Severity::Error));
    }
    if value.is_null() || is_placeholder(text, context.config) {
        return None;
    }
    if value.has_action() || text.contains("{{") {
        // What is around the references is a configuration file, or the like. They are written only in the source.
        return secret_line(&file.text()[value.span()], context)
            .map(|_| ("a line of the template holds a secret in clear", Severity::Error));
    }
    if !is_read {
        return Some((
            "a value is in clear in the template, in stringData, which nothing reads",
            Severity::Error,
        ));
    }
    if is_secret {
        return Some(("a secret is in clear in the template", Severity::Error));
    }
    if secret_line(text, context).is_some() {
        return Some(("a line of the template holds a secret in clear", Severity::Error));
    }
    let is_word = ["true", "false", "yes", "no", "on", "off"].contains(&text.to_ascii_lowercase().as_str());
    (!is_word && text.parse::<f64>().is_err())
        .then_some(("a value is in clear in the template", Severity::Warning))
}

/// Returns the place of a line that gives a secret a value, such as `password: hunter2` or `password=hunter2`.
fn secret_line(text: &str, context: &Context<'_>) -> Option<usize> {
    let mut at = 0;
    // A comma parts the members of JSON.
    for line in text.split_inclusive(['\n', ',']) {
        let start = at;
        at += line.len();
        let Some((name, value)) = line.split_once(['=', ':']) else { continue };
        let quotes = |letter: char| letter.is_whitespace() || "\"'-,;{}".contains(letter);
        let (name, value) = (name.trim_matches(quotes), value.trim_matches(quotes));
        let is_value = name.len() <= 64
            && !name.contains(char::is_whitespace)
            && !line.contains("{{")
            && !is_placeholder(value, context.config);
        if is_value && is_secret_name(name) {
            return Some(start);
        }
    }
    None
}

/// Returns the bytes of the file to point at: those of a block of lines begin behind its mark.
fn leak(file: &File<'_>, value: Entry<'_>) -> std::ops::Range<usize> {
    let span = value.span();
    let text = &file.text()[span.clone()];
    match text.find('\n') {
        Some(end) if text.starts_with(['|', '>']) && !text[end..].trim().is_empty() => {
            let rest = &text[end..];
            span.start + end + (rest.len() - rest.trim_start().len())..span.end
        }
        _ => span,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::test_kit::{Repository, found};

    fn sealed(template: &str) -> String {
        let head =
            "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata: {name: a, namespace: b}\n";
        format!("{head}spec:\n  template:\n{template}")
    }

    fn severities(template: &str) -> Vec<(usize, Severity)> {
        let found = Repository::default().with("a.yaml", sealed(template)).check();
        let found = found.into_iter().filter(|finding| finding.rule == &RULE);
        found.map(|finding| (finding.start.line, finding.severity)).collect()
    }

    #[test]
    fn literals_are_found_on_their_lines() {
        let text = sealed("    stringData:\n      x: hunter2\n    data:\n      password: hunter2\n");
        assert_eq!(
            found("SEAL002", "a.yaml", &text),
            ["7 /spec/template/stringData/x", "9 /spec/template/data/password"]
        );
        let (error, warning) = (Severity::Error, Severity::Warning);
        assert_eq!(
            severities("    data:\n      password: hunter2\n      level: info\n"),
            [(7, error), (8, warning)]
        );
        assert_eq!(severities("    data: {api.conf: \"url=x\\npassword=hunter2\\n\"}\n"), [(6, error)]);
        let config = "    data:\n      c: |\n        user: {{ .user }}\n        password: hunter2\n";
        assert_eq!(severities(config), [(8, error)]);
        let json = "    data:\n      c: '{\"u\": \"{{ .user }}\", \"password\": \"hunter2\"}'\n";
        assert_eq!(severities(json), [(7, error)]);
        let body = "MIIEpAIBAAKCAQEAq7Zr2Tn9Xk4Lp8Vb3Hs6Jd5Gf1McYtQeUiOaNzKxWvBrEuPj";
        let key =
            format!("    data:\n      k: |\n        -----BEGIN RSA {} KEY-----\n        {body}\n", "PRIVATE");
        assert_eq!(severities(&key), [(8, error)]);
    }

    #[test]
    fn templates_that_refer_to_sealed_values_are_clean() {
        let clean = [
            "    data:\n      password: '{{ index . \"password\" }}'\n",
            "    data:\n      password: \"{{ .password }}\"\n      url: postgres://u:{{ .password }}@db/x\n",
            "    data:\n      app.conf: |\n        [db]\n        host = db\n        password = {{ index . \"pw\" }}\n",
            "    metadata: {name: a, labels: {password: x}}\n    type: Opaque\n    immutable: true\n",
            "    data:\n      password: ${PASSWORD}\n      port: \"5432\"\n      on: \"true\"\n      none:\n",
            "    data: {}\n    stringData: null\n",
        ];
        for template in clean {
            assert_eq!(severities(template), [], "{template}");
        }
        let other = "kind: A\nspec:\n  template:\n    data:\n      password: SealedSecret\n";
        assert_eq!(found("SEAL002", "a.yaml", other), [""; 0]);
    }
}
